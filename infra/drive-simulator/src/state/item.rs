//! One item of a Drive, its content and its place.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read},
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use bytes::Bytes;
use md5::{Digest, Md5};
use sha2::Sha256;

use crate::{
    ids::{DriveId, FileId, UserId},
    state::{access::Permissions, rules::ContentRule},
};

/// The type of a folder.
pub(crate) const FOLDER: &str = "application/vnd.google-apps.folder";
/// The type of a shortcut.
pub(crate) const SHORTCUT: &str = "application/vnd.google-apps.shortcut";
/// What every type of Google's own begins with: such items have no bytes of their own.
pub(crate) const GOOGLE_TYPES: &str = "application/vnd.google-apps.";

/// Whose tree an item is in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Home {
    /// Somebody's My Drive. Its user owns everything in it.
    MyDrive(UserId),
    /// A shared drive.
    Shared(DriveId),
}

/// What a user may do with an item, from little to much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Sees it.
    Reader,
    /// Sees it and comments on it.
    Commenter,
    /// Edits it.
    Writer,
    /// Edits, moves and bins it: shared drives only.
    FileOrganizer,
    /// Everything, permanent deletion included: shared drives only.
    Organizer,
    /// Everything: My Drive only.
    Owner,
}

impl Role {
    /// The role of a word on the wire.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [
            Self::Reader,
            Self::Commenter,
            Self::Writer,
            Self::FileOrganizer,
            Self::Organizer,
            Self::Owner,
        ]
        .into_iter()
        .find(|role| role.as_str() == text)
    }

    /// The word on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Commenter => "commenter",
            Self::Writer => "writer",
            Self::FileOrganizer => "fileOrganizer",
            Self::Organizer => "organizer",
            Self::Owner => "owner",
        }
    }

    /// May change name, description, properties and content.
    pub(crate) fn can_edit(self) -> bool {
        self >= Self::Writer
    }

    /// May put it in the bin and take it out: in My Drive, only the owner.
    pub(crate) fn can_trash(self) -> bool {
        self >= Self::FileOrganizer
    }

    /// May delete it for good.
    pub(crate) fn can_delete(self) -> bool {
        self >= Self::Organizer
    }
}

/// A shortcut's target as it was when the shortcut was made: Drive lets both grow stale.
#[derive(Debug, Clone)]
pub(crate) struct Shortcut {
    pub(crate) target: FileId,
    pub(crate) target_mime_type: String,
}

/// One item. Kept behind an `Arc`, so that an answer can be built from it after the state's lock is released.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) id: FileId,
    /// The order of creation; the order of unsorted listings.
    pub(crate) sequence: u64,
    pub(crate) name: String,
    pub(crate) mime_type: Arc<str>,
    pub(crate) description: Option<String>,
    pub(crate) starred_by: BTreeSet<UserId>,
    pub(crate) explicitly_trashed: bool,
    /// `None` only for a root.
    pub(crate) parent: Option<FileId>,
    /// Set only on a root: whose tree this is.
    pub(crate) root_of: Option<Home>,
    pub(crate) properties: BTreeMap<String, String>,
    pub(crate) app_properties: BTreeMap<String, String>,
    pub(crate) version: u64,
    pub(crate) created_ms: i64,
    pub(crate) modified_ms: i64,
    pub(crate) last_modifying_user: UserId,
    pub(crate) content: Option<Arc<Content>>,
    pub(crate) head_revision: Option<String>,
    pub(crate) shortcut: Option<Shortcut>,
    /// The permissions that stand on the item itself.
    pub(crate) permissions: Permissions,
    /// A limited-access folder: what it would inherit does not count in it and below it.
    pub(crate) inherits_nothing: bool,
    pub(crate) rule: ContentRule,
}

impl Item {
    /// Whether other items can be in it.
    pub(crate) fn is_folder(&self) -> bool {
        &*self.mime_type == FOLDER
    }

    /// The etag of v2, quotes included. It moves with every version.
    pub(crate) fn etag(&self) -> String {
        let id = self.id.as_str();
        format!(
            "\"{}.{:x}\"",
            id.get(..12).unwrap_or(id),
            self.version.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        )
    }
}

/// The checksums of a content, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checksums {
    pub(crate) md5: String,
    pub(crate) sha256: String,
}

/// How much is made up, or read, at a time, in bytes.
pub(crate) const PART_BYTES: u64 = 256 * 1024;

/// The bytes of a file, wherever they are, and their checksums once somebody asked.
#[derive(Debug)]
pub(crate) struct Content {
    source: Source,
    checksums: OnceLock<Checksums>,
    /// Held by whoever computes the checksums: a caller that gave up and asks again waits for the same reading.
    computing: Mutex<()>,
}

#[derive(Debug)]
enum Source {
    Memory(Bytes),
    Disk { path: PathBuf, size: u64 },
    Synthetic { seed: u64, size: u64 },
}

