//! Behaviour that clients rely on and no contract of Google's states, taken away piece by piece.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::state::items::{
    item::Item,
    item_patch::{Patch, PropertyPatch},
};

/// Something that clients of Drive rely on, and that this Drive does not do while it is in breach.
/// The names are those of `drive::Assumption`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Breach {
    /// The etag of v2 stays when a file is starred.
    StarMovesEtag,
    /// The etag of v2 stays when a file is moved.
    MoveMovesEtag,
    /// The etag of v2 stays when a file is trashed or untrashed.
    TrashMovesEtag,
    /// The etag of v2 stays when properties change.
    PropertyMovesEtag,
    /// A v2 PATCH ignores `If-Match`.
    StaleEtagIsRefused,
    /// A v2 DELETE ignores `If-Match`.
    StaleEtagStopsDeletion,
    /// A v2 upload in one request ignores `If-Match`.
    StaleEtagStopsUpload,
    /// A v2 upload session ignores `If-Match`.
    StaleEtagStopsSession,
    /// A v2 write with the current etag is refused as one with a stale etag is.
    CurrentEtagIsAccepted,
    /// A v2 PATCH ignores `labels.trashed`.
    PatchTrashes,
    /// v2 sets a property that is sent as `null` to an empty text.
    NullDeletesProperty,
    /// v2 removes the private properties that are sent back unchanged.
    PropertiesSentBackStay,
    /// The error for an invalid page token names no parameter.
    InvalidPageTokenIsLocated,
    /// The version stays when permissions change.
    SharingMovesVersion,
    /// v2 shows another modification time than v3.
    VersionsAgree,
}

/// The breaches of a Drive.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Breaches {
    broken: BTreeSet<Breach>,
}

impl From<BTreeSet<Breach>> for Breaches {
    fn from(broken: BTreeSet<Breach>) -> Self {
        Self { broken }
    }
}

impl Breaches {
    pub(crate) fn has(&self, breach: Breach) -> bool {
        self.broken.contains(&breach)
    }

    /// Returns the `If-Match` that a call is judged by, if this breach does not make it ignored.
    pub(crate) fn condition<'a>(
        &self,
        ignored: Breach,
        if_match: Option<&'a str>,
    ) -> Option<&'a str> {
        if_match.filter(|_| !self.has(ignored))
    }

    /// Returns whether a write on the condition `if_match` is refused although it holds.
    pub(crate) fn refuses_current(&self, if_match: Option<&str>) -> bool {
        if_match.is_some() && self.has(Breach::CurrentEtagIsAccepted)
    }

    /// Returns whether a change leaves the etag as it is: all its differences are of kinds that do.
    pub(crate) fn keeps_etag(&self, before: &Item, after: &Item) -> bool {
        let properties = |item: &Item| (item.properties.clone(), item.app_properties.clone());
        let differences = [
            (before.starred_by != after.starred_by, Breach::StarMovesEtag),
            (before.parent != after.parent, Breach::MoveMovesEtag),
            (
                before.explicitly_trashed != after.explicitly_trashed,
                Breach::TrashMovesEtag,
            ),
            (
                properties(before) != properties(after),
                Breach::PropertyMovesEtag,
            ),
        ];
        let others = before.name != after.name
            || before.description != after.description
            || before.head_revision != after.head_revision;
        !others
            && differences
                .into_iter()
                .all(|(differs, breach)| !differs || self.has(breach))
    }

    /// Changes what a v2 write asks for into what this Drive makes of it.
    pub(crate) fn distort(&self, patch: &mut Patch, before: &Item) {
        if self.has(Breach::PatchTrashes) {
            patch.trashed = None;
        }
        if self.has(Breach::NullDeletesProperty) {
            for properties in [&mut patch.properties, &mut patch.app_properties] {
                for value in properties.values_mut() {
                    value.get_or_insert_default();
                }
            }
        }
        if self.has(Breach::PropertiesSentBackStay) {
            drop_unchanged(&mut patch.app_properties, &before.app_properties);
        }
    }
}

fn drop_unchanged(sent: &mut PropertyPatch, current: &BTreeMap<String, String>) {
    for (key, value) in sent {
        if value.is_some() && value.as_ref() == current.get(key) {
            *value = None;
        }
    }
}
