//! The item of a file record. The attribute names are short, since DynamoDB charges by the KB and
//! there is one such item per file:
//!
//! | attribute | contents |
//! |---|---|
//! | `revision`, `version` | ours, Drive's |
//! | `nonce`, `format` | the last writer's, that of the item |
//! | `vi`, `k` | the visible revision, the version of the field set |
//! | `r` | the latest version that was reported, if it is not `version` |
//! | `b`, `a` | base of every field; the application's value where it differs |
//! | `x` | Drive's value where a conflict is open: `d` value, `u` unsure |
//! | `s` | what was sent: lists of (value, against, attempt) |
//! | `o`, `n` | open conflicts: `n` number, `m` moves, `o` opened at, `k` both contents are kept;
//! | | ... how many there were |
//! | `e` | edits: `b` by, `t` at |
//! | `p` | pushing: `a` attempts, `f` failures, `n` not before, `s` sent at, `o` one at a time |
//! | | ... `h` out of scope, `x` reasons by field |
//! | | ... `g` next attempts by field (time, failures), `t` trouble: |
//! | | ... ... `r` reason, `s` since, `n` times, `v` the version that writes were conditional on |
//! | `g` | gone: `w` why, `t` since |
//! | `i` | missing: `w` why, `t` since, `n` how often |
//! | `c` | creating: the application made the file, and Drive has yet to |
//! | `m` | what Drive alone decides (see `MetadataItem`) |
//! | `u` | of a Docs editor file: the version at which its content may last have changed |
//! | `w` | the version that the permissions are of, if it is not `version` |
//! | `l` | the next attempt at listing the permissions (time, failures) |
//! | `q` | the last request: `k` key, `d` digest |
//! | `cause`, `ec` | the cause of the last write; that of each edit: 16 bytes |
//!
//! Maps by field use one letter for a field (`n` name, `d` description, `s` starred, `t` trashed,
//! `p` parent, `e` existence, `c` content), or a dot and a property's key, or an `@` and a
//! permission's principal. Empty members are left out.

use std::collections::{BTreeMap, BTreeSet};

use domain::merge::{DriveSide, SentWrite, Sides};
use domain::{
    Again, AttemptId, ConnectionKey, DriveMetadata, DriveVersion, Edit, Field, FieldSetVersion,
    FileId, FileRecord, Gone, Missing, Presence, Push, Request, Revision, Suspicion, Timestamp,
    Trouble, Value,
};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::file::commit::Nonce;
use crate::file::conflict_item::OpenItem;
use crate::file::value_item::{
    ByField, ItemDefect, MetadataItem, ValueItem, at, by_field, from_fields,
};
use crate::table::item::{CauseItem, Encoded, decode, encode};
use crate::table::key::{
    FILE_SHARDS, Index, Item, Key, children_pk, connection_pk, due_place, file_of, files_pk,
    millis_13, shard_of,
};

/// The time that a tombstone of a file that was never seen is kept: no message is older.
const TOMBSTONE_MILLIS: i64 = 30 * 24 * 3_600 * 1_000;

