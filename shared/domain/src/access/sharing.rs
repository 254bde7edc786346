//! Sharing beyond the tenant's own domains.

use std::collections::{BTreeMap, BTreeSet};

use crate::derive::Grant;
use crate::file::permission::rank;
use crate::{Field, OWNER, Value};

/// The most domains of its own that a connection may name.
pub const OWN_DOMAINS_MAX: usize = 20;

/// Domains of addresses that anyone can have.
const PUBLIC_DOMAINS: [&str; 2] = ["gmail.com", "googlemail.com"];

/// Returns whether a text is a domain as it is compared: lower-case labels of letters, digits and
/// hyphens, at least two of them.
#[must_use]
pub fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(allowed)
    };
    text.len() <= 253 && text.contains('.') && text.split('.').all(label)
}

/// Returns the domains within which sharing stays with the tenant: those that the connection names,
/// or else that of the user whom it acts as. A domain of addresses that anyone can have is nobody's
/// own.
#[must_use]
pub fn own_domains(named: Option<&BTreeSet<String>>, subject: Option<&str>) -> BTreeSet<String> {
    if let Some(named) = named {
        return named.clone();
    }
    let domain = subject.and_then(|subject| subject.rsplit_once('@'));
    let domain = domain.map(|(_, domain)| domain.to_lowercase());
    let own = domain.filter(|domain| !PUBLIC_DOMAINS.contains(&domain.as_str()));
    own.into_iter().collect()
}

/// Returns whether a principal of a permission is outside of these domains. `anyone` is, and so is
/// what names no address.
#[must_use]
pub fn is_outside(principal: &str, own: &BTreeSet<String>) -> bool {
    let domain = match principal.split_once(':') {
        Some(("user" | "group", address)) => address.rsplit_once('@').map(|(_, domain)| domain),
        Some(("domain", domain)) => Some(domain),
        Some(_) | None => None,
    };
    domain.is_none_or(|domain| !own.contains(&domain.to_lowercase()))
}

/// Returns whether a change of a field from one value to another shares the file outside of these
/// domains: a principal outside gets a higher role than before. A role that is not known is higher
/// than any.
#[must_use]
pub fn shares_outside(
    field: &Field,
    before: &Value,
    after: &Value,
    own: &BTreeSet<String>,
) -> bool {
    let Field::Permission(principal) = field else {
        return false;
    };
    let of = |role: &Value| rank(role).unwrap_or(usize::MAX);
    *before != *after && of(after) > of(before).min(usize::MAX - 1) && is_outside(principal, own)
}

/// Returns whether a move to another folder shares a file outside of these domains: `before` are
/// the roles on the file, `then` those that it gets in the folder.
#[must_use]
pub fn move_shares_outside(
    before: &BTreeMap<String, Grant>,
    then: &BTreeMap<String, Grant>,
    own: &BTreeSet<String>,
) -> bool {
    let role = |grant: Option<&Grant>| {
        grant.map_or(Value::Null, |grant| match grant.role.as_str() {
            // Drive lets the owner of a folder write what is in it.
            OWNER => Value::text("writer"),
            role => Value::text(role),
        })
    };
    then.iter().any(|(principal, grant)| {
        let field = Field::Permission(principal.clone());
        let before = role(before.get(principal));
        shares_outside(&field, &before, &role(Some(grant)), own)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ROLES;

    fn domains(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn own_domains_are_those_named_or_that_of_the_subject() {
        let named = domains(&["acme.com", "acme.de"]);
        assert_eq!(own_domains(Some(&named), Some("a@b.example")), named);
        assert_eq!(
            own_domains(Some(&domains(&[])), Some("a@b.example")),
            domains(&[])
        );
        assert_eq!(
            own_domains(None, Some("Ann@Acme.com")),
            domains(&["acme.com"])
        );
        for nobody in [
            None,
            Some("ann@gmail.com"),
            Some("ann@GoogleMail.com"),
            Some("ann"),
        ] {
            assert_eq!(own_domains(None, nobody), domains(&[]), "{nobody:?}");
        }
    }

    #[test]
    fn a_principal_is_outside_unless_its_domain_is_an_own_one() {
        let own = domains(&["acme.com"]);
        for inside in ["user:ann@acme.com", "group:all@ACME.com", "domain:acme.com"] {
            assert!(!is_outside(inside, &own), "{inside}");
        }
        for outside in [
            "anyone",
            "id:0123",
            "user:ann@evil.example",
            "user:ann@acme.com.evil.example",
            "user:ann@sub.acme.com",
            "user:acme.com@evil.example",
            "user:a@acme.com@evil.example",
            "domain:evil.example",
            "domain:com",
            "group:acme.com",
            "",
            "user:ann@notacme.com",
        ] {
            assert!(is_outside(outside, &own), "{outside}");
        }
        assert!(is_outside("user:ann@acme.com", &domains(&[])));
    }

    #[test]
    fn only_a_higher_role_of_a_principal_outside_shares() {
        let own = domains(&["acme.com"]);
        let mut roles = vec![Value::Null];
        roles.extend(ROLES.map(Value::text));
        for (low, before) in roles.iter().enumerate() {
            for (high, after) in roles.iter().enumerate() {
                let shares = |principal: &str| {
                    let field = Field::Permission(principal.to_owned());
                    shares_outside(&field, before, after, &own)
                };
                assert_eq!(shares("anyone"), high > low, "{before:?} {after:?}");
                assert_eq!(shares("user:eve@evil.example"), high > low);
                assert!(!shares("user:ann@acme.com"));
            }
        }
        let anyone = Field::Permission("anyone".to_owned());
        assert!(shares_outside(
            &anyone,
            &Value::Null,
            &Value::text("novel"),
            &own
        ));
        let name = Value::text("x");
        assert!(!shares_outside(&Field::Name, &Value::Null, &name, &own));
    }

    #[test]
    fn a_domain_is_lower_case_labels() {
        for good in ["acme.com", "a-1.b.example"] {
            assert!(is_domain(good), "{good}");
        }
        for bad in [
            "",
            "com",
            "Acme.com",
            ".com",
            "acme.",
            "a b.com",
            "a@b.com",
            "*.acme.com",
        ] {
            assert!(!is_domain(bad), "{bad}");
        }
    }
}
