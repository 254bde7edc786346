//! The error of a Drive call, classified by its consequence for the caller.

use std::fmt;
use std::sync::Arc;

use domain::Refusal;

use crate::BadContent;
use crate::failure::classify::{is_about_value, is_known};

type Source = Arc<dyn std::error::Error + Send + Sync>;

/// The wait after a long-lasting limit, in milliseconds.
const LONG_WAIT_MILLIS: i64 = 3_600_000;
/// The time for which a write is refused with 404 before that is believed, in milliseconds: as for
/// the presence of a file.
const NOT_FOUND_MILLIS: i64 = 600_000;
/// The time for which a write is refused for an unknown reason before it is shown as failed, in
/// milliseconds: a day.
const UNKNOWN_REASON_MILLIS: i64 = 86_400_000;

/// The error of a call to Drive.
///
/// `Display` shows the method, the kind, the status and Google's reason; never a token, a URL, a
/// name or a body.
#[derive(Debug, thiserror::Error)]
pub struct DriveError {
    kind: Kind,
    method: &'static str,
    status: Option<u16>,
    reason: Option<String>,
    #[source]
    source: Option<Source>,
}

/// The meaning of an error for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Drive does not know the page token of the call any more: everything must be listed again.
    CursorLost,
    /// The credentials don't work until a person acts.
    AuthLost {
        /// Google's reason, or ours.
        reason: String,
    },
    /// A rate limit was exceeded. Not executed.
    RateLimited {
        /// The wait that Drive asked for, if any.
        retry_after_millis: Option<u64>,
    },
    /// The daily limit that the project's owner set is exceeded. Not executed; the wait is long.
    DailyLimit,
    /// The item does not exist or is not visible.
    NotFound,
    /// The item exists, but access is denied.
    AccessDenied {
        /// Google's reason.
        reason: String,
    },
    /// The file has changed since it was read (412). Not executed.
    Stale,
    /// Drive refused the request, and a repetition at once is useless. Not executed.
    Permanent {
        /// Google's reason.
        reason: String,
    },
    /// The received content is not the requested one: retry, or read the file again.
    BadContent(BadContent),
    /// Drive reported a failure, or something unknown: retry later.
    Transient,
    /// No response, or an unreadable one: a write may have been executed.
    Unanswered,
    /// The request never reached Drive. Not executed.
    NotSent,
}

impl DriveError {
    pub(crate) fn new(method: &'static str, kind: Kind) -> Self {
        Self {
            kind,
            method,
            status: None,
            reason: None,
            source: None,
        }
    }

    pub(crate) fn with_status(mut self, status: http::StatusCode) -> Self {
        self.status = Some(status.as_u16());
        self
    }

    pub(crate) fn with_reason(mut self, reason: Option<String>) -> Self {
        self.reason = reason;
        self
    }

    /// The error of what has to happen before any call, and did not: nothing was sent.
    #[must_use]
    pub fn not_sent(
        what: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::new(what, Kind::NotSent).with_source(source)
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// Returns the cause if it is a `T`: what of [`crate::InvalidCredentials`] or
    /// [`domain::OutOfReach`] made a secret unusable.
    #[must_use]
    pub fn source_as<T: std::error::Error + 'static>(&self) -> Option<&T> {
        self.source.as_deref()?.downcast_ref()
    }

    /// Duplicates the error for another of the calls that failed together.
    pub(crate) fn duplicate(&self) -> Self {
        Self {
            kind: self.kind.clone(),
            method: self.method,
            status: self.status,
            reason: self.reason.clone(),
            source: self.source.clone(),
        }
    }

