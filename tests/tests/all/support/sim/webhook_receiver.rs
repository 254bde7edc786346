//! The webhook receivers of a world, which accept, refuse, hang, lose their answers, get posts
//! twice, or want no more of them, at random.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use domain::event::{Event, EventCursor};
use domain::webhook::Reachable;
use domain::{ConnectionKey, EndpointId};
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;
use webhooks::{Client, PostError, Rules, TIMEOUT};

use super::{Sim, Wire};

/// How long after a jump of the clocks a lease may have run out under its worker: as long as a
/// function runs.
const LEASES_LOST: Duration = Duration::from_secs(30);
/// The looks of a person at an endpoint that wanted no more.
const LOOKS_MAX: usize = 100;

/// The receivers of a world. Each receives the events of one connection.
#[derive(Clone)]
pub(super) struct Receivers {
    state: Arc<Mutex<State>>,
    wire: Arc<Wire>,
    seed: u64,
}

#[derive(Default)]
struct State {
    by_path: BTreeMap<String, Receiver>,
    /// Whether they do anything but accept what they get.
    troubled: bool,
    /// When the clocks jumped last.
    jumped_at: Option<Instant>,
}

struct Receiver {
    random: fastrand::Rng,
    source: String,
    endpoint: Option<EndpointId>,
    /// The numbers of events of the log before those that it receives.
    begins: RangeInclusive<usize>,
    /// The events since a notice that some are missing, each for the first time.
    given: Vec<(EventCursor, String)>,
    seen: BTreeSet<EventCursor>,
    has_a_gap: bool,
    /// Whether it refused the last post.
    refused: bool,
    was_gone: bool,
    /// Notified when it wants no more.
    gone: Arc<Notify>,
    posts: u64,
    is_posted_to: bool,
    wrong: Vec<String>,
}

/// The fate of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Accepted,
    /// It arrives twice.
    Doubled,
    Refused,
    /// It never arrives.
    Lost,
    /// It arrives, and its answer does not.
    AnswerLost,
    Gone,
}

/// A post that is being answered.
struct Post {
    receivers: Receivers,
    path: String,
}

impl Drop for Post {
    fn drop(&mut self) {
        if let Some(receiver) = self.receivers.state().by_path.get_mut(&self.path) {
            receiver.is_posted_to = false;
        }
    }
}

impl Receiver {
    fn draw(&mut self, troubled: bool) -> Fate {
        // It refuses nothing twice: the waits after that are longer than a world lasts.
        let must_accept = std::mem::take(&mut self.refused) || !troubled;
        let fate = match self.random.u8(0..12) {
            _ if must_accept => Fate::Accepted,
            0 => Fate::Refused,
            1 => Fate::Lost,
            2 => Fate::AnswerLost,
            3 => Fate::Doubled,
            4 if !self.was_gone => Fate::Gone,
            _ => Fate::Accepted,
        };
        self.refused = matches!(fate, Fate::Refused | Fate::Lost | Fate::AnswerLost);
        self.was_gone |= fate == Fate::Gone;
        fate
    }

    fn take(&mut self, event: &Value) {
        let text = |member: &str| event[member].as_str().unwrap().to_owned();
        let cursor = EventCursor::parse(&text("sequence")).unwrap();
        if text("source") != self.source {
            let (own, source) = (&self.source, text("source"));
            self.wrong
                .push(format!("{own} receives an event of {source}"));
        }
        let own = self.endpoint.as_ref().map(EndpointId::as_str);
        if text("type") == "sync:reset" && own.is_some_and(|own| text("id").starts_with(own)) {
            self.given.clear();
            self.has_a_gap = true;
        } else if self.seen.insert(cursor) {
            if let Some((last, _)) = self.given.last().filter(|(last, _)| *last >= cursor) {
                self.wrong
                    .push(format!("{cursor} is delivered after {last}"));
            }
            self.given.push((cursor, text("id")));
        }
    }
}

