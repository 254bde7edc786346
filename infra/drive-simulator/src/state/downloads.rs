//! Long-running downloads.

use std::{collections::HashMap, sync::Arc};

use crate::{
    errors::DriveError,
    ids::{UserId, random_text},
    state::{State, item::Content},
};

/// How long the answer of an operation can be fetched, in milliseconds: 24 hours (the Drive reference, `files.download`).
const KEPT_MS: i64 = 24 * 3_600 * 1_000;

/// What is being prepared.
#[derive(Debug, Clone)]
pub(crate) struct Download {
    user: UserId,
    pub(crate) content: Arc<Content>,
    pub(crate) mime_type: String,
    done_ms: i64,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    pub(crate) done: bool,
}

/// The operations under way and done, and how long one takes.
#[derive(Debug, Default)]
pub(crate) struct Downloads {
    all: HashMap<String, Download>,
    /// Milliseconds of the simulator's clock.
    pub(crate) takes_ms: i64,
}

impl State {
    /// Begins a download. Its first answer is never done; the next one is when its time has passed.
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
            done_ms: self.now_ms.saturating_add(self.downloads.takes_ms),
        };
        self.downloads.all.insert(name.clone(), download);
        (name, Progress { done: false })
    }

    /// An operation of this user.
    ///
    /// # Errors
    /// 404 for one that is not theirs or is older than a day.
    pub(crate) fn download(
        &mut self,
        user: &UserId,
        name: &str,
    ) -> Result<(Download, Progress), DriveError> {
        let now_ms = self.now_ms;
        self.downloads
            .all
            .retain(|_, download| now_ms.saturating_sub(download.done_ms) <= KEPT_MS);
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
