//! The state of the simulated Drive. Pure: time is a field that the caller sets, randomness comes
//! from the seed, and notifications to send are left in an outbox.

pub(crate) mod change_logs;
pub(crate) mod items;
pub(crate) mod sharing;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    errors::DriveError,
    ids::{DriveId, FileId, UserId, new_file_id, new_root_id, random_text},
    state::{
        change_logs::{
            change_log::ChangeLog,
            channels::{Channels, Notification},
            log_writes::LogRepeats,
            watch_limits::WatchThrottle,
        },
        items::{
            breaches::Breaches,
            download_operations::Downloads,
            edit_journal::Journal,
            file_content::ContentRule,
            item::{FOLDER, Home, Item},
            item_labels::LabelDefinition,
            item_revisions::History,
            tree_limits::Limits,
            version_drift::{PendingMoves, VersionDrift},
        },
        sharing::{
            access::Place,
            addresses::Addresses,
            item_permissions::OverlappingWrites,
            oauth_grants::{AccessToken, Grants},
            permission::{Permission, Permissions, Principal, Role},
            shared_drives::SharedDrive,
        },
    },
};

/// The user who owns the library that everyone can see.
pub(crate) const LIBRARY_OWNER: &str = "owner";
/// A tree deeper than this would be a cycle; Drive's own limit is 100 levels.
const DEPTH_MAX: usize = 256;

/// Restrictions of pages beyond those that the caller asks for, and what searches leave out.
#[derive(Debug, Default, Clone, Copy, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Paging {
    /// The maximum number of items on a page; 0 counts as absent.
    size: Option<usize>,
    /// Makes every n-th page empty, with a token for the next page: with 1, no list ever ends.
    empty_every: Option<u64>,
    /// Ends an unsorted search after this many items, as if there were no more.
    pub(crate) search_ends_after: Option<usize>,
    /// The share of the rows of unsorted searches that is left out without a word, drawn for each
    /// row of each page.
    search_loses: f64,
    /// The same, of searches that join two folders by `or`.
    ored_parents_lose: f64,
    /// The `incompleteSearch` of every search.
    pub(crate) incomplete_search: bool,
    /// Ends all of this by itself after this time of the simulator's clock, in seconds.
    lasts_seconds: Option<u32>,
    #[serde(skip)]
    pages: u64,
    /// The end, in milliseconds since 1970.
    #[serde(skip)]
    ends_ms: Option<i64>,
}

impl Paging {
    /// Starts the time that it lasts.
    pub(crate) fn beginning_at(self, now_ms: i64) -> Self {
        let lasts = self.lasts_seconds.map(|seconds| i64::from(seconds) * 1_000);
        Self {
            ends_ms: lasts.map(|lasts| now_ms.saturating_add(lasts)),
            ..self
        }
    }

    /// Ends it when its time has passed.
    pub(crate) fn expire(&mut self, now_ms: i64) {
        if self.ends_ms.is_some_and(|end| now_ms >= end) {
            *self = Self {
                pages: self.pages,
                ..Self::default()
            };
        }
    }

    /// Counts a page and returns its number, and whether it is to be empty.
    pub(crate) fn begin_page(&mut self) -> (u64, bool) {
        self.pages += 1;
        let every = self.empty_every.filter(|every| *every > 0);
        let empty = every.is_some_and(|every| self.pages.is_multiple_of(every));
        (self.pages, empty)
    }

    /// Returns the number of items of a page for which the caller asked for `requested`.
    pub(crate) fn size_of(&self, requested: usize) -> usize {
        self.size
            .filter(|size| *size > 0)
            .map_or(requested, |max| requested.min(max))
    }

    /// Returns the share of rows that a search loses.
    pub(crate) fn loss(&self, sorted: bool, joins_parents: bool) -> f64 {
        let of_any = if sorted { 0.0 } else { self.search_loses };
        let of_joined = if joins_parents {
            self.ored_parents_lose
        } else {
            0.0
        };
        of_any.max(of_joined)
    }

    /// Checks the shares.
    ///
    /// # Errors
    /// A message for one outside 0 to 1.
    pub(crate) fn check(&self) -> Result<(), String> {
        let shares = [
            ("search_loses", self.search_loses),
            ("ored_parents_lose", self.ored_parents_lose),
        ];
        match shares
            .iter()
            .find(|(_, share)| !(0.0..=1.0).contains(share))
        {
            Some((name, _)) => Err(format!("{name} must be between 0 and 1")),
            None => Ok(()),
        }
    }
}

