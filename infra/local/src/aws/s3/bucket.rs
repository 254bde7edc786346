//! `s3s-fs` with what it lacks of S3, as far as we rely on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use md5::Md5;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CreateBucketInput,
    CreateBucketOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteObjectInput,
    DeleteObjectOutput, ETag, GetBucketLocationInput, GetBucketLocationOutput, GetObjectInput,
    GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput,
    ListBucketsInput, ListBucketsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, ListPartsInput, ListPartsOutput, PutObjectInput, PutObjectOutput,
    StreamingBlob, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, StdError, s3_error};
use s3s_fs::FileSystem;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;

/// Buckets in a directory.
#[derive(Debug)]
pub(super) struct Buckets {
    files: FileSystem,
    root: PathBuf,
}

impl Buckets {
    pub(super) fn new(files: FileSystem, root: &Path) -> Self {
        Self {
            files,
            root: root.to_owned(),
        }
    }

    /// Where `s3s-fs` keeps a part.
    fn part(&self, upload: &str, number: i32) -> PathBuf {
        self.root.join(format!(".upload_id-{upload}.part-{number}"))
    }

    /// Where `s3s-fs` keeps what it knows of an object.
    fn sidecars(&self, bucket: &str, key: &str) -> [PathBuf; 2] {
        let named = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let about = format!(".bucket-{}.object-{}", named(bucket), named(key));
        ["metadata", "internal"].map(|kind| self.root.join(format!("{about}.{kind}.json")))
    }
}

/// An upload that `s3s-fs` does not know is one that is not yours; S3 says that it is none.
fn gone(error: S3Error) -> S3Error {
    if *error.code() == S3ErrorCode::AccessDenied {
        s3_error!(NoSuchUpload)
    } else {
        error
    }
}

/// The body, which breaks at its end where its bytes do not have this sum; and whether it did.
fn verified(body: StreamingBlob, wanted: String) -> (StreamingBlob, Arc<AtomicBool>) {
    let differs = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&differs);
    let state = (body, Sha256::new());
    let checked = stream::unfold(Some(state), move |state| {
        let (wanted, told) = (wanted.clone(), Arc::clone(&told));
        async move {
            let (mut body, mut hash) = state?;
            match body.next().await {
                Some(Ok(piece)) => {
                    hash.update(&piece);
                    Some((Ok(piece), Some((body, hash))))
                }
                Some(Err(error)) => Some((Err(Broken(error)), None)),
                None if STANDARD.encode(hash.finalize()) == wanted => None,
                None => {
                    told.store(true, Ordering::SeqCst);
                    Some((Err(Broken("the sum differs".into())), None))
                }
            }
        }
    });
    (StreamingBlob::wrap(checked), differs)
}

fn no_bytes() -> StreamingBlob {
    StreamingBlob::wrap(stream::empty::<Result<Bytes, Broken>>())
}

#[derive(Debug, thiserror::Error)]
#[error("the body broke")]
struct Broken(#[source] StdError);

async fn md5_of(path: &Path) -> std::io::Result<String> {
    let mut file = tokio::fs::File::open(path).await?;
    let (mut hash, mut piece) = (Md5::new(), vec![0; 1024 * 1024]);
    loop {
        let read = file.read(&mut piece).await?;
        match piece.get(..read) {
            Some([]) | None => return Ok(hex::encode(hash.finalize())),
            Some(bytes) => hash.update(bytes),
        }
    }
}

macro_rules! as_it_is {
    ($($verb:ident($input:ty) -> $output:ty;)+) => {
        #[async_trait::async_trait]
        impl S3 for Buckets {
            $(
                async fn $verb(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                    self.files.$verb(request).await
                }
            )+

            async fn put_object(
                &self,
                mut request: S3Request<PutObjectInput>,
            ) -> S3Result<S3Response<PutObjectOutput>> {
                request.input.storage_class = None;
                self.files.put_object(request).await
            }

            async fn delete_object(
                &self,
                request: S3Request<DeleteObjectInput>,
            ) -> S3Result<S3Response<DeleteObjectOutput>> {
                let sidecars = self.sidecars(&request.input.bucket, &request.input.key);
                let deleted = self.files.delete_object(request).await?;
                for sidecar in sidecars {
                    // One that is not there was never made, or went with an earlier call.
                    let _absent = tokio::fs::remove_file(sidecar).await;
                }
                Ok(deleted)
            }

            async fn upload_part(
                &self,
                mut request: S3Request<UploadPartInput>,
            ) -> S3Result<S3Response<UploadPartOutput>> {
                let Some(sum) = request.input.checksum_sha256.clone() else {
                    return self.files.upload_part(request).await.map_err(gone);
                };
                let body = request.input.body.take();
                let (body, differs) = verified(body.unwrap_or_else(no_bytes), sum.clone());
                request.input.body = Some(body);
                match self.files.upload_part(request).await {
                    Ok(mut stored) => {
                        stored.output.checksum_sha256 = Some(sum);
                        Ok(stored)
                    }
                    Err(_) if differs.load(Ordering::SeqCst) => Err(s3_error!(BadDigest)),
                    Err(error) => Err(gone(error)),
                }
            }

            async fn list_parts(
                &self,
                request: S3Request<ListPartsInput>,
            ) -> S3Result<S3Response<ListPartsOutput>> {
                let upload = request.input.upload_id.clone();
                let info = self.root.join(format!(".upload-{upload}.json"));
                if !tokio::fs::try_exists(&info).await.unwrap_or(false) {
                    return Err(s3_error!(NoSuchUpload));
                }
                let mut listed = self.files.list_parts(request).await?;
                let parts = listed.output.parts.get_or_insert_default();
                parts.sort_by_key(|part| part.part_number);
                for part in parts {
                    let path = self.part(&upload, part.part_number.unwrap_or_default());
                    let mark = md5_of(&path).await;
                    part.e_tag = Some(ETag::Strong(mark.map_err(S3Error::internal_error)?));
                }
                Ok(listed)
            }

            async fn complete_multipart_upload(
                &self,
                request: S3Request<CompleteMultipartUploadInput>,
            ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
                self.files.complete_multipart_upload(request).await.map_err(gone)
            }

            async fn abort_multipart_upload(
                &self,
                request: S3Request<AbortMultipartUploadInput>,
            ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
                self.files.abort_multipart_upload(request).await.map_err(gone)
            }
        }
    };
}

as_it_is! {
    copy_object(CopyObjectInput) -> CopyObjectOutput;
    create_bucket(CreateBucketInput) -> CreateBucketOutput;
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput;
    get_object(GetObjectInput) -> GetObjectOutput;
    head_bucket(HeadBucketInput) -> HeadBucketOutput;
    head_object(HeadObjectInput) -> HeadObjectOutput;
    list_buckets(ListBucketsInput) -> ListBucketsOutput;
    list_objects(ListObjectsInput) -> ListObjectsOutput;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output;
}
