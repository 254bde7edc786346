//! An export: what is stored of a tenant, of a connection or about a person, as files of JSON lines
//! in the bucket, and a manifest of their hashes. The manifest is the last object: an export
//! without one is not complete.
//!
//! Each step writes one file as a whole, under the name that its number gives, before it is
//! recorded: one that is repeated writes the same file again, and no line twice. The files are
//! deleted by the export itself: at the end of their time, or when it is cancelled.

use std::collections::BTreeMap;

use super::{DecisionRefused, End, Operation, Run};
use crate::content::ContentHash;
use crate::labels::labels;
use crate::{ConnectionId, Timestamp};

/// The time for which the files of an export are kept, in milliseconds: 7 days.
pub const EXPORT_KEPT_MILLIS: i64 = 7 * 24 * 3_600_000;
/// The most files of one export: the item of the operation names them all.
pub const EXPORT_FILES_MAX: usize = 2_000;

/// An export.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Export {
    /// What is exported.
    pub scope: ExportScope,
    /// Its stage.
    pub stage: ExportStage,
    /// The files so far, in order; the first is number 1.
    pub files: Vec<ExportFile>,
    /// The number of lines by kind.
    pub counts: ExportedCounts,
    /// The number of steps that were recorded.
    pub steps: u32,
    /// The time of the last one.
    pub progressed_at: Option<Timestamp>,
}

/// What is exported.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ExportScope {
    /// Everything of the tenant.
    Tenant,
    /// Everything of one connection.
    Connection(ConnectionId),
    /// What names a person, in all of the tenant: an address, or the subject of a token.
    Person(String),
}

impl ExportScope {
    /// Returns whether it may hold something of a connection.
    #[must_use]
    pub fn includes(&self, connection: &ConnectionId) -> bool {
        match self {
            Self::Tenant | Self::Person(_) => true,
            Self::Connection(only) => only == connection,
        }
    }
}

/// The stage of an export.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ExportStage {
    /// What follows this place is to be read.
    Reading(ExportPlace),
    /// Everything is read: the manifest is to be written.
    Closing,
    /// It is complete, and its files are there until this time.
    Ready(Timestamp),
    /// It was cancelled: its files are to be deleted.
    Cancelling,
    /// It has ended, and has no files.
    Ended(End),
}

/// A place in what is exported: connection by connection, then the acts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExportPlace {
    /// What is read there.
    pub source: ExportSource,
    /// The connection that is read, or the last one that was; `None` before the first.
    pub connection: Option<ConnectionId>,
    /// The position within the source.
    pub position: Option<String>,
}

/// What is read at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExportSource {
    /// The next connection.
    Connections,
    /// The files of the connection.
    Files,
    /// The items of the connection as a whole.
    Items,
    /// The acts of the audit trail.
    Acts,
}

/// The next piece of work of an export that is due.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ExportWork {
    /// Nothing: it has ended, or is no export.
    Nothing,
    /// Record this next state; there is nothing else to do.
    Advance(Box<Operation>),
    /// Write what follows this place to the next file.
    WriteFile(ExportPlace),
    /// Write the manifest.
    WriteManifest,
    /// Delete the files.
    DeleteFiles,
}

/// The kinds of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ExportedKind {
    /// A connection, without its secret.
    Connection,
    /// The record of a file, with its permissions and what is owed to Drive.
    File,
    /// A state in a file's history.
    History,
    /// A conflict.
    Conflict,
    /// A stored version of a file's content: its object, not its bytes.
    Version,
    /// A dead letter.
    DeadLetter,
    /// An operation.
    Operation,
    /// An act of the audit trail.
    Act,
    /// An item that this build can't read: its key alone.
    Unreadable,
}

/// The number of lines by kind; kinds without any are absent.
pub type ExportedCounts = BTreeMap<ExportedKind, u64>;

/// A file of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExportFile {
    /// The number of its lines.
    pub lines: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// The hash of its bytes.
    pub sha256: ContentHash,
}

impl ExportFile {
    /// Returns the name of a file by its number, from 1.
    #[must_use]
    pub fn name(number: usize) -> String {
        format!("part-{number:05}.jsonl")
    }
}

/// The name of the manifest.
pub const MANIFEST_NAME: &str = "manifest.json";

labels!(ExportSource {
    Connections = "connections",
    Files = "files",
    Items = "items",
    Acts = "acts",
});

