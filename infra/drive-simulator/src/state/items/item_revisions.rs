//! Revisions of files with binary content: kept for a while, or forever on request.

use std::sync::Arc;

use crate::{
    errors::DriveError,
    ids::UserId,
    state::{
        State, View,
        items::{
            file_content::Content,
            item::{GOOGLE_TYPES, Item},
        },
    },
};

/// The time for which a superseded revision is kept, in milliseconds: 30 days.
const RETENTION_MS: i64 = 30 * 24 * 3_600 * 1_000;
/// The maximum number of superseded revisions that are kept.
const RETAINED_MAX: usize = 100;
/// The maximum number of revisions of one file that are kept forever.
const KEPT_FOREVER_MAX: usize = 200;
/// The id of the only revision that a Google document has in the simulator.
const DOCUMENT_REVISION: &str = "1";

/// One revision.
#[derive(Debug, Clone)]
pub(crate) struct Revision {
    pub(crate) id: String,
    /// `None` for a Google document.
    pub(crate) content: Option<Arc<Content>>,
    pub(crate) mime_type: Arc<str>,
    pub(crate) name: String,
    pub(crate) modified_ms: i64,
    pub(crate) user: UserId,
    pub(crate) keep_forever: bool,
    /// The current content.
    pub(crate) head: bool,
    superseded_ms: i64,
}

impl Revision {
    /// Returns the content that a download sends.
    ///
    /// # Errors
    /// 403 `fileNotDownloadable` for a document, and for a superseded revision that is not kept
    /// forever.
    pub(crate) fn downloadable(&self) -> Result<&Arc<Content>, DriveError> {
        let refused =
            |message: &str| DriveError::new(403, "fileNotDownloadable", message).at("alt");
        let content = self.content.as_ref().ok_or_else(|| {
            refused(
                "Only files with binary content can be downloaded. Use Export with Docs \
                     Editors files.",
            )
        })?;
        if self.head || self.keep_forever {
            Ok(content)
        } else {
            Err(refused(
                "Only revisions that are kept forever can be downloaded.",
            ))
        }
    }
}

/// The revisions of a file beyond its current content. Only files whose content was replaced have
/// one.
#[derive(Debug)]
pub(crate) struct History {
    older: Vec<Revision>,
    head_modified_ms: i64,
    head_user: UserId,
    head_keep_forever: bool,
}

impl History {
    fn new(item: &Item) -> Self {
        Self {
            older: Vec::new(),
            head_modified_ms: item.created_ms,
            head_user: item.last_modifying_user.clone(),
            head_keep_forever: false,
        }
    }

    fn head(&self, item: &Item, now_ms: i64) -> Option<Revision> {
        let document = item.mime_type.starts_with(GOOGLE_TYPES);
        let id = item
            .head_revision
            .clone()
            .or_else(|| document.then(|| DOCUMENT_REVISION.to_owned()))?;
        Some(Revision {
            id,
            content: item.content.clone(),
            mime_type: Arc::clone(&item.mime_type),
            name: item.name.clone(),
            modified_ms: self.head_modified_ms,
            user: self.head_user.clone(),
            keep_forever: self.head_keep_forever,
            head: true,
            superseded_ms: now_ms,
        })
    }

    /// Removes the revisions that Drive would have purged by now.
    fn purge(&mut self, now_ms: i64) {
        let mut expirable = self.older.iter().filter(|old| !old.keep_forever).count();
        self.older.retain(|old| {
            if old.keep_forever {
                return true;
            }
            let purged =
                expirable > RETAINED_MAX || now_ms.saturating_sub(old.superseded_ms) > RETENTION_MS;
            expirable -= usize::from(purged);
            !purged
        });
    }
}

impl State {
    /// Keeps the content that an upload replaces. `before` is the item before the upload.
    pub(crate) fn keep_revision(&mut self, before: &Item, user: &UserId) {
        let now_ms = self.now_ms;
        let history = self
            .histories
            .entry(before.id.clone())
            .or_insert_with(|| History::new(before));
        if let Some(head) = history.head(before, now_ms) {
            history.older.push(Revision {
                head: false,
                ..head
            });
        }
        history.head_modified_ms = now_ms;
        history.head_user = user.clone();
        history.head_keep_forever = false;
        history.purge(now_ms);
    }

