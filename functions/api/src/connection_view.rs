//! A connection as callers see it.

use std::collections::BTreeMap;

use serde::Serialize;
use store::{Connection, ConnectionState, Operation, OperationKind, OperationState};
use utoipa::ToSchema;

use crate::connection_body::{ScopeBody, Secrets};
use crate::content_settings::ContentSettingsBody;
use crate::findings::{self, FindingCount};
use crate::limits::LimitsBody;
use crate::policies::PoliciesBody;
use crate::rules::RulesBody;

/// One Drive account or shared drive that is synced.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Connection)]
pub(crate) struct ConnectionView {
    id: String,
    /// The `ETag`.
    revision: u64,
    name: String,
    scope: ScopeBody,
    /// The name of the secret, among the tenant's own.
    secret: String,
    subject: Option<String>,
    quota_user: Option<String>,
    limits: LimitsBody,
    policies: PoliciesBody,
    rules: RulesBody,
    content: ContentSettingsBody,
    /// How much of a log's files a comparison may remove without asking a person, in percent.
    removal_share_percent_max: u8,
    /// So many files may be removed in any case.
    removals_unasked_max: u32,
    state: StateView,
    /// Why and since when nothing can succeed, where it is suspended.
    suspension: Option<SuspensionView>,
    created_at: String,
    created_by: String,
    /// The latest operation; only where one connection was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_operation: Option<OperationView>,
}

/// `suspended`: nothing can succeed until someone mends what is wrong and resumes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ConnectionState)]
pub(crate) enum StateView {
    Active,
    Paused,
    Suspended,
    Deleting,
}

/// Why and since when a connection is suspended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Suspension)]
pub(crate) struct SuspensionView {
    reason: String,
    at: String,
}

impl StateView {
    pub(crate) fn of(state: &ConnectionState) -> (Self, Option<SuspensionView>) {
        match state {
            ConnectionState::Active => (Self::Active, None),
            ConnectionState::Paused => (Self::Paused, None),
            ConnectionState::Deleting => (Self::Deleting, None),
            ConnectionState::Suspended { reason, at } => {
                let suspension = SuspensionView {
                    reason: reason.clone(),
                    at: at.to_string(),
                };
                (Self::Suspended, Some(suspension))
            }
        }
    }
}

impl ConnectionView {
    pub(crate) fn new(connection: &Connection, secrets: Secrets<'_>) -> Self {
        let (state, suspension) = StateView::of(&connection.state);
        Self {
            id: connection.key.connection.to_string(),
            revision: connection.revision,
            name: connection.name.clone(),
            scope: ScopeBody::from(&connection.scope),
            secret: secrets.short(&connection.secret_id).to_owned(),
            subject: connection.subject.clone(),
            quota_user: connection.quota_user.clone(),
            limits: LimitsBody::shown(&connection.limits),
            policies: PoliciesBody::from(&connection.policies),
            rules: RulesBody::from(&connection.rules),
            content: ContentSettingsBody::from(&connection.content),
            removal_share_percent_max: connection.removals.share_percent_max,
            removals_unasked_max: connection.removals.unasked_max,
            state,
            suspension,
            created_at: connection.created_at.to_string(),
            created_by: connection.created_by.clone(),
            last_operation: None,
        }
    }

    pub(crate) fn with_operation(mut self, operation: Option<&Operation>) -> Self {
        self.last_operation = operation.map(OperationView::new);
        self
    }
}

/// One tracked run. Its counts are hints until it is done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Operation)]
pub(crate) struct OperationView {
    id: String,
    log: String,
    kind: KindView,
    state: OperationStateView,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Pages that were queued.
    pages: u32,
    /// Files on them.
    listed: u64,
    /// Files that were found stored or parked since.
    verified: u64,
    /// Files that were parked.
    errors: u64,
    /// Whether it only reports, and changes nothing.
    dry_run: bool,
    /// What the comparison with our records has found; `GET .../operations/{id}/drift` names each file.
    /// Only where there is a comparison.
    #[serde(skip_serializing_if = "Option::is_none")]
    drift: Option<DriftView>,
    /// What an audit found wrong among our own items, by kind; kinds of which nothing was found are left out, so
    /// that nothing here means that all is well. `GET .../operations/{id}/findings` names each, and the README says
    /// what each means. Counted when the examination has ended, and once more when the audit has. Only of audits.
    #[serde(skip_serializing_if = "Option::is_none")]
    findings: Option<BTreeMap<String, FindingCount>>,
    started_at: String,
    finished_at: Option<String>,
    by: String,
    /// Since when it waits for a person to confirm it, or to cancel.
    #[serde(skip_serializing_if = "Option::is_none")]
    awaiting_since: Option<String>,
    /// What a person said.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<DecisionView>,
}

