//! Faults that tests order: errors by pattern, executed or not, and answers that never arrive.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{errors::DriveError, reasons::known};

/// A fault that the next matching calls meet.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// `METHOD /path/glob*`: `*` stands for any text, slashes included, also as the method. A pattern that contains
    /// `?` is compared with path and query, others with the path alone.
    #[serde(rename = "match")]
    pub pattern: String,
    /// How many calls meet it; absent means one, 0 means all.
    #[serde(default = "once")]
    pub times: u64,
    /// How many matching calls pass before the first one meets it.
    #[serde(default)]
    pub after: u64,
    /// The share of the matching calls that meet it, drawn for each by chance; absent means 1, all of them.
    #[serde(default = "all")]
    pub share: f64,
    /// The answer. May be absent when `drop` is set.
    #[serde(default)]
    pub respond: Option<FaultAnswer>,
    /// Whether the call is executed before its answer is replaced.
    #[serde(default)]
    pub applied: bool,
    /// Whether the connection is closed without an answer.
    #[serde(default)]
    pub drop: bool,
    /// Milliseconds that the answer is held back (also without any other effect).
    #[serde(default)]
    pub delay_ms: u64,
    /// Texts in the body of the answer, each with what stands there instead: words that Drive does not say yet.
    #[serde(default)]
    pub replace: BTreeMap<String, String>,
    /// What becomes of the body of the answer on its way, byte by byte.
    #[serde(default)]
    pub spoil: Option<Spoil>,
}

/// What becomes of the body of an answer, whose headers stay as they are. Positions count the bytes of this body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spoil {
    /// The connection is closed after so many bytes.
    pub cut_after: Option<u64>,
    /// The byte at this position is another one.
    pub flip_at: Option<u64>,
    /// So many bytes more follow, and the answer does not say how long it is.
    pub append_bytes: Option<u64>,
    /// The answer does not say how long it is, and ends without a sign after so many bytes, as if that were all.
    pub end_after: Option<u64>,
}

fn once() -> u64 {
    1
}

fn all() -> f64 {
    1.0
}

/// The error that replaces an answer.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FaultAnswer {
    /// The HTTP status.
    pub status: u16,
    /// `errors[0].reason`.
    #[serde(default)]
    pub reason: Option<String>,
    /// The message; when absent Google's for this reason, or the reason itself.
    #[serde(default)]
    pub message: Option<String>,
    /// `errors[0].location`, a parameter; when absent the header that Google names for this reason, if any.
    #[serde(default)]
    pub location: Option<String>,
    /// The header `Retry-After`, in seconds.
    #[serde(default)]
    pub retry_after_seconds: Option<u64>,
    /// Whether it is a page of HTML, as proxies and front ends answer, and says nothing of the above but the status.
    #[serde(default)]
    pub html: bool,
}

impl FaultAnswer {
    /// The refusal that is sent.
    pub(crate) fn error(&self) -> DriveError {
        let reason = self
            .reason
            .clone()
            .unwrap_or_else(|| default_reason(self.status).to_owned());
        let known = known(&reason);
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

/// The faults that are ordered and not yet used up.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pending: Vec<Fault>,
    /// How many calls have met one since the counters were last zeroed.
    pub(crate) met: u64,
    rng: fastrand::Rng,
}

impl Faults {
    /// None yet; `rng` draws who meets those that only a share of the calls meet.
    pub(crate) fn new(rng: fastrand::Rng) -> Self {
        Self {
            pending: Vec::new(),
            met: 0,
            rng,
        }
    }

    /// Orders a fault.
    ///
    /// # Errors
    /// A message for a fault without a pattern of two words, without any effect, or met by more or less than some.
    pub(crate) fn add(&mut self, fault: Fault) -> Result<(), String> {
        if fault.pattern.split_ascii_whitespace().count() != 2 {
            return Err("match must be 'METHOD /path*'".to_owned());
        }
        if !(fault.share > 0.0 && fault.share <= 1.0) {
            return Err("share must be above 0, and at most 1".to_owned());
        }
        let answers = fault.respond.is_some() || fault.drop;
        let alters = !fault.replace.is_empty() || fault.spoil.is_some();
        if !answers && fault.delay_ms == 0 && !alters {
            return Err("a fault needs respond, drop, delay_ms, replace or spoil".to_owned());
        }
        if (answers && alters) || fault.replace.contains_key("") {
            return Err(
                "replace and spoil are for the answer of a call that is executed".to_owned(),
            );
        }
        if let Some(answer) = fault
            .respond
            .as_ref()
            .filter(|answer| !(200..600).contains(&answer.status))
        {
            return Err(format!("{} is not a status", answer.status));
        }
        self.pending.push(fault);
        Ok(())
    }

    /// Forgets every fault.
    pub(crate) fn clear(&mut self) {
        self.pending.clear();
    }

    /// What is still pending.
    pub(crate) fn pending(&self) -> &[Fault] {
        &self.pending
    }

    /// The fault that this call meets, in the order in which they were ordered; uses it up by one.
    pub(crate) fn meet(&mut self, method: &str, path: &str, query: Option<&str>) -> Option<Fault> {
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
            self.met += 1;
            let met = fault.clone();
            match fault.times {
                0 => {}
                1 => {
                    self.pending.remove(at);
                }
                _ => fault.times -= 1,
            }
            return Some(met);
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

/// Whether `text` fits `pattern`, in which `*` stands for any text.
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
    fn a_star_stands_for_any_text() {
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
    fn a_fault_is_met_so_many_times_and_then_gone() {
        let mut faults = Faults::default();
        faults
            .add(fault("PATCH /drive/v2/files/*", 2))
            .expect("valid");
        assert!(faults.meet("GET", "/drive/v2/files/1", None).is_none());
        assert!(faults.meet("PATCH", "/drive/v2/files/1", None).is_some());
        assert!(faults.meet("PATCH", "/drive/v2/files/2", None).is_some());
        assert!(faults.meet("PATCH", "/drive/v2/files/3", None).is_none());
    }

    #[test]
    fn a_share_of_the_calls_meets_a_fault_and_they_are_counted() {
        let mut faults = Faults::new(fastrand::Rng::with_seed(7));
        let rare = Fault {
            share: 0.05,
            ..fault("* /x", 0)
        };
        faults.add(rare.clone()).expect("valid");
        let calls = (0..10_000).filter(|_| faults.meet("GET", "/x", None).is_some());
        let met = calls.count();
        assert!((400..600).contains(&met), "{met}");
        assert_eq!(faults.met, met as u64);
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
    fn zero_times_means_always_and_after_lets_calls_pass_first() {
        let mut faults = Faults::default();
        faults
            .add(Fault {
                after: 1,
                ..fault("* /x", 0)
            })
            .expect("valid");
        let met: Vec<bool> = (0..4)
            .map(|_| faults.meet("GET", "/x", None).is_some())
            .collect();
        assert_eq!(met, [false, true, true, true]);
    }

    #[test]
    fn a_pattern_with_a_question_mark_sees_the_query() {
        let mut faults = Faults::default();
        faults.add(fault("GET /f/*?*alt=media*", 0)).expect("valid");
        assert!(faults.meet("GET", "/f/1", Some("alt=media")).is_some());
        assert!(faults.meet("GET", "/f/1", Some("fields=id")).is_none());
        assert!(faults.meet("GET", "/f/1", None).is_none());
    }
}
