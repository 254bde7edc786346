//! The pace over random histories of takes, answers and waits.

use proptest::prelude::*;

use super::*;

fn ms(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_795_251_600_000 + millis)
}

fn edit(limits: &Limits) -> Ask {
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

    /// Workers that ask all the time, and use what they took at the worst moment: as late as they may. Still no
    /// window of a minute, wherever it begins, sees more than the quota.
    #[test]
    fn no_minute_ever_sees_more_than_the_quota(
        steps in prop::collection::vec((0_i64..3_000, kind(), 1_u32..4), 50..400),
        quota in 2_000_u32..400_000,
        model in model(),
    ) {
        let limits = Limits { quota_per_minute: quota, writes_base_per_minute: u32::MAX / 2,
            writes_max_per_minute: u32::MAX / 2, ..Limits::of(model) };
        let mut pace = Pace::fresh(&limits, ms(0));
        let mut now = 0;
        // When it was taken, and how much.
        let mut taken: Vec<(i64, u64)> = Vec::new();
        for (wait, kind, count) in steps {
            now += wait / 10;
            let ask = kind.cost(count, model);
            if ask.quota > limits.quota_size().capacity {
                continue;
            }
            match pace.take(ask, ask, false, &limits, ms(now)) {
                Ok(took) => {
                    prop_assert!(took.chunk.quota >= ask.quota && took.chunk.writes >= ask.writes);
                    taken.push((now, u64::from(took.chunk.quota)));
                    pace = took.pace;
                }
                Err(held) => {
                    prop_assert_eq!(held.by, HeldBy::Quota);
                    let wait = i64::try_from(held.wait_millis).unwrap();
                    // What it says is neither too short nor too long.
                    prop_assert!(pace.take(ask, ask, false, &limits, ms(now + wait)).is_ok());
                    prop_assert!(wait == 1 || pace.take(ask, ask, false, &limits, ms(now + wait - 1)).is_err());
                }
            }
        }
        for (end, _) in &taken {
            let window = end - 60_000 - TAKEN_LASTS_MILLIS..=*end;
            let used: u64 = taken.iter().filter(|(at, _)| window.contains(at)).map(|(_, n)| n).sum();
            prop_assert!(used <= u64::from(quota), "{used} of {quota}");
        }
    }

    /// Whatever happens, the pace of writes stays within its bounds; and an answer that limits it never speeds it up,
    /// nor does success slow it down.
    #[test]
    fn the_pace_of_writes_moves_the_right_way_and_stays_within_its_bounds(
        steps in prop::collection::vec((0_i64..20_000, 0_u8..4), 1..200),
        base in 1_u32..2_000, min in 1_u32..2_000, max in 1_u32..2_000,
    ) {
        let limits = Limits { writes_base_per_minute: base, writes_min_per_minute: min.min(base),
            writes_max_per_minute: max.max(base), ..Limits::default() };
        let mut pace = Pace::fresh(&limits, ms(0));
        let mut now = 0;
        for (wait, what) in steps {
            now += wait;
            let before = pace.writes_per_minute;
            match what {
                0 => {
                    if let Some(next) = pace.told(Outcome::Limited(None), false, &limits, ms(now)) {
                        pace = next;
                    }
                    prop_assert!(pace.writes_per_minute <= before);
                }
                wrote => {
                    if let Ok(took) = pace.take(edit(&limits), Ask::default(), wrote == 1, &limits, ms(now)) {
                        prop_assert!(took.pace.writes_per_minute >= before);
                        pace = took.pace;
                    }
                }
            }
            prop_assert!(pace.writes_per_minute >= limits.writes_min_per_minute);
            prop_assert!(pace.writes_per_minute <= limits.writes_max_per_minute);
        }
    }

    /// The breaker lets nothing through while it is open, one call at a time when it tries, and all once an answer
    /// came; and it never stays shut for good.
    #[test]
    fn the_breaker_opens_tries_one_call_at_a_time_and_closes(
        steps in prop::collection::vec((0_i64..40_000, 0_u8..3), 1..200),
    ) {
        let limits = Limits { writes_base_per_minute: 1_000_000, writes_max_per_minute: 1_000_000,
            ..Limits::default() };
        let mut pace = Pace::fresh(&limits, ms(0));
        let mut now = 0;
        let mut in_a_row = 0;
        // When the trial on its way was begun.
        let mut trial: Option<i64> = None;
        for (wait, what) in steps {
            now += wait;
            match what {
                0 => match pace.take(CallKind::Read.cost(1, limits.model), Ask::default(), false, &limits, ms(now)) {
                    Ok(took) => {
                        prop_assert!(trial.is_none_or(|at| now - at >= 30_000), "two trials at a time");
                        prop_assert_eq!(took.trial, in_a_row >= limits.breaker_failures);
                        trial = took.trial.then_some(now);
                        pace = took.pace;
                    }
                    Err(held) => {
                        prop_assert_eq!(held.by, HeldBy::Breaker);
                        prop_assert!(in_a_row >= limits.breaker_failures);
                        let wait = i64::try_from(held.wait_millis).unwrap();
                        prop_assert!(wait <= 60_000, "shut for good");
                    }
                },
                1 => {
                    pace = pace.told(Outcome::Failed, false, &limits, ms(now)).unwrap_or(pace);
                    in_a_row += 1;
                    trial = None;
                    prop_assert_eq!(pace.breaker.is_open(), in_a_row >= limits.breaker_failures);
                }
                _ => {
                    pace = pace.told(Outcome::Answered, false, &limits, ms(now)).unwrap_or(pace);
                    in_a_row = 0;
                    trial = None;
                    prop_assert_eq!(pace.breaker, Breaker::CLOSED);
                }
            }
        }
    }
}

