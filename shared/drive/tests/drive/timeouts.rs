//! The production transport over real sockets: timeouts, and what may have been sent.

use std::time::Duration;

use bytes::Bytes;
use drive::{Timeouts, Transport, TransportError, reqwest_transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const SHORT: Timeouts = Timeouts {
    connect: Duration::from_secs(1),
    total: Duration::from_secs(1),
};

async fn get(transport: &Transport, url: &str) -> Result<http::Response<Bytes>, TransportError> {
    let request = http::Request::post(url)
        .header("if-match", "\"e\"")
        .body("body".into());
    transport(request.unwrap()).await
}

#[tokio::test]
async fn a_refused_connection_means_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/secret", listener.local_addr().unwrap());
    drop(listener);
    let error = get(&reqwest_transport(SHORT).unwrap(), &url)
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::NotSent(_)), "{error:?}");
    assert!(
        !format!("{error:?}").contains("secret"),
        "a URL may hold a page token"
    );
}

#[tokio::test]
async fn a_silent_server_means_possibly_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/secret", listener.local_addr().unwrap());
    // The connection stays open without a response.
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut sink = Vec::new();
        socket.read_to_end(&mut sink).await.unwrap();
        sink
    });
    let error = get(&reqwest_transport(SHORT).unwrap(), &url)
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::MaybeSent(_)), "{error:?}");
    assert!(!format!("{error:?}").contains("secret"));
    let received = String::from_utf8(server.await.unwrap()).unwrap();
    assert!(received.ends_with("body") && received.contains("if-match: \"e\""));
}

#[tokio::test]
async fn an_interrupted_response_means_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut some = [0; 512];
        let _ = socket.read(&mut some).await.unwrap();
        let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
        socket.write_all(half.as_bytes()).await.unwrap();
    });
    let error = get(&reqwest_transport(SHORT).unwrap(), &url)
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::MaybeSent(_)), "{error:?}");
}

#[tokio::test]
async fn a_response_is_returned_whole_and_redirects_are_not_followed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut some = [0; 512];
        let _ = socket.read(&mut some).await.unwrap();
        let answer = "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\netag: \"x\"\r\n\
                      content-length: 2\r\n\r\nhi";
        socket.write_all(answer.as_bytes()).await.unwrap();
    });
    let answer = get(&reqwest_transport(Timeouts::default()).unwrap(), &url)
        .await
        .unwrap();
    assert_eq!(answer.status(), 302);
    assert_eq!(answer.headers()["etag"], "\"x\"");
    assert_eq!(answer.body(), "hi");
}
