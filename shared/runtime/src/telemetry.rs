//! Logs: one JSON object a line, for CloudWatch and for `jq`.
//!
//! What may be logged: ids, counts, durations, error kinds. Never a token, a secret, a file's name,
//! nor a body.

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

/// What is logged where `RUST_LOG` says nothing: `info` for us, `warn` for the libraries.
pub const FILTER_DEFAULT: &str =
    "info,aws_config=warn,aws_smithy_runtime=warn,hyper=warn,reqwest=warn";

/// Starts logging to standard output. `RUST_LOG` filters, else [`FILTER_DEFAULT`]. Safe to call twice:
/// the first call counts.
pub fn init() {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(FILTER_DEFAULT));
    let json = fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false);
    // Where a subscriber is installed already, that one stays.
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(json)
        .try_init();
}

/// An error with all its causes, for one log line: logged once, where it is handled.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        said.push_str(": ");
        said.push_str(&inner.to_string());
        cause = inner.source();
    }
    said
}
