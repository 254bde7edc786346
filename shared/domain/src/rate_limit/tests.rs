//! The rate limiter over random histories of leases, outcomes and waits.

use proptest::prelude::*;

use super::*;

fn ms(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_795_251_600_000 + millis)
}

fn edit(limits: &Limits) -> Cost {
    CallKind::Edit.cost(1, limits.model)
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn kind() -> impl Strategy<Value = CallKind> {
    prop_oneof![
        Just(CallKind::Read),
        Just(CallKind::List),
        Just(CallKind::Edit),
        Just(CallKind::Download),
        Just(CallKind::Other),
    ]
}

fn model() -> impl Strategy<Value = QuotaModel> {
    prop_oneof![Just(QuotaModel::Units), Just(QuotaModel::Queries)]
}

proptest! {
    #![proptest_config(cases(256))]

    /// Workers that lease all the time, and use their leases as late as they may. Still no window
    /// of a minute, wherever it begins, exceeds the quota.
    #[test]
    fn no_minute_ever_sees_more_than_the_quota(
        steps in prop::collection::vec((0_i64..3_000, kind(), 1_u32..4), 50..400),
        quota in 2_000_u32..400_000,
        model in model(),
    ) {
        let limits = Limits { quota_per_minute: quota, writes_base_per_minute: u32::MAX / 2,
            writes_max_per_minute: u32::MAX / 2, ..Limits::of(model) };
        let mut rate_limit = RateLimit::new(&limits, ms(0));
        let mut now = 0;
        // The time and amount of each lease.
        let mut taken: Vec<(i64, u64)> = Vec::new();
        for (wait, kind, count) in steps {
            now += wait / 10;
            let ask = kind.cost(count, model);
            if ask.quota > limits.quota_size().capacity {
                continue;
            }
            match rate_limit.lease(ask, ask, false, &limits, ms(now)) {
                Ok(lease) => {
                    prop_assert!(lease.granted.quota >= ask.quota);
                    prop_assert!(lease.granted.writes >= ask.writes);
                    taken.push((now, u64::from(lease.granted.quota)));
                    rate_limit = lease.rate_limit;
                }
                // The largest rate of writes is still one that many leases at one time use up.
                Err(throttled) if throttled.by == ThrottledBy::Writes => {}
                Err(throttled) => {
                    prop_assert_eq!(throttled.by, ThrottledBy::Quota);
                    let wait = i64::try_from(throttled.wait_millis).unwrap();
                    // The returned wait is neither too short nor too long.
                    let at = |at| rate_limit.lease(ask, ask, false, &limits, ms(at));
                    prop_assert!(at(now + wait).is_ok());
                    prop_assert!(wait == 1 || at(now + wait - 1).is_err());
                }
            }
        }
        for (end, _) in &taken {
            let window = end - 60_000 - LEASE_MILLIS..=*end;
            let inside = taken.iter().filter(|(at, _)| window.contains(at));
            let used: u64 = inside.map(|(_, n)| n).sum();
            prop_assert!(used <= u64::from(quota), "{used} of {quota}");
        }
    }

    /// The rate of writes always stays within its bounds. A rate-limit answer never increases it,
    /// and success never decreases it.
    #[test]
    fn the_pace_of_writes_moves_the_right_way_and_stays_within_its_bounds(
        steps in prop::collection::vec((0_i64..20_000, 0_u8..4), 1..200),
        base in 1_u32..2_000, min in 1_u32..2_000, max in 1_u32..2_000,
    ) {
        let limits = Limits { writes_base_per_minute: base, writes_min_per_minute: min.min(base),
            writes_max_per_minute: max.max(base), ..Limits::default() };
        let mut rate_limit = RateLimit::new(&limits, ms(0));
        let mut now = 0;
        for (wait, what) in steps {
            now += wait;
            let before = rate_limit.writes_per_minute;
            match what {
                0 => {
                    let outcome = CallOutcome::RateLimited(None);
                    let next = rate_limit.record_outcome(outcome, false, &limits, ms(now));
                    if let Some(next) = next {
                        rate_limit = next;
                    }
                    prop_assert!(rate_limit.writes_per_minute <= before);
                }
                wrote => {
                    let (ask, none) = (edit(&limits), Cost::default());
                    let lease = rate_limit.lease(ask, none, wrote == 1, &limits, ms(now));
                    if let Ok(lease) = lease {
                        prop_assert!(lease.rate_limit.writes_per_minute >= before);
                        rate_limit = lease.rate_limit;
                    }
                }
            }
            prop_assert!(rate_limit.writes_per_minute >= limits.writes_min_per_minute);
            prop_assert!(rate_limit.writes_per_minute <= limits.writes_max_per_minute);
        }
    }

    /// The breaker admits nothing while it is open, one call at a time while it is half-open, and
    /// all calls after an answer. It never stays open forever.
    #[test]
    fn the_breaker_opens_tries_one_call_at_a_time_and_closes(
        steps in prop::collection::vec((0_i64..40_000, 0_u8..3), 1..200),
    ) {
        let limits = Limits { writes_base_per_minute: 1_000_000, writes_max_per_minute: 1_000_000,
            ..Limits::default() };
        let mut rate_limit = RateLimit::new(&limits, ms(0));
        let mut now = 0;
        let read = CallKind::Read.cost(1, limits.model);
        let mut in_a_row = 0;
        // The time at which the trial in flight began.
        let mut trial: Option<i64> = None;
        for (wait, what) in steps {
            now += wait;
            match what {
                0 => match rate_limit.lease(read, Cost::default(), false, &limits, ms(now)) {
                    Ok(lease) => {
                        let alone = trial.is_none_or(|at| now - at >= 30_000);
                        prop_assert!(alone, "two trials at a time");
                        prop_assert_eq!(lease.trial, in_a_row >= limits.breaker_failures);
                        trial = lease.trial.then_some(now);
                        rate_limit = lease.rate_limit;
                    }
                    Err(throttled) => {
                        prop_assert_eq!(throttled.by, ThrottledBy::Breaker);
                        prop_assert!(in_a_row >= limits.breaker_failures);
                        let wait = i64::try_from(throttled.wait_millis).unwrap();
                        prop_assert!(wait <= 60_000, "open forever");
                    }
                },
                1 => {
                    let next =
                        rate_limit.record_outcome(CallOutcome::Failed, false, &limits, ms(now));
                    rate_limit = next.unwrap_or(rate_limit);
                    in_a_row += 1;
                    trial = None;
                    let open = in_a_row >= limits.breaker_failures;
                    prop_assert_eq!(rate_limit.breaker.is_open(), open);
                }
                _ => {
                    let next =
                        rate_limit.record_outcome(CallOutcome::Answered, false, &limits, ms(now));
                    rate_limit = next.unwrap_or(rate_limit);
                    in_a_row = 0;
                    trial = None;
                    prop_assert_eq!(rate_limit.breaker, CircuitBreaker::CLOSED);
                }
            }
        }
    }
}

#[test]
fn a_successful_call_changes_nothing_and_costs_no_write() {
    let limits = Limits::default();
    let rate_limit = RateLimit::new(&limits, ms(0));
    assert_eq!(
        rate_limit.record_outcome(CallOutcome::Answered, false, &limits, ms(5)),
        None
    );
}

#[test]
fn writes_start_at_the_base_grow_linearly_and_halve_once_per_burst() {
    let limits = Limits::default();
    let mut rate_limit = RateLimit::new(&limits, ms(0));
    assert_eq!(rate_limit.writes_per_minute, 100);
    for second in 1..=10 {
        let lease = rate_limit.lease(
            edit(&limits),
            Cost::default(),
            true,
            &limits,
            ms(second * 1_000),
        );
        rate_limit = lease.unwrap().rate_limit;
    }
    assert_eq!(rate_limit.writes_per_minute, 200);
    let slowed = rate_limit
        .record_outcome(CallOutcome::RateLimited(None), false, &limits, ms(10_500))
        .unwrap();
    assert_eq!(slowed.writes_per_minute, 100);
    // The other answers to the same burst carry no new information.
    assert_eq!(
        slowed.record_outcome(CallOutcome::RateLimited(None), false, &limits, ms(10_900)),
        None
    );
    let again = slowed
        .record_outcome(CallOutcome::RateLimited(None), false, &limits, ms(16_000))
        .unwrap();
    assert_eq!(again.writes_per_minute, 50);
    for minute in 1..20 {
        rate_limit = again
            .record_outcome(
                CallOutcome::RateLimited(None),
                false,
                &limits,
                ms(minute * 60_000),
            )
            .unwrap_or(rate_limit);
    }
    assert!(rate_limit.writes_per_minute >= 10);
}

#[test]
fn one_minute_of_the_base_rate_may_burst_before_the_rate_applies() {
    let limits = Limits::default();
    let mut rate_limit = RateLimit::new(&limits, ms(0));
    let mut sent = 0;
    let throttled = loop {
        match rate_limit.lease(edit(&limits), Cost::default(), false, &limits, ms(0)) {
            Ok(lease) => {
                sent += lease.granted.writes;
                rate_limit = lease.rate_limit;
            }
            Err(throttled) => break throttled,
        }
    };
    assert_eq!(sent, 100);
    assert_eq!(
        (throttled.by, throttled.wait_millis),
        (ThrottledBy::Writes, 600)
    );
}

#[test]
fn the_wait_that_drive_asked_for_applies_to_all_calls() {
    let limits = Limits::default();
    let rate_limit = RateLimit::new(&limits, ms(0));
    let after = rate_limit
        .record_outcome(CallOutcome::RateLimited(Some(7_000)), false, &limits, ms(0))
        .unwrap();
    let read = CallKind::Read.cost(1, limits.model);
    let throttled = after
        .lease(read, read, false, &limits, ms(1_000))
        .unwrap_err();
    assert_eq!(
        (throttled.by, throttled.wait_millis),
        (ThrottledBy::Drive, 6_000)
    );
    assert!(after.lease(read, read, false, &limits, ms(7_000)).is_ok());
    let after = rate_limit
        .record_outcome(CallOutcome::DailyLimit, false, &limits, ms(0))
        .unwrap();
    let throttled = after.lease(read, read, false, &limits, ms(0)).unwrap_err();
    assert_eq!(
        (throttled.by, throttled.wait_millis),
        (ThrottledBy::Drive, 3_600_000)
    );
}

#[test]
fn a_batch_above_the_capacity_is_granted_by_a_full_bucket_and_paid_back() {
    let limits = Limits {
        writes_base_per_minute: 60,
        writes_max_per_minute: 60,
        ..Limits::default()
    };
    let rate_limit = RateLimit::new(&limits, ms(0));
    let batch = CallKind::Edit.cost(100, limits.model);
    let lease = rate_limit
        .lease(batch, batch, false, &limits, ms(0))
        .unwrap();
    assert_eq!(lease.granted.writes, 100);
    let throttled = lease
        .rate_limit
        .lease(edit(&limits), Cost::default(), false, &limits, ms(0))
        .unwrap_err();
    // Forty are owed, and one more is needed, at one per second.
    assert_eq!(
        (throttled.by, throttled.wait_millis),
        (ThrottledBy::Writes, 41_000)
    );
}

#[test]
fn a_rate_limit_that_is_unused_for_long_is_reset() {
    let limits = Limits::default();
    let rate_limit = RateLimit {
        writes_per_minute: 900,
        ..RateLimit::new(&limits, ms(0))
    };
    let soon = rate_limit
        .lease(edit(&limits), Cost::default(), false, &limits, ms(599_000))
        .unwrap();
    assert_eq!(soon.rate_limit.writes_per_minute, 900);
    let late = rate_limit
        .lease(edit(&limits), Cost::default(), false, &limits, ms(601_000))
        .unwrap();
    assert_eq!(late.rate_limit.writes_per_minute, 100);
}

#[test]
fn calls_cost_what_googles_guide_states_in_either_model() {
    let cost = |kind: CallKind, model| kind.cost(2, model).quota;
    let units = |kind| cost(kind, QuotaModel::Units);
    assert_eq!(units(CallKind::Read), 10);
    assert_eq!(units(CallKind::List), 200);
    assert_eq!(units(CallKind::Edit), 100);
    assert_eq!(units(CallKind::Download), 400);
    assert_eq!(units(CallKind::Other), 10);
    assert_eq!(cost(CallKind::Download, QuotaModel::Queries), 2);
    assert_eq!(Limits::of(QuotaModel::Units).quota_per_minute, 325_000);
    assert_eq!(Limits::of(QuotaModel::Queries).quota_per_minute, 12_000);
}

/// Simulates some hundreds of writes a minute, one in twenty of which is rate-limited, however slow
/// they are. Returns the writes of twenty minutes, and the lowest rate.
fn under_steady_refusals(base: u32, demand_per_second: u32) -> (u32, u32) {
    let limits = Limits {
        writes_base_per_minute: base,
        writes_max_per_minute: base * 10,
        ..Limits::default()
    };
    let mut rate_limit = RateLimit::new(&limits, ms(0));
    let (mut written, mut lowest, mut wrote) = (0, base, false);
    for tenth in 0..12_000_i64 {
        let now = ms(tenth * 100);
        let want = CallKind::Edit.cost(demand_per_second.div_ceil(10), limits.model);
        let Ok(lease) = rate_limit.lease(edit(&limits), want, wrote, &limits, now) else {
            continue;
        };
        (rate_limit, wrote) = (lease.rate_limit, true);
        for _ in 0..lease.granted.writes {
            written += 1;
            if written % 20 == 0
                && let Some(next) = rate_limit.record_outcome(
                    CallOutcome::RateLimited(None),
                    wrote,
                    &limits,
                    now.plus_millis(90),
                )
            {
                (rate_limit, wrote) = (next, false);
            }
        }
        lowest = lowest.min(rate_limit.writes_per_minute);
    }
    (written, lowest)
}

#[test]
fn refusals_at_any_rate_leave_writes_near_half_the_base_or_above() {
    for base in [100, 1_500, 6_000] {
        let (written, lowest) = under_steady_refusals(base, 200);
        assert!(written >= base * 20 / 2, "{written} with a base of {base}");
        assert!(lowest >= base * 9 / 20, "{lowest} with a base of {base}");
    }
}