/// An item as one user sees it, detached from the state.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) item: Arc<Item>,
    pub(crate) home: Home,
    pub(crate) role: Role,
    /// In the viewer's lists; otherwise accessible by id only, as with a link.
    pub(crate) listed: bool,
    /// The viewer is a member of the shared drive; false for anything in a My Drive.
    pub(crate) member: bool,
    /// Every permission that applies to the item.
    pub(crate) place: Place,
    /// In the trash: the item itself or a folder above it.
    pub(crate) trashed: bool,
    pub(crate) viewer: UserId,
    /// The item lies directly in the root of a My Drive.
    pub(crate) parent_is_root: bool,
    /// The item's resource key, and that of a shortcut's target.
    pub(crate) resource_key: Option<String>,
    pub(crate) target_resource_key: Option<String>,
    /// The origin of links to content; `None` stands for Google's own.
    pub(crate) origin: Option<Arc<str>>,
}

impl View {
    /// Returns whether the viewer starred it.
    pub(crate) fn starred(&self) -> bool {
        self.item.starred_by.contains(&self.viewer)
    }

    /// Returns whether it is a root folder, which no list and no change log contains.
    pub(crate) fn is_root(&self) -> bool {
        self.item.root_of.is_some()
    }

    /// Returns the owner; `None` in a shared drive.
    pub(crate) fn owner(&self) -> Option<&UserId> {
        match &self.home {
            Home::MyDrive(user) => Some(user),
            Home::Shared(_) => None,
        }
    }

    /// Returns the shared drive that it is in.
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
    /// The simulator's time at the current call, in milliseconds since 1970.
    pub(crate) now_ms: i64,
    /// Changes with every reset, which invalidates earlier page tokens.
    epoch: u32,
    rng: fastrand::Rng,
    items: HashMap<FileId, Arc<Item>>,
    /// All items but the roots, in the order of creation.
    by_sequence: BTreeMap<u64, FileId>,
    children: HashMap<FileId, BTreeMap<u64, FileId>>,
    next_sequence: u64,
    roots: HashMap<UserId, FileId>,
    drives: BTreeMap<DriveId, SharedDrive>,
    /// The request ids that created drives, by user: each creates only one.
    drive_requests: BTreeSet<(UserId, String)>,
    /// The change log of each user; the users are those who have one.
    user_logs: BTreeMap<UserId, ChangeLog>,
    /// The accounts of groups, by the group's address.
    pub(crate) groups: HashMap<String, BTreeSet<UserId>>,
    /// The addresses of accounts that are not their own names.
    pub(crate) addresses: Addresses,
    pub(crate) log_repeats: LogRepeats,
    pub(crate) limits: Limits,
    overlap_ms: i64,
    overlaps: HashMap<FileId, OverlappingWrites>,
    pub(crate) channels: Channels,
    pub(crate) paging: Paging,
    access_tokens: HashMap<String, AccessToken>,
    /// The number of times that the page tokens of one log alone were invalidated, by scope.
    log_generations: HashMap<String, u32>,
    pub(crate) grants: Grants,
    histories: HashMap<FileId, History>,
    pub(crate) downloads: Downloads,
    pub(crate) watch_throttle: WatchThrottle,
    /// The delay between a write and its appearance in the change logs, in milliseconds.
    pub(crate) visibility_delay_ms: i64,
    /// The edits of items, if they are recorded.
    pub(crate) journal: Journal,
    pub(crate) drift: VersionDrift,
    pub(crate) breaches: Breaches,
    /// The keys of items that need one, by id.
    pub(crate) resource_keys: HashMap<FileId, String>,
    /// The definitions of labels, by id.
    labels: BTreeMap<String, Arc<LabelDefinition>>,
    /// The origin under which calls reach the simulator, for links to content.
    origin: Option<Arc<str>>,
    pending_moves: PendingMoves,
    outbox: Vec<Notification>,
}

