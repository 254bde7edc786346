//! The stored versions of a file's content, and the reason why one is not stored.

use domain::content::{ContentOutcome, ContentState, StoredVersion};
use domain::{Field, FileRecord, Timestamp, Value};
use objects::ContentRef;
use store::{Connection, PageRequest};

use crate::Deps;
use crate::http::{FilePath, Kind, Problem, UnstoredView};

/// The largest text that is compared or merged, in bytes.
const TEXT_BYTES_MAX: u64 = 1024 * 1024;

/// Returns the version that is the file's current content: its record's, or that of a document's
/// latest export.
pub(crate) async fn current(
    deps: &Deps,
    at: &FilePath,
    record: &FileRecord,
) -> Result<Option<u32>, Problem> {
    if record.can_hold_content() {
        return Ok((record.content_version > 0).then_some(record.content_version));
    }
    let newest = PageRequest::first(1);
    let page = deps.store.list_versions(&at.key, &at.file, &newest).await?;
    Ok(page.items.first().map(|version| version.number))
}

/// Loads a stored version by its number, or the current one.
///
/// # Errors
/// 404 if it is not stored, with the reason if it is the current one.
pub(crate) async fn load(
    deps: &Deps,
    at: &FilePath,
    connection: &Connection,
    record: &FileRecord,
    number: Option<u32>,
) -> Result<StoredVersion, Problem> {
    let current = current(deps, at, record).await?;
    let number = number.or(current);
    if let Some(number) = number {
        let found = deps.store.load_version(&at.key, &at.file, number).await?;
        if let Some(found) = found {
            return Ok(found);
        }
    }
    if number != current {
        return Err(not_found());
    }
    let state = deps.store.load_content(&at.key, &at.file).await?;
    let unstored = unstored(connection, record, &state, deps.clock.now());
    Err(Problem::new(Kind::ContentNotStored, describe(&unstored)).unstored(unstored))
}

/// The problem of a version that is not stored.
pub(crate) fn not_found() -> Problem {
    Problem::not_found("a stored version with this number")
}

/// Returns the reason why the current content is not stored.
fn unstored(
    connection: &Connection,
    record: &FileRecord,
    state: &ContentState,
    now: Timestamp,
) -> UnstoredView {
    if !connection.content.enabled {
        return UnstoredView::Off;
    }
    if let Some(trouble) = &state.trouble {
        let reason = trouble.reason.clone();
        let since = Some(trouble.since.to_string());
        let next_attempt_at = state.due_at.map(|due| due.to_string());
        return if trouble.lasts(now) {
            UnstoredView::Unavailable {
                reason,
                since,
                next_attempt_at,
            }
        } else {
            UnstoredView::Pending {
                reason: Some(reason),
                since,
                next_attempt_at,
            }
        };
    }
    let pending = UnstoredView::Pending {
        reason: None,
        since: None,
        next_attempt_at: None,
    };
    if let Some((number, outcome)) = &state.outcome
        && *number == record.content_version
    {
        match outcome.clone() {
            ContentOutcome::Unavailable { reason } => {
                return UnstoredView::Unavailable {
                    reason,
                    since: None,
                    next_attempt_at: None,
                };
            }
            ContentOutcome::Skipped { rule } => return UnstoredView::Skipped { rule },
            ContentOutcome::Released => return UnstoredView::Released,
            ContentOutcome::Stored => {}
        }
    }
    if record.can_hold_content() && record.app(&Field::Content) == Value::Null {
        return UnstoredView::None;
    }
    pending
}

fn describe(unstored: &UnstoredView) -> String {
    match unstored {
        UnstoredView::Pending { reason: None, .. } => {
            "it is about to be downloaded; try again later".to_owned()
        }
        UnstoredView::Pending {
            reason: Some(reason),
            next_attempt_at,
            ..
        } => format!("it could not be had: {reason}; {}", again(next_attempt_at)),
        UnstoredView::Unavailable {
            reason,
            next_attempt_at,
            ..
        } => format!(
            "Drive does not provide it: {reason}; {}",
            again(next_attempt_at)
        ),
        UnstoredView::Skipped { rule } => format!("the connection's settings exclude it: {rule}"),
        UnstoredView::Released => "it was deleted, since the file has long been gone".to_owned(),
        UnstoredView::Off => "the connection does not mirror content".to_owned(),
        UnstoredView::None => "the file has no content that could be stored".to_owned(),
    }
}

fn again(next_attempt_at: &Option<String>) -> String {
    match next_attempt_at {
        Some(at) => format!("it is asked for again at {at}, or now by POST .../sync"),
        None => "it is asked for again by POST .../sync".to_owned(),
    }
}

/// Loads stored content as a text, or returns why it can't be processed by lines.
pub(crate) async fn text<'a>(
    deps: &Deps,
    stored: impl Into<ContentRef<'a>>,
) -> Result<Result<String, &'static str>, Problem> {
    let stored = stored.into();
    if stored.size_bytes > TEXT_BYTES_MAX {
        return Ok(Err("has more than 1 MiB"));
    }
    deps.store.count_read(stored.size_bytes.div_ceil(1_024));
    let bytes = deps.objects.read_content(stored, TEXT_BYTES_MAX).await?;
    let bytes = bytes.ok_or_else(|| Problem::busy("the stored bytes can't be read now", 2))?;
    Ok(match std::str::from_utf8(&bytes) {
        Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
        Ok(_) | Err(_) => Err("is no text"),
    })
}
