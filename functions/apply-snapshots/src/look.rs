//! What only Drive can say: whether a file is there. What a batch must ask is asked at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{ConnectionKey, DriveVersion, FileId, FileRecord, Moment, Observation, Step};
use futures_util::future::join_all;
use gate::{GateError, Pass, Patience, Question};
use runtime::Deadline;
use store::Connection;

use crate::{Answer, Deps, permissions};

/// The longest wait for the connection's turn in place, in milliseconds.
const PATIENCE_MILLIS: u64 = 1_000;
/// What a question to Drive may take, in milliseconds.
const LOOK_MILLIS: i64 = 8_000;

/// How long a question to Drive waits in place for the connection's turn, or for Drive to answer again.
pub(crate) fn patience(deadline: Deadline) -> Patience {
    Patience {
        wait_millis_max: PATIENCE_MILLIS,
        until: deadline.0.plus_millis(-LOOK_MILLIS),
    }
}

/// What becomes of a record by Drive's answer.
pub(crate) struct Asked {
    /// The record as it was before Drive was asked: the answer is later than anything that a queue can have brought.
    pub(crate) record: Option<FileRecord>,
    /// The record with the answer.
    pub(crate) step: Step,
}

/// Asks about files of any connections, those of one connection together, and gives an answer for each.
pub(crate) async fn ask_all<'a>(
    files: impl Iterator<Item = (&'a Connection, &'a FileId)>,
    deadline: Deadline,
    deps: &Deps,
) -> BTreeMap<(ConnectionKey, FileId), Answer> {
    let mut asked: BTreeMap<&ConnectionKey, (&Connection, Vec<FileId>)> = BTreeMap::new();
    for (connection, file) in files {
        let (_, files) = asked
            .entry(&connection.key)
            .or_insert_with(|| (connection, Vec::new()));
        files.push(file.clone());
    }
    let asked = asked.into_iter().map(async |(key, (connection, files))| {
        let answers = ask_together(connection, &files, deadline, deps).await;
        let places = files.into_iter().map(|file| (key.clone(), file));
        places.zip(answers).collect::<Vec<_>>()
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Asks Drive for files as they are now, on top of the records as they are now: one answer for each, in their order.
async fn ask_together(
    connection: &Connection,
    files: &[FileId],
    deadline: Deadline,
    deps: &Deps,
) -> Vec<Answer> {
    let opened = async {
        let records = deps.store.load_files_now(&connection.key, files).await?;
        let pass = deps.gate.pass(connection, patience(deadline)).await?;
        Ok::<_, GateError>((records, pass))
    };
    let (mut records, pass) = match opened.await {
        Ok(opened) => opened,
        Err(error) => {
            let error = Arc::new(error);
            return files.iter().map(|_| Err(Arc::clone(&error))).collect();
        }
    };
    let question = |file| Question {
        file,
        last_seen: records.get(file).map(|record: &FileRecord| &record.mirror),
    };
    let questions: Vec<Question<'_>> = files.iter().map(question).collect();
    let looked = pass.look_at(&questions).await;
    let answers = files.iter().zip(looked).map(|(file, looked)| {
        let record = records.remove(file);
        answered(connection, &pass, file, record, looked, deps)
    });
    join_all(answers).await
}

async fn answered(
    connection: &Connection,
    pass: &Pass,
    file: &FileId,
    record: Option<FileRecord>,
    looked: Result<Observation, Arc<GateError>>,
    deps: &Deps,
) -> Answer {
    let answer = match looked? {
        Observation::Present(snapshot) => {
            let listed = permissions::of_answer(pass, snapshot, record.as_ref()).await;
            Observation::Present(listed?)
        }
        gone @ Observation::Gone(_) => gone,
    };
    let answer = connection.scope.seen(answer);
    let now = deps.clock.now();
    let moment = Moment {
        now,
        drive_at: None,
        policies: &connection.policies,
    };
    let step = match (&record, &answer) {
        (Some(record), answer) => record.answered(answer, moment),
        // What was read by a question is no history yet.
        (None, Observation::Present(snapshot)) => Step::stay(FileRecord {
            reported: DriveVersion::default(),
            ..FileRecord::first_sight(snapshot)
        }),
        (None, Observation::Gone(gone)) => {
            Step::stay(FileRecord::never_seen(file.clone(), *gone, now))
        }
    };
    Ok(Asked { record, step })
}
