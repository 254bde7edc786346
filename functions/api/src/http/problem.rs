//! Every error of the API: `application/problem+json` (RFC 9457), with a `type` that never changes.

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::{Cause, Field, OutOfReach, Role, ValueRefused};
use drive::{ANOTHER_ACCOUNT, DriveError, InvalidCredentials, Kind as DriveKind};
use objects::ObjectsError;
use runtime::telemetry;
use serde::Serialize;
use serde_json::Value as JsonValue;
use store::StoreError;
use utoipa::ToSchema;
use worker::QueueError;

use crate::http::role_word::RoleWord;

/// The prefix of every `type`; one of the words of [`Kind`] follows.
const TYPE_PREFIX: &str = "urn:drivesync:problem:";
/// The media type of a problem.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";
/// The longest detail of a problem, in bytes.
const DETAIL_BYTES_MAX: usize = 500;

/// Defines the kinds of problems, each with its status, the word in its `type`, and its title.
macro_rules! kinds {
    ($($kind:ident: $status:literal, $word:literal, $title:literal;)+) => {
        /// The kinds of problems. The word and the status of each are part of the API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Kind {
            $($kind),+
        }

        impl Kind {
            /// Returns the status, the word and the title.
            const fn parts(self) -> (u16, &'static str, &'static str) {
                match self {
                    $(Self::$kind => ($status, $word, $title)),+
                }
            }
        }
    };
}

kinds! {
    Unauthenticated: 401, "unauthorized", "The caller has no known tenant";
    RoleNeeded: 403, "forbidden", "The role of the caller is too low";
    NotFound: 404, "not-found", "Not found";
    MethodNotAllowed: 405, "method-not-allowed", "The method is not allowed";
    MalformedRequest: 400, "malformed-request", "The request is malformed";
    MalformedBody: 400, "malformed-body", "The body is malformed";
    UnsupportedMediaType: 415, "unsupported-media-type", "The body must be JSON";
    BodyTooLarge: 413, "body-too-large", "The body is too large";
    MemberNotAllowed: 422, "member-not-allowed", "A member is missing or not allowed";
    ValueNotAllowed: 422, "value-not-allowed", "A value is not allowed";
    IfMatchRequired: 428, "if-match-required", "If-Match is required";
    ConditionRequired: 428, "condition-required", "expected_version or If-Match is required";
    TagUnusable: 412, "if-match-unusable", "If-Match has no tag that could match";
    Stale: 412, "stale", "The resource has changed since it was read";
    VersionMismatch: 409, "version-mismatch", "The content does not have the expected version";
    VersionReleased: 410, "version-released", "The version is no longer stored";
    ContentHashMismatch: 400, "content-hash-mismatch", "The content does not match its hash";
    ContentNotStored: 404, "content-not-stored", "The content is not stored";
    ContentOff: 409, "content-off", "The connection does not mirror content";
    MergeClashes: 409, "merge-clashes", "The contents can't be merged";
    ConflictOpen: 409, "conflict-open", "An open conflict holds a field";
    OutOfScope: 409, "out-of-scope", "The file is out of scope";
    ConflictEnded: 409, "conflict-ended", "The conflict has already ended";
    ConflictMoved: 409, "conflict-moved", "The sides of the conflict have moved";
    Gone: 410, "gone", "The file is gone";
    FileGone: 422, "file-gone", "Not possible while the file is gone";
    CursorExpired: 410, "cursor-expired", "Events after the cursor are no longer known";
    WasDeleted: 410, "was-deleted", "What the first request made or changed is gone";
    KeyReused: 422, "idempotency-key-reused", "The Idempotency-Key belongs to another request";
    CredentialsRefused: 422, "credentials-refused", "Drive refuses these credentials";
    AnotherAccount: 409, "another-account", "The credentials are another account's";
    StateNotAllowed: 409, "state-not-allowed", "Not possible in this state";
    LimitReached: 429, "limit-reached", "A limit of the tenant is reached";
    Busy: 503, "busy", "Try again later";
    Internal: 500, "internal", "Internal error";
}

