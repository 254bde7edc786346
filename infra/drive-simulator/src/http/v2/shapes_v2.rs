//! The member names of each resource, generated from Google's discovery document (drive v2,
//! revision 20260916). They decide which `fields` selections are valid and which members a body may
//! have.

use crate::{
    fields::Shape,
    http::v3::shapes_v3::{FILE_LABEL_INFO, FILE_LINK_SHARE_METADATA, FILE_SHORTCUT_DETAILS},
};

/// `FileCapabilities`.
pub(crate) static FILE_CAPABILITIES: Shape = Shape {
    leaves: "canAcceptOwnership canAddChildren canAddFolderFromAnotherDrive canAddMyDriveParent \
             canChangeCopyRequiresWriterPermission canChangeRestrictedDownload \
             canChangeSecurityUpdateEnabled canComment canCopy canDelete canDeleteChildren \
             canDisableInheritedPermissions canDownload canEdit canEnableInheritedPermissions \
             canListChildren canModifyContent canModifyContentRestriction \
             canModifyEditorContentRestriction canModifyLabels canModifyOwnerContentRestriction \
             canMoveChildrenOutOfDrive canMoveChildrenOutOfTeamDrive canMoveChildrenWithinDrive \
             canMoveChildrenWithinTeamDrive canMoveItemIntoTeamDrive canMoveItemOutOfDrive \
             canMoveItemOutOfTeamDrive canMoveItemWithinDrive canMoveItemWithinTeamDrive \
             canMoveTeamDriveItem canReadDrive canReadLabels canReadRevisions canReadTeamDrive \
             canRemoveChildren canRemoveContentRestriction canRemoveMyDriveParent canRename \
             canShare canTrash canTrashChildren canUntrash",
    parts: &[],
};

/// `UserPicture`.
pub(crate) static USER_PICTURE: Shape = Shape {
    leaves: "url",
    parts: &[],
};

/// `User`.
pub(crate) static USER: Shape = Shape {
    leaves: "displayName emailAddress isAuthenticatedUser kind permissionId",
    parts: &[("picture", &USER_PICTURE)],
};

/// `ContentRestriction`.
pub(crate) static CONTENT_RESTRICTION: Shape = Shape {
    leaves: "ownerRestricted readOnly reason restrictionDate systemRestricted type",
    parts: &[("restrictingUser", &USER)],
};

/// `FileLabels`.
pub(crate) static FILE_LABELS: Shape = Shape {
    leaves: "hidden modified restricted starred trashed viewed",
    parts: &[],
};

/// `ParentReference`.
pub(crate) static PARENT_REFERENCE: Shape = Shape {
    leaves: "id isRoot kind parentLink selfLink",
    parts: &[],
};

/// `PermissionPermissionDetails`.
pub(crate) static PERMISSION_PERMISSION_DETAILS: Shape = Shape {
    leaves: "additionalRoles inherited inheritedFrom permissionType role",
    parts: &[],
};

/// `PermissionTeamDrivePermissionDetails`.
pub(crate) static PERMISSION_TEAM_DRIVE_PERMISSION_DETAILS: Shape = Shape {
    leaves: "additionalRoles inherited inheritedFrom role teamDrivePermissionType",
    parts: &[],
};

/// `Permission`.
pub(crate) static PERMISSION: Shape = Shape {
    leaves: "additionalRoles authKey deleted domain emailAddress etag expirationDate id \
             inheritedPermissionsDisabled kind name pendingOwner photoLink role selfLink type \
             value view withLink",
    parts: &[
        ("permissionDetails", &PERMISSION_PERMISSION_DETAILS),
        (
            "teamDrivePermissionDetails",
            &PERMISSION_TEAM_DRIVE_PERMISSION_DETAILS,
        ),
    ],
};

/// `Property`.
pub(crate) static PROPERTY: Shape = Shape {
    leaves: "etag key kind selfLink value visibility",
    parts: &[],
};

/// `FileThumbnail`.
pub(crate) static FILE_THUMBNAIL: Shape = Shape {
    leaves: "image mimeType",
    parts: &[],
};

/// `FileList`.
pub(crate) static FILE_LIST: Shape = Shape {
    leaves: "etag incompleteSearch kind nextLink nextPageToken selfLink",
    parts: &[("items", &FILE)],
};

/// `File`.
pub(crate) static FILE: Shape = Shape {
    leaves: "alternateLink appDataContents canComment canReadRevisions clientEncryptionDetails \
             copyRequiresWriterPermission copyable createdDate defaultOpenWithLink description \
             downloadUrl driveId editable embedLink etag explicitlyTrashed exportLinks \
             fileExtension fileSize folderColorRgb fullFileExtension hasAugmentedPermissions \
             hasThumbnail headRevisionId iconLink id imageMediaMetadata indexableText \
             inheritedPermissionsDisabled isAppAuthorized kind lastModifyingUserName \
             lastViewedByMeDate markedViewedByMeDate md5Checksum mimeType modifiedByMeDate \
             modifiedDate openWithLinks originalFilename ownedByMe ownerNames permissionIds \
             quotaBytesUsed resourceKey selfLink sha1Checksum sha256Checksum shareable shared \
             sharedWithMeDate spaces teamDriveId thumbnailLink thumbnailVersion title trashedDate \
             version videoMediaMetadata webContentLink webViewLink writersCanShare",
    parts: &[
        ("capabilities", &FILE_CAPABILITIES),
        ("contentRestrictions", &CONTENT_RESTRICTION),
        ("labelInfo", &FILE_LABEL_INFO),
        ("labels", &FILE_LABELS),
        ("lastModifyingUser", &USER),
        ("linkShareMetadata", &FILE_LINK_SHARE_METADATA),
        ("owners", &USER),
        ("parents", &PARENT_REFERENCE),
        ("permissions", &PERMISSION),
        ("properties", &PROPERTY),
        ("sharingUser", &USER),
        ("shortcutDetails", &FILE_SHORTCUT_DETAILS),
        ("thumbnail", &FILE_THUMBNAIL),
        ("trashingUser", &USER),
        ("userPermission", &PERMISSION),
    ],
};
