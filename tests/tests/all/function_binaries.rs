//! The functions' binaries process every sample event over the real Lambda Runtime API, with the
//! environment of `events/env.json`.
//!
//! Each event is processed by a new system in the same initial state, so that no event depends on
//! another.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use domain::{DriveVersion, Field, FieldSetVersion, Value as FieldValue};
use local::aws::Queue;
use serde_json::{Value, json};

use crate::support::{
    ApiSample, FILE, FILE_IN_CONFLICT, Invoked, Stage, api_event, api_samples, run, top,
};

/// Returns the sample events of a function, by name. The files of the folder must be those in
/// `expected`.
fn events(function: &str, expected: &BTreeSet<&str>) -> Vec<(String, Value)> {
    let folder = top().join("events").join(function);
    let mut events = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let is_json = path.extension().is_some_and(|kind| kind == "json");
        assert!(is_json, "{}", path.display());
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

/// Invokes a queue's function with its events. `expected` is the number of messages of each that
/// are parked. None fails.
async fn feed_batches(function: &str, expected: &[(&str, usize)]) {
    let stage = Stage::build().await;
    let mut running = stage.start(function).await;
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
fn apply_snapshots_handles_its_sample_events() {
    run(feed_batches(
        "apply-snapshots",
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
fn fetch_changes_handles_its_sample_events() {
    run(feed_batches(
        "fetch-changes",
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
fn push_intents_handles_its_sample_events() {
    run(feed_batches(
        "push-intents",
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

#[test]
fn run_operations_takes_its_sample_events() {
    run(feed_batches(
        "run-operations",
        &[
            ("garbage", 1),
            ("garbage-between-wakes", 1),
            ("missing-tenant", 1),
            ("newer-version", 1),
            ("no-records", 0),
            ("one-wake", 0),
            ("several-wakes-of-one-operation", 0),
            ("two-operations", 0),
            ("unknown-connection", 0),
        ],
    ));
}

#[test]
fn live_handles_its_sample_events() {
    let names = "binary connect connect-with-two-tickets connect-without-a-ticket \
        deliveries-to-two-endpoints delivery-garbage delivery-newer-version \
        delivery-to-an-unknown-endpoint disconnect garbage garbage-between-wakes \
        missing-tenant newer-version no-body no-records not-json one-wake \
        several-wakes-of-one-connection subscribe two-connections unknown-action \
        unknown-connection unsubscribe";
    let unreadable = "delivery-garbage delivery-newer-version garbage garbage-between-wakes \
        missing-tenant newer-version";
    run(async {
        let stage = Stage::build().await;
        let mut live = stage.start("live").await;
        for (name, event) in events("live", &names.split_whitespace().collect()) {
            let set = stage.set().await;
            let answer = response(&name, live.invoke(&event).await);
            // No ticket of the events is stored, and none of their sockets is open.
            let status = 200 + 201 * u16::from(name.starts_with("connect"));
            let expected = match event.get("Records") {
                Some(_) => json!({"batchItemFailures": []}),
                None => json!({ "statusCode": status }),
            };
            assert_eq!(answer, expected, "{name}");
            let parked = unreadable.split_whitespace().any(|other| other == name);
            assert_eq!(set.parked().await.len(), usize::from(parked), "{name}");
        }
    });
}

/// Returns one sample event.
fn event(function: &str, name: &str) -> Value {
    let path = top()
        .join("events")
        .join(function)
        .join(format!("{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn mirror_content_handles_its_sample_events() {
    run(feed_batches(
        "mirror-content",
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
fn publish_events_handles_its_sample_events() {
    // Wakes of high priority, wakes of low priority, and parked messages.
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
        ("what-events-tell-of", (0, 0, 0)),
    ]);
    run(async {
        let stage = Stage::build().await;
        let mut publish = stage.start("publish-events").await;
        for (name, event) in events("publish-events", &expected.keys().copied().collect()) {
            let set = stage.set().await;
            // Delivery is at least once: the second one changes nothing.
            for _ in 0..2 {
                let answer = response(&name, publish.invoke(&event).await);
                let failed = answer["batchItemFailures"].as_array().unwrap();
                // A record in a newer format is left to newer code, with all records after it.
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
                assert!(letter.reason.contains("is corrupt"), "{letter:?}");
            }
        }
    });
}

#[test]
fn the_table_has_the_content_of_the_sample_events() {
    run(async {
        let stage = Stage::build().await;
        let mut apply = stage.start("apply-snapshots").await;
        for (name, version, app) in [
            ("one-snapshot", 42, "Plan.md"),
            ("stale", 10, "Plan.md"),
            ("repeated", 42, "Plan.md"),
            // At the recorded version, only a correction of an audit is applied.
            ("correction-of-an-audit", 10, "Plan, as Drive has it.md"),
            // A drive that is not followed and does not contain the file.
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
        // In any order of delivery, the highest version wins.
        let mut ends = BTreeSet::new();
        for name in ["several-of-one-file", "several-of-one-file-out-of-order"] {
            let set = stage.set().await;
            response(name, apply.invoke(&event("apply-snapshots", name)).await);
            let file = set.file(FILE).await.unwrap();
            ends.insert((file.version, file.app(&Field::Name)));
        }
        assert_eq!(ends.len(), 1, "{ends:?}");
        // Newer code knows more fields: they are not stored, so the record must not claim to have
        // them.
        let set = stage.set().await;
        let name = "newer-field-mask";
        response(name, apply.invoke(&event("apply-snapshots", name)).await);
        assert_eq!(
            set.file(FILE).await.unwrap().field_set,
            FieldSetVersion::CURRENT
        );
        // A file reported as removed is looked up in Drive, which does not have it.
        let set = stage.set().await;
        response(
            "removed",
            apply.invoke(&event("apply-snapshots", "removed")).await,
        );
        assert!(!set.file(FILE).await.unwrap().is_present());
        // The rest of the group and the other groups continue.
        let set = stage.set().await;
        let name = "poison-in-the-middle-of-a-group";
        response(name, apply.invoke(&event("apply-snapshots", name)).await);
        assert!(set.file(FILE).await.unwrap().version > DriveVersion(42));
        assert!(set.file(FILE_IN_CONFLICT).await.unwrap().version > DriveVersion(3));

        let mut fetch = stage.start("fetch-changes").await;
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
fn only_the_groups_that_drive_failed_to_answer_are_retried() {
    run(async {
        let stage = Stage::build().await;
        let fault = json!({"match": "GET /drive/*", "times": 0, "respond": {"status": 503}});
        stage
            .simulator
            .add_fault(serde_json::from_value(fault).unwrap())
            .unwrap();
        let mut fetch = stage.start("fetch-changes").await;
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
fn sweep_handles_its_sample_events() {
    run(async {
        let stage = Stage::build().await;
        let mut sweep = stage.start("sweep").await;
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
fn receive_notification_answers_204_and_sends_a_wake_only_if_all_matches() {
    run(async {
        let stage = Stage::build().await;
        let mut receive = stage.start("receive-notification").await;
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
    run(async {
        let stage = Stage::build().await;
        let mut api = stage.start("api").await;
        let mut wrong = Vec::new();
        for ApiSample {
            name,
            status,
            event,
        } in api_samples()
        {
            let set = stage.set().await;
            let answer = response(&name, api.invoke(&event).await);
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
                let repeated = api_event("patch-file-repeated");
                let again = response(&name, api.invoke(&repeated).await);
                assert_eq!(again["statusCode"], 200, "{again}");
                assert_eq!(again["headers"]["idempotent-replayed"], "true");
                let file = set.file(FILE).await.unwrap();
                assert_eq!(file.app(&Field::Name), FieldValue::text("Roadmap.md"));
                assert_eq!(set.sent(Queue::PushWakes), 1, "a wake was sent");
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// Returns the folder to write all sample events of the API to, where the caller named one.
fn export_folder() -> Option<PathBuf> {
    std::env::var_os("API_EVENTS").map(PathBuf::from)
}

/// `API_EVENTS=/tmp/events cargo test -p tests --test all sample_events` writes the event of every
/// request of the list, for `sam local invoke` and `cargo lambda invoke`.
#[test]
fn checked_in_sample_events_are_those_of_the_list_of_requests() {
    let folder = top().join("events/api");
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "json") {
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert_eq!(event("api", name), api_event(name), "{name}");
            checked += 1;
        }
    }
    assert!(checked >= 3, "{checked}");
    let samples = api_samples();
    let names: BTreeSet<&str> = samples.iter().map(|sample| sample.name.as_str()).collect();
    assert_eq!(names.len(), samples.len(), "each name is used once");
    if let Some(folder) = export_folder() {
        std::fs::create_dir_all(&folder).unwrap();
        for sample in samples {
            let path = folder.join(format!("{}.json", sample.name));
            let text = serde_json::to_string_pretty(&sample.event).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }
}

/// Returns the method and the parts of the path of each sample request.
fn sampled_routes() -> Vec<(String, Vec<String>)> {
    let samples = api_samples().into_iter();
    let route = |sample: ApiSample| {
        let http = &sample.event["requestContext"]["http"];
        let method = http["method"].as_str().unwrap().to_lowercase();
        let path = http["path"].as_str().unwrap();
        let parts = path.split('/').map(str::to_owned).collect();
        (method, parts)
    };
    samples.map(route).collect()
}

#[test]
fn every_route_of_the_api_has_a_sample_event() {
    let described: Value = run(async {
        let stage = Stage::build().await;
        let mut api = stage.start("api").await;
        let answer = response("openapi", api.invoke(&api_event("openapi")).await);
        serde_json::from_str(answer["body"].as_str().unwrap()).unwrap()
    });
    let samples = sampled_routes();
    let mut routes = 0;
    for (path, methods) in described["paths"].as_object().unwrap() {
        let template: Vec<&str> = path.split('/').collect();
        let fits = |parts: &Vec<String>| {
            let same = |(part, wanted): (&String, &&str)| wanted.starts_with('{') || part == wanted;
            parts.len() == template.len() && parts.iter().zip(&template).all(same)
        };
        for method in methods.as_object().unwrap().keys() {
            let found = samples.iter().any(|(m, parts)| m == method && fits(parts));
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
        "console",
        "deploy-check",
        "fetch-changes",
        "live",
        "mirror-content",
        "publish-events",
        "push-intents",
        "receive-notification",
        "run-operations",
        "sweep",
    ];
    assert_eq!(folders, known.map(str::to_owned).into());
}
