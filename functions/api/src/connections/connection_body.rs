//! A connection's settings from JSON. All of them are checked before any is used or stored.

use std::collections::BTreeSet;

use domain::operation::ComparisonInterval;
use domain::rate_limit::Limits;
use domain::{Access, ContentSettings, LogId, Policies, RemovalLimits, Rules, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use store::{Connection, Scope};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::connections::access_body::{self, AccessEntryBody, DomainText};
use crate::connections::content_settings_body::ContentSettingsBody;
use crate::connections::limits_body::LimitsBody;
use crate::connections::policies_body::PoliciesBody;
use crate::connections::rules_body::RulesBody;
use crate::described::check::checked;
use crate::described::texts::IdText;
use crate::http::{JsonBody, Kind, Problem};

const SECRET_NAME_BYTES_MAX: usize = 64;
/// The longest e-mail address (RFC 5321: 64 for the local part, 255 for the domain, and `@`).
const SUBJECT_BYTES_MAX: usize = 320;
/// The longest `quotaUser` that Google accepts (Google API guide, "Capping API usage").
const QUOTA_USER_CHARS_MAX: usize = 40;

/// The part of Drive that a connection covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = Scope)]
pub(crate) enum ScopeBody {
    /// My Drive, and what is shared with the user.
    User {},
    /// One shared drive.
    SharedDrive {
        /// Its id.
        #[schema(value_type = IdText)]
        drive_id: String,
    },
}

/// A connection to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewConnection {
    /// Its display name: 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    scope: ScopeBody,
    /// The name of the tenant's secret with the credentials: A-Z a-z 0-9 . _ -
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]{1,64}$")]
    secret: String,
    /// The user that a service account acts as.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 320, pattern = "^\\S+$")]
    subject: Option<String>,
    /// The `quotaUser` that the calls count against if many connections act as one service account:
    /// 1 to 40 printable ASCII characters.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 40, pattern = "^[!-~]{1,40}$")]
    quota_user: Option<String>,
    #[serde(default)]
    limits: LimitsBody,
    #[serde(default)]
    policies: PoliciesBody,
    #[serde(default)]
    rules: RulesBody,
    #[serde(default)]
    content: ContentSettingsBody,
    /// Narrows the connection to these callers and to administrators: for others it does not exist.
    /// The lower of a caller's own role and the best matching entry's counts. Null: every caller of
    /// the tenant. Empty: administrators only.
    #[serde(default)]
    #[schema(max_items = 100)]
    access: Option<Vec<AccessEntryBody>>,
    /// The domains within which sharing stays with the tenant: to share beyond them needs the role
    /// `operator`. Null: the domain of `subject`, if it has one of its own.
    #[serde(default)]
    #[schema(max_items = 20, value_type = Option<Vec<DomainText>>)]
    own_domains: Option<Vec<String>>,
    /// The share of a log's files that a comparison may remove without confirmation, in percent: 0
    /// to 100.
    #[serde(default = "share_percent_max")]
    #[schema(maximum = 100)]
    removal_share_percent_max: u8,
    /// The number of files that may always be removed without confirmation.
    #[serde(default = "unasked_max")]
    #[schema(format = Int64, maximum = 4_294_967_295_u32)]
    removals_unasked_max: u32,
    /// The interval in days at which the files of each log are listed and compared with the stored
    /// records, besides the normal work: 0 to 90; 0 for never.
    #[serde(default = "comparison_days")]
    #[schema(maximum = 90)]
    comparison_interval_days: u16,
}

fn share_percent_max() -> u8 {
    RemovalLimits::default().share_percent_max
}

fn unasked_max() -> u32 {
    RemovalLimits::default().unasked_max
}

/// A merge patch of a connection's settings. Its description follows from that of
/// [`NewConnection`], except for what only a patch has.
pub(crate) struct ConnectionPatch;

impl PartialSchema for ConnectionPatch {
    fn schema() -> RefOr<Schema> {
        let description = "The settings of a connection to change. Absent members are not \
                           changed; null sets the default.";
        let replace_account = "True: the credentials may be those of another Google account, which \
                               takes the place of the one that was synced so far. All files are \
                               compared, and none is removed without confirmation.";
        let replace_account = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::Boolean, Type::Null]))
            .description(Some(replace_account));
        ObjectBuilder::new()
            .description(Some(description))
            .property("replace_account", replace_account)
            .into()
    }
}

