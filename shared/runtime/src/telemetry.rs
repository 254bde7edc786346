//! Logs: one JSON object per line, for CloudWatch and `jq`.
//!
//! Ids, counts, durations and kinds of errors are logged; tokens, secrets, file names and message
//! bodies never are.

use domain::Cause;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::{fmt, prelude::*};

use crate::Settings;

use crate::metrics;

/// The default filter if `RUST_LOG` is not set: `info` for our crates, `warn` for the libraries.
pub const FILTER_DEFAULT: &str =
    "info,aws_config=warn,aws_smithy_runtime=warn,hyper=warn,reqwest=warn";

/// Starts logging to standard output, filtered by `RUST_LOG` or [`FILTER_DEFAULT`], and measuring.
/// Later calls have no effect.
pub fn init() {
    // Levels by target, and no patterns: those would bring a library of regular expressions.
    let asked = Settings::from_env().optional("RUST_LOG");
    let asked = asked.and_then(|text| text.parse::<Targets>().ok());
    let filter = asked
        .or_else(|| FILTER_DEFAULT.parse().ok())
        .unwrap_or_default();
    let json = fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_filter(filter);
    let measured = |metric, value| metrics::invocation().add(metric, value);
    // A subscriber that is already installed stays.
    let _ = tracing_subscriber::registry()
        .with(json)
        .with(metrics::layer(measured))
        .try_init();
}

/// Returns the span of everything that is done on behalf of a cause: each log line in it has the
/// cause, as `span.cause`. Its level is that of the most severe lines, so that no filter that lets
/// a line through leaves its cause out.
#[must_use]
pub fn span(cause: Cause) -> tracing::Span {
    tracing::error_span!("caused", %cause)
}

/// Formats an error with all its sources for one log line. An error is logged once, where it is
/// handled.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
