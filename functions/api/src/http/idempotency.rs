//! Requests with an `Idempotency-Key`, on every route that writes: a repeat is answered, not
//! carried out again.
//!
//! The answer is looked up before the handler runs, so before any condition of the request. It is
//! stored by the write that carries the request out ([`Keyed::store`]), and says where to read what
//! the request made: a repeat shows that as it is now. It holds no body, so no link and no secret.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::TenantId;
use lambda_http::request::RequestContext;
use serde_json::Value;
use sha2::{Digest, Sha256};
use store::{Answer, PendingAct, PendingAnswer, Store};

use crate::Deps;
use crate::http::acts;
use crate::http::auth::Caller;
use crate::http::problem::{Kind, Problem};
use crate::http::responses::set_location;

/// The longest `Idempotency-Key` that is accepted, in bytes.
const KEY_BYTES_MAX: usize = 255;
/// The largest body of a request with a key, in bytes: that of an upload. Handlers have lower
/// limits of their own.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024 + 1;
/// The header of a request that is to be carried out once.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks the response to a request that had been carried out before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// The hash of an upload, which belongs to the request like its body.
const CONTENT_HASH: HeaderName = HeaderName::from_static("content-sha256");

/// The request that a handler carries out: its key, if it has one, and its act.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keyed {
    request: Option<Arc<KeyedRequest>>,
    act: Option<PendingAct>,
}

/// A request with a key.
#[derive(Debug)]
struct KeyedRequest {
    tenant: TenantId,
    /// The digest of subject, method, path and key.
    key: String,
    pending: PendingAnswer,
    draft: Mutex<Answer>,
    /// The first answer, if this is a repeat.
    first: Option<Answer>,
}

/// A response with this extension shows something that is gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShowsGone;

impl FromRequestParts<Arc<Deps>> for Keyed {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, deps: &Arc<Deps>) -> Result<Self, Infallible> {
        Ok(Self {
            request: parts.extensions.get().cloned(),
            act: acts::of(parts, deps).await,
        })
    }
}

impl KeyedRequest {
    fn new(deps: &Deps, tenant: &TenantId, key: String, first: Option<Answer>, of: Answer) -> Self {
        Self {
            tenant: tenant.clone(),
            pending: PendingAnswer::new(tenant.clone(), key.clone(), deps.clock.now()),
            key,
            draft: Mutex::new(of),
            first,
        }
    }

    fn draft(&self) -> Answer {
        let draft = self.draft.lock();
        draft.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stores the answer of a request that wrote nothing, or nothing in one write.
    async fn save(&self, deps: &Deps) {
        if let Err(error) = deps.store.save_answer(&self.pending, self.draft()).await {
            let error = runtime::telemetry::chain(&error);
            tracing::warn!(error, "could not store the answer to a request with a key");
        }
    }
}

impl Keyed {
    /// Returns the table for the write that carries the request out: the same write stores the
    /// answer and the act.
    pub(crate) fn store(&self, deps: &Deps) -> Store {
        let store = match &self.request {
            Some(request) => deps.store.answering(&request.pending, request.draft()),
            None => deps.store.clone(),
        };
        match &self.act {
            Some(act) => store.acting(act),
            None => store,
        }
    }

    /// Returns the same request without its key: for writes that change something before the
    /// request is done, or that have no answer of their own.
    pub(crate) fn act_only(&self) -> Self {
        Self {
            request: None,
            act: self.act.clone(),
        }
    }

    /// Adds a member to the request's act.
    pub(crate) fn tell(&self, name: &str, value: impl Into<Value>) {
        if let Some(act) = &self.act {
            act.tell(name, value);
        }
    }

