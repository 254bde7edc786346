//! A connection as callers see it.

use serde::Serialize;
use store::{Connection, ConnectionState, Operation, OperationKind, OperationState};
use utoipa::ToSchema;

use crate::connection_body::{ScopeBody, Secrets};
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
    started_at: String,
    finished_at: Option<String>,
    by: String,
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
}

/// `listed`: every page is queued, and its files are on their way.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = OperationState)]
enum OperationStateView {
    Listing,
    Listed,
    Done,
    Failed,
}

impl OperationView {
    pub(crate) fn new(operation: &Operation) -> Self {
        let (state, reason) = match &operation.state {
            OperationState::Listing => (OperationStateView::Listing, None),
            OperationState::Listed => (OperationStateView::Listed, None),
            OperationState::Done => (OperationStateView::Done, None),
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
            },
            state,
            reason,
            pages: operation.pages,
            listed: operation.listed,
            verified: operation.verified,
            errors: operation.errors,
            started_at: operation.started_at.to_string(),
            finished_at: operation.finished_at.map(|at| at.to_string()),
            by: operation.by.clone(),
        }
    }
}
