//! Items of another release in the same table: their formats, and attributes that this build does
//! not know.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::content::{ContentState, ObjectKey, StoredObject, UploadId};
use domain::operation::{PageWalk, SyncKind};
use domain::rate_limit::{Limits, RateLimit};
use domain::{
    Choice, ConflictId, ConnectionKey, DriveVersion, Field, FileId, FileRecord, InconsistencyKind,
    Jitter, LogId, Observation, Operation, OperationId, PageToken, Request, Revision, Run,
    Transition, Value,
};

use super::super::support::{
    committed, context, edited, file, fresh, listed as listed_page, ms, nonce, page, snapshot,
    stored,
};
use super::checks_connections::{channel, connection, dead_letter};
use super::checks_content::{hash, put, version};
use super::checks_drift::suspected;
use crate::table::item::{FORMAT, FORMAT_MAX, format_of};
use crate::table::key::Key;
use crate::{
    CandidateReason, Channel, Committed, Connection, DriftEntry, Finding, HistoryEntry,
    Inconsistency, Log, LogProgress, MultipartUpload, Store, StoreError, Subject, Written,
};

/// An attribute that no build writes.
const UNKNOWN: &str = "of_another_release";

/// The verbs that write an item again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rewritten {
    /// Replace it as a whole.
    Whole,
    /// Update some of its attributes, or leave it alone.
    InPart,
}

/// One item of every kind, as it was created.
struct EveryKind {
    key: ConnectionKey,
    file: FileId,
    conflict: ConflictId,
    record: FileRecord,
    history: HistoryEntry,
    object: StoredObject,
    upload: MultipartUpload,
    connection: Connection,
    log: Log,
    operation: Operation,
    candidate: DriftEntry,
    inconsistency: Inconsistency,
    channel: Channel,
}

fn done<T: std::fmt::Debug>(outcome: Written<T>) -> T {
    match outcome {
        Written::Done(value) => value,
        Written::Stale(current) => panic!("stale: {current:?}"),
    }
}

fn request() -> Request {
    Request {
        key: "k".to_owned(),
        digest: "d".to_owned(),
    }
}

async fn in_conflict(store: &Store, key: &ConnectionKey) -> (FileRecord, ConflictId) {
    let first = stored(store, key, "f1", "root").await;
    let ours = edited(store, key, &first, Field::Name, Value::text("ours"), 5).await;
    let theirs = Observation::Present(snapshot("f1", 2, "theirs", "root"));
    let step = ours.observe(&theirs, context(9));
    let id = step.record.open_conflict(&Field::Name).expect("a conflict");
    (committed(store, key, ours.revision, &step).await, id)
}

async fn listing(store: &Store, key: &ConnectionKey) -> (Log, Operation) {
    let log = Log::new(key.clone(), LogId::user(), ms(1_000));
    store.create_log(&log).await.unwrap();
    let operation = Operation::new(
        key.clone(),
        OperationId::parse("op1").unwrap(),
        LogId::user(),
        "ann",
        ms(1_000),
        Run::sync(SyncKind::Resync),
    );
    let begun = store
        .begin_listing(&log, &PageToken::new("1"), &operation)
        .await;
    let log = done(begun.unwrap());
    let operation = store.load_operation(key, &operation.id).await.unwrap();
    let operation = operation.unwrap();
    let after = listed_page(&operation, 1, Some("2"), 2_000);
    let recorded = store.record_page(&operation, &after, &[file("f1")]).await;
    (log, done(recorded.unwrap()))
}

