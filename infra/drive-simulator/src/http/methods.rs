//! The supported methods with their costs and, from Google's discovery documents, their parameters.

use crate::{
    fields::Shape,
    http::{v2::shapes_v2 as v2, v3::shapes_v3 as v3},
};

/// A method of the Drive API.
#[derive(Debug)]
pub(crate) struct Method {
    /// The name in the discovery document; prefixed by `v2.` for methods of v2.
    pub(crate) name: &'static str,
    /// The cost of a call, in quota units.
    pub(crate) units: u64,
    /// The query parameters, beyond those that all methods share.
    pub(crate) params: &'static str,
    /// The resource of the response.
    pub(crate) shape: Option<&'static Shape>,
    /// The field selection of a call without `fields`.
    pub(crate) default_fields: &'static str,
    /// The response is always binary content.
    pub(crate) media: bool,
}

/// The cost of a list.
const LIST: u64 = 100;
/// The cost of a write.
const EDIT: u64 = 50;
/// The cost of content, including a `get` with `alt=media`.
pub(crate) const DOWNLOAD: u64 = 200;
/// The cost of anything else.
const OTHER: u64 = 5;

/// The members of a file that v3 sends by default.
const FILE: &str = "kind,id,name,mimeType,resourceKey";

/// The members of a revision that v3 sends by default.
const REVISION: &str = "kind,id,mimeType,modifiedTime";

/// The members of a shared drive that v3 sends by default.
const DRIVE: &str = "kind,id,name";

/// The members of a permission that v3 sends by default.
const PERMISSION: &str = "kind,id,type,role";

/// The parameters of `changes.list` and `changes.watch`.
const CHANGES_PARAMS: &str = "driveId includeCorpusRemovals includeItemsFromAllDrives \
                              includeLabels includePermissionsForView includeRemoved \
                              includeTeamDriveItems pageSize pageToken restrictToMyDrive spaces \
                              supportsAllDrives supportsTeamDrives teamDriveId";

/// The parameters of `v2.files.patch` and `v2.files.update`.
const V2_WRITE_PARAMS: &str = "addParents convert enforceSingleParent includeLabels \
                               includePermissionsForView modifiedDateBehavior newRevision ocr \
                               ocrLanguage pinned removeParents setModifiedDate supportsAllDrives \
                               supportsTeamDrives timedTextLanguage timedTextTrackName \
                               updateViewedDate useContentAsIndexableText";

/// Defines the methods: name, quota units, resource, default fields, query parameters.
macro_rules! methods {
    ($($name:ident: $path:literal, $units:expr, $shape:expr, $fields:expr, $params:expr;)*) => {$(
        #[doc = concat!("`", $path, "`.")]
        pub(crate) static $name: Method = Method {
            name: $path,
            units: $units,
            params: $params,
            shape: $shape,
            default_fields: $fields,
            media: false,
        };
    )*};
}

