//! What is refused on a socket before a route sees it: requests that a page in a browser of this
//! machine could cause, and control commands of anyone but who started the simulator.

use axum::response::Response;
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, header};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{
    errors::DriveError,
    http::{
        response::{error_response, json},
        serve::hosts::Hosts,
    },
};

/// The header of every control command, with the value that the simulator tells at its start.
pub(crate) const CONTROL: HeaderName = HeaderName::from_static("x-drive-control");
/// What a browser says about the page that caused a request.
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The reason why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Host,
    Origin,
    ControlKey,
    ControlType,
}

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Origin | Self::ControlKey => StatusCode::FORBIDDEN,
            Self::ControlType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Host => {
                "The Host of the request is no name of this server: call it by its address or as \
                 localhost, or start it with --allow-host."
            }
            Self::Origin => "Requests of pages from other origins are refused.",
            Self::ControlKey => {
                "A control command needs the header X-Drive-Control with the value that was told \
                 when the simulator was started."
            }
            Self::ControlType => "A control command needs Content-Type: application/json.",
        }
    }
}

/// Returns the response to a request that must not reach a route. `control` is the value of the
/// header of control commands; without one, there are none.
pub(super) fn refuse<B>(
    request: &Request<B>,
    hosts: &Hosts,
    control: Option<&str>,
) -> Option<Response> {
    let refusal = judge(request, hosts, control).err()?;
    Some(if is_control(request) {
        json(refusal.status(), &json!({"error": refusal.message()}))
    } else {
        let status = refusal.status().as_u16();
        error_response(&DriveError::new(status, "forbidden", refusal.message()))
    })
}

fn judge<B>(request: &Request<B>, hosts: &Hosts, control: Option<&str>) -> Result<(), Refusal> {
    let headers = request.headers();
    if !hosts.admit(request) {
        return Err(Refusal::Host);
    }
    if is_foreign(headers) {
        return Err(Refusal::Origin);
    }
    if is_control(request) {
        let sent = headers.get(CONTROL).map(http::HeaderValue::as_bytes);
        // Digests, so that the time of the comparison tells nothing.
        let same = |sent: &[u8], key: &str| Sha256::digest(sent) == Sha256::digest(key);
        if !sent.zip(control).is_some_and(|(sent, key)| same(sent, key)) {
            return Err(Refusal::ControlKey);
        }
        if request.method() == Method::POST && !is_json(headers) {
            return Err(Refusal::ControlType);
        }
    }
    Ok(())
}

fn is_control<B>(request: &Request<B>) -> bool {
    request.uri().path().starts_with("/_control")
}

/// Returns whether a browser sent the request for a page from elsewhere: another port of this
/// machine is another origin, though the same site.
fn is_foreign(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).map(http::HeaderValue::as_bytes);
    let own = |origin: &http::HeaderValue| {
        let origin = origin.as_bytes().strip_prefix(b"http://");
        origin.is_some() && origin == host
    };
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let mut sites = headers.get_all(SITE).iter();
    origins.any(|origin| !own(origin)) || sites.any(|site| site != "same-origin" && site != "none")
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "5f0a";

    fn judged(method: &str, path: &str, headers: &[(&str, &str)]) -> Result<(), Refusal> {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header(header::HOST, "127.0.0.1:3001");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        judge(&request, &Hosts::default(), Some(KEY))
    }

    #[test]
    fn a_request_of_a_page_from_elsewhere_is_refused() {
        let files = "/drive/v3/files";
        for foreign in [
            ("origin", "http://evil.example"),
            ("origin", "http://127.0.0.1:8000"),
            ("origin", "http://localhost:3001"),
            ("origin", "https://127.0.0.1:3001"),
            ("origin", "null"),
            ("origin", ""),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "anything"),
        ] {
            for method in ["GET", "POST", "OPTIONS"] {
                let refused = judged(method, files, &[foreign]);
                assert_eq!(refused, Err(Refusal::Origin), "{method} {foreign:?}");
            }
        }
        for own in [
            ("origin", "http://127.0.0.1:3001"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
        ] {
            assert_eq!(judged("POST", files, &[own]), Ok(()), "{own:?}");
        }
        let both = [
            ("origin", "http://127.0.0.1:3001"),
            ("origin", "http://evil.example"),
        ];
        assert_eq!(judged("POST", files, &both), Err(Refusal::Origin));
        let rebound = [("host", "evil.example:3001")];
        assert_eq!(judged("GET", files, &rebound), Err(Refusal::Host));
    }

    #[test]
    fn a_control_command_needs_its_header_and_json() {
        let reset = "/_control/reset";
        let json = ("content-type", "application/json; charset=utf-8");
        let key = ("x-drive-control", KEY);
        assert_eq!(judged("POST", reset, &[key, json]), Ok(()));
        assert_eq!(judged("GET", "/_control/counters", &[key]), Ok(()));
        assert_eq!(judged("DELETE", "/_control/faults", &[key]), Ok(()));
        for sent in ["", "5f0", "5f0a0", "5F0A"] {
            let headers = [("x-drive-control", sent), json];
            assert_eq!(judged("POST", reset, &headers), Err(Refusal::ControlKey));
        }
        assert_eq!(judged("POST", reset, &[json]), Err(Refusal::ControlKey));
        assert_eq!(judged("GET", "/_control", &[]), Err(Refusal::ControlKey));
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
            "",
        ] {
            let headers = [key, ("content-type", kind)];
            assert_eq!(judged("POST", reset, &headers), Err(Refusal::ControlType));
        }
        assert_eq!(judged("POST", reset, &[key]), Err(Refusal::ControlType));
        // Without a key of its own, the simulator takes no commands on its socket.
        let request = Request::get("/_control/counters").header(header::HOST, "localhost");
        let request = request.header(CONTROL, "").body(()).expect("a request");
        let refused = judge(&request, &Hosts::default(), None);
        assert_eq!(refused, Err(Refusal::ControlKey));
    }
}
