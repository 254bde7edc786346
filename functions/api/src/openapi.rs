//! The description of the API, generated from the handlers and their types.

use axum::Json;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    Components, Content, OpenApi as Document, PathItem, Ref, RefOr, Response, ResponseBuilder,
    SecurityRequirement,
};
use utoipa::{Modify, OpenApi};

use crate::problem::{MEDIA_TYPE, ProblemBody};
use crate::{
    conflicts, connections, dead_letters, drift, files, findings, health, intents, make,
    operations, redrive, rollback, stats, status, sync, upload, uploads, versions,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "drivesync",
        description = "Keeps a team's own copy of Google Drive's metadata in step with Drive, in both directions. \
            Every error is a problem (RFC 9457) whose `type` never changes.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        connections::list, connections::create, connections::get, connections::update, connections::delete,
        connections::pause, connections::resume, status::get,
        files::list, files::get, files::update, files::history, make::create, make::delete,
        rollback::roll_back, upload::get, upload::put, versions::list, versions::update, versions::compare,
        versions::restore, uploads::begin, uploads::get, uploads::commit,
        conflicts::list, conflicts::get, conflicts::resolve, conflicts::resolve_many,
        intents::list, intents::retry, intents::cancel,
        sync::start, operations::list, operations::get, drift::list, drift::confirm, drift::cancel,
        findings::list,
        dead_letters::list, dead_letters::get, redrive::redrive, redrive::drop, stats::get, health::get,
    ),
    components(schemas(ProblemBody)),
    modifiers(&Bearer, &Problems),
)]
struct Api;

/// The scheme of the tokens. API Gateway verifies them; the tenant is one of their claims.
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

/// What may be wrong with any request.
struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut Document) {
        for (path, item) in &mut document.paths.paths {
            let open = path == "/health";
            for (operation, has_body) in operations_of(item) {
                let takes_key = takes_key(operation);
                let responses = &mut operation.responses.responses;
                let mut also = |status: &str, description: &str| {
                    responses
                        .entry(status.to_owned())
                        .or_insert_with(|| problem(description));
                };
                also("500", "Something is wrong on our side; it has been logged.");
                also("503", "Try again after `Retry-After` seconds.");
                if open {
                    continue;
                }
                also("400", "The request can't be read.");
                also("401", "The token names no tenant.");
                also("404", "There is no such thing among the tenant's.");
                if has_body {
                    also("413", "The body is too large.");
                    also("415", "The body is not JSON.");
                }
                if has_body || takes_key {
                    also(
                        "422",
                        "A member or a value is not allowed; `pointer` says which.",
                    );
                }
            }
        }
    }
}

type Operation = utoipa::openapi::path::Operation;

fn operations_of(item: &mut PathItem) -> Vec<(&mut Operation, bool)> {
    let all = [
        &mut item.get,
        &mut item.post,
        &mut item.patch,
        &mut item.delete,
    ];
    all.into_iter()
        .flatten()
        .map(|operation| {
            let has_body = operation.request_body.is_some();
            (operation, has_body)
        })
        .collect()
}

/// Whether a repeat can be told by its key: the same key with another request is refused.
fn takes_key(operation: &Operation) -> bool {
    let mut parameters = operation.parameters.iter().flatten();
    parameters.any(|parameter| match parameter {
        RefOr::T(parameter) => parameter.name == "Idempotency-Key",
        RefOr::Ref(_) => false,
    })
}

fn problem(description: &str) -> RefOr<Response> {
    let schema = Ref::from_schema_name("Problem");
    let response = ResponseBuilder::new()
        .description(description)
        .content(MEDIA_TYPE, Content::new(Some(schema)));
    RefOr::T(response.build())
}

/// The API's description, OpenAPI 3.1.
pub(crate) async fn get() -> Json<Document> {
    Json(Api::openapi())
}

#[cfg(test)]
pub(crate) fn document() -> serde_json::Value {
    serde_json::to_value(Api::openapi()).unwrap()
}
