//! Which table this is: a table that was restored from a backup is another one than the table that
//! the backup was taken of, and its content tells so once.

use std::sync::Arc;

use domain::Timestamp;
use domain::event::TableMark;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::file::value_item::at;
use crate::table::item::{decode, encode};
use crate::table::key::{Item, Key};
use crate::table::store::{Applied, ROUNDS_MAX, pause};
use crate::table::update::Replaces;
use crate::{Store, StoreError};

#[derive(Serialize, Deserialize)]
struct Body {
    revision: u64,
    mark: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restored_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pass: Option<PassItem>,
}

#[derive(Serialize, Deserialize)]
struct PassItem {
    shard: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

/// What a table says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableIdentity {
    /// The table that it says it is.
    pub mark: TableMark,
    /// The time at which it was noticed that it had been restored; `None` if it never was.
    pub restored_at: Option<Timestamp>,
    /// How far the pass over a table that was restored has come; `None` once it is done.
    pub pass: Option<RestoredPass>,
    revision: u64,
}

/// A pass over everything that becomes due, to its end, which begins where it was noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredPass {
    /// The shard that it is at.
    pub shard: u8,
    /// The position in it after which it goes on.
    pub after: Option<String>,
}

/// Returns the mark of the table that a stream belongs to: a restored table has another stream.
#[must_use]
pub fn table_mark(stream_arn: &str) -> Option<TableMark> {
    let arn = Some(stream_arn).filter(|arn| !arn.is_empty())?;
    let digest = Sha256::digest(arn.as_bytes());
    let first: [u8; 8] = digest.first_chunk().copied()?;
    Some(TableMark(u64::from_be_bytes(first)))
}

impl Store {
    /// Returns the same table, known by its stream: events that are appended without a mark carry
    /// its mark.
    #[must_use]
    pub fn with_stream(self, stream_arn: Option<&str>) -> Self {
        Self {
            mark: stream_arn.and_then(table_mark),
            restored: Arc::default(),
            ..self
        }
    }

    /// Returns which table this is, if that is known.
    #[must_use]
    pub fn mark(&self) -> Option<TableMark> {
        self.mark
    }

    /// Returns what the table says of itself, if it is known which table this is. One that says
    /// that it is another one was restored from a backup of that one: it says so from now on, and
    /// the pass over it is to be made.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn identify_table(
        &self,
        now: Timestamp,
    ) -> Result<Option<TableIdentity>, StoreError> {
        let Some(mark) = self.mark else {
            return Ok(None);
        };
        for round in 0..ROUNDS_MAX {
            let item = self.get(&Key::table()).await?;
            let read = item.map(decode_identity).transpose()?;
            let next = match &read {
                Some(read) if read.mark == mark => return Ok(Some(read.clone())),
                Some(read) => TableIdentity {
                    mark,
                    restored_at: Some(now),
                    pass: Some(RestoredPass {
                        shard: 0,
                        after: None,
                    }),
                    revision: read.revision,
                },
                None => TableIdentity {
                    mark,
                    restored_at: None,
                    pass: None,
                    revision: 0,
                },
            };
            if let Some(saved) = self.save(next).await? {
                return Ok(Some(saved));
            }
            pause(round).await;
        }
        Err(StoreError::busy("concurrent writes of what the table is"))
    }

    /// Returns the time at which it was noticed that this table had been restored; `None` if it
    /// never was, or it is not known which table this is. It is read once.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn restored_at(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let identified = async || {
            let identity = self.without_riders().identify_table(now).await?;
            Ok(identity.and_then(|identity| identity.restored_at))
        };
        self.restored.get_or_try_init(identified).await.copied()
    }

    /// Saves how far the pass over a restored table has come, if nobody else has. Returns what is
    /// saved.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn save_pass(
        &self,
        read: &TableIdentity,
        pass: Option<RestoredPass>,
    ) -> Result<Option<TableIdentity>, StoreError> {
        self.save(TableIdentity {
            pass,
            ..read.clone()
        })
        .await
    }

    /// Saves what the table says of itself, if it still says what was read.
    async fn save(&self, identity: TableIdentity) -> Result<Option<TableIdentity>, StoreError> {
        let before = identity.revision;
        let body = Body {
            revision: before + 1,
            mark: identity.mark.0,
            restored_at: identity.restored_at.map(Timestamp::as_millis),
            pass: identity.pass.as_ref().map(|pass| PassItem {
                shard: pass.shard,
                after: pass.after.clone(),
            }),
        };
        let replaces = match before {
            0 => Replaces::Nothing,
            before => Replaces::Revision(before),
        };
        let saved = self.put(encode(&Key::table(), &body)?, replaces).await?;
        Ok(match saved {
            Applied::Done(_) => Some(TableIdentity {
                revision: before + 1,
                ..identity
            }),
            Applied::Refused(_) => None,
        })
    }
}

fn decode_identity(item: Item) -> Result<TableIdentity, StoreError> {
    let (_, body) = decode::<Body>(item)?;
    Ok(TableIdentity {
        mark: TableMark(body.mark),
        restored_at: body.restored_at.map(at),
        pass: body.pass.map(|pass| RestoredPass {
            shard: pass.shard,
            after: pass.after,
        }),
        revision: body.revision,
    })
}
