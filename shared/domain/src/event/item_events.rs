//! The events of changes of everything but a file's record.

use super::{Author, Details, Event, EventType, Subject};
use crate::content::{ContentOutcome, ContentState};
use crate::operation::End;
use crate::{
    Cause, ConflictRecord, ConflictStatus, Decider, FileId, Operation, OperationState, Run,
    Timestamp,
};

/// Returns the event of a change of a conflict's record. One that is created ended was decided at
/// once, by a policy.
#[must_use]
pub fn conflict_events(
    before: Option<&ConflictRecord>,
    after: &ConflictRecord,
    at: Timestamp,
) -> Option<Event> {
    let (kind, by, reason) = match (before.map(|before| &before.status), &after.status) {
        (Some(ConflictStatus::Resolved(_) | ConflictStatus::Closed { .. }), _) => return None,
        (None, ConflictStatus::Open) => (EventType::ConflictDetected, Author::Drive, None),
        (Some(ConflictStatus::Open), ConflictStatus::Open) => {
            // A decision that is being carried out is shown as well.
            let told = |conflict: &ConflictRecord| (conflict.moves, conflict.keeping.is_some());
            if before.map(told) == Some(told(after)) {
                return None;
            }
            (EventType::ConflictChanged, Author::Drive, None)
        }
        (_, ConflictStatus::Closed { .. }) => {
            (EventType::ConflictResolved, Author::Drive, Some("agreed"))
        }
        (_, ConflictStatus::Resolved(resolution)) => {
            let by = match &resolution.by {
                Decider::Person(subject) => Author::User(subject.clone()),
                Decider::Policy => Author::Policy,
            };
            (EventType::ConflictResolved, by, Some("decided"))
        }
    };
    let field = super::file_events::name(&after.id.field);
    let keeping = if after.keeping.is_some() {
        "-keeping"
    } else {
        ""
    };
    Some(Event {
        kind,
        subject: Subject::File(after.id.file.clone()),
        state: format!("{field}-{}-{}{keeping}", after.id.number, after.moves),
        at,
        by,
        cause: after.cause,
        details: Details {
            fields: vec![field],
            conflict: Some(after.id.clone()),
            reason: reason.map(str::to_owned),
            ..Details::default()
        },
    })
}

/// Returns the event of a change of a file's content state: a version was stored, or could not be
/// had for another reason than before.
#[must_use]
pub fn content_events(
    file: &FileId,
    before: Option<&ContentState>,
    after: &ContentState,
    at: Timestamp,
) -> Option<Event> {
    let stored = |state: &ContentState| match &state.outcome {
        Some((number, ContentOutcome::Stored)) => Some(*number),
        Some((
            _,
            ContentOutcome::Unavailable { .. }
            | ContentOutcome::Skipped { .. }
            | ContentOutcome::Released,
        ))
        | None => None,
    };
    let trouble = |state: &ContentState| {
        let trouble = state.trouble.as_ref();
        trouble.map(|trouble| trouble.reason.clone())
    };
    let details = |version, reason| Details {
        version,
        reason,
        fields: vec!["content".to_owned()],
        ..Details::default()
    };
    let (version, reason) = (stored(after), trouble(after));
    let (kind, details) = if version.is_some() && before.and_then(stored) != version {
        (EventType::ContentStored, details(version, None))
    } else if reason.is_some() && before.and_then(trouble) != reason {
        (EventType::ContentFailed, details(None, reason))
    } else {
        return None;
    };
    Some(Event {
        kind,
        subject: Subject::File(file.clone()),
        state: format!("content-{}", after.revision),
        at,
        by: Author::App,
        cause: None,
        details,
    })
}

/// Returns the event of a change of an operation. Of listings, beginning, progress and end are
/// told; of every kind, that a person must confirm it.
#[must_use]
pub fn operation_events(
    before: Option<&Operation>,
    after: &Operation,
    at: Timestamp,
) -> Option<Event> {
    let state = after.state();
    let awaits = OperationState::AwaitingConfirmation;
    let (kind, reason) = if state == awaits && before.is_none_or(|before| before.state() != awaits)
    {
        (EventType::OperationAwaitingConfirmation, None)
    } else if !matches!(after.run, Run::Sync(_)) || before.is_some_and(Operation::has_ended) {
        return None;
    } else {
        match (after.run.end(), before) {
            (Some(End::Done), _) => (EventType::SyncCompleted, None),
            (Some(End::Cancelled), _) => (EventType::SyncFailed, Some("cancelled".to_owned())),
            (Some(End::Failed { reason }), _) => (EventType::SyncFailed, Some(reason.clone())),
            (None, None) => (EventType::SyncStarted, None),
            (None, Some(before)) if progress(before) != progress(after) => {
                (EventType::SyncProgress, None)
            }
            (None, Some(_)) => return None,
        }
    };
    let (listed, arrived) = progress(after);
    Some(Event {
        kind,
        subject: Subject::Operation(after.id.clone()),
        state: if kind == EventType::SyncProgress {
            format!("{listed}-{arrived}")
        } else {
            state.label().to_owned()
        },
        at,
        by: Author::App,
        cause: after.cause,
        details: Details {
            operation: Some(after.kind()),
            listed: Some(listed),
            reason,
            ..Details::default()
        },
    })
}

/// Returns the number of files that were listed, and of those that have arrived.
fn progress(operation: &Operation) -> (u64, u64) {
    match &operation.run {
        Run::Sync(sync) => (sync.listing.listed, sync.verified),
        Run::Audit(_)
        | Run::LeaveDrive(_)
        | Run::ContentScan(_)
        | Run::Erase(_)
        | Run::Export(_)
        | Run::ErasePerson(_)
        | Run::EraseTenant(_)
        | Run::Restore(_) => (0, 0),
    }
}

/// What a connection's state means to readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionSync {
    /// It is synced.
    Active,
    /// A person paused it.
    Paused,
    /// It is not synced until a person resumes it, for this reason.
    Suspended {
        /// The reason.
        reason: String,
    },
}

/// Returns the event of a change of a connection's state. `revision` is that of the connection.
#[must_use]
pub fn connection_events(
    before: &ConnectionSync,
    after: &ConnectionSync,
    revision: u64,
    at: Timestamp,
) -> Option<Event> {
    let (kind, reason) = match (before, after) {
        (before, after) if before == after => return None,
        (_, ConnectionSync::Suspended { reason }) => {
            (EventType::ConnectionSuspended, Some(reason.clone()))
        }
        (_, ConnectionSync::Active) => (EventType::ConnectionResumed, None),
        (_, ConnectionSync::Paused) => return None,
    };
    Some(Event {
        kind,
        subject: Subject::Connection,
        state: revision.to_string(),
        at,
        by: Author::App,
        cause: None,
        details: Details {
            reason,
            ..Details::default()
        },
    })
}

/// Returns the event of an input that was set aside. `revision` is that of the dead letter: one
/// that is set aside again is reported again.
#[must_use]
pub fn parked_event(
    id: &str,
    revision: u64,
    file: Option<&FileId>,
    reason: &str,
    cause: Option<Cause>,
    at: Timestamp,
) -> Event {
    Event {
        kind: EventType::DeadLetterParked,
        subject: match file {
            Some(file) => Subject::File(file.clone()),
            None => Subject::DeadLetter(id.to_owned()),
        },
        state: format!("{id}-{revision}"),
        at,
        by: Author::App,
        cause,
        details: Details {
            reason: Some(reason.to_owned()),
            ..Details::default()
        },
    }
}
