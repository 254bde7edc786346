//! Appending to an event log, and reading it.

use domain::event::{
    Epoch, Event, EventCursor, LogEnd, NextItem, Read, ReadItem, Start, TableMark, continued,
    next_item, start,
};
use domain::{ConnectionKey, Timestamp};

use crate::event::event_item::{
    EVENT, EventItem, StoredBatch, decode_batch, encode_batch, event_sk, log_pk, number_of,
};
use crate::table::key::{Item, Key};
use crate::table::range::Range;
use crate::table::store::{Applied, pause};
use crate::table::update::Replaces;
use crate::{Nonce, Store, StoreError};

/// The most events of one item.
const EVENTS_MAX: usize = 25;
/// The most bytes of the events of one item, unless a single one takes more.
const EVENT_BYTES_MAX: usize = 8 * 1024;
/// The attempts to append an item while others append to the same log.
const ATTEMPTS_MAX: u32 = 40;
/// The most items of one read.
const ITEMS_MAX: u32 = 100;

/// How events are appended.
#[derive(Debug, Clone, Copy)]
pub struct Appending {
    /// The table's identity, if the writer knows it better than its store ([`Store::mark`]).
    pub table: Option<TableMark>,
    /// The epoch of a log that begins, drawn at random.
    pub fresh: Epoch,
    /// Recognises the own item after a lost answer, drawn at random.
    pub nonce: Nonce,
    /// The current time.
    pub now: Timestamp,
}

/// Events as they were read, each with its cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventsRead {
    /// The next events.
    Page {
        /// The events, oldest first.
        events: Vec<(EventCursor, Event)>,
        /// The cursor after them; `None` if the log has no event yet.
        next: Option<EventCursor>,
        /// The end of the log when it was read; `None` if it has no event yet.
        head: Option<EventCursor>,
    },
    /// Events after the cursor are gone, or it is not of this log: nothing tells what was missed.
    Expired {
        /// The end of the log; `None` if it has no event.
        head: Option<EventCursor>,
    },
}

impl Store {
    /// Returns the newest item of a log; `None` if there is none. Read consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn event_log_end(&self, key: &ConnectionKey) -> Result<Option<LogEnd>, StoreError> {
        let newest = Range::prefix(None, log_pk(key), EVENT).descending();
        let slice = self.slice(&newest, 1).await?;
        let newest = slice.items.into_iter().next();
        Ok(newest.map(decode_batch).transpose()?.map(|batch| batch.end))
    }

    /// Appends events to a log, in items of at most 25 events and 8 KB, and returns its end. An
    /// error may come after a part of them: appended again, they have the same ids. Before a log
    /// begins, its state is saved, so that the schedule keeps it.
    ///
    /// # Errors
    /// [`StoreError`]: busy if others append all the time.
    pub async fn append_events(
        &self,
        key: &ConnectionKey,
        events: &[Event],
        appending: &Appending,
    ) -> Result<Option<LogEnd>, StoreError> {
        let mut end = self.event_log_end(key).await?;
        // What was changed before a person was erased, or by it, may be told only now.
        let erased = self.load_erased_persons(&key.tenant).await?;
        let items = events.iter().map(EventItem::of);
        let items: Vec<EventItem> = items.map(|event| event.without(&erased)).collect();
        let mut nonce = appending.nonce;
        for batch in batches(&items) {
            end = Some(self.append(key, batch, end, appending, nonce).await?);
            nonce = Nonce(nonce.0.wrapping_add(1));
        }
        Ok(end)
    }

    /// Appends events to a log whose newest item can't be read: under the next number, in an epoch
    /// of its own, so that readers reload and nobody reads that item again. Returns the end.
    ///
    /// # Errors
    /// [`StoreError`]: busy if others append at the same time.
    pub async fn append_after_unreadable(
        &self,
        key: &ConnectionKey,
        events: &[Event],
        appending: &Appending,
    ) -> Result<Option<LogEnd>, StoreError> {
        let newest = Range::prefix(None, log_pk(key), EVENT).descending();
        let slice = self.slice(&newest, 1).await?;
        let Some(newest) = slice.items.first() else {
            return self.append_events(key, events, appending).await;
        };
        let number = number_of(&Key::of(newest)?)?.saturating_add(1);
        let items: Vec<EventItem> = events.iter().map(EventItem::of).collect();
        let Some(first) = batches(&items).next().filter(|first| !first.is_empty()) else {
            return Ok(None);
        };
        let place = NextItem {
            epoch: appending.fresh,
            first: number,
            number,
            at: appending.now,
            table: appending.table.or(self.mark),
        };
        let expires_at = self.retention.of_event(place.at);
        let item = encode_batch(key, &place, expires_at, first, appending.nonce)?;
        match self.put(item, Replaces::Nothing).await? {
            Applied::Done(_) => {}
            Applied::Refused(Some(stored)) if is_of(stored.clone(), appending.nonce) => {}
            Applied::Refused(_) => {
                return Err(StoreError::busy("others append to the event log"));
            }
        }
        let Some(rest) = events.get(first.len()..).filter(|rest| !rest.is_empty()) else {
            return Ok(Some(end_of(&place, first, expires_at)));
        };
        let nonce = Nonce(appending.nonce.0.wrapping_add(1));
        let appending = Appending {
            nonce,
            ..*appending
        };
        self.append_events(key, rest, &appending).await
    }

    async fn append(
        &self,
        key: &ConnectionKey,
        events: &[EventItem],
        mut end: Option<LogEnd>,
        appending: &Appending,
        nonce: Nonce,
    ) -> Result<LogEnd, StoreError> {
        let Appending { fresh, now, .. } = *appending;
        let table = appending.table.or(self.mark);
        for round in 0..ATTEMPTS_MAX {
            let place = next_item(end.as_ref(), table, fresh, now);
            let expires_at = self.retention.of_event(place.at);
            if place.number == place.first {
                let end = end_of(&place, events, expires_at);
                self.begin_event_log(key, &end).await?;
            }
            let item = encode_batch(key, &place, expires_at, events, nonce)?;
            let stored = match self.put(item, Replaces::Nothing).await? {
                Applied::Done(_) => return Ok(end_of(&place, events, expires_at)),
                Applied::Refused(stored) => stored.map(decode_batch).transpose()?,
            };
            match stored {
                // The answer of our own write was lost.
                Some(batch) if batch.nonce == nonce => return Ok(batch.end),
                Some(_) | None => pause(round.min(3)).await,
            }
            end = self.event_log_end(key).await?;
        }
        Err(StoreError::busy(
            "others append to the event log all the time",
        ))
    }

    /// Reads up to about `limit` events after a cursor, oldest first; without one, from the oldest
    /// that is kept. An item is returned whole, so that there may be up to 24 more.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn read_events(
        &self,
        key: &ConnectionKey,
        after: Option<&EventCursor>,
        limit: u32,
        now: Timestamp,
    ) -> Result<EventsRead, StoreError> {
        let end = self.event_log_end(key).await?;
        let end = end.filter(|end| end.expires_at > now);
        let head = end.as_ref().map(LogEnd::cursor);
        let from = start(after, end.as_ref(), now);
        let (number, skip, end) = match (&from, end) {
            (Start::Expired, _) => return Ok(EventsRead::Expired { head }),
            (Start::From { number, skip, .. }, Some(end)) => (*number, *skip, end),
            (Start::UpToDate, _) | (Start::From { .. }, None) => {
                return Ok(EventsRead::Page {
                    events: Vec::new(),
                    next: head,
                    head,
                });
            }
        };
        let mut range = Range::between(log_pk(key), &event_sk(number), EVENT);
        // The first item may have been read to its end.
        let items_max = limit.clamp(1, ITEMS_MAX) + 1;
        let (found, begin) = loop {
            let slice = self.slice(&range, items_max).await?;
            let more = slice.last_sk()?.filter(|_| slice.more);
            let found = slice.items.into_iter().map(decode_batch);
            let found: Vec<StoredBatch> = found.collect::<Result<_, _>>()?;
            let looks: Vec<ReadItem> = found.iter().map(|batch| look(batch, now)).collect();
            let Read::From(begin) = continued(&from, &looks, &end) else {
                return Ok(EventsRead::Expired { head });
            };
            match more {
                // Expired items, which DynamoDB deletes within days: what is kept follows them.
                Some(last) if after.is_none() && begin == found.len() => {
                    range = range.after(&last)?;
                }
                Some(_) | None => break (found, begin),
            }
        };
        let mut events = Vec::new();
        for batch in found.into_iter().skip(begin) {
            if events.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
                break;
            }
            let skip = if batch.end.number == number { skip } else { 0 };
            for (index, event) in (0..).zip(batch.events).filter(|(index, _)| *index >= skip) {
                let cursor = EventCursor {
                    index,
                    ..batch.end.cursor()
                };
                events.push((cursor, event));
            }
        }
        let next = events.last().map(|(cursor, _)| *cursor).or(after.copied());
        Ok(EventsRead::Page { events, next, head })
    }
}

