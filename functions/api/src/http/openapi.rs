//! The description of the API, generated from the handlers and their types.

use std::sync::LazyLock;

use axum::Json;
use axum::http::Method;
use serde_json::Value;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    Components, Content, OpenApi as Document, PathItem, Ref, RefOr, ResponseBuilder,
    SecurityRequirement,
};
use utoipa::{Modify, OpenApi};

use crate::audit::list_acts;
use crate::channels::stray_channels;
use crate::conflicts::{read_conflicts, resolve_conflicts};
use crate::connections::{
    connection_stats, connection_status, delete_connections, erasure_view, manage_connections,
};
use crate::content::{content_versions, direct_content, multipart_upload};
use crate::dead_letters::{read_dead_letters, redrive};
use crate::described::passes;
use crate::endpoints::{manage_webhooks, webhook_actions};
use crate::erasures::{erase_people, erase_tenants};
use crate::events::read_events;
use crate::exports::manage_exports;
use crate::fairness::read_limits;
use crate::files::{create_file, edit_file, intents, read_files, roll_back_file};
use crate::http::Needs;
use crate::http::health;
use crate::http::problem::{MEDIA_TYPE, ProblemBody};
use crate::http::responses::optional_header;
use crate::live::live_tickets;
use crate::operations::{
    confirmation, drift, findings, read_operations, start_restore, start_sync,
};
use crate::routes::ROUTES;
use crate::why::read_why;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "drivesync",
        description = "Keeps a team's own copy of Google Drive's metadata in step with Drive, in \
            both directions. Every error is a problem (RFC 9457) whose `type` never changes.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        manage_connections::list_connections, manage_connections::create_connection,
        manage_connections::get_connection, manage_connections::update_connection,
        delete_connections::delete_connection, delete_connections::restore_connection,
        delete_connections::confirm_restored, erasure_view::list_erasures,
        erasure_view::get_erasure, manage_connections::pause_connection,
        manage_connections::resume_connection, connection_status::get_status,
        stray_channels::list_stray_channels, stray_channels::stop_stray_channels,
        read_files::list_files, read_files::get_file, edit_file::update_file,
        read_files::get_file_history, create_file::create_file, edit_file::delete_file,
        roll_back_file::roll_back_file, direct_content::get_content, direct_content::put_content,
        content_versions::list_versions, content_versions::update_version,
        content_versions::compare_versions, content_versions::restore_version,
        multipart_upload::begin_upload, multipart_upload::get_upload,
        multipart_upload::commit_upload, multipart_upload::abort_upload,
        read_conflicts::list_conflicts, read_conflicts::get_conflict,
        resolve_conflicts::resolve_conflict, resolve_conflicts::resolve_conflicts,
        intents::list_intents, intents::retry_intent, intents::cancel_intent,
        intents::retry_intents, intents::cancel_intents,
        start_restore::restore_files, start_sync::start_sync,
        read_operations::list_operations, read_operations::get_operation,
        drift::list_drift, confirmation::confirm_operation, confirmation::cancel_operation,
        findings::list_findings,
        read_dead_letters::list_dead_letters, read_dead_letters::get_dead_letter,
        redrive::redrive_dead_letters, redrive::drop_dead_letter,
        read_events::list_events, read_why::get_connection_why, read_why::get_file_why,
        connection_stats::get_stats, read_limits::get_limits, list_acts::list_acts,
        manage_webhooks::list_webhooks, manage_webhooks::create_webhook,
        manage_webhooks::get_webhook, manage_webhooks::update_webhook,
        manage_webhooks::delete_webhook, webhook_actions::test_webhook,
        webhook_actions::rotate_webhook_secret, webhook_actions::list_webhook_deliveries,
        webhook_actions::replay_webhook,
        health::get_health, live_tickets::create_live_ticket,
        manage_exports::list_exports, manage_exports::begin_export,
        manage_exports::get_export, manage_exports::cancel_export,
        erase_people::erase_person, erase_people::list_person_erasures,
        erase_people::get_person_erasure, erase_people::cancel_person_erasure,
        erase_tenants::erase_tenant, erase_tenants::list_tenant_erasures,
        erase_tenants::get_tenant_erasure, erase_tenants::cancel_tenant_erasure,
    ),
    components(schemas(ProblemBody)),
    modifiers(&Bearer, &Repeats, &Roles, &Problems, &Causes),
)]
struct Api;

/// Adds the scheme of the tokens. API Gateway verifies them; the tenant is one of their claims.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let mut http = Http::new(HttpAuthScheme::Bearer);
        http.bearer_format = Some("JWT".to_owned());
        let components = document.components.get_or_insert_with(Components::new);
        components.add_security_scheme("bearer", SecurityScheme::Http(http));
        let required = SecurityRequirement::new("bearer", Vec::<String>::new());
        document.security = Some(vec![required]);
    }
}

/// Adds the key of a repeat to every request that writes.
struct Repeats;

