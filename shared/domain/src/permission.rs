//! Who may do what with a file: principals, roles, and what Drive shows of them.
//!
//! Two things are kept apart. The *direct* role of a principal on a file is a field like any other
//! ([`crate::Field::Permission`]): both sides may change it. What Drive shows beside it (inherited roles,
//! expirations, pending owners) is mirrored in [`MirroredPermission`], and nobody writes it here.

use crate::policy::Choice;
use crate::{DriveVersion, Field, FileRecord, Mirror, Snapshot, Timestamp, Value, ValueRefused};

/// The permissions of one file that we keep. Drive lets a file be shared with 600 people one by one, and
/// a record with as many would be written at 40 times the price. A file that has more is said to have
/// them ([`Mirror::permissions_left_out`]), and its permission fields are left alone on both sides.
pub const PERMISSIONS_MAX: usize = 200;

/// The longest text that names a principal, in bytes: an e-mail address has 254, and its kind comes before it.
pub const PRINCIPAL_BYTES_MAX: usize = 320;

/// The roles that can be given, lowest first (Drive guide "Roles and permissions"). `fileOrganizer` and
/// `organizer` exist in shared drives only.
pub const ROLES: [&str; 5] = [
    "reader",
    "commenter",
    "writer",
    "fileOrganizer",
    "organizer",
];

/// The role that is never given by an edit: handing a file over is another thing than sharing it.
pub const OWNER: &str = "owner";

/// One permission as Drive shows it on a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct MirroredPermission {
    /// Who: the text of the [`crate::Field::Permission`] that it belongs to.
    pub principal: String,
    /// Drive's id of it: the same for one person on every file.
    pub id: String,
    /// The role that counts, in Drive's word, known to us or not.
    pub role: String,
    /// A part of it is on the file itself, and its role is the field's.
    pub direct: bool,
    /// A part of it comes from a folder above, or from membership of the shared drive.
    pub inherited: bool,
    /// Where that part comes from; Drive says so in shared drives only.
    pub inherited_from: Option<String>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// The account behind it is deleted.
    pub deleted: bool,
    /// The principal was asked to take the file over, and has not answered.
    pub pending_owner: bool,
    /// It opens only a view of the file (`published`, `metadata`), and gives no role on it.
    pub view: Option<String>,
}

/// A role's place in the order none < reader < commenter < writer < fileOrganizer < organizer; `None`
/// for what is no role that we know, `owner` included.
fn rank(role: &Value) -> Option<usize> {
    match role {
        Value::Null => Some(0),
        Value::Text(role) => ROLES
            .iter()
            .position(|known| known == role)
            .map(|at| at + 1),
        Value::Flag(_) => None,
    }
}

/// Whose role is the lower one. `None` where it can't be told: not roles, or not ones that we know.
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

/// Checks a role that the application wants a principal to have directly.
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

/// Whether a text names somebody that a permission can be about: `user:`, `group:` and an e-mail address,
/// `domain:` and a domain, `anyone`, or `id:` and the id of a permission that Drive gives no name to.
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
            Some(("user" | "group", part)) => address(part),
            Some(("domain", part)) => plain(part) && !part.contains('@'),
            Some(("id", part)) => plain(part),
            Some(_) => false,
        }
}

/// A principal in the one form that it has here: e-mail addresses and domains know no case in Drive.
#[must_use]
pub fn principal_of(text: &str) -> String {
    match text.split_once(':') {
        Some(("id", _)) | None => text.to_owned(),
        Some(_) => text.to_lowercase(),
    }
}

