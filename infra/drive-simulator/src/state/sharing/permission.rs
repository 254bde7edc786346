//! Permissions: principals and their roles on one item.

use std::{collections::BTreeMap, sync::Arc};

use crate::ids::UserId;

/// A role, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Views the item.
    Reader,
    /// Views the item and comments on it.
    Commenter,
    /// Edits the item.
    Writer,
    /// Edits, moves and trashes the item: shared drives only.
    FileOrganizer,
    /// Full access, permanent deletion included: shared drives only.
    Organizer,
    /// Full access: My Drive only.
    Owner,
}

impl Role {
    /// Parses the wire form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [
            Self::Reader,
            Self::Commenter,
            Self::Writer,
            Self::FileOrganizer,
            Self::Organizer,
            Self::Owner,
        ]
        .into_iter()
        .find(|role| role.as_str() == text)
    }

    /// Returns the wire form.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Commenter => "commenter",
            Self::Writer => "writer",
            Self::FileOrganizer => "fileOrganizer",
            Self::Organizer => "organizer",
            Self::Owner => "owner",
        }
    }

    /// Returns whether the role may change name, description, properties and content.
    pub(crate) fn can_edit(self) -> bool {
        self >= Self::Writer
    }

    /// Returns whether the role may trash and untrash: in My Drive, only the owner.
    pub(crate) fn can_trash(self) -> bool {
        self >= Self::FileOrganizer
    }

    /// Returns whether the role may delete permanently.
    pub(crate) fn can_delete(self) -> bool {
        self >= Self::Organizer
    }
}

/// The holder of a permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Principal {
    /// One account.
    User(UserId),
    /// A group, by its address. The control interface sets its accounts.
    Group(String),
    /// Every account of a domain.
    Domain(String),
    /// Everyone.
    Anyone,
}

impl Principal {
    /// Returns the id of a permission for this principal, the same on every item, as in Drive.
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

    /// Returns the type in its wire form.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Group(_) => "group",
            Self::Domain(_) => "domain",
            Self::Anyone => "anyone",
        }
    }
}

/// One permission on one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Permission {
    pub(crate) principal: Principal,
    pub(crate) role: Role,
    /// For everyone and for domains: listed and logged, rather than accessible only with the link.
    pub(crate) discoverable: bool,
    pub(crate) expires_ms: Option<i64>,
}

impl Permission {
    /// Creates a permission for one account, without expiration.
    pub(crate) fn of_user(user: UserId, role: Role) -> Self {
        Self {
            principal: Principal::User(user),
            role,
            discoverable: true,
            expires_ms: None,
        }
    }

    /// Returns the permission's id.
    pub(crate) fn id(&self) -> String {
        self.principal.permission_id(self.discoverable)
    }
}

/// The permissions on one item itself, by id. Items without any, the majority, need no memory for
/// them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Permissions(Option<Arc<BTreeMap<String, Permission>>>);

impl Permissions {
    /// Creates a set of permissions.
    pub(crate) fn new(permissions: impl IntoIterator<Item = Permission>) -> Self {
        Self::from(
            permissions
                .into_iter()
                .map(|granted| (granted.id(), granted))
                .collect::<BTreeMap<_, _>>(),
        )
    }

    /// Returns all permissions with their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Permission)> {
        self.0.iter().flat_map(|permissions| permissions.iter())
    }

    /// Returns the permission with this id.
    pub(crate) fn get(&self, id: &str) -> Option<&Permission> {
        self.0.as_ref()?.get(id)
    }

    /// Returns whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the permissions with no role above `max`, for a tree that does not have such roles.
    pub(crate) fn capped(&self, max: Role) -> Self {
        let mut capped = self.to_map();
        for permission in capped.values_mut() {
            permission.role = permission.role.min(max);
        }
        Self::from(capped)
    }

    /// Returns a copy that can be changed.
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
