//! Resource keys: what a user needs, besides the id, of an item that only a link lets them see
//! (the Drive guide "Access link-shared files using resource keys").

use crate::{errors::DriveError, ids::UserId, state::State};

/// The resource keys that a call carries.
#[derive(Debug, Default)]
pub(crate) struct PresentedKeys(Vec<(String, String)>);

impl PresentedKeys {
    /// Parses `X-Goog-Drive-Resource-Keys`: `ID/KEY`, separated by commas. Anything else counts as
    /// absent.
    pub(crate) fn parse(header: &str) -> Self {
        let pairs = header
            .split(',')
            .filter_map(|pair| pair.trim().split_once('/'));
        Self(
            pairs
                .map(|(id, key)| (id.trim().to_owned(), key.trim().to_owned()))
                .collect(),
        )
    }

    /// Adds the key that a link carries.
    pub(crate) fn add(&mut self, id: &str, key: &str) {
        self.0.push((id.to_owned(), key.to_owned()));
    }

    fn has(&self, id: &str, key: &str) -> bool {
        self.0
            .iter()
            .any(|(item, given)| item == id && given == key)
    }
}

impl State {
    /// Sets or removes the resource key of an item; false if it does not exist. Its version stays.
    pub(crate) fn set_resource_key(&mut self, id: &str, key: Option<String>) -> bool {
        let Some(item) = self.item(id).map(|item| item.id.clone()) else {
            return false;
        };
        match key {
            Some(key) => self.resource_keys.insert(item, key),
            None => self.resource_keys.remove(&item),
        };
        true
    }

    /// Checks that a call carries the key of each item that it names and that the user has only by
    /// a link. Google lets users off who have viewed the item recently; a program has not.
    ///
    /// # Errors
    /// 404 `notFound`, as for an item that does not exist.
    pub(crate) fn check_resource_keys<'i>(
        &self,
        user: &UserId,
        ids: impl IntoIterator<Item = &'i str>,
        presented: &PresentedKeys,
    ) -> Result<(), DriveError> {
        if self.resource_keys.is_empty() {
            return Ok(());
        }
        for id in ids {
            let missing = |key: &&String| !presented.has(id, key);
            if self.resource_keys.get(id).filter(missing).is_none() {
                continue;
            }
            let access = self
                .item(id)
                .and_then(|item| self.access_of(user, &self.place(item)));
            if access.is_some_and(|access| !access.listed) {
                return Err(DriveError::file_not_found(id));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_names_any_number_of_items() {
        let keys = PresentedKeys::parse("id1/key1, id2/0-key2,no key,");
        assert!(keys.has("id1", "key1") && keys.has("id2", "0-key2"));
        assert!(!keys.has("id1", "0-key2") && !keys.has("no key", ""));
    }
}
