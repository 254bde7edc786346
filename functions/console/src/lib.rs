//! Serves the console: the pages in which people see a system and settle what it asks.
//!
//! The function has the pages within itself, so that they are deployed with the API that they speak
//! to, and calls nothing. The page itself is asked for again each time; what it loads lies under a
//! path with the hash of all of it, and never changes. A path that is no file is the page, whose
//! own router reads it: every state of the console is a URL.

mod assets;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use http::{HeaderValue, Method, StatusCode, header};
use lambda_http::{Body, Request, Response};
use runtime::{Settings, SettingsError};
use serde_json::json;
use sha2::{Digest, Sha256};
use url::Url;

use self::assets::{ASSETS, LOADED_LATER, PAGE};

/// The path of the console; everything of it lies below.
pub const PATH: &str = "/console";
/// The path at which `local` gives tokens for one-time codes.
pub const LOCAL_TOKEN_PATH: &str = "/console/token";
/// The hexadecimal digits of a hash in a path or an `ETag`.
const HASH_CHARS: usize = 16;
const ALWAYS_ASK: &str = "no-cache";
const NEVER_ASK: &str = "public, max-age=31536000, immutable";

/// Who signs people in, and where events come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    /// The issuer of the tokens; `None` if `local` gives them for one-time codes.
    pub issuer: Option<String>,
    /// The client as which people sign in; empty if they can't.
    pub client_id: String,
    /// Further origins of the issuer's that the pages may call: that of its token endpoint.
    pub origins: Vec<String>,
    /// The claim with the caller's role.
    pub role_claim: String,
    /// The URL of the live WebSocket.
    pub live_url: String,
    /// The URL of the bucket that parts of large contents are sent to; `None` if pages can't reach
    /// it.
    pub content_url: Option<String>,
}

impl SignIn {
    /// Reads who signs people in from the environment.
    ///
    /// # Errors
    /// Names the setting that is missing or malformed.
    fn load(settings: &Settings) -> Result<Self, SettingsError> {
        let origins = settings.optional("SIGN_IN_ORIGINS").unwrap_or_default();
        let sign_in = Self {
            issuer: Some(settings.required("ISSUER")?),
            client_id: settings.optional("CLIENT_ID").unwrap_or_default(),
            origins: origins.split_whitespace().map(str::to_owned).collect(),
            role_claim: settings.required("ROLE_CLAIM")?,
            live_url: settings.required("LIVE_URL")?,
            content_url: settings.optional("CONTENT_URL"),
        };
        let mut urls = sign_in.urls();
        let wrong = urls.find_map(|(name, url)| origin(url).is_none().then_some(name));
        drop(urls);
        match wrong {
            None => Ok(sign_in),
            Some(name) => Err(SettingsError::Invalid {
                name,
                wanted: "a URL with a host",
            }),
        }
    }

    /// Returns every URL that the pages may call besides their own origin, with its setting.
    fn urls(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let further = self.origins.iter().map(|url| ("SIGN_IN_ORIGINS", url));
        let issuer = self.issuer.iter().map(|url| ("ISSUER", url));
        let content = self.content_url.iter().map(|url| ("CONTENT_URL", url));
        let all = [("LIVE_URL", &self.live_url)]
            .into_iter()
            .chain(issuer)
            .chain(further)
            .chain(content);
        all.map(|(name, url)| (name, url.as_str()))
    }
}

/// Returns the origin of a URL; `None` if it has none that a policy can name.
fn origin(url: &str) -> Option<String> {
    let origin = Url::parse(url).ok()?.origin();
    let text = origin.is_tuple().then(|| origin.ascii_serialization())?;
    // A host may hold a semicolon, which ends a directive.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ":/.-_[]".contains(c);
    text.chars().all(is_plain).then_some(text)
}

/// A file of the console as it is sent.
#[derive(Debug)]
struct File {
    content_type: &'static str,
    cache: &'static str,
    tag: String,
    body: Vec<u8>,
}

impl File {
    fn new(content_type: &'static str, cache: &'static str, body: Vec<u8>) -> Self {
        Self {
            content_type,
            cache,
            tag: format!("\"{}\"", hash(&body)),
            body,
        }
    }
}

/// The whole console.
#[derive(Debug)]
pub struct Site {
    page: File,
    files: BTreeMap<String, File>,
    headers: Vec<(header::HeaderName, HeaderValue)>,
}

