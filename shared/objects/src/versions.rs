//! Versions of objects, which S3 keeps when an object is deleted or replaced: listed, and deleted
//! for good.

use aws_sdk_s3::primitives::DateTime;
use domain::content::ObjectKey;
use domain::{TenantId, Timestamp};

use crate::{Objects, ObjectsError};

/// One version of an object, or the mark of its deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectVersion {
    /// The key of the object, of whatever form.
    pub key: String,
    /// S3's id of the version.
    pub id: String,
    /// Whether it is the object as it is read.
    pub current: bool,
    /// The time at which it was stored.
    pub stored_at: Option<Timestamp>,
}

/// The position in a list of versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionsCursor {
    /// The key of the last version.
    pub key: String,
    /// Its id.
    pub id: String,
}

impl Objects {
    /// Lists up to 1,000 versions of a tenant's objects, in the order of their keys, and the
    /// position of the next ones.
    ///
    /// # Errors
    /// [`ObjectsError`]
    pub async fn list_versions(
        &self,
        tenant: &TenantId,
        after: Option<&VersionsCursor>,
    ) -> Result<(Vec<ObjectVersion>, Option<VersionsCursor>), ObjectsError> {
        self.versions(&format!("{tenant}/"), after).await
    }

    /// Lists up to 1,000 versions of the objects whose keys begin with this one, and returns
    /// whether there are more.
    ///
    /// # Errors
    /// [`ObjectsError`]
    pub async fn list_versions_below(
        &self,
        folder: &ObjectKey,
    ) -> Result<(Vec<ObjectVersion>, bool), ObjectsError> {
        let (versions, next) = self.versions(folder.as_str(), None).await?;
        Ok((versions, next.is_some()))
    }

    async fn versions(
        &self,
        prefix: &str,
        after: Option<&VersionsCursor>,
    ) -> Result<(Vec<ObjectVersion>, Option<VersionsCursor>), ObjectsError> {
        let call = self.client.list_object_versions().bucket(&self.bucket);
        let call = call
            .prefix(prefix)
            .set_key_marker(after.map(|after| after.key.clone()))
            .set_version_id_marker(after.map(|after| after.id.clone()));
        let listed = call.send().await?;
        let at = |at: Option<DateTime>| at.and_then(|at| at.to_millis().ok());
        let version =
            |key: Option<String>, id: Option<String>, current, stored: Option<DateTime>| {
                Some(ObjectVersion {
                    key: key?,
                    id: id?,
                    current,
                    stored_at: at(stored).map(Timestamp::from_millis),
                })
            };
        let versions = listed.versions.unwrap_or_default().into_iter();
        let versions = versions.filter_map(|found| {
            let current = found.is_latest == Some(true);
            version(found.key, found.version_id, current, found.last_modified)
        });
        let markers = listed.delete_markers.unwrap_or_default().into_iter();
        let markers = markers
            .filter_map(|found| version(found.key, found.version_id, false, found.last_modified));
        let next = match (listed.next_key_marker, listed.next_version_id_marker) {
            (Some(key), id) if listed.is_truncated == Some(true) => Some(VersionsCursor {
                key,
                id: id.unwrap_or_default(),
            }),
            _ => None,
        };
        Ok((versions.chain(markers).collect(), next))
    }

    /// Deletes a version for good. Succeeds if it does not exist.
    ///
    /// # Errors
    /// [`ObjectsError`]
    pub async fn delete_version(&self, version: &ObjectVersion) -> Result<(), ObjectsError> {
        let call = self.client.delete_object().bucket(&self.bucket);
        let call = call.key(&version.key).version_id(&version.id);
        call.send().await?;
        Ok(())
    }

    /// Deletes an object with all of its versions for good, and returns their number.
    ///
    /// # Errors
    /// [`ObjectsError`]; some may have been deleted.
    pub async fn erase(&self, key: &ObjectKey) -> Result<u64, ObjectsError> {
        let (mut deleted, mut after) = (0, None);
        loop {
            let (versions, next) = self.versions(key.as_str(), after.as_ref()).await?;
            for version in versions.iter().filter(|found| found.key == key.as_str()) {
                self.delete_version(version).await?;
                deleted += 1;
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok(deleted),
            }
        }
    }
}
