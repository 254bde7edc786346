//! Cursors of lists that combine several pages of the store.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::http::problem::{Kind, Problem};

/// A position in a list that is filtered here: a page of the store, and the items of it that have
/// been processed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FilteredCursor {
    /// The store's cursor of the page; `None` for the first one.
    #[serde(rename = "c")]
    pub(crate) page: Option<String>,
    /// Items of the page that have been processed.
    #[serde(rename = "s")]
    pub(crate) skip: u32,
}

/// A position in a list over all connections of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantCursor {
    /// The connection that the next page begins in.
    #[serde(rename = "k")]
    pub(crate) connection: String,
    /// The store's cursor within it.
    #[serde(rename = "c")]
    pub(crate) page: Option<String>,
}

/// Encodes a position as an opaque text.
pub(crate) fn encode(position: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(position).unwrap_or_default())
}

/// The inverse of [`encode`].
pub(crate) fn decode<T: for<'a> Deserialize<'a>>(cursor: &str) -> Result<T, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    let position = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    position.ok_or_else(|| {
        let detail = "the cursor does not belong to this list";
        Problem::new(Kind::MalformedRequest, detail).parameter("cursor")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_from_its_cursor() {
        let position = FilteredCursor {
            page: Some("abc".to_owned()),
            skip: 7,
        };
        let read: FilteredCursor = decode(&encode(&position)).unwrap();
        assert_eq!(read, position);
    }

    #[test]
    fn the_cursor_of_another_list_is_refused() {
        let other = encode(&TenantCursor {
            connection: "c_01".to_owned(),
            page: None,
        });
        for bad in [other.as_str(), "not-a-cursor", ""] {
            let problem = decode::<FilteredCursor>(bad).unwrap_err();
            assert_eq!(problem.status(), 400, "{bad}");
        }
    }
}
