//! The body of a wake of a webhook endpoint.

use domain::{EndpointId, TenantId};
use serde::{Deserialize, Serialize};

use crate::message::{FORMAT, Unreadable, check_format, to_json};

/// Requests delivering to an endpoint what it is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryWake {
    /// The tenant.
    pub tenant: TenantId,
    /// The endpoint.
    pub endpoint: EndpointId,
}

#[derive(Serialize, Deserialize)]
struct Body {
    v: u32,
    tenant: String,
    endpoint: String,
}

impl DeliveryWake {
    /// Returns the message body.
    #[must_use]
    pub fn to_body(&self) -> String {
        to_json(&Body {
            v: FORMAT,
            tenant: self.tenant.to_string(),
            endpoint: self.endpoint.to_string(),
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
}
