//! What an operation found to differ: one item for each file under suspicion, settled once Drive was asked.
//!
//! Suspicions are written first and settled later, each on condition, so that an operation that is
//! interrupted asks nothing twice that was answered, and whoever is late changes no answer.

use domain::{ConnectionKey, Difference, Drift, DriveVersion, FileId, Gone, OperationId, Value};
use serde::{Deserialize, Serialize};

use crate::item::{decode, encode};
use crate::key::{Item, Key, connection_pk};
use crate::range::Range;
use crate::store::Applied;
use crate::update::Replaces;
use crate::value_item::ValueItem;
use crate::{Operation, Page, PageRequest, Store, StoreError};

/// How long the findings of an operation are kept, from its beginning: longer than it may wait for a person.
pub(crate) const KEPT_MILLIS: i64 = 90 * 24 * 3_600 * 1_000;
/// Fields of one file that are kept; how many more there were is counted.
const FIELDS_MAX: usize = 20;
/// Characters of one value that are kept.
const VALUE_CHARS_MAX: usize = 200;

/// One file that an operation looked at more closely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftEntry {
    /// The file.
    pub file: FileId,
    /// Its name as our record has it, else as Drive has it; for people.
    pub name: String,
    /// Why it was looked at.
    pub suspicion: Suspicion,
    /// What Drive said when it was asked; `None` until then.
    pub finding: Option<Finding>,
}

/// Why a file is looked at more closely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspicion {
    /// We hold it, and the listing did not show it.
    NotListed,
    /// The listing showed it at this version, later than ours, or we do not hold it.
    Newer(DriveVersion),
    /// The listing showed it at the version that we hold, with other values.
    Differs,
}

/// What became of a suspicion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Nothing is wrong: it was on its way, or made after its page was listed.
    Cleared,
    /// It was found to differ. Long values are cut short, and of many fields some are left out.
    Drifted {
        /// How.
        drift: Drift,
        /// How many fields were left out.
        fields_left_out: u32,
    },
}

impl Finding {
    /// What was found, cut to what is kept of it.
    #[must_use]
    pub fn of(drift: Option<Drift>) -> Self {
        match drift {
            None => Self::Cleared,
            Some(Drift::MissingHere) => Self::kept(Drift::MissingHere, 0),
            Some(Drift::MissingThere(gone)) => Self::kept(Drift::MissingThere(gone), 0),
            Some(Drift::Stale(fields)) => {
                let (fields, more) = cut(fields);
                Self::kept(Drift::Stale(fields), more)
            }
            Some(Drift::Differing(fields)) => {
                let (fields, more) = cut(fields);
                Self::kept(Drift::Differing(fields), more)
            }
        }
    }

    fn kept(drift: Drift, fields_left_out: u32) -> Self {
        Self::Drifted {
            drift,
            fields_left_out,
        }
    }
}

fn cut(mut fields: Vec<Difference>) -> (Vec<Difference>, u32) {
    let more = fields.len().saturating_sub(FIELDS_MAX);
    fields.truncate(FIELDS_MAX);
    for field in &mut fields {
        field.label = short(&field.label);
        for value in [&mut field.ours, &mut field.drive] {
            if let Value::Text(text) = value {
                *text = short(text);
            }
        }
    }
    (fields, u32::try_from(more).unwrap_or(u32::MAX))
}

pub(crate) fn short(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
    }
}

impl Store {
    /// Writes down a suspicion, unless the operation has this file already: then nothing is changed.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn suspect(
        &self,
        operation: &Operation,
        entry: &DriftEntry,
    ) -> Result<(), StoreError> {
        let item = encode_entry(operation, entry, ASKED_NOTHING)?;
        match self.put(item, Replaces::Nothing).await? {
            Applied::Done(_) | Applied::Refused(_) => Ok(()),
        }
    }

    /// Writes down what Drive said, unless someone has done so already. Gives the finding that stands.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn settle(
        &self,
        operation: &Operation,
        entry: &DriftEntry,
    ) -> Result<Option<Finding>, StoreError> {
        let item = encode_entry(operation, entry, SETTLED)?;
        match self.put(item, Replaces::Revision(ASKED_NOTHING)).await? {
            Applied::Done(_) => Ok(entry.finding.clone()),
            Applied::Refused(Some(item)) => {
                Ok(decode_entry(&operation.key, &operation.id, item)?.finding)
            }
            Applied::Refused(None) => Ok(None),
        }
    }

    /// What an operation looked at more closely, by file id.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_drift(
        &self,
        key: &ConnectionKey,
        id: &OperationId,
        page: &PageRequest,
    ) -> Result<Page<DriftEntry>, StoreError> {
        let all = Range::prefix(None, connection_pk(key), &format!("{PREFIX}#{id}#"));
        let decode = |item| decode_entry(key, id, item);
        self.list_range("drift", all, page, decode).await
    }
}

