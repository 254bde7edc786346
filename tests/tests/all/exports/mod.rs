//! Exports: of a connection, of the tenant, and of what names a person.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::content::ObjectKey;
use domain::{ConnectionKey, OperationId};
use http::Method;
use serde_json::{Value, json};

use crate::content::bucket;
use crate::content::content_wakes::{apply, content, mirrored};
use crate::content::over_http::sha256;
use crate::support::{Answer, ByHand, by_hand, own};

const DAY: Duration = Duration::from_secs(86_400);
/// Longer than any function runs.
const QUIET: Duration = Duration::from_secs(17 * 60);
const ANN: &str = "ann@example.com";

/// A complete export, as it is in the bucket.
struct Read {
    manifest: Value,
    lines: Vec<Value>,
}

impl Read {
    fn of_kind(&self, kind: &str) -> Vec<&Value> {
        let lines = self.lines.iter();
        lines.filter(|line| line["kind"] == kind).collect()
    }

    /// Returns a member of each line of a kind, each of which is there once.
    fn each(&self, kind: &str, member: &str) -> BTreeSet<String> {
        let lines = self.of_kind(kind);
        let text = |line: &&Value| line[member].as_str().unwrap().to_owned();
        let found: BTreeSet<String> = lines.iter().map(text).collect();
        assert_eq!(found.len(), lines.len(), "a {kind} is there twice");
        found
    }

    /// Returns the lines without the acts, which tell of the exports themselves.
    fn without_acts(&self) -> Vec<&Value> {
        let lines = self.lines.iter();
        lines.filter(|line| line["kind"] != "act").collect()
    }
}

async fn begin(hand: &ByHand, scope: Value) -> String {
    let begun = hand.ask(Method::POST, "/v1/exports", Some(scope)).await;
    assert_eq!(begun.status, 202, "{}", begun.body);
    assert_eq!(begun.body["state"], "exporting", "{}", begun.body);
    let id = begun.body["id"].as_str().unwrap().to_owned();
    assert_eq!(begun.headers["location"], format!("/v1/exports/{id}"));
    id
}

async fn shown(hand: &ByHand, id: &str) -> Value {
    let path = format!("/v1/exports/{id}");
    let answer = hand.ask(Method::GET, &path, None).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

/// Exports, and reads the result.
async fn export(hand: &ByHand, scope: Value) -> (Value, Read) {
    let id = begin(hand, scope).await;
    hand.sweep_and_pump().await;
    let shown = shown(hand, &id).await;
    assert_eq!(shown["state"], "ready", "{shown}");
    let read = read(hand, &id).await;
    (shown, read)
}

async fn object(hand: &ByHand, id: &str, name: &str) -> Option<Vec<u8>> {
    let id = OperationId::parse(id).unwrap();
    let key = ObjectKey::export(&hand.key.tenant, &id, name);
    let body = bucket(hand).get(&key, None).await.unwrap()?;
    Some(body.collect(1 << 30).await.unwrap().to_vec())
}

/// Reads an export, and compares its files with its manifest.
async fn read(hand: &ByHand, id: &str) -> Read {
    let manifest = object(hand, id, "manifest.json").await.unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let mut lines: Vec<Value> = Vec::new();
    for file in manifest["files"].as_array().unwrap() {
        let bytes = object(hand, id, file["name"].as_str().unwrap()).await;
        let bytes = bytes.unwrap();
        assert_eq!(file["sha256"], sha256(&bytes));
        assert_eq!(file["bytes"], bytes.len());
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.ends_with('\n'));
        assert_eq!(file["lines"], text.lines().count());
        lines.extend(
            text.lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap()),
        );
    }
    let mut counts = BTreeMap::<String, u64>::new();
    for line in &lines {
        let kind = line["kind"].as_str().unwrap().to_owned();
        *counts.entry(kind).or_default() += 1;
    }
    assert_eq!(manifest["counts"], json!(counts));
    Read { manifest, lines }
}