impl ToSchema for ConnectionPatch {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((NewConnection::name().into_owned(), NewConnection::schema()));
        NewConnection::schemas(schemas);
    }
}

fn comparison_days() -> u16 {
    ComparisonInterval::default().days
}

/// The settings of a connection that can be changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConnectionSettings {
    name: String,
    secret: String,
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    quota_user: Option<String>,
    #[serde(default)]
    limits: LimitsBody,
    #[serde(default)]
    policies: PoliciesBody,
    #[serde(default)]
    rules: RulesBody,
    #[serde(default)]
    content: ContentSettingsBody,
    #[serde(default)]
    access: Option<Vec<AccessEntryBody>>,
    #[serde(default)]
    own_domains: Option<Vec<String>>,
    #[serde(default = "share_percent_max")]
    removal_share_percent_max: u8,
    #[serde(default = "unasked_max")]
    removals_unasked_max: u32,
    #[serde(default = "comparison_days")]
    comparison_interval_days: u16,
    /// True: the credentials may be those of another Google account, which takes the place of the
    /// one that was synced so far. All files are compared, and none is removed without
    /// confirmation.
    #[serde(default)]
    replace_account: bool,
}

/// Settings that have been checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CheckedSettings {
    pub(crate) name: String,
    pub(crate) secret_id: String,
    pub(crate) subject: Option<String>,
    pub(crate) quota_user: Option<String>,
    pub(crate) limits: Limits,
    pub(crate) policies: Policies,
    pub(crate) rules: Rules,
    pub(crate) content: ContentSettings,
    pub(crate) access: Option<Access>,
    pub(crate) own_domains: Option<BTreeSet<String>>,
    pub(crate) removals: RemovalLimits,
    pub(crate) comparison_interval: ComparisonInterval,
    pub(crate) replace_account: bool,
}

/// The names of a tenant's secrets. None of them can name a secret of another tenant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SecretNames<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) tenant: &'a TenantId,
}

impl SecretNames<'_> {
    /// Returns the full name of one of the tenant's secrets.
    fn full(self, name: &str) -> Result<String, Problem> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let fits = !name.is_empty() && name.len() <= SECRET_NAME_BYTES_MAX;
        if fits && name.bytes().all(allowed) && name.bytes().any(|b| b != b'.') {
            return Ok(format!("{}{}/{name}", self.prefix, self.tenant));
        }
        let detail = format!(
            "secret must be the name of one of the tenant's secrets without its path: 1 to \
             {SECRET_NAME_BYTES_MAX} characters of A-Z a-z 0-9 . _ -"
        );
        Err(Problem::new(Kind::ValueNotAllowed, detail).at("/secret"))
    }

    /// Returns the tenant's own name of a secret.
    pub(crate) fn short(self, full: &str) -> &str {
        let rest = full.strip_prefix(self.prefix);
        let rest = rest.and_then(|rest| rest.strip_prefix(self.tenant.as_str()));
        rest.and_then(|rest| rest.strip_prefix('/')).unwrap_or(full)
    }
}

impl ScopeBody {
    fn checked(&self) -> Result<(Scope, LogId), Problem> {
        match self {
            Self::User {} => Ok((Scope::User, LogId::user())),
            Self::SharedDrive { drive_id } => {
                let log = LogId::parse(drive_id)
                    .ok()
                    .filter(|log| *log != LogId::user());
                let log = log.ok_or_else(|| {
                    Problem::new(
                        Kind::ValueNotAllowed,
                        "drive_id must be the id of a shared drive",
                    )
                    .at("/scope/drive_id")
                })?;
                Ok((Scope::SharedDrive(drive_id.clone()), log))
            }
        }
    }
}

impl From<&Scope> for ScopeBody {
    fn from(scope: &Scope) -> Self {
        match scope {
            Scope::User => Self::User {},
            Scope::SharedDrive(drive_id) => Self::SharedDrive {
                drive_id: drive_id.clone(),
            },
        }
    }
}

