//! Everything the simulated Drive remembers. Pure: time is a field that the caller sets, randomness comes from the
//! seed, and what has to be sent is left in an outbox.

pub(crate) mod channel;
pub(crate) mod edit;
pub(crate) mod feed;
pub(crate) mod grants;
pub(crate) mod item;
pub(crate) mod log;
pub(crate) mod patch;
mod rights;
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
        channel::{Channels, Notice, Watched},
        item::{FOLDER, Home, Item, Role},
        log::{Audience, ChangeLog, Entry, Subject},
    },
};

/// The user who owns the library that everyone sees.
pub(crate) const LIBRARY_OWNER: &str = "owner";
/// A tree deeper than this would be a cycle; Drive's own limit is 100 levels.
const DEPTH_MAX: usize = 256;

/// A shared drive.
#[derive(Debug)]
pub(crate) struct SharedDrive {
    pub(crate) name: String,
    pub(crate) created_ms: i64,
    pub(crate) members: BTreeMap<UserId, Role>,
    pub(crate) log: ChangeLog,
}

/// How lists are cut into pages, beyond what the caller asks.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Paging {
    /// No page is longer than this.
    pub(crate) size_max: Option<usize>,
    /// Every so-many-th page is empty and names a next page.
    pub(crate) empty_every: Option<u64>,
    pages: u64,
}

