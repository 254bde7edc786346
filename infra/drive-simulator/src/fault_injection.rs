//! Faults that tests inject: errors by pattern, with or without executing the call, and lost or
//! corrupted responses.

pub(crate) mod corrupt_body;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};

use http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::errors::{DriveError, reason_texts::reason_text};

/// The number of page tokens that a fault remembers.
const TOKENS_KEPT: usize = 16;

/// What `times`, `after` and `share` of a fault count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultScope {
    /// The calls that match.
    #[default]
    Call,
    /// The calls of each file by itself; `share` selects files, each of which is always or never
    /// met. Calls that name no file never match.
    File,
}

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
    /// Ends the fault by itself after this time of the simulator's clock, in seconds.
    #[serde(default)]
    pub lasts_seconds: Option<u32>,
    /// Whether `times`, `after` and `share` count calls, or the calls of each file by itself.
    #[serde(default)]
    pub per: FaultScope,
    /// Restricts the fault to calls with this header, e.g. `If-Match`.
    #[serde(default)]
    pub with_header: Option<String>,
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
    /// Sends the response of the call under this content type.
    #[serde(default)]
    pub content_type: Option<String>,
    /// Sends, as the token of the next page, one that this fault has met: 1 is that of the call
    /// itself, 2 that of the matching call before it, which leads in a circle of two pages.
    #[serde(default)]
    pub repeat_token: Option<usize>,
}

impl Fault {
    /// Returns whether the call is executed and its response sent, altered.
    fn alters(&self) -> bool {
        !self.replace.is_empty()
            || self.corrupt.is_some()
            || self.content_type.is_some()
            || self.repeat_token.is_some()
    }

    /// Checks that the fault can apply and has one effect.
    ///
    /// # Errors
    /// A message that says what is wrong.
    fn check(&self) -> Result<(), String> {
        if self.pattern.split_ascii_whitespace().count() != 2 {
            return Err("match must be 'METHOD /path*'".to_owned());
        }
        if !(self.share > 0.0 && self.share <= 1.0) {
            return Err("share must be above 0 and at most 1".to_owned());
        }
        let responds = self.respond.is_some() || self.drop;
        if !responds && self.delay_ms == 0 && !self.alters() {
            return Err(
                "a fault needs respond, drop, delay_ms, replace, spoil, content_type or \
                 repeat_token"
                    .to_owned(),
            );
        }
        if (responds && self.alters()) || self.replace.contains_key("") {
            return Err(
                "replace, spoil, content_type and repeat_token require a call that is executed and \
                 its response sent"
                    .to_owned(),
            );
        }
        if self
            .repeat_token
            .is_some_and(|back| !(1..=TOKENS_KEPT).contains(&back))
        {
            return Err(format!("repeat_token must be between 1 and {TOKENS_KEPT}"));
        }
        self.respond.as_ref().map_or(Ok(()), FaultResponse::check)
    }
}

/// A fault that applies to a call.
#[derive(Debug, Clone)]
pub(crate) struct MatchedFault {
    pub(crate) fault: Fault,
    /// The token of the next page that the response is to have.
    pub(crate) next_page_token: Option<String>,
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
    /// Sends this body instead of an error in Google's format: a text as it is, anything else as
    /// JSON.
    #[serde(default)]
    pub body: Option<Value>,
    /// The header `Content-Type` of `body`; absent means that of JSON, empty means no header.
    #[serde(default)]
    pub content_type: Option<String>,
}

impl FaultResponse {
    fn check(&self) -> Result<(), String> {
        if !(200..600).contains(&self.status) {
            return Err(format!("{} is not an HTTP status", self.status));
        }
        let replaced = self.reason.is_some() || self.message.is_some() || self.html;
        match (&self.body, &self.content_type) {
            (Some(_), _) if replaced => Err("body excludes reason, message and html".to_owned()),
            (None, Some(_)) => Err("content_type of a response requires body".to_owned()),
            (Some(_), _) | (None, None) => Ok(()),
        }
    }

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

/// A fault that is not used up, and what it has met.
#[derive(Debug)]
struct PendingFault {
    fault: Fault,
    /// By file, the number of matching calls so far; only for faults that count by file.
    met: HashMap<String, u64>,
    /// Decides which files a fault with a `share` selects.
    salt: u64,
    /// The end of the fault, in milliseconds since 1970.
    ends_ms: Option<i64>,
    /// The page tokens of the latest matching calls, oldest first.
    tokens: VecDeque<String>,
}

impl PendingFault {
    /// Returns whether the fault applies to one more call that fits its pattern.
    fn applies(&mut self, file: Option<&str>, rng: &mut fastrand::Rng) -> bool {
        match self.fault.per {
            FaultScope::Call => {
                if self.fault.after > 0 {
                    self.fault.after -= 1;
                    return false;
                }
                self.fault.share >= 1.0 || rng.f64() < self.fault.share
            }
            FaultScope::File => {
                let Some(file) = file.filter(|file| self.selects(file)) else {
                    return false;
                };
                let met = self.met.entry(file.to_owned()).or_default();
                *met += 1;
                let Fault { after, times, .. } = self.fault;
                *met > after && (times == 0 || *met <= after.saturating_add(times))
            }
        }
    }

