//! Ranges of sort keys: the only form of query.

use crate::StoreError;
use crate::table::key::Index;

/// A part of one partition, of the table or of an index, by sort key, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    /// The index; `None` for the table itself, which is read consistently.
    pub(crate) index: Option<Index>,
    pub(crate) pk: String,
    low: String,
    high: String,
    pub(crate) order: Order,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Ascending,
    /// Only for sort keys whose last part is in the alphabet of our ids.
    Descending,
}

impl Range {
    /// All sort keys that start with `prefix`, which is ASCII and not empty.
    pub(crate) fn prefix(index: Option<Index>, pk: String, prefix: &str) -> Self {
        let mut high = prefix.to_owned();
        let last = high.pop().unwrap_or(' ');
        high.push(char::from_u32(u32::from(last) + 1).unwrap_or(last));
        Self {
            index,
            pk,
            low: prefix.to_owned(),
            high,
            order: Order::Ascending,
        }
    }

    /// All sort keys of the table from those that start with `first` to those that start with
    /// `last`, which are ASCII and not empty.
    pub(crate) fn between(pk: String, first: &str, last: &str) -> Self {
        Self {
            low: first.to_owned(),
            ..Self::prefix(None, pk, last)
        }
    }

    /// All items of a partition of the table: every sort key begins with an upper-case letter.
    pub(crate) fn partition(pk: String) -> Self {
        Self {
            index: None,
            pk,
            low: "A".to_owned(),
            high: "[".to_owned(),
            order: Order::Ascending,
        }
    }

    /// All sort keys in the alphabet of our ids.
    pub(crate) fn ids(index: Index, pk: String) -> Self {
        Self {
            index: Some(index),
            pk,
            low: " ".to_owned(),
            high: "~".to_owned(),
            order: Order::Ascending,
        }
    }

    /// All sort keys that start with `prefix` and continue with at most `until`.
    pub(crate) fn until(index: Index, pk: String, prefix: &str, until: &str) -> Self {
        let mut range = Self::prefix(Some(index), pk, &format!("{prefix}{until}#"));
        range.low = if prefix.is_empty() {
            " ".to_owned()
        } else {
            prefix.to_owned()
        };
        range
    }

    pub(crate) fn descending(self) -> Self {
        Self {
            order: Order::Descending,
            ..self
        }
    }

    /// Returns the rest of the range after `position`.
    ///
    /// A bound instead of DynamoDB's `ExclusiveStartKey`: that one takes the whole key of an item,
    /// and so a partition that the caller's cursor would name.
    pub(crate) fn after(self, position: &str) -> Result<Self, StoreError> {
        if position < self.low.as_str() || position > self.high.as_str() {
            return Err(StoreError::InvalidCursor);
        }
        Ok(match self.order {
            Order::Ascending => Self {
                low: format!("{position}\0"),
                ..self
            },
            Order::Descending => Self {
                high: just_below(position),
                ..self
            },
        })
    }

    /// The bounds, or `None` if nothing lies between them (DynamoDB refuses such a query).
    pub(crate) fn bounds(&self) -> Option<(&str, &str)> {
        (self.low <= self.high).then_some((self.low.as_str(), self.high.as_str()))
    }
}

/// The highest text below `text` among those in the alphabet of our ids, all of which sort below
/// `~`.
fn just_below(text: &str) -> String {
    let mut below = text.to_owned();
    let last = below.pop().map_or(0, u32::from);
    below.push(char::from_u32(last.saturating_sub(1)).unwrap_or('\0'));
    below.push('~');
    below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_holds_what_begins_with_it_and_nothing_else() {
        let range = Range::prefix(None, "p".to_owned(), "OP#");
        let (low, high) = range.bounds().unwrap();
        for inside in ["OP#", "OP#a", "OP#~", "OP##"] {
            assert!(low <= inside && inside <= high, "{inside}");
        }
        for outside in ["OP", "OP\"x", "OP$x", "OQ", "LOG#a"] {
            assert!(outside < low || outside > high, "{outside}");
        }
    }

    #[test]
    fn descending_continues_right_below_the_position() {
        let range = Range::prefix(None, "p".to_owned(), "SNAP#").descending();
        let rest = range.after("SNAP#0000000000000000010").unwrap();
        let (_, high) = rest.bounds().unwrap();
        assert!("SNAP#0000000000000000009" < high);
        assert!("SNAP#0000000000000000010" > high);
        assert!(just_below("OP#abc").as_str() > "OP#abb.zz_9");
        assert!(just_below("OP#abc").as_str() > "OP#ab");
    }

    #[test]
    fn a_position_outside_the_range_is_an_invalid_cursor() {
        let range = Range::prefix(None, "p".to_owned(), "OP#");
        assert!(matches!(
            range.after("LOG#x"),
            Err(StoreError::InvalidCursor)
        ));
    }

    #[test]
    fn a_time_range_ends_with_its_last_millisecond() {
        let range = Range::until(Index::Due, "p".to_owned(), "", "0000000000100");
        let (low, high) = range.bounds().unwrap();
        assert!(low < "0000000000000#x" && "0000000000100#zzz" < high);
        assert!("0000000000101#a" > high);
    }
}
