//! The version of a content that the application gave a file.

use domain::content::StoredVersion;
use domain::{ConnectionKey, FileId};
use runtime::telemetry;
use store::{Linked, Store, Updated};

/// Adds the version of a record's content, which refers to its object. The record refers to it
/// already, so if this fails, the content mirror adds it.
pub async fn link_version(
    store: &Store,
    key: &ConnectionKey,
    file: &FileId,
    version: &StoredVersion,
) {
    let number = version.number;
    let why = match store.link_version(key, file, version).await {
        Ok(Linked::Done) => None,
        Ok(Linked::Taken(_)) => Some("another content has its number".to_owned()),
        Ok(Linked::NotStored(_)) => Some("its object is gone".to_owned()),
        Err(error) => Some(telemetry::chain(&error)),
    };
    if let Some(why) = why {
        let metric = "version_not_linked";
        tracing::warn!(connection = %key, number, why, metric, "could not add the version");
        return;
    }
    // The content mirror may have added the version first, without the reason.
    if let (Some(by), Some(reason)) = (&version.by, &version.reason) {
        match store.annotate_version(key, file, number, by, reason).await {
            Ok(Updated::Done | Updated::Absent) => {}
            Err(error) => {
                let error = telemetry::chain(&error);
                tracing::warn!(connection = %key, number, error, "could not store the reason");
            }
        }
    }
}
