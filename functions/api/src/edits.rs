//! Edits of a file's record: load, check the caller's conditions, decide, commit on the revision
//! that was loaded, and start again if another writer was faster.

use axum::response::Response;
use domain::content::StoredObject;
use domain::{
    ConnectionKey, Context, FileId, FileRecord, Policies, Revision, Timestamp, Transition,
};
use store::{Attempt, Committed, Connection, Nonce, RECORD_BYTES_MAX, Store};

use crate::Deps;
use crate::content::content_condition::ContentCondition;
use crate::fairness::admission;
use crate::files::edit_problems::stale;
use crate::files::{file_view, scope};
use crate::http::{IfMatch, Keyed, Kind, Problem};
use crate::swap::swap;
use crate::{lookups, wakes};

/// The state of the file that a caller requires for an edit.
pub(crate) enum Precondition {
    /// None.
    None,
    /// The file is in scope.
    InScope,
    /// The file is in scope, and its entity tag is one of these.
    FileTag(IfMatch),
    /// The file is in scope, and its content is the one that the caller has seen.
    Content(ContentCondition),
}

impl Precondition {
    fn check(&self, record: &FileRecord) -> Result<(), Problem> {
        match self {
            Self::None | Self::InScope => Ok(()),
            Self::FileTag(if_match) if if_match.allows(record.visible.0) => Ok(()),
            Self::FileTag(_) => Err(stale(record)),
            Self::Content(condition) => condition.check(record),
        }
    }
}

/// One edit of one file on behalf of one request.
pub(crate) struct ConditionalEdit<'a> {
    deps: &'a Deps,
    connection: &'a Connection,
    file: &'a FileId,
    keyed: &'a Keyed,
    precondition: Precondition,
}

/// The result of an edit.
pub(crate) struct Edited {
    /// The transition that was committed; one that changes nothing if there was nothing to write.
    pub(crate) transition: Transition,
    /// Whether the edit gave the file a new version of its content.
    pub(crate) has_new_content: bool,
}

impl<'a> ConditionalEdit<'a> {
    /// An edit of a file, written together with the answer to its request.
    pub(crate) fn new(
        deps: &'a Deps,
        connection: &'a Connection,
        file: &'a FileId,
        keyed: &'a Keyed,
        precondition: Precondition,
    ) -> Self {
        Self {
            deps,
            connection,
            file,
            keyed,
            precondition,
        }
    }

