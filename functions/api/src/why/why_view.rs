//! Why a file or a connection is as it is, as callers see it.

use domain::Timestamp;
use domain::why::{Reason, ReasonGroup, ReasonKind, Why};
use serde::Serialize;
use utoipa::ToSchema;

use crate::conflicts::conflict_id;
use crate::connections::rules_body::RuleBody;
use crate::http::view_enum;

/// Why a file or a connection is as it is: the reason that a person must act on first, or else the
/// one that explains most, and all others.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Why)]
pub(crate) struct WhyView {
    #[serde(flatten)]
    first: ReasonView,
    /// The other reasons, those that a person must act on first.
    also: Vec<ReasonView>,
    /// The time up to which Drive's changes were read: what changed there since then is not known
    /// yet. Null if nothing was read yet.
    as_of: Option<String>,
}

/// One reason.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Explanation)]
pub(crate) struct ReasonView {
    reason: ReasonNameView,
    group: ReasonGroupView,
    /// The reason in one sentence. Times are in UTC. What is not this system's own word is in
    /// quotes.
    sentence: String,
    /// What a person can do; null if there is nothing to do.
    what_to_do: Option<&'static str>,
    /// Since when it is so.
    since: Option<String>,
    /// When it is tried again by itself.
    next_try_at: Option<String>,
    /// The field, if it is about a single one.
    field: Option<String>,
    /// The conflict that must be decided.
    conflict_id: Option<String>,
    /// The rule that leaves the file out; null if no `include` rule takes it in.
    rule: Option<RuleBody>,
    /// The operation.
    operation_id: Option<String>,
    /// What Drive answered, or the reason of this system, as a word.
    detail: Option<String>,
    /// The number of attempts that failed; of a connection, the number of files or conflicts, of
    /// each kind 1,000 at most.
    count: Option<u64>,
}

view_enum! {
    /// `needs_person`: it does not end by itself. `waits`: it ends by itself, or with the file's
    /// next change. `in_step`: both sides are in step. `note`: it explains how they are kept so.
    #[derive(Debug, Clone, Copy, Serialize, ToSchema)]
    #[serde(rename_all = "snake_case")]
    #[schema(as = ReasonGroup)]
    enum ReasonGroupView = ReasonGroup {
        NeedsPerson,
        Waits,
        InStep,
        Note,
    }
}

view_enum! {
    /// The name of a reason. The names are in the order in which reasons are shown.
    #[derive(Debug, Clone, Copy, Serialize, ToSchema)]
    #[serde(rename_all = "snake_case")]
    #[schema(as = ReasonName)]
    enum ReasonNameView = ReasonKind {
        Deleted,
        Suspended,
        Conflict,
        EditRefused,
        DriveLeft,
        AccessLost,
        AwaitsConfirmation,
        OwedHeld,
        Paused,
        Parked,
        Removed,
        MovedAway,
        Excluded,
        Listing,
        LogStopped,
        DriveFails,
        DriveAsksToWait,
        WritesRefused,
        QuotaUsed,
        WritesLimited,
        UploadsPaused,
        SharingPaused,
        EditRefusedForNow,
        KeepingBoth,
        Owed,
        OutcomeUnknown,
        InDoubt,
        ParkedForNow,
        ContentUnavailable,
        PermissionsUnknown,
        Trashed,
        InStep,
        ContentLeftOut,
        NoChannel,
        Operation,
    }
}

impl WhyView {
    pub(crate) fn new(why: &Why, as_of: Option<Timestamp>) -> Self {
        Self {
            first: ReasonView::new(&why.first),
            also: why.also.iter().map(ReasonView::new).collect(),
            as_of: as_of.map(|at| at.to_string()),
        }
    }
}

impl ReasonView {
    fn new(reason: &Reason) -> Self {
        Self {
            reason: reason.kind.into(),
            group: reason.kind.group().into(),
            sentence: reason.sentence.clone(),
            what_to_do: reason.what_to_do,
            since: reason.since.map(|at| at.to_string()),
            next_try_at: reason.next_try_at.map(|at| at.to_string()),
            field: reason.field.as_ref().map(domain::Field::label),
            conflict_id: reason.conflict.as_ref().map(conflict_id::encode),
            rule: reason.rule.as_ref().map(RuleBody::from),
            operation_id: reason.operation.as_ref().map(ToString::to_string),
            detail: reason.detail.clone(),
            count: reason.count,
        }
    }
}
