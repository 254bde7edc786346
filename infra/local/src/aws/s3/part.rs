//! A part of an upload, written as it arrives, with its SHA-256.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use s3s::dto::StreamingBlob;
use sha2::{Digest as _, Sha256};

/// A part was not stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum PartError {
    #[error("the bytes do not match the checksum")]
    WrongChecksum,
    #[error("the body ended with an error")]
    Body(#[source] s3s::StdError),
    #[error("a file cannot be written")]
    Files(#[from] io::Error),
}

/// Stores a part and returns its ETag. The part appears atomically, and not at all if its SHA-256
/// differs from the expected one (in base64, as in S3).
pub(super) async fn put(
    path: PathBuf,
    mut body: StreamingBlob,
    expected: Option<String>,
) -> Result<String, PartError> {
    let mut writer = PartWriter::new(path).await?;
    while let Some(piece) = body.next().await {
        writer = match piece {
            Ok(piece) => writer.write(piece).await?,
            Err(error) => {
                writer.discard().await;
                return Err(PartError::Body(error));
            }
        };
    }
    let hash = writer.hash.clone().finalize();
    if expected.is_some_and(|expected| expected != STANDARD.encode(hash)) {
        writer.discard().await;
        return Err(PartError::WrongChecksum);
    }
    tokio::fs::rename(&writer.to, &writer.path).await?;
    Ok(etag_of_hash(&hash))
}

/// A part being written. It moves to another thread and back with each piece, which is not copied.
struct PartWriter {
    file: std::fs::File,
    hash: Sha256,
    to: PathBuf,
    path: PathBuf,
}

impl PartWriter {
    async fn new(path: PathBuf) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // `s3s-fs` removes files of such names when it opens the directory.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!(".tmp.{count}{name}.internal.part");
        let to = path.with_file_name(name);
        let file = tokio::fs::File::create(&to).await?.into_std().await;
        let hash = Sha256::new();
        Ok(Self {
            file,
            hash,
            to,
            path,
        })
    }

    async fn write(mut self, piece: Bytes) -> io::Result<Self> {
        let task = tokio::task::spawn_blocking(move || {
            self.hash.update(&piece);
            self.file.write_all(&piece)?;
            Ok(self)
        });
        task.await.map_err(io::Error::other)?
    }

    async fn discard(self) {
        // A file that stays is removed when the directory is opened.
        let _left = tokio::fs::remove_file(&self.to).await;
    }
}

/// Returns the ETag of a stored part.
pub(super) async fn stored_etag(path: PathBuf) -> io::Result<String> {
    let read = tokio::task::spawn_blocking(move || {
        let mut hash = Sha256::new();
        io::copy(&mut std::fs::File::open(path)?, &mut hash)?;
        Ok(etag_of_hash(&hash.finalize()))
    });
    read.await.map_err(io::Error::other)?
}

/// Returns an ETag in the form of S3's, derived from a SHA-256.
pub(super) fn etag_of_hash(hash: &[u8]) -> String {
    let mut etag = hex::encode(hash);
    etag.truncate(32);
    etag
}
