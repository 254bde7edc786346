//! A connection in the form that its item stores.

use std::collections::{BTreeMap, BTreeSet};

use domain::operation::ComparisonInterval;
use domain::{
    Account, AccountId, ConnectionId, ConnectionKey, EndpointId, FileId, FolderPolicies, InvalidId,
    OperationId, Policies, Policy, Resolver, TenantId,
};
use serde::{Deserialize, Serialize};

use crate::connection::access_item::AccessItem;
use crate::connection::content_settings_item::ContentSettingsItem;
use crate::connection::deletion_item::DeletionItem;
use crate::connection::limits_item::LimitsItem;
use crate::connection::removal_limits_item::RemovalLimitsItem;
use crate::connection::rules_item::RulesItem;
use crate::file::file_item::RequestItem;
use crate::file::value_item::at;
use crate::table::item::{Encoded, decode, encode};
use crate::table::key::{Item, Key, tenant_pk};
use crate::{Connection, ConnectionState, Scope, StoreError};

#[derive(Serialize, Deserialize)]
struct Body {
    revision: u64,
    name: String,
    /// The shared drive's id; absent for the user's own log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shared_drive: Option<String>,
    secret_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quota_user: Option<String>,
    #[serde(default)]
    limits: LimitsItem,
    policy: PolicyItem,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    policies: BTreeMap<String, PolicyItem>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    folder_policies: BTreeMap<String, FolderPoliciesItem>,
    /// The resolver of the default policy. Where there is one, the policy is stored as `manual`: a
    /// build that asks no resolver leaves the decision to a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resolver: Option<ResolverItem>,
    /// Those of the exceptions, in the same way.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    resolvers: BTreeMap<String, ResolverItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rules: Option<RulesItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<ContentSettingsItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account_comparison: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    bound: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    my_drive: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    access: Option<AccessItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    own_domains: Option<BTreeSet<String>>,
    #[serde(default)]
    removals: RemovalLimitsItem,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comparison_days: Option<u16>,
    state: StateItem,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    generation: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deletion: Option<DeletionItem>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    owed_held: bool,
    created_at: i64,
    created_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_request: Option<RequestItem>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PolicyItem {
    Manual,
    DriveWins,
    AppWins,
    LastWriterWins { window_millis: i64 },
    MostRestrictive,
    KeepBoth,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateItem {
    Active,
    Paused,
    Suspended { reason: String, at: i64 },
    Deleting,
}

/// A policy's resolver.
#[derive(Serialize, Deserialize)]
struct ResolverItem {
    webhook: String,
    seconds_max: u32,
}

impl ResolverItem {
    fn of(policy: &Policy) -> Option<Self> {
        policy.resolver().map(|resolver| Self {
            webhook: resolver.endpoint.to_string(),
            seconds_max: resolver.seconds_max,
        })
    }

    /// Returns the resolvers of exceptions.
    fn of_fields(fields: &BTreeMap<String, Policy>) -> BTreeMap<String, Self> {
        let resolvers = fields.iter();
        resolvers
            .filter_map(|(label, policy)| Some((label.clone(), Self::of(policy)?)))
            .collect()
    }
}

/// Returns a policy: that of the resolver, if there is one.
fn policy_of(item: PolicyItem, resolver: Option<ResolverItem>) -> Result<Policy, InvalidId> {
    let Some(resolver) = resolver else {
        return Ok(item.into());
    };
    Ok(Policy::Webhook(Resolver {
        endpoint: EndpointId::parse(&resolver.webhook)?,
        seconds_max: resolver.seconds_max,
    }))
}

/// Returns the exceptions with their resolvers.
fn fields_of(
    policies: BTreeMap<String, PolicyItem>,
    mut resolvers: BTreeMap<String, ResolverItem>,
) -> Result<BTreeMap<String, Policy>, InvalidId> {
    let policies = policies.into_iter();
    let policies = policies.map(|(label, item)| {
        let policy = policy_of(item, resolvers.remove(&label))?;
        Ok((label, policy))
    });
    policies.collect()
}

impl From<&Policy> for PolicyItem {
    fn from(policy: &Policy) -> Self {
        match policy {
            Policy::Manual | Policy::Webhook(_) => Self::Manual,
            Policy::DriveWins => Self::DriveWins,
            Policy::AppWins => Self::AppWins,
            Policy::LastWriterWins { window_millis } => Self::LastWriterWins {
                window_millis: *window_millis,
            },
            Policy::MostRestrictive => Self::MostRestrictive,
            Policy::KeepBoth => Self::KeepBoth,
        }
    }
}

impl From<PolicyItem> for Policy {
    fn from(item: PolicyItem) -> Self {
        match item {
            PolicyItem::Manual => Self::Manual,
            PolicyItem::DriveWins => Self::DriveWins,
            PolicyItem::AppWins => Self::AppWins,
            PolicyItem::LastWriterWins { window_millis } => Self::LastWriterWins { window_millis },
            PolicyItem::MostRestrictive => Self::MostRestrictive,
            PolicyItem::KeepBoth => Self::KeepBoth,
        }
    }
}

impl From<&ConnectionState> for StateItem {
    fn from(state: &ConnectionState) -> Self {
        match state {
            ConnectionState::Active => Self::Active,
            ConnectionState::Paused => Self::Paused,
            ConnectionState::Suspended { reason, at } => Self::Suspended {
                reason: reason.clone(),
                at: at.as_millis(),
            },
            ConnectionState::Deleting => Self::Deleting,
        }
    }
}

impl From<StateItem> for ConnectionState {
    fn from(item: StateItem) -> Self {
        match item {
            StateItem::Active => Self::Active,
            StateItem::Paused => Self::Paused,
            StateItem::Suspended { reason, at: millis } => Self::Suspended {
                reason,
                at: at(millis),
            },
            StateItem::Deleting => Self::Deleting,
        }
    }
}

/// The policies of a folder.
#[derive(Serialize, Deserialize)]
struct FolderPoliciesItem {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<PolicyItem>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    policies: BTreeMap<String, PolicyItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resolver: Option<ResolverItem>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    resolvers: BTreeMap<String, ResolverItem>,
}

impl FolderPoliciesItem {
    fn into_policies(self) -> Result<FolderPolicies, InvalidId> {
        let resolver = self.resolver;
        let default = self.policy.map(|item| policy_of(item, resolver));
        Ok(FolderPolicies {
            default: default.transpose()?,
            fields: fields_of(self.policies, self.resolvers)?,
        })
    }
}

fn folder_policies(policies: &Policies) -> BTreeMap<String, FolderPoliciesItem> {
    let item = |(folder, of_folder): (&FileId, &FolderPolicies)| {
        let exceptions = of_folder.fields.iter();
        let item = FolderPoliciesItem {
            policy: of_folder.default.as_ref().map(Into::into),
            policies: exceptions
                .map(|(label, policy)| (label.clone(), policy.into()))
                .collect(),
            resolver: of_folder.default.as_ref().and_then(ResolverItem::of),
            resolvers: ResolverItem::of_fields(&of_folder.fields),
        };
        (folder.to_string(), item)
    };
    policies.folders.iter().map(item).collect()
}

pub(crate) fn encode_connection(connection: &Connection) -> Result<Encoded, StoreError> {
    let exceptions = connection.policies.fields.iter();
    let body = Body {
        revision: connection.revision,
        name: connection.name.clone(),
        shared_drive: match &connection.scope {
            Scope::User => None,
            Scope::SharedDrive(id) => Some(id.clone()),
        },
        secret_id: connection.secret_id.clone(),
        subject: connection.subject.clone(),
        quota_user: connection.quota_user.clone(),
        limits: (&connection.limits).into(),
        policy: (&connection.policies.default).into(),
        policies: exceptions
            .map(|(label, policy)| (label.clone(), policy.into()))
            .collect(),
        folder_policies: folder_policies(&connection.policies),
        resolver: ResolverItem::of(&connection.policies.default),
        resolvers: ResolverItem::of_fields(&connection.policies.fields),
        rules: RulesItem::of(&connection.rules),
        content: ContentSettingsItem::of(&connection.content),
        account: connection.account.id.as_ref().map(AccountId::to_string),
        secret_version: connection.account.secret_version.clone(),
        account_comparison: connection
            .account
            .comparison
            .as_ref()
            .map(ToString::to_string),
        bound: connection.account.bound,
        my_drive: connection.my_drive.as_ref().map(FileId::to_string),
        access: connection.access.as_ref().map(AccessItem::of),
        own_domains: connection.own_domains.clone(),
        removals: connection.removals.into(),
        comparison_days: Some(connection.comparison_interval.days),
        state: (&connection.state).into(),
        generation: Some(connection.generation).filter(|generation| *generation > 0),
        deletion: connection.deletion.as_ref().map(DeletionItem::of),
        owed_held: connection.owed_held,
        created_at: connection.created_at.as_millis(),
        created_by: connection.created_by.clone(),
        last_request: connection.last_request.as_ref().map(Into::into),
    };
    encode(&Key::connection(&connection.key), &body)
}

pub(crate) fn decode_connection(tenant: &TenantId, item: Item) -> Result<Connection, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let id = place
        .sk
        .strip_prefix("CONN#")
        .and_then(|id| ConnectionId::parse(id).ok());
    let Some(connection) = id.filter(|_| place.pk == tenant_pk(tenant)) else {
        return Err(place.corrupt("its key is not that of a connection of this tenant"));
    };
    let my_drive = body.my_drive.as_deref().map(FileId::parse).transpose();
    let my_drive =
        my_drive.map_err(|_| place.clone().corrupt("the id of its My Drive is invalid"))?;
    let account = body.account.as_deref().map(AccountId::parse).transpose();
    let comparison = body.account_comparison.as_deref().map(OperationId::parse);
    let (Ok(account), Ok(comparison)) = (account, comparison.transpose()) else {
        return Err(place.corrupt("the id of its account or of a comparison is invalid"));
    };
    let deletion = body.deletion.map(DeletionItem::into_deletion).transpose();
    let deletion = deletion.map_err(|what| place.clone().corrupt(what))?;
    let rules = body.rules.unwrap_or_default().into_rules();
    let rules = rules.map_err(|what| place.clone().corrupt(what))?;
    let content = body.content.map(ContentSettingsItem::into_settings);
    let content = content
        .transpose()
        .map_err(|what| place.clone().corrupt(what))?;
    let access = body.access.map(AccessItem::into_access);
    let access = access
        .transpose()
        .map_err(|what| place.clone().corrupt(what))?;
    let folders = body.folder_policies.into_iter();
    let folders = folders.map(|(id, item)| Ok((FileId::parse(&id)?, item.into_policies()?)));
    let folders = folders.collect::<Result<_, InvalidId>>();
    let default = policy_of(body.policy, body.resolver);
    let fields = fields_of(body.policies, body.resolvers);
    let (Ok(folders), Ok(default), Ok(fields)) = (folders, default, fields) else {
        return Err(place.corrupt("the id of a folder or of a resolver of a policy is invalid"));
    };
    Ok(Connection {
        key: ConnectionKey {
            tenant: tenant.clone(),
            connection,
        },
        revision: body.revision,
        name: body.name,
        scope: body.shared_drive.map_or(Scope::User, Scope::SharedDrive),
        secret_id: body.secret_id,
        subject: body.subject,
        quota_user: body.quota_user,
        limits: body.limits.into(),
        policies: Policies {
            default,
            fields,
            folders,
        },
        rules,
        content: content.unwrap_or_default(),
        account: Account {
            id: account,
            secret_version: body.secret_version,
            comparison,
            bound: body.bound,
        },
        my_drive,
        access,
        own_domains: body.own_domains,
        removals: body.removals.into(),
        comparison_interval: body
            .comparison_days
            .map_or_else(ComparisonInterval::default, |days| ComparisonInterval {
                days,
            }),
        state: body.state.into(),
        generation: body.generation.unwrap_or_default(),
        deletion,
        owed_held: body.owed_held,
        created_at: at(body.created_at),
        created_by: body.created_by,
        last_request: body.last_request.map(Into::into),
    })
}
