//! Every error of the API: `application/problem+json` (RFC 9457), with a `type` that never changes.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::{Field, ValueRefused};
use drive::{DriveError, Kind as DriveKind};
use objects::ObjectsError;
use runtime::{QueueError, telemetry};
use serde::Serialize;
use serde_json::Value as Json;
use store::StoreError;
use utoipa::ToSchema;

/// What every `type` begins with; the rest is one of the words in [`Kind`].
const TYPE_PREFIX: &str = "urn:drivesync:problem:";
/// The media type of a problem.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// What can be wrong. The word, the title and the status of each are part of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Unauthenticated,
    NotFound,
    MethodNotAllowed,
    MalformedRequest,
    MalformedBody,
    UnsupportedMediaType,
    BodyTooLarge,
    MemberNotAllowed,
    ValueNotAllowed,
    IfMatchRequired,
    ConditionRequired,
    Stale,
    VersionMismatch,
    VersionReleased,
    ContentHashMismatch,
    ContentNotStored,
    ContentOff,
    MergeClashes,
    ConflictOpen,
    OutOfScope,
    ConflictEnded,
    ConflictMoved,
    Gone,
    FileGone,
    KeyReused,
    CredentialsRefused,
    StateNotAllowed,
    Busy,
    Internal,
}

impl Kind {
    const fn parts(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Unauthenticated => (401, "unauthorized", "No tenant is known for this caller"),
            Self::NotFound => (404, "not-found", "There is no such thing"),
            Self::MethodNotAllowed => (405, "method-not-allowed", "Not with this method"),
            Self::MalformedRequest => (400, "malformed-request", "The request can't be read"),
            Self::MalformedBody => (400, "malformed-body", "The body can't be read"),
            Self::UnsupportedMediaType => (415, "unsupported-media-type", "The body must be JSON"),
            Self::BodyTooLarge => (413, "body-too-large", "The body is too large"),
            Self::MemberNotAllowed => (422, "member-not-allowed", "A member is not allowed"),
            Self::ValueNotAllowed => (422, "value-not-allowed", "A value is not allowed"),
            Self::IfMatchRequired => (428, "if-match-required", "If-Match is required"),
            Self::ConditionRequired => (
                428,
                "condition-required",
                "expected_version or If-Match is required",
            ),
            Self::Stale => (412, "stale", "It has changed since it was read"),
            Self::VersionMismatch => (
                409,
                "version-mismatch",
                "The content has another version than expected",
            ),
            Self::VersionReleased => (
                410,
                "version-released",
                "The version is not stored any more",
            ),
            Self::ContentHashMismatch => (
                400,
                "content-hash-mismatch",
                "The content is not what its hash says",
            ),
            Self::ContentNotStored => (
                404,
                "content-not-stored",
                "The content is not stored here yet",
            ),
            Self::ContentOff => (409, "content-off", "The connection does not mirror content"),
            Self::MergeClashes => (
                409,
                "merge-clashes",
                "The contents can't be merged by themselves",
            ),
            Self::ConflictOpen => (409, "conflict-open", "An open conflict holds a field"),
            Self::OutOfScope => (409, "out-of-scope", "The rules leave the file out"),
            Self::ConflictEnded => (409, "conflict-ended", "The conflict has ended already"),
            Self::ConflictMoved => (
                409,
                "conflict-moved",
                "The sides of the conflict have moved",
            ),
            Self::Gone => (410, "gone", "The file is not there any more"),
            Self::FileGone => (422, "file-gone", "Not while the file is gone"),
            Self::KeyReused => (
                422,
                "idempotency-key-reused",
                "The Idempotency-Key belongs to another request",
            ),
            Self::CredentialsRefused => (
                422,
                "credentials-refused",
                "Drive can't be reached with that",
            ),
            Self::StateNotAllowed => (409, "state-not-allowed", "Not in this state"),
            Self::Busy => (503, "busy", "Try again later"),
            Self::Internal => (500, "internal", "Something is wrong on our side"),
        }
    }
}

/// A problem, as it is sent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// Names the kind of problem: a URN that never changes.
    #[serde(rename = "type")]
    #[schema(example = "urn:drivesync:problem:stale")]
    problem_type: String,
    /// The same for every problem of a kind.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this very request.
    detail: String,
    /// The member of the body that is at fault, as a JSON pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    /// What there is now: the file, conflict or connection that the request did not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    current: Option<Json>,
    /// The ids of the conflicts that stand in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    conflicts: Option<Vec<String>>,
    /// The version that the file's content has now, where another was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    current_version: Option<u32>,
    /// How the storing of content stands that is not stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<UnstoredView>,
    /// In how many places a merge found that both sides had changed the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    clashes: Option<usize>,
}

