//! A connection as callers see it, and what in it needs attention.

use domain::{Account, ConnectionKey, Operation};
use serde::Serialize;
use store::{Connection, ConnectionState};
use utoipa::ToSchema;

use crate::Deps;
use crate::connections::access_body::{self, AccessEntryBody};
use crate::connections::connection_body::{ScopeBody, SecretNames};
use crate::connections::content_settings_body::ContentSettingsBody;
use crate::connections::limits_body::LimitsBody;
use crate::connections::policies_body::PoliciesBody;
use crate::connections::rules_body::RulesBody;
use crate::http::Problem;
use crate::operations::operation_view::OperationView;

/// A Drive account or a shared drive that is synced.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Connection)]
pub(crate) struct ConnectionView {
    id: String,
    /// The `ETag`.
    revision: u64,
    name: String,
    scope: ScopeBody,
    /// The name of the tenant's secret.
    secret: String,
    subject: Option<String>,
    quota_user: Option<String>,
    binding: BindingView,
    limits: LimitsBody,
    policies: PoliciesBody,
    rules: RulesBody,
    content: ContentSettingsBody,
    /// The callers that it is narrowed to, besides administrators; null if it is open to every
    /// caller of the tenant.
    access: Option<Vec<AccessEntryBody>>,
    /// The domains within which sharing stays with the tenant; null for that of `subject`.
    own_domains: Option<Vec<String>>,
    /// The share of a log's files that a comparison may remove without confirmation, in percent.
    removal_share_percent_max: u8,
    /// The number of files that may always be removed without confirmation.
    removals_unasked_max: u32,
    /// The interval in days at which the files of each log are listed and compared with the stored
    /// records; 0 for never.
    comparison_interval_days: u16,
    state: StateView,
    /// The reason and the time of a suspension.
    suspension: Option<SuspensionView>,
    /// Whether what it owes to Drive is held back, since it was restored: until
    /// `POST .../restore/confirm`.
    owed_held: bool,
    created_at: String,
    created_by: String,
    /// The latest operation; only if a single connection was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_operation: Option<OperationView>,
}

/// `bound`: the connection is held to what its secret allows, whenever it works. `unbound`: it was
/// made before secrets said whose Drive they may reach, and keeps what it has until its `secret` or
/// `subject` is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Binding)]
pub(crate) enum BindingView {
    Bound,
    Unbound,
}

impl BindingView {
    fn of(account: &Account) -> Self {
        if account.bound {
            Self::Bound
        } else {
            Self::Unbound
        }
    }
}

/// `suspended`: no call to Drive can succeed until the cause is fixed and the connection resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ConnectionState)]
pub(crate) enum StateView {
    Active,
    Paused,
    Suspended,
    Deleting,
}

/// The reason and the time of a connection's suspension.
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
    pub(crate) fn new(connection: &Connection, secrets: SecretNames<'_>) -> Self {
        let (state, suspension) = StateView::of(&connection.state);
        Self {
            id: connection.key.connection.to_string(),
            revision: connection.revision,
            name: connection.name.clone(),
            scope: ScopeBody::from(&connection.scope),
            secret: secrets.short(&connection.secret_id).to_owned(),
            subject: connection.subject.clone(),
            quota_user: connection.quota_user.clone(),
            binding: BindingView::of(&connection.account),
            limits: LimitsBody::complete(&connection.limits),
            policies: PoliciesBody::from(&connection.policies),
            rules: RulesBody::from(&connection.rules),
            content: ContentSettingsBody::from(&connection.content),
            access: connection.access.as_ref().map(access_body::entries),
            own_domains: access_body::domains(connection.own_domains.as_ref()),
            removal_share_percent_max: connection.removals.share_percent_max,
            removals_unasked_max: connection.removals.unasked_max,
            comparison_interval_days: connection.comparison_interval.days,
            state,
            suspension,
            owed_held: connection.owed_held,
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

/// The files that need attention. Counted in an eventually consistent index.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
#[schema(as = Attention)]
pub(crate) struct AttentionView {
    open_conflicts: u64,
    /// Files with something to push.
    owed: u64,
    /// Files with nothing to push and something that has been given up.
    failed: u64,
    /// Files whose content could not be had; it is asked for again.
    content_unavailable: u64,
    /// Whether counting stopped at a bound, so that there may be more.
    more: bool,
}

/// Counts the files of a connection that need attention.
pub(crate) async fn count_attention(
    deps: &Deps,
    key: &ConnectionKey,
) -> Result<AttentionView, Problem> {
    let counted = deps.store.count_attention(key).await?;
    Ok(AttentionView {
        open_conflicts: counted.open_conflicts,
        owed: counted.owed,
        failed: counted.failed,
        content_unavailable: counted.content_unavailable,
        more: counted.more,
    })
}

impl AttentionView {
    /// Adds the counts of another connection.
    pub(crate) fn add(&mut self, other: Self) {
        self.open_conflicts += other.open_conflicts;
        self.owed += other.owed;
        self.failed += other.failed;
        self.content_unavailable += other.content_unavailable;
        self.more |= other.more;
    }
}
