//! Sets listed files back, by ordinary edits in the name of who requested the restore.
//!
//! A file whose visible state is not the one that was listed has been changed since, by a person or
//! by an interrupted attempt of this restore: what is not yet as it was is left then. The edits are
//! conditional on the record that they were computed from, and reach Drive as any other edit does.

use domain::content::{ContentHash, RETAIN_MILLIS, StoredObject};
use domain::operation::{Restore, RestoreCounts};
use domain::restore::{LeftReason, RestorePlan};
use domain::{Context, Field, FileRecord, Operation, Side, Value};
use futures_util::FutureExt as _;
use store::{
    Attempt, Committed, Connection, Nonce, PageRequest, RestoreEntry, Retained, StoreError,
    Swapped, compare_and_swap,
};
use worker::WorkError;

use crate::Deps;
use crate::restore::compare_with_history::some_at_a_time;
use crate::restore::file_at_time::{FileAtTime, state_at};

/// The number of files between two records of the progress.
const PAGE: u32 = 100;
/// The number of files with something owed from which on no more are edited for now: the tenant's
/// limit is for all that it does.
const OWED_MAX: u32 = 5_000;

/// Sets the page of listed files at a position back.
pub(crate) async fn restore_page(
    position: Option<String>,
    operation: &Operation,
    restore: &Restore,
    connection: &Connection,
    deps: &Deps,
) -> Result<Operation, WorkError> {
    let key = &connection.key;
    if deps.store.count_owed(key, OWED_MAX).await? >= u64::from(OWED_MAX) {
        return Ok(operation.on_too_much_owed(deps.clock.now()));
    }
    let page = PageRequest {
        limit: PAGE,
        cursor: position,
    };
    let listed = deps
        .store
        .list_restore_entries(key, &operation.id, &page)
        .await?;
    let files = FileEdits {
        operation,
        restore,
        connection,
        deps,
    };
    let work = listed.items.into_iter();
    let work = work.map(|entry| files.complete(entry).boxed());
    let done: Vec<RestoreEntry> = some_at_a_time(work.collect()).await?;
    let mut counts = RestoreCounts::default();
    for entry in &done {
        counts.restored += u64::from(entry.plan.changes());
        for reason in &entry.left_later {
            *counts.left.entry(*reason).or_default() += 1;
        }
    }
    if counts.restored > 0 {
        deps.wakes.push(key, deps.clock.now()).await?;
    }
    let after = operation.on_restored(&counts, listed.next_cursor, deps.clock.now());
    if let Some(ended) = after.restore().filter(|_| after.has_ended()) {
        tracing::info!(
            connection = %key, operation = %operation.id, files = ended.counts.restored,
            metric = "restored", "set files back"
        );
    }
    Ok(after)
}

/// The edits of a page.
struct FileEdits<'a> {
    operation: &'a Operation,
    restore: &'a Restore,
    connection: &'a Connection,
    deps: &'a Deps,
}

