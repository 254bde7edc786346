//! The folders above files, level by level.

use domain::derive::LEVELS_MAX;
use domain::{Ancestry, FileRecord};

use crate::{Connection, Store, StoreError};

impl Store {
    /// Reads the folders above the records, with one call per level (and per hundred folders of a
    /// level), however many files there are. The reads are consistent, so a change to a folder
    /// shows in everything below it as soon as it is stored.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn ancestry<'a>(
        &self,
        connection: &Connection,
        records: impl IntoIterator<Item = &'a FileRecord>,
    ) -> Result<Ancestry, StoreError> {
        let mut ancestry = Ancestry::below(connection.my_drive.clone());
        self.extend_ancestry(connection, &mut ancestry, records)
            .await?;
        Ok(ancestry)
    }

    /// Extends [`Store::ancestry`] by more records. Folders that are already known are not read
    /// again.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn extend_ancestry<'a>(
        &self,
        connection: &Connection,
        ancestry: &mut Ancestry,
        records: impl IntoIterator<Item = &'a FileRecord>,
    ) -> Result<(), StoreError> {
        for record in records {
            ancestry.add(record);
        }
        for _ in 0..=LEVELS_MAX {
            let wanted = ancestry.missing();
            if wanted.is_empty() {
                break;
            }
            let found = self.load_files_consistent(&connection.key, &wanted).await?;
            for id in wanted {
                match found.get(&id) {
                    Some(folder) => ancestry.add(folder),
                    None => ancestry.add_unknown(id),
                }
            }
        }
        Ok(())
    }
}
