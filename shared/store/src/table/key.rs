//! The keys of all items. A key is always built from a [`ConnectionKey`] and parsed ids, never from
//! unchecked input.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::content::ContentHash;
use domain::live::SocketId;
use domain::{
    ChannelId, ClientId, ConflictId, ConnectionKey, DriveVersion, FileId, TenantId, Timestamp,
};

use crate::StoreError;

/// An item in the SDK's form.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// The number of shards that a connection's files are listed by. Changing it requires writing every
/// HEAD again.
pub(crate) const FILE_SHARDS: u8 = 8;

/// The sort key of a file's record.
pub(crate) const HEAD: &str = "HEAD";
/// The sort key of the state of a file's content.
pub(crate) const CONTENT: &str = "CONTENT";
/// The prefix of the sort key of a stored version.
pub(crate) const VERSION: &str = "VERSION#";
/// The sort key of a stored object.
pub(crate) const OBJECT: &str = "OBJECT";
/// The sort key of the one item of a channel or a client.
pub(crate) const META: &str = "META";

/// The primary key of an item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) pk: String,
    pub(crate) sk: String,
}

impl Key {
    pub(crate) fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self {
            pk: pk.into(),
            sk: sk.into(),
        }
    }

    /// Reads the key of an item that came from the table or from an index.
    pub(crate) fn of(item: &Item) -> Result<Self, StoreError> {
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
        match (text("PK"), text("SK")) {
            (Some(pk), Some(sk)) => Ok(Self { pk, sk }),
            (pk, sk) => Err(StoreError::Corrupt {
                pk: pk.unwrap_or_default(),
                sk: sk.unwrap_or_default(),
                what: "a key attribute is missing",
                source: None,
            }),
        }
    }

    pub(crate) fn to_item(&self) -> Item {
        HashMap::from([
            ("PK".to_owned(), AttributeValue::S(self.pk.clone())),
            ("SK".to_owned(), AttributeValue::S(self.sk.clone())),
        ])
    }

    pub(crate) fn corrupt(self, what: &'static str) -> StoreError {
        StoreError::Corrupt {
            pk: self.pk,
            sk: self.sk,
            what,
            source: None,
        }
    }

    pub(crate) fn head(key: &ConnectionKey, file: &FileId) -> Self {
        Self::new(file_pk(key, file), HEAD)
    }

    pub(crate) fn snapshot(key: &ConnectionKey, file: &FileId, version: DriveVersion) -> Self {
        Self::new(file_pk(key, file), format!("SNAP#{:019}", version.0))
    }

    pub(crate) fn conflict(key: &ConnectionKey, id: &ConflictId) -> Self {
        let sk = format!("CONFLICT#{}#{}", id.field.label(), id.number);
        Self::new(file_pk(key, &id.file), sk)
    }

    pub(crate) fn content(key: &ConnectionKey, file: &FileId) -> Self {
        Self::new(file_pk(key, file), CONTENT)
    }

    pub(crate) fn version(key: &ConnectionKey, file: &FileId, number: u32) -> Self {
        Self::new(file_pk(key, file), format!("{VERSION}{number:019}"))
    }

    pub(crate) fn object(tenant: &TenantId, hash: &ContentHash) -> Self {
        Self::new(format!("{}{hash}", Self::object_prefix(tenant)), OBJECT)
    }

    /// The prefix of the partition key of a tenant's objects, before the hash.
    pub(crate) fn object_prefix(tenant: &TenantId) -> String {
        format!("T#{tenant}#O#")
    }

    pub(crate) fn connection(key: &ConnectionKey) -> Self {
        Self::new(tenant_pk(&key.tenant), format!("CONN#{}", key.connection))
    }

    /// The key of the answer to a request, by the digest of the request's key. Each has its own
    /// partition: a tenant's requests would be too many for one.
    pub(crate) fn answer(tenant: &TenantId, key: &str) -> Self {
        Self::new(format!("T#{tenant}#K#{key}"), "ANSWER")
    }

    pub(crate) fn client(id: &ClientId) -> Self {
        Self::new(format!("CLIENT#{id}"), META)
    }

    pub(crate) fn channel(id: &ChannelId) -> Self {
        Self::new(format!("CHANNEL#{id}"), META)
    }

    /// The key of a ticket, by the SHA-256 of its text.
    pub(crate) fn ticket(hash: &[u8; 32]) -> Self {
        let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Self::new(format!("TICKET#{digits}"), META)
    }

    /// The key of an open socket.
    pub(crate) fn socket(id: &SocketId) -> Self {
        Self::new(format!("SOCKET#{id}"), META)
    }

    /// The partition of a tenant's open sockets.
    pub(crate) fn live_pk(tenant: &TenantId) -> String {
        format!("T#{tenant}#LIVE")
    }

    /// The key of a tenant's rates.
    pub(crate) fn tenant_rates(tenant: &TenantId) -> Self {
        Self::new(tenant_pk(tenant), "RATES")
    }

    /// The key of what a tenant has begun.
    pub(crate) fn slots(tenant: &TenantId) -> Self {
        Self::new(tenant_pk(tenant), "SLOTS")
    }

    /// The key of the requests of all tenants that wait for an event.
    pub(crate) fn waits() -> Self {
        Self::new("_system", "WAITS")
    }

    /// The key of what the table says of itself.
    pub(crate) fn table() -> Self {
        Self::new("_system", "TABLE")
    }

    /// The key of the connection's rate limit.
    pub(crate) fn rate_limit(key: &ConnectionKey) -> Self {
        Self::new(connection_pk(key), "PACE")
    }

    /// The key of an item that belongs to a connection as a whole: `LOG#`, `OP#`, `PAGE#`,
    /// `PARKED#` ...
    pub(crate) fn of_connection(key: &ConnectionKey, kind: &str, id: &str) -> Self {
        Self::new(connection_pk(key), format!("{kind}#{id}"))
    }
}

