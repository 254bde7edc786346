//! The mirror's state of a file's content, saved on condition of the revision that was read.

use domain::content::ContentState;
use domain::{ConnectionKey, FileId};

use crate::content::content_item::{decode_content, encode_content};
use crate::table::key::Key;
use crate::table::store::Applied;
use crate::table::update::Replaces;
use crate::{Nonce, Store, StoreError, Written};

impl Store {
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