/// Entries have a prefix of their own, so that a list of operations does not read through them.
const PREFIX: &str = "DRIFT";
/// The revision of an entry that was not settled.
const ASKED_NOTHING: u64 = 1;
/// The revision of one that was: the last.
const SETTLED: u64 = 2;

#[derive(Serialize, Deserialize)]
struct Body {
    revision: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    why: WhyItem,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    found: Option<FoundItem>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<FieldItem>,
    #[serde(default)]
    fields_left_out: u32,
    expires: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WhyItem {
    NotListed,
    Newer(u64),
    Differs,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FoundItem {
    Cleared,
    MissingHere,
    Removed,
    AccessLost,
    MovedAway,
    Stale,
    Differing,
}

#[derive(Serialize, Deserialize)]
struct FieldItem {
    #[serde(rename = "f")]
    label: String,
    #[serde(rename = "o")]
    ours: ValueItem,
    #[serde(rename = "d")]
    drive: ValueItem,
}

fn place(key: &ConnectionKey, id: &OperationId, file: &FileId) -> Key {
    Key::of_connection(key, PREFIX, &format!("{id}#{file}"))
}

fn encode_entry(
    operation: &Operation,
    entry: &DriftEntry,
    revision: u64,
) -> Result<Item, StoreError> {
    let none = Vec::new();
    let (found, fields, fields_left_out) = match &entry.finding {
        None => (None, &none, 0),
        Some(Finding::Cleared) => (Some(FoundItem::Cleared), &none, 0),
        Some(Finding::Drifted {
            drift,
            fields_left_out,
        }) => {
            let (found, fields) = match drift {
                Drift::MissingHere => (FoundItem::MissingHere, &none),
                Drift::MissingThere(Gone::Removed) => (FoundItem::Removed, &none),
                Drift::MissingThere(Gone::AccessLost) => (FoundItem::AccessLost, &none),
                Drift::MissingThere(Gone::MovedAway) => (FoundItem::MovedAway, &none),
                Drift::Stale(fields) => (FoundItem::Stale, fields),
                Drift::Differing(fields) => (FoundItem::Differing, fields),
            };
            (Some(found), fields, *fields_left_out)
        }
    };
    let field = |difference: &Difference| FieldItem {
        label: difference.label.clone(),
        ours: (&difference.ours).into(),
        drive: (&difference.drive).into(),
    };
    let body = Body {
        revision,
        name: short(&entry.name),
        why: match entry.suspicion {
            Suspicion::NotListed => WhyItem::NotListed,
            Suspicion::Newer(version) => WhyItem::Newer(version.0),
            Suspicion::Differs => WhyItem::Differs,
        },
        found,
        fields: fields.iter().map(field).collect(),
        fields_left_out,
        expires: operation.started_at.plus_millis(KEPT_MILLIS).as_seconds(),
    };
    encode(&place(&operation.key, &operation.id, &entry.file), &body)
}

fn decode_entry(
    key: &ConnectionKey,
    id: &OperationId,
    item: Item,
) -> Result<DriftEntry, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let prefix = format!("{PREFIX}#{id}#");
    let file = place
        .sk
        .strip_prefix(&prefix)
        .and_then(|file| FileId::parse(file).ok());
    let Some(file) = file.filter(|_| place.pk == connection_pk(key)) else {
        return Err(place.corrupt("its key names no file"));
    };
    let field = |item: FieldItem| Difference {
        label: item.label,
        ours: item.ours.into(),
        drive: item.drive.into(),
    };
    let fields: Vec<Difference> = body.fields.into_iter().map(field).collect();
    let kept = |drift| {
        Some(Finding::Drifted {
            drift,
            fields_left_out: body.fields_left_out,
        })
    };
    let finding = match body.found {
        None => None,
        Some(FoundItem::Cleared) => Some(Finding::Cleared),
        Some(FoundItem::MissingHere) => kept(Drift::MissingHere),
        Some(FoundItem::Removed) => kept(Drift::MissingThere(Gone::Removed)),
        Some(FoundItem::AccessLost) => kept(Drift::MissingThere(Gone::AccessLost)),
        Some(FoundItem::MovedAway) => kept(Drift::MissingThere(Gone::MovedAway)),
        Some(FoundItem::Stale) => kept(Drift::Stale(fields)),
        Some(FoundItem::Differing) => kept(Drift::Differing(fields)),
    };
    Ok(DriftEntry {
        file,
        name: body.name,
        suspicion: match body.why {
            WhyItem::NotListed => Suspicion::NotListed,
            WhyItem::Newer(version) => Suspicion::Newer(DriveVersion(version)),
            WhyItem::Differs => Suspicion::Differs,
        },
        finding,
    })
}
