//! What a connection's readers are told.

mod event_list;
mod sockets;
