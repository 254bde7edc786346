//! Random schedules of people, programs, faults and crashes, each decided by its seed, and checked
//! against everything that was written.
//!
//! `SCHEDULES=10000 cargo test --workspace --test all schedules` plays more of them;
//! `SCHEDULE=SEED` plays one and prints its trace; `SOAK_HOURS=48` makes the long run as long.

mod action;
mod bugs;
mod crash;
mod event_logs;
mod invariants;
mod judge;
mod play;
mod troubles;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use action::Schedule;
use play::{Bugs, Played, play};

/// The schedules of a usual run.
const SCHEDULES: u64 = 200;
/// The worlds at a time, which leaves cores to other tests.
const WORKERS: usize = 2;

#[expect(
    clippy::disallowed_methods,
    reason = "an option of a test run is no setting of a function"
)]
fn option(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect(name))
}

/// Removes the steps from a failing schedule without which it still fails.
fn shrink(schedule: &Schedule, bugs: &Bugs) -> Schedule {
    let fails = |schedule: &Schedule| !play(schedule, bugs, false).wrong.is_empty();
    let mut least = schedule.clone();
    let mut size = least.steps.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < least.steps.len() {
            let mut fewer = least.clone();
            fewer.steps.drain(at..(at + size).min(least.steps.len()));
            if fails(&fewer) {
                least = fewer;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    least
}

fn report(schedule: &Schedule, played: &Played) -> String {
    let steps: Vec<String> = schedule
        .steps
        .iter()
        .map(|step| format!("  {step:?}"))
        .collect();
    format!(
        "seed {}, {:?}:\n{}\n{}\nreplay: SCHEDULE={} cargo test --workspace --test all schedules \
            -- --nocapture",
        schedule.seed,
        schedule.fault_rates,
        steps.join("\n"),
        played.wrong.join("\n"),
        schedule.seed,
    )
}

/// Plays schedules in parallel. Returns the seeds of those that fail, and the totals of the others.
fn play_all(seeds: std::ops::Range<u64>, bugs: &Bugs) -> (Vec<u64>, Totals) {
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(Vec::new());
    let totals = Mutex::new(Totals::default());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let played = play(&Schedule::draw(seed), bugs, false);
                    if played.wrong.is_empty() {
                        totals.lock().unwrap().add(&played);
                    } else {
                        failed.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort_unstable();
    (failed, totals.into_inner().unwrap())
}

#[derive(Debug, Default)]
struct Totals {
    schedules: u64,
    calls: u64,
    crashes: u64,
    faults: u64,
    troubles: u64,
    listings_max: u64,
    conflicts: usize,
    unsure: usize,
}

impl Totals {
    fn add(&mut self, played: &Played) {
        self.schedules += 1;
        self.calls += played.calls;
        self.crashes += played.crashes;
        self.faults += played.faults;
        self.troubles += played.troubles;
        self.listings_max = self.listings_max.max(played.listings);
        self.conflicts += played.conflicts;
        self.unsure += played.unsure;
    }
}

#[test]
fn one_seed_decides_everything_that_happens() {
    let one = play(&Schedule::draw(4), &Bugs::default(), true);
    let same = play(&Schedule::draw(4), &Bugs::default(), true);
    let differs = one
        .lines
        .iter()
        .zip(&same.lines)
        .position(|(one, same)| one != same);
    assert_eq!(differs.map(|at| (&one.lines[at], &same.lines[at])), None);
    assert_eq!(one.digest, same.digest);
    assert_ne!(
        one.digest,
        play(&Schedule::draw(3), &Bugs::default(), false).digest
    );
}

#[test]
fn random_schedules_lose_nothing() {
    if let Some(seed) = option("SCHEDULE") {
        let schedule = Schedule::draw(seed);
        let played = play(&schedule, &Bugs::default(), true);
        println!(
            "{}\n{}",
            played.lines.join("\n"),
            report(&schedule, &played)
        );
        assert!(played.wrong.is_empty());
        return;
    }
    let began = std::time::Instant::now();
    let count = option("SCHEDULES").unwrap_or(SCHEDULES);
    let (failed, totals) = play_all(0..count, &Bugs::default());
    if let Some(first) = failed.first() {
        let schedule = shrink(&Schedule::draw(*first), &Bugs::default());
        let played = play(&schedule, &Bugs::default(), false);
        let (of, report) = (failed.len(), report(&schedule, &played));
        panic!("{of} of {count} fail: {failed:?}\n{report}");
    }
    println!("{totals:?} in {:?}", began.elapsed());
    assert!(
        totals.crashes > 0 && totals.faults > 0 && totals.troubles > 0 && totals.conflicts > 0,
        "{totals:?}"
    );
}

#[test]
fn a_write_whose_response_is_lost_overwrites_no_later_edit() {
    for seed in 0..UNANSWERED {
        let schedule = Schedule::unanswered(seed);
        let played = play(&schedule, &Bugs::default(), false);
        assert!(played.wrong.is_empty(), "seed {seed}: {:?}", played.wrong);
        assert!(played.faults > 0, "every answer came");
    }
}

/// The schedules with one kind of trouble each.
const OF_A_TROUBLE: u64 = 4;
/// Those that must show a misreading of it: a trouble does not meet a write in each.
const OF_A_MISREADING: u64 = 40;

#[test]
fn trouble_that_passes_leaves_nothing_lost_stuck_or_failed() {
    let mut wrong = Vec::new();
    for kind in troubles::ALL {
        for seed in 0..OF_A_TROUBLE {
            let played = play(&Schedule::troubled(seed, kind), &Bugs::default(), false);
            let found = played.wrong.iter();
            wrong.extend(found.map(|what| format!("{kind:?}, seed {seed}: {what}")));
            println!(
                "{kind:?}, seed {seed}: {} calls met it, {} pages, {} unsure",
                played.troubles, played.listings, played.unsure
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_misreading_of_trouble_is_caught() {
    for (what, misreading, kind) in bugs::OF_READING {
        let bug = Bugs {
            misreading: Some(misreading),
            ..Bugs::default()
        };
        let caught = (0..OF_A_MISREADING).find_map(|seed| {
            let wrong = play(&Schedule::troubled(seed, kind), &bug, false).wrong;
            wrong.into_iter().next()
        });
        let how: String = caught.expect(what).chars().take(160).collect();
        println!("caught by {kind:?}: {what}: {how}");
    }
}

/// The hours of the long run, by default, and the most calls of Drive that its troubles may cost,
/// in percent of those of the same run without any.
const SOAK_HOURS: u64 = 2;
const CALLS_PERCENT_MAX: u64 = 130;

#[test]
fn hours_of_trouble_cost_few_calls_and_leave_nothing_behind() {
    let hours = option("SOAK_HOURS").unwrap_or(SOAK_HOURS);
    let seed = option("SOAK_SEED").unwrap_or(1);
    let began = std::time::Instant::now();
    let run = |troubled| {
        play(
            &Schedule::long(seed, hours, troubled),
            &Bugs::default(),
            false,
        )
    };
    let (calm, troubled) = (run(false), run(true));
    for (what, played) in [("without troubles", &calm), ("with troubles", &troubled)] {
        println!(
            "{hours} h {what}: {} calls of Drive, {} pages, {} calls met a trouble, {} crashes, {} \
             conflicts, {} of them unsure, {} findings",
            played.drive_calls,
            played.listings,
            played.troubles,
            played.crashes,
            played.conflicts,
            played.unsure,
            played.wrong.len()
        );
    }
    let percent = troubled.drive_calls * 100 / calm.drive_calls;
    println!("{percent} % of the calls, in {:?}", began.elapsed());
    assert!(calm.wrong.is_empty(), "{}", calm.wrong.join("\n"));
    assert!(troubled.wrong.is_empty(), "{}", troubled.wrong.join("\n"));
    assert!(percent <= CALLS_PERCENT_MAX, "{percent} %");
}

/// The schedules to catch a seeded bug: first these, then those with lost responses, then a crash
/// at every call, then the rest.
const SCHEDULES_A_BUG: (u64, u64) = (30, 300);
/// The schedules with lost responses.
const UNANSWERED: u64 = 20;

/// Returns the schedule or crash that shows a bug, and its violation.
fn catches(bug: &Bugs) -> Option<(String, String)> {
    let plays = |by: &str, schedule: &Schedule| {
        let wrong = play(schedule, bug, false).wrong;
        Some((format!("{by} {}", schedule.seed), wrong.into_iter().next()?))
    };
    let by_schedule = |seed| plays("schedule", &Schedule::draw(seed));
    let by_lost_answers = |seed| plays("lost answers", &Schedule::unanswered(seed));
    let by_crash = || Some(("a crash".to_owned(), crash::catches(bug)?));
    let (first, all) = SCHEDULES_A_BUG;
    let caught = (0..first).find_map(by_schedule);
    caught
        .or_else(|| (0..UNANSWERED).find_map(by_lost_answers))
        .or_else(by_crash)
        .or_else(|| (first..all).find_map(by_schedule))
}

fn assert_caught(bugs: &[bugs::Bug]) {
    let next = AtomicUsize::new(0);
    let uncaught = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((what, bug)) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match catches(&bug()) {
                        Some((by, how)) => {
                            let how: String = how.chars().take(160).collect();
                            println!("caught by {by}: {what}: {how}");
                        }
                        None => uncaught.lock().unwrap().push(*what),
                    }
                }
            });
        }
    });
    let uncaught = uncaught.into_inner().unwrap();
    let caught = bugs.len() - uncaught.len();
    println!("{caught} of {} seeded bugs caught", bugs.len());
    assert!(uncaught.is_empty(), "{uncaught:?}");
}

#[test]
fn every_seeded_bug_is_caught() {
    assert_caught(&bugs::ALL);
}

#[test]
fn every_seeded_bug_of_deliveries_is_caught() {
    assert_caught(&bugs::OF_DELIVERIES);
}
