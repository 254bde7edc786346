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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Rate,
    Day,
    Denied,
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
    ("badRequest", Class::Permanent),
    ("invalid", Class::Permanent),
    ("invalidParameter", Class::Permanent),
    ("invalidSharingRequest", Class::Permanent),
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
/// An unknown reason keeps its text, and the error is classified by the status. An unknown 4xx is
/// [`Kind::Transient`] for a read (a retry is harmless) and [`Kind::Permanent`] for a write: Google
/// rejected it, so it was not executed, and its owner must see the reason.
pub(crate) fn classify(
    context: CallContext,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> DriveError {
    let error_body = ErrorBody::parse(body);
    let reason = error_body.reason.clone();
    let kind = kind(context, status, &error_body, retry_after_millis(headers));
    DriveError::new(context.method, kind)
        .with_status(status)
        .with_reason(reason)
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
    if context.carries_cursor && is_cursor_lost(status, error_body) {
        return Kind::CursorLost;
    }
    let reason = error_body
        .reason
        .clone()
        .unwrap_or_else(|| format!("status{}", status.as_u16()));
    let known = REASONS
        .iter()
        .find_map(|(name, class)| (*name == reason).then_some(*class));
    match (known, status) {
        (_, StatusCode::PRECONDITION_FAILED) => Kind::Stale,
        (Some(Class::Rate), _) | (None, StatusCode::TOO_MANY_REQUESTS) => {
            Kind::RateLimited { retry_after_millis }
        }
        (Some(Class::Day), _) => Kind::DailyLimit,
        (Some(Class::Denied), _) => Kind::AccessDenied { reason },
        (Some(Class::Auth), _) | (None, StatusCode::UNAUTHORIZED) => Kind::AuthLost { reason },
        (Some(Class::Permanent), _) => Kind::Permanent { reason },
        (None, StatusCode::NOT_FOUND | StatusCode::GONE) => Kind::NotFound,
        (None, StatusCode::REQUEST_TIMEOUT) => Kind::Transient,
        (None, _) if context.writes && status.is_client_error() => Kind::Permanent { reason },
        (None, _) => Kind::Transient,
    }
}

/// Returns whether the page token is invalid. The error is undocumented. Other clients report 400
/// `invalid` located at `pageToken`, and treat 404 and 410 alike; see
/// [`crate::Assumption::InvalidPageTokenIsLocated`].
fn is_cursor_lost(status: StatusCode, error_body: &ErrorBody) -> bool {
    let invalid = matches!(
        error_body.reason.as_deref(),
        Some("invalid" | "invalidParameter")
    );
    let located = error_body.location.as_deref() == Some("pageToken");
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
        || status == StatusCode::BAD_REQUEST && invalid && located
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
    /// Parses a body. An unknown format yields no members.
    pub(crate) fn parse(body: &[u8]) -> Self {
        let Ok(Body { error }) = serde_json::from_slice(body) else {
            return Self::default();
        };
        let (reason, location) = match error {
            Error::OAuth(word) => (Some(word), None),
            Error::Drive {
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
