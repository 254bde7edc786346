//! Tickets, sockets and wakes, against a table and queues in memory and a server of `@connections`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use aws_sdk_apigatewaymanagement::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_apigatewaymanagement::{Client, Config};
use domain::event::{Author, Details, Epoch, Event, EventType, Subject};
use domain::live::{EVENTS_MAX, FRAME_BYTES_MAX, Holder, SUBSCRIPTIONS_MAX, TICKET_MILLIS};
use domain::{Access, ConnectionId, ConnectionKey, FileId, Principal, Role, TenantId, Timestamp};
use http::{Method, StatusCode};
use sdk_in_process::{Body, Handler, InProcess};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::{Appending, Nonce, Ticket};
use worker::LiveWake;
use worker_testing::World;

use super::{Deps, Sockets, handle, handle_socket, handle_wakes};

const WAKES: &str = "live.fifo";
const TICKET: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// The clients of the open sockets: what each has received, and how it behaves.
#[derive(Default)]
struct Clients {
    open: BTreeMap<String, Vec<Value>>,
    /// Those that do not read.
    stuck: BTreeSet<String>,
    /// The frames that are refused before others are taken.
    refusals: u32,
}

/// A world with sockets.
struct Live {
    world: World,
    clients: Arc<Mutex<Clients>>,
    deps: Deps,
    appended: Mutex<u64>,
}

fn answer(status: StatusCode, code: &'static str) -> http::Response<Body> {
    let mut response = http::Response::new(Body::from("{}"));
    *response.status_mut() = status;
    let code = http::HeaderValue::from_static(code);
    response.headers_mut().insert("x-amzn-errortype", code);
    response
}

/// Serves `@connections`.
fn server(clients: Arc<Mutex<Clients>>) -> Handler {
    Arc::new(move |request: http::Request<bytes::Bytes>| {
        let clients = Arc::clone(&clients);
        Box::pin(async move {
            let id = request.uri().path().rsplit('/').next().unwrap().to_owned();
            if clients.lock().unwrap().stuck.contains(&id) && request.method() == Method::POST {
                std::future::pending::<()>().await;
            }
            let mut clients = clients.lock().unwrap();
            if clients.refusals > 0 {
                clients.refusals -= 1;
                let status = StatusCode::TOO_MANY_REQUESTS;
                return Ok(answer(status, "LimitExceededException"));
            }
            if request.method() == Method::DELETE {
                clients.open.remove(&id);
                return Ok(answer(StatusCode::NO_CONTENT, ""));
            }
            let Some(frames) = clients.open.get_mut(&id) else {
                return Ok(answer(StatusCode::GONE, "GoneException"));
            };
            assert!(request.body().len() <= FRAME_BYTES_MAX);
            frames.push(serde_json::from_slice(request.body()).unwrap());
            Ok(answer(StatusCode::OK, ""))
        })
    })
}