/// Why content is not stored. `pending`: it is on its way. `unavailable`: Drive does not give it out, for this
/// `reason`. `skipped`: the connection's settings leave it out, by this `rule`. `released`: it was let go, after the
/// file had been gone for the retention. `off`: the connection mirrors no content. `none`: the file holds nothing that could be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
#[schema(as = Unstored)]
pub(crate) enum UnstoredView {
    Pending,
    Unavailable { reason: String },
    Skipped { rule: String },
    Released,
    Off,
    None,
}

/// A problem on its way to the caller. Boxed: it is the error of every function here.
#[derive(Debug)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: Kind,
    body: ProblemBody,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The longest detail of a problem, in bytes.
const DETAIL_BYTES_MAX: usize = 500;

/// A detail may name what the caller sent, and is no copy of all of it.
fn short(mut detail: String) -> String {
    let end = detail.floor_char_boundary(DETAIL_BYTES_MAX);
    if end < detail.len() {
        detail.truncate(end);
        detail.push('…');
    }
    detail
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (status, word, title) = kind.parts();
        let body = ProblemBody {
            problem_type: format!("{TYPE_PREFIX}{word}"),
            title,
            status,
            detail: short(detail.into()),
            pointer: None,
            current: None,
            conflicts: None,
            current_version: None,
            content: None,
            clashes: None,
        };
        Self(Box::new(Parts {
            kind,
            body,
            headers: Vec::new(),
        }))
    }

    /// Names the member that is at fault.
    pub(crate) fn at(mut self, pointer: impl Into<String>) -> Self {
        self.0.body.pointer = Some(pointer.into());
        self
    }

    /// Shows what there is now.
    pub(crate) fn current(mut self, current: &impl Serialize) -> Self {
        self.0.body.current = serde_json::to_value(current).ok();
        self
    }

    /// Names the conflicts that stand in the way.
    pub(crate) fn conflicts(mut self, ids: Vec<String>) -> Self {
        self.0.body.conflicts = Some(ids);
        self
    }

    /// Says which version the content has.
    pub(crate) fn current_version(mut self, version: u32) -> Self {
        self.0.body.current_version = Some(version);
        self
    }

    /// Says how the storing of content stands.
    pub(crate) fn unstored(mut self, content: UnstoredView) -> Self {
        self.0.body.content = Some(content);
        self
    }

    /// Says how many clashes a merge met.
    pub(crate) fn clashes(mut self, clashes: usize) -> Self {
        self.0.body.clashes = Some(clashes);
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    pub(crate) fn unauthenticated() -> Self {
        Self::new(
            Kind::Unauthenticated,
            "the token names no tenant and subject that we know",
        )
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(Kind::NotFound, format!("{what} is not known here"))
    }

    pub(crate) fn busy(detail: impl Into<String>, after_seconds: u64) -> Self {
        Self::new(Kind::Busy, detail)
            .header(header::RETRY_AFTER, HeaderValue::from(after_seconds.max(1)))
    }

    /// A field's value that can't be stored, at the place where the body has it.
    pub(crate) fn value(field: &Field, why: &ValueRefused, pointer: String) -> Self {
        Self::new(Kind::ValueNotAllowed, format!("{field} {why}")).at(pointer)
    }

    pub(crate) fn status(&self) -> u16 {
        self.0.body.status
    }

    /// The problem as JSON, for an answer that holds several.
    pub(crate) fn into_body(self) -> ProblemBody {
        self.0.body
    }

    #[cfg(test)]
    pub(crate) fn body(&self) -> &ProblemBody {
        &self.0.body
    }

    #[cfg(test)]
    pub(crate) fn kind(&self) -> Kind {
        self.0.kind
    }
}

#[cfg(test)]
impl ProblemBody {
    pub(crate) fn pointer(&self) -> Option<&str> {
        self.pointer.as_deref()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Parts {
            kind,
            body,
            headers,
        } = *self.0;
        let status =
            StatusCode::from_u16(kind.parts().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let text = serde_json::to_string(&body).unwrap_or_default();
        let mut response = (
            status,
            [(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))],
            text,
        )
            .into_response();
        response.headers_mut().extend(headers);
        response
    }
}

