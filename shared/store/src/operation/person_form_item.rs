//! What the item of a person's erasure has besides that of every operation.

use std::collections::{BTreeMap, BTreeSet};

use domain::operation::{NamedFiles, PersonForm};
use domain::{ConnectionId, FileId};
use serde::{Deserialize, Serialize};

use crate::connection::deletion_item::{counts_item, counts_of};
use crate::file::value_item::at;

/// What only the erasure of a person has.
#[derive(Serialize, Deserialize)]
pub(crate) struct PersonItem {
    /// The HMAC of the name.
    who: String,
    #[serde(rename = "n")]
    number: u32,
    quiet_at: i64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    counts: BTreeMap<String, u64>,
    /// The number of files of each connection, and the ids of some.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    in_drive: BTreeMap<String, (u64, Vec<String>)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    in_settings: Vec<String>,
}

impl PersonItem {
    pub(crate) fn of(form: PersonForm) -> Self {
        let files = |(connection, named): (&ConnectionId, &NamedFiles)| {
            let ids = named.files.iter().map(ToString::to_string);
            (connection.to_string(), (named.count, ids.collect()))
        };
        Self {
            who: form.person,
            number: form.number,
            quiet_at: form.quiet_at.as_millis(),
            counts: counts_item(&form.counts),
            in_drive: form.in_drive.iter().map(files).collect(),
            in_settings: form.in_settings.iter().map(ToString::to_string).collect(),
        }
    }

    pub(crate) fn into_form(self) -> Option<PersonForm> {
        let files = |(connection, (count, ids)): (String, (u64, Vec<String>))| {
            let files = ids.iter().map(|id| FileId::parse(id));
            let files = files.collect::<Result<_, _>>().ok()?;
            let connection = ConnectionId::parse(&connection).ok()?;
            Some((connection, NamedFiles { count, files }))
        };
        let settings = self.in_settings.iter().map(|id| ConnectionId::parse(id));
        Some(PersonForm {
            person: self.who,
            number: self.number,
            quiet_at: at(self.quiet_at),
            counts: counts_of(self.counts),
            in_drive: self
                .in_drive
                .into_iter()
                .map(files)
                .collect::<Option<_>>()?,
            in_settings: settings.collect::<Result<BTreeSet<_>, _>>().ok()?,
        })
    }

    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        Self {
            who: "p_AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            number: 3,
            quiet_at: 1_300,
            counts: BTreeMap::from([("records".to_owned(), 7)]),
            in_drive: BTreeMap::from([("c_01".to_owned(), (2, vec!["1abc".to_owned()]))]),
            in_settings: vec!["c_02".to_owned()],
        }
    }
}
