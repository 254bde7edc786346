//! Requests to restore: what is refused, repeated and recorded.

use http::Method;
use serde_json::{Value, json};

use super::{DAY, quiet_time, run_out, settle};
use crate::support::by_hand;

#[test]
fn a_time_or_a_folder_that_is_not_known_is_refused_with_what_is_possible() {
    by_hand(2, async |hand| {
        let ask = async |body: Value| {
            let path = "/files/restore";
            hand.api(Method::POST, path, &[], Some(body)).await
        };
        let now = hand.now();
        let created = hand.get("").await["created_at"]
            .as_str()
            .unwrap()
            .to_owned();
        let future = now.plus_millis(3_600_000).to_string();
        for (at, said) in [
            (json!("yesterday"), "2026-11-30T09:00:00Z"),
            (json!(future), "in the future"),
            (json!("2001-01-01T00:00:00Z"), &*created),
        ] {
            let refused = ask(json!({"at": at, "dry_run": true})).await;
            assert_eq!(refused.status, 422, "{}", refused.body);
            assert_eq!(refused.body["pointer"], "/at", "{}", refused.body);
            let detail = refused.body["detail"].as_str().unwrap();
            assert!(detail.contains(said), "{detail}");
        }
        let at = quiet_time(hand).await;
        for folder in ["1nobody", "no folder"] {
            let refused = ask(json!({"at": at, "folder": folder})).await;
            assert!([404, 422].contains(&refused.status), "{}", refused.body);
        }
        for body in [json!({}), json!({"at": at, "colour": 1}), json!({"at": 7})] {
            let refused = ask(body).await;
            assert!([400, 422].contains(&refused.status), "{}", refused.body);
        }

        // The history of half a year ago is not kept.
        hand.advance_clock(180 * DAY);
        let refused = ask(json!({"at": at})).await;
        assert_eq!(refused.status, 422, "{}", refused.body);
        let oldest = hand.now().plus_millis(-90 * 86_400_000).to_string();
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains(&oldest[..13]), "{detail} {oldest}");
    });
}

#[test]
fn another_tenants_folder_is_unknown_and_an_inactive_connection_is_not_restored() {
    by_hand(2, async |hand| {
        let file = hand.take();
        let at = quiet_time(hand).await;
        let path = format!("/v1/connections/{}/files/restore", hand.connection);
        let body = json!({"at": at, "folder": file}).to_string();
        let stranger = Some(hand.stranger.as_str());
        let refused = hand
            .call(stranger, Method::POST, &path, &[], Some(&body))
            .await;
        assert_eq!(refused.status, 404, "{}", refused.body);
        hand.post("/pause", Value::Null).await;
        let token = Some(hand.token.as_str());
        let refused = hand
            .call(token, Method::POST, &path, &[], Some(&body))
            .await;
        assert_eq!(refused.status, 409, "{}", refused.body);
    });
}

#[test]
fn a_repeated_request_restores_once_and_is_one_act() {
    by_hand(2, async |hand| {
        let file = hand.take();
        let at = quiet_time(hand).await;
        hand.owner().rename(&file, "locked").await;
        settle(hand).await;
        let ask = async || {
            let body = Some(json!({"at": at, "folder": file}));
            let key = [("idempotency-key", "once")];
            hand.api(Method::POST, "/files/restore", &key, body).await
        };
        let first = ask().await;
        assert_eq!(first.status, 202, "{}", first.body);
        let id = first.body["id"].as_str().unwrap();
        let location = first.headers["location"].to_str().unwrap();
        assert!(
            location.ends_with(&format!("/operations/{id}")),
            "{location}"
        );
        let again = ask().await;
        assert_eq!(again.headers["idempotent-replayed"], "true");
        assert_eq!(again.body["id"], id, "{}", again.body);
        run_out(hand, id).await;
        let operations = hand.get("/operations").await;
        let restores = operations["items"].as_array().unwrap().iter();
        let restores = restores.filter(|operation| operation["kind"] == "restore");
        assert_eq!(restores.count(), 1, "{operations}");
        let acts = hand.ask(Method::GET, "/v1/audit?limit=1000", None).await;
        let acts = acts.body["items"].as_array().unwrap().clone();
        let acts: Vec<&Value> = acts
            .iter()
            .filter(|act| act["what"] == "restore_files")
            .collect();
        assert_eq!(acts.len(), 1, "{acts:?}");
        assert!(acts[0].to_string().contains(&file), "{acts:?}");
        assert!(acts[0].to_string().contains(id), "{acts:?}");

        // The edits are in the name of who asked for the restore, and have its cause.
        let edited = hand.file(&file).await;
        assert_ne!(edited["fields"]["name"], "locked", "{edited}");
        assert_eq!(edited["cause"], first.body["cause"], "{edited}");
    });
}
