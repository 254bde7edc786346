//! Policies: conflicts are decided by a person, or by a rule that the tenant set beforehand.

use std::collections::BTreeMap;

use crate::conflict::Resolver;
use crate::derive::{Ancestry, Lineage, LineageTop, Side};
use crate::{Field, FileId, Timestamp, Value};

/// The rule that decides conflicts on a field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
    /// A webhook endpoint of the tenant is asked. Its answer counts like a person's decision;
    /// without a valid one in time the decision is left to a person.
    Webhook(Resolver),
}

impl Policy {
    /// Returns the resolver that is asked, if the policy is one.
    #[must_use]
    pub fn resolver(&self) -> Option<&Resolver> {
        match self {
            Self::Webhook(resolver) => Some(resolver),
            Self::Manual
            | Self::DriveWins
            | Self::AppWins
            | Self::LastWriterWins { .. }
            | Self::MostRestrictive
            | Self::KeepBoth => None,
        }
    }
}

/// A connection's policies: a default, exceptions, and those of folders.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policies {
    /// The policy of every field without an exception.
    pub default: Policy,
    /// Exceptions by label: a field's own (`name`, `properties.stage`), or `properties` or
    /// `permissions` for all of them.
    pub fields: BTreeMap<String, Policy>,
    /// The policies of folders, each for the folder itself and everything below it.
    pub folders: BTreeMap<FileId, FolderPolicies>,
}

/// The policies of a folder. What they leave open is decided by the next folder above.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FolderPolicies {
    /// The policy of every field without an exception, if the folder has one.
    pub default: Option<Policy>,
    /// Exceptions, as in [`Policies::fields`].
    pub fields: BTreeMap<String, Policy>,
}

/// Returns the exception for a field: its own, else that of all properties or permissions if it is
/// one.
fn exception(fields: &BTreeMap<String, Policy>, field: &Field) -> Option<Policy> {
    let own = fields.get(&field.label());
    let family = match field {
        Field::Property(_) => fields.get("properties"),
        Field::Permission(_) => fields.get("permissions"),
        Field::Existence
        | Field::Name
        | Field::Description
        | Field::Starred
        | Field::Trashed
        | Field::Parent
        | Field::Content => None,
    };
    own.or(family).cloned()
}

impl FolderPolicies {
    /// Returns the policy of a field, if the folder has one.
    #[must_use]
    pub fn of(&self, field: &Field) -> Option<Policy> {
        exception(&self.fields, field).or_else(|| self.default.clone())
    }
}

impl Policies {
    /// Returns the policy of a field where no folder has one: its own, else that of all properties
    /// or permissions if it is one, else the default.
    #[must_use]
    pub fn of(&self, field: &Field) -> Policy {
        exception(&self.fields, field).unwrap_or_else(|| self.default.clone())
    }

    /// Returns the resolvers that any of the policies names.
    pub fn resolvers(&self) -> impl Iterator<Item = &Resolver> {
        let own = std::iter::once(&self.default).chain(self.fields.values());
        let folders = self.folders.values();
        let folders =
            folders.flat_map(|folder| folder.default.iter().chain(folder.fields.values()));
        own.chain(folders).filter_map(Policy::resolver)
    }

    /// Returns the policy of a field of a file in these folders (`None`: Drive shows no folder), as
    /// far as `above` knows the folders above them: that of the nearest folder that has one, else
    /// that of the connection. The file itself counts as the nearest, if it is a folder.
    ///
    /// A person decides where this is not determined: if a folder that may have a policy is not
    /// known, or if the places of the file, on both sides and before and after a move, have
    /// different policies.
    #[must_use]
    pub fn of_file<'f>(
        &self,
        field: &Field,
        file: &FileId,
        folders: impl IntoIterator<Item = Option<&'f FileId>>,
        above: Option<&Ancestry>,
    ) -> Policy {
        if self.folders.is_empty() {
            return self.of(field);
        }
        if let Some(own) = self.of_folder(field, file) {
            return own;
        }
        let mut found: Option<Policy> = None;
        for folder in folders {
            for side in [Side::App, Side::Drive] {
                let here = match (folder, above) {
                    (None, _) => Some(self.of(field)),
                    (Some(_), None) => None,
                    (Some(folder), Some(above)) => self.at(field, &above.place(folder, side)),
                };
                match (here, &found) {
                    (Some(here), None) => found = Some(here),
                    (Some(here), Some(other)) if here == *other => {}
                    (Some(_), Some(_)) | (None, _) => return Policy::Manual,
                }
            }
        }
        found.unwrap_or(Policy::Manual)
    }

    fn of_folder(&self, field: &Field, folder: &FileId) -> Option<Policy> {
        self.folders.get(folder)?.of(field)
    }

    /// Returns the policy of a field in a folder, or `None` if it is not determined.
    fn at(&self, field: &Field, place: &Lineage<'_>) -> Option<Policy> {
        let mut known = place.ids();
        if let Some(nearest) = known.find_map(|folder| self.of_folder(field, folder)) {
            return Some(nearest);
        }
        match place.top() {
            // Of a folder that Drive does not show, no policy can be meant.
            LineageTop::Root(_) | LineageTop::Hidden => Some(self.of(field)),
            LineageTop::Unknown(_) | LineageTop::Circle(_) | LineageTop::TooDeep(_) => None,
        }
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
    policy: &Policy,
    app_at: Option<Timestamp>,
    drive_at: Option<Timestamp>,
) -> Option<Choice> {
    match policy {
        Policy::Manual | Policy::MostRestrictive | Policy::KeepBoth | Policy::Webhook(_) => None,
        Policy::DriveWins => Some(Choice::Drive),
        Policy::AppWins => Some(Choice::App),
        Policy::LastWriterWins { window_millis } => {
            let lead = app_at?.millis_since(drive_at?);
            if lead.abs() < (*window_millis).max(1) {
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
            folders: BTreeMap::new(),
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
        let at = |offset| decide(&policy, Some(drive_at.plus_millis(offset)), Some(drive_at));
        assert_eq!(at(2_000), Some(Choice::App));
        assert_eq!(at(1_999), None);
        assert_eq!(at(0), None);
        assert_eq!(at(-1_999), None);
        assert_eq!(at(-2_000), Some(Choice::Drive));
        assert_eq!(
            decide(&policy, None, Some(drive_at)),
            None,
            "an edit of unknown time decides nothing"
        );
    }
}
