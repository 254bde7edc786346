//! Values of Drive that this build does not know are kept unchanged and counted, and block nothing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{ByHand, Metrics, by_hand};

/// Reads the log and processes all queues.
async fn read_and_process(hand: &ByHand) {
    hand.sync().await;
    hand.pump().await;
}

async fn share(hand: &ByHand, file: &str, kind: &str, who: &str, role: &str) {
    let path = format!("/drive/v3/files/{file}/permissions?sendNotificationEmail=false");
    let body = json!({"type": kind, "role": role, "emailAddress": who});
    hand.owner()
        .done(http::Method::POST, &path, Some(body))
        .await;
}

const BOB: &str = "user:bob@example.com";
const STAFF: &str = "swarm:staff@example.com";

#[test]
fn unknown_roles_and_principal_types_are_kept_and_counted() {
    by_hand(4, async |hand| {
        let metrics = Metrics::listen();
        let file = hand.take();
        // Drive uses two new words for a writer and a group.
        let words = json!({
            r#""role":"writer""#: r#""role":"annotator""#,
            r#""type":"group""#: r#""type":"swarm""#,
        });
        hand.fault(json!({"match": "* /drive/*", "times": 0, "replace": words}));
        share(hand, &file, "user", "bob@example.com", "writer").await;
        share(hand, &file, "group", "staff@example.com", "reader").await;
        read_and_process(hand).await;
        let shown = hand.file(&file).await;
        let held = |shown: &Value, who: &str| shown["fields"]["permissions"][who].clone();
        assert_eq!(held(&shown, BOB), "annotator");
        assert_eq!(held(&shown, STAFF), "reader");
        assert_eq!(shown["effective"]["permissions"][BOB]["role"], "annotator");
        assert!(metrics.of("strange_permissions") > 0);

        // They block no edit, and no edit changes them.
        hand.edit_ok(&file, json!({"description": "ours"})).await;
        hand.pump().await;
        read_and_process(hand).await;
        let shown = hand.file(&file).await;
        assert_eq!(shown["intent"], Value::Null);
        assert_eq!(held(&shown, BOB), "annotator");
        assert_eq!(held(&shown, STAFF), "reader");
        let theirs = hand.owner().get(&file).await;
        assert_eq!(theirs["description"], "ours");
        assert_eq!(
            hand.conflicts_of(&file).await,
            Vec::<Value>::new(),
            "no conflict"
        );

        // An unknown role can't be granted, but it can be replaced by a known one.
        let annotator = json!({"permissions": {"user:ann@example.com": "annotator"}});
        assert_eq!(hand.edit(&file, annotator).await.status, 422);
        hand.edit_ok(&file, json!({"permissions": {BOB: "reader"}}))
            .await;
        hand.pump().await;
        read_and_process(hand).await;
        let shown = hand.file(&file).await;
        assert_eq!(shown["intent"], Value::Null, "{shown}");
        assert_eq!(held(&shown, BOB), "reader");
    });
}

#[test]
fn an_unknown_error_reason_loses_no_change_and_is_shown_on_the_edit() {
    by_hand(4, async |hand| {
        let metrics = Metrics::listen();
        let (theirs, ours) = (hand.take(), hand.take());
        let strange = json!({"status": 403, "reason": "moonIsFull"});
        hand.fault(json!({"match": "GET /drive/v3/changes", "times": 0, "respond": strange}));
        hand.owner().rename(&theirs, "theirs.txt").await;
        read_and_process(hand).await;
        let counted = metrics.of("unknown_reason");
        assert!(counted > 0);
        assert_ne!(hand.file(&theirs).await["fields"]["name"], "theirs.txt");
        hand.simulator.clear_faults();
        hand.advance_clock(Duration::from_secs(400));
        hand.sweep_and_pump().await;
        assert_eq!(hand.file(&theirs).await["fields"]["name"], "theirs.txt");

        let pattern = format!("PATCH /drive/v2/files/{ours}");
        hand.fault(json!({"match": pattern, "times": 0, "respond": strange}));
        hand.edit_ok(&ours, json!({"name": "ours.txt"})).await;
        hand.pump().await;
        assert!(metrics.of("unknown_reason") > counted);
        let intent = hand.file(&ours).await["intent"].clone();
        assert_eq!(intent["status"], "owed", "{intent}");
        assert_eq!(intent["trouble"]["reason"], "moonIsFull");
        assert_eq!(hand.get("/status").await["state"], "active");

        hand.simulator.clear_faults();
        hand.post(&format!("/intents/{ours}/retry"), json!({}))
            .await;
        hand.pump().await;
        assert_eq!(hand.file(&ours).await["intent"], Value::Null);
        assert_eq!(hand.owner().name_of(&ours).await, "ours.txt");
    });
}
