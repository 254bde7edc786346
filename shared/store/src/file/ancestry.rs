//! The folders above files, level by level.

use domain::derive::LEVELS_MAX;
use domain::{Ancestry, FileRecord, Transition};

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

    /// Reads the folders above all places of a file, if a step that was made without them opened a
    /// conflict that the policy of a folder may decide: then it is made again with them. `None` if
    /// it stays as it is.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn policy_ancestry(
        &self,
        connection: &Connection,
        before: &FileRecord,
        step: &Transition,
    ) -> Result<Option<Ancestry>, StoreError> {
        if connection.policies.folders.is_empty() || !step.opens_conflict(before) {
            return Ok(None);
        }
        let places = [before, &step.record];
        self.places_ancestry(connection, &places).await.map(Some)
    }

    /// Reads the folders above all places of the records, however many sides name one.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn places_ancestry(
        &self,
        connection: &Connection,
        records: &[&FileRecord],
    ) -> Result<Ancestry, StoreError> {
        let mut ancestry = Ancestry::below(connection.my_drive.clone());
        records
            .iter()
            .for_each(|record| ancestry.want_places(record));
        self.extend_ancestry(connection, &mut ancestry, []).await?;
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
