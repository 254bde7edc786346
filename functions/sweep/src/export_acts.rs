//! The acts of each day, exported as files that nobody changes any more: each names the hash of
//! the one before.

use bytes::Bytes;
use domain::content::ObjectKey;
use domain::{StorageClass, TenantId};
use objects::{ContentHasher, Encoded};
use serde_json::{Value, json};
use store::{ActFilter, ExportState, PageRequest, act_line};
use worker::WorkError;

use crate::Deps;

/// The most acts of one file. A day with more has several.
const ACTS_MAX: usize = 5_000;
/// The size at which a file ends, in bytes.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Exports the next file of a tenant's acts, if its day has ended. One that is begun again is the
/// same file.
pub(crate) async fn export_due(tenant: &TenantId, deps: &Deps) -> Result<(), WorkError> {
    let now = deps.clock.now();
    let state = deps.store.load_export(tenant).await?;
    let Some(state) = state.filter(|state| state.due_at <= now) else {
        return Ok(());
    };
    let Some(bucket) = &deps.acts else {
        deps.store.save_export(&state.postponed(now)).await?;
        return Ok(());
    };
    let (lines, cursor) = read(&state, deps).await?;
    let next = if lines.is_empty() && cursor.is_none() {
        state.without_file()
    } else {
        let day = state.day();
        let key = ObjectKey::acts(tenant, &day, state.file);
        let previous = state.previous.as_ref();
        let previous =
            previous.map(|(name, hash)| json!({"name": name, "sha256": hash.to_string()}));
        let head = json!({
            "tenant": tenant.as_str(), "day": day, "file": state.file, "acts": lines.len(),
            "previous": previous,
        });
        let mut text = format!("{}\n", json!({ "export": head }));
        for line in &lines {
            text.push_str(line);
            text.push('\n');
        }
        let bytes = Bytes::from(text);
        let hash = ContentHasher::sha256(&bytes);
        let content = Encoded::plain(bytes, hash);
        bucket.put(&key, content, StorageClass::Standard).await?;
        tracing::info!(
            acts = lines.len(),
            metric = "acts_exported",
            "acts exported"
        );
        state.after(key.to_string(), hash, cursor)
    };
    // If another run was faster, it has written the same file.
    deps.store.save_export(&next).await?;
    Ok(())
}

/// Reads the lines of one file, and the cursor of the next one of the day.
async fn read(
    state: &ExportState,
    deps: &Deps,
) -> Result<(Vec<String>, Option<String>), WorkError> {
    let (from, until) = state.bounds();
    let filter = ActFilter::between(from, until);
    let mut request = PageRequest {
        limit: PageRequest::LIMIT_MAX,
        cursor: state.cursor.clone(),
    };
    let (mut lines, mut bytes) = (Vec::new(), 0);
    loop {
        let now = deps.clock.now();
        let page = deps.store.list_acts(&state.tenant, &filter, now, &request);
        let page = page.await?;
        for act in page.items {
            let line = act_line::line(&Value::Object(act.members));
            bytes += line.len();
            lines.push(line);
        }
        if page.next_cursor.is_none() || lines.len() >= ACTS_MAX || bytes >= BYTES_MAX {
            return Ok((lines, page.next_cursor));
        }
        request.cursor = page.next_cursor;
    }
}
