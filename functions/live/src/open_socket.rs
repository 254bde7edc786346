//! Opening a socket with a ticket.

use std::collections::BTreeSet;

use domain::live::{SOCKET_MILLIS, SOCKETS_MAX, SocketId};
use sha2::{Digest, Sha256};
use store::Socket;
use worker::WorkError;

use crate::Deps;

/// The length of a ticket, in characters.
const TICKET_CHARS: usize = 43;

/// Opens a socket in the name of the ticket's holder, and returns the status: 200; 401 if the
/// ticket is none, was used, or is late; 429 if the tenant has too many sockets.
pub(crate) async fn open(
    socket: &SocketId,
    ticket: Option<&str>,
    deps: &Deps,
) -> Result<u16, WorkError> {
    let now = deps.clock.now();
    let Some(text) = ticket.filter(|text| text.len() == TICKET_CHARS) else {
        return Ok(401);
    };
    let hash = Sha256::digest(text.as_bytes()).into();
    let Some(ticket) = deps.store.take_ticket(&hash, now).await? else {
        return Ok(401);
    };
    if ticket.holder.has_expired(now) {
        return Ok(401);
    }
    let counted = u32::try_from(SOCKETS_MAX).unwrap_or(u32::MAX);
    if deps
        .store
        .count_sockets(&ticket.tenant, now, counted)
        .await?
        >= SOCKETS_MAX
    {
        tracing::warn!(
            tenant = %ticket.tenant, limit = "live_sockets", metric = "tenant_limit_reached",
            "the tenant has too many sockets"
        );
        return Ok(429);
    }
    let opened = Socket {
        id: socket.clone(),
        tenant: ticket.tenant,
        expires_at: ticket.holder.expires_at.min(now.plus_millis(SOCKET_MILLIS)),
        holder: ticket.holder,
        connections: BTreeSet::new(),
    };
    deps.store.open_socket(&opened).await?;
    Ok(200)
}
