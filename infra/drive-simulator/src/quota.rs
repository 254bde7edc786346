//! Counters of calls and quota units, and optional limits.

use std::collections::{BTreeMap, HashMap};

use crate::{errors::DriveError, ids::UserId};

/// The calls and notifications since the counters were last zeroed.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counters {
    /// Calls by method name of the discovery document (`changes.list`); v2 names begin with `v2.`.
    pub calls: BTreeMap<String, u64>,
    /// The cost of these calls in quota units: list 100, edit 50, download 200, any other 5.
    pub quota_units: u64,
    /// The quota units charged to each budget, by its name: the `quotaUser` of the calls, or the
    /// user.
    pub by_quota_user: BTreeMap<String, u64>,
    /// Calls of `changes.list` by log: `user:NAME`, `drive:ID`.
    pub by_log: BTreeMap<String, u64>,
    /// Notification deliveries by outcome: `delivered`, `dropped`, `duplicated`, `retried`,
    /// `failed`, `expired`.
    pub notifications: BTreeMap<String, u64>,
    /// Calls that a fault applied to, including calls inside a batch.
    pub faults: u64,
}

/// Limits, in quota units per minute of the simulator's clock. Off by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuotaLimits {
    /// The limit of one user; beyond it, 403 `userRateLimitExceeded`.
    pub units_per_minute_per_user: Option<u64>,
    /// The limit of the whole project; beyond it, 403 `rateLimitExceeded`.
    pub units_per_minute: Option<u64>,
}

/// Counts calls and enforces the limits.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    calls: BTreeMap<&'static str, u64>,
    units: u64,
    pub(crate) limits: QuotaLimits,
    minute: i64,
    spent: u64,
    spent_by_user: HashMap<(UserId, Option<String>), u64>,
    by_quota_user: BTreeMap<String, u64>,
    by_log: BTreeMap<String, u64>,
}

impl Quota {
    /// Counts one call, whatever its outcome.
    pub(crate) fn count(&mut self, method: &'static str, units: u64) {
        *self.calls.entry(method).or_default() += 1;
        self.units += units;
    }

    /// Counts one page of a log.
    pub(crate) fn count_log(&mut self, log: String) {
        *self.by_log.entry(log).or_default() += 1;
    }

    /// Charges a call to its user; each `quotaUser` of a user has its own budget.
    ///
    /// # Errors
    /// 403 `userRateLimitExceeded` or `rateLimitExceeded` when the minute's units are spent.
    pub(crate) fn charge(
        &mut self,
        user: &UserId,
        quota_user: Option<&str>,
        units: u64,
        now_ms: i64,
    ) -> Result<(), DriveError> {
        let minute = now_ms.div_euclid(60_000);
        if minute != self.minute {
            self.minute = minute;
            self.spent = 0;
            self.spent_by_user.clear();
        }
        let budget = (user.clone(), quota_user.map(str::to_owned));
        let by_user = self.spent_by_user.entry(budget).or_default();
        if self
            .limits
            .units_per_minute_per_user
            .is_some_and(|max| *by_user + units > max)
        {
            return Err(DriveError::new(
                403,
                "userRateLimitExceeded",
                "User Rate Limit Exceeded",
            ));
        }
        if self
            .limits
            .units_per_minute
            .is_some_and(|max| self.spent + units > max)
        {
            return Err(DriveError::new(
                403,
                "rateLimitExceeded",
                "Rate Limit Exceeded",
            ));
        }
        *by_user += units;
        self.spent += units;
        let name = quota_user.unwrap_or(user.as_str());
        *self.by_quota_user.entry(name.to_owned()).or_default() += units;
        Ok(())
    }

    /// Returns the calls and units so far.
    pub(crate) fn counters(&self) -> Counters {
        let calls = self
            .calls
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect();
        Counters {
            calls,
            quota_units: self.units,
            by_quota_user: self.by_quota_user.clone(),
            by_log: self.by_log.clone(),
            notifications: BTreeMap::new(),
            faults: 0,
        }
    }

    /// Resets the counters; the limits stay.
    pub(crate) fn reset(&mut self) {
        self.calls.clear();
        self.units = 0;
        self.by_quota_user.clear();
        self.by_log.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_limit_applies_to_one_user_for_one_minute() {
        let mut quota = Quota {
            limits: QuotaLimits {
                units_per_minute_per_user: Some(100),
                ..QuotaLimits::default()
            },
            ..Quota::default()
        };
        let (owner, alice) = (UserId::from("owner"), UserId::from("alice"));
        quota.charge(&owner, None, 100, 0).expect("within");
        assert_eq!(
            quota
                .charge(&owner, None, 5, 59_999)
                .expect_err("spent")
                .reason,
            "userRateLimitExceeded"
        );
        quota.charge(&alice, None, 100, 59_999).expect("her own");
        quota
            .charge(&owner, None, 100, 60_000)
            .expect("the next minute");
    }

    #[test]
    fn each_quota_user_has_a_budget_of_its_own() {
        let mut quota = Quota {
            limits: QuotaLimits {
                units_per_minute_per_user: Some(100),
                ..QuotaLimits::default()
            },
            ..Quota::default()
        };
        let owner = UserId::from("owner");
        quota.charge(&owner, Some("a"), 100, 0).expect("within");
        quota.charge(&owner, Some("a"), 5, 0).expect_err("spent");
        quota.charge(&owner, Some("b"), 100, 0).expect("another");
        quota.charge(&owner, None, 5, 0).expect("their own");
        let expected = [("a", 100), ("b", 100), ("owner", 5)];
        assert_eq!(
            quota.counters().by_quota_user,
            expected
                .map(|(name, units)| (name.to_owned(), units))
                .into()
        );
    }

    #[test]
    fn the_project_limit_applies_to_all_users() {
        let mut quota = Quota {
            limits: QuotaLimits {
                units_per_minute: Some(100),
                ..QuotaLimits::default()
            },
            ..Quota::default()
        };
        quota
            .charge(&UserId::from("owner"), None, 100, 0)
            .expect("within");
        assert_eq!(
            quota
                .charge(&UserId::from("alice"), None, 5, 0)
                .expect_err("spent")
                .reason,
            "rateLimitExceeded"
        );
    }

    #[test]
    fn calls_are_counted_by_name_with_their_units() {
        let mut quota = Quota::default();
        quota.count("changes.list", 100);
        quota.count("changes.list", 100);
        assert_eq!(quota.counters().calls["changes.list"], 2);
        assert_eq!(quota.counters().quota_units, 200);
        quota.reset();
        assert_eq!(quota.counters(), Counters::default());
    }
}
