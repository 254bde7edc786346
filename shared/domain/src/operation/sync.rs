//! The first sync of a log's files, and the resync after a cursor was lost.
//!
//! `fetch-changes` lists the pages, since the log waits for them. The last page releases the log;
//! from there on an executor checks that everything has arrived, lists the files a second time, and
//! compares the stored records with that.

use super::{ConnectionFacts, End, Listing, Operation, Run, Stage, Work};
use crate::Timestamp;

/// Delay before an arrival that isn't complete is checked again, in milliseconds.
const AGAIN_MILLIS: i64 = 1_000;
/// The longest such delay, in milliseconds.
const AGAIN_MILLIS_MAX: i64 = 60_000;
/// The delay grows with the time without progress, to this part of it.
const AGAIN_PART: i64 = 8;
/// A listing that has made no progress for this long may never end, in milliseconds: it needs a
/// person.
const STANDSTILL_MILLIS: i64 = 3_600_000;

/// A listing whose files are queued as snapshots, and its arrival.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sync {
    /// The reason for the listing.
    pub kind: SyncKind,
    /// The listings and the comparison.
    pub listing: Listing,
    /// The number of pages whose files have all arrived: stored or parked.
    pub pages_verified: u32,
    /// The number of files on those.
    pub verified: u64,
    /// The number of those that are set aside as dead letters.
    pub errors: u64,
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
            errors: 0,
        })
    }
}

impl SyncKind {
    pub(super) fn lists_all(self) -> bool {
        match self {
            Self::Initial | Self::Resync => true,
            Self::Delta => false,
        }
    }
}

impl Sync {
    fn lists_all(&self) -> bool {
        self.kind.lists_all()
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
            Run::Audit(_)
            | Run::LeaveDrive(_)
            | Run::ContentScan(_)
            | Run::Erase(_)
            | Run::Export(_)
            | Run::ErasePerson(_)
            | Run::EraseTenant(_)
            | Run::Restore(_) => None,
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
            let under_way = sync.listing.is_first() || sync.listing.stage == Stage::Listed;
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
            Stage::SecondLook { token } => self.second_look_work(token.as_ref(), facts, now),
            Stage::Comparing { .. }
            | Stage::Verifying { .. }
            | Stage::AwaitingConfirmation { .. }
            | Stage::Repairing { .. }
            | Stage::Ended(_) => self.comparison_work(&sync.listing, facts, now),
        }
    }

    /// Records that the files of this many more pages have arrived; `errors` of them are set aside
    /// as dead letters. The longer nothing arrives, the later it is checked again.
    #[must_use]
    pub fn on_arrival(&self, pages: u32, files: u64, errors: u64, now: Timestamp) -> Self {
        let (Some(_), Some(sync)) = (self.page_awaited(), self.sync()) else {
            return self.clone();
        };
        let mut next = sync.clone();
        next.pages_verified = (sync.pages_verified + pages).min(sync.listing.pages);
        next.verified += files;
        next.errors += errors;
        if pages > 0 {
            next.listing.progressed_at = Some(now);
        }
        let since = next.listing.progressed_at.unwrap_or(self.started_at);
        let again = now.millis_since(since) / AGAIN_PART;
        let wait_millis = if next.pages_verified == next.listing.pages {
            0
        } else {
            again.clamp(AGAIN_MILLIS, AGAIN_MILLIS_MAX)
        };
        self.moved(Run::Sync(next), wait_millis, now)
    }

    /// Records that everything has arrived, after the content scan that follows was scheduled. What
    /// lists every file lists them a second time now.
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
        let listing = if sync.lists_all() {
            sync.listing.looked_at_again()
        } else {
            Listing {
                stage: Stage::Ended(End::Done),
                ..sync.listing.clone()
            }
        };
        self.with_listing(listing, 0, now)
    }
}
