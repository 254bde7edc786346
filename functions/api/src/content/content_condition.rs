//! The content that a caller has seen, and requires a file to have still.

use axum::http::HeaderMap;
use domain::{EditRefused, FileRecord};

use crate::files::edit_problems::{refused, stale};
use crate::files::file_view::FileView;
use crate::http::{IfMatch, Kind, Problem};

/// The content that a caller has seen: by its version, by the entity tag of the file, or by both.
#[derive(Debug, Clone)]
pub(crate) struct ContentCondition {
    version: Option<u32>,
    if_match: Option<IfMatch>,
}

impl ContentCondition {
    /// Reads a request's condition, which must not be empty.
    pub(crate) fn read(version: Option<u32>, headers: &HeaderMap) -> Result<Self, Problem> {
        let if_match = IfMatch::optional(headers)?;
        if version.is_none() && if_match.is_none() {
            let detail = "send the content.version that was read as expected_version, or the ETag \
                          as If-Match";
            return Err(Problem::new(Kind::ConditionRequired, detail));
        }
        Ok(Self { version, if_match })
    }

    /// The condition that the content still has this version.
    pub(crate) fn version(version: u32) -> Self {
        Self {
            version: Some(version),
            if_match: None,
        }
    }

    /// Checks that the file is the one that the caller has seen, and can have content.
    pub(crate) fn check(&self, record: &FileRecord) -> Result<(), Problem> {
        if record.is_gone() {
            return Err(refused(record, EditRefused::Gone));
        }
        if !record.can_hold_content() {
            return Err(holds_no_content());
        }
        let version = record.content_version;
        if self.version.is_some_and(|expected| expected != version) {
            return Err(version_mismatch(version).current(&FileView::new(record)));
        }
        let tags = self.if_match.as_ref();
        if tags.is_some_and(|tags| !tags.allows(record.visible.0)) {
            return Err(stale(record));
        }
        Ok(())
    }
}

/// The problem of a content whose version is not the expected one.
pub(crate) fn version_mismatch(current: u32) -> Problem {
    let detail = format!("the content has version {current}; read it and expect this version");
    Problem::new(Kind::VersionMismatch, detail).current_version(current)
}

/// The problem of a file that can't have content.
pub(crate) fn holds_no_content() -> Problem {
    let detail =
        "folders, shortcuts and documents of Google's editors have no content of their own";
    Problem::new(Kind::ValueNotAllowed, detail)
}
