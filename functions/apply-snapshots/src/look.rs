//! Looking at one file in Drive, where only Drive can say whether it is there.

use domain::pace::CallKind;
use domain::{DriveVersion, FileId, FileRecord, Moment, Observation, Step};
use gate::Patience;
use runtime::Deadline;
use store::Connection;

use crate::{Deps, Stopped, permissions};

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

/// Asks Drive for the file as it is now, on top of the record as it is now: the answer is later than
/// anything that a queue can have brought.
pub(crate) async fn ask(
    connection: &Connection,
    file: &FileId,
    deadline: Deadline,
    deps: &Deps,
) -> Result<(Option<FileRecord>, Step), Stopped> {
    let record = deps.store.load_file(&connection.key, file).await?;
    let pass = deps.gate.pass(connection, patience(deadline)).await?;
    let looked = pass.ask(CallKind::Read, || pass.drive().look(file)).await?;
    let answer = match (&record, looked) {
        (Some(record), Observation::Gone(gone)) => {
            let (mirror, key) = (&record.mirror, &connection.key);
            let told = gate::told_apart::<Stopped>(gone, mirror, key, &pass, &deps.store);
            Observation::Gone(told.await?)
        }
        (_, Observation::Present(snapshot)) => {
            Observation::Present(permissions::of_answer(&pass, snapshot, record.as_ref()).await?)
        }
        (None, gone @ Observation::Gone(_)) => gone,
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
    Ok((record, step))
}
