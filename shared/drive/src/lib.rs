#![doc = include_str!("../README.md")]

mod assumption;
mod auth;
mod batch;
mod client;
mod content;
mod create;
mod directory;
mod disposition;
mod download;
mod drives;
mod error;
mod export;
mod facts;
mod media;
mod multipart;
mod normalise;
mod patch;
mod permissions;
mod reasons;
mod request;
mod revisions;
mod root;
mod secret;
mod stream;
mod table;
mod token;
mod transport;
mod types;
mod upload;
mod upload_start;
mod vault;
mod wire;

pub use assumption::Assumption;
pub use auth::{Credentials, CredentialsRefused};
pub use batch::{BATCH_CALLS_MAX, Written};
pub use client::DriveClient;
pub use content::Unavailable;
pub use create::{Created, Creation, FOLDER, SHORTCUT, takes_given_id};
pub use directory::{Access, Drives};
pub use download::{BadContent, Download, Expected};
pub use error::{DriveError, Kind};
pub use export::{Preparation, PreparationId, PreparationIdRefused, PreparedContent};
pub use facts::{ContentFacts, ContentSource};
pub use revisions::{Revision, RevisionId, RevisionIdRefused, RevisionPage};
pub use secret::Secret;
pub use stream::{
    ContentBody, ContentTimeouts, ContentTransport, in_memory, reqwest_content_transport,
};
pub use table::{Column, TABLE};
pub use transport::{Timeouts, Transport, TransportError, reqwest_transport};
pub use types::{
    About, Change, ChangePage, ChannelRequest, Clock, DriveChange, DrivePage, FilePage, Listed,
    Next, PrivateProperty, Read, Scope, Seen, SharedDrive, Unreadable, Watch,
};
pub use upload::{UPLOAD_STEP_BYTES, UploadProgress, UploadSession};
pub use upload_start::{Outgoing, UploadStart};