async fn create_every_kind(store: &Store) -> EveryKind {
    let key = fresh();
    let f1 = file("f1");
    let connection = connection(&key);
    store.create_connection(&connection, None).await.unwrap();
    let (record, conflict) = in_conflict(store, &key).await;
    let history = HistoryEntry {
        snapshot: snapshot("f1", 2, "theirs", "root"),
        at: ms(9),
        cause: None,
    };
    let entries = std::slice::from_ref(&history);
    store.save_history(&key, entries, None).await.unwrap();
    let object = put(store, &key, 1).await;
    let linked = store.link_version(&key, &f1, &version(1, &object)).await;
    linked.unwrap();
    let upload = MultipartUpload {
        id: "00ff".to_owned(),
        file: f1.clone(),
        hash: hash(2),
        size_bytes: 20_000_000,
        expected_version: 3,
        object: ObjectKey::content(&key.tenant, &hash(2), 7),
        upload: UploadId::new("an upload"),
        part_bytes: 8_388_608,
        expires_at: ms(5_000),
    };
    store.save_multipart_upload(&key, &upload).await.unwrap();
    let state = ContentState::default();
    let saved = store.save_content(&key, &f1, &state, nonce()).await;
    done(saved.unwrap());
    let (log, operation) = listing(store, &key).await;
    let limit = RateLimit::new(&Limits::default(), ms(5));
    let saved = store.save_rate_limit(&key, 0, &limit, nonce()).await;
    done(saved.unwrap());
    let recorded = store
        .save_idempotency_record(&key, &request(), &f1, ms(9_000))
        .await;
    recorded.unwrap();
    let candidate = suspected("f1", CandidateReason::Differs);
    store
        .record_candidate(&operation, &candidate)
        .await
        .unwrap();
    let inconsistency = Inconsistency {
        kind: InconsistencyKind::IntentNotDue,
        subject: Subject::File(f1.clone()),
        repaired: false,
        detail: "seen".to_owned(),
        found_at: ms(7),
    };
    store
        .record_inconsistency(&operation, &inconsistency)
        .await
        .unwrap();
    let letter = dead_letter(&key, "1", None, 1);
    store.record_dead_letter(&letter).await.unwrap();
    let channel = channel(&key);
    store.create_channel(&channel).await.unwrap();
    EveryKind {
        key,
        file: f1,
        conflict,
        record,
        history,
        object,
        upload,
        connection,
        log,
        operation,
        candidate,
        inconsistency,
        channel,
    }
}

impl EveryKind {
    /// The key of each item, and the verbs that [`EveryKind::rewrite`] calls on it.
    fn items(&self) -> Vec<(Key, Rewritten)> {
        let (key, file, id) = (&self.key, &self.file, &self.operation.id);
        let inconsistency = format!("{id}#{}#{file}", self.inconsistency.kind.label());
        let of_connection = |kind: &str, id: &str| Key::of_connection(key, kind, id);
        vec![
            (Key::connection(key), Rewritten::Whole),
            (Key::head(key, file), Rewritten::Whole),
            (Key::conflict(key, &self.conflict), Rewritten::Whole),
            (Key::snapshot(key, file, DriveVersion(2)), Rewritten::Whole),
            (Key::version(key, file, 1), Rewritten::InPart),
            (of_connection("INCOMING", "00ff"), Rewritten::InPart),
            (Key::content(key, file), Rewritten::Whole),
            (
                Key::object(&key.tenant, &self.object.hash),
                Rewritten::InPart,
            ),
            (
                of_connection("LOG", self.log.log.as_str()),
                Rewritten::InPart,
            ),
            (of_connection("OP", id.as_str()), Rewritten::InPart),
            (
                of_connection("PAGE", &format!("{id}#00000000")),
                Rewritten::InPart,
            ),
            (Key::rate_limit(key), Rewritten::Whole),
            (of_connection("MADE", "k"), Rewritten::InPart),
            (
                of_connection("DRIFT", &format!("{id}#{file}")),
                Rewritten::Whole,
            ),
            (of_connection("FLAW", &inconsistency), Rewritten::Whole),
            (of_connection("PARKED", "m.1"), Rewritten::Whole),
            (Key::channel(&self.channel.id), Rewritten::InPart),
        ]
    }

