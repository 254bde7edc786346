//! Model readers of the event logs of a world, and the checks of the logs themselves against the
//! table's stream.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_lambda_events::event::dynamodb::Event as StreamEvent;
use domain::event::{
    Event, EventCursor, EventType, Subject, conflict_events, file_events, operation_events,
};
use domain::{ConnectionKey, FileId, Timestamp};
use store::EventsRead;
use store::stream::{Change, invokes, item_of_keys, read};

use super::Sim;

/// The readers of a world.
const READERS: u64 = 2;
/// The days that a world keeps events: longer than any time that one jumps.
pub(super) const EVENT_DAYS: u32 = 60;
/// The checks after which the log counts as incomplete, or a receiver: 40 minutes, as a wake that
/// is lost costs a receiver ten.
const CHECKS_MAX: u64 = 120;

/// A reader that follows the resume rule: what it was given follows its cursor; where that has
/// expired, and where it is reported to, it loads everything.
#[derive(Default)]
pub struct Reader {
    cursor: Option<EventCursor>,
    /// What it was given since it last lost its place.
    given: Vec<EventCursor>,
    /// The latest revision of each file that it was shown.
    view: BTreeMap<FileId, u64>,
}

/// What the stream says that is to be told, and what may be.
#[derive(Default)]
struct Expected {
    must: BTreeSet<String>,
    may: BTreeSet<String>,
    /// The latest revision of each file that must be told.
    latest: BTreeMap<FileId, u64>,
}

impl Reader {
    async fn poll(&mut self, sim: &Sim, key: &ConnectionKey, limit: u32) -> bool {
        let read = sim
            .store()
            .read_events(key, self.cursor.as_ref(), limit, sim.now());
        match read.await.unwrap() {
            EventsRead::Expired { head } => {
                self.cursor = head;
                self.given.clear();
                self.load(sim, key).await;
                true
            }
            EventsRead::Page { events, next, .. } => {
                let found = !events.is_empty();
                for (cursor, event) in events {
                    self.given.push(cursor);
                    self.take(&event, sim, key).await;
                }
                self.cursor = next;
                found
            }
        }
    }

    async fn take(&mut self, event: &Event, sim: &Sim, key: &ConnectionKey) {
        match (event.kind, &event.subject, event.details.revision) {
            (EventType::SyncReset | EventType::SyncCompleted | EventType::SyncFailed, ..) => {
                self.load(sim, key).await;
            }
            (_, Subject::File(file), Some(revision)) => {
                let shown = self.view.entry(file.clone()).or_default();
                *shown = revision.max(*shown);
            }
            _ => {}
        }
    }

    /// Loads the records. Those of other connections are not compared.
    async fn load(&mut self, sim: &Sim, key: &ConnectionKey) {
        if key != sim.key() {
            return;
        }
        let records = sim.records().await.into_iter();
        self.view = records
            .map(|(file, record)| (file, record.revision.0))
            .collect();
    }
}

