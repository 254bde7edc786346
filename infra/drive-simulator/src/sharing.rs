//! Shared drives and their members, for programs and tests that embed the simulator.

use crate::{Role, Simulator, ids::DriveId, ids::UserId};

impl Simulator {
    /// Makes somebody a member of a shared drive, changes their role, or with `None` ends their membership: what an
    /// organizer does over HTTP with the permissions of the drive's id. Nothing happens to a drive that is not there.
    pub fn set_member(&self, drive: &str, user: &str, role: Option<Role>) {
        let (drive, user) = (DriveId::from(drive), UserId::from_email(user));
        self.with(|state| state.set_member(&drive, &user, role));
    }
}
