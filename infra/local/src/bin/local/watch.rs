//! `watch`: prints the events of the connections of a running system as they come.
//!
//! A reader has a cursor, and asks for what comes after it. It moves the cursor only when it has
//! printed what it got, so that nothing is missed whatever stops in between, the server included.
//! If events after the cursor are no longer known, it takes the newest cursor and says so: a
//! program that shows a state loads it again then.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use domain::Role;
use futures_util::future::join_all;
use local::gateway::Identity;
use reqwest::{Client, StatusCode, Url};
use runtime::Clock;
use serde_json::Value;

use crate::cli::{Arguments, Failure, one_line, say};

/// The seconds that a request waits for an event.
const WAIT_SECONDS: u32 = 5;
/// The time after which the connections are looked at again.
const ROUND: Duration = Duration::from_secs(60);
/// The cursor of a reader that wants what happens from now on.
const LATEST: &str = "latest";
/// The longest time without an answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The pause before a request that failed is made again.
const PAUSE: Duration = Duration::from_millis(500);

/// A caller of the API with a token of its own, which is renewed.
struct Caller<'a> {
    client: Client,
    arguments: &'a Arguments,
}

/// Prints events until it is stopped.
pub(crate) async fn watch(
    arguments: &Arguments,
    types: Option<&str>,
    after: Option<&str>,
) -> Result<(), Failure> {
    if !Identity::exists(&arguments.data_dir) {
        return Err(format!(
            "no system has run on {}: start one, or pass its --data-dir",
            arguments.data_dir.display()
        ));
    }
    let client = Client::builder().timeout(TIMEOUT).build();
    let caller = Caller {
        client: client.map_err(|error| one_line(&error))?,
        arguments,
    };
    let mut cursors: BTreeMap<String, String> = BTreeMap::new();
    let first = after.unwrap_or(LATEST);
    loop {
        let listed = caller
            .get("/v1/connections", &[])
            .await?
            .unwrap_or_default();
        let ids = items(&listed, "/items").map(|item| text(item, "/id").to_owned());
        let each = ids.map(|id| {
            let cursor = cursors.get(&id).map_or(first, String::as_str).to_owned();
            watch_one(&caller, id, types, cursor)
        });
        // Looked at again when one of them is gone, and now and then: there may be others.
        let round = join_all(each);
        for stood in round.await {
            let (id, cursor) = stood?;
            cursors.insert(id, cursor);
        }
        if listed.pointer("/items/0").is_none() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Prints the events of a connection for a while. Returns its id, and the cursor up to which they
/// were printed.
async fn watch_one(
    caller: &Caller<'_>,
    connection: String,
    types: Option<&str>,
    mut cursor: String,
) -> Result<(String, String), Failure> {
    let path = format!("/v1/connections/{connection}/events");
    let until = Instant::now() + ROUND;
    while Instant::now() < until {
        let mut query = vec![("after", cursor.clone())];
        query.extend(types.map(|types| ("types", types.to_owned())));
        if cursor != LATEST {
            query.push(("wait", WAIT_SECONDS.to_string()));
        }
        let Some(answer) = caller.get(&path, &query).await? else {
            eprintln!("local: {connection} is gone");
            break;
        };
        if answer.pointer("/status").is_some() {
            let missed = "events were missed: what is shown must be loaded again";
            eprintln!("local: {connection}: {missed}");
        }
        for event in items(&answer, "/items") {
            say(&caller.line(event));
        }
        let next = match text(&answer, "/next_cursor") {
            "" => text(&answer, "/current/head"),
            next => next,
        };
        if next.is_empty() {
            // No event yet.
            tokio::time::sleep(PAUSE).await;
        } else {
            next.clone_into(&mut cursor);
        }
    }
    Ok((connection, cursor))
}

impl Caller<'_> {
    /// Returns the answer, a 410 included, or `None` if there is no such thing; asks again for as
    /// long as the system does not run.
    async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Option<Value>, Failure> {
        let url = format!("http://{}{path}", self.arguments.api_addr);
        let url = Url::parse_with_params(&url, query).map_err(|error| one_line(&error))?;
        let mut told = false;
        loop {
            let now = Clock::system().now();
            let identity = Identity::open(&self.arguments.data_dir);
            let token = identity.and_then(|identity| identity.own_token(Role::Viewer, now));
            let token = token.map_err(|error| one_line(&error))?;
            let asked = self.client.get(url.clone()).bearer_auth(token);
            let why = match asked.send().await {
                Ok(answer) => {
                    let status = answer.status();
                    let body: Value = answer.json().await.unwrap_or_default();
                    if status.is_success() || status == StatusCode::GONE {
                        return Ok(Some(body));
                    }
                    if status == StatusCode::NOT_FOUND {
                        return Ok(None);
                    }
                    let detail = text(&body, "/detail").to_owned();
                    let passes = status.is_server_error() || status.as_u16() == 429;
                    if !passes {
                        return Err(format!("{status}: {detail}"));
                    }
                    detail
                }
                Err(error) => one_line(&error),
            };
            if !told {
                eprintln!("local: no answer from {url} yet, asking again: {why}");
                told = true;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Returns an event as a line: of JSON, or for people.
    fn line(&self, event: &Value) -> String {
        if self.arguments.json {
            return event.to_string();
        }
        let fields = items(event, "/data/fields").map(|field| text(field, ""));
        let words = [
            text(event, "/time").to_owned(),
            format!("{:<18}", text(event, "/type")),
            text(event, "/subject").to_owned(),
            fields.collect::<Vec<_>>().join(","),
            text(event, "/data/reason").to_owned(),
            format!("by {}", text(event, "/data/by")),
        ];
        let words = words.into_iter().filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("  ")
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    let items = value.pointer(pointer).and_then(Value::as_array);
    items.into_iter().flatten()
}