/// The result of a handler that responds with JSON.
pub(crate) type JsonResult<T> = Result<Json<T>, Problem>;

/// A problem as callers receive it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// Identifies the kind of problem: a URN that never changes.
    #[serde(rename = "type")]
    #[schema(example = "urn:drivesync:problem:stale")]
    problem_type: String,
    /// The same for every problem of a kind.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// The cause in this particular request.
    detail: String,
    /// The invalid member of the body, as a JSON pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    /// The invalid parameter of the query, by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
    /// The lowest role that may do this.
    #[serde(skip_serializing_if = "Option::is_none")]
    role_needed: Option<RoleWord>,
    /// The current state of the file, conflict, connection, operation or dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    current: Option<JsonValue>,
    /// The ids of the conflicts that hold the fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    conflicts: Option<Vec<String>>,
    /// The version of the file's content, if another one was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    current_version: Option<u32>,
    /// The reason why the content is not stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<UnstoredView>,
    /// The number of places where both sides have changed the same lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    clashes: Option<usize>,
    /// The limit of the tenant that is reached; `GET /v1/limits` lists all.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'static str>,
    /// The cause that the request was handled under: 32 hexadecimal digits, as in the response's
    /// `Drivesync-Cause`. The log lines about the request have it too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{32}$")]
    cause: Option<String>,
}

/// The reason why content is not stored. `pending`: it is about to be downloaded, or could not be
/// had lately for a `reason` that may pass. `unavailable`: Drive does not provide it, for this
/// `reason`. Both are asked for again at `next_attempt_at`, and at once by a sync, an audit or a
/// retry. `skipped`: the connection's settings exclude it, by this `rule`. `released`: it was
/// deleted after the file had been gone for the retention period. `off`: the connection does not
/// mirror content. `none`: the file has no content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
#[schema(as = Unstored)]
pub(crate) enum UnstoredView {
    Pending {
        /// The reason of the last attempt.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The time of the first attempt that failed.
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<String>,
        /// The time from which it is asked for again.
        #[serde(skip_serializing_if = "Option::is_none")]
        next_attempt_at: Option<String>,
    },
    Unavailable {
        reason: String,
        /// The time of the first attempt that failed.
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<String>,
        /// The time from which it is asked for again.
        #[serde(skip_serializing_if = "Option::is_none")]
        next_attempt_at: Option<String>,
    },
    Skipped {
        rule: String,
    },
    Released,
    Off,
    None,
}

