//! The way along the pages of a list in Drive. It ends, whatever tokens Drive returns, and a list
//! that did not end is asked for again after a wait that grows.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::labels::labels;
use crate::rate_limit::doubled_millis;
use crate::{Jitter, Timestamp};

/// The most pages in a row without an entry.
const EMPTY_PAGES_MAX: u32 = 10;
/// The most of them with which a walk continues that was stopped because of them.
const MORE_EMPTY_PAGES_MAX: u32 = 3;
/// The number of latest tokens that a walk knows.
const LATEST: usize = 16;
/// The most pages of one walk: a hundred million files, or that many changes.
const PAGES_MAX: u32 = 100_000;
/// The most of them with which a walk continues that was stopped because of them.
const MORE_PAGES_MAX: u32 = 1_000;
/// The wait after the first stop, in milliseconds. It doubles with each further one.
const WAIT_MILLIS: i64 = 10_000;
/// The longest wait, in milliseconds.
const WAIT_MILLIS_MAX: i64 = 300_000;
/// The longest wait for a listing that Drive says is incomplete, in milliseconds: each attempt
/// lists every page again.
const INCOMPLETE_WAIT_MILLIS_MAX: i64 = 3_600_000;

/// A walk along the page tokens of one list.
///
/// It knows the latest tokens, so that a short cycle is found at once. Beyond them it remembers one
/// earlier page, which is replaced whenever the number of pages has doubled: so every cycle is
/// found, of tokens and of entries (R. P. Brent, "An improved Monte Carlo factorization algorithm",
/// 1980), by a state of constant size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PageWalk {
    pages: u32,
    empty_pages: u32,
    /// The hashes of the remembered page: of the token that follows it, and of its entries.
    token: u64,
    entries: u64,
    /// The hashes of the latest tokens, by the number of the page; 0 for none.
    latest: [u64; LATEST],
}

/// A page that names a next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalkedPage<'a> {
    /// The token that the page was requested with; `None` for the first page.
    pub token: Option<&'a str>,
    /// The token of the next page.
    pub next: &'a str,
    /// The hash of its entries ([`entries_hash`]); `None` for a page without any.
    pub entries: Option<u64>,
}

/// The reason why the pages of a list are not read any further for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// A token of the next page was returned before.
    TokenRepeats,
    /// A page with other tokens has the same entries as an earlier one.
    EntriesRepeat,
    /// Too many pages in a row have no entries.
    EmptyPages,
    /// There are more pages than any list has.
    TooManyPages,
    /// Drive refused a token of the next page that it had returned.
    TokenRefused,
    /// Drive says that the listing is incomplete.
    Incomplete,
}

/// A stop: the list is read again later, from the last page that made progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stop {
    /// The reason.
    pub reason: StopReason,
    /// The time of the first stop since the list was last read to its end.
    pub since: Timestamp,
    /// The number of stops since then.
    pub attempts: u32,
    /// The time of the next attempt.
    pub until: Timestamp,
}

/// Returns the hash of a page's entries; `None` if there are none.
#[must_use]
pub fn entries_hash<T: Hash>(entries: impl IntoIterator<Item = T>) -> Option<u64> {
    let mut entries = entries.into_iter().peekable();
    entries.peek()?;
    let mut hasher = DefaultHasher::new();
    entries.for_each(|entry| entry.hash(&mut hasher));
    Some(hasher.finish())
}

impl PageWalk {
    /// Follows a page to the next one.
    ///
    /// # Errors
    /// The reason why the next page must not be requested.
    pub fn follow(self, page: WalkedPage<'_>) -> Result<Self, StopReason> {
        let next = entries_hash([page.next]).unwrap_or_default();
        let entries = page.entries.unwrap_or_default();
        let remembers = self.pages > 0;
        let known = self.latest.contains(&next) || remembers && self.token == next;
        if page.token == Some(page.next) || known {
            return Err(StopReason::TokenRepeats);
        }
        if remembers && page.entries == Some(self.entries) {
            return Err(StopReason::EntriesRepeat);
        }
        let pages = self.pages + 1;
        let empty_pages = match page.entries {
            Some(_) => 0,
            None => self.empty_pages + 1,
        };
        if empty_pages > EMPTY_PAGES_MAX {
            return Err(StopReason::EmptyPages);
        }
        if pages > PAGES_MAX {
            return Err(StopReason::TooManyPages);
        }
        let (token, entries) = if pages.is_power_of_two() {
            (next, entries)
        } else {
            (self.token, self.entries)
        };
        let mut latest = self.latest;
        latest.rotate_right(1);
        latest[0] = next;
        Ok(Self {
            pages,
            empty_pages,
            token,
            entries,
            latest,
        })
    }

