//! An exhaustive search: two workers deliver the logs of two connections to one endpoint, with
//! crashes, answers of every kind, lost answers, leases that run out, expiry, and what people do,
//! in every order.

mod searches;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::{
    Answer, Batch, Changes, Claim, Course, DisabledReason, Duty, Endpoint, EndpointScope,
    EndpointState, EndpointUrl, LeaseToken, Maker, Place, Reachable, Rest, SigningSecret, Telling,
    Told, Trouble, batch, misses_events, next_connection,
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
}

/// A delivery on its way: from the place that was read up to its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Sent {
    at: usize,
    place: Place,
    head: Option<EventCursor>,
    /// It tells that events are missing.
    notice: bool,
    /// How often people had changed the endpoint.
    changes: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Off,
    Claimed,
    Posting(Sent),
    Answered(Sent, Answer),
    Moved(Sent, Answer),
    Telling(usize),
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
    places: [Place; 2],
    logs: [Log; 2],
    /// The number up to which the receiver has accepted everything, or was told that it is missing.
    accepted: [u64; 2],
    /// The last delivery that was not accepted.
    refused: Option<Sent>,
    workers: [Phase; 2],
    budget: Budget,
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
            secret: SigningSecret::FIRST,
            course: self.course.clone(),
            created_at: NOW,
        }
    }

    fn store(&mut self, endpoint: Endpoint) {
        self.state = endpoint.state;
        self.course = endpoint.course;
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

    fn work(&self, worker: usize, broken: Broken) -> Result<Vec<Self>, String> {
        let token = TOKENS[worker];
        let mut world = self.clone();
        match self.workers[worker] {
            Phase::Off => {
                if broken != Broken::LeaseIgnored || self.budget.wakes == 0 {
                    return Ok(Vec::new());
                }
                world.budget.wakes -= 1;
                world.claim(worker, true);
                Ok(vec![world])
            }
            Phase::Claimed => {
                world.read(worker, broken)?;
                Ok(vec![world])
            }
            Phase::Posting(sent) => Ok(self.post(worker, sent, broken)),
            Phase::Answered(sent, answer) => {
                let moves = answer.moves_the_place() || broken == Broken::FailureSkipped;
                let place = &mut world.places[sent.at];
                if moves && (*place == sent.place || broken == Broken::PlaceUnconditional) {
                    place.after = sent.head;
                }
                world.workers[worker] = Phase::Moved(sent, answer);
                Ok(vec![world])
            }
            Phase::Moved(sent, answer) => {
                let mut endpoint = self.endpoint();
                if broken == Broken::LateAnswerCounts
                    && let Claim::Granted(claimed) = endpoint.claim(token, self.now)
                {
                    endpoint = *claimed;
                }
                let delivery = (&id(sent.at), sent.head);
                let settled = endpoint.settled(token, delivery, answer, self.now, Jitter(0.0));
                world.workers[worker] = Phase::Off;
                let Some(mut settled) = settled else {
                    return Ok(vec![world]);
                };
                if let EndpointState::Disabled { telling, .. } = &mut settled.state {
                    if sent.changes != self.changes {
                        return Err("an answer of before a change disables it".to_owned());
                    }
                    if broken == Broken::DisabledSilently {
                        *telling = Telling::Done;
                    }
                }
                match settled.course.lease {
                    Some(_) => world.workers[worker] = Phase::Claimed,
                    None => world.refused = Some(sent),
                }
                world.store(settled);
                Ok(vec![world])
            }
            Phase::Telling(at) => {
                // The log says it first, and then the endpoint that it does.
                let mut crashed = None;
                if broken == Broken::ToldFirst {
                    let told = self.endpoint().told(token, told_after(at));
                    let mut stopped = self.clone();
                    if let Some(told) = told {
                        stopped.store(told);
                    }
                    stopped.workers[worker] = Phase::Off;
                    crashed = (self.budget.crashes > 0).then_some(stopped);
                }
                world.logs[at].says_disabled = true;
                let said = world.clone();
                world.workers[worker] = Phase::Claimed;
                match world.endpoint().told(token, told_after(at)) {
                    Some(told) => world.store(told),
                    None => world.workers[worker] = Phase::Off,
                }
                let mut next = vec![world];
                if self.budget.crashes > 0 && broken != Broken::ToldFirst {
                    let mut stopped = said;
                    stopped.budget.crashes -= 1;
                    stopped.workers[worker] = Phase::Off;
                    next.push(stopped);
                }
                next.extend(crashed);
                Ok(next)
            }
        }
    }

    /// A worker reads the places and the logs, and decides what it sends.
    fn read(&mut self, worker: usize, broken: Broken) -> Result<(), String> {
        let token = TOKENS[worker];
        let endpoint = self.endpoint();
        self.workers[worker] = Phase::Off;
        if endpoint
            .course
            .lease
            .is_none_or(|lease| lease.token != token)
            && broken != Broken::LeaseIgnored
        {
            return Ok(());
        }
        let release = |world: &mut Self| {
            if let Some(released) = endpoint.released(token, None, Rest::Nothing, world.now) {
                world.store(released);
            }
        };
        match endpoint.duty(self.now) {
            Duty::Tell(after) => {
                let at = after.map_or(0, |after| at_of(&after) + 1);
                self.workers[worker] = Phase::Telling(at);
                return Ok(());
            }
            Duty::Deliver => {}
            Duty::Test(_) | Duty::Wait(_) | Duty::Nothing => {
                release(self);
                return Ok(());
            }
        }
        let has_more = |at: &usize| self.logs[*at].events > number(self.places[*at].after);
        let ready: BTreeSet<_> = [0, 1].into_iter().filter(has_more).map(id).collect();
        let trouble = endpoint.course.trouble.as_ref();
        let shown = trouble.filter(|_| broken != Broken::TroubleLeft);
        let left = trouble.map(|trouble| trouble.connection.clone());
        let last = left.or(endpoint.course.last.clone());
        let Some(next) = next_connection(shown, last.as_ref(), &ready) else {
            release(self);
            return Ok(());
        };
        let at = at_of(next);
        let trouble = trouble.filter(|trouble| trouble.connection == *next);
        let pinned = trouble.and_then(|trouble| trouble.head);
        let pinned = pinned.filter(|_| broken != Broken::BatchGrows);
        let Some(sent) = self.sent(at, pinned, broken) else {
            return Err("a connection that is ready has nothing".to_owned());
        };
        if broken == Broken::PlaceMovesFirst {
            self.places[at].after = sent.head;
        }
        self.workers[worker] = Phase::Posting(sent);
        if let Some(refused) = self.refused.filter(|_| !sent.notice)
            && (refused.at, refused.place) == (sent.at, sent.place)
            && (refused.head != sent.head)
            && !refused.notice
        {
            return Err(format!("{sent:?} is not {refused:?}"));
        }
        let leases = |phase: &Phase| matches!(phase, Phase::Posting(_));
        let now = self.now;
        let in_time = self.course.lease.is_some_and(|lease| lease.until > now);
        if in_time && self.workers.iter().all(leases) {
            let held = self.course.lease.map(|lease| lease.token);
            // The other worker's lease may have run out before this one took it.
            if broken == Broken::LeaseIgnored && held == Some(token) {
                return Err("two deliveries at once".to_owned());
            }
        }
        Ok(())
    }

    /// What a worker sends of a log after its place.
    fn sent(&self, at: usize, pinned: Option<EventCursor>, broken: Broken) -> Option<Sent> {
        let (log, place) = (self.logs[at], self.places[at]);
        let after = number(place.after);
        let oldest = log.first.max(after + 1);
        let found: Vec<Examined> = (oldest..=log.events)
            .filter_map(|number| {
                Some(Examined {
                    cursor: cursor(number)?,
                    bytes: EVENT_BYTES,
                    selected: true,
                })
            })
            .collect();
        let first = found.first().map(|event| event.cursor);
        let expired = place.after.is_some() && after + 1 < log.first;
        let misses = misses_events(place.after.as_ref(), first.as_ref());
        let notice = (expired && broken != Broken::GapIgnored)
            || (misses && broken != Broken::ExpiredBeginning);
        let sent = |head, notice| Sent {
            at,
            place,
            head,
            notice,
            changes: self.changes,
        };
        if notice {
            return Some(sent(cursor(log.events), true));
        }
        match batch(&found, pinned.as_ref()) {
            Batch::Events { head, .. } => Some(sent(Some(head), false)),
            // The events of the attempt before have expired.
            Batch::Nothing(_) => match batch(&found, None) {
                Batch::Events { head, .. } => Some(sent(Some(head), false)),
                Batch::Nothing(_) => None,
            },
        }
    }

    /// Every answer of the receiver.
    fn post(&self, worker: usize, sent: Sent, broken: Broken) -> Vec<Self> {
        let mut next = Vec::new();
        let mut answered = |allowed: u8, arrives: bool, answer: Answer| {
            if allowed == 0 {
                return;
            }
            let mut world = self.clone();
            world.workers[worker] = Phase::Answered(sent, answer);
            let budget = &mut world.budget;
            match (answer, arrives) {
                (Answer::Accepted, _) => {}
                (Answer::Gone, _) => budget.gone -= 1,
                (Answer::Failed { .. }, true) => budget.lost_answers -= 1,
                (Answer::Failed { .. }, false) => budget.refusals -= 1,
            }
            if arrives {
                world.accept(sent, broken);
            }
            next.push(world);
        };
        answered(1, true, Answer::Accepted);
        answered(self.budget.gone, false, Answer::Gone);
        answered(self.budget.refusals, false, Answer::FAILED);
        answered(self.budget.lost_answers, true, Answer::FAILED);
        next
    }

    fn accept(&mut self, sent: Sent, broken: Broken) {
        let begins = number(sent.place.after);
        let (first, reached) = (self.logs[sent.at].first, &mut self.accepted[sent.at]);
        let skips = !sent.notice
            && [Broken::GapIgnored, Broken::ExpiredBeginning].contains(&broken)
            && begins + 1 < first;
        // What does not follow is not accepted: the end of the search sees that it is missing.
        if sent.notice || (begins <= *reached && !skips) {
            *reached = (*reached).max(number(sent.head));
        }
    }

    /// A place never is beyond what was accepted.
    fn check(&self) -> Result<(), String> {
        for at in [0, 1] {
            let (place, accepted) = (number(self.places[at].after), self.accepted[at]);
            if place > accepted {
                return Err(format!("place {place} of {accepted} accepted"));
            }
        }
        Ok(())
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
