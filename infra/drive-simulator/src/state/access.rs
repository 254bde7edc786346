//! Who has access to an item: the permissions on it, and those on the folders above it.
//!
//! Nothing is copied down: what an item inherits is found by walking up when somebody asks, so a change of a folder's
//! permissions is a change of one item, as Drive's change log shows it.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    ids::{FileId, UserId},
    state::{
        DEPTH_MAX, LIBRARY_OWNER, State,
        item::{Home, Item, Role},
    },
};

/// Whom a permission is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Principal {
    /// One account.
    User(UserId),
    /// A group, by its address. Its accounts are said by a control order.
    Group(String),
    /// Every account of a domain.
    Domain(String),
    /// Everyone.
    Anyone,
}

impl Principal {
    /// The id of a permission for this principal: the same on every item, as in Drive.
    pub(crate) fn permission_id(&self, discoverable: bool) -> String {
        match self {
            Self::User(user) => user.permission_id(),
            Self::Group(address) => UserId::from(format!("group {address}")).permission_id(),
            Self::Domain(name) => format!(
                "{}k",
                UserId::from(format!("domain {name}")).permission_id()
            ),
            Self::Anyone if discoverable => "anyone".to_owned(),
            Self::Anyone => "anyoneWithLink".to_owned(),
        }
    }

    /// The type on the wire.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Group(_) => "group",
            Self::Domain(_) => "domain",
            Self::Anyone => "anyone",
        }
    }
}

/// One permission, as it stands on one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Permission {
    pub(crate) principal: Principal,
    pub(crate) role: Role,
    /// For everyone and for domains: found in lists and logs, not only by who has the link.
    pub(crate) discoverable: bool,
    pub(crate) expires_ms: Option<i64>,
}

impl Permission {
    /// A permission of one account without an end.
    pub(crate) fn of_user(user: UserId, role: Role) -> Self {
        Self {
            principal: Principal::User(user),
            role,
            discoverable: true,
            expires_ms: None,
        }
    }

    /// Its id.
    pub(crate) fn id(&self) -> String {
        self.principal.permission_id(self.discoverable)
    }
}

/// The permissions that stand on one item itself, by id. Most items have none and pay nothing for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Permissions(Option<Arc<BTreeMap<String, Permission>>>);

impl Permissions {
    /// These permissions.
    pub(crate) fn new(permissions: impl IntoIterator<Item = Permission>) -> Self {
        Self::from(
            permissions
                .into_iter()
                .map(|granted| (granted.id(), granted))
                .collect::<BTreeMap<_, _>>(),
        )
    }

    /// Every one, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Permission)> {
        self.0.iter().flat_map(|permissions| permissions.iter())
    }

    /// The one with this id.
    pub(crate) fn get(&self, id: &str) -> Option<&Permission> {
        self.0.as_ref()?.get(id)
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The same, with no role above this one: what is left of them in a tree that has no such role.
    pub(crate) fn capped(&self, most: Role) -> Self {
        let mut capped = self.to_map();
        for permission in capped.values_mut() {
            permission.role = permission.role.min(most);
        }
        Self::from(capped)
    }

    /// A copy that can be changed.
    pub(crate) fn to_map(&self) -> BTreeMap<String, Permission> {
        self.0
            .as_ref()
            .map(|permissions| (**permissions).clone())
            .unwrap_or_default()
    }
}

impl From<BTreeMap<String, Permission>> for Permissions {
    fn from(permissions: BTreeMap<String, Permission>) -> Self {
        Self((!permissions.is_empty()).then(|| Arc::new(permissions)))
    }
}

/// One item of the way up that has permissions of its own.
#[derive(Debug, Clone)]
struct Source {
    item: FileId,
    permissions: Permissions,
    /// The item itself, not one above it.
    own: bool,
    /// The root of a shared drive: its permissions are the members.
    members: bool,
    /// A limited-access folder lies below: only owners and organizers are let through.
    limited: bool,
}