/// Busy is the table's moment, a cursor is the caller's mistake; the rest is ours, and is logged here.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy(_) => {
                tracing::warn!(error = telemetry::chain(&error), "the table did not answer");
                Self::busy(
                    "the table is busy; whether a write was done is not known",
                    1,
                )
            }
            StoreError::InvalidCursor => {
                Self::new(Kind::MalformedRequest, "the cursor is not one of this list")
            }
            StoreError::Refused(_) | StoreError::NewerItem { .. } | StoreError::Corrupt { .. } => {
                tracing::error!(error = telemetry::chain(&error), "the table can't be used");
                Self::new(
                    Kind::Internal,
                    "the record can't be read or written by this version",
                )
            }
        }
    }
}

/// The bucket's moment is busy; that it is closed to us is ours, and is logged here.
impl From<ObjectsError> for Problem {
    fn from(error: ObjectsError) -> Self {
        let chain = telemetry::chain(&error);
        if matches!(error, ObjectsError::Denied(_) | ObjectsError::Refused(_)) {
            tracing::error!(error = chain, "the bucket can't be used");
            return Self::new(Kind::Internal, "the bucket of contents can't be used");
        }
        if matches!(error, ObjectsError::Spoilt { .. }) {
            tracing::error!(
                error = chain,
                metric = "content_spoilt",
                "the bucket holds something else"
            );
            return Self::new(
                Kind::Internal,
                "the stored bytes are not those that were stored",
            );
        }
        tracing::warn!(error = chain, "the bucket did not answer");
        Self::busy("the bucket of contents is busy", 2)
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        tracing::warn!(error = telemetry::chain(&error), "a wake was not taken");
        Self::busy("the queue is busy", 1)
    }
}

impl Problem {
    /// A call to Drive that did not succeed while `pointer`'s member was being tried out.
    pub(crate) fn of_drive(error: &DriveError, pointer: &'static str) -> Self {
        tracing::warn!(
            error = telemetry::chain(error),
            "Drive did not take the credentials"
        );
        let refused = |detail: String| Self::new(Kind::CredentialsRefused, detail).at(pointer);
        match error.kind() {
            DriveKind::AuthLost { reason } => refused(format!(
                "the secret is missing, or Google refuses it: {reason}"
            )),
            DriveKind::AccessDenied { reason } | DriveKind::Permanent { reason } => {
                refused(format!("Drive refuses: {reason}"))
            }
            DriveKind::NotFound => refused("Drive does not show it to this account".to_owned()),
            DriveKind::RateLimited { retry_after_millis } => {
                let seconds = retry_after_millis.unwrap_or(1_000).div_ceil(1_000);
                Self::busy("Drive asks us to wait", seconds)
            }
            DriveKind::DailyLimit => Self::busy("Drive's daily limit is used up", 3_600),
            DriveKind::CursorLost
            | DriveKind::Stale
            | DriveKind::BadContent(_)
            | DriveKind::Transient
            | DriveKind::Unanswered
            | DriveKind::NotSent => Self::busy("Drive or its credentials can't be reached now", 5),
        }
    }
}

/// Escapes one part of a JSON pointer (RFC 6901).
pub(crate) fn pointer_part(text: &str) -> String {
    text.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_members_of_rfc_9457_and_nothing_empty() {
        let problem = Problem::new(Kind::Stale, "read it again");
        let body = serde_json::to_value(problem.into_body()).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:drivesync:problem:stale",
                "title": "It has changed since it was read",
                "status": 412,
                "detail": "read it again",
            })
        );
    }

    #[test]
    fn regression_a_detail_is_no_copy_of_all_that_the_caller_sent() {
        let long = format!("there is no {}", "ü".repeat(5_000));
        let body = serde_json::to_value(Problem::new(Kind::MalformedRequest, long).into_body());
        let body = body.unwrap();
        let detail = body["detail"].as_str().unwrap();
        assert!(detail.len() < 600 && detail.ends_with("ü…"), "{detail}");
    }

    #[test]
    fn a_problem_is_sent_with_its_media_type_and_headers() {
        let response = Problem::busy("later", 7).into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "7");
    }

    #[test]
    fn a_key_with_a_slash_or_a_tilde_is_one_part_of_a_pointer() {
        assert_eq!(pointer_part("a/b~c"), "a~1b~0c");
    }
}
