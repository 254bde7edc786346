//! A dead letter's id as one opaque text that fits into a URL: it contains the connection and the
//! id.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{ConnectionId, ConnectionKey, TenantId};

use crate::Deps;
use crate::http::{Caller, PathParams, Problem, describe_path};

/// Returns the id as callers see it.
pub(crate) fn encode(connection: &ConnectionId, id: &str) -> String {
    // A connection's id contains no line break.
    URL_SAFE_NO_PAD.encode(format!("{connection}\n{id}"))
}

/// The inverse of [`encode`]; 404 for any other text. The tenant is always the caller's.
pub(crate) fn parse(tenant: &TenantId, text: &str) -> Result<(ConnectionKey, String), Problem> {
    let decoded = URL_SAFE_NO_PAD.decode(text).ok();
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let parts = decoded.as_deref().and_then(|text| text.split_once('\n'));
    parts
        .and_then(|(connection, id)| {
            let key = ConnectionKey {
                tenant: tenant.clone(),
                connection: ConnectionId::parse(connection).ok()?,
            };
            Some((key, id.to_owned()))
        })
        .ok_or_else(|| Problem::not_found("the dead letter"))
}

/// A dead letter in a connection of the caller, from the path.
pub(crate) struct DeadLetterPath {
    pub(crate) caller: Caller,
    pub(crate) key: ConnectionKey,
    pub(crate) id: String,
}

impl FromRequestParts<Arc<Deps>> for DeadLetterPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, deps: &Arc<Deps>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, deps).await?;
        let params = PathParams::read(parts, deps).await?;
        let (key, id) = parse(&caller.tenant, params.get("letter"))?;
        let caller = caller.at(deps, &key, "the dead letter").await?;
        Ok(Self { caller, key, id })
    }
}

describe_path!(DeadLetterPath, "letter": String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letters_id_reads_back_from_its_text() {
        let tenant = TenantId::parse("acme").unwrap();
        let connection = ConnectionId::parse("c_01").unwrap();
        let text = encode(&connection, "f.1abc.x\ny");
        let (key, id) = parse(&tenant, &text).unwrap();
        assert_eq!(
            (key.to_string().as_str(), id.as_str()),
            ("acme/c_01", "f.1abc.x\ny")
        );
        for bad in ["", "m.1", "!", &URL_SAFE_NO_PAD.encode("a/b\nm.1")] {
            assert_eq!(parse(&tenant, bad).unwrap_err().status(), 404, "{bad}");
        }
    }
}