impl Modify for Repeats {
    fn modify(&self, document: &mut Document) {
        for item in document.paths.paths.values_mut() {
            let writes = [&mut item.post, &mut item.patch, &mut item.delete];
            for operation in writes.into_iter().flatten() {
                let description = "A repeat within a day is answered, and not carried out again.";
                let key = optional_header("Idempotency-Key", description);
                operation
                    .parameters
                    .get_or_insert_default()
                    .push(key.into());
                let gone = "What the first request with this key made or changed is gone.";
                also(operation, "410", gone);
            }
        }
    }
}

/// Adds the role that each route needs.
struct Roles;

impl Modify for Roles {
    fn modify(&self, document: &mut Document) {
        for (method, path, needs) in ROUTES {
            let operation = document.paths.paths.get_mut(*path);
            let operation = operation.and_then(|item| operation_of(item, method));
            let (Some(operation), Needs::Role(role)) = (operation, needs) else {
                continue;
            };
            let role = Extensions::builder().add("x-role", role.as_str()).build();
            operation.extensions.get_or_insert_default().merge(role);
            let refused =
                "The role of the caller is too low; `role_needed` is the one that is needed.";
            also(operation, "403", refused);
        }
    }
}

/// Adds a response to an operation, unless one of its status is described.
fn also(operation: &mut Operation, status: &str, description: &str) {
    let response = || ResponseBuilder::new().description(description).into();
    let responses = &mut operation.responses.responses;
    responses.entry(status.to_owned()).or_insert_with(response);
}

fn operation_of<'i>(item: &'i mut PathItem, method: &Method) -> Option<&'i mut Operation> {
    match method.as_str() {
        "GET" => item.get.as_mut(),
        "POST" => item.post.as_mut(),
        "PATCH" => item.patch.as_mut(),
        "DELETE" => item.delete.as_mut(),
        _ => None,
    }
}

/// Adds the problems that any request may meet, and the content of every problem.
struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut Document) {
        for (path, item) in &mut document.paths.paths {
            for operation in operations_of(item) {
                let has_body = operation.request_body.is_some();
                let takes_key = takes_key(operation);
                also(
                    operation,
                    "500",
                    "An internal error, which has been logged.",
                );
                also(operation, "503", "Try again after `Retry-After` seconds.");
                if path != "/health" {
                    also(operation, "400", "The request is malformed.");
                    also(operation, "401", "The token has no known tenant.");
                    also(operation, "404", "The tenant has no such resource.");
                    also(
                        operation,
                        "429",
                        "A limit of the tenant is reached: `limit` says which. Try again after \
                         `Retry-After` seconds.",
                    );
                    if has_body {
                        also(operation, "413", "The body is too large.");
                        also(operation, "415", "The body is not JSON.");
                    }
                    if has_body || takes_key {
                        also(
                            operation,
                            "422",
                            "A member or a value is not allowed; `pointer` says which.",
                        );
                    }
                }
                for (status, response) in &mut operation.responses.responses {
                    if let RefOr::T(response) = response
                        && status.starts_with(['4', '5'])
                    {
                        let problem = Content::new(Some(Ref::from_schema_name("Problem")));
                        response
                            .content
                            .insert(MEDIA_TYPE.to_owned(), problem.into());
                    }
                }
            }
        }
    }
}

/// Adds the header that every response has.
struct Causes;

impl Modify for Causes {
    fn modify(&self, document: &mut Document) {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[0-9a-f]{32}$"));
        let header = HeaderBuilder::new()
            .schema(Some(schema))
            .description(Some(
                "The cause that the request was handled under: log lines and whatever the request \
                 wrote have it too. A caller can't choose it.",
            ))
            .build();
        for item in document.paths.paths.values_mut() {
            for operation in operations_of(item) {
                for response in operation.responses.responses.values_mut() {
                    if let RefOr::T(response) = response {
                        let name = "Drivesync-Cause".to_owned();
                        response.headers.insert(name, header.clone().into());
                    }
                }
            }
        }
    }
}

type Operation = utoipa::openapi::path::Operation;

fn operations_of(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let all = [
        &mut item.get,
        &mut item.post,
        &mut item.patch,
        &mut item.delete,
    ];
    all.into_iter().flatten()
}

/// Returns whether a request may carry an `Idempotency-Key`, which is refused with another request.
fn takes_key(operation: &Operation) -> bool {
    let mut parameters = operation.parameters.iter().flatten();
    parameters.any(|parameter| match parameter {
        RefOr::T(parameter) => parameter.name == "Idempotency-Key",
        RefOr::Ref(_) => false,
    })
}

/// The description of the API.
static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| {
    // The types of a description always have a form in JSON.
    let mut description = serde_json::to_value(Api::openapi()).unwrap_or_default();
    passes::complete(&mut description);
    description
});

/// Returns the description of the API, OpenAPI 3.1.
pub(crate) async fn get() -> Json<&'static Value> {
    Json(LazyLock::force(&DESCRIPTION))
}

#[cfg(test)]
pub(crate) fn document() -> &'static Value {
    LazyLock::force(&DESCRIPTION)
}

/// Returns a schema of the description by its name.
#[cfg(test)]
pub(crate) fn schema(name: &str) -> &'static Value {
    &document()["components"]["schemas"][name]
}
