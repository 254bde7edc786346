//! The lists of open uploads and of versions, which `s3s-fs` lacks.

use std::collections::BTreeSet;

use s3s::dto::{
    CommonPrefix, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectVersionsInput,
    ListObjectVersionsOutput, ListObjectsV2Input, ListObjectsV2Output, MultipartUpload,
    ObjectVersion,
};

use super::files::Upload;

/// The most uploads on a page.
const UPLOADS_MAX: i32 = 1_000;

/// The id of the only version of an object in a bucket without versions, as in S3.
const ONLY_VERSION: &str = "null";

/// Returns the request for the objects whose versions a request asks for.
pub(super) fn objects_after(request: ListObjectVersionsInput) -> ListObjectsV2Input {
    ListObjectsV2Input {
        bucket: request.bucket,
        prefix: request.prefix,
        max_keys: request.max_keys,
        start_after: request.key_marker,
        ..ListObjectsV2Input::default()
    }
}

/// Returns the versions of these objects: each has one.
pub(super) fn versions(
    found: ListObjectsV2Output,
    request: ListObjectVersionsInput,
) -> ListObjectVersionsOutput {
    let objects = found.contents.unwrap_or_default().into_iter();
    let versions: Vec<ObjectVersion> = objects
        .map(|object| ObjectVersion {
            key: object.key,
            e_tag: object.e_tag,
            size: object.size,
            last_modified: object.last_modified,
            is_latest: Some(true),
            version_id: Some(ONLY_VERSION.to_owned()),
            ..ObjectVersion::default()
        })
        .collect();
    let more = found.is_truncated == Some(true);
    let last = versions.last().filter(|_| more);
    ListObjectVersionsOutput {
        name: Some(request.bucket),
        prefix: request.prefix,
        is_truncated: Some(more),
        next_key_marker: last.and_then(|last| last.key.clone()),
        next_version_id_marker: last.map(|_| ONLY_VERSION.to_owned()),
        versions: Some(versions),
        ..ListObjectVersionsOutput::default()
    }
}

/// Returns the page of the open uploads to a bucket that a request asks for: those with the prefix,
/// after the markers; keys with the delimiter after the prefix are one common prefix.
pub(super) fn uploads(
    begun: Vec<Upload>,
    request: ListMultipartUploadsInput,
) -> ListMultipartUploadsOutput {
    let prefix = request.prefix.clone().unwrap_or_default();
    let most = request
        .max_uploads
        .unwrap_or(UPLOADS_MAX)
        .clamp(0, UPLOADS_MAX);
    let size = usize::try_from(most).unwrap_or(0);
    let marker = request.key_marker.clone().unwrap_or_default();
    let id_marker = request.upload_id_marker.clone().filter(|id| !id.is_empty());
    // With a marker of an upload, the page continues within its key.
    let mut is_after = id_marker.is_none();
    let mut after = |upload: &Upload| match upload.key.as_str().cmp(&marker) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => {
            let included = is_after && id_marker.is_some();
            is_after |= id_marker.as_ref() == Some(&upload.id);
            included
        }
    };
    let delimiter = request.delimiter.clone().filter(|text| !text.is_empty());
    let mut folders = BTreeSet::new();
    let mut page: Vec<MultipartUpload> = Vec::new();
    let mut next = None;
    let mut last = (None, None);
    for upload in begun {
        if !upload.key.starts_with(&prefix) || !after(&upload) {
            continue;
        }
        let rest = upload.key.get(prefix.len()..).unwrap_or_default();
        let folder = delimiter.as_ref().and_then(|delimiter| {
            let (folder, _) = rest.split_once(delimiter.as_str())?;
            Some(format!("{prefix}{folder}{delimiter}"))
        });
        if folder
            .as_ref()
            .is_some_and(|folder| folders.contains(folder) || marker == *folder)
        {
            continue;
        }
        if page.len() + folders.len() == size {
            next = Some(std::mem::take(&mut last));
            break;
        }
        match folder {
            Some(folder) => {
                last = (Some(folder.clone()), None);
                folders.insert(folder);
            }
            None => {
                last = (Some(upload.key.clone()), Some(upload.id.clone()));
                page.push(MultipartUpload {
                    initiated: Some(upload.begun.into()),
                    key: Some(upload.key),
                    upload_id: Some(upload.id),
                    ..MultipartUpload::default()
                });
            }
        }
    }
    let is_truncated = next.is_some();
    let (next_key_marker, next_upload_id_marker) = next.unwrap_or_default();
    let folder = |folder: String| CommonPrefix {
        prefix: Some(folder),
    };
    ListMultipartUploadsOutput {
        bucket: Some(request.bucket),
        common_prefixes: Some(folders.into_iter().map(folder).collect()),
        delimiter: request.delimiter,
        is_truncated: Some(is_truncated),
        key_marker: request.key_marker,
        max_uploads: Some(most),
        next_key_marker,
        next_upload_id_marker,
        prefix: request.prefix,
        upload_id_marker: request.upload_id_marker,
        uploads: Some(page),
        ..ListMultipartUploadsOutput::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn begun() -> Vec<Upload> {
        let of = |(number, key): (u64, &str)| Upload {
            key: key.to_owned(),
            begun: SystemTime::UNIX_EPOCH + Duration::from_secs(number),
            id: number.to_string(),
        };
        let keys = ["a", "b/1", "b/2", "b/2", "c"];
        (0..).zip(keys).map(of).collect()
    }

    fn listed(request: &ListMultipartUploadsInput) -> (Vec<String>, ListMultipartUploadsOutput) {
        let page = uploads(begun(), request.clone());
        let own = page.uploads.iter().flatten();
        let ids = own.map(|upload| upload.upload_id.clone().unwrap());
        (ids.collect(), page.clone())
    }

    #[test]
    fn pages_of_any_size_list_every_upload_once() {
        for size in 1..=6 {
            let mut request = ListMultipartUploadsInput {
                max_uploads: Some(size),
                ..ListMultipartUploadsInput::default()
            };
            let mut all = Vec::new();
            loop {
                let (ids, page) = listed(&request);
                all.extend(ids);
                if page.is_truncated != Some(true) {
                    break;
                }
                request.key_marker = page.next_key_marker;
                request.upload_id_marker = page.next_upload_id_marker;
            }
            assert_eq!(all, ["0", "1", "2", "3", "4"], "{size}");
        }
    }

    #[test]
    fn a_prefix_and_a_delimiter_select_uploads() {
        let mut request = ListMultipartUploadsInput {
            prefix: Some("b/".to_owned()),
            ..ListMultipartUploadsInput::default()
        };
        assert_eq!(listed(&request).0, ["1", "2", "3"]);
        request.prefix = None;
        request.delimiter = Some("/".to_owned());
        let (ids, page) = listed(&request);
        assert_eq!(ids, ["0", "4"]);
        let folders = page.common_prefixes.unwrap();
        assert_eq!(folders.len(), 1);
        assert_eq!(folders[0].prefix.as_deref(), Some("b/"));
    }
}
