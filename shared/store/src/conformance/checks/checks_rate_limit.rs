//! A connection's rate limit: shared by independent workers.

use domain::rate_limit::{
    CallKind, CallOutcome, CircuitBreaker, Cost, Limits, Pause, RateLimit, ThrottledBy,
    WritesRefused,
};

use super::super::support::{fresh, ms, nonce};
use crate::{Store, Written};

pub(crate) async fn a_rate_limit_is_created_once_and_read_back_equal(store: &Store) {
    let key = fresh();
    let limits = Limits::default();
    assert_eq!(store.load_rate_limit(&key).await.unwrap(), None);
    let limit = RateLimit {
        breaker: CircuitBreaker::HalfOpen { until: ms(70_000) },
        blocked_until: ms(90_000),
        writes_breaker: CircuitBreaker::Open { until: ms(80_000) },
        writes_refused: Some(WritesRefused {
            since: ms(7),
            status: Some(503),
            subject: 9,
        }),
        uploads: Pause {
            until: ms(60_000),
            times: 2,
        },
        ..RateLimit::new(&limits, ms(5))
    };
    let Written::Done(first) = store
        .save_rate_limit(&key, 0, &limit, nonce())
        .await
        .unwrap()
    else {
        panic!("not created")
    };
    assert_eq!((first.revision, first.rate_limit), (1, limit));
    assert_eq!(store.load_rate_limit(&key).await.unwrap(), Some(first));
    // The same write by another worker is refused, although the stored value equals its own.
    let again = store
        .save_rate_limit(&key, 0, &limit, nonce())
        .await
        .unwrap();
    assert_eq!(again, Written::Stale(Some(first)));
    let open = limit
        .record_outcome(CallOutcome::Failed, false, &limits, ms(6))
        .unwrap();
    let second = store
        .save_rate_limit(&key, 1, &open, nonce())
        .await
        .unwrap();
    assert!(
        matches!(second, Written::Done(limit) if limit.revision == 2 && limit.rate_limit == open)
    );
    // The connection of the same name of another tenant has its own.
    assert_eq!(store.load_rate_limit(&fresh()).await.unwrap(), None);
}

/// Leases units until it is throttled; returns the number that was granted.
async fn take_all(store: &Store, key: &domain::ConnectionKey, limits: &Limits) -> u32 {
    let ask: Cost = CallKind::List.cost(1, limits.model);
    let mut sum = 0;
    let mut current = store.load_rate_limit(key).await.unwrap();
    loop {
        let revision = current.map_or(0, |limit| limit.revision);
        let limit = current.map_or_else(|| RateLimit::new(limits, ms(0)), |limit| limit.rate_limit);
        let taken = match limit.lease(ask, ask, false, limits, ms(0)) {
            Ok(taken) => taken,
            Err(held) => {
                assert_eq!(held.by, ThrottledBy::Quota);
                return sum;
            }
        };
        let saved = store
            .save_rate_limit(key, revision, &taken.rate_limit, nonce())
            .await;
        current = match saved.unwrap() {
            Written::Done(limit) => {
                sum += taken.granted.quota;
                Some(limit)
            }
            Written::Stale(current) => current,
        };
    }
}

pub(crate) async fn concurrent_workers_lease_no_more_units_than_there_are(store: &Store) {
    let key = fresh();
    let limits = Limits {
        quota_per_minute: 20_000,
        ..Limits::default()
    };
    let (a, b, c) = tokio::join!(
        take_all(store, &key, &limits),
        take_all(store, &key, &limits),
        take_all(store, &key, &limits)
    );
    let there = limits.quota_size().capacity;
    assert!(a + b + c <= there, "{a} + {b} + {c} of {there}");
    // All of the quota was granted, except for less than one call.
    assert!(a + b + c > there - 100, "{a} + {b} + {c} of {there}");
}
