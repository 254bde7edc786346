//! The numbers of a log's items: what a writer appends next, and what a reader may read.
//!
//! A writer reads the newest item and creates the next number on condition that it does not exist.
//! Nobody creates a number without having seen the one before it, so that a consistent query above
//! a number can never miss one that appears later. (Numbers that are drawn from the time can: two
//! writers draw, and the lower one is stored last.)

use super::{Epoch, EventCursor};
use crate::Timestamp;

/// Which table a log is in: the identity of the table's stream, which a restored table does not
/// share with the one that it was restored from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableMark(pub u64);

/// The newest item of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogEnd {
    /// The epoch.
    pub epoch: Epoch,
    /// The number of the first item of this epoch.
    pub first: u64,
    /// The number of the newest item.
    pub number: u64,
    /// The index of its last event.
    pub last: u32,
    /// The time at which it was appended.
    pub at: Timestamp,
    /// The time from which it counts as missing.
    pub expires_at: Timestamp,
    /// The table that it was written to; `None` if the writer did not know.
    pub table: Option<TableMark>,
}

impl LogEnd {
    /// Returns the cursor of a reader that has read everything.
    #[must_use]
    pub fn cursor(&self) -> EventCursor {
        EventCursor {
            epoch: self.epoch,
            number: self.number,
            index: self.last,
        }
    }
}

/// The place of the next item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextItem {
    /// The epoch.
    pub epoch: Epoch,
    /// The number of the first item of this epoch.
    pub first: u64,
    /// The number.
    pub number: u64,
    /// The time: it does not go back within a log, so that items expire in the order of their
    /// numbers.
    pub at: Timestamp,
    /// The table that it is written to.
    pub table: Option<TableMark>,
}

/// Returns the place of the item after `end`. A new epoch begins with `fresh`
/// - in a log that is empty;
/// - after an item that has expired: a later one may be deleted already, since expired items are
///   deleted in any order;
/// - in another table than the one that the newest item was written to: it was restored to an
///   earlier state, and what readers have read may never have happened here.
#[must_use]
pub fn next_item(
    end: Option<&LogEnd>,
    table: Option<TableMark>,
    fresh: Epoch,
    now: Timestamp,
) -> NextItem {
    let Some(end) = end else {
        return NextItem {
            epoch: fresh,
            first: 1,
            number: 1,
            at: now,
            table,
        };
    };
    let restored = table.is_some() && end.table.is_some() && table != end.table;
    let begins = restored || end.expires_at <= now;
    let number = end.number + 1;
    NextItem {
        epoch: if begins { fresh } else { end.epoch },
        first: if begins { number } else { end.first },
        number,
        at: end.at.max(now),
        table: table.or(end.table),
    }
}

/// What a reader does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Start {
    /// There is nothing after its cursor.
    UpToDate,
    /// It reads the items from this number on, consistently.
    From {
        /// The number.
        number: u64,
        /// The number of events of that item that it has read.
        skip: u32,
        /// The item must be there, or the cursor has expired.
        must_exist: bool,
    },
    /// The cursor is of another epoch or beyond the end: what is after it can't be told.
    Expired,
}

/// Returns where a reader with this cursor starts, in a log with this end. Without a cursor it
/// starts with the oldest item that is kept.
#[must_use]
pub fn start(after: Option<&EventCursor>, end: Option<&LogEnd>, now: Timestamp) -> Start {
    match (after, end.filter(|end| end.expires_at > now)) {
        (None, None) => Start::UpToDate,
        (Some(_), None) => Start::Expired,
        (None, Some(end)) => Start::From {
            number: end.first,
            skip: 0,
            must_exist: false,
        },
        (Some(after), Some(end)) => {
            let read = (after.number, after.index);
            if after.epoch != end.epoch || after.number < end.first || read > (end.number, end.last)
            {
                Start::Expired
            } else if read == (end.number, end.last) {
                Start::UpToDate
            } else {
                Start::From {
                    number: after.number,
                    skip: after.index.saturating_add(1),
                    must_exist: true,
                }
            }
        }
    }
}

/// An item as a reader finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadItem {
    /// The epoch.
    pub epoch: Epoch,
    /// Its number.
    pub number: u64,
    /// Its time has come: it may be missing at the next look.
    pub expired: bool,
}

/// What a reader may use of the items that it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Read {
    /// The items from this index on.
    From(usize),
    /// An item that it must read is gone.
    Expired,
}

/// Returns which of the items that were found a reader may use: those in one sequence that begins
/// where it starts. Expects the items in the order of their numbers, and `start` as [`start`]
/// returned it for this end.
#[must_use]
pub fn continued(start: &Start, found: &[ReadItem], end: &LogEnd) -> Read {
    let (number, must_exist) = match start {
        Start::UpToDate => return Read::From(found.len()),
        Start::Expired => return Read::Expired,
        Start::From {
            number, must_exist, ..
        } => (*number, *must_exist),
    };
    if found.iter().any(|item| item.epoch != end.epoch) {
        return Read::Expired;
    }
    let follows = |pair: &[ReadItem]| match pair {
        [before, item] => before.number + 1 == item.number && !before.expired,
        _ => true,
    };
    // The last item that does not follow the one before it begins what can be read in one sequence.
    let gap = found.windows(2).rposition(|pair| !follows(pair));
    let begin = gap.map_or(0, |at| at + 1);
    let first = found.get(begin).filter(|item| !item.expired);
    match first {
        Some(first) if !must_exist || first.number == number => Read::From(begin),
        Some(_) => Read::Expired,
        None if must_exist => Read::Expired,
        None => Read::From(found.len()),
    }
}