/// Returns the keys of all objects of exports, with the versions of those that were deleted.
async fn objects(hand: &ByHand) -> BTreeSet<String> {
    let listed = bucket(hand).list_versions(&hand.key.tenant, None).await;
    let keys = listed.unwrap().0.into_iter().map(|version| version.key);
    keys.filter(|key| key.contains("/exports/")).collect()
}

async fn connect_beside(hand: &ByHand) -> String {
    let body = json!({"name": "Beside", "scope": {"type": "user"}, "secret": "drive"});
    let made = hand.ask(Method::POST, "/v1/connections", Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    for _ in 0..3 {
        hand.sweep_and_pump().await;
    }
    made.body["id"].as_str().unwrap().to_owned()
}

async fn acts(hand: &ByHand, query: &str) -> Vec<Value> {
    let path = format!("/v1/audit?limit=1000{query}");
    let page = hand.ask(Method::GET, &path, None).await;
    page.body["items"].as_array().unwrap().clone()
}

#[test]
fn an_export_of_a_connection_has_everything_once_and_nothing_of_others() {
    mirrored(6, async |hand| {
        let (ours, held) = (hand.take(), hand.take());
        content(hand, &ours, "stored");
        apply(hand).await;
        hand.pump().await;
        let beside = connect_beside(hand).await;
        hand.edit_ok(&held, json!({"name": "ours.txt"})).await;
        hand.owner().rename(&held, "theirs.txt").await;
        apply(hand).await;
        hand.edit_ok(&ours, json!({"description": "owed"})).await;

        let connection = hand.key.connection.as_str();
        let (shown, read) = export(hand, json!({"connection": connection})).await;
        assert_eq!(read.manifest["scope"], json!({"connection": connection}));
        assert_eq!(read.manifest["counts"], shown["counts"]);
        let all = store::PageRequest::first(1_000);
        let stored = hand.store().list_file_ids(&hand.key, &all).await.unwrap();
        let stored: BTreeSet<String> = stored.items.iter().map(ToString::to_string).collect();
        assert!(stored.len() >= 6);
        assert_eq!(read.each("file", "id"), stored);
        assert_eq!(
            read.each("connection", "id"),
            BTreeSet::from([connection.to_owned()])
        );
        assert!(!read.of_kind("history").is_empty());
        assert!(!read.of_kind("operation").is_empty());
        let conflicts = read.of_kind("conflict");
        assert_eq!(conflicts.len(), 1, "{conflicts:?}");
        assert_eq!(
            (
                &conflicts[0]["file_id"],
                &conflicts[0]["app"],
                &conflicts[0]["drive"]
            ),
            (&json!(held), &json!("ours.txt"), &json!("theirs.txt"))
        );
        let versions = read.of_kind("version");
        let stored = |line: &&&Value| {
            line["file_id"] == ours.as_str() && line["sha256"] == sha256(b"stored")
        };
        assert_eq!(versions.iter().filter(stored).count(), 1);
        let files = read.of_kind("file");
        let file = files.iter().find(|line| line["id"] == ours).unwrap();
        let shown_file = hand.file(&ours).await;
        assert_eq!(file["fields"]["description"], "owed");
        assert_eq!(file["fields"]["name"], shown_file["fields"]["name"]);
        assert_eq!(file["permissions"], shown_file["permissions"]);
        for line in &read.lines {
            assert_eq!(line["connection"], connection, "{line}");
            let text = line.to_string();
            assert!(!text.contains(&beside), "{text}");
            // The trail says which secret was named; it has no secret.
            let names_secret = text.contains("secret") && line["kind"] != "act";
            assert!(!names_secret, "{text}");
        }
        assert!(read.each("act", "hash").len() > 1);
    });
}

#[test]
fn links_are_made_anew_for_fifteen_minutes_and_each_is_an_act() {
    own(async |world| {
        let scope = Some(json!({"connection": world.connection}));
        let begun = world.ask(Method::POST, "/v1/exports", scope).await;
        let path = format!("/v1/exports/{}", begun.body["id"].as_str().unwrap());
        let ready = crate::support::eventually("the export is complete", async || {
            let answer = world.ask(Method::GET, &path, None).await;
            (answer.body["state"] == "ready").then_some(answer.body)
        });
        let ready = ready.await;
        let links = &ready["links"];
        let files = links["files"].as_array().unwrap();
        assert_eq!(files.len(), 1, "{ready}");
        for (url, hash) in [
            (&links["manifest"], None),
            (&files[0]["url"], files[0]["sha256"].as_str()),
        ] {
            let url = url.as_str().unwrap();
            assert!(url.contains("X-Amz-Expires=900"), "{url}");
            let answer = world.http.get(url).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 200);
            let saved = answer.headers()["content-disposition"].to_str().unwrap();
            assert!(saved.starts_with("attachment"), "{saved}");
            let bytes = answer.bytes().await.unwrap();
            assert!(hash.is_none_or(|hash| hash == sha256(&bytes)));
        }
        let given = world
            .ask(Method::GET, "/v1/audit?what=get_export", None)
            .await;
        let given = given.body["items"].as_array().unwrap().clone();
        assert_eq!(given.len(), 1, "one that gave no link is none: {given:?}");
        assert_eq!(given[0]["id"], begun.body["id"]);
        let listed = world.ask(Method::GET, "/v1/exports", None).await;
        let listed = &listed.body["items"][0];
        assert_eq!(
            (&listed["id"], &listed["links"]),
            (&begun.body["id"], &Value::Null)
        );
    });
}

