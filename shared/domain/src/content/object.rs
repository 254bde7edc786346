//! Stored versions of files, and the objects that contain their bytes.

use super::{ContentHash, Encoding, ObjectKey, ObjectLocation};
use crate::Timestamp;

/// The time for which unreferenced bytes are retained, in milliseconds: one day, within which a
/// writer that is about to refer to them is retried.
pub const RETAIN_MILLIS: i64 = 24 * 3_600 * 1_000;

/// The origin of a version's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentOrigin {
    /// Drive had it.
    Drive,
    /// The application uploaded it.
    Application,
    /// Drive exported it from a document of its own.
    Export {
        /// The MIME type of the export.
        format: String,
    },
}

/// One version of a file's content, stored and verified. Only `pinned` changes later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredVersion {
    /// The number: the file's `content_version` when it had this content. Numbers increase, and may
    /// have gaps.
    pub number: u32,
    /// SHA-256 of the content, before any encoding.
    pub hash: ContentHash,
    /// The size of the content, before any encoding.
    pub size_bytes: u64,
    /// The key of the object.
    pub object: ObjectKey,
    /// The encoding of the object.
    pub encoding: Encoding,
    /// The content's MIME type.
    pub mime_type: String,
    /// The time at which it was stored.
    pub stored_at: Timestamp,
    /// Drive's revision id, if known.
    pub revision_id: Option<String>,
    /// The origin.
    pub origin: ContentOrigin,
    /// The author, if known.
    pub by: Option<String>,
    /// The reason that was given for restoring this version, if any.
    pub reason: Option<String>,
    /// True if it is kept regardless of the retention.
    pub pinned: bool,
}

impl StoredVersion {
    /// Creates a version that is stored as `object` from `stored_at` on, without author and not
    /// pinned.
    #[must_use]
    pub fn new(
        number: u32,
        object: &StoredObject,
        mime_type: &str,
        origin: ContentOrigin,
        stored_at: Timestamp,
    ) -> Self {
        Self {
            number,
            hash: object.hash,
            size_bytes: object.size_bytes,
            object: object.key.clone(),
            encoding: object.encoding,
            mime_type: mime_type.to_owned(),
            stored_at,
            revision_id: None,
            origin,
            by: None,
            reason: None,
            pinned: false,
        }
    }
}

/// The state of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectState {
    /// The bytes are in the bucket, verified.
    Stored,
    /// The object was unreferenced, and its bytes are being deleted. This is final: a writer of the
    /// same content waits until it is gone, and stores it again.
    Collecting,
}

/// The bytes of one content of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// SHA-256 of the content, before any encoding: its name within the tenant.
    pub hash: ContentHash,
    /// The key of the object.
    pub key: ObjectKey,
    /// The size of the content, before any encoding.
    pub size_bytes: u64,
    /// The size of the object in the bucket, in bytes.
    pub stored_bytes: u64,
    /// The encoding of the object.
    pub encoding: Encoding,
    /// The number of versions that refer to it.
    pub refs: u64,
    /// The state.
    pub state: ObjectState,
    /// The time at which it was stored.
    pub stored_at: Timestamp,
    /// The time from which it may be collected. Set exactly while nothing refers to it.
    pub collect_at: Option<Timestamp>,
}

impl StoredObject {
    /// Creates an object that nothing refers to yet. It may be collected from `collect_at` on
    /// unless it is referenced by then.
    #[must_use]
    pub fn new(
        hash: ContentHash,
        location: ObjectLocation,
        size_bytes: u64,
        stored_at: Timestamp,
        collect_at: Timestamp,
    ) -> Self {
        Self {
            hash,
            key: location.key,
            size_bytes,
            stored_bytes: location.stored_bytes,
            encoding: location.encoding,
            refs: 0,
            state: ObjectState::Stored,
            stored_at,
            collect_at: Some(collect_at),
        }
    }

    /// Returns the object with one more reference, or `None` if it is being collected.
    #[must_use]
    pub fn linked(&self) -> Option<Self> {
        match self.state {
            ObjectState::Stored => Some(Self {
                refs: self.refs.saturating_add(1),
                collect_at: None,
                ..self.clone()
            }),
            ObjectState::Collecting => None,
        }
    }

    /// Returns the object with one reference fewer. If that was the last one, it may be collected
    /// from `collect_at` on. Returns `None` if nothing refers to it: the count is never negative.
    #[must_use]
    pub fn released(&self, collect_at: Timestamp) -> Option<Self> {
        let refs = self.refs.checked_sub(1)?;
        Some(Self {
            refs,
            collect_at: (refs == 0).then_some(collect_at),
            ..self.clone()
        })
    }

    /// Returns the object retained until at least `until`, for a writer that is about to refer to
    /// it, or `None` if it is being collected.
    #[must_use]
    pub fn retained(&self, until: Timestamp) -> Option<Self> {
        match self.state {
            ObjectState::Stored => Some(Self {
                collect_at: self.collect_at.map(|at| at.max(until)),
                ..self.clone()
            }),
            ObjectState::Collecting => None,
        }
    }

    /// Returns whether it may be collected: nothing refers to it, and its time has come. A
    /// collection that has begun may always continue.
    #[must_use]
    pub fn collectable(&self, now: Timestamp) -> bool {
        match self.state {
            ObjectState::Collecting => true,
            ObjectState::Stored => self.refs == 0 && self.collect_at.is_some_and(|at| at <= now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TenantId;

    fn object() -> StoredObject {
        let tenant = TenantId::parse("acme").unwrap();
        let hash = ContentHash::from_bytes([1; 32]);
        let key = ObjectKey::content(&tenant, &hash, 1);
        let (stored_at, collect_at) = (Timestamp::from_millis(0), Timestamp::from_millis(100));
        let location = ObjectLocation::plain(key, 12);
        StoredObject::new(hash, location, 12, stored_at, collect_at)
    }

    #[test]
    fn only_unreferenced_objects_are_collected_and_not_too_early() {
        let at = Timestamp::from_millis;
        let fresh = object();
        assert!(!fresh.collectable(at(99)) && fresh.collectable(at(100)));
        let named = fresh.linked().unwrap();
        assert!(!named.collectable(at(i64::MAX)));
        let twice = named.linked().unwrap().released(at(200)).unwrap();
        assert_eq!((twice.refs, twice.collect_at), (1, None));
        let freed = twice.released(at(200)).unwrap();
        assert!(!freed.collectable(at(199)) && freed.collectable(at(200)));
        assert_eq!(freed.released(at(300)), None, "never negative");
        let retained = freed.retained(at(500)).unwrap();
        assert!(!retained.collectable(at(499)));
        assert_eq!(
            retained.retained(at(1)).unwrap(),
            retained,
            "a retention is never shortened"
        );
        assert_eq!(named.retained(at(500)).unwrap(), named);
    }

    #[test]
    fn a_collection_that_began_is_final() {
        let collecting = StoredObject {
            state: ObjectState::Collecting,
            ..object()
        };
        assert!(collecting.collectable(Timestamp::from_millis(0)));
        assert_eq!(collecting.linked(), None);
        assert_eq!(collecting.retained(Timestamp::from_millis(1)), None);
    }
}
