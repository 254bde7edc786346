#![doc = include_str!("../README.md")]

mod assumption;
mod auth;
mod batch;
mod client;
mod content;
mod create;
mod directory;
mod disposition;
mod drives;
mod error;
mod multipart;
mod normalise;
mod patch;
mod permissions;
mod reasons;
mod request;
mod root;
mod secret;
mod table;
mod token;
mod transport;
mod types;
mod vault;
mod wire;

pub use assumption::Assumption;
pub use auth::{Credentials, CredentialsRefused};
pub use batch::{BATCH_CALLS_MAX, Written};
pub use client::DriveClient;
pub use content::Unavailable;
pub use create::{Created, Creation, FOLDER, SHORTCUT, takes_given_id};
pub use directory::{Access, Drives};
pub use error::{DriveError, Kind};
pub use secret::Secret;
pub use table::{Column, TABLE};
pub use transport::{Timeouts, Transport, TransportError, reqwest_transport};
pub use types::{
    About, Change, ChangePage, ChannelRequest, Clock, DriveChange, DrivePage, FilePage, Listed,
    Next, PrivateProperty, Read, Scope, Seen, SharedDrive, Unreadable, Watch,
};
