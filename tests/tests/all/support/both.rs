//! Both sides edit the same file.

use serde_json::{Value, json};

use super::World;

/// Sets fields on both sides before either sees the other: the push of our edit fails at first, so
/// it meets Drive's change.
pub async fn both_edit(world: &World, file: &str, ours: Value, theirs: Value) {
    let held = format!("* /drive/v2/files/{file}");
    world.fault(json!({"match": held, "times": 1, "respond": {"status": 503}}));
    world.edit_ok(file, ours).await;
    world.owner().update(file, theirs).await;
}

/// Renames the file on both sides, to `ours.txt` and `theirs.txt`, and returns the conflict that
/// opens.
pub async fn both_rename(world: &World, file: &str) -> Value {
    let (ours, theirs) = (json!({"name": "ours.txt"}), json!({"name": "theirs.txt"}));
    both_edit(world, file, ours, theirs).await;
    world.conflict_on(file, "name").await
}
