//! The differences between Drive and the stored records that an operation has found.

use axum::Json;
use domain::{Difference, Drift, Gone};
use serde::{Deserialize, Serialize};
use serde_json::Value as JsonValue;
use store::{DriftEntry, Finding, PageRequest};
use utoipa::{IntoParams, ToSchema};

use crate::described::query::Params;
use crate::files::field_value::{self, ValueBody};
use crate::http::{JsonResult, OperationPath, page, page_that_fits, view_enum};
use crate::{App, lookups};

/// The filter and the page of a list of differences.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DriftQuery {
    /// Only differences of this kind.
    #[param(inline)]
    kind: Option<DriftKind>,
    /// 1 to 1,000; the default is 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// The kind of a difference. `missing_here`: in Drive, and not stored. `missing_there`: stored, and
/// no longer in Drive. `stale`: stored at an older version. `differing`: stored at the same version
/// with other values. `not_verified`: it seems to differ, and has not been read from Drive yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DriftKind {
    MissingHere,
    MissingThere,
    Stale,
    Differing,
    NotVerified,
}

view_enum! {
    /// The reason why a file is gone from Drive.
    #[derive(Debug, Clone, Copy, Serialize, ToSchema)]
    #[serde(rename_all = "snake_case")]
    #[schema(as = Gone)]
    enum GoneView = Gone {
        Removed,
        AccessLost,
        MovedAway,
    }
}

/// A page of differences.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DriftList {
    /// By file id. A page before the last one may have fewer than `limit` items, or none.
    items: Vec<DriftItem>,
    /// The `cursor` of the next page; null on the last page.
    next_cursor: Option<String>,
}

/// A file that differs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DriftItem {
    file_id: String,
    /// Its stored name, or else its name in Drive; at most 200 characters.
    name: String,
    kind: DriftKind,
    /// Only for `missing_there`.
    #[serde(skip_serializing_if = "Option::is_none")]
    gone: Option<GoneView>,
    /// The fields that differ: at most 20, with at most 200 characters of each value.
    fields: Vec<DriftField>,
    /// The number of further fields that differ.
    fields_left_out: u32,
}

/// A field that differs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DriftField {
    field: String,
    /// Drive's value as it is stored.
    #[schema(value_type = Option<ValueBody>)]
    ours: JsonValue,
    /// Drive's value.
    #[schema(value_type = Option<ValueBody>)]
    drive: JsonValue,
}

impl DriftItem {
    /// The view of a difference; `None` if there turned out to be none.
    fn new(entry: &DriftEntry) -> Option<Self> {
        let (drift, fields_left_out) = match &entry.finding {
            Some(Finding::NoDrift) => return None,
            Some(Finding::Drifted {
                drift,
                fields_left_out,
            }) => (Some(drift), *fields_left_out),
            None => (None, 0),
        };
        let (kind, gone, fields) = match drift {
            None => (DriftKind::NotVerified, None, &[][..]),
            Some(Drift::MissingHere) => (DriftKind::MissingHere, None, &[][..]),
            Some(Drift::MissingThere(gone)) => {
                (DriftKind::MissingThere, Some((*gone).into()), &[][..])
            }
            Some(Drift::Stale(fields)) => (DriftKind::Stale, None, fields.as_slice()),
            Some(Drift::Differing(fields)) => (DriftKind::Differing, None, fields.as_slice()),
        };
        let field = |difference: &Difference| DriftField {
            field: difference.label.clone(),
            ours: field_value::to_json(&difference.ours),
            drive: field_value::to_json(&difference.drive),
        };
        Some(Self {
            file_id: entry.file.to_string(),
            name: entry.name.clone(),
            kind,
            gone,
            fields: fields.iter().map(field).collect(),
            fields_left_out,
        })
    }
}

/// Lists the differences between Drive and the stored records that an audit or a resync has found.
///
/// They are stored for 90 days.
#[utoipa::path(
    get, path = "/v1/connections/{connection}/operations/{operation}/drift", tag = "operations",
    params(OperationPath, DriftQuery),
    responses((status = 200, description = "A page.", body = DriftList))
)]
pub(crate) async fn list_drift(
    deps: App,
    at: OperationPath,
    Params(query): Params<DriftQuery>,
) -> JsonResult<DriftList> {
    let request = page(query.limit, query.cursor.clone());
    lookups::operation(&deps, &at).await?;
    let (store, key, id) = (&deps.store, &at.key, &at.id);
    let read = |request: PageRequest| async move {
        let page = store.list_drift(key, id, &request).await?;
        let items = page.items.iter().filter_map(DriftItem::new);
        let wanted = |item: &DriftItem| query.kind.is_none_or(|kind| kind == item.kind);
        Ok((items.filter(wanted).collect(), page.next_cursor))
    };
    let (items, next_cursor) = page_that_fits(request, read).await?;
    Ok(Json(DriftList { items, next_cursor }))
}
