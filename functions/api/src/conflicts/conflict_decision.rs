//! The decision of a conflict on behalf of a request.

use axum::http::header;
use domain::{
    Choice, ConflictId, ConflictRecord, Context, Field, FileRecord, ResolveRefused, Role,
    Transition, Value,
};
use store::Connection;

use crate::conflicts::conflict_body::ConflictView;
use crate::conflicts::keep_both;
use crate::edits::{ConditionalEdit, Precondition};
use crate::files::sharing::Sharing;
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
        self.require_held_content().await?;
        let sharing = self.sharing().await?;
        let edit = ConditionalEdit::new(
            self.deps,
            self.connection,
            &self.id.file,
            self.keyed,
            Precondition::InScope,
        );
        let edited = match edit
            .run(|record, context| self.transition(record, context, &sharing))
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

    /// Prepares the check of what the decision shares.
    async fn sharing(&self) -> Result<Sharing<'_>, Problem> {
        let (deps, caller) = (self.deps, self.caller);
        let parent = match (&self.id.field, &self.choice) {
            (Field::Parent, Choice::Value(value)) => Some(value.clone()),
            (Field::Parent, Choice::App) => Some(self.load().await?.app),
            (Field::Parent, Choice::Base) => Some(self.load().await?.base),
            (_, _) => None,
        };
        Sharing::of(
            deps,
            self.connection,
            caller,
            &self.id.file,
            parent.as_ref(),
        )
        .await
    }

    /// Requires the role `operator` for a decision that deletes the file for good or shares it
    /// outside: compared with what Drive has, since that is what the decision changes.
    fn require_role(&self, after: &FileRecord, sharing: &Sharing<'_>) -> Result<(), Problem> {
        let field = &self.id.field;
        if after.deletion_owed() {
            let what = "deleting a file for good";
            let allowed = self.caller.needs(Role::Operator, what);
            allowed.map_err(|problem| problem.at(self.pointer))?;
        }
        let shared = sharing.check(field, after.sides(field).drive(), &after.app(field));
        shared.map_err(|problem| problem.at(self.pointer))
    }

    fn transition(
        &self,
        record: &FileRecord,
        context: Context<'_>,
        sharing: &Sharing<'_>,
    ) -> Result<Transition, Refusal> {
        let open = record
            .open
            .get(&self.id.field)
            .filter(|open| open.number == self.id.number);
        if let (Some(if_match), Some(open)) = (&self.if_match, open)
            && !if_match.allows(u64::from(open.moves))
        {
            return Err(Refusal::Conflict(ResolveRefused::Moved));
        }
        let transition = record
            .resolve(self.id, None, &self.choice, &self.caller.subject, context)
            .map_err(Refusal::Conflict)?;
        self.require_role(&transition.record, sharing)?;
        Ok(transition)
    }

    /// Loads the conflict as it is now.
    pub(crate) async fn load(&self) -> Result<ConflictRecord, Problem> {
        lookups::conflict(self.deps, &self.connection.key, self.id).await
    }

    /// Refuses a content whose bytes are not available, or not the connection's own: those of the
    /// application and of Drive are, those of any other must be held by this connection.
    async fn require_held_content(&self) -> Result<(), Problem> {
        if self.id.field != Field::Content {
            return Ok(());
        }
        let (value, sides) = match &self.choice {
            Choice::Value(value) => (value.clone(), Some(self.load().await?)),
            Choice::Base => (self.load().await?.base, None),
            Choice::App | Choice::Drive | Choice::Both(_) => return Ok(()),
        };
        let is_a_side = sides.is_none_or(|conflict| {
            [&conflict.base, &conflict.app, &conflict.drive].contains(&&value)
        });
        let held = match is_a_side {
            true => keep_both::is_stored(self.deps, self.connection, &value).await?,
            false => keep_both::is_held(self.deps, self.connection, &value).await?,
        };
        if value == Value::Null || held {
            return Ok(());
        }
        let detail = "this connection holds no such content: upload it to a file of the connection";
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
