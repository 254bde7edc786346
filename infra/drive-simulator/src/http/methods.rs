//! The methods that are there, with the parameters that Google's discovery documents give them and what they cost.

use crate::{
    fields::Shape,
    http::{shapes_content, shapes_v2, shapes_v3},
};

/// A method of the Drive API.
#[derive(Debug)]
pub(crate) struct Method {
    /// Its name in the discovery document; `v2.` before it for those of v2.
    pub(crate) name: &'static str,
    /// What one call costs, in quota units.
    pub(crate) units: u64,
    /// Its query parameters, beyond those that every method has.
    pub(crate) params: &'static str,
    /// The resource that it answers with.
    pub(crate) shape: Option<&'static Shape>,
    /// The selection when the call names none.
    pub(crate) default_fields: &'static str,
    /// Whether it answers with nothing but bytes.
    pub(crate) media: bool,
}

/// The cost of a list.
const LIST: u64 = 100;
/// The cost of a write.
const EDIT: u64 = 50;
/// The cost of content.
const DOWNLOAD: u64 = super::DOWNLOAD_UNITS;
/// The cost of everything else.
const OTHER: u64 = 5;

/// The members of a file that v3 sends unasked.
const FILE: &str = "kind,id,name,mimeType,resourceKey";

/// The members of a revision that v3 sends unasked.
const REVISION: &str = "kind,id,mimeType,modifiedTime";

/// Defines a method.
macro_rules! method {
    ($name:ident, $path:literal, $units:expr, $shape:expr, $fields:expr, $params:literal) => {
        #[doc = concat!("`", $path, "`.")]
        pub(crate) static $name: Method = Method {
            name: $path,
            units: $units,
            params: $params,
            shape: $shape,
            default_fields: $fields,
            media: false,
        };
    };
}

