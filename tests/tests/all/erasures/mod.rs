//! Erasures: of a person whom Drive still names, and of a tenant.

mod tenants;

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::trail::ChainCheck;
use domain::{ConnectionKey, Field, FileId};
use http::Method;
use local::aws::Queue;
use serde_json::{Value, json};
use store::{PageRequest, act_line};
use worker::SnapshotMessage;

use crate::content::bucket;
use crate::content::content_wakes::apply;
use crate::support::{Answer, ByHand, by_hand, items};

/// Longer than any function runs.
const QUIET: Duration = Duration::from_secs(17 * 60);
const ANN: &str = "ann@example.com";

async fn ask_to_erase(hand: &ByHand, body: Value) -> Answer {
    hand.ask(Method::POST, "/v1/people/erase", Some(body)).await
}

async fn begin(hand: &ByHand, person: &str) -> String {
    let begun = ask_to_erase(hand, json!({"person": person})).await;
    assert_eq!(begun.status, 202, "{}", begun.body);
    let id = begun.body["id"].as_str().unwrap().to_owned();
    assert_eq!(
        begun.headers["location"],
        format!("/v1/people/erasures/{id}")
    );
    id
}

async fn shown(hand: &ByHand, id: &str) -> Value {
    let path = format!("/v1/people/erasures/{id}");
    let answer = hand.ask(Method::GET, &path, None).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

/// Erases a person, undisturbed, and returns the certificate.
pub(crate) async fn erase(hand: &ByHand, person: &str) -> Value {
    let id = begin(hand, person).await;
    finish(hand, &id).await
}

async fn finish(hand: &ByHand, id: &str) -> Value {
    hand.sweep_and_pump().await;
    hand.advance_clock(QUIET);
    hand.sweep_and_pump().await;
    let certificate = shown(hand, id).await;
    assert_eq!(certificate["state"], "done", "{certificate}");
    certificate
}

/// The items of the table that name a person, in whatever attribute. Exempt are the settings of a
/// connection and what people write.
async fn items_naming(hand: &ByHand, name: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for item in items(&hand.aws.dynamodb_client()).await {
        let key = |name: &str| item[name].as_s().unwrap().clone();
        let values: Vec<(&String, &AttributeValue)> = item.iter().collect();
        if format!("{values:?}").to_lowercase().contains(name) {
            found.insert(format!("{} / {}", key("PK"), key("SK")));
        }
    }
    found
}

async fn exports(hand: &ByHand) -> Vec<String> {
    let listed = bucket(hand).list_versions(&hand.key.tenant, None).await;
    let keys = listed.unwrap().0.into_iter().map(|version| version.key);
    keys.filter(|key| key.contains("/exports/")).collect()
}

/// Returns the number of places where the chains of the audit trail do not hold.
async fn breaks(hand: &ByHand) -> usize {
    let acts = hand.ask(Method::GET, "/v1/audit?limit=1000", None).await;
    let mut check = ChainCheck::default();
    let acts = acts.body["items"].as_array().unwrap().clone();
    assert!(!acts.is_empty());
    let links = acts
        .iter()
        .map(|act| act_line::link(act.as_object().unwrap()).unwrap());
    links.map(|link| check.take(&link).len()).sum()
}

/// The permission of an erased person.
fn permission(file: &Value) -> &Value {
    let permissions = file["permissions"].as_array().unwrap();
    let mut erased = permissions.iter().filter(|one| {
        let principal = one["principal"].as_str().unwrap();
        principal.starts_with("user:erased:")
    });
    erased.next().unwrap()
}

/// Makes everything that can name Ann: permissions, a file that she changed, an owed edit and a
/// conflict of her role, a dead letter, an operation, an export. Returns the files.
async fn name_everywhere(hand: &ByHand) -> [String; 4] {
    let [shared, changed, owed, held] = [hand.take(), hand.take(), hand.take(), hand.take()];
    for file in [&shared, &owed, &held] {
        hand.owner().grant(file, "ann", "reader").await;
    }
    let permission = hand.owner().grant(&changed, "ann", "writer").await;
    hand.person("ann").rename(&changed, "by Ann.txt").await;
    hand.owner().unshare(&changed, &permission).await;
    apply(hand).await;
    hand.pump().await;
    let seen = hand.file(&changed).await;
    assert_eq!(seen["fields"]["name"], "by Ann.txt", "{seen}");
    let role = |role: &str| json!({"permissions": {format!("user:{ANN}"): role}});
    hand.edit_ok(&held, role("writer")).await;
    hand.owner().grant(&held, "ann", "commenter").await;
    apply(hand).await;
    let audit = hand
        .post("/sync", json!({"mode": "audit", "dry_run": true}))
        .await;
    assert!(audit["operation"]["id"].is_string(), "{audit}");
    let body = json!({
        "v": 1, "kind": "snapshot", "tenant": hand.key.tenant.as_str(),
        "connection": hand.key.connection.as_str(), "file": owed,
        "mirror": {"owner": ANN}, "fields": {"permissions": {format!("user:{ANN}"): "reader"}},
    });
    let dead = Queue::Snapshots.dead_letter_name();
    hand.send(dead, "g", &body.to_string());
    let tenant = Some(json!({"tenant": true}));
    let exported = hand.ask(Method::POST, "/v1/exports", tenant).await;
    assert_eq!(exported.status, 202, "{}", exported.body);
    hand.sweep_and_pump().await;
    [shared, changed, owed, held]
}

#[test]
fn regression_an_erased_person_is_named_nowhere_while_drive_still_has_it() {
    by_hand(6, async |hand| {
        let [shared, changed, owed, held] = name_everywhere(hand).await;
        let named = items_naming(hand, ANN).await;
        for kind in ["HEAD", "SNAP#", "CONFLICT#", "PARKED#"] {
            let mut named = named.iter();
            assert!(named.any(|key| key.contains(kind)), "{kind}");
        }
        assert!(!exports(hand).await.is_empty());

        let dry = ask_to_erase(hand, json!({"person": ANN, "dry_run": true})).await;
        assert_eq!(dry.status, 202, "{}", dry.body);
        hand.sweep_and_pump().await;
        let dry = shown(hand, dry.body["id"].as_str().unwrap()).await;
        assert_eq!(
            (&dry["state"], &dry["person"]),
            (&json!("done"), &Value::Null)
        );
        assert_eq!(dry["counts"]["records"], 4, "{dry}");
        assert_eq!(items_naming(hand, ANN).await, named, "nothing was changed");

        // It is killed at every one of its calls in turn, while a role is owed.
        let role = json!({"permissions": {format!("user:{ANN}"): "writer"}});
        hand.edit_ok(&owed, role).await;
        let id = begin(hand, " Ann@Example.com ").await;
        let key = ConnectionKey::of_persons(hand.key.tenant.clone());
        let (mut crashes, mut call) = (0, 0);
        for _ in 0..2_000 {
            if hand.operation_of_crashes(&key, &id, call).await {
                crashes += 1;
                call += 1;
                continue;
            }
            if shown(hand, &id).await["state"] == "done" {
                break;
            }
            hand.advance_clock(QUIET);
            call = 0;
        }
        assert!(crashes > 10, "it was killed {crashes} times");
        let certificate = shown(hand, &id).await;
        assert_eq!(certificate["person"], "erased:1", "{certificate}");
        assert_eq!(certificate["counts"]["records"], 4, "{certificate}");
        assert_eq!(certificate["in_settings"], json!([]), "{certificate}");
        let in_drive = &certificate["in_drive"][0];
        assert_eq!(in_drive["connection"], hand.key.connection.as_str());
        let files = in_drive["files"].as_array().unwrap();
        let files: BTreeSet<&str> = files.iter().map(|file| file.as_str().unwrap()).collect();
        let wanted = [&shared, &changed, &owed, &held].map(String::as_str);
        assert_eq!(files, BTreeSet::from(wanted), "{certificate}");

        // What was still on its way, and Drive itself, bring the name back nowhere.
        hand.pump().await;
        for file in [&shared, &owed, &held] {
            hand.owner().rename(file, &format!("renamed {file}")).await;
        }
        apply(hand).await;
        settle(hand).await;
        assert_eq!(items_naming(hand, ANN).await, BTreeSet::new());
        assert_eq!(exports(hand).await, Vec::<String>::new());
        assert_eq!(breaks(hand).await, 0);
        let file = hand.file(&shared).await;
        assert_eq!(permission(&file)["principal"], "user:erased:1", "{file}");
        assert_eq!(permission(&file)["id"], "erased:1", "{file}");
        assert_eq!(
            hand.file(&changed).await["fields"]["modified_by"],
            "erased:1"
        );

        // Nothing was lost: what was owed is in Drive, and the conflict holds both roles.
        let file = hand.file(&owed).await;
        assert_eq!(permission(&file)["role"], "writer", "{file}");
        assert_eq!(role_in_drive(hand, &owed).await, json!("writer"));
        let open = hand.get("/conflicts?status=open").await;
        let open = &open["items"][0];
        assert_eq!(open["field"], "permissions.user:erased:1", "{open}");
        assert_eq!(
            (&open["app"], &open["drive"]),
            (&json!("writer"), &json!("commenter"))
        );
        let path = format!("/conflicts/{}/resolution", open["id"].as_str().unwrap());
        hand.post(&path, json!({"choose": "app"})).await;
        settle(hand).await;
        assert_eq!(role_in_drive(hand, &held).await, json!("writer"));
    });
}

/// Goes on until nothing is due any more.
async fn settle(hand: &ByHand) {
    for _ in 0..3 {
        hand.sweep_and_pump().await;
        hand.advance_clock(Duration::from_secs(120));
    }
}

/// The role that Ann has in Drive.
async fn role_in_drive(hand: &ByHand, file: &str) -> Value {
    let path = format!("/drive/v3/files/{file}/permissions?fields=permissions(role,emailAddress)");
    let all = hand.owner().done(Method::GET, &path, None).await;
    let all = all["permissions"].as_array().unwrap().clone();
    let anns = all.into_iter().find(|one| one["emailAddress"] == ANN);
    anns.map_or(Value::Null, |anns| anns["role"].clone())
}

#[test]
fn an_erased_persons_role_is_changed_and_revoked_and_never_granted_anew() {
    by_hand(4, async |hand| {
        let (shared, other) = (hand.take(), hand.take());
        hand.owner().grant(&shared, "ann", "reader").await;
        apply(hand).await;
        hand.pump().await;
        erase(hand, ANN).await;
        let role = |who: &str, role: Value| json!({"permissions": {who: role}});
        hand.edit_ok(&shared, role("user:erased:1", json!("writer")))
            .await;
        settle(hand).await;
        assert_eq!(role_in_drive(hand, &shared).await, json!("writer"));
        for who in ["user:erased:1", "user:ann@example.com"] {
            let refused = hand.edit(&other, role(who, json!("reader"))).await;
            assert_eq!(refused.status, 422, "{}", refused.body);
            let refused = refused.body.to_string();
            assert!(
                refused.contains("erased") && !refused.contains(ANN),
                "{refused}"
            );
        }
        hand.edit_ok(&shared, role("user:ANN@example.com", Value::Null))
            .await;
        settle(hand).await;
        let file = hand.file(&shared).await;
        assert_eq!(role_in_drive(hand, &shared).await, Value::Null, "{file}");
        assert_eq!(items_naming(hand, ANN).await, BTreeSet::new());
    });
}

#[test]
fn a_person_is_erased_once_and_a_stranger_has_a_certificate_too() {
    by_hand(3, async |hand| {
        let file = hand.take();
        hand.owner().grant(&file, "ann", "reader").await;
        apply(hand).await;
        let id = begin(hand, ANN).await;
        let again = ask_to_erase(hand, json!({"person": "ANN@example.com"})).await;
        assert_eq!(
            (again.status, &again.body["id"]),
            (202, &json!(id)),
            "{}",
            again.body
        );
        let first = finish(hand, &id).await;
        assert_eq!(first["in_drive"][0]["count"], 1, "{first}");
        let nobody = erase(hand, "nobody@example.com").await;
        assert_eq!(nobody["person"], "erased:2");
        assert_eq!(
            (&nobody["counts"], &nobody["in_drive"]),
            (&json!({}), &json!([]))
        );
        let second = erase(hand, ANN).await;
        assert_eq!(
            (&second["person"], &second["counts"]),
            (&json!("erased:1"), &json!({}))
        );
        assert_eq!(second["in_drive"], first["in_drive"]);
        let list = hand
            .ask(Method::GET, "/v1/people/erasures", None)
            .await
            .body;
        assert_eq!(list["items"].as_array().unwrap().len(), 3, "{list}");
        for (body, status) in [
            (json!({"person": "  "}), 422),
            (json!({"person": "a\u{0}b"}), 422),
            (json!({"person": 7}), 422),
            (json!({}), 422),
            (json!({"person": ANN, "tenant": true}), 422),
        ] {
            let refused = ask_to_erase(hand, body.clone()).await;
            assert_eq!(refused.status, status, "{body}: {}", refused.body);
        }
        let path = "/v1/people/erasures/1795251600000-00000002";
        assert_eq!(hand.ask(Method::GET, path, None).await.status, 404);
        // Another tenant's records stay as they are, and it sees nothing of this.
        let theirs = hand
            .call(
                Some(&hand.stranger),
                Method::GET,
                "/v1/people/erasures",
                &[],
                None,
            )
            .await;
        assert_eq!(theirs.body["items"], json!([]), "{}", theirs.body);
    });
}

#[test]
fn an_erasure_of_a_person_that_was_cancelled_half_way_is_begun_again() {
    by_hand(4, async |hand| {
        let file = hand.take();
        hand.owner().grant(&file, "ann", "reader").await;
        apply(hand).await;
        let id = begin(hand, ANN).await;
        let key = ConnectionKey::of_persons(hand.key.tenant.clone());
        assert!(hand.operation_of_crashes(&key, &id, 6).await);
        let path = format!("/v1/people/erasures/{id}/cancel");
        for _ in 0..2 {
            let cancelled = hand.ask(Method::POST, &path, None).await;
            assert_eq!(cancelled.status, 200, "{}", cancelled.body);
            assert_eq!(cancelled.body["state"], "cancelled");
        }
        hand.sweep_and_pump().await;
        assert_eq!(shown(hand, &id).await["state"], "cancelled");
        let again = erase(hand, ANN).await;
        assert_eq!(again["person"], "erased:1", "{again}");
        assert_eq!(items_naming(hand, ANN).await, BTreeSet::new());
        let late = hand
            .ask(
                Method::POST,
                &format!(
                    "/v1/people/erasures/{}/cancel",
                    again["id"].as_str().unwrap()
                ),
                None,
            )
            .await;
        assert_eq!(late.status, 409, "{}", late.body);
    });
}

#[test]
fn messages_that_were_sent_before_the_erasure_name_nobody_after_it() {
    by_hand(4, async |hand| {
        let file = hand.take();
        hand.owner().grant(&file, "ann", "reader").await;
        hand.sync().await;
        hand.pump_only(Queue::LogWakes).await;
        let waiting = hand.receive(Queue::Snapshots).await;
        assert!(!waiting.is_empty(), "a sync is running");
        let message = SnapshotMessage::from_body(&waiting[0].body).unwrap();
        assert!(message.to_body().contains(ANN));
        erase(hand, ANN).await;
        hand.deliver(Queue::Snapshots, &waiting, hand.deadline())
            .await;
        // One that can't be processed, and is set aside.
        let dead = Queue::Snapshots.dead_letter_name();
        hand.send(dead, "g", &message.to_body());
        hand.sweep_and_pump().await;
        let id = FileId::parse(&file).unwrap();
        let record = hand
            .store()
            .load_file(&hand.key, &id)
            .await
            .unwrap()
            .unwrap();
        assert!(
            record.metadata.permission("user:erased:1").is_some(),
            "{record:?}"
        );
        let letters = hand
            .store()
            .list_dead_letters(&hand.key, &PageRequest::first(10))
            .await
            .unwrap();
        assert!(
            letters.items[0].body.contains("user:erased:1"),
            "{letters:?}"
        );
        assert_eq!(items_naming(hand, ANN).await, BTreeSet::new());
    });
}

/// The author of the edit of a file's name.
async fn author(hand: &ByHand, file: &str) -> String {
    let record = crate::content::record(hand, file).await;
    record.edits[&Field::Name].by.clone()
}

#[test]
fn what_an_erased_person_does_later_is_done_by_another_pseudonym() {
    by_hand(4, async |hand| {
        let (before, after) = (hand.take(), hand.take());
        hand.edit_ok(&before, json!({"name": "ours.txt"})).await;
        assert_eq!(author(hand, &before).await, "you");
        let acts = async |by: &str| {
            let path = format!("/v1/audit?limit=1000&by={by}");
            let page = hand.ask(Method::GET, &path, None).await;
            page.body["items"].as_array().unwrap().clone()
        };
        let old = acts("you").await;
        assert!(!old.is_empty());
        let old = old[0]["by"].as_str().unwrap().to_owned();
        let certificate = erase(hand, "you").await;
        assert_eq!(certificate["by"], "erased:1", "{certificate}");
        hand.edit_ok(&after, json!({"name": "later.txt"})).await;
        assert_eq!(author(hand, &after).await, "erased:1");
        let later = acts("you").await;
        assert!(!later.is_empty() && later.iter().all(|act| act["by"] != old.as_str()));
        assert!(
            later.iter().all(|act| act["subject"] == "erased:1"),
            "{later:?}"
        );
        let earlier = acts(&old).await;
        assert!(!earlier.is_empty() && earlier.iter().all(|act| act["subject"].is_null()));
        assert_eq!(breaks(hand).await, 0);
        for item in items(&hand.aws.dynamodb_client()).await {
            let values: Vec<_> = item.values().collect();
            let is_you = values
                .iter()
                .any(|value| value.as_s().is_ok_and(|text| text == "you"));
            assert!(!is_you, "{item:?}");
        }
    });
}
