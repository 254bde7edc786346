//! Drive fails every call, or one call in twenty: nothing is lost, and few calls are wasted.

use std::time::Duration;

use drive_simulator::{Edit, Simulator};
use local::aws::Queue;
use serde_json::{Value, json};

use crate::support::{ByHand, Setup, World, by_hand, own_with};

/// Makes Drive answer 503 to every call, including batches.
fn fail(hand: &ByHand) {
    for pattern in ["* /drive/*", "* /batch/*"] {
        hand.fault(json!({"match": pattern, "times": 0, "respond": {"status": 503}}));
    }
}

async fn breaker(hand: &ByHand) -> Value {
    hand.get("/status").await["pace"]["breaker"]["state"].clone()
}

/// Runs the schedule until both sides are equal; the clock makes everything due.
async fn run_until_equal(hand: &ByHand) {
    let mut wrong = Vec::new();
    for _ in 0..40 {
        hand.advance_clock(Duration::from_secs(61));
        hand.sweep_and_pump().await;
        wrong = hand.differences().await;
        if wrong.is_empty() {
            return;
        }
    }
    panic!("{}", wrong.join("\n"));
}

#[test]
fn five_failures_open_the_breaker_and_one_call_tests_drive_before_it_closes() {
    by_hand(8, async |hand| {
        // The longest setting, so that it does not end early on a slow machine.
        let limits = json!({"limits": {"breaker_open_seconds": 3_600}});
        hand.configure(limits).await;
        fail(hand);
        let (theirs, ours) = (hand.take(), hand.take());
        let edit = Edit::Rename("while-it-failed.txt".to_owned());
        hand.simulator
            .apply(Simulator::library_owner(), &theirs, edit)
            .unwrap();
        hand.edit_ok(&ours, json!({"description": "owed meanwhile"}))
            .await;
        // Every call meets the fault, so the faults count the attempts.
        let attempts = || hand.simulator.counters().faults;
        let before = attempts();
        for _ in 0..12 {
            hand.advance_clock(Duration::from_secs(20));
            hand.sweep_and_pump().await;
        }
        // All functions share one breaker.
        assert_eq!(breaker(hand).await, "open");
        assert_eq!(attempts() - before, 5);

        hand.advance_clock(Duration::from_secs(3_601));
        for _ in 0..4 {
            hand.sweep_and_pump().await;
            hand.advance_clock(Duration::from_secs(20));
        }
        assert_eq!(attempts() - before, 6, "one call finds out for all");
        assert_eq!(breaker(hand).await, "open");

        hand.simulator.clear_faults();
        hand.advance_clock(Duration::from_secs(3_601));
        run_until_equal(hand).await;
        assert_eq!(breaker(hand).await, "closed");
        assert_eq!(
            hand.file(&theirs).await["fields"]["name"],
            "while-it-failed.txt"
        );
        assert_eq!(
            hand.owner().get(&ours).await["description"],
            "owed meanwhile"
        );
    });
}

/// The edits of each side.
const EDITS: usize = 200;

/// Returns the calls to Drive for edits of ours.
fn calls_for_edits(world: &World) -> u64 {
    world.calls("v2.files.get") + world.calls("v2.files.patch")
}

#[test]
fn one_rejected_call_in_twenty_loses_no_edit_and_costs_few_extra_calls() {
    let setup = Setup {
        files: 2 * EDITS,
        folders: 2,
        ..Setup::default()
    };
    own_with(setup, async |world| {
        let mut left = 1.0;
        for (status, reason) in [
            (403, "userRateLimitExceeded"),
            (429, "rateLimitExceeded"),
            (503, "backendError"),
        ] {
            // Each kind is drawn from the calls that the kinds before it let pass.
            let share = 0.05 / 3.0;
            world.fault(json!({
                "match": "* /drive/*", "times": 0, "share": share / left,
                "respond": {"status": status, "reason": reason},
            }));
            left -= share;
        }
        let before = (calls_for_edits(world), world.simulator.counters().faults);
        let mut theirs: Vec<String> = (0..2 * EDITS).map(|_| world.take()).collect();
        let ours = theirs.split_off(EDITS);
        for (theirs, ours) in theirs.iter().zip(&ours) {
            let edit = Edit::Describe("by a person".to_owned());
            let owner = Simulator::library_owner();
            world.simulator.apply(owner, theirs, edit).unwrap();
            world.edit_ok(ours, json!({"description": "by us"})).await;
        }
        world.converge().await;
        for (files, text) in [(&theirs, "by a person"), (&ours, "by us")] {
            for id in files.iter() {
                assert_eq!(world.simulator.file(id).unwrap().description, text);
            }
        }
        let refused = world.simulator.counters().faults - before.1;
        assert!(refused > 0, "nothing was refused");
        // Each edit needs one read and one write; retries add at most half of that.
        let attempts = calls_for_edits(world) - before.0;
        let necessary = 2 * u64::try_from(ours.len()).unwrap();
        assert!(attempts >= necessary, "{attempts} of {necessary}");
        assert!(2 * attempts <= 3 * necessary, "{attempts} of {necessary}");
        let counters = world.system.aws.sqs().counters();
        let messages = counters.deleted[Queue::Snapshots.name()];
        assert!(messages.at_first * 100 >= messages.all * 97, "{messages:?}");
    });
}
