//! Which messages of a queue can be received now: the state in memory, pure, with the time as an argument. Bodies and receive
//! counts are on disk; this state is rebuilt from there when the queue is opened.
//!
//! Invariants: a group's messages are in the order of their sequence numbers, those that were ever received are a prefix of
//! them (a receive always takes from the front), and every group is in exactly one of `ready` and `waiting`.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;

use super::message::Receipt;
use super::settings::Settings;

/// How long a deduplication id or a receive attempt is remembered, in milliseconds.
pub(super) const WINDOW_MS: i64 = 5 * 60 * 1000;

/// A message in memory.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Its sequence number, and its key on disk.
    pub(super) sequence: i64,
    pub(super) sent_at: i64,
    pub(super) receive_count: u32,
    /// 0 before the first receive.
    pub(super) first_received_at: i64,
    /// In flight until then.
    pub(super) visible_at: i64,
}

impl Entry {
    pub(super) fn new(sequence: i64, sent_at: i64) -> Self {
        Self {
            sequence,
            sent_at,
            receive_count: 0,
            first_received_at: 0,
            visible_at: 0,
        }
    }

    fn in_flight(&self, now: i64) -> bool {
        self.visible_at > now
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Not yet in either set.
    Nowhere,
    /// In `ready`, under the sequence number of its first message.
    Ready(i64),
    /// In `waiting`, under the time at which it can be looked at again.
    Waiting(i64),
}

#[derive(Debug)]
struct Group {
    entries: VecDeque<Entry>,
    place: Place,
}

/// What the sender of a duplicate is told.
#[derive(Clone, Debug)]
pub(super) struct Original {
    pub(super) message_id: String,
    pub(super) sequence: i64,
    pub(super) sent_at: i64,
}

/// A message that a plan names.
#[derive(Clone, Debug)]
pub(super) struct Pick {
    pub(super) group: Arc<str>,
    pub(super) entry: Entry,
}

/// What a receive would do. Nothing has happened yet.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Messages to hand out.
    pub(super) take: Vec<Pick>,
    /// Messages that were received too often: they go to the dead-letter queue.
    pub(super) dead: Vec<Pick>,
    /// Messages older than the queue's retention.
    pub(super) expired: Vec<Pick>,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.take.is_empty() && self.dead.is_empty() && self.expired.is_empty()
    }
}

/// What a receipt names now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// The message is in flight, by this very receive.
    InFlight,
    /// It was received again since, or its visibility timeout has passed.
    Expired { latest: bool },
    /// It is no longer in the queue.
    Gone,
}

/// Numbers for `GetQueueAttributes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages that are neither in flight nor delayed, those of blocked groups included.
    pub visible: usize,
    /// Messages in flight.
    pub in_flight: usize,
    /// Messages whose delay has not passed.
    pub delayed: usize,
}

impl Depth {
    /// All of them.
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
    /// Told whenever something may have become receivable.
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

    /// The message that a second one with this key would repeat.
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

    /// Remembers an original for the deduplication window.
    pub(super) fn remember(&mut self, key: String, original: Original) {
        self.originals_by_age
            .push_back((original.sent_at, key.clone()));
        self.originals.insert(key, original);
    }

    /// Adds a message behind all others of its group.
    pub(super) fn push(&mut self, group: &str, entry: Entry, now: i64) {
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

    /// The earliest time at which a group that waits now may have a message.
    pub(super) fn next_due(&self) -> Option<i64> {
        self.waiting.first().map(|(due, _)| *due)
    }

    /// What a receive of up to `max` messages would do: several messages of one group, in order, before the next group;
    /// groups by the age of their first message.
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

    /// Marks a message received. Gives its entry as it is now.
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

    /// Takes a message out of the queue. False when it was not there.
    pub(super) fn remove(&mut self, sequence: i64, now: i64) -> bool {
        let Some(name) = self.group_of.remove(&sequence) else {
            return false;
        };
        if let Some(group) = self.groups.get_mut(&name)
            && let Ok(at) = group
                .entries
                .binary_search_by_key(&sequence, |e| e.sequence)
        {
            group.entries.remove(at);
        }
        self.place(&name, now);
        true
    }

    /// What a receipt names now.
    pub(super) fn named(&self, receipt: Receipt, now: i64) -> Named {
        match self.entry(receipt.sequence) {
            None => Named::Gone,
            Some(entry) if entry.receive_count != receipt.receive_count => {
                Named::Expired { latest: false }
            }
            Some(entry) if entry.in_flight(now) => Named::InFlight,
            Some(_) => Named::Expired { latest: true },
        }
    }

    /// Changes until when a message is in flight.
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

    /// Takes new settings. A FIFO queue's delay is retroactive: it changes for the messages that are already there.
    pub(super) fn set_settings(&mut self, settings: Settings, now: i64) {
        self.settings = settings;
        let groups: Vec<Arc<str>> = self.groups.keys().map(Arc::clone).collect();
        for group in groups {
            self.place(&group, now);
        }
    }

    /// Forgets all messages. The deduplication window stays.
    pub(super) fn clear(&mut self) {
        self.groups.clear();
        self.group_of.clear();
        self.ready.clear();
        self.waiting.clear();
        self.attempts.clear();
    }

    /// How many messages there are.
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
        if self.settings.delay_seconds > 0 {
            let entries = self.groups.values().flat_map(|g| &g.entries);
            depth.delayed = entries.filter(|e| self.delayed(e, now)).count();
        }
        depth.visible = depth
            .visible
            .saturating_sub(depth.in_flight + depth.delayed);
        depth
    }

    /// Every message that is not in flight, in order of groups.
    pub(super) fn idle(&self, now: i64) -> Vec<Pick> {
        let mut picks = Vec::new();
        for (name, group) in &self.groups {
            let idle = group.entries.iter().filter(|e| !e.in_flight(now));
            picks.extend(idle.map(|e| Pick {
                group: Arc::clone(name),
                entry: e.clone(),
            }));
        }
        picks.sort_by_key(|pick| pick.entry.sequence);
        picks
    }

    /// The receipts that a receive attempt gave, if all of them still stand.
    pub(super) fn attempt(&mut self, id: &str, now: i64) -> Option<Vec<Receipt>> {
        self.attempts.retain(|_, (at, _)| *at + WINDOW_MS > now);
        let (_, receipts) = self.attempts.get(id)?;
        let stand = receipts
            .iter()
            .all(|r| self.named(*r, now) == Named::InFlight);
        stand.then(|| receipts.clone())
    }

    pub(super) fn remember_attempt(&mut self, id: &str, receipts: Vec<Receipt>, now: i64) {
        self.attempts.insert(id.to_owned(), (now, receipts));
    }

    /// A change of a message's visibility ends the attempts that handed it out.
    pub(super) fn forget_attempts_of(&mut self, sequence: i64) {
        self.attempts
            .retain(|_, (_, receipts)| receipts.iter().all(|r| r.sequence != sequence));
    }

    fn delayed(&self, entry: &Entry, now: i64) -> bool {
        entry.receive_count == 0 && entry.sent_at + self.settings.delay_seconds * 1000 > now
    }

    /// Puts a group where it belongs after a change to it.
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
            0 => Some(head.sent_at + self.settings.delay_seconds * 1000).filter(|at| *at > now),
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

fn entry_mut(group: &mut Group, sequence: i64) -> Option<&mut Entry> {
    let at = group
        .entries
        .binary_search_by_key(&sequence, |e| e.sequence)
        .ok()?;
    group.entries.get_mut(at)
}
