//! Effective permissions: those on a file and those inherited from the folders above.

use std::collections::BTreeMap;

use super::{Lineage, Node, Role};
use crate::{FileId, OWNER, ROLES, Timestamp};

/// The effective role of a principal on a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The role under Drive's name, which may be unknown to this build.
    pub role: String,
    /// The source of the role.
    pub origin: RoleOrigin,
}

/// The source of a role on a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleOrigin {
    /// The file itself.
    Own,
    /// A folder above, or the root of the shared drive, whose permissions are its members.
    Folder(FileId),
    /// A folder above the known ones: what Drive shows as inherited on the highest known folder.
    Beyond(Option<String>),
}

/// The roles that a folder with limited access inherits from above (Drive guide "Manage folders
/// with limited and expansive access").
const LIMITED_ACCESS_ROLES: [&str; 2] = [OWNER, "organizer"];

/// Returns the rank of a role. An unknown role ranks lowest, so it is shown only if there is no
/// other.
fn rank(role: &str) -> usize {
    if role == OWNER {
        return ROLES.len() + 1;
    }
    let known = ROLES.iter().position(|known| *known == role);
    known.map_or(0, |at| at + 1)
}

impl Lineage<'_> {
    /// Returns the effective role of every principal: the highest of those on the file and on the
    /// folders above. Above a folder with limited access, only owners and organizers count. The
    /// owner of a folder may write what others own in it. A role that has ended by `now` does not
    /// count.
    #[must_use]
    pub fn permissions(&self, now: Timestamp) -> BTreeMap<String, Grant> {
        let mut grants = BTreeMap::new();
        let mut limited = false;
        let root = self.root.into_iter();
        let mut last: Option<&Node> = None;
        for (level, (id, node)) in self.nodes.iter().copied().chain(root).enumerate() {
            let origin = if level == 0 {
                RoleOrigin::Own
            } else {
                RoleOrigin::Folder(id.clone())
            };
            for role in node.direct.iter().filter(|role| !role.has_ended(now)) {
                raise(&mut grants, role, &origin, limited);
            }
            limited |= node.limited;
            last = Some(node);
        }
        if let Some(highest) = last.filter(|_| !self.is_whole()) {
            for role in highest.inherited.iter().filter(|role| !role.has_ended(now)) {
                let origin = RoleOrigin::Beyond(role.from.clone());
                raise(&mut grants, role, &origin, limited);
            }
        }
        grants
    }
}

fn raise(grants: &mut BTreeMap<String, Grant>, granted: &Role, origin: &RoleOrigin, limited: bool) {
    let (principal, role) = (granted.principal.as_str(), granted.role.as_str());
    let own = *origin == RoleOrigin::Own;
    if limited && !own && !LIMITED_ACCESS_ROLES.contains(&role) {
        return;
    }
    let role = if role == OWNER && !own {
        "writer"
    } else {
        role
    };
    let higher = grants
        .get(principal)
        .is_none_or(|known| rank(role) > rank(&known.role));
    if higher {
        let grant = Grant {
            role: role.to_owned(),
            origin: origin.clone(),
        };
        grants.insert(principal.to_owned(), grant);
    }
}
