//! Cursors and ids that callers forged, changed, or took from another tenant's lists.

use std::cell::Cell;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::ConnectionId;
use drive_simulator::Edit;
use http::Method;
use local::aws::Queue;
use local::system::SECRETS_PREFIX;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use sqs_fifo::NewMessage;

use super::mutation::{Mutations, damage, damaged, mutated, mutations, text};
use super::runner;
use crate::support::{ByHand, credentials, run};

/// A text that only the other tenant's records contain.
const CANARY: &str = "canary-of-the-stranger";

/// A change of a cursor or an id.
#[derive(Debug, Clone)]
enum CursorCase {
    /// Unchanged, but used for another list or by another tenant.
    Kept,
    /// Its text is damaged.
    Damaged(Vec<(Index, u8)>),
    /// Its decoded content is damaged.
    Inside(Vec<(Index, u8)>),
    /// Its decoded content is mutated, if it is JSON.
    Mutated(Mutations),
    /// It is replaced.
    Else(String),
}

fn case() -> impl Strategy<Value = CursorCase> {
    prop_oneof![
        2 => Just(CursorCase::Kept),
        2 => damage().prop_map(CursorCase::Damaged),
        3 => damage().prop_map(CursorCase::Inside),
        3 => mutations().prop_map(CursorCase::Mutated),
        1 => text().prop_map(CursorCase::Else),
    ]
}

fn apply_case(real: &str, case: &CursorCase) -> String {
    let inside = URL_SAFE_NO_PAD.decode(real).unwrap_or_default();
    match case {
        CursorCase::Kept => real.to_owned(),
        CursorCase::Damaged(damage) => {
            let damaged = damaged(real.as_bytes(), damage);
            String::from_utf8_lossy(&damaged).into_owned()
        }
        CursorCase::Inside(damage) => URL_SAFE_NO_PAD.encode(damaged(&inside, damage)),
        CursorCase::Mutated(mutations) => match serde_json::from_slice(&inside) {
            Ok(value) => URL_SAFE_NO_PAD.encode(within(&value, mutations)),
            Err(_) => real.to_owned(),
        },
        CursorCase::Else(text) => text.clone(),
    }
}

/// A cursor may contain another one: that one is mutated as well.
fn within(value: &Value, mutations: &Mutations) -> String {
    let mut value = value.clone();
    if let Some(inner) = value.get("c").and_then(Value::as_str)
        && let Ok(bytes) = URL_SAFE_NO_PAD.decode(inner)
        && let Ok(held) = serde_json::from_slice::<Value>(&bytes)
    {
        value["c"] = json!(URL_SAFE_NO_PAD.encode(mutated(&held, mutations)));
        return value.to_string();
    }
    mutated(&value, mutations)
}

/// Escapes a text for a query or a path.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// One tenant: a token, a connection, and the cursors and ids that it received.
struct Tenant {
    token: String,
    connection: String,
    lists: Vec<String>,
    cursors: Vec<String>,
    /// Paths of single things, before and after the id, and the ids.
    things: Vec<(String, String)>,
}

/// Two tenants of one Drive, both with files, conflicts, operations and dead letters.
struct Two {
    hand: ByHand,
    ours: Tenant,
    theirs: Tenant,
}

