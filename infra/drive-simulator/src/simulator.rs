//! The handle of a simulated Drive, for programs and tests that embed it.

mod controls;
pub(crate) mod generated_files;
pub(crate) mod library;

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ::http::request::Parts;

use crate::{
    clock::{Clock, TimeSource},
    errors::DriveError,
    fault_injection::{Fault, Faults, MatchedFault},
    http::{media::upload_sessions::Uploads, serve::hosts::Hosts},
    ids::UserId,
    notify::{NotificationPolicy, Notifier, SendNotification},
    quota::{Counters, Quota, QuotaLimits},
    state::{
        LIBRARY_OWNER, State,
        items::{item::FOLDER, item_edits::NewItem, item_patch::Patch},
        sharing::permission::Role,
    },
};

/// The options that a simulator starts with.
#[derive(Clone, Default)]
pub struct Options {
    /// Makes ids, version steps and the fate of notifications reproducible. Without it, every start
    /// differs.
    pub seed: Option<u64>,
    /// The time source. Without it, the machine's time.
    pub clock: Option<TimeSource>,
    /// Sends notifications. Without it, they are POSTed to the channel's address.
    pub deliver: Option<SendNotification>,
    /// The directory that the control interface may load from; without it, from none.
    pub library: Option<PathBuf>,
    /// The names under which [`Simulator::serve`] may be called.
    pub hosts: Hosts,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// An edit that a simulated person makes to one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Renames it.
    Rename(String),
    /// Sets its description; empty text removes it.
    Describe(String),
    /// Stars or unstars it. Stars are per user.
    Star(bool),
    /// Moves it to the trash or out of it. In My Drive only the owner may.
    Trash(bool),
    /// Moves it into another folder, by id.
    Move(String),
    /// Sets a public property; `None` deletes it.
    Property(String, Option<String>),
    /// Deletes it permanently, with everything below it. Only the owner may.
    Delete,
}

/// The state of an item at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSnapshot {
    /// The item's id.
    pub id: String,
    /// The item's name.
    pub name: String,
    /// The item's MIME type.
    pub mime_type: String,
    /// The description; empty if the item has none.
    pub description: String,
    /// The users who starred it.
    pub starred_by: Vec<String>,
    /// In the trash: the item itself or a folder above it.
    pub trashed: bool,
    /// In the trash: the item itself.
    pub explicitly_trashed: bool,
    /// The folder; `None` only for a root.
    pub parent: Option<String>,
    /// The public properties.
    pub properties: BTreeMap<String, String>,
    /// The application's private properties.
    pub app_properties: BTreeMap<String, String>,
    /// Drive's version.
    pub version: u64,
    /// The v2 etag, quotes included.
    pub etag: String,
    /// The size in bytes; `None` for an item without binary content.
    pub size: Option<u64>,
}

/// The number of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Items other than folders.
    pub files: usize,
    /// Folders, without the roots.
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
    library: Option<PathBuf>,
    hosts: Hosts,
    control_key: Option<String>,
}

/// A simulated Google Drive. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Simulator {
    inner: Arc<Inner>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Draws the value that control commands need, from the machine and not from the seed.
fn control_key() -> Option<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)
        .ok()
        .map(|()| hex::encode(bytes))
}