    /// Makes every item one of a release with this format, which has an attribute more.
    async fn mark(&self, store: &Store, format: u64) {
        for (key, _) in self.items() {
            let update = store.client.update_item().table_name(&store.table);
            let update = update
                .set_key(Some(key.to_item()))
                .update_expression("SET #unknown = :unknown, #format = :format")
                .condition_expression("attribute_exists(PK)")
                .expression_attribute_names("#unknown", UNKNOWN)
                .expression_attribute_names("#format", "format")
                .expression_attribute_values(":unknown", AttributeValue::S(key.sk.clone()))
                .expression_attribute_values(":format", AttributeValue::N(format.to_string()));
            update.send().await.expect(&key.sk);
        }
    }

    /// Calls every verb that writes one of the items again.
    async fn rewrite(&self, store: &Store) {
        self.rewrite_connection(store).await;
        self.rewrite_file(store).await;
        self.rewrite_content(store).await;
        self.rewrite_operation(store).await;
        self.rewrite_log(store).await;
    }

    async fn rewrite_connection(&self, store: &Store) {
        let key = &self.key;
        store
            .create_connection(&self.connection, None)
            .await
            .unwrap();
        done(store.save_connection(&self.connection).await.unwrap());
        store.suspend(key, "revoked", ms(10)).await.unwrap();
        let limit = store.load_rate_limit(key).await.unwrap().unwrap();
        let saved = store
            .save_rate_limit(key, limit.revision, &limit.rate_limit, nonce())
            .await;
        done(saved.unwrap());
        let (request, other) = (request(), file("f2"));
        let stands = store
            .save_idempotency_record(key, &request, &other, ms(9))
            .await;
        assert_eq!(stands.unwrap().file, self.file);
        let repeat = dead_letter(key, "1", None, 50);
        store.record_dead_letter(&repeat).await.unwrap();
        let letter = store.load_dead_letter(key, "m.1").await.unwrap().unwrap();
        let saved = store
            .save_dead_letter(&letter.redriven("ann", ms(60)))
            .await;
        done(saved.unwrap());
    }

    async fn rewrite_file(&self, store: &Store) {
        let (key, record) = (&self.key, &self.record);
        let theirs = Observation::Present(snapshot("f1", 3, "theirs again", "root"));
        let moved = record.observe(&theirs, context(12));
        assert_eq!(moved.conflicts.len(), 1);
        let record = committed(store, key, record.revision, &moved).await;
        let resolved = record
            .resolve(&self.conflict, None, &Choice::Drive, "ann", context(15))
            .unwrap();
        let record = committed(store, key, record.revision, &resolved).await;
        let unchanged = Transition::unchanged(record.clone());
        committed(store, key, record.revision, &unchanged).await;
        let newer = HistoryEntry {
            snapshot: snapshot("f1", 3, "theirs again", "root"),
            at: ms(12),
            cause: None,
        };
        let entries = [self.history.clone(), newer];
        store.save_history(key, &entries, None).await.unwrap();
    }

    async fn rewrite_content(&self, store: &Store) {
        let (key, file) = (&self.key, &self.file);
        let object = &self.object;
        let state = store.load_content(key, file).await.unwrap();
        done(
            store
                .save_content(key, file, &state, nonce())
                .await
                .unwrap(),
        );
        let upload = &self.upload;
        store.save_multipart_upload(key, upload).await.unwrap();
        let tenant = &key.tenant;
        store.put_object_if_absent(tenant, object).await.unwrap();
        let again = version(1, object);
        store.link_version(key, file, &again).await.unwrap();
        let second = version(2, object);
        store.link_version(key, file, &second).await.unwrap();
        let pinned = store.pin_version(key, file, 1, true).await;
        pinned.unwrap();
        let annotated = store.annotate_version(key, file, 1, "ann", "mistake").await;
        annotated.unwrap();
        store
            .release_version(key, file, 2, ms(9_000))
            .await
            .unwrap();
        let retained = store.retain_object(tenant, &object.hash, ms(9_000)).await;
        retained.unwrap();
    }

