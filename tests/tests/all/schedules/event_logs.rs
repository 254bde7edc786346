//! The event log and its readers, in virtual time.

use std::time::Duration;

use drive_simulator::Edit;
use http::Method;
use serde_json::json;

use super::bugs::wakes_apart;
use super::crash::{edit, files, open_conflict};
use crate::support::sim::{FaultRates, Side, Sim, Start, simulate};

fn start(seed: u64) -> Start {
    Start {
        seed,
        files: 2,
        folders: 1,
        events: true,
        ..Start::default()
    }
}

const FAULTS: FaultRates = FaultRates {
    answer_lost: 20,
    not_done: 20,
    refused: 20,
    crash: 20,
};

/// Changes by a person and by a program.
async fn edited(sim: &Sim) {
    let [one, two, folder] = files(sim);
    let apply = |file: &str, edit| sim.simulator().apply("owner", file, edit).unwrap();
    apply(&one, Edit::Rename("hers".to_owned()));
    edit(sim, &two, json!({"name": "ours"})).await;
    apply(&two, Edit::Move(folder));
}

async fn assert_told(sim: &Sim, what: &str) {
    let wrong = sim.event_problems(sim.key()).await;
    assert!(wrong.is_empty(), "{what}: {}", wrong.join("\n"));
}

#[test]
fn invariant_35_every_change_is_reported_and_every_reader_has_all_of_them() {
    for seed in 0..6 {
        simulate(start(seed), async |sim| {
            open_conflict(sim).await;
            sim.wire().set_fault_rates(FAULTS);
            edited(sim).await;
            sim.redeploy();
            sim.converge().await.unwrap();
            sim.wire().set_fault_rates(FAULTS);
            let body = Some(json!({"mode": "full"}));
            sim.api(Method::POST, "/sync", &[], body).await;
            let [one, ..] = files(sim);
            let again = Edit::Rename("hers again".to_owned());
            sim.simulator().apply("owner", &one, again).unwrap();
            sim.converge().await.unwrap();
            assert_told(sim, &format!("seed {seed}")).await;
        });
    }
}

#[test]
fn a_publisher_that_crashes_at_any_call_tells_every_change() {
    for side in [Side::Before, Side::After] {
        for call in 0.. {
            let crashed = simulate(start(call % 3), async |sim| {
                sim.wire().crash_in("publish-events", call, side);
                edited(sim).await;
                sim.converge().await.unwrap();
                assert_told(sim, &format!("crash {side:?} call {call}")).await;
                !sim.wire().is_to_crash()
            });
            if !crashed {
                assert!(call > 5, "{call} calls");
                break;
            }
        }
    }
}

#[test]
fn workers_that_are_woken_at_once_deliver_to_an_endpoint_one_at_a_time() {
    for seed in 0..3 {
        let start = Start {
            mutation: Some(wakes_apart()),
            ..start(seed)
        };
        simulate(start, async |sim| {
            sim.wire().set_fault_rates(FAULTS);
            edited(sim).await;
            sim.converge().await.unwrap();
            assert_told(sim, &format!("seed {seed}")).await;
        });
    }
}

#[test]
fn no_event_crosses_from_one_tenant_to_another() {
    for seed in 0..3 {
        simulate(start(seed), async |sim| {
            let other = sim.tenant("other", "alice").await;
            sim.wire().set_fault_rates(FaultRates {
                crash: 20,
                ..FaultRates::NONE
            });
            let hers = sim.simulator().create_file(
                "alice",
                "hers.txt",
                None,
                bytes::Bytes::from_static(b"x"),
            );
            edited(sim).await;
            let edit = Edit::Rename("hers, too.txt".to_owned());
            sim.simulator()
                .apply("alice", &hers.unwrap(), edit)
                .unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
            for key in [sim.key(), &other.key] {
                let wrong = sim.event_problems(key).await;
                assert!(wrong.is_empty(), "{key}: {}", wrong.join("\n"));
            }
        });
    }
}
