//! The part that syncs and audits share: every file of a log is listed, page by page, then listed a
//! second time in another order, and then compared.
//!
//! A listing can be incomplete although Drive doesn't say so. Therefore a run isn't done after one
//! listing: what the second one shows and the stored records don't have, or have in an earlier
//! version, and what they have and it doesn't show, are candidates, and Drive is asked about each
//! by its id.

use super::{
    Comparison, ConnectionFacts, End, Operation, PageWalk, Run, Stop, StopReason, WalkedPage, Work,
};
use crate::{Jitter, Timestamp};

/// A listing of the files of a log, and the comparison of the stored records with it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Listing {
    /// Its state.
    pub stage: Stage,
    /// The number of recorded pages of the first listing.
    pub pages: u32,
    /// The number of files on them.
    pub listed: u64,
    /// The time at which a page was last recorded, or found to have arrived.
    pub progressed_at: Option<Timestamp>,
    /// The second listing, once it has begun.
    pub second_look: Option<SecondLook>,
    /// The way along the pages that are being listed.
    pub walk: PageWalk,
    /// Drive said of a page of this walk that the listing is incomplete.
    pub incomplete: bool,
    /// The last stop of the listing, until it has reached its end.
    pub stop: Option<Stop>,
    /// The result of the comparison.
    pub comparison: Comparison,
}

/// The second listing of the files of a log: of their ids, in another order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SecondLook {
    /// The number of recorded pages. They follow those of the first listing.
    pub pages: u32,
    /// The number of files on them.
    pub listed: u64,
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
    /// The pages of the second listing are listed.
    SecondLook {
        /// Drive's token of the next page; `None` for the first.
        token: Option<String>,
    },
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

/// A page of a listing as Drive returned it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedPage<'a> {
    /// The number of files on it.
    pub files: u64,
    /// The hash of their ids ([`super::entries_hash`]); `None` for a page without files.
    pub entries: Option<u64>,
    /// The token of the next page; `None` if Drive says that it is the last.
    pub next: Option<&'a str>,
    /// Drive says that the listing is incomplete (`incompleteSearch`).
    pub incomplete: bool,
}

impl Listing {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Listing { token: None },
            pages: 0,
            listed: 0,
            progressed_at: None,
            second_look: None,
            walk: PageWalk::default(),
            incomplete: false,
            stop: None,
            comparison: Comparison::default(),
        }
    }

    /// Returns the listing with its second look about to begin.
    pub(super) fn looked_at_again(&self) -> Self {
        Self {
            stage: Stage::SecondLook { token: None },
            second_look: Some(SecondLook::default()),
            ..self.clone()
        }
    }

    pub(super) fn end(&self) -> Option<&End> {
        match &self.stage {
            Stage::Ended(end) => Some(end),
            Stage::Listing { .. }
            | Stage::Listed
            | Stage::SecondLook { .. }
            | Stage::Comparing { .. }
            | Stage::Verifying { .. }
            | Stage::AwaitingConfirmation { .. }
            | Stage::Repairing { .. } => None,
        }
    }

    /// Returns the token of the next page, if pages are being listed.
    fn token(&self) -> Option<Option<&str>> {
        match &self.stage {
            Stage::Listing { token } | Stage::SecondLook { token } => Some(token.as_deref()),
            Stage::Listed
            | Stage::Comparing { .. }
            | Stage::Verifying { .. }
            | Stage::AwaitingConfirmation { .. }
            | Stage::Repairing { .. }
            | Stage::Ended(_) => None,
        }
    }

    /// Returns whether the first listing has not reached its end.
    pub(super) fn is_first(&self) -> bool {
        matches!(self.stage, Stage::Listing { .. })
    }

    /// Returns the same stage at another page.
    fn at(&self, token: Option<&str>) -> Stage {
        let token = token.map(str::to_owned);
        if self.is_first() {
            Stage::Listing { token }
        } else {
            Stage::SecondLook { token }
        }
    }

    /// Returns the listing, stopped for now: it continues with the page at `token`, or anew.
    fn stopped(
        &self,
        token: Option<&str>,
        reason: StopReason,
        now: Timestamp,
        jitter: Jitter,
    ) -> Self {
        Self {
            stage: self.at(token),
            walk: token.map_or_else(PageWalk::default, |_| self.walk.after(reason)),
            incomplete: self.incomplete && token.is_some(),
            stop: Some(Stop::after(self.stop.as_ref(), reason, now, jitter)),
            ..self.clone()
        }
    }

    fn with_page(&self, page: &ListedPage<'_>, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.progressed_at = Some(now);
        match &mut next.second_look {
            None => {
                next.pages += 1;
                next.listed += page.files;
            }
            Some(second) => {
                second.pages += 1;
                second.listed += page.files;
            }
        }
        next
    }
}

