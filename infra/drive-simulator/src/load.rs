//! Filling the library: from a directory of this machine, or with synthetic files.

use std::{
    fs::{self, Metadata},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use crate::{
    Simulator,
    ids::{FileId, UserId},
    state::{
        LIBRARY_OWNER,
        edit::NewItem,
        item::{Content, FOLDER},
        patch::{ModifiedTime, Patch},
    },
};

/// Directories that are never loaded: what tools keep for themselves.
pub const LEFT_OUT: [&str; 4] = [".git", "target", "node_modules", ".drivesync"];
/// Items made under one hold of the state's lock.
const CHUNK: usize = 1_000;
/// The types of a synthetic library, by extension.
const KINDS: [&str; 5] = ["txt", "pdf", "csv", "png", "json"];

/// What was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadReport {
    /// Files made.
    pub files: usize,
    /// Folders made.
    pub folders: usize,
    /// Entries left out: unreadable ones, symbolic links and special files.
    pub skipped: usize,
    /// The folder that everything was loaded into: the root of the library.
    pub root: String,
}

/// A directory that cannot be loaded at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the library {path}")]
pub struct LoadError {
    /// The directory.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// An entry of a directory on its way into the library.
struct Found {
    path: PathBuf,
    name: String,
    parent: FileId,
    metadata: Metadata,
}

impl Simulator {
    /// Loads a directory of this machine into the root of the library: each directory a folder, each file a file with
    /// its real size and time of modification. Contents are read when they are downloaded.
    ///
    /// Blocks on the disk. Existing items stay; loading twice makes everything twice, as uploading twice would.
    ///
    /// # Errors
    /// The directory itself cannot be read. Entries that cannot be read are counted and left out.
    pub fn load_directory(&self, path: &Path) -> Result<LoadReport, LoadError> {
        let owner = UserId::from(LIBRARY_OWNER);
        let root = self.with(|state| state.root_of(&owner));
        let mut report = LoadReport {
            files: 0,
            folders: 0,
            skipped: 0,
            root: root.to_string(),
        };
        let entries = fs::read_dir(path).map_err(|source| LoadError {
            path: path.to_owned(),
            source,
        })?;
        let mut found = Vec::new();
        collect(entries, &root, &mut found, &mut report);
        while !found.is_empty() {
            let (mut chunk, mut directories) = (Vec::new(), Vec::new());
            chunk.extend(found.drain(found.len().saturating_sub(CHUNK)..));
            self.with(|state| {
                for entry in chunk {
                    let (new, is_folder) = new_item(&entry);
                    match state.create(&owner, new, true) {
                        Ok(id) if is_folder => directories.push((entry.path, id)),
                        Ok(_) => report.files += 1,
                        Err(error) => {
                            tracing::warn!(path = %entry.path.display(), %error, "left out");
                            report.skipped += 1;
                        }
                    }
                }
            });
            report.folders += directories.len();
            for (path, id) in directories {
                match fs::read_dir(&path) {
                    Ok(entries) => collect(entries, &id, &mut found, &mut report),
                    Err(_) => report.skipped += 1,
                }
            }
        }
        Ok(report)
    }

