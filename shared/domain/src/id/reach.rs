//! What the credentials of a secret may be used for: bounds that an operator writes beside them.

use std::fmt;

use crate::LogId;

/// Whose Drive the credentials of a secret may reach.
///
/// By default that is what the credentials reach by themselves: their own account, and the shared
/// drives that it is a member of. Acting as another user (domain-wide delegation) is allowed for
/// the users and the domains that are listed, and for nobody else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Addresses, in lower case.
    subjects: Vec<String>,
    /// Domains, in lower case.
    domains: Vec<String>,
    /// The shared drives, if they are listed: then no others.
    drives: Option<Vec<LogId>>,
}

/// The list of a secret that can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidReach {
    /// `allowed_subjects` has an entry that is not an address.
    Subjects,
    /// `allowed_domains` has an entry that is not a domain. There are no wildcards.
    Domains,
    /// `allowed_drives` has an entry that is not the id of a shared drive.
    Drives,
}

impl fmt::Display for InvalidReach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subjects => "`allowed_subjects` must be a list of e-mail addresses",
            Self::Domains => "`allowed_domains` must be a list of domains, without `@` or `*`",
            Self::Drives => "`allowed_drives` must be a list of ids of shared drives",
        })
    }
}

impl std::error::Error for InvalidReach {}

/// What a secret does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutOfReach {
    /// To act as this user.
    Subject,
    /// To read this shared drive.
    Drive,
    /// To read everything that the account sees, since that includes other shared drives than the
    /// listed ones.
    WholeDrive,
}

impl fmt::Display for OutOfReach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subject => {
                "the secret does not allow this subject: it must be listed in `allowed_subjects` \
                 of the secret, or its domain in `allowed_domains`"
            }
            Self::Drive => {
                "the secret does not allow this shared drive: it must be listed in \
                 `allowed_drives` of the secret"
            }
            Self::WholeDrive => {
                "the secret allows only the shared drives of its `allowed_drives`: `scope` must \
                 be one of them, or `subject` a user that the secret lists"
            }
        })
    }
}

impl std::error::Error for OutOfReach {}

impl OutOfReach {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Subject, Self::Drive, Self::WholeDrive];

    /// Returns the reason that a suspended connection shows. It never changes.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Subject => "subject_not_allowed",
            Self::Drive => "drive_not_allowed",
            Self::WholeDrive => "whole_drive_not_allowed",
        }
    }
}

impl Reach {
    /// Reads the three lists of a secret; `None` is a list that it does not have.
    ///
    /// # Errors
    /// [`InvalidReach`] names a list with an entry that could never match. It may be a mistake that
    /// opens what was meant to be closed, so the secret can't be used.
    pub fn parse<T: AsRef<str>>(
        subjects: Option<&[T]>,
        domains: Option<&[T]>,
        drives: Option<&[T]>,
    ) -> Result<Self, InvalidReach> {
        let subjects = subjects.unwrap_or_default().iter().map(|entry| {
            let (user, domain) = address(entry.as_ref()).ok_or(InvalidReach::Subjects)?;
            Ok(format!("{user}@{domain}").to_ascii_lowercase())
        });
        let domains = domains.unwrap_or_default().iter().map(|entry| {
            let entry = entry.as_ref();
            let valid = is_part(entry) && !entry.contains('*') && !entry.starts_with('.');
            valid
                .then(|| entry.to_ascii_lowercase())
                .ok_or(InvalidReach::Domains)
        });
        let drives = drives.map(|drives| {
            let drives = drives.iter().map(|entry| LogId::parse(entry.as_ref()));
            let drives: Result<Vec<_>, _> = drives.collect();
            drives
                .ok()
                .filter(|drives| !drives.contains(&LogId::user()))
                .ok_or(InvalidReach::Drives)
        });
        Ok(Self {
            subjects: subjects.collect::<Result<_, _>>()?,
            domains: domains.collect::<Result<_, _>>()?,
            drives: drives.transpose()?,
        })
    }

    /// Checks what a connection wants to read: as which user (`None`: the account of the
    /// credentials itself), and one shared drive or, with the user's own log, everything that the
    /// user sees.
    ///
    /// A user that is listed may be read whole, with every shared drive that the user sees.
    ///
    /// # Errors
    /// [`OutOfReach`]
    pub fn check(&self, subject: Option<&str>, log: &LogId) -> Result<(), OutOfReach> {
        if subject.is_some_and(|subject| !self.allows_subject(subject)) {
            return Err(OutOfReach::Subject);
        }
        match &self.drives {
            None => Ok(()),
            Some(_) if *log == LogId::user() && subject.is_some() => Ok(()),
            Some(_) if *log == LogId::user() => Err(OutOfReach::WholeDrive),
            Some(drives) if drives.contains(log) => Ok(()),
            Some(_) => Err(OutOfReach::Drive),
        }
    }

