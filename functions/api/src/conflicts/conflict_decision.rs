//! The decision of a conflict on behalf of a request.

use axum::http::header;
use domain::{
    Choice, ConflictId, ConflictRecord, Context, Field, FileRecord, ResolveRefused, Transition,
    Value,
};
use store::Connection;

use crate::conflicts::conflict_body::ConflictView;
use crate::conflicts::keep_both;
use crate::edits::{ConditionalEdit, Precondition};
use crate::http::{Caller, IfMatch, Keyed, Kind, Problem, tag};
use crate::{Deps, lookups};

/// A decision of one conflict.
pub(crate) struct ConflictDecision<'a> {
    pub(crate) deps: &'a Deps,
    pub(crate) connection: &'a Connection,
    pub(crate) caller: &'a Caller,
    pub(crate) id: &'a ConflictId,
    pub(crate) choice: Choice,
    /// The key of the decision.
    pub(crate) keyed: &'a Keyed,
    /// The states of the conflict that the caller is willing to decide.
    pub(crate) if_match: Option<IfMatch>,
    /// The JSON pointer of the decision in the body.
    pub(crate) pointer: &'a str,
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
    /// Resolves the conflict, and returns it.
    pub(crate) async fn apply(&self) -> Result<ConflictRecord, Problem> {
        self.require_stored_content().await?;
        let edit = ConditionalEdit::new(
            self.deps,
            self.connection,
            &self.id.file,
            self.keyed,
            Precondition::InScope,
        );
        let edited = match edit
            .run(|record, context| self.transition(record, context))
            .await
        {
            Ok(edited) => edited,
            Err(Refusal::Problem(problem)) => return Err(problem),
            Err(Refusal::Conflict(why)) => return Err(self.explain(why).await?),
        };
        match edited.transition.conflicts.get(self.id) {
            Some(conflict) => Ok(conflict.clone()),
            None => self.load().await,
        }
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

    /// Loads the conflict as it is now.
    pub(crate) async fn load(&self) -> Result<ConflictRecord, Problem> {
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

    /// Turns a refusal into a problem with the conflict as it is now.
    async fn explain(&self, why: ResolveRefused) -> Result<Problem, Problem> {
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
                return Ok(Problem::new(Kind::FileGone, detail).at(pointer));
            }
            ResolveRefused::Value(why) => {
                let pointer = format!("{}/value", self.pointer);
                return Ok(Problem::value(&self.id.field, &why, pointer));
            }
        };
        let conflict = self.load().await?;
        Ok(Problem::new(kind, detail)
            .current(&ConflictView::new(&conflict, false))
            .header(header::ETAG, tag(u64::from(conflict.moves))))
    }
}
