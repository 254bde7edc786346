//! From the application into Drive.

use domain::content::ContentOrigin;
use domain::{Choice, Field, Value};
use drive_simulator::Fault;
use http::Method;
use local::aws::Queue;
use serde_json::{Value as Json, json};

use super::content_wakes::{apply, content, mirror, mirrored};
use super::{bytes_of, in_drive, intact, record, upload, versions};
use crate::support::{ByHand, by_hand, items};

async fn policy(hand: &ByHand, policy: &str) {
    let policies = json!({"policies": {"fields": {"content": policy}}});
    hand.configure(policies).await;
}

/// Runs the schedule until everything owed is pushed.
async fn run_until_pushed(hand: &ByHand) {
    for _ in 0..30 {
        hand.sweep_and_pump().await;
        hand.sync().await;
        hand.pump().await;
        hand.advance_clock(std::time::Duration::from_secs(400));
    }
}

async fn sha256_in_drive(hand: &ByHand, file: &str) -> String {
    let path = format!("/drive/v3/files/{file}?fields=sha256Checksum");
    let answer = hand.owner().done(Method::GET, &path, None).await;
    answer["sha256Checksum"].as_str().unwrap().to_owned()
}

/// Returns the number of revisions that Drive has of a file.
async fn revisions(hand: &ByHand, file: &str) -> usize {
    let path = format!("/drive/v3/files/{file}/revisions?fields=revisions(id)");
    let answer = hand.owner().done(Method::GET, &path, None).await;
    answer["revisions"].as_array().unwrap().len()
}

#[test]
fn an_upload_reaches_drive_as_a_new_revision_and_its_echo_is_no_change() {
    mirrored(2, async |hand| {
        let file = hand.take();
        content(hand, &file, "before");
        apply(hand).await;
        hand.pump().await;
        let before = record(hand, &file).await.content_version;
        upload(hand, &file, b"by the application").await;
        hand.pump().await;
        assert_eq!(in_drive(hand, &file).await.as_ref(), b"by the application");
        apply(hand).await;
        hand.pump().await;
        let now = record(hand, &file).await;
        assert_eq!(now.content_version, before + 1);
        assert!(!now.content_owed() && now.open.is_empty());
        let stored = versions(hand, &file).await;
        assert_eq!(
            (stored[0].number, &stored[0].origin),
            (before + 1, &ContentOrigin::Application)
        );
        assert_eq!(stored[0].by.as_deref(), Some("ann"));
        intact(hand, &file).await;
    });
}

#[test]
fn empty_content_can_be_uploaded() {
    mirrored(2, async |hand| {
        let file = hand.take();
        content(hand, &file, "something");
        apply(hand).await;
        hand.pump().await;
        upload(hand, &file, b"").await;
        run_until_pushed(hand).await;
        assert_eq!(in_drive(hand, &file).await.len(), 0);
        assert!(!record(hand, &file).await.content_owed());
    });
}

#[test]
fn an_upload_and_a_change_in_drive_are_a_conflict_with_both_contents() {
    mirrored(2, async |hand| {
        let file = hand.take();
        upload(hand, &file, b"ours").await;
        content(hand, &file, "theirs");
        run_until_pushed(hand).await;
        assert_eq!(in_drive(hand, &file).await.as_ref(), b"theirs");
        let held = record(hand, &file).await;
        let conflict = held.open_conflict(&Field::Content).unwrap();
        let theirs = sha256_in_drive(hand, &file).await;
        assert_eq!(held.sides(&Field::Content).drive(), &Value::Text(theirs));
        let ours = versions(hand, &file).await;
        assert_eq!(bytes_of(hand, &ours[0]).await.as_ref(), b"ours");

        let policies = domain::Policies::default();
        let context = domain::Context {
            now: hand.now(),
            drive_at: None,
            above: None,
            policies: &policies,
        };
        let step = held
            .resolve(&conflict, None, &Choice::App, "bob", context)
            .unwrap();
        let nonce = store::Nonce(77);
        hand.store()
            .commit(&hand.key, held.revision, &step, nonce)
            .await
            .unwrap();
        run_until_pushed(hand).await;
        assert_eq!(in_drive(hand, &file).await.as_ref(), b"ours");
        assert!(record(hand, &file).await.open.is_empty());
        intact(hand, &file).await;
    });
}

