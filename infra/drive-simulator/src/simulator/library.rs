//! Loading the library: from a directory of this machine, or with synthetic files.

use std::{
    fs::{self, Metadata},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use crate::{
    ids::{FileId, UserId},
    simulator::Simulator,
    state::{
        LIBRARY_OWNER,
        items::{
            file_content::Content,
            item::FOLDER,
            item_edits::NewItem,
            item_patch::{ModifiedTime, Patch},
        },
    },
};

/// Directories that are never loaded: the working data of tools.
pub const IGNORED_DIRECTORIES: [&str; 4] = [".git", "target", "node_modules", ".drivesync"];
/// The number of items created under one lock of the state.
const BATCH_ITEMS: usize = 1_000;
/// The file name extensions of a synthetic library.
const EXTENSIONS: [&str; 5] = ["txt", "pdf", "csv", "png", "json"];

/// The result of loading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadReport {
    /// Files created.
    pub files: usize,
    /// Folders created.
    pub folders: usize,
    /// Entries skipped: unreadable ones, symbolic links and special files.
    pub skipped: usize,
    /// The folder that everything was loaded into: the root of the library.
    pub root: String,
}

/// The directory cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the library {path}")]
pub struct LoadError {
    /// The directory.
    pub path: PathBuf,
    /// The I/O error.
    #[source]
    pub source: io::Error,
}

/// A path that the control interface names cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LibraryError {
    /// The simulator was started without a library.
    #[error("nothing can be loaded from this machine: start the simulator with --library")]
    None,
    /// The path does not exist, or leads out of the library.
    #[error("{0} is no directory below the library")]
    Outside(PathBuf),
    /// The directory cannot be read.
    #[error(transparent)]
    Unreadable(#[from] LoadError),
}

/// A directory entry that is to be loaded.
struct DirectoryEntry {
    path: PathBuf,
    name: String,
    parent: FileId,
    metadata: Metadata,
}

impl Simulator {
    /// Loads a directory of this machine into the root of the library: each directory as a folder,
    /// each file with its real size and modification time. Contents are read when they are
    /// downloaded.
    ///
    /// Blocks on disk I/O. Existing items stay; loading twice creates everything twice, as
    /// uploading twice does.
    ///
    /// # Errors
    /// The directory itself cannot be read. Entries that cannot be read are counted and skipped.
    pub fn load_directory(&self, path: &Path) -> Result<LoadReport, LoadError> {
        let owner = UserId::from(LIBRARY_OWNER);
        let root = self.with_state(|state| state.root_of(&owner));
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
        collect_entries(entries, &root, &mut found, &mut report);
        while !found.is_empty() {
            let (mut chunk, mut directories) = (Vec::new(), Vec::new());
            chunk.extend(found.drain(found.len().saturating_sub(BATCH_ITEMS)..));
            self.with_state(|state| {
                for entry in chunk {
                    let (new, is_folder) = new_item(&entry);
                    match state.create(&owner, new, true) {
                        Ok(id) if is_folder => directories.push((entry.path, id)),
                        Ok(_) => report.files += 1,
                        Err(error) => {
                            let path = entry.path.display();
                            tracing::warn!(%path, %error, "directory entry skipped");
                            report.skipped += 1;
                        }
                    }
                }
            });
            report.folders += directories.len();
            for (path, id) in directories {
                match fs::read_dir(&path) {
                    Ok(entries) => collect_entries(entries, &id, &mut found, &mut report),
                    Err(_) => report.skipped += 1,
                }
            }
        }
        Ok(report)
    }

    /// Loads a directory like [`Simulator::load_directory`] if it is the library's or below it,
    /// whatever `..` and links its path has. A relative path begins at the library.
    ///
    /// # Errors
    /// [`LibraryError`].
    pub(crate) fn load_below_library(&self, path: &Path) -> Result<LoadReport, LibraryError> {
        let library = self.inner.library.as_deref().ok_or(LibraryError::None)?;
        let outside = || LibraryError::Outside(path.to_owned());
        let library = library.canonicalize().map_err(|_| outside())?;
        let directory = library.join(path).canonicalize().map_err(|_| outside())?;
        if !directory.starts_with(&library) || !directory.is_dir() {
            return Err(outside());
        }
        Ok(self.load_directory(&directory)?)
    }

    /// Creates a tree of folders and small text files in the library, spread evenly, the same for
    /// the same seed.
    pub fn load_synthetic(&self, files: usize, folders: usize) -> LoadReport {
        let owner = UserId::from(LIBRARY_OWNER);
        let root = self.with_state(|state| state.root_of(&owner));
        let mut parents = vec![root.clone()];
        let mut made = LoadReport {
            files: 0,
            folders: 0,
            skipped: 0,
            root: root.to_string(),
        };
        for start in (0..folders + files).step_by(BATCH_ITEMS) {
            self.with_state(|state| {
                for number in start..(start + BATCH_ITEMS).min(folders + files) {
                    let is_folder = number < folders;
                    // Each folder lies in an earlier one, eight to a folder: the depth grows
                    // logarithmically.
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
        EXTENSIONS.get(number % EXTENSIONS.len()).unwrap_or(&"txt")
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

/// Appends the entries of one directory, sorted by name, and counts the skipped ones.
fn collect_entries(
    entries: fs::ReadDir,
    parent: &FileId,
    found: &mut Vec<DirectoryEntry>,
    report: &mut LoadReport,
) {
    let mut here = Vec::new();
    for entry in entries {
        let Ok(entry) = entry else {
            report.skipped += 1;
            continue;
        };
        let name = entry.file_name().to_string_lossy().into_owned();
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() && IGNORED_DIRECTORIES.contains(&name.as_str()) => {}
            Ok(metadata)
                if metadata.is_dir()
                    || (metadata.is_file() && fs::File::open(entry.path()).is_ok()) =>
            {
                here.push(DirectoryEntry {
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

fn new_item(entry: &DirectoryEntry) -> (NewItem, bool) {
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

/// Returns the MIME type for the extension of a file name.
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