#[derive(Serialize, Deserialize)]
struct Head {
    revision: u64,
    version: u64,
    nonce: u64,
    #[serde(rename = "vi")]
    visible: u64,
    #[serde(rename = "k")]
    mask: u32,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    reported: Option<u64>,
    #[serde(rename = "b")]
    base: ByField<ValueItem>,
    #[serde(rename = "a", default, skip_serializing_if = "BTreeMap::is_empty")]
    app: ByField<ValueItem>,
    #[serde(rename = "x", default, skip_serializing_if = "BTreeMap::is_empty")]
    clashes: ByField<ClashItem>,
    #[serde(rename = "s", default, skip_serializing_if = "BTreeMap::is_empty")]
    sent: ByField<Vec<(ValueItem, u64, u64)>>,
    #[serde(rename = "o", default, skip_serializing_if = "BTreeMap::is_empty")]
    open: ByField<OpenItem>,
    #[serde(rename = "n", default, skip_serializing_if = "is_zero")]
    conflicts_opened: u32,
    #[serde(rename = "y", default, skip_serializing_if = "Option::is_none")]
    content_version: Option<u32>,
    #[serde(rename = "e", default, skip_serializing_if = "BTreeMap::is_empty")]
    edits: ByField<EditItem>,
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    push: Option<PushItem>,
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    gone: Option<GoneItem>,
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    missing: Option<MissingItem>,
    #[serde(rename = "c", default, skip_serializing_if = "std::ops::Not::not")]
    creating: bool,
    #[serde(rename = "m")]
    mirror: MetadataItem,
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    content_moved_at: Option<u64>,
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    permissions_at: Option<u64>,
    #[serde(rename = "fp", default, skip_serializing_if = "BTreeMap::is_empty")]
    former_principals: BTreeMap<String, String>,
    #[serde(rename = "ps", default, skip_serializing_if = "BTreeSet::is_empty")]
    parents: BTreeSet<String>,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    unlisted: Option<(i64, u32)>,
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    last_request: Option<RequestItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<CauseItem>,
    #[serde(rename = "ec", default, skip_serializing_if = "BTreeMap::is_empty")]
    edit_causes: ByField<CauseItem>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes the field by reference"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes the field by reference"
)]
fn is_epoch(millis: &i64) -> bool {
    *millis == 0
}

#[derive(Serialize, Deserialize)]
struct ClashItem {
    #[serde(rename = "d")]
    drive: ValueItem,
    #[serde(rename = "u")]
    unsure: bool,
}

#[derive(Serialize, Deserialize)]
struct EditItem {
    #[serde(rename = "b")]
    by: String,
    #[serde(rename = "t")]
    at: i64,
}

#[derive(Serialize, Deserialize)]
struct PushItem {
    #[serde(rename = "a")]
    attempts: u32,
    #[serde(rename = "f")]
    failures: u32,
    #[serde(rename = "n")]
    not_before: i64,
    #[serde(rename = "s", default, skip_serializing_if = "is_epoch")]
    sent_at: i64,
    #[serde(rename = "o")]
    one_at_a_time: bool,
    #[serde(rename = "h", default, skip_serializing_if = "std::ops::Not::not")]
    held: bool,
    #[serde(rename = "x", default, skip_serializing_if = "BTreeMap::is_empty")]
    failed: ByField<String>,
    #[serde(rename = "g", default, skip_serializing_if = "BTreeMap::is_empty")]
    again: ByField<(i64, u32)>,
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    trouble: Option<TroubleItem>,
}

#[derive(Serialize, Deserialize)]
struct TroubleItem {
    #[serde(rename = "r")]
    reason: String,
    #[serde(rename = "s")]
    since: i64,
    #[serde(rename = "n")]
    times: u32,
    #[serde(rename = "v")]
    against: u64,
}

#[derive(Serialize, Deserialize)]
struct MissingItem {
    #[serde(rename = "w")]
    why: GoneWhy,
    #[serde(rename = "t")]
    since: i64,
    #[serde(rename = "n")]
    times: u32,
}

#[derive(Serialize, Deserialize)]
struct GoneItem {
    #[serde(rename = "w")]
    why: GoneWhy,
    #[serde(rename = "t")]
    since: i64,
}

#[derive(Serialize, Deserialize)]
enum GoneWhy {
    #[serde(rename = "removed")]
    Removed,
    #[serde(rename = "access_lost")]
    AccessLost,
    #[serde(rename = "moved_away")]
    MovedAway,
}

/// Also part of a connection's item.
#[derive(Serialize, Deserialize)]
pub(crate) struct RequestItem {
    #[serde(rename = "k")]
    key: String,
    #[serde(rename = "d")]
    digest: String,
}

impl From<&Request> for RequestItem {
    fn from(request: &Request) -> Self {
        Self {
            key: request.key.clone(),
            digest: request.digest.clone(),
        }
    }
}

impl From<RequestItem> for Request {
    fn from(item: RequestItem) -> Self {
        Self {
            key: item.key,
            digest: item.digest,
        }
    }
}

