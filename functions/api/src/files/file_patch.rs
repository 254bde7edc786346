//! Patches of a file: RFC 7396 merge patches of the writable fields.

use std::collections::BTreeMap;

use domain::{Field, TenantId, Value};
use serde_json::{Map, Value as Json};
use utoipa::ToSchema;

use crate::Deps;
use crate::described::texts::{IdText, PropertyText, RoleChangeText};
use crate::files::field_value;
use crate::http::{Kind, Problem, pointer_part};

/// The writable fields of a file. Absent members are not changed.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "describes what `parse` reads; a test compares the two"
)]
pub(crate) struct FilePatch {
    /// Not empty.
    #[schema(nullable = false, min_length = 1, max_length = 32_768)]
    name: Option<String>,
    /// `null` is the same as an empty text.
    #[schema(max_length = 32_768)]
    description: Option<String>,
    /// Whether the connection's user has starred it.
    #[schema(nullable = false)]
    starred: Option<bool>,
    /// Puts the file itself into the trash, or takes it out.
    #[schema(nullable = false)]
    trashed: Option<bool>,
    /// The id of the folder to move the file to.
    #[schema(nullable = false, value_type = Option<IdText>)]
    parent: Option<String>,
    /// By key; `null` removes a property. A key and its value may have 124 bytes together.
    #[schema(nullable = false, value_type = Option<BTreeMap<String, PropertyText>>)]
    properties: Option<BTreeMap<String, Option<String>>>,
    /// Roles on the file itself by `user:ADDRESS`, `group:ADDRESS`, `domain:NAME` or `anyone`:
    /// `reader`, `commenter`, `writer`, in shared drives also `fileOrganizer` and `organizer`;
    /// `null` removes a role. Inherited roles can't be removed here. At most 100 in one request,
    /// and 200 principals with a role on one file.
    #[schema(nullable = false, value_type = Option<BTreeMap<String, RoleChangeText>>)]
    permissions: Option<BTreeMap<String, Option<String>>>,
}

/// The most roles in one patch. A file may have twice as many ([`domain::PERMISSIONS_MAX`]).
const PERMISSIONS_PER_PATCH_MAX: usize = 100;

/// Reads a merge patch that is a [`FilePatch`].
///
/// # Errors
/// The problem of the first invalid member.
pub(crate) fn parse(members: &Map<String, Json>) -> Result<BTreeMap<Field, Value>, Problem> {
    let mut values = BTreeMap::new();
    for (member, json) in members {
        let pointer = format!("/{}", pointer_part(member));
        let field = match member.as_str() {
            "name" => Field::Name,
            "description" => Field::Description,
            "starred" => Field::Starred,
            "trashed" => Field::Trashed,
            "parent" => Field::Parent,
            "properties" => {
                parse_by_key(member, json, Field::Property, &mut values)?;
                continue;
            }
            "permissions" => {
                bound_permissions(json, &pointer)?;
                let field = |principal: String| Field::Permission(domain::principal_of(&principal));
                parse_by_key(member, json, field, &mut values)?;
                continue;
            }
            other => {
                let detail = format!("`{other}` can't be set here");
                return Err(Problem::new(Kind::MemberNotAllowed, detail).at(pointer));
            }
        };
        let value = field_value::from_json(&field, json, &pointer)?;
        values.insert(field, value);
    }
    Ok(values)
}

fn bound_permissions(json: &Json, pointer: &str) -> Result<(), Problem> {
    match json.as_object().map_or(0, Map::len) {
        0..=PERMISSIONS_PER_PATCH_MAX => Ok(()),
        count => {
            let detail = format!(
                "permissions has {count} members; one request may have at most \
                 {PERMISSIONS_PER_PATCH_MAX}: send the others with the next ones"
            );
            Err(Problem::new(Kind::ValueNotAllowed, detail).at(pointer))
        }
    }
}

/// Reads a member that contains any number of fields by key.
fn parse_by_key(
    member: &str,
    json: &Json,
    field: impl Fn(String) -> Field,
    values: &mut BTreeMap<Field, Value>,
) -> Result<(), Problem> {
    let Json::Object(members) = json else {
        let detail = format!("{member} must be an object; null for a key removes it");
        return Err(Problem::new(Kind::ValueNotAllowed, detail).at(format!("/{member}")));
    };
    for (key, json) in members {
        let field = field(key.clone());
        let pointer = format!("/{member}/{}", pointer_part(key));
        let value = field_value::from_json(&field, json, &pointer)?;
        values.insert(field, value);
    }
    Ok(())
}

