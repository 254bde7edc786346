//! A connection's access in the form that its item stores: the word of each role by principal.

use std::collections::BTreeMap;

use domain::{Access, Principal, Role};
use serde::{Deserialize, Serialize};

use crate::file::value_item::ItemDefect;

#[derive(Serialize, Deserialize)]
pub(crate) struct AccessItem(BTreeMap<String, String>);

impl AccessItem {
    pub(crate) fn of(access: &Access) -> Self {
        let entries = access.entries.iter();
        let texts = entries.map(|(who, role)| (who.to_string(), role.as_str().to_owned()));
        Self(texts.collect())
    }

    pub(crate) fn into_access(self) -> Result<Access, ItemDefect> {
        let entry = |(who, role): (String, String)| {
            let entry = Principal::parse(&who).zip(Role::parse(&role));
            entry.ok_or("a principal or a role of its access is unknown")
        };
        let entries = self.0.into_iter().map(entry).collect::<Result<_, _>>()?;
        Ok(Access { entries })
    }
}
