//! Assumptions about Drive that no contract of Google's states: what is known of each, from whom,
//! and what is done where one is false.

/// A named assumption about Google's servers, with a way to check it on a real account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Assumption {
    /// Starring a file moves its v2 etag.
    StarMovesEtag,
    /// Moving a file moves its v2 etag.
    MoveMovesEtag,
    /// Trashing and untrashing a file moves its v2 etag.
    TrashMovesEtag,
    /// Changing a property moves the file's v2 etag.
    PropertyMovesEtag,
    /// A PATCH whose If-Match is an older etag is rejected with 412.
    StaleEtagIsRefused,
    /// A DELETE whose If-Match is an older etag is rejected with 412 and deletes nothing.
    StaleEtagStopsDeletion,
    /// An upload through v2 in one request with an If-Match is rejected with 412 if the file has
    /// changed.
    StaleEtagStopsUpload,
    /// An upload through a v2 session with an If-Match is rejected with 412 if the file has
    /// changed: at its start, and also at its last byte.
    StaleEtagStopsSession,
    /// The etag that was just read is accepted if nothing has changed since.
    CurrentEtagIsAccepted,
    /// Setting `labels.trashed` in a v2 PATCH trashes and untrashes the file.
    PatchTrashes,
    /// v2 deletes a property that is sent with the value `null`.
    NullDeletesProperty,
    /// Properties that a v2 PATCH sends back unchanged stay unchanged, private ones included.
    PropertiesSentBackStay,
    /// An invalid page token of a change log is answered with 400 `invalid` or `invalidParameter`,
    /// located at `pageToken`.
    InvalidPageTokenIsLocated,
    /// Sharing a file, changing a share and ending it each move the file's version.
    SharingMovesVersion,
    /// The snapshot of a file is the same whether v2 or v3 reports it.
    VersionsAgree,
}

impl Assumption {
    /// All assumptions, in the order in which they are checked.
    pub const ALL: [Self; 15] = [
        Self::StarMovesEtag,
        Self::MoveMovesEtag,
        Self::TrashMovesEtag,
        Self::PropertyMovesEtag,
        Self::StaleEtagIsRefused,
        Self::StaleEtagStopsDeletion,
        Self::StaleEtagStopsUpload,
        Self::StaleEtagStopsSession,
        Self::CurrentEtagIsAccepted,
        Self::PatchTrashes,
        Self::NullDeletesProperty,
        Self::PropertiesSentBackStay,
        Self::InvalidPageTokenIsLocated,
        Self::SharingMovesVersion,
        Self::VersionsAgree,
    ];

