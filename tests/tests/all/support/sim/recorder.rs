//! Records every write of a record as it is committed, and every write to Drive as it lands, in
//! order, for the check at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use domain::{Field, FileRecord, Value};
use drive_simulator::FileSnapshot;
use serde_json::Value as Json;

use super::wire::{FUNCTION, Seen};
use super::{Sim, json_of};

/// An event of one field of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A person changed it in Drive.
    Person { from: Value, to: Value },
    /// The application's edit was accepted; `from` is its value before, and `base` the agreed one.
    Edited { from: Value, to: Value, base: Value },
    /// A decision changed the application's side.
    Decided { from: Value, to: Value },
    /// A write of ours landed in Drive and replaced `from`; `held` is Drive's value in our record
    /// then.
    Landed {
        from: Value,
        to: Value,
        held: Option<Value>,
    },
}

/// The events, by file and field.
#[derive(Debug, Default)]
pub struct Recording {
    pub events: Vec<(String, Field, Event)>,
    /// The records as last seen.
    records: BTreeMap<String, FileRecord>,
    /// The files at the start of the recording.
    first: BTreeSet<String>,
    /// Drive before the current write.
    before: BTreeMap<String, FileSnapshot>,
    /// Violations that are detected at once.
    pub broken: Vec<String>,
    /// Edits that left the application's side without a decision. If texts are not unique, both
    /// sides may have agreed in between.
    pub dropped: Vec<(Field, String)>,
    files: BTreeSet<String>,
}

impl Recording {
    /// Returns a recording with only these records.
    pub(super) fn beginning(records: BTreeMap<String, FileRecord>) -> Self {
        Self {
            first: records.keys().cloned().collect(),
            records,
            ..Self::default()
        }
    }

    /// Returns whether a file existed at the start of the recording.
    pub fn is_first(&self, file: &str) -> bool {
        self.first.contains(file)
    }

    /// Returns every file that existed at the start or has an event.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.first.union(&self.files).map(String::as_str)
    }

    /// Returns whether one of our writes gave the field this value in Drive.
    fn has_landed(&self, file: &str, field: &Field, value: &Value) -> bool {
        self.events.iter().any(|(id, of, event)| {
            let landed = matches!(event, Event::Landed { to, .. } if to == value);
            landed && id == file && of == field
        })
    }

    pub fn add(&mut self, file: &str, field: Field, event: Event) {
        self.files.insert(file.to_owned());
        self.events.push((file.to_owned(), field, event));
    }
}

/// Returns Drive's values of the fields that both sides may write.
pub fn fields_of(file: &FileSnapshot) -> BTreeMap<Field, Value> {
    let starred = file.starred_by.iter().any(|user| user.starts_with("owner"));
    let mut fields = BTreeMap::from([
        (Field::Name, Value::text(&file.name)),
        (Field::Description, Value::text(&file.description)),
        (Field::Starred, Value::Flag(starred)),
        (Field::Trashed, Value::Flag(file.explicitly_trashed)),
        (
            Field::Parent,
            file.parent.as_ref().map_or(Value::Null, Value::text),
        ),
    ]);
    for (key, value) in &file.properties {
        fields.insert(Field::Property(key.clone()), Value::text(value));
    }
    fields
}

impl Sim {
    /// Starts the recording.
    pub(super) fn start_recording(&self) {
        let weak = Arc::downgrade(&self.0);
        self.wire().set_observer(Arc::new(move |seen| {
            let sim = weak.upgrade().map(Sim);
            Box::pin(async move {
                if let Some(sim) = sim {
                    sim.on_call(seen).await;
                }
            })
        }));
    }

    async fn on_call(&self, seen: Seen) {
        match seen {
            Seen::BeforeDrive => {
                let all = self.drive();
                self.recording().before = all;
            }
            Seen::AfterDrive => self.landed().await,
            Seen::Aws { target, body } => {
                for file in heads(&target, &body) {
                    self.committed(&file).await;
                }
            }
        }
    }

