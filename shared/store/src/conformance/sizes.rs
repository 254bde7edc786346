//! The size of records: DynamoDB charges writes by the KB.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{
    Capabilities, ConnectionId, ConnectionKey, DriveMetadata, DriveVersion, Field, FieldSetVersion,
    FileRecord, ObservedPermission, Revision, Snapshot, TenantId, Value,
};

use super::support::{context, file, ms};
use crate::Nonce;
use crate::file::file_item::encode_file;
use crate::table::key::Item;

/// Returns the size of an item by DynamoDB's rules ("Item sizes and formats" in its developer
/// guide).
fn bytes(item: &Item) -> usize {
    item.iter()
        .map(|(name, value)| name.len() + value_bytes(value))
        .sum()
}

fn value_bytes(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::B(blob) => blob.as_ref().len(),
        AttributeValue::N(digits) => digits.trim_matches('0').len().div_ceil(2) + 1,
        AttributeValue::Bool(_) | AttributeValue::Null(_) => 1,
        AttributeValue::M(map) => {
            3 + map
                .iter()
                .map(|(name, value)| 1 + name.len() + value_bytes(value))
                .sum::<usize>()
        }
        AttributeValue::L(list) => {
            3 + list
                .iter()
                .map(|value| 1 + value_bytes(value))
                .sum::<usize>()
        }
        AttributeValue::Ss(_) | AttributeValue::Ns(_) | AttributeValue::Bs(_) | _ => {
            panic!("we write no {value:?}")
        }
    }
}

/// An ordinary file, with ids as long as Drive's, and as UUIDs for the tenant and the connection.
fn ordinary() -> (ConnectionKey, FileRecord) {
    let key = ConnectionKey {
        tenant: TenantId::parse("3f0c2a52-7d0e-4c0f-9f57-0d1f6b6b9a10").unwrap(),
        connection: ConnectionId::parse("9a1d2b7c-1111-4222-8333-444455556666").unwrap(),
    };
    let fields = BTreeMap::from([
        (
            Field::Name,
            Value::text("Quarterly report 2026 - final draft.docx"),
        ),
        (Field::Description, Value::text("")),
        (Field::Starred, Value::Flag(false)),
        (Field::Trashed, Value::Flag(false)),
        (
            Field::Parent,
            Value::text("1aBcDeFgHiJkLmNoPqRsTuVwXyZ012345"),
        ),
        (Field::Property("stage".to_owned()), Value::text("review")),
        (
            Field::Permission("user:marketing-team@example.com".to_owned()),
            Value::text("owner"),
        ),
    ]);
    // Private: only its owner has access.
    let owner = ObservedPermission {
        principal: "user:marketing-team@example.com".to_owned(),
        id: "06412345678901234567".to_owned(),
        role: "owner".to_owned(),
        direct: true,
        ..ObservedPermission::default()
    };
    let mirror = DriveMetadata {
        mime_type: "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
            .to_owned(),
        size_bytes: Some(1_234_567),
        md5: Some("d41d8cd98f00b204e9800998ecf8427e".to_owned()),
        sha256: Some("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".to_owned()),
        head_revision_id: Some("0B1x2y3z4a5b6c7dLkJhGfDsApOiUyTrEwQmNbVcXzLkJhG0PQ".to_owned()),
        created_at: Some(ms(1_763_715_600_123)),
        modified_at: Some(ms(1_763_715_700_456)),
        modified_by: Some("christina.andersson@example.com".to_owned()),
        owner: Some("marketing-team@example.com".to_owned()),
        drive_id: None,
        shortcut_target: None,
        shortcut_mime_type: None,
        capabilities: Capabilities(0b1111_1011),
        permissions: vec![owner],
        permissions_known: true,
        ..DriveMetadata::default()
    };
    let snapshot = Snapshot {
        file: file("1ZyXwVuTsRqPoNmLkJiHgFeDcBa987654"),
        version: DriveVersion(123_456),
        field_set: FieldSetVersion::CURRENT,
        fields,
        metadata: mirror,
    };
    let record = FileRecord::from_snapshot(&snapshot);
    (
        key,
        FileRecord {
            revision: Revision(41),
            visible: Revision(37),
            cause: Some(domain::Cause::fresh(u64::MAX, 7)),
            ..record
        },
    )
}