    /// Returns the name of the assumption in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::StarMovesEtag => "star-moves-etag",
            Self::MoveMovesEtag => "move-moves-etag",
            Self::TrashMovesEtag => "trash-moves-etag",
            Self::PropertyMovesEtag => "property-moves-etag",
            Self::StaleEtagIsRefused => "stale-etag-is-refused",
            Self::StaleEtagStopsDeletion => "stale-etag-stops-deletion",
            Self::StaleEtagStopsUpload => "stale-etag-stops-upload",
            Self::StaleEtagStopsSession => "stale-etag-stops-session",
            Self::CurrentEtagIsAccepted => "current-etag-is-accepted",
            Self::PatchTrashes => "patch-trashes",
            Self::NullDeletesProperty => "null-deletes-property",
            Self::PropertiesSentBackStay => "properties-sent-back-stay",
            Self::InvalidPageTokenIsLocated => "invalid-page-token-is-located",
            Self::SharingMovesVersion => "sharing-moves-version",
            Self::VersionsAgree => "versions-agree",
        }
    }

    /// Returns the consequence if the assumption is wrong.
    #[must_use]
    pub const fn if_wrong(self) -> &'static str {
        match self {
            Self::StarMovesEtag
            | Self::MoveMovesEtag
            | Self::TrashMovesEtag
            | Self::PropertyMovesEtag => {
                "If-Match does not detect a person's change of this kind between the read and the \
                write: if both wrote the same field, ours overwrites theirs without a conflict"
            }
            Self::StaleEtagIsRefused => {
                "no write is conditional, and every race overwrites an edit silently"
            }
            Self::StaleEtagStopsDeletion => {
                "a person's change between the read and the DELETE is deleted with the file"
            }
            Self::StaleEtagStopsUpload | Self::StaleEtagStopsSession => {
                "content that a person uploads between the read and the end of our upload becomes \
                an older revision; Drive keeps it for at least 30 days and lists it"
            }
            Self::CurrentEtagIsAccepted => {
                "a write is refused as if somebody had been faster, however often it is repeated"
            }
            Self::PatchTrashes => "trashing from the application never takes effect",
            Self::NullDeletesProperty => {
                "removing a property never takes effect, or sets it to an empty string"
            }
            Self::PropertiesSentBackStay => "changing one property damages the others",
            Self::InvalidPageTokenIsLocated => {
                "a lost cursor is recognised only by its repetition, ten minutes later"
            }
            Self::SharingMovesVersion => {
                "changes of permissions are missed, and our own writes of permissions never settle"
            }
            Self::VersionsAgree => "reading a file before a write looks like a person's change",
        }
    }

    /// Returns how to check the assumption on a real account, with a scratch file.
    #[must_use]
    pub const fn check(self) -> &'static str {
        match self {
            Self::StarMovesEtag => {
                "read the etag, star the file through v3, read the etag: it differs"
            }
            Self::MoveMovesEtag => {
                "read the etag, move the file to another folder through v3, read the etag: it \
                differs"
            }
            Self::TrashMovesEtag => {
                "read the etag, trash the file through v3, read the etag: it differs; the same for \
                untrash"
            }
            Self::PropertyMovesEtag => {
                "read the etag, set a public property through v3, read the etag: it differs"
            }
            Self::StaleEtagIsRefused => {
                "read the file, rename it through v3, patch it with the first etag: 412, and the \
                name stays"
            }
            Self::StaleEtagStopsDeletion => {
                "read the file, rename it through v3, delete it through v2 with the first etag: \
                412, and the file is still there"
            }
            Self::StaleEtagStopsUpload => {
                "read the file, rename it through v3, upload a few bytes in one request through v2 \
                with the first etag: 412, and the content stays"
            }
            Self::StaleEtagStopsSession => {
                "read the file, rename it through v3, start a resumable upload through v2 with the \
                first etag: 412; read it, start an upload, rename the file through v3, send the \
                bytes: 412, and the content stays"
            }
            Self::CurrentEtagIsAccepted => {
                "upload content, then read the etag and write with it every second for two \
                minutes: never 412"
            }
            Self::PatchTrashes => {
                "patch labels.trashed to true through v2: v3 shows explicitlyTrashed; the same \
                back"
            }
            Self::NullDeletesProperty => {
                "set a public property, patch it to null through v2, read through v3: the key is \
                absent"
            }
            Self::PropertiesSentBackStay => {
                "set two public and one private property through v3, patch one through v2 with all \
                of them sent, read through v3: the other two are as they were"
            }
            Self::InvalidPageTokenIsLocated => {
                "list changes with the token `1x`: 400, reason invalid or invalidParameter, \
                location pageToken"
            }
            Self::SharingMovesVersion => {
                "read the version, share the file, read the version: it is higher; the same after \
                a change of the role and after the end of the share"
            }
            Self::VersionsAgree => {
                "get one file through v2 and v3 without a change in between: the snapshots are \
                equal"
            }
        }
    }

    /// Returns what is known of the assumption.
    #[must_use]
    pub const fn evidence(self) -> Evidence {
        let (standing, by) = match self {
            Self::StarMovesEtag => (
                Standing::Unknown,
                "nobody; a file that was only viewed has been seen in the log \
                 (google-api-dotnet-client 2544, 2023-09)",
            ),
            Self::MoveMovesEtag => (
                Standing::Measured,
                "obsidian-drive-sync, together with a rename (2026-10-04)",
            ),
            Self::TrashMovesEtag | Self::PropertyMovesEtag => (
                Standing::Unknown,
                "nobody by itself; drawio and grive2 have met etags that move without new content",
            ),
            Self::StaleEtagIsRefused => (
                Standing::Measured,
                "for PUT: google-drive-mock (2026-02 to 06), obsidian-drive-sync (2026-10-04); for \
                 PATCH two programs rely on it",
            ),
            Self::StaleEtagStopsDeletion => (
                Standing::Measured,
                "google-drive-mock, with a wrong etag (2026-02 to 06)",
            ),
            Self::StaleEtagStopsUpload => (
                Standing::Measured,
                "google-drive-mock (2026-02 to 06), freed (2026-08-20), obsidian-drive-sync \
                 (2026-10-04)",
            ),
            Self::StaleEtagStopsSession => (Standing::Unknown, "nobody"),
            Self::CurrentEtagIsAccepted => (
                Standing::Contradicted,
                "drawio and users of grive2 (2015) report refusals that do not end",
            ),
            Self::PatchTrashes => (
                Standing::Measured,
                "for PUT: obsidian-drive-sync (2026-10-04); for PATCH Apps Script users rely on it",
            ),
            Self::NullDeletesProperty => {
                (Standing::Documented, "for v3 only; nothing is known of v2")
            }
            Self::PropertiesSentBackStay => (
                Standing::ReliedOn,
                "drawio, whose later saves send only some properties",
            ),
            Self::InvalidPageTokenIsLocated => (
                Standing::Measured,
                "backlot, for files.list (2026-09-23); several programs rely on it for \
                 changes.list",
            ),
            Self::SharingMovesVersion => (
                Standing::ReliedOn,
                "google-api-nodejs-client 1370: each share and its end was in the log (2018-12-11)",
            ),
            Self::VersionsAgree => (
                Standing::ReliedOn,
                "two programs compare the version of both, which differs only after an upload",
            ),
        };
        Evidence { standing, by }
    }

    /// Returns what this system does where the assumption is false.
    #[must_use]
    pub const fn handling(self) -> &'static str {
        match self {
            Self::StarMovesEtag
            | Self::MoveMovesEtag
            | Self::TrashMovesEtag
            | Self::PropertyMovesEtag
            | Self::StaleEtagIsRefused
            | Self::StaleEtagStopsDeletion => {
                "nothing: the file is read just before, so the window is one request"
            }
            Self::StaleEtagStopsUpload => {
                "nothing: Drive lists the replaced content as a revision for a month"
            }
            Self::StaleEtagStopsSession => {
                "content up to 5 MB goes in one request; after a larger one the revisions are \
                 read, and content of a person's that was replaced becomes a file beside"
            }
            Self::CurrentEtagIsAccepted => {
                "the file is read again before each write; false refusals are counted and shown, \
                 and after ten minutes the edit fails for a person to decide"
            }
            Self::PatchTrashes => "the edit fails with the reason, and is shown",
            Self::NullDeletesProperty => "both sides agree on the empty text that Drive answers",
            Self::PropertiesSentBackStay => {
                "public ones are mirrored as Drive answers; private ones, which are not mirrored, \
                 are lost"
            }
            Self::InvalidPageTokenIsLocated => {
                "a cursor that is rejected without a reason for ten minutes is taken for lost"
            }
            Self::SharingMovesVersion => "a resync lists the permissions again",
            Self::VersionsAgree => "the difference is merged as a change in Drive",
        }
    }
}

/// What is known of an assumption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// How well it is known.
    pub standing: Standing,
    /// From whom, and when.
    pub by: &'static str,
}

/// How well an assumption is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Somebody measured it on a real account.
    Measured,
    /// Google documents it.
    Documented,
    /// Programs in use rely on it.
    ReliedOn,
    /// Nothing is known.
    Unknown,
    /// Somebody has met the opposite.
    Contradicted,
}

impl Standing {
    /// Returns its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Documented => "documented",
            Self::ReliedOn => "relied on",
            Self::Unknown => "unknown",
            Self::Contradicted => "contradicted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_a_row_for_each_assumption() {
        let readme = include_str!("../README.md");
        for assumption in Assumption::ALL {
            let Evidence { standing, by } = assumption.evidence();
            let row = format!(
                "| `{}` | {} | {by} | {} |",
                assumption.name(),
                standing.name(),
                assumption.handling()
            );
            assert!(readme.contains(&row), "missing in the README:\n{row}");
        }
    }
}
