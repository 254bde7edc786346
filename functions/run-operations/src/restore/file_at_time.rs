//! A file and what is known of it at the time that it is restored to.

use domain::content::{ContentHash, ContentIdentity};
use domain::restore::{ContentAt, RestoreFacts, RestorePlan, StateAt, content_to_restore};
use domain::{ConnectionKey, Field, FileId, FileRecord, Snapshot, Timestamp, Value};
use store::{Connection, PageRequest};
use worker::WorkError;

use crate::Deps;

/// The number of stored versions that are read at a time.
const VERSIONS: u32 = 100;

/// A file at a time.
pub(crate) struct FileAtTime<'a> {
    pub(crate) record: &'a FileRecord,
    pub(crate) state: &'a StateAt,
    pub(crate) at: Timestamp,
    pub(crate) out_of_scope: bool,
}

/// Returns the state of a file at a time.
pub(crate) async fn state_at(
    record: &FileRecord,
    at: Timestamp,
    key: &ConnectionKey,
    deps: &Deps,
) -> Result<StateAt, WorkError> {
    let now = deps.clock.now();
    let found = deps.store.state_at(key, &record.file, at, now).await?;
    Ok(match found {
        Some(entry) => StateAt::Known(Box::new(entry.snapshot)),
        None => StateAt::without_history(record, at),
    })
}

impl FileAtTime<'_> {
    /// Returns what makes the file as it was.
    pub(crate) async fn plan(
        &self,
        connection: &Connection,
        deps: &Deps,
    ) -> Result<RestorePlan, WorkError> {
        let mut facts = RestoreFacts {
            out_of_scope: self.out_of_scope,
            folder_gone: false,
            content: ContentAt::NotHeld,
        };
        if let (StateAt::Known(then), true) = (self.state, self.record.is_present()) {
            facts.folder_gone = self.is_folder_gone(then, connection, deps).await?;
            if let Some(wanted) = content_to_restore(self.record, then, self.at) {
                facts.content = self.content(&wanted, then, connection, deps).await?;
            }
        }
        Ok(RestorePlan::of(self.record, self.state, self.at, &facts))
    }

    /// Returns whether the folder that the file was in is gone, if it was in another one.
    async fn is_folder_gone(
        &self,
        then: &Snapshot,
        connection: &Connection,
        deps: &Deps,
    ) -> Result<bool, WorkError> {
        let was_in = then.value(&Field::Parent);
        let Value::Text(folder) = &was_in else {
            return Ok(false);
        };
        let folder = FileId::parse(folder).ok();
        let Some(folder) = folder.filter(|_| self.record.app(&Field::Parent) != was_in) else {
            return Ok(false);
        };
        // A folder without a record may be one that the connection does not see.
        let found = deps.store.load_file(&connection.key, &folder).await?;
        Ok(found.is_some_and(|folder| folder.is_gone()))
    }

    /// Returns the content of the time, if a version of the file stores it.
    async fn content(
        &self,
        wanted: &Value,
        then: &Snapshot,
        connection: &Connection,
        deps: &Deps,
    ) -> Result<ContentAt, WorkError> {
        if !connection.content.enabled {
            return Ok(ContentAt::NotMirrored);
        }
        let hash = ContentIdentity::parse(wanted).and_then(|identity| identity.hash());
        let revision = then.metadata.head_revision_id.as_deref();
        let found = self
            .stored_version(hash, revision, connection, deps)
            .await?;
        Ok(found.map_or(ContentAt::NotHeld, ContentAt::Held))
    }

    /// Returns the hash of the stored version with this hash; if that is not known, of the one that
    /// was Drive's revision.
    async fn stored_version(
        &self,
        hash: Option<ContentHash>,
        revision: Option<&str>,
        connection: &Connection,
        deps: &Deps,
    ) -> Result<Option<ContentHash>, WorkError> {
        let (key, file) = (&connection.key, &self.record.file);
        let mut page = PageRequest::first(VERSIONS);
        loop {
            let found = deps.store.list_versions(key, file, &page).await?;
            let mut versions = found.items.into_iter();
            let is_it = |of: &ContentHash, of_revision: Option<&str>| match &hash {
                Some(hash) => of == hash,
                None => revision.is_some() && of_revision == revision,
            };
            let version =
                versions.find(|version| is_it(&version.hash, version.revision_id.as_deref()));
            match (version, found.next_cursor) {
                (Some(version), _) => return Ok(Some(version.hash)),
                (None, None) => return Ok(None),
                (None, cursor) => page.cursor = cursor,
            }
        }
    }
}
