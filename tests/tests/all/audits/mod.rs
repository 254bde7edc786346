//! Drive is compared with the records: drift is reported, and repaired where that is allowed.

mod damaged_items;
mod interrupted;
mod role_drift;
mod several_logs;

use std::collections::BTreeMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::merge::Sides;
use domain::{Field, FileId, FileRecord, Revision, Transition, Value as FieldValue};
use http::Method;
use local::aws;
use serde_json::{Value, json};
use store::Nonce;

use crate::support::{Setup, World, eventually, items, own, own_with};

impl World {
    /// Returns every item of the table except those of operations and their slots, logs, events
    /// and the audit trail.
    async fn table(&self) -> BTreeMap<(String, String), String> {
        table(&self.system.aws.dynamodb_client(), &["SLOTS"]).await
    }

    /// Deletes our record of a file.
    async fn lose_record(&self, file: &str) {
        let pk = format!("T#{}#F#{}#{file}", self.key.tenant, self.key.connection);
        let client = self.system.aws.dynamodb_client();
        let delete = client.delete_item().table_name(aws::NAME);
        let delete = delete.key("PK", AttributeValue::S(pk));
        let delete = delete.key("SK", AttributeValue::S("HEAD".to_owned()));
        delete.send().await.unwrap();
    }

    /// Changes our record of a file directly in the table.
    async fn corrupt(&self, file: &str, how: impl FnOnce(&mut FileRecord)) {
        let id = FileId::parse(file).unwrap();
        let record = self.store().load_file(&self.key, &id).await.unwrap();
        let mut record = record.unwrap();
        let before = record.revision;
        how(&mut record);
        record.revision = Revision(before.0 + 1);
        let step = Transition::unchanged(record);
        let nonce = Nonce(fastrand::u64(..));
        let done = self.store().commit(&self.key, before, &step, nonce).await;
        assert_eq!(done.unwrap(), store::Committed::Done);
    }
}

/// Returns every item except those of operations, logs, events and the audit trail, and those
/// whose sort key is one of `others`.
async fn table(client: &Client, others: &[&str]) -> BTreeMap<(String, String), String> {
    let text = |value: &AttributeValue| value.as_s().unwrap().clone();
    let mut all = BTreeMap::new();
    for item in items(client).await {
        let key = (text(&item["PK"]), text(&item["SK"]));
        let runs = ["OP#", "PAGE#", "DRIFT#", "FLAW#", "LOG#", "EV#", "EVENTLOG"];
        let of_acts = ["#AUDIT#", "#TRAIL", "#WHO#"];
        let left_out =
            others.contains(&key.1.as_str()) || of_acts.iter().any(|part| key.0.contains(part));
        if !left_out && !runs.iter().any(|prefix| key.1.starts_with(prefix)) {
            all.insert(key, canonical(&AttributeValue::M(item)));
        }
    }
    all
}

/// Returns the same text for equal values: maps have no order.
fn canonical(value: &AttributeValue) -> String {
    match value {
        AttributeValue::M(map) => {
            let sorted: BTreeMap<_, _> = map.iter().map(|(k, v)| (k, canonical(v))).collect();
            format!("{sorted:?}")
        }
        AttributeValue::L(list) => {
            let list: Vec<String> = list.iter().map(canonical).collect();
            format!("{list:?}")
        }
        other => format!("{other:?}"),
    }
}

fn by_kind(found: &[Value], kind: &str) -> Vec<String> {
    let of_kind = found.iter().filter(|item| item["kind"] == kind);
    let id = |item: &Value| item["file_id"].as_str().unwrap().to_owned();
    of_kind.map(id).collect()
}

