//! The first sync of a log's files, and the resync after a cursor was lost.
//!
//! `fetch-changes` lists the pages, since the log waits for them. The last page releases the log;
//! from there on an executor checks that everything has arrived, and a resync compares the stored
//! records with the listing.

use super::{ConnectionFacts, End, Listing, Operation, Run, Stage, Work};
use crate::Timestamp;

/// Delay before an arrival that isn't complete is checked again, in milliseconds.
const AGAIN_MILLIS: i64 = 1_000;
/// A listing that has made no progress for this long may never end, in milliseconds: it needs a
/// person.
const STANDSTILL_MILLIS: i64 = 3_600_000;

/// A listing whose files are queued as snapshots, and its arrival.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sync {
    /// The reason for the listing.
    pub kind: SyncKind,
    /// The listing and, for a resync, the comparison.
    pub listing: Listing,
    /// The number of pages whose files have all arrived: stored or parked.
    pub pages_verified: u32,
    /// The number of files on those.
    pub verified: u64,
}

/// The reason for a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SyncKind {
    /// The first listing of the log's files.
    Initial,
    /// One reading of the change log, requested by a person.
    Delta,
    /// The cursor was lost, or a person requested it.
    Resync,
}

impl Run {
    /// Creates a sync.
    #[must_use]
    pub fn sync(kind: SyncKind) -> Self {
        Self::Sync(Sync {
            kind,
            listing: Listing::new(),
            pages_verified: 0,
            verified: 0,
        })
    }
}

impl Sync {
    fn lists_all(&self) -> bool {
        match self.kind {
            SyncKind::Initial | SyncKind::Resync => true,
            SyncKind::Delta => false,
        }
    }

    /// Returns whether a content scan follows once everything has arrived: a file may be listed
    /// before the folder that brings it into scope.
    fn brings_scan(&self, facts: &ConnectionFacts) -> bool {
        self.lists_all() && facts.mirrors_content && facts.has_rules
    }
}

impl Operation {
    /// Returns the sync, if it is one.
    #[must_use]
    pub fn sync(&self) -> Option<&Sync> {
        match &self.run {
            Run::Sync(sync) => Some(sync),
            Run::Audit(_) | Run::LeaveDrive(_) | Run::ContentScan(_) => None,
        }
    }

    /// Returns whether it brings every file of its log as a snapshot.
    #[must_use]
    pub fn lists_all(&self) -> bool {
        self.sync().is_some_and(Sync::lists_all)
    }

    /// Returns whether it is a resync: most of what it lists is stored already.
    #[must_use]
    pub fn is_resync(&self) -> bool {
        self.sync()
            .is_some_and(|sync| sync.kind == SyncKind::Resync)
    }

    /// Returns whether a content scan can be relied on to follow it. A listing that stands still is
    /// not waited for.
    #[must_use]
    pub fn scan_follows(&self, facts: &ConnectionFacts, now: Timestamp) -> bool {
        self.sync().is_some_and(|sync| {
            let under_way = sync.listing.token().is_some() || sync.listing.stage == Stage::Listed;
            let since = sync.listing.progressed_at.unwrap_or(self.started_at);
            under_way && sync.brings_scan(facts) && now.millis_since(since) < STANDSTILL_MILLIS
        })
    }

    /// Returns the first page whose files have not all arrived, and the time of the last progress.
    #[must_use]
    pub fn page_awaited(&self) -> Option<(u32, Timestamp)> {
        let sync = self
            .sync()
            .filter(|sync| sync.listing.stage == Stage::Listed)?;
        let since = sync.listing.progressed_at.unwrap_or(self.started_at);
        (sync.pages_verified < sync.listing.pages).then_some((sync.pages_verified, since))
    }

    pub(super) fn sync_work(&self, sync: &Sync, facts: &ConnectionFacts, now: Timestamp) -> Work {
        match &sync.listing.stage {
            Stage::Listing { .. } => Work::Nothing,
            Stage::Listed => match self.page_awaited() {
                Some((page, _)) => Work::CheckArrival { page },
                None => Work::Arrived {
                    scan: sync.brings_scan(facts),
                },
            },
            Stage::Comparing { .. }
            | Stage::Verifying { .. }
            | Stage::AwaitingConfirmation { .. }
            | Stage::Repairing { .. }
            | Stage::Ended(_) => self.comparison_work(&sync.listing, facts, now),
        }
    }

    /// Records that the files of this many more pages have arrived.
    #[must_use]
    pub fn on_arrival(&self, pages: u32, files: u64, now: Timestamp) -> Self {
        let (Some(_), Some(sync)) = (self.page_awaited(), self.sync()) else {
            return self.clone();
        };
        let mut next = sync.clone();
        next.pages_verified = (sync.pages_verified + pages).min(sync.listing.pages);
        next.verified += files;
        if pages > 0 {
            next.listing.progressed_at = Some(now);
        }
        let whole = next.pages_verified == next.listing.pages;
        self.moved(Run::Sync(next), if whole { 0 } else { AGAIN_MILLIS }, now)
    }

    /// Records that everything has arrived, after the content scan that follows was scheduled. A
    /// resync compares now.
    #[must_use]
    pub fn on_all_arrived(&self, now: Timestamp) -> Self {
        let Some(sync) = self
            .sync()
            .filter(|sync| sync.listing.stage == Stage::Listed)
        else {
            return self.clone();
        };
        if self.page_awaited().is_some() {
            return self.clone();
        }
        let stage = if self.is_resync() {
            Stage::Comparing { position: None }
        } else {
            Stage::Ended(End::Done)
        };
        let listing = Listing {
            stage,
            ..sync.listing.clone()
        };
        self.with_listing(listing, 0, now)
    }
}
