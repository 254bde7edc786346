//! Asking the resolver of a conflict.
//!
//! `domain` decides; this executes. A worker claims the question, posts the conflict, and then
//! commits the decision or leaves the conflict to a person. Each of these is one conditional write.
//! The message has the same id whenever it is sent for the same state of the conflict, and what is
//! answered counts for that state alone.

use std::time::Duration;

use ::webhooks::{PostError, Reply, TIMEOUT};
use ::worker::WorkError;
use ::worker::queue::{wake_push, wake_resolver};
use domain::webhook::{EndpointState, LeaseToken};
use domain::{
    AskDuty, Asked, Choice, ConflictId, ConflictRecord, ConflictStatus, ConnectionKey, FileRecord,
    NoDecision, Role, Timestamp, effective_role,
};
use events::{ANSWER_BYTES_MAX, QuestionView, read_answer};
use http::{HeaderValue, header};
use runtime::{Deadline, telemetry};
use store::{Connection, StoreError, StoredEndpoint, Updated};

use super::decision::{Decided, Decision, Left};
use super::message::of_question;
use super::{signed, unwritable};
use crate::Deps;

/// The time that asking takes at most, with what is written afterwards, in milliseconds.
const ASK_MILLIS: i64 = 20_000;
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/cloudevents+json");

/// What came of asking.
enum Outcome {
    /// It answered with this.
    Answer(Choice),
    /// Nothing was sent.
    Unsent,
    /// It decides nothing.
    Left(Left),
}

/// Asks the resolver of a conflict, if that is to be done now.
///
/// # Errors
/// The table, a queue or the signing key is not there now. The question stays due.
pub(crate) async fn ask(
    key: &ConnectionKey,
    id: &ConflictId,
    deadline: Deadline,
    deps: &Deps,
) -> Result<(), WorkError> {
    let Some(conflict) = deps.store.load_conflict(key, id).await? else {
        return Ok(());
    };
    let open = conflict.status == ConflictStatus::Open;
    let Some(asked) = conflict.asked.clone().filter(|_| open) else {
        return Ok(());
    };
    let now = deps.clock.now();
    let asking = Asking {
        key,
        conflict,
        deps,
    };
    match asked.duty(now) {
        AskDuty::Wait(_) | AskDuty::Nothing => return Ok(()),
        AskDuty::Leave(why) => return asking.leave(&asked, None, (why, None)).await,
        AskDuty::Ask => {}
    }
    if deadline.passed(now.plus_millis(ASK_MILLIS)) {
        let endpoint = &asked.question.resolver.endpoint;
        return Ok(wake_resolver(&deps.deliver, key, id, endpoint, now).await?);
    }
    // Boxed, to limit the depth of nested futures.
    Box::pin(asking.begin(&asked)).await
}

struct Asking<'a> {
    key: &'a ConnectionKey,
    conflict: ConflictRecord,
    deps: &'a Deps,
}