impl Live {
    async fn new() -> Self {
        let world = World::new().await;
        world.connect(|_| {}).await;
        let clients = Arc::<Mutex<Clients>>::default();
        let http = InProcess::new(server(Arc::clone(&clients)));
        let config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("id", "key", None, None, "test"))
            .endpoint_url("http://sockets.test")
            .http_client(http);
        let deps = Deps {
            store: world.store.clone(),
            sockets: Sockets::new(&Client::from_conf(config.build())),
            wakes: world.queue(WAKES),
            deliver: world.queue("deliver.fifo"),
            pushes: world.queue("push-wakes.fifo"),
            endpoints: ::webhooks::Client::disconnected(),
            webhook_key: ::webhooks::RootSecret::new(world.secrets(), "drivesync-webhooks"),
            clock: world.clock.clone(),
            entropy: world.entropy.clone(),
        };
        Self {
            world,
            clients,
            deps,
            appended: Mutex::new(0),
        }
    }

    fn holder(&self) -> Holder {
        Holder {
            subject: "ann".to_owned(),
            role: Role::Viewer,
            groups: BTreeSet::new(),
            expires_at: self.now().plus_millis(3_600_000),
        }
    }

    fn now(&self) -> Timestamp {
        self.deps.clock.now()
    }

    async fn ticket(&self, tenant: &TenantId, holder: Holder, text: &str) {
        let ticket = Ticket {
            tenant: tenant.clone(),
            holder,
            expires_at: self.now().plus_millis(TICKET_MILLIS),
        };
        let hash = Sha256::digest(text.as_bytes()).into();
        self.deps.store.create_ticket(&hash, &ticket).await.unwrap();
    }

    async fn event(&self, id: &str, route: &str, more: Value) -> u16 {
        let mut event = json!({"requestContext": {
            "routeKey": route, "connectionId": id, "connectedAt": 0, "requestTimeEpoch": 0,
        }});
        let members = more.as_object().unwrap().clone();
        event.as_object_mut().unwrap().extend(members);
        let request = serde_json::from_value(event).unwrap();
        handle_socket(request, self.world.deadline(15), &self.deps).await
    }

    async fn connect(&self, id: &str, ticket: &str) -> u16 {
        let query = json!({"queryStringParameters": {"ticket": ticket}});
        let status = self.event(id, "$connect", query).await;
        if status == 200 {
            self.clients
                .lock()
                .unwrap()
                .open
                .insert(id.to_owned(), Vec::new());
        }
        status
    }

    /// Opens a socket of this holder.
    async fn open(&self, id: &str, holder: Holder) {
        let text = format!("{id:a<43}");
        self.ticket(&World::key().tenant, holder, &text).await;
        assert_eq!(self.connect(id, &text).await, 200);
    }

    /// Sends a message of a client, and returns the frames that it gets.
    async fn say(&self, id: &str, message: &str) -> Vec<Value> {
        let body = json!({ "body": message });
        assert_eq!(self.event(id, "$default", body).await, 200);
        self.frames(id)
    }

    async fn subscribe(&self, id: &str, more: Value) -> Vec<Value> {
        let mut message =
            json!({"action": "subscribe", "connection": World::key().connection.as_str()});
        let members = more.as_object().unwrap().clone();
        message.as_object_mut().unwrap().extend(members);
        self.say(id, &message.to_string()).await
    }

    /// Takes the frames that a client has received.
    fn frames(&self, id: &str) -> Vec<Value> {
        let mut clients = self.clients.lock().unwrap();
        clients
            .open
            .get_mut(id)
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Appends events, about a file each.
    async fn append(&self, key: &ConnectionKey, files: &[&str]) {
        let number = {
            let mut appended = self.appended.lock().unwrap();
            *appended += 1;
            *appended
        };
        let event = |file: &&str| Event {
            kind: EventType::FileModified,
            subject: Subject::File(FileId::parse(file).unwrap()),
            state: number.to_string(),
            at: self.now(),
            by: Author::Drive,
            cause: None,
            details: Details::default(),
        };
        let events: Vec<Event> = files.iter().map(event).collect();
        let appending = Appending {
            table: None,
            fresh: Epoch(7),
            nonce: Nonce(number * 1_000),
            now: self.now(),
        };
        let append = self.deps.store.append_events(key, &events, &appending);
        append.await.unwrap();
    }

    /// Delivers a wake. Returns whether it was processed.
    async fn wake(&self, key: &ConnectionKey) -> bool {
        let wake = LiveWake { key: key.clone() };
        self.world.send(WAKES, "c", &wake.to_body());
        let event = self.world.deliver(WAKES).await;
        let handles = event
            .records
            .iter()
            .filter_map(|m| m.receipt_handle.clone());
        let handles: Vec<String> = handles.collect();
        let deadline = self.world.deadline(15);
        let response = handle_wakes(event, deadline, &self.deps).await;
        self.world.sqs.delete(WAKES, &handles).unwrap();
        response.batch_item_failures.is_empty()
    }

    async fn append_and_wake(&self, files: &[&str]) {
        self.append(&World::key(), files).await;
        assert!(self.wake(&World::key()).await);
    }
}

/// Returns the files of all events of some frames, which must follow each other.
fn files(frames: &[Value], place: &mut Value) -> Vec<String> {
    let mut found = Vec::new();
    for frame in frames {
        assert_eq!(frame["type"], "events", "{frame}");
        assert_eq!(frame["after"], *place, "{frame}");
        *place = frame["head"].clone();
        let events = frame["events"].as_array().unwrap().iter();
        found.extend(events.map(|event| event["subject"].as_str().unwrap()[6..].to_owned()));
    }
    found
}

