//! The body of a wake of a webhook endpoint.

use domain::{ConflictId, ConnectionId, EndpointId, Field, FileId, TenantId};
use serde::{Deserialize, Serialize};

use crate::message::{FORMAT, Unreadable, check_format, to_json};

/// Requests delivering to an endpoint what it is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryWake {
    /// The tenant.
    pub tenant: TenantId,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The conflict that it is to be asked about, if it is about one: nothing is delivered then.
    pub conflict: Option<(ConnectionId, ConflictId)>,
}

#[derive(Serialize, Deserialize)]
struct Body {
    v: u32,
    tenant: String,
    endpoint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    conflict: Option<ConflictBody>,
}

#[derive(Serialize, Deserialize)]
struct ConflictBody {
    connection: String,
    file: String,
    field: String,
    number: u32,
}

impl ConflictBody {
    fn read(&self) -> Option<(ConnectionId, ConflictId)> {
        let id = ConflictId {
            file: FileId::parse(&self.file).ok()?,
            field: Field::from_label(&self.field)?,
            number: self.number,
        };
        Some((ConnectionId::parse(&self.connection).ok()?, id))
    }
}

impl DeliveryWake {
    /// Returns the message body.
    #[must_use]
    pub fn to_body(&self) -> String {
        to_json(&Body {
            v: FORMAT,
            tenant: self.tenant.to_string(),
            endpoint: self.endpoint.to_string(),
            conflict: self.conflict.as_ref().map(|(connection, id)| ConflictBody {
                connection: connection.to_string(),
                file: id.file.to_string(),
                field: id.field.label(),
                number: id.number,
            }),
        })
    }

    /// Reads a message body.
    ///
    /// # Errors
    /// [`Unreadable`]
    pub fn from_body(body: &str) -> Result<Self, Unreadable> {
        let body: Body = serde_json::from_str(body)?;
        check_format(body.v)?;
        Ok(Self {
            tenant: TenantId::parse(&body.tenant).map_err(|_| Unreadable::Member("tenant"))?,
            endpoint: EndpointId::parse(&body.endpoint)
                .map_err(|_| Unreadable::Member("endpoint"))?,
            conflict: match body.conflict {
                None => None,
                Some(body) => Some(body.read().ok_or(Unreadable::Member("conflict"))?),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Redrive;

    #[test]
    fn a_wake_of_an_endpoint_is_no_other_message() {
        let wake = DeliveryWake {
            tenant: TenantId::parse("acme").unwrap(),
            endpoint: EndpointId::fresh(1),
            conflict: None,
        };
        let body = r#"{"v":1,"tenant":"acme","endpoint":"w_0000000000000001"}"#;
        assert_eq!(wake.to_body(), body);
        assert_eq!(DeliveryWake::from_body(body).unwrap(), wake);
        assert!(Redrive::from_body(body, false).is_err());
        let newer = body.replace("\"v\":1", "\"v\":2");
        assert!(matches!(
            DeliveryWake::from_body(&newer),
            Err(Unreadable::Newer(2))
        ));
        assert!(DeliveryWake::from_body(&body.replace("acme", "")).is_err());
    }

    #[test]
    fn a_wake_of_a_resolver_names_the_conflict() {
        let id = ConflictId {
            file: FileId::parse("1abc").unwrap(),
            field: Field::Property("a#b".to_owned()),
            number: 2,
        };
        let wake = DeliveryWake {
            tenant: TenantId::parse("acme").unwrap(),
            endpoint: EndpointId::fresh(1),
            conflict: Some((ConnectionId::parse("c_1").unwrap(), id)),
        };
        let body = wake.to_body();
        let conflict = concat!(
            r#""conflict":{"connection":"c_1","file":"1abc","#,
            r##""field":"properties.a#b","number":2}"##,
        );
        assert!(body.contains(conflict), "{body}");
        assert_eq!(DeliveryWake::from_body(&body).unwrap(), wake);
        assert!(DeliveryWake::from_body(&body.replace("properties", "colour")).is_err());
    }
}
