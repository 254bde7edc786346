//! One part of an upload: written as it comes, with its SHA-256.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use s3s::dto::StreamingBlob;
use sha2::{Digest as _, Sha256};

/// Why a part was not put.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unput {
    #[error("the bytes have another sum than the caller says")]
    OtherSum,
    #[error("the body broke")]
    Body(#[source] s3s::StdError),
    #[error("the files can't be written")]
    Files(#[from] io::Error),
}

/// Puts a part and gives its mark. It is there whole or not at all, and not where it has another SHA-256 than is wanted
/// (in base64, as S3 has it).
pub(super) async fn put(
    path: PathBuf,
    mut body: StreamingBlob,
    wanted: Option<String>,
) -> Result<String, Unput> {
    let mut writing = Writing::new(path).await?;
    while let Some(piece) = body.next().await {
        writing = match piece {
            Ok(piece) => writing.write(piece).await?,
            Err(error) => {
                writing.give_up().await;
                return Err(Unput::Body(error));
            }
        };
    }
    let sum = writing.hash.clone().finalize();
    if wanted.is_some_and(|wanted| wanted != STANDARD.encode(sum)) {
        writing.give_up().await;
        return Err(Unput::OtherSum);
    }
    tokio::fs::rename(&writing.to, &writing.path).await?;
    Ok(mark_of_sum(&sum))
}

/// A part that is being written. It goes to another thread and back with each piece, and the piece is not copied.
struct Writing {
    file: std::fs::File,
    hash: Sha256,
    to: PathBuf,
    path: PathBuf,
}

impl Writing {
    async fn new(path: PathBuf) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // A name that `s3s-fs` clears away when it opens the directory.
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
        let written = tokio::task::spawn_blocking(move || {
            self.hash.update(&piece);
            self.file.write_all(&piece)?;
            Ok(self)
        });
        written.await.map_err(io::Error::other)?
    }

    async fn give_up(self) {
        // What is left is cleared away when the directory is opened.
        let _left = tokio::fs::remove_file(&self.to).await;
    }
}

/// The mark of a part that is stored.
pub(super) async fn mark_of_part(path: PathBuf) -> io::Result<String> {
    let read = tokio::task::spawn_blocking(move || {
        let mut hash = Sha256::new();
        io::copy(&mut std::fs::File::open(path)?, &mut hash)?;
        Ok(mark_of_sum(&hash.finalize()))
    });
    read.await.map_err(io::Error::other)?
}

/// A mark that looks like S3's. It is opaque, and its SHA-256 is computed anyway.
pub(super) fn mark_of_sum(sum: &[u8]) -> String {
    let mut mark = hex::encode(sum);
    mark.truncate(32);
    mark
}
