//! Shared drives and their members, for programs and tests that embed the simulator.

use crate::{
    Role, Simulator,
    ids::{DriveId, UserId},
    state::record::Repeats,
};

impl Simulator {
    /// Makes somebody a member of a shared drive, changes their role, or with `None` ends their membership: what an
    /// organizer does over HTTP with the permissions of the drive's id. Nothing happens to a drive that is not there.
    pub fn set_member(&self, drive: &str, user: &str, role: Option<Role>) {
        let (drive, user) = (DriveId::from(drive), UserId::from_email(user));
        self.with(|state| state.set_member(&drive, &user, role));
    }

    /// Has the members' own logs repeat this share of what shared drives' logs say, 0 to 1; drawn from the seed in between.
    pub fn set_log_repeats(&self, share: f64) {
        self.with(|state| state.repeats = Repeats::of(share));
    }
}
