//! Responses and headers that several handlers share, and their description.

use std::collections::BTreeMap;

use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{Object, SchemaType, Type};
use utoipa::openapi::{Content, Ref, RefOr, Required, Response as Described, ResponseBuilder};
use utoipa::{IntoParams, IntoResponses, ToSchema};

use crate::connections::connection_view::ConnectionView;
use crate::files::file_view::FileView;

/// Makes a response the 201 of what was created at `location`.
pub(crate) fn created(mut response: Response, location: &str) -> Response {
    *response.status_mut() = StatusCode::CREATED;
    set_location(&mut response, location);
    response
}

/// Makes a response the 202 of what goes on at `location`.
pub(crate) fn accepted(mut response: Response, location: &str) -> Response {
    *response.status_mut() = StatusCode::ACCEPTED;
    set_location(&mut response, location);
    response
}

/// Says where something is.
pub(super) fn set_location(response: &mut Response, location: &str) {
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, location);
    }
}

/// Describes a header of a request.
macro_rules! request_headers {
    ($(#[$doc:meta])* $headers:ident, $header:expr) => {
        $(#[$doc])*
        pub(crate) struct $headers;

        impl IntoParams for $headers {
            fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
                vec![$header]
            }
        }
    };
}

request_headers!(
    /// The headers of a conditional edit.
    EditHeaders,
    header("If-Match", "The `ETag` that was read, or `*`.", Type::String.into(), Required::True)
);
request_headers!(
    /// The headers of an edit of content, which may name a version in place of `If-Match`.
    ContentEditHeaders,
    optional_header("If-Match", "The file's `ETag`, or `*`.")
);

pub(crate) fn optional_header(name: &str, description: &str) -> Parameter {
    header(name, description, Type::String.into(), Required::False)
}

fn header(name: &str, description: &str, types: SchemaType, required: Required) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .description(Some(description))
        .schema(Some(Object::with_type(types)))
        .required(required)
        .build()
}

/// The response to a request that concerns one connection: the connection itself.
pub(crate) struct ShownConnection;

impl IntoResponses for ShownConnection {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let connection = Content::new(Some(Ref::from_schema_name(ConnectionView::name())));
        let shown = described("The connection.")
            .content("application/json", connection)
            .header("ETag", Header::default());
        BTreeMap::from([("200".to_owned(), shown.into())])
    }
}

/// The responses to an edit of a file: the file itself, or the reason why it can't be edited.
pub(crate) struct EditedFile;

impl IntoResponses for EditedFile {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let file = Content::new(Some(Ref::from_schema_name(FileView::name())));
        let edited = described(
            "The file with its intent. `Idempotent-Replayed` is set if the request had been \
             carried out before.",
        );
        let edited = edited
            .content("application/json", file)
            .header("ETag", Header::default())
            .header("Idempotent-Replayed", Header::default());
        let conflict = described(
            "An open conflict holds a field (`conflicts` has the ids), the file is out of scope, \
             or its state does not allow the edit.",
        );
        BTreeMap::from([
            ("200".to_owned(), edited.into()),
            ("409".to_owned(), conflict.into()),
            ("410".to_owned(), described("The file is gone.").into()),
        ])
    }
}

/// The responses to a conditional edit of a file: those of [`EditedFile`], and those of a failed or
/// missing precondition.
pub(crate) struct ConditionallyEditedFile;

impl IntoResponses for ConditionallyEditedFile {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let mut responses = EditedFile::responses();
        let changed = described(
            "The file has changed (`current` is the file now), or If-Match has no tag that could \
             match.",
        );
        responses.insert("412".to_owned(), changed.into());
        let missing = described("The precondition is missing.");
        responses.insert("428".to_owned(), missing.into());
        responses
    }
}

/// A response without content. What a problem contains is added to all of them at once.
fn described(description: &str) -> ResponseBuilder {
    ResponseBuilder::new().description(description)
}
