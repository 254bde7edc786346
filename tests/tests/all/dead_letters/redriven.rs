//! Dead letters are redriven, or dropped by a decision; healthy messages never become dead letters.

use std::time::Duration;

use http::Method;
use local::aws::Queue;
use serde_json::{Value, json};

use crate::support::{Answer, ByHand, by_hand};

/// Slightly more than the visibility timeout, after which unacknowledged messages are received
/// again.
const IN_FLIGHT: Duration = Duration::from_secs(91);

/// Returns the dead letters of one status, or of `all`.
async fn list_dead_letters(hand: &ByHand, status: &str) -> Vec<Value> {
    let path = format!(
        "/v1/dead-letters?status={status}&connection={}",
        hand.key.connection
    );
    let answer = hand.ask(Method::GET, &path, None).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["next_cursor"], Value::Null);
    answer.body["items"].as_array().unwrap().clone()
}

async fn redrive(hand: &ByHand, body: Value) -> Answer {
    hand.ask(Method::POST, "/v1/dead-letters/redrive", Some(body))
        .await
}

/// Renames a file in Drive, and lets its snapshot be received without success until SQS moves it to
/// the dead-letter queue.
async fn dead_letter(hand: &ByHand, file: &str, name: &str) -> Value {
    hand.owner().rename(file, name).await;
    hand.wait_for_wake().await;
    hand.pump_only(Queue::LogWakes).await;
    exhaust_receives(hand).await;
    let all = list_dead_letters(hand, "parked").await;
    let mine = all.iter().find(|letter| letter["file_id"] == file);
    mine.unwrap_or_else(|| panic!("{file} is not among {all:?}"))
        .clone()
}

/// Receives the queued snapshots without success until all are dead letters, and records them.
async fn exhaust_receives(hand: &ByHand) {
    hand.receive_limit(Queue::Snapshots, 1);
    while hand.waiting(Queue::Snapshots) > 0 {
        hand.receive(Queue::Snapshots).await;
        hand.advance_clock(IN_FLIGHT);
    }
    hand.sweep().await;
}

async fn name(hand: &ByHand, file: &str) -> Value {
    hand.file(file).await["fields"]["name"].clone()
}

#[test]
fn invariant_24_a_redrive_is_idempotent_and_not_deduplicated() {
    for wait in [Duration::from_secs(10), Duration::from_secs(600)] {
        by_hand(4, async |hand| {
            let file = hand.take();
            let letter = dead_letter(hand, &file, "late.txt").await;
            assert_eq!(
                (&letter["status"], &letter["redrives"]),
                (&json!("parked"), &json!(0))
            );
            hand.pump().await;
            assert_ne!(name(hand, &file).await, "late.txt");
            hand.advance_clock(wait);

            let body = json!({"ids": [letter["id"]]});
            let (one, other) =
                tokio::join!(redrive(hand, body.clone()), redrive(hand, body.clone()));
            for answer in [one, other] {
                assert_eq!(answer.body["results"][0]["status"], 200, "{}", answer.body);
                assert_eq!(answer.body["results"][0]["letter"]["status"], "redriven");
            }
            assert_eq!(hand.waiting(Queue::Snapshots), 1, "two at once send one");
            hand.pump().await;
            assert_eq!(name(hand, &file).await, "late.txt");
            // The response was lost: the caller repeats the request.
            let again = redrive(hand, body).await;
            let letter = &again.body["results"][0]["letter"];
            assert_eq!(
                (&letter["status"], &letter["redrives"]),
                (&json!("redriven"), &json!(1))
            );
            assert_eq!(hand.waiting(Queue::Snapshots), 0);
            assert_eq!(list_dead_letters(hand, "parked").await, Vec::<Value>::new());
            let redriven = list_dead_letters(hand, "redriven").await;
            let events = |letter: &Value| -> Vec<Value> {
                let history = letter["history"].as_array().unwrap();
                history.iter().map(|event| event["event"].clone()).collect()
            };
            assert_eq!(events(&redriven[0]), ["parked", "redriven"]);
            assert!(redriven[0]["history"][1]["by"].is_string(), "{redriven:?}");
            assert_eq!(hand.differences().await, Vec::<String>::new());
        });
    }
}

