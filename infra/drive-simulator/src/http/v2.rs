//! Drive API v2: only `files`, mostly for the conditional writes that v3 lacks.

pub(crate) mod files_v2;
mod permissions_v2;
pub(crate) mod resources_v2;
pub(crate) mod shapes_v2;
