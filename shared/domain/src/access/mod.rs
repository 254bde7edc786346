//! Who may do what: the role of a caller, and how a connection narrows it.

mod claim;
mod sharing;

pub use claim::{claim_texts, role_of_claim, role_of_scopes};
pub use sharing::{
    OWN_DOMAINS_MAX, is_domain, is_outside, move_shares_outside, own_domains, shares_outside,
};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a caller may do. Each role includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Edits, uploads, decides conflicts.
    Editor,
    /// Syncs, audits, redrives, retries in bulk; changes rules, policies and limits; deletes for
    /// good, shares outside, lifts the removal guard.
    Operator,
    /// Makes and removes connections; changes credentials and access.
    Admin,
}

impl Role {
    /// All roles, the lowest first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Editor, Self::Operator, Self::Admin];

    /// Returns the role's word, in claims, in items and in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// Returns the role with exactly this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The longest name of a principal, in bytes: OpenID Connect allows a subject 255 characters.
pub const PRINCIPAL_NAME_BYTES_MAX: usize = 255;
/// The most entries of a connection's access.
pub const ACCESS_ENTRIES_MAX: usize = 100;

/// Whom an entry of a connection's access names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// The caller with this subject.
    User(String),
    /// Every caller whose groups include this one.
    Group(String),
}

impl Principal {
    /// Parses `user:<subject>` or `group:<name>`. `None` if it is neither, or if the name is empty,
    /// longer than [`PRINCIPAL_NAME_BYTES_MAX`] or has white space or control characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once(':')?;
        let usable = !name.is_empty()
            && name.len() <= PRINCIPAL_NAME_BYTES_MAX
            && !name.chars().any(|c| c.is_whitespace() || c.is_control());
        match kind {
            "user" if usable => Some(Self::User(name.to_owned())),
            "group" if usable => Some(Self::Group(name.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(subject) => write!(f, "user:{subject}"),
            Self::Group(name) => write!(f, "group:{name}"),
        }
    }
}

/// The callers that a connection is narrowed to, each with the highest role that it may have there.
/// Without entries, only administrators are left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The roles by principal.
    pub entries: BTreeMap<Principal, Role>,
}

/// Returns the role that a caller has at a connection; `None` if the connection does not exist for
/// the caller.
///
/// A connection without access is open to the tenant's callers, each with the tenant's role. One
/// with access exists for those whom an entry names, with the lower of the tenant's role and the
/// best entry's: it never gives more than the tenant does. An administrator is not narrowed.
#[must_use]
pub fn effective_role(
    role: Role,
    subject: &str,
    groups: &BTreeSet<String>,
    access: Option<&Access>,
) -> Option<Role> {
    let (Some(access), false) = (access, role == Role::Admin) else {
        return Some(role);
    };
    let names = |principal: &Principal| match principal {
        Principal::User(user) => user == subject,
        Principal::Group(name) => groups.contains(name),
    };
    let entries = access.entries.iter();
    let named = entries.filter(|(principal, _)| names(principal));
    named.map(|(_, entry)| (*entry).min(role)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the role of Ann, who is in two groups.
    fn of_ann(role: Role, access: Option<&Access>) -> Option<Role> {
        let groups = BTreeSet::from(["finance".to_owned(), "legal".to_owned()]);
        effective_role(role, "ann", &groups, access)
    }

    fn access(entries: &[(&str, Role)]) -> Access {
        let entry =
            |(principal, role): &(&str, Role)| (Principal::parse(principal).unwrap(), *role);
        Access {
            entries: entries.iter().map(entry).collect(),
        }
    }

    #[test]
    fn a_role_is_exactly_its_word() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        for other in [
            "", "Admin", " admin", "admin ", "admins", "owner", "[admin]",
        ] {
            assert_eq!(Role::parse(other), None, "{other:?}");
        }
        assert!(Role::ALL.is_sorted());
    }

    #[test]
    fn a_principal_is_a_user_or_a_group() {
        for text in ["user:ann", "group:finance,hr", "user:auth0|5", "group:a:b"] {
            assert_eq!(Principal::parse(text).unwrap().to_string(), text);
        }
        let long = format!("user:{}", "x".repeat(PRINCIPAL_NAME_BYTES_MAX + 1));
        for bad in [
            "",
            "ann",
            "user:",
            "group:",
            "User:ann",
            "domain:a",
            "user:a b",
            "group:a\n",
            &long,
        ] {
            assert_eq!(Principal::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_role_at_a_connection_is_the_lower_of_the_tenants_and_the_best_entrys() {
        for role in Role::ALL {
            assert_eq!(of_ann(role, None), Some(role));
            let unnamed = [
                access(&[]),
                access(&[("user:bob", Role::Admin), ("group:sales", Role::Admin)]),
                access(&[("group:ann", Role::Admin), ("user:finance", Role::Admin)]),
            ];
            for access in unnamed {
                let wanted = (role == Role::Admin).then_some(role);
                assert_eq!(of_ann(role, Some(&access)), wanted);
            }
            for first in Role::ALL {
                for second in Role::ALL {
                    let access = access(&[("user:ann", first), ("group:legal", second)]);
                    let wanted = match role {
                        Role::Admin => role,
                        Role::Viewer | Role::Editor | Role::Operator => role.min(first.max(second)),
                    };
                    assert_eq!(of_ann(role, Some(&access)), Some(wanted));
                }
            }
        }
    }
}
