//! The item form of a deletion, and of the certificate of an erasure.

use std::collections::BTreeMap;

use domain::operation::{ErasedCounts, ErasedKind};
use domain::{OperationId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::file::value_item::at;

/// The deletion of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// The time of the deletion.
    pub at: Timestamp,
    /// The subject of the token that deleted it.
    pub by: String,
    /// The operation that erases it.
    pub operation: OperationId,
    /// The certificate of its erasure, once nothing is left of it.
    pub erased: Option<Erased>,
}

/// The certificate of an erasure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erased {
    /// The time from which nothing was left.
    pub at: Timestamp,
    /// The number of items and objects that were deleted, by kind.
    pub counts: ErasedCounts,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct DeletionItem {
    at: i64,
    by: String,
    operation: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    erased_at: Option<i64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    counts: BTreeMap<String, u64>,
}

/// Returns counts in the form of an item.
pub(crate) fn counts_item(counts: &ErasedCounts) -> BTreeMap<String, u64> {
    let named = |(kind, count): (&ErasedKind, &u64)| (kind.label().to_owned(), *count);
    counts.iter().map(named).collect()
}

/// Reads counts. A kind that only newer code knows counts among the others.
pub(crate) fn counts_of(item: BTreeMap<String, u64>) -> ErasedCounts {
    let mut counts = ErasedCounts::new();
    for (label, count) in item {
        let kind = ErasedKind::from_label(&label).unwrap_or(ErasedKind::Others);
        *counts.entry(kind).or_default() += count;
    }
    counts
}

impl DeletionItem {
    pub(crate) fn of(deletion: &Deletion) -> Self {
        let erased = deletion.erased.as_ref();
        Self {
            at: deletion.at.as_millis(),
            by: deletion.by.clone(),
            operation: deletion.operation.to_string(),
            erased_at: erased.map(|erased| erased.at.as_millis()),
            counts: erased
                .map(|erased| counts_item(&erased.counts))
                .unwrap_or_default(),
        }
    }

    pub(crate) fn into_deletion(self) -> Result<Deletion, &'static str> {
        let operation = OperationId::parse(&self.operation);
        let operation = operation.map_err(|_| "the id of its erasure is invalid")?;
        Ok(Deletion {
            at: at(self.at),
            by: self.by,
            operation,
            erased: self.erased_at.map(|erased_at| Erased {
                at: at(erased_at),
                counts: counts_of(self.counts),
            }),
        })
    }
}