impl FileEdits<'_> {
    /// Sets a file back, unless that was done, and records what became of it.
    async fn complete(&self, entry: RestoreEntry) -> Result<RestoreEntry, WorkError> {
        if entry.done_at.is_some() || !entry.plan.changes() {
            return Ok(entry);
        }
        let plan = self.edit(&entry).await?;
        let left_before = entry.plan.reasons();
        let left_later = plan.reasons().difference(&left_before).copied().collect();
        let done = RestoreEntry {
            plan,
            done_at: Some(self.deps.clock.now()),
            left_later,
            ..entry
        };
        let store = &self.deps.store;
        store.complete_restore_entry(self.operation, &done).await?;
        Ok(done)
    }

    /// Edits a file, and returns what was set back and what is left.
    async fn edit(&self, entry: &RestoreEntry) -> Result<RestorePlan, WorkError> {
        let key = &self.connection.key;
        let Some(record) = self.deps.store.load_file(key, &entry.file).await? else {
            return Ok(without_record(entry));
        };
        let attempt = async |record: FileRecord| self.attempt(entry, &record).await;
        match compare_and_swap(record, attempt).await? {
            Swapped::Done(plan) => Ok(plan),
            Swapped::Contended(_) => Err(WorkError::Contended),
        }
    }

    /// Edits a file, on condition that its record is this one.
    async fn attempt(
        &self,
        entry: &RestoreEntry,
        record: &FileRecord,
    ) -> Result<Attempt<FileRecord, RestorePlan>, WorkError> {
        let (deps, key) = (self.deps, &self.connection.key);
        let present = self.plan(record).await?;
        if record.visible != entry.seen {
            let plan = entry.plan.clone();
            return Ok(Attempt::Done(plan.overtaken_by(&present)));
        }
        let (present, object) = self.retaining_content(present).await?;
        let context = Context {
            now: deps.clock.now(),
            drive_at: None,
            above: None,
            policies: &self.connection.policies,
        };
        let (carried_out, transition) = present.apply(record, &self.operation.by, context);
        let Some(transition) = transition else {
            return Ok(Attempt::Done(carried_out));
        };
        let nonce = Nonce(deps.entropy.next());
        let committed = deps.store.commit(key, record.revision, &transition, nonce);
        match committed.await {
            Ok(Committed::Done) => {
                let gets_content = carried_out.values().contains_key(&Field::Content);
                if let Some(object) = object.filter(|_| gets_content) {
                    self.link(&transition.record, &object).await;
                }
                Ok(Attempt::Done(carried_out))
            }
            Ok(Committed::Stale(Some(current))) => Ok(Attempt::Stale(*current)),
            Ok(Committed::Stale(None)) => Ok(Attempt::Done(without_record(entry))),
            Err(StoreError::TooLarge { .. }) => {
                let plan = carried_out.leaving_all(LeftReason::NotWritable);
                Ok(Attempt::Done(plan))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns what makes a file as it was, as things are now.
    async fn plan(&self, record: &FileRecord) -> Result<RestorePlan, WorkError> {
        let (connection, deps, at) = (self.connection, self.deps, self.restore.at);
        let state = state_at(record, at, &connection.key, deps).await?;
        let rules = &connection.rules;
        let mut out_of_scope = false;
        if !rules.is_empty() && record.is_present() {
            let above = deps.store.ancestry(connection, [record]).await?;
            out_of_scope = !rules.includes(&above.lineage(&record.file, Side::Drive));
        }
        let file = FileAtTime {
            record,
            state: &state,
            at,
            out_of_scope,
        };
        file.plan(connection, deps).await
    }

    /// Retains the object of the content that a plan sets back, so that the record can come to
    /// refer to it. If it is not stored any more, the content is left.
    async fn retaining_content(
        &self,
        plan: RestorePlan,
    ) -> Result<(RestorePlan, Option<StoredObject>), WorkError> {
        let values = plan.values();
        let Some(Value::Text(hash)) = values.get(&Field::Content) else {
            return Ok((plan, None));
        };
        let Ok(hash) = ContentHash::parse(hash) else {
            return Ok((plan.leaving_content(), None));
        };
        let until = self.deps.clock.now().plus_millis(RETAIN_MILLIS);
        let tenant = &self.connection.key.tenant;
        match self.deps.store.retain_object(tenant, &hash, until).await? {
            Retained::Done(object) => Ok((plan, Some(object))),
            Retained::Absent | Retained::Collecting => Ok((plan.leaving_content(), None)),
        }
    }

    /// Adds the version of the content that was set back.
    async fn link(&self, record: &FileRecord, object: &StoredObject) {
        let (store, key) = (&self.deps.store, &self.connection.key);
        let (by, now) = (&self.operation.by, self.deps.clock.now());
        let reason = format!("restored to {}", self.restore.at);
        worker::link_version(store, key, record, object, (by, Some(&reason)), now).await;
    }
}

/// Returns the plan of a listed file that has no record any more: all of it is left.
fn without_record(entry: &RestoreEntry) -> RestorePlan {
    entry.plan.clone().leaving_all(LeftReason::ChangedMeanwhile)
}