fn is_of(item: Item, nonce: Nonce) -> bool {
    decode_batch(item).is_ok_and(|batch| batch.nonce == nonce)
}

fn look(batch: &StoredBatch, now: Timestamp) -> ReadItem {
    ReadItem {
        epoch: batch.end.epoch,
        number: batch.end.number,
        expired: batch.end.expires_at <= now,
    }
}

fn end_of(place: &NextItem, events: &[EventItem], expires_at: Timestamp) -> LogEnd {
    let last = u32::try_from(events.len()).unwrap_or(u32::MAX);
    LogEnd {
        epoch: place.epoch,
        first: place.first,
        number: place.number,
        last: last.saturating_sub(1),
        at: place.at,
        expires_at,
        table: place.table,
    }
}

/// Cuts events into those of one item each.
fn batches(events: &[EventItem]) -> impl Iterator<Item = &[EventItem]> {
    let mut rest = events;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = rest.iter().take(EVENTS_MAX).take_while(|event| {
            bytes += event.bytes();
            bytes <= EVENT_BYTES_MAX
        });
        let (batch, after) = rest.split_at_checked(fits.count().max(1))?;
        rest = after;
        Some(batch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::FileId;
    use domain::event::{Author, Details, EventType, Subject};

    fn event(reason: usize) -> Event {
        Event {
            kind: EventType::FileModified,
            subject: Subject::File(FileId::parse("f1").unwrap()),
            state: "1".to_owned(),
            at: Timestamp::from_millis(1),
            by: Author::Drive,
            cause: None,
            details: Details {
                reason: Some("x".repeat(reason)),
                ..Details::default()
            },
        }
    }

    #[test]
    fn events_are_cut_by_number_and_by_bytes() {
        let cut = |sizes: &[usize]| -> Vec<usize> {
            let events: Vec<Event> = sizes.iter().map(|size| event(*size)).collect();
            let items: Vec<EventItem> = events.iter().map(EventItem::of).collect();
            batches(&items).map(<[EventItem]>::len).collect()
        };
        assert_eq!(cut(&[]), Vec::<usize>::new());
        assert_eq!(cut(&[1; 25]), [25]);
        assert_eq!(cut(&[1; 51]), [25, 25, 1]);
        assert_eq!(cut(&[5_000, 5_000, 100]), [1, 2]);
        assert_eq!(cut(&[50_000, 1]), [1, 1]);
    }
}
