//! A caller's role in JSON.

use domain::Role;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::view_enum::view_enum;

view_enum! {
    /// What a caller may do; each role includes the ones before it. `viewer` reads. `editor` edits,
    /// uploads and decides conflicts. `operator` syncs, redrives, retries in bulk, changes
    /// settings, deletes for good, shares outside and confirms removals. `admin` makes and removes
    /// connections, and changes their credentials and access.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
    #[serde(rename_all = "snake_case")]
    #[schema(as = CallerRole)]
    pub(crate) enum RoleWord = Role {
        Viewer,
        Editor,
        Operator,
        Admin,
    }
}
