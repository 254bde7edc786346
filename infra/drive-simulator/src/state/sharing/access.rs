//! Access to an item: the permissions on it, and those on the folders above it.
//!
//! Inherited permissions are not copied down but looked up in the folders above, so that a change
//! of a folder's permissions changes one item, as Drive's change log shows it.

use std::collections::BTreeMap;

use crate::{
    ids::{FileId, UserId},
    state::{
        DEPTH_MAX, LIBRARY_OWNER, State,
        items::item::{Home, Item},
        sharing::addresses::Addresses,
        sharing::permission::{Permission, Permissions, Principal, Role},
    },
};

/// An item with permissions of its own, on the path from an item to its root.
#[derive(Debug, Clone)]
struct PermissionSource {
    item: FileId,
    permissions: Permissions,
    /// The item itself, not a folder above it.
    own: bool,
    /// The root of a shared drive: its permissions are the members.
    members: bool,
    /// A limited-access folder lies below: only the permissions of owners and organizers apply.
    limited: bool,
}

/// The location of an item, and every permission that applies to it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) home: Home,
    /// In the trash: the item itself or a folder above it.
    pub(crate) trashed: bool,
    /// From the item to its root.
    sources: Vec<PermissionSource>,
    addresses: Addresses,
}

/// The origin of one part of an effective permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PermissionDetail {
    pub(crate) role: Role,
    pub(crate) inherited_from: Option<FileId>,
    pub(crate) member: bool,
}

/// A permission as it applies to one item: the highest role of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EffectivePermission {
    pub(crate) id: String,
    pub(crate) granted: Permission,
    pub(crate) details: Vec<PermissionDetail>,
    /// The address of an account.
    pub(crate) address: Option<String>,
}

impl Place {
    /// Returns the permissions that apply to the item, by id.
    pub(crate) fn permissions(&self) -> Vec<EffectivePermission> {
        let mut found: BTreeMap<&String, EffectivePermission> = BTreeMap::new();
        for source in &self.sources {
            for (id, granted) in source.permissions.iter() {
                if source.limited && !passes_limited_access(granted.role) {
                    continue;
                }
                // Everything in a My Drive is owned by its user directly, wherever it lies.
                let own = source.own || granted.role == Role::Owner;
                let detail = PermissionDetail {
                    role: granted.role,
                    inherited_from: (!own).then(|| source.item.clone()),
                    member: source.members,
                };
                let known = found.entry(id).or_insert_with(|| EffectivePermission {
                    id: id.clone(),
                    granted: granted.clone(),
                    details: Vec::new(),
                    address: match &granted.principal {
                        Principal::User(user) => Some(self.addresses.shown(user)),
                        Principal::Group(_) | Principal::Domain(_) | Principal::Anyone => None,
                    },
                });
                if granted.role > known.granted.role {
                    known.granted = granted.clone();
                }
                known.details.push(detail);
            }
        }
        found.into_values().collect()
    }

    /// Returns the ids of the permissions that apply to the item.
    pub(crate) fn permission_ids(&self) -> Vec<String> {
        self.permissions()
            .into_iter()
            .map(|permission| permission.id)
            .collect()
    }

    /// Returns whether the item itself has permissions.
    pub(crate) fn has_own(&self) -> bool {
        self.sources.iter().any(|source| source.own)
    }

    fn granted(&self) -> impl Iterator<Item = &Permission> {
        self.sources.iter().flat_map(|source| {
            source
                .permissions
                .iter()
                .map(|(_, granted)| granted)
                .filter(|granted| !source.limited || passes_limited_access(granted.role))
        })
    }
}

/// Returns whether a role applies in limited-access folders: Drive admits owners and organizers.
fn passes_limited_access(role: Role) -> bool {
    role >= Role::Organizer
}

/// A user's access to an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UserAccess {
    pub(crate) role: Role,
    /// In lists and logs; otherwise accessible by id only, as with a link.
    pub(crate) listed: bool,
}

impl State {
    /// Returns the location of an item, with the permissions that apply to it.
    pub(crate) fn place(&self, item: &Item) -> Place {
        let (mut trashed, mut limited) = (false, false);
        let (mut sources, mut current, mut own) = (Vec::new(), item, true);
        for _ in 0..DEPTH_MAX {
            trashed |= current.explicitly_trashed;
            if !current.permissions.is_empty() {
                sources.push(PermissionSource {
                    item: current.id.clone(),
                    permissions: current.permissions.clone(),
                    own,
                    members: matches!(current.root_of, Some(Home::Shared(_))),
                    limited,
                });
            }
            if let Some(home) = &current.root_of {
                return Place {
                    home: home.clone(),
                    trashed,
                    sources,
                    addresses: self.addresses.clone(),
                };
            }
            limited |= current.limited_access;
            own = false;
            let parent = current.parent.as_ref();
            let Some(parent) = parent.and_then(|parent| self.items.get(parent)) else {
                break;
            };
            current = parent;
        }
        Place {
            home: Home::MyDrive(UserId::from(LIBRARY_OWNER)),
            trashed,
            sources,
            addresses: self.addresses.clone(),
        }
    }

    /// Returns a user's access to a place; `None` if they have none.
    pub(crate) fn access_of(&self, user: &UserId, place: &Place) -> Option<UserAccess> {
        let mut standing: Option<UserAccess> = None;
        for granted in place
            .granted()
            .filter(|granted| self.applies_to(granted, user))
        {
            let known = standing.get_or_insert(UserAccess {
                role: granted.role,
                listed: false,
            });
            known.role = known.role.max(granted.role);
            known.listed |= granted.discoverable;
        }
        standing
    }

    /// Returns whether a permission applies to this user and has not expired.
    fn applies_to(&self, granted: &Permission, user: &UserId) -> bool {
        let matches = match &granted.principal {
            Principal::User(only) => only == user,
            Principal::Group(address) => self
                .groups
                .get(address)
                .is_some_and(|accounts| accounts.contains(user)),
            Principal::Domain(name) => user
                .email()
                .rsplit_once('@')
                .is_some_and(|(_, domain)| domain.eq_ignore_ascii_case(name)),
            Principal::Anyone => true,
        };
        matches && granted.expires_ms.is_none_or(|end| self.now_ms < end)
    }

    /// Returns the users whose lists and logs contain an item in this place.
    pub(crate) fn visible_to(&self, place: &Place) -> Vec<UserId> {
        self.user_logs
            .keys()
            .filter(|user| {
                self.access_of(user, place)
                    .is_some_and(|standing| standing.listed)
            })
            .cloned()
            .collect()
    }
}