impl Content {
    /// Uploaded bytes.
    pub(crate) fn uploaded(bytes: Bytes) -> Self {
        Self {
            source: Source::Memory(bytes),
            checksums: OnceLock::new(),
            computing: Mutex::default(),
        }
    }

    /// A file of this machine, read when it is downloaded.
    pub(crate) fn on_disk(path: PathBuf, size: u64) -> Self {
        Self {
            source: Source::Disk { path, size },
            checksums: OnceLock::new(),
            computing: Mutex::default(),
        }
    }

    /// `size` bytes of text that depend on `seed` only.
    pub(crate) fn synthetic(seed: u64, size: u64) -> Self {
        Self {
            source: Source::Synthetic { seed, size },
            checksums: OnceLock::new(),
            computing: Mutex::default(),
        }
    }

    /// Bytes, as known when the item was made.
    pub(crate) fn size(&self) -> u64 {
        match &self.source {
            Source::Memory(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Source::Disk { size, .. } | Source::Synthetic { size, .. } => *size,
        }
    }

    /// The file of this machine that holds the bytes, if one does.
    pub(crate) fn path(&self) -> Option<&PathBuf> {
        match &self.source {
            Source::Disk { path, .. } => Some(path),
            Source::Memory(_) | Source::Synthetic { .. } => None,
        }
    }

    /// Up to `length` bytes from a position on, when they need no disk: no more than that is ever in memory of what is
    /// made up. Nothing at the end and beyond it.
    pub(crate) fn part(&self, from: u64, length: u64) -> Option<Bytes> {
        let left = self.size().saturating_sub(from).min(length);
        let length = usize::try_from(left).unwrap_or(usize::MAX);
        match &self.source {
            Source::Memory(bytes) => {
                let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
                Some(bytes.slice(from..from.saturating_add(length).min(bytes.len())))
            }
            Source::Synthetic { seed, .. } => Some(synthetic_bytes(*seed, from, length)),
            Source::Disk { .. } => None,
        }
    }

    /// The checksums, if they have been computed.
    pub(crate) fn checksums(&self) -> Option<&Checksums> {
        self.checksums.get()
    }

    /// Computes the checksums and keeps them. Blocks on the disk for a file of this machine.
    ///
    /// # Errors
    /// The file cannot be read (any more).
    pub(crate) fn compute_checksums(&self) -> io::Result<&Checksums> {
        let _one = self
            .computing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.checksums.get() {
            return Ok(known);
        }
        let (mut md5, mut sha256) = (Md5::new(), Sha256::new());
        let mut at = 0;
        while let Some(part) = self.part(at, PART_BYTES).filter(|part| !part.is_empty()) {
            md5.update(&part);
            sha256.update(&part);
            at = at.saturating_add(PART_BYTES);
        }
        if let Some(path) = self.path() {
            let (mut file, mut buffer) = (File::open(path)?, vec![0_u8; 64 * 1024]);
            loop {
                let read = file.read(&mut buffer)?;
                let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else {
                    break;
                };
                md5.update(chunk);
                sha256.update(chunk);
            }
        }
        let computed = Checksums {
            md5: hex::encode(md5.finalize()),
            sha256: hex::encode(sha256.finalize()),
        };
        Ok(self.checksums.get_or_init(|| computed))
    }
}

/// One line over and over, from a position on.
fn synthetic_bytes(seed: u64, from: u64, length: usize) -> Bytes {
    let line = format!("synthetic content {seed:016x}\n").into_bytes();
    let lines = u64::try_from(line.len()).unwrap_or(1).max(1);
    let start = usize::try_from(from % lines).unwrap_or_default();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(line.iter().cycle().skip(start).take(length.min(line.len())));
    // Each round doubles what is there, so that gigabytes cost little more than copying.
    while bytes.len() < length {
        let more = (length - bytes.len()).min(bytes.len());
        bytes.extend_from_within(..more);
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_bytes() {
        let content = Content::uploaded(Bytes::from_static(b"hello"));
        assert!(content.checksums().is_none());
        let sums = content.compute_checksums().expect("in memory").clone();
        assert_eq!(sums.md5, "5d41402abc4b2a76b9719d911017c592");
        assert_eq!(
            sums.sha256,
            "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        );
        assert_eq!(content.checksums(), Some(&sums));
    }

    #[test]
    fn synthetic_content_has_the_size_that_it_says() {
        let content = Content::synthetic(3, 1_000);
        let whole = content.part(0, u64::MAX).expect("no disk");
        assert_eq!((whole.len(), content.size()), (1_000, 1_000));
        assert!(whole.starts_with(b"synthetic content 0000000000000003\nsynthetic"));
        for (from, length) in [(0, 1), (34, 2), (35, 35), (36, 500), (999, 9), (1_000, 9)] {
            let part = content.part(from, length).expect("no disk");
            let from = usize::try_from(from).expect("small");
            assert_eq!(part, whole[from..(from + part.len())]);
            assert_eq!(
                part.len(),
                usize::try_from(length).expect("small").min(1_000 - from)
            );
        }
    }
}
