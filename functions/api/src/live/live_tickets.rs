//! Tickets for the live WebSocket: a browser can't send a token when it opens one.

use axum::Json;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::live::{SOCKETS_MAX, TICKET_MILLIS};
use runtime::Entropy;
use serde::Serialize;
use sha2::{Digest, Sha256};
use store::Ticket;
use utoipa::ToSchema;

use crate::App;
use crate::http::{Caller, Keyed, Kind, Problem};

/// The seconds after which a tenant with too many sockets may ask again.
const SOCKETS_RETRY_SECONDS: u64 = 60;
/// The bytes of a ticket.
const TICKET_BYTES: usize = 32;

/// A ticket for one WebSocket.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LiveTicket)]
pub(crate) struct LiveTicketView {
    /// The ticket. It is shown once.
    ticket: String,
    /// The address to open, with the ticket.
    url: String,
    /// The time until which it opens a socket, once.
    #[schema(format = DateTime)]
    expires_at: String,
}

/// Makes a ticket that opens one live WebSocket within a minute, in the caller's name.
///
/// The socket is closed when the caller's token expires. That a ticket was given is an act of the
/// audit trail. A repeat with the same `Idempotency-Key` is answered 410: a ticket is shown once.
#[utoipa::path(
    post, path = "/v1/live/tickets", tag = "live",
    responses((status = 201, description = "The ticket.", body = LiveTicketView))
)]
pub(crate) async fn create_live_ticket(
    deps: App,
    caller: Caller,
    keyed: Keyed,
) -> Result<(StatusCode, Json<LiveTicketView>), Problem> {
    if keyed.first_answer().is_some() {
        let detail = "a ticket is shown once: ask for another one with another Idempotency-Key";
        return Err(Problem::new(Kind::WasDeleted, detail));
    }
    let now = deps.clock.now();
    let holder = caller.holder().ok_or_else(Problem::unauthenticated)?;
    let counted = u32::try_from(SOCKETS_MAX).unwrap_or(u32::MAX);
    let open = deps.store.count_sockets(&caller.tenant, now, counted);
    if open.await? >= SOCKETS_MAX {
        let detail = format!("the tenant has {SOCKETS_MAX} live sockets: close one");
        let problem = Problem::limit_reached("live_sockets", detail, SOCKETS_RETRY_SECONDS);
        return Err(problem);
    }
    let text = ticket_text(&deps.entropy);
    let ticket = Ticket {
        tenant: caller.tenant.clone(),
        holder,
        expires_at: now.plus_millis(TICKET_MILLIS),
    };
    let hash = Sha256::digest(text.as_bytes()).into();
    keyed.store(&deps).create_ticket(&hash, &ticket).await?;
    let view = LiveTicketView {
        url: format!("{}?ticket={text}", deps.live_url),
        expires_at: ticket.expires_at.to_string(),
        ticket: text,
    };
    Ok((StatusCode::CREATED, Json(view)))
}

/// Draws a ticket: 256 bits, in 43 characters that need no encoding in a URL.
fn ticket_text(entropy: &Entropy) -> String {
    let mut bytes = [0; TICKET_BYTES];
    for eight in bytes.chunks_exact_mut(8) {
        eight.copy_from_slice(&entropy.next().to_be_bytes());
    }
    URL_SAFE_NO_PAD.encode(bytes)
}
