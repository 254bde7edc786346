//! The revisions of a file's content that Drive still keeps.

use domain::{FileId, Timestamp};
use http::Method;
use serde::{Deserialize, Serialize};

use crate::calls::request::{Call, parse_json};
use crate::protocol::wire::{Int64, User};
use crate::{Download, DriveClient, DriveError, Expected};

/// The largest page of revisions.
const PAGE_SIZE: &str = "1000";
const REVISION: &str = "id,mimeType,modifiedTime,size,md5Checksum,keepForever,originalFilename,\
    lastModifyingUser(emailAddress)";
/// The longest accepted revision id, in bytes.
const ID_BYTES_MAX: usize = 256;

/// The id of a revision, unique within its file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevisionId(String);

/// A text is not a valid revision id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid revision id")]
pub struct InvalidRevisionId;

impl RevisionId {
    /// Parses an id, as received or stored.
    ///
    /// # Errors
    /// [`InvalidRevisionId`] for an empty or long text, and for characters other than letters,
    /// digits, `-` and `_`.
    pub fn parse(text: &str) -> Result<Self, InvalidRevisionId> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if text.is_empty() || text.len() > ID_BYTES_MAX || !text.bytes().all(fits) {
            return Err(InvalidRevisionId);
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One revision of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// The id. The current content's is the file's `headRevisionId`.
    pub id: RevisionId,
    /// The MIME type of the content.
    pub mime_type: Option<String>,
    /// The time of its creation.
    pub modified_at: Option<Timestamp>,
    /// The e-mail address of its author.
    pub modified_by: Option<String>,
    /// The size of the content in bytes; `None` for a Google document.
    pub size_bytes: Option<u64>,
    /// The MD5 of the content in lower-case hex; `None` for a Google document.
    pub md5: Option<String>,
    /// The original file name of the upload.
    pub uploaded_as: Option<String>,
    /// Drive keeps it forever. Other revisions are deleted 30 days after their replacement
    /// or with the hundredth newer one, and can't be downloaded meanwhile.
    pub kept_forever: bool,
}

/// One page of revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionPage {
    /// The revisions, oldest first. Incomplete for Google documents, whose small revisions Drive
    /// merges.
    pub revisions: Vec<Revision>,
    /// The number of entries with an invalid id.
    pub skipped: u32,
    /// The token of the next page; `None` at the end.
    pub next: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireList {
    next_page_token: Option<String>,
    #[serde(default)]
    revisions: Vec<WireRevision>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRevision {
    id: String,
    mime_type: Option<String>,
    modified_time: Option<String>,
    last_modifying_user: Option<User>,
    size: Option<Int64>,
    md5_checksum: Option<String>,
    original_filename: Option<String>,
    keep_forever: Option<bool>,
}

impl TryFrom<WireRevision> for Revision {
    type Error = InvalidRevisionId;

    fn try_from(wire: WireRevision) -> Result<Self, InvalidRevisionId> {
        let at = wire.modified_time.as_deref();
        Ok(Self {
            id: RevisionId::parse(&wire.id)?,
            mime_type: wire.mime_type,
            modified_at: at.and_then(Timestamp::parse_rfc3339),
            modified_by: wire.last_modifying_user.and_then(|user| user.email_address),
            size_bytes: wire.size.map(|size| size.0),
            md5: wire.md5_checksum,
            uploaded_as: wire.original_filename,
            kept_forever: wire.keep_forever.unwrap_or(false),
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeepForever {
    keep_forever: bool,
}

impl DriveClient {
    /// Lists one page of a file's revisions, oldest first; the first page without a token.
    ///
    /// # Errors
    /// [`DriveError`]. Only users who may edit the file see its revisions.
    pub async fn list_revisions(
        &self,
        file: &FileId,
        page_token: Option<&str>,
    ) -> Result<RevisionPage, DriveError> {
        let path = format!("/drive/v3/files/{file}/revisions");
        let call = Call::new("revisions.list", Method::GET, path);
        let call = match page_token {
            Some(token) => call.cursor(token),
            None => call,
        };
        let call = call
            .query("pageSize", PAGE_SIZE)
            .query("fields", &format!("nextPageToken,revisions({REVISION})"));
        let body = self.call(&call).await?;
        let list: WireList = parse_json(call.context(), &body)?;
        let mut page = RevisionPage {
            revisions: Vec::with_capacity(list.revisions.len()),
            skipped: 0,
            next: list.next_page_token,
        };
        for wire in list.revisions {
            match Revision::try_from(wire) {
                Ok(revision) => page.revisions.push(revision),
                Err(InvalidRevisionId) => page.skipped += 1,
            }
        }
        Ok(page)
    }

    /// Reads one revision.
    ///
    /// # Errors
    /// [`DriveError`]; [`Kind::NotFound`](crate::Kind::NotFound) if Drive does not have it (any
    /// more).
    pub async fn get_revision(
        &self,
        file: &FileId,
        revision: &RevisionId,
    ) -> Result<Revision, DriveError> {
        let call = Call::new("revisions.get", Method::GET, path(file, revision));
        self.revision(call.query("fields", REVISION)).await
    }

    /// Sets whether Drive keeps a revision forever, at most 200 per file. Apart from the newest
    /// one, only such revisions can be downloaded.
    ///
    /// # Errors
    /// [`DriveError`].
    pub async fn keep_revision(
        &self,
        file: &FileId,
        revision: &RevisionId,
        keep_forever: bool,
    ) -> Result<Revision, DriveError> {
        let call = Call::new("revisions.update", Method::PATCH, path(file, revision))
            .query("fields", REVISION)
            .json(&KeepForever { keep_forever })?;
        self.revision(call).await
    }

    /// Downloads the content of a revision from a byte on: the newest revision, or one that is kept
    /// forever.
    ///
    /// # Errors
    /// As for [`DriveClient::download`].
    pub async fn download_revision(
        &self,
        file: &FileId,
        revision: &RevisionId,
        from_byte: u64,
        expected: Expected<'_>,
    ) -> Result<Download, DriveError> {
        let call = Call::new("revisions.get", Method::GET, path(file, revision))
            .query("alt", "media")
            .query("acknowledgeAbuse", "false");
        self.call_for_content(call, from_byte, expected).await
    }

    async fn revision(&self, call: Call) -> Result<Revision, DriveError> {
        let body = self.call(&call).await?;
        let wire: WireRevision = parse_json(call.context(), &body)?;
        Revision::try_from(wire)
            .map_err(|refused| crate::calls::request::ambiguous(call.context(), refused))
    }
}

fn path(file: &FileId, revision: &RevisionId) -> String {
    format!("/drive/v3/files/{file}/revisions/{}", revision.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_id_is_a_valid_path_segment() {
        assert_eq!(RevisionId::parse("0B-x_9").unwrap().as_str(), "0B-x_9");
        for text in ["", "a/b", "..", "a?b", "a b"] {
            assert_eq!(RevisionId::parse(text), Err(InvalidRevisionId), "{text}");
        }
    }
}
