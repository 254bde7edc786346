//! Subscribing a socket to a connection's log.

use domain::ConnectionId;
use domain::event::LogEnd;
use domain::live::{Progress, SUBSCRIPTIONS_MAX, SocketId, Standing};
use runtime::Deadline;
use store::Subscription;
use worker::WorkError;

use crate::requests::{Refusal, Wanted};
use crate::sockets::{Sent, cut, send};
use crate::{Deps, deliver, frames};

/// Subscribes a socket to a connection, says hello, and sends what there is after the place where
/// the client stands. The subscription is stored before the log is read: what is appended later
/// finds it.
pub(crate) async fn subscribe(
    id: &SocketId,
    wanted: Wanted,
    deadline: Deadline,
    deps: &Deps,
) -> Result<Result<(), Refusal>, WorkError> {
    let now = deps.clock.now();
    let Some(socket) = deps.store.load_socket(id, now).await? else {
        send(id, &frames::error(&Refusal::unknown_socket()), deps).await?;
        cut(id, deps).await?;
        return Ok(Ok(()));
    };
    let unknown = || Ok(Err(Refusal::unknown_connection(&wanted.connection)));
    let Ok(connection) = ConnectionId::parse(&wanted.connection) else {
        return unknown();
    };
    let key = socket.key(connection.clone());
    let Some(stored) = deps.store.load_connection(&key).await? else {
        return unknown();
    };
    match socket.holder.standing(stored.access.as_ref(), now) {
        Standing::Reads => {}
        Standing::Outside => return unknown(),
        Standing::Expired => {
            send(id, &frames::error(&Refusal::token_expired()), deps).await?;
            cut(id, deps).await?;
            return Ok(Ok(()));
        }
    }
    let changed = deps.store.change_subscribed(id, now, |connections| {
        if connections.len() < SUBSCRIPTIONS_MAX {
            connections.insert(connection.clone());
        }
    });
    match changed.await? {
        Some(socket) if socket.connections.contains(&connection) => {}
        Some(_) => return Ok(Err(Refusal::too_many(&connection))),
        None => return Ok(Err(Refusal::unknown_socket())),
    }
    let end = deps.store.event_log_end(&key).await?;
    let end = end.filter(|end| end.expires_at > now);
    let head = end.as_ref().map(LogEnd::cursor);
    let stands = wanted.after.or(head);
    let subscription = Subscription {
        key,
        socket: id.clone(),
        holder: socket.holder,
        filter: wanted.filter,
        progress: Progress {
            told: stands,
            examined: stands,
        },
        expires_at: socket.expires_at,
    };
    deps.store.save_subscription(&subscription).await?;
    if send(
        id,
        &frames::hello(&connection, head, socket.expires_at),
        deps,
    )
    .await?
        == Sent::Closed
    {
        return Ok(Ok(()));
    }
    deliver::to_one(subscription, &stored, deadline, deps).await?;
    Ok(Ok(()))
}

/// Ends a subscription.
pub(crate) async fn unsubscribe(
    id: &SocketId,
    connection: &str,
    deps: &Deps,
) -> Result<Result<(), Refusal>, WorkError> {
    let now = deps.clock.now();
    let Ok(parsed) = ConnectionId::parse(connection) else {
        return Ok(Err(Refusal::unknown_connection(connection)));
    };
    let changed = deps.store.change_subscribed(id, now, |connections| {
        connections.remove(&parsed);
    });
    match changed.await? {
        Some(socket) => {
            let key = socket.key(parsed);
            deps.store.delete_subscription(&key, id).await?;
            send(id, &frames::unsubscribed(connection), deps).await?;
            Ok(Ok(()))
        }
        None => Ok(Err(Refusal::unknown_socket())),
    }
}
