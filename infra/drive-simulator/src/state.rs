//! Everything the simulated Drive remembers. Pure: time is a field that the caller sets, randomness comes from the
//! seed, and what has to be sent is left in an outbox.

pub(crate) mod access;
pub(crate) mod channel;
mod copy;
pub(crate) mod downloads;
pub(crate) mod drives;
pub(crate) mod edit;
mod epochs;
pub(crate) mod feed;
pub(crate) mod grants;
pub(crate) mod item;
pub(crate) mod journal;
pub(crate) mod limits;
pub(crate) mod log;
pub(crate) mod patch;
pub(crate) mod permissions;
pub(crate) mod record;
pub(crate) mod revisions;
pub(crate) mod rights;
pub(crate) mod rules;
pub(crate) mod search;
pub(crate) mod throttle;
pub(crate) mod token;
pub(crate) mod users;
mod visibility;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    errors::DriveError,
    ids::{DriveId, FileId, UserId, new_file_id, new_root_id, random_text},
    state::{
        access::{Permission, Permissions, Place, Principal},
        channel::{Channels, Notice},
        drives::SharedDrive,
        item::{FOLDER, Home, Item, Role},
        limits::Limits,
        log::ChangeLog,
        permissions::Overlap,
        record::Repeats,
    },
};

/// The user who owns the library that everyone sees.
pub(crate) const LIBRARY_OWNER: &str = "owner";
/// A tree deeper than this would be a cycle; Drive's own limit is 100 levels.
const DEPTH_MAX: usize = 256;

/// How lists are cut into pages, beyond what the caller asks.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Paging {
    /// No page is longer than this.
    pub(crate) size_max: Option<usize>,
    /// Every so-many-th page is empty and names a next page.
    pub(crate) empty_every: Option<u64>,
    /// A search ends after so many items, and says nothing of the others.
    pub(crate) search_ends_after: Option<usize>,
    pages: u64,
}

impl Paging {
    /// A policy; `empty_every` below 2 would never end and counts as none.
    pub(crate) fn new(
        size_max: Option<usize>,
        empty_every: Option<u64>,
        search_ends_after: Option<usize>,
    ) -> Self {
        Self {
            size_max: size_max.filter(|size| *size > 0),
            empty_every: empty_every.filter(|every| *every > 1),
            search_ends_after,
            pages: 0,
        }
    }
}

/// An item as one user sees it, detached from the state.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) item: Arc<Item>,
    pub(crate) home: Home,
    pub(crate) role: Role,
    /// In the viewer's lists; otherwise reached by id only, as with a link.
    pub(crate) listed: bool,
    /// A member of the shared drive that it is in; false for anything in a My Drive.
    pub(crate) member: bool,
    /// Every permission that reaches it.
    pub(crate) place: Place,
    /// In the bin, by itself or with a folder above it.
    pub(crate) trashed: bool,
    pub(crate) viewer: UserId,
    /// Whether it lies directly in the root of a My Drive.
    pub(crate) parent_is_root: bool,
}

impl View {
    /// Starred by the viewer.
    pub(crate) fn starred(&self) -> bool {
        self.item.starred_by.contains(&self.viewer)
    }

    /// Whether it is a root folder (which no list and no change log shows).
    pub(crate) fn is_root(&self) -> bool {
        self.item.root_of.is_some()
    }

    /// The owner: nobody in a shared drive.
    pub(crate) fn owner(&self) -> Option<&UserId> {
        match &self.home {
            Home::MyDrive(user) => Some(user),
            Home::Shared(_) => None,
        }
    }

    /// The shared drive it is in.
    pub(crate) fn drive(&self) -> Option<&DriveId> {
        match &self.home {
            Home::MyDrive(_) => None,
            Home::Shared(drive) => Some(drive),
        }
    }
}

