//! What decides whether and how a file's content is fetched.

use domain::{DriveVersion, FileId, Timestamp};
use http::Method;
use serde::Deserialize;

use crate::create::GOOGLE_TYPES;
use crate::request::{Call, parsed, unclear};
use crate::wire::Int64;
use crate::{DriveClient, DriveError, Expected, FOLDER, SHORTCUT};

const FIELDS: &str = "id,version,headRevisionId,size,md5Checksum,sha256Checksum,mimeType,modifiedTime,trashed,\
    capabilities(canDownload)";
/// The types of shortcuts to other applications' items begin with it.
const THIRD_PARTY: &str = "application/vnd.google-apps.drive-sdk";

/// A file's content at one moment, in a few facts: read before a download and after it, they show whether the file has
/// changed meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentFacts {
    /// Drive's version of the file: also moved by what is not content.
    pub version: DriveVersion,
    /// The revision whose content it is; `None` for what has no bytes of its own.
    pub head_revision_id: Option<String>,
    /// Bytes of content. Drive gives documents of its editors one too, which no export has.
    pub size_bytes: Option<u64>,
    /// MD5 of the content, lower-case hex; `None` for what has no bytes of its own.
    pub md5: Option<String>,
    /// SHA-256 of the content, lower-case hex; `None` for what has no bytes of its own, and for some old files.
    pub sha256: Option<String>,
    /// Its type.
    pub mime_type: String,
    /// When somebody last modified it.
    pub modified_at: Option<Timestamp>,
    /// In the bin, by itself or with a folder above it.
    pub trashed: bool,
    /// Whether we may download or export it.
    pub can_download: bool,
}

/// Where the bytes of a file come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentSource {
    /// It has bytes of its own: [`DriveClient::download`].
    OwnBytes,
    /// A document of Google's, whose bytes are made on demand: [`DriveClient::export`].
    Export,
    /// None: a folder, a shortcut or another application's item. A shortcut's target is a file of its own.
    Nowhere,
}

impl ContentSource {
    /// The source for a file of this type.
    #[must_use]
    pub fn of(mime_type: &str) -> Self {
        if mime_type == FOLDER || mime_type == SHORTCUT || mime_type.starts_with(THIRD_PARTY) {
            Self::Nowhere
        } else if mime_type.starts_with(GOOGLE_TYPES) {
            Self::Export
        } else {
            Self::OwnBytes
        }
    }
}

impl ContentFacts {
    /// Whether both are of the same bytes. For what has no bytes of its own only the version can say so, and it also
    /// moves for other reasons: what is then called different may be the same.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        match ContentSource::of(&self.mime_type) {
            ContentSource::OwnBytes => {
                self.head_revision_id == other.head_revision_id
                    && self.size_bytes == other.size_bytes
                    && self.md5 == other.md5
                    && self.sha256 == other.sha256
                    && self.mime_type == other.mime_type
            }
            ContentSource::Export | ContentSource::Nowhere => {
                self.version == other.version && self.mime_type == other.mime_type
            }
        }
    }

    /// What a download of the file's own bytes must be.
    #[must_use]
    pub fn expected(&self) -> Expected<'_> {
        Expected {
            mime_type: Some(&self.mime_type),
            size_bytes: self.size_bytes,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    id: String,
    version: Int64,
    head_revision_id: Option<String>,
    size: Option<Int64>,
    md5_checksum: Option<String>,
    sha256_checksum: Option<String>,
    mime_type: String,
    modified_time: Option<String>,
    trashed: Option<bool>,
    capabilities: Option<WireCapabilities>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireCapabilities {
    can_download: Option<bool>,
}

/// The answer is about another file.
#[derive(Debug, thiserror::Error)]
#[error("the answer is about another file")]
pub(crate) struct AnotherFile;

impl DriveClient {
    /// What decides whether and how a file's content is fetched (v3 `files.get`): one cheap call, to be made before a
    /// download and after it. They are no snapshot, and order nothing.
    ///
    /// # Errors
    /// [`DriveError`]; [`DriveError::gone`] says whether the file is not there for us any more.
    pub async fn content_facts(&self, file: &FileId) -> Result<ContentFacts, DriveError> {
        let call = Call::new("files.get", Method::GET, format!("/drive/v3/files/{file}"))
            .query("supportsAllDrives", "true")
            .query("fields", FIELDS);
        let body = self.call(&call).await?;
        let wire: Wire = parsed(call.asked(), &body)?;
        if wire.id != file.as_str() {
            return Err(unclear(call.asked(), AnotherFile));
        }
        Ok(ContentFacts {
            version: DriveVersion(wire.version.0),
            head_revision_id: wire.head_revision_id,
            size_bytes: wire.size.map(|size| size.0),
            md5: wire.md5_checksum,
            sha256: wire.sha256_checksum,
            mime_type: wire.mime_type,
            modified_at: wire
                .modified_time
                .as_deref()
                .and_then(Timestamp::parse_rfc3339),
            trashed: wire.trashed.unwrap_or(false),
            // Absent is not no: Drive refuses the download itself where it may not be.
            can_download: wire
                .capabilities
                .and_then(|capabilities| capabilities.can_download)
                .unwrap_or(true),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> ContentFacts {
        ContentFacts {
            version: DriveVersion(4),
            head_revision_id: Some("r1".to_owned()),
            size_bytes: Some(3),
            md5: Some("m".to_owned()),
            sha256: None,
            mime_type: "text/plain".to_owned(),
            modified_at: None,
            trashed: false,
            can_download: true,
        }
    }

    #[test]
    fn a_new_version_is_new_content_only_where_nothing_else_tells() {
        let (first, mut renamed) = (facts(), facts());
        renamed.version = DriveVersion(5);
        assert!(first.same_content(&renamed));
        let mut replaced = facts();
        replaced.head_revision_id = Some("r2".to_owned());
        assert!(!first.same_content(&replaced));

        let document = |version| ContentFacts {
            version: DriveVersion(version),
            head_revision_id: None,
            mime_type: "application/vnd.google-apps.document".to_owned(),
            ..facts()
        };
        assert!(document(4).same_content(&document(4)));
        assert!(!document(4).same_content(&document(5)));
    }

    #[test]
    fn folders_and_shortcuts_have_no_content_of_their_own() {
        let source = ContentSource::of;
        assert_eq!(source("image/png"), ContentSource::OwnBytes);
        assert_eq!(source(""), ContentSource::OwnBytes);
        assert_eq!(
            source("application/vnd.google-apps.document"),
            ContentSource::Export
        );
        for nothing in [
            FOLDER,
            SHORTCUT,
            "application/vnd.google-apps.drive-sdk.123",
        ] {
            assert_eq!(source(nothing), ContentSource::Nowhere);
        }
    }
}
