//! What a person changes of an endpoint. Whatever was in flight says nothing of it afterwards.

use super::{
    DisabledReason, Endpoint, EndpointScope, EndpointState, EndpointUrl, Maker, OwedTest, Telling,
};
use crate::event::EventFilter;
use crate::{ConnectionId, Timestamp};

/// The members of an endpoint that a person changes; `None` for one that stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// The name.
    pub name: Option<String>,
    /// The address.
    pub url: Option<EndpointUrl>,
    /// The connections.
    pub scope: Option<EndpointScope>,
    /// The events.
    pub filter: Option<EventFilter>,
    /// Whether it is active.
    pub active: Option<bool>,
}

impl Endpoint {
    /// Returns it as a person changes it. Who changes where it goes or what it receives answers for
    /// it from then on, so that nobody receives what only the one before may read. So does who
    /// makes one active that nobody answers for any more.
    #[must_use]
    pub fn changed(&self, changes: &Changes, by: &Maker, now: Timestamp) -> Self {
        let Changes {
            name,
            url,
            scope,
            filter,
            active,
        } = changes.clone();
        let mut after = self.clone();
        after.name = name.unwrap_or(after.name);
        after.url = url.unwrap_or(after.url);
        after.scope = scope.unwrap_or(after.scope);
        after.filter = filter.unwrap_or(after.filter);
        match active {
            Some(true) => after.state = EndpointState::Active,
            Some(false) if after.is_active() => {
                after.state = EndpointState::Disabled {
                    reason: DisabledReason::Person,
                    since: now,
                    telling: Telling::Done,
                };
            }
            Some(false) | None => {}
        }
        let goes_elsewhere =
            (&after.url, &after.scope, &after.filter) != (&self.url, &self.scope, &self.filter);
        let is_taken_over = self.maker.is_erased() && after.is_active() && !self.is_active();
        if goes_elsewhere || is_taken_over {
            after.maker = by.clone();
        }
        if goes_elsewhere || after.state != self.state {
            after.course.lease = None;
            after.course.trouble = None;
            after.course.look_at = now;
        }
        after
    }

    /// Returns it after its place in a connection's log was set back: it is looked at now.
    #[must_use]
    pub fn replayed(&self, connection: &ConnectionId, now: Timestamp) -> Self {
        let mut after = self.clone();
        let course = &mut after.course;
        let replayed = |connection_of: &ConnectionId| connection_of == connection;
        if (course.trouble.as_ref()).is_some_and(|trouble| replayed(&trouble.connection)) {
            course.trouble = None;
        }
        course.look_at = now;
        after
    }

    /// Returns it with a test delivery that is owed, in place of an earlier one.
    #[must_use]
    pub fn to_be_tested(&self, test: OwedTest) -> Self {
        let mut after = self.clone();
        after.course.test = Some(test);
        after
    }

    /// Returns it with another secret.
    #[must_use]
    pub fn rotated(&self, now: Timestamp) -> Self {
        Self {
            secret: self.secret.rotated(now),
            ..self.clone()
        }
    }

    /// Returns it disabled, since the person who answered for it was erased; `None` if somebody
    /// answers for it, or if it is disabled already.
    #[must_use]
    pub fn without_maker(&self, now: Timestamp) -> Option<Self> {
        (self.is_active() && self.maker.is_erased()).then(|| {
            let mut after = self.clone();
            after.disable(DisabledReason::MakerErased, now);
            after
        })
    }

    /// Returns it without a connection that was erased; `None` if it does not name it. One that
    /// named no other is disabled.
    #[must_use]
    pub fn without(&self, connection: &ConnectionId, now: Timestamp) -> Option<Self> {
        let course = &self.course;
        let is_last = course.last.as_ref() == Some(connection);
        let in_trouble = course.trouble.as_ref();
        let in_trouble = in_trouble.is_some_and(|trouble| trouble.connection == *connection);
        let mut after = self.clone();
        let mut narrowed = false;
        if let EndpointScope::Connections(connections) = &mut after.scope {
            narrowed = connections.remove(connection);
            if narrowed && connections.is_empty() {
                after.disable(DisabledReason::NoConnections, now);
                // There is no log that could say so.
                if let EndpointState::Disabled { telling, .. } = &mut after.state {
                    *telling = Telling::Done;
                }
            }
        }
        if is_last {
            after.course.last = None;
        }
        if in_trouble {
            after.course.trouble = None;
        }
        (narrowed || is_last || in_trouble).then_some(after)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fixture::NOW;
    use crate::webhook::{Claim, Course, Duty, LeaseToken, Reachable, SigningSecret};
    use crate::{EndpointId, Role};

    fn maker(subject: &str) -> Maker {
        Maker {
            subject: subject.to_owned(),
            role: Role::Operator,
            groups: BTreeSet::new(),
        }
    }

    /// Returns an endpoint that somebody answers for.
    pub(in crate::webhook) fn endpoint(subject: &str) -> Endpoint {
        Endpoint {
            id: EndpointId::fresh(1),
            name: "all".to_owned(),
            url: EndpointUrl::parse("https://a.example.com/", Reachable::Public).unwrap(),
            scope: EndpointScope::All,
            filter: EventFilter::default(),
            maker: maker(subject),
            state: EndpointState::Active,
            secret: SigningSecret::FIRST,
            course: Course::new(NOW),
            created_at: NOW,
        }
    }

    #[test]
    fn an_endpoint_that_nobody_answers_for_delivers_nothing_until_somebody_does() {
        assert_eq!(endpoint("ann").without_maker(NOW), None);
        let orphan = endpoint("erased:7");
        let Claim::Granted(claimed) = orphan.claim(LeaseToken(1), NOW) else {
            panic!("its logs are to say so");
        };
        assert_eq!(claimed.duty(NOW), Duty::Tell(None));
        let disabled = orphan.without_maker(NOW).unwrap();
        assert_eq!(disabled.state, claimed.state);
        assert_eq!(disabled.without_maker(NOW), None);
        let set = |active| Changes {
            active: Some(active),
            ..Changes::default()
        };
        let (bob, changed) = (maker("bob"), |active| {
            disabled.changed(&set(active), &maker("bob"), NOW)
        });
        assert_eq!(changed(true).maker, bob);
        assert_eq!(changed(false).maker, orphan.maker);
        let renamed = Changes {
            name: Some("other".to_owned()),
            ..set(true)
        };
        let renamed = orphan.changed(&renamed, &bob, NOW);
        assert!(renamed.without_maker(NOW).is_some(), "a name is no right");
    }
}
