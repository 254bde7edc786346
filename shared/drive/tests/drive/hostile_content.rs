//! Content from servers that misbehave in ways that the simulated Drive does not.

use std::time::Duration;

use domain::FileId;
use drive::{
    BadContent, ContentTimeouts, DriveClient, DriveError, Expected, Kind, Preparation, Secret,
    Timeouts, UploadProgress, reqwest_content_transport, reqwest_transport,
};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::simulated::{drained, whole};
use crate::support::{Fake, answer, clock, google_error};

/// A server that sends one of these responses per connection, and then stalls or closes it.
struct Hostile {
    url: String,
    asked: JoinHandle<Vec<String>>,
}

impl Hostile {
    async fn answering(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let here = url.clone();
        let asked = tokio::spawn(async move {
            let mut asked = Vec::new();
            let mut silent = Vec::new();
            for answer in answers {
                let (mut socket, _) = listener.accept().await.unwrap();
                asked.push(request_head(&mut socket).await);
                let stays = answer.ends_with(SILENT);
                let answer = answer.trim_end_matches(SILENT).replace("HERE", &here);
                socket.write_all(answer.as_bytes()).await.unwrap();
                if stays {
                    silent.push(socket);
                }
            }
            if !silent.is_empty() {
                std::future::pending::<()>().await;
            }
            asked
        });
        Self { url, asked }
    }

    fn client(&self) -> DriveClient {
        let idle = ContentTimeouts {
            connect: Duration::from_secs(5),
            idle: Duration::from_secs(1),
        };
        let transport = reqwest_transport(Timeouts::default()).unwrap();
        let content = reqwest_content_transport(idle).unwrap();
        let token = Secret::new("t0ken".to_owned());
        DriveClient::with_token(transport, &self.url, token, clock()).with_content(content)
    }

    async fn download(&self, from: u64, size: Option<u64>) -> Result<drive::Download, DriveError> {
        let expected = Expected {
            mime_type: Some("application/octet-stream"),
            size_bytes: size,
        };
        self.client().download(&file(), from, expected).await
    }
}

/// The end of a response after which the connection stays open without data.
const SILENT: &str = "<silent>";

async fn request_head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

fn file() -> FileId {
    FileId::parse("f").unwrap()
}

fn ok(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{headers}\r\n{body}")
}

