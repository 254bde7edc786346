//! Pages of lists, and the opaque cursors between them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::StoreError;

/// The page of a list to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// The most items to return; clamped to 1 to [`PageRequest::LIMIT_MAX`].
    pub limit: u32,
    /// The `next_cursor` of the previous page; `None` for the first page.
    pub cursor: Option<String>,
}

impl PageRequest {
    /// The most items that one page returns.
    pub const LIMIT_MAX: u32 = 1_000;

    /// Requests the first page.
    #[must_use]
    pub fn first(limit: u32) -> Self {
        Self {
            limit,
            cursor: None,
        }
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit.clamp(1, Self::LIMIT_MAX)
    }

    /// The position that the cursor names, if there is a cursor.
    pub(crate) fn position(&self, list: &'static str) -> Result<Option<Position>, StoreError> {
        let parse = |text: &String| Position::parse(list, text);
        self.cursor.as_ref().map(parse).transpose()
    }
}

/// One page of a list. It may have fewer items than requested, even none, and still have a next
/// page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// The cursor of the next page; `None` at the end of the list.
    pub next_cursor: Option<String>,
}

/// A position in a list: the sort key after which the next page starts. It names no partition: that
/// is always built from the key of the call, so that a cursor of another connection reads nothing
/// of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    /// The partition, for lists that span several.
    pub(crate) part: u8,
    /// The last sort key that was read there; `None` at its beginning.
    pub(crate) after: Option<String>,
}

/// The form of a position in a cursor.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(rename = "v")]
    version: u32,
    #[serde(rename = "l")]
    list: String,
    #[serde(rename = "p", default)]
    part: u8,
    #[serde(rename = "a", default)]
    after: Option<String>,
}

const VERSION: u32 = 1;
/// More than any cursor takes: a sort key has at most 1,024 bytes, JSON may escape, base64 adds a
/// third.
const CURSOR_BYTES_MAX: usize = 8 * 1024;

impl Position {
    pub(crate) fn after(part: u8, sort_key: String) -> Self {
        Self {
            part,
            after: Some(sort_key),
        }
    }

    pub(crate) fn cursor(&self, list: &'static str) -> Result<String, StoreError> {
        let form = Form {
            version: VERSION,
            list: list.to_owned(),
            part: self.part,
            after: self.after.clone(),
        };
        let json = serde_json::to_vec(&form).map_err(|why| StoreError::Refused(Box::new(why)))?;
        Ok(URL_SAFE_NO_PAD.encode(json))
    }

    fn parse(list: &'static str, text: &str) -> Result<Self, StoreError> {
        if text.len() > CURSOR_BYTES_MAX {
            return Err(StoreError::InvalidCursor);
        }
        let invalid = |_| StoreError::InvalidCursor;
        let json = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| StoreError::InvalidCursor)?;
        let form: Form = serde_json::from_slice(&json).map_err(invalid)?;
        if form.version != VERSION || form.list != list {
            return Err(StoreError::InvalidCursor);
        }
        Ok(Self {
            part: form.part,
            after: form.after,
        })
    }
}
