//! A connection's conflict policies to and from JSON.

use std::collections::BTreeMap;

use domain::{EndpointId, Field, FileId, FolderPolicies, Policies, Policy, Resolver};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::{Kind, Problem, pointer_part};

/// The longest window of `last_writer_wins`, in seconds: a day.
const WINDOW_SECONDS_MAX: u32 = 86_400;
/// The most exceptions in one connection, since they are loaded for every decision.
const FIELDS_MAX: usize = 100;

/// The reason why `keep_both` is refused.
const ONLY_CONTENT: &str = "keep_both creates a second file, so it is a policy for content only";

/// The reason why `most_restrictive` is refused.
const ONLY_ROLES: &str = "most_restrictive compares roles, so it is a policy for permissions only";

/// The most folders with policies of their own in one connection, for the same reason.
const FOLDERS_MAX: usize = 100;

/// The policies that decide conflicts: one for all fields, exceptions, and those of folders.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Policies)]
pub(crate) struct PoliciesBody {
    /// The policy of every field without an exception.
    #[serde(default)]
    default: PolicyBody,
    /// By field: `name`, `content`, ...; `properties.KEY`, or `properties` for all;
    /// `permissions.PRINCIPAL`, or `permissions` for all.
    #[serde(default)]
    fields: BTreeMap<String, PolicyBody>,
    /// By the id of a folder: for the folder itself and everything below it. The nearest folder
    /// that has a policy for the field counts, then the connection. A person decides while it is
    /// not determined: a folder above the file is not known, or the file is being moved between
    /// folders whose policies differ. Up to 100.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    folders: BTreeMap<String, FolderPoliciesBody>,
}

/// The policies of a folder. What they leave open is decided by the next folder above, or by the
/// connection's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FolderPolicies)]
struct FolderPoliciesBody {
    /// The policy of every field without an exception, if the folder has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<PolicyBody>,
    /// As in the connection's policies.
    #[serde(default)]
    fields: BTreeMap<String, PolicyBody>,
}

/// The policy that decides a conflict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = Policy)]
enum PolicyBody {
    /// A person decides.
    #[default]
    Manual,
    /// Drive's value is chosen.
    DriveWins,
    /// The application's value is chosen.
    AppWins,
    /// The later edit is chosen. A person decides if the two are closer than the window.
    LastWriterWins {
        /// 0 to 86,400.
        #[schema(maximum = 86_400)]
        window_seconds: u32,
    },
    /// The lower of the two roles is chosen. Only for `permissions`: other fields have no order. It
    /// can't be the default either.
    MostRestrictive,
    /// Both contents are kept: Drive's in the file, the application's in a second file that is
    /// named as a conflicted copy. Only for `content`.
    KeepBoth,
    /// A resolver of your own: the conflict is posted to a webhook, whose answer decides it like a
    /// person, but shares nothing beyond the connection's own domains. Without a valid answer in
    /// time a person decides, who may do so meanwhile as well.
    Webhook {
        /// The id of a webhook of the tenant that includes the connection.
        endpoint: String,
        /// The seconds that it has for an answer, from the time at which the conflict opened or
        /// changed: 1 to 86,400.
        #[schema(minimum = 1, maximum = 86_400)]
        seconds_max: u32,
    },
}

impl From<&Policies> for PoliciesBody {
    fn from(policies: &Policies) -> Self {
        let fields = policies.fields.iter();
        let folders = policies.folders.iter();
        Self {
            default: (&policies.default).into(),
            fields: fields
                .map(|(label, policy)| (label.clone(), policy.into()))
                .collect(),
            folders: folders
                .map(|(folder, policies)| (folder.to_string(), policies.into()))
                .collect(),
        }
    }
}

impl From<&FolderPolicies> for FolderPoliciesBody {
    fn from(policies: &FolderPolicies) -> Self {
        let fields = policies.fields.iter();
        Self {
            default: policies.default.as_ref().map(Into::into),
            fields: fields
                .map(|(label, policy)| (label.clone(), policy.into()))
                .collect(),
        }
    }
}

