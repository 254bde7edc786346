//! An exhaustive search: two writers and a reader of one log, with crashes, expiry and a restore of
//! the table, in every order.

use std::collections::{HashSet, VecDeque};

use super::{
    Epoch, EventCursor, LogEnd, NextItem, Read, ReadItem, Start, TableMark, continued, next_item,
    start,
};
use crate::fixture::NOW;

/// The rule that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// Numbers are drawn from the time, and an item is stored without a look at the one before it.
    NumbersFromTime,
    /// A reader takes what it finds, whether items are missing or not.
    GapsIgnored,
    /// A restored table goes on in the epoch of the one that it was restored from.
    EpochKept,
    /// An empty log begins again in the epoch that it had.
    EmptyLogKeepsEpoch,
}

/// What happens to the table besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Fault {
    Expiry,
    Restore,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Stored {
    place: NextItem,
    /// Identifies the item among all that were ever appended.
    serial: u8,
    expired: bool,
}

/// One table: what is stored, and what was appended to it or to the one that it was restored from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Table {
    items: Vec<Stored>,
    timeline: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Writer {
    left: u8,
    /// What it has read: the place of its next item.
    next: Option<NextItem>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Reader {
    cursor: Option<EventCursor>,
    /// What it was given since it last loaded everything.
    given: Vec<u8>,
    /// It has read the end, and not yet the items.
    reading: Option<(Start, LogEnd)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    fault: Fault,
    table: Table,
    backup: Option<Table>,
    mark: u64,
    writers: [Writer; 2],
    reader: Reader,
    /// The next serial: one for each item that is appended.
    drawn: u8,
    /// The time, for numbers that are drawn from it.
    clock: u64,
    crashes: u8,
}

impl World {
    fn new(fault: Fault) -> Self {
        let writer = |left| Writer { left, next: None };
        // Expiry alone multiplies the states.
        let second = match fault {
            Fault::Expiry => 1,
            Fault::Restore => 2,
        };
        Self {
            fault,
            table: Table::default(),
            backup: None,
            mark: 1,
            writers: [writer(2), writer(second)],
            reader: Reader::default(),
            drawn: 0,
            clock: 1,
            crashes: 1,
        }
    }

    fn end(&self) -> Option<LogEnd> {
        let newest = self
            .table
            .items
            .iter()
            .max_by_key(|item| item.place.number)?;
        Some(LogEnd {
            epoch: newest.place.epoch,
            first: newest.place.first,
            number: newest.place.number,
            last: 0,
            at: NOW,
            expires_at: NOW.plus_millis(i64::from(!newest.expired)),
            table: newest.place.table,
        })
    }

    /// Every state that can follow, or the violation that a step shows.
    fn steps(&self, broken: Broken) -> Result<Vec<Self>, String> {
        let mut next = Vec::new();
        for index in [0, 1] {
            next.extend(self.write(index, broken));
        }
        next.push(self.read_end());
        next.extend(self.read_items(broken)?);
        match self.fault {
            Fault::Expiry => next.extend(self.expire()),
            Fault::Restore => next.extend(self.restore()),
        }
        Ok(next)
    }

    fn write(&self, index: usize, broken: Broken) -> Vec<Self> {
        let writer = self.writers[index];
        if writer.left == 0 {
            return Vec::new();
        }
        let mut world = self.clone();
        let Some(place) = writer.next else {
            let drawn = 2 * u64::from(self.drawn) + u64::from(index == 0) + 1;
            let kept = broken == Broken::EmptyLogKeepsEpoch;
            let fresh = Epoch(if kept { 0 } else { drawn });
            let mark = (broken != Broken::EpochKept).then_some(TableMark(self.mark));
            let mut place = next_item(self.end().as_ref(), mark, fresh, NOW);
            if broken == Broken::NumbersFromTime {
                (place.epoch, place.first, place.number) = (Epoch(0), 1, self.clock);
                world.clock += 1;
            }
            world.writers[index].next = Some(place);
            return vec![world];
        };
        world.writers[index].next = None;
        let taken = |item: &Stored| item.place.number == place.number;
        if self.table.items.iter().any(taken) {
            return vec![world];
        }
        world.table.items.push(Stored {
            place,
            serial: self.drawn,
            expired: false,
        });
        world.table.timeline.push(self.drawn);
        world.drawn += 1;
        // A writer that stops before it knows of its append does it again.
        let mut crashed = world.clone();
        world.writers[index].left -= 1;
        if self.crashes == 0 {
            return vec![world];
        }
        crashed.crashes -= 1;
        vec![world, crashed]
    }

    fn read_end(&self) -> Self {
        let mut world = self.clone();
        let end = self.end();
        match (start(self.reader.cursor.as_ref(), end.as_ref(), NOW), end) {
            (Start::UpToDate, _) => {}
            (Start::Expired, end) => world.reload(end),
            (from @ Start::From { .. }, Some(end)) => world.reader.reading = Some((from, end)),
            (Start::From { .. }, None) => unreachable!("there is nothing to read"),
        }
        world
    }

    /// Loads everything: the reader goes on from the end that it read before.
    fn reload(&mut self, end: Option<LogEnd>) {
        self.reader = Reader {
            cursor: end.map(|end| end.cursor()),
            ..Reader::default()
        };
    }

    fn read_items(&self, broken: Broken) -> Result<Option<Self>, String> {
        let mut world = self.clone();
        let Some((from, end)) = world.reader.reading.take() else {
            return Ok(None);
        };
        let Start::From { number, skip, .. } = from else {
            return Ok(None);
        };
        let mut found: Vec<&Stored> = self.table.items.iter().collect();
        found.sort_by_key(|item| item.place.number);
        found.retain(|item| item.place.number >= number);
        let looks: Vec<ReadItem> = found
            .iter()
            .map(|item| ReadItem {
                epoch: item.place.epoch,
                number: item.place.number,
                expired: item.expired,
            })
            .collect();
        let gaps = [Broken::GapsIgnored, Broken::NumbersFromTime];
        let read = if gaps.contains(&broken) {
            Read::From(0)
        } else {
            continued(&from, &looks, &end)
        };
        let Read::From(begin) = read else {
            world.reload(self.end());
            return Ok(Some(world));
        };
        for item in found.into_iter().skip(begin) {
            if item.place.number == number && skip > 0 {
                continue;
            }
            world.reader.given.push(item.serial);
            world.reader.cursor = Some(EventCursor {
                epoch: item.place.epoch,
                number: item.place.number,
                index: 0,
            });
        }
        world.check()?;
        Ok(Some(world))
    }

    /// What a reader was given is one stretch of what was appended.
    fn check(&self) -> Result<(), String> {
        let given = &self.reader.given;
        let is_stretch = given.is_empty()
            || self
                .table
                .timeline
                .windows(given.len())
                .any(|stretch| stretch == given);
        if is_stretch {
            Ok(())
        } else {
            Err(format!("{given:?} of {:?}", self.table.timeline))
        }
    }

    /// The time of the oldest item comes, or an item whose time has come is deleted, in any order.
    fn expire(&self) -> Vec<Self> {
        let mut next = Vec::new();
        let oldest = self.table.items.iter().filter(|item| !item.expired);
        let oldest = oldest.map(|item| item.place.number).min();
        for (at, item) in self.table.items.iter().enumerate() {
            let mut world = self.clone();
            if item.expired {
                world.table.items.remove(at);
                // An append ends within seconds, and nothing expires within a day.
                world.forget_reads();
                next.push(world);
            } else if Some(item.place.number) == oldest {
                world.table.items[at].expired = true;
                next.push(world);
            }
        }
        next
    }

    /// The table is backed up, or restored once. Everything that runs is started anew then; readers
    /// keep what they have.
    fn restore(&self) -> Option<Self> {
        let mut world = self.clone();
        let Some(backup) = world.backup.take() else {
            world.backup = Some(self.table.clone());
            return (self.mark == 1).then_some(world);
        };
        world.table = backup;
        world.mark += 1;
        world.reader.reading = None;
        world.forget_reads();
        Some(world)
    }

    fn forget_reads(&mut self) {
        for writer in &mut self.writers {
            writer.next = None;
        }
    }
}

/// Searches every order. Returns the number of states, or the violation.
fn search(broken: Broken, fault: Fault) -> Result<usize, String> {
    let first = World::new(fault);
    let mut seen = HashSet::from([first.clone()]);
    let mut queue = VecDeque::from([first]);
    while let Some(world) = queue.pop_front() {
        for next in world.steps(broken)? {
            if seen.insert(next.clone()) {
                queue.push_back(next);
            }
        }
    }
    Ok(seen.len())
}

#[test]
fn a_reader_misses_nothing_in_any_order() {
    for fault in [Fault::Expiry, Fault::Restore] {
        let states = search(Broken::Nothing, fault).unwrap();
        assert!(states > 10_000, "{fault:?}: {states}");
    }
}

#[test]
fn each_broken_rule_is_found() {
    for (broken, fault) in [
        (Broken::NumbersFromTime, Fault::Expiry),
        (Broken::GapsIgnored, Fault::Expiry),
        (Broken::EmptyLogKeepsEpoch, Fault::Expiry),
        (Broken::EpochKept, Fault::Restore),
    ] {
        assert!(search(broken, fault).is_err(), "{broken:?}");
    }
}
