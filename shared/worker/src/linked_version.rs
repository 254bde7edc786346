//! The version of a content that the application gave a file.

use domain::content::{ContentOrigin, StoredObject, StoredVersion};
use domain::{ConnectionKey, FileRecord, Timestamp};
use runtime::telemetry;
use store::{Linked, Store, Updated};

/// Adds the version of a record's content, which refers to its object, with who gave it and perhaps
/// why. The record refers to it already, so if this fails, the content mirror adds it.
pub async fn link_version(
    store: &Store,
    key: &ConnectionKey,
    record: &FileRecord,
    object: &StoredObject,
    (by, reason): (&str, Option<&str>),
    now: Timestamp,
) {
    let (file, number) = (&record.file, record.content_version);
    let mime_type = &record.metadata.mime_type;
    let version = StoredVersion {
        by: Some(by.to_owned()),
        reason: reason.map(str::to_owned),
        ..StoredVersion::new(number, object, mime_type, ContentOrigin::Application, now)
    };
    let why = match store.link_version(key, file, &version).await {
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
    if let Some(reason) = reason {
        match store.annotate_version(key, file, number, by, reason).await {
            Ok(Updated::Done | Updated::Absent) => {}
            Err(error) => {
                let error = telemetry::chain(&error);
                tracing::warn!(connection = %key, number, error, "could not store the reason");
            }
        }
    }
}
