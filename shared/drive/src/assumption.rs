//! What we take for true of Drive without having seen it.

/// A named assumption about Google's own servers, with how a first contact with a real account checks it.
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
    /// A PATCH whose If-Match is an older etag is refused with 412.
    StaleEtagIsRefused,
    /// A DELETE whose If-Match is an older etag is refused with 412, and deletes nothing.
    StaleEtagStopsDeletion,
    /// An upload that was begun through v2 with an If-Match is refused with 412 where the file has changed: when it is
    /// begun, and also when its last byte comes.
    StaleEtagStopsUpload,
    /// Setting `labels.trashed` in a v2 PATCH trashes and untrashes the file.
    PatchTrashes,
    /// v2 deletes a property that is sent with the value `null`.
    NullDeletesProperty,
    /// Properties that a v2 PATCH sends back as they are stay as they are, the private ones too.
    PropertiesSentBackStay,
    /// An invalid page token of a change log is answered 400 `invalid` or `invalidParameter`, located at `pageToken`.
    InvalidPageTokenIsLocated,
    /// Sharing a file, and changing or ending that, moves its version.
    SharingMovesVersion,
    /// The snapshot of a file is the same whether v2 or v3 reports it.
    VersionsAgree,
}

impl Assumption {
    /// All of them, in the order in which a check walks through them.
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

    /// The assumption's name in reports.
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

    /// What goes wrong where it does not hold.
    #[must_use]
    pub const fn if_wrong(self) -> &'static str {
        match self {
            Self::StarMovesEtag
            | Self::MoveMovesEtag
            | Self::TrashMovesEtag
            | Self::PropertyMovesEtag => {
                "a person's change of this kind between our read and our write is not noticed by \
                 If-Match: where both wrote the same field, ours overwrites theirs without a conflict"
            }
            Self::StaleEtagIsRefused => "no write is conditional, and every race is lost silently",
            Self::StaleEtagStopsDeletion => {
                "a person's change between our read and our DELETE goes with the file, unasked"
            }
            Self::StaleEtagStopsUpload => {
                "content that a person uploads between our read and the end of our upload becomes an older revision, \
                 unasked; Drive keeps that for 30 days at least, and the list of revisions shows it"
            }
            Self::PatchTrashes => "trashing from the application never takes effect",
            Self::NullDeletesProperty => {
                "removing a property never takes effect, or sets it to an empty text"
            }
            Self::PropertiesSentBackStay => "changing one property damages the others",
            Self::InvalidPageTokenIsLocated => {
                "a lost cursor is reported as a permanent error instead of starting a resync"
            }
            Self::SharingMovesVersion => {
                "a change of who has access is not seen, and our own writes of permissions never settle"
            }
            Self::VersionsAgree => {
                "reading a file before a write looks like a change made by a person"
            }
        }
    }

    /// How to find out on a real account, with a scratch file of our own.
    #[must_use]
    pub const fn check(self) -> &'static str {
        match self {
            Self::StarMovesEtag => {
                "read the etag, star the file through v3, read the etag: it differs"
            }
            Self::MoveMovesEtag => {
                "read the etag, move the file to another folder through v3, read the etag: it differs"
            }
            Self::TrashMovesEtag => {
                "read the etag, trash the file through v3, read the etag: it differs; the same for untrash"
            }
            Self::PropertyMovesEtag => {
                "read the etag, set a public property through v3, read the etag: it differs"
            }
            Self::StaleEtagIsRefused => {
                "read the file, rename it through v3, patch it with the first etag: 412, and the name stays"
            }
            Self::StaleEtagStopsDeletion => {
                "read the file, rename it through v3, delete it through v2 with the first etag: 412, and \
                 the file is still there"
            }
            Self::StaleEtagStopsUpload => {
                "read the file, rename it through v3, begin a resumable upload through v2 with the first etag: 412; \
                 read it, begin an upload, rename the file through v3, send the bytes: 412, and the content stays"
            }
            Self::PatchTrashes => {
                "patch labels.trashed to true through v2: v3 shows explicitlyTrashed; the same back"
            }
            Self::NullDeletesProperty => {
                "set a public property, patch it to null through v2, read through v3: the key is absent"
            }
            Self::PropertiesSentBackStay => {
                "set two public and one private property through v3, patch one through v2 with all of \
                 them sent, read through v3: the other two are as they were"
            }
            Self::InvalidPageTokenIsLocated => {
                "list changes with the token `1x`: 400, reason invalid or invalidParameter, location pageToken"
            }
            Self::SharingMovesVersion => {
                "read the version, share the file with somebody, read the version: it is higher; the same after \
                 another role and after the end of it"
            }
            Self::VersionsAgree => {
                "get one file through v2 and v3, with nothing in between: the two snapshots are equal"
            }
        }
    }
}
