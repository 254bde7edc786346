//! Long-running downloads (`files.download`).

use std::{collections::HashMap, sync::Arc};

use crate::{
    errors::DriveError,
    ids::{UserId, random_text},
    state::{State, items::file_content::Content},
};

/// The time for which the result of an operation can be fetched, in milliseconds: 24 hours (the
/// Drive reference, `files.download`).
const RETENTION_MS: i64 = 24 * 3_600 * 1_000;

/// An operation.
#[derive(Debug, Clone)]
pub(crate) struct Download {
    user: UserId,
    pub(crate) content: Arc<Content>,
    pub(crate) mime_type: String,
    done_ms: i64,
}

/// The progress of an operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    pub(crate) done: bool,
}

/// All operations, and the duration of new ones.
#[derive(Debug, Default)]
pub(crate) struct Downloads {
    all: HashMap<String, Download>,
    /// In milliseconds of the simulator's clock.
    pub(crate) duration_ms: i64,
}

impl State {
    /// Begins a download. Its first response is never done; later ones are once its time has
    /// passed.
    pub(crate) fn begin_download(
        &mut self,
        user: &UserId,
        content: Arc<Content>,
        mime_type: String,
    ) -> (String, Progress) {
        let name = random_text(self.rng(), 48);
        let download = Download {
            user: user.clone(),
            content,
            mime_type,
            done_ms: self.now_ms.saturating_add(self.downloads.duration_ms),
        };
        self.downloads.all.insert(name.clone(), download);
        (name, Progress { done: false })
    }

    /// Returns an operation of this user.
    ///
    /// # Errors
    /// 404 for another user's operation, or one that is older than a day.
    pub(crate) fn download(
        &mut self,
        user: &UserId,
        name: &str,
    ) -> Result<(Download, Progress), DriveError> {
        let now_ms = self.now_ms;
        self.downloads
            .all
            .retain(|_, download| now_ms.saturating_sub(download.done_ms) <= RETENTION_MS);
        let found = self
            .downloads
            .all
            .get(name)
            .filter(|download| download.user == *user);
        let found = found.ok_or_else(|| {
            DriveError::new(404, "notFound", format!("Operation not found: {name}."))
        })?;
        let done = found.done_ms <= now_ms;
        Ok((found.clone(), Progress { done }))
    }
}
