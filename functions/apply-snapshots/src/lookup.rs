//! Looks up in Drive whether files exist. The lookups of a batch are made together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::{
    Ancestry, ConnectionKey, Context, DriveVersion, FileId, FileRecord, Observation, Transition,
};
use futures_util::future::join_all;
use runtime::Deadline;
use store::Connection;
use throttle::{CallError, Lookup, ThrottledDrive, WaitBudget};

use crate::{Deps, LookupResult, list_permissions};

/// The longest in-process wait for the rate limiter, in milliseconds.
const WAIT_MILLIS_MAX: u64 = 1_000;
/// The longest duration of a lookup, in milliseconds.
const LOOKUP_MILLIS: i64 = 8_000;

/// Returns how long a lookup may wait for the rate limiter or the circuit breaker.
pub(crate) fn wait_budget(deadline: Deadline) -> WaitBudget {
    WaitBudget {
        max_wait_millis: WAIT_MILLIS_MAX,
        deadline: deadline.0.plus_millis(-LOOKUP_MILLIS),
    }
}

/// A file to be looked up.
pub(crate) struct Question<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) file: &'a FileId,
    /// A log or a complete listing reports that the file is gone.
    pub(crate) reported_gone: bool,
}

/// The result of a lookup, merged into the record.
pub(crate) struct LookedUp {
    /// The record as read before the lookup. The lookup is therefore later than any queued message.
    pub(crate) record: Option<FileRecord>,
    /// The record with the lookup's result applied.
    pub(crate) transition: Transition,
}

/// Looks up files of several connections, those of one connection together. Returns a result for
/// each.
pub(crate) async fn lookup_all<'a>(
    files: impl Iterator<Item = Question<'a>>,
    deadline: Deadline,
    deps: &Deps,
) -> BTreeMap<(ConnectionKey, FileId), LookupResult> {
    let mut asked: BTreeMap<&ConnectionKey, (&Connection, Vec<FileId>)> = BTreeMap::new();
    let mut reported_gone = BTreeSet::new();
    for question in files {
        let (connection, file) = (question.connection, question.file);
        let (_, files) = asked
            .entry(&connection.key)
            .or_insert_with(|| (connection, Vec::new()));
        files.push(file.clone());
        if question.reported_gone {
            reported_gone.insert((connection.key.clone(), file.clone()));
        }
    }
    let reported_gone = &reported_gone;
    let asked = asked.into_iter().map(async |(key, (connection, files))| {
        let answers = lookup_together(connection, &files, reported_gone, deadline, deps).await;
        let places = files.into_iter().map(|file| (key.clone(), file));
        places.zip(answers).collect::<Vec<_>>()
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Looks up the current state of files in Drive and merges it into their current records. Returns
/// one result for each file, in order.
async fn lookup_together(
    connection: &Connection,
    files: &[FileId],
    reported_gone: &BTreeSet<(ConnectionKey, FileId)>,
    deadline: Deadline,
    deps: &Deps,
) -> Vec<LookupResult> {
    let opened = async {
        let records = deps
            .store
            .load_files_consistent(&connection.key, files)
            .await?;
        let drive = deps
            .drives
            .throttled(connection, wait_budget(deadline))
            .await?;
        Ok::<_, CallError>((records, drive))
    };
    let (mut records, drive) = match opened.await {
        Ok(opened) => opened,
        Err(error) => {
            let error = Arc::new(error);
            return files.iter().map(|_| Err(Arc::clone(&error))).collect();
        }
    };
    let lookup = |file| Lookup {
        file,
        last_seen: records
            .get(file)
            .map(|record: &FileRecord| &record.metadata),
    };
    let lookups: Vec<Lookup<'_>> = files.iter().map(lookup).collect();
    let observations = drive.lookup_many(&lookups).await;
    let answers = files.iter().zip(observations).map(|(file, observation)| {
        let record = records.remove(file);
        let reported = reported_gone.contains(&(connection.key.clone(), file.clone()));
        merge_lookup(
            connection,
            &drive,
            file,
            record,
            observation,
            reported,
            deps,
        )
    });
    join_all(answers).await
}

async fn merge_lookup(
    connection: &Connection,
    drive: &ThrottledDrive,
    file: &FileId,
    record: Option<FileRecord>,
    observation: Result<Observation, Arc<CallError>>,
    reported_gone: bool,
    deps: &Deps,
) -> LookupResult {
    let answer = match observation? {
        Observation::Present(snapshot) => {
            let listed = list_permissions::with_permissions(drive, snapshot, record.as_ref()).await;
            Observation::Present(listed?)
        }
        gone @ Observation::Gone(_) => gone,
    };
    let answer = connection.scope.restrict(answer);
    let now = deps.clock.now();
    let jitter = deps.entropy.jitter();
    let merged = |above: Option<&Ancestry>| {
        let context = Context {
            now,
            drive_at: None,
            policies: &connection.policies,
            above,
        };
        match (&record, &answer) {
            // Without the word of a log or of a listing, one answer does not show that it is gone.
            (Some(record), Observation::Gone(gone)) if !reported_gone && !record.is_gone() => {
                record.suspected_gone(*gone, true, context, jitter)
            }
            (Some(record), answer) => record.apply_lookup(answer, context),
            // A snapshot read by a lookup is not in the history yet.
            (None, Observation::Present(snapshot)) => Transition::unchanged(FileRecord {
                reported: DriveVersion::default(),
                ..FileRecord::from_snapshot(snapshot)
            }),
            (None, Observation::Gone(gone)) => {
                Transition::unchanged(FileRecord::tombstone(file.clone(), *gone, now))
            }
        }
    };
    let mut transition = merged(None);
    if let Some(record) = &record {
        let store = &deps.store;
        let above = store.policy_ancestry(connection, record, &transition);
        if let Some(above) = above
            .await
            .map_err(|error| Arc::new(CallError::from(error)))?
        {
            transition = merged(Some(&above));
        }
    }
    Ok(LookedUp { record, transition })
}
