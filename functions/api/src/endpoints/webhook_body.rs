//! A webhook endpoint's settings from JSON. All of them are checked before any is used or stored.

use std::collections::BTreeSet;

use domain::event::{Author, EventFilter};
use domain::webhook::{
    CONNECTIONS_MAX, Changes, Endpoint, EndpointScope, EndpointUrl, FILES_MAX, NAME_CHARS_MAX,
    Reachable,
};
use domain::{ConnectionId, FileId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use utoipa::openapi::schema::ObjectBuilder;
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use webhooks::Rules;

use crate::described::check::checked;
use crate::described::texts::IdText;
use crate::endpoints::event_type_word::EventTypeWord;
use crate::http::{JsonBody, Kind, Problem};

/// A webhook endpoint to make. Its members select events as those of `GET .../events` do.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWebhook {
    /// Its display name: 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// Where deliveries are posted to: `https`, a host on the internet that is none of this system,
    /// the port 443 or 1024 to 65535, no credentials, no fragment.
    #[schema(min_length = 9, max_length = 2048, pattern = "^https?://[!-~]+$")]
    url: String,
    /// The connections whose events it gets; null for all of the tenant, later ones included,
    /// that its maker may read.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 100, value_type = Option<Vec<IdText>>)]
    connections: Option<Vec<String>>,
    /// Only these types; empty for all. `sync:reset` is always told.
    #[serde(default)]
    #[schema(max_items = 100)]
    types: Vec<EventTypeWord>,
    /// Only events of these files; empty for all.
    #[serde(default)]
    #[schema(max_items = 100, value_type = Vec<IdText>)]
    files: Vec<String>,
    /// Only events of files that are in this folder, or were before the change.
    #[serde(default)]
    #[schema(value_type = Option<IdText>)]
    folder: Option<String>,
    /// Only changes by this author: `drive`, `app`, `policy` or `user:<subject>`.
    #[serde(default)]
    #[schema(
        min_length = 1,
        max_length = 260,
        pattern = "^(drive|app|policy|user:.+)$"
    )]
    actor: Option<String>,
}

/// What a person decides about a webhook endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = WebhookState)]
pub(crate) enum WebhookState {
    /// It is delivered to.
    Active,
    /// It is not, until a person makes it active.
    Disabled,
}

/// A merge patch of a webhook endpoint's settings. Its description follows from that of
/// [`NewWebhook`], except for what only a patch has.
pub(crate) struct WebhookPatch;

impl PartialSchema for WebhookPatch {
    fn schema() -> RefOr<Schema> {
        let description = "The settings of a webhook endpoint to change. Absent members are not \
                           changed; null sets the default.";
        ObjectBuilder::new()
            .description(Some(description))
            .property("state", Ref::from_schema_name(WebhookState::name()))
            .into()
    }
}

impl ToSchema for WebhookPatch {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((NewWebhook::name().into_owned(), NewWebhook::schema()));
        NewWebhook::schemas(schemas);
        let state = WebhookState::name().into_owned();
        schemas.push((state, WebhookState::schema()));
    }
}

/// The settings of an endpoint that can be changed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    name: String,
    url: String,
    #[serde(default)]
    connections: Option<Vec<String>>,
    #[serde(default)]
    types: Vec<EventTypeWord>,
    #[serde(default)]
    files: Vec<String>,
    #[serde(default)]
    folder: Option<String>,
    #[serde(default)]
    actor: Option<String>,
    state: WebhookState,
}

/// Settings that have been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckedWebhook {
    pub(crate) name: String,
    pub(crate) url: EndpointUrl,
    pub(crate) scope: EndpointScope,
    pub(crate) filter: EventFilter,
    pub(crate) active: bool,
}

impl CheckedWebhook {
    /// Returns them as the changes of an endpoint.
    pub(crate) fn changes(&self) -> Changes {
        Changes {
            name: Some(self.name.clone()),
            url: Some(self.url.clone()),
            scope: Some(self.scope.clone()),
            filter: Some(self.filter.clone()),
            active: Some(self.active),
        }
    }
}