/// The state of the simulated Drive.
#[derive(Debug)]
pub(crate) struct State {
    /// The simulator's time of the call under way, in milliseconds since 1970.
    pub(crate) now_ms: i64,
    /// Changes with every reset, so that page tokens from before it are refused.
    epoch: u32,
    rng: fastrand::Rng,
    items: HashMap<FileId, Arc<Item>>,
    /// Every item but the roots, in the order of creation.
    by_sequence: BTreeMap<u64, FileId>,
    children: HashMap<FileId, BTreeMap<u64, FileId>>,
    next_sequence: u64,
    roots: HashMap<UserId, FileId>,
    drives: BTreeMap<DriveId, SharedDrive>,
    /// The requests that made drives, by user: each makes one only.
    drive_requests: BTreeSet<(UserId, String)>,
    /// Every user's own log; the users are those who have one.
    user_logs: BTreeMap<UserId, ChangeLog>,
    /// The accounts of groups, by the group's address.
    pub(crate) groups: HashMap<String, BTreeSet<UserId>>,
    pub(crate) repeats: Repeats,
    pub(crate) limits: Limits,
    overlap_ms: i64,
    overlaps: HashMap<FileId, Overlap>,
    pub(crate) channels: Channels,
    pub(crate) paging: Paging,
    access_tokens: HashMap<String, users::AccessToken>,
    /// How often the page tokens of a log were invalidated by themselves, by scope.
    log_generations: HashMap<String, u32>,
    pub(crate) grants: grants::Grants,
    histories: HashMap<FileId, revisions::History>,
    pub(crate) downloads: downloads::Downloads,
    pub(crate) watch_throttle: throttle::WatchThrottle,
    /// Milliseconds between a write and its appearance in the change logs.
    pub(crate) visible_after_ms: i64,
    /// What is written to items, where somebody asked for it.
    pub(crate) journal: journal::Journal,
    outbox: Vec<Notice>,
}

impl State {
    /// An empty Drive of the library's owner.
    pub(crate) fn new(mut rng: fastrand::Rng, now_ms: i64) -> Self {
        let mut state = Self {
            now_ms,
            epoch: rng.u32(..),
            rng,
            items: HashMap::new(),
            by_sequence: BTreeMap::new(),
            children: HashMap::new(),
            next_sequence: 1,
            roots: HashMap::new(),
            drives: BTreeMap::new(),
            drive_requests: BTreeSet::new(),
            user_logs: BTreeMap::new(),
            groups: HashMap::new(),
            repeats: Repeats::All,
            limits: Limits::default(),
            overlap_ms: 0,
            overlaps: HashMap::new(),
            channels: Channels::default(),
            paging: Paging::default(),
            access_tokens: HashMap::new(),
            log_generations: HashMap::new(),
            grants: grants::Grants::default(),
            histories: HashMap::new(),
            downloads: downloads::Downloads::default(),
            watch_throttle: throttle::WatchThrottle::default(),
            visible_after_ms: 0,
            journal: journal::Journal::default(),
            outbox: Vec::new(),
        };
        state.root_of(&UserId::from(LIBRARY_OWNER));
        state
    }