#[test]
fn an_audit_finds_drift_of_each_kind_and_a_dry_run_changes_nothing() {
    own(async |world| {
        let [lost, deleted, stale, corrupted, trashed] = [(); 5].map(|()| world.take());
        let owner = world.owner();
        world.hide_changes().await;
        world.lose_record(&lost).await;
        owner.delete(&deleted).await;
        owner.rename(&stale, "unreported.txt").await;
        owner.update(&trashed, json!({"trashed": true})).await;
        world
            .corrupt(&corrupted, |record| {
                let wrong = Sides::agreed(FieldValue::text("corrupted"));
                record.fields.insert(Field::Description, wrong);
            })
            .await;
        let held = world.files().await.len();
        let before = world.table().await;
        let cursor = world.log().await.cursor;

        let id = world.audit(true).await;
        let done = world.operation_in(&id, "done").await;
        assert_eq!(done["dry_run"], true);
        let counts = json!({"held": held, "missing_here": 1, "missing_there": 1, "stale": 2,
            "differing": 1});
        assert_eq!(done["drift"], counts);
        let found = world.drift(&id).await;
        assert_eq!(by_kind(&found, "missing_here"), [lost.as_str()]);
        assert_eq!(by_kind(&found, "missing_there"), [deleted.as_str()]);
        assert_eq!(by_kind(&found, "differing"), [corrupted.as_str()]);
        let mut behind = [stale.as_str(), trashed.as_str()];
        behind.sort_unstable();
        assert_eq!(by_kind(&found, "stale"), behind);
        assert_eq!(found.len(), 5, "{found:?}");
        let of = |id: &str| found.iter().find(|item| item["file_id"] == id).unwrap();
        assert_eq!(of(&deleted)["gone"], "removed");
        assert_eq!(
            of(&corrupted)["fields"],
            json!([{"field": "description", "ours": "corrupted", "drive": ""}])
        );
        let ours = of(&stale)["name"].clone();
        assert_eq!(
            of(&stale)["fields"],
            json!([{"field": "name", "ours": ours, "drive": "unreported.txt"}])
        );
        assert_eq!(
            of(&trashed)["fields"],
            json!([{"field": "trashed", "ours": false, "drive": true}])
        );
        let only = world
            .get(&format!("/operations/{id}/drift?kind=missing_there"))
            .await;
        assert_eq!(only["items"].as_array().unwrap().len(), 1);
        let after = world.table().await;
        let moved = before
            .iter()
            .filter(|(key, item)| after.get(key) != Some(item));
        let moved: Vec<_> = moved.map(|(key, _)| key).collect();
        assert!(moved.is_empty(), "a dry run writes to no record: {moved:?}");
        assert_eq!(after.len(), before.len());
        assert_eq!(world.log().await.cursor, cursor);

        let id = world.audit(false).await;
        let done = world.operation_in(&id, "done").await;
        assert_eq!(done["drift"], counts, "it was all still there");
        world.converge().await;
        let gone = world.file(&deleted).await;
        assert_eq!(gone["presence"], "removed");
        assert_eq!(world.log().await.cursor, cursor);
        let again = world.audit(true).await;
        let clean = world.operation_in(&again, "done").await;
        let counts = json!({"held": held, "missing_here": 0, "missing_there": 0, "stale": 0,
            "differing": 0});
        assert_eq!(clean["drift"], counts, "{:?}", world.drift(&again).await);
        assert_eq!(world.drift(&again).await, Vec::<Value>::new());
    });
}

#[test]
fn changes_that_the_log_has_not_shown_yet_are_no_drift() {
    own(async |world| {
        let (renamed, deleted, owner) = (world.take(), world.take(), world.owner());
        // No notification is sent, and the log is read only because the audit waits for it.
        world.disable_notifications();
        owner.rename(&renamed, "on its way.txt").await;
        owner.delete(&deleted).await;
        let made = owner.create("made meanwhile.txt", false).await;
        let id = world.audit(true).await;
        let done = world.operation_in(&id, "done").await;
        let counts = &done["drift"];
        for kind in ["missing_here", "missing_there", "stale", "differing"] {
            assert_eq!(counts[kind], 0, "{done} {:?}", world.drift(&id).await);
        }
        world.converge().await;
        assert_eq!(world.file(&made).await["presence"], "present");
    });
}

