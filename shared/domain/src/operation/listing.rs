//! The part that syncs and audits share: every file of a log is listed, page by page, and then
//! compared.

use super::{Comparison, End, Operation, Run};
use crate::Timestamp;

/// A listing of the files of a log, and the comparison of the stored records with it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Listing {
    /// Its state.
    pub stage: Stage,
    /// The number of recorded pages.
    pub pages: u32,
    /// The number of files on them.
    pub listed: u64,
    /// The time at which a page was last recorded, or found to have arrived.
    pub progressed_at: Option<Timestamp>,
    /// The result of the comparison.
    pub comparison: Comparison,
}

/// The stages of a listing, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Pages are listed.
    Listing {
        /// Drive's token of the next page; `None` for the first.
        token: Option<String>,
    },
    /// All pages are listed; the files that a sync queued are in flight.
    Listed,
    /// The stored records are compared with the listing.
    Comparing {
        /// The position reached; `None` at the beginning.
        position: Option<String>,
    },
    /// Drive is asked about each candidate. Nothing is changed yet.
    Verifying {
        /// The position reached; `None` at the beginning.
        position: Option<String>,
    },
    /// It would remove more than its limit: a person must confirm or cancel.
    AwaitingConfirmation {
        /// The start of the wait.
        since: Timestamp,
    },
    /// The repairs are queued, file by file.
    Repairing {
        /// The position reached; `None` at the beginning.
        position: Option<String>,
    },
    /// It has ended.
    Ended(End),
}

impl Listing {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Listing { token: None },
            pages: 0,
            listed: 0,
            progressed_at: None,
            comparison: Comparison::default(),
        }
    }

    pub(super) fn end(&self) -> Option<&End> {
        match &self.stage {
            Stage::Ended(end) => Some(end),
            Stage::Listing { .. }
            | Stage::Listed
            | Stage::Comparing { .. }
            | Stage::Verifying { .. }
            | Stage::AwaitingConfirmation { .. }
            | Stage::Repairing { .. } => None,
        }
    }

    pub(super) fn token(&self) -> Option<Option<&str>> {
        match &self.stage {
            Stage::Listing { token } => Some(token.as_deref()),
            Stage::Listed
            | Stage::Comparing { .. }
            | Stage::Verifying { .. }
            | Stage::AwaitingConfirmation { .. }
            | Stage::Repairing { .. }
            | Stage::Ended(_) => None,
        }
    }
}

impl Operation {
    pub(super) fn listing(&self) -> Option<&Listing> {
        match &self.run {
            Run::Sync(sync) => Some(&sync.listing),
            Run::Audit(audit) => Some(&audit.listing),
            Run::LeaveDrive(_) | Run::ContentScan(_) => None,
        }
    }

    /// Returns the operation with another listing: due after `wait_millis`, or finished.
    pub(super) fn with_listing(&self, next: Listing, wait_millis: i64, now: Timestamp) -> Self {
        let mut run = self.run.clone();
        match &mut run {
            Run::Sync(sync) => sync.listing = next,
            Run::Audit(audit) => {
                if next.end().is_some() {
                    audit.self_check = None;
                }
                audit.listing = next;
            }
            Run::LeaveDrive(_) | Run::ContentScan(_) => {}
        }
        self.moved(run, wait_millis, now)
    }

    /// Returns the token of the next page to list, `Some(None)` for the first; `None` unless pages
    /// are being listed.
    #[must_use]
    pub fn page_to_list(&self) -> Option<Option<&str>> {
        if self.audit().is_some_and(|audit| audit.self_check.is_some()) {
            return None;
        }
        self.listing()?.token()
    }

    /// Records a page with this many files, queued or compared. Without a `next` token it was the
    /// last one, and a log that waits is released.
    #[must_use]
    pub fn on_page(&self, files: u64, next: Option<&str>, now: Timestamp) -> Self {
        let (Some(_), Some(listing)) = (self.page_to_list(), self.listing()) else {
            return self.clone();
        };
        let next = Listing {
            stage: next.map_or(Stage::Listed, |token| Stage::Listing {
                token: Some(token.to_owned()),
            }),
            pages: listing.pages + 1,
            listed: listing.listed + files,
            progressed_at: Some(now),
            ..listing.clone()
        };
        self.with_listing(next, 0, now)
    }

    /// Restarts the listing because Drive no longer accepts the token of the next page (it is valid
    /// for hours only). The recorded pages stay.
    #[must_use]
    pub fn on_token_lost(&self, now: Timestamp) -> Self {
        let (Some(_), Some(listing)) = (self.page_to_list(), self.listing()) else {
            return self.clone();
        };
        let stage = Stage::Listing { token: None };
        let next = Listing {
            stage,
            ..listing.clone()
        };
        self.with_listing(next, 0, now)
    }
}
