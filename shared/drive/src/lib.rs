#![doc = include_str!("../README.md")]

mod assumption;
mod auth;
mod batch;
mod classify;
mod client;
mod content;
mod content_facts;
mod create;
mod credentials_secret;
mod directory;
mod disposition;
mod download;
mod drives;
mod error;
mod export;
mod media;
mod multipart;
mod normalise;
mod patch;
mod permissions;
mod request;
mod revisions;
mod root_folder;
mod secret;
mod stream;
mod table;
mod token;
mod transport;
mod types;
mod upload;
mod upload_start;
mod wire;

pub use assumption::Assumption;
pub use auth::{Credentials, InvalidCredentials};
pub use batch::{BATCH_CALLS_MAX, WriteResult};
pub use client::DriveClient;
pub use content::Unavailable;
pub use content_facts::{ContentFacts, ContentSource};
pub use create::{CreateResult, Creation, FOLDER, SHORTCUT, accepts_pregenerated_id};
pub use directory::{Access, Drives};
pub use download::{BadContent, Download, Expected};
pub use error::{DriveError, Kind};
pub use export::{InvalidPreparationId, Preparation, PreparationId, PreparedContent};
pub use revisions::{InvalidRevisionId, Revision, RevisionId, RevisionPage};
pub use secret::Secret;
pub use stream::{
    ContentBody, ContentTimeouts, ContentTransport, in_memory, reqwest_content_transport,
};
pub use table::{Column, TABLE};
pub use transport::{Timeouts, Transport, TransportError, reqwest_transport};
pub use types::{
    About, Change, ChangePage, ChangeState, ChannelRequest, Clock, DriveChange, DrivePage,
    FilePage, Listed, NextToken, PrivateProperty, Read, Scope, SharedDrive, Unreadable, Watch,
};
pub use upload::{UPLOAD_STEP_BYTES, UploadProgress, UploadSession};
pub use upload_start::{UploadContent, UploadStart};