pub(crate) fn tenant_pk(tenant: &TenantId) -> String {
    format!("T#{tenant}")
}

pub(crate) fn connection_pk(key: &ConnectionKey) -> String {
    format!("T#{}#C#{}", key.tenant, key.connection)
}

pub(crate) fn file_pk(key: &ConnectionKey, file: &FileId) -> String {
    format!("T#{}#F#{}#{file}", key.tenant, key.connection)
}

/// Returns the file of a partition key of this connection.
pub(crate) fn file_of(key: &ConnectionKey, item: &Key) -> Result<FileId, StoreError> {
    let prefix = format!("T#{}#F#{}#", key.tenant, key.connection);
    let file = item.pk.strip_prefix(&prefix);
    file.and_then(|file| FileId::parse(file).ok())
        .ok_or_else(|| {
            item.clone()
                .corrupt("its key is not that of a file of this connection")
        })
}

/// A time in the form that the indexes sort by: 13 digits of milliseconds reach to the year 2286.
pub(crate) fn millis_13(at: Timestamp) -> String {
    format!("{:013}", at.as_millis().clamp(0, 9_999_999_999_999))
}

/// Returns the shard of a text, out of `shards`. FNV-1a, fixed for ever, since stored keys contain
/// the result.
pub(crate) fn shard_of(text: &str, shards: u8) -> u8 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The low bits of FNV are weak on short texts; folding mixes in the high ones.
    let folded = hash ^ (hash >> 32);
    u8::try_from(folded % u64::from(shards.max(1))).unwrap_or_default()
}

/// A secondary index: all are sparse, keys-only, and keyed `<name>_pk`, `<name>_sk`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Index {
    /// Every file record of a connection, by shard.
    Files,
    /// The present files of one folder, as the application sees it.
    Children,
    /// Records and conflicts that need attention: owed, failed, in conflict.
    Attention,
    /// Everything that is due at a time.
    Due,
}

impl Index {
    pub(crate) const ALL: [Self; 4] = [Self::Files, Self::Children, Self::Attention, Self::Due];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Children => "children",
            Self::Attention => "attention",
            Self::Due => "due",
        }
    }

    pub(crate) fn pk(self) -> &'static str {
        match self {
            Self::Files => "files_pk",
            Self::Children => "children_pk",
            Self::Attention => "attention_pk",
            Self::Due => "due_pk",
        }
    }

    pub(crate) fn sk(self) -> &'static str {
        match self {
            Self::Files => "files_sk",
            Self::Children => "children_sk",
            Self::Attention => "attention_sk",
            Self::Due => "due_sk",
        }
    }
}

/// The partition of the index `files` that lists a shard.
pub(crate) fn files_pk(key: &ConnectionKey, shard: u8) -> String {
    format!("{}#S#{shard}", connection_pk(key))
}

/// The partition of the index `children` that lists a folder.
pub(crate) fn children_pk(key: &ConnectionKey, parent: &FileId) -> String {
    format!("{}#P#{parent}", connection_pk(key))
}

/// The place of an item in the index `due`.
pub(crate) fn due_place(key: &Key, at: Timestamp) -> (String, String) {
    let unique = format!("{}#{}", key.pk, key.sk);
    let shard = shard_of(&unique, crate::DUE_SHARDS);
    (due_pk(shard), format!("{}#{unique}", millis_13(at)))
}

pub(crate) fn due_pk(shard: u8) -> String {
    format!("DUE#{shard:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_stable_and_even() {
        assert_eq!(shard_of("", 16), 1);
        let mut counts = [0_u32; 8];
        for n in 0..8_000 {
            counts[usize::from(shard_of(&format!("1AbCdEfGh{n}"), 8))] += 1;
        }
        assert!(
            counts.iter().all(|count| (800..1_200).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn times_outside_the_index_are_clamped() {
        assert_eq!(millis_13(Timestamp::from_millis(-5)), "0000000000000");
        assert_eq!(millis_13(Timestamp::from_millis(i64::MAX)), "9999999999999");
    }
}
