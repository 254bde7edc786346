//! The body of a wake of an operation.

use domain::{ConnectionKey, OperationId};
use serde::{Deserialize, Serialize};

use crate::message::{FORMAT, Unreadable, key, to_json};

/// Requests running an operation as far as it goes now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationWake {
    /// The connection of the operation.
    pub key: ConnectionKey,
    /// The operation.
    pub operation: OperationId,
}

#[derive(Serialize, Deserialize)]
struct Body {
    v: u32,
    tenant: String,
    connection: String,
    operation: String,
}

impl OperationWake {
    /// Returns the message body.
    #[must_use]
    pub fn to_body(&self) -> String {
        to_json(&Body {
            v: FORMAT,
            tenant: self.key.tenant.to_string(),
            connection: self.key.connection.to_string(),
            operation: self.operation.to_string(),
        })
    }

    /// Reads a message body.
    ///
    /// # Errors
    /// [`Unreadable`]
    pub fn from_body(body: &str) -> Result<Self, Unreadable> {
        let body: Body = serde_json::from_str(body)?;
        let key = key(body.v, &body.tenant, &body.connection)?;
        let operation = OperationId::parse(&body.operation);
        let operation = operation.map_err(|_| Unreadable::Member("operation"))?;
        Ok(Self { key, operation })
    }
}

#[cfg(test)]
mod tests {
    use domain::{ConnectionId, TenantId};

    use super::*;
    use crate::PushWake;

    #[test]
    fn a_wake_names_its_operation_and_nothing_else() {
        let key = ConnectionKey {
            tenant: TenantId::parse("acme").unwrap(),
            connection: ConnectionId::parse("c_01").unwrap(),
        };
        let wake = OperationWake {
            key: key.clone(),
            operation: OperationId::parse("op1").unwrap(),
        };
        let body = r#"{"v":1,"tenant":"acme","connection":"c_01","operation":"op1"}"#;
        assert_eq!(wake.to_body(), body);
        assert_eq!(OperationWake::from_body(body).unwrap(), wake);
        assert!(OperationWake::from_body(&PushWake { key }.to_body()).is_err());
        let newer = body.replace("\"v\":1", "\"v\":2");
        assert!(matches!(
            OperationWake::from_body(&newer),
            Err(Unreadable::Newer(2))
        ));
    }
}
