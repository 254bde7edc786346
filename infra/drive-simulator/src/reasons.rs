//! What Google says with each reason, for the refusals that only a fault can bring about here.

use crate::errors::Location;

/// A reason as Google sends it.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) reason: &'static str,
    pub(crate) message: &'static str,
    pub(crate) location: Option<Location>,
}

impl Known {
    const fn plain(reason: &'static str, message: &'static str) -> Self {
        Self {
            reason,
            message,
            location: None,
        }
    }
}

const fn header(name: &'static str) -> Option<Location> {
    Some(Location::Header(std::borrow::Cow::Borrowed(name)))
}

/// The reasons whose text or place a client may read (the Drive guide "Resolve errors", and reports of clients for those
/// that it leaves out).
static KNOWN: [Known; 32] = [
    Known::plain("badRequest", "Bad Request"),
    Known::plain("invalid", "Invalid Value"),
    Known::plain("invalidParameter", "Invalid parameter"),
    Known::plain("invalidSharingRequest", "Bad Request. User message: \"\""),
    Known {
        reason: "authError",
        message: "Invalid Credentials",
        location: header("Authorization"),
    },
    Known::plain("rateLimitExceeded", "Rate Limit Exceeded"),
    Known::plain("userRateLimitExceeded", "User Rate Limit Exceeded"),
    Known::plain("dailyLimitExceeded", "Daily Limit Exceeded"),
    Known::plain(
        "sharingRateLimitExceeded",
        "Rate limit exceeded. User message: \"These item(s) could not be shared because a rate limit was exceeded\"",
    ),
    Known::plain(
        "subscriptionRateLimitExceeded",
        "Rate limit exceeded for creating file subscriptions.",
    ),
    Known::plain(
        "storageQuotaExceeded",
        "The user's Drive storage quota has been exceeded.",
    ),
    Known::plain(
        "activeItemCreationLimitExceeded",
        "This account has exceeded the creation limit of items.",
    ),
    Known::plain(
        "numChildrenInNonRootLimitExceeded",
        "The limit for this folder's number of children (files and folders) has been exceeded.",
    ),
    Known::plain(
        "teamDriveFileLimitExceeded",
        "The file limit for this shared drive has been exceeded.",
    ),
    Known::plain(
        "myDriveHierarchyDepthLimitExceeded",
        "Your My Drive can't contain more than 100 levels of folders.",
    ),
    Known::plain(
        "teamDriveHierarchyTooDeep",
        "The shared drive hierarchy depth will exceed the limit.",
    ),
    Known::plain(
        "insufficientFilePermissions",
        "The user does not have sufficient permissions for this file.",
    ),
    Known::plain(
        "appNotAuthorizedToFile",
        "The user has not granted the app access to the file.",
    ),
    Known::plain(
        "domainPolicy",
        "The domain administrators have disabled Drive apps.",
    ),
    Known::plain(
        "teamDriveMembershipRequired",
        "The attempted action requires shared drive membership.",
    ),
    Known::plain(
        "cannotModifyInheritedTeamDrivePermission",
        "Cannot update or delete an inherited permission on a shared drive item.",
    ),
    Known::plain(
        "fileWriterTeamDriveMoveInDisabled",
        "The domain administrator has not allowed writers to move items into a shared drive.",
    ),
    Known::plain(
        "fileOwnerNotMemberOfTeamDrive",
        "The owner of the file is not a member of the shared drive.",
    ),
    Known::plain(
        "teamDrivesFolderMoveInNotSupported",
        "Moving folders into shared drives is not supported.",
    ),
    Known::plain(
        "teamDrivesParentLimit",
        "A shared drive item must have exactly one parent.",
    ),
    Known::plain(
        "exportSizeLimitExceeded",
        "This file is too large to be exported.",
    ),
    Known::plain(
        "fileNotExportable",
        "Export only supports Docs Editors files.",
    ),
    Known::plain(
        "fileNotDownloadable",
        "Only files with binary content can be directly downloaded. Use Export with Docs Editors files.",
    ),
    Known::plain(
        "cannotExportFile",
        "This file cannot be exported by the user.",
    ),
    Known::plain("notFound", "File not found."),
    Known::plain("fileIdInUse", "A file already exists with the provided ID."),
    Known {
        reason: "conditionNotMet",
        message: "Precondition Failed",
        location: header("If-Match"),
    },
];

/// What Google sends with a reason, if it is one of the known ones.
pub(crate) fn known(reason: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.reason == reason)
}