    /// Commits the transition that `decide` returns. It is called for every record that another
    /// writer has put in place of the one that was loaded, and only if the caller's conditions hold
    /// for it: the conditions apply to the very record that is replaced, and an unrelated change
    /// between reading and writing does not fail the edit.
    ///
    /// # Errors
    /// The error of `decide`; 404 if there is no record; 412, 409 or 422 if a condition does not
    /// hold; 503 if DynamoDB does not respond or other writers keep being faster.
    pub(crate) async fn run<E: From<Problem>>(
        &self,
        mut decide: impl FnMut(&FileRecord, Context<'_>) -> Result<Transition, E>,
    ) -> Result<Edited, E> {
        let (deps, key) = (self.deps, &self.connection.key);
        let out_of_scope = match self.precondition {
            Precondition::None => false,
            Precondition::InScope | Precondition::FileTag(_) | Precondition::Content(_) => {
                scope::is_out_of_scope(deps, self.connection, self.file).await?
            }
        };
        let context = context(deps.clock.now(), &self.connection.policies);
        let record = lookups::file(deps, key, self.file).await?;
        swap("the file", record, |record| {
            let decided = self.decide(&record, out_of_scope, context, &mut decide);
            async move {
                let transition = decided?;
                if transition.record.is_gone() {
                    self.keyed.ends();
                }
                if let Some(current) = self.commit(&record, &transition).await? {
                    return Ok(Attempt::Stale(current));
                }
                let has_new_content = transition.record.content_version != record.content_version;
                let transition = as_stored(transition, &record, deps);
                Ok(Attempt::Done(Edited {
                    transition,
                    has_new_content,
                }))
            }
        })
        .await
    }

    /// Returns the transition of this very record.
    fn decide<E: From<Problem>>(
        &self,
        record: &FileRecord,
        out_of_scope: bool,
        context: Context<'_>,
        decide: &mut impl FnMut(&FileRecord, Context<'_>) -> Result<Transition, E>,
    ) -> Result<Transition, E> {
        self.precondition.check(record)?;
        if out_of_scope && record.is_present() {
            return Err(scope::refusal().into());
        }
        decide(record, context)
    }

    /// Returns the record that stands in place of `record`, or `None` if the transition was
    /// committed.
    async fn commit(
        &self,
        record: &FileRecord,
        transition: &Transition,
    ) -> Result<Option<FileRecord>, Problem> {
        if transition.record == *record {
            return Ok(None);
        }
        let key = &self.connection.key;
        require_room(key, Some(record), &transition.record)?;
        if record.intent().is_none() && transition.record.intent().is_some() {
            admission::owe_more(self.deps, &key.tenant).await?;
        }
        let nonce = Nonce(self.deps.entropy.next());
        let store = self.keyed.store(self.deps);
        match store
            .commit(key, record.revision, transition, nonce)
            .await?
        {
            Committed::Done => Ok(None),
            Committed::Stale(Some(current)) => Ok(Some(*current)),
            Committed::Stale(None) => Err(Problem::not_found("the file")),
        }
    }
}

impl Edited {
    /// Returns the record as it is now.
    pub(crate) fn record(&self) -> &FileRecord {
        &self.transition.record
    }

    /// Wakes the pusher, and responds with the file.
    pub(crate) async fn respond(
        &self,
        deps: &Deps,
        connection: &Connection,
    ) -> Result<Response, Problem> {
        wakes::wake_push_if_due(deps, &connection.key, self.record()).await;
        file_view::respond(deps, connection, self.record()).await
    }
}

/// Returns a transition of `before` as it is stored once it is committed: with its cause.
fn as_stored(transition: Transition, before: &FileRecord, deps: &Deps) -> Transition {
    if transition.record == *before {
        return transition;
    }
    transition.caused_by(deps.store.cause())
}

/// Refuses an edit that leaves too little room in the file's record. An edit that makes the record
/// smaller is always possible.
fn require_room(
    key: &ConnectionKey,
    before: Option<&FileRecord>,
    after: &FileRecord,
) -> Result<(), Problem> {
    let bytes = Store::record_bytes(key, after)?;
    let fits = match before {
        Some(before) => Store::has_room(key, before, after)?,
        None => bytes <= RECORD_BYTES_MAX,
    };
    if !fits {
        let detail = format!(
            "the file's record would have {bytes} bytes, of at most {RECORD_BYTES_MAX}: \
             shorten its texts, or wait until what is owed has reached Drive"
        );
        return Err(Problem::new(Kind::ValueNotAllowed, detail));
    }
    Ok(())
}

/// Commits the first record of a file that the application creates. Its content, if it is given
/// some, gets a version in the name of `by`. Returns the record, or the one that was there already.
pub(crate) async fn create(
    deps: &Deps,
    keyed: &Keyed,
    key: &ConnectionKey,
    transition: Transition,
    object: Option<&StoredObject>,
    by: &str,
) -> Result<FileRecord, Problem> {
    require_room(key, None, &transition.record)?;
    admission::owe_more(deps, &key.tenant).await?;
    let nonce = Nonce(deps.entropy.next());
    let store = keyed.store(deps);
    match store.commit(key, Revision(0), &transition, nonce).await? {
        Committed::Done => {}
        Committed::Stale(Some(existing)) => return Ok(*existing),
        Committed::Stale(None) => {
            return Err(Problem::busy("the file has been created and removed", 1));
        }
    }
    let record = transition.caused_by(deps.store.cause()).record;
    if let Some(object) = object {
        let now = deps.clock.now();
        worker::link_version(&store, key, &record, object, (by, None), now).await;
    }
    Ok(record)
}

/// The context of a decision at `now`. Nothing here comes from Drive, so there is no time of
/// Drive's.
pub(crate) fn context(now: Timestamp, policies: &Policies) -> Context<'_> {
    Context {
        now,
        drive_at: None,
        above: None,
        policies,
    }
}
