//! Faults that tests inject: errors by pattern, with or without executing the call, and lost or
//! corrupted responses.

pub(crate) mod corrupt_body;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::errors::{DriveError, reason_texts::reason_text};

/// A fault that applies to the next matching calls.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// `METHOD /path/glob*`: `*` matches any text, slashes included, also as the method. A pattern
    /// with `?` is matched against path and query, any other against the path alone.
    #[serde(rename = "match")]
    pub pattern: String,
    /// The number of calls that the fault applies to; absent means 1, 0 means all.
    #[serde(default = "default_times")]
    pub times: u64,
    /// The number of matching calls that pass before the fault first applies.
    #[serde(default)]
    pub after: u64,
    /// The fraction of matching calls that the fault applies to, drawn at random for each call;
    /// absent means 1, all of them.
    #[serde(default = "default_share")]
    pub share: f64,
    /// The response. May be absent when `drop` is set.
    #[serde(default)]
    pub respond: Option<FaultResponse>,
    /// Executes the call before its response is replaced.
    #[serde(default)]
    pub applied: bool,
    /// Closes the connection without a response.
    #[serde(default)]
    pub drop: bool,
    /// Delays the response, in milliseconds; valid without any other effect.
    #[serde(default)]
    pub delay_ms: u64,
    /// Texts in the body of the response and their replacements, e.g. enum values that Drive does
    /// not have yet.
    #[serde(default)]
    pub replace: BTreeMap<String, String>,
    /// Corrupts the body of the response.
    #[serde(default, rename = "spoil")]
    pub corrupt: Option<CorruptBody>,
}

/// A corruption of a response body, which leaves the headers as they are. Positions count the bytes
/// of the body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CorruptBody {
    /// Closes the connection after this many bytes.
    pub cut_after: Option<u64>,
    /// Inverts the byte at this position.
    pub flip_at: Option<u64>,
    /// Appends this many bytes and removes `Content-Length`.
    pub append_bytes: Option<u64>,
    /// Removes `Content-Length` and ends the body after this many bytes, as if it were complete.
    pub end_after: Option<u64>,
}

fn default_times() -> u64 {
    1
}

fn default_share() -> f64 {
    1.0
}

/// The error that replaces a response.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FaultResponse {
    /// The HTTP status.
    pub status: u16,
    /// `errors[0].reason`.
    #[serde(default)]
    pub reason: Option<String>,
    /// The message; defaults to Google's for this reason, or to the reason itself.
    #[serde(default)]
    pub message: Option<String>,
    /// `errors[0].location`, a parameter; defaults to the header that Google names for this reason,
    /// if any.
    #[serde(default)]
    pub location: Option<String>,
    /// The header `Retry-After`, in seconds.
    #[serde(default)]
    pub retry_after_seconds: Option<u64>,
    /// Sends a page of HTML, as proxies and front ends do, with nothing of the above but the
    /// status.
    #[serde(default)]
    pub html: bool,
}

impl FaultResponse {
    /// Returns the error to send.
    pub(crate) fn error(&self) -> DriveError {
        let reason = self
            .reason
            .clone()
            .unwrap_or_else(|| default_reason(self.status).to_owned());
        let known = reason_text(&reason);
        let message = self.message.clone();
        let message = message.unwrap_or_else(|| {
            known
                .map_or(reason.as_str(), |known| known.message)
                .to_owned()
        });
        let error = DriveError::new(self.status, reason, message);
        match &self.location {
            Some(location) => error.at(location.clone()),
            None => DriveError {
                location: known.and_then(|known| known.location.clone()),
                ..error
            },
        }
    }
}

fn default_reason(status: u16) -> &'static str {
    match status {
        400 => "badRequest",
        401 => "authError",
        403 => "forbidden",
        404 => "notFound",
        412 => "conditionNotMet",
        429 => "rateLimitExceeded",
        _ => "backendError",
    }
}

/// The faults that are not used up yet.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pending: Vec<Fault>,
    /// The number of calls that a fault applied to since the counters were last zeroed.
    pub(crate) applied: u64,
    rng: fastrand::Rng,
}

impl Faults {
    /// Creates an empty list; `rng` draws the calls that a fault with a `share` applies to.
    pub(crate) fn new(rng: fastrand::Rng) -> Self {
        Self {
            pending: Vec::new(),
            applied: 0,
            rng,
        }
    }

    /// Adds a fault.
    ///
    /// # Errors
    /// A message for a pattern that is not two words, a fault without any effect, or a `share`
    /// outside 0 to 1.
    pub(crate) fn add(&mut self, fault: Fault) -> Result<(), String> {
        if fault.pattern.split_ascii_whitespace().count() != 2 {
            return Err("match must be 'METHOD /path*'".to_owned());
        }
        if !(fault.share > 0.0 && fault.share <= 1.0) {
            return Err("share must be above 0 and at most 1".to_owned());
        }
        let responds = fault.respond.is_some() || fault.drop;
        let alters = !fault.replace.is_empty() || fault.corrupt.is_some();
        if !responds && fault.delay_ms == 0 && !alters {
            return Err("a fault needs respond, drop, delay_ms, replace or spoil".to_owned());
        }
        if (responds && alters) || fault.replace.contains_key("") {
            return Err(
                "replace and spoil require a call that is executed and its response sent"
                    .to_owned(),
            );
        }
        if let Some(response) = fault
            .respond
            .as_ref()
            .filter(|response| !(200..600).contains(&response.status))
        {
            return Err(format!("{} is not an HTTP status", response.status));
        }
        self.pending.push(fault);
        Ok(())
    }

