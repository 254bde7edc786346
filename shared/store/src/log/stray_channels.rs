//! Channels that no item names, and the tokens that prove whose they are.
//!
//! A channel's item has the hash of its token, which says nothing once the item is gone. So the
//! token itself names the connection, with an HMAC under a key of this table: its holder was given
//! it by `changes.watch`, or is Drive. The key is in the table and in its backups, and in nothing
//! else. It keeps strangers from making this system remember a channel; a reader of the table could
//! write one there anyway.

use domain::channel::Stray;
use domain::{ChannelId, ConnectionId, ConnectionKey, TenantId};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::file::value_item::at;
use crate::table::item::{Checksum, Encoded, decode, encode};
use crate::table::key::{Index, Item, Key, connection_pk, due_place, millis_13};
use crate::table::range::Range;
use crate::table::store::Applied;
use crate::table::update::{Replaces, Update};
use crate::{Page, PageRequest, Store, StoreError, Updated};

/// The sort key of a channel that no item names.
pub(crate) const STRAY: &str = "STRAY";

/// The beginning of a token, before the tenant. A separator is no character of an id.
const FORM: &str = "1:";

/// The key of the item with the key of the tokens. It is in a partition of channels, since the
/// function that strangers reach sees no others.
fn tokens_place() -> Key {
    Key::new("CHANNEL#_", "KEY")
}

/// The place of a channel in the index `attention`: in a partition of its connection's own.
fn attention_place(channel: &StrayChannel) -> (String, String) {
    let since = millis_13(channel.stray.first_seen);
    (
        attention_pk(&channel.key),
        format!("{since}#{}", channel.id),
    )
}

fn attention_pk(key: &ConnectionKey) -> String {
    format!("{}#{STRAY}", connection_pk(key))
}

/// Makes the tokens of channels, and tells whose they are.
#[derive(Clone)]
pub struct ChannelTokens {
    mac: Hmac<Sha256>,
}

/// Shows nothing of the key.
impl std::fmt::Debug for ChannelTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChannelTokens").finish_non_exhaustive()
    }
}

impl ChannelTokens {
    fn new(key: &[u8]) -> Result<Self, StoreError> {
        let mac = Hmac::<Sha256>::new_from_slice(key);
        let mac = mac.map_err(|why| StoreError::Refused(Box::new(why)))?;
        Ok(Self { mac })
    }

    /// Returns whether a text has the form of a token: whether it is worth asking whose it is.
    #[must_use]
    pub fn has_form(text: &str) -> bool {
        parts(text).is_some()
    }

    /// Returns the token of a channel of a connection: at most 196 characters of ASCII, of 256 that
    /// Drive allows.
    #[must_use]
    pub fn token(&self, id: &ChannelId, key: &ConnectionKey) -> String {
        let digest = self.digest(id, key).finalize().into_bytes();
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{FORM}{}:{}:{digits}", key.tenant, key.connection)
    }

    /// Returns the connection whose channel it is, if the token is that of the channel. The
    /// comparison takes the same time whatever differs.
    #[must_use]
    pub fn owner(&self, id: &ChannelId, token: &str) -> Option<ConnectionKey> {
        let (key, digest) = parts(token)?;
        let told = self.digest(id, &key).verify_slice(&digest);
        told.is_ok().then_some(key)
    }

    fn digest(&self, id: &ChannelId, key: &ConnectionKey) -> Hmac<Sha256> {
        let named = format!("channel:{id}:{}:{}", key.tenant, key.connection);
        self.mac.clone().chain_update(named.as_bytes())
    }
}

