//! Reading ranges that are short enough to be held whole.

use crate::table::key::Item;
use crate::table::range::Range;
use crate::{Store, StoreError};

impl Store {
    /// Reads all items of a range, in queries of at most `limit` items.
    pub(crate) async fn whole_range(
        &self,
        mut range: Range,
        limit: u32,
    ) -> Result<Vec<Item>, StoreError> {
        let mut all = Vec::new();
        loop {
            let slice = self.slice(&range, limit).await?;
            let next = slice.last_sk()?.filter(|_| slice.more);
            all.extend(slice.items);
            match next {
                Some(last) => range = range.after(&last)?,
                None => return Ok(all),
            }
        }
    }
}

/// Decodes items, and counts those that can't be read: they hold up no others.
pub(crate) fn readable<T>(
    items: Vec<Item>,
    decode: impl Fn(Item) -> Result<T, StoreError>,
) -> Result<(Vec<T>, usize), StoreError> {
    let (mut all, mut unreadable) = (Vec::new(), 0);
    for item in items {
        match decode(item) {
            Ok(value) => all.push(value),
            Err(StoreError::Corrupt { .. } | StoreError::NewerItem { .. }) => unreadable += 1,
            Err(error) => return Err(error),
        }
    }
    Ok((all, unreadable))
}
