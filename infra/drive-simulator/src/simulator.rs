//! The handle on a simulated Drive, for programs and tests that embed it.

mod content;
mod orders;

pub use content::Generated;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ::http::request::Parts;
use axum::Router;

use crate::{
    clock::{Clock, Now},
    errors::DriveError,
    faults::{Fault, Faults},
    http::Uploads,
    ids::UserId,
    notify::{Deliver, NotificationPolicy, Notifier},
    quota::{Counters, Quota, QuotaLimits},
    state::{
        LIBRARY_OWNER, State,
        edit::NewItem,
        item::{FOLDER, Role},
        patch::Patch,
    },
};

/// How a simulator starts.
#[derive(Clone, Default)]
pub struct Options {
    /// Fixes ids, version steps and the fate of notifications. Without it, every start differs.
    pub seed: Option<u64>,
    /// What its time goes by. Without it, the machine's time.
    pub clock: Option<Now>,
    /// How its notifications are sent. Without it, over HTTP to the channel's address.
    pub deliver: Option<Deliver>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// What a simulated person does to one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Gives it another name.
    Rename(String),
    /// Sets its description; empty text removes it.
    Describe(String),
    /// Stars it, or takes the star away. Stars are per user.
    Star(bool),
    /// Puts it into the bin, or takes it out. In My Drive only the owner may.
    Trash(bool),
    /// Moves it into another folder, by id.
    Move(String),
    /// Sets a public property, or with `None` deletes it.
    Property(String, Option<String>),
    /// Deletes it for good, with everything below it. Only the owner may.
    Delete,
}

/// An item at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSnapshot {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its type.
    pub mime_type: String,
    /// Its description; empty when it has none.
    pub description: String,
    /// Who starred it.
    pub starred_by: Vec<String>,
    /// In the bin, by itself or with a folder above it.
    pub trashed: bool,
    /// In the bin by itself.
    pub explicitly_trashed: bool,
    /// Its folder; `None` only for a root.
    pub parent: Option<String>,
    /// Its public properties.
    pub properties: BTreeMap<String, String>,
    /// Its application's private properties.
    pub app_properties: BTreeMap<String, String>,
    /// Its version.
    pub version: u64,
    /// The etag of v2, quotes included.
    pub etag: String,
    /// Bytes; `None` for what has no content of its own.
    pub size: Option<u64>,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Items that are no folders.
    pub files: usize,
    /// Folders, roots left out.
    pub folders: usize,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    clock: Arc<Clock>,
    faults: Mutex<Faults>,
    quota: Mutex<Quota>,
    notifier: Notifier,
    uploads: Mutex<Uploads>,
}

