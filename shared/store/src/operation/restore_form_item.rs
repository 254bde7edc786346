//! What the item of a restore has besides that of every operation.

use std::collections::BTreeMap;

use domain::FileId;
use domain::operation::{RestoreCounts, RestoreForm};
use domain::restore::LeftReason;
use serde::{Deserialize, Serialize};

use crate::file::value_item::at;

/// What only a restore has.
#[derive(Serialize, Deserialize)]
pub(crate) struct RestoreItem {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    folder: Option<String>,
    at: i64,
    files: u64,
    to_restore: u64,
    restored: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    left: BTreeMap<String, u64>,
}

impl RestoreItem {
    pub(crate) fn of(form: RestoreForm) -> Self {
        let left = form.counts.left.into_iter();
        Self {
            folder: form.folder.map(|folder| folder.to_string()),
            at: form.at.as_millis(),
            files: form.counts.files,
            to_restore: form.counts.to_restore,
            restored: form.counts.restored,
            left: left
                .map(|(reason, files)| (reason.label().to_owned(), files))
                .collect(),
        }
    }

    pub(crate) fn into_form(self) -> Option<RestoreForm> {
        let left = self.left.into_iter();
        let left = left.map(|(label, files)| Some((LeftReason::from_label(&label)?, files)));
        let folder = self.folder.map(|folder| FileId::parse(&folder));
        Some(RestoreForm {
            folder: folder.transpose().ok()?,
            at: at(self.at),
            counts: RestoreCounts {
                files: self.files,
                to_restore: self.to_restore,
                restored: self.restored,
                left: left.collect::<Option<_>>()?,
            },
        })
    }

    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        Self {
            folder: Some("1folder".to_owned()),
            at: 1_300,
            files: 9,
            to_restore: 7,
            restored: 3,
            left: BTreeMap::from([("made_since".to_owned(), 2)]),
        }
    }
}