#[test]
fn the_policy_keep_both_saves_the_applications_content_as_a_named_copy() {
    mirrored(2, async |hand| {
        policy(hand, "keep_both").await;
        let file = hand.take();
        hand.owner().rename(&file, "document.txt").await;
        run_until_pushed(hand).await;
        upload(hand, &file, b"ours").await;
        content(hand, &file, "theirs");
        run_until_pushed(hand).await;
        assert_eq!(in_drive(hand, &file).await.as_ref(), b"theirs");
        assert!(record(hand, &file).await.open.is_empty());
        let ended = hand
            .api(Method::GET, "/conflicts?status=resolved", &[], None)
            .await
            .body;
        let resolution = &ended["items"][0]["resolution"];
        assert_eq!(
            (&resolution["choose"], &resolution["by"]),
            (&json!("both"), &json!("policy"))
        );
        let copy = resolution["copy"].as_str().unwrap();
        assert_eq!(in_drive(hand, copy).await.as_ref(), b"ours");
        let name = hand.owner().name_of(copy).await;
        assert!(
            name.starts_with("document (conflicted copy ann 20"),
            "{name}"
        );
        assert!(name.ends_with(".txt"), "{name}");
        for file in [file.as_str(), copy] {
            intact(hand, file).await;
        }
        let both = [versions(hand, &file).await, versions(hand, copy).await];
        assert_eq!(bytes_of(hand, &both[0][0]).await.as_ref(), b"theirs");
        assert_eq!(bytes_of(hand, &both[1][0]).await.as_ref(), b"ours");
    });
}

#[test]
fn a_write_between_our_read_and_our_upload_is_not_overwritten() {
    mirrored(2, async |hand| {
        let file = hand.take();
        upload(hand, &file, b"ours").await;
        let stale: Json = json!({"match": "PUT /upload/drive/v2/files/*", "times": 1,
            "respond": {"status": 412, "reason": "conditionNotMet"}});
        let stale: Fault = serde_json::from_value(stale).unwrap();
        hand.simulator.add_fault(stale).unwrap();
        run_until_pushed(hand).await;
        assert!(
            in_drive(hand, &file).await.as_ref() == b"ours",
            "the next attempt did it"
        );
        assert!(record(hand, &file).await.open.is_empty());
    });
}

#[test]
fn an_upload_that_crashes_at_any_call_lands_once() {
    for at in 0..30 {
        let mut crashed = false;
        mirrored(2, async |hand| {
            let file = hand.take();
            content(hand, &file, "before");
            apply(hand).await;
            hand.pump().await;
            let before = revisions(hand, &file).await;
            upload(hand, &file, b"after").await;
            hand.pump_stream().await.unwrap();
            crashed = hand.crashes(Queue::Content, at).await;
            run_until_pushed(hand).await;
            assert_eq!(in_drive(hand, &file).await.as_ref(), b"after", "call {at}");
            assert_eq!(revisions(hand, &file).await, before + 1, "call {at}: once");
            let now = record(hand, &file).await;
            assert!(
                now.open.is_empty() && now.due().is_none(),
                "call {at}: {now:?}"
            );
            intact(hand, &file).await;
        });
        if !crashed {
            assert!(at > 5, "few calls were made");
            return;
        }
    }
    panic!("it makes more calls than were tried");
}

#[test]
fn regression_refused_uploads_do_not_slow_metadata_down() {
    mirrored(8, async |hand| {
        let before = hand.get("/status").await["pace"]["writes_per_minute"].clone();
        let full = json!({"status": 403, "reason": "userRateLimitExceeded"});
        hand.fault(json!({"match": "PUT /upload/drive/v2/files/*", "times": 0, "respond": full}));
        let files: Vec<String> = (0..5).map(|_| hand.take()).collect();
        for file in &files {
            upload(hand, file, b"too much for today").await;
            hand.sweep_and_pump().await;
            hand.advance_clock(std::time::Duration::from_secs(6));
        }
        let status = hand.get("/status").await;
        assert_eq!(status["pace"]["writes_per_minute"], before, "{status}");
        assert!(hand.calls("v2.files.update") < 5, "uploads pause");
        let edited = hand.take();
        hand.edit_ok(&edited, json!({"name": "at once.txt"})).await;
        hand.pump().await;
        assert!(hand.file(&edited).await["intent"].is_null());
        hand.simulator.clear_faults();
        for _ in 0..30 {
            hand.advance_clock(std::time::Duration::from_secs(60));
            hand.sweep_and_pump().await;
        }
        for file in &files {
            assert_eq!(in_drive(hand, file).await.as_ref(), b"too much for today");
        }
    });
}

