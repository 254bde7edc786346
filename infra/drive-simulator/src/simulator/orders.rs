//! What tests order about grants, channels and the logs, without HTTP.

use crate::{Simulator, WatchLimits, ids::UserId, state::grants::GrantSubject};

impl Simulator {
    /// Revokes every grant that acts as this user, or mends them: `/token` answers `invalid_grant`, and access tokens
    /// issued so far are refused for good.
    pub fn set_user_revoked(&self, user: &str, revoked: bool) {
        let subject = GrantSubject::User(UserId::from_email(user));
        self.with(|state| state.set_revoked(subject, revoked));
    }

    /// Holds `watch` calls to these limits from now on.
    pub fn set_watch_limits(&self, limits: WatchLimits) {
        self.with(|state| state.watch_throttle.limits = limits);
    }

    /// Shows entries of the change logs so many seconds of the simulator's clock after they were written.
    pub fn set_visibility_delay(&self, seconds: u32) {
        self.with(|state| state.visible_after_ms = i64::from(seconds) * 1_000);
    }
}