impl Asking<'_> {
    async fn begin(self, asked: &Asked) -> Result<(), WorkError> {
        let (connection, endpoint, role) = match self.admitted(asked).await? {
            Ok(admitted) => admitted,
            Err(why) => return self.leave(asked, None, (why, None)).await,
        };
        let deps = self.deps;
        let record = deps.store.load_file(self.key, &self.conflict.id.file);
        let Some(record) = record.await? else {
            return Ok(());
        };
        let token = LeaseToken(deps.entropy.next());
        let Some(claimed) = asked.claimed(token, deps.clock.now()) else {
            return Ok(());
        };
        if !self.store(&claimed).await? {
            // It has moved or ended, or another worker asks.
            return Ok(());
        }
        let claimed = &Asking {
            conflict: ConflictRecord {
                asked: Some(claimed.clone()),
                ..self.conflict
            },
            ..self
        };
        let asked = claimed.conflict.asked.as_ref().unwrap_or(asked);
        let left = match claimed.post(asked, &endpoint, &record).await? {
            Outcome::Answer(choice) => {
                let decision = Decision {
                    connection: &connection,
                    conflict: &claimed.conflict,
                    choice,
                    role,
                    deps,
                };
                match Box::pin(decision.apply(record)).await? {
                    Decided::Done => {
                        claimed.wake_push().await;
                        return Ok(());
                    }
                    Decided::Without => return Ok(()),
                    Decided::Left(left) => left,
                }
            }
            Outcome::Unsent => {
                if let Some(again) = asked.unsent(token, deps.clock.now()) {
                    claimed.store(&again).await?;
                }
                return Ok(());
            }
            Outcome::Left(left) => left,
        };
        claimed.leave(asked, Some(token), left).await
    }

    /// Returns who is asked, and the role in which the answer decides: as it is now.
    async fn admitted(
        &self,
        asked: &Asked,
    ) -> Result<Result<(Connection, StoredEndpoint, Role), NoDecision>, WorkError> {
        let (store, id) = (&self.deps.store, &asked.question.resolver.endpoint);
        let Some(connection) = store.load_connection(self.key).await? else {
            return Ok(Err(NoDecision::NotAllowed));
        };
        let named = connection.policies.resolvers();
        if !named.map(|resolver| &resolver.endpoint).any(|of| of == id) {
            return Ok(Err(NoDecision::PolicyChanged));
        }
        let Some(stored) = store.load_endpoint(&self.key.tenant, id).await? else {
            return Ok(Err(NoDecision::WebhookDeleted));
        };
        let endpoint = &stored.endpoint;
        match endpoint.state {
            EndpointState::Active => {}
            EndpointState::Disabled { .. } => return Ok(Err(NoDecision::WebhookDisabled)),
        }
        let maker = &endpoint.maker;
        let access = connection.access.as_ref();
        let role = effective_role(maker.role, &maker.subject, &maker.groups, access);
        let included = endpoint.scope.includes(&self.key.connection);
        // As at the route by which persons decide.
        Ok(
            match role.filter(|role| included && *role >= Role::Editor) {
                Some(role) => Ok((connection, stored, role)),
                None => Err(NoDecision::NotAllowed),
            },
        )
    }

    /// Stores where the question is. Returns false if the conflict has moved or ended, or another
    /// worker has it.
    async fn store(&self, next: &Asked) -> Result<bool, StoreError> {
        let moved = self
            .deps
            .store
            .move_question(self.key, &self.conflict, next);
        Ok(moved.await? == Updated::Done)
    }

    /// Leaves the conflict to a person.
    async fn leave(
        &self,
        asked: &Asked,
        token: Option<LeaseToken>,
        (why, detail): Left,
    ) -> Result<(), WorkError> {
        let left = asked.left(token, (why, detail.as_deref()), self.deps.clock.now());
        let Some(left) = left else {
            return Ok(());
        };
        if self.store(&left).await? {
            tracing::warn!(
                connection = %self.key, file = %self.conflict.id.file, why = why.label(), detail,
                metric = "resolver_undecided",
                "a resolver did not decide a conflict: it is left to a person"
            );
        }
        Ok(())
    }

    async fn post(
        &self,
        asked: &Asked,
        stored: &StoredEndpoint,
        record: &FileRecord,
    ) -> Result<Outcome, WorkError> {
        let (deps, now) = (self.deps, self.deps.clock.now());
        let view = QuestionView::of(self.key, &self.conflict, record, &asked.question);
        let of = (&stored.endpoint.id, &self.key.connection);
        let message = of_question(of, &self.conflict, &view).map_err(unwritable)?;
        let mut headers = signed(deps, stored, &message, now).await?;
        headers.insert(header::CONTENT_TYPE, CONTENT_TYPE);
        let within = time_left(asked, now);
        let limits = (ANSWER_BYTES_MAX, within);
        let posted = deps
            .endpoints
            .ask(&stored.endpoint.url, headers, message.body, limits);
        let outcome = judge(&Box::pin(posted).await, &self.conflict.id);
        tracing::info!(
            endpoint = %stored.endpoint.id, webhook_id = message.id,
            metric = match outcome {
                Outcome::Answer(_) => "resolver_answered",
                Outcome::Unsent | Outcome::Left(_) => "resolver_not_answered",
            },
            "asked the resolver of a conflict"
        );
        Ok(outcome)
    }

    /// Wakes the pushing of what the decision owes. A wake that is lost is only logged: the index
    /// of due items has the file.
    async fn wake_push(&self) {
        let woken = wake_push(&self.deps.pushes, self.key, self.deps.clock.now());
        if let Err(error) = woken.await {
            let error = telemetry::chain(&error);
            tracing::warn!(
                connection = %self.key, error, metric = "wake_failed",
                "could not wake push-intents; the next sweep will"
            );
        }
    }
}

/// Returns how long a request may take: until the resolver's time is over, and not longer than any.
fn time_left(asked: &Asked, now: Timestamp) -> Duration {
    let millis = asked.question.until().millis_since(now);
    TIMEOUT.min(Duration::from_millis(
        u64::try_from(millis).unwrap_or_default(),
    ))
}

fn judge(posted: &Result<Reply, PostError>, conflict: &ConflictId) -> Outcome {
    let left = |why, detail: Option<String>| Outcome::Left((why, detail));
    match posted {
        Err(PostError::NotConnected(_)) => Outcome::Unsent,
        Err(PostError::Refused(_)) => {
            let detail = "its address is not one that may be connected to".to_owned();
            left(NoDecision::Unreachable, Some(detail))
        }
        Err(PostError::Timeout) => left(NoDecision::NoAnswer, None),
        Err(PostError::NoAnswer(_)) => {
            let detail = "the connection ended before the answer did".to_owned();
            left(NoDecision::NoAnswer, Some(detail))
        }
        Ok(reply) if !reply.status.is_success() => {
            let detail = format!("status {}", reply.status.as_u16());
            left(NoDecision::Refused, Some(detail))
        }
        Ok(Reply { body: None, .. }) => {
            let detail = format!("it has more than {ANSWER_BYTES_MAX} bytes");
            left(NoDecision::InvalidAnswer, Some(detail))
        }
        Ok(Reply {
            body: Some(body), ..
        }) => match read_answer(body, conflict) {
            Ok(choice) => Outcome::Answer(choice),
            Err(why) => left(NoDecision::InvalidAnswer, Some(why)),
        },
    }
}