#[test]
fn an_export_is_deleted_after_seven_days() {
    by_hand(3, async |hand| {
        let (ready, _) = export(hand, json!({"tenant": true})).await;
        let id = ready["id"].as_str().unwrap();
        assert_eq!(objects(hand).await.len(), 2);
        hand.advance_clock(DAY * 7 - Duration::from_secs(60));
        hand.sweep_and_pump().await;
        assert_eq!(shown(hand, id).await["state"], "ready");
        hand.advance_clock(Duration::from_secs(120));
        let late = shown(hand, id).await;
        assert_eq!(late["links"], Value::Null, "its time is over: {late}");
        hand.sweep_and_pump().await;
        let over = shown(hand, id).await;
        assert_eq!(
            (&over["state"], &over["links"]),
            (&json!("done"), &Value::Null)
        );
        assert_eq!(objects(hand).await, BTreeSet::new());
    });
}

#[test]
fn an_export_that_is_killed_at_each_of_its_calls_is_the_same() {
    mirrored(5, async |hand| {
        let file = hand.take();
        hand.edit_ok(&file, json!({"name": "ours.txt"})).await;
        // The edit arrives in Drive, and its echo is read.
        for _ in 0..3 {
            hand.sweep_and_pump().await;
            hand.advance_clock(Duration::from_secs(61));
        }
        let scope = json!({"connection": hand.key.connection.as_str()});
        let (_, whole) = export(hand, scope.clone()).await;
        let id = begin(hand, scope).await;
        let key = ConnectionKey::of_exports(hand.key.tenant.clone());
        let mut crashes = 0;
        for call in 0..1_000 {
            if hand.operation_of_crashes(&key, &id, call).await {
                crashes += 1;
                continue;
            }
            break;
        }
        assert!(crashes > 10, "it was killed {crashes} times");
        let ready = shown(hand, &id).await;
        assert_eq!(ready["state"], "ready", "{ready}");
        let again = read(hand, &id).await;
        let (again, whole) = (again.without_acts(), whole.without_acts());
        assert_eq!(again.len(), whole.len());
        for (again, whole) in again.into_iter().zip(whole) {
            assert_eq!(again, whole);
        }
    });
}

