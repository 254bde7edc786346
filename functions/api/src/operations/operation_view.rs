//! An operation as callers see it.

use std::collections::BTreeMap;

use domain::operation::{ErasedCounts, Stop, StopReason};
use domain::{InconsistencyCount, InconsistencyKind, Operation, OperationKind, OperationState};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::view_enum;
use crate::operations::restore_view::RestoreView;

/// A tracked run. Its counts are estimates until it is done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Operation)]
pub(crate) struct OperationView {
    id: String,
    log: String,
    kind: KindView,
    state: OperationStateView,
    /// The reason of a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Pages that have been queued.
    pages: u32,
    /// Files on them.
    listed: u64,
    /// Files that have been found stored or set aside as dead letters since then.
    verified: u64,
    /// Files of these that are set aside as dead letters.
    errors: u64,
    /// The second listing, with which the stored records are compared: a run that lists every file
    /// is not done without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    second_look: Option<SecondLookView>,
    /// The last stop of the listing: Drive's pages did not lead to an end, or Drive says that the
    /// listing is incomplete. Absent once the listing has reached its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<StopView>,
    /// Whether it reports without changing anything.
    dry_run: bool,
    /// The differences that the comparison with the stored records has found;
    /// `GET .../operations/{id}/drift` names each file. Only if there is a comparison.
    #[serde(skip_serializing_if = "Option::is_none")]
    drift: Option<DriftView>,
    /// The inconsistencies among the stored items that an audit has found, by kind. Kinds without
    /// any are left out, so that an empty object means that there are none. `GET
    /// .../operations/{id}/findings` names each, and the README explains the kinds. Counted at the
    /// end of the examination, and again at the end of the audit. Only for audits.
    #[serde(skip_serializing_if = "Option::is_none")]
    findings: Option<BTreeMap<String, FindingCount>>,
    /// What was erased so far, by kind; in a dry run, what would be. Only for erasures.
    #[serde(skip_serializing_if = "Option::is_none")]
    erased: Option<BTreeMap<String, u64>>,
    /// What a restore has found and done; `GET .../operations/{id}/findings` names each file. Only
    /// for restores.
    #[serde(skip_serializing_if = "Option::is_none")]
    restore: Option<RestoreView>,
    started_at: String,
    finished_at: Option<String>,
    by: String,
    /// Since when it waits to be confirmed or cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    awaiting_since: Option<String>,
    /// The decision of a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<DecisionView>,
    /// The cause of all that it does: of the request, notification or schedule that created it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{32}$")]
    cause: Option<String>,
}

/// The second listing of an operation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SecondLook)]
pub(crate) struct SecondLookView {
    /// Pages that have been listed.
    pages: u32,
    /// Files on them.
    listed: u64,
}

/// The reading of a list of Drive's that was stopped and is continued later. Nothing is lost.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Stop)]
pub(crate) struct StopView {
    reason: StopReasonView,
    /// The time of the first stop.
    since: String,
    /// The number of stops since then.
    attempts: u32,
    /// The time of the next attempt.
    next_attempt_at: String,
}

view_enum! {
    /// `token_repeats`: Drive returned a token of the next page that it had returned before.
    /// `entries_repeat`: a page has the same entries as an earlier one. `empty_pages`: too many
    /// pages in a row are empty. `too_many_pages`: there is no end. `token_refused`: Drive refuses
    /// the token of the next page that it returned. `incomplete`: Drive says that the listing is
    /// incomplete.
    #[derive(Debug, Clone, Copy, Serialize, ToSchema)]
    #[serde(rename_all = "snake_case")]
    #[schema(as = StopReason)]
    enum StopReasonView = StopReason {
        TokenRepeats,
        EntriesRepeat,
        EmptyPages,
        TooManyPages,
        TokenRefused,
        Incomplete,
    }
}

impl From<&Stop> for StopView {
    fn from(stop: &Stop) -> Self {
        Self {
            reason: stop.reason.into(),
            since: stop.since.to_string(),
            attempts: stop.attempts,
            next_attempt_at: stop.until.to_string(),
        }
    }
}

/// The differences between a log's files and the stored records. Exact once they are verified: each
/// file has been read from Drive.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DriftCounts)]
pub(crate) struct DriftView {
    /// Stored files of the log that are present.
    #[serde(rename = "held")]
    present: u64,
    /// In Drive, and not stored.
    missing_here: u64,
    /// Stored, and no longer in Drive: these would be removed.
    missing_there: u64,
    /// Stored at an older version.
    stale: u64,
    /// Stored at the same version with other values.
    differing: u64,
}

/// The decision of a person about an operation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Decision)]
pub(crate) struct DecisionView {
    /// Whether it was confirmed; otherwise it was cancelled.
    confirmed: bool,
    by: String,
    at: String,
}

