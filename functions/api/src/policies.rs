//! Policies as JSON, both ways.

use std::collections::BTreeMap;

use domain::{Field, Policies, Policy};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::{Kind, Problem, pointer_part};

/// The longest window of `last_writer_wins`, in seconds: a day.
const WINDOW_SECONDS_MAX: u32 = 86_400;
/// Exceptions in one connection: they travel with every conflict's decision.
const FIELDS_MAX: usize = 100;

/// Why `keep_both` is refused.
const ONLY_CONTENT: &str =
    "keep_both makes a second file: it is a policy for content and for nothing else";

/// Why `most_restrictive` is refused.
const ONLY_ROLES: &str =
    "most_restrictive compares roles: it is a policy for permissions and for nothing else";

/// Who decides conflicts: one policy for all fields, and exceptions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Policies)]
pub(crate) struct PoliciesBody {
    /// For every field without an exception.
    #[serde(default)]
    default: PolicyBody,
    /// By field: `name`, `content`, `properties.KEY`, or `properties` for all of them; `permissions.PRINCIPAL`, or
    /// `permissions` for all of them.
    #[serde(default)]
    fields: BTreeMap<String, PolicyBody>,
}

/// Who decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = Policy)]
enum PolicyBody {
    /// A person.
    #[default]
    Manual,
    /// Drive's value counts.
    DriveWins,
    /// The application's value counts.
    AppWins,
    /// The later edit counts; two that are closer than the window are left to a person.
    LastWriterWins {
        /// 0 to 86,400.
        window_seconds: u32,
    },
    /// The lower of two roles counts. Only for `permissions`: nothing else has an order, so it is refused
    /// elsewhere, as a default too.
    MostRestrictive,
    /// Both contents count: Drive's stays, and the application's becomes a file beside it, named as a
    /// conflicted copy. Only for `content`.
    KeepBoth,
}

impl From<&Policies> for PoliciesBody {
    fn from(policies: &Policies) -> Self {
        let fields = policies.fields.iter();
        Self {
            default: (&policies.default).into(),
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
        }
    }
}

impl PoliciesBody {
    /// The policies, if every field is one and every window is sane.
    pub(crate) fn checked(&self) -> Result<Policies, Problem> {
        let not_allowed =
            |detail: String, at: String| Err(Problem::new(Kind::ValueNotAllowed, detail).at(at));
        if self.fields.len() > FIELDS_MAX {
            let detail = format!("at most {FIELDS_MAX} fields may have a policy of their own");
            return not_allowed(detail, "/policies/fields".to_owned());
        }
        let mut fields = BTreeMap::new();
        for (label, policy) in &self.fields {
            let at = format!("/policies/fields/{}", pointer_part(label));
            let field = Field::from_label(label);
            if !matches!(label.as_str(), "properties" | "permissions") && field.is_none() {
                return not_allowed(format!("there is no field {label}"), at);
            }
            let roles = label == "permissions" || matches!(field, Some(Field::Permission(_)));
            if *policy == PolicyBody::MostRestrictive && !roles {
                return not_allowed(ONLY_ROLES.to_owned(), at);
            }
            if *policy == PolicyBody::KeepBoth && field != Some(Field::Content) {
                return not_allowed(ONLY_CONTENT.to_owned(), at);
            }
            fields.insert(label.clone(), policy.checked(at)?);
        }
        if self.default == PolicyBody::MostRestrictive {
            return not_allowed(ONLY_ROLES.to_owned(), "/policies/default".to_owned());
        }
        if self.default == PolicyBody::KeepBoth {
            return not_allowed(ONLY_CONTENT.to_owned(), "/policies/default".to_owned());
        }
        Ok(Policies {
            default: self.default.checked("/policies/default".to_owned())?,
            fields,
        })
    }
}

impl PolicyBody {
    fn checked(self, at: String) -> Result<Policy, Problem> {
        match self {
            Self::Manual => Ok(Policy::Manual),
            Self::DriveWins => Ok(Policy::DriveWins),
            Self::AppWins => Ok(Policy::AppWins),
            Self::MostRestrictive => Ok(Policy::MostRestrictive),
            Self::KeepBoth => Ok(Policy::KeepBoth),
            Self::LastWriterWins { window_seconds } if window_seconds > WINDOW_SECONDS_MAX => {
                let detail = format!("a window may have {WINDOW_SECONDS_MAX} seconds");
                let at = format!("{at}/last_writer_wins/window_seconds");
                Err(Problem::new(Kind::ValueNotAllowed, detail).at(at))
            }
            Self::LastWriterWins { window_seconds } => Ok(Policy::LastWriterWins {
                window_millis: i64::from(window_seconds) * 1_000,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::typed;
    use serde_json::json;

    fn read(json: serde_json::Value) -> Result<Policies, String> {
        let body = typed::<PoliciesBody>(json, "/policies");
        body.and_then(|body| body.checked()).map_err(|problem| {
            assert_eq!(problem.status(), 422);
            problem.body().pointer().unwrap().to_owned()
        })
    }

    #[test]
    fn policies_are_read_and_shown_alike() {
        let json = json!({
            "default": "app_wins",
            "fields": {
                "name": {"last_writer_wins": {"window_seconds": 5}},
                "properties": "drive_wins",
                "properties.stage": "manual",
                "permissions": "most_restrictive",
                "permissions.anyone": "drive_wins",
                "content": "keep_both",
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
    fn what_is_wrong_in_policies_is_pointed_at() {
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
                json!({"default": {"last_writer_wins": {"window_seconds": 86_401}}}),
                "/policies/default/last_writer_wins/window_seconds",
            ),
        ] {
            assert_eq!(read(json), Err(pointer.to_owned()));
        }
    }
}
