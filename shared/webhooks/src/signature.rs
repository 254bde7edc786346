//! Signatures by Standard Webhooks 1.0.0.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use domain::TenantId;
use http::{HeaderName, HeaderValue};

const PURPOSE: &[u8] = b"drivesync webhook signing secret 1";
const PREFIX: &str = "whsec_";
/// The least bytes of a root key: as many as a derived secret has.
const ROOT_BYTES_MIN: usize = 32;

/// The key that all signing secrets are derived from. Its `Debug` form does not show it.
#[derive(Clone)]
pub struct RootKey(hmac::Key);

impl std::fmt::Debug for RootKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RootKey")
    }
}

impl RootKey {
    /// Returns the key that a text is; `None` if it has fewer than 32 bytes.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        (bytes.len() >= ROOT_BYTES_MIN).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }
}

/// A secret that an endpoint shares with us. Its `Debug` form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret([u8; 32]);

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningSecret")
    }
}

impl SigningSecret {
    /// Returns the form in which a receiver is given the secret: `whsec_` and base64.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", BASE64_STANDARD.encode(self.0))
    }
}

/// Returns the secret of one generation of an endpoint. The same input has the same secret.
#[must_use]
pub fn signing_secret(
    root: &RootKey,
    tenant: &TenantId,
    endpoint: &str,
    generation: u32,
) -> SigningSecret {
    let mut input = hmac::Context::with_key(&root.0);
    // Each part with its length, so that no two inputs are the same bytes.
    for part in [
        PURPOSE,
        tenant.as_str().as_bytes(),
        endpoint.as_bytes(),
        &generation.to_be_bytes(),
    ] {
        input.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        input.update(part);
    }
    let mut secret = [0; 32];
    for (to, from) in secret.iter_mut().zip(input.sign().as_ref()) {
        *to = *from;
    }
    SigningSecret(secret)
}

/// Returns the headers of a message: its id, the seconds since 1970 at which it is sent, and one
/// signature for each secret. An id that no header can have is signed and sent as empty.
#[must_use]
pub fn sign(
    secrets: &[SigningSecret],
    id: &str,
    timestamp_seconds: i64,
    body: &[u8],
) -> [(HeaderName, HeaderValue); 3] {
    let id_value = HeaderValue::from_str(id).unwrap_or(HeaderValue::from_static(""));
    let signatures: Vec<String> = secrets
        .iter()
        .map(|secret| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &secret.0);
            let mut input = hmac::Context::with_key(&key);
            input.update(id_value.as_bytes());
            input.update(format!(".{timestamp_seconds}.").as_bytes());
            input.update(body);
            format!("v1,{}", BASE64_STANDARD.encode(input.sign()))
        })
        .collect();
    let signatures = HeaderValue::from_str(&signatures.join(" "));
    [
        (HeaderName::from_static("webhook-id"), id_value),
        (
            HeaderName::from_static("webhook-timestamp"),
            HeaderValue::from(timestamp_seconds),
        ),
        (
            HeaderName::from_static("webhook-signature"),
            signatures.unwrap_or(HeaderValue::from_static("")),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> RootKey {
        RootKey::new("0123456789abcdef0123456789abcdef").unwrap()
    }

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    #[test]
    fn a_secret_is_of_one_tenant_endpoint_and_generation() {
        let secret = |tenant_id: &str, endpoint: &str, generation| {
            signing_secret(&root(), &tenant(tenant_id), endpoint, generation).reveal()
        };
        let all = [
            secret("acme", "w_1", 1),
            secret("acme", "w_1", 2),
            secret("acme", "w_2", 1),
            secret("acmew", "_1", 1),
            secret("other", "w_1", 1),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        assert_eq!(secret("acme", "w_1", 1), all[0]);
        let other = RootKey::new("0123456789abcdef0123456789abcdeX").unwrap();
        let other = signing_secret(&other, &tenant("acme"), "w_1", 1);
        assert_ne!(other.reveal(), all[0]);
        // Recorded: a changed derivation would invalidate the secrets of all receivers.
        assert_eq!(all[0], "whsec_R416+JeYQC8egSwdTTvwTxT8weoRQKPMJU3FaRrSpUA=");
    }

    #[test]
    fn secrets_are_not_shown_and_short_roots_are_refused() {
        let secret = signing_secret(&root(), &tenant("acme"), "w_1", 1);
        assert_eq!(format!("{secret:?} {:?}", root()), "SigningSecret RootKey");
        assert!(RootKey::new("0123456789abcdef0123456789abcde").is_none());
    }

    #[test]
    fn the_published_verifier_accepts_the_signature_of_each_valid_secret() {
        let secrets: Vec<_> = [1, 2]
            .map(|generation| signing_secret(&root(), &tenant("acme"), "w_1", generation))
            .to_vec();
        let now = runtime::Clock::system().now().as_seconds();
        for body in ["", "[]", r#"[{"type":"file:modified","é":"\u0000"}]"#] {
            let headers = sign(&secrets, "1790000000123.4", now, body.as_bytes());
            let headers: http::HeaderMap = headers.into_iter().collect();
            for secret in &secrets {
                let verifier = standardwebhooks::Webhook::new(&secret.reveal()).unwrap();
                verifier.verify(body.as_bytes(), &headers).unwrap();
                assert!(verifier.verify(b"other", &headers).is_err());
            }
            let another = signing_secret(&root(), &tenant("acme"), "w_1", 3);
            let verifier = standardwebhooks::Webhook::new(&another.reveal()).unwrap();
            assert!(verifier.verify(body.as_bytes(), &headers).is_err());
        }
    }
}
