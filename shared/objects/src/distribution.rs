//! Signed links of a CloudFront distribution in front of the bucket.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Timestamp;
use domain::content::ObjectKey;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;

use crate::SignedUrl;
use crate::presign::{content_disposition, header_text};

/// What stands unencoded in a path: an object's key with its slashes.
const PATH: &AsciiSet = &UNRESERVED.remove(b'/');
/// What stands unencoded in the value of a parameter, by RFC 3986.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The size of an RSA key that CloudFront accepts, in bytes: 2,048 bits, by its developer guide.
const RSA_BYTES: usize = 256;

/// A private key whose public half is in a key group of CloudFront.
pub struct LinkKey {
    /// CloudFront's id of the public key.
    id: String,
    pair: KeyPair,
}

enum KeyPair {
    Rsa(rsa::KeyPair),
    EcdsaP256(EcdsaKeyPair),
}

/// The text of the secret is not a key that CloudFront accepts. The text is never part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLinkKey {
    /// It is not the expected JSON.
    #[error("the key of links must be JSON with the members key_pair_id and private_key")]
    NotJson,
    /// CloudFront's ids have letters and digits.
    #[error("key_pair_id must be the id that CloudFront gave to the public key")]
    Id,
    /// Not a private key in PEM, or of another kind.
    #[error("private_key must be an RSA key of 2,048 bits or an ECDSA key of P-256, in PEM")]
    PrivateKey,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyBody {
    key_pair_id: String,
    private_key: String,
}

impl LinkKey {
    /// Parses the text of a secret: `{"key_pair_id": "K..", "private_key": "-----BEGIN .."}`.
    ///
    /// # Errors
    /// [`InvalidLinkKey`]
    pub fn parse(text: &str) -> Result<Self, InvalidLinkKey> {
        let body: KeyBody = serde_json::from_str(text).map_err(|_| InvalidLinkKey::NotJson)?;
        let id = body.key_pair_id;
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(InvalidLinkKey::Id);
        }
        let pair = KeyPair::parse(&body.private_key).ok_or(InvalidLinkKey::PrivateKey)?;
        Ok(Self { id, pair })
    }
}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkKey({})", self.id)
    }
}

impl KeyPair {
    fn parse(pem: &str) -> Option<Self> {
        let of_rsa = |pair: rsa::KeyPair| {
            (pair.public_modulus_len() == RSA_BYTES).then_some(Self::Rsa(pair))
        };
        let curve = &ECDSA_P256_SHA256_ASN1_SIGNING;
        match PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()? {
            PrivateKeyDer::Pkcs1(der) => {
                of_rsa(rsa::KeyPair::from_der(der.secret_pkcs1_der()).ok()?)
            }
            PrivateKeyDer::Sec1(der) => {
                let pair = EcdsaKeyPair::from_private_key_der(curve, der.secret_sec1_der());
                pair.ok().map(Self::EcdsaP256)
            }
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                match EcdsaKeyPair::from_pkcs8(curve, der) {
                    Ok(pair) => Some(Self::EcdsaP256(pair)),
                    Err(_) => of_rsa(rsa::KeyPair::from_pkcs8(der).ok()?),
                }
            }
            _ => None,
        }
    }

    /// Returns the signature over the SHA-256 of the text, as OpenSSL makes it.
    fn sign(&self, text: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::EcdsaP256(pair) => {
                let signature = pair.sign(&random, text).ok()?;
                Some(signature.as_ref().to_vec())
            }
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign(&RSA_PKCS1_SHA256, &random, text, &mut signature);
                signed.ok().map(|()| signature)
            }
        }
    }
}

/// No signature could be made: the system has no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a link could not be signed")]
pub struct NotSigned;