/// Returns the parts of a token: the connection that it names, and the digest.
fn parts(token: &str) -> Option<(ConnectionKey, [u8; 32])> {
    let mut parts = token.strip_prefix(FORM)?.split(':');
    let (tenant, connection, digits) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || digits.len() != 64 {
        return None;
    }
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if !digits.bytes().all(lower) {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(digits.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    let key = ConnectionKey {
        tenant: TenantId::parse(tenant).ok()?,
        connection: ConnectionId::parse(connection).ok()?,
    };
    Some((key, digest))
}

/// A channel that no item names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrayChannel {
    /// Its id.
    pub id: ChannelId,
    /// The connection that opened it.
    pub key: ConnectionKey,
    /// Drive's id of the watched resource, without which it can't be stopped.
    pub resource_id: String,
    /// Since when it is known, and when it is stopped.
    pub stray: Stray,
}

impl Store {
    /// Returns what tells whose channel a token is; `None` if no channel was opened yet.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_channel_tokens(&self) -> Result<Option<ChannelTokens>, StoreError> {
        let item = self.get(&tokens_place()).await?;
        item.map(decode_key).transpose()
    }

    /// Returns what makes the tokens of channels: with the key `fresh`, if there is none yet.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn ensure_channel_tokens(
        &self,
        fresh: [u8; 32],
    ) -> Result<ChannelTokens, StoreError> {
        if let Some(tokens) = self.load_channel_tokens().await? {
            return Ok(tokens);
        }
        let body = KeyBody {
            key: Checksum::Bytes(fresh.to_vec()),
        };
        let item = encode(&tokens_place(), &body)?;
        match self.put(item, Replaces::Nothing).await? {
            Applied::Done(_) => ChannelTokens::new(&fresh),
            Applied::Refused(Some(item)) => decode_key(item),
            Applied::Refused(None) => Err(StoreError::busy("the existing item was not returned")),
        }
    }

    /// Remembers a channel that no item names, unless it is remembered already. Returns whether it
    /// is new.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn remember_stray(&self, channel: &StrayChannel) -> Result<bool, StoreError> {
        let item = encode_stray(channel)?;
        match self.put(item, Replaces::Nothing).await? {
            Applied::Done(_) => Ok(true),
            Applied::Refused(_) => Ok(false),
        }
    }

    /// Reads a channel that no item names consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_stray(&self, id: &ChannelId) -> Result<Option<StrayChannel>, StoreError> {
        let item = self.get(&stray_place(id)).await?;
        item.map(decode_stray).transpose()
    }

    /// Lists the channels of a connection that no item names, oldest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_strays(
        &self,
        key: &ConnectionKey,
        page: &PageRequest,
    ) -> Result<Page<StrayChannel>, StoreError> {
        let range = Range::ids(Index::Attention, attention_pk(key));
        let found = self
            .scan_partitions("strays", &[range], page, |_| Ok(true))
            .await?;
        let mut items = Vec::with_capacity(found.items.len());
        for place in &found.items {
            // The index lags: it may be gone.
            if let Some(item) = self.get(place).await? {
                items.push(decode_stray(item)?);
            }
        }
        Ok(Page {
            items,
            next_cursor: found.next_cursor,
        })
    }

    /// Sets when a channel that no item names is looked at again, and how often that failed.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn postpone_stray(
        &self,
        id: &ChannelId,
        stray: &Stray,
    ) -> Result<Updated, StoreError> {
        let update = Update::of(stray_place(id))
            .set_number("failures", stray.failures)
            .set_number("due_at", stray.due_at.as_millis())
            .due(Some(stray.due_at));
        Ok(match self.update(update).await? {
            Applied::Done(_) => Updated::Done,
            Applied::Refused(_) => Updated::Absent,
        })
    }

    /// Forgets a channel that no item names.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn forget_stray(&self, id: &ChannelId) -> Result<(), StoreError> {
        self.delete(&stray_place(id)).await
    }
}

fn stray_place(id: &ChannelId) -> Key {
    Key::new(Key::channel(id).pk, STRAY)
}

#[derive(Serialize, Deserialize)]
struct KeyBody {
    #[serde(rename = "k")]
    key: Checksum,
}

fn decode_key(item: Item) -> Result<ChannelTokens, StoreError> {
    let (place, body) = decode::<KeyBody>(item)?;
    match body.key {
        Checksum::Bytes(bytes) if bytes.len() == 32 => ChannelTokens::new(&bytes),
        Checksum::Bytes(_) | Checksum::Text(_) => Err(place.corrupt("it is no key")),
    }
}

