//! Assumptions about Drive that are not verified yet.

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
    /// An upload through v2 with an If-Match is rejected with 412 if the file has changed: at its
    /// start, and also at its last byte.
    StaleEtagStopsUpload,
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
    pub const ALL: [Self; 13] = [
        Self::StarMovesEtag,
        Self::MoveMovesEtag,
        Self::TrashMovesEtag,
        Self::PropertyMovesEtag,
        Self::StaleEtagIsRefused,
        Self::StaleEtagStopsDeletion,
        Self::StaleEtagStopsUpload,
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
            Self::StaleEtagStopsUpload => {
                "content that a person uploads between the read and the end of our upload becomes \
                an older revision; Drive keeps it for at least 30 days and lists it"
            }
            Self::PatchTrashes => "trashing from the application never takes effect",
            Self::NullDeletesProperty => {
                "removing a property never takes effect, or sets it to an empty string"
            }
            Self::PropertiesSentBackStay => "changing one property damages the others",
            Self::InvalidPageTokenIsLocated => {
                "a lost cursor is reported as a permanent error instead of starting a resync"
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
                "read the file, rename it through v3, start a resumable upload through v2 with the \
                first etag: 412; read it, start an upload, rename the file through v3, send the \
                bytes: 412, and the content stays"
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
}