method!(
    FILES_LIST,
    "files.list",
    LIST,
    Some(&shapes_v3::FILE_LIST),
    "kind,nextPageToken,incompleteSearch,files(kind,id,name,mimeType,resourceKey)",
    "corpora corpus driveId includeItemsFromAllDrives includeLabels includePermissionsForView includeTeamDriveItems \
     orderBy pageSize pageToken q spaces supportsAllDrives supportsTeamDrives teamDriveId"
);
method!(
    FILES_GET,
    "files.get",
    OTHER,
    Some(&shapes_v3::FILE),
    FILE,
    "acknowledgeAbuse includeLabels includePermissionsForView supportsAllDrives supportsTeamDrives"
);
method!(
    FILES_CREATE,
    "files.create",
    EDIT,
    Some(&shapes_v3::FILE),
    FILE,
    "enforceSingleParent ignoreDefaultVisibility includeLabels includePermissionsForView keepRevisionForever \
     ocrLanguage supportsAllDrives supportsTeamDrives useContentAsIndexableText"
);
method!(
    FILES_UPDATE,
    "files.update",
    EDIT,
    Some(&shapes_v3::FILE),
    FILE,
    "addParents enforceSingleParent includeLabels includePermissionsForView keepRevisionForever ocrLanguage \
     removeParents supportsAllDrives supportsTeamDrives useContentAsIndexableText"
);
method!(
    FILES_COPY,
    "files.copy",
    EDIT,
    Some(&shapes_v3::FILE),
    FILE,
    "copyComments enforceSingleParent ignoreDefaultVisibility includeLabels includePermissionsForView \
     keepRevisionForever ocrLanguage supportsAllDrives supportsTeamDrives"
);
method!(
    FILES_DELETE,
    "files.delete",
    EDIT,
    None,
    "*",
    "enforceSingleParent supportsAllDrives supportsTeamDrives"
);
method!(
    FILES_GENERATE_IDS,
    "files.generateIds",
    OTHER,
    Some(&shapes_v3::GENERATED_IDS),
    "*",
    "count space type"
);
method!(
    FILES_EMPTY_TRASH,
    "files.emptyTrash",
    EDIT,
    None,
    "*",
    "driveId enforceSingleParent"
);
method!(
    FILES_WATCH,
    "files.watch",
    OTHER,
    Some(&shapes_v3::CHANNEL),
    "*",
    "acknowledgeAbuse includeLabels includePermissionsForView supportsAllDrives supportsTeamDrives"
);
method!(
    CHANGES_START,
    "changes.getStartPageToken",
    OTHER,
    Some(&shapes_v3::START_PAGE_TOKEN),
    "*",
    "driveId supportsAllDrives supportsTeamDrives teamDriveId"
);
method!(
    CHANGES_LIST,
    "changes.list",
    LIST,
    Some(&shapes_v3::CHANGE_LIST),
    "kind,nextPageToken,newStartPageToken,changes(kind,type,changeType,time,removed,fileId,driveId,\
     file(kind,id,name,mimeType,resourceKey),drive(kind,id,name))",
    "driveId includeCorpusRemovals includeItemsFromAllDrives includeLabels includePermissionsForView includeRemoved \
     includeTeamDriveItems pageSize pageToken restrictToMyDrive spaces supportsAllDrives supportsTeamDrives teamDriveId"
);
method!(
    CHANGES_WATCH,
    "changes.watch",
    OTHER,
    Some(&shapes_v3::CHANNEL),
    "*",
    "driveId includeCorpusRemovals includeItemsFromAllDrives includeLabels includePermissionsForView includeRemoved \
     includeTeamDriveItems pageSize pageToken restrictToMyDrive spaces supportsAllDrives supportsTeamDrives teamDriveId"
);
method!(CHANNELS_STOP, "channels.stop", OTHER, None, "*", "");
method!(
    DRIVES_LIST,
    "drives.list",
    LIST,
    Some(&shapes_v3::DRIVE_LIST),
    "kind,nextPageToken,drives(kind,id,name)",
    "pageSize pageToken q useDomainAdminAccess"
);
method!(
    DRIVES_GET,
    "drives.get",
    OTHER,
    Some(&shapes_v3::DRIVE),
    "kind,id,name",
    "useDomainAdminAccess"
);
method!(
    DRIVES_CREATE,
    "drives.create",
    EDIT,
    Some(&shapes_v3::DRIVE),
    "kind,id,name",
    "requestId"
);
method!(
    DRIVES_UPDATE,
    "drives.update",
    EDIT,
    Some(&shapes_v3::DRIVE),
    "kind,id,name",
    "useDomainAdminAccess"
);
method!(
    DRIVES_DELETE,
    "drives.delete",
    EDIT,
    None,
    "*",
    "allowItemDeletion useDomainAdminAccess"
);
method!(
    DRIVES_HIDE,
    "drives.hide",
    EDIT,
    Some(&shapes_v3::DRIVE),
    "kind,id,name",
    ""
);
method!(
    DRIVES_UNHIDE,
    "drives.unhide",
    EDIT,
    Some(&shapes_v3::DRIVE),
    "kind,id,name",
    ""
);
method!(
    PERMISSIONS_LIST,
    "permissions.list",
    LIST,
    Some(&shapes_v3::PERMISSION_LIST),
    "kind,nextPageToken,permissions(kind,id,type,role)",
    "includePermissionsForView pageSize pageToken supportsAllDrives supportsTeamDrives useDomainAdminAccess"
);
method!(
    PERMISSIONS_GET,
    "permissions.get",
    OTHER,
    Some(&shapes_v3::PERMISSION),
    "kind,id,type,role",
    "supportsAllDrives supportsTeamDrives useDomainAdminAccess"
);
method!(
    PERMISSIONS_CREATE,
    "permissions.create",
    EDIT,
    Some(&shapes_v3::PERMISSION),
    "kind,id,type,role",
    "emailMessage enforceExpansiveAccess enforceSingleParent moveToNewOwnersRoot sendNotificationEmail \
     supportsAllDrives supportsTeamDrives transferOwnership useDomainAdminAccess"
);
method!(
    PERMISSIONS_UPDATE,
    "permissions.update",
    EDIT,
    Some(&shapes_v3::PERMISSION),
    "kind,id,type,role",
    "enforceExpansiveAccess removeExpiration supportsAllDrives supportsTeamDrives transferOwnership useDomainAdminAccess"
);
method!(
    PERMISSIONS_DELETE,
    "permissions.delete",
    EDIT,
    None,
    "*",
    "enforceExpansiveAccess supportsAllDrives supportsTeamDrives useDomainAdminAccess"
);
method!(
    ABOUT_GET,
    "about.get",
    OTHER,
    Some(&shapes_v3::ABOUT),
    "*",
    ""
);
method!(
    V2_FILES_GET,
    "v2.files.get",
    OTHER,
    Some(&shapes_v2::FILE),
    "*",
    "acknowledgeAbuse includeLabels includePermissionsForView projection revisionId supportsAllDrives \
     supportsTeamDrives updateViewedDate"
);
method!(
    V2_FILES_DELETE,
    "v2.files.delete",
    EDIT,
    None,
    "*",
    "enforceSingleParent supportsAllDrives supportsTeamDrives"
);
method!(
    V2_FILES_PATCH,
    "v2.files.patch",
    EDIT,
    Some(&shapes_v2::FILE),
    "*",
    "addParents convert enforceSingleParent includeLabels includePermissionsForView modifiedDateBehavior newRevision \
     ocr ocrLanguage pinned removeParents setModifiedDate supportsAllDrives supportsTeamDrives timedTextLanguage \
     timedTextTrackName updateViewedDate useContentAsIndexableText"
);
method!(
    V2_FILES_UPDATE,
    "v2.files.update",
    EDIT,
    Some(&shapes_v2::FILE),
    "*",
    "addParents convert enforceSingleParent includeLabels includePermissionsForView modifiedDateBehavior newRevision \
     ocr ocrLanguage pinned removeParents setModifiedDate supportsAllDrives supportsTeamDrives timedTextLanguage \
     timedTextTrackName updateViewedDate useContentAsIndexableText"
);

method!(
    REVISIONS_LIST,
    "revisions.list",
    LIST,
    Some(&shapes_content::REVISION_LIST),
    "kind,nextPageToken,revisions(kind,id,mimeType,modifiedTime)",
    "pageSize pageToken"
);
method!(
    REVISIONS_GET,
    "revisions.get",
    OTHER,
    Some(&shapes_content::REVISION),
    REVISION,
    "acknowledgeAbuse"
);
method!(
    REVISIONS_UPDATE,
    "revisions.update",
    EDIT,
    Some(&shapes_content::REVISION),
    REVISION,
    ""
);
method!(REVISIONS_DELETE, "revisions.delete", EDIT, None, "*", "");
method!(
    FILES_DOWNLOAD,
    "files.download",
    DOWNLOAD,
    Some(&shapes_content::OPERATION),
    "*",
    "mimeType revisionId"
);
method!(
    OPERATIONS_GET,
    "operations.get",
    OTHER,
    Some(&shapes_content::OPERATION),
    "*",
    ""
);
/// `files.export`.
pub(crate) static FILES_EXPORT: Method = Method {
    name: "files.export",
    units: DOWNLOAD,
    params: "mimeType",
    shape: None,
    default_fields: "*",
    media: true,
};
/// The content of a finished operation, at the address that it names.
pub(crate) static OPERATIONS_MEDIA: Method = Method {
    name: "operations.media",
    units: 0,
    params: "",
    shape: None,
    default_fields: "*",
    media: true,
};
