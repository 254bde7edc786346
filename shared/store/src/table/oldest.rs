//! An item as the oldest build wrote it whose items this one reads.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{ConnectionId, ConnectionKey, TenantId};
use std::collections::HashMap;

use crate::StoreError;
use crate::file::file_item::decode_file;
use crate::table::key::Key;

/// A file's record in format 1.
const OLDEST: &str = include_str!("oldest.json");

/// Reads an item in the oldest format that is supported.
///
/// # Errors
/// [`StoreError`] if this build does not.
pub fn read_oldest_format() -> Result<(), StoreError> {
    let corrupt = |what| {
        let (pk, sk) = ("oldest.json".to_owned(), String::new());
        Key { pk, sk }.corrupt(what)
    };
    let item: serde_dynamo::Item =
        serde_json::from_str(OLDEST).map_err(|_| corrupt("it is no item"))?;
    let item = HashMap::<String, AttributeValue>::from(item);
    let key = ConnectionKey {
        tenant: TenantId::parse("local").map_err(|_| corrupt("its tenant is none"))?,
        connection: ConnectionId::parse("c_8a28ade3e2c9678f")
            .map_err(|_| corrupt("its connection is none"))?,
    };
    decode_file(&key, item).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_format_is_read() {
        read_oldest_format().unwrap();
    }
}
