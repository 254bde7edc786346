//! The messages of one file on top of its record: what can be said without asking Drive.

use domain::{FileRecord, LogId, Moment, Observation, Policies, Step, Timestamp};
use runtime::{Cause, SnapshotMessage};

use crate::membership;

/// All messages of one file, in order, as one step. `None` where one of them would make the file appear or
/// disappear: only Drive itself can say that.
pub(crate) fn fold(
    record: Option<&FileRecord>,
    messages: &[SnapshotMessage],
    left: &[LogId],
    policies: &Policies,
    now: Timestamp,
) -> Option<Step> {
    let mut folded = record.cloned().map(Step::stay);
    for message in messages {
        let moment = Moment {
            now,
            drive_at: match message.cause {
                Cause::Live => Some(message.at),
                Cause::Run(_) | Cause::Correction(_) | Cause::Left { .. } => None,
            },
            policies,
        };
        if let Cause::Left { drive, .. } = &message.cause {
            // Of a drive that is followed again, and of a file that we never saw, there is nothing to mark.
            if left.contains(drive) {
                folded = folded.map(|step| {
                    step.then(|record| membership::mark(record.clone(), drive, moment))
                });
            }
            continue;
        }
        let observation = match &message.snapshot {
            Some(snapshot) => Observation::Present(snapshot.clone()),
            None => Observation::Gone(domain::Gone::Removed),
        };
        folded = Some(match folded {
            None => Step::stay(match &observation {
                // The snapshot is of the time before the drive was left.
                Observation::Present(snapshot) if left.contains(&snapshot.mirror.log()) => {
                    return None;
                }
                Observation::Present(snapshot) => FileRecord::first_sight(snapshot),
                Observation::Gone(gone) => FileRecord::never_seen(message.file.clone(), *gone, now),
            }),
            Some(step) if step.record.must_ask(&observation) => return None,
            // A question about a file that was listed, though our record says that it is gone.
            Some(step) if asks(message) && !step.record.is_present() => return None,
            Some(step) => step.then(|record| match (&message.cause, &message.snapshot) {
                (Cause::Correction(_), Some(snapshot)) => record.corrected(snapshot, moment),
                (Cause::Correction(_), None)
                | (Cause::Live | Cause::Run(_) | Cause::Left { .. }, _) => {
                    record.observe(&observation, moment)
                }
            }),
        });
    }
    folded
}

/// Whether an operation asks about the file, rather than a change log telling of it.
fn asks(message: &SnapshotMessage) -> bool {
    match message.cause {
        Cause::Run(_) => message.snapshot.is_none(),
        Cause::Live | Cause::Correction(_) | Cause::Left { .. } => false,
    }
}
