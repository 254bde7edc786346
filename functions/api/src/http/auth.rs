//! The caller of a request, from the claims that API Gateway has verified, and what the caller may
//! do: the one place where roles are checked.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use axum::Extension;
use axum::extract::{FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::live::Holder;
use domain::webhook::Maker;
use domain::{
    ClientId, ConnectionId, ConnectionKey, Role, TenantId, Timestamp, claim_texts, effective_role,
    role_of_claim, role_of_scopes,
};
use lambda_http::request::RequestContext;
use store::Connection;

use crate::Deps;
use crate::fairness::request_rate;
use crate::http::problem::Problem;

/// The longest subject that is stored with an edit, in bytes. OpenID Connect allows 255 characters.
const SUBJECT_BYTES_MAX: usize = 255;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Anyone, without a token.
    Anyone,
    /// A caller with this role or a higher one.
    Role(Role),
}

/// The claims of a token that say who calls. None may be writable by its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimNames {
    /// The claim with the tenant.
    pub tenant: String,
    /// The claim with the role: the word of one [`Role`].
    pub role: String,
    /// The claim with the groups.
    pub groups: String,
}

/// The claims of the stack's own user pool.
impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            tenant: "custom:tenant".to_owned(),
            role: "custom:role".to_owned(),
            groups: "cognito:groups".to_owned(),
        }
    }
}

/// The authenticated caller, whose role allows the request. Taken from the authorizer's claims
/// only: no header, query or body can name a tenant or a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The tenant whose data the caller may access.
    pub(crate) tenant: TenantId,
    /// The author of the caller's edits: the token's `sub`; of a machine, its client id.
    pub(crate) subject: String,
    /// The role; in a request about one connection, the role there.
    pub(crate) role: Role,
    groups: BTreeSet<String>,
    /// The role that the route needs.
    needed: Role,
    /// The time at which the token expires; `None` if it does not say.
    expires_at: Option<Timestamp>,
}

impl Caller {
    /// Requires a role beyond that of the route, for `what` the request asks.
    ///
    /// # Errors
    /// 403 with the role that is needed.
    pub(crate) fn needs(&self, role: Role, what: &str) -> Result<(), Problem> {
        if self.role >= role {
            return Ok(());
        }
        let own = self.role;
        let detail = format!("{what} needs the role {role}; the caller's role is {own}");
        Err(Problem::role_needed(role, detail))
    }

    /// Returns the caller as the holder of a ticket; `None` if the token does not say when it
    /// expires.
    pub(crate) fn holder(&self) -> Option<Holder> {
        Some(Holder {
            subject: self.subject.clone(),
            role: self.role,
            groups: self.groups.clone(),
            expires_at: self.expires_at?,
        })
    }

    /// Returns the caller as who answers for a webhook endpoint.
    pub(crate) fn maker(&self) -> Maker {
        Maker {
            subject: self.subject.clone(),
            role: self.role,
            groups: self.groups.clone(),
        }
    }

    /// Returns the role that the caller has at a connection; `None` if the connection does not
    /// exist for the caller.
    fn role_at(&self, connection: &Connection) -> Option<Role> {
        let access = connection.access.as_ref();
        effective_role(self.role, &self.subject, &self.groups, access)
    }

    /// Returns whether the caller may do at this connection what the route is for.
    pub(crate) fn reaches(&self, connection: &Connection) -> bool {
        let role = self.role_at(connection);
        role.is_some_and(|role| role >= self.needed)
    }

    /// Returns the caller with the role that it has at a connection that was read.
    ///
    /// # Errors
    /// As [`Caller::at`].
    pub(crate) fn admitted(&self, connection: &Connection, what: &str) -> Result<Self, Problem> {
        let role = self.role_at(connection);
        let caller = Self {
            role: role.ok_or_else(|| Problem::not_found(what))?,
            ..self.clone()
        };
        caller.needs(self.needed, "the request, at this connection,")?;
        Ok(caller)
    }

    /// Returns the caller with the role that it has at a connection. Nothing is read for an
    /// administrator, who is not narrowed: for this caller, the connection may not exist.
    ///
    /// # Errors
    /// 404 for `what` if there is no such connection, and in the same words if its access names
    /// others only; 403 with the role that is needed, if it gives less than that.
    pub(crate) async fn at(
        &self,
        deps: &Deps,
        key: &ConnectionKey,
        what: &str,
    ) -> Result<Self, Problem> {
        if self.role == Role::Admin {
            return Ok(self.clone());
        }
        let connection = deps.store.load_connection(key).await?;
        let connection = connection.ok_or_else(|| Problem::not_found(what))?;
        self.admitted(&connection, what)
    }
}

/// The caller that [`authorize`] has admitted.
impl FromRequestParts<Arc<Deps>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Deps>) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(Problem::unauthenticated)
    }
}