/// Reads a connection to create.
pub(crate) fn new_connection(
    body: JsonBody,
    secrets: SecretNames<'_>,
) -> Result<(CheckedSettings, Scope, LogId), Problem> {
    let body: NewConnection = body.read()?;
    let (scope, log) = body.scope.checked()?;
    let settings = ConnectionSettings {
        name: body.name,
        secret: body.secret,
        subject: body.subject,
        quota_user: body.quota_user,
        limits: body.limits,
        policies: body.policies,
        rules: body.rules,
        content: body.content,
        access: body.access,
        own_domains: body.own_domains,
        removal_share_percent_max: body.removal_share_percent_max,
        removals_unasked_max: body.removals_unasked_max,
        comparison_interval_days: body.comparison_interval_days,
        replace_account: false,
    };
    Ok((settings.checked(secrets)?, scope, log))
}

/// Applies an RFC 7396 merge patch that is a [`ConnectionPatch`] to a connection's settings.
pub(crate) fn patched(
    connection: &Connection,
    members: Map<String, Json>,
    secrets: SecretNames<'_>,
) -> Result<CheckedSettings, Problem> {
    let current = ConnectionSettings {
        name: connection.name.clone(),
        secret: secrets.short(&connection.secret_id).to_owned(),
        subject: connection.subject.clone(),
        quota_user: connection.quota_user.clone(),
        limits: LimitsBody::explicit(&connection.limits),
        policies: PoliciesBody::from(&connection.policies),
        rules: RulesBody::from(&connection.rules),
        content: ContentSettingsBody::from(&connection.content),
        access: connection.access.as_ref().map(access_body::entries),
        own_domains: access_body::domains(connection.own_domains.as_ref()),
        removal_share_percent_max: connection.removals.share_percent_max,
        removals_unasked_max: connection.removals.unasked_max,
        comparison_interval_days: connection.comparison_interval.days,
        replace_account: false,
    };
    let invalid = |_| {
        Problem::new(
            Kind::Internal,
            "the connection can't be represented in JSON",
        )
    };
    let mut json = serde_json::to_value(current).map_err(invalid)?;
    merge(&mut json, Json::Object(members));
    checked::<ConnectionSettings>(json, "")?.checked(secrets)
}

/// Applies a merge patch (RFC 7396, section 2).
fn merge(target: &mut Json, patch: Json) {
    let Json::Object(members) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Json::Object(Map::new());
    }
    if let Json::Object(object) = target {
        for (name, value) in members {
            if value.is_null() {
                object.remove(&name);
            } else {
                merge(object.entry(name).or_insert(Json::Null), value);
            }
        }
    }
}

