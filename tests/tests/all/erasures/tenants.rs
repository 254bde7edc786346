//! Tenants: erased, with everything that is stored of them.

use std::collections::BTreeSet;

use domain::{ConnectionId, ConnectionKey};
use http::Method;
use serde_json::{Value, json};

use super::{QUIET, breaks};
use crate::content::content_wakes::{apply, content, mirrored};
use crate::content::{bucket, versions};
use crate::support::{Answer, ByHand, by_hand, items};

async fn ask_to_erase(hand: &ByHand, body: Value) -> Answer {
    hand.ask(Method::POST, "/v1/tenant/erase", Some(body)).await
}

fn own(hand: &ByHand) -> Value {
    json!({"tenant": hand.key.tenant.as_str()})
}

async fn begin(hand: &ByHand) -> String {
    let begun = ask_to_erase(hand, own(hand)).await;
    assert_eq!(begun.status, 202, "{}", begun.body);
    let id = begun.body["id"].as_str().unwrap().to_owned();
    let location = format!("/v1/tenant/erasures/{id}");
    assert_eq!(begun.headers["location"], location);
    id
}

async fn shown(hand: &ByHand, id: &str) -> Value {
    let path = format!("/v1/tenant/erasures/{id}");
    let answer = hand.ask(Method::GET, &path, None).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

/// Goes on until the erasure is in a state.
async fn until(hand: &ByHand, id: &str, state: &str) -> Value {
    for _ in 0..20 {
        hand.sweep_and_pump().await;
        let erasure = shown(hand, id).await;
        if erasure["state"] == state {
            return erasure;
        }
        hand.advance_clock(QUIET);
    }
    panic!("never {state}: {}", shown(hand, id).await);
}

/// The items of a tenant by key, without those that requests for the certificate leave.
async fn items_of(hand: &ByHand, tenant: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for item in items(&hand.aws.dynamodb_client()).await {
        let key = |name: &str| item[name].as_s().unwrap().clone();
        let (pk, sk) = (key("PK"), key("SK"));
        let of = item.get("tenant").and_then(|of| of.as_s().ok());
        let is_channel = of.is_some_and(|of| of == tenant);
        let own = format!("T#{tenant}");
        let is_own = pk == own || pk.starts_with(&format!("{own}#")) || is_channel;
        if is_own && sk != "RATES" {
            found.insert((pk, sk));
        }
    }
    found
}

async fn objects(hand: &ByHand) -> usize {
    let listed = bucket(hand).list_versions(&hand.key.tenant, None).await;
    listed.unwrap().0.len()
}

/// Makes another connection of the same account, and everything that a tenant can have.
async fn fill(hand: &ByHand) -> [String; 2] {
    let [stored, held] = [hand.take(), hand.take()];
    content(hand, &stored, "stored");
    apply(hand).await;
    hand.pump().await;
    let body = json!({"name": "Beside", "scope": {"type": "user"}, "secret": "drive"});
    let made = hand.ask(Method::POST, "/v1/connections", Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let gone = json!({"name": "Gone", "scope": {"type": "user"}, "secret": "drive"});
    let gone = hand.ask(Method::POST, "/v1/connections", Some(gone)).await;
    let gone = format!("/v1/connections/{}", gone.body["id"].as_str().unwrap());
    assert_eq!(hand.ask(Method::DELETE, &gone, None).await.status, 204);
    hand.edit_ok(&held, json!({"name": "ours.txt"})).await;
    hand.owner().rename(&held, "theirs.txt").await;
    apply(hand).await;
    for scope in [json!({"tenant": true}), json!({"person": "you"})] {
        let exported = hand.ask(Method::POST, "/v1/exports", Some(scope)).await;
        assert_eq!(exported.status, 202, "{}", exported.body);
    }
    let person = json!({"person": "ann@example.com"});
    let erased = hand
        .ask(Method::POST, "/v1/people/erase", Some(person))
        .await;
    assert_eq!(erased.status, 202, "{}", erased.body);
    for _ in 0..3 {
        hand.sweep_and_pump().await;
    }
    let theirs = hand
        .call(
            Some(&hand.stranger),
            Method::POST,
            "/v1/exports",
            &[],
            Some(r#"{"tenant":true}"#),
        )
        .await;
    assert_eq!(theirs.status, 202, "{}", theirs.body);
    hand.sweep_and_pump().await;
    [stored, held]
}

#[test]
fn regression_an_erased_tenant_leaves_its_certificates_and_its_chains() {
    mirrored(5, async |hand| {
        let [stored, _] = fill(hand).await;
        assert!(!versions(hand, &stored).await.is_empty());
        assert!(objects(hand).await > 0);
        let tenant = hand.key.tenant.as_str();
        let before = items_of(hand, tenant).await;
        let neighbour = items_of(hand, "stranger").await;
        assert!(!neighbour.is_empty());

        let dry = json!({"tenant": tenant, "dry_run": true});
        let dry = ask_to_erase(hand, dry).await;
        hand.sweep_and_pump().await;
        let dry = shown(hand, dry.body["id"].as_str().unwrap()).await;
        assert_eq!(dry["state"], "done", "{dry}");
        assert!(dry["counts"]["records"].as_u64().unwrap() >= 10, "{dry}");
        let after: BTreeSet<_> = items_of(hand, tenant).await;
        assert!(after.is_superset(&before), "nothing was changed");

        // It is killed at every one of its calls in turn.
        let id = begin(hand).await;
        let key = ConnectionKey::of_tenant(hand.key.tenant.clone());
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
            hand.sweep_and_pump().await;
            hand.advance_clock(QUIET);
            call = 0;
        }
        assert!(crashes > 15, "it was killed {crashes} times");
        let certificate = shown(hand, &id).await;
        assert_eq!(certificate["state"], "done", "{certificate}");
        assert!(certificate["counts"]["records"].as_u64().unwrap() >= 10);

        // What was still on its way brings nothing back.
        hand.pump().await;
        hand.sweep_and_pump().await;
        assert_eq!(objects(hand).await, 0);
        let own = format!("T#{tenant}");
        for (pk, sk) in items_of(hand, tenant).await {
            let is_left = (pk == own && sk.starts_with("CONN#"))
                || pk.starts_with(&format!("{own}#AUDIT#"))
                || (pk.ends_with("#TRAIL") && (sk.starts_with("CHAIN#") || sk == "EXPORT"))
                || pk.ends_with("#C#persons")
                || pk.ends_with("#C#tenant");
            assert!(is_left, "{pk} {sk}");
        }
        assert_eq!(items_of(hand, "stranger").await, neighbour);
        assert_eq!(breaks(hand).await, 0);
        let acts = hand.ask(Method::GET, "/v1/audit?limit=1000", None).await;
        let acts = acts.body["items"].as_array().unwrap().clone();
        assert!(acts.iter().all(|act| act["subject"].is_null()), "{acts:?}");
        let erased = hand.ask(Method::GET, "/v1/erasures", None).await.body;
        let erased = erased["items"].as_array().unwrap().clone();
        assert_eq!(erased.len(), 3);
        assert!(
            erased.iter().all(|one| one["state"] == "erased"),
            "{erased:?}"
        );
        let list = hand
            .ask(Method::GET, "/v1/tenant/erasures", None)
            .await
            .body;
        assert_eq!(list["items"].as_array().unwrap().len(), 2, "{list}");
    });
}

#[test]
fn a_tenant_that_is_being_erased_begins_nothing_and_may_begin_anew_afterwards() {
    by_hand(2, async |hand| {
        let deleted = hand.api(Method::DELETE, "", &[], None).await;
        assert_eq!(deleted.status, 204, "{}", deleted.body);
        let id = begin(hand).await;
        let again = ask_to_erase(hand, own(hand)).await;
        assert_eq!((again.status, &again.body["id"]), (202, &json!(id)));
        let connection = json!({"name": "New", "scope": {"type": "user"}, "secret": "drive"});
        let restore = format!("/v1/connections/{}/restore", hand.key.connection);
        for (path, body) in [
            ("/v1/connections", Some(connection.clone())),
            ("/v1/exports", Some(json!({"tenant": true}))),
            (restore.as_str(), None),
        ] {
            let refused = hand.ask(Method::POST, path, body).await;
            assert_eq!(refused.status, 409, "{path}: {}", refused.body);
            assert_eq!(refused.body["current"]["id"], id.as_str(), "{path}");
        }
        until(hand, &id, "draining").await;

        // One that was made at the last moment, by a request that began before.
        let stored = hand.store().load_any_connection(&hand.key).await.unwrap();
        let late = store::Connection {
            key: ConnectionKey {
                connection: ConnectionId::fresh(7),
                ..hand.key.clone()
            },
            state: store::ConnectionState::Active,
            deletion: None,
            name: "Late".to_owned(),
            secret_id: "drive".to_owned(),
            ..stored.unwrap()
        };
        let made = hand.store().create_connection(&late, None).await.unwrap();
        assert_eq!(made, store::Created::Created);
        until(hand, &id, "done").await;
        let late = hand.store().load_any_connection(&late.key).await.unwrap();
        assert!(late.unwrap().is_erased());
        let made = hand
            .ask(Method::POST, "/v1/connections", Some(connection))
            .await;
        assert_eq!(made.status, 201, "{}", made.body);
    });
}

#[test]
fn the_erasure_of_a_tenant_is_confirmed_and_can_be_cancelled_before_it_goes_too_far() {
    by_hand(2, async |hand| {
        for body in [
            json!({}),
            json!({"tenant": "stranger"}),
            json!({"tenant": ""}),
            json!({"tenant": true}),
            json!({"dry_run": true}),
        ] {
            let refused = ask_to_erase(hand, body.clone()).await;
            assert_eq!(refused.status, 422, "{body}: {}", refused.body);
        }
        let path = "/v1/tenant/erasures/1795251600000-00000002";
        assert_eq!(hand.ask(Method::GET, path, None).await.status, 404);
        let id = begin(hand).await;
        let cancel = format!("/v1/tenant/erasures/{id}/cancel");
        for _ in 0..2 {
            let cancelled = hand.ask(Method::POST, &cancel, None).await;
            assert_eq!(cancelled.status, 200, "{}", cancelled.body);
            assert_eq!(cancelled.body["state"], "cancelled");
        }
        hand.sweep_and_pump().await;
        assert_eq!(hand.api(Method::GET, "", &[], None).await.status, 200);

        // Begun again, it goes on to the end.
        let id = begin(hand).await;
        until(hand, &id, "done").await;
        let path = format!("/v1/tenant/erasures/{id}/cancel");
        let late = hand.ask(Method::POST, &path, None).await;
        assert_eq!(late.status, 409, "{}", late.body);
    });
}