/// The error of the API's functions. Boxed to keep their results small.
#[derive(Debug)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: Kind,
    body: ProblemBody,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Shortens a detail, which may quote input of the caller.
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
            parameter: None,
            role_needed: None,
            current: None,
            conflicts: None,
            current_version: None,
            content: None,
            clashes: None,
            limit: None,
            cause: None,
        };
        Self(Box::new(Parts {
            kind,
            body,
            headers: Vec::new(),
        }))
    }

    pub(crate) fn at(mut self, pointer: impl Into<String>) -> Self {
        self.0.body.pointer = Some(pointer.into());
        self
    }

    pub(crate) fn parameter(mut self, name: &str) -> Self {
        self.0.body.parameter = Some(short(name.to_owned()));
        self
    }

    pub(crate) fn current(mut self, current: &impl Serialize) -> Self {
        self.0.body.current = serde_json::to_value(current).ok();
        self
    }

    pub(crate) fn conflicts(mut self, ids: Vec<String>) -> Self {
        self.0.body.conflicts = Some(ids);
        self
    }

    pub(crate) fn current_version(mut self, version: u32) -> Self {
        self.0.body.current_version = Some(version);
        self
    }

    pub(crate) fn unstored(mut self, content: UnstoredView) -> Self {
        self.0.body.content = Some(content);
        self
    }

    pub(crate) fn clashes(mut self, clashes: usize) -> Self {
        self.0.body.clashes = Some(clashes);
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    pub(crate) fn unauthenticated() -> Self {
        let detail = "the token has no claims of a known tenant and subject";
        Self::new(Kind::Unauthenticated, detail)
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// The problem of a caller whose role is too low.
    pub(crate) fn role_needed(role: Role, detail: impl Into<String>) -> Self {
        let mut problem = Self::new(Kind::RoleNeeded, detail);
        problem.0.body.role_needed = Some(role.into());
        problem
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(Kind::NotFound, format!("{what} does not exist"))
    }

    pub(crate) fn busy(detail: impl Into<String>, after_seconds: u64) -> Self {
        Self::new(Kind::Busy, detail)
            .header(header::RETRY_AFTER, HeaderValue::from(after_seconds.max(1)))
    }

    /// The problem of a request that may be repeated after `after_seconds`, when the tenant may be
    /// below the limit.
    pub(crate) fn limit_reached(
        limit: &'static str,
        detail: impl Into<String>,
        after_seconds: u64,
    ) -> Self {
        let mut problem = Self::new(Kind::LimitReached, detail)
            .header(header::RETRY_AFTER, HeaderValue::from(after_seconds.max(1)));
        problem.0.body.limit = Some(limit);
        problem
    }

    /// The problem of a field's value that can't be stored; `pointer` is its place in the body.
    pub(crate) fn value(field: &Field, why: &ValueRefused, pointer: String) -> Self {
        Self::new(Kind::ValueNotAllowed, format!("{field} {why}")).at(pointer)
    }

    /// Returns whether the problem is with something below this pointer.
    pub(crate) fn is_within(&self, pointer: &str) -> bool {
        let own = self.0.body.pointer.as_deref();
        own.is_some_and(|own| own.starts_with(pointer))
    }

    pub(crate) fn status(&self) -> u16 {
        self.0.body.status
    }

    /// Returns the problem as JSON, for a response that contains several.
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

impl ProblemBody {
    /// Returns the problem without the current state.
    pub(crate) fn without_current(self) -> Self {
        Self {
            current: None,
            ..self
        }
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
        response.extensions_mut().insert(body);
        response
    }
}

/// Names the request's cause in the body of a response that is a problem. Problems are made where
/// the cause is not known.
pub(crate) fn name_cause(mut response: Response, cause: Cause) -> Response {
    let Some(body) = response.extensions_mut().remove::<ProblemBody>() else {
        return response;
    };
    let body = ProblemBody {
        cause: Some(cause.to_string()),
        ..body
    };
    let text = serde_json::to_string(&body).unwrap_or_default();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.map(|_| Body::from(text))
}

/// A busy table is a 503 and a foreign cursor the caller's mistake; anything else is an internal
/// error.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy(_) => {
                tracing::warn!(error = telemetry::chain(&error), "DynamoDB request failed");
                let detail = "DynamoDB did not respond; the write may have been carried out";
                Self::busy(detail, 1)
            }
            StoreError::InvalidCursor => {
                let detail = "the cursor does not belong to this list";
                Self::new(Kind::MalformedRequest, detail)
            }
            StoreError::TooLarge { .. } => Self::new(Kind::ValueNotAllowed, error.to_string()),
            StoreError::Refused(_) | StoreError::NewerItem { .. } | StoreError::Corrupt { .. } => {
                tracing::error!(error = telemetry::chain(&error), "DynamoDB request refused");
                let detail = "this version of the service can't read or write the record";
                Self::new(Kind::Internal, detail)
            }
        }
    }
}

