//! The size of an item as DynamoDB counts it (developer guide, "DynamoDB item sizes and formats").

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::table::key::{Index, Item};

/// The largest item that is written, in bytes. DynamoDB takes 409,600; what newer code may have
/// added to a stored item comes on top of what this build writes.
pub(crate) const ITEM_BYTES_MAX: usize = 400_000;
/// The longest partition key, in bytes.
const PARTITION_KEY_BYTES_MAX: usize = 2_048;
/// The longest sort key, in bytes.
const SORT_KEY_BYTES_MAX: usize = 1_024;
/// The most bytes of a number.
const NUMBER_BYTES_MAX: usize = 21;
/// What a list or a map takes besides its elements, in bytes.
const NESTED_BYTES: usize = 3;

/// Returns the size of an item in bytes. It may be a few bytes more than DynamoDB counts.
pub(crate) fn bytes_of(item: &Item) -> usize {
    members(item)
}

fn members(map: &HashMap<String, AttributeValue>) -> usize {
    let each = |(name, value): (&String, &AttributeValue)| name.len() + value_bytes(value);
    map.iter().map(each).sum()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the SDK may add kinds, of which no item of ours has any"
)]
fn value_bytes(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(digits) => digits.len().min(NUMBER_BYTES_MAX),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::M(map) => NESTED_BYTES + map.len() + members(map),
        AttributeValue::L(list) => {
            NESTED_BYTES + list.len() + list.iter().map(value_bytes).sum::<usize>()
        }
        AttributeValue::Ss(texts) => texts.iter().map(String::len).sum(),
        AttributeValue::Ns(numbers) => numbers.len() * NUMBER_BYTES_MAX,
        AttributeValue::Bs(all) => all.iter().map(|bytes| bytes.as_ref().len()).sum(),
        // A null and a truth value take one byte.
        _ => 1,
    }
}

/// Returns the length of a key, in the table or in an index, that is too long, and the limit.
pub(crate) fn too_long_key(item: &Item) -> Option<(usize, usize)> {
    let length = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
    let names = [("PK", "SK")].into_iter();
    let names = names.chain(Index::ALL.map(|index| (index.pk(), index.sk())));
    let keys = names.flat_map(|(pk, sk)| {
        let partition = (length(pk), PARTITION_KEY_BYTES_MAX);
        [partition, (length(sk), SORT_KEY_BYTES_MAX)]
    });
    let mut keys = keys.filter_map(|(text, bytes_max)| Some((text?.len(), bytes_max)));
    keys.find(|(bytes, bytes_max)| bytes > bytes_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_developer_guide() {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let item = |name: &str, value: AttributeValue| HashMap::from([(name.to_owned(), value)]);
        assert_eq!(bytes_of(&item("name", text("ü"))), 4 + 2);
        assert_eq!(bytes_of(&item("n", AttributeValue::Bool(true))), 2);
        let list = AttributeValue::L(vec![text("abc"), AttributeValue::Null(true)]);
        assert_eq!(bytes_of(&item("l", list)), 1 + 3 + (1 + 3) + (1 + 1));
        let map = AttributeValue::M(item("key", text("value")));
        assert_eq!(bytes_of(&item("m", map)), 1 + 3 + 1 + 3 + 5);
    }

    #[test]
    fn keys_are_checked_in_the_table_and_in_indexes() {
        let item = |name: &str, bytes: usize| {
            HashMap::from([(name.to_owned(), AttributeValue::S("k".repeat(bytes)))])
        };
        for (name, bytes_max) in [("PK", 2_048), ("SK", 1_024), ("due_sk", 1_024)] {
            assert_eq!(too_long_key(&item(name, bytes_max)), None, "{name}");
            let long = too_long_key(&item(name, bytes_max + 1));
            assert_eq!(long, Some((bytes_max + 1, bytes_max)), "{name}");
        }
    }
}
