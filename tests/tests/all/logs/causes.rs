//! One cause names all that a request, a notification or an operation led to: in the log, in the
//! records and in the API's responses.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use runtime::telemetry::FILTER_DEFAULT;
use serde_json::{Value, json};

use crate::support::{Answer, World, eventually, logged};

/// Runs a whole system, and returns the texts of its log lines by cause.
fn stories(test: impl AsyncFnOnce(&World)) -> BTreeMap<String, BTreeSet<String>> {
    let mut stories: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in logged(FILTER_DEFAULT, test).lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = line["fields"]["message"].as_str().unwrap_or_default();
        let target = line["target"].as_str().unwrap();
        let cause = line["span"]["cause"].as_str().map(str::to_owned);
        // What runs the functions and stands for Google has no cause.
        let is_ours = !["local", "drive_simulator", "sqs_fifo", "dynoxide"]
            .iter()
            .any(|other| target.starts_with(other));
        assert!(cause.is_some() || !is_ours, "without a cause: {line}");
        stories
            .entry(cause.unwrap_or_default())
            .or_default()
            .insert(text.to_owned());
    }
    stories
}

fn cause_of(answer: &Answer) -> String {
    let cause = answer.headers["drivesync-cause"].to_str().unwrap();
    assert_eq!(cause.len(), 32, "{cause}");
    cause.to_owned()
}

/// Waits until the newest entry of a file's history has this name, and returns its cause.
async fn cause_in_history(world: &World, file: &str, name: &str) -> String {
    let entry = eventually("the history", async || {
        let history = world.get(&format!("/files/{file}/history?limit=1")).await;
        let entry = history["items"][0].clone();
        (entry["fields"]["name"] == name).then_some(entry)
    });
    entry.await["cause"].as_str().unwrap().to_owned()
}

fn has(stories: &BTreeMap<String, BTreeSet<String>>, cause: &str, lines: &[&str]) {
    let story = &stories[cause];
    for line in lines {
        assert!(story.contains(*line), "{line:?} is not in {story:?}");
    }
}

#[test]
fn the_cause_of_an_edit_is_that_of_its_push_and_of_its_version_in_the_history() {
    let mut causes = Vec::new();
    let stories = stories(async |world| {
        let files = [world.take(), world.take()];
        // Pushed together: each keeps its own cause.
        for (number, file) in files.iter().enumerate() {
            let name = format!("Ours {number}");
            let answer = world.edit(file, json!({"name": name})).await;
            let cause = cause_of(&answer);
            assert_eq!(answer.body["cause"], json!(cause), "{}", answer.body);
            causes.push(cause);
        }
        for (number, file) in files.iter().enumerate() {
            world
                .file_until("the push", file, |f| f["intent"].is_null())
                .await;
            let found = cause_in_history(world, file, &format!("Ours {number}")).await;
            assert_eq!(found, causes[number]);
        }
    });
    assert_ne!(causes[0], causes[1]);
    for cause in &causes {
        has(
            &stories,
            cause,
            &["request handled", "wrote fields to Drive"],
        );
    }
}

#[test]
fn the_cause_of_a_notification_is_that_of_all_that_follows_from_it() {
    let mut cause = String::new();
    let stories = stories(async |world| {
        let file = world.take();
        // No wake of the schedule is on its way.
        world.converge().await;
        world.owner().rename(&file, "Theirs").await;
        cause = cause_in_history(world, &file, "Theirs").await;
        let shown = world
            .file_until("the name", &file, |f| f["fields"]["name"] == "Theirs")
            .await;
        assert_eq!(shown["cause"], json!(cause));
    });
    let lines = [
        "notification accepted",
        "read a page of changes",
        "applied snapshots",
    ];
    has(&stories, &cause, &lines);
}

#[test]
fn conflicts_operations_and_dead_letters_name_their_cause() {
    let mut resolution = String::new();
    let mut audit = String::new();
    let stories = stories(async |world| {
        let file = world.take();
        let busy = json!({"status": 503});
        world.fault(json!({"match": "PATCH /drive/v2/files/*", "times": 1, "respond": busy}));
        world.edit_ok(&file, json!({"name": "Ours"})).await;
        world.owner().rename(&file, "Theirs").await;
        let conflict = world.conflict_on(&file, "name").await;
        assert_eq!(conflict["cause"].as_str().map(str::len), Some(32));
        let path = format!("/conflicts/{}", conflict["id"].as_str().unwrap());
        let decided = json!({"choose": "app"});
        let answer = world
            .api(
                Method::POST,
                &format!("{path}/resolution"),
                &[],
                Some(decided),
            )
            .await;
        resolution = cause_of(&answer);
        assert_eq!(answer.body["cause"], json!(resolution), "{}", answer.body);
        assert_eq!(world.get(&path).await["cause"], json!(resolution));
        world
            .file_until("the push", &file, |f| f["intent"].is_null())
            .await;

        let wanted = Some(json!({"mode": "audit"}));
        let answer = world.api(Method::POST, "/sync", &[], wanted).await;
        audit = cause_of(&answer);
        let id = answer.body["operation"]["id"].as_str().unwrap().to_owned();
        assert_eq!(answer.body["operation"]["cause"], json!(audit));
        // Whichever wake continues it.
        let ended = eventually("the audit ends", async || {
            let operation = world.get(&format!("/operations/{id}")).await;
            (operation["state"] == "done").then_some(operation)
        });
        assert_eq!(ended.await["cause"], json!(audit));

        let message = sqs_fifo::NewMessage::new("poison", "poison", "not a message");
        let queue = local::aws::Queue::Snapshots.name();
        world.system.aws.sqs().send(queue, message).unwrap();
        let unknown = domain::ConnectionKey {
            tenant: domain::TenantId::parse("_unknown").unwrap(),
            connection: domain::ConnectionId::parse("_unknown").unwrap(),
        };
        let parked = eventually("the dead letter", async || {
            let page = store::PageRequest {
                limit: 1,
                cursor: None,
            };
            let found = world.store().list_dead_letters(&unknown, &page).await;
            found.unwrap().items.pop()
        });
        assert!(parked.await.cause.is_some());
    });
    has(&stories, &resolution, &["wrote fields to Drive"]);
    assert!(stories[&audit].len() > 1, "{:?}", stories[&audit]);
}

#[test]
fn a_caller_can_not_choose_the_cause_and_a_problem_names_it() {
    crate::support::shared(async |world| {
        let chosen = "00000000000000000000000000000001";
        let headers = [("drivesync-cause", chosen)];
        let answer = world.api(Method::GET, "/files/none", &headers, None).await;
        assert_eq!(answer.status, 404);
        let cause = cause_of(&answer);
        assert_ne!(cause, chosen);
        assert_eq!(answer.body["cause"], json!(cause), "{}", answer.body);
        let again = world.api(Method::GET, "/files/none", &[], None).await;
        assert_ne!(cause_of(&again), cause);
        let public = world.call(None, Method::GET, "/health", &[], None).await;
        assert_eq!(public.status, 200);
        cause_of(&public);
    });
}
