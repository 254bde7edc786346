//! The state of a queue in memory, which decides which messages can be received. It performs no
//! I/O, and the time is an argument. Bodies and receive counts are on disk; the state is rebuilt
//! from there when the queue is opened.
//!
//! Invariants: a group's messages are in the order of their sequence numbers; the messages that
//! were ever received are a prefix of them, since a receive always takes from the front; and every
//! group is in exactly one of `ready` and `waiting`.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;

use super::message::Receipt;
use super::settings::Settings;

/// The time for which a deduplication id or a receive attempt is remembered, in milliseconds.
pub(super) const WINDOW_MS: i64 = 5 * 60 * 1000;

/// A message in memory.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The sequence number, which is also its key on disk.
    pub(super) sequence: i64,
    pub(super) sent_at: i64,
    pub(super) receive_count: u32,
    /// The time of the first receive; 0 before it.
    pub(super) first_received_at: i64,
    /// The message is in flight until this time.
    pub(super) visible_at: i64,
    /// The end of the message's own delay, if it has one: in a standard queue only.
    pub(super) available_at: Option<i64>,
}

impl Entry {
    pub(super) fn new(sequence: i64, sent_at: i64) -> Self {
        Self {
            sequence,
            sent_at,
            receive_count: 0,
            first_received_at: 0,
            visible_at: 0,
            available_at: None,
        }
    }

    fn in_flight(&self, now: i64) -> bool {
        self.visible_at > now
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In neither set.
    Nowhere,
    /// In `ready`, under the sequence number of its first message.
    Ready(i64),
    /// In `waiting`, under the time at which a message of it may become receivable.
    Waiting(i64),
}

#[derive(Debug)]
struct Group {
    entries: VecDeque<Entry>,
    place: Place,
}

/// The first message with a deduplication key; its duplicates are answered with it.
#[derive(Clone, Debug)]
pub(super) struct Original {
    pub(super) message_id: String,
    pub(super) sequence: i64,
    pub(super) sent_at: i64,
}

/// A message of a plan.
#[derive(Clone, Debug)]
pub(super) struct Pick {
    pub(super) group: Arc<str>,
    pub(super) entry: Entry,
}

/// The effects that a receive would have.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The messages to deliver.
    pub(super) take: Vec<Pick>,
    /// The messages that were received too often and go to the dead-letter queue.
    pub(super) dead: Vec<Pick>,
    /// The messages older than the queue's retention period.
    pub(super) expired: Vec<Pick>,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.take.is_empty() && self.dead.is_empty() && self.expired.is_empty()
    }
}

/// The state of a message as seen through a receipt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReceiptState {
    /// The message is in flight, and the receipt is of its latest receive.
    InFlight,
    /// The message has been received again, or its visibility timeout has passed (`latest`).
    Expired { latest: bool },
    /// The message is no longer in the queue.
    Gone,
}

/// The number of messages in a queue, by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages neither in flight nor delayed, including those of blocked groups.
    pub visible: usize,
    /// Messages in flight.
    pub in_flight: usize,
    /// Messages whose delay has not passed.
    pub delayed: usize,
}

impl Depth {
    /// Returns the number of all messages.
    #[must_use]
    pub const fn total(self) -> usize {
        self.visible + self.in_flight + self.delayed
    }
}

/// One queue in memory.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) settings: Settings,
    pub(super) created_at: i64,
    pub(super) modified_at: i64,
    /// Notified whenever a message may have become receivable.
    pub(super) notify: Arc<Notify>,
    groups: HashMap<Arc<str>, Group>,
    group_of: HashMap<i64, Arc<str>>,
    ready: BTreeSet<(i64, Arc<str>)>,
    waiting: BTreeSet<(i64, Arc<str>)>,
    originals: HashMap<String, Original>,
    originals_by_age: VecDeque<(i64, String)>,
    attempts: HashMap<String, (i64, Vec<Receipt>)>,
}

impl Queue {
    pub(super) fn new(id: i64, name: &str, settings: Settings, created_at: i64) -> Self {
        Self {
            id,
            name: name.to_owned(),
            settings,
            created_at,
            modified_at: created_at,
            notify: Arc::default(),
            groups: HashMap::new(),
            group_of: HashMap::new(),
            ready: BTreeSet::new(),
            waiting: BTreeSet::new(),
            originals: HashMap::new(),
            originals_by_age: VecDeque::new(),
            attempts: HashMap::new(),
        }
    }

