//! Limits on opening channels. Google documents no figures; clients report 403
//! `subscriptionRateLimitExceeded`.

use std::collections::HashMap;

use crate::{
    errors::DriveError,
    ids::FileId,
    state::{State, change_logs::channels::Watched},
};

/// The limits on opening channels; off by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchLimits {
    /// The number of next `watch` calls that are refused, whatever they watch.
    pub refuse: u64,
    /// Channels on logs, in total, per minute of the simulator's clock.
    pub log_channels_per_minute: Option<u64>,
    /// Channels on files, in total, per minute.
    pub file_channels_per_minute: Option<u64>,
    /// Channels on the same file, per minute.
    pub channels_per_file_per_minute: Option<u64>,
}

/// Counts the channels opened in the current minute.
#[derive(Debug, Default)]
pub(crate) struct WatchThrottle {
    pub(crate) limits: WatchLimits,
    minute: i64,
    logs: u64,
    files: HashMap<FileId, u64>,
}

impl State {
    /// Checks a `watch` call against the limits, and counts it.
    ///
    /// # Errors
    /// 403 `subscriptionRateLimitExceeded`.
    pub(crate) fn admit_watch(&mut self, watched: &Watched) -> Result<(), DriveError> {
        let minute = self.now_ms.div_euclid(60_000);
        let throttle = &mut self.watch_throttle;
        if throttle.minute != minute {
            throttle.minute = minute;
            throttle.logs = 0;
            throttle.files.clear();
        }
        let limits = throttle.limits;
        if limits.refuse > 0 {
            throttle.limits.refuse -= 1;
            return Err(refused(watched));
        }
        let under = |used: u64, max: Option<u64>| max.is_none_or(|max| used < max);
        let admitted = match watched {
            Watched::UserLog(_) | Watched::DriveLog(_) => {
                under(throttle.logs, limits.log_channels_per_minute)
            }
            Watched::File(id) => {
                let (all, own) = (throttle.files.values().sum(), throttle.files.get(id));
                under(all, limits.file_channels_per_minute)
                    && under(
                        own.copied().unwrap_or(0),
                        limits.channels_per_file_per_minute,
                    )
            }
        };
        if !admitted {
            return Err(refused(watched));
        }
        match watched {
            Watched::UserLog(_) | Watched::DriveLog(_) => throttle.logs += 1,
            Watched::File(id) => *throttle.files.entry(id.clone()).or_default() += 1,
        }
        Ok(())
    }
}

fn refused(watched: &Watched) -> DriveError {
    let what = match watched {
        Watched::UserLog(_) | Watched::DriveLog(_) => "change",
        Watched::File(_) => "file",
    };
    DriveError::new(
        403,
        "subscriptionRateLimitExceeded",
        format!("Rate limit exceeded for creating {what} subscriptions."),
    )
}
