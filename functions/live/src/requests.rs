//! The messages that a client sends.

use std::collections::BTreeSet;

use domain::event::{EventCursor, EventFilter, EventType};
use domain::live::SUBSCRIPTIONS_MAX;
use domain::{ConnectionId, FileId};
use serde::Deserialize;

/// The most files of a filter.
const FILES_MAX: usize = 100;
/// The longest actor of a filter, in bytes.
const ACTOR_BYTES_MAX: usize = 300;
/// The longest part of a client's text that an answer repeats, in characters.
const SHOWN_CHARS_MAX: usize = 64;

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// To read a connection's log.
    Subscribe(Box<Wanted>),
    /// No longer to read it.
    Unsubscribe(String),
}

/// A subscription that a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The connection, as the client wrote it.
    pub(crate) connection: String,
    pub(crate) filter: EventFilter,
    /// Where the client stands.
    pub(crate) after: Option<EventCursor>,
}

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// A word that does not change.
    pub(crate) reason: &'static str,
    /// What to do, in plain words.
    pub(crate) detail: String,
    /// The connection that it is about.
    pub(crate) connection: Option<String>,
}

impl Refusal {
    fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            connection: None,
        }
    }

    /// There is no such connection, for this client.
    pub(crate) fn unknown_connection(connection: &str) -> Self {
        Self {
            connection: Some(shown(connection)),
            ..Self::new(
                "unknown-connection",
                "the connection does not exist, or the holder of the ticket has no access to it",
            )
        }
    }

    pub(crate) fn too_many(connection: &ConnectionId) -> Self {
        let detail = format!(
            "a socket may be subscribed to {SUBSCRIPTIONS_MAX} connections: unsubscribe from one, \
             or open another socket"
        );
        Self {
            connection: Some(connection.to_string()),
            ..Self::new("too-many-subscriptions", detail)
        }
    }

    pub(crate) fn token_expired() -> Self {
        let detail = "the token that the ticket was made with has expired: sign in, and open \
                      another socket with a new ticket";
        Self::new("token-expired", detail)
    }

    pub(crate) fn unknown_socket() -> Self {
        let detail = "the socket has reached its end: open another one with a new ticket";
        Self::new("socket-expired", detail)
    }

    pub(crate) fn unavailable() -> Self {
        Self::new("unavailable", "try again in a few seconds")
    }
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

