//! What this function needs, tried by a new version before it gets traffic.

use runtime::{Settings, VersionCheck};
use worker::version_check::{check_receiving, check_secrets, check_sending, check_table};

use crate::Deps;

/// Tries everything that the function needs, with its own role. Changes nothing.
pub async fn version_check(deps: &Deps, settings: &Settings) -> VersionCheck {
    let mut check = VersionCheck::default();
    check_table(&mut check, &deps.store).await;
    check_secrets(&mut check, &deps.drives, settings).await;
    check_receiving(&mut check, &deps.queues.iter().collect::<Vec<_>>()).await;
    check_sending(&mut check, &[&deps.push_wakes]).await;
    check
}
