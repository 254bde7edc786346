//! The actions of people and programs in a schedule, drawn by seed, as data, so that a failing
//! schedule can be shrunk.

use std::time::Duration;

use fastrand::Rng;

use super::troubles::{self, Trouble};
use crate::support::sim::FaultRates;

/// The files of a world, without folders.
pub const FILES: usize = 4;
/// The folders of a world.
pub const FOLDERS: usize = 2;
/// The steps of a schedule.
const STEPS: usize = 30;
/// The pages of changes and of files that a schedule may ask for, and each of its steps.
const LISTINGS_MAX: u64 = 1_500;
const LISTINGS_A_STEP: u64 = 4;
/// The jumps of the clock, in seconds: around the queues' five minutes of deduplication, past the
/// visibility timeouts, and past a day.
const JUMPS: [u64; 8] = [0, 31, 91, 181, 299, 301, 361, 86_400];

/// The actions of a schedule, and their times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    pub seed: u64,
    pub fault_rates: FaultRates,
    /// Whether every text is written once, so that each can be traced.
    pub unique: bool,
    pub steps: Vec<Step>,
}

/// An action, some time after the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub number: usize,
    pub wait: Duration,
    pub act: Action,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A person changes a file in Drive.
    Person {
        name: &'static str,
        file: usize,
        change: Change,
    },
    /// A program changes a file at the API, on condition of the ETag that it read, or
    /// unconditionally.
    Edit {
        file: usize,
        change: Change,
        careful: bool,
    },
    /// A person resolves one of the open conflicts, or two people resolve it differently at once.
    Resolve {
        which: usize,
        choice: Choice,
        other: Option<Choice>,
    },
    /// A program requests that the log is read.
    Sync,
    /// The sweep runs off schedule.
    Sweep,
    /// The clocks jump forward.
    Jump(Duration),
    /// New processes take over.
    Redeploy,
    /// Drive forgets the page tokens that it issued.
    LoseTokens,
    /// Drive does something wrong for so many seconds.
    Trouble(Trouble, u32),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Name,
    Description,
    Star(bool),
    Trash(bool),
    Property(&'static str),
    Unset(&'static str),
    Move(usize),
    Delete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    App,
    Drive,
    Base,
    Value,
}

impl Schedule {
    /// Returns the schedule of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let fault_rates = match rng.u8(0..5) {
            0 => FaultRates::NONE,
            1 => FaultRates {
                crash: 40,
                ..FaultRates::NONE
            },
            2 => FaultRates {
                answer_lost: 100,
                not_done: 30,
                ..FaultRates::NONE
            },
            _ => FaultRates {
                answer_lost: 12,
                not_done: 10,
                refused: 15,
                crash: 8,
            },
        };
        let unique = rng.u8(0..5) > 0;
        // Few files, so that edits collide.
        let files = [1, 1, 2, FILES][rng.usize(0..4)];
        // In some schedules all edits are of the same field, in quick succession.
        let hot = rng.bool();
        let steps = (0..STEPS).map(|number| Step {
            number,
            wait: wait(&mut rng, hot),
            act: act(&mut rng, files, hot),
        });
        let mut steps: Vec<Step> = steps.collect();
        // Drawn last, so that a schedule without troubles is the same as ever.
        if rng.bool() {
            trouble(&mut rng, &mut steps);
        }
        Self {
            seed,
            fault_rates,
            unique,
            steps,
        }
    }

    /// Returns a schedule with this kind of trouble alone.
    pub fn troubled(seed: u64, kind: Trouble) -> Self {
        let mut schedule = Self::draw(seed);
        schedule
            .steps
            .retain(|step| !matches!(step.act, Action::Trouble(..)));
        schedule.fault_rates = FaultRates::NONE;
        for (number, place) in [2, 9, 16].into_iter().enumerate() {
            let act = Action::Trouble(kind, 300);
            let (number, wait) = (STEPS + number, Duration::from_secs(1));
            schedule.steps.insert(place, Step { number, wait, act });
        }
        schedule
    }

    /// Returns hours of edits, a minute apart, with the same few faults of the network throughout;
    /// `troubled` adds one trouble after another, and changes nothing else.
    pub fn long(seed: u64, hours: u64, troubled: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut steps: Vec<Step> = (0..usize::try_from(hours * 60).unwrap())
            .map(|number| Step {
                number,
                wait: Duration::from_secs(rng.u64(20..100)),
                act: lasting(&mut rng),
            })
            .collect();
        if troubled {
            let edits = steps.len();
            for number in 0..edits / STEPS {
                let (kind, seconds) = troubles::draw(&mut rng);
                let act = Action::Trouble(kind, seconds);
                let place = number * (STEPS + 1) + rng.usize(0..STEPS);
                let (number, wait) = (edits + number, Duration::ZERO);
                steps.insert(place, Step { number, wait, act });
            }
        }
        Self {
            seed,
            fault_rates: FaultRates {
                answer_lost: 1,
                not_done: 1,
                refused: 2,
                crash: 1,
            },
            unique: true,
            steps,
        }
    }

    /// Returns the most pages of changes and of files that the product may ask for. A client that
    /// follows a page to itself asks for several a second.
    pub fn listings_max(&self) -> u64 {
        LISTINGS_MAX + LISTINGS_A_STEP * u64::try_from(self.steps.len()).unwrap()
    }

    /// Returns whether Drive does anything wrong.
    pub fn is_troubled(&self) -> bool {
        let mut acts = self.steps.iter().map(|step| &step.act);
        acts.any(|act| matches!(act, Action::Trouble(..)))
    }
}