    /// Returns the original of a message with this deduplication key.
    pub(super) fn original(&mut self, key: &str, now: i64) -> Option<&Original> {
        while let Some((sent_at, _)) = self.originals_by_age.front() {
            if sent_at + WINDOW_MS > now {
                break;
            }
            if let Some((sent_at, key)) = self.originals_by_age.pop_front()
                && self
                    .originals
                    .get(&key)
                    .is_some_and(|o| o.sent_at == sent_at)
            {
                self.originals.remove(&key);
            }
        }
        self.originals
            .get(key)
            .filter(|original| original.sent_at + WINDOW_MS > now)
    }

    /// Adds an original to the deduplication window.
    pub(super) fn remember(&mut self, key: String, original: Original) {
        self.originals_by_age
            .push_back((original.sent_at, key.clone()));
        self.originals.insert(key, original);
    }

    /// Adds a message at the end of its group. In a standard queue it is alone in one: no other
    /// message waits for it.
    pub(super) fn push(&mut self, group: &str, entry: Entry, now: i64) {
        let alone = entry.sequence.to_string();
        let group = if self.settings.fifo { group } else { &alone };
        let key = match self.groups.get_key_value(group) {
            Some((key, _)) => Arc::clone(key),
            None => Arc::from(group),
        };
        self.group_of.insert(entry.sequence, Arc::clone(&key));
        let fresh = || Group {
            entries: VecDeque::new(),
            place: Place::Nowhere,
        };
        let group = self.groups.entry(Arc::clone(&key)).or_insert_with(fresh);
        group.entries.push_back(entry);
        if group.entries.len() == 1 {
            self.place(&key, now);
        }
    }

    /// Returns the earliest time at which a waiting group may have a receivable message.
    pub(super) fn next_due(&self) -> Option<i64> {
        self.waiting.first().map(|(due, _)| *due)
    }

    /// Plans a receive of up to `max` messages: several messages of one group, in order, before
    /// those of the next group; groups by the age of their first message.
    pub(super) fn plan(&mut self, max: usize, has_dead_letter_queue: bool, now: i64) -> Plan {
        while let Some((due, group)) = self.waiting.first() {
            if *due > now {
                break;
            }
            let group = Arc::clone(group);
            self.place(&group, now);
        }
        let redrive = self
            .settings
            .redrive
            .as_ref()
            .filter(|_| has_dead_letter_queue);
        let receive_count_max = redrive.map(|policy| policy.receive_count_max);
        let mut plan = Plan::default();
        for (_, name) in &self.ready {
            let Some(group) = self.groups.get(name) else {
                continue;
            };
            for entry in &group.entries {
                let pick = || Pick {
                    group: Arc::clone(name),
                    entry: entry.clone(),
                };
                if entry.sent_at + self.settings.retention_seconds * 1000 <= now {
                    plan.expired.push(pick());
                } else if receive_count_max.is_some_and(|max| entry.receive_count >= max) {
                    plan.dead.push(pick());
                } else if plan.take.len() == max || self.delayed(entry, now) {
                    break;
                } else {
                    plan.take.push(pick());
                }
            }
            if plan.take.len() == max {
                break;
            }
        }
        plan
    }

    /// Marks a message as received and returns its new entry.
    pub(super) fn take(&mut self, sequence: i64, visible_at: i64, now: i64) -> Option<Entry> {
        let group = Arc::clone(self.group_of.get(&sequence)?);
        let entry = entry_mut(self.groups.get_mut(&group)?, sequence)?;
        entry.receive_count += 1;
        entry.visible_at = visible_at;
        if entry.first_received_at == 0 {
            entry.first_received_at = now;
        }
        let taken = entry.clone();
        self.place(&group, now);
        Some(taken)
    }

    /// Removes a message, if it is in the queue.
    pub(super) fn remove(&mut self, sequence: i64, now: i64) {
        let Some(name) = self.group_of.remove(&sequence) else {
            return;
        };
        if let Some(group) = self.groups.get_mut(&name)
            && let Ok(at) = group
                .entries
                .binary_search_by_key(&sequence, |e| e.sequence)
        {
            group.entries.remove(at);
        }
        self.place(&name, now);
    }

    /// Returns the state of the message of a receipt.
    pub(super) fn receipt_state(&self, receipt: Receipt, now: i64) -> ReceiptState {
        match self.entry(receipt.sequence) {
            None => ReceiptState::Gone,
            Some(entry) if entry.receive_count != receipt.receive_count => {
                ReceiptState::Expired { latest: false }
            }
            Some(entry) if entry.in_flight(now) => ReceiptState::InFlight,
            Some(_) => ReceiptState::Expired { latest: true },
        }
    }

