//! S3 in this process, over a directory: a bucket is a folder in it.
//!
//! Bodies stream, in both directions over a socket ([`router`]) and out of the in-process handler,
//! so that an object of any size passes in constant memory. The limits of `s3s-fs` 0.14, and how
//! `bucket` works around them:
//!
//! - It verifies no checksum of a part, uses an MD5 of its own as the ETag, and lists parts
//!   unordered and without ETags. Worked around: parts are written here, with an ETag derived from
//!   their SHA-256 (an S3 ETag is opaque).
//! - An unknown upload is `AccessDenied`. Worked around: `NoSuchUpload`.
//! - It refuses most storage classes when an object is put. Worked around: all are accepted, none
//!   has an effect.
//! - A deleted object leaves its two sidecar files. Worked around: they are removed.
//! - An object put with a wrong checksum is refused, but stays under its key. Not worked around:
//!   the system draws a new key for each upload.
//! - It removes a multipart upload before it creates the object, so a caller that is killed
//!   meanwhile must start over and hash all parts again. Worked around: the kernel copies the
//!   parts, and the object exists before the upload is removed. Order and sizes of the parts are
//!   checked; their ETags and checksums are not compared with those that the caller lists.
//! - It reads 4 KB at a time. Worked around: 256 KB.
//! - It has no versions, lifecycle rules, encryption or bucket policies.

mod bucket;
mod files;
mod listing;
mod part;

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, Method, StatusCode, header};
use s3s::auth::SimpleAuth;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use sdk_in_process::{Body, Handler, TransportError};

use self::bucket::Buckets;
use super::signature::{ACCESS_KEY, Keys};
use crate::private;

/// The bucket store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum S3Error {
    /// The directory or a bucket in it cannot be created.
    #[error("a bucket's folder cannot be created")]
    Folder(#[source] std::io::Error),
    /// `s3s-fs` refused the directory; the text is its error.
    #[error("the directory cannot be served: {0}")]
    Root(String),
}

/// Opens S3 over `root` and creates missing buckets. Requests are signed, or presigned, with
/// `keys`.
///
/// # Errors
/// The directory cannot be created or opened.
pub fn open(root: &Path, buckets: &[&str], keys: &Keys) -> Result<S3Service, S3Error> {
    private::create_folder(root).map_err(S3Error::Folder)?;
    for bucket in buckets {
        private::create_folder(&root.join(bucket)).map_err(S3Error::Folder)?;
    }
    let files =
        s3s_fs::FileSystem::new(root).map_err(|error| S3Error::Root(format!("{error:?}")))?;
    let mut builder = S3ServiceBuilder::new(Buckets::new(files, root));
    builder.set_auth(SimpleAuth::from_single(
        ACCESS_KEY,
        keys.expose_secret_key(),
    ));
    let mut config = S3Config::default();
    // A caller in virtual time signs with another date than the machine's.
    config.presigned_url_max_skew_time_secs = u32::MAX;
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    Ok(builder.build())
}

/// Returns the number of multipart uploads that are neither completed nor aborted.
///
/// # Errors
/// The directory cannot be read.
pub fn open_uploads(root: &Path) -> std::io::Result<usize> {
    let names = std::fs::read_dir(root)?.map(|entry| Ok(entry?.file_name()));
    let names: Vec<_> = names.collect::<std::io::Result<_>>()?;
    let uploads = names.iter().filter_map(|name| name.to_str());
    Ok(uploads.filter(|name| files::is_upload_marker(name)).count())
}

/// Returns a handler of requests in this process, whose responses stream.
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

/// Returns a router for a socket. Requests and responses stream.
pub fn router(service: S3Service) -> Router {
    Router::new().fallback(move |request: Request| {
        let service = service.clone();
        async move { respond(&service, request).await }
    })
}

/// Answers a request. Pages of every origin may send parts, as the bucket's rule on AWS says: who
/// has a presigned URL may use it. The rule is of PUT alone, so pages can read no other answer.
async fn respond(service: &S3Service, request: Request) -> Response {
    let headers = request.headers();
    let asks_first = request.method() == Method::OPTIONS
        && headers
            .get(header::ACCESS_CONTROL_REQUEST_METHOD)
            .is_some_and(|method| method == "PUT");
    let sends_part = asks_first || request.method() == Method::PUT;
    let is_in_rule = sends_part && headers.contains_key(header::ORIGIN);
    let mut response = if is_in_rule && asks_first {
        StatusCode::OK.into_response()
    } else {
        let request = request.map(s3s::Body::http_body_unsync);
        match service.call(request).await {
            Ok(response) => response.map(axum::body::Body::new),
            Err(error) => {
                tracing::warn!(?error, "local S3 request failed");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    };
    if is_in_rule {
        let headers = response.headers_mut();
        let (any, put) = (
            HeaderValue::from_static("*"),
            HeaderValue::from_static("PUT"),
        );
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, put);
    }
    response
}

#[cfg(test)]
mod tests;