fn part(range: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 206 Partial Content\r\nconnection: close\r\ncontent-range: {range}\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

fn bad(outcome: Result<impl Sized, DriveError>) -> BadContent {
    let error = outcome.err().unwrap();
    let Kind::BadContent(bad) = error.kind() else {
        panic!("{error:?}");
    };
    *bad
}

#[tokio::test]
async fn a_download_request_has_the_expected_headers() {
    let hostile = Hostile::answering(vec![part("bytes 3-9/10", "3456789")]).await;
    assert_eq!(whole(hostile.download(3, Some(10)).await).await, b"3456789");
    let asked = hostile.asked.await.unwrap().remove(0);
    let line =
        "get /drive/v3/files/f?alt=media&supportsalldrives=true&acknowledgeabuse=false http/1.1";
    assert_eq!(asked.lines().next(), Some(line));
    for header in [
        "range: bytes=3-",
        "accept-encoding: identity",
        "authorization: bearer t0ken",
        "accept: */*",
    ] {
        assert!(
            asked.lines().any(|line| line == header),
            "{header} in {asked}"
        );
    }
}

#[tokio::test]
async fn a_server_that_ignores_the_range_yields_no_byte_twice() {
    let answer = ok("content-length: 10\r\n", "0123456789");
    let hostile = Hostile::answering(vec![answer; 3]).await;
    assert_eq!(whole(hostile.download(4, Some(10)).await).await, b"456789");
    assert_eq!(whole(hostile.download(4, None).await).await, b"456789");
    assert_eq!(bad(hostile.download(11, None).await), BadContent::WrongSize);
}

#[tokio::test]
async fn a_wrong_range_is_rejected() {
    for range in [
        "bytes 0-9/10",
        "bytes 4-9/10",
        "bytes 3-9/9",
        "items 3-9/10",
        "",
    ] {
        let hostile = Hostile::answering(vec![part(range, "3456789")]).await;
        let outcome = hostile.download(3, None).await;
        assert_eq!(bad(outcome), BadContent::WrongRange, "{range}");
    }
    let hostile = Hostile::answering(vec![part("bytes 3-9/11", "3456789")]).await;
    assert_eq!(
        bad(hostile.download(3, Some(10)).await),
        BadContent::WrongSize
    );
}

#[tokio::test]
async fn a_short_range_is_not_the_end() {
    let answers = vec![part("bytes 3-5/10", "345"), part("bytes 6-9/10", "6789")];
    let hostile = Hostile::answering(answers).await;
    let mut download = hostile.download(3, Some(10)).await.unwrap();
    let (bytes, outcome) = drained(&mut download).await;
    assert_eq!(bytes, b"345");
    assert_eq!(bad(outcome), BadContent::Interrupted);
    let rest = hostile.download(download.next_byte(), Some(10)).await;
    assert_eq!(whole(rest).await, b"6789");
}

#[tokio::test]
async fn a_closed_or_stalled_connection_interrupts_the_download() {
    let cut = ok("content-length: 10\r\n", "01234");
    let still = format!("{cut}{SILENT}");
    let chunked = ok("transfer-encoding: chunked\r\n", "5\r\n01234\r\n");
    let hostile = Hostile::answering(vec![cut, still, chunked]).await;
    for _ in 0..3 {
        let mut download = hostile.download(0, Some(10)).await.unwrap();
        let (bytes, outcome) = drained(&mut download).await;
        assert_eq!(bytes, b"01234");
        assert_eq!(bad(outcome), BadContent::Interrupted);
    }
    hostile.asked.abort();
}

#[tokio::test]
async fn a_wrong_content_length_is_rejected_at_once() {
    for body in ["123456789", "12345678901"] {
        let answer = ok(&format!("content-length: {}\r\n", body.len()), body);
        let hostile = Hostile::answering(vec![answer]).await;
        assert_eq!(
            bad(hostile.download(0, Some(10)).await),
            BadContent::WrongSize
        );
    }
    let encoded = ok("content-encoding: gzip\r\ncontent-length: 3\r\n", "abc");
    let hostile = Hostile::answering(vec![encoded]).await;
    assert_eq!(
        bad(hostile.download(0, Some(10)).await),
        BadContent::UnexpectedBody
    );
}

#[tokio::test]
async fn redirects_are_followed_unless_unsafe() {
    let redirect = |to: &str| {
        format!(
            "HTTP/1.1 302 Found\r\nconnection: close\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"
        )
    };
    let answers = vec![
        redirect("HERE/elsewhere?x=1"),
        redirect("/once-more"),
        part("bytes 1-2/3", "bc"),
    ];
    let hostile = Hostile::answering(answers).await;
    assert_eq!(whole(hostile.download(1, Some(3)).await).await, b"bc");
    let asked = hostile.asked.await.unwrap();
    assert!(asked[1].starts_with("get /elsewhere?x=1 "));
    assert!(asked[2].starts_with("get /once-more "));
    for head in &asked[1..] {
        assert!(head.contains("authorization: bearer t0ken"), "{head}");
        assert!(head.contains("range: bytes=1-"), "{head}");
    }

    for to in [
        "http://127.0.0.2:9/x",
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
    ] {
        let hostile = Hostile::answering(vec![redirect(to)]).await;
        let error = hostile.download(0, Some(3)).await.unwrap_err();
        assert_eq!(*error.kind(), Kind::Transient, "{to}");
    }
    let hostile = Hostile::answering(vec![redirect("HERE/again"); 6]).await;
    let error = hostile.download(0, Some(3)).await.unwrap_err();
    assert_eq!(*error.kind(), Kind::Transient);
    assert_eq!(hostile.asked.await.unwrap().len(), 6);
}

#[tokio::test]
async fn an_error_with_a_long_body_is_classified() {
    let body = json!({"error": {"code": 403, "errors": [{"reason": "cannotDownloadAbusiveFile"}]}});
    let refused = |body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    let hostile = Hostile::answering(vec![refused(&body.to_string())]).await;
    let error = hostile.download(0, None).await.unwrap_err();
    assert_eq!(
        error.content_unavailable(),
        Some(drive::Unavailable::Abusive)
    );
    assert_eq!(error.status(), Some(403));
    let hostile = Hostile::answering(vec![refused(&"x".repeat(100_000))]).await;
    let error = hostile.download(0, None).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status()),
        (&Kind::Transient, Some(403))
    );
}

