//! Entity tags of a table that was restored. The numbers of the states that were lost are given
//! again to others: a tag from before must not stand for a state that its holder never saw. So the
//! tags of a restored table name the restore, and no others match.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::Deps;
use crate::http::problem::Problem;

/// What a tag from before the restore becomes: none that this API makes.
const LOST: &str = "-lost";

/// The header that names the restore, in every response.
const RESTORED: HeaderName = HeaderName::from_static("drivesync-restored");

/// Makes the tags of a response name the restore, and those of the request be without it.
pub(crate) async fn name_the_restore(mut request: Request, next: Next) -> Response {
    let has_tags = request.headers().contains_key(header::IF_MATCH);
    let restored = match request.extensions().get::<Arc<Deps>>() {
        Some(deps) => deps.store.restored_at(deps.clock.now()).await,
        None => Ok(None),
    };
    let at = match restored {
        Ok(None) => return next.run(request).await,
        Ok(Some(at)) => format!("{:x}", at.as_millis()),
        // What has no tags does not need the table for this.
        Err(error) if has_tags => return Problem::from(error).into_response(),
        Err(_) => return without_tag(next.run(request).await),
    };
    let suffix = format!("-{at}");
    replace(request.headers_mut(), header::IF_MATCH, |tag| {
        let number = tag.strip_suffix(&suffix).map(str::to_owned);
        number.unwrap_or_else(|| format!("{tag}{LOST}"))
    });
    let mut response = next.run(request).await;
    replace(response.headers_mut(), header::ETAG, |tag| {
        format!("{tag}{suffix}")
    });
    if let Ok(at) = HeaderValue::from_str(&at) {
        response.headers_mut().insert(RESTORED, at);
    }
    response
}

/// A tag that may be another one's is not given.
fn without_tag(mut response: Response) -> Response {
    response.headers_mut().remove(header::ETAG);
    response
}

/// Replaces what is in quotes in each line of a header.
fn replace(headers: &mut HeaderMap, name: HeaderName, tag: impl Fn(&str) -> String) {
    let lines = headers.get_all(&name).iter();
    let lines = lines.map(|line| {
        let text = String::from_utf8_lossy(line.as_bytes()).into_owned();
        let parts = text.split('"').enumerate();
        let parts = parts.map(|(place, part)| match place % 2 {
            0 => part.to_owned(),
            _ => tag(part),
        });
        let parts: Vec<String> = parts.collect();
        HeaderValue::from_str(&parts.join("\"")).unwrap_or(line.clone())
    });
    let lines: Vec<HeaderValue> = lines.collect();
    headers.remove(&name);
    for line in lines {
        headers.append(&name, line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_quotes_is_replaced_in_every_line() {
        let mut headers = HeaderMap::new();
        for line in ["\"1\", W/\"2\"", "*", "\"3"] {
            headers.append(header::IF_MATCH, HeaderValue::from_static(line));
        }
        replace(&mut headers, header::IF_MATCH, |tag| format!("<{tag}>"));
        let lines = headers.get_all(header::IF_MATCH).iter();
        let lines: Vec<&str> = lines.map(|line| line.to_str().unwrap()).collect();
        assert_eq!(lines, ["\"<1>\", W/\"<2>\"", "*", "\"<3>"]);
    }
}
