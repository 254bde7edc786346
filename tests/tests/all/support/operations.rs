//! Starting operations and waiting for them, from outside.

use http::Method;
use serde_json::{Value, json};

use super::{Outside, eventually};

/// The delay of hidden log entries in seconds: never shown.
const NEVER_SECONDS: u32 = 2_000_000_000;

impl Outside {
    /// Hides all further changes from Drive's logs.
    pub async fn hide_changes(&self) {
        let order = json!({"delay_seconds": NEVER_SECONDS});
        self.control(Method::POST, "visibility", order).await;
    }

    /// Makes Drive forget all page tokens.
    pub async fn invalidate_cursor(&self) {
        let forget = json!({"page_tokens": true});
        self.control(Method::POST, "invalidate_tokens", forget)
            .await;
    }

    /// Starts an audit of the only log and returns its id.
    pub async fn audit(&self, dry_run: bool) -> String {
        let body = json!({"mode": "audit", "dry_run": dry_run});
        let started = self.post("/sync", body).await;
        started["operation"]["id"].as_str().unwrap().to_owned()
    }

    /// Waits until an operation is in a state.
    pub async fn operation_in(&self, id: &str, state: &str) -> Value {
        let path = format!("/operations/{id}");
        eventually(&format!("the operation is {state}"), async || {
            let operation = self.get(&path).await;
            assert!(
                operation["state"] == state || operation["state"] != "failed",
                "{operation}"
            );
            (operation["state"] == state).then_some(operation)
        })
        .await
    }

    /// Waits until no operation is running. The comparison of a listing would otherwise find what
    /// a test does unseen.
    pub async fn operations_ended(&self) {
        eventually("no operation is running", async || {
            let operations = self.get("/operations").await;
            let items = operations["items"].as_array().unwrap();
            let ended = |state: &Value| {
                ["done", "failed", "cancelled"]
                    .map(Value::from)
                    .contains(state)
            };
            let all = items.iter().all(|operation| ended(&operation["state"]));
            (all && !items.is_empty()).then_some(())
        })
        .await;
    }

    /// Waits for the latest operation of a kind to be in a state.
    pub async fn latest_in(&self, kind: &str, state: &str) -> Value {
        eventually(&format!("a {kind} that is {state}"), async || {
            let operations = self.get("/operations").await;
            let items = operations["items"].as_array().unwrap();
            let latest = items.iter().find(|operation| operation["kind"] == kind);
            latest
                .filter(|operation| operation["state"] == state)
                .cloned()
        })
        .await
    }

    /// Returns all drift that an operation found, page by page.
    pub async fn drift(&self, id: &str) -> Vec<Value> {
        let mut found = Vec::new();
        let mut path = format!("/operations/{id}/drift?limit=7");
        loop {
            let page = self.get(&path).await;
            found.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("/operations/{id}/drift?limit=7&cursor={cursor}"),
                None => return found,
            }
        }
    }
}
