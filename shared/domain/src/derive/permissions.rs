//! Who may do what with a file in effect: what is on it, and what comes down from the folders above.

use std::collections::BTreeMap;

use super::{Lineage, Node};
use crate::{FileId, OWNER, ROLES};

/// The role that somebody has on a file in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// In Drive's word, known to us or not.
    pub role: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a role on a file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It is on the file itself.
    Own,
    /// From that folder above, or from the root of the shared drive, whose permissions are its members.
    Folder(FileId),
    /// From further above than we can look: Drive's word on the highest folder that we hold.
    Beyond(Option<String>),
}

/// Whom a folder with limited access lets in from above (Drive guide "Manage folders with limited and
/// expansive access").
const LET_IN: [&str; 2] = [OWNER, "organizer"];

/// A role's place; one that we don't know counts least, so that it is shown where nothing else is.
fn rank(role: &str) -> usize {
    if role == OWNER {
        return ROLES.len() + 1;
    }
    let known = ROLES.iter().position(|known| *known == role);
    known.map_or(0, |at| at + 1)
}

impl Lineage<'_> {
    /// Everybody's role in effect, by principal: the highest of those on the file and on the folders above.
    /// Above a folder with limited access, only owners and organizers count. Who owns a folder may write
    /// what others own in it.
    #[must_use]
    pub fn permissions(&self) -> BTreeMap<String, Grant> {
        let mut grants = BTreeMap::new();
        let mut limited = false;
        let root = self.root.into_iter();
        let mut last: Option<&Node> = None;
        for (level, (id, node)) in self.nodes.iter().copied().chain(root).enumerate() {
            let origin = if level == 0 {
                Origin::Own
            } else {
                Origin::Folder(id.clone())
            };
            for (principal, role) in &node.direct {
                raise(&mut grants, principal, role, &origin, limited);
            }
            limited |= node.limited;
            last = Some(node);
        }
        if let Some(highest) = last.filter(|_| !self.is_whole()) {
            for (principal, role, from) in &highest.inherited {
                let origin = Origin::Beyond(from.clone());
                raise(&mut grants, principal, role, &origin, limited);
            }
        }
        grants
    }
}

fn raise(
    grants: &mut BTreeMap<String, Grant>,
    principal: &str,
    role: &str,
    origin: &Origin,
    limited: bool,
) {
    let own = *origin == Origin::Own;
    if limited && !own && !LET_IN.contains(&role) {
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
