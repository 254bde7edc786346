//! What the table of metrics names is logged by the functions, and measured while a system runs.

use std::collections::BTreeSet;

use runtime::metrics::{Kind, TABLE};
use serde_json::json;

use crate::support::{eventually, measured, sources, top};

#[test]
fn each_metric_is_in_a_log_statement_of_a_function() {
    let folders = ["functions", "shared/worker/src", "shared/throttle/src"];
    let files = folders
        .iter()
        .flat_map(|folder| sources(&top().join(folder)));
    let texts: Vec<String> = files
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    for metric in &TABLE {
        for line in metric.lines {
            let named = format!("\"{line}\"");
            let logged = texts.iter().filter(|text| text.contains(&named));
            let member = match metric.kind {
                Kind::Counter => "",
                Kind::Gauge(member) | Kind::Millis(member) => member,
            };
            let mut with_member = logged.filter(|text| text.contains(member));
            assert!(with_member.next().is_some(), "{line} with {member:?}");
        }
    }
}

#[test]
fn changes_polls_and_audits_are_measured() {
    let found = measured(async |world| {
        let file = world.take();
        let busy = json!({"status": 503});
        world.fault(json!({"match": "PATCH /drive/v2/files/*", "times": 1, "respond": busy}));
        world.edit_ok(&file, json!({"name": "Ours"})).await;
        world.owner().rename(&file, "Theirs").await;
        let conflict = world.conflict_on(&file, "name").await;
        let path = format!("/conflicts/{}/resolution", conflict["id"].as_str().unwrap());
        world.post(&path, json!({"choose": "app"})).await;
        world
            .file_until("the push", &file, |f| f["intent"].is_null())
            .await;
        let begun = world.post("/sync", json!({"mode": "audit"})).await;
        let id = begun["operation"]["id"].as_str().unwrap();
        eventually("the audit ends", async || {
            let operation = world.get(&format!("/operations/{id}")).await;
            (operation["state"] == "done").then_some(())
        })
        .await;
    });
    let names: BTreeSet<_> = found.keys().copied().collect();
    let wanted = ["applied", "applied_lag", "drifted", "log_lag"];
    assert!(wanted.iter().all(|name| names.contains(name)), "{found:?}");
    // A change was made within the test, so none can be older than it.
    assert!(
        found["applied_lag"].iter().all(|lag| *lag < 600_000),
        "{found:?}"
    );
}