#[tokio::test]
async fn without_a_content_transport_content_is_read_into_memory() {
    let fake = Fake::answering([Ok(http::Response::new("whole".into()))]);
    let download = fake
        .client()
        .download(&file(), 0, Expected::default())
        .await;
    assert_eq!(whole(download).await, b"whole");
}

#[tokio::test]
async fn a_preparation_reports_its_outcome_or_is_transient() {
    let failed = |code: i32| {
        answer(
            200,
            &json!({"name": "n", "done": true, "error": {"code": code}}),
        )
    };
    let fake = Fake::answering([
        failed(7),
        failed(14),
        answer(200, &json!({"done": true, "response": {}})),
        answer(200, &json!({"name": "a/../b"})),
        google_error(403, "cannotDownloadAbusiveFile", None),
    ]);
    let id = drive::PreparationId::parse("operations/n").unwrap();
    let mut kinds = Vec::new();
    for _ in 0..5 {
        let error = fake.client().get_preparation(&id).await.unwrap_err();
        kinds.push(error.kind().clone());
    }
    let permanent = |reason: &str| Kind::Permanent {
        reason: reason.to_owned(),
    };
    let wanted = [
        permanent("operation7"),
        Kind::Transient,
        Kind::Transient,
        Kind::Transient,
        permanent("cannotDownloadAbusiveFile"),
    ];
    assert_eq!(kinds, wanted);
    let path = fake.asked()[0].uri().path().to_owned();
    assert_eq!(path, "/drive/v3/operations/n");
}

#[tokio::test]
async fn prepared_content_on_another_server_is_never_requested() {
    let address = "https://evil.test/x";
    let done = json!({"name": "n", "done": true, "response": {"downloadUri": address}});
    let fake = Fake::answering([answer(200, &done)]);
    let id = drive::PreparationId::parse("n").unwrap();
    let Preparation::Ready(content) = fake.client().get_preparation(&id).await.unwrap() else {
        panic!("it is ready");
    };
    fake.asked();
    let error = fake
        .client()
        .download_prepared(&content, 0, Expected::default())
        .await
        .unwrap_err();
    assert!(matches!(error.kind(), Kind::Permanent { .. }));
    assert!(!format!("{error:?}").contains("evil"));
    assert!(fake.asked().is_empty());
}

#[tokio::test]
async fn an_upload_session_of_another_server_is_gone() {
    let fake = Fake::answering([]);
    for address in [
        "https://evil.test/?upload_id=1",
        "http://drive.test/x",
        "no address",
    ] {
        // As an earlier version stored it.
        let session = fake.client().open_session(file(), address).await.unwrap();
        let sent = fake.client().upload_chunk(&session, 0, 1, "x".into()).await;
        assert_eq!(sent.unwrap(), UploadProgress::SessionGone);
        fake.client().cancel_upload(&session).await.unwrap();
    }
    assert!(fake.asked().is_empty());
}