#[test]
fn a_correction_of_the_same_version_keeps_an_owed_edit() {
    own(async |world| {
        let file = world.take();
        world.hide_changes().await;
        world.post("/pause", json!({})).await;
        world
            .edit_ok(&file, json!({"name": "owed.txt", "description": "ours"}))
            .await;
        world
            .corrupt(&file, |record| {
                record
                    .fields
                    .insert(Field::Starred, Sides::agreed(FieldValue::Flag(true)));
            })
            .await;
        world.post("/resume", json!({})).await;
        let id = world.audit(false).await;
        world.operation_in(&id, "done").await;
        world.converge().await;
        let at = world.owner().get(&file).await;
        assert_eq!(
            (&at["name"], &at["description"], &at["starred"]),
            (&json!("owed.txt"), &json!("ours"), &json!(false))
        );
    });
}

#[test]
fn removals_up_to_the_limit_are_applied_and_one_more_waits_for_a_person() {
    let setup = Setup {
        files: 330,
        ..Setup::default()
    };
    own_with(setup, async |world| {
        let owner = world.owner();
        world.hide_changes().await;
        let present = async || world.files().await.len();
        // There are 334 records: a tenth is less than 100, so 100 is the limit.
        for (gone, asks) in [(99, false), (100, false), (101, true)] {
            let before = present().await;
            for _ in 0..gone {
                owner.delete(&world.take()).await;
            }
            let id = world.audit(false).await;
            if !asks {
                let done = world.operation_in(&id, "done").await;
                assert_eq!(done["drift"]["missing_there"], gone, "{done}");
                world.converge().await;
                assert_eq!(present().await, before - gone);
                continue;
            }
            let waiting = world.operation_in(&id, "awaiting_confirmation").await;
            assert_eq!(waiting["drift"]["missing_there"], gone);
            assert_eq!(waiting["drift"]["held"], before);
            assert!(waiting["awaiting_since"].is_string());
            assert_eq!(
                by_kind(&world.drift(&id).await, "missing_there").len(),
                gone
            );
            assert_eq!(present().await, before, "nothing was written");

            let cancelled = world
                .post(&format!("/operations/{id}/cancel"), json!({}))
                .await;
            assert_eq!(cancelled["state"], "cancelled");
            let again = world
                .post(&format!("/operations/{id}/cancel"), json!({}))
                .await;
            assert_eq!(again, cancelled);
            let path = format!("/operations/{id}/confirm");
            let late = world.api(Method::POST, &path, &[], Some(json!({}))).await;
            assert_eq!(late.status, 409, "{}", late.body);
            assert_eq!(late.body["current"]["decision"]["confirmed"], false);
            assert_eq!(present().await, before);

            let id = world.audit(false).await;
            world.operation_in(&id, "awaiting_confirmation").await;
            let path = format!("/operations/{id}/confirm");
            let first = world.post(&path, json!({})).await;
            assert_eq!(first["decision"]["confirmed"], true);
            assert!(first["decision"]["by"].is_string() && first["decision"]["at"].is_string());
            let second = world.post(&path, json!({})).await;
            assert_eq!(second["decision"], first["decision"], "twice is once");
            world.operation_in(&id, "done").await;
            world.converge().await;
            assert_eq!(present().await, before - gone);
        }
    });
}

#[test]
fn the_limits_are_settings_of_the_connection() {
    own(async |world| {
        let connection = world.get("").await;
        assert_eq!(
            (
                &connection["removal_share_percent_max"],
                &connection["removals_unasked_max"]
            ),
            (&json!(10), &json!(100))
        );
        let any = [("if-match", "*")];
        let body = json!({"removal_share_percent_max": 101});
        let refused = world.api(Method::PATCH, "", &any, Some(body)).await;
        assert_eq!(
            (refused.status, &refused.body["pointer"]),
            (422, &json!("/removal_share_percent_max"))
        );
        let body = json!({"removal_share_percent_max": 0, "removals_unasked_max": 1});
        let changed = world.api(Method::PATCH, "", &any, Some(body)).await;
        assert_eq!(changed.status, 200, "{}", changed.body);
        world.hide_changes().await;
        let (one, two, owner) = (world.take(), world.take(), world.owner());
        owner.delete(&one).await;
        let id = world.audit(false).await;
        world.operation_in(&id, "done").await;
        world.converge().await;
        owner.delete(&two).await;
        owner.delete(&world.take()).await;
        let id = world.audit(false).await;
        world.operation_in(&id, "awaiting_confirmation").await;
    });
}

