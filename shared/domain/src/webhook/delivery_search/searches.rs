//! The worlds that are searched, and what the search finds.

use std::collections::{HashSet, VecDeque};

use super::*;

/// Searches every order. Returns the number of states, or the violation.
fn search(broken: Broken, first: World) -> Result<usize, String> {
    let mut seen = HashSet::from([first.clone()]);
    let mut ended = HashSet::new();
    let mut queue = VecDeque::from([first]);
    while let Some(world) = queue.pop_front() {
        let stopped = world.stopped();
        if ended.insert(stopped.clone()) {
            stopped.ends_well(broken)?;
        }
        for next in world.steps(broken)? {
            if seen.insert(next.clone()) {
                queue.push_back(next);
            }
        }
    }
    Ok(seen.len())
}

/// One connection with three events, and two workers.
fn one_log() -> World {
    World::new(Budget {
        appends: [3, 0],
        crashes: 1,
        refusals: 1,
        lost_answers: 1,
        sweeps: 2,
        wakes: 2,
        ..Budget::default()
    })
}

/// Two connections, and a receiver that has had enough.
fn two_logs() -> World {
    World::new(Budget {
        appends: [1, 2],
        crashes: 1,
        refusals: 1,
        gone: 1,
        sweeps: 2,
        wakes: 1,
        ..Budget::default()
    })
}

/// What people do while it is delivered to.
fn with_people() -> World {
    World::new(Budget {
        appends: [2, 0],
        crashes: 1,
        gone: 1,
        sweeps: 1,
        wakes: 1,
        replays: 1,
        changes: 1,
        ..Budget::default()
    })
}

/// Events expire before they are delivered.
fn with_expiry() -> World {
    World::new(Budget {
        appends: [3, 0],
        refusals: 1,
        crashes: 1,
        sweeps: 2,
        wakes: 2,
        expiries: 2,
        ..Budget::default()
    })
}

/// A test is asked for, and the secret is rotated.
fn with_a_test() -> World {
    World::new(Budget {
        appends: [1, 0],
        crashes: 1,
        refusals: 1,
        sweeps: 2,
        wakes: 1,
        tests: 1,
        rotations: 1,
        ..Budget::default()
    })
}

/// The last attempt is next.
fn at_its_end() -> World {
    let mut world = two_logs();
    world.logs[0].events = 1;
    world.course.trouble = Some(Trouble {
        connection: id(0),
        head: cursor(1),
        failures: crate::webhook::ATTEMPTS_MAX - 1,
        since: NOW.plus_millis(-1),
        next_at: NOW.plus_millis(1),
    });
    world
}

#[test]
fn everything_is_delivered_or_the_endpoint_says_that_it_is_disabled() {
    for (name, world) in [
        ("one log", one_log()),
        ("two logs", two_logs()),
        ("people", with_people()),
        ("expiry", with_expiry()),
        ("a test", with_a_test()),
        ("the end", at_its_end()),
    ] {
        let states = search(Broken::Nothing, world).unwrap();
        assert!(states > 1_000, "{name}: {states}");
    }
}

#[test]
fn each_broken_rule_is_found() {
    for (broken, world) in [
        (Broken::PlaceMovesFirst, one_log()),
        (Broken::FailureSkipped, one_log()),
        (Broken::PlaceUnconditional, with_people()),
        (Broken::GapIgnored, with_expiry()),
        (Broken::ExpiredBeginning, with_expiry()),
        (Broken::DisabledSilently, two_logs()),
        (Broken::ToldFirst, two_logs()),
        (Broken::LeaseIgnored, one_log()),
        (Broken::LateAnswerCounts, with_people()),
        (Broken::BatchGrows, one_log()),
        (Broken::TestSettledFirst, with_a_test()),
        (Broken::RotationUndone, with_a_test()),
    ] {
        assert!(search(broken, world).is_err(), "{broken:?}");
    }
}

/// An endpoint that refuses what one connection tells, and accepts what another one does.
fn refuses_one_connection(broken: Broken) -> EndpointState {
    let mut world = World::new(Budget::default());
    world.logs[0].events = 1;
    for _ in 0..40 {
        world.logs[1].events += 1;
        let Some(due) = world.endpoint().due_at() else {
            break;
        };
        world.now = world.now.max(due);
        world.start();
        for _ in 0..20 {
            world.budget.refusals = 1;
            let next = world.work(0, broken).unwrap();
            let is_refused = matches!(world.workers[0], Phase::Posting(sent) if sent.at == 0);
            let next = next.into_iter().nth(usize::from(is_refused));
            let Some(next) = next else {
                break;
            };
            world = next;
        }
    }
    world.state
}

#[test]
fn an_endpoint_that_refuses_one_connection_for_days_is_disabled() {
    let is_failing = |state: &EndpointState| {
        let reason = DisabledReason::Failing;
        matches!(state, EndpointState::Disabled { reason: why, .. } if *why == reason)
    };
    assert!(is_failing(&refuses_one_connection(Broken::Nothing)));
    assert!(!is_failing(&refuses_one_connection(Broken::TroubleLeft)));
}
