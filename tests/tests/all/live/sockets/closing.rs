//! How sockets end, and that nothing is lost by it.

use std::time::Duration;

use futures_util::SinkExt as _;
use local::gateway::websocket::SocketTimes;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::{append, applied, connect, subjects, ticket};
use crate::support::{Setup, World, eventually, own, own_with, shared};

#[test]
fn what_api_gateway_does_not_take_closes_the_socket() {
    shared(async |world| {
        for (message, wanted) in [
            (Message::text("x".repeat(128 * 1024 + 1)), CloseCode::Size),
            (Message::text("x".repeat(33 * 1024)), CloseCode::Size),
            (Message::binary(vec![1, 2, 3]), CloseCode::Unsupported),
        ] {
            let mut client = connect(world, &world.token).await;
            // The server may close it while it is being sent.
            let _ = client.socket.send(message).await;
            let code = client.next().await.unwrap_err();
            assert!(code.is_none_or(|code| code == wanted), "{code:?}");
        }
        let mut client = connect(world, &world.token).await;
        client.send_text(&"x".repeat(31 * 1024)).await;
        assert_eq!(client.frame().await["reason"], "not-json");
    });
}

/// Runs a test in a world whose sockets end so soon.
fn with_times(idle: Duration, lifetime: Duration, test: impl AsyncFnOnce(&World)) {
    let setup = Setup {
        socket_times: SocketTimes { idle, lifetime },
        ..Setup::default()
    };
    own_with(setup, test);
}

#[test]
fn a_client_loses_nothing_when_its_socket_reaches_its_end() {
    with_times(
        Duration::from_mins(10),
        Duration::from_secs(3),
        async |world| {
            append(world, &["before"]).await;
            let mut place = json!(null);
            let mut seen = Vec::new();
            let wanted = [
                "during0", "between0", "during1", "between1", "during2", "between2",
            ];
            // On a busy machine a socket may end before it has heard of anything.
            for number in 0..20 {
                if seen.len() >= wanted.len() {
                    break;
                }
                let mut client = connect(world, &world.token).await;
                let more = match place.as_str() {
                    Some(after) => json!({ "after": after }),
                    None => json!({}),
                };
                let hello = client.subscribe(world, more).await;
                assert_eq!(hello["type"], "hello");
                if number == 0 {
                    place = hello["head"].clone();
                }
                if number < 3 {
                    append(world, &[&format!("during{number}")]).await;
                }
                let code = loop {
                    match client.next().await {
                        Ok(frame) => {
                            seen.extend(applied(world, &frame, &mut place).await);
                        }
                        Err(code) => break code,
                    }
                };
                assert_eq!(code, Some(CloseCode::Away));
                if number < 3 {
                    append(world, &[&format!("between{number}")]).await;
                }
            }
            assert_eq!(seen, wanted.map(|name| format!("files/{name}")));
            let sockets = world.system.aws.sockets();
            eventually("the sockets are closed", async || {
                (sockets.count() == 0).then_some(())
            })
            .await;
            eventually("the subscriptions are gone", async || {
                let (left, _) = world.store().subscriptions(&world.key).await.unwrap();
                left.is_empty().then_some(())
            })
            .await;
        },
    );
}

#[test]
fn an_idle_socket_is_closed_and_one_that_pings_is_not() {
    with_times(
        Duration::from_millis(900),
        Duration::from_hours(2),
        async |world| {
            let mut idle = connect(world, &world.token).await;
            let mut pinging = connect(world, &world.token).await;
            let pings = async {
                loop {
                    pinging.send(json!({"action": "ping"})).await;
                    assert_eq!(pinging.frame().await["type"], "pong");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            tokio::select! {
                ended = idle.next() => assert_eq!(ended, Err(Some(CloseCode::Away))),
                () = pings => {}
            }
            pinging.send(json!({"action": "ping"})).await;
            assert_eq!(pinging.frame().await["type"], "pong");
        },
    );
}

/// Opens a socket that never reads, without a library that would.
async fn deaf(world: &World) -> TcpStream {
    let given = ticket(world, &world.token).await;
    let url = given.body["url"].as_str().unwrap();
    let (_, rest) = url.split_once("://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let request = format!(
        "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    let text = json!({"action": "subscribe", "connection": world.connection}).to_string();
    // A masked text frame, with a mask of zeros.
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
    frame.extend(text.as_bytes());
    stream.write_all(&frame).await.unwrap();
    stream
}

#[test]
fn a_subscriber_that_never_reads_holds_up_no_other() {
    own(async |world| {
        let mut reader = connect(world, &world.token).await;
        assert_eq!(reader.subscribe(world, json!({})).await["type"], "hello");
        let deaf = deaf(world).await;
        let subscribed = async || {
            let (all, _) = world.store().subscriptions(&world.key).await.unwrap();
            (all.len() == 2).then_some(())
        };
        eventually("both are subscribed", subscribed).await;
        let names: Vec<String> = (0..90).map(|n| format!("{n:0>100}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let sockets = world.system.aws.sockets();
        let mut frames = 0;
        // Until the buffers of the operating system, the server and the gateway are full.
        while sockets.count() == 2 {
            append(world, &names).await;
            let mut left = names.len();
            while left > 0 {
                let frame = reader.frame().await;
                left -= subjects(&frame).len();
            }
            frames += 1;
            assert!(frames < 2_000, "the other one is never closed");
        }
        append(world, &["after"]).await;
        assert_eq!(subjects(&reader.frame().await), ["files/after"]);
        drop(deaf);
    });
}
