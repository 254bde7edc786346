//! Permissions: principals, roles, and what Drive shows of them.
//!
//! The *direct* role of a principal on a file is a field like any other
//! ([`crate::Field::Permission`]), and both sides may change it. Everything else that Drive shows
//! (inherited roles, expirations, pending owners) is read-only metadata, an [`ObservedPermission`].

use crate::Choice;
use crate::trail::{erased_principal, is_erased_name};
use crate::{
    DriveMetadata, DriveVersion, Field, FileRecord, Snapshot, Timestamp, Value, ValueRefused,
};

/// The most permissions that are stored of one file. Drive lets a file be shared with 600 people
/// individually, and a write of such a record would cost 40 times as much. A file with more
/// permissions is marked as such ([`DriveMetadata::permissions_left_out`]), and its permission
/// fields are left alone on both sides.
pub const PERMISSIONS_MAX: usize = 200;

/// The longest text that names a principal, in bytes: an e-mail address has up to 254, plus the
/// prefix.
pub const PRINCIPAL_BYTES_MAX: usize = 320;

/// The roles that can be granted, lowest first (Drive guide "Roles and permissions").
/// `fileOrganizer` and `organizer` exist in shared drives only.
pub const ROLES: [&str; 5] = [
    "reader",
    "commenter",
    "writer",
    "fileOrganizer",
    "organizer",
];

/// The role that an edit never grants: a transfer of ownership is a separate operation.
pub const OWNER: &str = "owner";

/// A permission as Drive shows it on a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ObservedPermission {
    /// The principal, as in [`crate::Field::Permission`].
    pub principal: String,
    /// Drive's id of the permission: the same for one person on every file.
    pub id: String,
    /// The effective role, under Drive's name, which may be unknown to this build.
    pub role: String,
    /// True if a part of it is on the file itself. Its role is then the field's.
    pub direct: bool,
    /// True if a part of it is inherited from a folder above, or from membership of the shared
    /// drive.
    pub inherited: bool,
    /// The source of the inherited part. Drive provides it in shared drives only.
    pub inherited_from: Option<String>,
    /// The time at which the permission expires.
    pub expires_at: Option<Timestamp>,
    /// True if the account behind it is deleted.
    pub deleted: bool,
    /// True if the principal was asked to become the owner and has not answered.
    pub pending_owner: bool,
    /// The view that the permission is limited to (`published`, `metadata`), if any. It grants no
    /// role on the file.
    pub view: Option<String>,
}

/// Returns the rank of a role in the order none < reader < commenter < writer < fileOrganizer <
/// organizer, or `None` for any other role, including `owner`.
pub(crate) fn rank(role: &Value) -> Option<usize> {
    match role {
        Value::Null => Some(0),
        Value::Text(role) => ROLES
            .iter()
            .position(|known| known == role)
            .map(|at| at + 1),
        Value::Flag(_) => None,
    }
}

/// Returns the side with the lower role, or `None` if there is none: the values are not roles, or
/// not known ones, or equal.
#[must_use]
pub fn most_restrictive(field: &Field, app: &Value, drive: &Value) -> Option<Choice> {
    let Field::Permission(_) = field else {
        return None;
    };
    match rank(app)?.cmp(&rank(drive)?) {
        std::cmp::Ordering::Less => Some(Choice::App),
        std::cmp::Ordering::Greater => Some(Choice::Drive),
        std::cmp::Ordering::Equal => None,
    }
}

/// Checks a direct role that the application wants to grant to a principal.
pub(crate) fn check(principal: &str, role: &Value) -> Result<(), ValueRefused> {
    if !is_principal(principal) {
        return Err(ValueRefused::NotAPrincipal);
    }
    match role {
        Value::Text(role) if role == OWNER => Err(ValueRefused::OwnerRole),
        Value::Null => Ok(()),
        Value::Text(role) if ROLES.contains(&role.as_str()) => Ok(()),
        Value::Text(_) | Value::Flag(_) => Err(ValueRefused::Kind {
            wanted: "reader, commenter, writer, fileOrganizer or organizer, or null for none",
        }),
    }
}

/// Returns whether a text is a valid principal: `user:` or `group:` and an e-mail address,
/// `domain:` and a domain, `anyone`, or `id:` and the id of a permission for which Drive shows no
/// principal. In place of the address of a person that was erased stands `erased:<n>`.
#[must_use]
pub fn is_principal(text: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    let address = |part: &str| {
        plain(part)
            && part
                .split_once('@')
                .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty())
    };
    text.len() <= PRINCIPAL_BYTES_MAX
        && match text.split_once(':') {
            None => text == "anyone",
            Some(("user" | "group", part)) => address(part) || is_erased_name(part),
            Some(("domain", part)) => plain(part) && !part.contains('@'),
            Some(("id", part)) => plain(part),
            Some(_) => false,
        }
}

/// Returns a principal in its canonical form: e-mail addresses and domains are case-insensitive in
/// Drive.
#[must_use]
pub fn principal_of(text: &str) -> String {
    match text.split_once(':') {
        Some(("id", _)) | None => text.to_owned(),
        Some(_) => text.to_lowercase(),
    }
}

