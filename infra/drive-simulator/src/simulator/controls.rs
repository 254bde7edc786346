//! Settings that the control interface changes, for programs and tests that embed the simulator.

use crate::{
    ids::{DriveId, UserId},
    simulator::Simulator,
    state::{
        change_logs::{log_writes::LogRepeats, watch_limits::WatchLimits},
        sharing::{oauth_grants::GrantSubject, permission::Role},
    },
};

impl Simulator {
    /// Adds a member to a shared drive, changes a member's role, or with `None` ends the
    /// membership: the same as an organizer's write of the drive's permissions over HTTP. An
    /// unknown drive is ignored.
    pub fn set_member(&self, drive: &str, user: &str, role: Option<Role>) {
        let (drive, user) = (DriveId::from(drive), UserId::from_email(user));
        self.with_state(|state| state.set_member(&drive, &user, role));
    }

    /// Sets the fraction, 0 to 1, of the entries of shared drives' logs that the members' own logs
    /// repeat; fractions in between are drawn from the seed.
    pub fn set_log_repeats(&self, share: f64) {
        self.with_state(|state| state.log_repeats = LogRepeats::from_share(share));
    }

    /// Revokes every grant that acts as this user, or restores them. While revoked, `/token`
    /// responds with `invalid_grant`; access tokens issued before are refused permanently.
    pub fn set_user_revoked(&self, user: &str, revoked: bool) {
        let subject = GrantSubject::User(UserId::from_email(user));
        self.with_state(|state| state.set_revoked(subject, revoked));
    }

    /// Sets the limits on `watch` calls from now on.
    pub fn set_watch_limits(&self, limits: WatchLimits) {
        self.with_state(|state| state.watch_throttle.limits = limits);
    }

    /// Delays the visibility of change log entries by this many seconds of the simulator's clock.
    pub fn set_visibility_delay(&self, seconds: u32) {
        self.with_state(|state| state.visibility_delay_ms = i64::from(seconds) * 1_000);
    }
}