/// Admits a request if its caller has the role that its route needs, in the tenant and at the
/// connection that its path names. Nothing else is read before.
pub(crate) async fn authorize(
    Extension(deps): Extension<Arc<Deps>>,
    Extension(needs): Extension<Needs>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    match admitted(&deps, needs, &mut parts).await {
        Ok(None) => next.run(Request::from_parts(parts, body)).await,
        Ok(Some((caller, counted))) => {
            let tenant = caller.tenant.clone();
            parts.extensions.insert(caller);
            let response = next.run(Request::from_parts(parts, body)).await;
            if counted {
                request_rate::charge(&deps, &tenant).await;
            }
            response
        }
        Err(problem) => problem.into_response(),
    }
}

/// Returns the caller, and whether the request was counted against its tenant's rate; `None` if the
/// route is for anyone.
async fn admitted(
    deps: &Arc<Deps>,
    needs: Needs,
    parts: &mut Parts,
) -> Result<Option<(Caller, bool)>, Problem> {
    let needed = match needs {
        Needs::Anyone => return Ok(None),
        Needs::Role(role) => role,
    };
    let caller = identify(parts, deps, needed).await?;
    let counted = Box::pin(request_rate::count(deps, &caller.tenant, parts)).await?;
    caller.needs(needed, "the request")?;
    // What is no id names no connection: the handler says so.
    let Some(connection) = connection_of(deps, parts).await else {
        return Ok(Some((caller, counted)));
    };
    let key = ConnectionKey {
        tenant: caller.tenant.clone(),
        connection,
    };
    let caller = caller.at(deps, &key, "the connection").await?;
    Ok(Some((caller, counted)))
}

/// Returns the connection that a path names.
async fn connection_of(deps: &Arc<Deps>, parts: &mut Parts) -> Option<ConnectionId> {
    let params = Path::<HashMap<String, String>>::from_request_parts(parts, deps);
    let Path(params) = params.await.ok()?;
    ConnectionId::parse(params.get("connection")?).ok()
}

/// The claims of a token, all as text.
type Claims = HashMap<String, String>;

/// Returns the claims that the authorizer verified.
fn claims(parts: &Parts) -> Option<&Claims> {
    let RequestContext::ApiGatewayV2(context) = parts.extensions.get::<RequestContext>()? else {
        return None;
    };
    Some(&context.authorizer.as_ref()?.jwt.as_ref()?.claims)
}

/// Returns who calls, and in which role.
async fn identify(parts: &Parts, deps: &Deps, needed: Role) -> Result<Caller, Problem> {
    let claims = claims(parts).ok_or_else(Problem::unauthenticated)?;
    let subject = claims.get("sub").filter(|subject| is_subject(subject));
    let subject = subject.ok_or_else(Problem::unauthenticated)?;
    // A token that was issued for no user has the client as its subject (RFC 9068, section 2.2).
    if claims.get("client_id") == Some(subject) {
        return client(claims, subject, deps, needed).await;
    }
    user(claims, subject, &deps.claims, needed).ok_or_else(Problem::unauthenticated)
}

/// Returns the user of a token. An access token of Cognito's says what a program may do, not who
/// its user is, and gives no access.
fn user(claims: &Claims, subject: &str, names: &ClaimNames, needed: Role) -> Option<Caller> {
    let claim = |name: &str| claims.get(name).map(String::as_str);
    let tenant = TenantId::parse(claim(&names.tenant)?).ok()?;
    (claim("token_use") != Some("access")).then(|| Caller {
        tenant,
        subject: subject.to_owned(),
        role: role_of_claim(claim(&names.role)),
        groups: claim(&names.groups).map(claim_texts).unwrap_or_default(),
        needed,
        expires_at: expires_at(claims),
    })
}

/// Returns the machine of a client's token: its item says for which tenant it calls. Its role is
/// the lower of the item's and of that in the token's scope.
async fn client(
    claims: &Claims,
    subject: &str,
    deps: &Deps,
    needed: Role,
) -> Result<Caller, Problem> {
    let id = ClientId::parse(subject).map_err(|_| Problem::unauthenticated())?;
    let client = deps.store.load_client(&id).await?;
    let client = client.ok_or_else(Problem::unauthenticated)?;
    let scope = claims.get("scope").map_or("", String::as_str);
    let scoped = role_of_scopes(scope).ok_or_else(|| {
        let detail = format!("the token's scope has no role: ask for the scope drivesync/{needed}");
        Problem::role_needed(needed, detail)
    })?;
    Ok(Caller {
        tenant: client.tenant,
        subject: subject.to_owned(),
        role: client.role.min(scoped),
        groups: BTreeSet::new(),
        needed,
        expires_at: expires_at(claims),
    })
}

/// Returns the time at which a token expires.
fn expires_at(claims: &Claims) -> Option<Timestamp> {
    let seconds = claims.get("exp")?.parse::<f64>().ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "a float saturates")]
    let millis = (seconds * 1_000.0) as i64;
    Some(Timestamp::from_millis(millis))
}

/// Returns whether a subject can be stored with an edit.
fn is_subject(subject: &str) -> bool {
    let fits = (1..=SUBJECT_BYTES_MAX).contains(&subject.len());
    fits && !subject.chars().any(char::is_control)
}