/// Reads an endpoint to make.
pub(crate) fn new_webhook(body: JsonBody, hosts: &Rules) -> Result<CheckedWebhook, Problem> {
    let body: NewWebhook = body.read()?;
    let settings = Settings {
        name: body.name,
        url: body.url,
        connections: body.connections,
        types: body.types,
        files: body.files,
        folder: body.folder,
        actor: body.actor,
        state: WebhookState::Active,
    };
    settings.checked(Some(hosts))
}

/// Applies an RFC 7396 merge patch that is a [`WebhookPatch`] to an endpoint's settings.
pub(crate) fn patched(
    endpoint: &Endpoint,
    members: &Map<String, Json>,
    hosts: &Rules,
) -> Result<CheckedWebhook, Problem> {
    let filter = &endpoint.filter;
    let current = Settings {
        name: endpoint.name.clone(),
        url: endpoint.url.to_string(),
        connections: connections(&endpoint.scope),
        types: filter.types.iter().map(|kind| (*kind).into()).collect(),
        files: filter.files.iter().map(ToString::to_string).collect(),
        folder: filter.folder.as_ref().map(ToString::to_string),
        actor: filter.actor.clone(),
        state: match endpoint.is_active() {
            true => WebhookState::Active,
            false => WebhookState::Disabled,
        },
    };
    let invalid = |_| Problem::new(Kind::Internal, "the webhook can't be represented in JSON");
    let mut json = serde_json::to_value(current).map_err(invalid)?;
    if let Json::Object(object) = &mut json {
        // No member of it is an object: a merge is a replacement.
        for (name, value) in members {
            if value.is_null() {
                object.remove(name);
            } else {
                object.insert(name.clone(), value.clone());
            }
        }
    }
    let settings = checked::<Settings>(json, "")?;
    // An address that stays is not asked about again: the deployment may allow less by now.
    let is_new = settings.url != endpoint.url.as_str();
    settings.checked(is_new.then_some(hosts))
}

/// Returns the connections that a scope names; `None` for all.
pub(crate) fn connections(scope: &EndpointScope) -> Option<Vec<String>> {
    match scope {
        EndpointScope::All => None,
        EndpointScope::Connections(connections) => {
            Some(connections.iter().map(ToString::to_string).collect())
        }
    }
}

fn refused(detail: impl Into<String>, at: impl Into<String>) -> Problem {
    Problem::new(Kind::ValueNotAllowed, detail).at(at)
}

/// Reads ids. A connection that is none of ours is found out by the caller.
fn ids<T: Ord, E: std::fmt::Display>(
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, E>,
    member: &str,
    max: usize,
) -> Result<BTreeSet<T>, Problem> {
    if texts.len() > max {
        let detail = format!("{member} may have at most {max} ids");
        return Err(refused(detail, format!("/{member}")));
    }
    let mut ids = BTreeSet::new();
    for (number, text) in texts.iter().enumerate() {
        let at = || format!("/{member}/{number}");
        let id = parse(text).map_err(|why| refused(format!("this is {why}"), at()))?;
        if !ids.insert(id) {
            return Err(refused(format!("{member} has this id twice"), at()));
        }
    }
    Ok(ids)
}