impl Sim {
    /// Returns what is wrong with the log of a connection after everything has been told: a change
    /// that it lacks, one that the table does not have, an order of a file that is not that of its
    /// changes, or a reader who has missed something.
    pub async fn event_problems(&self, key: &ConnectionKey) -> Vec<String> {
        assert!(self.tells_events(), "the world tells no events");
        self.0.receivers.trouble(false);
        let mut wrong = Vec::new();
        for check in 0..CHECKS_MAX {
            let expected = self.expected(key);
            let log = self.whole_log(key).await;
            wrong = problems(&expected, &log);
            for seed in 0..READERS {
                wrong.extend(self.reader_problems(key, seed, &expected, &log).await);
            }
            wrong.extend(self.0.receivers.problems(key, &log));
            if wrong.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(5 + check / 4)).await;
        }
        wrong
    }

    /// Starts readers of the connection's log, which look at random times.
    pub(super) fn start_readers(&self) {
        for number in 0..READERS {
            let sim = self.clone();
            let seed = self.0.seed ^ (number + 1);
            tokio::spawn(async move {
                let mut random = fastrand::Rng::with_seed(seed);
                loop {
                    let mut reader = sim.take_reader(number);
                    let key = sim.key().clone();
                    reader.poll(&sim, &key, random.u32(1..40)).await;
                    sim.0.readers.lock().unwrap().insert(number, reader);
                    let pause = random.u64(100..20_000);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
            });
        }
    }

    fn take_reader(&self, number: u64) -> Reader {
        let mut readers = self.0.readers.lock().unwrap();
        readers.remove(&number).unwrap_or_default()
    }

    /// Reads to the end as the reader with this number, and compares.
    async fn reader_problems(
        &self,
        key: &ConnectionKey,
        number: u64,
        expected: &Expected,
        log: &[(EventCursor, Event)],
    ) -> Vec<String> {
        let mut reader = match key == self.key() {
            true => self.take_reader(number),
            false => Reader::default(),
        };
        while reader.poll(self, key, 100).await {}
        let all: Vec<EventCursor> = log.iter().map(|(cursor, _)| *cursor).collect();
        let mut wrong = Vec::new();
        if !all.ends_with(&reader.given) {
            wrong.push(format!(
                "reader {number} was given {:?} of {all:?}",
                reader.given
            ));
        }
        for (file, revision) in &expected.latest {
            let shown = reader.view.get(file).copied().unwrap_or_default();
            if shown < *revision {
                wrong.push(format!(
                    "reader {number} shows {file} at {shown}, and it is at {revision}"
                ));
            }
        }
        if key == self.key() {
            self.0.readers.lock().unwrap().insert(number, reader);
        }
        wrong
    }

    pub(super) async fn whole_log(&self, key: &ConnectionKey) -> Vec<(EventCursor, Event)> {
        let (mut after, mut log) = (None, Vec::new());
        loop {
            let read = self
                .store()
                .read_events(key, after.as_ref(), 200, self.now());
            match read.await.unwrap() {
                EventsRead::Page { events, .. } if events.is_empty() => return log,
                EventsRead::Page { events, next, .. } => {
                    log.extend(events);
                    after = next;
                }
                EventsRead::Expired { .. } => return log,
            }
        }
    }

    /// Returns what the stream says. Files that a listing finds may be told, and must not be.
    fn expected(&self, key: &ConnectionKey) -> Expected {
        let changes = self.changes(key);
        let mut listings = BTreeSet::new();
        for change in &changes {
            if let Change::Operation { after, .. } = change
                && after.lists_all()
            {
                listings.extend(after.cause);
            }
        }
        let mut expected = Expected::default();
        let at = Timestamp::default();
        for change in &changes {
            let (events, is_reported) = match change {
                Change::File(change) => match &change.after {
                    Some(after) => {
                        let listed = after.cause.is_some_and(|cause| listings.contains(&cause));
                        (file_events(change.before.as_ref(), after, at), !listed)
                    }
                    None => continue,
                },
                Change::Conflict { before, after } => {
                    let event = conflict_events(before.as_deref(), after, at);
                    (event.into_iter().collect(), true)
                }
                Change::Operation { before, after } => {
                    let event = operation_events(before.as_deref(), after, at);
                    (event.into_iter().collect(), true)
                }
                Change::Content { .. }
                | Change::DeadLetter { .. }
                | Change::Connection { .. }
                | Change::Removed => continue,
            };
            for event in events {
                let is_reported = event.kind != EventType::SyncProgress
                    && (is_reported || !event.kind.tells_of_a_file());
                if is_reported {
                    expected.must.insert(event.id());
                    if let (Subject::File(file), Some(revision)) =
                        (&event.subject, event.details.revision)
                    {
                        expected.latest.insert(file.clone(), revision);
                    }
                }
                expected.may.insert(event.id());
            }
        }
        expected
    }

    /// Returns the changes of a connection's items, as the stream has them.
    fn changes(&self, key: &ConnectionKey) -> Vec<Change> {
        let dynamodb = self.0.aws.dynamodb();
        let (mut after, mut changes) = (None::<String>, Vec::new());
        loop {
            let keys = dynamodb.stream_keys(after.as_deref(), 1_000).unwrap();
            let Some(last) = keys.last() else {
                return changes;
            };
            let wanted = keys
                .iter()
                .filter(|record| invokes(&record.event_name, &record.sort_key));
            let wanted: Vec<String> = wanted
                .map(|record| record.sequence_number.clone())
                .collect();
            let batch = dynamodb.stream_event(after.as_deref(), &wanted).unwrap();
            let batch: StreamEvent = serde_json::from_value(batch).unwrap();
            for record in batch.records {
                let of = item_of_keys(&record.change.keys);
                let Some((of, kind)) = of.filter(|(of, _)| of == key) else {
                    continue;
                };
                let (old, new) = (record.change.old_image, record.change.new_image);
                changes.push(read(&of, &kind, old, new).unwrap());
            }
            after = Some(last.sequence_number.clone());
        }
    }
}

/// Returns what is wrong with a log.
fn problems(expected: &Expected, log: &[(EventCursor, Event)]) -> Vec<String> {
    let ids: BTreeSet<String> = log.iter().map(|(_, event)| event.id()).collect();
    let own = [EventType::SyncHeartbeat, EventType::SyncReset];
    let was_reset = log
        .iter()
        .any(|(_, event)| event.kind == EventType::SyncReset);
    let mut wrong = Vec::new();
    for id in expected.must.difference(&ids).filter(|_| !was_reset) {
        wrong.push(format!("the log does not tell {id}"));
    }
    let mut latest: BTreeMap<(&FileId, EventType), u64> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (cursor, event) in log {
        let id = event.id();
        let foreign = own.contains(&event.kind)
            || matches!(
                event.kind,
                EventType::ConnectionSuspended
                    | EventType::ConnectionResumed
                    | EventType::DeadLetterParked
                    | EventType::WebhookDisabled
                    | EventType::ContentStored
                    | EventType::ContentFailed
            );
        if !foreign && !expected.may.contains(&id) {
            wrong.push(format!("the log tells {id}, which the table does not have"));
        }
        let (Subject::File(file), Some(revision)) = (&event.subject, event.details.revision) else {
            continue;
        };
        if !seen.insert(id.clone()) {
            continue;
        }
        let before = latest.insert((file, event.kind), revision);
        if before.is_some_and(|before| before > revision) {
            wrong.push(format!("{cursor} tells {id} after {before:?}"));
        }
    }
    wrong
}
