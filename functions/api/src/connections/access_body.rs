//! A connection's access, and its own domains, to and from JSON.

use std::collections::BTreeSet;

use domain::{
    ACCESS_ENTRIES_MAX, Access, OWN_DOMAINS_MAX, PRINCIPAL_NAME_BYTES_MAX, Principal, is_domain,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::role_word::RoleWord;
use crate::http::{Kind, Problem};

/// A caller, or a group of callers, and the highest role that it may have at the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AccessEntry)]
pub(crate) struct AccessEntryBody {
    /// `user:` and the `sub` of a token, or `group:` and a name out of its claim of groups.
    #[schema(min_length = 1, max_length = 261, pattern = "^(user|group):\\S+$")]
    principal: String,
    role: RoleWord,
}

/// A domain, in lower case.
#[derive(ToSchema)]
#[schema(as = Domain, min_length = 1, max_length = 253, pattern = "^[a-z0-9-]+(\\.[a-z0-9-]+)+$")]
#[expect(dead_code, reason = "describes what `domain::is_domain` accepts")]
pub(crate) struct DomainText(String);

/// Returns a connection's own domains, in their order.
pub(crate) fn domains(own: Option<&BTreeSet<String>>) -> Option<Vec<String>> {
    own.map(|own| own.iter().cloned().collect())
}

/// Checks that each is a domain, and that there are not too many.
pub(crate) fn checked_domains(domains: Vec<String>) -> Result<BTreeSet<String>, Problem> {
    if domains.len() > OWN_DOMAINS_MAX {
        let detail = format!("own_domains may have at most {OWN_DOMAINS_MAX} domains");
        return Err(Problem::new(Kind::ValueNotAllowed, detail).at("/own_domains"));
    }
    match domains.iter().position(|domain| !is_domain(domain)) {
        None => Ok(domains.into_iter().collect()),
        Some(number) => {
            let detail = "an own domain must be a name such as example.com, in lower case";
            let at = format!("/own_domains/{number}");
            Err(Problem::new(Kind::ValueNotAllowed, detail).at(at))
        }
    }
}

/// Returns the entries of a connection's access, by principal.
pub(crate) fn entries(access: &Access) -> Vec<AccessEntryBody> {
    let entries = access.entries.iter();
    let entry = |(principal, role): (&Principal, &domain::Role)| AccessEntryBody {
        principal: principal.to_string(),
        role: (*role).into(),
    };
    entries.map(entry).collect()
}

/// Checks that each entry names another caller or group, and that there are not too many.
pub(crate) fn checked(entries: Vec<AccessEntryBody>) -> Result<Access, Problem> {
    let refused = |detail: String, at: String| {
        Err(Problem::new(Kind::ValueNotAllowed, detail).at(format!("/access{at}")))
    };
    if entries.len() > ACCESS_ENTRIES_MAX {
        let detail = format!("access may have at most {ACCESS_ENTRIES_MAX} entries: name groups");
        return refused(detail, String::new());
    }
    let mut access = Access::default();
    for (number, entry) in entries.into_iter().enumerate() {
        let at = format!("/{number}/principal");
        let Some(principal) = Principal::parse(&entry.principal) else {
            let detail = format!(
                "principal must be user:<sub> or group:<name>, with a name of 1 to \
                 {PRINCIPAL_NAME_BYTES_MAX} bytes without white space"
            );
            return refused(detail, at);
        };
        if access
            .entries
            .insert(principal, entry.role.into())
            .is_some()
        {
            return refused("access names this principal twice".to_owned(), at);
        }
    }
    Ok(access)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::described::check::typed;
    use serde_json::{Value as Json, json};

    fn read(json: Json) -> Result<Access, String> {
        let body = typed::<Vec<AccessEntryBody>>(json, "/access");
        body.and_then(checked).map_err(|problem| {
            assert_eq!(problem.status(), 422);
            problem.body().pointer().unwrap().to_owned()
        })
    }

    #[test]
    fn access_round_trips_through_json() {
        for json in [
            json!([]),
            json!([
                {"principal": "user:5f0c|1", "role": "editor"},
                {"principal": "group:finance,hr", "role": "viewer"},
            ]),
        ] {
            let access = read(json.clone()).unwrap();
            assert_eq!(serde_json::to_value(entries(&access)).unwrap(), json);
        }
    }

    #[test]
    fn the_problem_of_access_points_at_the_invalid_member() {
        let entry = |principal: &str, role: &str| json!({"principal": principal, "role": role});
        let many: Vec<Json> = (0..101)
            .map(|n| entry(&format!("user:{n}"), "viewer"))
            .collect();
        for (json, pointer) in [
            (json!([entry("ann", "viewer")]), "/access/0/principal"),
            (json!([entry("user:", "viewer")]), "/access/0/principal"),
            (json!([entry("user:a b", "viewer")]), "/access/0/principal"),
            (
                json!([entry("domain:a.example", "viewer")]),
                "/access/0/principal",
            ),
            (json!([entry("user:a", "owner")]), "/access/0/role"),
            (json!([entry("user:a", "Admin")]), "/access/0/role"),
            (json!([{"principal": "user:a"}]), "/access/0/role"),
            (
                json!([{"principal": "user:a", "role": "viewer", "x": 1}]),
                "/access/0/x",
            ),
            (
                json!([entry("user:a", "viewer"), entry("user:a", "admin")]),
                "/access/1/principal",
            ),
            (json!(many), "/access"),
        ] {
            assert_eq!(read(json.clone()), Err(pointer.to_owned()), "{json}");
        }
    }
}
