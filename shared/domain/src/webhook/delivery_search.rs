//! An exhaustive search: two workers deliver the logs of two connections to one endpoint, with
//! crashes, answers of every kind, lost answers, leases that run out, expiry, and what people do,
//! in every order.

mod searches;
mod workers;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::{
    Answer, Batch, Changes, Claim, Course, DisabledReason, Duty, Endpoint, EndpointScope,
    EndpointState, EndpointUrl, LeaseToken, Maker, OwedTest, Place, Reachable, Rest, SigningSecret,
    Telling, Told, Trouble, batch, misses_events, next_connection,
};
use crate::event::{Epoch, EventCursor, EventFilter};
use crate::fixture::NOW;
use crate::live::Examined;
use crate::rate_limit::Jitter;
use crate::{ConnectionId, EndpointId, Role, Timestamp};

/// The rule that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// The place moves before the answer is there.
    PlaceMovesFirst,
    /// The place moves after a failure.
    FailureSkipped,
    /// The place moves whatever it is.
    PlaceUnconditional,
    /// What expired is passed over.
    GapIgnored,
    /// A new place begins with whatever the log still has.
    ExpiredBeginning,
    /// An endpoint is disabled, and no log says so.
    DisabledSilently,
    /// The logs are said to tell it before they do.
    ToldFirst,
    /// A worker delivers whether another one does or not.
    LeaseIgnored,
    /// An answer counts although a person has changed the endpoint.
    LateAnswerCounts,
    /// A further attempt contains what came meanwhile.
    BatchGrows,
    /// A connection in trouble is left for another one.
    TroubleLeft,
    /// A test counts as attempted before it is sent.
    TestSettledFirst,
    /// A worker stores the secret that it signed with.
    RotationUndone,
}

/// One event takes so much that a delivery has two.
const EVENT_BYTES: usize = 9_000;

/// What may still happen to a world: the search is as large as these allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Budget {
    appends: [u8; 2],
    crashes: u8,
    refusals: u8,
    gone: u8,
    lost_answers: u8,
    sweeps: u8,
    expiries: u8,
    replays: u8,
    changes: u8,
    wakes: u8,
    tests: u8,
    rotations: u8,
}

/// A delivery on its way: from the place that was read up to its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Sent {
    at: usize,
    place: Place,
    /// The number of its first event.
    first: u64,
    head: Option<EventCursor>,
    /// It tells that events are missing.
    notice: bool,
    under: Under,
}

/// What a worker posts under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Under {
    /// When the lease ends.
    until: Timestamp,
    /// How often people had changed the endpoint.
    changes: u8,
    /// The generation of the secret.
    generation: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Off,
    Claimed,
    Posting(Sent),
    Answered(Sent, Answer),
    Moved(Sent, Answer),
    Testing(OwedTest, Under),
    Telling(usize),
}

