//! Signing in to the console on one machine: the token endpoint of an issuer, for one-time codes.
//!
//! Who starts the system gets a link with a code. The console sends it here once, and gets a token
//! of an hour, and another one with which it asks for the next.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::{Role, Timestamp};
use http::{HeaderValue, Response, StatusCode, header};
use runtime::Clock;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::identity::{Identity, IdentityError};
use super::problem;
use crate::system::{SUBJECT, TENANT};

const CODE_AUDIENCE: &str = "drivesync-console-code";
const REFRESH_AUDIENCE: &str = "drivesync-console-refresh";
/// The lifetime of a code, in seconds.
const CODE_SECONDS: i64 = 600;
/// The time for which a console that is not used stays signed in, in seconds.
const REFRESH_SECONDS: i64 = 12 * 3_600;
const TOKEN_SECONDS: i64 = 3_600;

/// Gives tokens for one-time codes.
#[derive(Clone)]
pub(super) struct SignIns {
    identity: Identity,
    clock: Clock,
    /// The codes of earlier processes are not accepted, since it is not known which were used.
    started_at: Timestamp,
    /// The codes that were used, and when they end.
    used: Arc<Mutex<BTreeMap<String, i64>>>,
}

impl Identity {
    /// Returns a code with which the console gets one token of an administrator, within ten
    /// minutes.
    ///
    /// # Errors
    /// [`IdentityError::Sign`] if the code cannot be signed.
    pub fn console_code(&self, now: Timestamp) -> Result<String, IdentityError> {
        let claims = json!({
            "id": uuid::Uuid::new_v4().to_string(), "made_at": now.as_millis(),
            "exp": now.as_seconds() + CODE_SECONDS,
        });
        self.sign_for(CODE_AUDIENCE, claims)
    }
}

impl SignIns {
    pub(super) fn new(identity: Identity, clock: Clock) -> Self {
        Self {
            identity,
            started_at: clock.now(),
            clock,
            used: Arc::default(),
        }
    }

    /// Answers a request for tokens (RFC 6749, section 4.1.3 and 6).
    pub(super) fn answer(&self, form: &[u8]) -> Response<Vec<u8>> {
        let form: BTreeMap<_, _> = form_urlencoded::parse(form).into_owned().collect();
        let of = |name: &str| form.get(name).map_or("", String::as_str);
        let allowed = match of("grant_type") {
            "authorization_code" => self.use_code(of("code")),
            "refresh_token" => self
                .identity
                .claims_for(REFRESH_AUDIENCE, of("refresh_token"))
                .is_some(),
            _ => false,
        };
        let tokens = allowed.then(|| self.tokens());
        match tokens {
            Some(Ok(tokens)) => {
                let mut response = Response::new(tokens.to_string().into_bytes());
                let headers = response.headers_mut();
                let json = HeaderValue::from_static("application/json");
                headers.insert(header::CONTENT_TYPE, json);
                let unstored = HeaderValue::from_static("no-store");
                headers.insert(header::CACHE_CONTROL, unstored);
                response
            }
            Some(Err(error)) => {
                tracing::error!(%error, "no token");
                let detail = "a token cannot be signed";
                problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
            }
            None => {
                let detail = "the code was used, has expired or is none: \
                    `local console` prints a new link";
                problem(StatusCode::UNAUTHORIZED, "unauthorized", detail)
            }
        }
    }

    /// Returns whether a code is good, and takes it.
    fn use_code(&self, code: &str) -> bool {
        let Some(claims) = self.identity.claims_for(CODE_AUDIENCE, code) else {
            return false;
        };
        let number = |name: &str| claims.get(name).and_then(Value::as_i64).unwrap_or_default();
        let made_in_time = number("made_at") >= self.started_at.as_millis();
        let Some(id) = text(&claims, "id").filter(|_| made_in_time) else {
            return false;
        };
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now().as_seconds();
        // A code is accepted for a minute longer than it says, as tokens are.
        used.retain(|_, ends_at| *ends_at + 120 > now);
        used.insert(id, number("exp")).is_none()
    }

    fn tokens(&self) -> Result<Value, IdentityError> {
        let now = self.clock.now();
        let refresh = json!({"exp": now.as_seconds() + REFRESH_SECONDS});
        let expires_at = now.as_seconds() + TOKEN_SECONDS;
        Ok(json!({
            "id_token": self.identity.token_with_role(TENANT, SUBJECT, Role::Admin, expires_at)?,
            "refresh_token": self.identity.sign_for(REFRESH_AUDIENCE, refresh)?,
            "token_type": "Bearer", "expires_in": TOKEN_SECONDS,
        }))
    }
}

fn text(claims: &Map<String, Value>, name: &str) -> Option<String> {
    claims.get(name)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(sign_ins: &SignIns, form: &str) -> (u16, Value) {
        let answer = sign_ins.answer(form.as_bytes());
        let body = serde_json::from_slice(answer.body()).unwrap();
        (answer.status().as_u16(), body)
    }

    fn with_code(code: &str) -> String {
        format!("grant_type=authorization_code&code={code}")
    }

    #[test]
    fn a_code_gives_tokens_once() {
        let identity = Identity::ephemeral().unwrap();
        let sign_ins = SignIns::new(identity.clone(), Clock::system());
        let code = identity.console_code(Clock::system().now()).unwrap();
        let (status, tokens) = ask(&sign_ins, &with_code(&code));
        assert_eq!(status, 200);
        let claims = identity.claims(tokens["id_token"].as_str().unwrap());
        assert_eq!(claims.unwrap()["custom:role"], "admin");
        assert_eq!(ask(&sign_ins, &with_code(&code)).0, 401, "used");

        let refresh = tokens["refresh_token"].as_str().unwrap();
        let renewed = format!("grant_type=refresh_token&refresh_token={refresh}");
        assert_eq!(ask(&sign_ins, &renewed).0, 200);
        assert!(identity.claims(refresh).is_none(), "no token of the API's");
        assert!(identity.claims(&code).is_none(), "no token of the API's");
        let restarted = SignIns::new(identity, Clock::system());
        assert_eq!(ask(&restarted, &renewed).0, 200, "the key is the same");
    }

    #[test]
    fn anything_else_gives_nothing() {
        let identity = Identity::ephemeral().unwrap();
        let now = Clock::system().now();
        let earlier = identity.console_code(now.plus_millis(-1_000)).unwrap();
        let late = identity.console_code(now.plus_millis(-1_000_000)).unwrap();
        let sign_ins = SignIns::new(identity.clone(), Clock::system());
        let token = identity.own_token(Role::Admin, now).unwrap();
        let forged = Identity::ephemeral().unwrap().console_code(now).unwrap();
        for form in [
            String::new(),
            "grant_type=password".to_owned(),
            with_code(""),
            with_code("x"),
            with_code(&earlier),
            with_code(&late),
            with_code(&token),
            with_code(&forged),
            format!("grant_type=refresh_token&refresh_token={token}"),
        ] {
            assert_eq!(ask(&sign_ins, &form).0, 401, "{form}");
        }
    }
}