    /// Returns the walk that continues at the same page after a stop.
    #[must_use]
    pub fn after(self, stop: StopReason) -> Self {
        match stop {
            StopReason::TokenRepeats => self,
            StopReason::EmptyPages => Self {
                empty_pages: EMPTY_PAGES_MAX - MORE_EMPTY_PAGES_MAX,
                ..self
            },
            StopReason::TooManyPages => Self {
                pages: PAGES_MAX - MORE_PAGES_MAX,
                ..self
            },
            // The same page is requested again, and it may be right this time.
            StopReason::EntriesRepeat | StopReason::TokenRefused | StopReason::Incomplete => {
                Self::default()
            }
        }
    }

    /// Returns its state as numbers, for storage.
    #[must_use]
    pub fn to_parts(self) -> Vec<u64> {
        let (pages, empty) = (u64::from(self.pages), u64::from(self.empty_pages));
        let latest = self.latest.into_iter().take_while(|token| *token != 0);
        let parts = [pages, empty, self.token, self.entries];
        parts.into_iter().chain(latest).collect()
    }

    /// Restores a state from [`PageWalk::to_parts`].
    #[must_use]
    pub fn from_parts(parts: &[u64]) -> Self {
        let part = |at: usize| parts.get(at).copied().unwrap_or_default();
        let count = |at| u32::try_from(part(at)).unwrap_or(u32::MAX - 1);
        let mut latest = [0; LATEST];
        let stored = parts.iter().skip(4);
        for (place, token) in latest.iter_mut().zip(stored) {
            *place = *token;
        }
        Self {
            pages: count(0),
            empty_pages: count(1),
            token: part(2),
            entries: part(3),
            latest,
        }
    }
}

impl Stop {
    /// Returns the stop that follows `before`, the previous one since the list was last read to its
    /// end. A token that is refused for the first time may have expired and is no reason to wait.
    #[must_use]
    pub fn after(
        before: Option<&Self>,
        reason: StopReason,
        now: Timestamp,
        jitter: Jitter,
    ) -> Self {
        let attempts = before.map_or(1, |before| before.attempts.saturating_add(1));
        let wait_millis_max = match reason {
            StopReason::Incomplete => INCOMPLETE_WAIT_MILLIS_MAX,
            StopReason::TokenRepeats
            | StopReason::EntriesRepeat
            | StopReason::EmptyPages
            | StopReason::TooManyPages
            | StopReason::TokenRefused => WAIT_MILLIS_MAX,
        };
        let wait_millis = if reason == StopReason::TokenRefused && attempts == 1 {
            0
        } else {
            jitter.around(doubled_millis(WAIT_MILLIS, attempts, wait_millis_max))
        };
        Self {
            reason,
            since: before.map_or(now, |before| before.since),
            attempts,
            until: now.plus_millis(wait_millis),
        }
    }
}