impl From<&Policy> for PolicyBody {
    fn from(policy: &Policy) -> Self {
        match policy {
            Policy::Manual => Self::Manual,
            Policy::DriveWins => Self::DriveWins,
            Policy::AppWins => Self::AppWins,
            Policy::LastWriterWins { window_millis } => Self::LastWriterWins {
                window_seconds: u32::try_from(window_millis / 1_000).unwrap_or(WINDOW_SECONDS_MAX),
            },
            Policy::MostRestrictive => Self::MostRestrictive,
            Policy::KeepBoth => Self::KeepBoth,
            Policy::Webhook(resolver) => Self::Webhook {
                endpoint: resolver.endpoint.to_string(),
                seconds_max: resolver.seconds_max,
            },
        }
    }
}

impl PoliciesBody {
    /// Checks that every field exists, every policy suits its field, and every folder has an id.
    pub(crate) fn checked(&self) -> Result<Policies, Problem> {
        if self.folders.len() > FOLDERS_MAX {
            let detail = format!("at most {FOLDERS_MAX} folders may have policies of their own");
            return Err(not_allowed(detail, "/policies/folders"));
        }
        let folder = |(id, body): (&String, &FolderPoliciesBody)| {
            let at = format!("/policies/folders/{}", pointer_part(id));
            let folder = FileId::parse(id)
                .map_err(|why| not_allowed(format!("the id of the folder is {why}"), &at))?;
            let policies = FolderPolicies {
                default: body
                    .default
                    .as_ref()
                    .map(|policy| checked_default(policy, &at))
                    .transpose()?,
                fields: checked_fields(&body.fields, &at)?,
            };
            Ok((folder, policies))
        };
        Ok(Policies {
            default: checked_default(&self.default, "/policies")?,
            fields: checked_fields(&self.fields, "/policies")?,
            folders: self
                .folders
                .iter()
                .map(folder)
                .collect::<Result<_, Problem>>()?,
        })
    }
}

fn not_allowed(detail: impl Into<String>, at: &str) -> Problem {
    Problem::new(Kind::ValueNotAllowed, detail).at(at.to_owned())
}

/// Checks a policy of all fields, of the policies at `at`.
fn checked_default(policy: &PolicyBody, at: &str) -> Result<Policy, Problem> {
    let at = format!("{at}/default");
    match policy {
        PolicyBody::MostRestrictive => Err(not_allowed(ONLY_ROLES, &at)),
        PolicyBody::KeepBoth => Err(not_allowed(ONLY_CONTENT, &at)),
        PolicyBody::Manual
        | PolicyBody::DriveWins
        | PolicyBody::AppWins
        | PolicyBody::LastWriterWins { .. }
        | PolicyBody::Webhook { .. } => policy.policy(&at),
    }
}

/// Checks the exceptions of the policies at `at`.
fn checked_fields(
    bodies: &BTreeMap<String, PolicyBody>,
    at: &str,
) -> Result<BTreeMap<String, Policy>, Problem> {
    if bodies.len() > FIELDS_MAX {
        let detail = format!("at most {FIELDS_MAX} fields may have a policy of their own");
        return Err(not_allowed(detail, &format!("{at}/fields")));
    }
    let mut fields = BTreeMap::new();
    for (label, policy) in bodies {
        let at = format!("{at}/fields/{}", pointer_part(label));
        let field = Field::from_label(label);
        if !matches!(label.as_str(), "properties" | "permissions") && field.is_none() {
            return Err(not_allowed(format!("there is no field {label}"), &at));
        }
        let roles = label == "permissions" || matches!(field, Some(Field::Permission(_)));
        if *policy == PolicyBody::MostRestrictive && !roles {
            return Err(not_allowed(ONLY_ROLES, &at));
        }
        if *policy == PolicyBody::KeepBoth && field != Some(Field::Content) {
            return Err(not_allowed(ONLY_CONTENT, &at));
        }
        fields.insert(label.clone(), policy.policy(&at)?);
    }
    Ok(fields)
}