/// Encodes a record, with its places in the indexes.
pub(crate) fn encode_file(
    key: &ConnectionKey,
    record: &FileRecord,
    nonce: Nonce,
) -> Result<Encoded, StoreError> {
    let place = Key::head(key, &record.file);
    let mut item = encode(&place, &Head::of(record, nonce))?;
    let file = record.file.as_str();
    let shard = shard_of(file, FILE_SHARDS);
    item.place(Index::Files, (files_pk(key, shard), file.to_owned()));
    if let Some(parent) = parent(record) {
        item.place(
            Index::Children,
            (children_pk(key, &parent), file.to_owned()),
        );
    }
    if let Some(reason) = AttentionReason::of(record) {
        item.place(
            Index::Attention,
            (connection_pk(key), reason.sort_key(file)),
        );
    }
    if let Some(due) = record.due() {
        item.place(Index::Due, due_place(&place, due));
    }
    if let (Presence::Gone(_, since), DriveVersion(0)) = (record.presence, record.version) {
        item.expire(since.plus_millis(TOMBSTONE_MILLIS));
    }
    Ok(item)
}

/// Decodes a record of this connection, and the nonce of its last writer.
pub(crate) fn decode_file(
    key: &ConnectionKey,
    item: Item,
) -> Result<(FileRecord, Nonce), StoreError> {
    let (place, head) = decode::<Head>(item)?;
    let file = file_of(key, &place)?;
    let nonce = Nonce(head.nonce);
    let record = head.into_record(file).map_err(|what| place.corrupt(what))?;
    Ok((record, nonce))
}

/// The folder in which the application sees a record, and which lists it.
fn parent(record: &FileRecord) -> Option<FileId> {
    if record.is_gone() {
        return None;
    }
    match record.app(&Field::Parent) {
        Value::Text(id) => FileId::parse(&id).ok(),
        Value::Null | Value::Flag(_) => None,
    }
}

/// The reason why a record is in the index `attention`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttentionReason {
    /// Something is owed to Drive, and next pushed at this time.
    Owed(Timestamp),
    /// Something was given up, and nothing else is owed. Tried again at this time, if ever.
    Failed(Option<Timestamp>),
    /// Nothing but the permissions is to be read, at this time.
    Unlisted(Timestamp),
}

impl AttentionReason {
    pub(crate) const OWED: &str = "owed#";
    pub(crate) const FAILED: &str = "failed#";
    /// A part of those that failed. No file's id begins with the tilde.
    pub(crate) const FAILED_FOR_NOW: &str = "failed#~";
    pub(crate) const UNLISTED: &str = "unlisted#";

    pub(crate) fn of(record: &FileRecord) -> Option<Self> {
        match (record.owed_due(), record.due()) {
            (Some(_), Some(at)) => Some(Self::Owed(at)),
            (_, again) if !record.push.failed.is_empty() => Some(Self::Failed(again)),
            (_, at) => at.map(Self::Unlisted),
        }
    }

    fn sort_key(self, file: &str) -> String {
        match self {
            Self::Owed(at) => format!("{}{}#{file}", Self::OWED, millis_13(at)),
            Self::Unlisted(at) => format!("{}{}#{file}", Self::UNLISTED, millis_13(at)),
            Self::Failed(None) => format!("{}{file}", Self::FAILED),
            Self::Failed(Some(at)) => {
                format!("{}{}#{file}", Self::FAILED_FOR_NOW, millis_13(at))
            }
        }
    }
}