impl Paging {
    /// A policy; `empty_every` below 2 would never end and counts as none.
    pub(crate) fn new(size_max: Option<usize>, empty_every: Option<u64>) -> Self {
        Self {
            size_max: size_max.filter(|size| *size > 0),
            empty_every: empty_every.filter(|every| *every > 1),
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
    user_log: ChangeLog,
    pub(crate) channels: Channels,
    pub(crate) paging: Paging,
    access_tokens: HashMap<String, users::AccessToken>,
    pub(crate) grants: grants::Grants,
    pub(crate) watch_throttle: throttle::WatchThrottle,
    /// Milliseconds between a write and its appearance in the change logs.
    pub(crate) visible_after_ms: i64,
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
            user_log: ChangeLog::default(),
            channels: Channels::default(),
            paging: Paging::default(),
            access_tokens: HashMap::new(),
            grants: grants::Grants::default(),
            watch_throttle: throttle::WatchThrottle::default(),
            visible_after_ms: 0,
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
        let root = self.root_item(id.clone(), "My Drive", Home::MyDrive(user.clone()), user);
        self.items.insert(id.clone(), Arc::new(root));
        self.roots.insert(user.clone(), id.clone());
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

    /// Where an item is: whose tree, and whether it or a folder above it is in the bin.
    fn place(&self, item: &Item) -> (Home, bool) {
        let (mut trashed, mut current) = (item.explicitly_trashed, item);
        for _ in 0..DEPTH_MAX {
            if let Some(home) = &current.root_of {
                return (home.clone(), trashed);
            }
            let Some(parent) = current
                .parent
                .as_ref()
                .and_then(|parent| self.items.get(parent))
            else {
                break;
            };
            trashed |= parent.explicitly_trashed;
            current = parent;
        }
        (Home::MyDrive(UserId::from(LIBRARY_OWNER)), trashed)
    }

    /// What a user may do in a tree; `None` when they cannot see it.
    fn role(&self, user: &UserId, home: &Home) -> Option<Role> {
        match home {
            Home::MyDrive(owner) if owner == user => Some(Role::Owner),
            Home::MyDrive(owner) => (owner.as_str() == LIBRARY_OWNER).then_some(Role::Writer),
            Home::Shared(drive) => self.drives.get(drive)?.members.get(user).copied(),
        }
    }

    /// An item as `user` sees it; `None` when it is gone or out of their sight.
    pub(crate) fn view(&self, user: &UserId, id: &FileId) -> Option<View> {
        self.items.get(id).and_then(|item| self.view_of(user, item))
    }

    fn view_of(&self, user: &UserId, item: &Arc<Item>) -> Option<View> {
        let (home, trashed) = self.place(item);
        let role = self.role(user, &home)?;
        let parent = item
            .parent
            .as_ref()
            .and_then(|parent| self.items.get(parent));
        let parent_is_root =
            parent.is_some_and(|parent| matches!(parent.root_of, Some(Home::MyDrive(_))));
        Some(View {
            item: Arc::clone(item),
            home,
            role,
            trashed,
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
        self.place(item).1
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

    /// Makes a shared drive; its members learn of it by one change of the type `drive`.
    pub(crate) fn create_drive(&mut self, name: &str, members: BTreeMap<UserId, Role>) -> DriveId {
        let root = new_root_id(&mut self.rng);
        let drive = DriveId::from(root.as_str());
        let creator = members
            .keys()
            .next()
            .cloned()
            .unwrap_or_else(|| UserId::from(LIBRARY_OWNER));
        let item = self.root_item(root.clone(), name, Home::Shared(drive.clone()), &creator);
        self.items.insert(root, Arc::new(item));
        let shared = SharedDrive {
            name: name.to_owned(),
            created_ms: self.now_ms,
            members,
            log: ChangeLog::default(),
        };
        self.drives.insert(drive.clone(), shared);
        self.append_to_user_log(
            Subject::Drive(drive.clone()),
            Audience::Members(drive.clone()),
            false,
        );
        drive
    }

    /// A shared drive that the user is a member of.
    pub(crate) fn drive(
        &self,
        user: &UserId,
        id: &str,
    ) -> Result<(DriveId, &SharedDrive), DriveError> {
        self.drives
            .get_key_value(id)
            .filter(|(_, drive)| drive.members.contains_key(user))
            .map(|(id, drive)| (id.clone(), drive))
            .ok_or_else(|| DriveError::drive_not_found(id))
    }

    /// The shared drives of a user.
    pub(crate) fn drives_of(
        &self,
        user: &UserId,
    ) -> impl Iterator<Item = (&DriveId, &SharedDrive)> {
        self.drives
            .iter()
            .filter(move |(_, drive)| drive.members.contains_key(user))
    }

    /// Records that an item changed, in every log that shows it, and queues what the channels are due.
    fn record(&mut self, id: &FileId, home: &Home, removed: bool) {
        let subject = Subject::File(id.clone());
        match home {
            Home::MyDrive(owner) => {
                let audience = if owner.as_str() == LIBRARY_OWNER {
                    Audience::Everyone
                } else {
                    Audience::User(owner.clone())
                };
                self.append_to_user_log(subject, audience, removed);
            }
            Home::Shared(drive) => {
                self.append_to_user_log(subject.clone(), Audience::Members(drive.clone()), removed);
                self.append_to_drive_log(drive, subject, removed);
            }
        }
    }

    fn append_to_user_log(&mut self, subject: Subject, audience: Audience, removed: bool) {
        let step = self.rng.u64(1..=3);
        self.user_log.append(
            Entry {
                subject,
                audience: audience.clone(),
                time_ms: self.now_ms,
                removed,
            },
            step,
        );
        if self.channels.is_empty() {
            return;
        }
        let users: Vec<UserId> = self
            .channels
            .watched_user_logs()
            .filter(|user| self.is_addressed(&audience, user))
            .cloned()
            .collect();
        let shared = matches!(audience, Audience::Members(_));
        for user in users {
            let Self {
                channels,
                rng,
                now_ms,
                outbox,
                ..
            } = self;
            let watched = Watched::UserLog(user);
            outbox.extend(channels.notices(
                &watched,
                "change",
                *now_ms,
                || rng.u64(1..=3),
                |channel| !shared || channel.include_all_drives,
            ));
        }
    }

    fn append_to_drive_log(&mut self, drive: &DriveId, subject: Subject, removed: bool) {
        let Self {
            drives,
            channels,
            rng,
            now_ms,
            outbox,
            ..
        } = self;
        let Some(shared) = drives.get_mut(drive) else {
            return;
        };
        let entry = Entry {
            subject,
            audience: Audience::Everyone,
            time_ms: *now_ms,
            removed,
        };
        shared.log.append(entry, rng.u64(1..=3));
        let watched = Watched::DriveLog(drive.clone());
        outbox.extend(channels.notices(&watched, "change", *now_ms, || rng.u64(1..=3), |_| true));
    }

    /// Tells the channels on the file itself. Drive sends nothing for files in shared drives.
    fn tell_file_channels(
        &mut self,
        id: &FileId,
        home: &Home,
        state: &'static str,
        changed: Option<&str>,
    ) {
        if self.channels.is_empty() || matches!(home, Home::Shared(_)) {
            return;
        }
        let Self {
            channels,
            rng,
            now_ms,
            outbox,
            ..
        } = self;
        let due = channels.notices(
            &Watched::File(id.clone()),
            state,
            *now_ms,
            || rng.u64(1..=3),
            |_| true,
        );
        outbox.extend(due.into_iter().map(|notice| Notice {
            changed: changed.map(str::to_owned),
            ..notice
        }));
    }

    fn is_addressed(&self, audience: &Audience, user: &UserId) -> bool {
        match audience {
            Audience::Everyone => true,
            Audience::User(only) => only == user,
            Audience::Members(drive) => self
                .drives
                .get(drive)
                .is_some_and(|drive| drive.members.contains_key(user)),
        }
    }

    fn new_revision(&mut self) -> String {
        format!("0B{}", random_text(&mut self.rng, 46))
    }
}
