//! Bringing a version's content into the bucket: linked to bytes that the tenant has, or fetched from Drive first.

use domain::content::{
    ContentHash, ContentState, Dealt, HOLD_MILLIS, Origin, Place, StoredObject, StoredVersion,
};
use domain::pace::CallKind;
use domain::{FileRecord, Timestamp};
use drive::{BadContent, ContentFacts, DriveError, Kind, Unavailable};
use gate::GateError;
use objects::Digest;
use store::{Created, Held, Linked};

use crate::Stopped;
use crate::file::{Flow, Work};
use crate::pour::{Pour, Poured};

/// How often Drive may send something else than the content before the version is given up.
const FAILURES_MAX: u32 = 5;

impl Work<'_> {
    /// Has a version stored. What the tenant has already is linked, however it came there: identical content is stored
    /// once.
    pub(crate) async fn store(
        &self,
        record: &FileRecord,
        state: ContentState,
        number: u32,
        hash: ContentHash,
        in_drive: bool,
    ) -> Result<Flow, Stopped> {
        let tenant = &self.connection.key.tenant;
        let until = self.hold_until();
        match self.deps.store.hold_object(tenant, &hash, until).await? {
            Held::Done(object) => {
                let origin = if in_drive {
                    Origin::Drive
                } else {
                    Origin::Application
                };
                let version = self.version(record, &object, number, origin, None);
                self.link(&state, version).await
            }
            Held::Collecting => Err(Stopped::Collecting),
            Held::Absent if in_drive => self.fetch(record, state, number, hash).await,
            Held::Absent => {
                let reason = "its bytes are not stored, and Drive does not hold it".to_owned();
                let dealt = Dealt::Unavailable { reason };
                self.settle(&state, number, dealt).await
            }
        }
    }

    /// Fetches a version's content from Drive. The hash says which bytes it is, so what comes is right or is not taken.
    async fn fetch(
        &self,
        record: &FileRecord,
        state: ContentState,
        number: u32,
        hash: ContentHash,
    ) -> Result<Flow, Stopped> {
        let Some(facts) = self.facts().await? else {
            return Ok(Flow::Over);
        };
        if facts.sha256.as_deref() != Some(hash.to_string().as_str()) {
            // The change that says so is on its way, and wakes for the content that is there now.
            tracing::info!(file = %self.file, number, metric = "content_moved_on", "Drive holds another content");
            return Ok(Flow::Over);
        }
        let mut state = state;
        let poured = match Pour::open(self, &mut state, number, hash, &facts).await {
            Ok(pour) => pour.run(&mut state, &facts).await,
            Err(stopped) => Err(stopped),
        };
        match poured {
            Ok(Poured::Later) => Ok(Flow::Later),
            Ok(Poured::Done(place, digest)) => {
                let object = self.object(place, &digest).await?;
                let revision = facts.head_revision_id.clone();
                let version = self.version(record, &object, number, Origin::Drive, revision);
                self.link(&state, version).await
            }
            Err(stopped) => self.failed(&state, number, stopped).await,
        }
    }

    /// What Drive says of the content now; `None` where the file is gone, which its log says as well.
    pub(crate) async fn facts(&self) -> Result<Option<ContentFacts>, Stopped> {
        let pass = self.pass().await?;
        let look = || pass.drive().content_facts(self.file);
        match pass.ask(CallKind::Read, look).await {
            Ok(facts) => Ok(Some(facts)),
            Err(GateError::Drive(error)) if error.gone().is_some() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What a failure means for a version: content that can't be had is noted as such, and so is content of which Drive
    /// has sent something else too often. All else comes back with the wake.
    pub(crate) async fn failed(
        &self,
        state: &ContentState,
        number: u32,
        stopped: Stopped,
    ) -> Result<Flow, Stopped> {
        if let Some(reason) = stopped.drive().and_then(unavailable) {
            let reason = reason.to_owned();
            let dealt = Dealt::Unavailable { reason };
            return self.settle(state, number, dealt).await;
        }
        let spoilt = stopped.drive().is_some_and(is_spoilt);
        if !spoilt && !matches!(stopped, Stopped::WrongSum) {
            return Err(stopped);
        }
        let failures = state.failures.saturating_add(1);
        if failures >= FAILURES_MAX {
            let reason = runtime::telemetry::chain(&stopped);
            let dealt = Dealt::Unavailable { reason };
            return self.settle(state, number, dealt).await;
        }
        if let Some(domain::content::Progress::Download(download)) = &state.progress {
            self.forget(&download.object, &download.upload).await;
        }
        let anew = ContentState {
            failures,
            progress: None,
            ..state.clone()
        };
        self.save(&anew).await?;
        Err(stopped)
    }

    /// Says that bytes are stored and verified. Of two who bring the same the first stands, and the other's go.
    pub(crate) async fn object(
        &self,
        place: Place,
        digest: &Digest,
    ) -> Result<StoredObject, Stopped> {
        let tenant = &self.connection.key.tenant;
        let now = self.deps.clock.now();
        let (sha256, size_bytes) = (digest.sha256, digest.size_bytes);
        let object = StoredObject::new(sha256, place, size_bytes, now, self.hold_until());
        let put = self.deps.store.put_object_if_absent(tenant, &object);
        match put.await? {
            Created::Created => Ok(object),
            Created::Exists(stands) => {
                self.discard(&object.key).await;
                Ok(stands)
            }
        }
    }

    pub(crate) fn version(
        &self,
        record: &FileRecord,
        object: &StoredObject,
        number: u32,
        origin: Origin,
        revision_id: Option<String>,
    ) -> StoredVersion {
        let (mime_type, now) = (&record.mirror.mime_type, self.deps.clock.now());
        StoredVersion {
            revision_id,
            by: Self::author(record),
            ..StoredVersion::new(number, object, mime_type, origin, now)
        }
    }

    /// Links a version to its object, and is done with it.
    pub(crate) async fn link(
        &self,
        state: &ContentState,
        version: StoredVersion,
    ) -> Result<Flow, Stopped> {
        let key = &self.connection.key;
        let number = version.number;
        let linked = self.deps.store.link_version(key, self.file, &version);
        match linked.await? {
            Linked::Done => {}
            Linked::Taken(stands) => {
                // An earlier look stored another content under this number and died before it could say so. That
                // version is as good as any; this content gets the next number when it is looked at again.
                tracing::warn!(file = %self.file, number, stands = %stands.hash, metric = "content_number_taken", "stored already");
            }
            // It went, or somebody else's stands: the next look finds out.
            Linked::NotStored(_) => return Err(Stopped::Collecting),
        }
        let settled = ContentState {
            exported: exported_of(&version),
            ..state.settled(number, Dealt::Stored)
        };
        tracing::info!(file = %self.file, number, bytes = version.size_bytes, metric = "content_stored", "stored");
        self.save(&settled).await?;
        Ok(Flow::Again)
    }

    fn hold_until(&self) -> Timestamp {
        self.deps.clock.now().plus_millis(HOLD_MILLIS)
    }
}

/// Of an export, the moment of the document that it shows: it stands in the place of a revision.
fn exported_of(version: &StoredVersion) -> Option<Timestamp> {
    match &version.origin {
        Origin::Export { .. } => {
            let of = version.revision_id.as_deref();
            of.and_then(Timestamp::parse_rfc3339)
        }
        Origin::Drive | Origin::Application => None,
    }
}

/// Why content can't be had, where that is what Drive says.
pub(crate) fn unavailable(error: &DriveError) -> Option<&'static str> {
    Some(match error.content_unavailable()? {
        Unavailable::TooLarge => "too_large",
        Unavailable::NotExportable => "not_exportable",
        Unavailable::NotDownloadable => "not_downloadable",
        Unavailable::Forbidden => "forbidden",
        Unavailable::Abusive => "abusive",
        _ => "unavailable",
    })
}

/// Whether Drive sent something else than the content, as opposed to nothing or a part of it.
fn is_spoilt(error: &DriveError) -> bool {
    match error.kind() {
        Kind::BadContent(bad) => match bad {
            BadContent::BrokeOff => false,
            BadContent::TooLong
            | BadContent::SomethingElse
            | BadContent::OtherPart
            | BadContent::OtherSize => true,
        },
        Kind::CursorLost
        | Kind::AuthLost { .. }
        | Kind::RateLimited { .. }
        | Kind::DailyLimit
        | Kind::Stale
        | Kind::NotFound
        | Kind::AccessDenied { .. }
        | Kind::Permanent { .. }
        | Kind::Transient
        | Kind::Unanswered
        | Kind::NotSent => false,
    }
}
