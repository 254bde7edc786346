//! The item of a stored version: under 700 bytes with ids as long as Drive's, so that it costs one
//! write unit.

use domain::content::{ContentHash, ContentOrigin, Encoding, ObjectKey, StoredVersion};
use domain::{ConnectionKey, FileId, TenantId};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::file::value_item::at;
use crate::table::item::{Checksum, Encoded, decode, encode};
use crate::table::key::{Item, Key, VERSION};

#[derive(Serialize, Deserialize)]
struct Body {
    hash: Checksum,
    size: u64,
    object: String,
    #[serde(default, skip_serializing_if = "EncodingText::is_none")]
    encoding: EncodingText,
    mime: String,
    stored_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drive_revision: Option<String>,
    origin: OriginText,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    pinned: bool,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EncodingText {
    #[default]
    None,
    Zstd,
}

impl EncodingText {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde calls it with a reference"
    )]
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

impl From<Encoding> for EncodingText {
    fn from(encoding: Encoding) -> Self {
        match encoding {
            Encoding::None => Self::None,
            Encoding::Zstd => Self::Zstd,
        }
    }
}

impl From<EncodingText> for Encoding {
    fn from(text: EncodingText) -> Self {
        match text {
            EncodingText::None => Self::None,
            EncodingText::Zstd => Self::Zstd,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OriginText {
    Drive,
    Application,
    Export(String),
}

pub(crate) fn hash_item(hash: &ContentHash) -> Checksum {
    Checksum::Bytes(hash.as_bytes().to_vec())
}

/// Parses the key of an object of this tenant.
pub(crate) fn object_key(tenant: &TenantId, text: &str, of: &Key) -> Result<ObjectKey, StoreError> {
    ObjectKey::parse(tenant, text).map_err(|_| {
        of.clone()
            .corrupt("its object key is not one of its tenant")
    })
}

pub(crate) fn encode_version(
    key: &ConnectionKey,
    file: &FileId,
    version: &StoredVersion,
) -> Result<Encoded, StoreError> {
    let body = Body {
        hash: hash_item(&version.hash),
        size: version.size_bytes,
        object: version.object.to_string(),
        encoding: version.encoding.into(),
        mime: version.mime_type.clone(),
        stored_at: version.stored_at.as_millis(),
        drive_revision: version.revision_id.clone(),
        origin: match &version.origin {
            ContentOrigin::Drive => OriginText::Drive,
            ContentOrigin::Application => OriginText::Application,
            ContentOrigin::Export { format } => OriginText::Export(format.clone()),
        },
        by: version.by.clone(),
        reason: version.reason.clone(),
        pinned: version.pinned,
    };
    encode(&Key::version(key, file, version.number), &body)
}

pub(crate) fn decode_version(key: &ConnectionKey, item: Item) -> Result<StoredVersion, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let number = place.sk.strip_prefix(VERSION);
    let number = number.and_then(|digits| digits.parse().ok());
    let hash = ContentHash::parse(&body.hash.into_text());
    let (Some(number), Ok(hash)) = (number, hash) else {
        return Err(place.corrupt("its number or its hash is invalid"));
    };
    let object = object_key(&key.tenant, &body.object, &place)?;
    Ok(StoredVersion {
        number,
        hash,
        size_bytes: body.size,
        object,
        encoding: body.encoding.into(),
        mime_type: body.mime,
        stored_at: at(body.stored_at),
        revision_id: body.drive_revision,
        origin: match body.origin {
            OriginText::Drive => ContentOrigin::Drive,
            OriginText::Application => ContentOrigin::Application,
            OriginText::Export(format) => ContentOrigin::Export { format },
        },
        by: body.by,
        reason: body.reason,
        pinned: body.pinned,
    })
}