labels!(ExportedKind {
    Connection = "connection",
    File = "file",
    History = "history",
    Conflict = "conflict",
    Version = "version",
    DeadLetter = "dead_letter",
    Operation = "operation",
    Act = "act",
    Unreadable = "unreadable",
});

impl ExportPlace {
    /// The place before everything.
    #[must_use]
    pub fn start() -> Self {
        Self {
            source: ExportSource::Connections,
            connection: None,
            position: None,
        }
    }

    /// Returns the place after the next connection was looked for, and found if there is one.
    #[must_use]
    pub fn on_connection(&self, found: Option<ConnectionId>) -> Self {
        match found {
            Some(connection) => Self {
                source: ExportSource::Files,
                connection: Some(connection),
                position: None,
            },
            None => Self {
                source: ExportSource::Acts,
                connection: None,
                position: None,
            },
        }
    }

    /// Returns the place after a page was read, whose source goes on at `next`; `None` at the end
    /// of everything.
    #[must_use]
    pub fn on_page(&self, next: Option<String>) -> Option<Self> {
        let source = match (&next, self.source) {
            (Some(_), source) => source,
            (None, ExportSource::Connections | ExportSource::Files) => ExportSource::Items,
            (None, ExportSource::Items) => ExportSource::Connections,
            (None, ExportSource::Acts) => return None,
        };
        Some(Self {
            source,
            connection: self.connection.clone(),
            position: next,
        })
    }

    fn text(&self) -> String {
        let source = self.source.label();
        let connection = self.connection.as_ref().map_or("", ConnectionId::as_str);
        let position = self.position.as_deref().unwrap_or_default();
        format!("{source}#{connection}#{position}")
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '#');
        let source = ExportSource::from_label(parts.next()?)?;
        let connection = parts.next().filter(|id| !id.is_empty());
        let position = parts.next().filter(|position| !position.is_empty());
        Some(Self {
            source,
            connection: connection.map(ConnectionId::parse).transpose().ok()?,
            position: position.map(str::to_owned),
        })
    }
}

impl Export {
    pub(super) fn end(&self) -> Option<&End> {
        match &self.stage {
            ExportStage::Ended(end) => Some(end),
            ExportStage::Reading(_)
            | ExportStage::Closing
            | ExportStage::Ready(_)
            | ExportStage::Cancelling => None,
        }
    }

    /// Returns the time until which its files are there; `None` unless it is complete.
    #[must_use]
    pub fn ready_until(&self) -> Option<Timestamp> {
        match self.stage {
            ExportStage::Ready(until) => Some(until),
            ExportStage::Reading(_)
            | ExportStage::Closing
            | ExportStage::Cancelling
            | ExportStage::Ended(_) => None,
        }
    }

    /// Returns its stage within its state, in the form of an item.
    pub(super) fn position(&self) -> Option<String> {
        match &self.stage {
            ExportStage::Reading(place) => Some(place.text()),
            ExportStage::Ready(until) => Some(until.as_millis().to_string()),
            ExportStage::Closing | ExportStage::Cancelling | ExportStage::Ended(_) => None,
        }
    }

    pub(super) fn reading_at(position: Option<&str>) -> Option<ExportStage> {
        match position {
            None => Some(ExportStage::Closing),
            Some(text) => ExportPlace::parse(text).map(ExportStage::Reading),
        }
    }

    pub(super) fn ready_at(position: Option<&str>) -> Option<ExportStage> {
        let until = position?.parse().ok()?;
        Some(ExportStage::Ready(Timestamp::from_millis(until)))
    }
}

impl Run {
    /// Creates an export.
    #[must_use]
    pub fn export(scope: ExportScope) -> Self {
        Self::Export(Export {
            scope,
            stage: ExportStage::Reading(ExportPlace::start()),
            files: Vec::new(),
            counts: ExportedCounts::new(),
            steps: 0,
            progressed_at: None,
        })
    }
}

impl Operation {
    /// Returns the export, if it is one.
    #[must_use]
    pub fn export(&self) -> Option<&Export> {
        match &self.run {
            Run::Export(export) => Some(export),
            Run::Sync(_)
            | Run::Audit(_)
            | Run::LeaveDrive(_)
            | Run::ContentScan(_)
            | Run::Erase(_)
            | Run::ErasePerson(_)
            | Run::EraseTenant(_)
            | Run::Restore(_) => None,
        }
    }

