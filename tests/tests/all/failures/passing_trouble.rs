//! Trouble that passes, and answers that are not to be believed at once: nothing of it is a lasting
//! verdict, and nobody has to touch a thousand records.

use std::time::Duration;

use drive_simulator::{Edit, Simulator};
use http::Method;
use serde_json::{Value, json};

use crate::support::{ByHand, Outside, by_hand, own};

/// Runs the schedule for this many minutes.
async fn minutes(hand: &ByHand, minutes: u32) {
    for _ in 0..minutes {
        hand.advance_clock(Duration::from_secs(60));
        hand.sweep_and_pump().await;
    }
}

/// Runs the schedule until a condition holds.
async fn run_until(hand: &ByHand, what: &str, so: impl AsyncFn() -> bool) {
    for _ in 0..40 {
        if so().await {
            return;
        }
        minutes(hand, 1).await;
    }
    panic!("never: {what}");
}

fn page(status: u16) -> Value {
    json!({"status": status, "html": true})
}

async fn open_conflicts(world: &Outside) -> Value {
    world.get("/conflicts?status=open").await["items"].clone()
}

#[test]
fn regression_edits_stay_owed_while_drive_refuses_writes_for_hours() {
    by_hand(30, async |hand| {
        let files: Vec<String> = (0..20).map(|_| hand.take()).collect();
        let theirs = hand.take();
        for refusal in [json!({"status": 503}), page(403)] {
            hand.fault(json!({"match": "PATCH /drive/v2/files/*", "times": 0,
                "respond": refusal}));
            for (number, file) in files.iter().enumerate() {
                let name = format!("{number} while {} is down.txt", refusal["status"]);
                hand.edit_ok(file, json!({ "name": name })).await;
            }
            hand.pump().await;
            minutes(hand, 180).await;
            let status = hand.get("/status").await;
            assert_eq!(status["attention"]["failed"], 0, "{status}");
            assert_eq!(status["attention"]["owed"], 20, "{status}");
            assert!(status["writes"]["refused_since"].is_string(), "{status}");
            let reason = status["writes"]["reason"].as_str().unwrap();
            assert!(reason.contains(&refusal["status"].to_string()), "{reason}");
            assert_eq!(status["state"], "active");
            let intent = hand.file(&files[0]).await["intent"].clone();
            assert_eq!(intent["status"], "owed");
            assert!(intent["trouble"]["times"].as_u64().unwrap() > 0, "{intent}");
            // Reading goes on.
            let edit = Edit::Rename(format!("theirs {}.txt", refusal["status"]));
            let owner = Simulator::library_owner();
            hand.simulator.apply(owner, &theirs, edit).unwrap();
            run_until(hand, "it is read", async || {
                let name = hand.file(&theirs).await["fields"]["name"].clone();
                name == format!("theirs {}.txt", refusal["status"])
            })
            .await;
            hand.simulator.clear_faults();
            run_until(hand, "all is pushed", async || {
                hand.differences().await.is_empty()
            })
            .await;
            let status = hand.get("/status").await;
            assert_eq!(status["writes"]["refused_since"], Value::Null);
            assert_eq!(status["attention"]["owed"], 0);
        }
        assert_eq!(open_conflicts(hand).await, json!([]));
    });
}

#[test]
fn regression_one_404_is_no_fact_about_a_file_an_edit_or_a_cursor() {
    own(async |world| {
        for respond in [json!({"status": 404, "reason": "notFound"}), page(404)] {
            for call in ["GET /drive/v2/files/*", "PATCH /drive/v2/files/*"] {
                let file = world.take();
                world.fault(json!({"match": call, "times": 1, "respond": respond}));
                let name = format!("despite {}.txt", file);
                world.edit_ok(&file, json!({ "name": name })).await;
                let at = world
                    .file_until("it is pushed", &file, |f| f["intent"].is_null())
                    .await;
                assert_eq!(
                    (&at["presence"], &at["gone_at"]),
                    (&json!("present"), &json!(null))
                );
                assert_eq!(world.owner().name_of(&file).await, name);
            }
            let file = world.take();
            world.fault(json!({"match": "GET /drive/v3/changes", "times": 1, "respond": respond}));
            world.owner().rename(&file, "seen.txt").await;
            world
                .file_until("it is seen", &file, |f| f["fields"]["name"] == "seen.txt")
                .await;
        }
        assert!(world.simulator.pending_faults().is_empty());
        assert_eq!(open_conflicts(world).await, json!([]));
        let operations = world.get("/operations").await;
        assert_eq!(
            operations["items"].as_array().unwrap().len(),
            1,
            "no resync"
        );
    });
}

