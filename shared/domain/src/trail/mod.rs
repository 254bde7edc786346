//! The audit trail: acts in chains, each of which names the hash of the one before.

mod erased_persons;
mod named_person;

pub use erased_persons::{
    ErasedPersons, erased_name, erased_principal, is_erased_name, person_name,
};
pub use named_person::names_person;

use std::collections::BTreeMap;

use crate::content::ContentHash;

/// The number of chains of a tenant, and of partitions of a month: acts at the same time rarely
/// meet in one.
pub const CHAINS: u8 = 16;

/// The place of an act: its chain, and its number there, counted from 1 without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActPlace {
    /// The chain, below [`CHAINS`].
    pub chain: u8,
    /// The number.
    pub number: u64,
}

/// What the chain knows of one act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The place of the act.
    pub place: ActPlace,
    /// The hash of the act before it; all zeros for the first act of a chain.
    pub previous: ContentHash,
    /// The hash that is stored with the act.
    pub hash: ContentHash,
    /// The hash of the act as it is stored.
    pub computed: ContentHash,
}

/// A place where a chain does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainBreak {
    /// The act is not the one that its hash was computed of.
    Altered(ActPlace),
    /// The act names another one than the act before it: one of the two was replaced.
    Unlinked(ActPlace),
    /// The acts from this one to the one before `until` are missing.
    Missing {
        /// The first one that is missing.
        from: ActPlace,
        /// The number of the next one that is there.
        until: u64,
    },
    /// The act is there a second time, or after a later one.
    Repeated(ActPlace),
}

/// The check of chains, act by act: those of each chain in their order, from any act on (the ones
/// before it have expired).
#[derive(Debug, Clone, Default)]
pub struct ChainCheck {
    last: BTreeMap<u8, (u64, ContentHash)>,
}

impl ChainCheck {
    /// Returns where the chain does not hold at this act. The check goes on after it, so that each
    /// alteration is reported once.
    pub fn take(&mut self, link: &Link) -> Vec<ChainBreak> {
        let place = link.place;
        let mut breaks = Vec::new();
        if link.hash != link.computed {
            breaks.push(ChainBreak::Altered(place));
        }
        let last = self.last.get(&place.chain).copied();
        let previous = match last {
            Some((number, _)) if place.number <= number => {
                breaks.push(ChainBreak::Repeated(place));
                return breaks;
            }
            Some((number, hash)) if place.number == number + 1 => Some(hash),
            Some((number, _)) => {
                let from = ActPlace {
                    number: number + 1,
                    ..place
                };
                let until = place.number;
                breaks.push(ChainBreak::Missing { from, until });
                None
            }
            None => (place.number == 1).then_some(START),
        };
        if previous.is_some_and(|previous| previous != link.previous) {
            breaks.push(ChainBreak::Unlinked(place));
        }
        self.last.insert(place.chain, (place.number, link.hash));
        breaks
    }

    /// Returns where a chain ends before the act that is known to be its last one.
    #[must_use]
    pub fn end(&self, last: ActPlace, hash: &ContentHash) -> Option<ChainBreak> {
        match self.last.get(&last.chain) {
            Some((number, found)) if *number == last.number && found == hash => None,
            Some((number, _)) if *number >= last.number => Some(ChainBreak::Unlinked(last)),
            Some((number, _)) => Some(ChainBreak::Missing {
                from: ActPlace {
                    number: number + 1,
                    ..last
                },
                until: last.number + 1,
            }),
            // All of its acts may have expired.
            None => None,
        }
    }
}

/// What the first act of a chain names as the hash of the act before it.
pub const START: ContentHash = ContentHash::from_bytes([0; 32]);

