//! Google's message and location for each error reason, used by faults.

use crate::errors::Location;

/// The message and the location that Google sends with a reason.
#[derive(Debug)]
pub(crate) struct ReasonText {
    pub(crate) reason: &'static str,
    pub(crate) message: &'static str,
    pub(crate) location: Option<Location>,
}

impl ReasonText {
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

/// The reasons whose message or location a client may read. Source: the Drive guide "Resolve
/// errors" and, for those it omits, reports of client developers.
static REASON_TEXTS: [ReasonText; 32] = [
    ReasonText::plain("badRequest", "Bad Request"),
    ReasonText::plain("invalid", "Invalid Value"),
    ReasonText::plain("invalidParameter", "Invalid parameter"),
    ReasonText::plain("invalidSharingRequest", "Bad Request. User message: \"\""),
    ReasonText {
        reason: "authError",
        message: "Invalid Credentials",
        location: header("Authorization"),
    },
    ReasonText::plain("rateLimitExceeded", "Rate Limit Exceeded"),
    ReasonText::plain("userRateLimitExceeded", "User Rate Limit Exceeded"),
    ReasonText::plain("dailyLimitExceeded", "Daily Limit Exceeded"),
    ReasonText::plain(
        "sharingRateLimitExceeded",
        "Rate limit exceeded. User message: \"These item(s) could not be shared because a rate \
         limit was exceeded\"",
    ),
    ReasonText::plain(
        "subscriptionRateLimitExceeded",
        "Rate limit exceeded for creating file subscriptions.",
    ),
    ReasonText::plain(
        "storageQuotaExceeded",
        "The user's Drive storage quota has been exceeded.",
    ),
    ReasonText::plain(
        "activeItemCreationLimitExceeded",
        "This account has exceeded the creation limit of items.",
    ),
    ReasonText::plain(
        "numChildrenInNonRootLimitExceeded",
        "The limit for this folder's number of children (files and folders) has been exceeded.",
    ),
    ReasonText::plain(
        "teamDriveFileLimitExceeded",
        "The file limit for this shared drive has been exceeded.",
    ),
    ReasonText::plain(
        "myDriveHierarchyDepthLimitExceeded",
        "Your My Drive can't contain more than 100 levels of folders.",
    ),
    ReasonText::plain(
        "teamDriveHierarchyTooDeep",
        "The shared drive hierarchy depth will exceed the limit.",
    ),
    ReasonText::plain(
        "insufficientFilePermissions",
        "The user does not have sufficient permissions for this file.",
    ),
    ReasonText::plain(
        "appNotAuthorizedToFile",
        "The user has not granted the app access to the file.",
    ),
    ReasonText::plain(
        "domainPolicy",
        "The domain administrators have disabled Drive apps.",
    ),
    ReasonText::plain(
        "teamDriveMembershipRequired",
        "The attempted action requires shared drive membership.",
    ),
    ReasonText::plain(
        "cannotModifyInheritedTeamDrivePermission",
        "Cannot update or delete an inherited permission on a shared drive item.",
    ),
    ReasonText::plain(
        "fileWriterTeamDriveMoveInDisabled",
        "The domain administrator has not allowed writers to move items into a shared drive.",
    ),
    ReasonText::plain(
        "fileOwnerNotMemberOfTeamDrive",
        "The owner of the file is not a member of the shared drive.",
    ),
    ReasonText::plain(
        "teamDrivesFolderMoveInNotSupported",
        "Moving folders into shared drives is not supported.",
    ),
    ReasonText::plain(
        "teamDrivesParentLimit",
        "A shared drive item must have exactly one parent.",
    ),
    ReasonText::plain(
        "exportSizeLimitExceeded",
        "This file is too large to be exported.",
    ),
    ReasonText::plain(
        "fileNotExportable",
        "Export only supports Docs Editors files.",
    ),
    ReasonText::plain(
        "fileNotDownloadable",
        "Only files with binary content can be directly downloaded. Use Export with Docs Editors \
         files.",
    ),
    ReasonText::plain(
        "cannotExportFile",
        "This file cannot be exported by the user.",
    ),
    ReasonText::plain("notFound", "File not found."),
    ReasonText::plain("fileIdInUse", "A file already exists with the provided ID."),
    ReasonText {
        reason: "conditionNotMet",
        message: "Precondition Failed",
        location: header("If-Match"),
    },
];

/// Looks up Google's texts for a reason.
pub(crate) fn reason_text(reason: &str) -> Option<&'static ReasonText> {
    REASON_TEXTS.iter().find(|text| text.reason == reason)
}