#[test]
fn an_export_of_a_person_has_what_names_the_person_and_only_that() {
    by_hand(5, async |hand| {
        let (shared, other) = (hand.take(), hand.take());
        hand.owner().grant(&shared, ANN, "reader").await;
        hand.owner()
            .grant(&other, "joann@example.com", "reader")
            .await;
        apply(hand).await;
        hand.pump().await;
        let invited = json!({"permissions": {format!("user:{ANN}"): "reader"}});
        let written = hand.take();
        hand.edit_ok(&written, invited).await;
        hand.pump().await;

        let (shown, read) = export(hand, json!({"person": ANN})).await;
        assert_eq!(shown["scope"], json!({"person": ANN}));
        let files = read.each("file", "id");
        assert_eq!(files, BTreeSet::from([shared, written.clone()]));
        assert!(!read.of_kind("history").is_empty());
        let acts = read.of_kind("act");
        assert_eq!(acts.len(), 1, "the one that invited: {acts:?}");
        assert_eq!(acts[0]["file"], written);
        for line in read.without_acts() {
            let text = line.to_string();
            assert!(text.contains(ANN), "{text}");
        }

        // By the subject of a token: what the caller did.
        let (_, own) = export(hand, json!({"person": "you"})).await;
        assert!(own.of_kind("act").len() > 1);
        assert!(own.of_kind("act").iter().all(|act| act["subject"] == "you"));

        let (_, nobody) = export(hand, json!({"person": "nobody@example.com"})).await;
        assert_eq!(nobody.manifest["files"], json!([]));
        assert_eq!(nobody.manifest["counts"], json!({}));
    });
}

