//! Writing the change logs: who is told of what.

use crate::{
    ids::{DriveId, FileId, UserId},
    state::{
        State,
        channel::{Notice, Watched},
        item::{Home, Role},
        log::{Entry, Subject},
    },
};

/// How much of a shared drive's log its members' own logs repeat. Drive promises nothing about it: "applications should
/// not rely on these".
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Repeats {
    /// Every entry.
    All,
    /// None.
    None,
    /// This share of them, drawn from the seed.
    Share(f64),
}

impl Repeats {
    /// The policy of a share from 0 to 1.
    pub(crate) fn of(share: f64) -> Self {
        if share <= 0.0 {
            Self::None
        } else if share >= 1.0 {
            Self::All
        } else {
            Self::Share(share)
        }
    }
}

/// Where an item was and who saw it, before something happens to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Before {
    pub(crate) home: Option<Home>,
    pub(crate) seen_by: Vec<UserId>,
}

impl State {
    /// Where an item is and who sees it; nowhere and nobody when there is none.
    pub(crate) fn before(&self, id: &FileId) -> Before {
        let Some(place) = self.items.get(id).map(|item| self.place(item)) else {
            return Before::default();
        };
        let seen_by = self.seen_by(&place);
        Before {
            home: Some(place.home),
            seen_by,
        }
    }

    /// Records that an item changed, came or went, in every log that shows it, and queues what the channels are due.
    /// Nothing is recorded for what lies below it.
    pub(crate) fn record(&mut self, id: &FileId, before: &Before) {
        let after = self.before(id);
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
                before.seen_by.contains(&user),
                after.seen_by.contains(&user),
            );
            if is {
                let member_of = self.membership(&user, after.home.as_ref());
                if was && left_my_drive && member_of.is_some() {
                    // The user's corpus ends here, though they can still read the file: its drive's log goes on.
                    self.append_to_user_log(&user, Subject::File(id.clone()), None, true);
                } else {
                    self.repeat(&user, id, after.home.as_ref(), member_of.is_some(), false);
                }
            } else if was {
                let member_of = self.membership(&user, before.home.as_ref());
                self.repeat(&user, id, before.home.as_ref(), member_of.is_some(), true);
            }
        }
    }

    /// The shared drive of a place, if the user is a member of it.
    pub(crate) fn membership(&self, user: &UserId, home: Option<&Home>) -> Option<DriveId> {
        match home {
            Some(Home::Shared(drive)) => self
                .member_role(user, drive)
                .is_some()
                .then(|| drive.clone()),
            Some(Home::MyDrive(_)) | None => None,
        }
    }

    /// An entry of a user's log. What a member can read in the drive's log is repeated only as the policy has it; who is
    /// no member has only their own log to learn from.
    fn repeat(
        &mut self,
        user: &UserId,
        id: &FileId,
        home: Option<&Home>,
        member: bool,
        removed: bool,
    ) {
        let wanted = match self.repeats {
            _ if !member => true,
            Repeats::All => true,
            Repeats::None => false,
            Repeats::Share(share) => self.rng.f64() < share,
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

    /// Records a drive itself in a member's own log: joined, renamed, or with `removed` left.
    pub(crate) fn record_drive_for(&mut self, user: &UserId, drive: &DriveId, removed: bool) {
        self.append_to_user_log(
            user,
            Subject::Drive(drive.clone()),
            Some(drive.clone()),
            removed,
        );
    }

    /// Records a change of the drive itself (its name, its members) in its own log.
    pub(crate) fn record_drive(&mut self, drive: &DriveId) {
        self.append_to_drive_log(drive, Subject::Drive(drive.clone()), false);
    }

    /// Appends to one user's log and tells who watches it.
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
        outbox.extend(channels.notices(
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
        outbox.extend(channels.notices(&watched, "change", *now_ms, || rng.u64(1..=3), |_| true));
    }

    /// Tells the channels on the file itself. Drive sends nothing for files in shared drives.
    pub(crate) fn tell_file_channels(
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
        let due = channels.notices(
            &Watched::File(id.clone()),
            state,
            *now_ms,
            || rng.u64(1..=3),
            |_| true,
        );
        outbox.extend(due.into_iter().map(|notice| Notice {
            changed: changed.map(str::to_owned),
            ..notice
        }));
    }

    /// The members of a shared drive that are known as users, with their roles.
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
