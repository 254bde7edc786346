//! `s3s-fs` with workarounds for the parts of S3 that it lacks and the system relies on.

use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CopyPartResult, CopySource,
    CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput,
    DeleteBucketInput, DeleteBucketOutput, DeleteObjectInput, DeleteObjectOutput,
    DeleteObjectsInput, DeleteObjectsOutput, ETag, GetBucketLocationInput, GetBucketLocationOutput,
    GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput,
    HeadObjectOutput, ListBucketsInput, ListBucketsOutput, ListMultipartUploadsInput,
    ListMultipartUploadsOutput, ListObjectVersionsInput, ListObjectVersionsOutput,
    ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, ListPartsInput,
    ListPartsOutput, PutObjectInput, PutObjectOutput, StreamingBlob, UploadPartCopyInput,
    UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;

use super::files::{self, Files, Incomplete};
use super::listing;
use super::part::{self, PartError};

/// The numbers that a part can have.
const PART_NUMBERS: RangeInclusive<i32> = 1..=10_000;

/// The buckets of a directory.
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

impl Buckets {
    /// Returns the path of a part of an open upload.
    fn part_path(&self, upload: &str, number: i32) -> S3Result<PathBuf> {
        if !PART_NUMBERS.contains(&number) {
            let range = "Part number must be an integer between 1 and 10000, inclusive";
            return Err(s3_error!(InvalidArgument, "{range}"));
        }
        if !self.files.is_upload(upload) {
            return Err(s3_error!(NoSuchUpload));
        }
        Ok(self.files.part(upload, number))
    }
}

/// Returns the bytes of a source that a part is copied from: `bytes=FIRST-LAST` within them, or
/// all.
fn copied_range(range: Option<&str>, size: u64) -> S3Result<Range<u64>> {
    let Some(range) = range else {
        return Ok(0..size);
    };
    let ends = range.strip_prefix("bytes=").and_then(|range| {
        let (first, last) = range.split_once('-')?;
        Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?))
    });
    match ends {
        Some((first, last)) if first <= last && last < size => Ok(first..last + 1),
        Some(_) => Err(s3_error!(InvalidRange)),
        None => Err(s3_error!(InvalidArgument)),
    }
}

/// Maps the error of `s3s-fs` for an unknown upload, `AccessDenied`, to that of S3.
fn map_unknown_upload(error: S3Error) -> S3Error {
    if *error.code() == S3ErrorCode::AccessDenied {
        s3_error!(NoSuchUpload)
    } else {
        error
    }
}

/// Returns S3's error for a part that was not stored.
fn part_error(error: PartError) -> S3Error {
    match error {
        PartError::WrongChecksum => s3_error!(BadDigest),
        PartError::Body(_) => s3_error!(IncompleteBody),
        PartError::Files(error) => S3Error::internal_error(error),
    }
}

/// Returns S3's error for an upload that cannot be completed.
fn completion_error(error: Incomplete) -> S3Error {
    match error {
        Incomplete::NoUpload => s3_error!(NoSuchUpload),
        Incomplete::WrongParts => s3_error!(InvalidPart),
        Incomplete::TooSmall => s3_error!(EntityTooSmall),
        Incomplete::WrongSize => s3_error!(InvalidRequest),
        Incomplete::Files(error) => S3Error::internal_error(error),
    }
}

/// Returns the range of an object's bytes in a response.
fn response_range(output: &GetObjectOutput) -> Range<u64> {
    let range = output.content_range.as_deref();
    let first = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-'));
    let first = first.and_then(|(first, _)| first.parse().ok()).unwrap_or(0);
    let length = output
        .content_length
        .and_then(|length| u64::try_from(length).ok());
    first..first.saturating_add(length.unwrap_or_default())
}