#[test]
fn a_plain_answer_changes_nothing_so_that_it_costs_no_write() {
    let limits = Limits::default();
    let pace = Pace::fresh(&limits, ms(0));
    assert_eq!(pace.told(Outcome::Answered, false, &limits, ms(5)), None);
}

#[test]
fn writes_begin_at_the_base_grow_by_a_tenth_of_it_a_second_and_halve_once_for_a_burst_of_refusals()
{
    let limits = Limits::default();
    let mut pace = Pace::fresh(&limits, ms(0));
    assert_eq!(pace.writes_per_minute, 100);
    for second in 1..=10 {
        let took = pace.take(
            edit(&limits),
            Ask::default(),
            true,
            &limits,
            ms(second * 1_000),
        );
        pace = took.unwrap().pace;
    }
    assert_eq!(pace.writes_per_minute, 200);
    let slowed = pace
        .told(Outcome::Limited(None), false, &limits, ms(10_500))
        .unwrap();
    assert_eq!(slowed.writes_per_minute, 100);
    // The other answers to the same burst say nothing new.
    assert_eq!(
        slowed.told(Outcome::Limited(None), false, &limits, ms(10_900)),
        None
    );
    let again = slowed
        .told(Outcome::Limited(None), false, &limits, ms(16_000))
        .unwrap();
    assert_eq!(again.writes_per_minute, 50);
    for minute in 1..20 {
        pace = again
            .told(Outcome::Limited(None), false, &limits, ms(minute * 60_000))
            .unwrap_or(pace);
    }
    assert!(pace.writes_per_minute >= 10);
}

#[test]
fn a_minute_of_the_base_goes_at_once_and_then_the_pace_holds() {
    let limits = Limits::default();
    let mut pace = Pace::fresh(&limits, ms(0));
    let mut sent = 0;
    let held = loop {
        match pace.take(edit(&limits), Ask::default(), false, &limits, ms(0)) {
            Ok(took) => {
                sent += took.chunk.writes;
                pace = took.pace;
            }
            Err(held) => break held,
        }
    };
    assert_eq!(sent, 100);
    assert_eq!((held.by, held.wait_millis), (HeldBy::Writes, 600));
}

