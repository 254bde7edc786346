//! Live WebSockets, as a browser sees them.

mod closing;
mod reading;

use std::collections::BTreeSet;
use std::time::Duration;

use domain::event::Epoch;
use futures_util::{SinkExt as _, StreamExt as _};
use http::Method;
use serde_json::{Value, json};
use store::{Appending, Nonce};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::{Answer, World, edits};

/// The longest wait for a frame.
const FRAME_WAIT: Duration = Duration::from_secs(20);

/// An open socket of a client, which takes each event once.
struct Client {
    socket: WebSocketStream<TcpStream>,
    seen: BTreeSet<String>,
}

/// Asks for a ticket.
async fn ticket(world: &World, token: &str) -> Answer {
    let path = "/v1/live/tickets";
    world.call(Some(token), Method::POST, path, &[], None).await
}

/// Opens a socket at an address, or returns the status that it is refused with.
async fn open(url: &str) -> Result<Client, u16> {
    let host = url.split('/').nth(2).unwrap();
    let stream = TcpStream::connect(host).await.unwrap();
    match client_async(url, stream).await {
        Ok((socket, _)) => Ok(Client {
            socket,
            seen: BTreeSet::new(),
        }),
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
            Err(response.status().as_u16())
        }
        Err(error) => panic!("{error}"),
    }
}

/// Opens a socket with a new ticket of this token.
async fn connect(world: &World, token: &str) -> Client {
    let given = ticket(world, token).await;
    assert_eq!(given.status, 201, "{}", given.body);
    let url = given.body["url"].as_str().unwrap();
    open(url).await.unwrap_or_else(|status| panic!("{status}"))
}

impl Client {
    async fn send(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Returns the next frame, or why the socket was closed.
    async fn next(&mut self) -> Result<Value, Option<CloseCode>> {
        loop {
            let next = tokio::time::timeout(FRAME_WAIT, self.socket.next()).await;
            match next.expect("a frame, or the end") {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    if !self.repeats(&frame) {
                        return Ok(frame);
                    }
                }
                Some(Ok(Message::Close(frame))) => return Err(frame.map(|frame| frame.code)),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// Returns whether a frame has events, and all of them were seen: two wakes may send the same.
    fn repeats(&mut self, frame: &Value) -> bool {
        let events = frame["events"].as_array().into_iter().flatten();
        let ids = events.map(|event| event["id"].as_str().unwrap().to_owned());
        let ids: Vec<String> = ids.collect();
        let fresh = ids.iter().filter(|id| self.seen.insert((*id).clone()));
        fresh.count() == 0 && !ids.is_empty()
    }

    async fn frame(&mut self) -> Value {
        self.next().await.unwrap()
    }

    /// Subscribes to the changes of files of the world's connection, and returns the first frame.
    async fn subscribe(&mut self, world: &World, more: Value) -> Value {
        let mut message = json!({
            "action": "subscribe", "connection": world.connection, "types": ["file:modified"],
        });
        let more = more.as_object().unwrap().clone();
        message.as_object_mut().unwrap().extend(more);
        self.send(message).await;
        self.frame().await
    }
}

/// Appends an event about each of these files to the world's log, and wakes its readers.
async fn append(world: &World, files: &[&str]) {
    let number = fastrand::u64(..u64::MAX / 2);
    let events = edits(files, world.now());
    let appending = Appending {
        table: None,
        fresh: Epoch(7),
        nonce: Nonce(number),
        now: world.now(),
    };
    let append = world.store().append_events(&world.key, &events, &appending);
    let end = append.await.unwrap().unwrap();
    let wakes = &world.system.functions.live.wakes;
    worker::queue::wake_readers(wakes, &world.key, &end).await;
}

/// Applies a frame by the rule of a reader: one that does not begin where it stands makes it read
/// the log. Returns what was applied, and moves the place.
async fn applied(world: &World, frame: &Value, place: &mut Value) -> Vec<String> {
    let next = if frame["after"] == *place {
        frame.clone()
    } else {
        let path = format!("/events?limit=500&after={}", place.as_str().unwrap());
        let list = world.get(&path).await;
        json!({ "events": list["items"], "head": list["next_cursor"] })
    };
    *place = next["head"].clone();
    subjects(&next).into_iter().map(str::to_owned).collect()
}

/// Returns the files that frames are about.
fn subjects(frame: &Value) -> Vec<&str> {
    let events = frame["events"].as_array().unwrap().iter();
    events
        .map(|event| event["subject"].as_str().unwrap())
        .collect()
}