impl Settings {
    /// Checks them; without `hosts`, the address is one that was allowed before.
    fn checked(self, hosts: Option<&Rules>) -> Result<CheckedWebhook, Problem> {
        let name = &self.name;
        let printable = !name.trim().is_empty() && !name.chars().any(char::is_control);
        if !printable || name.chars().count() > NAME_CHARS_MAX {
            let detail = format!("name must have 1 to {NAME_CHARS_MAX} printable characters");
            return Err(refused(detail, "/name"));
        }
        let reachable = hosts.map_or(Reachable::PublicAndLoopback, |hosts| hosts.reachable);
        let url = EndpointUrl::parse(&self.url, reachable);
        let url = url.map_err(|why| refused(format!("url {why}"), "/url"))?;
        let checked = hosts.map_or(Ok(()), |hosts| hosts.check(&url));
        checked.map_err(|why| refused(format!("url is not allowed: {why}"), "/url"))?;
        let scope = match &self.connections {
            None => EndpointScope::All,
            Some(texts) if texts.is_empty() => {
                let detail = "connections must name at least one; null is all";
                return Err(refused(detail, "/connections"));
            }
            Some(texts) => EndpointScope::Connections(ids(
                texts,
                ConnectionId::parse,
                "connections",
                CONNECTIONS_MAX,
            )?),
        };
        let folder = self.folder.as_deref().map(FileId::parse).transpose();
        let folder = folder.map_err(|why| refused(format!("folder is {why}"), "/folder"))?;
        if let Some(actor) = &self.actor
            && Author::parse(actor).is_none()
        {
            let detail = "actor must be drive, app, policy or user:<subject>";
            return Err(refused(detail, "/actor"));
        }
        Ok(CheckedWebhook {
            name: self.name,
            url,
            scope,
            filter: EventFilter {
                types: self.types.into_iter().map(Into::into).collect(),
                files: ids(&self.files, FileId::parse, "files", FILES_MAX)?,
                folder,
                actor: self.actor,
            },
            active: self.state == WebhookState::Active,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(json: Json) -> Result<CheckedWebhook, String> {
        let hosts = Rules::of_internet("api.example.com,live.example.com:443");
        new_webhook(JsonBody::of(json), &hosts).map_err(|problem| {
            assert_eq!(problem.status(), 422);
            problem.body().pointer().unwrap().to_owned()
        })
    }

    fn with(member: &str, value: Json) -> Json {
        let mut body = json!({"name": "Billing", "url": "https://hooks.example.com/x"});
        body[member] = value;
        body
    }

    #[test]
    fn the_problem_of_a_webhook_points_at_the_invalid_member() {
        let many: Vec<String> = (0..10_000).map(|n| format!("c_{n}")).collect();
        for (body, pointer) in [
            (json!({"url": "https://a.example.com"}), "/name"),
            (json!({"name": "x"}), "/url"),
            (with("name", json!("")), "/name"),
            (with("name", json!("a\nb")), "/name"),
            (with("name", json!("x".repeat(101))), "/name"),
            (with("url", json!("http://a.example.com/")), "/url"),
            (with("url", json!("https://u:p@a.example.com/")), "/url"),
            (with("url", json!("https://a.example.com:22/")), "/url"),
            (with("url", json!("https://127.0.0.1/")), "/url"),
            (with("url", json!("https://[::1]/")), "/url"),
            (with("url", json!("https://192.168.0.1/")), "/url"),
            (with("url", json!("https://a.example.com/#x")), "/url"),
            (
                with("url", json!("https://API.example.com:8443/v1")),
                "/url",
            ),
            (with("url", json!("https://live.example.com/")), "/url"),
            (with("url", json!(7)), "/url"),
            (with("connections", json!([])), "/connections"),
            (with("connections", json!(many)), "/connections"),
            (with("connections", json!(["a/b"])), "/connections/0"),
            (with("connections", json!(["c_1", "c_1"])), "/connections/1"),
            (with("types", json!(["file:melted"])), "/types/0"),
            (with("types", json!("file:moved")), "/types"),
            (with("files", json!(["#"])), "/files/0"),
            (with("folder", json!("a b")), "/folder"),
            (with("actor", json!("ann")), "/actor"),
            (with("secret", json!("whsec_x")), "/secret"),
            (with("state", json!("active")), "/state"),
        ] {
            assert_eq!(read(body.clone()), Err(pointer.to_owned()), "{body}");
        }
    }

    #[test]
    fn the_events_that_a_webhook_asks_for_are_a_filter() {
        let checked = read(json!({
            "name": "Billing", "url": "https://hooks.example.com/x", "connections": ["c_1"],
            "types": ["file:moved", "sync:reset"], "files": ["f1"], "folder": "d1",
            "actor": "user:ann",
        }));
        let checked = checked.unwrap();
        assert_eq!(checked.filter.types.len(), 2);
        assert_eq!(checked.filter.actor.as_deref(), Some("user:ann"));
        assert_eq!(connections(&checked.scope).unwrap(), ["c_1"]);
        let all = read(json!({"name": "x", "url": "https://a.example.com"})).unwrap();
        assert_eq!(all.scope, EndpointScope::All);
        assert_eq!(all.filter, EventFilter::default());
    }
}
