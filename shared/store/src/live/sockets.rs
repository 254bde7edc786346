//! Open sockets. A message on a socket names nothing but the id that API Gateway gave it, so that a
//! socket has a partition of its own. A second item in the tenant's partition counts it.

use std::collections::BTreeSet;

use domain::live::{Holder, SocketId};
use domain::{ConnectionId, ConnectionKey, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::file::value_item::at;
use crate::live::tickets::HolderItem;
use crate::table::item::{Encoded, decode, encode};
use crate::table::key::{Item, Key, millis_13};
use crate::table::range::Range;
use crate::table::store::Applied;
use crate::table::update::{Replaces, Update};
use crate::{ATTEMPTS_MAX, Store, StoreError};

/// The prefix of the sort key of a tenant's sockets, before the time of their end.
const SOCKET: &str = "SOCKET#";

/// An open socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// The id that API Gateway gave it.
    pub id: SocketId,
    /// The tenant.
    pub tenant: TenantId,
    /// The holder of the ticket that opened it.
    pub holder: Holder,
    /// The connections that it is subscribed to.
    pub connections: BTreeSet<ConnectionId>,
    /// The time from which it is closed at the latest.
    pub expires_at: Timestamp,
}

impl Socket {
    /// Returns the key of one of its tenant's connections.
    #[must_use]
    pub fn key(&self, connection: ConnectionId) -> ConnectionKey {
        ConnectionKey {
            tenant: self.tenant.clone(),
            connection,
        }
    }
}

impl Store {
    /// Stores a socket that was opened.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn open_socket(&self, socket: &Socket) -> Result<(), StoreError> {
        let counted = encode_counted(socket)?;
        self.put(counted, Replaces::Whatever).await?;
        self.put(encode_socket(socket)?, Replaces::Whatever).await?;
        Ok(())
    }

    /// Reads a socket consistently; `None` if it is closed, or if its time has passed.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_socket(
        &self,
        id: &SocketId,
        now: Timestamp,
    ) -> Result<Option<Socket>, StoreError> {
        let item = self.get(&Key::socket(id)).await?;
        let socket = item.map(|item| decode_socket(id, item)).transpose()?;
        Ok(socket.filter(|socket| socket.expires_at > now))
    }

    /// Counts the open sockets of a tenant, up to `limit`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn count_sockets(
        &self,
        tenant: &TenantId,
        now: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let first = format!("{SOCKET}{}", millis_13(now));
        let range = Range::between(Key::live_pk(tenant), &first, SOCKET);
        self.count_whole(&range, limit).await
    }

    /// Changes the connections that a socket is subscribed to; `None` if it is closed.
    ///
    /// # Errors
    /// [`StoreError`], also if others keep changing them.
    pub async fn change_subscribed(
        &self,
        id: &SocketId,
        now: Timestamp,
        change: impl Fn(&mut BTreeSet<ConnectionId>),
    ) -> Result<Option<Socket>, StoreError> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(mut socket) = self.load_socket(id, now).await? else {
                return Ok(None);
            };
            let before = joined(&socket.connections);
            change(&mut socket.connections);
            let after = joined(&socket.connections);
            if before == after {
                return Ok(Some(socket));
            }
            let update = Update::of(Key::socket(id))
                .when_text("connections", &before)
                .set_text("connections", after);
            if let Applied::Done(_) = self.update(update).await? {
                return Ok(Some(socket));
            }
        }
        Err(StoreError::busy("the socket kept changing"))
    }

    /// Deletes a socket that was closed, with its subscriptions.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn close_socket(&self, id: &SocketId) -> Result<(), StoreError> {
        let Some(item) = self.get(&Key::socket(id)).await? else {
            return Ok(());
        };
        let socket = decode_socket(id, item)?;
        for connection in &socket.connections {
            let key = socket.key(connection.clone());
            self.delete_subscription(&key, id).await?;
        }
        self.delete(&counted_key(&socket)).await?;
        self.delete(&Key::socket(id)).await
    }
}

#[derive(Serialize, Deserialize)]
struct Body {
    tenant: String,
    holder: HolderItem,
    /// Separated by spaces.
    connections: String,
    expires_at: i64,
}

#[derive(Serialize, Deserialize)]
struct Counted {
    expires_at: i64,
}

fn joined(connections: &BTreeSet<ConnectionId>) -> String {
    let texts: Vec<&str> = connections.iter().map(ConnectionId::as_str).collect();
    texts.join(" ")
}

fn counted_key(socket: &Socket) -> Key {
    let (at, id) = (millis_13(socket.expires_at), &socket.id);
    Key::new(Key::live_pk(&socket.tenant), format!("{SOCKET}{at}#{id}"))
}

fn encode_counted(socket: &Socket) -> Result<Encoded, StoreError> {
    let expires_at = socket.expires_at.as_millis();
    let mut item = encode(&counted_key(socket), &Counted { expires_at })?;
    item.expire(socket.expires_at);
    Ok(item)
}

fn encode_socket(socket: &Socket) -> Result<Encoded, StoreError> {
    let body = Body {
        tenant: socket.tenant.as_str().to_owned(),
        holder: HolderItem::of(&socket.holder),
        connections: joined(&socket.connections),
        expires_at: socket.expires_at.as_millis(),
    };
    let mut item = encode(&Key::socket(&socket.id), &body)?;
    item.expire(socket.expires_at);
    Ok(item)
}

fn decode_socket(id: &SocketId, item: Item) -> Result<Socket, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let connections = body.connections.split_ascii_whitespace();
    let connections = connections.map(ConnectionId::parse).collect();
    let (Ok(tenant), Ok(connections)) = (TenantId::parse(&body.tenant), connections) else {
        return Err(place.corrupt("its tenant or a connection is invalid"));
    };
    Ok(Socket {
        id: id.clone(),
        tenant,
        holder: body.holder.into_holder(),
        connections,
        expires_at: at(body.expires_at),
    })
}