    /// Starts again from nothing, with new ids: everything handed out before is refused.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.rng.fork(), self.now_ms);
    }

    /// Refuses every page token handed out so far.
    pub(crate) fn invalidate_page_tokens(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Takes the notifications that have become due.
    pub(crate) fn take_outbox(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.outbox)
    }

    /// Puts a notification into the outbox.
    pub(crate) fn send(&mut self, notice: Notice) {
        self.outbox.push(notice);
    }

    /// The random generator of the state.
    pub(crate) fn rng(&mut self) -> &mut fastrand::Rng {
        &mut self.rng
    }

    /// The root of a user's My Drive; a user exists from the first time that they are named.
    pub(crate) fn root_of(&mut self, user: &UserId) -> FileId {
        if let Some(root) = self.roots.get(user) {
            return root.clone();
        }
        let id = new_root_id(&mut self.rng);
        let mut root = self.root_item(id.clone(), "My Drive", Home::MyDrive(user.clone()), user);
        let everyone = Permission {
            principal: Principal::Anyone,
            role: Role::Writer,
            discoverable: true,
            expires_ms: None,
        };
        root.permissions = Permissions::new(
            std::iter::once(Permission::of_user(user.clone(), Role::Owner))
                .chain((user.as_str() == LIBRARY_OWNER).then_some(everyone)),
        );
        self.items.insert(id.clone(), Arc::new(root));
        self.roots.insert(user.clone(), id.clone());
        self.user_logs.entry(user.clone()).or_default();
        id
    }

    fn root_item(&mut self, id: FileId, name: &str, home: Home, creator: &UserId) -> Item {
        Item {
            id,
            sequence: 0,
            name: name.to_owned(),
            mime_type: Arc::from(FOLDER),
            description: None,
            starred_by: BTreeSet::new(),
            explicitly_trashed: false,
            parent: None,
            root_of: Some(home),
            properties: BTreeMap::new(),
            app_properties: BTreeMap::new(),
            version: self.rng.u64(1..=3),
            created_ms: self.now_ms,
            modified_ms: self.now_ms,
            last_modifying_user: creator.clone(),
            content: None,
            head_revision: None,
            shortcut: None,
            permissions: Permissions::default(),
            inherits_nothing: false,
            rule: rules::ContentRule::default(),
        }
    }

    /// A new id that nothing has.
    pub(crate) fn unused_id(&mut self) -> FileId {
        loop {
            let id = new_file_id(&mut self.rng);
            if !self.items.contains_key(&id) {
                return id;
            }
        }
    }

    /// An item as `user` sees it; `None` when it is gone or out of their sight.
    pub(crate) fn view(&self, user: &UserId, id: &FileId) -> Option<View> {
        self.items.get(id).and_then(|item| self.view_of(user, item))
    }

    fn view_of(&self, user: &UserId, item: &Arc<Item>) -> Option<View> {
        let place = self.place(item);
        let standing = self.standing(user, &place)?;
        let parent = item
            .parent
            .as_ref()
            .and_then(|parent| self.items.get(parent));
        let parent_is_root =
            parent.is_some_and(|parent| matches!(parent.root_of, Some(Home::MyDrive(_))));
        let member = self.membership(user, Some(&place.home)).is_some();
        Some(View {
            item: Arc::clone(item),
            member,
            home: place.home.clone(),
            role: standing.role,
            listed: standing.listed,
            trashed: place.trashed,
            place,
            viewer: user.clone(),
            parent_is_root,
        })
    }

    /// The item that a call names, by id or by the alias `root`.
    ///
    /// # Errors
    /// 404 `notFound` when it is gone, out of sight, or in a shared drive that the call does not support.
    pub(crate) fn find(
        &mut self,
        user: &UserId,
        id: &str,
        all_drives: bool,
    ) -> Result<View, DriveError> {
        let id = if id == "root" {
            self.root_of(user)
        } else {
            FileId::from(id)
        };
        self.view(user, &id)
            .filter(|view| all_drives || view.drive().is_none())
            .ok_or_else(|| DriveError::file_not_found(id.as_str()))
    }

    /// An item, whoever may see it.
    pub(crate) fn item(&self, id: &str) -> Option<&Arc<Item>> {
        self.items.get(id)
    }

    /// Whether an item is in the bin, by itself or with a folder above it.
    pub(crate) fn is_trashed(&self, item: &Item) -> bool {
        self.place(item).trashed
    }

    /// How many items there are, roots left out.
    pub(crate) fn item_count(&self) -> usize {
        self.by_sequence.len()
    }

    /// How many of them are folders.
    pub(crate) fn folder_count(&self) -> usize {
        self.by_sequence
            .values()
            .filter_map(|id| self.items.get(id))
            .filter(|item| item.is_folder())
            .count()
    }

    /// The ids of every item but the roots, in the order of creation.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &FileId> {
        self.by_sequence.values()
    }

    /// A random item that is no folder and not in the bin, if a few tries find one.
    pub(crate) fn random_file(&mut self, user: &UserId) -> Option<FileId> {
        for _ in 0..64 {
            let start = self.rng.u64(0..self.next_sequence);
            let id = self
                .by_sequence
                .range(start..)
                .next()
                .map(|(_, id)| id.clone())?;
            if self
                .view(user, &id)
                .is_some_and(|view| !view.trashed && !view.item.is_folder())
            {
                return Some(id);
            }
        }
        None
    }

    fn new_revision(&mut self) -> String {
        format!("0B{}", random_text(&mut self.rng, 46))
    }
}