impl Head {
    fn of(record: &FileRecord, nonce: Nonce) -> Self {
        let fields = &record.fields;
        let moved = fields.iter().filter(|(_, sides)| sides.app != sides.base);
        let sent = fields.iter().filter(|(_, sides)| !sides.sent.is_empty());
        let edit_causes = record.edits.iter();
        let edit_causes =
            edit_causes.filter_map(|(field, edit)| Some((field, edit.cause.as_ref()?)));
        let clashes = fields
            .iter()
            .filter_map(|(field, sides)| Some((field, sides.conflict.as_ref()?)));
        Self {
            revision: record.revision.0,
            version: record.version.0,
            nonce: nonce.0,
            visible: record.visible.0,
            mask: record.field_set.0,
            reported: (record.reported != record.version).then_some(record.reported.0),
            base: by_field(fields, |sides| (&sides.base).into()),
            app: by_field(moved, |sides| (&sides.app).into()),
            clashes: by_field(clashes, ClashItem::of),
            sent: by_field(sent, |sides| sides.sent.iter().map(sent_item).collect()),
            open: by_field(&record.open, OpenItem::of),
            conflicts_opened: record.conflicts_opened,
            content_version: (record.content_version != first_version(&record.metadata))
                .then_some(record.content_version),
            edits: by_field(&record.edits, EditItem::of),
            push: (record.push != Push::default()).then(|| PushItem::of(&record.push)),
            gone: GoneItem::of(record.presence),
            missing: record.missing.map(MissingItem::of),
            creating: record.is_creating(),
            mirror: (&record.metadata).into(),
            content_moved_at: (record.content_moved_at.0 > 0).then_some(record.content_moved_at.0),
            permissions_at: (record.permissions_at != record.version)
                .then_some(record.permissions_at.0),
            former_principals: record.former_principals.clone(),
            parents: record.metadata.parents.clone(),
            unlisted: record.unlisted.as_ref().map(again_item),
            last_request: record.last_request.as_ref().map(RequestItem::from),
            cause: record.cause.map(CauseItem),
            edit_causes: by_field(edit_causes, |cause| CauseItem(*cause)),
        }
    }

    fn into_record(self, file: FileId) -> Result<FileRecord, ItemDefect> {
        let agreed = |base: ValueItem| Sides::agreed(Value::from(base));
        let mut fields = from_fields(self.base, agreed)?;
        let strange = "a side belongs to a field without a base";
        for (field, app) in from_fields(self.app, Value::from)? {
            fields.get_mut(&field).ok_or(strange)?.app = app;
        }
        for (field, clash) in from_fields(self.clashes, ClashItem::into_clash)? {
            fields.get_mut(&field).ok_or(strange)?.conflict = Some(clash);
        }
        for (field, sent) in
            from_fields(self.sent, |sent| sent.into_iter().map(sent_value).collect())?
        {
            fields.get_mut(&field).ok_or(strange)?.sent = sent;
        }
        let mut edits = from_fields(self.edits, EditItem::into_edit)?;
        for (field, cause) in from_fields(self.edit_causes, |cause| cause)? {
            if let Some(edit) = edits.get_mut(&field) {
                edit.cause = Some(cause.0);
            }
        }
        let push = self.push.map(PushItem::into_push).transpose()?;
        let metadata = DriveMetadata {
            parents: self.parents,
            ..DriveMetadata::from(self.mirror)
        };
        Ok(FileRecord {
            file,
            revision: Revision(self.revision),
            visible: Revision(self.visible),
            version: DriveVersion(self.version),
            reported: DriveVersion(self.reported.unwrap_or(self.version)),
            field_set: FieldSetVersion(self.mask),
            presence: match self.gone {
                Some(gone) => gone.into_presence(),
                None if self.creating => Presence::Creating,
                None => Presence::Present,
            },
            missing: self.missing.map(MissingItem::into_missing),
            fields,
            edits,
            open: from_fields(self.open, OpenItem::into_open)?
                .into_iter()
                .map(|(field, open)| Ok((field, open?)))
                .collect::<Result<_, ItemDefect>>()?,
            conflicts_opened: self.conflicts_opened,
            content_version: (self.content_version).unwrap_or_else(|| first_version(&metadata)),
            push: push.unwrap_or_default(),
            metadata,
            content_moved_at: DriveVersion(self.content_moved_at.unwrap_or(0)),
            permissions_at: DriveVersion(self.permissions_at.unwrap_or(self.version)),
            former_principals: self.former_principals,
            unlisted: self.unlisted.map(again_of),
            last_request: self.last_request.map(Request::from),
            cause: self.cause.map(|item| item.0),
        })
    }
}

/// The content number of a file whose content has never changed.
fn first_version(metadata: &DriveMetadata) -> u32 {
    u32::from(metadata.content() != Value::Null)
}

