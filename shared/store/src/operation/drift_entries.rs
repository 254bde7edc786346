//! The drift that an operation found: one item for each candidate file, completed once Drive was
//! asked.
//!
//! Candidates are recorded first and their findings later, each on a condition. So an interrupted
//! operation asks Drive nothing twice that was answered, and a late writer changes no finding.

use domain::{
    ConnectionKey, Difference, Drift, DriveVersion, FileId, Gone, Operation, OperationId, Value,
};
use serde::{Deserialize, Serialize};

use crate::file::value_item::ValueItem;
use crate::table::item::{Encoded, decode, encode};
use crate::table::key::{Item, Key, connection_pk};
use crate::table::range::Range;
use crate::table::store::Applied;
use crate::table::update::Replaces;
use crate::{Page, PageRequest, Store, StoreError};

/// The time that the findings of an operation are kept, from its start: longer than it may wait for
/// a confirmation.
pub(crate) const TTL_MILLIS: i64 = 90 * 24 * 3_600 * 1_000;
/// The fields of one file that are kept; the others are only counted.
const FIELDS_MAX: usize = 20;
/// The characters of one value that are kept.
const VALUE_CHARS_MAX: usize = 200;

/// One file that an operation verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftEntry {
    /// The file's id.
    pub file: FileId,
    /// The file's name in its record, else in Drive; for display.
    pub name: String,
    /// The reason for its verification.
    pub reason: CandidateReason,
    /// Drive's response; `None` until Drive was asked.
    pub finding: Option<Finding>,
}

/// The reason for verifying a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CandidateReason {
    /// Its record is present, and the listing did not show it.
    NotListed,
    /// The listing showed it at this version, which is later than the record's, or there is no
    /// record.
    Newer(DriveVersion),
    /// The listing showed it at the record's version, with other values.
    Differs,
}

/// The result of verifying a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Nothing is wrong: the change was in flight, or made after its page was listed.
    NoDrift,
    /// It differs. Long values are cut, and some of many fields are left out.
    Drifted {
        /// The kind of the difference.
        drift: Drift,
        /// The number of fields that were left out.
        fields_left_out: u32,
    },
}

impl Finding {
    /// Makes a finding from a drift, cut to the stored size.
    #[must_use]
    pub fn of(drift: Option<Drift>) -> Self {
        match drift {
            None => Self::NoDrift,
            Some(Drift::MissingHere) => Self::drifted(Drift::MissingHere, 0),
            Some(Drift::MissingThere(gone)) => Self::drifted(Drift::MissingThere(gone), 0),
            Some(Drift::Stale(fields)) => {
                let (fields, more) = cut(fields);
                Self::drifted(Drift::Stale(fields), more)
            }
            Some(Drift::Differing(fields)) => {
                let (fields, more) = cut(fields);
                Self::drifted(Drift::Differing(fields), more)
            }
        }
    }

    fn drifted(drift: Drift, fields_left_out: u32) -> Self {
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
        field.label = shorten(&field.label);
        for value in [&mut field.ours, &mut field.drive] {
            if let Value::Text(text) = value {
                *text = shorten(text);
            }
        }
    }
    (fields, u32::try_from(more).unwrap_or(u32::MAX))
}

pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
    }
}

impl Store {
    /// Records a candidate. Does nothing if the operation already has an entry for the file.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn record_candidate(
        &self,
        operation: &Operation,
        entry: &DriftEntry,
    ) -> Result<(), StoreError> {
        let item = encode_entry(operation, entry, UNVERIFIED)?;
        match self.put(item, Replaces::Nothing).await? {
            Applied::Done(_) | Applied::Refused(_) => Ok(()),
        }
    }

    /// Records Drive's response, unless one is recorded already. Returns the stored finding.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn record_finding(
        &self,
        operation: &Operation,
        entry: &DriftEntry,
    ) -> Result<Option<Finding>, StoreError> {
        let item = encode_entry(operation, entry, VERIFIED)?;
        match self.put(item, Replaces::Revision(UNVERIFIED)).await? {
            Applied::Done(_) => Ok(entry.finding.clone()),
            Applied::Refused(Some(item)) => {
                Ok(decode_entry(&operation.key, &operation.id, item)?.finding)
            }
            Applied::Refused(None) => Ok(None),
        }
    }

    /// Lists the candidates of an operation by file id.
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
/// The revision of an entry without a finding.
const UNVERIFIED: u64 = 1;
/// The revision of an entry with a finding: the last one.
const VERIFIED: u64 = 2;

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

pub(crate) fn encode_entry(
    operation: &Operation,
    entry: &DriftEntry,
    revision: u64,
) -> Result<Encoded, StoreError> {
    let none = Vec::new();
    let (found, fields, fields_left_out) = match &entry.finding {
        None => (None, &none, 0),
        Some(Finding::NoDrift) => (Some(FoundItem::Cleared), &none, 0),
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
        name: shorten(&entry.name),
        why: match entry.reason {
            CandidateReason::NotListed => WhyItem::NotListed,
            CandidateReason::Newer(version) => WhyItem::Newer(version.0),
            CandidateReason::Differs => WhyItem::Differs,
        },
        found,
        fields: fields.iter().map(field).collect(),
        fields_left_out,
        expires: operation.started_at.plus_millis(TTL_MILLIS).as_seconds(),
    };
    encode(&place(&operation.key, &operation.id, &entry.file), &body)
}

pub(crate) fn decode_entry(
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
        return Err(place.corrupt("its key is not that of a file"));
    };
    let field = |item: FieldItem| Difference {
        label: item.label,
        ours: item.ours.into(),
        drive: item.drive.into(),
    };
    let fields: Vec<Difference> = body.fields.into_iter().map(field).collect();
    let drifted = |drift| {
        Some(Finding::Drifted {
            drift,
            fields_left_out: body.fields_left_out,
        })
    };
    let finding = match body.found {
        None => None,
        Some(FoundItem::Cleared) => Some(Finding::NoDrift),
        Some(FoundItem::MissingHere) => drifted(Drift::MissingHere),
        Some(FoundItem::Removed) => drifted(Drift::MissingThere(Gone::Removed)),
        Some(FoundItem::AccessLost) => drifted(Drift::MissingThere(Gone::AccessLost)),
        Some(FoundItem::MovedAway) => drifted(Drift::MissingThere(Gone::MovedAway)),
        Some(FoundItem::Stale) => drifted(Drift::Stale(fields)),
        Some(FoundItem::Differing) => drifted(Drift::Differing(fields)),
    };
    Ok(DriftEntry {
        file,
        name: body.name,
        reason: match body.why {
            WhyItem::NotListed => CandidateReason::NotListed,
            WhyItem::Newer(version) => CandidateReason::Newer(DriveVersion(version)),
            WhyItem::Differs => CandidateReason::Differs,
        },
        finding,
    })
}
