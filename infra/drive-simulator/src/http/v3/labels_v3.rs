//! `files.listLabels` and `files.modifyLabels`, which v2 has in the same form, and `labelInfo`.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    errors::DriveError,
    fields::Object,
    http::{
        call::Call,
        request_body,
        response::ApiResponse,
        v3::{resources_v3, shapes_v3},
    },
    ids::UserId,
    simulator::Simulator,
    state::{
        View,
        items::item_labels::{FieldModification, ItemLabel, LabelFieldType, LabelModification},
    },
};

/// The labels of a page of `files.listLabels` at most, and without `maxResults`.
const LABELS_MAX: usize = 100;

/// The body of `files.modifyLabels`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ModifyLabelsBody {
    #[serde(default, rename = "kind")]
    _kind: Option<String>,
    #[serde(default)]
    label_modifications: Vec<LabelBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LabelBody {
    #[serde(default, rename = "kind")]
    _kind: Option<String>,
    label_id: String,
    #[serde(default)]
    field_modifications: Vec<FieldBody>,
    #[serde(default)]
    remove_label: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FieldBody {
    #[serde(default, rename = "kind")]
    _kind: Option<String>,
    field_id: String,
    set_text_values: Option<Vec<String>>,
    /// 64-bit integers, which JSON of Google's writes as texts.
    set_integer_values: Option<Vec<Value>>,
    set_date_values: Option<Vec<String>>,
    set_selection_values: Option<Vec<String>>,
    set_user_values: Option<Vec<String>>,
    #[serde(default)]
    unset_values: bool,
}

impl LabelBody {
    fn into_modification(self) -> Result<LabelModification, DriveError> {
        let fields = self.field_modifications.into_iter();
        Ok(LabelModification {
            label: self.label_id,
            fields: fields
                .map(FieldBody::into_modification)
                .collect::<Result<_, _>>()?,
            remove: self.remove_label,
        })
    }
}

impl FieldBody {
    fn into_modification(self) -> Result<FieldModification, DriveError> {
        let integers = self.set_integer_values.map(|values| {
            let text = |value: &Value| {
                let text = value.as_str().map(str::to_owned);
                text.unwrap_or_else(|| value.to_string())
            };
            values.iter().map(text).collect()
        });
        let given = [
            (LabelFieldType::Text, self.set_text_values),
            (LabelFieldType::Integer, integers),
            (LabelFieldType::DateString, self.set_date_values),
            (LabelFieldType::Selection, self.set_selection_values),
            (LabelFieldType::User, self.set_user_values),
        ];
        let mut given = given
            .into_iter()
            .filter_map(|(kind, values)| Some((kind, values?)));
        let (set, another) = (given.next(), given.next());
        if another.is_some() || set.is_some() == self.unset_values {
            return Err(DriveError::invalid_because(
                "fieldModifications",
                "A field modification must set the values of one type, or unset them.",
            ));
        }
        Ok(FieldModification {
            field: self.field_id,
            set,
        })
    }
}

/// `files.modifyLabels`.
pub(crate) async fn modify(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let value = request_body::parse_resource(&call.body, &shapes_v3::MODIFY_LABELS_REQUEST)?;
    let body: ModifyLabelsBody = request_body::deserialize(value)?;
    let modifications = body.label_modifications.into_iter();
    let modifications: Vec<LabelModification> = modifications
        .map(LabelBody::into_modification)
        .collect::<Result<_, _>>()?;
    let id = call.path("id")?;
    let (view, modified) = simulator.with_state(|state| {
        let modified = state.modify_labels(&call.user, id, &modifications)?;
        Ok::<_, DriveError>((state.find(&call.user, id, true)?, modified))
    })?;
    let mut out = Object::new(&call.selection);
    out.put("kind", || "drive#modifyLabelsResponse");
    out.put("modifiedLabels", || {
        let named = modified.iter().filter_map(|name| {
            let label = view.item.labels.get(name)?;
            Some(rendered(name, label, &view.viewer))
        });
        Value::Array(named.collect())
    });
    Ok(ApiResponse::Json(out.finish()))
}

/// `files.listLabels`.
pub(crate) async fn list(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let id = call.path("id")?;
    let size = call.params.page_size("maxResults", LABELS_MAX)?;
    let after = call.params.text("pageToken").unwrap_or_default();
    let view = simulator.with_state(|state| state.find(&call.user, id, true))?;
    let visible = visible(&view).filter(|(name, _)| name.as_str() > after);
    let visible: Vec<_> = visible.collect();
    let page = visible.get(..size).unwrap_or(&visible);
    let mut out = Object::new(&call.selection);
    out.put("kind", || "drive#labelList");
    out.put_some("nextPageToken", || {
        let last = page.last().filter(|_| page.len() < visible.len());
        last.map(|(name, _)| (*name).clone())
    });
    out.put("labels", || {
        let labels = page.iter();
        let labels = labels.map(|(name, label)| rendered(name, label, &view.viewer));
        Value::Array(labels.collect())
    });
    Ok(ApiResponse::Json(out.finish()))
}

/// Renders all labels of a file that the viewer sees; [`keep_included`] leaves those that were
/// asked for. `None` if there are none.
pub(crate) fn label_info(view: &View) -> Option<Value> {
    let labels: Vec<Value> = visible(view)
        .map(|(name, label)| rendered(name, label, &view.viewer))
        .collect();
    (!labels.is_empty()).then(|| json!({ "labels": labels }))
}

/// Leaves in every `labelInfo` of a response the labels whose ids `includeLabels` has; without any
/// there is no such member.
pub(crate) fn keep_included(value: &mut Value, included: &[String]) {
    match value {
        Value::Array(elements) => {
            for element in elements {
                keep_included(element, included);
            }
        }
        Value::Object(members) => {
            if included.is_empty() {
                members.remove("labelInfo");
            }
            for (name, member) in members.iter_mut() {
                if name == "labelInfo" {
                    keep_labels(member, included);
                } else {
                    keep_included(member, included);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn keep_labels(info: &mut Value, included: &[String]) {
    if let Some(labels) = info.get_mut("labels").and_then(Value::as_array_mut) {
        labels.retain(|label| {
            let id = label.get("id").and_then(Value::as_str);
            id.is_some_and(|id| included.iter().any(|included| included == id))
        });
    }
}

fn visible(view: &View) -> impl Iterator<Item = (&String, &ItemLabel)> {
    let labels = view.item.labels.iter();
    labels.filter(|(_, label)| label.is_visible_to(&view.viewer))
}

fn rendered(name: &str, label: &ItemLabel, viewer: &UserId) -> Value {
    let field = |(id, values): (&String, &Vec<String>)| {
        let kind = label.definition.fields.get(id)?.kind;
        let values: Value = match kind {
            LabelFieldType::User => {
                let users = values.iter().map(|email| UserId::from_email(email));
                users
                    .map(|user| resources_v3::user(&user, viewer))
                    .collect()
            }
            LabelFieldType::Text
            | LabelFieldType::Integer
            | LabelFieldType::DateString
            | LabelFieldType::Selection => json!(values),
        };
        let rendered = json!({
            "kind": "drive#labelField", "id": id, "valueType": kind.name(), kind.name(): values,
        });
        Some((id.clone(), rendered))
    };
    let fields: serde_json::Map<String, Value> = label.values.iter().filter_map(field).collect();
    json!({
        "kind": "drive#label", "id": name, "revisionId": label.revision.to_string(),
        "fields": fields,
    })
}
