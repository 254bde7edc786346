//! Each function is allowed exactly the AWS calls that it makes.
//!
//! `infra/iam.json` lists the calls of each function, and those that can't be observed here, with
//! the reason; `.ci/check_template.py` checks the policies of `template.yaml` against it. Here the
//! functions may make any call, and the calls that they make are compared with the list.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::{ChannelId, FileId};
use http::Method;
use local::aws::Queue;
use runtime::Deadline;
use serde_json::{Value, json};
use worker::queue::{file_group, wake_endpoint};

use crate::support::{ByHand, Calls, FOLDER, Team, run, top};
use crate::webhooks::receiver::Reply;
use crate::webhooks::resolver::{answers, conflict, rename_both, resolver_of_all};
use crate::webhooks::{receiver_and_endpoint, stored};

impl ByHand {
    /// Runs the schedule for this many minutes.
    async fn minutes(&self, minutes: u32) {
        for _ in 0..minutes {
            self.sweep_and_pump().await;
            self.advance_clock(Duration::from_secs(61));
        }
    }

    /// Runs the schedule until a condition holds.
    async fn run_until(&self, what: &str, so: impl AsyncFn() -> bool) {
        for _ in 0..100 {
            if so().await {
                return;
            }
            self.minutes(1).await;
        }
        panic!("never: {what}");
    }

    /// Delivers the messages of a queue with almost no time left.
    async fn deliver_without_time(&self, queue: Queue) {
        self.wait_until_visible(queue).await;
        let received = self.receive(queue).await;
        let deadline = Deadline(self.now().plus_millis(1_000));
        self.deliver(queue, &received, deadline).await;
    }

    /// Delivers the messages of a queue, and again after the backoff of those that failed.
    async fn deliver_and_retry(&self, queue: Queue) {
        self.pump_only(queue).await;
        self.advance_clock(Duration::from_secs(400));
        self.pump().await;
    }
}