impl Site {
    /// Builds the console from the environment.
    ///
    /// # Errors
    /// Names the setting that is missing or malformed.
    pub fn load(settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self::new(&SignIn::load(settings)?))
    }

    /// Builds the console. Its pages call nothing that is no URL with a host.
    #[must_use]
    pub fn new(sign_in: &SignIn) -> Self {
        let folder = format!("{PATH}/a/{}", release());
        let config = json!({
            "issuer": sign_in.issuer,
            "client_id": sign_in.client_id,
            "role_claim": sign_in.role_claim,
            "live_url": sign_in.live_url,
            "content_url": sign_in.content_url,
            "token_path": sign_in.issuer.is_none().then_some(LOCAL_TOKEN_PATH),
            "local": sign_in.issuer.is_none(),
            "version": env!("CARGO_PKG_VERSION"),
            "release": release(),
        });
        let config = File::new(
            "application/json",
            ALWAYS_ASK,
            config.to_string().into_bytes(),
        );
        let mut files = BTreeMap::from([(format!("{PATH}/config.json"), config)]);
        for (name, bytes) in ASSETS {
            let bytes = match name.ends_with(".js") && !name.starts_with("vendor/") {
                true => without_comments(bytes),
                false => bytes.to_vec(),
            };
            let file = File::new(content_type(name), NEVER_ASK, bytes);
            files.insert(format!("{folder}/{name}"), file);
        }
        let page = File::new("text/html; charset=utf-8", ALWAYS_ASK, page(&folder));
        Self {
            page,
            files,
            headers: headers(sign_in),
        }
    }

    /// Returns the file at a path. Every path that names no file is the page.
    fn find(&self, path: &str) -> Option<&File> {
        let is_page = path == PATH
            || path
                .strip_prefix(PATH)
                .is_some_and(|rest| rest.starts_with('/') && !rest.starts_with("/a/"));
        self.files
            .get(path)
            .or_else(|| is_page.then_some(&self.page))
    }
}

/// Answers one request.
#[must_use]
pub fn handle(request: &Request, site: &Site) -> Response<Body> {
    let path = request.uri().path();
    let mut response = if !matches!(*request.method(), Method::GET | Method::HEAD) {
        empty(StatusCode::METHOD_NOT_ALLOWED)
    } else if path == "/" {
        redirect()
    } else if let Some(file) = site.find(path) {
        send(file, request)
    } else {
        empty(StatusCode::NOT_FOUND)
    };
    tracing::info!(status = response.status().as_u16(), "page answered");
    for (name, value) in &site.headers {
        response.headers_mut().insert(name.clone(), value.clone());
    }
    response
}

fn send(file: &File, request: &Request) -> Response<Body> {
    let known = request.headers().get_all(header::IF_NONE_MATCH).iter();
    let known = known.filter_map(|value| value.to_str().ok());
    let known = known
        .flat_map(|tags| tags.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == file.tag || tag == "*");
    let mut response = match known {
        true => empty(StatusCode::NOT_MODIFIED),
        false if request.method() == Method::HEAD => empty(StatusCode::OK),
        // Text, which API Gateway passes on as it is.
        false => match std::str::from_utf8(&file.body) {
            Ok(text) => Response::new(Body::Text(text.to_owned())),
            Err(_) => Response::new(Body::Binary(file.body.clone())),
        },
    };
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(file.content_type),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(file.cache));
    if let Ok(tag) = HeaderValue::from_str(&file.tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

fn redirect() -> Response<Body> {
    let mut response = empty(StatusCode::TEMPORARY_REDIRECT);
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::from_static(PATH));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(ALWAYS_ASK));
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response
}

/// Returns the headers of every answer. Scripts and styles come from the console alone, and text
/// never becomes markup: the one policy of trusted types is that of the templates.
fn headers(sign_in: &SignIn) -> Vec<(header::HeaderName, HeaderValue)> {
    let connect: Vec<String> = sign_in.urls().filter_map(|(_, url)| origin(url)).collect();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self' {}; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types lit-html",
        connect.join(" ")
    );
    // An origin is ASCII, without spaces and semicolons.
    let policy = HeaderValue::from_str(&policy)
        .unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"));
    let mut headers = vec![(header::CONTENT_SECURITY_POLICY, policy)];
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            header::HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    headers.extend(
        fixed
            .into_iter()
            .map(|(name, value)| (name, HeaderValue::from_static(value))),
    );
    if sign_in.issuer.is_some() {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.push((header::STRICT_TRANSPORT_SECURITY, year));
    }
    headers
}

/// Returns the page, with the addresses of what it loads.
fn page(folder: &str) -> Vec<u8> {
    let modules = ASSETS
        .iter()
        .filter(|(name, _)| name.ends_with(".js") && *name != LOADED_LATER);
    let preload: String = modules
        .map(|(name, _)| format!("<link rel=\"modulepreload\" href=\"{folder}/{name}\">\n"))
        .collect();
    PAGE.replace("<!-- modules -->\n", &preload)
        .replace("/console/a/release", folder)
        .into_bytes()
}

/// Returns the hash of all files, which changes with each of them.
fn release() -> String {
    let mut all = Sha256::new();
    for (name, bytes) in ASSETS {
        all.update(name.as_bytes());
        all.update([0]);
        all.update(Sha256::digest(bytes));
    }
    short(&all.finalize())
}

fn hash(bytes: &[u8]) -> String {
    short(&Sha256::digest(bytes))
}

fn short(digest: &[u8]) -> String {
    hex::encode(digest).chars().take(HASH_CHARS).collect()
}

/// Returns a script without the lines that are comments, which are a third of it. They are left
/// empty, so that the lines keep their numbers. No text in the scripts has such lines.
fn without_comments(script: &[u8]) -> Vec<u8> {
    let script = String::from_utf8_lossy(script);
    let mut is_within = false;
    let mut kept = String::with_capacity(script.len());
    for line in script.lines() {
        let text = line.trim();
        let begins = text.starts_with("/**") && (text.ends_with("*/") || !text.contains("*/"));
        if !(is_within || begins || text.starts_with("//")) {
            kept.push_str(line);
        }
        kept.push('\n');
        is_within = (is_within || begins) && !text.contains("*/");
    }
    kept.into_bytes()
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}