    /// Makes a tree of so many folders and small text files in the library, spread evenly, the same for one seed.
    pub fn load_synthetic(&self, files: usize, folders: usize) -> LoadReport {
        let owner = UserId::from(LIBRARY_OWNER);
        let root = self.with(|state| state.root_of(&owner));
        let mut parents = vec![root.clone()];
        let mut made = LoadReport {
            files: 0,
            folders: 0,
            skipped: 0,
            root: root.to_string(),
        };
        for start in (0..folders + files).step_by(CHUNK) {
            self.with(|state| {
                for number in start..(start + CHUNK).min(folders + files) {
                    let is_folder = number < folders;
                    // Each folder lies in one made before it, eight to a folder: depth grows with the logarithm.
                    let place = if is_folder {
                        number / 8
                    } else {
                        number % parents.len()
                    };
                    let parent = parents.get(place).cloned().unwrap_or_else(|| root.clone());
                    let seed = state.rng().u64(..);
                    let new = if is_folder {
                        synthetic_folder(number, &parent)
                    } else {
                        synthetic_file(number - folders, &parent, seed, state.now_ms)
                    };
                    match state.create(&owner, new, true) {
                        Ok(id) if is_folder => {
                            parents.push(id);
                            made.folders += 1;
                        }
                        Ok(_) => made.files += 1,
                        Err(_) => made.skipped += 1,
                    }
                }
            });
        }
        made
    }
}

fn synthetic_folder(number: usize, parent: &FileId) -> NewItem {
    let fields = Patch {
        name: Some(format!("Folder {number:05}")),
        mime_type: Some(FOLDER.to_owned()),
        ..Patch::default()
    };
    NewItem {
        parents: vec![parent.to_string()],
        fields,
        ..NewItem::default()
    }
}

fn synthetic_file(number: usize, parent: &FileId, seed: u64, now_ms: i64) -> NewItem {
    let name = format!(
        "file-{number:06}.{}",
        KINDS.get(number % KINDS.len()).unwrap_or(&"txt")
    );
    let age_ms = i64::try_from(seed % 31_536_000_000).unwrap_or(0);
    let fields = Patch {
        mime_type: Some(mime_type(&name).to_owned()),
        name: Some(name),
        modified: ModifiedTime::Set(now_ms - age_ms),
        content: Some(Arc::new(Content::synthetic(seed, 64 + seed % 4_032))),
        ..Patch::default()
    };
    NewItem {
        parents: vec![parent.to_string()],
        created_ms: Some(now_ms - age_ms),
        fields,
        ..NewItem::default()
    }
}

/// Adds the entries of one directory, by name, and counts what is left out.
fn collect(entries: fs::ReadDir, parent: &FileId, found: &mut Vec<Found>, report: &mut LoadReport) {
    let mut here = Vec::new();
    for entry in entries {
        let Ok(entry) = entry else {
            report.skipped += 1;
            continue;
        };
        let name = entry.file_name().to_string_lossy().into_owned();
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() && LEFT_OUT.contains(&name.as_str()) => {}
            Ok(metadata)
                if metadata.is_dir()
                    || (metadata.is_file() && fs::File::open(entry.path()).is_ok()) =>
            {
                here.push(Found {
                    path: entry.path(),
                    name,
                    parent: parent.clone(),
                    metadata,
                });
            }
            Ok(_) | Err(_) => report.skipped += 1,
        }
    }
    here.sort_by(|left, right| right.name.cmp(&left.name));
    found.append(&mut here);
}

fn new_item(entry: &Found) -> (NewItem, bool) {
    let is_folder = entry.metadata.is_dir();
    let modified = entry
        .metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified_ms = modified.and_then(|elapsed| i64::try_from(elapsed.as_millis()).ok());
    let kind = if is_folder {
        FOLDER
    } else {
        mime_type(&entry.name)
    };
    let content =
        (!is_folder).then(|| Arc::new(Content::on_disk(entry.path.clone(), entry.metadata.len())));
    let fields = Patch {
        name: Some(entry.name.clone()),
        mime_type: Some(kind.to_owned()),
        modified: modified_ms.map_or(ModifiedTime::IfEdited, ModifiedTime::Set),
        content,
        ..Patch::default()
    };
    let parents = vec![entry.parent.to_string()];
    (
        NewItem {
            parents,
            created_ms: modified_ms,
            fields,
            ..NewItem::default()
        },
        is_folder,
    )
}

/// The type of a file by the extension of its name.
fn mime_type(name: &str) -> &'static str {
    match name
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_ascii_lowercase())
        .as_deref()
    {
        Some("txt" | "log") => "text/plain",
        Some("md") => "text/markdown",
        Some("csv") => "text/csv",
        Some("html" | "htm") => "text/html",
        Some("css") => "text/css",
        Some("js" | "mjs") => "text/javascript",
        Some("xml") => "text/xml",
        Some("json") => "application/json",
        Some("pdf") => "application/pdf",
        Some("zip") => "application/zip",
        Some("gz") => "application/gzip",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("svg") => "image/svg+xml",
        Some("mp3") => "audio/mpeg",
        Some("mp4") => "video/mp4",
        Some("doc") => "application/msword",
        Some("docx") => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        Some("xlsx") => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        Some("pptx") => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        Some(_) | None => "application/octet-stream",
    }
}
