//! The OAuth token endpoint: refresh tokens and service accounts.
//!
//! **The signature of a service account's JWT is not checked**, since the simulator has no public
//! keys. Its claims are.

use axum::{
    extract::{Request, State},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use crate::{
    fault_injection::FaultResponse,
    http::{
        endpoint::{apply_fault, fault_response},
        request_body::{self, read_body},
        response::{error_response, json},
    },
    ids::UserId,
    simulator::Simulator,
    state::sharing::oauth_grants::{Grant, GrantRefusal, GrantSource},
};

/// The audience of a JWT for Google's own endpoint.
const GOOGLE_AUDIENCE: &str = "https://oauth2.googleapis.com/token";
/// The maximum lifetime of a JWT, in seconds.
const JWT_SECONDS_MAX: i64 = 3_600;
/// The tolerated clock skew of a client, in seconds.
const SKEW_SECONDS: i64 = 300;
/// The grant type of a service account.
const JWT_GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// An error in OAuth's format: code and description.
#[derive(Debug, PartialEq, Eq)]
struct OauthError(&'static str, String);

impl OauthError {
    /// Returns the status that Google sends with the error.
    fn status(&self) -> StatusCode {
        if self.0 == "unauthorized_client" {
            StatusCode::UNAUTHORIZED
        } else {
            StatusCode::BAD_REQUEST
        }
    }
}

impl From<GrantRefusal> for OauthError {
    fn from(refusal: GrantRefusal) -> Self {
        match refusal {
            GrantRefusal::Revoked => Self(
                "invalid_grant",
                "Token has been expired or revoked.".to_owned(),
            ),
            GrantRefusal::NotDelegated => Self(
                "unauthorized_client",
                "Client is unauthorized to retrieve access tokens using this method, or client not \
                 authorized for any of the scopes requested.".to_owned(),
            ),
        }
    }
}

/// `POST /token`.
pub(crate) async fn token(State(simulator): State<Simulator>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    simulator.count("oauth2.token", 0);
    let fault = simulator.match_fault(&parts);
    let host = parts
        .headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    apply_fault(fault, oauth_fault_response, async {
        let bytes = match read_body(body).await {
            Ok(bytes) => bytes,
            Err(error) => return error_response(&error),
        };
        let form = request_body::parse_form(&bytes);
        let field = |name: &str| form.get(name).map(String::as_str);
        let granted = match field("grant_type") {
            Some("refresh_token") => {
                grant_of_refresh_token(field("refresh_token").unwrap_or_default())
            }
            Some(JWT_GRANT) => grant_of_jwt(
                field("assertion").unwrap_or_default(),
                &host,
                simulator.now_ms().div_euclid(1_000),
            ),
            other => Err(OauthError(
                "unsupported_grant_type",
                format!("Invalid grant_type: {}", other.unwrap_or_default()),
            )),
        };
        match granted.and_then(|grant| issue(&simulator, grant)) {
            Ok((token, seconds)) => {
                let body = json!({
                    "access_token": token, "expires_in": seconds, "token_type": "Bearer",
                    "scope": "https://www.googleapis.com/auth/drive",
                });
                json(StatusCode::OK, &body)
            }
            Err(error) => json(
                error.status(),
                &json!({"error": error.0, "error_description": error.1}),
            ),
        }
    })
    .await
}

/// Issues an access token for a valid grant; returns it with its lifetime in seconds.
fn issue(simulator: &Simulator, grant: Grant) -> Result<(String, i64), OauthError> {
    simulator.with_state(|state| {
        state.check_grant(&grant)?;
        let seconds = state.grants.access_token_seconds;
        Ok((state.issue_token(grant), seconds))
    })
}

/// Returns a fault's response in OAuth's format, unless it is a foreign body: its reason is the
/// error code (`invalid_grant`, `unauthorized_client`).
fn oauth_fault_response(fault: &FaultResponse) -> Response {
    if fault.html || fault.body.is_some() {
        return fault_response(fault);
    }
    let error = fault.error();
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(
        status,
        &json!({"error": error.reason, "error_description": error.message}),
    )
}

fn grant_of_refresh_token(token: &str) -> Result<Grant, OauthError> {
    match token.strip_prefix("user:") {
        Some(name) if !name.is_empty() => Ok(Grant {
            user: UserId::from_email(name),
            source: GrantSource::RefreshToken(token.to_owned()),
        }),
        Some(_) | None => Err(GrantRefusal::Revoked.into()),
    }
}

#[derive(Debug, Deserialize)]
struct JwtHeader {
    alg: String,
}

#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    sub: Option<String>,
    aud: String,
    iat: i64,
    exp: i64,
    scope: Option<String>,
}

/// Returns the grant of a service account's JWT, which acts as `sub` or, without it, as the account
/// itself.
fn grant_of_jwt(assertion: &str, host: &str, now_seconds: i64) -> Result<Grant, OauthError> {
    let invalid = |text: &str| OauthError("invalid_grant", text.to_owned());
    let parts: Vec<&str> = assertion.split('.').collect();
    let [head, claims, signature] = parts.as_slice() else {
        return Err(invalid("Bad Request"));
    };
    let head: JwtHeader =
        decode(head).ok_or_else(|| invalid("Invalid JWT: Failed to parse the header"))?;
    let claims: Claims =
        decode(claims).ok_or_else(|| invalid("Invalid JWT: Failed to parse the claims"))?;
    if head.alg != "RS256" || signature.is_empty() || URL_SAFE_NO_PAD.decode(signature).is_err() {
        return Err(invalid("Invalid JWT Signature."));
    }
    let own = [
        format!("http://{host}/token"),
        format!("https://{host}/token"),
    ];
    if claims.aud != GOOGLE_AUDIENCE && !own.contains(&claims.aud) {
        return Err(invalid("Invalid JWT: Failed audience check"));
    }
    let lifetime = claims.exp.saturating_sub(claims.iat);
    let timely = claims.iat <= now_seconds.saturating_add(SKEW_SECONDS)
        && claims.exp >= now_seconds.saturating_sub(SKEW_SECONDS);
    if !timely || !(1..=JWT_SECONDS_MAX).contains(&lifetime) {
        return Err(invalid(
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable \
             timeframe. Check your iat and exp values in the JWT claim.",
        ));
    }
    if claims
        .scope
        .as_deref()
        .unwrap_or_default()
        .trim()
        .is_empty()
    {
        return Err(OauthError(
            "invalid_scope",
            "Empty or missing scope not allowed.".to_owned(),
        ));
    }
    let account = claims.iss;
    let user = claims
        .sub
        .filter(|sub| !sub.is_empty())
        .unwrap_or_else(|| account.clone());
    if account.is_empty() {
        return Err(invalid("Invalid grant: account not found"));
    }
    Ok(Grant {
        user: UserId::from_email(&user),
        source: GrantSource::ServiceAccount(account),
    })
}

fn decode<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const NOW: i64 = 1_800_000_000;

    fn jwt(change: impl FnOnce(&mut Value)) -> String {
        let mut claims = json!({
            "iss": "sync@p.iam.gserviceaccount.com", "scope": "drive", "aud": GOOGLE_AUDIENCE,
            "iat": NOW, "exp": NOW + 3_600,
        });
        change(&mut claims);
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!(
            "{}.{}.{}",
            encode(&json!({"alg": "RS256", "typ": "JWT"})),
            encode(&claims),
            URL_SAFE_NO_PAD.encode("unchecked")
        )
    }

    fn user(assertion: &str) -> Result<UserId, OauthError> {
        grant_of_jwt(assertion, "127.0.0.1:9", NOW).map(|grant| grant.user)
    }

    #[test]
    fn a_service_account_acts_as_itself_or_as_its_subject() {
        assert_eq!(
            user(&jwt(|_| {})),
            Ok(UserId::from("sync@p.iam.gserviceaccount.com"))
        );
        assert_eq!(
            user(&jwt(|claims| claims["sub"] = json!("owner@example.com"))),
            Ok(UserId::from("owner"))
        );
    }

    #[test]
    fn the_audience_must_be_googles_endpoint_or_this_one() {
        assert!(
            user(&jwt(
                |claims| claims["aud"] = json!("http://127.0.0.1:9/token")
            ))
            .is_ok()
        );
        assert!(
            user(&jwt(
                |claims| claims["aud"] = json!("https://elsewhere.example/token")
            ))
            .is_err()
        );
    }

    #[test]
    fn a_clock_skew_of_five_minutes_and_a_lifetime_of_an_hour_are_accepted() {
        let at = |iat: i64, exp: i64| {
            user(&jwt(|claims| {
                (claims["iat"], claims["exp"]) = (json!(iat), json!(exp))
            }))
        };
        assert!(at(NOW + 299, NOW + 3_899).is_ok());
        assert!(at(NOW + 301, NOW + 3_901).is_err());
        assert!(at(NOW - 3_899, NOW - 299).is_ok());
        assert!(at(NOW - 3_901, NOW - 301).is_err());
        assert!(at(NOW, NOW + 3_601).is_err());
    }

    #[test]
    fn invalid_jwts_and_unknown_refresh_tokens_are_invalid_grants() {
        for text in ["", "a.b", "a.b.c", "...."] {
            assert_eq!(
                user(text).expect_err("refused").0,
                "invalid_grant",
                "{text}"
            );
        }
        assert_eq!(
            grant_of_refresh_token("1//abc").expect_err("unknown").0,
            "invalid_grant"
        );
        assert_eq!(
            grant_of_refresh_token("user:alice").map(|grant| grant.user),
            Ok(UserId::from("alice"))
        );
    }
}