labels!(StopReason {
    TokenRepeats = "token_repeats",
    EntriesRepeat = "entries_repeat",
    EmptyPages = "empty_pages",
    TooManyPages = "too_many_pages",
    TokenRefused = "token_refused",
    Incomplete = "incomplete",
});

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks along pages by number: gives the number of calls, and the reason of the stop.
    fn walk(pages: impl Fn(u32) -> (String, Option<u64>)) -> (u32, StopReason) {
        let (mut walk, mut token, mut calls) = (PageWalk::default(), None, 0);
        loop {
            let (next, entries) = pages(calls);
            calls += 1;
            let page = WalkedPage {
                token: token.as_deref(),
                next: &next,
                entries,
            };
            match walk.follow(page) {
                Ok(followed) => walk = PageWalk::from_parts(&followed.to_parts()),
                Err(reason) => return (calls, reason),
            }
            token = Some(next);
        }
    }

    #[test]
    fn a_cycle_of_tokens_ends_wherever_it_begins_and_however_long_it_is() {
        for (before, length) in [(0, 1), (0, 2), (0, 3), (5, 1), (5, 2), (7, 9), (100, 30)] {
            // The entries never repeat: only the tokens tell.
            let (calls, reason) = walk(|page| {
                let token = page.min(before) + page.saturating_sub(before) % length;
                (token.to_string(), Some(u64::from(page)))
            });
            assert_eq!(reason, StopReason::TokenRepeats, "{before} {length}");
            assert!(
                calls <= 3 * (before + length) + 2,
                "{before} {length}: {calls}"
            );
        }
    }

    #[test]
    fn a_token_that_repeats_at_once_costs_two_calls() {
        let same = |_| ("same".to_owned(), None);
        assert_eq!(walk(same), (2, StopReason::TokenRepeats));
        let nine = |page: u32| ((page % 9).to_string(), Some(u64::from(page)));
        assert_eq!(walk(nine), (10, StopReason::TokenRepeats));
    }

    #[test]
    fn a_walk_that_was_stopped_by_a_token_knows_it_again() {
        let step = |token, next| WalkedPage {
            token: Some(token),
            next,
            entries: None,
        };
        let tokens = ["a", "b", "c", "d"];
        let mut walk = PageWalk::default();
        for two in tokens.windows(2) {
            walk = walk.follow(step(two[0], two[1])).unwrap();
        }
        let repeats = walk.follow(step("d", "b"));
        assert_eq!(repeats, Err(StopReason::TokenRepeats));
        let again = walk.after(StopReason::TokenRepeats);
        let repeats = again.follow(step("d", "b"));
        assert_eq!(repeats, Err(StopReason::TokenRepeats));
        assert!(again.follow(step("d", "e")).is_ok(), "Drive is right again");
    }

    #[test]
    fn fresh_tokens_end_without_progress() {
        let empty = |page: u32| (page.to_string(), None);
        assert_eq!(walk(empty), (EMPTY_PAGES_MAX + 1, StopReason::EmptyPages));
        let repeated = |page: u32| (page.to_string(), Some(u64::from(page % 3)));
        let (calls, reason) = walk(repeated);
        assert_eq!(reason, StopReason::EntriesRepeat);
        assert!(calls < 12, "{calls}");
        let endless = |page: u32| (page.to_string(), Some(u64::from(page)));
        assert_eq!(walk(endless), (PAGES_MAX + 1, StopReason::TooManyPages));
    }

    #[test]
    fn a_walk_that_was_stopped_by_empty_pages_meets_fewer_of_them() {
        let mut walk = PageWalk::default().after(StopReason::EmptyPages);
        let mut calls = 0;
        loop {
            let next = calls.to_string();
            let page = WalkedPage {
                token: None,
                next: &next,
                entries: None,
            };
            calls += 1;
            match walk.follow(page) {
                Ok(followed) => walk = followed,
                Err(reason) => break assert_eq!(reason, StopReason::EmptyPages),
            }
        }
        assert_eq!(calls, MORE_EMPTY_PAGES_MAX + 1);
    }

    #[test]
    fn pages_that_make_progress_are_followed_although_some_are_empty() {
        let mut walk = PageWalk::default();
        let mut token = None;
        for page in 0..10_000_u32 {
            let next = page.to_string();
            let entries = page.is_multiple_of(4).then(|| entries_hash([page]));
            let step = WalkedPage {
                token: token.as_deref(),
                next: &next,
                entries: entries.flatten(),
            };
            walk = walk.follow(step).unwrap();
            token = Some(next);
        }
    }

    #[test]
    fn the_wait_doubles_and_the_first_refused_token_waits_for_nothing() {
        let now = Timestamp::from_millis(1_000);
        let waits = |reason, attempts: usize| {
            let mut stop = None;
            let mut waits = Vec::new();
            for _ in 0..attempts {
                let next = Stop::after(stop.as_ref(), reason, now, Jitter(0.5));
                waits.push(next.until.millis_since(now) / 1_000);
                stop = Some(next);
            }
            waits
        };
        let repeats = waits(StopReason::TokenRepeats, 7);
        assert_eq!(repeats, [10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(waits(StopReason::TokenRefused, 3), [0, 20, 40]);
        assert_eq!(waits(StopReason::Incomplete, 60)[59], 3_600);
    }
}
