//! The decision of a conflict on behalf of a request.

use axum::http::header;
use domain::{
    Choice, ConflictId, ConflictRecord, ConflictStatus, Context, Decider, Field, FileRecord,
    Request, ResolveRefused, Transition, Value,
};
use store::Connection;

use crate::conflicts::conflict_body::ConflictView;
use crate::conflicts::keep_both;
use crate::edits::{ConditionalEdit, Precondition};
use crate::http::{Caller, IfMatch, Kind, Problem, tag};
use crate::{Deps, lookups};

/// A decision of one conflict.
pub(crate) struct ConflictDecision<'a> {
    pub(crate) deps: &'a Deps,
    pub(crate) connection: &'a Connection,
    pub(crate) caller: &'a Caller,
    pub(crate) id: &'a ConflictId,
    pub(crate) choice: Choice,
    /// The request, if it has an `Idempotency-Key`.
    pub(crate) request: Option<Request>,
    /// The states of the conflict that the caller is willing to decide.
    pub(crate) if_match: Option<IfMatch>,
    /// The JSON pointer of the decision in the body.
    pub(crate) pointer: &'a str,
}

/// A conflict that has been decided.
pub(crate) struct Decided {
    pub(crate) conflict: ConflictRecord,
    /// Whether the request had been carried out before.
    pub(crate) replayed: bool,
}

/// The reason why an edit that decides a conflict is not made.
enum Refusal {
    Problem(Problem),
    Conflict(ResolveRefused),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl ConflictDecision<'_> {
    /// Resolves the conflict.
    pub(crate) async fn apply(&self) -> Result<Decided, Problem> {
        self.require_stored_content().await?;
        let edit = ConditionalEdit::new(
            self.deps,
            self.connection,
            &self.id.file,
            self.request.clone(),
            Precondition::InScope,
        );
        let edited = match edit
            .run(|record, context| self.transition(record, context))
            .await
        {
            Ok(edited) => edited,
            Err(Refusal::Problem(problem)) => return Err(problem),
            Err(Refusal::Conflict(why)) => return self.explain(why).await,
        };
        let conflict = match edited.transition.conflicts.get(self.id) {
            Some(conflict) => conflict.clone(),
            None => self.load().await?,
        };
        Ok(Decided {
            conflict,
            replayed: edited.replayed,
        })
    }

    fn transition(&self, record: &FileRecord, context: Context<'_>) -> Result<Transition, Refusal> {
        let open = record
            .open
            .get(&self.id.field)
            .filter(|open| open.number == self.id.number);
        if let (Some(if_match), Some(open)) = (&self.if_match, open)
            && !if_match.allows(u64::from(open.moves))
        {
            return Err(Refusal::Conflict(ResolveRefused::Moved));
        }
        record
            .resolve(self.id, None, &self.choice, &self.caller.subject, context)
            .map_err(Refusal::Conflict)
    }

    async fn load(&self) -> Result<ConflictRecord, Problem> {
        lookups::conflict(self.deps, &self.connection.key, self.id).await
    }

    /// Refuses a content whose bytes are not available: those of the application and of Drive are,
    /// those of any other must be stored here.
    async fn require_stored_content(&self) -> Result<(), Problem> {
        if self.id.field != Field::Content {
            return Ok(());
        }
        let value = match &self.choice {
            Choice::Value(value) => value.clone(),
            Choice::Base => self.load().await?.base,
            Choice::App | Choice::Drive | Choice::Both(_) => return Ok(()),
        };
        if value == Value::Null || keep_both::is_stored(self.deps, self.connection, &value).await? {
            return Ok(());
        }
        let detail = "the content is not stored, so nothing could provide its bytes";
        Err(Problem::new(Kind::ValueNotAllowed, detail).at(self.pointer))
    }

    /// Turns a refusal into the result of a repeat, or into a problem with the conflict as it is
    /// now.
    async fn explain(&self, why: ResolveRefused) -> Result<Decided, Problem> {
        let (kind, detail) = match why {
            ResolveRefused::NotOpen => (
                Kind::ConflictEnded,
                "the conflict has ended; `current` is the conflict now",
            ),
            ResolveRefused::Moved => (
                Kind::ConflictMoved,
                "the sides have moved; `current` is the conflict now",
            ),
            ResolveRefused::StillGone => {
                let detail = "the file is gone: only drive can be chosen until it is back";
                let pointer = format!("{}/choose", self.pointer);
                return Err(Problem::new(Kind::FileGone, detail).at(pointer));
            }
            ResolveRefused::Value(why) => {
                let pointer = format!("{}/value", self.pointer);
                return Err(Problem::value(&self.id.field, &why, pointer));
            }
        };
        let conflict = self.load().await?;
        if self.request.is_some() && self.is_decision_of(&conflict) {
            return Ok(Decided {
                conflict,
                replayed: true,
            });
        }
        Err(Problem::new(kind, detail)
            .current(&ConflictView::new(&conflict, false))
            .header(header::ETAG, tag(u64::from(conflict.moves))))
    }

    /// Returns whether the conflict was resolved by this very decision. A file's record stores only
    /// its last request, so a repeat that follows another request on the same file is recognised by
    /// its result.
    fn is_decision_of(&self, conflict: &ConflictRecord) -> bool {
        match &conflict.status {
            ConflictStatus::Resolved(made) => {
                made.by == Decider::Person(self.caller.subject.clone())
                    && made.choice == self.choice
            }
            ConflictStatus::Open | ConflictStatus::Closed { .. } => false,
        }
    }
}