/// Calls every method of the API, on existing resources.
async fn over_http(hand: &ByHand) {
    let (file, disputed) = (hand.take(), hand.take());
    for path in ["", "/status", "/files?limit=5", "/conflicts", "/intents"] {
        hand.get(path).await;
    }
    hand.get("/files?parent=root&path=true").await;
    hand.get(&format!("/files/{file}/history")).await;
    for path in [
        "/health",
        "/openapi.json",
        "/v1/stats",
        "/v1/connections",
        "/v1/dead-letters",
    ] {
        assert_eq!(hand.ask(Method::GET, path, None).await.status, 200);
    }
    let folder = json!({"name": "Folder", "mime_type": FOLDER});
    let made = hand
        .api(
            Method::POST,
            "/files",
            &[("idempotency-key", "one")],
            Some(folder),
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    hand.pump().await;
    let any = [("if-match", "*")];
    let gone = format!("/files/{}", made.body["id"].as_str().unwrap());
    let gone = hand.api(Method::DELETE, &gone, &any, None).await;
    assert!(gone.status < 300, "{}", gone.body);
    hand.pump().await;

    hand.edit_ok(&disputed, json!({"name": "ours.txt"})).await;
    hand.owner().rename(&disputed, "theirs.txt").await;
    hand.wait_for_wake().await;
    hand.pump().await;
    let conflict = &hand.conflicts_of(&disputed).await[0];
    let id = conflict["id"].as_str().unwrap();
    hand.get(&format!("/conflicts/{id}")).await;
    let path = format!("/conflicts/{id}/resolution");
    hand.post(&path, json!({"choose": "app"})).await;
    hand.pump().await;
    hand.edit_ok(&file, json!({"description": "taken back"}))
        .await;
    hand.post(&format!("/intents/{file}/cancel"), json!({}))
        .await;
    let roles = json!({"permissions": {"user:bob@example.com": "reader"}});
    hand.edit_ok(&file, roles).await;
    hand.pump().await;

    let other = json!({"name": "Other", "scope": {"type": "user"}, "secret": "drive"});
    let other = hand.ask(Method::POST, "/v1/connections", Some(other)).await;
    assert_eq!(other.status, 201, "{}", other.body);
    let other = format!("/v1/connections/{}", other.body["id"].as_str().unwrap());
    hand.minutes(3).await;
    let deleted = hand.call(Some(&hand.token), Method::DELETE, &other, &any, None);
    assert!(deleted.await.status < 300);
    hand.pump().await;
}

/// Sets a rule, and moves a file with a held intent into scope.
async fn rules(hand: &ByHand) {
    let owner = hand.owner();
    let out = owner.create("Out", true).await;
    let held = owner.create("held.txt", false).await;
    owner.move_to(&held, &out).await;
    hand.sync().await;
    hand.pump().await;
    hand.edit_ok(&held, json!({"description": "held"})).await;
    let any = [("if-match", "*")];
    let rules = json!({"rules": {"exclude": [{"folder": out}]}});
    let ruled = hand.api(Method::PATCH, "", &any, Some(rules)).await;
    assert_eq!(ruled.status, 200, "{}", ruled.body);
    hand.pump().await;
    let root = owner.get("root").await["id"].as_str().unwrap().to_owned();
    owner.move_to(&held, &root).await;
    hand.sync().await;
    hand.pump().await;
    let none = json!({"rules": {}});
    let ruled = hand.api(Method::PATCH, "", &any, Some(none)).await;
    assert_eq!(ruled.status, 200, "{}", ruled.body);
    hand.pump().await;
}

/// Causes retries, dead letters and time-outs.
async fn failures(hand: &ByHand) {
    let tokens = hand.store().load_channel_tokens().await.unwrap().unwrap();
    let stray = ChannelId::fresh(1, 2);
    let token = tokens.token(&stray, &hand.key);
    hand.notify(stray.as_str(), &token, "a resource", "1").await;
    hand.get("/stray-channels").await;
    hand.post("/stray-channels/stop", json!({})).await;
    let file = hand.take();
    let busy = json!({"status": 503});
    let all = json!({"match": "* /drive/v2/files/*", "times": 1, "respond": busy});
    hand.fault(all);
    hand.edit_ok(&file, json!({"description": "late"})).await;
    hand.deliver_without_time(Queue::PushWakes).await;
    hand.deliver_and_retry(Queue::PushWakes).await;
    hand.post("/sync", json!({"mode": "full"})).await;
    hand.deliver_without_time(Queue::LogWakes).await;
    hand.pump().await;
    let changes = json!({"match": "GET /drive/v3/changes", "times": 4, "respond": busy});
    hand.fault(changes);
    hand.sync().await;
    hand.deliver_and_retry(Queue::LogWakes).await;
    hand.simulator.clear_faults();
    // The token endpoint fails, and the previous token has expired.
    hand.advance_clock(Duration::from_mins(70));
    hand.edit_ok(&file, json!({"description": "later"})).await;
    hand.fault(json!({"match": "POST /token", "times": 0, "respond": busy}));
    hand.pump_only(Queue::PushWakes).await;
    hand.simulator.clear_faults();
    hand.minutes(10).await;

    let group = file_group(&hand.key, &FileId::parse(&file).unwrap());
    for queue in Queue::ALL {
        hand.send(queue.name(), &group, "not JSON");
        hand.send(queue.dead_letter_name(), &group, "given up");
    }
    hand.sweep_and_pump().await;
    for queue in [Queue::Snapshots, Queue::SnapshotsBulk] {
        redrive_a_dead_letter(hand, queue).await;
    }
}

/// Makes a snapshot a dead letter, and redrives it.
async fn redrive_a_dead_letter(hand: &ByHand, queue: Queue) {
    let (file, other) = (hand.take(), hand.take());
    for file in [&file, &other] {
        hand.owner().rename(file, "again.txt").await;
    }
    let mode = if queue == Queue::Snapshots {
        "delta"
    } else {
        "full"
    };
    hand.post("/sync", json!({ "mode": mode })).await;
    hand.pump_only(Queue::LogWakes).await;
    hand.receive_limit(queue, 3);
    // From the third receive on the batch is processed and deleted file by file.
    for _ in 0..2 {
        hand.wait_until_visible(queue).await;
        hand.receive(queue).await;
        hand.advance_clock(Duration::from_secs(100));
    }
    hand.pump_only(queue).await;
    hand.pump().await;
    hand.receive_limit(queue, 200);

    let group = file_group(&hand.key, &FileId::parse(&file).unwrap());
    let question = worker::SnapshotMessage {
        key: hand.key.clone(),
        origin: worker::Origin::Operation("op".to_owned()),
        file: FileId::parse(&file).unwrap(),
        at: hand.now(),
        snapshot: None,
    };
    // Drive does not answer: the message is retried.
    hand.send(queue.name(), &group, &question.to_body());
    for path in ["POST /batch/*", "GET /drive/v2/files/*"] {
        hand.fault(json!({"match": path, "times": 4, "respond": {"status": 503}}));
    }
    hand.deliver_and_retry(queue).await;
    hand.simulator.clear_faults();
    hand.minutes(3).await;
    hand.send(queue.dead_letter_name(), &group, &question.to_body());
    hand.sweep_and_pump().await;
    let of = format!("connection={}", hand.key.connection);
    let listed = hand
        .ask(Method::GET, &format!("/v1/dead-letters?{of}"), None)
        .await;
    let id = listed.body["items"][0]["id"].as_str().unwrap().to_owned();
    let one = format!("/v1/dead-letters/{id}");
    assert_eq!(hand.ask(Method::GET, &one, None).await.status, 200);
    let again = Some(json!({"ids": [id]}));
    let again = hand
        .ask(Method::POST, "/v1/dead-letters/redrive", again)
        .await;
    assert_eq!(again.body["results"][0]["status"], 200, "{}", again.body);
    hand.pump().await;
}

/// Opens a live socket, subscribes, is sent an event, and unsubscribes. A socket that is unknown is
/// closed.
async fn sockets(hand: &ByHand) {
    let given = hand.ask(Method::POST, "/v1/live/tickets", None).await;
    assert_eq!(given.status, 201, "{}", given.body);
    let deps = &hand.functions.live;
    let deadline = Deadline(hand.now().plus_millis(15_000));
    let happens = async |socket: &str, route: &str, more: Value| {
        let mut event = json!({"requestContext": {
            "routeKey": route, "connectionId": socket, "connectedAt": 0, "requestTimeEpoch": 0,
        }});
        let more = more.as_object().unwrap().clone();
        event.as_object_mut().unwrap().extend(more);
        let event = serde_json::from_value(event).unwrap();
        live::handle_socket(event, deadline, deps).await
    };
    let ticket = json!({"queryStringParameters": {"ticket": given.body["ticket"]}});
    assert_eq!(happens("s1", "$connect", ticket).await, 200);
    let mut opened = hand.aws.sockets().add("s1");
    for (action, wanted) in [("subscribe", "hello"), ("unsubscribe", "unsubscribed")] {
        let body = json!({"action": action, "connection": hand.key.connection.as_str()});
        let status = happens("s1", action, json!({"body": body.to_string()})).await;
        assert_eq!(status, 200, "{action}");
        let frame: Value = serde_json::from_str(&opened.frames.recv().await.unwrap()).unwrap();
        assert_eq!(frame["type"], wanted, "{frame}");
    }
    let body = json!({"action": "subscribe", "connection": hand.key.connection.as_str()});
    let body = json!({"body": body.to_string()});
    assert_eq!(happens("unknown", "subscribe", body).await, 200);
    assert_eq!(happens("s1", "$disconnect", json!({})).await, 200);
}

/// Delivers to a webhook endpoint: at once, without time, when it is due, and until it is gone; and
/// asks another to decide a conflict.
async fn webhooks(hand: &ByHand) {
    let (receiver, id) = receiver_and_endpoint(hand).await;
    let file = hand.take();
    hand.edit_ok(&file, json!({"description": "told"})).await;
    hand.pump().await;
    assert!(receiver.files().contains(&file));
    let deliver = &hand.functions.live.deliver;
    let woken = wake_endpoint(deliver, &hand.key.tenant, &id, hand.now());
    woken.await.unwrap();
    hand.wait_until_visible(Queue::Deliver).await;
    hand.deliver_without_time(Queue::Deliver).await;
    hand.minutes(11).await;
    receiver.replies([Reply::Status(410)]);
    hand.edit_ok(&file, json!({"description": "gone"})).await;
    hand.pump().await;
    assert!(!stored(hand, &id).await.endpoint.is_active());
    // What is listed of its deliveries is deleted with it.
    let (path, any) = (format!("/v1/webhooks/{id}"), [("if-match", "*")]);
    let deleted = hand.call(Some(&hand.token), Method::DELETE, &path, &any, None);
    assert!(deleted.await.status < 300);

    let (receiver, _) = resolver_of_all(hand).await;
    receiver.replies([answers(json!({"choose": "app"}))]);
    rename_both(hand, &file).await;
    hand.pump().await;
    assert_eq!(conflict(hand, &file).await["status"], "resolved");
    hand.configure(json!({"policies": {"default": "manual"}}))
        .await;
}

/// Joins and leaves a shared drive, and revokes and restores the grant.
async fn join_and_leave(hand: &ByHand) {
    let team = Team::make(hand, "Team").await;
    let files = team.files(2).await;
    let permission = team.join().await;
    hand.run_until("the files are here", async || {
        let found = [hand.find(&files[0]).await, hand.find(&files[1]).await];
        found.iter().all(Option::is_some)
    })
    .await;
    team.delete(&files[0]).await;
    hand.minutes(2).await;
    team.expel(&permission).await;
    hand.run_until("the drive is left", async || {
        hand.file(&files[1]).await["presence"] == "access_lost"
    })
    .await;

    hand.post("/pause", json!({})).await;
    hand.minutes(1).await;
    hand.post("/resume", json!({})).await;
    hand.invalidate_cursor().await;
    hand.minutes(4).await;
    for queue in [Queue::LogWakes, Queue::PushWakes] {
        let grant = |revoked: bool| json!({"refresh_token": "user:owner", "revoked": revoked});
        hand.control(Method::POST, "grants", grant(true)).await;
        // Tokens that were issued before are valid for an hour.
        hand.advance_clock(Duration::from_mins(70));
        match queue {
            Queue::LogWakes | Queue::Snapshots | Queue::SnapshotsBulk => hand.sync().await,
            Queue::PushWakes => {
                let file = hand.take();
                hand.edit_ok(&file, json!({"description": "owed"})).await;
            }
            Queue::Operations
            | Queue::Live
            | Queue::Deliver
            | Queue::Content
            | Queue::ContentBulk => {
                panic!("{queue:?} is not asked for here")
            }
        }
        hand.pump_only(queue).await;
        assert_eq!(hand.get("/status").await["state"], "suspended", "{queue:?}");
        hand.control(Method::POST, "grants", grant(false)).await;
        let active = async || hand.get("/status").await["state"] == "active";
        hand.run_until("it is active again", active).await;
    }
}

/// Restores a file to the time before it was renamed and overwritten.
async fn restores(hand: &ByHand) {
    let (file, owner) = (hand.take(), hand.owner());
    let content = |text: &'static str| {
        let bytes = bytes::Bytes::from_static(text.as_bytes());
        hand.simulator
            .replace_content("owner", &file, bytes)
            .unwrap();
    };
    content("good");
    hand.minutes(1).await;
    let at = hand.now().to_string();
    hand.minutes(1).await;
    content("encrypted");
    owner.rename(&file, "locked").await;
    hand.sync().await;
    hand.pump().await;
    let folder = owner.get(&file).await["parents"][0].clone();
    let body = json!({"folder": folder, "at": at});
    let begun = hand.post("/files/restore", body).await;
    let path = format!("/operations/{}", begun["id"].as_str().unwrap());
    let done = async || hand.get(&path).await["state"] == "done";
    hand.run_until("the folder is restored", done).await;
    hand.get(&format!("{path}/findings")).await;
}