view_enum! {
    #[derive(Debug, Clone, Copy, Serialize, ToSchema)]
    #[serde(rename_all = "snake_case")]
    #[schema(as = OperationKind)]
    enum KindView = OperationKind {
        InitialSync,
        Delta,
        Resync,
        Audit,
        /// The files of a shared drive that can no longer be accessed are marked.
        #[serde(rename = "leave")]
        LeaveDrive,
        /// The content of every file is scanned. `listed` counts the files.
        #[serde(rename = "mirror")]
        ContentScan,
        /// A connection that was deleted is erased; in a dry run, what would be erased is counted.
        Erase,
        /// What is stored is written to files: see `GET /v1/exports`.
        Export,
        /// A person is erased: see `GET /v1/people/erasures`.
        ErasePerson,
        /// The tenant is erased: see `GET /v1/tenant/erasures`.
        EraseTenant,
        /// Files are set back to a point in time: see `restore`.
        Restore,
    }
}

view_enum! {
    /// `examining`: the stored items are checked for inconsistencies. `listed`: every page has been
    /// listed, the queued files are being processed, and then every file is listed a second time.
    /// `comparing`: stored files that were not listed are collected; files are compared with their
    /// history. `verifying`: each file that seems to differ is read from Drive.
    /// `awaiting_confirmation`: more files would be removed or set back than allowed; nothing has
    /// been changed, and a person must confirm or cancel. `repairing`: the differences are queued.
    /// `restoring`: files are set back. `waiting`: an erasure has not begun. `erasing`: items and
    /// objects are deleted. `draining`: work that began before the deletion may still run; what it
    /// leaves is looked for when all of it has ended. `exporting`, `ready`, `cancelling`: an export
    /// is being written; is complete; was cancelled.
    #[derive(Debug, Clone, Copy, Serialize, ToSchema)]
    #[serde(rename_all = "snake_case")]
    #[schema(as = OperationState)]
    pub(crate) enum OperationStateView = OperationState {
        #[serde(rename = "examining")]
        SelfChecking,
        Listing,
        Listed,
        Comparing,
        Verifying,
        AwaitingConfirmation,
        Repairing,
        Restoring,
        Waiting,
        Erasing,
        Draining,
        Exporting,
        Ready,
        Cancelling,
        Done,
        Cancelled,
        Failed,
    }
}

/// The number of findings of one kind.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FindingCount {
    found: u64,
    /// The number of those that have been repaired. The others need a person; in a dry run, none is
    /// repaired.
    repaired: u64,
}

/// Returns the counts of an erasure by the names of their kinds.
pub(crate) fn named(counts: &ErasedCounts) -> BTreeMap<String, u64> {
    let named = counts.iter();
    named
        .map(|(kind, count)| (kind.label().to_owned(), *count))
        .collect()
}

/// Returns an audit's counts of findings by kind.
fn counts(
    inconsistencies: &BTreeMap<InconsistencyKind, InconsistencyCount>,
) -> BTreeMap<String, FindingCount> {
    let count = |(kind, count): (&InconsistencyKind, &InconsistencyCount)| {
        let of_kind = FindingCount {
            found: count.found,
            repaired: count.repaired,
        };
        (kind.label().to_owned(), of_kind)
    };
    inconsistencies.iter().map(count).collect()
}

impl OperationView {
    pub(crate) fn new(operation: &Operation) -> Self {
        let form = operation.form();
        let drift = operation.comparison().map(|found| found.counts);
        let audit = operation.audit();
        Self {
            id: operation.id.to_string(),
            log: operation.log.to_string(),
            kind: form.kind.into(),
            state: form.state.into(),
            reason: form.reason,
            pages: form.pages,
            listed: form.listed,
            verified: form.verified,
            errors: form.errors,
            second_look: form.second_look.map(|second| SecondLookView {
                pages: second.pages,
                listed: second.listed,
            }),
            stopped: form.stop.as_ref().map(StopView::from),
            dry_run: form.dry_run,
            drift: drift.map(|counts| DriftView {
                present: counts.present,
                missing_here: counts.missing_here,
                missing_there: counts.missing_there,
                stale: counts.stale,
                differing: counts.differing,
            }),
            findings: audit.map(|audit| counts(&audit.inconsistencies)),
            erased: operation.erasure().map(|erase| named(&erase.counts)),
            restore: operation.restore().map(RestoreView::new),
            started_at: operation.started_at.to_string(),
            finished_at: operation.finished_at.map(|at| at.to_string()),
            by: operation.by.clone(),
            awaiting_since: form.since.map(|since| since.to_string()),
            decision: form.comparison.decision.map(|decision| DecisionView {
                confirmed: decision.confirmed,
                by: decision.by,
                at: decision.at.to_string(),
            }),
            cause: operation.cause.map(|cause| cause.to_string()),
        }
    }
}