#[test]
fn an_export_of_the_tenant_has_all_of_its_connections_and_no_other_tenants() {
    by_hand(3, async |hand| {
        let beside = connect_beside(hand).await;
        let path = format!("/v1/connections/{beside}");
        let deleted = hand.ask(Method::DELETE, &path, None).await;
        assert_eq!(deleted.status, 204, "{}", deleted.body);
        let (_, read) = export(hand, json!({"tenant": true})).await;
        let both = BTreeSet::from([beside.clone(), hand.key.connection.to_string()]);
        assert_eq!(read.each("connection", "id"), both);
        let connections = read.of_kind("connection");
        let kept = connections.iter().find(|line| line["id"] == beside);
        assert_eq!(kept.unwrap()["state"], "deleting", "it can be restored");
        let files = read.of_kind("file");
        let of: BTreeSet<&str> = files
            .iter()
            .filter_map(|f| f["connection"].as_str())
            .collect();
        assert_eq!(of.len(), 2, "{of:?}");

        let ask = async |method, path: &str, body: Option<&str>| -> Answer {
            hand.call(Some(&hand.stranger), method, path, &[], body)
                .await
        };
        let theirs = ask(Method::POST, "/v1/exports", Some(r#"{"tenant":true}"#)).await;
        assert_eq!(theirs.status, 202, "{}", theirs.body);
        hand.sweep_and_pump().await;
        let path = format!("/v1/exports/{}", theirs.body["id"].as_str().unwrap());
        let theirs = ask(Method::GET, &path, None).await.body;
        assert_eq!(theirs["state"], "ready", "{theirs}");
        assert_eq!(theirs["counts"], json!({}), "{theirs}");
        assert_eq!(hand.ask(Method::GET, &path, None).await.status, 404);
        let list = ask(Method::GET, "/v1/exports", None).await.body;
        assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
        let ours = json!({"connection": hand.key.connection.as_str()}).to_string();
        let refused = ask(Method::POST, "/v1/exports", Some(&ours)).await;
        assert_eq!(
            (refused.status, &refused.body["pointer"]),
            (422, &json!("/connection"))
        );
    });
}

#[test]
fn erasing_a_connection_deletes_the_exports_that_may_hold_it() {
    by_hand(3, async |hand| {
        let connection = hand.key.connection.as_str();
        let (own, _) = export(hand, json!({"connection": connection})).await;
        let (whole, _) = export(hand, json!({"tenant": true})).await;
        let beside = connect_beside(hand).await;
        let (other, _) = export(hand, json!({"connection": beside})).await;
        let erased = hand.api(Method::DELETE, "?erase=true", &[], None).await;
        assert_eq!(erased.status, 202, "{}", erased.body);
        for _ in 0..3 {
            hand.sweep_and_pump().await;
            hand.advance_clock(QUIET);
        }
        let path = format!("/v1/erasures/{connection}");
        let erased = hand.ask(Method::GET, &path, None).await.body;
        assert_eq!(erased["state"], "erased", "{erased}");
        let id = |export: &Value| export["id"].as_str().unwrap().to_owned();
        for export in [&own, &whole] {
            assert_eq!(shown(hand, &id(export)).await["state"], "cancelled");
        }
        assert_eq!(shown(hand, &id(&other)).await["state"], "ready");
        let left = objects(hand).await;
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(left.iter().all(|key| key.contains(&id(&other))), "{left:?}");
        // What is left of an erased connection is exported: its tombstone, and its acts.
        let (_, tombstone) = export(hand, json!({"connection": connection})).await;
        assert_eq!(tombstone.of_kind("connection")[0]["state"], "deleting");
        assert_eq!(tombstone.of_kind("file").len(), 0);
    });
}

#[test]
fn an_export_is_cancelled_or_deleted_before_its_time() {
    by_hand(2, async |hand| {
        let begun = begin(hand, json!({"tenant": true})).await;
        let (ready, _) = export(hand, json!({"tenant": true})).await;
        let ready = ready["id"].as_str().unwrap().to_owned();
        let early = begin(hand, json!({"tenant": true})).await;
        for id in [&begun, &ready, &early] {
            let path = format!("/v1/exports/{id}/cancel");
            for _ in 0..2 {
                let cancelled = hand.ask(Method::POST, &path, None).await;
                assert_eq!(cancelled.status, 200, "{}", cancelled.body);
                assert_eq!(cancelled.body["state"], "cancelling");
            }
        }
        // Its files are deleted within minutes.
        for _ in 0..3 {
            hand.sweep_and_pump().await;
            hand.advance_clock(Duration::from_secs(60));
        }
        for id in [&begun, &ready, &early] {
            let ended = shown(hand, id).await;
            assert_eq!(
                (&ended["state"], &ended["links"]),
                (&json!("cancelled"), &Value::Null)
            );
        }
        assert_eq!(objects(hand).await, BTreeSet::new());
        assert_eq!(acts(hand, "&what=cancel_export").await.len(), 3);
    });
}

#[test]
fn what_can_not_be_exported_is_refused_with_the_reason() {
    by_hand(1, async |hand| {
        let connection = hand.key.connection.as_str();
        for (body, pointer) in [
            (json!({}), ""),
            (json!({"tenant": false}), ""),
            (json!({"tenant": true, "person": ANN}), ""),
            (json!({"connection": connection, "person": ANN}), ""),
            (json!({"connection": "c_none"}), "/connection"),
            (json!({"connection": "a/b"}), "/connection"),
            (json!({"connection": 7}), "/connection"),
            (json!({"person": ""}), "/person"),
            (json!({"person": " "}), "/person"),
            (json!({"person": "a\nb"}), "/person"),
            (json!({"person": [ANN]}), "/person"),
            (json!({"tenant": "true"}), "/tenant"),
            (json!({"tenants": true}), "/tenants"),
        ] {
            let refused = hand
                .ask(Method::POST, "/v1/exports", Some(body.clone()))
                .await;
            assert_eq!(refused.status, 422, "{body}: {}", refused.body);
            assert_eq!(refused.body["pointer"], pointer, "{body}: {}", refused.body);
        }
        for (method, path) in [
            (Method::GET, "/v1/exports/none"),
            (Method::POST, "/v1/exports/none/cancel"),
            (Method::GET, "/v1/connections/exports"),
            (Method::GET, "/v1/connections/exports/operations"),
        ] {
            let answer = hand.ask(method, path, None).await;
            assert_eq!(answer.status, 404, "{path}: {}", answer.body);
        }
        let list = hand.ask(Method::GET, "/v1/exports", None).await;
        assert_eq!(list.body, json!({"items": [], "next_cursor": null}));
    });
}