#[test]
fn invariant_24_a_redrive_that_fails_again_keeps_its_history_and_can_be_repeated() {
    by_hand(4, async |hand| {
        let file = hand.take();
        let letter = dead_letter(hand, &file, "late.txt").await;
        let body = json!({"ids": [letter["id"]]});
        for round in 1..=3 {
            let answer = redrive(hand, body.clone()).await;
            assert_eq!(answer.body["results"][0]["status"], 200, "{}", answer.body);
            assert_eq!(
                hand.waiting(Queue::Snapshots),
                1,
                "round {round} is not swallowed"
            );
            exhaust_receives(hand).await;
            let path = format!("/v1/dead-letters/{}", letter["id"].as_str().unwrap());
            let back = hand.ask(Method::GET, &path, None).await.body;
            assert_eq!(
                (&back["status"], &back["redrives"]),
                (&json!("parked"), &json!(round))
            );
            assert_eq!(
                back["history"].as_array().unwrap().len(),
                1 + 2 * round,
                "{back}"
            );
            assert_eq!(
                (&back["body"], &back["id"]),
                (&letter["body"], &letter["id"])
            );
        }
        redrive(hand, body).await;
        hand.pump().await;
        assert_eq!(name(hand, &file).await, "late.txt");
        assert_eq!(list_dead_letters(hand, "parked").await, Vec::<Value>::new());
    });
}

#[test]
fn invariant_24_an_interrupted_redrive_is_completed_by_its_repetition() {
    by_hand(4, async |hand| {
        let file = hand.take();
        let mut cut_off = 0;
        loop {
            let new_name = format!("cut-{cut_off}.txt");
            let letter = dead_letter(hand, &file, &new_name).await;
            let body = json!({"ids": [letter["id"]]});
            let path = "/v1/dead-letters/redrive";
            let crashed = hand.api_crashes(path, &body, cut_off).await;
            let answer = redrive(hand, body).await;
            let after = &answer.body["results"][0]["letter"];
            assert_eq!(
                (&after["status"], &after["redrives"]),
                (&json!("redriven"), &json!(1))
            );
            assert_eq!(
                hand.waiting(Queue::Snapshots),
                1,
                "cut off at call {cut_off}"
            );
            hand.pump().await;
            assert_eq!(name(hand, &file).await, new_name.as_str());
            if !crashed {
                break;
            }
            cut_off += 1;
        }
        assert!(
            cut_off >= 4,
            "the connection, the letter, the message, the record: {cut_off}"
        );
    });
}

