//! Drive API v3.

pub(crate) mod changes_v3;
pub(crate) mod drives_v3;
pub(crate) mod exports_v3;
pub(crate) mod files_v3;
pub(crate) mod labels_v3;
pub(crate) mod permissions_v3;
pub(crate) mod resources_v3;
pub(crate) mod revisions_v3;
pub(crate) mod shapes_v3;