impl Simulator {
    /// Creates an empty Drive. Needs no runtime; notifications are sent from the runtime of the
    /// first call that has one.
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
            library: options.library,
            hosts: options.hosts,
            control_key: control_key(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Returns the value of the header `X-Drive-Control`, which every control command on a socket
    /// needs; `None`, and no commands there, if the machine gave no randomness for it.
    pub fn control_key(&self) -> Option<&str> {
        self.inner.control_key.as_deref()
    }

    pub(crate) fn hosts(&self) -> &Hosts {
        &self.inner.hosts
    }

    /// Runs `act` on the state at the current time; notifications are sent after the lock is
    /// released.
    pub(crate) fn with_state<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = lock(&self.inner.state);
        let now_ms = self.inner.clock.now_ms();
        state.now_ms = now_ms;
        state.make_due_moves();
        state.paging.expire(now_ms);
        let result = act(&mut state);
        let notifications = state.take_outbox();
        if !notifications.is_empty() {
            let seed = state.rng().u64(..);
            // Queueing under the lock keeps the order of notifications; it does not block.
            self.inner.notifier.send(notifications, seed);
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

    pub(crate) fn with_uploads<R>(&self, act: impl FnOnce(&mut Uploads) -> R) -> R {
        act(&mut lock(&self.inner.uploads))
    }

    pub(crate) fn match_fault(&self, parts: &Parts) -> Option<MatchedFault> {
        lock(&self.inner.faults).take_matching(parts, self.now_ms())
    }

    /// Returns the simulator's time, in milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        self.inner.clock.now_ms()
    }

    /// Advances the simulator's clock, by which tokens and channels expire.
    pub fn advance_clock(&self, seconds: u64) {
        self.inner.clock.advance(seconds.saturating_mul(1_000));
    }

    /// Resets everything: items, logs, channels, tokens, faults, policies, counters and the clock's
    /// offset.
    pub fn reset(&self) {
        self.inner.clock.reset();
        self.with_state(State::reset);
        let mut faults = lock(&self.inner.faults);
        faults.clear();
        faults.applied = 0;
        drop(faults);
        *lock(&self.inner.quota) = Quota::default();
        *lock(&self.inner.uploads) = Uploads::default();
        self.inner
            .notifier
            .set_policy(NotificationPolicy::default());
        self.inner.notifier.reset_outcomes();
    }

    /// Sets the unreliability of notifications from now on.
    pub fn set_notifications(&self, policy: NotificationPolicy) {
        self.inner.notifier.set_policy(policy);
    }

    /// Adds a fault.
    ///
    /// # Errors
    /// A message for a fault that can never apply or has no effect.
    pub fn add_fault(&self, fault: Fault) -> Result<(), String> {
        lock(&self.inner.faults).add(fault, self.now_ms())
    }

    /// Returns the faults that are not used up.
    pub fn pending_faults(&self) -> Vec<Fault> {
        lock(&self.inner.faults).pending(self.now_ms())
    }

    /// Removes every fault.
    pub fn clear_faults(&self) {
        lock(&self.inner.faults).clear();
    }

    /// Sets the quota limits from now on.
    pub fn set_quota_limits(&self, limits: QuotaLimits) {
        lock(&self.inner.quota).limits = limits;
    }

    /// Returns the counters since they were last zeroed.
    pub fn counters(&self) -> Counters {
        Counters {
            notifications: self.inner.notifier.outcomes(),
            faults: lock(&self.inner.faults).applied,
            ..lock(&self.inner.quota).counters()
        }
    }

    /// Zeroes the counters.
    pub fn zero_counters(&self) {
        lock(&self.inner.quota).reset();
        lock(&self.inner.faults).applied = 0;
        self.inner.notifier.reset_outcomes();
    }

    /// Invalidates the access tokens, or the page tokens, issued so far.
    pub fn invalidate_tokens(&self, access_tokens: bool, page_tokens: bool) {
        self.with_state(|state| {
            if access_tokens {
                state.invalidate_access_tokens();
            }
            if page_tokens {
                state.invalidate_page_tokens();
            }
        });
    }

    /// Creates a shared drive and returns its id, which is also that of its root folder.
    pub fn create_drive(&self, name: &str, members: &[(&str, Role)]) -> String {
        let members = members
            .iter()
            .map(|(user, role)| (UserId::from_email(user), *role))
            .collect();
        self.with_state(|state| state.create_drive(name, members))
            .to_string()
    }

    /// Returns the id of the root of a user's My Drive.
    pub fn root_id(&self, user: &str) -> String {
        self.with_state(|state| state.root_of(&UserId::from_email(user)))
            .to_string()
    }

    /// Creates a folder, in the root of the user's My Drive if no parent is given, and returns its
    /// id.
    ///
    /// # Errors
    /// Drive's errors: 404 for an inaccessible parent, 403 for a missing permission.
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

    /// Creates a file with content, in the root of the user's My Drive if no parent is given, and
    /// returns its id.
    ///
    /// # Errors
    /// Drive's errors: 404 for an inaccessible parent, 403 for a missing permission.
    pub fn create_file(
        &self,
        user: &str,
        name: &str,
        parent: Option<&str>,
        content: bytes::Bytes,
    ) -> Result<String, DriveError> {
        let content = Some(Arc::new(
            crate::state::items::file_content::Content::uploaded(content),
        ));
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
        self.with_state(|state| state.create(&user, new, true))
            .map(|id| id.to_string())
    }

    /// Returns up to `count` random items that the user can see, without folders and trashed items.
    /// An item may occur twice.
    pub fn random_files(&self, user: &str, count: usize) -> Vec<String> {
        let user = UserId::from_email(user);
        self.with_state(|state| {
            (0..count)
                .filter_map(|_| state.random_file(&user))
                .map(|id| id.to_string())
                .collect()
        })
    }

    /// Edits an item as a person does in Drive's web interface: changes it, its logs, and notifies
    /// the channels.
    ///
    /// # Errors
    /// Drive's errors: 404 for an inaccessible item, 403 for a missing permission, 400 for an
    /// invalid value.
    pub fn apply(&self, user: &str, file_id: &str, edit: Edit) -> Result<(), DriveError> {
        let user = UserId::from_email(user);
        self.with_state(|state| {
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

    /// Returns an item, regardless of who has access to it; `None` if it does not exist.
    pub fn file(&self, id: &str) -> Option<FileSnapshot> {
        self.with_state(|state| {
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

    /// Returns the ids of all items but the roots, in the order of creation.
    pub fn file_ids(&self) -> Vec<String> {
        self.with_state(|state| state.ids().map(ToString::to_string).collect())
    }

    /// Returns the number of files and folders.
    pub fn totals(&self) -> Totals {
        self.with_state(|state| {
            let folders = state.folder_count();
            Totals {
                files: state.item_count() - folders,
                folders,
            }
        })
    }

    /// Returns the name of the user who owns the library.
    pub fn library_owner() -> &'static str {
        LIBRARY_OWNER
    }
}
