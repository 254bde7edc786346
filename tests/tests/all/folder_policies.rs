//! Policies of folders: the nearest folder decides, and a person where that is not determined.

use http::Method;
use serde_json::{Value, json};

use crate::support::{World, both_edit, eventually, own};

/// The folders of a test, as the connection knows them: `drive_wins` for `kept`, `app_wins` for the
/// names in `inner`, which is in `kept`, and no policy for `other`.
struct Folders {
    kept: String,
    inner: String,
    other: String,
}

impl Folders {
    async fn make(world: &World) -> Self {
        let owner = world.owner();
        let kept = owner.create("kept", true).await;
        let inner = owner.create_in(&kept, "inner", true).await;
        let other = owner.create("other", true).await;
        for folder in [&kept, &inner, &other] {
            eventually("the folder is known", async || {
                world.find(folder).await.map(drop)
            })
            .await;
        }
        let of_folders = json!({
            &kept: {"default": "drive_wins"},
            &inner: {"fields": {"name": "app_wins"}},
        });
        let shown = world
            .configure(json!({"policies": {"folders": of_folders}}))
            .await;
        assert_eq!(
            shown["policies"]["folders"][&kept]["default"], "drive_wins",
            "{shown}"
        );
        Self { kept, inner, other }
    }
}

/// Moves a file into a folder and waits for it.
async fn put(world: &World, file: &str, folder: &str) {
    world.owner().move_to(file, folder).await;
    world
        .file_until("the move", file, |f| f["fields"]["parent"] == folder)
        .await;
    world.converge().await;
}

/// Waits for the conflict on a field, and returns its status and the choice that decided it.
async fn ended(world: &World, file: &str, field: &str) -> (Value, Value) {
    let conflict = eventually("there is a conflict", async || {
        let all = world.conflicts_of(file).await;
        all.into_iter().find(|conflict| conflict["field"] == field)
    })
    .await;
    (
        conflict["status"].clone(),
        conflict["resolution"]["choose"].clone(),
    )
}

async fn rename_both(world: &World, file: &str) -> (Value, Value) {
    let (ours, theirs) = (json!({"name": "ours.txt"}), json!({"name": "theirs.txt"}));
    both_edit(world, file, ours, theirs).await;
    ended(world, file, "name").await
}

fn open() -> (Value, Value) {
    (json!("open"), Value::Null)
}

fn decided(choice: &str) -> (Value, Value) {
    (json!("resolved"), json!(choice))
}

#[test]
fn the_nearest_folder_with_a_policy_decides_and_a_shortcut_has_its_own_place() {
    own(async |world| {
        let folders = Folders::make(world).await;
        let (kept, inner, other) = (world.take(), world.take(), world.take());
        put(world, &kept, &folders.kept).await;
        put(world, &inner, &folders.inner).await;
        put(world, &other, &folders.other).await;
        assert_eq!(rename_both(world, &kept).await, decided("drive"));
        assert_eq!(rename_both(world, &inner).await, decided("app"));
        assert_eq!(rename_both(world, &other).await, open());
        // The inner folder has no policy for this field, so the next one above counts.
        let (ours, theirs) = (
            json!({"description": "ours"}),
            json!({"description": "theirs"}),
        );
        both_edit(world, &inner, ours, theirs).await;
        assert_eq!(ended(world, &inner, "description").await, decided("drive"));

        let shortcut = json!({
            "name": "short", "mimeType": "application/vnd.google-apps.shortcut",
            "parents": [folders.kept], "shortcutDetails": {"targetId": other},
        });
        let owner = world.owner();
        let made = owner
            .done(Method::POST, "/drive/v3/files", Some(shortcut))
            .await;
        let made = made["id"].as_str().unwrap();
        eventually("the shortcut is known", async || {
            world.find(made).await.map(drop)
        })
        .await;
        assert_eq!(rename_both(world, made).await, decided("drive"));
        // A folder's policy counts for the folder itself too.
        assert_eq!(rename_both(world, &folders.kept).await, decided("drive"));
    });
}

#[test]
fn what_is_moved_or_shared_between_folders_with_other_policies_is_left_to_a_person() {
    own(async |world| {
        let folders = Folders::make(world).await;
        let owner = world.owner();
        let files: Vec<String> = (0..4).map(|_| world.take()).collect();
        let [away, within, both, lost] = files.as_slice() else {
            panic!("{files:?}");
        };
        for file in [away, within, both] {
            put(world, file, &folders.kept).await;
        }
        // It is renamed on both sides, and moved in Drive at the same time.
        for (file, to) in [(away, &folders.other), (within, &folders.inner)] {
            let held = format!("* /drive/v2/files/{file}");
            world.fault(json!({"match": held, "times": 1, "respond": {"status": 503}}));
            world
                .edit_ok(file, json!({"starred": true, "description": "ours"}))
                .await;
            owner.move_to(file, to).await;
            owner.update(file, json!({"description": "theirs"})).await;
        }
        assert_eq!(ended(world, away, "description").await, open());
        assert_eq!(ended(world, within, "description").await, decided("drive"));

        // It is in two folders at once.
        let order = json!({"id": both, "parents": [folders.kept, folders.other]});
        world.control(Method::POST, "parents", order).await;
        owner
            .update(both, json!({"description": "in two folders"}))
            .await;
        world
            .file_until("both folders", both, |f| {
                f["fields"]["description"] == "in two folders"
            })
            .await;
        assert_eq!(rename_both(world, both).await, open());

        // Its folder is deleted while an edit is owed: the edit is kept.
        let gone = owner.create("gone", true).await;
        put(world, lost, &gone).await;
        world.post("/pause", json!({})).await;
        world.edit_ok(lost, json!({"name": "ours.txt"})).await;
        let policies = json!({"folders": {&gone: {"default": "manual"}}});
        world.configure(json!({"policies": policies})).await;
        owner.delete(&gone).await;
        world.post("/resume", json!({})).await;
        let kept = eventually("the edit is kept", async || {
            let all = world.conflicts_of(lost).await;
            all.into_iter()
                .find(|conflict| conflict["field"] == "existence")
        })
        .await;
        assert_eq!(kept["status"], "open", "{kept}");
    });
}