impl Operation {
    pub(super) fn listing(&self) -> Option<&Listing> {
        match &self.run {
            Run::Sync(sync) => Some(&sync.listing),
            Run::Audit(audit) => Some(&audit.listing),
            Run::LeaveDrive(_)
            | Run::ContentScan(_)
            | Run::Erase(_)
            | Run::Export(_)
            | Run::ErasePerson(_)
            | Run::EraseTenant(_)
            | Run::Restore(_) => None,
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
            Run::LeaveDrive(_)
            | Run::ContentScan(_)
            | Run::Erase(_)
            | Run::Export(_)
            | Run::ErasePerson(_)
            | Run::EraseTenant(_)
            | Run::Restore(_) => {}
        }
        self.moved(run, wait_millis, now)
    }

    /// Returns the work of the second listing.
    pub(super) fn second_look_work(
        &self,
        token: Option<&String>,
        facts: &ConnectionFacts,
        now: Timestamp,
    ) -> Work {
        if !facts.active {
            return self.inactive(now);
        }
        Work::SecondLook(token.cloned())
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

    /// Returns the number of recorded pages: the number of the next one, counted from 0.
    #[must_use]
    pub fn pages_recorded(&self) -> u32 {
        self.listing().map_or(0, |listing| {
            let second = listing.second_look.map_or(0, |second| second.pages);
            listing.pages + second
        })
    }

    /// Returns the numbers of the pages that the stored records are compared with: from the first
    /// one, counted from 0, and how many. They are those of the second listing, if there is one.
    #[must_use]
    pub fn pages_compared(&self) -> (u32, u32) {
        self.listing().map_or((0, 0), |listing| {
            let first = (0, listing.pages);
            let second = listing
                .second_look
                .map(|second| (listing.pages, second.pages));
            second.unwrap_or(first)
        })
    }

    /// Returns the last stop of its listing, until that has reached its end.
    #[must_use]
    pub fn stop(&self) -> Option<&Stop> {
        self.listing()?.stop.as_ref()
    }

    /// Returns the time before which Drive must not be asked for the next page.
    #[must_use]
    pub fn stopped_until(&self, now: Timestamp) -> Option<Timestamp> {
        let until = self.stop().map(|stop| stop.until);
        until.filter(|until| *until > now)
    }

    /// Records a page, whose files are queued or compared. Without a next one it was the last: a
    /// log that waits is released. A listing that Drive says is incomplete begins anew, and a page
    /// whose next one must not be followed is not recorded; both wait.
    #[must_use]
    pub fn on_page(&self, page: &ListedPage<'_>, now: Timestamp, jitter: Jitter) -> Self {
        let (Some(token), Some(listing)) = (self.page_to_list(), self.listing()) else {
            return self.clone();
        };
        let incomplete = listing.incomplete || page.incomplete;
        let next = match page.next {
            Some(next) => {
                let step = WalkedPage {
                    token,
                    next,
                    entries: page.entries,
                };
                match listing.walk.follow(step) {
                    Ok(walk) => Listing {
                        stage: listing.at(Some(next)),
                        walk,
                        incomplete,
                        ..listing.with_page(page, now)
                    },
                    Err(reason) => listing.stopped(token, reason, now, jitter),
                }
            }
            None if incomplete => {
                let recorded = listing.with_page(page, now);
                recorded.stopped(None, StopReason::Incomplete, now, jitter)
            }
            None => Listing {
                stage: if listing.is_first() {
                    Stage::Listed
                } else {
                    Stage::Comparing { position: None }
                },
                walk: PageWalk::default(),
                stop: None,
                ..listing.with_page(page, now)
            },
        };
        self.waiting(next, now)
    }

    /// Begins the listing anew because Drive no longer accepts the token of the next page (it is
    /// valid for hours only). The recorded pages stay.
    #[must_use]
    pub fn on_token_lost(&self, now: Timestamp, jitter: Jitter) -> Self {
        let (Some(_), Some(listing)) = (self.page_to_list(), self.listing()) else {
            return self.clone();
        };
        let restarted = listing.stopped(None, StopReason::TokenRefused, now, jitter);
        self.waiting(restarted, now)
    }

    /// Returns the operation with another listing, due when it may be continued.
    fn waiting(&self, next: Listing, now: Timestamp) -> Self {
        let until = next.stop.as_ref().map(|stop| stop.until);
        let wait_millis = until.map_or(0, |until| until.millis_since(now).max(0));
        self.with_listing(next, wait_millis, now)
    }
}
