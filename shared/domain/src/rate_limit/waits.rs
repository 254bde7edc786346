//! Requests that wait for an event. Each keeps a function busy while it waits, so that there are
//! few of them: of one tenant, and of all.

use crate::{TenantId, Timestamp};

/// A request that waits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wait {
    /// The tenant.
    pub tenant: TenantId,
    /// Drawn at random.
    pub id: u64,
    /// The time at which it has ended, even if nobody says so.
    pub until: Timestamp,
}

/// All requests that wait.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waits(pub Vec<Wait>);

impl Waits {
    /// The most requests of one tenant that wait at once.
    pub const OF_TENANT_MAX: usize = 5;

    /// Adds a request, if there is room for it among those of its tenant and of all. Returns `None`
    /// if there is not.
    #[must_use]
    pub fn admit(&self, wait: Wait, all_max: usize, now: Timestamp) -> Option<Self> {
        let mut waiting: Vec<Wait> = self.0.clone();
        waiting.retain(|wait| wait.until > now);
        let own = waiting.iter().filter(|other| other.tenant == wait.tenant);
        if own.count() >= Self::OF_TENANT_MAX || waiting.len() >= all_max {
            return None;
        }
        waiting.push(wait);
        Some(Self(waiting))
    }

    /// Removes a request; `None` if it is not there.
    #[must_use]
    pub fn without(&self, id: u64) -> Option<Self> {
        let mut waiting = self.0.clone();
        waiting.retain(|wait| wait.id != id);
        (waiting.len() < self.0.len()).then_some(Self(waiting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(tenant: &str, id: u64, until: i64) -> Wait {
        Wait {
            tenant: TenantId::parse(tenant).unwrap(),
            id,
            until: Timestamp::from_millis(until),
        }
    }

    #[test]
    fn requests_wait_up_to_the_limits_and_no_longer_than_their_time() {
        let admit = |waits: &Waits, wait, now| waits.admit(wait, 7, Timestamp::from_millis(now));
        let mut waits = Waits::default();
        for id in 0..5 {
            waits = admit(&waits, wait("a", id, 20), 0).unwrap();
        }
        assert_eq!(admit(&waits, wait("a", 5, 20), 0), None);
        waits = admit(&waits, wait("b", 6, 30), 0).unwrap();
        waits = admit(&waits, wait("c", 7, 30), 0).unwrap();
        assert_eq!(admit(&waits, wait("d", 8, 20), 0), None);
        let freed = waits.without(3).unwrap();
        assert!(admit(&freed, wait("a", 9, 20), 0).is_some());
        assert_eq!(freed.without(3), None);
        // Those whose time is over count no more.
        assert_eq!(admit(&waits, wait("d", 8, 50), 20).unwrap().0.len(), 3);
    }
}