    /// Removes every fault.
    pub(crate) fn clear(&mut self) {
        self.pending.clear();
    }

    /// Returns the faults that are not used up.
    pub(crate) fn pending(&self) -> &[Fault] {
        &self.pending
    }

    /// Returns the first fault that applies to this call, in the order in which they were added,
    /// and uses it up by one.
    pub(crate) fn take_matching(
        &mut self,
        method: &str,
        path: &str,
        query: Option<&str>,
    ) -> Option<Fault> {
        for at in 0..self.pending.len() {
            let fault = self
                .pending
                .get_mut(at)
                .filter(|fault| matches(&fault.pattern, method, path, query));
            let Some(fault) = fault else { continue };
            if fault.after > 0 {
                fault.after -= 1;
                continue;
            }
            if fault.share < 1.0 && self.rng.f64() >= fault.share {
                continue;
            }
            self.applied += 1;
            let matched = fault.clone();
            match fault.times {
                0 => {}
                1 => {
                    self.pending.remove(at);
                }
                _ => fault.times -= 1,
            }
            return Some(matched);
        }
        None
    }
}

fn matches(pattern: &str, method: &str, path: &str, query: Option<&str>) -> bool {
    let mut words = pattern.split_ascii_whitespace();
    let (Some(wanted_method), Some(wanted_path)) = (words.next(), words.next()) else {
        return false;
    };
    let method_fits = wanted_method == "*" || wanted_method.eq_ignore_ascii_case(method);
    let target = match query {
        Some(query) if wanted_path.contains('?') => format!("{path}?{query}"),
        _ => path.to_owned(),
    };
    method_fits && glob(wanted_path, &target)
}

/// Returns whether `text` matches `pattern`, in which `*` matches any text.
fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        match rest.find(piece).and_then(|at| rest.get(at + piece.len()..)) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(pattern: &str, times: u64) -> Fault {
        let text =
            serde_json::json!({"match": pattern, "times": times, "respond": {"status": 503}});
        serde_json::from_value(text).expect("a fault")
    }

    #[test]
    fn a_star_matches_any_text() {
        for (pattern, text) in [
            ("/a/*", "/a/b/c"),
            ("/a/*/c", "/a/b/c"),
            ("*", "/x"),
            ("/a", "/a"),
            ("*b*", "/abc"),
        ] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("/a/*", "/b/c"),
            ("/a", "/ab"),
            ("/a/*/d", "/a/b/c"),
            ("a*a", "a"),
        ] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_fault_applies_the_given_number_of_times() {
        let mut faults = Faults::default();
        faults
            .add(fault("PATCH /drive/v2/files/*", 2))
            .expect("valid");
        assert!(
            faults
                .take_matching("GET", "/drive/v2/files/1", None)
                .is_none()
        );
        assert!(
            faults
                .take_matching("PATCH", "/drive/v2/files/1", None)
                .is_some()
        );
        assert!(
            faults
                .take_matching("PATCH", "/drive/v2/files/2", None)
                .is_some()
        );
        assert!(
            faults
                .take_matching("PATCH", "/drive/v2/files/3", None)
                .is_none()
        );
    }

    #[test]
    fn a_fault_applies_to_a_share_of_the_calls_and_they_are_counted() {
        let mut faults = Faults::new(fastrand::Rng::with_seed(7));
        let rare = Fault {
            share: 0.05,
            ..fault("* /x", 0)
        };
        faults.add(rare.clone()).expect("valid");
        let calls = (0..10_000).filter(|_| faults.take_matching("GET", "/x", None).is_some());
        let met = calls.count();
        assert!((400..600).contains(&met), "{met}");
        assert_eq!(faults.applied, met as u64);
        for share in [0.0, -0.1, 1.1, f64::NAN] {
            assert!(
                faults
                    .add(Fault {
                        share,
                        ..rare.clone()
                    })
                    .is_err()
            );
        }
    }

    #[test]
    fn zero_times_means_always_and_after_skips_the_first_calls() {
        let mut faults = Faults::default();
        faults
            .add(Fault {
                after: 1,
                ..fault("* /x", 0)
            })
            .expect("valid");
        let met: Vec<bool> = (0..4)
            .map(|_| faults.take_matching("GET", "/x", None).is_some())
            .collect();
        assert_eq!(met, [false, true, true, true]);
    }

    #[test]
    fn a_pattern_with_a_question_mark_matches_the_query() {
        let mut faults = Faults::default();
        faults.add(fault("GET /f/*?*alt=media*", 0)).expect("valid");
        assert!(
            faults
                .take_matching("GET", "/f/1", Some("alt=media"))
                .is_some()
        );
        assert!(
            faults
                .take_matching("GET", "/f/1", Some("fields=id"))
                .is_none()
        );
        assert!(faults.take_matching("GET", "/f/1", None).is_none());
    }
}
