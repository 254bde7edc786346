//! The functions' own binaries, fed every sample event over the real Lambda Runtime API, with the environment that
//! `events/env.json` gives them.
//!
//! Each event meets a system of its own that is always the same, so that no event depends on another.

use std::collections::{BTreeMap, BTreeSet};

use domain::{DriveVersion, Field, FieldMask, Value as FieldValue};
use local::aws::Queue;
use serde_json::{Value, json};

use crate::support::{FILE, FILE_IN_CONFLICT, Invoked, Stage, run, top};

/// The sample events of a function, by name. Every file of the folder must be in `expected`, and the other way round.
fn events(function: &str, expected: &BTreeSet<&str>) -> Vec<(String, Value)> {
    let folder = top().join("events").join(function);
    let mut events = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(
            path.extension().is_some_and(|kind| kind == "json"),
            "{}",
            path.display()
        );
        let event = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        events.push((name, event));
    }
    let found: BTreeSet<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        &found, expected,
        "events/{function} and this test name the same files"
    );
    events
}

fn response(name: &str, invoked: Invoked) -> Value {
    match invoked {
        Invoked::Response(answer) => answer,
        Invoked::Error(error) => panic!("{name}: {error}"),
    }
}

/// Feeds a queue's function its events. `expected`: how many messages of each are parked. None of them fails.
async fn feed_batches(function: &str, id: &str, expected: &[(&str, usize)]) {
    let stage = Stage::build().await;
    let mut running = stage.start(function, id).await;
    let expected: BTreeMap<&str, usize> = expected.iter().copied().collect();
    for (name, event) in events(function, &expected.keys().copied().collect()) {
        let set = stage.set().await;
        let answer = response(&name, running.invoke(&event).await);
        assert_eq!(
            answer["batchItemFailures"],
            json!([]),
            "{function}/{name}: {answer}"
        );
        let parked = set.parked().await;
        assert_eq!(
            parked.len(),
            expected[name.as_str()],
            "{function}/{name}: {parked:?}"
        );
        for letter in parked {
            assert!(!letter.reason.is_empty(), "{letter:?}");
            let records = event["Records"].as_array().unwrap();
            assert!(
                records
                    .iter()
                    .any(|record| record["body"] == letter.body.as_str()),
                "{letter:?}"
            );
        }
    }
}

#[test]
fn apply_snapshots_takes_its_sample_events() {
    run(feed_batches(
        "apply-snapshots",
        "ApplySnapshots",
        &[
            ("correction-of-an-audit", 0),
            ("drive-was-left", 0),
            ("drive-was-left-with-a-snapshot", 1),
            ("from-a-listing", 0),
            ("google-doc-without-a-parent", 0),
            ("hostile-text", 0),
            ("neither-snapshot-nor-removed", 1),
            ("newer-field-mask", 0),
            ("newer-version", 1),
            ("no-records", 0),
            ("one-snapshot", 0),
            ("poison-in-the-middle-of-a-group", 1),
            ("removed", 0),
            ("removed-after-a-snapshot", 0),
            ("repeated", 0),
            ("several-of-one-file", 0),
            ("several-of-one-file-out-of-order", 0),
            ("snapshot-and-removed-at-once", 1),
            ("stale", 0),
            ("ten-files-of-a-listing", 0),
            ("two-files", 0),
            ("unknown-role", 0),
            ("unparsable", 1),
            ("version-as-a-number", 1),
        ],
    ));
}

#[test]
fn fetch_changes_takes_its_sample_events() {
    run(feed_batches(
        "fetch-changes",
        "FetchChanges",
        &[
            ("empty-body", 1),
            ("id-that-breaks-a-key", 1),
            ("missing-log", 1),
            ("newer-version", 1),
            ("no-records", 0),
            ("one-wake", 0),
            ("repeated-wake", 0),
            ("ten-wakes-of-one-log", 0),
            ("two-logs", 0),
            ("unknown-connection", 0),
            ("unknown-member", 0),
            ("unparsable", 1),
            ("unparsable-between-wakes", 1),
        ],
    ));
}

