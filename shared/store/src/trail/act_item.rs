//! Items of the trail: the acts by month and chain, and the end of each chain.

use domain::content::ContentHash;
use domain::trail::{ActPlace, START};
use domain::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::StoreError;
use crate::file::value_item::at;
use crate::table::item::{Encoded, decode, encode};
use crate::table::key::{Item, Key, millis_13};
use crate::trail::line::{hash_of, hashed_text};

/// The end of a chain: what the next act follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChainEnd {
    /// The number of the last act; 0 if there is none.
    pub(crate) number: u64,
    pub(crate) hash: ContentHash,
    pub(crate) at: Timestamp,
}

impl ChainEnd {
    /// The end of a chain without an act.
    pub(crate) const NONE: Self = Self {
        number: 0,
        hash: START,
        at: Timestamp::from_millis(0),
    };
}

#[derive(Serialize, Deserialize)]
struct EndBody {
    /// The number of the last act: the condition of the next one.
    revision: u64,
    hash: String,
    at: i64,
}

#[derive(Serialize, Deserialize)]
struct ActBody {
    /// The act as the text that its hash is computed of.
    act: String,
    hash: String,
}

/// The month of an act, in the key of its partition.
pub(crate) fn month(at: Timestamp) -> String {
    let text = at.to_string();
    let (year, month) = (text.get(..4), text.get(5..7));
    format!("{}{}", year.unwrap_or_default(), month.unwrap_or_default())
}

/// The partition of the acts of a month in one chain.
pub(crate) fn acts_pk(tenant: &TenantId, month: &str, chain: u8) -> String {
    format!("T#{tenant}#AUDIT#{month}#{chain:02}")
}

/// The sort key of an act: acts are read by time, and by number within a time.
pub(crate) fn act_sk(at: Timestamp, number: u64) -> String {
    format!("{}#{number:012}", millis_13(at))
}

/// The key of the end of a chain.
pub(crate) fn end_place(tenant: &TenantId, chain: u8) -> Key {
    Key::new(format!("T#{tenant}#TRAIL"), format!("CHAIN#{chain:02}"))
}

/// Encodes the act that follows `end`, and returns it with the end of the chain after it. `act` has
/// all members but those of the chain.
pub(crate) fn encode_act(
    tenant: &TenantId,
    chain: u8,
    end: &ChainEnd,
    at: Timestamp,
    mut act: Map<String, Value>,
) -> Result<(Encoded, ChainEnd), StoreError> {
    let number = end.number + 1;
    act.insert("chain".to_owned(), chain.into());
    act.insert("number".to_owned(), number.into());
    act.insert("previous".to_owned(), end.hash.to_string().into());
    let text = hashed_text(&act);
    let hash = hash_of(&text);
    let key = Key::new(acts_pk(tenant, &month(at), chain), act_sk(at, number));
    let body = ActBody {
        act: text,
        hash: hash.to_string(),
    };
    let next = ChainEnd { number, hash, at };
    Ok((encode(&key, &body)?, next))
}

pub(crate) fn encode_end(
    tenant: &TenantId,
    chain: u8,
    end: &ChainEnd,
) -> Result<Encoded, StoreError> {
    let body = EndBody {
        revision: end.number,
        hash: end.hash.to_string(),
        at: end.at.as_millis(),
    };
    encode(&end_place(tenant, chain), &body)
}

pub(crate) fn decode_end(item: Item) -> Result<ChainEnd, StoreError> {
    let (key, body) = decode::<EndBody>(item)?;
    let hash = ContentHash::parse(&body.hash);
    Ok(ChainEnd {
        number: body.revision,
        hash: hash.map_err(|_| key.corrupt("its hash is invalid"))?,
        at: at(body.at),
    })
}

/// An act of the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// The time that it is listed by, in milliseconds since the Unix epoch.
    pub(crate) millis: i64,
    /// Its place in the chain, by its key.
    pub place: ActPlace,
    /// Its members, `hash` among them.
    pub members: Map<String, Value>,
}

impl Act {
    /// Returns a member that is a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name).and_then(Value::as_str)
    }
}

pub(crate) fn decode_act(item: Item) -> Result<Act, StoreError> {
    let (key, body) = decode::<ActBody>(item)?;
    let chain = key.pk.rsplit('#').next().and_then(|part| part.parse().ok());
    let (millis, number) = match key.sk.split_once('#') {
        Some((millis, number)) => (millis.parse().ok(), number.parse().ok()),
        None => (None, None),
    };
    let (Some(chain), Some(millis), Some(number)) = (chain, millis, number) else {
        return Err(key.corrupt("its key is not that of an act"));
    };
    let Ok(Value::Object(mut members)) = serde_json::from_str(&body.act) else {
        return Err(key.corrupt("its act is not a JSON object"));
    };
    members.insert("hash".to_owned(), body.hash.into());
    Ok(Act {
        millis,
        place: ActPlace { chain, number },
        members,
    })
}
