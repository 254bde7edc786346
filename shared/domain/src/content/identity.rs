//! The identity of content: what decides whether two contents are the same.

use std::fmt;

use super::ContentHash;
use super::settings::{FOLDER, SHORTCUT};
use crate::{DriveMetadata, Value};

/// The identity of content: the value of the field `content`.
///
/// Drive states no SHA-256 of some files, above all of those uploaded years ago. The MD5 and the
/// size identify their content until its bytes have been here and their SHA-256 is known, and the
/// revision does where there is no checksum at all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContentIdentity {
    /// The SHA-256: 64 hexadecimal digits.
    Sha256(ContentHash),
    /// The MD5 and the size: `md5:DIGITS:BYTES`.
    Md5 {
        /// 32 lower-case hexadecimal digits.
        md5: String,
        /// The size in bytes.
        size_bytes: u64,
    },
    /// Drive's revision and the size: `revision:ID:BYTES`.
    Revision {
        /// Drive's id of the revision.
        id: String,
        /// The size in bytes.
        size_bytes: u64,
    },
}

impl ContentIdentity {
    /// Parses a value of the field `content`; `None` if it is not the identity of any content.
    #[must_use]
    pub fn parse(value: &Value) -> Option<Self> {
        let Value::Text(text) = value else {
            return None;
        };
        if let Ok(hash) = ContentHash::parse(text) {
            return Some(Self::Sha256(hash));
        }
        let (kind, rest) = text.split_once(':')?;
        let (of, size) = rest.rsplit_once(':')?;
        let size_bytes = size.parse().ok()?;
        let of = of.to_owned();
        match kind {
            "md5" => Some(Self::Md5 {
                md5: of,
                size_bytes,
            }),
            "revision" => Some(Self::Revision { id: of, size_bytes }),
            _ => None,
        }
    }

    /// Returns the SHA-256, if it is known.
    #[must_use]
    pub fn hash(&self) -> Option<ContentHash> {
        match self {
            Self::Sha256(hash) => Some(*hash),
            Self::Md5 { .. } | Self::Revision { .. } => None,
        }
    }

    /// Returns the MD5 by which bytes are verified, if it is all that is known of them.
    #[must_use]
    pub fn md5(&self) -> Option<&str> {
        match self {
            Self::Md5 { md5, .. } => Some(md5),
            Self::Sha256(_) | Self::Revision { .. } => None,
        }
    }

    /// Returns the value of the field `content`.
    #[must_use]
    pub fn value(&self) -> Value {
        Value::Text(self.to_string())
    }
}

impl fmt::Display for ContentIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(hash) => hash.fmt(f),
            Self::Md5 { md5, size_bytes } => write!(f, "md5:{md5}:{size_bytes}"),
            Self::Revision { id, size_bytes } => write!(f, "revision:{id}:{size_bytes}"),
        }
    }
}

impl DriveMetadata {
    /// Returns the value of [`crate::Field::Content`]: the identity of the content. `Null` if the
    /// file has no bytes of its own, or Drive states nothing that identifies them.
    #[must_use]
    pub fn content(&self) -> Value {
        if let Some(sha256) = &self.sha256 {
            return Value::Text(sha256.clone());
        }
        if self.mime_type.starts_with(GOOGLE_TYPES) {
            return Value::Null;
        }
        let Some(size_bytes) = self.size_bytes else {
            return Value::Null;
        };
        let identity = match (&self.md5, &self.head_revision_id) {
            (Some(md5), _) => ContentIdentity::Md5 {
                md5: md5.clone(),
                size_bytes,
            },
            (None, Some(id)) => ContentIdentity::Revision {
                id: id.clone(),
                size_bytes,
            },
            (None, None) => return Value::Null,
        };
        identity.value()
    }

    /// Returns whether it is a file of the Docs editors, whose content has no bytes of its own.
    pub(crate) fn is_document(&self) -> bool {
        let mime_type = self.mime_type.as_str();
        mime_type.starts_with(GOOGLE_TYPES) && ![FOLDER, SHORTCUT].contains(&mime_type)
    }