impl PolicyBody {
    /// Returns the policy that stands at `at`.
    fn policy(&self, at: &str) -> Result<Policy, Problem> {
        Ok(match self {
            Self::Manual => Policy::Manual,
            Self::DriveWins => Policy::DriveWins,
            Self::AppWins => Policy::AppWins,
            Self::MostRestrictive => Policy::MostRestrictive,
            Self::KeepBoth => Policy::KeepBoth,
            Self::LastWriterWins { window_seconds } => Policy::LastWriterWins {
                window_millis: i64::from(*window_seconds) * 1_000,
            },
            Self::Webhook {
                endpoint,
                seconds_max,
            } => {
                let id = EndpointId::parse(endpoint).map_err(|why| {
                    let detail = format!("the id of the webhook is {why}");
                    not_allowed(detail, &format!("{at}/webhook/endpoint"))
                })?;
                Policy::Webhook(Resolver {
                    endpoint: id,
                    seconds_max: *seconds_max,
                })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::described::check::typed;
    use serde_json::json;

    fn read(json: serde_json::Value) -> Result<Policies, String> {
        let body = typed::<PoliciesBody>(json, "/policies");
        body.and_then(|body| body.checked()).map_err(|problem| {
            assert_eq!(problem.status(), 422);
            problem.body().pointer().unwrap().to_owned()
        })
    }

    #[test]
    fn policies_round_trip_through_json() {
        let json = json!({
            "default": "app_wins",
            "fields": {
                "name": {"last_writer_wins": {"window_seconds": 5}},
                "properties": "drive_wins",
                "properties.stage": "manual",
                "permissions": "most_restrictive",
                "permissions.anyone": "drive_wins",
                "content": "keep_both",
                "description": {"webhook": {"endpoint": "w_1", "seconds_max": 60}},
            },
            "folders": {
                "1ghi": {
                    "default": {"webhook": {"endpoint": "w_2", "seconds_max": 86_400}},
                    "fields": {},
                },
                "1abc": {"default": "drive_wins", "fields": {"content": "keep_both"}},
                "1def": {"fields": {"permissions": "most_restrictive"}},
            },
        });
        let policies = read(json.clone()).unwrap();
        assert_eq!(
            policies.fields["name"],
            Policy::LastWriterWins {
                window_millis: 5_000
            }
        );
        assert_eq!(
            serde_json::to_value(PoliciesBody::from(&policies)).unwrap(),
            json
        );
        assert_eq!(read(json!({})), Ok(Policies::default()));
    }

    #[test]
    fn the_problem_of_policies_points_at_the_invalid_member() {
        for (json, pointer) in [
            (json!({"default": "nobody"}), "/policies/default"),
            (
                json!({"fields": {"colour": "manual"}}),
                "/policies/fields/colour",
            ),
            (json!({"field": {}}), "/policies/field"),
            (json!({"default": "most_restrictive"}), "/policies/default"),
            (json!({"default": "keep_both"}), "/policies/default"),
            (
                json!({"fields": {"name": "keep_both"}}),
                "/policies/fields/name",
            ),
            (
                json!({"fields": {"properties": "most_restrictive"}}),
                "/policies/fields/properties",
            ),
            (
                json!({"folders": {"a/b": {"default": "manual"}}}),
                "/policies/folders/a~1b",
            ),
            (
                json!({"folders": {"1abc": {"default": "keep_both"}}}),
                "/policies/folders/1abc/default",
            ),
            (
                json!({"folders": {"1abc": {"fields": {"name": "most_restrictive"}}}}),
                "/policies/folders/1abc/fields/name",
            ),
            (
                json!({"folders": {"1abc": {"policy": "manual"}}}),
                "/policies/folders/1abc/policy",
            ),
            (
                json!({"default": {"last_writer_wins": {"window_seconds": 86_401}}}),
                "/policies/default/last_writer_wins/window_seconds",
            ),
            (
                json!({"default": {"webhook": {"endpoint": "w_1", "seconds_max": 0}}}),
                "/policies/default/webhook/seconds_max",
            ),
            (
                json!({"default": {"webhook": {"endpoint": "w_1", "seconds_max": 86_401}}}),
                "/policies/default/webhook/seconds_max",
            ),
            (
                json!({"fields": {"name": {"webhook": {"endpoint": "a/b", "seconds_max": 1}}}}),
                "/policies/fields/name/webhook/endpoint",
            ),
            (
                json!({"default": {"webhook": {"endpoint": "w_1"}}}),
                "/policies/default/webhook/seconds_max",
            ),
            (json!({"default": "webhook"}), "/policies/default"),
        ] {
            assert_eq!(read(json), Err(pointer.to_owned()));
        }
    }
}