    /// Returns whether the fault's share of all files contains this one: always or never.
    fn selects(&self, file: &str) -> bool {
        let seed = file.bytes().fold(self.salt, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        self.fault.share >= 1.0 || fastrand::Rng::with_seed(seed).f64() < self.fault.share
    }

    /// Records the page token of a matching call.
    fn remember(&mut self, query: Option<&str>) {
        if self.fault.repeat_token.is_none() {
            return;
        }
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let token = pairs.into_owned().find(|(name, _)| name == "pageToken");
        self.tokens.extend(token.map(|(_, token)| token));
        if self.tokens.len() > TOKENS_KEPT {
            self.tokens.pop_front();
        }
    }

    fn matched(&self) -> MatchedFault {
        let back = self.fault.repeat_token.unwrap_or(0);
        let at = self.tokens.len().checked_sub(back).filter(|_| back > 0);
        MatchedFault {
            fault: self.fault.clone(),
            next_page_token: at.and_then(|at| self.tokens.get(at)).cloned(),
        }
    }
}

/// The faults that are not used up yet.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pending: Vec<PendingFault>,
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
    /// A message for a pattern that is not two words, a fault without any effect or with two that
    /// exclude each other, or a value out of bounds.
    pub(crate) fn add(&mut self, fault: Fault, now_ms: i64) -> Result<(), String> {
        fault.check()?;
        // Drawn only where it is used: other faults leave the sequence of draws alone.
        let salt = match fault.per {
            FaultScope::Call => 0,
            FaultScope::File => self.rng.u64(..),
        };
        let lasts = fault
            .lasts_seconds
            .map(|seconds| i64::from(seconds) * 1_000);
        self.pending.push(PendingFault {
            ends_ms: lasts.map(|lasts| now_ms.saturating_add(lasts)),
            fault,
            met: HashMap::new(),
            salt,
            tokens: VecDeque::new(),
        });
        Ok(())
    }

    /// Removes every fault.
    pub(crate) fn clear(&mut self) {
        self.pending.clear();
    }

    /// Removes the faults whose time has passed.
    fn expire(&mut self, now_ms: i64) {
        self.pending
            .retain(|pending| pending.ends_ms.is_none_or(|end| now_ms < end));
    }

    /// Returns the faults that are not used up.
    pub(crate) fn pending(&mut self, now_ms: i64) -> Vec<Fault> {
        self.expire(now_ms);
        let faults = self.pending.iter().map(|pending| &pending.fault);
        faults.cloned().collect()
    }

    /// Returns the first fault that applies to this call, in the order in which they were added,
    /// and uses it up by one.
    pub(crate) fn take_matching(&mut self, call: &Parts, now_ms: i64) -> Option<MatchedFault> {
        self.expire(now_ms);
        let (path, query) = (call.uri.path(), call.uri.query());
        for at in 0..self.pending.len() {
            let Some(pending) = self
                .pending
                .get_mut(at)
                .filter(|pending| fits(&pending.fault, call))
            else {
                continue;
            };
            pending.remember(query);
            if !pending.applies(file_of(path), &mut self.rng) {
                continue;
            }
            self.applied += 1;
            let matched = pending.matched();
            match (pending.fault.per, pending.fault.times) {
                (FaultScope::File, _) | (FaultScope::Call, 0) => {}
                (FaultScope::Call, 1) => {
                    self.pending.remove(at);
                }
                (FaultScope::Call, _) => pending.fault.times -= 1,
            }
            return Some(matched);
        }
        None
    }
}

/// Returns the id of the file that a path names.
fn file_of(path: &str) -> Option<&str> {
    let (_, rest) = path.split_once("/files/")?;
    rest.split('/')
        .next()
        .filter(|id| !matches!(*id, "" | "generateIds" | "trash"))
}

/// Returns whether a call fits the pattern and has the header of a fault.
fn fits(fault: &Fault, call: &Parts) -> bool {
    let has_header = fault
        .with_header
        .as_ref()
        .is_none_or(|name| call.headers.contains_key(name.as_str()));
    let method = call.method.as_str();
    has_header && matches(&fault.pattern, method, call.uri.path(), call.uri.query())
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