    /// Returns whether both describe the same bytes, whichever checksums each of them states.
    #[must_use]
    pub fn has_content_of(&self, other: &Self) -> bool {
        if self.size_bytes != other.size_bytes {
            return false;
        }
        let same = |one: &Option<String>, other: &Option<String>| match (one, other) {
            (Some(one), Some(other)) => Some(one == other),
            (Some(_) | None, _) => None,
        };
        same(&self.sha256, &other.sha256)
            .or_else(|| same(&self.md5, &other.md5))
            .or_else(|| same(&self.head_revision_id, &other.head_revision_id))
            .unwrap_or(false)
    }

    /// Takes over the SHA-256 of earlier metadata of the same content, if this one, which is later,
    /// states none: the content's bytes have been here, or Drive stated it before.
    pub(crate) fn inherit_sha256(&mut self, earlier: &Self) {
        if self.sha256.is_none() && self.has_content_of(earlier) {
            self.sha256.clone_from(&earlier.sha256);
        }
    }
}

/// The prefix of the types whose files have no bytes of their own.
const GOOGLE_TYPES: &str = "application/vnd.google-apps";

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(sha256: Option<&str>, md5: Option<&str>, revision: Option<&str>) -> DriveMetadata {
        DriveMetadata {
            mime_type: "text/plain".to_owned(),
            size_bytes: Some(3),
            sha256: sha256.map(str::to_owned),
            md5: md5.map(str::to_owned),
            head_revision_id: revision.map(str::to_owned),
            ..DriveMetadata::default()
        }
    }

    #[test]
    fn the_best_of_what_drive_states_identifies_content_and_round_trips() {
        let sha256 = "ab".repeat(32);
        for (shown, text) in [
            (metadata(Some(&sha256), Some("0f"), Some("r:1")), &*sha256),
            (metadata(None, Some("0f"), Some("r:1")), "md5:0f:3"),
            (metadata(None, None, Some("r:1")), "revision:r:1:3"),
        ] {
            let value = shown.content();
            assert_eq!(value, Value::text(text));
            assert_eq!(ContentIdentity::parse(&value).unwrap().value(), value);
        }
        assert_eq!(metadata(None, None, None).content(), Value::Null);
        let document = DriveMetadata {
            mime_type: "application/vnd.google-apps.document".to_owned(),
            ..metadata(None, None, Some("1"))
        };
        assert_eq!(document.content(), Value::Null);
        for other in ["", "md5:0f", "md5:0f:x", "sha1:0f:3", &sha256[1..]] {
            assert_eq!(ContentIdentity::parse(&Value::text(other)), None, "{other}");
        }
    }

    #[test]
    fn the_strongest_checksum_that_both_state_decides() {
        let (a, b) = ("aa".repeat(32), "bb".repeat(32));
        for (one, other, same) in [
            (
                metadata(Some(&a), Some("1"), None),
                metadata(Some(&a), Some("2"), None),
                true,
            ),
            (
                metadata(Some(&a), Some("1"), None),
                metadata(Some(&b), Some("1"), None),
                false,
            ),
            (
                metadata(Some(&a), Some("1"), None),
                metadata(None, Some("1"), None),
                true,
            ),
            (
                metadata(None, Some("1"), Some("x")),
                metadata(None, Some("2"), Some("x")),
                false,
            ),
            (
                metadata(None, None, Some("x")),
                metadata(None, Some("1"), Some("x")),
                true,
            ),
            (
                metadata(None, None, Some("x")),
                metadata(None, Some("1"), Some("y")),
                false,
            ),
            (
                metadata(Some(&a), None, None),
                metadata(None, Some("1"), None),
                false,
            ),
        ] {
            assert_eq!(one.has_content_of(&other), same, "{one:?} {other:?}");
            assert_eq!(other.has_content_of(&one), same, "{one:?} {other:?}");
        }
        let longer = DriveMetadata {
            size_bytes: Some(4),
            ..metadata(None, Some("1"), None)
        };
        assert!(!longer.has_content_of(&metadata(None, Some("1"), None)));
    }
}