#[test]
fn an_ordinary_record_is_one_write_unit() {
    let (key, record) = ordinary();
    let nonce = Nonce(u64::MAX);
    let plain = bytes(&encode_file(&key, &record, nonce).unwrap().item);
    println!("HEAD of an ordinary file: {plain} bytes");
    assert!(plain < 1_024, "{plain}");

    let values = BTreeMap::from([(Field::Name, Value::text("Another name.docx"))]);
    let owed = record.edit(
        &values,
        "christina.andersson@example.com",
        context(1_763_715_800_000),
    );
    let owed = bytes(
        &encode_file(&key, &owed.unwrap().record, nonce)
            .unwrap()
            .item,
    );
    println!("... with an edit owed: {owed} bytes");
    assert!(owed < 2_048, "{owed}");
}

#[test]
fn a_record_with_as_many_permissions_as_are_kept_is_far_from_the_limit_of_an_item() {
    let (key, mut record) = ordinary();
    for number in 0..domain::PERMISSIONS_MAX {
        let principal = format!("user:{}{number}@example.com", "x".repeat(200));
        let field = Field::Permission(principal.clone());
        let sides = domain::merge::Sides::agreed(Value::text("writer"));
        record.fields.insert(field, sides);
        record.metadata.permissions.push(ObservedPermission {
            principal,
            id: format!("{number:020}"),
            role: "fileOrganizer".to_owned(),
            inherited: true,
            inherited_from: Some("0ASharedDriveWithItsId9PVA".to_owned()),
            ..ObservedPermission::default()
        });
    }
    let bytes = bytes(&encode_file(&key, &record, Nonce(u64::MAX)).unwrap().item);
    println!(
        "HEAD with {} permissions: {bytes} bytes",
        domain::PERMISSIONS_MAX
    );
    assert!(bytes < 200 * 1_024, "{bytes}");
}

#[test]
fn what_is_kept_of_content_is_one_write_unit_each() {
    use domain::content::{
        ContentOrigin, ContentState, Download, Encoding, ObjectKey, Progress, StoredVersion,
        UploadId,
    };

    let (key, record) = ordinary();
    let object = super::checks::checks_content::object(&key, 1, u64::MAX);
    let size = bytes(
        &crate::content::object_item::encode_object(&key.tenant, &object)
            .unwrap()
            .item,
    );
    println!("OBJECT without references: {size} bytes");
    assert!(size < 600, "{size}");

    let version = StoredVersion {
        encoding: Encoding::Zstd,
        mime_type: record.metadata.mime_type.clone(),
        revision_id: record.metadata.head_revision_id.clone(),
        origin: ContentOrigin::Export {
            format: record.metadata.mime_type.clone(),
        },
        by: Some("christina.andersson@example.com".to_owned()),
        reason: Some("the figures of March were right after all".to_owned()),
        ..super::checks::checks_content::version(u32::MAX, &object)
    };
    let item = crate::content::version_item::encode_version(&key, &record.file, &version).unwrap();
    let size = bytes(&item.item);
    println!("VERSION with all members: {size} bytes");
    assert!(size < 1_024, "{size}");

    let download = Download {
        number: u32::MAX,
        hash: object.hash,
        object: ObjectKey::content(&key.tenant, &object.hash, u64::MAX),
        upload: UploadId::new("x".repeat(128)),
        part_bytes: 8 << 20,
        parts: 10_000,
        done_bytes: u64::MAX,
        hash_state: vec![0xff; 120],
        began_at: ms(1_763_715_600_123),
    };
    let state = ContentState {
        due_at: Some(ms(1_763_715_600_123)),
        ..ContentState::default().with_progress(Progress::Download(download))
    };
    let item =
        crate::content::content_item::encode_content(&key, &record.file, &state, Nonce(u64::MAX));
    let size = bytes(&item.unwrap().item);
    println!("CONTENT with a download in progress: {size} bytes");
    assert!(size < 1_300, "{size}");
}
