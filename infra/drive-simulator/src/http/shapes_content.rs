//! The names that the resources about content have, as Google's discovery document lists them (drive v3, revision
//! 20261106).

use crate::{fields::Shape, http::shapes_v3};

/// `Revision`.
pub(crate) static REVISION: Shape = Shape {
    leaves: "exportLinks id keepForever kind md5Checksum mimeType modifiedTime originalFilename publishAuto published \
             publishedLink publishedOutsideDomain size",
    parts: &[("lastModifyingUser", &shapes_v3::USER)],
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