/// A simulated Google Drive. Clones are handles on the same one.
#[derive(Debug, Clone)]
pub struct Simulator {
    inner: Arc<Inner>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Simulator {
    /// An empty Drive. Needs no runtime; notifications are sent from the runtime of the first call that has one.
    pub fn new(options: Options) -> Self {
        let rng = options
            .seed
            .map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        let clock = Arc::new(Clock::new(options.clock));
        let faults = Faults::new(rng.clone());
        let state = State::new(rng, clock.now_ms());
        let notifier = Notifier::new(Arc::clone(&clock), options.deliver);
        let inner = Inner {
            state: Mutex::new(state),
            clock,
            faults: Mutex::new(faults),
            quota: Mutex::default(),
            notifier,
            uploads: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Everything that the simulator answers, as a router. A fault that drops connections needs [`Simulator::serve`]:
    /// served otherwise it answers 503.
    pub fn router(&self) -> Router {
        crate::http::router(self)
    }

    /// Runs `act` on the state at the present time; what has to be sent leaves after the lock is released.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = lock(&self.inner.state);
        state.now_ms = self.inner.clock.now_ms();
        let result = act(&mut state);
        let notices = state.take_outbox();
        if !notices.is_empty() {
            let seed = state.rng().u64(..);
            // Handing over under the lock keeps the order of notices; it only queues.
            self.inner.notifier.send(notices, seed);
        }
        result
    }

    pub(crate) fn count(&self, method: &'static str, units: u64) {
        lock(&self.inner.quota).count(method, units);
    }

    pub(crate) fn count_log(&self, log: String) {
        lock(&self.inner.quota).count_log(log);
    }

    pub(crate) fn charge(
        &self,
        user: &UserId,
        quota_user: Option<&str>,
        units: u64,
    ) -> Result<(), DriveError> {
        lock(&self.inner.quota).charge(user, quota_user, units, self.inner.clock.now_ms())
    }

    pub(crate) fn uploads<R>(&self, act: impl FnOnce(&mut Uploads) -> R) -> R {
        act(&mut lock(&self.inner.uploads))
    }

    pub(crate) fn meet_fault(&self, parts: &Parts) -> Option<Fault> {
        lock(&self.inner.faults).meet(parts.method.as_str(), parts.uri.path(), parts.uri.query())
    }

    /// The simulator's time, in milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        self.inner.clock.now_ms()
    }

    /// Moves the simulator's clock forward: tokens and channels expire by it.
    pub fn advance_clock(&self, seconds: u64) {
        self.inner.clock.advance(seconds.saturating_mul(1_000));
    }

    /// Starts again from nothing: items, logs, channels, tokens, faults, policies, counters and the clock's offset.
    pub fn reset(&self) {
        self.inner.clock.reset();
        self.with(State::reset);
        let mut faults = lock(&self.inner.faults);
        faults.clear();
        faults.met = 0;
        drop(faults);
        *lock(&self.inner.quota) = Quota::default();
        *lock(&self.inner.uploads) = Uploads::default();
        self.inner
            .notifier
            .set_policy(NotificationPolicy::default());
        self.inner.notifier.zero();
    }

    /// How notifications misbehave from now on.
    pub fn set_notifications(&self, policy: NotificationPolicy) {
        self.inner.notifier.set_policy(policy);
    }

    /// Orders a fault.
    ///
    /// # Errors
    /// A message for a fault that could not be met or would have no effect.
    pub fn add_fault(&self, fault: Fault) -> Result<(), String> {
        lock(&self.inner.faults).add(fault)
    }

    /// The faults that are not used up.
    pub fn pending_faults(&self) -> Vec<Fault> {
        lock(&self.inner.faults).pending().to_vec()
    }

    /// Forgets every fault.
    pub fn clear_faults(&self) {
        lock(&self.inner.faults).clear();
    }

    /// Holds calls to these limits from now on.
    pub fn set_quota_limits(&self, limits: QuotaLimits) {
        lock(&self.inner.quota).limits = limits;
    }

    /// What was called and sent since the counters were last zeroed.
    pub fn counters(&self) -> Counters {
        Counters {
            notifications: self.inner.notifier.outcomes(),
            faults: lock(&self.inner.faults).met,
            ..lock(&self.inner.quota).counters()
        }
    }

    /// Counts from zero again.
    pub fn zero_counters(&self) {
        lock(&self.inner.quota).zero();
        lock(&self.inner.faults).met = 0;
        self.inner.notifier.zero();
    }

    /// Refuses the access tokens, or the page tokens, that were handed out so far.
    pub fn invalidate_tokens(&self, access_tokens: bool, page_tokens: bool) {
        self.with(|state| {
            if access_tokens {
                state.invalidate_access_tokens();
            }
            if page_tokens {
                state.invalidate_page_tokens();
            }
        });
    }

    /// Makes a shared drive and returns its id, which is that of its root folder too.
    pub fn create_drive(&self, name: &str, members: &[(&str, Role)]) -> String {
        let members = members
            .iter()
            .map(|(user, role)| (UserId::from_email(user), *role))
            .collect();
        self.with(|state| state.create_drive(name, members))
            .to_string()
    }

    /// The id of the root of a user's My Drive.
    pub fn root_id(&self, user: &str) -> String {
        self.with(|state| state.root_of(&UserId::from_email(user)))
            .to_string()
    }

    /// Makes a folder, in the root of the user's My Drive when no parent is named, and returns its id.
    ///
    /// # Errors
    /// What Drive would answer: 404 for a parent out of sight, 403 without the right.
    pub fn create_folder(
        &self,
        user: &str,
        name: &str,
        parent: Option<&str>,
    ) -> Result<String, DriveError> {
        let fields = Patch {
            name: Some(name.to_owned()),
            mime_type: Some(FOLDER.to_owned()),
            ..Patch::default()
        };
        self.create(user, parent, fields)
    }

    /// Makes a file with content, in the root of the user's My Drive when no parent is named, and returns its id.
    ///
    /// # Errors
    /// What Drive would answer: 404 for a parent out of sight, 403 without the right.
    pub fn create_file(
        &self,
        user: &str,
        name: &str,
        parent: Option<&str>,
        content: bytes::Bytes,
    ) -> Result<String, DriveError> {
        let content = Some(Arc::new(crate::state::item::Content::uploaded(content)));
        let fields = Patch {
            name: Some(name.to_owned()),
            content,
            ..Patch::default()
        };
        self.create(user, parent, fields)
    }

    fn create(
        &self,
        user: &str,
        parent: Option<&str>,
        fields: Patch,
    ) -> Result<String, DriveError> {
        let user = UserId::from_email(user);
        let new = NewItem {
            parents: parent.map(str::to_owned).into_iter().collect(),
            fields,
            ..NewItem::default()
        };
        self.with(|state| state.create(&user, new, true))
            .map(|id| id.to_string())
    }

    /// Up to `count` random items that this user sees, no folders and nothing in the bin. Some may be drawn twice.
    pub fn random_files(&self, user: &str, count: usize) -> Vec<String> {
        let user = UserId::from_email(user);
        self.with(|state| {
            (0..count)
                .filter_map(|_| state.random_file(&user))
                .map(|id| id.to_string())
                .collect()
        })
    }

    /// Does what a person does in Drive's own site: changes the item, its logs, and notifies the channels.
    ///
    /// # Errors
    /// What Drive would answer: 404 for an item out of sight, 403 without the right, 400 for a value that is not allowed.
    pub fn apply(&self, user: &str, file_id: &str, edit: Edit) -> Result<(), DriveError> {
        let user = UserId::from_email(user);
        self.with(|state| {
            let mut patch = Patch::default();
            match edit {
                Edit::Rename(name) => patch.name = Some(name),
                Edit::Describe(text) => patch.description = Some(text),
                Edit::Star(starred) => patch.starred = Some(starred),
                Edit::Trash(trashed) => patch.trashed = Some(trashed),
                Edit::Property(key, value) => patch.properties = BTreeMap::from([(key, value)]),
                Edit::Delete => return state.delete(&user, file_id, true),
                Edit::Move(folder) => {
                    let parent = state.find(&user, file_id, true)?.item.parent.clone();
                    patch.add_parents = vec![folder];
                    patch.remove_parents = parent
                        .map(|parent| parent.to_string())
                        .into_iter()
                        .collect();
                }
            }
            state.patch(&user, file_id, true, None, patch).map(|_| ())
        })
    }

    /// An item as the library's owner sees it, whoever may see it; `None` when it is gone.
    pub fn file(&self, id: &str) -> Option<FileSnapshot> {
        self.with(|state| {
            state
                .item(id)
                .map(|item| (Arc::clone(item), state.is_trashed(item)))
        })
        .map(|(item, trashed)| FileSnapshot {
            id: item.id.to_string(),
            name: item.name.clone(),
            mime_type: item.mime_type.to_string(),
            description: item.description.clone().unwrap_or_default(),
            starred_by: item.starred_by.iter().map(ToString::to_string).collect(),
            trashed,
            explicitly_trashed: item.explicitly_trashed,
            parent: item.parent.as_ref().map(ToString::to_string),
            properties: item.properties.clone(),
            app_properties: item.app_properties.clone(),
            version: item.version,
            etag: item.etag(),
            size: item.content.as_ref().map(|content| content.size()),
        })
    }

    /// The ids of every item but the roots, in the order of creation.
    pub fn file_ids(&self) -> Vec<String> {
        self.with(|state| state.ids().map(ToString::to_string).collect())
    }

    /// How many items there are.
    pub fn totals(&self) -> Totals {
        self.with(|state| {
            let folders = state.folder_count();
            Totals {
                files: state.item_count() - folders,
                folders,
            }
        })
    }

    /// The name of the user who owns the library.
    pub fn library_owner() -> &'static str {
        LIBRARY_OWNER
    }
}
