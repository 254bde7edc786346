//! What went wrong, told by what becomes of the caller's input.

use std::fmt;
use std::sync::Arc;

use domain::Refusal;

use crate::BadContent;

type Source = Arc<dyn std::error::Error + Send + Sync>;

/// What is limited for long is tried again in steps of an hour, in milliseconds.
const LONG_WAIT_MILLIS: i64 = 3_600_000;

/// A call to Drive that did not succeed.
///
/// `Display` holds the method, the kind, the status and Google's reason; never a token, a URL, a name or a body.
#[derive(Debug, thiserror::Error)]
pub struct DriveError {
    kind: Kind,
    method: &'static str,
    status: Option<u16>,
    reason: Option<String>,
    #[source]
    source: Option<Source>,
}

/// What an error means for whoever made the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Drive no longer knows the page token that the call carried: list everything again.
    CursorLost,
    /// Nothing works with these credentials until a person acts.
    AuthLost {
        /// Google's word for it, or ours.
        reason: String,
    },
    /// Too many calls: not done, and nobody's fault.
    RateLimited {
        /// How long Drive asks us to wait, where it says so.
        retry_after_millis: Option<u64>,
    },
    /// The cap that the project's owner set for the day is used up: not done; a long pause.
    DailyLimit,
    /// No such thing for us: gone, or no access to it.
    NotFound,
    /// It is there, but not for us.
    AccessDenied {
        /// Google's reason.
        reason: String,
    },
    /// The file is no longer as it was read (412): not done.
    Stale,
    /// Drive will never take this request: not done.
    Permanent {
        /// Google's reason, or the status where it gave none.
        reason: String,
    },
    /// Content came, and is not what was asked for: ask again, or look at the file again.
    BadContent(BadContent),
    /// Drive answered that it failed, or with something that we don't know: try again later.
    Transient,
    /// No answer, or one that can't be read: a write may have been done.
    Unanswered,
    /// The request never reached Drive: surely not done.
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

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// The same error, for another of the calls that failed together.
    pub(crate) fn again(&self) -> Self {
        Self {
            kind: self.kind.clone(),
            method: self.method,
            status: self.status,
            reason: self.reason.clone(),
            source: self.source.clone(),
        }
    }

    /// What it means.
    #[must_use]
    pub const fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The method as Google names it, e.g. `changes.list`; `oauth2.token` and
    /// `secretsmanager.GetSecretValue` for what comes before a call.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        self.method
    }

    /// The HTTP status, where there was an answer.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        self.status
    }

    /// Google's reason, known to us or not: letters, digits and `._-` only, at most 64 of them.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Google's reason, where it is one that this build does not know. It was judged by the status alone.
    #[must_use]
    pub fn unfamiliar_reason(&self) -> Option<&str> {
        self.reason()
            .filter(|reason| !crate::reasons::known(reason))
    }

    /// How long to stay away at least, in milliseconds: where Drive says so, where the day's cap is used up, and where
    /// too much was shared or watched, which Drive forgives slowly.
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

    /// Whether the limit is one of sharing, or of opening channels: other calls go on.
    #[must_use]
    pub fn limits_one_kind_of_call(&self) -> bool {
        matches!(
            self.reason(),
            Some("sharingRateLimitExceeded" | "subscriptionRateLimitExceeded")
        )
    }

    /// Whether it is about us and no file: then a connection's other files would meet it too.
    #[must_use]
    pub const fn concerns_us(&self) -> bool {
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

    /// What the error of a [`crate::DriveClient::patch_file`] means for the attempt.
    ///
    /// Everything that Google definitely refused is definite, so that the attempt's claim is given back;
    /// [`Kind::AuthLost`] and [`Kind::DailyLimit`] are no fault of the file.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match &self.kind {
            Kind::Stale => Refusal::Stale,
            Kind::RateLimited { .. } | Kind::DailyLimit => match self.wait_millis() {
                Some(wait_millis) => Refusal::Later { wait_millis },
                None => Refusal::Busy,
            },
            Kind::NotSent | Kind::AuthLost { .. } => Refusal::Busy,
            Kind::Permanent { reason } | Kind::AccessDenied { reason } => {
                Refusal::Permanent(reason.clone())
            }
            Kind::NotFound => {
                Refusal::Permanent(self.reason.clone().unwrap_or_else(|| "notFound".to_owned()))
            }
            Kind::CursorLost | Kind::BadContent(_) | Kind::Transient | Kind::Unanswered => {
                Refusal::Unknown(self.to_string())
            }
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
            Self::CursorLost => f.write_str("the page token is no longer valid"),
            Self::AuthLost { reason } => write!(f, "the credentials don't work ({reason})"),
            Self::RateLimited { .. } => f.write_str("too many calls"),
            Self::DailyLimit => f.write_str("the project's daily limit is used up"),
            Self::NotFound => f.write_str("not found"),
            Self::AccessDenied { reason } => write!(f, "access denied ({reason})"),
            Self::Stale => f.write_str("the file has changed since it was read"),
            Self::Permanent { reason } => write!(f, "refused for good ({reason})"),
            Self::BadContent(bad) => write!(f, "{bad}"),
            Self::Transient => f.write_str("failed for now"),
            Self::Unanswered => f.write_str("no answer"),
            Self::NotSent => f.write_str("not sent"),
        }
    }
}

/// An answer that is not the JSON that was promised. Says where, never what: it may hold names or tokens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the JSON can't be read at line {line}, column {column}")]
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
