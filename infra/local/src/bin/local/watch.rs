//! `watch`: prints the events of the connections of a running system as they come.
//!
//! A reader has a cursor, and asks for what comes after it. It moves the cursor only when it has
//! printed what it got, so that nothing is missed whatever stops in between, the server included.
//! If events after the cursor are no longer known, it takes the newest cursor and says so: a
//! program that shows a state loads it again then.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::Value;

use crate::caller::{Caller, items, text};
use crate::cli::{Arguments, Failure, say};

/// The seconds that a request waits for an event.
const WAIT_SECONDS: u32 = 5;
/// The time after which the connections are looked at again.
const ROUND: Duration = Duration::from_secs(60);
/// The cursor of a reader that wants what happens from now on.
const LATEST: &str = "latest";
/// The pause before connections that have no event yet are looked at again.
const PAUSE: Duration = Duration::from_millis(500);

/// Prints events until it is stopped.
pub(crate) async fn watch(
    arguments: &Arguments,
    types: Option<&str>,
    after: Option<&str>,
) -> Result<(), Failure> {
    let caller = Caller::new(arguments)?;
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
            say(&line(caller.arguments(), event));
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

/// Returns an event as a line: of JSON, or for people.
fn line(arguments: &Arguments, event: &Value) -> String {
    if arguments.json {
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
