//! Prints a signed message as JSON, for verifiers in other languages.
//! Argument: the seconds since 1970.

use domain::TenantId;
use webhooks::{RootKey, sign, signing_secret};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = RootKey::new("a root key of at least 32 bytes.").ok_or("the root key is short")?;
    let tenant = TenantId::parse("acme")?;
    let secrets = [1, 2].map(|generation| signing_secret(&root, &tenant, "w_1", generation));
    let body = r#"[{"specversion":"1.0","type":"file:modified","subject":"files/1é"}]"#;
    let now = std::env::args()
        .nth(1)
        .ok_or("the time is missing")?
        .parse()?;
    let headers: serde_json::Map<String, serde_json::Value> =
        sign(&secrets, "1790000000123.4.0", now, body.as_bytes())
            .into_iter()
            .map(|(name, value)| Ok((name.to_string(), value.to_str()?.into())))
            .collect::<Result<_, http::header::ToStrError>>()?;
    let secrets = secrets.map(|secret| secret.reveal());
    let message = serde_json::json!({ "secrets": secrets, "headers": headers, "body": body });
    use std::io::Write as _;
    Ok(writeln!(std::io::stdout(), "{message}")?)
}
