//! Operations that make no progress.

use super::Operation;
use crate::Timestamp;

/// The time after which an unprocessed operation counts as forgotten, in
/// milliseconds.
const FORGOTTEN_MILLIS: i64 = 10 * 60_000;
/// The time without arrivals after which a listing counts as stuck, in milliseconds.
const STUCK_MILLIS: i64 = 15 * 60_000;

/// The reason an operation makes no progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stall {
    /// Its log does not wait for it, so its next page is never listed.
    Abandoned,
    /// No executor processes it.
    Unattended(&'static str),
    /// No listed file has arrived for a long time.
    Stuck,
}

impl Operation {
    /// Returns the reason why it makes no progress, if it makes none. `awaited` says whether its
    /// log waits for it, `indexed` whether the due index has it where it belongs.
    #[must_use]
    pub fn stall(&self, awaited: bool, indexed: bool, now: Timestamp) -> Option<Stall> {
        if self.has_ended() {
            return None;
        }
        if self.blocks_log() {
            return (!awaited).then_some(Stall::Abandoned);
        }
        let Some(due_at) = self.due_at else {
            return Some(Stall::Unattended("never due"));
        };
        if !indexed {
            return Some(Stall::Unattended("missing from the due index"));
        }
        if now.millis_since(due_at) > FORGOTTEN_MILLIS {
            return Some(Stall::Unattended("not processed since it was due"));
        }
        let (_, since) = self.page_awaited()?;
        (now.millis_since(since) > STUCK_MILLIS).then_some(Stall::Stuck)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ListedPage, Run, SyncKind};
    use super::*;
    use crate::Jitter;
    use crate::operation::search::operation;

    fn minutes(minutes: i64) -> Timestamp {
        Timestamp::from_millis(minutes * 60_000)
    }

    #[test]
    fn a_listing_is_abandoned_unless_its_log_waits_for_it() {
        let listing = operation(Run::sync(SyncKind::Resync), minutes(100));
        let now = minutes(101);
        assert_eq!(listing.stall(false, true, now), Some(Stall::Abandoned));
        assert_eq!(listing.stall(true, true, now), None);
        assert_eq!(listing.failed("left", now).stall(false, true, now), None);
    }

    #[test]
    fn what_no_index_finds_or_was_due_for_long_is_unattended() {
        let audit = operation(Run::audit(false), minutes(101));
        let unattended = |audit: &Operation, indexed, now| {
            matches!(audit.stall(false, indexed, now), Some(Stall::Unattended(_)))
        };
        assert!(!unattended(&audit, true, minutes(111)));
        assert!(unattended(&audit, true, minutes(112)));
        assert!(unattended(&audit, false, minutes(101)));
        let never = Operation {
            due_at: None,
            ..audit
        };
        assert!(unattended(&never, true, minutes(101)));
    }

    #[test]
    fn a_listing_of_which_nothing_more_arrives_is_stuck() {
        let listing = operation(Run::sync(SyncKind::Initial), minutes(100));
        let listed = ["2", ""].iter().fold(listing, |listing, next| {
            let page = ListedPage {
                files: 1,
                entries: None,
                next: Some(*next).filter(|next| !next.is_empty()),
                incomplete: false,
            };
            listing.on_page(&page, minutes(100), Jitter(0.5))
        });
        let one = listed.on_arrival(1, 1, 0, minutes(100)).due(minutes(140));
        let now = minutes(116);
        assert_eq!(one.stall(false, true, now), Some(Stall::Stuck));
        let progressing = listed.on_arrival(1, 1, 0, minutes(101)).due(minutes(140));
        assert_eq!(progressing.stall(false, true, now), None);
        let whole = one.on_arrival(1, 1, 0, minutes(100)).due(minutes(140));
        assert_eq!(whole.stall(false, true, now), None);
    }
}