    /// Returns all revisions of a file, oldest first.
    ///
    /// # Errors
    /// 404 for an inaccessible file, 403 `insufficientFilePermissions` without the right to edit,
    /// 403 `revisionsNotSupported` for a folder or a shortcut.
    pub(crate) fn revisions(
        &mut self,
        user: &UserId,
        id: &str,
    ) -> Result<(View, Vec<Revision>), DriveError> {
        let view = self.find(user, id, true)?;
        if !view.role.can_edit() {
            return Err(DriveError::insufficient_permissions(id));
        }
        if view.item.is_folder() || view.item.shortcut.is_some() {
            let message = "The file does not support revisions.";
            return Err(DriveError::new(403, "revisionsNotSupported", message));
        }
        let now_ms = self.now_ms;
        let found = match self.histories.get_mut(&view.item.id) {
            Some(history) => {
                history.purge(now_ms);
                let head = history.head(&view.item, now_ms);
                history.older.iter().cloned().chain(head).collect()
            }
            None => History::new(&view.item)
                .head(&view.item, now_ms)
                .into_iter()
                .collect(),
        };
        Ok((view, found))
    }

    /// Returns one revision, by its id or as `head`.
    ///
    /// # Errors
    /// 404 for a revision that does not exist (any more), and the errors of [`State::revisions`].
    pub(crate) fn revision(
        &mut self,
        user: &UserId,
        id: &str,
        revision: &str,
    ) -> Result<(View, Revision), DriveError> {
        let (view, all) = self.revisions(user, id)?;
        let found = all
            .into_iter()
            .find(|known| known.id == revision || (revision == "head" && known.head));
        let missing = || {
            DriveError::new(404, "notFound", format!("Revision not found: {revision}."))
                .at("revisionId")
        };
        Ok((view, found.ok_or_else(missing)?))
    }

    /// Sets whether a revision is kept forever.
    ///
    /// # Errors
    /// 400 for a document and for more than 200 revisions of one file; the errors of
    /// [`State::revision`].
    pub(crate) fn keep_forever(
        &mut self,
        user: &UserId,
        id: &str,
        revision: &str,
        keep: bool,
    ) -> Result<(), DriveError> {
        let (view, found) = self.revision(user, id, revision)?;
        if found.content.is_none() {
            let message = "Only revisions of files with binary content can be kept forever.";
            return Err(DriveError::invalid_because("keepForever", message));
        }
        let history = self
            .histories
            .entry(view.item.id.clone())
            .or_insert_with(|| History::new(&view.item));
        let kept = history.older.iter().filter(|old| old.keep_forever).count()
            + usize::from(history.head_keep_forever);
        if keep && !found.keep_forever && kept >= KEPT_FOREVER_MAX {
            let message = "No more than 200 revisions of a file can be kept forever.";
            return Err(DriveError::invalid_because("keepForever", message));
        }
        if found.head {
            history.head_keep_forever = keep;
        }
        for old in history.older.iter_mut().filter(|old| old.id == found.id) {
            old.keep_forever = keep;
        }
        Ok(())
    }

    /// Deletes a superseded revision.
    ///
    /// # Errors
    /// 400 for the current content and for a document; the errors of [`State::revision`].
    pub(crate) fn delete_revision(
        &mut self,
        user: &UserId,
        id: &str,
        revision: &str,
    ) -> Result<(), DriveError> {
        let (view, found) = self.revision(user, id, revision)?;
        if found.head {
            let message = "The current revision of a file cannot be deleted.";
            return Err(DriveError::invalid_because("revisionId", message));
        }
        if let Some(history) = self.histories.get_mut(&view.item.id) {
            history.older.retain(|old| old.id != found.id);
        }
        Ok(())
    }
}
