//! The body of a wake of a connection's live readers.

use domain::ConnectionKey;
use serde::{Deserialize, Serialize};

use crate::message::{FORMAT, Unreadable, key, to_json};

/// Requests telling a connection's live readers what its event log has gained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveWake {
    /// The connection of the event log.
    pub key: ConnectionKey,
}

#[derive(Serialize, Deserialize)]
struct Body {
    v: u32,
    tenant: String,
    connection: String,
    wake: Kind,
}

/// What distinguishes the body from a push wake, which names a connection too.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Live,
}

impl LiveWake {
    /// Returns the message body.
    #[must_use]
    pub fn to_body(&self) -> String {
        to_json(&Body {
            v: FORMAT,
            tenant: self.key.tenant.to_string(),
            connection: self.key.connection.to_string(),
            wake: Kind::Live,
        })
    }

    /// Reads a message body.
    ///
    /// # Errors
    /// [`Unreadable`]
    pub fn from_body(body: &str) -> Result<Self, Unreadable> {
        let body: Body = serde_json::from_str(body)?;
        let key = key(body.v, &body.tenant, &body.connection)?;
        Ok(Self { key })
    }
}

#[cfg(test)]
mod tests {
    use domain::{ConnectionId, TenantId};

    use super::*;
    use crate::PushWake;

    #[test]
    fn a_wake_of_live_readers_is_no_push_wake() {
        let key = ConnectionKey {
            tenant: TenantId::parse("acme").unwrap(),
            connection: ConnectionId::parse("c_01").unwrap(),
        };
        let wake = LiveWake { key: key.clone() };
        let body = r#"{"v":1,"tenant":"acme","connection":"c_01","wake":"live"}"#;
        assert_eq!(wake.to_body(), body);
        assert_eq!(LiveWake::from_body(body).unwrap(), wake);
        assert!(LiveWake::from_body(&PushWake { key }.to_body()).is_err());
        assert!(LiveWake::from_body(&body.replace("live", "other")).is_err());
        let newer = body.replace("\"v\":1", "\"v\":2");
        assert!(matches!(
            LiveWake::from_body(&newer),
            Err(Unreadable::Newer(2))
        ));
    }
}