#[test]
fn a_file_that_is_not_found_for_ten_minutes_is_gone_if_the_account_works() {
    by_hand(4, async |hand| {
        let (file, all) = (hand.take(), hand.take());
        let missing = json!({"status": 404, "reason": "notFound"});
        let fault = |pattern: &str| json!({"match": pattern, "times": 0, "respond": missing});
        hand.fault(fault("GET /drive/v2/files/*"));
        hand.edit_ok(&all, json!({"name": "nothing is found.txt"}))
            .await;
        hand.pump().await;
        minutes(hand, 30).await;
        assert_eq!(
            hand.file(&all).await["presence"],
            "present",
            "not even the root"
        );
        hand.simulator.clear_faults();
        run_until(hand, "it is pushed", async || {
            hand.file(&all).await["intent"].is_null()
        })
        .await;

        hand.fault(fault(&format!("GET /drive/v2/files/{file}")));
        hand.edit_ok(&file, json!({"name": "not found.txt"})).await;
        hand.pump().await;
        minutes(hand, 8).await;
        assert_eq!(hand.file(&file).await["presence"], "present");
        minutes(hand, 20).await;
        assert_eq!(hand.file(&file).await["presence"], "removed");
        assert_eq!(open_conflicts(hand).await.as_array().unwrap().len(), 1);
    });
}

#[test]
fn regression_what_failed_for_a_reason_that_passes_goes_on_by_itself() {
    by_hand(4, async |hand| {
        let file = hand.take();
        let full = json!({"status": 403, "reason": "storageQuotaExceeded"});
        hand.fault(json!({"match": "PATCH /drive/v2/files/*", "times": 0, "respond": full}));
        hand.edit_ok(&file, json!({"name": "when there is room.txt"}))
            .await;
        hand.pump().await;
        let intent = hand.file(&file).await["intent"].clone();
        assert_eq!(
            (&intent["status"], &intent["reason"]),
            (&json!("failed"), &json!("storageQuotaExceeded"))
        );
        assert!(intent["next_attempt_at"].is_string(), "{intent}");
        let listed = hand.get("/intents?status=failed").await;
        assert_eq!(listed["items"].as_array().unwrap().len(), 1);
        minutes(hand, 120).await;
        let attempts = hand.calls("v2.files.patch");
        assert!((4..=10).contains(&attempts), "{attempts} in two hours");
        assert_eq!(hand.get("/status").await["attention"]["failed"], 1);
        hand.simulator.clear_faults();
        hand.post("/sync", json!({"mode": "delta"})).await;
        run_until(hand, "it is pushed", async || {
            hand.file(&file).await["intent"].is_null()
        })
        .await;
        assert_eq!(hand.owner().name_of(&file).await, "when there is room.txt");
    });
}

#[test]
fn regression_an_unknown_reason_is_trouble_for_a_day_and_then_shown() {
    by_hand(4, async |hand| {
        let file = hand.take();
        let strange = json!({"status": 403, "reason": "somethingNew"});
        hand.fault(json!({"match": "PATCH /drive/v2/files/*", "times": 0, "respond": strange}));
        hand.edit_ok(&file, json!({"name": "strange.txt"})).await;
        hand.pump().await;
        minutes(hand, 60).await;
        let intent = hand.file(&file).await["intent"].clone();
        assert_eq!(
            (&intent["status"], &intent["trouble"]["reason"]),
            (&json!("owed"), &json!("somethingNew"))
        );
        for _ in 0..200 {
            hand.advance_clock(Duration::from_secs(480));
            hand.sweep_and_pump().await;
        }
        let intent = hand.file(&file).await["intent"].clone();
        assert_eq!(
            (&intent["status"], &intent["reason"]),
            (&json!("failed"), &json!("somethingNew"))
        );
        assert!(intent["next_attempt_at"].is_string(), "{intent}");
    });
}