/// Returns a link to an object by way of the distribution with this domain name, valid until
/// `expires_at` (whole seconds), that saves under the file's name as
/// [`crate::Objects::presign_get`]'s does.
///
/// It has CloudFront's canned policy, signed over SHA-256 ("Create a signed URL using a canned
/// policy", Amazon CloudFront Developer Guide). The parameters that S3 reads are part of what is
/// signed, so nobody can ask for another name or type.
///
/// # Errors
/// [`NotSigned`]
pub fn distribution_link(
    domain: &str,
    signer: &LinkKey,
    key: &ObjectKey,
    file_name: &str,
    mime_type: &str,
    expires_at: Timestamp,
) -> Result<SignedUrl, NotSigned> {
    let path = utf8_percent_encode(key.as_str(), PATH);
    let disposition = content_disposition(file_name);
    let disposition = utf8_percent_encode(&disposition, UNRESERVED);
    let mime_type = header_text(mime_type);
    let mime_type = utf8_percent_encode(&mime_type, UNRESERVED);
    let resource = format!(
        "https://{domain}/{path}?response-content-disposition={disposition}\
         &response-content-type={mime_type}"
    );
    let expires = expires_at.as_millis().div_euclid(1_000);
    // CloudFront builds this very text from the URL: there is no white space in it.
    let policy = format!(
        "{{\"Statement\":[{{\"Resource\":\"{resource}\",\
         \"Condition\":{{\"DateLessThan\":{{\"AWS:EpochTime\":{expires}}}}}}}]}}"
    );
    let signature = signer.pair.sign(policy.as_bytes()).ok_or(NotSigned)?;
    let signature = STANDARD.encode(signature);
    let signature = signature
        .replace('+', "-")
        .replace('=', "_")
        .replace('/', "~");
    let id = &signer.id;
    Ok(SignedUrl::new(format!(
        "{resource}&Expires={expires}&Signature={signature}&Key-Pair-Id={id}\
         &Hash-Algorithm=SHA256"
    )))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::signature::{self, KeyPair as _, UnparsedPublicKey};
    use domain::TenantId;

    use super::*;

    fn pem(label: &str, der: &[u8]) -> String {
        let text = STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    }

    fn secret(private_key: &str) -> String {
        serde_json::json!({"key_pair_id": "K1", "private_key": private_key}).to_string()
    }

    fn link(signer: &LinkKey, file_name: &str) -> String {
        let tenant = TenantId::parse("acme").unwrap();
        let key = ObjectKey::staging(&tenant, 1, 2);
        let at = Timestamp::from_millis(1_795_251_600_999);
        let link = distribution_link("cdn.example.com", signer, &key, file_name, "text/plain", at);
        link.unwrap().as_str().to_owned()
    }

    /// Returns the policy that CloudFront builds from a link, and its signature.
    fn parts(link: &str) -> (String, Vec<u8>) {
        let (resource, signed) = link.split_once("&Expires=").unwrap();
        let (expires, signed) = signed.split_once("&Signature=").unwrap();
        let (signature, rest) = signed.split_once('&').unwrap();
        assert_eq!(rest, "Key-Pair-Id=K1&Hash-Algorithm=SHA256");
        assert_eq!(expires, "1795251600");
        let signature = signature.replace('-', "+").replace('_', "=");
        let signature = STANDARD.decode(signature.replace('~', "/")).unwrap();
        let policy = serde_json::json!({"Statement": [{"Resource": resource,
            "Condition": {"DateLessThan": {"AWS:EpochTime": 1_795_251_600}}}]});
        // serde_json sorts the members of a map; CloudFront's order is Resource, Condition.
        let condition = policy["Statement"][0]["Condition"].to_string();
        let policy = format!(
            "{{\"Statement\":[{{\"Resource\":\"{resource}\",\"Condition\":{condition}}}]}}"
        );
        (policy, signature)
    }

    #[test]
    fn links_are_signed_by_keys_of_both_kinds() {
        let rsa = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
        let of_rsa = rsa.as_der().unwrap();
        let curve = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let ecdsa = EcdsaKeyPair::generate(curve).unwrap();
        let of_ecdsa = ecdsa.to_pkcs8v1().unwrap();
        let public_keys: [(&[u8], &dyn signature::VerificationAlgorithm, &[u8]); 2] = [
            (
                of_rsa.as_ref(),
                &signature::RSA_PKCS1_2048_8192_SHA256,
                rsa.public_key().as_ref(),
            ),
            (
                of_ecdsa.as_ref(),
                &signature::ECDSA_P256_SHA256_ASN1,
                ecdsa.public_key().as_ref(),
            ),
        ];
        for (der, algorithm, public_key) in public_keys {
            let signer = LinkKey::parse(&secret(&pem("PRIVATE KEY", der))).unwrap();
            let link = link(&signer, "Plan & \"B\".txt");
            assert!(
                link.starts_with("https://cdn.example.com/acme/uploads/"),
                "{link}"
            );
            let (policy, signature) = parts(&link);
            let public_key = UnparsedPublicKey::new(algorithm, public_key);
            public_key.verify(policy.as_bytes(), &signature).unwrap();
            let other = policy.replace("Plan", "Plot");
            assert!(public_key.verify(other.as_bytes(), &signature).is_err());
        }
    }

    #[test]
    fn secrets_without_a_usable_key_are_refused() {
        let large = rsa::KeyPair::generate(rsa::KeySize::Rsa4096).unwrap();
        let large = pem("PRIVATE KEY", large.as_der().unwrap().as_ref());
        let refused = |text: &str| LinkKey::parse(text).unwrap_err();
        assert_eq!(refused("-----BEGIN"), InvalidLinkKey::NotJson);
        assert_eq!(refused("{\"key_pair_id\":\"K1\"}"), InvalidLinkKey::NotJson);
        for private_key in ["", "no PEM", &pem("PRIVATE KEY", b"no DER"), &large] {
            assert_eq!(refused(&secret(private_key)), InvalidLinkKey::PrivateKey);
        }
        for id in ["", "K&Policy=", "K 1"] {
            let text = secret("").replace("K1", id);
            assert_eq!(refused(&text), InvalidLinkKey::Id);
        }
    }
}
