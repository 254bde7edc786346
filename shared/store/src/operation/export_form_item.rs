//! What the item of an export has besides that of every operation.

use std::collections::BTreeMap;

use domain::ConnectionId;
use domain::content::ContentHash;
use domain::operation::{ExportFile, ExportForm, ExportScope, ExportedKind};
use serde::{Deserialize, Serialize};

/// What only an export has.
#[derive(Serialize, Deserialize)]
pub(crate) struct ExportItem {
    pub(crate) scope: ScopeItem,
    /// Lines, bytes and the hash of each file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) files: Vec<(u64, u64, String)>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) lines: BTreeMap<String, u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ScopeItem {
    Tenant,
    Connection(String),
    Person(String),
}

impl ExportItem {
    pub(crate) fn of(form: ExportForm) -> Self {
        let file = |file: &ExportFile| (file.lines, file.bytes, file.sha256.to_string());
        let named = |(kind, count): (&ExportedKind, &u64)| (kind.label().to_owned(), *count);
        Self {
            scope: match form.scope {
                ExportScope::Tenant => ScopeItem::Tenant,
                ExportScope::Connection(id) => ScopeItem::Connection(id.to_string()),
                ExportScope::Person(person) => ScopeItem::Person(person),
            },
            files: form.files.iter().map(file).collect(),
            lines: form.counts.iter().map(named).collect(),
        }
    }

    pub(crate) fn into_form(self) -> Option<ExportForm> {
        let file = |(lines, bytes, sha256): (u64, u64, String)| {
            let sha256 = ContentHash::parse(&sha256).ok()?;
            Some(ExportFile {
                lines,
                bytes,
                sha256,
            })
        };
        // A kind that only newer code knows is in the files themselves.
        let count = |(kind, count): (String, u64)| Some((ExportedKind::from_label(&kind)?, count));
        Some(ExportForm {
            scope: match self.scope {
                ScopeItem::Tenant => ExportScope::Tenant,
                ScopeItem::Connection(id) => {
                    ExportScope::Connection(ConnectionId::parse(&id).ok()?)
                }
                ScopeItem::Person(person) => ExportScope::Person(person),
            },
            files: self.files.into_iter().map(file).collect::<Option<_>>()?,
            counts: self.lines.into_iter().filter_map(count).collect(),
        })
    }
}
