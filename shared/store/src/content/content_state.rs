//! The mirror's state of a file's content, saved on condition of the revision that was read.

use domain::content::ContentState;
use domain::{ConnectionKey, FileId};

use crate::content::content_item::{TROUBLE, decode_content, encode_content};
use crate::table::key::{Index, Key, connection_pk, file_of};
use crate::table::range::Range;
use crate::table::store::Applied;
use crate::table::update::Replaces;
use crate::{Nonce, Page, PageRequest, Store, StoreError, Written};

impl Store {
    /// Lists the files of a connection whose content could not be had, by the time since when, over
    /// an index that lags a little.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_content_trouble(
        &self,
        key: &ConnectionKey,
        page: &PageRequest,
    ) -> Result<Page<FileId>, StoreError> {
        let part = Range::prefix(Some(Index::Attention), connection_pk(key), TROUBLE);
        let found = self
            .scan_partitions("content", &[part], page, |_| Ok(true))
            .await?;
        let files = found.items.iter().map(|place| file_of(key, place));
        Ok(Page {
            items: files.collect::<Result<_, _>>()?,
            next_cursor: found.next_cursor,
        })
    }

    /// Reads the content state of one file consistently; returns one of revision 0 if none is
    /// stored.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_content(
        &self,
        key: &ConnectionKey,
        file: &FileId,
    ) -> Result<ContentState, StoreError> {
        match self.get(&Key::content(key, file)).await? {
            Some(item) => Ok(decode_content(key, item)?.0),
            None => Ok(ContentState::default()),
        }
    }

    /// Saves `state` on condition that the stored state still has `state.revision`, and stores it
    /// under the next revision. It is in the index `due` if it has a `due_at`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn save_content(
        &self,
        key: &ConnectionKey,
        file: &FileId,
        state: &ContentState,
        nonce: Nonce,
    ) -> Result<Written<ContentState>, StoreError> {
        let replaces = match state.revision {
            0 => Replaces::Nothing,
            revision => Replaces::Revision(revision),
        };
        let next = ContentState {
            revision: state.revision.saturating_add(1),
            ..state.clone()
        };
        let item = encode_content(key, file, &next, nonce)?;
        match self.put(item, replaces).await? {
            Applied::Done(_) => Ok(Written::Done(next)),
            Applied::Refused(None) => Ok(Written::Stale(None)),
            Applied::Refused(Some(item)) => {
                let (current, writer) = decode_content(key, item)?;
                Ok(if writer == nonce {
                    Written::Done(current)
                } else {
                    Written::Stale(Some(current))
                })
            }
        }
    }
}