#[tokio::test(start_paused = true)]
async fn a_ticket_opens_one_socket_within_a_minute() {
    let live = Live::new().await;
    let tenant = World::key().tenant;
    assert_eq!(live.connect("s1", TICKET).await, 401, "forged");
    assert_eq!(live.event("s1", "$connect", json!({})).await, 401);
    assert_eq!(live.connect("s1", &"x".repeat(100_000)).await, 401);
    live.ticket(&tenant, live.holder(), TICKET).await;
    assert_eq!(live.connect("s1", TICKET).await, 200);
    assert_eq!(live.connect("s2", TICKET).await, 401, "used");

    live.ticket(&tenant, live.holder(), TICKET).await;
    tokio::time::advance(std::time::Duration::from_millis(60_000)).await;
    assert_eq!(live.connect("s3", TICKET).await, 401, "late");

    let expired = Holder {
        expires_at: live.now(),
        ..live.holder()
    };
    live.ticket(&tenant, expired, TICKET).await;
    assert_eq!(
        live.connect("s4", TICKET).await,
        401,
        "the token has expired"
    );
}

#[tokio::test(start_paused = true)]
async fn a_reader_gets_what_the_log_gains_once_and_in_order() {
    let live = Live::new().await;
    live.append(&World::key(), &["before"]).await;
    live.open("s1", live.holder()).await;
    let hello = live.subscribe("s1", json!({})).await;
    assert_eq!(hello.len(), 1);
    assert_eq!(
        (&hello[0]["type"], &hello[0]["protocol"]),
        (&json!("hello"), &json!(1))
    );
    let mut place = hello[0]["head"].clone();

    live.append_and_wake(&["a", "b"]).await;
    live.append(&World::key(), &["c"]).await;
    live.append_and_wake(&["d"]).await;
    assert_eq!(files(&live.frames("s1"), &mut place), ["a", "b", "c", "d"]);
    // A wake that is doubled finds nothing.
    assert!(live.wake(&World::key()).await);
    assert_eq!(live.frames("s1"), Vec::<Value>::new());

    // A reader that comes back goes on from where it stands.
    assert_eq!(live.event("s1", "$disconnect", json!({})).await, 200);
    live.append_and_wake(&["e"]).await;
    assert_eq!(live.frames("s1"), Vec::<Value>::new());
    live.open("s2", live.holder()).await;
    let frames = live.subscribe("s2", json!({"after": place})).await;
    assert_eq!(files(&frames[1..], &mut place), ["e"]);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_empty_is_read_from_its_first_event() {
    let live = Live::new().await;
    live.open("s1", live.holder()).await;
    let mut place = live.subscribe("s1", json!({})).await[0]["head"].clone();
    assert_eq!(place, Value::Null);
    live.append_and_wake(&["a"]).await;
    assert_eq!(files(&live.frames("s1"), &mut place), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_filter_hides_events_and_no_gap() {
    let live = Live::new().await;
    live.open("s1", live.holder()).await;
    let mut place = live.subscribe("s1", json!({"files": ["b"]})).await[0]["head"].clone();
    for _ in 0..60 {
        live.append_and_wake(&["a"]).await;
    }
    assert_eq!(live.frames("s1"), Vec::<Value>::new());
    live.append_and_wake(&["a", "b"]).await;
    assert_eq!(files(&live.frames("s1"), &mut place), ["b"]);
    live.append_and_wake(&["b"]).await;
    assert_eq!(files(&live.frames("s1"), &mut place), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_flood_and_a_place_that_is_gone_are_one_frame() {
    let live = Live::new().await;
    live.open("s1", live.holder()).await;
    live.subscribe("s1", json!({})).await;
    live.append_and_wake(&vec!["a"; EVENTS_MAX + 1]).await;
    let frames = live.frames("s1");
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0]["type"], "behind");
    let mut place = frames[0]["head"].clone();
    live.append_and_wake(&["b"]).await;
    assert_eq!(files(&live.frames("s1"), &mut place), ["b"]);

    let gone = json!({"after": "00000000000000ff.3.0"});
    let frames = live.subscribe("s1", gone).await;
    assert_eq!(
        (&frames[0]["type"], &frames[1]["type"]),
        (&json!("hello"), &json!("behind"))
    );
    live.append_and_wake(&vec!["a"; EVENTS_MAX]).await;
    let frames = live.frames("s1");
    assert_eq!(files(&frames, &mut place).len(), EVENTS_MAX);
}

#[tokio::test(start_paused = true)]
async fn access_and_token_are_checked_at_each_frame() {
    let live = Live::new().await;
    live.open("s1", live.holder()).await;
    let short = Holder {
        subject: "bob".to_owned(),
        expires_at: live.now().plus_millis(30_000),
        ..live.holder()
    };
    live.open("s2", short).await;
    live.subscribe("s1", json!({})).await;
    live.subscribe("s2", json!({})).await;
    let key = World::key();
    let mut connection = live
        .deps
        .store
        .load_connection(&key)
        .await
        .unwrap()
        .unwrap();
    let bob = Principal::User("bob".to_owned());
    connection.access = Some(Access {
        entries: BTreeMap::from([(bob, Role::Viewer)]),
    });
    live.deps.store.save_connection(&connection).await.unwrap();
    live.append_and_wake(&["a"]).await;
    let frames = live.frames("s1");
    assert_eq!(frames.len(), 1, "{frames:?}");
    assert_eq!(frames[0]["reason"], "unknown-connection");
    assert_eq!(live.frames("s2").len(), 1);
    live.append_and_wake(&["b"]).await;
    assert_eq!(live.frames("s1"), Vec::<Value>::new());
    assert_eq!(live.frames("s2").len(), 1);
    // The same answer as of a connection that is none.
    let mut again = live.subscribe("s1", json!({})).await;
    let none = live.subscribe("s1", json!({"connection": "c_none"})).await;
    again[0]["connection"] = json!("c_none");
    assert_eq!(again, none);

    tokio::time::advance(std::time::Duration::from_secs(31)).await;
    live.append_and_wake(&["c"]).await;
    assert!(
        !live.clients.lock().unwrap().open.contains_key("s2"),
        "closed with its token"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_closed_and_holds_up_nobody() {
    let live = Live::new().await;
    for id in ["s1", "s2", "s3"] {
        live.open(id, live.holder()).await;
        live.subscribe(id, json!({})).await;
    }
    live.clients.lock().unwrap().stuck.insert("s2".to_owned());
    live.clients.lock().unwrap().open.remove("s3");
    let began = live.now();
    live.append_and_wake(&["a"]).await;
    assert!(live.now().as_millis() - began.as_millis() < 5_000);
    assert_eq!(live.frames("s1").len(), 1);
    assert!(!live.clients.lock().unwrap().open.contains_key("s2"));
    let (left, _) = live.deps.store.subscriptions(&World::key()).await.unwrap();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn frames_that_api_gateway_refuses_are_sent_by_the_next_delivery() {
    let live = Live::new().await;
    live.open("s1", live.holder()).await;
    let mut place = live.subscribe("s1", json!({})).await[0]["head"].clone();
    live.append(&World::key(), &["a"]).await;
    live.clients.lock().unwrap().refusals = 3;
    assert!(!live.wake(&World::key()).await);
    assert!(live.wake(&World::key()).await);
    assert_eq!(files(&live.frames("s1"), &mut place), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_none_gets_an_answer_in_plain_words() {
    let live = Live::new().await;
    live.open("s1", live.holder()).await;
    for (message, reason) in [
        ("not JSON", "not-json"),
        ("{}", "unknown-action"),
        (r#"{"action":"drop"}"#, "unknown-action"),
        (
            r#"{"action":"subscribe","connection":"c","x":1}"#,
            "invalid-request",
        ),
        (
            r#"{"action":"subscribe","connection":"a#b"}"#,
            "unknown-connection",
        ),
    ] {
        let frames = live.say("s1", message).await;
        assert_eq!(frames.len(), 1, "{message}");
        assert_eq!(
            (&frames[0]["type"], &frames[0]["reason"]),
            (&json!("error"), &json!(reason))
        );
        assert!(frames[0]["detail"].as_str().unwrap().len() > 10);
    }
    let binary = json!({"body": "AAE=", "isBase64Encoded": true});
    assert_eq!(live.event("s1", "$default", binary).await, 200);
    assert_eq!(live.frames("s1")[0]["reason"], "binary");
    // A socket that was never opened gets nothing, and no error either.
    assert!(live.say("s9", "{}").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_socket_has_a_bounded_number_of_subscriptions() {
    let live = Live::new().await;
    live.open("s1", live.holder()).await;
    let template = live
        .deps
        .store
        .load_connection(&World::key())
        .await
        .unwrap()
        .unwrap();
    for number in 0..=SUBSCRIPTIONS_MAX {
        let id = format!("c_{number}");
        let mut connection = template.clone();
        connection.key.connection = ConnectionId::parse(&id).unwrap();
        connection.revision = 0;
        live.deps
            .store
            .create_connection(&connection, None)
            .await
            .unwrap();
        let frames = live.subscribe("s1", json!({ "connection": id })).await;
        let wanted = if number < SUBSCRIPTIONS_MAX {
            "hello"
        } else {
            "error"
        };
        assert_eq!(frames[0]["type"], wanted, "{number}");
    }
    let again = live.subscribe("s1", json!({"connection": "c_3"})).await;
    assert_eq!(again[0]["type"], "hello", "one that it has already");
    let less = r#"{"action":"unsubscribe","connection":"c_3"}"#;
    assert_eq!(live.say("s1", less).await[0]["type"], "unsubscribed");
    let last = format!("c_{SUBSCRIPTIONS_MAX}");
    let frames = live.subscribe("s1", json!({ "connection": last })).await;
    assert_eq!(frames[0]["type"], "hello");
}

/// Two tenants with a connection of the same id, in every order of what happens to them.
#[tokio::test(start_paused = true)]
async fn no_event_crosses_from_one_tenant_to_another() {
    for seed in 0..60_u64 {
        let live = Live::new().await;
        let ours = World::key();
        let theirs = ConnectionKey {
            tenant: TenantId::parse("other").unwrap(),
            ..ours.clone()
        };
        let mut connection = live
            .deps
            .store
            .load_connection(&ours)
            .await
            .unwrap()
            .unwrap();
        connection.key = theirs.clone();
        connection.revision = 0;
        live.deps
            .store
            .create_connection(&connection, None)
            .await
            .unwrap();
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut opened = BTreeSet::new();
        for step in 0..12 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let (mine, key) = match state % 2 {
                0 => ("ours", &ours),
                _ => ("theirs", &theirs),
            };
            match state / 2 % 4 {
                0 if opened.insert(mine) => {
                    let text = format!("{mine:b<43}");
                    live.ticket(&key.tenant, live.holder(), &text).await;
                    assert_eq!(live.connect(mine, &text).await, 200);
                    live.subscribe(mine, json!({})).await;
                }
                1 => live.append(key, &[mine]).await,
                2 => assert!(live.wake(key).await),
                _ => {}
            }
            for owner in ["ours", "theirs"] {
                for frame in live.frames(owner) {
                    let text = frame.to_string();
                    let other = if owner == "ours" { "theirs" } else { "ours" };
                    assert!(!text.contains(other), "{seed}.{step}: {owner} gets {text}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_wake_becomes_a_dead_letter() {
    let live = Live::new().await;
    live.world.send(WAKES, "d", r#"{"v":1}"#);
    assert!(live.wake(&World::key()).await);
    assert_eq!(live.world.dead_letters_without_connection().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn events_of_both_kinds_reach_the_function() {
    let live = Live::new().await;
    let deadline = live.world.deadline(15);
    let wakes = handle(json!({"Records": []}), deadline, &live.deps)
        .await
        .unwrap();
    assert_eq!(wakes, json!({"batchItemFailures": []}));
    let context = json!({"routeKey": "$connect", "connectionId": "s1", "connectedAt": 0,
        "requestTimeEpoch": 0});
    let event = json!({ "requestContext": context });
    let answer = handle(event, deadline, &live.deps).await.unwrap();
    assert_eq!(answer, json!({"statusCode": 401}));
    assert!(handle(json!({}), deadline, &live.deps).await.is_err());
}
