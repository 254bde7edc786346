//! Writing the change logs and notifying their channels.

use crate::{
    ids::{DriveId, FileId, UserId},
    state::{
        State,
        change_logs::{
            change_log::{Entry, Subject},
            channels::{Notification, Watched},
        },
        items::item::Home,
        sharing::permission::Role,
    },
};

/// The share of a drive log's entries that its members' own logs repeat. Drive guarantees nothing:
/// "applications should not rely on these".
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum LogRepeats {
    /// Every entry.
    All,
    /// No entry.
    None,
    /// This fraction of the entries, drawn from the seed.
    Share(f64),
}

impl LogRepeats {
    /// Creates the policy for a fraction from 0 to 1.
    pub(crate) fn from_share(share: f64) -> Self {
        if share <= 0.0 {
            Self::None
        } else if share >= 1.0 {
            Self::All
        } else {
            Self::Share(share)
        }
    }
}

/// The location of an item and the users who see it, before a change.
#[derive(Debug, Clone, Default)]
pub(crate) struct Visibility {
    pub(crate) home: Option<Home>,
    pub(crate) visible_to: Vec<UserId>,
}

impl State {
    /// Returns the location of an item and the users who see it; empty if it does not exist.
    pub(crate) fn visibility(&self, id: &FileId) -> Visibility {
        let Some(place) = self.items.get(id).map(|item| self.place(item)) else {
            return Visibility::default();
        };
        let visible_to = self.visible_to(&place);
        Visibility {
            home: Some(place.home),
            visible_to,
        }
    }

    /// Logs that an item changed, appeared or disappeared, in every log that contains it, and
    /// queues the notifications. Items below it are not logged.
    pub(crate) fn log_change(&mut self, id: &FileId, before: &Visibility) {
        let after = self.visibility(id);
        let moved = before.home.is_some() && after.home.is_some() && before.home != after.home;
        if let Some(Home::Shared(drive)) = &before.home
            && before.home != after.home
        {
            self.append_to_drive_log(drive, Subject::File(id.clone()), true);
        }
        if let Some(Home::Shared(drive)) = &after.home {
            self.append_to_drive_log(drive, Subject::File(id.clone()), false);
        }
        let left_my_drive = moved && matches!(before.home, Some(Home::MyDrive(_)));
        let users: Vec<UserId> = self.user_logs.keys().cloned().collect();
        for user in users {
            let (was, is) = (
                before.visible_to.contains(&user),
                after.visible_to.contains(&user),
            );
            if is {
                let member_of = self.membership(&user, after.home.as_ref());
                if was && left_my_drive && member_of.is_some() {
                    // The user's corpus ends here, although they can still read the file: the
                    // drive's log continues.
                    self.append_to_user_log(&user, Subject::File(id.clone()), None, true);
                } else {
                    self.append_repeated(
                        &user,
                        id,
                        after.home.as_ref(),
                        member_of.is_some(),
                        false,
                    );
                }
            } else if was {
                let member_of = self.membership(&user, before.home.as_ref());
                self.append_repeated(&user, id, before.home.as_ref(), member_of.is_some(), true);
            }
        }
    }

    /// Returns the shared drive of a location, if the user is a member of it.
    pub(crate) fn membership(&self, user: &UserId, home: Option<&Home>) -> Option<DriveId> {
        match home {
            Some(Home::Shared(drive)) => self
                .member_role(user, drive)
                .is_some()
                .then(|| drive.clone()),
            Some(Home::MyDrive(_)) | None => None,
        }
    }

    /// Appends to a user's log. Entries that a member can read in the drive's log are repeated as
    /// the policy says; a user who is not a member has only their own log.
    fn append_repeated(
        &mut self,
        user: &UserId,
        id: &FileId,
        home: Option<&Home>,
        member: bool,
        removed: bool,
    ) {
        let wanted = match self.log_repeats {
            _ if !member => true,
            LogRepeats::All => true,
            LogRepeats::None => false,
            LogRepeats::Share(share) => self.rng.f64() < share,
        };
        if !wanted {
            return;
        }
        let drive = match home {
            Some(Home::Shared(drive)) => Some(drive.clone()),
            Some(Home::MyDrive(_)) | None => None,
        };
        self.append_to_user_log(user, Subject::File(id.clone()), drive, removed);
    }

    /// Logs a change of a drive in a member's own log: joined, renamed or, with `removed`, left.
    pub(crate) fn log_drive_for_member(&mut self, user: &UserId, drive: &DriveId, removed: bool) {
        self.append_to_user_log(
            user,
            Subject::Drive(drive.clone()),
            Some(drive.clone()),
            removed,
        );
    }

    /// Logs a change of the drive itself (its name, its members) in its own log.
    pub(crate) fn log_drive_change(&mut self, drive: &DriveId) {
        self.append_to_drive_log(drive, Subject::Drive(drive.clone()), false);
    }

    /// Appends to one user's log and notifies the channels on it.
    pub(crate) fn append_to_user_log(
        &mut self,
        user: &UserId,
        subject: Subject,
        drive: Option<DriveId>,
        removed: bool,
    ) {
        let Self {
            user_logs,
            channels,
            rng,
            now_ms,
            outbox,
            ..
        } = self;
        let Some(log) = user_logs.get_mut(user) else {
            return;
        };
        let shared = drive.is_some();
        let entry = Entry {
            subject,
            drive,
            time_ms: *now_ms,
            removed,
        };
        log.append(entry, rng.u64(1..=3));
        if channels.is_empty() {
            return;
        }
        outbox.extend(channels.notifications_for(
            &Watched::UserLog(user.clone()),
            "change",
            *now_ms,
            || rng.u64(1..=3),
            |channel| !shared || channel.include_all_drives,
        ));
    }

    fn append_to_drive_log(&mut self, drive: &DriveId, subject: Subject, removed: bool) {
        let Self {
            drives,
            channels,
            rng,
            now_ms,
            outbox,
            ..
        } = self;
        let Some(shared) = drives.get_mut(drive) else {
            return;
        };
        let entry = Entry {
            subject,
            drive: Some(drive.clone()),
            time_ms: *now_ms,
            removed,
        };
        shared.log.append(entry, rng.u64(1..=3));
        let watched = Watched::DriveLog(drive.clone());
        outbox.extend(channels.notifications_for(
            &watched,
            "change",
            *now_ms,
            || rng.u64(1..=3),
            |_| true,
        ));
    }

    /// Notifies the channels on the file itself. Drive sends nothing for files in shared drives.
    pub(crate) fn notify_file_channels(
        &mut self,
        id: &FileId,
        home: &Home,
        state: &'static str,
        changed: Option<&str>,
    ) {
        if self.channels.is_empty() || matches!(home, Home::Shared(_)) {
            return;
        }
        let Self {
            channels,
            rng,
            now_ms,
            outbox,
            ..
        } = self;
        let due = channels.notifications_for(
            &Watched::File(id.clone()),
            state,
            *now_ms,
            || rng.u64(1..=3),
            |_| true,
        );
        outbox.extend(due.into_iter().map(|notification| Notification {
            changed: changed.map(str::to_owned),
            ..notification
        }));
    }

    /// Returns the members of a shared drive that are known users, with their roles.
    pub(crate) fn members(&self, drive: &DriveId) -> Vec<(UserId, Role)> {
        self.user_logs
            .keys()
            .filter_map(|user| {
                self.member_role(user, drive)
                    .map(|role| (user.clone(), role))
            })
            .collect()
    }
}