#[test]
fn a_current_condition_that_drive_keeps_refusing_ends_in_a_question() {
    by_hand(4, async |hand| {
        let file = hand.take();
        let pattern = format!("PATCH /drive/v2/files/{file}");
        let refused = json!({"status": 412, "reason": "conditionNotMet"});
        hand.fault(json!({"match": pattern, "times": 0, "respond": refused}));
        hand.edit_ok(&file, json!({"name": "refused.txt"})).await;
        hand.pump().await;
        minutes(hand, 3).await;
        let intent = hand.file(&file).await["intent"].clone();
        assert_eq!(intent["status"], "owed");
        assert_eq!(intent["trouble"]["reason"], "conditionNotMet");
        assert!(intent["trouble"]["times"].as_u64().unwrap() > 1, "{intent}");
        minutes(hand, 60).await;
        let intent = hand.file(&file).await["intent"].clone();
        assert_eq!(
            (
                &intent["status"],
                &intent["reason"],
                &intent["next_attempt_at"]
            ),
            (&json!("failed"), &json!("conditionNotMet"), &json!(null))
        );
        let attempts = hand.calls("v2.files.patch");
        minutes(hand, 60).await;
        assert_eq!(hand.calls("v2.files.patch"), attempts, "not for ever");
        hand.simulator.clear_faults();
        for again in [false, true] {
            let filter = Some(json!({"reason": "conditionNotMet"}));
            let key = [("idempotency-key", "retry-all")];
            let answer = hand.api(Method::POST, "/intents/retry", &key, filter).await;
            assert_eq!(answer.body["changed"], 1, "again {again}: {}", answer.body);
        }
        run_until(hand, "it is pushed", async || {
            hand.file(&file).await["intent"].is_null()
        })
        .await;
    });
}

#[test]
fn one_file_that_is_answered_500_for_ever_stops_no_other() {
    by_hand(12, async |hand| {
        let broken = hand.take();
        let pattern = format!("PATCH /drive/v2/files/{broken}");
        hand.fault(json!({"match": pattern, "times": 0, "respond": {"status": 500}}));
        hand.edit_ok(&broken, json!({"name": "damaged.txt"})).await;
        hand.pump().await;
        minutes(hand, 30).await;
        for number in 0..8 {
            let file = hand.take();
            hand.edit_ok(&file, json!({"name": format!("sound {number}.txt")}))
                .await;
            hand.pump().await;
            assert!(hand.file(&file).await["intent"].is_null(), "at once");
            minutes(hand, 5).await;
        }
        let intent = hand.file(&broken).await["intent"].clone();
        assert_eq!(intent["status"], "owed", "{intent}");
        hand.simulator.clear_faults();
        run_until(hand, "it is pushed", async || {
            hand.file(&broken).await["intent"].is_null()
        })
        .await;
    });
}

#[test]
fn regression_what_was_set_aside_while_suspended_goes_on_when_resumed() {
    by_hand(4, async |hand| {
        let (removed, edited) = (hand.take(), hand.take());
        hand.owner().delete(&removed).await;
        hand.wait_for_wake().await;
        hand.pump_only(local::aws::Queue::LogWakes).await;
        hand.fault(
            json!({"match": "POST /token", "times": 0, "respond": {"status": 400,
            "reason": "invalid_grant"}}),
        );
        hand.simulator.invalidate_tokens(true, false);
        hand.edit_ok(&edited, json!({"name": "owed.txt"})).await;
        hand.receive_limit(local::aws::Queue::Snapshots, 2);
        minutes(hand, 60).await;
        assert_eq!(hand.get("/status").await["state"], "suspended");
        let parked = format!("/v1/dead-letters?connection={}", hand.key.connection);
        let letters = hand.ask(Method::GET, &parked, None).await.body;
        assert_eq!(letters["items"].as_array().unwrap().len(), 1, "{letters}");
        assert_eq!(hand.file(&removed).await["presence"], "present");
        hand.simulator.clear_faults();
        hand.post("/resume", json!({})).await;
        minutes(hand, 3).await;
        assert_eq!(hand.file(&removed).await["presence"], "removed");
        assert_eq!(hand.owner().name_of(&edited).await, "owed.txt");
        let letters = hand.ask(Method::GET, &parked, None).await.body;
        assert_eq!(letters["items"], json!([]));
    });
}
