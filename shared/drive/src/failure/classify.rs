//! Classifies Google's errors by their reason, since the status alone is ambiguous (403 has many
//! meanings).

use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;

use crate::{DriveError, Kind};

/// The properties of a call that the classification of its error depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallContext {
    /// The method by Google's name.
    pub(crate) method: &'static str,
    /// The call has a page token.
    pub(crate) carries_cursor: bool,
    /// The call changes something in Drive.
    pub(crate) writes: bool,
}

/// The response to a call has an error's status and no error of Drive's: a page of a proxy or a
/// front end, or nothing. It says nothing about what the call was for.
#[derive(Debug, thiserror::Error)]
#[error("the body is no error of Google's")]
struct NotGoogles;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Rate,
    Day,
    Denied,
    /// The request itself is wrong.
    Invalid,
    Permanent,
    Auth,
}

/// The known reasons. Source: the Drive guide "Resolve errors", unless a row says otherwise. An
/// error with another reason is classified by its status alone.
const REASONS: &[(&str, Class)] = &[
    ("rateLimitExceeded", Class::Rate),
    ("userRateLimitExceeded", Class::Rate),
    ("sharingRateLimitExceeded", Class::Rate),
    // Observed, undocumented: too many channels opened.
    ("subscriptionRateLimitExceeded", Class::Rate),
    ("dailyLimitExceeded", Class::Day),
    ("insufficientFilePermissions", Class::Denied),
    ("appNotAuthorizedToFile", Class::Denied),
    ("domainPolicy", Class::Denied),
    ("teamDriveMembershipRequired", Class::Denied),
    ("badRequest", Class::Invalid),
    ("invalid", Class::Invalid),
    ("invalidParameter", Class::Invalid),
    ("invalidSharingRequest", Class::Invalid),
    ("storageQuotaExceeded", Class::Permanent),
    ("activeItemCreationLimitExceeded", Class::Permanent),
    ("numChildrenInNonRootLimitExceeded", Class::Permanent),
    ("teamDriveFileLimitExceeded", Class::Permanent),
    ("myDriveHierarchyDepthLimitExceeded", Class::Permanent),
    ("teamDriveHierarchyTooDeep", Class::Permanent),
    ("cannotModifyInheritedTeamDrivePermission", Class::Permanent),
    ("fileWriterTeamDriveMoveInDisabled", Class::Permanent),
    ("fileOwnerNotMemberOfTeamDrive", Class::Permanent),
    ("teamDrivesFolderMoveInNotSupported", Class::Permanent),
    ("teamDrivesParentLimit", Class::Permanent),
    ("exportSizeLimitExceeded", Class::Permanent),
    ("fileNotExportable", Class::Permanent),
    ("fileNotDownloadable", Class::Permanent),
    ("cannotExportFile", Class::Permanent),
    ("cannotDownloadAbusiveFile", Class::Permanent),
    // Ours, for a value that no request can express, and for a request that can't be built.
    ("notWritable", Class::Invalid),
    ("notARequest", Class::Invalid),
    // Observed: reasons for rejecting a channel. The last one comes with a 401, and a new access
    // token does not help.
    ("channelIdNotUnique", Class::Permanent),
    ("push.webhookUrlNotHttps", Class::Permanent),
    ("push.webhookUrlUnauthorized", Class::Permanent),
    ("authError", Class::Auth),
    // Not verified: the Drive API is disabled in the project; the token's scope is too small.
    ("accessNotConfigured", Class::Auth),
    ("insufficientPermissions", Class::Auth),
];

/// Returns whether a reason is known, or only repeats the status.
pub(crate) fn is_known(reason: &str) -> bool {
    const OF_STATUS: [&str; 8] = [
        "notFound",
        "conditionNotMet",
        "forbidden",
        "required",
        "conflict",
        "backendError",
        "internalError",
        "serviceUnavailable",
    ];
    OF_STATUS.contains(&reason) || REASONS.iter().any(|(name, _)| *name == reason)
}