    /// Returns the kind of the error.
    #[must_use]
    pub const fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Returns the method by Google's name, e.g. `changes.list`; `oauth2.token` and
    /// `secretsmanager.GetSecretValue` for the requests that precede a call.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        self.method
    }

    /// Returns the HTTP status, if there was a response.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        self.status
    }

    /// Returns Google's reason, known or not: at most 64 letters, digits and `._-`.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Returns Google's reason if this build does not know it. Such an error was classified by its
    /// status alone.
    #[must_use]
    pub fn unknown_reason(&self) -> Option<&str> {
        self.reason().filter(|reason| !is_known(reason))
    }

    /// Returns the shortest wait before a retry, in milliseconds: if Drive asks for one, after the
    /// daily limit, and after the limits on sharing and on opening channels, which last long.
    #[must_use]
    pub fn wait_millis(&self) -> Option<i64> {
        match &self.kind {
            Kind::RateLimited {
                retry_after_millis: Some(millis),
            } => i64::try_from(*millis).ok(),
            Kind::RateLimited {
                retry_after_millis: None,
            } => self.limits_one_kind_of_call().then_some(LONG_WAIT_MILLIS),
            Kind::DailyLimit => Some(LONG_WAIT_MILLIS),
            Kind::CursorLost
            | Kind::AuthLost { .. }
            | Kind::NotFound
            | Kind::AccessDenied { .. }
            | Kind::Stale
            | Kind::Permanent { .. }
            | Kind::BadContent(_)
            | Kind::Transient
            | Kind::Unanswered
            | Kind::NotSent => None,
        }
    }

    /// Returns whether the rate limit applies to one kind of call only: sharing, or opening
    /// channels.
    #[must_use]
    pub fn limits_one_kind_of_call(&self) -> bool {
        matches!(
            self.reason(),
            Some("sharingRateLimitExceeded" | "subscriptionRateLimitExceeded")
        )
    }

    /// Returns whether the error would affect all files of the connection.
    #[must_use]
    pub const fn is_connection_wide(&self) -> bool {
        match self.kind {
            Kind::AuthLost { .. } | Kind::DailyLimit | Kind::NotSent => true,
            Kind::CursorLost
            | Kind::RateLimited { .. }
            | Kind::NotFound
            | Kind::AccessDenied { .. }
            | Kind::Stale
            | Kind::Permanent { .. }
            | Kind::BadContent(_)
            | Kind::Transient
            | Kind::Unanswered => false,
        }
    }

    /// Returns the meaning of the error for an attempt to write with
    /// [`crate::DriveClient::patch_file`].
    ///
    /// A definite rejection by Google releases the attempt's claim. It is lasting only if it is
    /// about the value; any other known reason can pass, and an unknown one is not believed for a
    /// day. [`Kind::AuthLost`] and [`Kind::DailyLimit`] are not caused by the file.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match &self.kind {
            Kind::Stale => Refusal::Stale,
            Kind::RateLimited { .. } | Kind::DailyLimit => match self.wait_millis() {
                Some(wait_millis) => Refusal::Later { wait_millis },
                None => Refusal::Busy,
            },
            Kind::NotSent | Kind::AuthLost { .. } => Refusal::Busy,
            Kind::Permanent { reason } if is_about_value(reason) => {
                Refusal::Permanent(reason.clone())
            }
            Kind::Permanent { reason } if !is_known(reason) => Refusal::Doubted {
                reason: reason.clone(),
                believed_after_millis: UNKNOWN_REASON_MILLIS,
            },
            Kind::Permanent { reason } | Kind::AccessDenied { reason } => {
                Refusal::Passing(reason.clone())
            }
            // The file, or the folder that it was to be moved into.
            Kind::NotFound => Refusal::Doubted {
                reason: self.reason.clone().unwrap_or_else(|| "notFound".to_owned()),
                believed_after_millis: NOT_FOUND_MILLIS,
            },
            Kind::CursorLost | Kind::BadContent(_) | Kind::Transient | Kind::Unanswered => {
                Refusal::Unknown(self.trouble())
            }
        }
    }

    /// Returns what kept the call from succeeding, for a person: the status and Google's reason, or
    /// that there was no answer.
    #[must_use]
    pub fn trouble(&self) -> String {
        match (self.status, &self.reason) {
            (Some(status), Some(reason)) => format!("Drive answers {status} {reason}"),
            (Some(status), None) => format!("Drive answers {status}"),
            (None, _) => "Drive does not answer".to_owned(),
        }
    }

    /// Returns whether Drive failed to answer, as opposed to refusing the call: 5xx, no response,
    /// or one that is not Drive's.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match &self.kind {
            Kind::Unanswered | Kind::NotSent => true,
            Kind::Transient => match self.status {
                Some(status) => status >= 500 || self.reason.is_none(),
                None => false,
            },
            Kind::CursorLost
            | Kind::AuthLost { .. }
            | Kind::RateLimited { .. }
            | Kind::DailyLimit
            | Kind::NotFound
            | Kind::AccessDenied { .. }
            | Kind::Stale
            | Kind::Permanent { .. }
            | Kind::BadContent(_) => false,
        }
    }
}

impl fmt::Display for DriveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.method, self.kind)?;
        if let Some(status) = self.status {
            write!(f, ", status {status}")?;
        }
        if let Some(reason) = &self.reason {
            write!(f, ", reason {reason}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CursorLost => f.write_str("the page token is not valid any more"),
            Self::AuthLost { reason } => write!(f, "the credentials don't work ({reason})"),
            Self::RateLimited { .. } => f.write_str("rate limit exceeded"),
            Self::DailyLimit => f.write_str("the project's daily limit is exceeded"),
            Self::NotFound => f.write_str("not found"),
            Self::AccessDenied { reason } => write!(f, "access denied ({reason})"),
            Self::Stale => f.write_str("the file has changed since it was read"),
            Self::Permanent { reason } => write!(f, "permanently rejected ({reason})"),
            Self::BadContent(bad) => write!(f, "{bad}"),
            Self::Transient => f.write_str("temporary failure"),
            Self::Unanswered => f.write_str("no response"),
            Self::NotSent => f.write_str("not sent"),
        }
    }
}

/// A response that is not the expected JSON. Contains the position only: the text may contain names
/// or tokens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid JSON at line {line}, column {column}")]
pub(crate) struct BadJson {
    line: usize,
    column: usize,
}

impl From<serde_json::Error> for BadJson {
    fn from(error: serde_json::Error) -> Self {
        Self {
            line: error.line(),
            column: error.column(),
        }
    }
}
