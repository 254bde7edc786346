//! Both sides edit the same file.

use serde_json::{Value, json};

use super::World;

/// Both sides set fields while neither sees the other: the edit is taken while the connection's pushes fail, so Drive's
/// change meets it.
pub async fn both_edit(world: &World, file: &str, ours: Value, theirs: Value) {
    let held = format!("* /drive/v2/files/{file}");
    world.fault(json!({"match": held, "times": 1, "respond": {"status": 503}}));
    world.edit_ok(file, ours).await;
    world.owner().update(file, theirs).await;
}

/// Both sides name the file, `ours.txt` and `theirs.txt`: the conflict that opens.
pub async fn both_rename(world: &World, file: &str) -> Value {
    let (ours, theirs) = (json!({"name": "ours.txt"}), json!({"name": "theirs.txt"}));
    both_edit(world, file, ours, theirs).await;
    world.conflict_on(file, "name").await
}