/// Implements `S3`: the listed verbs by delegation to `s3s-fs`, the others here.
macro_rules! buckets {
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
                    let bytes = files::read(&path, response_range(&found.output)).await;
                    let bytes = bytes.map_err(S3Error::internal_error)?;
                    found.output.body = Some(StreamingBlob::wrap(bytes));
                }
                Ok(found)
            }

            async fn list_object_versions(
                &self,
                request: S3Request<ListObjectVersionsInput>,
            ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
                let asked = request.input.clone();
                let list = request.map_input(listing::objects_after);
                let found = self.inner.list_objects_v2(list).await?;
                Ok(found.map_output(|found| listing::versions(found, asked)))
            }

            async fn delete_object(
                &self,
                mut request: S3Request<DeleteObjectInput>,
            ) -> S3Result<S3Response<DeleteObjectOutput>> {
                request.input.version_id = None;
                let sidecars = self.files.sidecars(&request.input.bucket, &request.input.key);
                let deleted = self.inner.delete_object(request).await?;
                for sidecar in sidecars {
                    // A missing sidecar was never created, or an earlier call removed it.
                    let _absent = tokio::fs::remove_file(sidecar).await;
                }
                Ok(deleted)
            }

            async fn upload_part(
                &self,
                request: S3Request<UploadPartInput>,
            ) -> S3Result<S3Response<UploadPartOutput>> {
                let input = request.input;
                let path = self.part_path(&input.upload_id, input.part_number)?;
                let body = input.body.ok_or_else(|| s3_error!(IncompleteBody))?;
                let expected = input.checksum_sha256.clone();
                let etag = part::put(path, body, expected).await.map_err(part_error)?;
                Ok(S3Response::new(UploadPartOutput {
                    checksum_sha256: input.checksum_sha256,
                    e_tag: Some(ETag::Strong(etag)),
                    ..UploadPartOutput::default()
                }))
            }

            async fn upload_part_copy(
                &self,
                request: S3Request<UploadPartCopyInput>,
            ) -> S3Result<S3Response<UploadPartCopyOutput>> {
                let input = request.input;
                let path = self.part_path(&input.upload_id, input.part_number)?;
                let CopySource::Bucket { bucket, key, .. } = &input.copy_source else {
                    return Err(s3_error!(NotImplemented, "only a bucket can be copied from"));
                };
                let source = self.files.object(bucket, key);
                let source = source.filter(|source| source.is_file());
                let source = source.ok_or_else(|| s3_error!(NoSuchKey))?;
                let size = tokio::fs::metadata(&source).await;
                let size = size.map_err(S3Error::internal_error)?.len();
                let range = copied_range(input.copy_source_range.as_deref(), size)?;
                let bytes = files::read(&source, range).await;
                let bytes = StreamingBlob::wrap(bytes.map_err(S3Error::internal_error)?);
                let etag = part::put(path, bytes, None).await.map_err(part_error)?;
                Ok(S3Response::new(UploadPartCopyOutput {
                    copy_part_result: Some(CopyPartResult {
                        e_tag: Some(ETag::Strong(etag)),
                        ..CopyPartResult::default()
                    }),
                    ..UploadPartCopyOutput::default()
                }))
            }

            async fn list_multipart_uploads(
                &self,
                request: S3Request<ListMultipartUploadsInput>,
            ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
                let begun = self.files.uploads(&request.input.bucket);
                let begun = begun.map_err(S3Error::internal_error)?;
                Ok(S3Response::new(listing::uploads(begun, request.input)))
            }

            async fn delete_objects(
                &self,
                request: S3Request<DeleteObjectsInput>,
            ) -> S3Result<S3Response<DeleteObjectsOutput>> {
                let bucket = request.input.bucket.clone();
                let objects = request.input.delete.objects.iter();
                let sidecars = objects.flat_map(|object| self.files.sidecars(&bucket, &object.key));
                let sidecars: Vec<_> = sidecars.collect();
                let deleted = self.inner.delete_objects(request).await?;
                for sidecar in sidecars {
                    // A missing sidecar was never created, or an earlier call removed it.
                    let _absent = tokio::fs::remove_file(sidecar).await;
                }
                Ok(deleted)
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
                    let etag = part::stored_etag(path).await;
                    part.e_tag = Some(ETag::Strong(etag.map_err(S3Error::internal_error)?));
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
                    let etag = part.e_tag.map(ETag::into_value).unwrap_or_default();
                    (part.part_number.unwrap_or_default(), etag)
                };
                let parts: Vec<_> = parts.unwrap_or_default().into_iter().map(part).collect();
                let (files, size) = (self.files.clone(), input.mpu_object_size);
                let (bucket, key) = (input.bucket.clone(), input.key.clone());
                let done = tokio::task::spawn_blocking(move || {
                    files.complete((&bucket, &key), &input.upload_id, &parts, size)
                });
                let etag = done.await.map_err(S3Error::internal_error)?;
                let etag = etag.map_err(completion_error)?;
                Ok(S3Response::new(CompleteMultipartUploadOutput {
                    bucket: Some(input.bucket),
                    key: Some(input.key),
                    e_tag: Some(ETag::Strong(etag)),
                    ..CompleteMultipartUploadOutput::default()
                }))
            }

            async fn abort_multipart_upload(
                &self,
                request: S3Request<AbortMultipartUploadInput>,
            ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
                self.inner.abort_multipart_upload(request).await.map_err(map_unknown_upload)
            }
        }
    };
}

buckets! {
    copy_object(CopyObjectInput) -> CopyObjectOutput;
    create_bucket(CreateBucketInput) -> CreateBucketOutput;
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput;
    head_bucket(HeadBucketInput) -> HeadBucketOutput;
    head_object(HeadObjectInput) -> HeadObjectOutput;
    list_buckets(ListBucketsInput) -> ListBucketsOutput;
    list_objects(ListObjectsInput) -> ListObjectsOutput;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output;
}
