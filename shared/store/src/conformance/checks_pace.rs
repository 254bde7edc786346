//! A connection's pace: shared by workers who know nothing of each other.

use domain::pace::{Ask, Breaker, CallKind, HeldBy, Limits, Outcome, Pace};

use super::support::{fresh, ms, nonce};
use crate::{Store, Written};

pub(super) async fn a_pace_is_made_once_and_comes_back_equal(store: &Store) {
    let key = fresh();
    let limits = Limits::default();
    assert_eq!(store.load_pace(&key).await.unwrap(), None);
    let pace = Pace {
        breaker: Breaker::HalfOpen { until: ms(70_000) },
        held_until: ms(90_000),
        ..Pace::fresh(&limits, ms(5))
    };
    let Written::Done(first) = store.save_pace(&key, 0, &pace, nonce()).await.unwrap() else {
        panic!("not made")
    };
    assert_eq!((first.revision, first.pace), (1, pace));
    assert_eq!(store.load_pace(&key).await.unwrap(), Some(first));
    // The same from somebody else is refused, although what is stored is what they would have written.
    let again = store.save_pace(&key, 0, &pace, nonce()).await.unwrap();
    assert_eq!(again, Written::Stale(Some(first)));
    let open = pace.told(Outcome::Failed, false, &limits, ms(6)).unwrap();
    let second = store.save_pace(&key, 1, &open, nonce()).await.unwrap();
    assert!(matches!(second, Written::Done(paced) if paced.revision == 2 && paced.pace == open));
    // The other tenant's connection of the same name has its own.
    assert_eq!(store.load_pace(&fresh()).await.unwrap(), None);
}

/// Takes until it is held; returns what it was given.
async fn take_all(store: &Store, key: &domain::ConnectionKey, limits: &Limits) -> u32 {
    let ask: Ask = CallKind::List.cost(1, limits.model);
    let mut sum = 0;
    let mut current = store.load_pace(key).await.unwrap();
    loop {
        let revision = current.map_or(0, |paced| paced.revision);
        let pace = current.map_or_else(|| Pace::fresh(limits, ms(0)), |paced| paced.pace);
        let taken = match pace.take(ask, ask, false, limits, ms(0)) {
            Ok(taken) => taken,
            Err(held) => {
                assert_eq!(held.by, HeldBy::Quota);
                return sum;
            }
        };
        let saved = store.save_pace(key, revision, &taken.pace, nonce()).await;
        current = match saved.unwrap() {
            Written::Done(paced) => {
                sum += taken.chunk.quota;
                Some(paced)
            }
            Written::Stale(current) => current,
        };
    }
}

pub(super) async fn workers_that_race_for_units_take_no_more_than_there_are(store: &Store) {
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
    // All of it was to be had, but for what is less than a call.
    assert!(a + b + c > there - 100, "{a} + {b} + {c} of {there}");
}