impl Two {
    async fn start() -> Self {
        let hand = ByHand::start(6).await;
        let secret = hand.aws.secrets_client().create_secret();
        let name = format!("{SECRETS_PREFIX}stranger/drive");
        let secret = secret
            .name(name)
            .secret_string(credentials(&hand.drive_url, "owner"));
        secret.send().await.unwrap();
        let body = json!({"name": CANARY, "scope": {"type": "user"}, "secret": "drive"});
        let made = get(
            &hand,
            &hand.stranger,
            Method::POST,
            "/v1/connections",
            Some(body),
        )
        .await;
        assert_eq!(made.0, 201, "{}", made.1);
        let theirs = made.1["id"].as_str().unwrap().to_owned();
        for _ in 0..3 {
            hand.sweep_and_pump().await;
        }
        let ours = hand.connection.clone();
        let mine = [
            (&hand.token, &ours, "ours"),
            (&hand.stranger, &theirs, CANARY),
        ];
        for (token, connection, word) in mine {
            fill(&hand, token, connection, word).await;
        }
        for file in files(&hand) {
            let edit = Edit::Rename(format!("{file} of a person"));
            hand.simulator.apply("ann", &file, edit).unwrap();
        }
        for (token, connection, _) in mine {
            let path = format!("/v1/connections/{connection}/sync");
            get(
                &hand,
                token,
                Method::POST,
                &path,
                Some(json!({"mode": "delta"})),
            )
            .await;
        }
        // Nothing is pushed: a tenant's edits are only in its records, and not in the shared Drive.
        hand.sweep().await;
        for queue in [Queue::LogWakes, Queue::SnapshotsBulk, Queue::Snapshots] {
            hand.pump_only(queue).await;
        }
        let ours = Tenant::of(&hand, &hand.token, &ours).await;
        let theirs = Tenant::of(&hand, &hand.stranger, &theirs).await;
        Self { hand, ours, theirs }
    }
}

/// Three files of the library.
fn files(hand: &ByHand) -> Vec<String> {
    let ids = hand.simulator.file_ids().into_iter();
    let is_file = |id: &String| {
        let file = hand.simulator.file(id);
        file.is_some_and(|file| file.mime_type != drive::FOLDER)
    };
    ids.filter(is_file).take(3).collect()
}

/// Creates conflicts and dead letters.
async fn fill(hand: &ByHand, token: &str, connection: &str, word: &str) {
    for file in files(hand) {
        let path = format!("/v1/connections/{connection}/files/{file}");
        let edit = json!({"name": format!("{file} {word}"), "description": word});
        let answer = get(hand, token, Method::PATCH, &path, Some(edit)).await;
        assert_eq!(answer.0, 200, "{}", answer.1);
        let tenant = if word == CANARY { "stranger" } else { "local" };
        let body = json!({
            "v": 1, "tenant": tenant, "connection": connection, "cause": "live", "file": file,
            "at": "2026-01-01T00:00:00.000Z", "removed": true, "mark": word,
        });
        let letter = NewMessage::new("g", format!("{word}{file}"), body.to_string());
        let dead = Queue::Snapshots.dead_letter_name();
        hand.aws.sqs().send(dead, letter).unwrap();
    }
}

