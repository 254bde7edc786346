//! `s3s-fs` with what it lacks of S3, as far as we rely on it.

use std::ops::Range;
use std::path::Path;

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
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;

use super::files::{self, Files, Incomplete};
use super::part::{self, Unput};

/// Buckets in a directory.
#[derive(Debug)]
pub(super) struct Buckets {
    inner: FileSystem,
    files: Files,
}

impl Buckets {
    pub(super) fn new(inner: FileSystem, root: &Path) -> Self {
        let files = Files::new(root);
        Self { inner, files }
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

/// S3's word for a part that was not put.
fn unput(why: Unput) -> S3Error {
    match why {
        Unput::OtherSum => s3_error!(BadDigest),
        Unput::Body(_) => s3_error!(IncompleteBody),
        Unput::Files(error) => S3Error::internal_error(error),
    }
}

/// S3's word for what `s3s-fs` has no word for.
fn told(why: Incomplete) -> S3Error {
    match why {
        Incomplete::NoUpload => s3_error!(NoSuchUpload),
        Incomplete::WrongParts => s3_error!(InvalidPart),
        Incomplete::TooSmall => s3_error!(EntityTooSmall),
        Incomplete::WrongSize => s3_error!(InvalidRequest),
        Incomplete::Files(error) => S3Error::internal_error(error),
    }
}

/// Which bytes an answer holds.
fn held(output: &GetObjectOutput) -> Range<u64> {
    let range = output.content_range.as_deref();
    let first = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-'));
    let first = first.and_then(|(first, _)| first.parse().ok()).unwrap_or(0);
    let length = output
        .content_length
        .and_then(|length| u64::try_from(length).ok());
    first..first.saturating_add(length.unwrap_or_default())
}

macro_rules! as_it_is {
    ($($verb:ident($input:ty) -> $output:ty;)+) => {
        #[async_trait::async_trait]
        impl S3 for Buckets {
            $(
                async fn $verb(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                    self.inner.$verb(request).await
                }
            )+

            async fn put_object(
                &self,
                mut request: S3Request<PutObjectInput>,
            ) -> S3Result<S3Response<PutObjectOutput>> {
                request.input.storage_class = None;
                self.inner.put_object(request).await
            }

            async fn get_object(
                &self,
                request: S3Request<GetObjectInput>,
            ) -> S3Result<S3Response<GetObjectOutput>> {
                let path = self.files.object(&request.input.bucket, &request.input.key);
                let mut found = self.inner.get_object(request).await?;
                if let Some(path) = path {
                    let bytes = files::read(&path, held(&found.output)).await;
                    let bytes = bytes.map_err(S3Error::internal_error)?;
                    found.output.body = Some(StreamingBlob::wrap(bytes));
                }
                Ok(found)
            }

            async fn delete_object(
                &self,
                request: S3Request<DeleteObjectInput>,
            ) -> S3Result<S3Response<DeleteObjectOutput>> {
                let sidecars = self.files.sidecars(&request.input.bucket, &request.input.key);
                let deleted = self.inner.delete_object(request).await?;
                for sidecar in sidecars {
                    // One that is not there was never made, or went with an earlier call.
                    let _absent = tokio::fs::remove_file(sidecar).await;
                }
                Ok(deleted)
            }

            async fn upload_part(
                &self,
                request: S3Request<UploadPartInput>,
            ) -> S3Result<S3Response<UploadPartOutput>> {
                let input = request.input;
                if !self.files.is_upload(&input.upload_id) {
                    return Err(s3_error!(NoSuchUpload));
                }
                let body = input.body.ok_or_else(|| s3_error!(IncompleteBody))?;
                let path = self.files.part(&input.upload_id, input.part_number);
                let wanted = input.checksum_sha256.clone();
                let mark = part::put(path, body, wanted).await.map_err(unput)?;
                Ok(S3Response::new(UploadPartOutput {
                    checksum_sha256: input.checksum_sha256,
                    e_tag: Some(ETag::Strong(mark)),
                    ..UploadPartOutput::default()
                }))
            }

            async fn list_parts(
                &self,
                request: S3Request<ListPartsInput>,
            ) -> S3Result<S3Response<ListPartsOutput>> {
                let upload = request.input.upload_id.clone();
                if !self.files.is_upload(&upload) {
                    return Err(s3_error!(NoSuchUpload));
                }
                let mut listed = self.inner.list_parts(request).await?;
                let parts = listed.output.parts.get_or_insert_default();
                parts.sort_by_key(|part| part.part_number);
                for part in parts {
                    let path = self.files.part(&upload, part.part_number.unwrap_or_default());
                    let mark = part::mark_of_part(path).await;
                    part.e_tag = Some(ETag::Strong(mark.map_err(S3Error::internal_error)?));
                }
                Ok(listed)
            }

            async fn complete_multipart_upload(
                &self,
                request: S3Request<CompleteMultipartUploadInput>,
            ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
                let input = request.input;
                let parts = input.multipart_upload.and_then(|listed| listed.parts);
                let part = |part: s3s::dto::CompletedPart| {
                    let mark = part.e_tag.map(ETag::into_value).unwrap_or_default();
                    (part.part_number.unwrap_or_default(), mark)
                };
                let parts: Vec<_> = parts.unwrap_or_default().into_iter().map(part).collect();
                let (files, size) = (self.files.clone(), input.mpu_object_size);
                let (bucket, key) = (input.bucket.clone(), input.key.clone());
                let done = tokio::task::spawn_blocking(move || {
                    files.complete((&bucket, &key), &input.upload_id, &parts, size)
                });
                let mark = done.await.map_err(S3Error::internal_error)?.map_err(told)?;
                Ok(S3Response::new(CompleteMultipartUploadOutput {
                    bucket: Some(input.bucket),
                    key: Some(input.key),
                    e_tag: Some(ETag::Strong(mark)),
                    ..CompleteMultipartUploadOutput::default()
                }))
            }

            async fn abort_multipart_upload(
                &self,
                request: S3Request<AbortMultipartUploadInput>,
            ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
                self.inner.abort_multipart_upload(request).await.map_err(gone)
            }
        }
    };
}

as_it_is! {
    copy_object(CopyObjectInput) -> CopyObjectOutput;
    create_bucket(CreateBucketInput) -> CreateBucketOutput;
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput;
    head_bucket(HeadBucketInput) -> HeadBucketOutput;
    head_object(HeadObjectInput) -> HeadObjectOutput;
    list_buckets(ListBucketsInput) -> ListBucketsOutput;
    list_objects(ListObjectsInput) -> ListObjectsOutput;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output;
}
