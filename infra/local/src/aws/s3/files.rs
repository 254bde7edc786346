//! The files in which `s3s-fs` 0.14 keeps uploads and objects, and what we do to them ourselves.
//!
//! Their names are private to it, and its version is pinned.

use std::io;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::{Stream, stream};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::part::mark_of_sum;

/// S3's limit of every part but the last.
const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;
/// What is read at a time. `s3s-fs` reads 4 KB, and each read is a turn of another thread.
const PIECE_BYTES: usize = 256 * 1024;

/// Why an upload can't be completed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Incomplete {
    #[error("there is no such upload")]
    NoUpload,
    #[error("the parts are not those of the upload, in their order")]
    WrongParts,
    #[error("a part but the last is too small")]
    TooSmall,
    #[error("the parts have another size than the caller says")]
    WrongSize,
    #[error("the files can't be written")]
    Files(#[from] io::Error),
}

/// The directory in which the buckets are.
#[derive(Debug, Clone)]
pub(super) struct Files {
    root: PathBuf,
}

impl Files {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Where an object is; `None` where the names lead out of the directory.
    pub(super) fn object(&self, bucket: &str, key: &str) -> Option<PathBuf> {
        let path = Path::new(bucket).join(key);
        let inside = path
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        (inside && !key.ends_with('/')).then(|| self.root.join(path))
    }

    /// Whether an upload is under way.
    pub(super) fn is_upload(&self, upload: &str) -> bool {
        let letters = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
        upload.bytes().all(letters) && self.upload(upload).exists()
    }

    fn upload(&self, upload: &str) -> PathBuf {
        self.root.join(format!(".upload-{upload}.json"))
    }

    /// Where a part is, of an upload that is under way.
    pub(super) fn part(&self, upload: &str, number: i32) -> PathBuf {
        self.root.join(format!(".upload_id-{upload}.part-{number}"))
    }

    /// Where is written what is known of an object: its attributes, and its mark and checksums.
    pub(super) fn sidecars(&self, bucket: &str, key: &str) -> [PathBuf; 2] {
        let about = self.about(bucket, key);
        ["metadata", "internal"].map(|kind| self.root.join(format!("{about}.{kind}.json")))
    }

    fn about(&self, bucket: &str, key: &str) -> String {
        let named = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!(".bucket-{}.object-{}", named(bucket), named(key))
    }

    /// Makes an object out of the parts of an upload and gives its mark. The parts are copied by the kernel, and the object
    /// is there whole or not at all: who is killed meanwhile completes again. Of two at a time one may find no upload.
    pub(super) fn complete(
        &self,
        place: (&str, &str),
        upload: &str,
        parts: &[(i32, String)],
        wanted_bytes: Option<i64>,
    ) -> Result<String, Incomplete> {
        if !self.is_upload(upload) {
            return Err(Incomplete::NoUpload);
        }
        let made = self
            .check(upload, parts, wanted_bytes)
            .and_then(|()| self.make(place, upload, parts));
        match made {
            Err(Incomplete::WrongParts | Incomplete::Files(_)) if !self.is_upload(upload) => {
                Err(Incomplete::NoUpload)
            }
            made => made,
        }
    }

    fn make(
        &self,
        (bucket, key): (&str, &str),
        upload: &str,
        parts: &[(i32, String)],
    ) -> Result<String, Incomplete> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let target = self.object(bucket, key).ok_or(Incomplete::WrongParts)?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // A name that `s3s-fs` clears away when it opens the directory.
        let whole = self
            .root
            .join(format!(".tmp.{upload}-{count}.internal.part"));
        let mut file = std::fs::File::create(&whole)?;
        for (number, _) in parts {
            io::copy(
                &mut std::fs::File::open(self.part(upload, *number))?,
                &mut file,
            )?;
        }
        let mark = mark_of(parts);
        let [attributes, internal] = self.sidecars(bucket, key);
        let about = self.about(bucket, key);
        let begun = self
            .root
            .join(format!("{about}.upload-{upload}.metadata.json"));
        std::fs::write(internal, serde_json::json!({"e_tag": mark}).to_string())?;
        if begun.exists() {
            std::fs::rename(begun, attributes)?;
        }
        if let Some(folder) = target.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::rename(whole, target)?;
        // The object stands; what is left of the upload is nobody's.
        let _gone = std::fs::remove_file(self.upload(upload));
        for (number, _) in parts {
            let _gone = std::fs::remove_file(self.part(upload, *number));
        }
        Ok(mark)
    }

    fn check(
        &self,
        upload: &str,
        parts: &[(i32, String)],
        wanted_bytes: Option<i64>,
    ) -> Result<(), Incomplete> {
        let mut found_bytes = 0;
        let (mut before, mut small) = (0, false);
        for (number, _) in parts {
            let file = std::fs::metadata(self.part(upload, *number));
            let bytes = file.map_err(|_| Incomplete::WrongParts)?.len();
            if small {
                return Err(Incomplete::TooSmall);
            }
            if *number <= before {
                return Err(Incomplete::WrongParts);
            }
            (before, small) = (*number, bytes < PART_BYTES_MIN);
            found_bytes += bytes;
        }
        let wanted = wanted_bytes.and_then(|bytes| u64::try_from(bytes).ok());
        if parts.is_empty() {
            Err(Incomplete::WrongParts)
        } else if wanted.is_some_and(|wanted| wanted != found_bytes) {
            Err(Incomplete::WrongSize)
        } else {
            Ok(())
        }
    }
}

/// Whether a file of this name says that an upload is under way.
pub(super) fn tells_of_upload(name: &str) -> bool {
    name.starts_with(".upload-") && name.ends_with(".json")
}

/// S3's mark of an object in parts: a hash of the parts' own marks, and their number.
fn mark_of(parts: &[(i32, String)]) -> String {
    let mut hash = Sha256::new();
    for (_, mark) in parts {
        // A mark that is none of ours is the caller's; all that counts is that other parts have another one.
        hash.update(hex::decode(mark).unwrap_or_else(|_| mark.clone().into_bytes()));
    }
    format!("{}-{}", mark_of_sum(&hash.finalize()), parts.len())
}

/// These bytes of a file, as they are read.
pub(super) async fn read(
    path: &Path,
    range: Range<u64>,
) -> io::Result<impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static> {
    let mut file = tokio::fs::File::open(path).await?;
    file.seek(io::SeekFrom::Start(range.start)).await?;
    let left = range.end.saturating_sub(range.start);
    Ok(stream::try_unfold(
        (file, left),
        async |(mut file, left)| {
            let size = usize::try_from(left).unwrap_or(PIECE_BYTES);
            let mut piece = vec![0; size.min(PIECE_BYTES)];
            if piece.is_empty() {
                return Ok(None);
            }
            let read = file.read(&mut piece).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            piece.truncate(read);
            let left = left.saturating_sub(u64::try_from(read).unwrap_or(left));
            Ok(Some((Bytes::from(piece), (file, left))))
        },
    ))
}