    /// Sets the time until which a message is in flight.
    pub(super) fn set_visible_at(&mut self, sequence: i64, visible_at: i64, now: i64) {
        let Some(group) = self.group_of.get(&sequence).map(Arc::clone) else {
            return;
        };
        if let Some(entry) = self
            .groups
            .get_mut(&group)
            .and_then(|g| entry_mut(g, sequence))
        {
            entry.visible_at = visible_at;
        }
        self.place(&group, now);
    }

    pub(super) fn entry(&self, sequence: i64) -> Option<&Entry> {
        let entries = &self.groups.get(self.group_of.get(&sequence)?)?.entries;
        let at = entries
            .binary_search_by_key(&sequence, |e| e.sequence)
            .ok()?;
        entries.get(at)
    }

    /// Replaces the settings. The delay of a FIFO queue is retroactive: it also applies to the
    /// messages already in the queue.
    pub(super) fn set_settings(&mut self, settings: Settings, now: i64) {
        self.settings = settings;
        let groups: Vec<Arc<str>> = self.groups.keys().map(Arc::clone).collect();
        for group in groups {
            self.place(&group, now);
        }
    }

    /// Returns the number of messages, by state.
    pub(super) fn depth(&self, now: i64) -> Depth {
        let mut depth = Depth {
            visible: self.group_of.len(),
            ..Depth::default()
        };
        for (_, name) in &self.waiting {
            let Some(group) = self.groups.get(name) else {
                continue;
            };
            let received = group.entries.iter().take_while(|e| e.receive_count > 0);
            depth.in_flight += received.filter(|e| e.in_flight(now)).count();
        }
        if self.settings.delay_seconds > 0 || !self.settings.fifo {
            let entries = self.groups.values().flat_map(|g| &g.entries);
            depth.delayed = entries.filter(|e| self.delayed(e, now)).count();
        }
        depth.visible = depth
            .visible
            .saturating_sub(depth.in_flight + depth.delayed);
        depth
    }

    /// Returns the receipts of an earlier receive attempt, if all of them are still valid.
    pub(super) fn attempt(&mut self, id: &str, now: i64) -> Option<Vec<Receipt>> {
        self.attempts.retain(|_, (at, _)| *at + WINDOW_MS > now);
        let (_, receipts) = self.attempts.get(id)?;
        let valid = receipts
            .iter()
            .all(|r| self.receipt_state(*r, now) == ReceiptState::InFlight);
        valid.then(|| receipts.clone())
    }

    /// Records the receipts of a receive attempt.
    pub(super) fn remember_attempt(&mut self, id: &str, receipts: Vec<Receipt>, now: i64) {
        self.attempts.insert(id.to_owned(), (now, receipts));
    }

    /// Forgets the attempts that delivered a message, since its visibility was changed.
    pub(super) fn forget_attempts_of(&mut self, sequence: i64) {
        self.attempts
            .retain(|_, (_, receipts)| receipts.iter().all(|r| r.sequence != sequence));
    }

    fn delayed(&self, entry: &Entry, now: i64) -> bool {
        entry.receive_count == 0 && delayed_until(&self.settings, entry) > now
    }

    /// Moves a changed group to the set that it belongs to, and drops an empty one.
    fn place(&mut self, name: &Arc<str>, now: i64) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        match group.place {
            Place::Nowhere => false,
            Place::Ready(head) => self.ready.remove(&(head, Arc::clone(name))),
            Place::Waiting(due) => self.waiting.remove(&(due, Arc::clone(name))),
        };
        let Some(head) = group.entries.front() else {
            self.groups.remove(name);
            return;
        };
        let received = group.entries.iter().take_while(|e| e.receive_count > 0);
        let in_flight_until = received.map(|e| e.visible_at).filter(|at| *at > now).max();
        let delayed_until = match head.receive_count {
            0 => Some(delayed_until(&self.settings, head)).filter(|at| *at > now),
            _ => None,
        };
        group.place = match in_flight_until.or(delayed_until) {
            Some(due) => {
                self.waiting.insert((due, Arc::clone(name)));
                Place::Waiting(due)
            }
            None => {
                self.ready.insert((head.sequence, Arc::clone(name)));
                Place::Ready(head.sequence)
            }
        };
    }
}

/// Returns the end of a message's delay. In a FIFO queue it is the queue's, which is retroactive;
/// in a standard queue it is the message's own, fixed when it was sent, or none.
fn delayed_until(settings: &Settings, entry: &Entry) -> i64 {
    if settings.fifo {
        entry.sent_at + settings.delay_seconds * 1000
    } else {
        entry.available_at.unwrap_or(entry.sent_at)
    }
}

fn entry_mut(group: &mut Group, sequence: i64) -> Option<&mut Entry> {
    let at = group
        .entries
        .binary_search_by_key(&sequence, |e| e.sequence)
        .ok()?;
    group.entries.get_mut(at)
}
