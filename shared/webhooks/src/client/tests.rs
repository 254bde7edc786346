use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// Returns a lookup with a fixed answer, and the number of its calls.
fn finds(addresses: &'static [&'static str]) -> (Lookup, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let lookup: Lookup = Arc::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(addresses.iter().map(|text| text.parse().unwrap()).collect()) })
    });
    (lookup, calls)
}

fn rules(reachable: Reachable) -> Rules {
    Rules {
        own_hosts: Vec::new(),
        reachable,
    }
}

async fn post(client: &Client, url: &str) -> Result<Answer, PostError> {
    let body = Bytes::from_static(b"[]");
    let url = EndpointUrl::parse(url, Reachable::PublicAndLoopback).unwrap();
    let post = client.post(&url, HeaderMap::new(), body, Timestamp::from_millis(0));
    post.await
}

/// Answers each connection with these bytes, repeated without end if `endless`. Returns the port,
/// and the number of connections.
async fn server(answer: &'static [u8], endless: bool) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut request = [0; 4_096];
                let _ = stream.read(&mut request).await;
                while stream.write_all(answer).await.is_ok() && endless {}
            });
        }
    });
    (port, connections)
}

#[tokio::test]
async fn a_name_is_connected_to_only_at_a_public_address() {
    for addresses in [
        &["127.0.0.1"][..],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["169.254.169.254", "10.0.0.1"],
        &[],
    ] {
        for reachable in [Reachable::Public, Reachable::PublicAndLoopback] {
            let (lookup, calls) = finds(addresses);
            let client = Client::new(rules(reachable), lookup, TIMEOUT).unwrap();
            let answer = post(&client, "https://hooks.example.com/").await;
            let refused = matches!(answer, Err(PostError::Refused(Refused::Address)));
            assert!(refused, "{addresses:?}: {answer:?}");
            assert_eq!(calls.load(Ordering::Relaxed), 1);
        }
    }
}

#[tokio::test]
async fn literal_addresses_are_refused_without_a_lookup() {
    let (lookup, calls) = finds(&["1.1.1.1"]);
    let client = Client::new(rules(Reachable::Public), lookup, TIMEOUT).unwrap();
    for url in [
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://localhost/",
        "http://localhost:9000/",
    ] {
        let answer = post(&client, url).await;
        assert!(matches!(answer, Err(PostError::Refused(_))), "{url}");
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

fn loopback() -> Client {
    let rules = rules(Reachable::PublicAndLoopback);
    Client::new(rules, system_lookup(), Duration::from_millis(700)).unwrap()
}

#[tokio::test]
async fn the_head_of_an_answer_is_enough_and_redirects_are_answers() {
    let client = loopback();
    let (target, reached) = server(b"HTTP/1.1 200 OK\r\n\r\n", false).await;
    let url = format!("http://127.0.0.1:{target}/");
    assert_eq!(post(&client, &url).await.unwrap().status, 200);
    let redirect = format!("HTTP/1.1 307 Moved\r\nlocation: {url}\r\ncontent-length: 0\r\n\r\n");
    let (port, _) = server(redirect.leak().as_bytes(), false).await;
    let answer = post(&client, &format!("http://localhost:{port}/")).await;
    assert_eq!(answer.unwrap().status, 307);
    assert_eq!(reached.load(Ordering::Relaxed), 1);
    let huge = b"HTTP/1.1 429 Slow\r\nretry-after: 7\r\ncontent-length: 5000000000\r\n\r\n";
    let (port, _) = server(huge, true).await;
    let answer = post(&client, &format!("http://127.0.0.1:{port}/")).await;
    let expected = Answer {
        status: StatusCode::TOO_MANY_REQUESTS,
        retry_after_seconds: Some(7),
    };
    assert_eq!(answer.unwrap(), expected);
}

#[tokio::test]
async fn what_is_not_http_or_has_endless_headers_is_no_answer() {
    let client = loopback();
    for (answer, endless) in [
        (&b"SSH-2.0-OpenSSH\r\n"[..], false),
        (b"", false),
        (b"HTTP/1.1 200 OK\r\n", false),
        (b"x-header: 0123456789abcdef\r\n", true),
    ] {
        let (port, _) = server(answer, endless).await;
        let answer = post(&client, &format!("http://127.0.0.1:{port}/")).await;
        assert!(matches!(answer, Err(PostError::NoAnswer(_))), "{answer:?}");
    }
    let (port, _) = server(b"HTTP/1.1 200 OK\r\nx-header: 0123\r\nx-", true).await;
    let answer = post(&client, &format!("http://127.0.0.1:{port}/")).await;
    assert!(matches!(answer, Err(PostError::NoAnswer(_))), "{answer:?}");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let answer = post(&client, &format!("http://127.0.0.1:{port}/")).await;
    assert!(
        matches!(answer, Err(PostError::NotConnected(_))),
        "{answer:?}"
    );
}

#[tokio::test]
async fn who_does_not_answer_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = post(&loopback(), &format!("http://127.0.0.1:{port}/")).await;
    assert!(matches!(answer, Err(PostError::Timeout)), "{answer:?}");
}

#[test]
fn retry_after_is_read_in_both_forms() {
    let read = |text: &'static str| {
        let headers = [(header::RETRY_AFTER, text.parse().unwrap())];
        retry_after_seconds(&headers.into_iter().collect(), Timestamp::from_millis(0))
    };
    assert_eq!(read("120"), Some(120));
    assert_eq!(read(" 0 "), Some(0));
    assert_eq!(read("99999999999"), Some(RETRY_AFTER_SECONDS_MAX));
    assert_eq!(read("Thu, 01 Jan 1970 00:01:30 GMT"), Some(90));
    assert_eq!(read("soon"), None);
    assert_eq!(read("-1"), None);
    assert_eq!(
        retry_after_seconds(&HeaderMap::new(), Timestamp::from_millis(0)),
        None
    );
}
