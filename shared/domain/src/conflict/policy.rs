//! Policies: conflicts are decided by a person, or by a rule that the tenant set beforehand.

use std::collections::BTreeMap;

use crate::{Field, FileId, Timestamp, Value};

/// The rule that decides conflicts on a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// A person decides.
    #[default]
    Manual,
    /// Drive's value wins. The application's value is kept in the conflict record.
    DriveWins,
    /// The application's value wins and is owed to Drive. Drive's value is kept in the conflict
    /// record.
    AppWins,
    /// The later edit wins, by the time at which the application's edit was accepted and the time
    /// of the change in Drive. Two edits closer than the window are left to a person, since clocks
    /// are not accurate enough.
    LastWriterWins {
        /// The window, in milliseconds.
        window_millis: i64,
    },
    /// The lower of two roles wins; no access is the lowest. Any other field, and an unknown role,
    /// is left to a person.
    MostRestrictive,
    /// Both contents are kept: Drive's in the file, and the application's in a new file beside it.
    /// The conflict stays open until the creation of that file is pending. Any other field is left
    /// to a person.
    KeepBoth,
}

/// A connection's policies: a default and exceptions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policies {
    /// The policy of every field without an exception.
    pub default: Policy,
    /// Exceptions by label: a field's own (`name`, `properties.stage`), or `properties` or
    /// `permissions` for all of them.
    pub fields: BTreeMap<String, Policy>,
}

impl Policies {
    /// Returns the policy of a field: its own, else that of all properties or permissions if it is
    /// one, else the default.
    #[must_use]
    pub fn of(&self, field: &Field) -> Policy {
        let own = self.fields.get(&field.label());
        let family = match field {
            Field::Property(_) => self.fields.get("properties"),
            Field::Permission(_) => self.fields.get("permissions"),
            Field::Existence
            | Field::Name
            | Field::Description
            | Field::Starred
            | Field::Trashed
            | Field::Parent
            | Field::Content => None,
        };
        own.or(family).copied().unwrap_or(self.default)
    }
}

/// The choice in a conflict. The chosen value becomes the application's and Drive's value becomes
/// the base; if they differ, the field is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The application's value.
    App,
    /// Drive's value.
    Drive,
    /// The last value that both sides agreed on.
    Base,
    /// Another value.
    Value(Value),
    /// For content: Drive's, while the application's content goes to this new file.
    Both(FileId),
}

/// Returns a policy's decision of a conflict between an edit accepted at `app_at` and a change in
/// Drive at `drive_at`, or `None` if it is left to a person. An unknown time decides nothing, and
/// times don't matter to [`Policy::MostRestrictive`]: see [`crate::most_restrictive`].
#[must_use]
pub fn decide(
    policy: Policy,
    app_at: Option<Timestamp>,
    drive_at: Option<Timestamp>,
) -> Option<Choice> {
    match policy {
        Policy::Manual | Policy::MostRestrictive | Policy::KeepBoth => None,
        Policy::DriveWins => Some(Choice::Drive),
        Policy::AppWins => Some(Choice::App),
        Policy::LastWriterWins { window_millis } => {
            let lead = app_at?.millis_since(drive_at?);
            if lead.abs() < window_millis.max(1) {
                None
            } else if lead > 0 {
                Some(Choice::App)
            } else {
                Some(Choice::Drive)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_policy_counts() {
        let policies = Policies {
            default: Policy::DriveWins,
            fields: BTreeMap::from([
                ("properties".to_owned(), Policy::AppWins),
                ("properties.stage".to_owned(), Policy::Manual),
            ]),
        };
        assert_eq!(policies.of(&Field::Name), Policy::DriveWins);
        assert_eq!(
            policies.of(&Field::Property("x".to_owned())),
            Policy::AppWins
        );
        assert_eq!(
            policies.of(&Field::Property("stage".to_owned())),
            Policy::Manual
        );
    }

    #[test]
    fn the_last_writer_wins_only_outside_the_window() {
        let policy = Policy::LastWriterWins {
            window_millis: 2_000,
        };
        let drive_at = Timestamp::from_millis(100_000);
        let at = |offset| decide(policy, Some(drive_at.plus_millis(offset)), Some(drive_at));
        assert_eq!(at(2_000), Some(Choice::App));
        assert_eq!(at(1_999), None);
        assert_eq!(at(0), None);
        assert_eq!(at(-1_999), None);
        assert_eq!(at(-2_000), Some(Choice::Drive));
        assert_eq!(
            decide(policy, None, Some(drive_at)),
            None,
            "an edit of unknown time decides nothing"
        );
    }
}
