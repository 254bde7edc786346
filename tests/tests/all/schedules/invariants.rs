//! Invariants that are tested in virtual time, each by its number. `tests/README.md` lists the
//! tests of the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::{FileId, Value as FieldValue};
use drive_simulator::Edit;
use http::Method;
use serde_json::json;

use super::bugs::{is, json_of};
use super::crash::{FLOWS, edit, ends, files, open_conflict};
use crate::support::sim::{Event, MutationResult, Side, Sim, Start, WireMutation, simulate};

/// The number of worlds, which differ only in the latencies of calls, and so in their interleaving.
const SEEDS: u64 = 12;

fn start(seed: u64) -> Start {
    Start {
        seed,
        files: 2,
        folders: 1,
        ..Start::default()
    }
}

/// Waits until a process has crashed.
async fn wait_for_crash(sim: &Sim) {
    for _ in 0..1_000 {
        if sim.wire().fault_counts().0 > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nothing has crashed");
}

/// Returns the number of our writes of a text that landed in Drive.
fn landed(sim: &Sim, text: &str) -> usize {
    let wanted = FieldValue::text(text);
    let recording = sim.recording();
    let ours = recording.events.iter().filter(|(_, _, event)| match event {
        Event::Landed { to, .. } => *to == wanted,
        Event::Person { .. } | Event::Edited { .. } | Event::Decided { .. } => false,
    });
    ours.count()
}

#[test]
fn invariant_03_a_crash_between_queue_and_cursor_is_harmless_at_any_delay() {
    for seconds in [0, 299, 301, 3_600] {
        simulate(start(1), async |sim| {
            let [one, ..] = files(sim);
            sim.simulator()
                .apply("alice", &one, Edit::Rename("hers".to_owned()))
                .unwrap();
            sim.wire().crash_on("SendMessageBatch", Side::After);
            wait_for_crash(sim).await;
            sim.jump(Duration::from_secs(seconds));
            sim.converge().await.unwrap();
            let file = FileId::parse(&one).unwrap();
            let history = sim
                .store()
                .history(
                    sim.key(),
                    &file,
                    &store::PageRequest::first(100),
                    domain::Timestamp::default(),
                )
                .await;
            let mut versions: Vec<_> = history
                .unwrap()
                .items
                .iter()
                .map(|entry| entry.snapshot.version)
                .collect();
            let count = versions.len();
            versions.dedup();
            assert_eq!(count, versions.len(), "{seconds} s later: {versions:?}");
            let record = sim.record(&one).await.unwrap();
            assert_eq!(record.app(&domain::Field::Name), FieldValue::text("hers"));
        });
    }
}

#[test]
fn invariant_05_the_cursor_stays_while_one_message_of_a_batch_is_unsent() {
    let [flow, ..] = FLOWS;
    let undisturbed = ends(flow, &start(8)).unwrap();
    // All entries are rejected individually, or half of them are missing in the response.
    for mentioned in [true, false] {
        let mutated = Start {
            mutation: Some(leaving_three_batches_unsent(mentioned)),
            ..start(8)
        };
        assert_eq!(ends(flow, &mutated).unwrap(), undisturbed);
    }
}

/// Leaves messages of the first three batches of snapshots unsent.
fn leaving_three_batches_unsent(mentioned: bool) -> WireMutation {
    let left = AtomicU64::new(3);
    Arc::new(move |request| {
        let body = json_of(request);
        let snapshots = body["QueueUrl"]
            .as_str()
            .is_some_and(|url| url.contains("snapshots"));
        let batch = is(request, "SendMessageBatch") && snapshots;
        if !batch || left.load(Ordering::Relaxed) == 0 {
            return MutationResult::Passes;
        }
        left.fetch_sub(1, Ordering::Relaxed);
        let entries = body["Entries"].as_array().unwrap();
        if mentioned {
            let refused = entries.iter().map(|entry| {
                json!({"Id": entry["Id"], "Code": "InternalError", "Message": "injected",
                    "SenderFault": false})
            });
            let answer = json!({"Successful": [], "Failed": refused.collect::<Vec<_>>()});
            return MutationResult::Answered(http::Response::new(answer.to_string().into()));
        }
        let half = json!({"QueueUrl": body["QueueUrl"], "Entries": entries[..entries.len() / 2]});
        if entries.len() < 2 {
            let nothing = json!({"Successful": [], "Failed": []});
            return MutationResult::Answered(http::Response::new(nothing.to_string().into()));
        }
        *request.body_mut() = half.to_string().into();
        MutationResult::Passes
    })
}

#[test]
fn invariant_13_of_two_decisions_one_gets_200_and_the_other_the_winners_result() {
    for seed in 0..SEEDS {
        simulate(start(seed), async |sim| {
            let path = open_conflict(sim).await;
            let decide = async |who: &str, choice: &str| {
                let headers = [("idempotency-key", who)];
                let body = Some(json!({"choose": choice}));
                sim.api(Method::POST, &path, &headers, body).await.unwrap()
            };
            let (one, two) = tokio::join!(decide("carol", "app"), decide("dave", "drive"));
            let (winner, loser, key) = match (one.status, two.status) {
                (200, 409) => (one, two, "carol"),
                (409, 200) => (two, one, "dave"),
                other => panic!("seed {seed}: {other:?}"),
            };
            assert_eq!(
                loser.body["current"]["resolution"], winner.body["resolution"],
                "{}",
                loser.body
            );
            let choice = winner.body["resolution"]["choose"]
                .as_str()
                .unwrap()
                .to_owned();
            let again = decide(key, &choice).await;
            assert_eq!((again.status, &again.body), (200, &winner.body));
            sim.converge().await.unwrap();
        });
    }
}

#[test]
fn invariant_14_a_decision_never_overwrites_an_edit_in_drive_that_it_did_not_see() {
    for seed in 0..SEEDS {
        simulate(start(seed), async |sim| {
            let path = open_conflict(sim).await;
            let [one, ..] = files(sim);
            let body = Some(json!({"choose": "app"}));
            let decision = sim.api(Method::POST, &path, &[], body);
            let person = async {
                tokio::time::sleep(Duration::from_millis(seed * 3)).await;
                sim.simulator()
                    .apply("alice", &one, Edit::Rename("again".to_owned()))
                    .unwrap();
                sim.api(Method::POST, "/sync", &[], Some(json!({"mode": "delta"})))
                    .await;
            };
            tokio::join!(decision, person);
            sim.converge().await.unwrap();
            let there = sim.simulator().file(&one).unwrap().name;
            let record = sim.record(&one).await.unwrap();
            let open = record.open.contains_key(&domain::Field::Name);
            // Her second name is still in Drive: either the conflict is open, or it was agreed.
            assert_eq!(there, "again", "seed {seed}: {record:?}");
            assert!(
                open || record.app(&domain::Field::Name) == FieldValue::text("again"),
                "seed {seed}: {record:?}"
            );
        });
    }
}

#[test]
fn invariant_15_an_edit_and_what_is_owed_for_it_are_one_write() {
    for call in 0..8 {
        for side in [Side::Before, Side::After] {
            simulate(start(2), async |sim| {
                let [one, ..] = files(sim);
                sim.wire().crash_at(call, side);
                let body = Some(json!({"name": "ours"}));
                sim.api(
                    Method::PATCH,
                    &format!("/files/{one}"),
                    &[("if-match", "*")],
                    body,
                )
                .await;
                let file = FileId::parse(&one).unwrap();
                let record = sim.record(&one).await.unwrap();
                let edited = record.app(&domain::Field::Name) == FieldValue::text("ours");
                let due = sim
                    .store()
                    .due_files(sim.key(), sim.now(), 10)
                    .await
                    .unwrap();
                assert_eq!(record.due().is_some(), edited, "call {call}, {side:?}");
                assert_eq!(due.contains(&file), edited, "call {call}, {side:?}");
                sim.converge().await.unwrap();
                assert_eq!(sim.simulator().file(&one).unwrap().name == "ours", edited);
            });
        }
    }
}

#[test]
fn invariant_16_an_edit_lands_in_drive_once_wherever_its_push_is_interrupted() {
    for call in 0..40 {
        for side in [Side::Before, Side::After] {
            simulate(start(3), async |sim| {
                let [one, ..] = files(sim);
                edit(sim, &one, json!({"name": "ours"})).await;
                sim.wire().crash_at(call, side);
                sim.converge().await.unwrap();
                assert_eq!(landed(sim, "ours"), 1, "call {call}, {side:?}");
            });
        }
    }
}

#[test]
fn invariant_22_a_warm_process_does_what_a_cold_one_does() {
    let cold = Start {
        cold: true,
        ..start(4)
    };
    for flow in FLOWS {
        let (warm, cold) = (ends(flow, &start(4)), ends(flow, &cold));
        assert_eq!(warm.unwrap(), cold.unwrap(), "{}", flow.0);
    }
}

#[test]
fn invariant_33_a_function_out_of_time_returns_its_unprocessed_messages() {
    let [flow, ..] = FLOWS;
    let unlimited = ends(flow, &start(5)).unwrap();
    for millis in (0..400).step_by(20) {
        let limited = Start {
            time_limit: Some(Duration::from_millis(millis)),
            ..start(5)
        };
        assert_eq!(ends(flow, &limited).unwrap(), unlimited, "{millis} ms left");
    }
}

#[test]
fn invariant_36_clocks_ten_minutes_apart_change_no_outcome() {
    for flow in FLOWS {
        let right = ends(flow, &start(6)).unwrap();
        for skew_seconds in [-600, 600] {
            let skewed = Start {
                skew_seconds,
                ..start(6)
            };
            assert_eq!(
                ends(flow, &skewed).unwrap(),
                right,
                "{}: {skew_seconds} s",
                flow.0
            );
        }
    }
}