/// Classifies a response that is not a success.
///
/// An error that is not Google's JSON says nothing about a file, a page token, an account or an
/// edit, whatever its status: a read met trouble, and a write got no answer.
///
/// An unknown reason keeps its text, and the error is classified by the status. An unknown 4xx is
/// [`Kind::Transient`] for a read (a retry is harmless) and [`Kind::Permanent`] for a write: Google
/// rejected it, so it was not executed; [`DriveError::refusal`] tells for how long it is tried.
pub(crate) fn classify(
    context: CallContext,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> DriveError {
    let retry_after_millis = retry_after_millis(headers);
    let Some(error_body) = ErrorBody::of_drive(status, body) else {
        let kind = match status {
            _ if context.writes => Kind::Unanswered,
            // About the pace alone.
            StatusCode::TOO_MANY_REQUESTS => Kind::RateLimited { retry_after_millis },
            _ => Kind::Transient,
        };
        return DriveError::new(context.method, kind)
            .with_status(status)
            .with_source(NotGoogles);
    };
    let kind = kind(context, status, &error_body, retry_after_millis);
    DriveError::new(context.method, kind)
        .with_status(status)
        .with_reason(error_body.reason)
}

fn kind(
    context: CallContext,
    status: StatusCode,
    error_body: &ErrorBody,
    retry_after_millis: Option<u64>,
) -> Kind {
    if status.is_server_error() {
        return Kind::Transient;
    }
    if context.carries_cursor
        && status == StatusCode::BAD_REQUEST
        && let Some(kind) = kind_of_cursor(error_body)
    {
        return kind;
    }
    let reason = error_body.reason.clone().unwrap_or_default();
    match (class_of(&reason), status) {
        (_, StatusCode::PRECONDITION_FAILED) => Kind::Stale,
        (Some(Class::Rate), _) | (None, StatusCode::TOO_MANY_REQUESTS) => {
            Kind::RateLimited { retry_after_millis }
        }
        (Some(Class::Day), _) => Kind::DailyLimit,
        (Some(Class::Denied), _) => Kind::AccessDenied { reason },
        (Some(Class::Auth), _) | (None, StatusCode::UNAUTHORIZED) => Kind::AuthLost { reason },
        (Some(Class::Invalid | Class::Permanent), _) => Kind::Permanent { reason },
        (None, StatusCode::NOT_FOUND | StatusCode::GONE) => Kind::NotFound,
        (None, StatusCode::REQUEST_TIMEOUT) => Kind::Transient,
        (None, _) if context.writes && status.is_client_error() => Kind::Permanent { reason },
        (None, _) => Kind::Transient,
    }
}

fn class_of(reason: &str) -> Option<Class> {
    let row = REASONS.iter().find(|(name, _)| *name == reason);
    row.map(|(_, class)| *class)
}

/// Returns whether a reason is about the value that was written, so that the same write is never
/// accepted.
pub(crate) fn is_about_value(reason: &str) -> bool {
    class_of(reason) == Some(Class::Invalid)
}

/// Returns the kind of a 400 that is about the page token. The error is undocumented. Other clients
/// report `invalid` located at `pageToken`; see [`crate::Assumption::InvalidPageTokenIsLocated`].
/// One that names no parameter is like a 404 or 410: the token is all that differs from requests
/// that were answered, and the caller decides when to believe it.
fn kind_of_cursor(error_body: &ErrorBody) -> Option<Kind> {
    match (
        error_body.reason.as_deref()?,
        error_body.location.as_deref(),
    ) {
        ("invalid" | "invalidParameter", Some("pageToken")) => Some(Kind::CursorLost),
        ("invalid" | "invalidParameter" | "badRequest", None) => Some(Kind::NotFound),
        _ => None,
    }
}

/// Parses `Retry-After` in seconds. Its other form, a date, is ignored: Drive is not known to send
/// either.
fn retry_after_millis(headers: &HeaderMap) -> Option<u64> {
    let seconds: u64 = headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    seconds.checked_mul(1000)
}

/// The parsed members of an error body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ErrorBody {
    pub(crate) reason: Option<String>,
    location: Option<String>,
}

#[derive(Deserialize)]
struct Body {
    error: Error,
}

/// The error of Drive, or the error code of an OAuth endpoint (RFC 6749, section 5.2).
#[derive(Deserialize)]
#[serde(untagged)]
enum Error {
    Drive {
        #[serde(default)]
        code: Option<u16>,
        #[serde(default)]
        errors: Vec<Detail>,
        #[serde(default)]
        details: Vec<Detail>,
        #[serde(default)]
        status: Option<String>,
    },
    OAuth(String),
}

#[derive(Deserialize)]
struct Detail {
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    location: Option<String>,
}

impl ErrorBody {
    /// Parses the body of an error of Drive's: an object with the response's own status as `code`,
    /// and a reason. Returns `None` for anything else.
    pub(crate) fn of_drive(status: StatusCode, body: &[u8]) -> Option<Self> {
        let Ok(Body { error }) = serde_json::from_slice(body) else {
            return None;
        };
        match &error {
            Error::Drive { code, .. } if *code == Some(status.as_u16()) => {}
            Error::Drive { .. } | Error::OAuth(_) => return None,
        }
        let parsed = Self::of(error);
        parsed.reason.is_some().then_some(parsed)
    }

    /// Parses the body of an error of an OAuth endpoint. An unknown format yields no members.
    pub(crate) fn parse(body: &[u8]) -> Self {
        serde_json::from_slice(body)
            .map_or_else(|_| Self::default(), |body: Body| Self::of(body.error))
    }

    fn of(error: Error) -> Self {
        let (reason, location) = match error {
            Error::OAuth(word) => (Some(word), None),
            Error::Drive {
                code: _,
                errors,
                details,
                status,
            } => {
                let first = errors
                    .into_iter()
                    .chain(details)
                    .find(|detail| detail.reason.is_some());
                let (reason, location) = first.map_or((None, None), |d| (d.reason, d.location));
                (reason.or(status), location)
            }
        };
        Self {
            reason: reason.as_deref().map(printable).filter(|r| !r.is_empty()),
            location,
        }
    }
}

/// Reduces a reason to a single word, so that no error can bring a name or a line break into a log.
fn printable(reason: &str) -> String {
    reason
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        .take(64)
        .collect()
}
