//! Permissions are compared too, where a listing shows them.

use domain::merge::Sides;
use domain::{Field, Value as FieldValue};
use http::Method;
use serde_json::{Value, json};

use super::by_kind;
use crate::support::{Team, World, eventually, own};

const ANN: &str = "user:ann@example.com";
const BOB: &str = "user:bob@example.com";

async fn role_until(world: &World, file: &str, who: &str, role: &str) {
    let has = |shown: &Value| shown["fields"]["permissions"][who] == role;
    world.file_until("the role", file, has).await;
}

#[test]
fn a_missing_or_wrong_role_in_our_record_is_drift_and_is_repaired() {
    own(async |world| {
        let [lacking, wrong, added, quiet] = [(); 4].map(|()| world.take());
        let owner = world.owner();
        for file in [&lacking, &wrong] {
            owner.grant(file, "ann", "writer").await;
            role_until(world, file, ANN, "writer").await;
        }
        eventually("all is applied", async || {
            (world.queued() == 0).then_some(())
        })
        .await;
        world.hide_changes().await;
        let ann = Field::Permission(ANN.to_owned());
        world
            .corrupt(&lacking, |record| {
                record.fields.remove(&ann);
            })
            .await;
        world
            .corrupt(&wrong, |record| {
                let reader = Sides::agreed(FieldValue::text("reader"));
                record.fields.insert(ann.clone(), reader);
            })
            .await;
        // A role that no log reports, at a later version.
        owner.grant(&added, "bob", "commenter").await;

        let id = world.audit(true).await;
        let report = world.operation_in(&id, "done").await;
        let found = world.drift(&id).await;
        let mut differing = [lacking.as_str(), wrong.as_str()];
        differing.sort_unstable();
        assert_eq!(
            by_kind(&found, "differing"),
            differing,
            "{report} {found:?}"
        );
        assert_eq!(by_kind(&found, "stale"), [added.as_str()]);
        assert_eq!(found.len(), 3, "{found:?}");
        let fields = |file: &str| {
            let of = |item: &&Value| item["file_id"] == file;
            found.iter().find(of).unwrap()["fields"].clone()
        };
        let label = |who: &str| format!("permissions.{who}");
        assert_eq!(
            fields(&lacking),
            json!([{"field": label(ANN), "ours": null, "drive": "writer"}])
        );
        assert_eq!(
            fields(&wrong),
            json!([{"field": label(ANN), "ours": "reader", "drive": "writer"}])
        );
        assert_eq!(
            fields(&added),
            json!([{"field": label(BOB), "ours": null, "drive": "commenter"}])
        );
        assert!(world.file(&lacking).await["fields"]["permissions"][ANN].is_null());

        let id = world.audit(false).await;
        world.operation_in(&id, "done").await;
        role_until(world, &lacking, ANN, "writer").await;
        role_until(world, &wrong, ANN, "writer").await;
        role_until(world, &added, BOB, "commenter").await;
        assert_eq!(world.file(&quiet).await["presence"], "present");
    });
}

#[test]
fn roles_that_a_listing_does_not_show_are_no_drift() {
    own(async |world| {
        let (owner, team) = (world.owner(), Team::make(world, "Team").await);
        let theirs = team.file("of the team.txt").await;
        team.organizer.grant(&theirs, "ann", "reader").await;
        team.join().await;
        role_until(world, &theirs, ANN, "reader").await;
        eventually("all is applied", async || {
            (world.queued() == 0).then_some(())
        })
        .await;
        let folder = owner.create("shared below", true).await;
        let path = "/drive/v3/files?supportsAllDrives=true";
        let body = json!({"name": "below.txt", "mimeType": "text/plain", "parents": [folder]});
        let below = owner.done(Method::POST, path, Some(body)).await["id"].clone();
        let below = below.as_str().unwrap();
        world
            .file_until("it is here", below, |f| f["presence"] == "present")
            .await;
        world.hide_changes().await;
        // Drive shows it on the folder; for the files below, it is derived.
        owner.grant(&folder, "bob", "writer").await;
        let body = json!({"mode": "audit", "dry_run": true});
        let started = world.post("/sync", body).await;
        let mut found = Vec::new();
        for operation in started["operations"].as_array().unwrap() {
            let id = operation["id"].as_str().unwrap();
            world.operation_in(id, "done").await;
            found.extend(world.drift(id).await);
        }
        assert_eq!(by_kind(&found, "stale"), [folder.as_str()]);
        assert_eq!(found.len(), 1, "{found:?}");
    });
}
