//! S3 in this process, over a directory: a bucket is a folder in it.

use std::path::Path;
use std::sync::Arc;

use http_body_util::BodyExt as _;
use s3s::auth::SimpleAuth;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::S3ServiceBuilder;

use super::clients::KEY;
use super::in_process::{Handler, TransportError};

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

/// A handler of S3 requests over `root`, with these buckets made if they are not there. Requests are signed with the access
/// key and the secret key `test`.
///
/// # Errors
/// The directory cannot be made or opened.
pub fn handler(root: &Path, buckets: &[&str]) -> Result<Handler, S3Error> {
    std::fs::create_dir_all(root).map_err(S3Error::Folder)?;
    for bucket in buckets {
        std::fs::create_dir_all(root.join(bucket)).map_err(S3Error::Folder)?;
    }
    let files =
        s3s_fs::FileSystem::new(root).map_err(|error| S3Error::Root(format!("{error:?}")))?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(KEY, KEY));
    let mut config = S3Config::default();
    // A caller on virtual time signs with a date that is not the machine's.
    config.presigned_url_max_skew_time_secs = u32::MAX;
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    let service = builder.build();
    Ok(Arc::new(move |request| {
        let service = service.clone();
        Box::pin(async move {
            let failed =
                |error: Box<dyn std::error::Error + Send + Sync>| TransportError::Failed(error);
            let response = service.call(request.map(s3s::Body::from)).await;
            let response = response.map_err(|error| failed(format!("{error:?}").into()))?;
            let (parts, body) = response.into_parts();
            let body = body
                .collect()
                .await
                .map_err(|error| failed(error.to_string().into()))?;
            Ok(http::Response::from_parts(parts, body.to_bytes()))
        })
    }))
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::aws::clients;
    use crate::aws::in_process::InProcess;
    use crate::aws::scratch::Scratch;

    #[tokio::test]
    async fn an_object_reads_back_and_an_absent_one_is_typed() {
        let folder = Scratch::new().unwrap();
        let handler = handler(folder.path(), &["bucket"]).unwrap();
        let s3 = clients::s3("http://s3.local", InProcess::new(handler));
        let put = s3
            .put_object()
            .bucket("bucket")
            .key("a/b.txt")
            .content_type("text/plain");
        put.body(b"content".to_vec().into()).send().await.unwrap();
        let get = s3
            .get_object()
            .bucket("bucket")
            .key("a/b.txt")
            .send()
            .await
            .unwrap();
        assert_eq!(
            get.body.collect().await.unwrap().into_bytes().as_ref(),
            b"content"
        );
        let absent = s3
            .get_object()
            .bucket("bucket")
            .key("absent")
            .send()
            .await
            .unwrap_err();
        assert!(absent.into_service_error().is_no_such_key());
    }
}