/// A number that stands for a set of permission ids, whatever their order (FNV-1a over the sorted ids):
/// to see that the set has changed without keeping it.
#[must_use]
pub fn ids_digest<'a>(ids: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut ids: Vec<&str> = ids.into_iter().collect();
    ids.sort_unstable();
    let bytes = ids.iter().flat_map(|id| id.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Mirror {
    /// The permission of a principal, where Drive shows one.
    #[must_use]
    pub fn permission(&self, principal: &str) -> Option<&MirroredPermission> {
        self.permissions
            .iter()
            .find(|permission| permission.principal == principal)
    }

    /// How many permissions have a role or a kind of principal that we don't know. They are kept as they are.
    #[must_use]
    pub fn strange_permissions(&self) -> usize {
        let strange = |permission: &&MirroredPermission| {
            let role = permission.role.as_str();
            let known_role = ROLES.contains(&role) || role == OWNER || role == "publishedReader";
            !known_role || !is_principal(&permission.principal)
        };
        self.permissions.iter().filter(strange).count()
    }

    /// What is left when everything about permissions is taken out.
    fn without_permissions(&self) -> Self {
        Self {
            permissions: Vec::new(),
            permissions_known: false,
            permissions_left_out: 0,
            permission_ids: None,
            ..self.clone()
        }
    }

    /// Keeps what an earlier mirror knew of the permissions where this one, which is later, doesn't know.
    pub(crate) fn keep_permissions_of(&mut self, earlier: &Self) {
        if !self.permissions_known && self.permissions_left_out == 0 {
            self.permissions.clone_from(&earlier.permissions);
            self.permissions_known = earlier.permissions_known;
            self.permissions_left_out = earlier.permissions_left_out;
        }
    }
}

impl Snapshot {
    /// Whether its permissions can be listed at all, and only there: an item of a shared drive that has
    /// some of its own, or the drive's root, whose permissions are the drive's members. What Drive leaves
    /// out of any other file it does not show us elsewhere either.
    #[must_use]
    pub fn has_listed_permissions(&self) -> bool {
        let is_root = self.mirror.drive_id.as_deref() == Some(self.file.as_str());
        !self.mirror.permissions_known
            && (is_root || self.mirror.has_augmented_permissions == Some(true))
    }

    /// Whether the permissions must be listed before this snapshot is merged into `record`. A page of
    /// them costs 100 quota units, as much as twenty reads of files, whatever is on it: so they are listed
    /// only where something speaks for a change of them:
    /// - the file is seen for the first time, or its permissions never were;
    /// - the set of permission ids has changed;
    /// - the version moved, and nothing that is tracked explains it;
    /// - `thorough`: a resync looks at this version, and the permissions are of an earlier one.
    #[must_use]
    pub fn wants_permissions(&self, record: Option<&FileRecord>, thorough: bool) -> bool {
        if !self.has_listed_permissions() {
            return false;
        }
        let Some(record) = record.filter(|record| record.is_present()) else {
            return true;
        };
        if self.version < record.version {
            return false;
        }
        let known = record.mirror.permissions_known || record.mirror.permissions_left_out > 0;
        let ids_moved = self.mirror.permission_ids != record.mirror.permission_ids;
        let unexplained = self.version > record.version && self.says_the_same(record);
        let behind = record.permissions_at < self.version;
        !known || ids_moved || unexplained || (thorough && behind)
    }

    /// Whether everything but the version and the permissions is as Drive was last seen to hold it.
    fn says_the_same(&self, record: &FileRecord) -> bool {
        let other = |field: &&Field| !matches!(field, Field::Permission(_));
        let fields = self.fields.keys().chain(record.fields.keys());
        let same = |field: &Field| self.value(field) == *record.sides(field).drive();
        fields.filter(other).all(same)
            && self.mirror.without_permissions() == record.mirror.without_permissions()
    }
}

impl FileRecord {
    /// Whether the permissions that are held are those of the version that is held.
    #[must_use]
    pub fn permissions_are_current(&self) -> bool {
        self.mirror.permissions_known && self.permissions_at >= self.version
    }

    /// Checks an edit of a permission against what is known of the file, beyond [`Field::check`].
    pub(crate) fn check_permission(
        &self,
        principal: &str,
        role: &Value,
    ) -> Result<(), ValueRefused> {
        if !self.mirror.permissions_known {
            return Err(ValueRefused::PermissionsUnknown);
        }
        let sides = self.sides(&Field::Permission(principal.to_owned()));
        let shown = self.mirror.permission(principal);
        let nothing_direct = sides.app == Value::Null && *sides.drive() == Value::Null;
        if *sides.drive() == Value::text(OWNER) && sides.app != *role {
            return Err(ValueRefused::OwnerRole);
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

    /// The version whose permissions a merged snapshot leaves the record with.
    pub(crate) fn permissions_seen(&self, snapshot: &Snapshot) -> DriveVersion {
        if snapshot.mirror.permissions_known || snapshot.mirror.permissions_left_out > 0 {
            snapshot.version
        } else {
            self.permissions_at
        }
    }
}
