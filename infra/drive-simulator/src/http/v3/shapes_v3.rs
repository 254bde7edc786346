//! The member names of each resource, generated from Google's discovery document (drive v3,
//! revision 20261106). They decide which `fields` selections are valid and which members a body may
//! have.

use crate::fields::Shape;

/// `FileCapabilities`.
pub(crate) static FILE_CAPABILITIES: Shape = Shape {
    leaves: "canAcceptOwnership canAccessViaGenAi canAddChildren canAddFolderFromAnotherDrive \
             canAddMyDriveParent canChangeCopyRequiresWriterPermission \
             canChangeItemDownloadRestriction canChangeSecurityUpdateEnabled \
             canChangeViewersCanCopyContent canComment canCopy canDelete canDeleteChildren \
             canDisableInheritedPermissions canDownload canEdit canEnableInheritedPermissions \
             canListChildren canModifyContent canModifyContentRestriction \
             canModifyEditorContentRestriction canModifyLabels canModifyOwnerContentRestriction \
             canMoveChildrenOutOfDrive canMoveChildrenOutOfTeamDrive canMoveChildrenWithinDrive \
             canMoveChildrenWithinTeamDrive canMoveItemIntoTeamDrive canMoveItemOutOfDrive \
             canMoveItemOutOfTeamDrive canMoveItemWithinDrive canMoveItemWithinTeamDrive \
             canMoveTeamDriveItem canReadDrive canReadLabels canReadRevisions canReadTeamDrive \
             canRemoveChildren canRemoveContentRestriction canRemoveMyDriveParent canRename \
             canShare canStartApproval canTrash canTrashChildren canUntrash",
    parts: &[],
};

/// `User`.
pub(crate) static USER: Shape = Shape {
    leaves: "displayName emailAddress kind me permissionId photoLink",
    parts: &[],
};

/// `ContentRestriction`.
pub(crate) static CONTENT_RESTRICTION: Shape = Shape {
    leaves: "ownerRestricted readOnly reason restrictionTime systemRestricted type",
    parts: &[("restrictingUser", &USER)],
};

/// `Label`.
pub(crate) static LABEL: Shape = Shape {
    leaves: "fields id kind revisionId",
    parts: &[],
};

/// `FileLabelInfo`.
pub(crate) static FILE_LABEL_INFO: Shape = Shape {
    leaves: "",
    parts: &[("labels", &LABEL)],
};

/// `LabelList`.
pub(crate) static LABEL_LIST: Shape = Shape {
    leaves: "kind nextPageToken",
    parts: &[("labels", &LABEL)],
};

/// `ModifyLabelsRequest`.
pub(crate) static MODIFY_LABELS_REQUEST: Shape = Shape {
    leaves: "kind labelModifications",
    parts: &[],
};

/// `ModifyLabelsResponse`.
pub(crate) static MODIFY_LABELS_RESPONSE: Shape = Shape {
    leaves: "kind",
    parts: &[("modifiedLabels", &LABEL)],
};

/// `FileLinkShareMetadata`.
pub(crate) static FILE_LINK_SHARE_METADATA: Shape = Shape {
    leaves: "securityUpdateEligible securityUpdateEnabled",
    parts: &[],
};

/// `PermissionPermissionDetails`.
pub(crate) static PERMISSION_PERMISSION_DETAILS: Shape = Shape {
    leaves: "inherited inheritedFrom permissionType role",
    parts: &[],
};

/// `PermissionTeamDrivePermissionDetails`.
pub(crate) static PERMISSION_TEAM_DRIVE_PERMISSION_DETAILS: Shape = Shape {
    leaves: "inherited inheritedFrom role teamDrivePermissionType",
    parts: &[],
};

/// `Permission`.
pub(crate) static PERMISSION: Shape = Shape {
    leaves: "allowFileDiscovery deleted displayName domain emailAddress expirationTime id \
             inheritedPermissionsDisabled kind pendingOwner photoLink role type view",
    parts: &[
        ("permissionDetails", &PERMISSION_PERMISSION_DETAILS),
        (
            "teamDrivePermissionDetails",
            &PERMISSION_TEAM_DRIVE_PERMISSION_DETAILS,
        ),
    ],
};

/// `FileShortcutDetails`.
pub(crate) static FILE_SHORTCUT_DETAILS: Shape = Shape {
    leaves: "targetId targetMimeType targetResourceKey",
    parts: &[],
};

/// `File`.
pub(crate) static FILE: Shape = Shape {
    leaves: "appProperties clientEncryptionDetails contentHints copyRequiresWriterPermission \
             createdTime description downloadRestrictions driveId explicitlyTrashed exportLinks \
             fileExtension folderColorRgb fullFileExtension hasAugmentedPermissions hasThumbnail \
             headRevisionId iconLink id imageMediaMetadata inheritedPermissionsDisabled \
             isAppAuthorized kind md5Checksum mimeType modifiedByMe modifiedByMeTime modifiedTime \
             name originalFilename ownedByMe parents permissionIds properties quotaBytesUsed \
             resourceKey sha1Checksum sha256Checksum shared sharedWithMeTime size spaces starred \
             teamDriveId thumbnailLink thumbnailVersion trashed trashedTime version \
             videoMediaMetadata viewedByMe viewedByMeTime viewersCanCopyContent webContentLink \
             webViewLink writersCanShare",
    parts: &[
        ("capabilities", &FILE_CAPABILITIES),
        ("contentRestrictions", &CONTENT_RESTRICTION),
        ("labelInfo", &FILE_LABEL_INFO),
        ("lastModifyingUser", &USER),
        ("linkShareMetadata", &FILE_LINK_SHARE_METADATA),
        ("owners", &USER),
        ("permissions", &PERMISSION),
        ("sharingUser", &USER),
        ("shortcutDetails", &FILE_SHORTCUT_DETAILS),
        ("trashingUser", &USER),
    ],
};

