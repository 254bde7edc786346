//! The decision of a conflict by the answer of its resolver: what a person may decide in the role
//! of the endpoint's maker, except that nothing is shared beyond the connection's own domains.

use ::worker::WorkError;
use domain::{
    Ancestry, AnswerRefused, Choice, ConflictRecord, Context, Field, FileId, FileRecord,
    NoDecision, ResolveRefused, Role, Side, Transition, Value, move_shares_outside, own_domains,
    shares_outside,
};
use store::{Attempt, Committed, Connection, Nonce, Store, StoreError, Swapped, compare_and_swap};

use crate::Deps;

/// Why the resolver decides nothing, and more about it.
pub(super) type Left = (NoDecision, Option<String>);

/// An answer to be applied.
pub(super) struct Decision<'a> {
    pub(super) connection: &'a Connection,
    /// The conflict in the state that the resolver was asked about.
    pub(super) conflict: &'a ConflictRecord,
    pub(super) choice: Choice,
    /// The role in which the answer decides.
    pub(super) role: Role,
    pub(super) deps: &'a Deps,
}

/// What came of an answer.
pub(super) enum Decided {
    /// It decided the conflict.
    Done,
    /// The conflict has moved or ended since: the answer is without effect.
    Without,
    /// The conflict can't be decided by it.
    Left(Left),
}

impl Decision<'_> {
    /// Decides, on condition that the file's record is the one that was looked at.
    pub(super) async fn apply(&self, record: FileRecord) -> Result<Decided, WorkError> {
        let swapped = compare_and_swap(record, async |record: FileRecord| {
            let step = match self.checked(&record).await? {
                Ok(step) => step,
                Err(decided) => return Ok(Attempt::Done(decided)),
            };
            let (key, deps) = (&self.connection.key, self.deps);
            let nonce = Nonce(deps.entropy.next());
            let committed = deps.store.commit(key, record.revision, &step, nonce);
            Ok::<_, StoreError>(match committed.await? {
                Committed::Done => Attempt::Done(Decided::Done),
                Committed::Stale(Some(current)) => Attempt::Stale(*current),
                Committed::Stale(None) => Attempt::Done(Decided::Without),
            })
        });
        match Box::pin(swapped).await? {
            Swapped::Done(decided) => Ok(decided),
            // The question is asked again.
            Swapped::Contended(_) => Err(WorkError::Contended),
        }
    }

    /// Returns the transition of this very record, if it may be made.
    async fn checked(
        &self,
        record: &FileRecord,
    ) -> Result<Result<Transition, Decided>, StoreError> {
        let context = Context {
            now: self.deps.clock.now(),
            drive_at: None,
            above: None,
            policies: &self.connection.policies,
        };
        let ConflictRecord { id, moves, .. } = self.conflict;
        let step = match record.answered(id, *moves, &self.choice, context) {
            Ok(step) => step,
            Err(refused) => return Ok(Err(refusal(&refused))),
        };
        let forbidden = |detail: &str| {
            let left = (NoDecision::Forbidden, Some(detail.to_owned()));
            Ok(Err(Decided::Left(left)))
        };
        let ancestry = self.deps.store.ancestry(self.connection, [record]).await?;
        let rules = &self.connection.rules;
        let place = ancestry.lineage(&record.file, Side::Drive);
        if record.is_present() && !rules.is_empty() && !rules.includes(&place) {
            return forbidden("the connection's rules leave the file out");
        }
        if step.record.deletion_owed() && self.role < Role::Operator {
            return forbidden("deleting a file for good needs the role operator");
        }
        if self.shares(record, &step.record, ancestry).await? {
            return forbidden("it shares the file beyond the own domains of the connection");
        }
        let key = &self.connection.key;
        if !Store::has_room(key, record, &step.record)? {
            let left = (NoDecision::InvalidAnswer, Some("it is too long".to_owned()));
            return Ok(Err(Decided::Left(left)));
        }
        Ok(Ok(step))
    }

    /// Returns whether the decision shares the file outside: compared with what Drive has, since
    /// that is what it changes.
    async fn shares(
        &self,
        record: &FileRecord,
        after: &FileRecord,
        mut ancestry: Ancestry,
    ) -> Result<bool, StoreError> {
        let (connection, field) = (self.connection, &self.conflict.id.field);
        let own = own_domains(
            connection.own_domains.as_ref(),
            connection.subject.as_deref(),
        );
        let (from, to) = (after.sides(field).drive().clone(), after.app(field));
        if *field != Field::Parent || from == to {
            return Ok(shares_outside(field, &from, &to, &own));
        }
        let Value::Text(parent) = to else {
            return Ok(false);
        };
        let is_root = connection.my_drive.as_ref().map(FileId::as_str) == Some(parent.as_str());
        let Ok(parent) = FileId::parse(&parent) else {
            return Ok(false);
        };
        let store = &self.deps.store;
        let Some(folder) = store.load_file(&connection.key, &parent).await? else {
            // Who can see an unknown folder is not known either.
            return Ok(!is_root);
        };
        let extended = store.extend_ancestry(connection, &mut ancestry, [&folder]);
        extended.await?;
        let now = self.deps.clock.now();
        let roles = |file: &FileId, side| ancestry.lineage(file, side).permissions(now);
        // The file is where Drive has it.
        let before = roles(&record.file, Side::Drive);
        Ok(move_shares_outside(
            &before,
            &roles(&parent, Side::App),
            &own,
        ))
    }
}

fn refusal(refused: &AnswerRefused) -> Decided {
    let invalid = |detail: String| Decided::Left((NoDecision::InvalidAnswer, Some(detail)));
    match refused {
        AnswerRefused::Late => Decided::Left((NoDecision::NoAnswer, None)),
        AnswerRefused::Unasked
        | AnswerRefused::Decision(ResolveRefused::NotOpen | ResolveRefused::Moved) => {
            Decided::Without
        }
        AnswerRefused::Decision(ResolveRefused::StillGone) => {
            invalid("the file is gone: only drive can be chosen".to_owned())
        }
        AnswerRefused::Decision(ResolveRefused::Value(why)) => invalid(why.to_string()),
    }
}