/// Draws an action of a long run, whose files are there at its end.
fn lasting(rng: &mut Rng) -> Action {
    loop {
        let act = act(rng, FILES, false);
        match &act {
            Action::Person { change, .. } | Action::Edit { change, .. } => match change {
                Change::Delete | Change::Trash(_) => {}
                Change::Name
                | Change::Description
                | Change::Star(_)
                | Change::Property(_)
                | Change::Unset(_)
                | Change::Move(_) => return act,
            },
            Action::Resolve { .. } | Action::Sync | Action::Redeploy => return act,
            Action::Sweep | Action::Jump(_) | Action::LoseTokens | Action::Trouble(..) => {}
        }
    }
}

/// Adds a few troubles at any place.
fn trouble(rng: &mut Rng, steps: &mut Vec<Step>) {
    for number in 0..rng.usize(1..=4) {
        let (kind, seconds) = troubles::draw(rng);
        let act = Action::Trouble(kind, seconds);
        let (number, wait) = (STEPS + number, Duration::from_millis(rng.u64(0..3_000)));
        let place = rng.usize(0..steps.len());
        steps.insert(place, Step { number, wait, act });
    }
}

impl Schedule {
    /// Returns a schedule in which the responses to our writes are often lost, and a person writes
    /// the same field right after them.
    pub fn unanswered(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut steps = Vec::new();
        let mut step = |wait, act| {
            let number = steps.len();
            let wait = Duration::from_millis(wait);
            steps.push(Step { number, wait, act });
        };
        for round in 0..10 {
            let file = round % FILES;
            let change = Change::Name;
            step(
                rng.u64(0..500),
                Action::Edit {
                    file,
                    change: change.clone(),
                    careful: false,
                },
            );
            step(
                rng.u64(1_000..2_000),
                Action::Person {
                    name: "alice",
                    file,
                    change,
                },
            );
            step(
                rng.u64(0..2_000),
                Action::Resolve {
                    which: 0,
                    choice: Choice::App,
                    other: None,
                },
            );
        }
        Self {
            seed,
            fault_rates: FaultRates {
                answer_lost: 250,
                ..FaultRates::NONE
            },
            unique: true,
            steps,
        }
    }
}

/// An edit is pushed after a second, and a change is read a second after its notification: most
/// steps follow at about that distance.
fn wait(rng: &mut Rng, hot: bool) -> Duration {
    Duration::from_millis(match rng.u8(0..10) {
        0..=1 => rng.u64(0..30),
        2..=5 => rng.u64(0..500),
        6..=7 => rng.u64(800..1_600),
        8 => rng.u64(0..5_000),
        _ if hot => rng.u64(1_000..2_000),
        _ => rng.u64(0..40_000),
    })
}

fn act(rng: &mut Rng, files: usize, hot: bool) -> Action {
    let file = rng.usize(0..files);
    let change = if hot && rng.u8(0..8) > 0 {
        Change::Name
    } else {
        change(rng)
    };
    match rng.u8(0..100) {
        0..=34 => Action::Person {
            name: ["alice", "bob"][rng.usize(0..2)],
            file,
            change,
        },
        35..=69 => Action::Edit {
            file,
            change,
            careful: rng.bool(),
        },
        70..=83 => Action::Resolve {
            which: rng.usize(0..8),
            choice: choice(rng),
            other: (rng.u8(0..3) == 0).then(|| choice(rng)),
        },
        84..=88 => Action::Sync,
        89..=91 => Action::Sweep,
        92..=95 => Action::Jump(Duration::from_secs(JUMPS[rng.usize(0..JUMPS.len())])),
        96..=98 => Action::Redeploy,
        _ => Action::LoseTokens,
    }
}

fn change(rng: &mut Rng) -> Change {
    let key = ["stage", "owner"][rng.usize(0..2)];
    match rng.u8(0..20) {
        0..=6 => Change::Name,
        7..=9 => Change::Description,
        10..=13 => Change::Property(key),
        14 => Change::Unset(key),
        15 => Change::Star(rng.bool()),
        16 => Change::Trash(rng.bool()),
        17..=18 => Change::Move(rng.usize(0..=FOLDERS)),
        _ => Change::Delete,
    }
}

fn choice(rng: &mut Rng) -> Choice {
    [Choice::App, Choice::Drive, Choice::Base, Choice::Value][rng.usize(0..4)]
}