/// Runs an audit that waits for a confirmation and then repairs.
async fn audits(hand: &ByHand) {
    let (lost, gone, owner) = (hand.take(), hand.take(), hand.owner());
    let any = [("if-match", "*")];
    let limits = json!({"removal_share_percent_max": 0, "removals_unasked_max": 0});
    hand.api(Method::PATCH, "", &any, Some(limits)).await;
    hand.hide_changes().await;
    owner.rename(&lost, "unreported.txt").await;
    owner.delete(&gone).await;
    let id = hand.audit(false).await;
    let path = format!("/operations/{id}");
    let is = async |state: &str| hand.get(&path).await["state"] == state;
    hand.run_until("a person is asked", async || {
        is("awaiting_confirmation").await
    })
    .await;
    hand.get(&format!("{path}/drift")).await;
    hand.get(&format!("{path}/findings")).await;
    hand.post(&format!("{path}/confirm"), json!({})).await;
    hand.run_until("it has ended", async || is("done").await)
        .await;
}

/// Mirrors existing, changed and new content.
async fn content(hand: &ByHand) {
    let any = [("if-match", "*")];
    let on = json!({"content": {"enabled": true}});
    let turned_on = hand.api(Method::PATCH, "", &any, Some(on)).await;
    assert_eq!(turned_on.status, 200, "{}", turned_on.body);
    hand.minutes(1).await;
    let file = hand.take();
    hand.simulator
        .replace_content("owner", &file, bytes::Bytes::from_static(b"changed"))
        .unwrap();
    hand.owner().create("new.txt", false).await;
    hand.sync().await;
    hand.pump().await;
    // Moves a folder into scope.
    let owner = hand.owner();
    let (out, inner) = (
        owner.create("Left out", true).await,
        owner.create("Inner", true).await,
    );
    let root = owner.get("root").await["id"].as_str().unwrap().to_owned();
    owner.move_to(&inner, &out).await;
    hand.sync().await;
    hand.pump().await;
    for (rules, place) in [
        (json!({"exclude": [{"folder": out}]}), &root),
        (json!({}), &out),
    ] {
        let ruled = json!({ "rules": rules });
        let ruled = hand.api(Method::PATCH, "", &any, Some(ruled)).await;
        assert_eq!(ruled.status, 200, "{}", ruled.body);
        hand.minutes(1).await;
        owner.move_to(&inner, place).await;
        owner.create("New", true).await;
        hand.sync().await;
        hand.pump().await;
    }
    for queue in [Queue::Content, Queue::ContentBulk] {
        let wake = worker::ContentWake {
            key: hand.key.clone(),
            file: FileId::parse(&hand.take()).unwrap(),
        };
        let group = file_group(&wake.key, &wake.file);
        // After several receives the batch is processed file by file, and messages without time are
        // retried.
        hand.send(queue.name(), &group, &wake.to_body());
        hand.send(queue.name(), "another", "not JSON");
        hand.wait_until_visible(queue).await;
        for _ in 0..2 {
            hand.receive(queue).await;
            hand.advance_clock(Duration::from_secs(1_000));
        }
        hand.pump_only(queue).await;
        hand.send(queue.name(), &group, &wake.to_body());
        let received = hand.receive(queue).await;
        hand.deliver(queue, &received, Deadline(hand.now())).await;
        // What a sync hastened is redriven before, so that this dead letter waits for a person.
        hand.sweep_and_pump().await;
        hand.send(queue.dead_letter_name(), &group, &wake.to_body());
        hand.sweep_and_pump().await;
        let path = format!("/v1/dead-letters?connection={}", hand.key.connection);
        let listed = hand.ask(Method::GET, &path, None).await;
        let mut letters = listed.body["items"].as_array().unwrap().iter();
        let mine = letters.find(|letter| letter["queue"] == queue.dead_letter_name());
        let again = Some(json!({"ids": [mine.unwrap()["id"]]}));
        let again = hand
            .ask(Method::POST, "/v1/dead-letters/redrive", again)
            .await;
        assert_eq!(again.body["results"][0]["status"], 200, "{}", again.body);
        hand.pump().await;
    }
}

