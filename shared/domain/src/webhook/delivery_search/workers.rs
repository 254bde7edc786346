//! The workers of the search: what they read, post, move and settle, and what the receiver accepts.

use super::*;

impl World {
    /// What a worker does next: every state that can follow, or the violation that it shows.
    pub(super) fn work(&self, worker: usize, broken: Broken) -> Result<Vec<Self>, String> {
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
            Phase::Posting(sent) => Ok(self.post(worker, sent)),
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
                    if sent.under.changes != self.changes {
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
                if broken == Broken::RotationUndone {
                    world.secret.current.generation = sent.under.generation;
                }
                Ok(vec![world])
            }
            Phase::Testing(test, _) => {
                // Whatever the answer is.
                world.untested = false;
                world.workers[worker] = match self.endpoint().tested(token, test) {
                    Some(tested) => {
                        world.store(tested);
                        Phase::Claimed
                    }
                    None if broken == Broken::TestSettledFirst => Phase::Claimed,
                    None => Phase::Off,
                };
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
            Duty::Test(test) => {
                if broken == Broken::TestSettledFirst
                    && let Some(tested) = endpoint.tested(token, test)
                {
                    self.store(tested);
                }
                self.workers[worker] = Phase::Testing(test, self.under());
                return Ok(());
            }
            Duty::Deliver => {}
            Duty::Wait(_) | Duty::Nothing => {
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
        Ok(())
    }

    fn under(&self) -> Under {
        Under {
            until: self.course.lease.map_or(self.now, |lease| lease.until),
            changes: self.changes,
            generation: self.secret.current.generation,
        }
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
            first: first.map_or(0, |first| first.number),
            head,
            notice,
            under: self.under(),
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
    fn post(&self, worker: usize, sent: Sent) -> Vec<Self> {
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
                world.accept(sent);
            }
            next.push(world);
        };
        answered(1, true, Answer::Accepted);
        answered(self.budget.gone, false, Answer::Gone);
        answered(self.budget.refusals, false, Answer::FAILED);
        answered(self.budget.lost_answers, true, Answer::FAILED);
        next
    }

    /// What does not follow what was accepted is not accepted: then its place is beyond that.
    fn accept(&mut self, sent: Sent) {
        let reached = &mut self.accepted[sent.at];
        if sent.notice || sent.first <= *reached + 1 {
            *reached = (*reached).max(number(sent.head));
        }
    }
}
