//! Cursors of lists that are made of several of the store's pages.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::problem::{Kind, Problem};

/// A place in a list that is filtered here: a page of the store's, and how much of it was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scan {
    /// The store's cursor of the page; `None` for its first.
    #[serde(rename = "c")]
    pub(crate) page: Option<String>,
    /// Items of the page that were looked at.
    #[serde(rename = "s")]
    pub(crate) skip: u32,
}

/// A place in a list that runs over all connections of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Across {
    /// The connection that the next page begins in.
    #[serde(rename = "k")]
    pub(crate) connection: String,
    /// The store's cursor within it.
    #[serde(rename = "c")]
    pub(crate) page: Option<String>,
}

/// A place as an opaque text.
pub(crate) fn encode(place: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(place).unwrap_or_default())
}

/// The inverse of [`encode`].
pub(crate) fn decode<T: for<'a> Deserialize<'a>>(cursor: &str) -> Result<T, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    let place = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    place.ok_or_else(|| Problem::new(Kind::MalformedRequest, "the cursor is not one of this list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_from_its_cursor() {
        let place = Scan {
            page: Some("abc".to_owned()),
            skip: 7,
        };
        assert_eq!(decode::<Scan>(&encode(&place)).unwrap(), place);
    }

    #[test]
    fn another_lists_cursor_is_refused() {
        let across = Across {
            connection: "c_01".to_owned(),
            page: None,
        };
        assert_eq!(decode::<Scan>(&encode(&across)).unwrap_err().status(), 400);
        assert_eq!(decode::<Scan>("not-a-cursor").unwrap_err().status(), 400);
        assert_eq!(decode::<Scan>("").unwrap_err().status(), 400);
    }
}
