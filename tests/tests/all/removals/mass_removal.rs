//! An incomplete listing looks like a mass deletion: a resync that would remove too many files
//! waits for a person.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Setup, World, eventually, own, own_with};

fn many() -> Setup {
    Setup {
        files: 160,
        ..Setup::default()
    }
}

/// Deletes most of the library while the cursor is lost. Returns the resync that waits for
/// confirmation, and the deleted files.
///
/// The connection is paused meanwhile: a resync that lists Drive half way through the deletions
/// has too few removals to wait for anybody.
async fn mass_deletion(world: &World) -> (Value, Vec<String>) {
    let owner = world.owner();
    world.disable_notifications();
    world.post("/pause", json!({})).await;
    world.invalidate_cursor().await;
    let mut gone = Vec::new();
    for _ in 0..120 {
        let file = world.take();
        owner.delete(&file).await;
        gone.push(file);
    }
    world.post("/resume", json!({})).await;
    world.sync().await;
    let waiting = world.latest_in("resync", "awaiting_confirmation").await;
    (waiting, gone)
}

#[test]
fn pain_20_a_resync_with_too_many_removals_waits_for_a_confirmation() {
    own_with(many(), async |world| {
        let before = world.files().await;
        let (waiting, mut gone) = mass_deletion(world).await;
        assert_eq!(waiting["drift"]["held"], before.len());
        assert_eq!(waiting["drift"]["missing_there"], 120);
        assert!(waiting["awaiting_since"].is_string(), "{waiting}");
        let id = waiting["id"].as_str().unwrap();
        let listed = world.drift(id).await;
        let mut named: Vec<&str> = listed
            .iter()
            .map(|item| item["file_id"].as_str().unwrap())
            .collect();
        named.sort_unstable();
        gone.sort();
        assert_eq!(named, gone, "the removals are listed");
        assert!(listed.iter().all(|item| item["kind"] == "missing_there"
            && item["gone"] == "removed"
            && item["name"] != ""));
        assert_eq!(world.files().await, before, "nothing was written");
        assert_eq!(
            world.get("/status").await["last_operation"]["state"],
            "awaiting_confirmation"
        );
        // Normal work continues meanwhile.
        let spared = world.take();
        world.owner().rename(&spared, "meanwhile.txt").await;
        world.sync().await;
        world
            .file_until("a rename", &spared, |f| {
                f["fields"]["name"] == "meanwhile.txt"
            })
            .await;
        let confirmed = world
            .post(&format!("/operations/{id}/confirm"), json!({}))
            .await;
        assert_eq!(confirmed["decision"]["confirmed"], true);
        world.operation_in(id, "done").await;
        world.converge().await;
        assert_eq!(world.files().await.len(), before.len() - 120);
        assert_eq!(world.file(&gone[0]).await["presence"], "removed");
    });
}

#[test]
fn pain_20_an_incomplete_listing_removes_no_file() {
    own_with(many(), async |world| {
        let before = world.files().await;
        world.disable_notifications();
        world.invalidate_cursor().await;
        let short = json!({"search_ends_after": 10});
        world.control(Method::POST, "pages", short).await;
        world.sync().await;
        let resync = world.latest_in("resync", "done").await;
        assert_eq!(resync["drift"]["held"], before.len(), "{resync}");
        assert_eq!(
            resync["drift"]["missing_there"], 0,
            "each was asked about: {resync}"
        );
        assert_eq!(world.files().await, before);
    });
}

#[test]
fn pain_20_a_cancelled_resync_keeps_every_record() {
    own_with(many(), async |world| {
        let before = world.files().await;
        let (waiting, gone) = mass_deletion(world).await;
        let id = waiting["id"].as_str().unwrap();
        world
            .post(&format!("/operations/{id}/cancel"), json!({}))
            .await;
        let spared = world.take();
        world.owner().rename(&spared, "afterwards.txt").await;
        world.sync().await;
        world
            .file_until("a rename", &spared, |f| {
                f["fields"]["name"] == "afterwards.txt"
            })
            .await;
        assert_eq!(world.files().await.len(), before.len());
        assert_eq!(world.file(&gone[0]).await["presence"], "present");
        // A dry run reports the difference and changes nothing.
        let report = world.audit(true).await;
        let done = world.operation_in(&report, "done").await;
        assert_eq!(done["drift"]["missing_there"], 120);
        assert_eq!(world.files().await.len(), before.len());
    });
}

#[test]
fn pain_20_removals_reported_by_the_log_need_no_confirmation() {
    own_with(many(), async |world| {
        let owner = world.owner();
        let before = world.files().await.len();
        for _ in 0..120 {
            owner.delete(&world.take()).await;
        }
        world.converge().await;
        assert_eq!(world.files().await.len(), before - 120);
        assert_eq!(
            world.get("/operations").await["items"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
    });
}

#[test]
fn pain_20_an_outage_is_recovered_from_without_a_resync() {
    own(async |world| {
        let listed = world.calls("files.list");
        let (file, gone, owner) = (world.take(), world.take(), world.owner());
        world.fault(json!({"match": "GET /drive/v3/changes", "times": 3,
            "respond": {"status": 503, "reason": "backendError"}}));
        owner.rename(&file, "during the outage.txt").await;
        owner.delete(&gone).await;
        eventually("Drive is back", async || {
            world.simulator.pending_faults().is_empty().then_some(())
        })
        .await;
        world.sync().await;
        world.converge().await;
        assert_eq!(
            world.calls("files.list"),
            listed,
            "only the first sync has listed"
        );
    });
}
