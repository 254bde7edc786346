#![doc = include_str!("../README.md")]

mod access;
mod assumption;
mod calls;
mod failure;
mod protocol;
mod transfer;

pub use access::account::{ANOTHER_ACCOUNT, ExpectedAccount};
pub use access::auth::{BoundCredentials, Credentials, InvalidCredentials};
pub use access::directory::{Access, Drives};
pub use access::secret::Secret;
pub use assumption::{Assumption, Evidence, Standing};
pub use calls::batch::{BATCH_CALLS_MAX, WriteResult};
pub use calls::client::DriveClient;
pub use calls::create::{CreateResult, Creation, FOLDER, SHORTCUT, accepts_pregenerated_id};
pub use calls::transport::{Timeouts, Transport, TransportError, reqwest_transport};
pub use failure::drive_error::{DriveError, Kind};
pub use protocol::table::{Column, TABLE};
pub use protocol::types::{
    About, Change, ChangePage, ChangeState, ChannelRequest, Clock, DriveChange, DrivePage,
    FileIdPage, FilePage, Listed, ListedId, NextToken, PrivateProperty, Read, Scope, SharedDrive,
    Unreadable, Watch,
};
pub use transfer::content_facts::{ContentFacts, ContentSource};
pub use transfer::download::{BadContent, Download, Expected};
pub use transfer::export::{InvalidPreparationId, Preparation, PreparationId, PreparedContent};
pub use transfer::resumable_upload::{UPLOAD_STEP_BYTES, UploadProgress, UploadSession};
pub use transfer::revisions::{InvalidRevisionId, Revision, RevisionId, RevisionPage};
pub use transfer::stream::{
    ContentBody, ContentTimeouts, ContentTransport, in_memory, reqwest_content_transport,
};
pub use transfer::unavailable::Unavailable;
pub use transfer::upload_start::{UploadContent, UploadStart};