/// `FileList`.
pub(crate) static FILE_LIST: Shape = Shape {
    leaves: "incompleteSearch kind nextPageToken",
    parts: &[("files", &FILE)],
};

/// `DriveBackgroundImageFile`.
pub(crate) static DRIVE_BACKGROUND_IMAGE_FILE: Shape = Shape {
    leaves: "id width xCoordinate yCoordinate",
    parts: &[],
};

/// `DriveCapabilities`.
pub(crate) static DRIVE_CAPABILITIES: Shape = Shape {
    leaves: "canAddChildren canChangeCopyRequiresWriterPermissionRestriction \
             canChangeDomainUsersOnlyRestriction canChangeDownloadRestriction \
             canChangeDriveBackground canChangeDriveMembersOnlyRestriction \
             canChangeSharingFoldersRequiresOrganizerPermissionRestriction canComment canCopy \
             canDeleteChildren canDeleteDrive canDownload canEdit canListChildren canManageMembers \
             canReadRevisions canRename canRenameDrive canResetDriveRestrictions canShare \
             canTrashChildren",
    parts: &[],
};

/// `Drive`.
pub(crate) static DRIVE: Shape = Shape {
    leaves: "backgroundImageLink colorRgb createdTime hidden id kind name orgUnitId restrictions \
             themeId",
    parts: &[
        ("backgroundImageFile", &DRIVE_BACKGROUND_IMAGE_FILE),
        ("capabilities", &DRIVE_CAPABILITIES),
    ],
};

/// `Change`.
pub(crate) static CHANGE: Shape = Shape {
    leaves: "changeType driveId fileId kind removed teamDrive teamDriveId time type",
    parts: &[("drive", &DRIVE), ("file", &FILE)],
};

/// `ChangeList`.
pub(crate) static CHANGE_LIST: Shape = Shape {
    leaves: "kind newStartPageToken nextPageToken",
    parts: &[("changes", &CHANGE)],
};

/// `StartPageToken`.
pub(crate) static START_PAGE_TOKEN: Shape = Shape {
    leaves: "kind startPageToken",
    parts: &[],
};

/// `Channel`.
pub(crate) static CHANNEL: Shape = Shape {
    leaves: "address expiration id kind params payload resourceId resourceUri token type",
    parts: &[],
};

/// `DriveList`.
pub(crate) static DRIVE_LIST: Shape = Shape {
    leaves: "kind nextPageToken",
    parts: &[("drives", &DRIVE)],
};

/// `PermissionList`.
pub(crate) static PERMISSION_LIST: Shape = Shape {
    leaves: "kind nextPageToken",
    parts: &[("permissions", &PERMISSION)],
};

/// `AboutDriveThemes`.
pub(crate) static ABOUT_DRIVE_THEMES: Shape = Shape {
    leaves: "backgroundImageLink colorRgb id",
    parts: &[],
};

/// `AboutStorageQuota`.
pub(crate) static ABOUT_STORAGE_QUOTA: Shape = Shape {
    leaves: "limit usage usageInDrive usageInDriveTrash",
    parts: &[],
};

/// `AboutTeamDriveThemes`.
pub(crate) static ABOUT_TEAM_DRIVE_THEMES: Shape = Shape {
    leaves: "backgroundImageLink colorRgb id",
    parts: &[],
};

/// `About`.
pub(crate) static ABOUT: Shape = Shape {
    leaves: "appInstalled canCreateDrives canCreateTeamDrives exportFormats folderColorPalette \
             importFormats kind maxImportSizes maxUploadSize",
    parts: &[
        ("driveThemes", &ABOUT_DRIVE_THEMES),
        ("storageQuota", &ABOUT_STORAGE_QUOTA),
        ("teamDriveThemes", &ABOUT_TEAM_DRIVE_THEMES),
        ("user", &USER),
    ],
};

/// `GeneratedIds`.
pub(crate) static GENERATED_IDS: Shape = Shape {
    leaves: "ids kind space",
    parts: &[],
};

/// `Revision`.
pub(crate) static REVISION: Shape = Shape {
    leaves: "exportLinks id keepForever kind md5Checksum mimeType modifiedTime originalFilename \
             publishAuto published publishedLink publishedOutsideDomain size",
    parts: &[("lastModifyingUser", &USER)],
};

/// `RevisionList`.
pub(crate) static REVISION_LIST: Shape = Shape {
    leaves: "kind nextPageToken",
    parts: &[("revisions", &REVISION)],
};

/// `Status`.
pub(crate) static STATUS: Shape = Shape {
    leaves: "code details message",
    parts: &[],
};

/// `Operation`.
pub(crate) static OPERATION: Shape = Shape {
    leaves: "done metadata name response",
    parts: &[("error", &STATUS)],
};