    /// Returns whether a user may be impersonated. A domain does not include its subdomains.
    fn allows_subject(&self, subject: &str) -> bool {
        let Some((user, domain)) = address(subject) else {
            return false;
        };
        let whole = format!("{user}@{domain}").to_ascii_lowercase();
        self.subjects.contains(&whole)
            || self
                .domains
                .iter()
                .any(|allowed| allowed.eq_ignore_ascii_case(domain))
    }
}

/// Splits an address into user and domain. With a second `@`, it is not clear which part is the
/// domain.
fn address(text: &str) -> Option<(&str, &str)> {
    let parts = text.split_once('@')?;
    (is_part(parts.0) && is_part(parts.1)).then_some(parts)
}

fn is_part(text: &str) -> bool {
    let allowed = |c: char| !(c == '@' || c.is_whitespace() || c.is_control());
    !text.is_empty() && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(subjects: &[&str], domains: &[&str], drives: Option<&[&str]>) -> Reach {
        Reach::parse(Some(subjects), Some(domains), drives).unwrap()
    }

    fn drive(id: &str) -> LogId {
        LogId::parse(id).unwrap()
    }

    #[test]
    fn without_lists_the_credentials_reach_what_is_theirs() {
        let (own, user) = (Reach::default(), LogId::user());
        assert_eq!(Reach::parse::<&str>(None, None, None), Ok(own.clone()));
        assert_eq!(own.check(None, &user), Ok(()));
        assert_eq!(own.check(None, &drive("0A")), Ok(()));
        for subject in ["ceo@acme.com", "", "@", "acme.com"] {
            let found = own.check(Some(subject), &user);
            assert_eq!(found, Err(OutOfReach::Subject), "{subject}");
        }
    }

    #[test]
    fn only_listed_users_and_users_of_listed_domains_are_impersonated() {
        let reach = reach(&["Ann@Acme.com"], &["sales.acme.com", "GLOBEX.com"], None);
        for (subject, allowed) in [
            ("ann@acme.com", true),
            ("ANN@ACME.COM", true),
            ("bob@globex.com", true),
            ("bob@Globex.Com", true),
            ("bob@sales.acme.com", true),
            ("bob@acme.com", false),
            ("ann@acme.com.", false),
            ("ann@mail.globex.com", false),
            ("ann@globex.com.evil.example", false),
            ("ann@notglobex.com", false),
            ("ceo@initech.com@globex.com", false),
            ("ceo@globex.com@initech.com", false),
            ("@globex.com", false),
            ("globex.com", false),
            (" ann@acme.com", false),
            ("ann@acme.com\u{0}", false),
            ("ann@acme.com,ceo@acme.com", false),
            // Another letter that looks like a g.
            ("ken@\u{0261}lobex.com", false),
        ] {
            let found = reach.check(Some(subject), &LogId::user()).is_ok();
            assert_eq!(found, allowed, "{subject}");
        }
    }

    #[test]
    fn listed_drives_exclude_all_others_and_the_whole_drive_of_the_account() {
        let (user, ann) = (LogId::user(), Some("ann@acme.com"));
        let listed = reach(&["ann@acme.com"], &[], Some(&["0A"]));
        for (subject, log, wanted) in [
            (None, drive("0A"), Ok(())),
            (None, drive("0a"), Err(OutOfReach::Drive)),
            (None, drive("0B"), Err(OutOfReach::Drive)),
            (None, user.clone(), Err(OutOfReach::WholeDrive)),
            (ann, drive("0A"), Ok(())),
            (ann, drive("0B"), Err(OutOfReach::Drive)),
            (ann, user.clone(), Ok(())),
            (Some("bob@acme.com"), drive("0A"), Err(OutOfReach::Subject)),
        ] {
            assert_eq!(listed.check(subject, &log), wanted, "{subject:?} {log}");
        }
        let none = reach(&[], &[], Some(&[]));
        assert_eq!(none.check(None, &drive("0A")), Err(OutOfReach::Drive));
        assert_eq!(none.check(None, &user), Err(OutOfReach::WholeDrive));
    }

    #[test]
    fn an_entry_that_could_never_match_is_a_mistake() {
        let subjects = |entry| Reach::parse(Some(&[entry]), None, None);
        for entry in [
            "",
            "*",
            "acme.com",
            "@acme.com",
            "ann@",
            "a@b@c",
            "ann @acme.com",
        ] {
            assert_eq!(subjects(entry), Err(InvalidReach::Subjects), "{entry}");
        }
        let domains = |entry| Reach::parse(None, Some(&[entry]), None);
        for entry in [
            "",
            "*",
            "*.acme.com",
            ".acme.com",
            "@acme.com",
            "ann@acme.com",
            "a b",
        ] {
            assert_eq!(domains(entry), Err(InvalidReach::Domains), "{entry}");
        }
        let drives = |entry| Reach::parse(None, None, Some(&[entry]));
        for entry in ["", "user", "a/b", "a#b", "*"] {
            assert_eq!(drives(entry), Err(InvalidReach::Drives), "{entry}");
        }
    }
}