#[derive(Deserialize)]
struct Action {
    action: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubscribeBody {
    #[serde(rename = "action")]
    _action: String,
    connection: String,
    #[serde(default)]
    types: Vec<String>,
    #[serde(default)]
    files: Vec<String>,
    folder: Option<String>,
    actor: Option<String>,
    after: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnsubscribeBody {
    #[serde(rename = "action")]
    _action: String,
    connection: String,
}

/// Reads a message.
///
/// # Errors
/// It is no message that this build knows.
pub(crate) fn read(body: Option<&str>, is_base64: bool) -> Result<Request, Refusal> {
    if is_base64 {
        return Err(Refusal::new("binary", "send JSON as text, not as binary"));
    }
    let body = body.unwrap_or_default();
    let action: Action = serde_json::from_str(body).map_err(|error| {
        let detail = format!("send a JSON object with the member `action`: {error}");
        Refusal::new("not-json", detail)
    })?;
    let invalid = |error: serde_json::Error| Refusal::new("invalid-request", error.to_string());
    match action.action.as_deref() {
        Some("subscribe") => {
            let body: SubscribeBody = serde_json::from_str(body).map_err(invalid)?;
            Ok(Request::Subscribe(Box::new(body.read()?)))
        }
        Some("unsubscribe") => {
            let body: UnsubscribeBody = serde_json::from_str(body).map_err(invalid)?;
            Ok(Request::Unsubscribe(body.connection))
        }
        other => {
            let other =
                other.map_or_else(|| "none".to_owned(), |text| format!("`{}`", shown(text)));
            let detail =
                format!("the action must be `subscribe`, `unsubscribe` or `ping`; it is {other}");
            Err(Refusal::new("unknown-action", detail))
        }
    }
}

impl SubscribeBody {
    fn read(self) -> Result<Wanted, Refusal> {
        let connection = shown(&self.connection);
        let refused = |detail: String| Refusal {
            connection: Some(connection.clone()),
            ..Refusal::new("invalid-request", detail)
        };
        let kind = |label: &String| {
            let kind = EventType::from_label(label);
            kind.ok_or_else(|| refused(format!("`{}` is no type of event", shown(label))))
        };
        let types: BTreeSet<EventType> = self.types.iter().map(kind).collect::<Result<_, _>>()?;
        if self.files.len() > FILES_MAX {
            return Err(refused(format!("`files` may name {FILES_MAX} files")));
        }
        let file = |id: &String| {
            let file = FileId::parse(id);
            file.map_err(|_| refused(format!("`{}` is no id of a file", shown(id))))
        };
        let actor = self.actor;
        if actor.as_ref().is_some_and(|a| a.len() > ACTOR_BYTES_MAX) {
            return Err(refused("`actor` is too long".to_owned()));
        }
        let after = self.after.as_deref().map(EventCursor::parse).transpose();
        let filter = EventFilter {
            types,
            files: self.files.iter().map(file).collect::<Result<_, _>>()?,
            folder: self.folder.as_ref().map(file).transpose()?,
            actor,
        };
        Ok(Wanted {
            filter,
            after: after.map_err(|error| refused(format!("`after` is {error}")))?,
            connection: self.connection,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(body: &str) -> &'static str {
        read(Some(body), false).unwrap_err().reason
    }

    #[test]
    fn what_is_no_request_is_refused_in_plain_words() {
        for (body, wanted) in [
            ("", "not-json"),
            ("hello", "not-json"),
            ("[1,2]", "not-json"),
            (r#"{"action":7}"#, "not-json"),
            ("{}", "unknown-action"),
            (r#"{"action":"publish"}"#, "unknown-action"),
            (r#"{"action":"subscribe"}"#, "invalid-request"),
            (
                r#"{"action":"subscribe","connection":"c","all":true}"#,
                "invalid-request",
            ),
            (
                r#"{"action":"subscribe","connection":"c","types":["file:x"]}"#,
                "invalid-request",
            ),
            (
                r#"{"action":"subscribe","connection":"c","files":["a/b"]}"#,
                "invalid-request",
            ),
            (
                r#"{"action":"subscribe","connection":"c","after":"12"}"#,
                "invalid-request",
            ),
            (r#"{"action":"unsubscribe"}"#, "invalid-request"),
        ] {
            assert_eq!(reason(body), wanted, "{body}");
        }
        assert_eq!(read(Some("AAE="), true).unwrap_err().reason, "binary");
        let long = format!(r#"{{"action":"{}"}}"#, "x".repeat(30_000));
        assert!(read(Some(&long), false).unwrap_err().detail.len() < 200);
        let many = vec!["1abc"; FILES_MAX + 1];
        let many = serde_json::json!({"action": "subscribe", "connection": "c", "files": many});
        assert_eq!(reason(&many.to_string()), "invalid-request");
    }

    #[test]
    fn a_subscription_names_a_connection_and_what_it_is_for() {
        let body = r#"{"action":"subscribe","connection":"c_01","types":["file:moved"],
            "files":["1abc"],"folder":"1def","actor":"user:ann","after":"00000000000000ab.12.3"}"#;
        let Ok(Request::Subscribe(wanted)) = read(Some(body), false) else {
            panic!("{body}");
        };
        assert_eq!(wanted.connection, "c_01");
        assert_eq!(wanted.filter.types, BTreeSet::from([EventType::FileMoved]));
        assert_eq!(wanted.filter.actor.as_deref(), Some("user:ann"));
        assert_eq!(wanted.after.unwrap().number, 12);
    }
}