#[test]
fn drives_own_word_on_how_long_to_wait_is_kept_by_all_calls() {
    let limits = Limits::default();
    let pace = Pace::fresh(&limits, ms(0));
    let told = pace
        .told(Outcome::Limited(Some(7_000)), false, &limits, ms(0))
        .unwrap();
    let read = CallKind::Read.cost(1, limits.model);
    let held = told
        .take(read, read, false, &limits, ms(1_000))
        .unwrap_err();
    assert_eq!((held.by, held.wait_millis), (HeldBy::Drive, 6_000));
    assert!(told.take(read, read, false, &limits, ms(7_000)).is_ok());
    let told = pace
        .told(Outcome::DailyLimit, false, &limits, ms(0))
        .unwrap();
    let held = told.take(read, read, false, &limits, ms(0)).unwrap_err();
    assert_eq!((held.by, held.wait_millis), (HeldBy::Drive, 3_600_000));
}

#[test]
fn a_batch_dearer_than_the_bucket_goes_when_it_is_full_and_is_paid_back() {
    let limits = Limits {
        writes_base_per_minute: 60,
        writes_max_per_minute: 60,
        ..Limits::default()
    };
    let pace = Pace::fresh(&limits, ms(0));
    let batch = CallKind::Edit.cost(100, limits.model);
    let took = pace.take(batch, batch, false, &limits, ms(0)).unwrap();
    assert_eq!(took.chunk.writes, 100);
    let held = took
        .pace
        .take(edit(&limits), Ask::default(), false, &limits, ms(0))
        .unwrap_err();
    // Forty are owed, and one more is wanted, at one a second.
    assert_eq!((held.by, held.wait_millis), (HeldBy::Writes, 41_000));
}

#[test]
fn a_pace_that_nobody_used_for_long_begins_anew() {
    let limits = Limits::default();
    let pace = Pace {
        writes_per_minute: 900,
        ..Pace::fresh(&limits, ms(0))
    };
    let soon = pace
        .take(edit(&limits), Ask::default(), false, &limits, ms(599_000))
        .unwrap();
    assert_eq!(soon.pace.writes_per_minute, 900);
    let late = pace
        .take(edit(&limits), Ask::default(), false, &limits, ms(601_000))
        .unwrap();
    assert_eq!(late.pace.writes_per_minute, 100);
}

#[test]
fn calls_cost_what_googles_guide_says_in_either_model() {
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

/// Some hundreds of writes a minute, of which one in twenty is told that it is too much, however slow they are.
/// Returns the writes of twenty minutes, and the lowest pace.
fn under_steady_refusals(base: u32, demand_per_second: u32) -> (u32, u32) {
    let limits = Limits {
        writes_base_per_minute: base,
        writes_max_per_minute: base * 10,
        ..Limits::default()
    };
    let mut pace = Pace::fresh(&limits, ms(0));
    let (mut written, mut lowest, mut wrote) = (0, base, false);
    for tenth in 0..12_000_i64 {
        let now = ms(tenth * 100);
        let want = CallKind::Edit.cost(demand_per_second.div_ceil(10), limits.model);
        let Ok(took) = pace.take(edit(&limits), want, wrote, &limits, now) else {
            continue;
        };
        (pace, wrote) = (took.pace, true);
        for _ in 0..took.chunk.writes {
            written += 1;
            if written % 20 == 0
                && let Some(next) =
                    pace.told(Outcome::Limited(None), wrote, &limits, now.plus_millis(90))
            {
                (pace, wrote) = (next, false);
            }
        }
        lowest = lowest.min(pace.writes_per_minute);
    }
    (written, lowest)
}

#[test]
fn refusals_that_come_at_any_pace_leave_the_writes_at_about_half_of_their_base_or_above() {
    for base in [100, 1_500, 6_000] {
        let (written, lowest) = under_steady_refusals(base, 200);
        assert!(written >= base * 20 / 2, "{written} with a base of {base}");
        assert!(lowest >= base * 9 / 20, "{lowest} with a base of {base}");
    }
}