/// What a comparison of a log's files with our records has found. Exact once it is verified: Drive was asked
/// about each file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DriftCounts)]
pub(crate) struct DriftView {
    /// Our present files of the log.
    held: u64,
    /// In Drive, and not here.
    missing_here: u64,
    /// Here, and not in Drive any more: what would be removed.
    missing_there: u64,
    /// Here at an older version.
    stale: u64,
    /// Here at the same version, with other values.
    differing: u64,
}

/// A person's word on an operation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Decision)]
pub(crate) struct DecisionView {
    /// Whether it goes on; otherwise it was cancelled.
    confirmed: bool,
    by: String,
    at: String,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = OperationKind)]
enum KindView {
    InitialSync,
    Delta,
    Resync,
    Audit,
    /// The files of a shared drive that was left are marked.
    Leave,
    /// The content of every file is looked at. `listed` counts the files.
    Mirror,
}

/// `examining`: our own items are looked through. `listed`: every page is listed, and what was queued is on its way. `comparing`: which of our files were not
/// listed? `verifying`: Drive is asked about each file that seems to differ. `awaiting_confirmation`: more would
/// be removed than may be; nothing was changed, and a person must confirm or cancel. `repairing`: what was found
/// is queued.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = OperationState)]
enum OperationStateView {
    Examining,
    Listing,
    Listed,
    Comparing,
    Verifying,
    AwaitingConfirmation,
    Repairing,
    Done,
    Cancelled,
    Failed,
}

impl OperationView {
    pub(crate) fn new(operation: &Operation) -> Self {
        let (state, reason) = match &operation.state {
            OperationState::Examining => (OperationStateView::Examining, None),
            OperationState::Listing => (OperationStateView::Listing, None),
            OperationState::Listed => (OperationStateView::Listed, None),
            OperationState::Comparing => (OperationStateView::Comparing, None),
            OperationState::Verifying => (OperationStateView::Verifying, None),
            OperationState::AwaitingConfirmation { .. } => {
                (OperationStateView::AwaitingConfirmation, None)
            }
            OperationState::Repairing => (OperationStateView::Repairing, None),
            OperationState::Done => (OperationStateView::Done, None),
            OperationState::Cancelled => (OperationStateView::Cancelled, None),
            OperationState::Failed { reason } => (OperationStateView::Failed, Some(reason.clone())),
        };
        Self {
            id: operation.id.to_string(),
            log: operation.log.to_string(),
            kind: match operation.kind {
                OperationKind::InitialSync => KindView::InitialSync,
                OperationKind::Delta => KindView::Delta,
                OperationKind::Resync => KindView::Resync,
                OperationKind::Audit => KindView::Audit,
                OperationKind::Leave => KindView::Leave,
                OperationKind::Mirror => KindView::Mirror,
            },
            state,
            reason,
            pages: operation.pages,
            listed: operation.listed,
            verified: operation.verified,
            errors: operation.errors,
            dry_run: operation.dry_run,
            drift: operation.compares().then_some(DriftView {
                held: operation.drift.held,
                missing_here: operation.drift.missing_here,
                missing_there: operation.drift.missing_there,
                stale: operation.drift.stale,
                differing: operation.drift.differing,
            }),
            findings: (operation.kind == OperationKind::Audit).then(|| findings::counts(operation)),
            started_at: operation.started_at.to_string(),
            finished_at: operation.finished_at.map(|at| at.to_string()),
            by: operation.by.clone(),
            awaiting_since: match &operation.state {
                OperationState::AwaitingConfirmation { since } => Some(since.to_string()),
                OperationState::Examining
                | OperationState::Listing
                | OperationState::Listed
                | OperationState::Comparing
                | OperationState::Verifying
                | OperationState::Repairing
                | OperationState::Done
                | OperationState::Cancelled
                | OperationState::Failed { .. } => None,
            },
            decision: operation.decision.as_ref().map(|decision| DecisionView {
                confirmed: decision.confirmed,
                by: decision.by.clone(),
                at: decision.at.to_string(),
            }),
        }
    }
}
