//! Stored versions of files, and the objects that hold their bytes.

use super::{ContentHash, Encoding, ObjectKey, Place};
use crate::Timestamp;

/// How long bytes are kept that nothing names yet, in milliseconds: a day, in which whoever is about to name them is
/// tried again.
pub const HOLD_MILLIS: i64 = 24 * 3_600 * 1_000;

/// Where a version's content came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Drive held it.
    Drive,
    /// The application brought it.
    Application,
    /// Drive made it out of a document of its own.
    Export {
        /// The mime type that it was exported to.
        format: String,
    },
}

/// One content of a file that is stored and verified. Nothing of it changes but `pinned`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredVersion {
    /// Its number: the file's `content_version` when it had this content. Numbers rise, and may have gaps.
    pub number: u32,
    /// SHA-256 of the content, before any encoding.
    pub hash: ContentHash,
    /// The size of the content, before any encoding.
    pub size_bytes: u64,
    /// Where the bytes are.
    pub object: ObjectKey,
    /// How they are held there.
    pub encoding: Encoding,
    /// The content's mime type.
    pub mime_type: String,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// Drive's revision, where it was told.
    pub revision_id: Option<String>,
    /// Where it came from.
    pub origin: Origin,
    /// Who brought it, where that is known.
    pub by: Option<String>,
    /// Why, where somebody said so: of a version that was restored.
    pub reason: Option<String>,
    /// Whether it is kept whatever the retention says.
    pub pinned: bool,
}

impl StoredVersion {
    /// A version that is stored as `object` from `stored_at` on. Nobody is named, and nothing pins it.
    #[must_use]
    pub fn new(
        number: u32,
        object: &StoredObject,
        mime_type: &str,
        origin: Origin,
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

/// Where an object is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectState {
    /// Its bytes are in the bucket, verified.
    Stored,
    /// Nothing named it, and its bytes are being deleted. There is no way back: who brings the same content waits until
    /// it has gone, and stores it anew.
    Collecting,
}

/// The bytes of one content of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// SHA-256 of the content, before any encoding: its name within the tenant.
    pub hash: ContentHash,
    /// Where the bytes are.
    pub key: ObjectKey,
    /// The size of the content, before any encoding.
    pub size_bytes: u64,
    /// The bytes that it takes in the bucket.
    pub stored_bytes: u64,
    /// How the bytes are held.
    pub encoding: Encoding,
    /// How many versions name it.
    pub refs: u64,
    /// Where it is in its life.
    pub state: ObjectState,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// When it may be collected: set exactly while nothing names it.
    pub collect_at: Option<Timestamp>,
}

impl StoredObject {
    /// A new object, which nothing names yet: it is collected at `collect_at` unless something does by then.
    #[must_use]
    pub fn new(
        hash: ContentHash,
        place: Place,
        size_bytes: u64,
        stored_at: Timestamp,
        collect_at: Timestamp,
    ) -> Self {
        Self {
            hash,
            key: place.key,
            size_bytes,
            stored_bytes: place.stored_bytes,
            encoding: place.encoding,
            refs: 0,
            state: ObjectState::Stored,
            stored_at,
            collect_at: Some(collect_at),
        }
    }

    /// The object that one version more names. `None` where it is being collected.
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

    /// The object that one version fewer names; where that was the last, it may be collected at `collect_at`. `None`
    /// where no version named it: the count is never negative.
    #[must_use]
    pub fn released(&self, collect_at: Timestamp) -> Option<Self> {
        let refs = self.refs.checked_sub(1)?;
        Some(Self {
            refs,
            collect_at: (refs == 0).then_some(collect_at),
            ..self.clone()
        })
    }

    /// The object kept until `until` at least, for who is about to name it. `None` where it is being collected.
    #[must_use]
    pub fn held(&self, until: Timestamp) -> Option<Self> {
        match self.state {
            ObjectState::Stored => Some(Self {
                collect_at: self.collect_at.map(|at| at.max(until)),
                ..self.clone()
            }),
            ObjectState::Collecting => None,
        }
    }

    /// Whether it may be collected: nothing names it, and its time has come. One whose collection has begun may always
    /// be collected further.
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
        let place = Place::plain(key, 12);
        StoredObject::new(hash, place, 12, stored_at, collect_at)
    }

    #[test]
    fn only_what_nothing_names_is_collected_and_not_before_its_time() {
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
        let held = freed.held(at(500)).unwrap();
        assert!(!held.collectable(at(499)));
        assert_eq!(held.held(at(1)).unwrap(), held, "a hold never shortens");
        assert_eq!(named.held(at(500)).unwrap(), named);
    }

    #[test]
    fn from_a_collection_there_is_no_way_back() {
        let collecting = StoredObject {
            state: ObjectState::Collecting,
            ..object()
        };
        assert!(collecting.collectable(Timestamp::from_millis(0)));
        assert_eq!(collecting.linked(), None);
        assert_eq!(collecting.held(Timestamp::from_millis(1)), None);
    }
}
