//! The revisions of a file's content, as far as Drive still has them.

use domain::{FileId, Timestamp};
use http::Method;
use serde::{Deserialize, Serialize};

use crate::request::{Call, parsed};
use crate::wire::{Int64, User};
use crate::{Download, DriveClient, DriveError, Expected};

/// The most that Drive gives in one page of revisions.
const PAGE_SIZE: &str = "1000";
const REVISION: &str = "id,mimeType,modifiedTime,size,md5Checksum,keepForever,originalFilename,lastModifyingUser(emailAddress)";
/// The longest id of a revision that we take, in bytes.
const ID_BYTES_MAX: usize = 256;

/// What Drive calls a revision of one file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevisionId(String);

/// A text that is no revision's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no revision has such an id")]
pub struct RevisionIdRefused;

impl RevisionId {
    /// The id of a text, as Drive gave it or we stored it.
    ///
    /// # Errors
    /// [`RevisionIdRefused`] for an empty text, a long one, and one with anything but letters, digits, `-` and `_`.
    pub fn parse(text: &str) -> Result<Self, RevisionIdRefused> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if text.is_empty() || text.len() > ID_BYTES_MAX || !text.bytes().all(fits) {
            return Err(RevisionIdRefused);
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One revision of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Its id; the one of the present content is the file's `headRevisionId`.
    pub id: RevisionId,
    /// The type that the content had.
    pub mime_type: Option<String>,
    /// When it was made.
    pub modified_at: Option<Timestamp>,
    /// Who made it: an e-mail address.
    pub modified_by: Option<String>,
    /// Bytes of content; `None` for a document of Google's.
    pub size_bytes: Option<u64>,
    /// MD5 of the content, lower-case hex; `None` for a document of Google's.
    pub md5: Option<String>,
    /// The name under which it was uploaded.
    pub uploaded_as: Option<String>,
    /// Whether Drive keeps it. What it does not keep goes 30 days after it was replaced, or with the hundredth newer one,
    /// and can't be downloaded meanwhile.
    pub kept_forever: bool,
}

/// One page of revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionPage {
    /// The revisions, oldest first. May be incomplete for documents of Google's, whose small steps Drive joins.
    pub revisions: Vec<Revision>,
    /// Entries whose id is the shape of none.
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
    type Error = RevisionIdRefused;

    fn try_from(wire: WireRevision) -> Result<Self, RevisionIdRefused> {
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
struct Keeping {
    keep_forever: bool,
}

impl DriveClient {
    /// One page of a file's revisions, oldest first; the first page without a token.
    ///
    /// # Errors
    /// [`DriveError`]. Only who may edit the file sees its revisions.
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
        let list: WireList = parsed(call.asked(), &body)?;
        let mut page = RevisionPage {
            revisions: Vec::with_capacity(list.revisions.len()),
            skipped: 0,
            next: list.next_page_token,
        };
        for wire in list.revisions {
            match Revision::try_from(wire) {
                Ok(revision) => page.revisions.push(revision),
                Err(RevisionIdRefused) => page.skipped += 1,
            }
        }
        Ok(page)
    }

    /// One revision.
    ///
    /// # Errors
    /// [`DriveError`]; [`Kind::NotFound`](crate::Kind::NotFound) for one that Drive has not, or not any more.
    pub async fn get_revision(
        &self,
        file: &FileId,
        revision: &RevisionId,
    ) -> Result<Revision, DriveError> {
        let call = Call::new("revisions.get", Method::GET, path(file, revision));
        self.revision(call.query("fields", REVISION)).await
    }

    /// Has Drive keep a revision for ever, or no longer; at most 200 of one file. Only such a revision can be downloaded
    /// once it is not the newest any more.
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
            .json(&Keeping { keep_forever })?;
        self.revision(call).await
    }

    /// The content of a revision, from this byte on: the newest one's, or one's that is kept for ever.
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
        self.content_of(call, from_byte, expected).await
    }

    async fn revision(&self, call: Call) -> Result<Revision, DriveError> {
        let body = self.call(&call).await?;
        let wire: WireRevision = parsed(call.asked(), &body)?;
        Revision::try_from(wire).map_err(|refused| crate::request::unclear(call.asked(), refused))
    }
}

fn path(file: &FileId, revision: &RevisionId) -> String {
    format!("/drive/v3/files/{file}/revisions/{}", revision.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_a_revision_can_be_a_part_of_a_path() {
        assert_eq!(RevisionId::parse("0B-x_9").unwrap().as_str(), "0B-x_9");
        for text in ["", "a/b", "..", "a?b", "a b"] {
            assert_eq!(RevisionId::parse(text), Err(RevisionIdRefused), "{text}");
        }
    }
}