    /// Returns what an executor must do now for an export.
    #[must_use]
    pub fn next_export_work(&self, now: Timestamp) -> ExportWork {
        let Some(export) = self.export() else {
            return ExportWork::Nothing;
        };
        match &export.stage {
            ExportStage::Reading(_) if export.files.len() >= EXPORT_FILES_MAX => {
                // It could not be recorded any more. What is there is deleted.
                ExportWork::Advance(Box::new(self.at_export_stage(
                    export,
                    ExportStage::Cancelling,
                    now,
                )))
            }
            ExportStage::Reading(place) => ExportWork::WriteFile(place.clone()),
            ExportStage::Closing => ExportWork::WriteManifest,
            ExportStage::Ready(until) if now < *until => {
                ExportWork::Advance(Box::new(self.postponed(*until)))
            }
            ExportStage::Ready(_) | ExportStage::Cancelling => ExportWork::DeleteFiles,
            ExportStage::Ended(_) => ExportWork::Nothing,
        }
    }

    fn at_export_stage(&self, export: &Export, stage: ExportStage, now: Timestamp) -> Self {
        let wait_millis = match &stage {
            ExportStage::Ready(until) => until.millis_since(now),
            ExportStage::Reading(_)
            | ExportStage::Closing
            | ExportStage::Cancelling
            | ExportStage::Ended(_) => 0,
        };
        let export = Export {
            stage,
            steps: export.steps.saturating_add(1),
            progressed_at: Some(now),
            ..export.clone()
        };
        self.moved(Run::Export(export), wait_millis, now)
    }

    /// Records that everything up to a place was read, and is in a file unless there was nothing;
    /// `None`: up to the end.
    #[must_use]
    pub fn on_exported(
        &self,
        next: Option<ExportPlace>,
        file: Option<ExportFile>,
        counts: &ExportedCounts,
        now: Timestamp,
    ) -> Self {
        let reading = |export: &&Export| matches!(export.stage, ExportStage::Reading(_));
        let Some(export) = self.export().filter(reading) else {
            return self.clone();
        };
        let mut export = export.clone();
        export.files.extend(file);
        for (kind, count) in counts {
            *export.counts.entry(*kind).or_default() += count;
        }
        let stage = next.map_or(ExportStage::Closing, ExportStage::Reading);
        self.at_export_stage(&export, stage, now)
    }

    /// Records that the manifest is written: the export is complete from `now` on.
    #[must_use]
    pub fn on_closed(&self, now: Timestamp) -> Self {
        match self.export() {
            Some(export) if export.stage == ExportStage::Closing => {
                let until = now.plus_millis(EXPORT_KEPT_MILLIS);
                self.at_export_stage(export, ExportStage::Ready(until), now)
            }
            Some(_) | None => self.clone(),
        }
    }

    /// Records that its files are deleted, which ends it.
    #[must_use]
    pub fn on_export_deleted(&self, now: Timestamp) -> Self {
        let Some(export) = self.export() else {
            return self.clone();
        };
        let end = match &export.stage {
            ExportStage::Ready(_) => End::Done,
            ExportStage::Cancelling if export.files.len() >= EXPORT_FILES_MAX => End::Failed {
                reason: format!(
                    "it would have more than {EXPORT_FILES_MAX} files; export one connection at \
                     a time"
                ),
            },
            ExportStage::Cancelling => End::Cancelled,
            ExportStage::Reading(_) | ExportStage::Closing | ExportStage::Ended(_) => {
                return self.clone();
            }
        };
        self.at_export_stage(export, ExportStage::Ended(end), now)
    }