async fn get(
    hand: &ByHand,
    token: &str,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> (u16, Value) {
    let body = body.map(|body| body.to_string());
    let headers = [("if-match", "*")];
    let answer = hand.call(Some(token), method, path, &headers, body.as_deref());
    let answer = answer.await;
    (answer.status, answer.body)
}

impl Tenant {
    async fn of(hand: &ByHand, token: &str, connection: &str) -> Self {
        let at = format!("/v1/connections/{connection}");
        let file = files(hand).remove(0);
        let parent = &hand.simulator.file(&file).unwrap().parent.unwrap();
        let lists = [
            "/v1/connections?".to_owned(),
            "/v1/dead-letters?".to_owned(),
            "/v1/dead-letters?status=all&".to_owned(),
            format!("{at}/files?"),
            format!("{at}/files?q=e&"),
            format!("{at}/files?parent={parent}&"),
            format!("{at}/files/{file}/history?"),
            format!("{at}/conflicts?"),
            format!("{at}/conflicts?status=all&"),
            format!("{at}/intents?"),
            format!("{at}/operations?"),
        ];
        let (mut cursors, mut things) = (Vec::new(), Vec::new());
        for list in &lists {
            let (status, page) =
                get(hand, token, Method::GET, &format!("{list}limit=1"), None).await;
            assert_eq!(status, 200, "{list}: {page}");
            cursors.extend(page["next_cursor"].as_str().map(str::to_owned));
            let (_, page) = get(hand, token, Method::GET, &format!("{list}limit=100"), None).await;
            let path = list.split('?').next().unwrap();
            for item in page["items"].as_array().unwrap() {
                if let Some(id) = item["id"].as_str() {
                    things.push((path.to_owned(), id.to_owned()));
                }
            }
        }
        things.retain(|(path, _)| !path.ends_with("/history"));
        for kind in ["/files", "/conflicts", "/operations", "/dead-letters"] {
            let any = things.iter().any(|(path, _)| path.ends_with(kind));
            assert!(any, "{connection} has none of {kind}");
        }
        assert!(cursors.len() >= 6, "{connection}: {cursors:?}");
        Self {
            token: token.to_owned(),
            connection: connection.to_owned(),
            lists: lists.to_vec(),
            cursors,
            things,
        }
    }
}

/// Returns whether a response shows anything of the other tenant.
fn tells(two: &Two, body: &Value) -> bool {
    let text = body.to_string();
    text.contains(CANARY) || text.contains(&two.theirs.connection)
}

#[test]
fn a_forged_cursor_is_rejected_or_points_into_the_callers_own_list() {
    let two = run(Two::start());
    let theirs = run(get(
        &two.hand,
        &two.theirs.token,
        Method::GET,
        "/v1/dead-letters?status=all",
        None,
    ));
    assert!(tells(&two, &theirs.1), "{}", theirs.1);
    let all = [two.ours.cursors.clone(), two.theirs.cursors.clone()].concat();
    let (pages, refused) = (Cell::new(0), Cell::new(0));
    let case = (any::<Index>(), any::<Index>(), case());
    let outcome = runner(400).run(&case, |(list, cursor, case)| {
        let (list, cursor): (&String, &String) = (list.get(&two.ours.lists), cursor.get(&all));
        let cursor = apply_case(cursor, &case);
        let path = format!("{list}cursor={}", escaped(&cursor));
        let (status, body) = run(get(&two.hand, &two.ours.token, Method::GET, &path, None));
        prop_assert!(
            matches!(status, 200 | 400),
            "{list} {cursor:?}: {status} {body}"
        );
        // A cursor of the other tenant may name its connection; no response may repeat it.
        prop_assert!(!tells(&two, &body), "{list} {cursor:?}: {body}");
        let count = if status == 200 { &pages } else { &refused };
        count.set(count.get() + 1);
        Ok(())
    });
    outcome.unwrap();
    let (pages, refused) = (pages.get(), refused.get());
    assert!(
        pages > 0 && refused > 20,
        "{pages} pages, {refused} refused"
    );
}

#[test]
fn a_forged_id_finds_nothing_or_something_of_the_callers_own() {
    let two = run(Two::start());
    let ours = ConnectionId::parse(&two.ours.connection).unwrap();
    let theirs = two.theirs.things.iter().map(|(path, id)| {
        // An id of theirs, requested in our connection.
        (
            path.replace(&two.theirs.connection, ours.as_str()),
            id.clone(),
        )
    });
    let all: Vec<(String, String)> = two.ours.things.iter().cloned().chain(theirs).collect();
    let (found, missing) = (Cell::new(0), Cell::new(0));
    let outcome = runner(300).run(&(any::<Index>(), case()), |(which, case)| {
        let (path, id) = which.get(&all);
        let id = apply_case(id, &case);
        let path = format!("{path}/{}", escaped(&id));
        let (status, body) = run(get(&two.hand, &two.ours.token, Method::GET, &path, None));
        // An empty id can be the path of a list, or of a write-only route.
        prop_assert!(
            matches!(status, 200 | 400 | 404 | 405 | 410),
            "{path}: {status} {body}"
        );
        prop_assert!(!tells(&two, &body), "{path}: {body}");
        let count = if status == 200 { &found } else { &missing };
        count.set(count.get() + 1);
        Ok(())
    });
    outcome.unwrap();
    let (found, missing) = (found.get(), missing.get());
    assert!(
        found > 10 && missing > 10,
        "{found} found, {missing} missing"
    );
}