/// Returns values with what stands in place of persons that were erased: their permissions are
/// still known by it.
pub(crate) async fn without_erased(
    deps: &Deps,
    tenant: &TenantId,
    values: BTreeMap<Field, Value>,
) -> Result<BTreeMap<Field, Value>, Problem> {
    if !values.keys().any(|field| field.principal().is_some()) {
        return Ok(values);
    }
    let erased = deps.store.load_erased_persons(tenant).await?;
    let values = values.into_iter();
    let values = values.map(|(field, value)| (erased.field(&field).unwrap_or(field), value));
    Ok(values.collect())
}

/// Returns the JSON pointer of a field's value in a patch.
pub(crate) fn pointer_of(field: &Field) -> String {
    match field {
        Field::Property(key) => format!("/properties/{}", pointer_part(key)),
        Field::Permission(principal) => format!("/permissions/{}", pointer_part(principal)),
        Field::Existence
        | Field::Name
        | Field::Description
        | Field::Starred
        | Field::Trashed
        | Field::Parent
        | Field::Content => format!("/{}", field.label()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::described::check::check;

    fn read(json: &str) -> Result<BTreeMap<Field, Value>, (u16, String)> {
        let json: Json = serde_json::from_str(json).unwrap();
        let read = check::<FilePatch>(&json, "").and_then(|()| parse(json.as_object().unwrap()));
        read.map_err(|problem| {
            let pointer = problem.body().pointer().unwrap_or("none").to_owned();
            (problem.status(), pointer)
        })
    }

    #[test]
    fn every_writable_field_is_read() {
        let patch = r#"{"name":"a","description":null,"starred":true,"trashed":false,
            "parent":"1folder","properties":{"stage":"final","old":null},
            "permissions":{"user:Ann@Example.com":"writer","anyone":null}}"#;
        let wanted = BTreeMap::from([
            (Field::Name, Value::text("a")),
            (Field::Description, Value::text("")),
            (Field::Starred, Value::Flag(true)),
            (Field::Trashed, Value::Flag(false)),
            (Field::Parent, Value::text("1folder")),
            (Field::Property("stage".to_owned()), Value::text("final")),
            (Field::Property("old".to_owned()), Value::Null),
            (
                Field::Permission("user:ann@example.com".to_owned()),
                Value::text("writer"),
            ),
            (Field::Permission("anyone".to_owned()), Value::Null),
        ]);
        assert_eq!(read(patch), Ok(wanted));
        assert_eq!(read("{}"), Ok(BTreeMap::new()));
    }

    #[test]
    fn the_problem_of_a_patch_points_at_the_invalid_member() {
        for (patch, pointer) in [
            (r#"{"colour":"red"}"#, "/colour"),
            (r#"{"size":"1"}"#, "/size"),
            (r#"{"name":""}"#, "/name"),
            (r#"{"name":null}"#, "/name"),
            (r#"{"name":7}"#, "/name"),
            (r#"{"starred":"yes"}"#, "/starred"),
            (r#"{"parent":["1a","1b"]}"#, "/parent"),
            (r#"{"parent":"no/id"}"#, "/parent"),
            (r#"{"properties":null}"#, "/properties"),
            (r#"{"properties":{"a/b":7}}"#, "/properties/a~1b"),
            (r#"{"properties":{"":"x"}}"#, "/properties/"),
            (r#"{"existence":"removed"}"#, "/existence"),
            (r#"{"permissions":["anyone"]}"#, "/permissions"),
            (r#"{"permissions":{"bo":"reader"}}"#, "/permissions/bo"),
            (
                r#"{"permissions":{"anyone":"owner"}}"#,
                "/permissions/anyone",
            ),
            (r#"{"permissions":{"anyone":"god"}}"#, "/permissions/anyone"),
        ] {
            assert_eq!(read(patch), Err((422, pointer.to_owned())), "{patch}");
        }
        let long = format!(r#"{{"properties":{{"stage":"{}"}}}}"#, "x".repeat(120));
        assert_eq!(read(&long), Err((422, "/properties/stage".to_owned())));
    }

    #[test]
    fn the_description_of_a_patch_has_exactly_the_members_that_are_read() {
        use utoipa::PartialSchema;
        let schema = serde_json::to_value(FilePatch::schema()).unwrap();
        let described = schema["properties"].as_object().unwrap();
        for member in described.keys() {
            let json = match member.as_str() {
                "starred" | "trashed" => Json::Bool(true),
                "properties" => serde_json::json!({"a": "b"}),
                "permissions" => serde_json::json!({"anyone": "reader"}),
                _ => Json::String("1x".to_owned()),
            };
            let members = Map::from_iter([(member.clone(), json)]);
            assert_eq!(parse(&members).unwrap().len(), 1, "{member}");
        }
        assert_eq!(described.len(), 7);
    }
}