    /// Cancels an export: its files are deleted. One that is cancelled already stays as it is.
    pub(super) fn cancel_export(
        &self,
        export: &Export,
        now: Timestamp,
    ) -> Result<Self, DecisionRefused> {
        match &export.stage {
            ExportStage::Reading(_) | ExportStage::Closing | ExportStage::Ready(_) => {
                Ok(self.at_export_stage(export, ExportStage::Cancelling, now))
            }
            ExportStage::Cancelling | ExportStage::Ended(End::Cancelled) => Ok(self.clone()),
            ExportStage::Ended(End::Done | End::Failed { .. }) => {
                Err(DecisionRefused::NotCancellable)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::OperationForm;
    use super::super::search::operation;
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000_000);
    const FILE: ExportFile = ExportFile {
        lines: 2,
        bytes: 9,
        sha256: ContentHash::from_bytes([7; 32]),
    };

    fn exporting(scope: ExportScope) -> Operation {
        operation(Run::export(scope), START)
    }

    fn connection(number: u32) -> ConnectionId {
        ConnectionId::parse(&format!("c{number}")).unwrap()
    }

    /// Does what is next in a tenant with two connections, each source of which has two pages.
    fn step(operation: &Operation, now: Timestamp) -> Option<Operation> {
        let again = OperationForm::into_run(operation.form()).unwrap();
        assert_eq!(again, operation.run, "it is stored as it is");
        let work = operation.next_export_work(now);
        if let ExportWork::Advance(after) = work {
            return Some(*after);
        }
        if work == ExportWork::WriteManifest {
            return Some(operation.on_closed(now));
        }
        if work == ExportWork::DeleteFiles {
            return Some(operation.on_export_deleted(now));
        }
        let ExportWork::WriteFile(place) = work else {
            return None;
        };
        let next = match (place.source, &place.connection, &place.position) {
            (ExportSource::Connections, last, _) => Some(place.on_connection(match last {
                None => Some(connection(1)),
                Some(last) if *last == connection(1) => Some(connection(2)),
                Some(_) => None,
            })),
            (_, _, None) => place.on_page(Some("a#b".to_owned())),
            (_, _, Some(_)) => place.on_page(None),
        };
        let counts = ExportedCounts::from([(ExportedKind::File, 2)]);
        Some(operation.on_exported(next, Some(FILE), &counts, now))
    }

    #[test]
    fn every_source_of_every_connection_is_read_once_and_then_the_acts() {
        let (mut operation, mut now, mut read) =
            (exporting(ExportScope::Tenant), START, Vec::new());
        while let Some(after) = step(&operation, now) {
            if let ExportWork::WriteFile(place) = operation.next_export_work(now) {
                read.push(place.text());
            }
            operation = after;
            let export = operation.export().unwrap();
            let reads = matches!(export.stage, ExportStage::Reading(_));
            let takes_none = export.end().is_some() || export.ready_until().is_some();
            assert!(operation.is_running() != takes_none && (operation.is_running() || !reads));
            now = operation.due_at.unwrap_or(now);
        }
        let wanted = [
            "connections##",
            "files#c1#",
            "files#c1#a#b",
            "items#c1#",
            "items#c1#a#b",
            "connections#c1#",
            "files#c2#",
            "files#c2#a#b",
            "items#c2#",
            "items#c2#a#b",
            "connections#c2#",
            "acts##",
            "acts##a#b",
        ];
        assert_eq!(read, wanted);
        let export = operation.export().unwrap();
        assert_eq!(export.end(), Some(&End::Done));
        assert_eq!(export.files.len(), wanted.len());
        assert_eq!(export.counts[&ExportedKind::File], 26);
        assert_eq!(now.millis_since(START), EXPORT_KEPT_MILLIS);
    }

    #[test]
    fn an_export_is_cancelled_at_any_time_and_ends_when_its_files_are_deleted() {
        let (mut operation, mut now) = (exporting(ExportScope::Tenant), START);
        while let Some(after) = step(&operation, now) {
            let cancelled = operation.decide(false, "bob", now).unwrap();
            assert_eq!(cancelled.next_export_work(now), ExportWork::DeleteFiles);
            assert_eq!(cancelled.decide(false, "bob", now), Ok(cancelled.clone()));
            assert_eq!(
                cancelled.on_closed(now),
                cancelled,
                "a late step changes nothing"
            );
            let ended = step(&cancelled, now).unwrap();
            assert_eq!(ended.export().unwrap().end(), Some(&End::Cancelled));
            assert_eq!(ended.due_at, None);
            operation = after;
            now = operation.due_at.unwrap_or(now);
        }
        assert!(operation.decide(false, "bob", now).is_err(), "it is over");
        assert!(
            exporting(ExportScope::Tenant)
                .decide(true, "bob", now)
                .is_err()
        );
    }

    #[test]
    fn an_export_of_too_many_files_fails_and_leaves_none() {
        let mut operation = exporting(ExportScope::Tenant);
        for number in 0..EXPORT_FILES_MAX {
            let next = ExportPlace::start().on_page(Some(number.to_string()));
            operation = operation.on_exported(next, Some(FILE), &ExportedCounts::new(), START);
        }
        let operation = step(&operation, START).unwrap();
        assert_eq!(operation.next_export_work(START), ExportWork::DeleteFiles);
        let ended = step(&operation, START).unwrap();
        assert!(matches!(
            ended.export().unwrap().end(),
            Some(End::Failed { .. })
        ));
    }
}