    async fn rewrite_operation(&self, store: &Store) {
        let operation = &self.operation;
        let advance = async |before: &Operation, after: Operation| {
            done(store.advance_operation(before, &after).await.unwrap())
        };
        let restarted = advance(operation, operation.on_token_lost(ms(2_500), Jitter(0.5))).await;
        let listed = listed_page(&restarted, 1, None, 3_000);
        let recorded = store.record_page(&restarted, &listed, &[file("f2")]).await;
        let listed = done(recorded.unwrap());
        let verified = advance(&listed, listed.on_arrival(2, 2, 0, ms(3_500))).await;
        let moved = advance(&verified, verified.on_all_arrived(ms(4_000))).await;
        let candidate = &self.candidate;
        store.record_candidate(operation, candidate).await.unwrap();
        let found = DriftEntry {
            finding: Some(Finding::NoDrift),
            ..candidate.clone()
        };
        store.record_finding(operation, &found).await.unwrap();
        let later = Inconsistency {
            found_at: ms(70),
            ..self.inconsistency.clone()
        };
        store.record_inconsistency(operation, &later).await.unwrap();
        advance(&moved, moved.failed("ended", ms(5_000))).await;
    }

    async fn rewrite_log(&self, store: &Store) {
        let (key, log) = (&self.key, &self.log.log);
        let channel = &self.channel.id;
        let current = store.load_log(key, log).await.unwrap().unwrap();
        let progress = LogProgress {
            complete_listing_began: Some(ms(1)),
            next_poll_at: Some(ms(2)),
            last_change_at: Some(ms(3)),
            lag_millis: Some(4),
            walk: Some(PageWalk::default()),
        };
        let advanced = store
            .advance(&current, &PageToken::new("2"), progress)
            .await;
        done(advanced.unwrap());
        store.postpone_watch(key, log, 1, ms(9)).await.unwrap();
        let set = store.set_channel(key, log, None, Some(channel)).await;
        let current = done(set.unwrap());
        store.postpone_poll(key, log, ms(9)).await.unwrap();
        store.set_drive_name(key, log, "Marketing").await.unwrap();
        let checked = store.record_drives_checked(&current, ms(9)).await;
        let current = done(checked.unwrap());
        let leave = Operation {
            id: OperationId::parse("op2").unwrap(),
            ..self.operation.clone()
        };
        let left = store.leave_log(&current, &leave, ms(10), ms(20)).await;
        let left = done(left.unwrap());
        done(store.rejoin_log(&left, ms(30)).await.unwrap());
        let channels = [
            store.activate_channel(channel, "r1", ms(3), ms(2)).await,
            store.replace_channel(channel, ms(2)).await,
            store.postpone_channel(channel, ms(3)).await,
        ];
        for updated in channels {
            assert_eq!(updated.unwrap(), crate::Updated::Done);
        }
    }

    /// Reads each of the items by its own verb.
    async fn read(&self, store: &Store) -> Vec<Result<(), StoreError>> {
        let (key, file, id) = (&self.key, &self.file, &self.operation.id);
        let tenant = &key.tenant;
        let all = page(10);
        let version_2 = DriveVersion(2);
        vec![
            store.load_connection(key).await.map(drop),
            store.load_file(key, file).await.map(drop),
            store.load_conflict(key, &self.conflict).await.map(drop),
            store
                .load_history_entry(key, file, version_2, domain::Timestamp::default())
                .await
                .map(drop),
            store.load_version(key, file, 1).await.map(drop),
            store
                .load_multipart_upload(key, "00ff", ms(1))
                .await
                .map(drop),
            store.load_content(key, file).await.map(drop),
            store.load_object(tenant, &self.object.hash).await.map(drop),
            store.load_log(key, &self.log.log).await.map(drop),
            store.load_operation(key, id).await.map(drop),
            store.load_page(key, id, 0).await.map(drop),
            store.load_rate_limit(key).await.map(drop),
            store
                .load_idempotency_record(key, &request())
                .await
                .map(drop),
            store.list_drift(key, id, &all).await.map(drop),
            store
                .list_inconsistencies(key, id, None, &all)
                .await
                .map(drop),
            store.load_dead_letter(key, "m.1").await.map(drop),
            store.load_channel(&self.channel.id).await.map(drop),
        ]
    }
}