/// Lets Drive state no SHA-256 of any file.
fn hide_sha256(hand: &ByHand) {
    let hidden: Json = json!({"match": "* *drive/*", "times": 0,
        "replace": {"sha256Checksum": "sha256Hidden"}});
    let hidden: Fault = serde_json::from_value(hidden).unwrap();
    hand.simulator.add_fault(hidden).unwrap();
}

#[test]
fn regression_an_upload_to_a_file_without_sha256_overwrites_nobodys_content() {
    by_hand(2, async |hand| {
        hide_sha256(hand);
        let file = hand.take();
        hand.simulator
            .replace_content("owner", &file, "old binary".into())
            .unwrap();
        mirror(hand, json!({"enabled": true})).await;
        run_until_pushed(hand).await;
        let stored = versions(hand, &file).await;
        assert_eq!(bytes_of(hand, &stored[0]).await.as_ref(), b"old binary");
        let shown = hand.file(&file).await;
        assert_eq!(
            shown["content"]["sha256"],
            stored[0].hash.to_string(),
            "{shown}"
        );
        let number = shown["content"]["version"].clone();
        hand.owner().rename(&file, "renamed.bin").await;
        run_until_pushed(hand).await;
        assert_eq!(hand.file(&file).await["content"]["version"], number);

        upload(hand, &file, b"by the application").await;
        run_until_pushed(hand).await;
        assert_eq!(in_drive(hand, &file).await.as_ref(), b"by the application");
        let now = record(hand, &file).await;
        assert!(now.open.is_empty() && !now.content_owed(), "{now:?}");

        upload(hand, &file, b"ours").await;
        content(hand, &file, "theirs");
        run_until_pushed(hand).await;
        assert_eq!(in_drive(hand, &file).await.as_ref(), b"theirs");
        let held = record(hand, &file).await;
        assert!(held.open_conflict(&Field::Content).is_some(), "{held:?}");
        intact(hand, &file).await;
    });
}

#[test]
fn regression_the_copy_of_both_contents_is_awaited_while_drive_refuses_it() {
    for (status, reason) in [(403, "forbidden"), (503, "backendError")] {
        mirrored(2, async |hand| {
            policy(hand, "keep_both").await;
            let file = hand.take();
            let refused: Json = json!({"match": "POST /drive/v3/files*", "times": 0,
                "respond": {"status": status, "reason": reason}});
            let refused: Fault = serde_json::from_value(refused).unwrap();
            hand.simulator.add_fault(refused).unwrap();
            upload(hand, &file, b"ours").await;
            content(hand, &file, "theirs");
            run_until_pushed(hand).await;
            let open = hand
                .api(Method::GET, "/conflicts?status=open", &[], None)
                .await
                .body;
            let conflict = &open["items"][0];
            assert_eq!(conflict["status"], "resolving", "{open}");
            if status == 403 {
                assert_eq!(conflict["resolution"]["reason"], reason, "{conflict}");
            }
            hand.simulator.clear_faults();
            for _ in 0..3 {
                hand.advance_clock(std::time::Duration::from_secs(24 * 3_600));
                run_until_pushed(hand).await;
            }
            let ended = hand
                .api(Method::GET, "/conflicts?status=resolved", &[], None)
                .await;
            let resolution = &ended.body["items"][0]["resolution"];
            let copy = resolution["copy"].as_str().expect("it is resolved");
            assert_eq!(in_drive(hand, copy).await.as_ref(), b"ours");
            assert_eq!(in_drive(hand, &file).await.as_ref(), b"theirs");
        });
    }
}

