//! Content that could not be had, asked for at once on behalf of a person.

use domain::content::{ContentRetries, ContentState};
use domain::{ConnectionKey, FileId};
use store::{Connection, Nonce, PageRequest, Written};
use worker::{ContentWake, DedupKey, Priority};

use crate::Deps;
use crate::connections::connection_logs::own_log;
use crate::http::{Keyed, Problem};

/// The number of pages of a thousand files that one request asks for itself. A scan asks for the
/// rest.
const PAGES_MAX: usize = 10;

/// Asks for all content of a connection that could not be had.
pub(crate) async fn ask_for_all(deps: &Deps, connection: &Connection) -> Result<(), Problem> {
    if !connection.content.enabled {
        return Ok(());
    }
    let key = &connection.key;
    let mut page = PageRequest::first(PageRequest::LIMIT_MAX);
    let mut listed = deps.store.list_content_trouble(key, &page).await?;
    if listed.items.is_empty() && listed.next_cursor.is_none() {
        return Ok(());
    }
    record_request(deps, key).await?;
    for _ in 0..PAGES_MAX {
        wake(deps, key, &listed.items).await?;
        page.cursor = match listed.next_cursor {
            Some(next) => Some(next),
            None => return Ok(()),
        };
        listed = deps.store.list_content_trouble(key, &page).await?;
    }
    let log = own_log(connection)?;
    let (store, clock, entropy) = (&deps.store, &deps.clock, &deps.entropy);
    Ok(worker::schedule_scan(connection, &log, store, clock, entropy).await?)
}

/// Asks for the content of one file, if it could not be had.
pub(crate) async fn ask_for_file(
    deps: &Deps,
    keyed: &Keyed,
    key: &ConnectionKey,
    file: &FileId,
) -> Result<(), Problem> {
    let now = deps.clock.now();
    let state = deps.store.load_content(key, file).await?;
    if state.trouble.is_none() || state.due_at.is_none_or(|due| due <= now) {
        return Ok(());
    }
    let due = ContentState {
        due_at: Some(now),
        ..state
    };
    let nonce = Nonce(deps.entropy.next());
    let store = keyed.store(deps);
    match store.save_content(key, file, &due, nonce).await? {
        Written::Done(_) => wake(deps, key, std::slice::from_ref(file)).await,
        // It is being asked for right now.
        Written::Stale(_) => Ok(()),
    }
}

/// Records that everything that could not be had before is asked for now.
async fn record_request(deps: &Deps, key: &ConnectionKey) -> Result<(), Problem> {
    let nonce = || Nonce(deps.entropy.next());
    let ask = |retries: &ContentRetries| {
        let asked_at = deps.clock.now();
        (
            (),
            ContentRetries {
                asked_at,
                ..*retries
            },
        )
    };
    let asked = deps.store.change_content_retries(key, nonce, ask).await?;
    asked.ok_or_else(|| Problem::busy("the content of many files is being read", 2))
}

async fn wake(deps: &Deps, key: &ConnectionKey, files: &[FileId]) -> Result<(), Problem> {
    let dedup_key = DedupKey::Due(deps.clock.now());
    let wake = |file: &FileId| {
        let (key, file) = (key.clone(), file.clone());
        (ContentWake { key, file }, dedup_key.clone())
    };
    let wakes: Vec<_> = files.iter().map(wake).collect();
    Ok(deps.contents.send(Priority::High, &wakes).await?)
}