methods! {
    FILES_LIST: "files.list", LIST, Some(&v3::FILE_LIST),
        "kind,nextPageToken,incompleteSearch,files(kind,id,name,mimeType,resourceKey)",
        "corpora corpus driveId includeItemsFromAllDrives includeLabels includePermissionsForView \
         includeTeamDriveItems orderBy pageSize pageToken q spaces supportsAllDrives \
         supportsTeamDrives teamDriveId";
    FILES_GET: "files.get", OTHER, Some(&v3::FILE), FILE,
        "acknowledgeAbuse includeLabels includePermissionsForView supportsAllDrives \
         supportsTeamDrives";
    FILES_CREATE: "files.create", EDIT, Some(&v3::FILE), FILE,
        "enforceSingleParent ignoreDefaultVisibility includeLabels includePermissionsForView \
         keepRevisionForever ocrLanguage supportsAllDrives supportsTeamDrives \
         useContentAsIndexableText";
    FILES_UPDATE: "files.update", EDIT, Some(&v3::FILE), FILE,
        "addParents enforceSingleParent includeLabels includePermissionsForView \
         keepRevisionForever ocrLanguage removeParents supportsAllDrives supportsTeamDrives \
         useContentAsIndexableText";
    FILES_COPY: "files.copy", EDIT, Some(&v3::FILE), FILE,
        "copyComments enforceSingleParent ignoreDefaultVisibility includeLabels \
         includePermissionsForView keepRevisionForever ocrLanguage supportsAllDrives \
         supportsTeamDrives";
    FILES_DELETE: "files.delete", EDIT, None, "*",
        "enforceSingleParent supportsAllDrives supportsTeamDrives";
    FILES_GENERATE_IDS: "files.generateIds", OTHER, Some(&v3::GENERATED_IDS), "*",
        "count space type";
    FILES_EMPTY_TRASH: "files.emptyTrash", EDIT, None, "*", "driveId enforceSingleParent";
    FILES_WATCH: "files.watch", OTHER, Some(&v3::CHANNEL), "*",
        "acknowledgeAbuse includeLabels includePermissionsForView supportsAllDrives \
         supportsTeamDrives";
    FILES_LIST_LABELS: "files.listLabels", LIST, Some(&v3::LABEL_LIST), "*",
        "maxResults pageToken";
    FILES_MODIFY_LABELS: "files.modifyLabels", EDIT, Some(&v3::MODIFY_LABELS_RESPONSE), "*", "";
    V2_FILES_LIST_LABELS: "v2.files.listLabels", LIST, Some(&v3::LABEL_LIST), "*",
        "maxResults pageToken";
    V2_FILES_MODIFY_LABELS: "v2.files.modifyLabels", EDIT, Some(&v3::MODIFY_LABELS_RESPONSE), "*",
        "";
    CHANGES_START: "changes.getStartPageToken", OTHER, Some(&v3::START_PAGE_TOKEN), "*",
        "driveId supportsAllDrives supportsTeamDrives teamDriveId";
    CHANGES_LIST: "changes.list", LIST, Some(&v3::CHANGE_LIST),
        "kind,nextPageToken,newStartPageToken,changes(kind,type,changeType,time,removed,\
         fileId,driveId,file(kind,id,name,mimeType,resourceKey),drive(kind,id,name))",
        CHANGES_PARAMS;
    CHANGES_WATCH: "changes.watch", OTHER, Some(&v3::CHANNEL), "*", CHANGES_PARAMS;
    CHANNELS_STOP: "channels.stop", OTHER, None, "*", "";
    DRIVES_LIST: "drives.list", LIST, Some(&v3::DRIVE_LIST),
        "kind,nextPageToken,drives(kind,id,name)",
        "pageSize pageToken q useDomainAdminAccess";
    DRIVES_GET: "drives.get", OTHER, Some(&v3::DRIVE), DRIVE, "useDomainAdminAccess";
    DRIVES_CREATE: "drives.create", EDIT, Some(&v3::DRIVE), DRIVE, "requestId";
    DRIVES_UPDATE: "drives.update", EDIT, Some(&v3::DRIVE), DRIVE, "useDomainAdminAccess";
    DRIVES_DELETE: "drives.delete", EDIT, None, "*", "allowItemDeletion useDomainAdminAccess";
    DRIVES_HIDE: "drives.hide", EDIT, Some(&v3::DRIVE), DRIVE, "";
    DRIVES_UNHIDE: "drives.unhide", EDIT, Some(&v3::DRIVE), DRIVE, "";
    PERMISSIONS_LIST: "permissions.list", LIST, Some(&v3::PERMISSION_LIST),
        "kind,nextPageToken,permissions(kind,id,type,role)",
        "includePermissionsForView pageSize pageToken supportsAllDrives supportsTeamDrives \
         useDomainAdminAccess";
    PERMISSIONS_GET: "permissions.get", OTHER, Some(&v3::PERMISSION), PERMISSION,
        "supportsAllDrives supportsTeamDrives useDomainAdminAccess";
    PERMISSIONS_CREATE: "permissions.create", EDIT, Some(&v3::PERMISSION), PERMISSION,
        "emailMessage enforceExpansiveAccess enforceSingleParent moveToNewOwnersRoot \
         sendNotificationEmail supportsAllDrives supportsTeamDrives transferOwnership \
         useDomainAdminAccess";
    PERMISSIONS_UPDATE: "permissions.update", EDIT, Some(&v3::PERMISSION), PERMISSION,
        "enforceExpansiveAccess removeExpiration supportsAllDrives supportsTeamDrives \
         transferOwnership useDomainAdminAccess";
    PERMISSIONS_DELETE: "permissions.delete", EDIT, None, "*",
        "enforceExpansiveAccess supportsAllDrives supportsTeamDrives useDomainAdminAccess";
    ABOUT_GET: "about.get", OTHER, Some(&v3::ABOUT), "*", "";
    V2_FILES_LIST: "v2.files.list", LIST, Some(&v2::FILE_LIST), "*",
        "corpora corpus driveId includeItemsFromAllDrives includeLabels includePermissionsForView \
         includeTeamDriveItems maxResults orderBy pageToken projection q spaces supportsAllDrives \
         supportsTeamDrives teamDriveId";
    V2_FILES_INSERT: "v2.files.insert", EDIT, Some(&v2::FILE), "*",
        "convert enforceSingleParent includeLabels includePermissionsForView ocr ocrLanguage \
         pinned supportsAllDrives supportsTeamDrives timedTextLanguage timedTextTrackName \
         useContentAsIndexableText visibility";
    V2_FILES_GENERATE_IDS: "v2.files.generateIds", OTHER, Some(&v3::GENERATED_IDS), "*",
        "maxResults space type";
    V2_FILES_EMPTY_TRASH: "v2.files.emptyTrash", EDIT, None, "*", "driveId enforceSingleParent";
    V2_FILES_TRASH: "v2.files.trash", EDIT, Some(&v2::FILE), "*",
        "includeLabels includePermissionsForView supportsAllDrives supportsTeamDrives";
    V2_FILES_UNTRASH: "v2.files.untrash", EDIT, Some(&v2::FILE), "*",
        "includeLabels includePermissionsForView supportsAllDrives supportsTeamDrives";
    V2_FILES_GET: "v2.files.get", OTHER, Some(&v2::FILE), "*",
        "acknowledgeAbuse includeLabels includePermissionsForView projection revisionId source \
         supportsAllDrives supportsTeamDrives updateViewedDate";
    V2_FILES_DELETE: "v2.files.delete", EDIT, None, "*",
        "enforceSingleParent supportsAllDrives supportsTeamDrives";
    V2_FILES_PATCH: "v2.files.patch", EDIT, Some(&v2::FILE), "*", V2_WRITE_PARAMS;
    V2_FILES_UPDATE: "v2.files.update", EDIT, Some(&v2::FILE), "*", V2_WRITE_PARAMS;
    REVISIONS_LIST: "revisions.list", LIST, Some(&v3::REVISION_LIST),
        "kind,nextPageToken,revisions(kind,id,mimeType,modifiedTime)",
        "pageSize pageToken";
    REVISIONS_GET: "revisions.get", OTHER, Some(&v3::REVISION), REVISION, "acknowledgeAbuse";
    REVISIONS_UPDATE: "revisions.update", EDIT, Some(&v3::REVISION), REVISION, "";
    REVISIONS_DELETE: "revisions.delete", EDIT, None, "*", "";
    FILES_DOWNLOAD: "files.download", DOWNLOAD, Some(&v3::OPERATION), "*", "mimeType revisionId";
    OPERATIONS_GET: "operations.get", OTHER, Some(&v3::OPERATION), "*", "";
}

/// `files.export`.
pub(crate) static FILES_EXPORT: Method = Method {
    name: "files.export",
    units: DOWNLOAD,
    params: "mimeType",
    shape: None,
    default_fields: "*",
    media: true,
};

/// The content of a file, at its `webContentLink`. No method of the API, and without cost.
pub(crate) static CONTENT_LINK: Method = Method {
    name: "links.content",
    units: 0,
    params: "export id resourcekey",
    shape: None,
    default_fields: "*",
    media: true,
};

/// An export, at one of the `exportLinks`. No method of the API, and without cost.
pub(crate) static EXPORT_LINK: Method = Method {
    name: "links.export",
    units: 0,
    params: "exportFormat id resourcekey",
    shape: None,
    default_fields: "*",
    media: true,
};

/// The content of a finished operation, at its `downloadUri`.
pub(crate) static OPERATIONS_MEDIA: Method = Method {
    name: "operations.media",
    units: 0,
    params: "",
    shape: None,
    default_fields: "*",
    media: true,
};