#[test]
fn all_parked_dead_letters_are_redriven_and_no_others() {
    by_hand(6, async |hand| {
        let files = [hand.take(), hand.take(), hand.take()];
        // Together: one that waits is soon sent again by itself.
        for (at, file) in files.iter().enumerate() {
            hand.owner().rename(file, &format!("late-{at}.txt")).await;
        }
        hand.wait_for_wake().await;
        hand.pump_only(Queue::LogWakes).await;
        exhaust_receives(hand).await;
        let all = json!({"all": true, "connection": hand.key.connection.as_str()});
        let answer = redrive(hand, all.clone()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(
            answer.body["results"].as_array().unwrap().len(),
            3,
            "{}",
            answer.body
        );
        assert_eq!(answer.body["next_cursor"], Value::Null);
        hand.pump().await;
        for (at, file) in files.iter().enumerate() {
            assert_eq!(name(hand, file).await, format!("late-{at}.txt").as_str());
        }
        assert_eq!(redrive(hand, all).await.body["results"], json!([]));
        assert_eq!(hand.differences().await, Vec::<String>::new());

        let long = vec!["x"; 101];
        for (body, status) in [
            (json!({}), 422),
            (json!({"all": true}), 422),
            (json!({"all": false, "connection": "x"}), 422),
            (json!({"ids": []}), 422),
            (json!({"ids": long}), 422),
            (json!({"ids": ["x"], "all": true}), 422),
            (json!({"all": true, "connection": "a/b"}), 422),
            (json!({"all": true, "connection": "unknown"}), 404),
            (
                json!({"all": true, "connection": hand.key.connection.as_str(), "cursor": "?"}),
                400,
            ),
        ] {
            let answer = redrive(hand, body.clone()).await;
            assert_eq!(answer.status, status, "{body}: {}", answer.body);
        }
        let unknown = redrive(hand, json!({"ids": ["x"]})).await;
        assert_eq!(
            unknown.body["results"][0]["status"], 404,
            "{}",
            unknown.body
        );
    });
}

#[test]
fn a_dead_letter_is_dropped_only_with_a_reason_and_stays_on_record() {
    by_hand(4, async |hand| {
        let file = hand.take();
        let letter = dead_letter(hand, &file, "late.txt").await;
        let path = format!("/v1/dead-letters/{}/drop", letter["id"].as_str().unwrap());
        let drop = async |body: Value| hand.ask(Method::POST, &path, Some(body)).await;
        for body in [
            json!({}),
            json!({"reason": ""}),
            json!({"reason": "  "}),
            json!({"reason": 7}),
            json!({"reason": "x".repeat(1_001)}),
            json!({"reason": "x", "force": true}),
        ] {
            assert_eq!(drop(body).await.status, 422);
        }
        assert_eq!(
            list_dead_letters(hand, "parked").await.len(),
            1,
            "nothing was dropped"
        );
        for _ in 0..2 {
            let dropped = drop(json!({"reason": "renamed by mistake"})).await;
            assert_eq!(dropped.status, 200, "{}", dropped.body);
        }
        assert_eq!(drop(json!({"reason": "another"})).await.status, 409);
        let sent = redrive(hand, json!({"ids": [letter["id"]]})).await;
        assert_eq!(sent.body["results"][0]["status"], 409, "{}", sent.body);
        assert_eq!(hand.waiting(Queue::Snapshots), 0);
        assert_eq!(list_dead_letters(hand, "parked").await, Vec::<Value>::new());
        let dropped = list_dead_letters(hand, "dropped").await;
        let last = &dropped[0]["history"][1];
        assert_eq!(
            (&last["event"], &last["reason"]),
            (&json!("dropped"), &json!("renamed by mistake"))
        );
        assert!(last["by"].is_string() && last["at"].is_string());

        let second = dead_letter(hand, &file, "later.txt").await;
        redrive(hand, json!({"ids": [second["id"]]})).await;
        let path = format!("/v1/dead-letters/{}/drop", second["id"].as_str().unwrap());
        let late = hand
            .ask(Method::POST, &path, Some(json!({"reason": "late"})))
            .await;
        assert_eq!(late.status, 409, "it is on its way: {}", late.body);
    });
}

#[test]
fn another_tenant_can_not_see_redrive_or_drop_a_dead_letter() {
    by_hand(4, async |hand| {
        let file = hand.take();
        let letter = dead_letter(hand, &file, "late.txt").await;
        let id = letter["id"].as_str().unwrap();
        let token = Some(hand.stranger.as_str());
        let call = async |method: Method, path: &str, body: Option<&str>| {
            hand.call(token, method, path, &[], body).await
        };
        let listed = call(Method::GET, "/v1/dead-letters?status=all", None).await;
        assert_eq!((listed.status, &listed.body["items"]), (200, &json!([])));
        let path = format!("/v1/dead-letters/{id}");
        assert_eq!(call(Method::GET, &path, None).await.status, 404);
        let drop = call(
            Method::POST,
            &format!("{path}/drop"),
            Some(r#"{"reason":"x"}"#),
        )
        .await;
        assert_eq!(drop.status, 404, "{}", drop.body);
        let body = json!({"ids": [id]}).to_string();
        let sent = call(Method::POST, "/v1/dead-letters/redrive", Some(&body)).await;
        assert_eq!(sent.body["results"][0]["status"], 404, "{}", sent.body);
        let all = json!({"all": true, "connection": hand.key.connection.as_str()}).to_string();
        let sent = call(Method::POST, "/v1/dead-letters/redrive", Some(&all)).await;
        assert_eq!(sent.status, 404, "{}", sent.body);
        assert_eq!(hand.waiting(Queue::Snapshots), 0);
        assert_eq!(list_dead_letters(hand, "parked").await, [letter]);
    });
}

/// Changes ten files in Drive and queues the changes, one message each.
async fn change_ten_files(hand: &ByHand) -> Vec<String> {
    let files: Vec<String> = (0..10).map(|_| hand.take()).collect();
    for (at, file) in files.iter().enumerate() {
        hand.owner()
            .rename(file, &format!("changed-{at}.txt"))
            .await;
    }
    hand.wait_for_wake().await;
    hand.pump_only(Queue::LogWakes).await;
    assert_eq!(hand.waiting(Queue::Snapshots), 10);
    files
}

#[test]
fn invariant_21_all_other_messages_of_a_batch_with_a_poison_message_are_applied() {
    for receives_max in [4, 5, 12] {
        by_hand(16, async |hand| {
            let files = change_ten_files(hand).await;
            let poison = files[receives_max as usize % 10].as_str();
            hand.receive_limit(Queue::Snapshots, receives_max);
            let mut killed = 0;
            loop {
                let received = hand.receive(Queue::Snapshots).await;
                if received.is_empty() {
                    break;
                }
                let crashed = hand
                    .deliver_poisoned(Queue::Snapshots, &received, poison)
                    .await;
                killed += u32::from(crashed);
                hand.advance_clock(IN_FLIGHT);
            }
            assert_eq!(killed, receives_max, "it killed its function each time");
            hand.sweep().await;
            let dead = list_dead_letters(hand, "all").await;
            assert_eq!(dead.len(), 1, "{dead:?}");
            assert_eq!(dead[0]["file_id"], poison);
            for (at, file) in files.iter().enumerate() {
                let applied = name(hand, file).await == format!("changed-{at}.txt").as_str();
                assert_eq!(applied, file != poison, "file {at}");
            }
        });
    }
}

#[test]
fn invariant_20_the_group_of_a_message_that_kills_its_function_continues() {
    by_hand(16, async |hand| {
        let files = change_ten_files(hand).await;
        let poison = files[0].as_str();
        hand.receive_limit(Queue::Snapshots, 4);
        for _ in 0..4 {
            let received = hand.receive(Queue::Snapshots).await;
            let crashed = hand
                .deliver_poisoned(Queue::Snapshots, &received, poison)
                .await;
            assert!(crashed);
            hand.advance_clock(IN_FLIGHT);
        }
        // The next change of the same file arrives before the poison message is a dead letter.
        hand.owner().rename(poison, "healthy.txt").await;
        hand.wait_for_wake().await;
        hand.pump().await;
        assert_eq!(name(hand, poison).await, "healthy.txt");
        assert_eq!(hand.differences().await, Vec::<String>::new());
        // The dead letter is outdated: a redrive changes nothing.
        hand.sweep().await;
        let dead = list_dead_letters(hand, "parked").await;
        assert_eq!(dead.len(), 1, "{dead:?}");
        redrive(hand, json!({"ids": [dead[0]["id"]]})).await;
        hand.pump().await;
        assert_eq!(name(hand, poison).await, "healthy.txt");
    });
}
