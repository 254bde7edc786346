//! An exhaustive search of one field: every interleaving of people, the application, late and
//! skipped snapshots, pushes, lost answers, crashes, refusals and decisions, within a budget of
//! each, over the production code of [`crate::merge`].
//!
//! Every state at rest is judged by what was intended and by Drive's history (`oracle`), and the
//! search must catch mutants of the rules (`mutants`). The oracle accepts three things, since no
//! rule can distinguish them: an edit that returns to the base with nothing in flight withdraws the
//! one before; a late snapshot equal to the application's value is agreement; and a person who
//! writes the very value that we have in flight counts as us.

mod existence;
mod model;
mod mutants;
mod oracle;

use std::collections::hash_map::{Entry, HashMap};
use std::fmt::Write as _;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use model::{Budget, Move, OURS, Rules, World};
use oracle::{Violation, judge};

/// The result of a search.
struct Found {
    states: usize,
    at_rest: usize,
    /// The first violation of each kind, with its trace.
    violations: Vec<(Violation, String)>,
}

/// FNV-1a. The search is bound by hashing and has no untrusted input.
#[derive(Default)]
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }
}

struct Search {
    /// Every state, in the order of discovery.
    worlds: Vec<Rc<World>>,
    index: HashMap<Rc<World>, u32, BuildHasherDefault<Fnv>>,
    /// The first way in which each state was reached.
    reached: Vec<(u32, Move)>,
}

impl Search {
    fn run(rules: &Rules, left: Budget, workers: usize) -> Found {
        let start = Rc::new(World::new(left, workers));
        let mut search = Self {
            worlds: vec![start.clone()],
            index: HashMap::from_iter([(start, 0)]),
            reached: vec![(0, Move::Start)],
        };
        let mut found = Found {
            states: 0,
            at_rest: 0,
            violations: Vec::new(),
        };
        // The list of all states is the queue of a breadth-first search, so the first trace is a
        // shortest one.
        while let Some(world) = search.worlds.get(found.states).cloned() {
            let violation = search.expand(&world, found.states, rules);
            found.at_rest += usize::from(world.at_rest());
            if let Some(kind) = violation
                && found.violations.iter().all(|(known, _)| *known != kind)
            {
                let trace = search.trace(found.states);
                found.violations.push((kind, trace));
            }
            found.states += 1;
        }
        found
    }

    fn expand(&mut self, world: &World, from: usize, rules: &Rules) -> Option<Violation> {
        let mut stuck = true;
        for (transition, next) in world.next(rules) {
            stuck = stuck && next == *world;
            let number = u32::try_from(self.worlds.len()).unwrap();
            let next = Rc::new(next);
            if let Entry::Vacant(vacant) = self.index.entry(next.clone()) {
                vacant.insert(number);
                self.worlds.push(next);
                self.reached
                    .push((u32::try_from(from).unwrap(), transition));
            }
        }
        if world.at_rest() {
            let start = &self.worlds[0];
            let heard = world.workers.len() == 1 && world.left.crashes == start.left.crashes;
            judge(world, heard)
        } else {
            stuck.then_some(Violation::Stuck)
        }
    }

    fn trace(&self, mut at: usize) -> String {
        let mut path = Vec::new();
        while at != 0 {
            let (from, transition) = self.reached[at];
            path.push((transition, self.worlds[at].clone()));
            at = from as usize;
        }
        let mut out = String::new();
        for (transition, world) in path.iter().rev() {
            let drive = world.version();
            let _ = writeln!(
                out,
                "  {:<44} drive v{drive}={} seen v{} {}",
                format!("{transition:?}"),
                world.current(),
                world.seen,
                sides(world),
            );
        }
        out
    }
}

fn sides(world: &World) -> String {
    let sides = &world.sides;
    let sent = sides
        .sent
        .iter()
        .map(|s| format!("{}@v{}", s.value, s.against));
    let conflict = sides.conflict.as_ref().map_or(String::new(), |conflict| {
        let unsure = if conflict.unsure { " (unsure)" } else { "" };
        format!(" conflict={}{unsure}", conflict.drive)
    });
    let sent = sent.collect::<Vec<_>>().join(" ");
    format!(
        "base={} app={}{conflict} sent=[{sent}]",
        sides.base, sides.app
    )
}

/// Creates a budget: people, application edits, crashes, refusals, decisions.
const fn budget(people: u8, edits: u8, crashes: u8, refusals: u8, decisions: u8) -> Budget {
    Budget {
        people,
        edits,
        crashes,
        refusals,
        decisions,
    }
}

/// Searches the production rules. Fails on any violation, and on a search of too few states.
#[track_caller]
fn assert_holds(left: Budget, workers: usize, states_at_least: usize) {
    let started = std::time::Instant::now();
    let found = Search::run(&OURS, left, workers);
    for (kind, trace) in &found.violations {
        eprintln!("{kind:?}\n{trace}");
    }
    eprintln!(
        "{} states, {} at rest, {:.1?}",
        found.states,
        found.at_rest,
        started.elapsed()
    );
    assert!(
        found.violations.is_empty(),
        "the rules break a promise: see the traces above"
    );
    assert!(
        found.states >= states_at_least,
        "only {} states were seen",
        found.states
    );
    assert!(found.at_rest > 0, "no state was ever assess_in_flight");
}

#[test]
fn two_people_and_two_edits_with_a_crash_and_a_decision() {
    assert_holds(budget(2, 2, 1, 0, 1), 1, 275_738);
}

#[test]
fn one_person_and_three_edits_with_a_crash_and_a_decision() {
    assert_holds(budget(1, 3, 1, 0, 1), 1, 177_277);
}

#[test]
fn two_people_and_two_edits_with_a_definite_refusal() {
    assert_holds(budget(2, 2, 0, 1, 1), 1, 101_504);
}

#[test]
fn two_workers_with_a_crash() {
    assert_holds(budget(1, 2, 1, 0, 0), 2, 107_155);
}

#[test]
fn two_workers_with_a_refusal_and_a_decision() {
    assert_holds(budget(1, 2, 0, 1, 1), 2, 63_689);
}
