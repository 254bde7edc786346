//! What a new version of a function tries before it gets traffic, with its own role.

use domain::{ChannelId, TenantId};
use objects::{ObjectKey, Objects};
use runtime::{Settings, VersionCheck, telemetry};
use store::{Store, read_oldest_format};
use throttle::DriveFactory;

use crate::Queue;

/// The name that is asked for, and that nothing has.
const NOBODY: &str = "version-check";

fn finding(result: Result<(), impl std::error::Error>) -> Result<(), String> {
    result.map_err(|error| telemetry::chain(&error))
}

/// Reads the table, and an item in the oldest format that is supported.
pub async fn check_table(check: &mut VersionCheck, store: &Store) {
    let read = match ChannelId::parse(NOBODY) {
        // Every function may read a channel.
        Ok(id) => finding(store.load_channel(&id).await.map(|_| ())),
        Err(error) => Err(error.to_string()),
    };
    check.record("the table", read);
    check.record("the oldest format", finding(read_oldest_format()));
}

/// Tries whether the function may send to these queues; sends nothing.
pub async fn check_sending(check: &mut VersionCheck, queues: &[&Queue]) {
    for queue in queues {
        let what = format!("sending to {}", name(queue));
        check.record(&what, finding(queue.may_send().await));
    }
}

/// Tries whether the function may read these queues.
pub async fn check_receiving(check: &mut VersionCheck, queues: &[&Queue]) {
    for queue in queues {
        let what = format!("receiving from {}", name(queue));
        check.record(&what, finding(queue.may_receive().await));
    }
}

/// Tries whether the function may read secrets of tenants.
pub async fn check_secrets(check: &mut VersionCheck, drives: &DriveFactory, settings: &Settings) {
    let name = format!("{}{NOBODY}/{NOBODY}", settings.secrets_prefix());
    let read = drives.may_read_secret(&name).await;
    check.record("the secrets of tenants", finding(read));
}

/// Asks for an object of the bucket.
pub async fn check_bucket(check: &mut VersionCheck, objects: &Objects) {
    let found = match TenantId::parse(NOBODY) {
        Ok(tenant) => {
            let key = ObjectKey::acts(&tenant, NOBODY, 0);
            finding(objects.head(&key).await.map(|_| ()))
        }
        Err(error) => Err(error.to_string()),
    };
    check.record("the bucket", found);
}

/// Returns a queue's name, which its URL ends in.
fn name(queue: &Queue) -> &str {
    queue.url().rsplit('/').next().unwrap_or_default()
}