    /// Returns all files of Drive.
    pub fn drive(&self) -> BTreeMap<String, FileSnapshot> {
        let ids = self.simulator().file_ids().into_iter();
        ids.filter_map(|id| {
            let file = self.simulator().file(&id)?;
            Some((id, file))
        })
        .collect()
    }

    /// Records the changes of our write in Drive.
    async fn landed(&self) {
        let before = std::mem::take(&mut self.recording().before);
        for (id, after) in self.drive() {
            let Some(before) = before
                .get(&id)
                .filter(|before| before.version != after.version)
            else {
                continue;
            };
            let record = self.record(&id).await;
            for (field, from, to) in changes(&fields_of(before), &fields_of(&after)) {
                let held = record
                    .as_ref()
                    .map(|record| record.sides(&field).drive().clone());
                self.recording()
                    .add(&id, field, Event::Landed { from, to, held });
            }
        }
    }

    /// Records a commit.
    async fn committed(&self, id: &str) {
        let Some(after) = self.record(id).await else {
            return;
        };
        let function = FUNCTION.try_with(|function| *function).unwrap_or("outside");
        let mut recording = self.recording();
        let before = recording.records.insert(id.to_owned(), after.clone());
        recording.files.insert(id.to_owned());
        let Some(before) = before else { return };
        if before.revision >= after.revision && before != after {
            let broken = format!(
                "{id}: revision {:?} after {:?}",
                after.revision, before.revision
            );
            recording.broken.push(broken);
        }
        let fields: BTreeSet<&Field> = before.fields.keys().chain(after.fields.keys()).collect();
        for field in fields {
            let (old, new) = (before.sides(field), after.sides(field));
            let was_open = before.open.contains_key(field);
            if function == "api" && old.app != new.app {
                let (from, to, base) = (old.app.clone(), new.app.clone(), old.base.clone());
                let event = match was_open && !after.open.contains_key(field) {
                    true => Event::Decided { from, to },
                    false => Event::Edited { from, to, base },
                };
                recording.add(id, field.clone(), event);
            }
            // Only a decision may remove an unpushed edit from the application's side. One commit
            // may merge the echo of a pushed one together with what a person wrote over it.
            let lost = function != "api" && old.app != old.base && new.app != old.app && !was_open;
            if lost && after.is_present() && !recording.has_landed(id, field, &old.app) {
                let broken =
                    format!("{id} {field:?}: {function} dropped an edit: {old:?} became {new:?}");
                recording.dropped.push((field.clone(), broken));
            }
        }
    }
}

/// Returns the differing fields.
pub fn changes(
    before: &BTreeMap<Field, Value>,
    after: &BTreeMap<Field, Value>,
) -> Vec<(Field, Value, Value)> {
    let fields: BTreeSet<&Field> = before.keys().chain(after.keys()).collect();
    let value = |side: &BTreeMap<Field, Value>, field: &Field| {
        side.get(field).cloned().unwrap_or_else(|| field.unset())
    };
    let pairs = fields.into_iter().map(|field| {
        let (from, to) = (value(before, field), value(after, field));
        (field.clone(), from, to)
    });
    pairs.filter(|(_, from, to)| from != to).collect()
}

/// Returns the files whose records a request writes.
fn heads(target: &str, body: &Bytes) -> Vec<String> {
    let body = match target.rsplit('.').next() {
        Some("PutItem" | "TransactWriteItems" | "UpdateItem") => json_of(body),
        _ => return Vec::new(),
    };
    let one = std::slice::from_ref(&body);
    let in_transaction = body["TransactItems"].as_array().map_or(one, Vec::as_slice);
    let keys = in_transaction.iter().filter_map(|write| {
        let write = ["Put", "Update"].into_iter().map(|kind| &write[kind]);
        let write = write.chain([&body]).find(|write| write.is_object())?;
        let key = [&write["Item"], &write["Key"]]
            .into_iter()
            .find(|key| key.is_object())?;
        head(key)
    });
    keys.collect()
}

fn head(key: &Json) -> Option<String> {
    if key["SK"]["S"] != "HEAD" {
        return None;
    }
    let (_, file) = key["PK"]["S"].as_str()?.rsplit_once('#')?;
    Some(file.to_owned())
}