    /// Writes the request's act now: it changes nothing in the table, or gives a link.
    pub(crate) async fn record(&self, deps: &Deps) -> Result<(), Problem> {
        match &self.act {
            Some(act) => Ok(deps.store.save_act(act).await?),
            None => Ok(()),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Answer)) {
        if let Some(request) = &self.request {
            let draft = request.draft.lock();
            change(&mut draft.unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn answers(&self, status: StatusCode, location: Option<&str>) {
        self.change(|answer| {
            answer.status = status.as_u16();
            answer.location = location.map(str::to_owned);
        });
    }

    /// Says that the request creates what is at `location`.
    pub(crate) fn creates(&self, location: &str) {
        self.answers(StatusCode::CREATED, Some(location));
    }

    /// Says that the answer has no body: what the request concerned is gone.
    pub(crate) fn deletes(&self) {
        self.answers(StatusCode::NO_CONTENT, None);
    }

    /// Says that the answer is 202 with what is at `location`.
    pub(crate) fn accepts(&self, location: &str) {
        self.answers(StatusCode::ACCEPTED, Some(location));
    }

    /// Says that what the answer shows ends by the request itself, so that a repeat shows it
    /// although it is gone.
    pub(crate) fn ends(&self) {
        self.change(|answer| answer.ends = true);
    }

    /// Says that the answer shows the things with these ids.
    pub(crate) fn shows(&self, parts: Vec<String>, next_cursor: Option<String>) {
        self.change(|answer| {
            answer.parts = parts;
            answer.next_cursor = next_cursor;
        });
    }

    /// Returns the first answer if this is a repeat of a request that shows several things, which
    /// only its handler can show again.
    pub(crate) fn first_answer(&self) -> Option<&Answer> {
        self.request.as_ref()?.first.as_ref()
    }

    /// Stores the answer now, before the parts of the request are carried out, each with a key of
    /// its own.
    pub(crate) async fn begin_parts(&self, deps: &Deps) -> Result<(), Problem> {
        match &self.request {
            Some(request) if request.first.is_none() => {
                let saved = deps.store.save_answer(&request.pending, request.draft());
                Ok(saved.await?)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Derives the key of one part of a request, of which `content` says what is asked and
    /// `location` where its result is read.
    pub(crate) fn part(&self, deps: &Deps, name: &str, content: &str, location: &str) -> Self {
        let request = self.request.as_ref().map(|whole| {
            let key = digest(&[whole.key.as_bytes(), name.as_bytes()]);
            let answer = answer(digest(&[content.as_bytes()]), Some(location.to_owned()));
            Arc::new(KeyedRequest::new(deps, &whole.tenant, key, None, answer))
        });
        Self {
            request,
            act: self.act.clone(),
        }
    }

    /// Returns whether the request was carried out before.
    ///
    /// # Errors
    /// 422 if another request had this key.
    pub(crate) async fn was_carried_out(&self, deps: &Deps) -> Result<bool, Problem> {
        match &self.request {
            None => Ok(false),
            Some(request) => {
                let of = request.draft().digest;
                let first = load(deps, &request.tenant, &request.key, &of).await?;
                if let (Some(_), Some(act)) = (&first, &self.act) {
                    // The call that carried it out wrote the act.
                    act.mark_stored();
                }
                Ok(first.is_some())
            }
        }
    }
}

/// Returns the answer of a request that shows one thing.
fn answer(digest: String, location: Option<String>) -> Answer {
    Answer {
        digest,
        status: StatusCode::OK.as_u16(),
        location,
        ends: false,
        revision: None,
        parts: Vec::new(),
        next_cursor: None,
    }
}

/// Loads the answer to the request with this key.
async fn load(
    deps: &Deps,
    tenant: &TenantId,
    key: &str,
    digest: &str,
) -> Result<Option<Answer>, Problem> {
    let first = deps
        .store
        .load_answer(tenant, key, deps.clock.now())
        .await?;
    if first.as_ref().is_some_and(|first| first.digest != digest) {
        let detail = "the key has been used for another request to this path; use a new key";
        return Err(Problem::new(Kind::KeyReused, detail));
    }
    Ok(first)
}

/// Answers a repeat of a request that writes and has a key; passes any other request on.
pub(crate) async fn answer_repeats(
    Extension(deps): Extension<Arc<Deps>>,
    request: Request,
    next: Next,
) -> Response {
    let writes = !matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if !writes || !request.headers().contains_key(KEY) {
        return next.run(request).await;
    }
    let answered = answer_once(&deps, request, next).await;
    answered.unwrap_or_else(IntoResponse::into_response)
}

async fn answer_once(deps: &Arc<Deps>, request: Request, next: Next) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, deps).await?;
    let name = key(&parts.headers)?;
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
        let detail = format!("the body may have at most {} bytes", BODY_BYTES_MAX - 1);
        Problem::new(Kind::BodyTooLarge, detail)
    })?;
    let path = parts.uri.path().to_owned();
    let key = digest(&[
        caller.subject.as_bytes(),
        parts.method.as_str().as_bytes(),
        path.as_bytes(),
        name.as_bytes(),
    ]);
    let query = parts.uri.query().unwrap_or("").as_bytes();
    let content_hash = parts.headers.get(CONTENT_HASH);
    let content_hash = content_hash.map_or(&[][..], HeaderValue::as_bytes);
    let content = digest(&[query, content_hash, &bytes]);
    let first = load(deps, &caller.tenant, &key, &content).await?;
    let method = parts.method.clone();
    let context = parts.extensions.get::<RequestContext>().cloned();
    if let Some(first) = &first
        && let Some(response) = replay(deps, context.clone(), &method, first).await?
    {
        return Ok(response);
    }
    let is_repeat = first.is_some();
    let route = parts.extensions.get::<MatchedPath>();
    let location = route.and_then(|route| shown_at(route.as_str(), &path));
    let draft = answer(content.clone(), location);
    let request = KeyedRequest::new(deps, &caller.tenant, key.clone(), first, draft);
    let request = Arc::new(request);
    parts.extensions.insert(Arc::clone(&request));
    let mut response = next
        .run(Request::from_parts(parts, Body::from(bytes)))
        .await;
    if is_repeat {
        mark_replayed(&mut response);
        return Ok(response);
    }
    if response.status().is_success() {
        request.save(deps).await;
        return Ok(response);
    }
    // The same request may have been carried out by another call while this one ran.
    match load(deps, &caller.tenant, &key, &content).await {
        Ok(Some(first)) => {
            let replayed = replay(deps, context, &method, &first).await?;
            Ok(replayed.unwrap_or(response))
        }
        Ok(None) | Err(_) => Ok(response),
    }
}

/// Reads a request's key.
fn key(headers: &HeaderMap) -> Result<String, Problem> {
    let mut values = headers.get_all(KEY).iter();
    let value = values.next().map_or(&[][..], HeaderValue::as_bytes);
    // Two keys name two requests: a repeat would be ambiguous.
    if values.next().is_some() {
        let detail = "send only one Idempotency-Key";
        return Err(Problem::new(Kind::MalformedRequest, detail));
    }
    let graphic = value.iter().all(|byte| (b' '..=b'~').contains(byte));
    match str::from_utf8(value) {
        Ok(key) if graphic && !key.is_empty() && key.len() <= KEY_BYTES_MAX => Ok(key.to_owned()),
        Ok(_) | Err(_) => {
            let detail = format!("Idempotency-Key must be 1 to {KEY_BYTES_MAX} ASCII characters");
            Err(Problem::new(Kind::MalformedRequest, detail))
        }
    }
}

/// Returns the path at which the result of a request is read, if that is known from its own path:
/// it names the thing, or a verb after it. What is created has another path, and what several
/// things are shown of has none.
fn shown_at(route: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split('/').collect();
    let mut of_route = route.rsplit('/');
    let (last, before) = (of_route.next()?, of_route.next()?);
    match last {
        "{connection}" | "{file}" | "{webhook}" => {}
        // A verb after a collection changes many things.
        _ if !before.starts_with('{') => return None,
        "pause" | "resume" | "rollback" | "restore" | "content" | "resolution" | "confirm"
        | "cancel" | "retry" | "drop" | "rotate" => {
            parts.pop();
            if route.contains("/intents/{file}/")
                && let Some(collection) = parts.iter_mut().rev().nth(1)
            {
                *collection = "files";
            }
        }
        "commit" => parts.truncate(parts.len().saturating_sub(3)),
        _ => return None,
    }
    Some(parts.join("/"))
}

/// Answers a repeat with what the first request made, as it is now; `None` if only its handler can.
///
/// # Errors
/// 410 if it is gone.
async fn replay(
    deps: &Arc<Deps>,
    context: Option<RequestContext>,
    method: &Method,
    first: &Answer,
) -> Result<Option<Response>, Problem> {
    if first.status == StatusCode::NO_CONTENT.as_u16() {
        let mut response = StatusCode::NO_CONTENT.into_response();
        mark_replayed(&mut response);
        return Ok(Some(response));
    }
    let Some(location) = &first.location else {
        return Ok(None);
    };
    let was_deleted = || {
        let detail = "the request was carried out, and what it made or changed is gone since";
        Problem::new(Kind::WasDeleted, detail)
    };
    let mut read = Request::builder()
        .uri(location)
        .body(Body::empty())
        .map_err(|_| Problem::new(Kind::Internal, "the stored answer has no valid path"))?;
    if let Some(context) = context {
        read.extensions_mut().insert(context);
    }
    let mut response = crate::read(deps, read).await;
    if response.status() == StatusCode::NOT_FOUND {
        return Err(was_deleted());
    }
    if !response.status().is_success() {
        return Ok(Some(response));
    }
    let ends = first.ends || *method == Method::DELETE;
    if response.extensions().get::<ShowsGone>().is_some() && !ends {
        return Err(was_deleted());
    }
    if first.status == StatusCode::CREATED.as_u16() {
        set_location(&mut response, location);
    }
    mark_replayed(&mut response);
    Ok(Some(response))
}

/// Marks a response as the answer to a repeat.
fn mark_replayed(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
}

/// Returns a short digest of some byte strings, unambiguous because it includes their lengths.
pub(crate) fn digest(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part);
    }
    let hash = hasher.finalize();
    URL_SAFE_NO_PAD.encode(hash.get(..16).unwrap_or(&hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_of_a_request_is_shown_at_the_path_of_what_it_names() {
        let connection = "/v1/connections/{connection}";
        let at = |rest: &str, path: &str| {
            let path = format!("/v1/connections/c_1{path}");
            let shown = shown_at(&format!("{connection}{rest}"), &path);
            shown.map(|shown| shown.replace("/v1/connections/c_1", ""))
        };
        for (rest, path, shown) in [
            ("", "", Some("")),
            ("/pause", "/pause", Some("")),
            ("/files/{file}", "/files/f", Some("/files/f")),
            (
                "/files/{file}/content",
                "/files/f/content",
                Some("/files/f"),
            ),
            (
                "/files/{file}/rollback",
                "/files/f/rollback",
                Some("/files/f"),
            ),
            (
                "/files/{file}/uploads/{upload}/commit",
                "/files/f/uploads/u/commit",
                Some("/files/f"),
            ),
            (
                "/intents/{file}/retry",
                "/intents/f/retry",
                Some("/files/f"),
            ),
            (
                "/intents/{file}/cancel",
                "/intents/f/cancel",
                Some("/files/f"),
            ),
            (
                "/operations/{operation}/cancel",
                "/operations/o/cancel",
                Some("/operations/o"),
            ),
            (
                "/conflicts/{conflict}/resolution",
                "/conflicts/x/resolution",
                Some("/conflicts/x"),
            ),
            ("/conflicts/resolutions", "/conflicts/resolutions", None),
            ("/intents/retry", "/intents/retry", None),
            ("/intents/cancel", "/intents/cancel", None),
            ("/files", "/files", None),
            ("/files/{file}/uploads", "/files/f/uploads", None),
            (
                "/files/{file}/versions/{version}",
                "/files/f/versions/1",
                None,
            ),
            ("/sync", "/sync", None),
        ] {
            assert_eq!(at(rest, path).as_deref(), shown, "{rest}");
        }
        let webhook = "/v1/webhooks/w_1";
        let rotate = shown_at("/v1/webhooks/{webhook}/rotate", "/v1/webhooks/w_1/rotate");
        assert_eq!(rotate.as_deref(), Some(webhook));
        let whole = shown_at("/v1/webhooks/{webhook}", webhook);
        assert_eq!(whole.as_deref(), Some(webhook));
    }

    #[test]
    fn digests_tell_the_parts_apart() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_eq!(digest(&[b"ab"]), digest(&[b"ab"]));
    }
}
