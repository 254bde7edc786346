//! Google's errors, classified by their reason: the status alone says too little (403 is many things).

use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;

use crate::{DriveError, Kind};

/// What has to be known of a call to judge its error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// The method as Google names it.
    pub(crate) method: &'static str,
    /// It carried a page token.
    pub(crate) carries_cursor: bool,
    /// It changes something in Drive.
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

/// The known reasons. Source: the Drive guide "Resolve errors", unless a row says otherwise. A reason that is
/// not here is judged by its status alone.
const REASONS: &[(&str, Class)] = &[
    ("rateLimitExceeded", Class::Rate),
    ("userRateLimitExceeded", Class::Rate),
    ("sharingRateLimitExceeded", Class::Rate),
    // Seen in the field, in no document: too many channels opened.
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
    // Seen in the field: what opening a channel is refused for. The last one comes with a 401, and a new
    // access token does not help.
    ("channelIdNotUnique", Class::Permanent),
    ("push.webhookUrlNotHttps", Class::Permanent),
    ("push.webhookUrlUnauthorized", Class::Permanent),
    ("authError", Class::Auth),
    // General knowledge, unchecked: the project has the Drive API switched off, and the token's scope is too small.
    ("accessNotConfigured", Class::Auth),
    ("insufficientPermissions", Class::Auth),
];

/// Whether a reason is one that we know, or that only says what the status says.
pub(crate) fn known(reason: &str) -> bool {
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

/// The error of a call that was answered with anything but success.
///
/// A reason that we don't know keeps its text, and is judged by the status. A 4xx that says nothing to us is
/// [`Kind::Transient`] for a read (it costs nothing to ask again) and [`Kind::Permanent`] for a write: Google
/// refused it, so it surely did not happen, and whoever waits for it must see the reason.
pub(crate) fn classify(
    asked: Asked,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> DriveError {
    let said = Said::parse(body);
    let reason = said.reason.clone();
    let kind = kind(asked, status, &said, retry_after_millis(headers));
    DriveError::new(asked.method, kind)
        .with_status(status)
        .with_reason(reason)
}

fn kind(asked: Asked, status: StatusCode, said: &Said, retry_after_millis: Option<u64>) -> Kind {
    if status.is_server_error() {
        return Kind::Transient;
    }
    if asked.carries_cursor && lost_the_cursor(status, said) {
        return Kind::CursorLost;
    }
    let reason = said
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
        (None, _) if asked.writes && status.is_client_error() => Kind::Permanent { reason },
        (None, _) => Kind::Transient,
    }
}

/// An invalid page token is in no document. Clients in the field report 400 `invalid` located at
/// `pageToken`, and treat 404 and 410 alike; see [`crate::Assumption::InvalidPageTokenIsLocated`].
fn lost_the_cursor(status: StatusCode, said: &Said) -> bool {
    let invalid = matches!(said.reason.as_deref(), Some("invalid" | "invalidParameter"));
    let located = said.location.as_deref() == Some("pageToken");
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
        || status == StatusCode::BAD_REQUEST && invalid && located
}

/// `Retry-After` in seconds; its other form, a date, is left alone: Drive is not known to send either.
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

/// What the body of an error says, as far as we look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) reason: Option<String>,
    location: Option<String>,
}

#[derive(Deserialize)]
struct Body {
    error: Error,
}

/// Drive's own shape, or the word of an OAuth endpoint (RFC 6749, section 5.2).
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

impl Said {
    /// Reads what it can; a body that is something else entirely says nothing.
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

/// A reason is a word. Whatever else stands in its place is cut down to one, so that no error can carry a
/// name or a line break into a log.
fn printable(reason: &str) -> String {
    reason
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        .take(64)
        .collect()
}
