//! The files in which `s3s-fs` 0.14 stores uploads and objects, and the operations on them.
//!
//! Their names are private to `s3s-fs`, whose version is therefore pinned.

use std::io;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::{Stream, stream};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::part::etag_of_hash;

/// S3's minimum size of every part but the last.
const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;
/// The size of a read. `s3s-fs` reads 4 KB, and each read is a round trip to another thread.
const PIECE_BYTES: usize = 256 * 1024;

/// An upload cannot be completed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Incomplete {
    #[error("no such upload")]
    NoUpload,
    #[error("the parts are not those of the upload in their order")]
    WrongParts,
    #[error("a part other than the last is too small")]
    TooSmall,
    #[error("the parts do not have the size that the caller states")]
    WrongSize,
    #[error("a file cannot be read or written")]
    Files(#[from] io::Error),
}

/// An upload that is neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Upload {
    pub(super) key: String,
    pub(super) begun: SystemTime,
    pub(super) id: String,
}

/// The directory of the buckets.
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

    /// Returns the path of an object, or `None` where the names lead out of the directory.
    pub(super) fn object(&self, bucket: &str, key: &str) -> Option<PathBuf> {
        let path = Path::new(bucket).join(key);
        let inside = path
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        (inside && !key.ends_with('/')).then(|| self.root.join(path))
    }

    /// Returns whether an upload is open.
    pub(super) fn is_upload(&self, upload: &str) -> bool {
        let letters = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
        upload.bytes().all(letters) && self.upload(upload).exists()
    }

    fn upload(&self, upload: &str) -> PathBuf {
        self.root.join(format!(".upload-{upload}.json"))
    }

    /// Returns the path of a part of an open upload.
    pub(super) fn part(&self, upload: &str, number: i32) -> PathBuf {
        self.root.join(format!(".upload_id-{upload}.part-{number}"))
    }

    /// Returns the paths of an object's sidecar files: its metadata, and its ETag and checksums.
    pub(super) fn sidecars(&self, bucket: &str, key: &str) -> [PathBuf; 2] {
        let prefix = self.sidecar_prefix(bucket, key);
        ["metadata", "internal"].map(|kind| self.root.join(format!("{prefix}.{kind}.json")))
    }

    fn sidecar_prefix(&self, bucket: &str, key: &str) -> String {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!(".bucket-{}.object-{}", encode(bucket), encode(key))
    }

    /// Returns the open uploads to a bucket, in the order of their keys and beginnings.
    pub(super) fn uploads(&self, bucket: &str) -> io::Result<Vec<Upload>> {
        // `s3s-fs` stores the metadata of an upload's object under this name from its beginning.
        let prefix = format!(".bucket-{}.object-", URL_SAFE_NO_PAD.encode(bucket));
        let mut uploads = Vec::new();
        for entry in std::fs::read_dir(&self.root)? {
            let name = entry?.file_name();
            let parts = name.to_str().and_then(|name| {
                let name = name.strip_prefix(&prefix)?;
                name.strip_suffix(".metadata.json")?.split_once(".upload-")
            });
            let Some((key, id)) = parts else { continue };
            let key = URL_SAFE_NO_PAD.decode(key).ok();
            let key = key.and_then(|key| String::from_utf8(key).ok());
            // An upload that ends meanwhile is left out.
            let begun = std::fs::metadata(self.upload(id)).and_then(|marker| marker.modified());
            if let (Some(key), Ok(begun)) = (key, begun) {
                let id = id.to_owned();
                uploads.push(Upload { key, begun, id });
            }
        }
        uploads.sort();
        Ok(uploads)
    }

    /// Creates an object from the parts of an upload and returns its ETag. The kernel copies the
    /// parts, and the object appears atomically, so a caller that is killed meanwhile can complete
    /// the upload again. Of two concurrent calls one may find no upload.
    pub(super) fn complete(
        &self,
        object: (&str, &str),
        upload: &str,
        parts: &[(i32, String)],
        expected_bytes: Option<i64>,
    ) -> Result<String, Incomplete> {
        if !self.is_upload(upload) {
            return Err(Incomplete::NoUpload);
        }
        let completed = self
            .check(upload, parts, expected_bytes)
            .and_then(|()| self.assemble(object, upload, parts));
        match completed {
            Err(Incomplete::WrongParts | Incomplete::Files(_)) if !self.is_upload(upload) => {
                Err(Incomplete::NoUpload)
            }
            completed => completed,
        }
    }

    fn assemble(
        &self,
        (bucket, key): (&str, &str),
        upload: &str,
        parts: &[(i32, String)],
    ) -> Result<String, Incomplete> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let target = self.object(bucket, key).ok_or(Incomplete::WrongParts)?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // `s3s-fs` removes files of such names when it opens the directory.
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
        let etag = etag_of_parts(parts);
        let [metadata, internal] = self.sidecars(bucket, key);
        let prefix = self.sidecar_prefix(bucket, key);
        let begun = self
            .root
            .join(format!("{prefix}.upload-{upload}.metadata.json"));
        std::fs::write(internal, serde_json::json!({"e_tag": etag}).to_string())?;
        if begun.exists() {
            std::fs::rename(begun, metadata)?;
        }
        if let Some(folder) = target.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::rename(whole, target)?;
        // The object exists; the remains of the upload are garbage.
        let _gone = std::fs::remove_file(self.upload(upload));
        for (number, _) in parts {
            let _gone = std::fs::remove_file(self.part(upload, *number));
        }
        Ok(etag)
    }

    fn check(
        &self,
        upload: &str,
        parts: &[(i32, String)],
        expected_bytes: Option<i64>,
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
        let expected = expected_bytes.and_then(|bytes| u64::try_from(bytes).ok());
        if parts.is_empty() {
            Err(Incomplete::WrongParts)
        } else if expected.is_some_and(|expected| expected != found_bytes) {
            Err(Incomplete::WrongSize)
        } else {
            Ok(())
        }
    }
}

/// Returns whether a file of this name marks an open upload.
pub(super) fn is_upload_marker(name: &str) -> bool {
    name.starts_with(".upload-") && name.ends_with(".json")
}

/// Returns the ETag of a multipart object: a hash of the parts' ETags, and their number.
fn etag_of_parts(parts: &[(i32, String)]) -> String {
    let mut hash = Sha256::new();
    for (_, etag) in parts {
        // An ETag that the caller made up is hashed as text: other parts still yield another hash.
        hash.update(hex::decode(etag).unwrap_or_else(|_| etag.clone().into_bytes()));
    }
    format!("{}-{}", etag_of_hash(&hash.finalize()), parts.len())
}

/// Returns a range of a file as a stream.
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
