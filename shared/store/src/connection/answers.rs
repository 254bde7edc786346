//! The answers to requests with an idempotency key: each is an item of its own, written in the
//! transaction of the act that it answers, so that neither is stored without the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::file::value_item::at;
use crate::table::item::{Encoded, decode, encode};
use crate::table::key::{Item, Key};
use crate::table::store::Transacted;
use crate::table::update::Write;
use crate::{Store, StoreError};

/// How long an answer is given again, in milliseconds: a day, by the clock of its reader. DynamoDB
/// only deletes it, some time later.
pub const ANSWER_MILLIS: i64 = 24 * 3_600 * 1_000;

/// What a repeat of a request is answered with: what the request was, and where to read what it
/// made. Never the body, which may have held a link or a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The digest of the request. The same key with another request is a client error.
    pub digest: String,
    /// The HTTP status of the first answer.
    pub status: u16,
    /// The path of the resource that it showed; `None` if it showed none, or several.
    pub location: Option<String>,
    /// Whether what it showed ends by the request itself, so that it is shown again although gone.
    pub ends: bool,
    /// The revision that the act gave its record, if it has one.
    pub revision: Option<u64>,
    /// The ids of what it showed, if it showed several.
    pub parts: Vec<String>,
    /// The cursor of its next page, if it has one.
    pub next_cursor: Option<String>,
}

/// The answer to a request that is being carried out. Clones are the same answer.
#[derive(Debug, Clone)]
pub struct PendingAnswer {
    tenant: TenantId,
    key: String,
    now: Timestamp,
    stored: Arc<AtomicBool>,
}

impl PendingAnswer {
    /// Creates the answer to the request with this digest of its key.
    #[must_use]
    pub fn new(tenant: TenantId, key: String, now: Timestamp) -> Self {
        Self {
            tenant,
            key,
            now,
            stored: Arc::default(),
        }
    }

    /// Returns whether it is stored.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.stored.load(Ordering::Acquire)
    }
}

/// An answer to be written with the next write of a [`Store`].
#[derive(Debug, Clone)]
pub(crate) struct KeyedWrite {
    pending: PendingAnswer,
    answer: Answer,
}

impl KeyedWrite {
    pub(crate) fn is_stored(&self) -> bool {
        self.pending.is_stored()
    }

    pub(crate) fn stored(&self) {
        self.pending.stored.store(true, Ordering::Release);
    }

    /// Returns the write that stores the answer beside the writes of the act.
    pub(crate) fn write(&self, act: &[Write]) -> Result<Write, StoreError> {
        let PendingAnswer {
            tenant, key, now, ..
        } = &self.pending;
        let revision = act.iter().find_map(Write::revision);
        let until = now.plus_millis(ANSWER_MILLIS);
        let item = encode_answer(tenant, key, &self.answer, revision, until)?;
        Ok(Write::Answer(item, *now))
    }
}

#[derive(Serialize, Deserialize)]
struct Body {
    #[serde(rename = "d")]
    digest: String,
    #[serde(rename = "s")]
    status: u16,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(rename = "e", default, skip_serializing_if = "std::ops::Not::not")]
    ends: bool,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    #[serde(rename = "p", default, skip_serializing_if = "Vec::is_empty")]
    parts: Vec<String>,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    until: i64,
    expires: i64,
}

impl Store {
    /// Returns the same table, whose next write (one that may be refused for a condition, or a
    /// transaction) also stores the answer of a request: both or neither. If another request with
    /// the same key was carried out first, that write is `Busy`.
    #[must_use]
    pub fn answering(&self, pending: &PendingAnswer, answer: Answer) -> Self {
        let keyed = KeyedWrite {
            pending: pending.clone(),
            answer,
        };
        Self {
            keyed: Some(Arc::new(keyed)),
            ..self.clone()
        }
    }

    /// Stores the answer by itself, unless it is stored: the request wrote nothing else.
    ///
    /// # Errors
    /// [`StoreError`]; `Busy` if another request with the same key came first.
    pub async fn save_answer(
        &self,
        pending: &PendingAnswer,
        answer: Answer,
    ) -> Result<(), StoreError> {
        if pending.is_stored() {
            return Ok(());
        }
        match self.answering(pending, answer).transact(Vec::new()).await? {
            Transacted::Done => Ok(()),
            Transacted::Refused(_) => Err(StoreError::busy("the answer was not stored")),
        }
    }

    /// Reads the answer to the request with this digest of its key; `None` if there is none, or a
    /// day has passed.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_answer(
        &self,
        tenant: &TenantId,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<Answer>, StoreError> {
        let Some(item) = self.get(&Key::answer(tenant, key)).await? else {
            return Ok(None);
        };
        let (answer, until) = decode_answer(item)?;
        Ok((now < until).then_some(answer))
    }
}

pub(crate) fn encode_answer(
    tenant: &TenantId,
    key: &str,
    answer: &Answer,
    revision: Option<u64>,
    until: Timestamp,
) -> Result<Encoded, StoreError> {
    let body = Body {
        digest: answer.digest.clone(),
        status: answer.status,
        location: answer.location.clone(),
        ends: answer.ends,
        revision: answer.revision.or(revision),
        parts: answer.parts.clone(),
        next_cursor: answer.next_cursor.clone(),
        until: until.as_millis(),
        expires: until.as_seconds(),
    };
    encode(&Key::answer(tenant, key), &body)
}

pub(crate) fn decode_answer(item: Item) -> Result<(Answer, Timestamp), StoreError> {
    let (_, body) = decode::<Body>(item)?;
    let answer = Answer {
        digest: body.digest,
        status: body.status,
        location: body.location,
        ends: body.ends,
        revision: body.revision,
        parts: body.parts,
        next_cursor: body.next_cursor,
    };
    Ok((answer, at(body.until)))
}