/// Where an item is, and every permission that reaches it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) home: Home,
    /// In the bin, by itself or with a folder above it.
    pub(crate) trashed: bool,
    /// From the item outward.
    sources: Vec<Source>,
}

/// Where one part of an effective permission comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Detail {
    pub(crate) role: Role,
    pub(crate) inherited_from: Option<FileId>,
    pub(crate) member: bool,
}

/// A permission as it counts on one item: the highest role of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effective {
    pub(crate) id: String,
    pub(crate) granted: Permission,
    pub(crate) details: Vec<Detail>,
}

impl Place {
    /// The permissions that count on the item, by id.
    pub(crate) fn permissions(&self) -> Vec<Effective> {
        let mut found: BTreeMap<&String, Effective> = BTreeMap::new();
        for source in &self.sources {
            for (id, granted) in source.permissions.iter() {
                if source.limited && !passes_limit(granted.role) {
                    continue;
                }
                // What is in a My Drive is owned by its user directly, wherever it lies.
                let own = source.own || granted.role == Role::Owner;
                let detail = Detail {
                    role: granted.role,
                    inherited_from: (!own).then(|| source.item.clone()),
                    member: source.members,
                };
                let known = found.entry(id).or_insert_with(|| Effective {
                    id: id.clone(),
                    granted: granted.clone(),
                    details: Vec::new(),
                });
                if granted.role > known.granted.role {
                    known.granted = granted.clone();
                }
                known.details.push(detail);
            }
        }
        found.into_values().collect()
    }

    /// The ids of those permissions.
    pub(crate) fn permission_ids(&self) -> Vec<String> {
        self.permissions()
            .into_iter()
            .map(|permission| permission.id)
            .collect()
    }

    /// Whether permissions stand on the item itself.
    pub(crate) fn has_own(&self) -> bool {
        self.sources.iter().any(|source| source.own)
    }

    fn granted(&self) -> impl Iterator<Item = &Permission> {
        self.sources.iter().flat_map(|source| {
            source
                .permissions
                .iter()
                .map(|(_, granted)| granted)
                .filter(|granted| !source.limited || passes_limit(granted.role))
        })
    }
}

/// Drive lets owners and organizers into every limited-access folder.
fn passes_limit(role: Role) -> bool {
    role >= Role::Organizer
}

/// What a user may do with an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) role: Role,
    /// Found in lists and logs; otherwise only by id, as with a link.
    pub(crate) listed: bool,
}

impl State {
    /// Where an item is, and what reaches it.
    pub(crate) fn place(&self, item: &Item) -> Place {
        let (mut trashed, mut limited) = (false, false);
        let (mut sources, mut current, mut own) = (Vec::new(), item, true);
        for _ in 0..DEPTH_MAX {
            trashed |= current.explicitly_trashed;
            if !current.permissions.is_empty() {
                sources.push(Source {
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
                };
            }
            limited |= current.inherits_nothing;
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
        }
    }

    /// What a user may do in a place; `None` when they cannot see it.
    pub(crate) fn standing(&self, user: &UserId, place: &Place) -> Option<Standing> {
        let mut standing: Option<Standing> = None;
        for granted in place.granted().filter(|granted| self.is_for(granted, user)) {
            let known = standing.get_or_insert(Standing {
                role: granted.role,
                listed: false,
            });
            known.role = known.role.max(granted.role);
            known.listed |= granted.discoverable;
        }
        standing
    }

    /// Whether a permission is this user's, and has not ended.
    fn is_for(&self, granted: &Permission, user: &UserId) -> bool {
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

    /// The users whose lists and logs an item in this place belongs to.
    pub(crate) fn seen_by(&self, place: &Place) -> Vec<UserId> {
        self.user_logs
            .keys()
            .filter(|user| {
                self.standing(user, place)
                    .is_some_and(|standing| standing.listed)
            })
            .cloned()
            .collect()
    }
}
