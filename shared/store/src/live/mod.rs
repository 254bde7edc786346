//! Live readers: tickets, sockets and subscriptions.

pub(crate) mod sockets;
pub(crate) mod subscriptions;
pub(crate) mod tickets;
