//! Roles and groups as the claims of a verified token state them.
//!
//! API Gateway passes every claim as text. A list has the form `[a b]`: its values, separated by
//! spaces, in brackets.

use std::collections::BTreeSet;

use super::Role;

/// The prefix of the scopes that give a client a role.
const SCOPE_PREFIX: &str = "drivesync/";

/// Returns what is between the brackets of a list; `None` of any other claim.
fn list(claim: &str) -> Option<&str> {
    claim.strip_prefix('[')?.strip_suffix(']')
}

/// Returns the values of a claim: those of a list, or the text itself. A comma separates nothing:
/// it may be part of a group's name.
#[must_use]
pub fn claim_texts(claim: &str) -> BTreeSet<String> {
    match list(claim) {
        Some(list) => list.split_ascii_whitespace().map(str::to_owned).collect(),
        None if claim.is_empty() => BTreeSet::new(),
        None => BTreeSet::from([claim.to_owned()]),
    }
}

/// Returns the role of a user's claim: the one role that it names. A claim that is absent, names
/// several values or names no role gives the lowest one.
#[must_use]
pub fn role_of_claim(claim: Option<&str>) -> Role {
    let values = claim.map(claim_texts).unwrap_or_default();
    let mut values = values.iter();
    match (values.next(), values.next()) {
        (Some(only), None) => Role::parse(only).unwrap_or(Role::Viewer),
        (Some(_), Some(_)) | (None, _) => Role::Viewer,
    }
}

/// Returns the highest role that a client's scopes (`drivesync/<role>`, separated by spaces) give;
/// `None` if they give none.
#[must_use]
pub fn role_of_scopes(scopes: &str) -> Option<Role> {
    let scopes = list(scopes).unwrap_or(scopes).split_ascii_whitespace();
    let roles = scopes.filter_map(|scope| Role::parse(scope.strip_prefix(SCOPE_PREFIX)?));
    roles.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_gives_the_one_role_that_it_names() {
        for role in Role::ALL {
            assert_eq!(role_of_claim(Some(role.as_str())), role);
            assert_eq!(role_of_claim(Some(&format!("[{role}]"))), role);
        }
    }

    #[test]
    fn a_claim_without_a_single_role_gives_the_lowest() {
        for claim in [
            "",
            " ",
            "[]",
            "[ ]",
            "owner",
            "Admin",
            "ADMIN",
            " admin",
            "admin ",
            "admin,editor",
            "[admin editor]",
            "[admin owner]",
            "[owner admin]",
            "admin editor",
            "[\"admin\"]",
            "[[admin]]",
            "[admin",
            "admin]",
            "true",
            "7",
            "null",
            "{\"role\":\"admin\"}",
            "map[role:admin]",
            "admin\n",
            "admin\0",
            "аdmin",
        ] {
            assert_eq!(role_of_claim(Some(claim)), Role::Viewer, "{claim:?}");
        }
        assert_eq!(role_of_claim(None), Role::Viewer);
    }

    #[test]
    fn a_list_is_split_at_spaces_and_nothing_else() {
        let texts = |claim: &str| claim_texts(claim).into_iter().collect::<Vec<_>>();
        assert_eq!(texts("[b a]"), ["a", "b"]);
        assert_eq!(texts("[finance,hr ops]"), ["finance,hr", "ops"]);
        assert_eq!(texts("finance,hr"), ["finance,hr"]);
        assert_eq!(texts("one group"), ["one group"]);
        assert_eq!(texts("[a  b ]"), ["a", "b"]);
        assert_eq!(texts("[a"), ["[a"]);
        assert_eq!(texts("[]"), [""; 0]);
        assert_eq!(texts(""), [""; 0]);
    }

    #[test]
    fn scopes_give_the_highest_of_their_roles() {
        for (scopes, wanted) in [
            ("drivesync/viewer", Some(Role::Viewer)),
            ("drivesync/admin", Some(Role::Admin)),
            (
                "drivesync/viewer other/admin drivesync/editor",
                Some(Role::Editor),
            ),
            ("other/admin", None),
            ("admin", None),
            ("drivesync/owner", None),
            ("drivesync/", None),
            ("drivesync/admin,drivesync/viewer", None),
            ("openid aws.cognito.signin.user.admin", None),
            ("", None),
        ] {
            assert_eq!(role_of_scopes(scopes), wanted, "{scopes:?}");
        }
    }
}