/// Returns a digest of a set of permission ids, independent of their order (FNV-1a over the sorted
/// ids). It shows that the set has changed without storing it.
#[must_use]
pub fn ids_digest<'a>(ids: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut ids: Vec<&str> = ids.into_iter().collect();
    ids.sort_unstable();
    let bytes = ids.iter().flat_map(|id| id.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl DriveMetadata {
    /// Returns the permission of a principal, if Drive shows one.
    #[must_use]
    pub fn permission(&self, principal: &str) -> Option<&ObservedPermission> {
        self.permissions
            .iter()
            .find(|permission| permission.principal == principal)
    }

    /// Returns the number of permissions with an unknown role or an unknown kind of principal. They
    /// are stored unchanged.
    #[must_use]
    pub fn unknown_permissions(&self) -> usize {
        let strange = |permission: &&ObservedPermission| {
            let role = permission.role.as_str();
            let known_role = ROLES.contains(&role) || role == OWNER || role == "publishedReader";
            !known_role || !is_principal(&permission.principal)
        };
        self.permissions.iter().filter(strange).count()
    }

    /// Returns a copy without anything about permissions.
    fn without_permissions(&self) -> Self {
        Self {
            permissions: Vec::new(),
            permissions_known: false,
            permissions_left_out: 0,
            permission_ids: None,
            ..self.clone()
        }
    }

    /// Takes over the permissions of earlier metadata if this one, which is later, does not know
    /// them.
    pub(crate) fn inherit_permissions(&mut self, earlier: &Self) {
        if !self.permissions_known && self.permissions_left_out == 0 {
            self.permissions.clone_from(&earlier.permissions);
            self.permissions_known = earlier.permissions_known;
            self.permissions_left_out = earlier.permissions_left_out;
        }
    }
}

impl Snapshot {
    /// Returns whether the permissions can be listed, and only listed: those of an item of a shared
    /// drive that has its own, and those of the drive's root, which are the drive's members. Of any
    /// other file, Drive does not show elsewhere what it omits here.
    #[must_use]
    pub fn permissions_need_listing(&self) -> bool {
        let is_root = self.metadata.drive_id.as_deref() == Some(self.file.as_str());
        !self.metadata.permissions_known
            && (is_root || self.metadata.has_augmented_permissions == Some(true))
    }

    /// Returns whether the permissions must be listed before this snapshot is merged into `record`.
    /// A page of them costs 100 quota units, as much as twenty reads of files, regardless of its
    /// length. So they are listed only if there is reason to expect a change:
    /// - the file is new, or its permissions were never read;
    /// - the set of permission ids has changed;
    /// - the version moved, and no tracked change explains it;
    /// - `thorough`: a resync checks this version, and the stored permissions belong to an earlier
    ///   one.
    #[must_use]
    pub fn needs_permissions(&self, record: Option<&FileRecord>, thorough: bool) -> bool {
        if !self.permissions_need_listing() {
            return false;
        }
        let Some(record) = record.filter(|record| record.is_present()) else {
            return true;
        };
        if self.version < record.version {
            return false;
        }
        let known = record.metadata.permissions_known || record.metadata.permissions_left_out > 0;
        let ids_moved = self.metadata.permission_ids != record.metadata.permission_ids;
        let unexplained = self.version > record.version && self.matches_except_permissions(record);
        let behind = record.permissions_at < self.version;
        !known || ids_moved || unexplained || (thorough && behind)
    }

    /// Returns whether everything except the version and the permissions is as last observed.
    fn matches_except_permissions(&self, record: &FileRecord) -> bool {
        let seen = &*record.recognise(self);
        let mut metadata = seen.metadata.without_permissions();
        metadata.inherit_sha256(&record.metadata);
        let other = |field: &&Field| !matches!(field, Field::Permission(_) | Field::Content);
        let fields = seen.fields.keys().chain(record.fields.keys());
        let same = |field: &Field| seen.value(field) == *record.sides(field).drive();
        fields.filter(other).all(same) && metadata == record.metadata.without_permissions()
    }
}

impl FileRecord {
    /// Returns whether the stored permissions belong to the stored version.
    #[must_use]
    pub fn permissions_are_current(&self) -> bool {
        self.metadata.permissions_known && self.permissions_at >= self.version
    }

    /// Checks an edit of a permission against the state of the file, beyond [`Field::check`].
    pub(crate) fn check_permission(
        &self,
        principal: &str,
        role: &Value,
    ) -> Result<(), ValueRefused> {
        if !self.metadata.permissions_known {
            return Err(ValueRefused::PermissionsUnknown);
        }
        let sides = self.sides(&Field::Permission(principal.to_owned()));
        let shown = self.metadata.permission(principal);
        let nothing_direct = sides.app == Value::Null && *sides.drive() == Value::Null;
        if *sides.drive() == Value::text(OWNER) && sides.app != *role {
            return Err(ValueRefused::OwnerRole);
        }
        let grants = *role != Value::Null && sides.app != *role;
        let is_direct = shown.is_some_and(|shown| shown.direct);
        if grants && !is_direct && erased_principal(principal).is_some() {
            return Err(ValueRefused::ErasedPerson);
        }
        match shown.filter(|shown| shown.inherited) {
            Some(shown) if *role == Value::Null && nothing_direct => Err(ValueRefused::Inherited {
                from: shown.inherited_from.clone(),
            }),
            None if principal.starts_with("id:") && nothing_direct && sides.app != *role => {
                Err(ValueRefused::NotAPrincipal)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Returns the version that the record's permissions belong to after a snapshot is merged.
    pub(crate) fn permissions_seen(&self, snapshot: &Snapshot) -> DriveVersion {
        if snapshot.metadata.permissions_known || snapshot.metadata.permissions_left_out > 0 {
            snapshot.version
        } else {
            self.permissions_at
        }
    }
}