/// Marks one item of every kind, rewrites all of them, and returns what became of the marks: the
/// sort key, the unknown attribute and the format.
async fn rewritten(store: &Store, format: u64) -> BTreeMap<String, (Rewritten, bool, u64)> {
    let every = create_every_kind(store).await;
    every.mark(store, format).await;
    every.rewrite(store).await;
    let mut marks = BTreeMap::new();
    for (key, rewritten) in every.items() {
        let item = store.get(&key).await.unwrap().expect(&key.sk);
        let unknown = AttributeValue::S(key.sk.clone());
        let survives = item.get(UNKNOWN) == Some(&unknown);
        let format = format_of(&item).expect("a format");
        marks.insert(key.sk, (rewritten, survives, format));
    }
    assert_eq!(marks.len(), 17, "one item of every kind");
    marks
}

pub(crate) async fn an_unknown_attribute_of_any_item_survives_every_write(store: &Store) {
    for (sk, (_, survives, _)) in rewritten(store, FORMAT).await {
        assert!(survives, "{sk}");
    }
}

pub(crate) async fn an_item_is_never_written_back_in_a_lower_format(store: &Store) {
    for format in 0..=FORMAT_MAX {
        for (sk, (rewritten, survives, now)) in rewritten(store, format).await {
            let wanted = match rewritten {
                Rewritten::Whole => format.max(FORMAT),
                Rewritten::InPart => format,
            };
            assert_eq!((now, survives), (wanted, true), "{sk} of format {format}");
        }
    }
}

pub(crate) async fn old_current_and_next_formats_are_read_and_later_ones_refused(store: &Store) {
    let every = create_every_kind(store).await;
    for format in 0..=FORMAT_MAX {
        every.mark(store, format).await;
        for (read, (key, _)) in every.read(store).await.into_iter().zip(every.items()) {
            assert!(read.is_ok(), "{} of format {format}: {read:?}", key.sk);
        }
    }
    let later = FORMAT_MAX + 1;
    every.mark(store, later).await;
    let refused = |outcome: &Result<(), StoreError>| match outcome {
        Err(StoreError::NewerItem { format, .. }) => *format == later,
        Err(_) | Ok(()) => false,
    };
    for (read, (key, _)) in every.read(store).await.into_iter().zip(every.items()) {
        assert!(refused(&read), "{}: {read:?}", key.sk);
    }
    let unchanged = Transition::unchanged(every.record.clone());
    let revision = every.record.revision;
    let written = store
        .commit(&every.key, revision, &unchanged, nonce())
        .await;
    assert!(refused(&written.map(drop)), "nor is it written");
}

pub(crate) async fn a_write_in_the_next_format_still_depends_on_its_revision(store: &Store) {
    let every = create_every_kind(store).await;
    every.mark(store, FORMAT_MAX).await;
    let unchanged = Transition::unchanged(every.record.clone());
    let commit = async |before| {
        let outcome = store.commit(&every.key, before, &unchanged, nonce()).await;
        outcome.unwrap()
    };
    let Revision(stored) = every.record.revision;
    let stale = commit(Revision(stored - 1)).await;
    assert!(matches!(stale, Committed::Stale(Some(_))), "{stale:?}");
    assert_eq!(commit(Revision(stored)).await, Committed::Done);
}
