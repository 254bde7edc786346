//! S3 in this process, over a directory: a bucket is a folder in it.
//!
//! Bodies stream, in both directions over a socket ([`router`]), and out of the in-process handler: an object of any size
//! passes in constant memory. What `s3s-fs` 0.14 lacks of S3, and what `bucket` makes good:
//!
//! - parts: it verifies no checksum of a part, marks it with an MD5 of its own, and lists parts in no order and without
//!   their marks. Made good: we write them, with the SHA-256 as their mark, as S3's is opaque.
//! - an upload that is not there is `AccessDenied` with it. Made good: `NoSuchUpload`.
//! - storage classes: it refuses most when an object is put. Made good: all are taken, none has an effect.
//! - a deleted object leaves its two sidecar files. Made good.
//! - an object that was put with a wrong checksum is refused, but stays under its key. Not made good: our keys are drawn
//!   anew for each upload.
//! - it ends an upload before it makes the object, so who is killed meanwhile begins anew, and hashes all parts again. Made
//!   good: the parts are copied by the kernel, and the object is there before the upload is gone. They are looked at for
//!   their order and sizes; their marks and sums are not compared with those that the caller lists.
//! - it reads 4 KB at a time. Made good.
//! - no versions, lifecycle, encryption or bucket policies.

mod bucket;
mod files;
mod part;

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use s3s::auth::SimpleAuth;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};

use self::bucket::Buckets;
use super::clients::KEY;
use super::in_process::{Body, Handler, TransportError};

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum S3Error {
    /// The directory or a bucket in it cannot be made.
    #[error("a bucket's folder cannot be made")]
    Folder(#[source] std::io::Error),
    /// The store refused the directory. The text is its own.
    #[error("the directory cannot be served: {0}")]
    Root(String),
}

/// S3 over `root`, with these buckets made if they are not there. Requests are signed with the access key and the secret
/// key `test`.
///
/// # Errors
/// The directory cannot be made or opened.
pub fn open(root: &Path, buckets: &[&str]) -> Result<S3Service, S3Error> {
    std::fs::create_dir_all(root).map_err(S3Error::Folder)?;
    for bucket in buckets {
        std::fs::create_dir_all(root.join(bucket)).map_err(S3Error::Folder)?;
    }
    let files =
        s3s_fs::FileSystem::new(root).map_err(|error| S3Error::Root(format!("{error:?}")))?;
    let mut builder = S3ServiceBuilder::new(Buckets::new(files, root));
    builder.set_auth(SimpleAuth::from_single(KEY, KEY));
    let mut config = S3Config::default();
    // A caller on virtual time signs with a date that is not the machine's.
    config.presigned_url_max_skew_time_secs = u32::MAX;
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    Ok(builder.build())
}

/// How many uploads in parts are neither completed nor given up.
///
/// # Errors
/// The directory can't be read.
pub fn uploads_under_way(root: &Path) -> std::io::Result<usize> {
    let names = std::fs::read_dir(root)?.map(|entry| Ok(entry?.file_name()));
    let names: Vec<_> = names.collect::<std::io::Result<_>>()?;
    let uploads = names.iter().filter_map(|name| name.to_str());
    Ok(uploads.filter(|name| files::tells_of_upload(name)).count())
}

/// The service as a handler of requests in this process, whose answers stream.
#[must_use]
pub fn handler(service: S3Service) -> Handler {
    Arc::new(move |request| {
        let service = service.clone();
        Box::pin(async move {
            let response = service.call(request.map(s3s::Body::from)).await;
            let response =
                response.map_err(|error| TransportError::Failed(format!("{error:?}").into()))?;
            Ok(response.map(Body::from_body_1_x))
        })
    })
}

/// The service for a socket: requests and answers stream.
pub fn router(service: S3Service) -> Router {
    Router::new().fallback(move |request: Request| {
        let service = service.clone();
        async move { answer(&service, request).await }
    })
}

async fn answer(service: &S3Service, request: Request) -> Response {
    let request = request.map(s3s::Body::http_body_unsync);
    match service.call(request).await {
        Ok(response) => response.map(axum::body::Body::new),
        Err(error) => {
            tracing::warn!(?error, "a request of an object failed");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests;