/// Returns the person that a text of an act names, if it does: all of it, or what follows
/// `permissions.`, without the kind of principal. A text with an `@` is an address.
#[must_use]
pub fn person_in(text: &str) -> Option<(&str, &str)> {
    let (before, principal) = match text.strip_prefix("permissions.") {
        Some(principal) => ("permissions.", principal),
        None => ("", text),
    };
    let (kind, name) = match principal.split_once(':') {
        Some((kind @ ("user" | "group"), name)) => (Some(kind), name),
        Some(_) | None => (None, principal),
    };
    let is_person = name.contains('@') || (kind.is_some() && !name.is_empty());
    is_person.then_some((before, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(of: u8) -> ContentHash {
        ContentHash::from_bytes([of; 32])
    }

    fn link(chain: u8, number: u64) -> Link {
        let own = |number: u64| match number {
            0 => START,
            n => hash(u8::try_from(n).unwrap() + 100 * chain),
        };
        Link {
            place: ActPlace { chain, number },
            previous: own(number - 1),
            hash: own(number),
            computed: own(number),
        }
    }

    fn check(links: &[Link]) -> Vec<ChainBreak> {
        let mut check = ChainCheck::default();
        links.iter().flat_map(|link| check.take(link)).collect()
    }

    #[test]
    fn chains_hold_in_any_order_of_chains_and_from_any_act_on() {
        let whole = [
            link(0, 1),
            link(1, 1),
            link(1, 2),
            link(0, 2),
            link(0, 3),
            link(1, 3),
        ];
        assert_eq!(check(&whole), []);
        for from in 0..whole.len() {
            assert_eq!(check(&whole[from..]), [], "{from}");
        }
    }

    #[test]
    fn every_single_alteration_of_a_chain_is_found() {
        let whole: Vec<Link> = (1..=5).map(|number| link(0, number)).collect();
        let place = |number| ActPlace { chain: 0, number };
        for at in 0..5 {
            let number = at as u64 + 1;
            let mut altered = whole.clone();
            altered[at].computed = hash(99);
            assert_eq!(check(&altered), [ChainBreak::Altered(place(number))]);

            // Altered with its hash: the next one names another, or the chain's known end does.
            let mut replaced = whole.clone();
            (replaced[at].hash, replaced[at].computed) = (hash(99), hash(99));
            let mut checking = ChainCheck::default();
            let breaks: Vec<_> = replaced.iter().flat_map(|l| checking.take(l)).collect();
            match at {
                4 => {
                    assert_eq!(breaks, []);
                    let end = checking.end(place(5), &whole[4].hash);
                    assert_eq!(end, Some(ChainBreak::Unlinked(place(5))));
                }
                _ => assert_eq!(breaks, [ChainBreak::Unlinked(place(number + 1))]),
            }

            let mut missing = whole.clone();
            missing.remove(at);
            let (from, until) = (place(number), number + 1);
            match at {
                // What is before the first act that is there may have expired.
                0 => assert_eq!(check(&missing), []),
                4 => {
                    let mut checking = ChainCheck::default();
                    assert!(missing.iter().all(|link| checking.take(link).is_empty()));
                    let end = checking.end(place(5), &whole[4].hash);
                    assert_eq!(end, Some(ChainBreak::Missing { from, until: 6 }));
                }
                _ => assert_eq!(check(&missing), [ChainBreak::Missing { from, until }]),
            }

            let mut repeated = whole.clone();
            repeated.insert(at + 1, whole[at]);
            assert_eq!(check(&repeated), [ChainBreak::Repeated(place(number))]);
        }
    }

    #[test]
    fn a_first_act_that_names_another_is_unlinked() {
        let mut first = link(0, 1);
        first.previous = hash(9);
        assert_eq!(check(&[first]), [ChainBreak::Unlinked(first.place)]);
    }

    #[test]
    fn the_known_end_of_a_chain_is_compared() {
        let mut checking = ChainCheck::default();
        let last = link(0, 2);
        assert_eq!(
            checking.end(last.place, &last.hash),
            None,
            "all have expired"
        );
        assert!(checking.take(&last).is_empty());
        assert_eq!(checking.end(last.place, &last.hash), None);
    }

    #[test]
    fn persons_are_found_in_addresses_and_principals() {
        for (text, found) in [
            ("ann@example.com", Some(("", "ann@example.com"))),
            ("user:ann@example.com", Some(("", "ann@example.com"))),
            ("group:board", Some(("", "board"))),
            (
                "permissions.user:ann@example.com",
                Some(("permissions.", "ann@example.com")),
            ),
            ("permissions.anyone", None),
            ("permissions.domain:example.com", None),
            ("user:", None),
            ("name", None),
            ("", None),
        ] {
            assert_eq!(person_in(text), found, "{text}");
        }
    }
}