impl Receivers {
    pub(super) fn new(seed: u64, wire: &Arc<Wire>) -> Self {
        Self {
            state: Arc::default(),
            wire: Arc::clone(wire),
            seed,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Returns a client that reaches these receivers alone. If that bug is seeded, a delivery
    /// counts as accepted before its answer is there.
    pub(super) fn client(&self, accepts_before_answer: bool) -> Client {
        let this = self.clone();
        let rules = Rules {
            own_hosts: Vec::new(),
            reachable: Reachable::PublicAndLoopback,
        };
        Client::with_transport(
            rules,
            Arc::new(move |request| {
                let this = this.clone();
                Box::pin(async move {
                    let answer = this.receive(&request).await;
                    match accepts_before_answer {
                        true => Ok(Response::new(None)),
                        false => answer.map(|answer| answer.map(|()| None)),
                    }
                })
            }),
        )
    }

    /// From now on, the clocks may have run past the end of a lease that a worker has.
    pub(super) fn clocks_jumped(&self) {
        self.state().jumped_at = Some(Instant::now());
    }

    /// Sets whether they do anything but accept what they get from now on.
    pub(super) fn trouble(&self, troubled: bool) {
        self.state().troubled = troubled;
    }

    async fn receive(&self, request: &Request<Bytes>) -> Result<Response<()>, PostError> {
        let path = request.uri().path().to_owned();
        let (fate, pause) = self.arrives(&path, request.body());
        self.wire.note(&format!("posted to {path}: {fate:?}"));
        let _post = Post {
            receivers: self.clone(),
            path,
        };
        let status = match fate {
            Fate::Lost | Fate::AnswerLost => {
                tokio::time::sleep(TIMEOUT).await;
                return Err(PostError::Timeout);
            }
            Fate::Accepted | Fate::Doubled => StatusCode::OK,
            Fate::Refused => StatusCode::INTERNAL_SERVER_ERROR,
            Fate::Gone => StatusCode::GONE,
        };
        tokio::time::sleep(pause).await;
        let mut response = Response::new(());
        *response.status_mut() = status;
        Ok(response)
    }

    fn arrives(&self, path: &str, body: &Bytes) -> (Fate, Duration) {
        let mut state = self.state();
        let (troubled, jumped_at) = (state.troubled, state.jumped_at);
        let receiver = state.by_path.get_mut(path).expect("a receiver");
        let leases_hold = jumped_at.is_none_or(|at| at.elapsed() > LEASES_LOST + TIMEOUT);
        if std::mem::replace(&mut receiver.is_posted_to, true) && leases_hold {
            let wrong = "two workers deliver at once".to_owned();
            receiver.wrong.push(wrong);
        }
        receiver.posts += 1;
        let fate = receiver.draw(troubled);
        let times = match fate {
            Fate::Accepted | Fate::AnswerLost => 1,
            Fate::Doubled => 2,
            Fate::Refused | Fate::Lost | Fate::Gone => 0,
        };
        let events: Vec<Value> = serde_json::from_slice(body).unwrap();
        for _ in 0..times {
            events.iter().for_each(|event| receiver.take(event));
        }
        if fate == Fate::Gone {
            receiver.gone.notify_one();
        }
        (fate, Duration::from_millis(receiver.random.u64(0..500)))
    }

    /// Returns what is wrong with what a connection's receiver has, compared with the log.
    pub(super) fn problems(
        &self,
        key: &ConnectionKey,
        log: &[(EventCursor, Event)],
    ) -> Vec<String> {
        let state = self.state();
        let Some(receiver) = state.by_path.get(&path_of(key)) else {
            return Vec::new();
        };
        let mut wrong = receiver.wrong.clone();
        let all: Vec<(EventCursor, String)> = log
            .iter()
            .map(|(cursor, event)| (*cursor, event.id()))
            .collect();
        let given = &receiver.given;
        let begins = receiver.has_a_gap
            || all
                .len()
                .checked_sub(given.len())
                .is_some_and(|before| receiver.begins.contains(&before));
        if !begins || !all.ends_with(given) {
            wrong.push(format!(
                "the webhook receiver was given {given:?} in {} posts, and the log has {all:?}",
                receiver.posts
            ));
        }
        wrong
    }
}

fn path_of(key: &ConnectionKey) -> String {
    format!("/{}", key.connection)
}

impl Sim {
    /// Makes a webhook endpoint of a connection, and its receiver.
    pub(super) async fn make_receiver(&self, key: &ConnectionKey, token: &str) {
        let (path, source) = (path_of(key), format!("/v1/connections/{}", key.connection));
        let gone = Arc::new(Notify::new());
        let receivers = &self.0.receivers;
        let first = self.whole_log(key).await.len();
        let receiver = Receiver {
            random: fastrand::Rng::with_seed(receivers.seed ^ 0x400c),
            source,
            endpoint: None,
            begins: first..=usize::MAX,
            given: Vec::new(),
            seen: BTreeSet::new(),
            has_a_gap: false,
            refused: false,
            was_gone: false,
            gone: Arc::clone(&gone),
            posts: 0,
            is_posted_to: false,
            wrong: Vec::new(),
        };
        receivers.state().by_path.insert(path.clone(), receiver);
        let body = json!({
            "name": "a receiver", "url": format!("http://127.0.0.1:9000{path}"),
            "connections": [key.connection.as_str()],
        });
        let body = Some(body);
        let made = self.call_as(token, Method::POST, "/v1/webhooks", &[], body);
        let made = made.await.unwrap();
        assert_eq!(made.status, 201, "{}", made.body);
        let id = EndpointId::parse(made.body["id"].as_str().unwrap()).unwrap();
        let last = self.whole_log(key).await.len();
        if let Some(receiver) = receivers.state().by_path.get_mut(&path) {
            receiver.begins = first..=last;
            receiver.endpoint = Some(id.clone());
        }
        let (sim, key, token) = (self.clone(), key.clone(), token.to_owned());
        tokio::spawn(async move {
            gone.notified().await;
            sim.enable_again(&key, &id, &token).await;
        });
    }

    /// Makes an endpoint active again once it is disabled, as a person does.
    async fn enable_again(&self, key: &ConnectionKey, id: &EndpointId, token: &str) {
        let mut random = fastrand::Rng::with_seed(self.0.seed);
        let path = format!("/v1/webhooks/{id}");
        for _ in 0..LOOKS_MAX {
            tokio::time::sleep(Duration::from_millis(random.u64(2_000..20_000))).await;
            let stored = self.store().load_endpoint(&key.tenant, id).await.unwrap();
            if stored.is_none_or(|stored| stored.endpoint.is_active()) {
                continue;
            }
            let (headers, body) = ([("if-match", "*")], Some(json!({"state": "active"})));
            let reply = self.call_as(token, Method::PATCH, &path, &headers, body);
            if reply.await.is_some_and(|reply| reply.status == 200) {
                return;
            }
        }
    }
}