#[test]
fn push_intents_takes_its_sample_events() {
    run(feed_batches(
        "push-intents",
        "PushIntents",
        &[
            ("garbage", 1),
            ("garbage-between-wakes", 1),
            ("missing-tenant", 1),
            ("newer-version", 1),
            ("no-records", 0),
            ("one-wake", 0),
            ("several-wakes-of-one-connection", 0),
            ("two-connections", 0),
            ("unknown-connection", 0),
        ],
    ));
}

/// One sample event by name.
fn event(function: &str, name: &str) -> Value {
    let path = top()
        .join("events")
        .join(function)
        .join(format!("{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn mirror_content_takes_its_sample_events() {
    run(feed_batches(
        "mirror-content",
        "MirrorContent",
        &[
            ("a-wake-of-a-connection", 1),
            ("first-mirror", 0),
            ("garbage", 1),
            ("garbage-between-wakes", 1),
            ("id-that-breaks-a-key", 1),
            ("newer-version", 1),
            ("no-records", 0),
            ("one-wake", 0),
            ("received-often", 0),
            ("several-wakes-of-one-file", 0),
            ("unknown-connection", 0),
            ("unknown-file", 0),
        ],
    ));
}

#[test]
fn publish_events_takes_its_sample_events() {
    // Wakes that somebody waits for, wakes of a first sight, and what is parked.
    let expected = BTreeMap::from([
        ("content-changed", (1, 0, 0)),
        ("corrupt-between-changes", (1, 1, 1)),
        ("docs-editor-file", (0, 1, 0)),
        ("first-sight", (0, 1, 0)),
        ("folder", (0, 0, 0)),
        ("forgotten", (0, 0, 0)),
        ("items-of-other-kinds", (0, 0, 0)),
        ("listing", (0, 12, 0)),
        ("newer-format", (1, 0, 0)),
        ("no-records", (0, 0, 0)),
        ("removed", (1, 0, 0)),
        ("renamed", (0, 0, 0)),
        ("trashed", (1, 0, 0)),
        ("unknown-connection", (0, 0, 0)),
    ]);
    run(async {
        let stage = Stage::build().await;
        let mut publish = stage.start("publish-events", "PublishEvents").await;
        for (name, event) in events("publish-events", &expected.keys().copied().collect()) {
            let set = stage.set().await;
            // At least once: the second time changes nothing.
            for _ in 0..2 {
                let answer = response(&name, publish.invoke(&event).await);
                let failed = answer["batchItemFailures"].as_array().unwrap();
                // What newer code wrote is left to it, with everything behind it.
                let newer = &event["Records"][1]["dynamodb"]["SequenceNumber"];
                match name.as_str() {
                    "newer-format" => {
                        assert_eq!(failed, &[json!({"itemIdentifier": newer})], "{answer}")
                    }
                    _ => assert!(failed.is_empty(), "{name}: {answer}"),
                }
            }
            let parked = set.parked().await;
            let found = (
                set.sent(Queue::Content),
                set.sent(Queue::ContentBulk),
                parked.len(),
            );
            assert_eq!(found, expected[name.as_str()], "{name}: {parked:?}");
            for letter in parked {
                assert_eq!(
                    (letter.queue.as_str(), letter.file.is_some()),
                    ("stream", true)
                );
                assert!(letter.reason.contains("can't be read"), "{letter:?}");
            }
        }
    });
}

#[test]
fn what_the_events_say_is_in_the_table_afterwards() {
    run(async {
        let stage = Stage::build().await;
        let mut apply = stage.start("apply-snapshots", "ApplySnapshots").await;
        for (name, version, app) in [
            ("one-snapshot", 42, "Plan.md"),
            ("stale", 10, "Plan.md"),
            ("repeated", 42, "Plan.md"),
            // At the very version that is held: only what an audit found is taken there.
            ("correction-of-an-audit", 10, "Plan, as Drive has it.md"),
            // No drive of ours, and none that holds the file.
            ("drive-was-left", 10, "Plan.md"),
        ] {
            let set = stage.set().await;
            response(name, apply.invoke(&event("apply-snapshots", name)).await);
            let file = set.file(FILE).await.unwrap();
            assert_eq!(
                (file.version, file.app(&Field::Name)),
                (DriveVersion(version), FieldValue::text(app)),
                "{name}"
            );
            assert!(file.is_present(), "{name}");
        }
        let set = stage.set().await;
        let name = "unknown-role";
        response(name, apply.invoke(&event("apply-snapshots", name)).await);
        let swarm = Field::Permission("swarm:staff@example.com".to_owned());
        let file = set.file(FILE).await.unwrap();
        assert_eq!(file.app(&swarm), FieldValue::text("annotator"));
        // Whatever the order of delivery, the highest version is what stands.
        let mut ends = BTreeSet::new();
        for name in ["several-of-one-file", "several-of-one-file-out-of-order"] {
            let set = stage.set().await;
            response(name, apply.invoke(&event("apply-snapshots", name)).await);
            let file = set.file(FILE).await.unwrap();
            ends.insert((file.version, file.app(&Field::Name)));
        }
        assert_eq!(ends.len(), 1, "{ends:?}");
        // Newer code knows more fields: they are not stored here, so the record must not say that it has them.
        let set = stage.set().await;
        let name = "newer-field-mask";
        response(name, apply.invoke(&event("apply-snapshots", name)).await);
        assert_eq!(set.file(FILE).await.unwrap().mask, FieldMask::CURRENT);
        // Drive is asked about what is said to be removed, and does not have it.
        let set = stage.set().await;
        response(
            "removed",
            apply.invoke(&event("apply-snapshots", "removed")).await,
        );
        assert!(!set.file(FILE).await.unwrap().is_present());
        // The rest of the group and the other groups go on around the poison.
        let set = stage.set().await;
        let name = "poison-in-the-middle-of-a-group";
        response(name, apply.invoke(&event("apply-snapshots", name)).await);
        assert!(set.file(FILE).await.unwrap().version > DriveVersion(42));
        assert!(set.file(FILE_IN_CONFLICT).await.unwrap().version > DriveVersion(3));

        let mut fetch = stage.start("fetch-changes", "FetchChanges").await;
        let set = stage.set().await;
        response(
            "one-wake",
            fetch.invoke(&event("fetch-changes", "one-wake")).await,
        );
        assert_eq!(
            set.sent(Queue::SnapshotsBulk),
            4,
            "the first listing is queued"
        );
    });
}

#[test]
fn what_drive_fails_to_answer_comes_back_and_other_groups_do_not() {
    run(async {
        let stage = Stage::build().await;
        let fault = json!({"match": "GET /drive/*", "times": 0, "respond": {"status": 503}});
        stage
            .simulator
            .add_fault(serde_json::from_value(fault).unwrap())
            .unwrap();
        let mut fetch = stage.start("fetch-changes", "FetchChanges").await;
        let _set = stage.set().await;
        let event = event("fetch-changes", "two-logs");
        let answer = response("two-logs", fetch.invoke(&event).await);
        let ids = |group: &str| {
            let records = event["Records"].as_array().unwrap().iter();
            let mine = records.filter(|record| record["attributes"]["MessageGroupId"] == group);
            mine.map(|record| json!({"itemIdentifier": record["messageId"]}))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            answer["batchItemFailures"],
            json!(ids("acme.c_01.user")),
            "{answer}"
        );
    });
}

#[test]
fn sweep_takes_its_sample_events() {
    run(async {
        let stage = Stage::build().await;
        let mut sweep = stage.start("sweep", "Sweep").await;
        let expected = BTreeSet::from(["by-hand", "late-schedule", "schedule-rule", "scheduler"]);
        for (name, event) in events("sweep", &expected) {
            let set = stage.set().await;
            response(&name, sweep.invoke(&event).await);
            assert_eq!(
                set.sent(Queue::LogWakes),
                1,
                "{name}: the log that is due is woken"
            );
        }
    });
}

#[test]
fn receive_notification_answers_204_to_everything_and_wakes_only_for_what_it_believes() {
    run(async {
        let stage = Stage::build().await;
        let mut receive = stage
            .start("receive-notification", "ReceiveNotification")
            .await;
        let believed = [
            "change",
            "changed",
            "file-update",
            "message-number-not-a-number",
            "repeated",
            "unknown-state",
        ];
        let ignored = [
            "empty-token",
            "header-twice",
            "malformed-channel",
            "missing-headers",
            "missing-token",
            "no-state",
            "oversize-headers",
            "sync",
            "unknown-channel",
            "with-a-binary-body",
            "with-a-body",
            "wrong-resource",
            "wrong-token",
        ];
        let expected = believed.into_iter().chain(ignored).collect();
        for (name, event) in events("receive-notification", &expected) {
            let set = stage.set().await;
            let answer = response(&name, receive.invoke(&event).await);
            assert_eq!(answer["statusCode"], 204, "{name}: {answer}");
            let woken = usize::from(believed.contains(&name.as_str()));
            assert_eq!(set.sent(Queue::LogWakes), woken, "{name}");
        }
    });
}

#[test]
fn api_answers_its_sample_events() {
    let expected = [
        ("another-tenants-file", 404),
        ("begin-upload", 201),
        ("begin-upload-too-large", 413),
        ("cancel-intent", 200),
        ("cancel-operation", 200),
        ("commit-unknown-upload", 404),
        ("compare-versions-not-stored", 404),
        ("confirm-operation", 200),
        ("confirm-unknown-operation", 404),
        ("create-connection", 201),
        ("create-connection-secret-of-another-tenant", 422),
        ("create-file", 201),
        ("create-file-with-content", 201),
        ("create-file-without-a-name", 422),
        ("delete-connection", 204),
        ("delete-file", 200),
        ("delete-file-without-if-match", 428),
        ("drop-dead-letter", 200),
        ("drop-dead-letter-without-a-reason", 422),
        ("empty-tenant-claim", 401),
        ("get-conflict", 200),
        ("get-connection", 200),
        ("get-content-not-stored", 404),
        ("get-dead-letter", 200),
        ("get-file", 200),
        ("get-file-history", 200),
        ("get-operation", 200),
        ("get-status", 200),
        ("get-unknown-file", 404),
        ("get-unknown-upload", 404),
        ("health", 200),
        ("list-conflicts", 200),
        ("list-connections", 200),
        ("list-dead-letters", 200),
        ("list-drift", 200),
        ("list-files", 200),
        ("list-files-bad-cursor", 400),
        ("list-files-bad-limit", 400),
        ("list-files-by-name", 200),
        ("list-findings", 200),
        ("list-intents", 200),
        ("list-operations", 200),
        ("list-versions", 200),
        ("malformed-json", 400),
        ("method-not-allowed", 405),
        ("no-claims", 401),
        ("no-tenant-claim", 401),
        ("openapi", 200),
        ("patch-connection-bad-rule", 422),
        ("patch-connection-limits", 200),
        ("patch-connection-rules", 200),
        ("patch-file", 200),
        ("patch-file-base64", 200),
        ("patch-file-delete-property", 200),
        ("patch-file-empty-name", 422),
        ("patch-file-not-an-object", 400),
        ("patch-file-permissions", 200),
        ("patch-file-property-over-limit", 422),
        ("patch-file-read-only-field", 422),
        ("patch-file-repeated", 200),
        ("patch-file-stale", 412),
        ("patch-file-unknown-field", 422),
        ("patch-file-unknown-role", 422),
        ("patch-file-without-if-match", 428),
        ("patch-file-wrong-type", 422),
        ("pause-connection", 200),
        ("pin-unknown-version", 404),
        ("put-content", 200),
        ("put-content-text", 200),
        ("put-content-without-a-version", 428),
        ("put-content-wrong-hash", 400),
        ("put-content-wrong-version", 409),
        ("redrive-dead-letters", 200),
        ("redrive-dead-letters-of-nothing", 422),
        ("resolve-conflict", 200),
        ("resolve-conflict-unknown-choice", 422),
        ("resolve-conflict-with-a-value", 200),
        ("resolve-many-conflicts", 200),
        ("restore-unknown-version", 404),
        ("resume-connection", 200),
        ("retry-intent", 200),
        ("roll-back-to-unknown-history", 404),
        ("start-audit-while-listing", 409),
        ("start-sync", 202),
        ("stats", 200),
        ("tenant-claim-that-breaks-a-key", 401),
        ("tenant-in-a-header", 404),
        ("unknown-path", 404),
    ];
    run(async {
        let stage = Stage::build().await;
        let mut api = stage.start("api", "Api").await;
        let expected: BTreeMap<&str, u16> = expected.into_iter().collect();
        let mut wrong = Vec::new();
        for (name, event) in events("api", &expected.keys().copied().collect()) {
            let set = stage.set().await;
            let answer = response(&name, api.invoke(&event).await);
            let status = expected[name.as_str()];
            if answer["statusCode"] != status {
                wrong.push(format!("{name}: {status} was expected of {answer}"));
                continue;
            }
            if status >= 400 {
                assert_eq!(
                    answer["headers"]["content-type"], "application/problem+json",
                    "{name}"
                );
                let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
                assert_eq!(body["status"], status, "{name}");
                let file = set.file(FILE).await.unwrap();
                assert_eq!(
                    file.revision,
                    domain::Revision(1),
                    "{name}: nothing was written"
                );
            }
            if name == "redrive-dead-letters" {
                assert_eq!(set.sent(Queue::Snapshots), 1, "{answer}");
            }
            if name == "patch-file" {
                let again = response(
                    &name,
                    api.invoke(&crate::function_binaries::event(
                        "api",
                        "patch-file-repeated",
                    ))
                    .await,
                );
                assert_eq!(again["statusCode"], 200, "{again}");
                assert_eq!(again["headers"]["idempotent-replayed"], "true");
                let file = set.file(FILE).await.unwrap();
                assert_eq!(file.app(&Field::Name), FieldValue::text("Roadmap.md"));
                assert_eq!(set.sent(Queue::PushWakes), 1, "what is owed is woken");
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// The methods and paths of the sample events of the API.
fn asked() -> BTreeSet<(String, Vec<String>)> {
    let mut all = BTreeSet::new();
    for entry in std::fs::read_dir(top().join("events/api")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let event: Value = serde_json::from_str(&text).unwrap();
        let method = event["requestContext"]["http"]["method"].as_str().unwrap();
        let path = event["rawPath"].as_str().unwrap();
        let words = path.split('/').map(str::to_owned).collect();
        all.insert((method.to_lowercase(), words));
    }
    all
}

#[test]
fn every_route_of_the_api_has_a_sample_event() {
    let described: Value = run(async {
        let stage = Stage::build().await;
        let mut api = stage.start("api", "Api").await;
        let answer = response("openapi", api.invoke(&event("api", "openapi")).await);
        serde_json::from_str(answer["body"].as_str().unwrap()).unwrap()
    });
    let asked = asked();
    let mut routes = 0;
    for (path, methods) in described["paths"].as_object().unwrap() {
        let template: Vec<&str> = path.split('/').collect();
        let fits = |words: &Vec<String>| {
            let same = |(word, wanted): (&String, &&str)| wanted.starts_with('{') || word == wanted;
            words.len() == template.len() && words.iter().zip(&template).all(same)
        };
        for method in methods.as_object().unwrap().keys() {
            let found = asked.iter().any(|(m, words)| m == method && fits(words));
            assert!(found, "events/api has none for {method} {path}");
            routes += 1;
        }
    }
    assert!(routes > 20, "{routes}");
}

#[test]
fn every_function_has_a_folder_of_events_that_a_test_knows() {
    let mut folders = BTreeSet::new();
    for entry in std::fs::read_dir(top().join("events")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            folders.insert(name);
        } else {
            assert_eq!(name, "env.json");
        }
    }
    let known = [
        "api",
        "apply-snapshots",
        "fetch-changes",
        "mirror-content",
        "publish-events",
        "push-intents",
        "receive-notification",
        "sweep",
    ];
    assert_eq!(folders, known.map(str::to_owned).into());
}