/// The resources that functions use, by function and action.
type Listed = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// Returns the actions and resources of one function.
fn flat(all: &Listed, function: &str) -> BTreeSet<(String, String)> {
    let of = all.get(function).into_iter().flatten();
    let each = of.flat_map(|(action, on)| on.iter().map(|on| (action.clone(), on.clone())));
    each.collect()
}

fn listed(what: &str) -> Listed {
    let text = std::fs::read_to_string(top().join("infra/iam.json")).unwrap();
    let all: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    let functions = all["functions"].as_object().unwrap().iter();
    let calls = |(name, of): (&String, &Value)| {
        let calls = serde_json::from_value(of[what].clone()).unwrap();
        (name.clone(), calls)
    };
    functions.map(calls).collect()
}

#[test]
fn each_function_calls_what_is_listed_and_nothing_else() {
    run(async {
        let calls = Calls::default();
        let hand = ByHand::start_recorded(60, &calls).await;
        Box::pin(over_http(&hand)).await;
        Box::pin(rules(&hand)).await;
        Box::pin(failures(&hand)).await;
        Box::pin(sockets(&hand)).await;
        Box::pin(webhooks(&hand)).await;
        Box::pin(join_and_leave(&hand)).await;
        // Before the audits, after which Drive's logs show no changes.
        Box::pin(content(&hand)).await;
        Box::pin(restores(&hand)).await;
        Box::pin(audits(&hand)).await;
        let (called, listed, unseen) = (calls.all(), listed("calls"), listed("unseen"));
        let called: Listed = called
            .into_iter()
            .map(|(function, mut called)| {
                // Channels are distinguished only for the public function.
                for on in called.values_mut() {
                    if function != "receive-notification" && on.remove("channels") {
                        on.insert("table".to_owned());
                    }
                }
                (function.to_owned(), called)
            })
            .collect();
        let shown = serde_json::to_string_pretty(&called).unwrap();
        let names: BTreeSet<_> = called.keys().chain(listed.keys()).collect();
        let mut wrong = Vec::new();
        for name in names {
            let (called, listed) = (flat(&called, name), flat(&listed, name));
            for seen in called.intersection(&flat(&unseen, name)) {
                wrong.push(format!("{name} is seen to call {seen:?}"));
            }
            let missing = called.difference(&listed);
            wrong.extend(missing.map(|what| format!("{name} calls {what:?}, which is not listed")));
            let unused = listed.difference(&called);
            wrong.extend(unused.map(|what| format!("{name} does not call {what:?}")));
        }
        assert!(wrong.is_empty(), "{}\n{shown}", wrong.join("\n"));
    });
}