#[test]
fn small_content_goes_in_one_request_and_a_version_that_moves_on_is_no_conflict() {
    mirrored(2, async |hand| {
        let file = hand.take();
        let moves = json!({"moves": 3, "every_ms": 1000, "stale_answers": true});
        hand.control(Method::POST, "versions", moves).await;
        hand.simulator.zero_counters();
        upload(hand, &file, b"small").await;
        run_until_pushed(hand).await;
        assert_eq!(hand.calls("uploads.put"), 0, "no session");
        assert_eq!(in_drive(hand, &file).await.as_ref(), b"small");
        let now = record(hand, &file).await;
        assert!(now.open.is_empty() && now.due().is_none(), "{now:?}");
    });
}

#[test]
fn regression_content_that_a_session_replaced_unseen_is_kept_in_a_file_beside() {
    mirrored(2, async |hand| {
        let file = hand.take();
        content(hand, &file, "before");
        run_until_pushed(hand).await;
        // Nobody has seen Drive check the condition of a session.
        let never = json!({"condition": "never"});
        hand.control(Method::POST, "uploads", never).await;
        let ours: &'static [u8] = vec![7; 6_000_000].leak();
        upload(hand, &file, ours).await;
        hand.pump_stream().await.unwrap();
        let slow: Json = json!({"match": "PUT /upload/drive/v2/files/*?*upload_id=*", "times": 1,
            "respond": {"status": 503, "reason": "backendError"}});
        let slow: Fault = serde_json::from_value(slow).unwrap();
        hand.simulator.add_fault(slow).unwrap();
        hand.pump_only(Queue::Content).await;
        content(hand, &file, "by a person, during the upload");
        // The upload goes on before the log reports the change.
        hand.advance_clock(std::time::Duration::from_secs(5));
        hand.pump_only(Queue::Content).await;
        run_until_pushed(hand).await;
        assert_eq!(in_drive(hand, &file).await.len(), ours.len());
        let files = hand.get("/files?limit=100").await;
        let named = |seen: &&Json| {
            let name = seen["fields"]["name"].as_str().unwrap();
            name.contains("(conflicted copy ")
        };
        let kept = files["items"].as_array().unwrap().iter().find(named);
        let kept = kept.expect("the person's content is kept")["id"]
            .as_str()
            .unwrap();
        let bytes = in_drive(hand, kept).await;
        assert_eq!(bytes.as_ref(), b"by a person, during the upload");
    });
}

#[test]
fn a_session_that_keeps_less_than_it_was_sent_is_continued() {
    mirrored(2, async |hand| {
        let file = hand.take();
        let ours: &'static [u8] = vec![9; 9_000_000].leak();
        let less = json!({"keep_bytes": 262_144, "chunks": 3});
        hand.control(Method::POST, "uploads", less).await;
        upload(hand, &file, ours).await;
        run_until_pushed(hand).await;
        assert_eq!(in_drive(hand, &file).await.as_ref(), ours);
    });
}

#[test]
fn regression_the_table_does_not_have_the_address_of_an_upload() {
    mirrored(2, async |hand| {
        let file = hand.take();
        let ours: &'static [u8] = vec![7; 6_000_000].leak();
        upload(hand, &file, ours).await;
        hand.pump_stream().await.unwrap();
        let slow: Json = json!({"match": "PUT /upload/drive/v2/files/*?*upload_id=*", "times": 1,
            "respond": {"status": 503, "reason": "backendError"}});
        let slow: Fault = serde_json::from_value(slow).unwrap();
        hand.simulator.add_fault(slow).unwrap();
        hand.pump_only(Queue::Content).await;
        let items = format!("{:?}", items(&hand.aws.dynamodb_client()).await);
        assert!(items.contains("sealed:1:"), "no upload is under way");
        assert!(!items.contains("upload_id"), "its address can be read");
        // It is continued, and not begun again.
        hand.simulator.zero_counters();
        run_until_pushed(hand).await;
        assert_eq!(hand.calls("v2.files.update"), 0);
        assert_eq!(in_drive(hand, &file).await.as_ref(), ours);
    });
}