fn again_item(again: &Again) -> (i64, u32) {
    (again.at.as_millis(), again.times)
}

fn again_of((millis, times): (i64, u32)) -> Again {
    Again {
        at: at(millis),
        times,
    }
}

fn sent_item(sent: &SentWrite<Value>) -> (ValueItem, u64, u64) {
    ((&sent.value).into(), sent.against.0, sent.attempt.0)
}

fn sent_value((value, against, attempt): (ValueItem, u64, u64)) -> SentWrite<Value> {
    SentWrite {
        value: value.into(),
        against: DriveVersion(against),
        attempt: AttemptId(attempt),
    }
}

impl ClashItem {
    fn of(clash: &DriveSide<Value>) -> Self {
        Self {
            drive: (&clash.drive).into(),
            unsure: clash.unsure,
        }
    }

    fn into_clash(self) -> DriveSide<Value> {
        DriveSide {
            drive: self.drive.into(),
            unsure: self.unsure,
        }
    }
}

impl EditItem {
    fn of(edit: &Edit) -> Self {
        Self {
            by: edit.by.clone(),
            at: edit.at.as_millis(),
        }
    }

    fn into_edit(self) -> Edit {
        Edit {
            by: self.by,
            at: at(self.at),
            cause: None,
        }
    }
}

impl PushItem {
    fn of(push: &Push) -> Self {
        Self {
            attempts: push.attempts,
            failures: push.failures,
            not_before: push.not_before.as_millis(),
            sent_at: push.sent_at.as_millis(),
            one_at_a_time: push.one_at_a_time,
            held: push.out_of_scope,
            failed: by_field(&push.failed, String::clone),
            again: by_field(&push.again, again_item),
            trouble: push.trouble.as_ref().map(TroubleItem::of),
        }
    }

    fn into_push(self) -> Result<Push, ItemDefect> {
        Ok(Push {
            attempts: self.attempts,
            failures: self.failures,
            not_before: at(self.not_before),
            sent_at: at(self.sent_at),
            one_at_a_time: self.one_at_a_time,
            out_of_scope: self.held,
            failed: from_fields(self.failed, |reason| reason)?,
            again: from_fields(self.again, again_of)?,
            trouble: self.trouble.map(TroubleItem::into_trouble),
        })
    }
}

impl TroubleItem {
    fn of(trouble: &Trouble) -> Self {
        Self {
            reason: trouble.reason.clone(),
            since: trouble.since.as_millis(),
            times: trouble.times,
            against: trouble.against.0,
        }
    }

    fn into_trouble(self) -> Trouble {
        Trouble {
            reason: self.reason,
            since: at(self.since),
            times: self.times,
            against: DriveVersion(self.against),
        }
    }
}

impl MissingItem {
    fn of(missing: Missing) -> Self {
        Self {
            why: missing.why.into(),
            since: missing.seen.since.as_millis(),
            times: missing.seen.times,
        }
    }

    fn into_missing(self) -> Missing {
        Missing {
            why: self.why.into(),
            seen: Suspicion {
                since: at(self.since),
                times: self.times,
            },
        }
    }
}

impl From<Gone> for GoneWhy {
    fn from(gone: Gone) -> Self {
        match gone {
            Gone::Removed => Self::Removed,
            Gone::AccessLost => Self::AccessLost,
            Gone::MovedAway => Self::MovedAway,
        }
    }
}

impl From<GoneWhy> for Gone {
    fn from(why: GoneWhy) -> Self {
        match why {
            GoneWhy::Removed => Self::Removed,
            GoneWhy::AccessLost => Self::AccessLost,
            GoneWhy::MovedAway => Self::MovedAway,
        }
    }
}

impl GoneItem {
    fn of(presence: Presence) -> Option<Self> {
        match presence {
            Presence::Present | Presence::Creating => None,
            Presence::Gone(gone, since) => Some(Self {
                why: gone.into(),
                since: since.as_millis(),
            }),
        }
    }

    fn into_presence(self) -> Presence {
        Presence::Gone(self.why.into(), at(self.since))
    }
}
