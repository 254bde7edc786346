//! Who decides a conflict: a person, or a rule that the tenant set beforehand.

use std::collections::BTreeMap;

use crate::{Field, FileId, Timestamp, Value};

/// How conflicts on a field are decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// A person decides.
    #[default]
    Manual,
    /// Drive's value is taken; the application's stays in the record.
    DriveWins,
    /// The application's value is owed to Drive; Drive's stays in the record.
    AppWins,
    /// The later edit is taken, by the time of acceptance here and the time of the change in Drive.
    /// Two edits closer than the window are left to a person: clocks are not that good.
    LastWriterWins {
        /// The window, in milliseconds.
        window_millis: i64,
    },
    /// Of two roles, the lower one; no access is the lowest. Any other field, and a role that we don't
    /// know, is left to a person.
    MostRestrictive,
    /// Of two contents both: Drive's stays, and the application's becomes a file beside it. The conflict is
    /// open until that file is on its way. Any other field is left to a person.
    KeepBoth,
}

/// A connection's policies: one for all fields, and exceptions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policies {
    /// For every field without an exception.
    pub default: Policy,
    /// By label: a field's own (`name`, `properties.stage`), or `properties` or `permissions` for
    /// every one of them.
    pub fields: BTreeMap<String, Policy>,
}

impl Policies {
    /// The policy of one field: its own, else that of all properties or permissions where it is one, else the default.
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

/// What is chosen in a conflict. The one that is chosen becomes the application's value; what Drive
/// held becomes the base; where the two differ, the difference is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The application's value.
    App,
    /// Drive's value.
    Drive,
    /// The last value that both agreed on.
    Base,
    /// Another value altogether.
    Value(Value),
    /// Of content: Drive's, while the application's becomes a file of its own, which is this one.
    Both(FileId),
}

/// What a policy makes of a conflict between an edit accepted at `app_at` and a change in Drive at
/// `drive_at`; `None` leaves it to a person. A time that nobody knows decides nothing, and none decides
/// what [`Policy::MostRestrictive`] asks: see [`crate::most_restrictive`].
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
    fn the_narrowest_policy_counts() {
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
