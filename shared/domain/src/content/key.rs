//! Object keys in the bucket.

use std::fmt;

use super::ContentHash;
use crate::{OperationId, TenantId};

/// A text that is not the key of an object of this tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidObjectKey;

impl fmt::Display for InvalidObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the key of an object of this tenant")
    }
}

impl std::error::Error for InvalidObjectKey {}

/// The key of an object in the bucket. It begins with its tenant, and is only ever built from
/// parsed parts.
///
/// - `<tenant>/<first 2 digits>/<sha256>-<nonce>`: content, named by its hash. Each upload has a
///   nonce of its own, so that a late delete can never hit a newer upload of the same bytes.
/// - `<tenant>/uploads/<id>`: bytes uploaded by a client, before their hash is known.
/// - `<tenant>/audit/<day>.<n>.jsonl`: acts of a day, in a bucket of their own.
/// - `<tenant>/exports/<operation>/<name>`: a file of an export.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Creates the key of an upload of this content from 64 random bits.
    #[must_use]
    pub fn content(tenant: &TenantId, hash: &ContentHash, nonce: u64) -> Self {
        let [first, ..] = hash.as_bytes();
        Self(format!("{tenant}/{first:02x}/{hash}-{nonce:016x}"))
    }

    /// Creates the key of a file of a day's acts, from the day as `2026-11-30` and the file's
    /// number.
    #[must_use]
    pub fn acts(tenant: &TenantId, day: &str, file: u32) -> Self {
        Self(format!("{tenant}/audit/{day}.{file:04}.jsonl"))
    }

    /// Creates the key of a file of an export. Without a name, it is what all of their keys begin
    /// with.
    #[must_use]
    pub fn export(tenant: &TenantId, operation: &OperationId, name: &str) -> Self {
        Self(format!("{tenant}/exports/{operation}/{name}"))
    }

    /// Creates the key of bytes whose hash is not known yet from 128 random bits.
    #[must_use]
    pub fn staging(tenant: &TenantId, high: u64, low: u64) -> Self {
        Self(format!("{tenant}/uploads/{high:016x}{low:016x}"))
    }

    /// Parses the key of an object of this tenant, from an item or a caller.
    ///
    /// # Errors
    /// [`InvalidObjectKey`], including for a key of another tenant.
    pub fn parse(tenant: &TenantId, text: &str) -> Result<Self, InvalidObjectKey> {
        let rest = text.strip_prefix(tenant.as_str());
        let rest = rest.and_then(|rest| rest.strip_prefix('/'));
        let (folder, name) = rest
            .and_then(|rest| rest.split_once('/'))
            .ok_or(InvalidObjectKey)?;
        let valid = match (folder, name.split_once('-')) {
            ("uploads", None) => is_hex(name, 32),
            (_, Some((hash, nonce))) => {
                is_hex(hash, 64) && is_hex(nonce, 16) && hash.get(..2) == Some(folder)
            }
            (_, None) => false,
        };
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidObjectKey)
        }
    }

    /// Returns the hash of the content that it names; `None` for bytes whose hash was not known.
    #[must_use]
    pub fn content_hash(&self) -> Option<ContentHash> {
        let (_, name) = self.0.rsplit_once('/')?;
        let (hash, _) = name.split_once('-')?;
        ContentHash::parse(hash).ok()
    }

    /// Returns the key for S3.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    let lower = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    text.len() == digits && text.bytes().all(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(id: &str) -> TenantId {
        TenantId::parse(id).unwrap()
    }

    #[test]
    fn a_key_is_parsed_by_its_own_tenant_only() {
        let acme = tenant("acme");
        let hash = ContentHash::from_bytes([0xab; 32]);
        let content = ObjectKey::content(&acme, &hash, 7);
        assert_eq!(
            content.as_str(),
            format!("acme/ab/{}-0000000000000007", "ab".repeat(32))
        );
        let staging = ObjectKey::staging(&acme, 1, 2);
        assert_eq!(content.content_hash(), Some(hash));
        assert_eq!(staging.content_hash(), None);
        for key in [&content, &staging] {
            assert_eq!(ObjectKey::parse(&acme, key.as_str()).as_ref(), Ok(key));
            for other in ["acm", "acme2", "acme.", "b"] {
                assert!(ObjectKey::parse(&tenant(other), key.as_str()).is_err());
            }
        }
    }

    #[test]
    fn a_key_of_another_form_is_refused() {
        let acme = tenant("acme");
        let hash = "ab".repeat(32);
        for bad in [
            "",
            "acme",
            "acme/",
            "acme//x",
            "acme/uploads/",
            "acme/uploads/../x",
            "acme/uploads/0123",
            &format!("acme/ab/{hash}"),
            &format!("acme/ac/{hash}-0000000000000007"),
            &format!("acme/ab/{hash}-000000000000000G"),
            &format!("acme/ab/{hash}-0000000000000007/x"),
            &format!("/acme/ab/{hash}-0000000000000007"),
        ] {
            assert_eq!(ObjectKey::parse(&acme, bad), Err(InvalidObjectKey), "{bad}");
        }
    }
}