impl ConnectionSettings {
    fn checked(self, secrets: SecretNames<'_>) -> Result<CheckedSettings, Problem> {
        let not_allowed =
            |detail: String, at: &str| Err(Problem::new(Kind::ValueNotAllowed, detail).at(at));
        let unprintable = |text: &str| text.chars().any(char::is_control);
        if self.name.trim().is_empty() || unprintable(&self.name) {
            let detail = "name must have printable characters".to_owned();
            return not_allowed(detail, "/name");
        }
        if let Some(subject) = &self.subject
            && (subject.is_empty()
                || subject.len() > SUBJECT_BYTES_MAX
                || subject.contains(char::is_whitespace)
                || unprintable(subject))
        {
            return not_allowed("subject must be an e-mail address".to_owned(), "/subject");
        }
        if let Some(user) = &self.quota_user
            && (user.is_empty()
                || user.len() > QUOTA_USER_CHARS_MAX
                || !user.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            let detail = format!(
                "quota_user must have 1 to {QUOTA_USER_CHARS_MAX} printable ASCII characters"
            );
            return not_allowed(detail, "/quota_user");
        }
        if self.comparison_interval_days > ComparisonInterval::DAYS_MAX {
            let days_max = ComparisonInterval::DAYS_MAX;
            let detail = format!("comparison_interval_days must be 0 to {days_max}");
            return not_allowed(detail, "/comparison_interval_days");
        }
        Ok(CheckedSettings {
            secret_id: secrets.full(&self.secret)?,
            limits: self.limits.checked()?,
            policies: self.policies.checked()?,
            rules: self.rules.checked()?,
            content: self.content.checked()?,
            access: self.access.map(access_body::checked).transpose()?,
            own_domains: self
                .own_domains
                .map(access_body::checked_domains)
                .transpose()?,
            removals: RemovalLimits {
                share_percent_max: self.removal_share_percent_max,
                unasked_max: self.removals_unasked_max,
            },
            comparison_interval: ComparisonInterval {
                days: self.comparison_interval_days,
            },
            name: self.name,
            subject: self.subject,
            quota_user: self.quota_user,
            replace_account: self.replace_account,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tenant() -> TenantId {
        TenantId::parse("acme").unwrap()
    }

    fn read(json: Json) -> Result<(CheckedSettings, Scope, LogId), String> {
        let tenant = tenant();
        let secrets = SecretNames {
            prefix: "drivesync/",
            tenant: &tenant,
        };
        new_connection(JsonBody::of(json), secrets).map_err(|problem| {
            assert_eq!(problem.status(), 422);
            problem.body().pointer().unwrap_or("none").to_owned()
        })
    }

    #[test]
    fn a_secrets_name_is_completed_with_its_tenant() {
        let body = json!({"name": "Team", "scope": {"type": "user"}, "secret": "google"});
        let (checked, scope, log) = read(body).unwrap();
        assert_eq!(checked.secret_id, "drivesync/acme/google");
        assert_eq!((scope, log), (Scope::User, LogId::user()));
        let tenant = tenant();
        let secrets = SecretNames {
            prefix: "drivesync/",
            tenant: &tenant,
        };
        assert_eq!(secrets.short("drivesync/acme/google"), "google");
    }

    #[test]
    fn a_secrets_name_can_not_name_another_tenants_secret() {
        for secret in [
            "../globex/google",
            "globex/google",
            "..",
            ".",
            "",
            "a b",
            "a\u{0}",
        ] {
            let body = json!({"name": "Team", "scope": {"type": "user"}, "secret": secret});
            assert_eq!(read(body).unwrap_err(), "/secret", "{secret:?}");
        }
    }

    #[test]
    fn the_problem_of_a_new_connection_points_at_the_invalid_member() {
        let with = |member: &str, value: Json| {
            let mut body = json!({"name": "Team", "scope": {"type": "user"}, "secret": "google"});
            body[member] = value;
            read(body).unwrap_err()
        };
        assert_eq!(with("name", json!(" ")), "/name");
        assert_eq!(with("name", json!(7)), "/name");
        assert_eq!(with("colour", json!("red")), "/colour");
        assert_eq!(with("scope", json!({"type": "planet"})), "/scope/type");
        assert_eq!(
            with("scope", json!({"type": "user", "drive_id": "x"})),
            "/scope/drive_id"
        );
        assert_eq!(
            with("scope", json!({"type": "shared_drive", "drive_id": "a/b"})),
            "/scope/drive_id"
        );
        assert_eq!(
            with("scope", json!({"type": "shared_drive", "drive_id": "user"})),
            "/scope/drive_id"
        );
        assert_eq!(with("subject", json!("no one")), "/subject");
        let share = "removal_share_percent_max";
        assert_eq!(with(share, json!(101)), format!("/{share}"));
        assert_eq!(
            with("removals_unasked_max", json!(-1)),
            "/removals_unasked_max"
        );
        let days = "comparison_interval_days";
        assert_eq!(with(days, json!(91)), format!("/{days}"));
        assert_eq!(with("quota_user", json!("")), "/quota_user");
        assert_eq!(with("quota_user", json!("x".repeat(41))), "/quota_user");
    }

    #[test]
    fn a_merge_patch_removes_null_members_and_keeps_absent_ones() {
        let mut json = json!({"a": 1, "b": {"c": 2, "d": 3}});
        merge(
            &mut json,
            json!({"a": null, "b": {"c": null, "e": {"f": null, "g": 4}}}),
        );
        assert_eq!(json, json!({"b": {"d": 3, "e": {"g": 4}}}));
    }
}