impl Phase {
    /// What a worker that waits for an answer posted under.
    fn posts_under(self) -> Option<Under> {
        match self {
            Self::Posting(sent) => Some(sent.under),
            Self::Testing(_, under) => Some(under),
            Self::Off | Self::Claimed | Self::Answered(..) | Self::Moved(..) | Self::Telling(_) => {
                None
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Log {
    events: u64,
    /// The number of the first event that has not expired.
    first: u64,
    says_disabled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    now: Timestamp,
    state: EndpointState,
    course: Course,
    changes: u8,
    secret: Secret,
    /// A test was asked for, and none was sent since.
    untested: bool,
    places: [Place; 2],
    logs: [Log; 2],
    /// The number up to which the receiver has accepted everything, or was told that it is missing.
    accepted: [u64; 2],
    /// The last delivery that was not accepted.
    refused: Option<Sent>,
    workers: [Phase; 2],
    budget: Budget,
}

/// The secrets as they are, and how often they were rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Secret {
    current: SigningSecret,
    rotations: u32,
}

static URL: LazyLock<EndpointUrl> =
    LazyLock::new(|| EndpointUrl::parse("https://a.example.com/", Reachable::Public).unwrap());

const TOKENS: [LeaseToken; 2] = [LeaseToken(1), LeaseToken(2)];

fn id(at: usize) -> ConnectionId {
    ConnectionId::parse(["c_0", "c_1"][at]).unwrap()
}

fn at_of(connection: &ConnectionId) -> usize {
    usize::from(*connection == id(1))
}

fn cursor(number: u64) -> Option<EventCursor> {
    (number > 0).then_some(EventCursor {
        epoch: Epoch(1),
        number,
        index: 0,
    })
}

fn number(cursor: Option<EventCursor>) -> u64 {
    cursor.map_or(0, |cursor| cursor.number)
}

fn maker() -> Maker {
    Maker {
        subject: "ann".to_owned(),
        role: Role::Operator,
        groups: BTreeSet::new(),
    }
}

impl World {
    fn new(budget: Budget) -> Self {
        Self {
            now: NOW,
            state: EndpointState::Active,
            course: Course::new(NOW),
            changes: 0,
            secret: Secret {
                current: SigningSecret::FIRST,
                rotations: 0,
            },
            untested: false,
            places: [Place::default(); 2],
            logs: [Log {
                events: 0,
                first: 1,
                says_disabled: false,
            }; 2],
            accepted: [0; 2],
            refused: None,
            workers: [Phase::Off; 2],
            budget,
        }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint {
            id: EndpointId::fresh(1),
            name: "all".to_owned(),
            url: URL.clone(),
            scope: EndpointScope::All,
            filter: EventFilter::default(),
            maker: maker(),
            state: self.state.clone(),
            secret: self.secret.current,
            course: self.course.clone(),
            created_at: NOW,
        }
    }

    fn store(&mut self, endpoint: Endpoint) {
        self.state = endpoint.state;
        self.course = endpoint.course;
        self.secret.current = endpoint.secret;
    }

    /// Every state that can follow, or the violation that a step shows.
    fn steps(&self, broken: Broken) -> Result<Vec<Self>, String> {
        let mut next = Vec::new();
        for worker in [0, 1] {
            next.extend(self.work(worker, broken)?);
            if self.workers[worker] != Phase::Off && self.budget.crashes > 0 {
                let mut world = self.clone();
                world.budget.crashes -= 1;
                world.workers[worker] = Phase::Off;
                next.push(world);
            }
        }
        next.extend(self.others());
        for world in &next {
            world.check()?;
        }
        Ok(next)
    }

    /// What happens besides the workers.
    fn others(&self) -> Vec<Self> {
        let mut next = Vec::new();
        let mut with = |allowed: u8, act: &dyn Fn(&mut Self)| {
            if allowed > 0 {
                let mut world = self.clone();
                act(&mut world);
                next.push(world);
            }
        };
        for at in [0, 1] {
            with(self.budget.appends[at], &|world| {
                world.budget.appends[at] -= 1;
                world.logs[at].events += 1;
            });
            // The newest event of a log never expires.
            let can = self.logs[at].first < self.logs[at].events;
            with(self.budget.expiries * u8::from(can), &|world| {
                world.budget.expiries -= 1;
                world.logs[at].first += 1;
            });
            let can = number(self.places[at].after) > 0 && self.logs[at].first == 1;
            with(self.budget.replays * u8::from(can), &|world| {
                world.budget.replays -= 1;
                let place = &mut world.places[at];
                *place = Place {
                    after: None,
                    replays: place.replays + 1,
                };
                world.accepted[at] = 0;
                world.refused = None;
                let replayed = world.endpoint().replayed(&id(at), world.now);
                world.store(replayed);
            });
        }
        with(self.budget.sweeps, &|world| {
            world.budget.sweeps -= 1;
            world.now = world
                .now
                .max(world.endpoint().due_at().unwrap_or(world.now));
            world.start();
        });
        with(self.budget.wakes, &|world| {
            world.budget.wakes -= 1;
            world.start();
        });
        with(self.budget.tests, &|world| {
            world.budget.tests -= 1;
            world.untested = true;
            let test = OwedTest {
                id: world.budget.tests.into(),
                at: world.now,
            };
            let asked = world.endpoint().to_be_tested(test);
            world.store(asked);
        });
        with(self.budget.rotations, &|world| {
            world.budget.rotations -= 1;
            world.secret.rotations += 1;
            let rotated = world.endpoint().rotated(world.now);
            world.store(rotated);
        });
        with(self.budget.changes, &|world| {
            world.budget.changes -= 1;
            world.changes += 1;
            world.refused = None;
            let url = EndpointUrl::parse("https://b.example.com/", Reachable::Public).unwrap();
            let changes = Changes {
                url: Some(url),
                active: Some(true),
                ..Changes::default()
            };
            let changed = world.endpoint().changed(&changes, &maker(), world.now);
            world.store(changed);
            world
                .logs
                .iter_mut()
                .for_each(|log| log.says_disabled = false);
        });
        next
    }

    /// A wake reaches a worker that has nothing to do.
    fn start(&mut self) {
        if let Some(free) = self.workers.iter().position(|phase| *phase == Phase::Off) {
            self.claim(free, false);
        }
    }

    fn claim(&mut self, worker: usize, ignoring_others: bool) {
        let mut endpoint = self.endpoint();
        if ignoring_others {
            endpoint.course.lease = None;
        }
        if let Claim::Granted(claimed) = endpoint.claim(TOKENS[worker], self.now) {
            self.store(*claimed);
            self.workers[worker] = Phase::Claimed;
        }
    }

    /// A place never is beyond what was accepted, of all workers that have a lease one posts, and
    /// no rotation is undone.
    fn check(&self) -> Result<(), String> {
        for at in [0, 1] {
            let (place, accepted) = (number(self.places[at].after), self.accepted[at]);
            if place > accepted {
                return Err(format!("place {place} of {accepted} accepted"));
            }
        }
        // The lease of a worker ends by itself, or as a person changes the endpoint.
        let posting = self.workers.iter().filter_map(|phase| phase.posts_under());
        let leased = |under: &Under| under.until > self.now && under.changes == self.changes;
        if posting.filter(leased).count() > 1 {
            return Err("two deliveries at once".to_owned());
        }
        match self.secret.current.generation == self.secret.rotations + 1 {
            true => Ok(()),
            false => Err("a rotation is undone".to_owned()),
        }
    }

    /// Returns the world after everything that runs has stopped.
    fn stopped(&self) -> Self {
        Self {
            budget: Budget::default(),
            workers: [Phase::Off; 2],
            refused: None,
            ..self.clone()
        }
    }

    /// Nothing wakes anybody any more, and the receiver accepts what it gets: the schedule alone
    /// brings it to everything, or to a disabled endpoint that every log tells of.
    fn ends_well(mut self, broken: Broken) -> Result<(), String> {
        let world = &mut self;
        for _ in 0..12 {
            let Some(due) = world.endpoint().due_at() else {
                break;
            };
            world.now = world.now.max(due);
            world.start();
            for _ in 0..60 {
                let Some(next) = world.work(0, broken)?.into_iter().next() else {
                    break;
                };
                *world = next;
                world.check()?;
            }
        }
        if world.untested || world.course.test.is_some() {
            return Err(format!("a test was not sent: {world:?}"));
        }
        match &world.state {
            EndpointState::Active => {
                for at in [0, 1] {
                    let (events, accepted) = (world.logs[at].events, world.accepted[at]);
                    if accepted < events {
                        return Err(format!("{accepted} of {events} accepted: {world:?}"));
                    }
                }
                Ok(())
            }
            EndpointState::Disabled { telling, .. } => {
                let said = world.logs.iter().all(|log| log.says_disabled);
                match said && *telling == Telling::Done {
                    true => Ok(()),
                    false => Err(format!("disabled, and not every log says so: {world:?}")),
                }
            }
        }
    }
}

fn told_after(at: usize) -> Told {
    match at {
        0 => Told::UpTo(id(0)),
        _ => Told::All,
    }
}