#[test]
fn a_file_that_came_back_before_the_confirmation_is_not_removed() {
    own(async |world| {
        let (alice, owner) = (world.person("alice"), world.owner());
        let [back, away] = [
            alice.create("back.txt", false).await,
            alice.create("away.txt", false).await,
        ];
        let shares = [
            alice.share(&back, "owner").await,
            alice.share(&away, "owner").await,
        ];
        for file in [&back, &away] {
            world
                .file_until("it is shared", file, |f| f["presence"] == "present")
                .await;
        }
        let any = [("if-match", "*")];
        let body = json!({"removal_share_percent_max": 0, "removals_unasked_max": 0});
        world.api(Method::PATCH, "", &any, Some(body)).await;
        world.hide_changes().await;
        alice.unshare(&back, &shares[0]).await;
        alice.unshare(&away, &shares[1]).await;
        let id = world.audit(false).await;
        let waiting = world.operation_in(&id, "awaiting_confirmation").await;
        assert_eq!(waiting["drift"]["missing_there"], 2, "{waiting}");
        assert_eq!(world.file(&away).await["presence"], "present");
        alice.share(&back, "owner").await;
        let path = format!("/operations/{id}/confirm");
        world.post(&path, json!({})).await;
        world.operation_in(&id, "done").await;
        world
            .file_until("it is gone", &away, |f| f["presence"] == "removed")
            .await;
        eventually("all is applied", async || {
            (world.queued() == 0).then_some(())
        })
        .await;
        assert_eq!(world.file(&back).await["presence"], "present");
        assert_eq!(world.file(&away).await["presence"], "removed");
        assert_eq!(owner.get(&back).await["name"], "back.txt");
    });
}

#[test]
fn an_audit_can_be_cancelled_and_one_that_ended_can_not() {
    own(async |world| {
        world
            .fault(json!({"match": "GET /drive/v3/files", "times": 0, "respond": {"status": 503}}));
        let id = world.audit(false).await;
        let cancelled = world
            .post(&format!("/operations/{id}/cancel"), json!({}))
            .await;
        assert_eq!(cancelled["state"], "cancelled");
        world.simulator.clear_faults();
        let first = world.get("/operations").await["items"][1]["id"].clone();
        let path = format!("/operations/{}/cancel", first.as_str().unwrap());
        let late = world.api(Method::POST, &path, &[], Some(json!({}))).await;
        assert_eq!(late.status, 409, "{}", late.body);
        let unknown = world
            .api(Method::GET, "/operations/none/drift", &[], None)
            .await;
        assert_eq!(unknown.status, 404);
        eventually("nothing is left to do", async || {
            (world.queued() == 0).then_some(())
        })
        .await;
    });
}

#[test]
fn only_an_audit_can_be_a_dry_run() {
    own(async |world| {
        for mode in ["full", "delta"] {
            let body = json!({"mode": mode, "dry_run": true});
            let answer = world.api(Method::POST, "/sync", &[], Some(body)).await;
            assert_eq!(
                (answer.status, &answer.body["pointer"]),
                (422, &json!("/dry_run")),
                "{}",
                answer.body
            );
        }
        let body = json!({"mode": "audit", "log": "none-such"});
        let answer = world.api(Method::POST, "/sync", &[], Some(body)).await;
        assert_eq!(
            (answer.status, &answer.body["pointer"]),
            (422, &json!("/log"))
        );
    });
}