/// The names of the tenant and the connection are those of a channel's item: an erasure finds both
/// by them.
#[derive(Serialize, Deserialize)]
struct Body {
    tenant: String,
    connection: String,
    resource_id: String,
    first_seen: i64,
    #[serde(default)]
    failures: u32,
    due_at: i64,
}

fn encode_stray(channel: &StrayChannel) -> Result<Encoded, StoreError> {
    let body = Body {
        tenant: channel.key.tenant.as_str().to_owned(),
        connection: channel.key.connection.as_str().to_owned(),
        resource_id: channel.resource_id.clone(),
        first_seen: channel.stray.first_seen.as_millis(),
        failures: channel.stray.failures,
        due_at: channel.stray.due_at.as_millis(),
    };
    let place = stray_place(&channel.id);
    let mut item = encode(&place, &body)?;
    item.place(Index::Due, due_place(&place, channel.stray.due_at));
    item.place(Index::Attention, attention_place(channel));
    item.expire(channel.stray.expires_at());
    Ok(item)
}

fn decode_stray(item: Item) -> Result<StrayChannel, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let id = place.pk.strip_prefix("CHANNEL#");
    let parts = (
        id.and_then(|id| ChannelId::parse(id).ok()),
        TenantId::parse(&body.tenant).ok(),
        ConnectionId::parse(&body.connection).ok(),
    );
    let (Some(id), Some(tenant), Some(connection)) = parts else {
        return Err(place.corrupt("an id is invalid"));
    };
    Ok(StrayChannel {
        id,
        key: ConnectionKey { tenant, connection },
        resource_id: body.resource_id,
        stray: Stray {
            first_seen: at(body.first_seen),
            failures: body.failures,
            due_at: at(body.due_at),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(tenant: &str, connection: &str) -> ConnectionKey {
        ConnectionKey {
            tenant: TenantId::parse(tenant).unwrap(),
            connection: ConnectionId::parse(connection).unwrap(),
        }
    }

    #[test]
    fn a_token_proves_its_channel_and_its_connection_and_nothing_else_does() {
        let tokens = ChannelTokens::new(&[7; 32]).unwrap();
        let (one, two) = (ChannelId::fresh(1, 2), ChannelId::fresh(1, 3));
        let owner = key("acme", "c_01");
        let token = tokens.token(&one, &owner);
        assert!(ChannelTokens::has_form(&token));
        assert_eq!(tokens.owner(&one, &token), Some(owner.clone()));
        assert_eq!(tokens.owner(&two, &token), None, "of another channel");
        let others = ChannelTokens::new(&[8; 32]).unwrap();
        assert_eq!(others.owner(&one, &token), None, "of another system");
        for (named, other) in [("acme", "acm"), ("c_01", "c_02"), ("1:", "2:")] {
            let forged = token.replacen(named, other, 1);
            assert_eq!(tokens.owner(&one, &forged), None, "{forged}");
        }
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(tokens.owner(&one, &forged), None, "{forged}");
        }
        for cut in 0..token.len() {
            assert_eq!(tokens.owner(&one, &token[..cut]), None, "{cut}");
        }
        for more in [":", "0", ":0", " "] {
            assert_eq!(
                tokens.owner(&one, &format!("{token}{more}")),
                None,
                "{more}"
            );
        }
        assert!(!format!("{tokens:?}").contains('7'));
    }

    #[test]
    fn the_longest_token_is_within_what_drive_allows() {
        let tokens = ChannelTokens::new(&[7; 32]).unwrap();
        let owner = key(&"t".repeat(64), &"c".repeat(64));
        let id = ChannelId::parse(&"i".repeat(64)).unwrap();
        let token = tokens.token(&id, &owner);
        assert_eq!(token.len(), 196);
        assert_eq!(tokens.owner(&id, &token), Some(owner));
    }

    #[test]
    fn a_random_token_of_an_earlier_release_has_no_form() {
        for text in ["", "1:", "1::", "1:a:b:", &"0f".repeat(32), "1:a:b:é"] {
            assert!(!ChannelTokens::has_form(text), "{text}");
        }
    }
}