impl State {
    /// Creates an empty Drive with the library's owner.
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
            addresses: Addresses::default(),
            log_repeats: LogRepeats::All,
            limits: Limits::default(),
            overlap_ms: 0,
            overlaps: HashMap::new(),
            channels: Channels::default(),
            paging: Paging::default(),
            access_tokens: HashMap::new(),
            log_generations: HashMap::new(),
            grants: Grants::default(),
            histories: HashMap::new(),
            downloads: Downloads::default(),
            watch_throttle: WatchThrottle::default(),
            visibility_delay_ms: 0,
            journal: Journal::default(),
            drift: VersionDrift::default(),
            breaches: Breaches::default(),
            resource_keys: HashMap::new(),
            labels: BTreeMap::new(),
            origin: None,
            pending_moves: PendingMoves::default(),
            outbox: Vec::new(),
        };
        state.root_of(&UserId::from(LIBRARY_OWNER));
        state
    }

    /// Resets everything, with new ids: tokens issued before are invalid.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.rng.fork(), self.now_ms);
    }

    /// Invalidates every page token issued so far.
    pub(crate) fn invalidate_page_tokens(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Takes the notifications to be sent.
    pub(crate) fn take_outbox(&mut self) -> Vec<Notification> {
        std::mem::take(&mut self.outbox)
    }

    /// Adds a notification to the outbox.
    pub(crate) fn send(&mut self, notification: Notification) {
        self.outbox.push(notification);
    }

    /// Records the host that a call was sent to: links to content lead there from now on.
    pub(crate) fn note_host(&mut self, host: &str) {
        let known = self
            .origin
            .as_deref()
            .and_then(|known| known.strip_prefix("http://"));
        if known != Some(host) {
            self.origin = Some(format!("http://{host}").into());
        }
    }

    /// Returns the random number generator.
    pub(crate) fn rng(&mut self) -> &mut fastrand::Rng {
        &mut self.rng
    }

    /// Returns the root of a user's My Drive; a user exists from the first time that they are
    /// named.
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
            other_parents: Vec::new(),
            root_of: Some(home),
            properties: BTreeMap::new(),
            app_properties: BTreeMap::new(),
            labels: BTreeMap::new(),
            version: self.rng.u64(1..=3),
            etag_lag: 0,
            created_ms: self.now_ms,
            modified_ms: self.now_ms,
            last_modifying_user: creator.clone(),
            content: None,
            head_revision: None,
            shortcut: None,
            permissions: Permissions::default(),
            limited_access: false,
            rule: ContentRule::default(),
        }
    }

    /// Returns an unused id.
    pub(crate) fn unused_id(&mut self) -> FileId {
        loop {
            let id = new_file_id(&mut self.rng);
            if !self.items.contains_key(&id) {
                return id;
            }
        }
    }

    /// Returns an item as `user` sees it; `None` if it does not exist or is not accessible.
    pub(crate) fn view(&self, user: &UserId, id: &FileId) -> Option<View> {
        self.items.get(id).and_then(|item| self.view_of(user, item))
    }

    fn view_of(&self, user: &UserId, item: &Arc<Item>) -> Option<View> {
        let place = self.place(item);
        let standing = self.access_of(user, &place)?;
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
            resource_key: self.resource_keys.get(&item.id).cloned(),
            target_resource_key: item
                .shortcut
                .as_ref()
                .and_then(|shortcut| self.resource_keys.get(&shortcut.target).cloned()),
            origin: self.origin.clone(),
        })
    }

    /// Returns the item that a call names, by id or by the alias `root`.
    ///
    /// # Errors
    /// 404 `notFound` for an item that does not exist, is not accessible, or is in a shared drive
    /// without `supportsAllDrives`.
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

    /// Returns an item, regardless of access.
    pub(crate) fn item(&self, id: &str) -> Option<&Arc<Item>> {
        self.items.get(id)
    }

    /// Returns whether an item or a folder above it is in the trash.
    pub(crate) fn is_trashed(&self, item: &Item) -> bool {
        self.place(item).trashed
    }

    /// Returns the number of items, without roots.
    pub(crate) fn item_count(&self) -> usize {
        self.by_sequence.len()
    }

    /// Returns the number of folders, without roots.
    pub(crate) fn folder_count(&self) -> usize {
        self.by_sequence
            .values()
            .filter_map(|id| self.items.get(id))
            .filter(|item| item.is_folder())
            .count()
    }

    /// Returns the ids of all items but the roots, in the order of creation.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &FileId> {
        self.by_sequence.values()
    }

    /// Returns a random item that is neither a folder nor trashed, if a few attempts find one.
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