/// A busy bucket is a 503; refused access and corrupt objects are internal errors.
impl From<ObjectsError> for Problem {
    fn from(error: ObjectsError) -> Self {
        let chain = telemetry::chain(&error);
        if matches!(error, ObjectsError::Denied(_) | ObjectsError::Refused(_)) {
            tracing::error!(error = chain, "S3 request refused");
            return Self::new(Kind::Internal, "the content bucket refuses the request");
        }
        if matches!(error, ObjectsError::CorruptObject { .. }) {
            let metric = "content_spoilt";
            tracing::error!(error = chain, metric, "stored content is corrupt");
            return Self::new(Kind::Internal, "the stored content is corrupt");
        }
        tracing::warn!(error = chain, "S3 request failed");
        Self::busy("the content bucket did not respond", 2)
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        tracing::warn!(error = telemetry::chain(&error), "SQS request failed");
        Self::busy("the queue did not respond", 1)
    }
}

impl Problem {
    /// The problem of a failed Drive call that checked the member at `pointer`.
    pub(crate) fn credentials(error: &DriveError, pointer: &'static str) -> Self {
        let chain = telemetry::chain(error);
        tracing::warn!(error = chain, "credentials check failed");
        let refused = |detail: String| Self::new(Kind::CredentialsRefused, detail).at(pointer);
        match error.kind() {
            DriveKind::AuthLost { reason } if reason == ANOTHER_ACCOUNT => {
                Self::another_account().at(pointer)
            }
            DriveKind::AuthLost { reason } => {
                let not_allowed = error.source_as::<OutOfReach>().map(ToString::to_string);
                let invalid = error.source_as::<InvalidCredentials>();
                let invalid = invalid.map(|why| format!("the secret can't be used: {why}"));
                refused(not_allowed.or(invalid).unwrap_or_else(|| {
                    format!("the secret is missing, or Google refuses it: {reason}")
                }))
            }
            DriveKind::AccessDenied { reason } | DriveKind::Permanent { reason } => {
                refused(format!("Drive refuses access: {reason}"))
            }
            DriveKind::NotFound => refused("this account can't access it in Drive".to_owned()),
            DriveKind::RateLimited { .. }
            | DriveKind::DailyLimit
            | DriveKind::CursorLost
            | DriveKind::Stale
            | DriveKind::BadContent(_)
            | DriveKind::Transient
            | DriveKind::Unanswered
            | DriveKind::NotSent => Self::drive_busy(error, "Drive can't be reached", 5),
        }
    }

    /// The problem of credentials that work, but are not those of the connection's account.
    pub(crate) fn another_account() -> Self {
        let detail = "the credentials are those of another Google account than the one that this \
            connection has synced so far; to continue with the other account, PATCH the connection \
            with {\"replace_account\": true}";
        Self::new(Kind::AnotherAccount, detail)
    }

    /// The problem of a Drive call that may succeed later, with the delay that Drive asks for.
    pub(crate) fn drive_busy(error: &DriveError, detail: &str, after_seconds: u64) -> Self {
        if let DriveKind::RateLimited { retry_after_millis } = error.kind() {
            let seconds = retry_after_millis.unwrap_or(1_000).div_ceil(1_000);
            return Self::busy("Drive limits the rate of calls", seconds);
        }
        if *error.kind() == DriveKind::DailyLimit {
            return Self::busy("Drive's daily limit is used up", 3_600);
        }
        Self::busy(detail, after_seconds)
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
    fn a_problem_has_the_members_of_rfc_9457_and_no_empty_ones() {
        let problem = Problem::new(Kind::Stale, "read it again");
        let body = serde_json::to_value(problem.into_body()).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:drivesync:problem:stale",
                "title": "The resource has changed since it was read",
                "status": 412,
                "detail": "read it again",
            })
        );
    }

    #[test]
    fn regression_a_long_detail_is_shortened() {
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
    fn a_slash_or_a_tilde_in_a_pointer_part_is_escaped() {
        assert_eq!(pointer_part("a/b~c"), "a~1b~0c");
    }
}
