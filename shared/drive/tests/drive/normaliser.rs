//! The conversion of Drive's JSON, of both versions of the API, into domain values.

use domain::{DriveVersion, Field, FileId, LogId, PageToken, Timestamp, Value};
use drive::{ChangeState, Kind, Listed, NextToken, Scope};
use serde_json::json;

use crate::support::{Fake, NOW, fixture, ok};

fn file(id: &str) -> FileId {
    FileId::parse(id).unwrap()
}

async fn changes(body: &serde_json::Value) -> drive::ChangePage {
    let fake = Fake::answering([ok(body)]);
    let token = PageToken::new("1");
    fake.client()
        .list_changes(&LogId::user(), &token)
        .await
        .unwrap()
}

/// The snapshots of one file from a v3 listing and from v2.
async fn both(v3: &str, v2: &str) -> (domain::Snapshot, drive::Read) {
    let fake = Fake::answering([ok(&json!({"files": [fixture(v3)]})), ok(&fixture(v2))]);
    let page = fake.client().list_files(&Scope::User, None).await.unwrap();
    let [Listed::Present(listed)] = page.files.as_slice() else {
        panic!("{page:?}");
    };
    let read = fake.client().read_file(&listed.file).await.unwrap();
    (listed.clone(), read)
}

#[tokio::test]
async fn a_file_has_the_same_snapshot_in_v3_and_v2() {
    let pairs = [
        (
            include_str!("fixtures/document.v3.json"),
            include_str!("fixtures/document.v2.json"),
        ),
        (
            include_str!("fixtures/shortcut.v3.json"),
            include_str!("fixtures/shortcut.v2.json"),
        ),
    ];
    for (v3, v2) in pairs {
        let (listed, read) = both(v3, v2).await;
        assert_eq!(listed, read.snapshot);
    }
}

#[tokio::test]
async fn every_column_of_the_table_reaches_the_snapshot() {
    let (snapshot, read) = both(
        include_str!("fixtures/document.v3.json"),
        include_str!("fixtures/document.v2.json"),
    )
    .await;
    assert_eq!(snapshot.version, DriveVersion(9_007_199_254_740_993));
    assert_eq!(snapshot.field_set, domain::FieldSetVersion::CURRENT);
    let property = |key: &str| Field::Property(key.to_owned());
    let shared_with = |principal: &str| Field::Permission(principal.to_owned());
    let wanted = [
        (Field::Name, Value::text("Quarterly report \"final\".pdf")),
        (Field::Description, Value::text("Second draft")),
        (Field::Starred, Value::Flag(true)),
        (Field::Trashed, Value::Flag(false)),
        (Field::Parent, Value::text("0AFolderThatHoldsIt")),
        (property("client"), Value::text("Åse")),
        (property("project"), Value::text("north")),
        (shared_with("user:ada@example.com"), Value::text("owner")),
        (
            shared_with("group:board@example.com"),
            Value::text("commenter"),
        ),
        (shared_with("anyone"), Value::text("commenter")),
        (shared_with("robot:r2@example.com"), Value::text("overlord")),
    ];
    assert_eq!(snapshot.fields, wanted.into());
    let mirror = &snapshot.metadata;
    assert_eq!(mirror.mime_type, "application/pdf");
    assert_eq!(mirror.size_bytes, Some(48_213));
    assert!(mirror.md5.as_deref().unwrap().starts_with("d41d"));
    assert!(mirror.sha256.as_deref().unwrap().starts_with("e3b0"));
    assert_eq!(mirror.head_revision_id.as_deref(), Some("0B1revision"));
    assert_eq!(
        mirror.created_at,
        Timestamp::parse_rfc3339("2026-11-01T08:00:00Z")
    );
    assert_eq!(
        mirror.modified_at,
        Timestamp::parse_rfc3339("2026-11-20T17:45:12.345Z")
    );
    assert_eq!(mirror.modified_by.as_deref(), Some("bo@example.com"));
    assert_eq!(mirror.owner.as_deref(), Some("ada@example.com"));
    let can: Vec<_> = mirror.capabilities.names().collect();
    assert_eq!(
        can,
        [
            "canEdit",
            "canRename",
            "canTrash",
            "canUntrash",
            "canDownload"
        ]
    );
    assert_eq!(read.etag, "\"MTYzNzQ5NjAwMDAwMA\"");
    assert_eq!(read.parent, Some(file("0AFolderThatHoldsIt")));
    let private: Vec<_> = read
        .private_properties
        .iter()
        .map(|p| p.key.as_str())
        .collect();
    assert_eq!(private, ["cursor"]);
}

#[tokio::test]
async fn a_shortcut_in_a_shared_drive_keeps_its_target_and_its_drive() {
    let (snapshot, _) = both(
        include_str!("fixtures/shortcut.v3.json"),
        include_str!("fixtures/shortcut.v2.json"),
    )
    .await;
    assert_eq!(
        snapshot.metadata.shortcut_target.as_deref(),
        Some("1Target")
    );
    assert_eq!(
        snapshot.metadata.shortcut_mime_type.as_deref(),
        Some("application/pdf")
    );
    assert_eq!(snapshot.metadata.drive_id.as_deref(), Some("0ASharedDrive"));
    assert_eq!(snapshot.metadata.owner, None);
    assert_eq!(snapshot.fields[&Field::Trashed], Value::Flag(true));
    assert_eq!(snapshot.fields[&Field::Description], Value::text(""));
}

#[tokio::test]
async fn a_file_in_a_trashed_folder_is_not_itself_trashed() {
    let v3 = json!({
        "id": "f", "version": "1", "name": "n", "trashed": true, "explicitlyTrashed": false,
    });
    let v2 = json!({"id": "f", "etag": "e", "version": "1", "title": "n",
        "labels": {"starred": false, "trashed": true}, "explicitlyTrashed": false});
    let (listed, read) = both(&v3.to_string(), &v2.to_string()).await;
    assert_eq!(listed.fields[&Field::Trashed], Value::Flag(false));
    assert_eq!(listed, read.snapshot);
}

#[tokio::test]
async fn unreadable_entries_do_not_fail_their_page() {
    let page = changes(&fixture(include_str!("fixtures/odd-changes.json"))).await;
    assert_eq!(page.next, NextToken::More(PageToken::new("page-2")));
    assert_eq!(page.skipped, 1);
    assert_eq!(page.drives.len(), 1);
    assert_eq!(page.unidentified.len(), 3);
    let states: Vec<_> = page
        .changes
        .iter()
        .map(|change| {
            let state = match &change.state {
                ChangeState::Present(snapshot) => format!("version {}", snapshot.version),
                ChangeState::Removed => "removed".to_owned(),
                ChangeState::Unreadable(unreadable) => {
                    assert_eq!(unreadable.file.as_ref(), Some(&change.file));
                    unreadable
                        .reason
                        .split(" at line")
                        .next()
                        .unwrap()
                        .to_owned()
                }
            };
            (change.file.as_str(), state)
        })
        .collect();
    let states: Vec<_> = states
        .iter()
        .map(|(file, state)| (*file, state.as_str()))
        .collect();
    assert_eq!(
        states,
        [
            ("text-version", "version 7"),
            ("number-version", "version 7"),
            ("removed", "removed"),
            ("bare", "removed"),
            ("no-version", "no version"),
            ("no-name", "no name"),
            ("odd-name", "invalid JSON"),
            ("odd-entry", "invalid JSON"),
        ]
    );
    assert_eq!(
        page.changes[0].at,
        Timestamp::parse_rfc3339("2026-11-20T10:00:00Z").unwrap()
    );
    assert_eq!(
        page.changes[3].at, NOW,
        "an entry without a time has the time of the read"
    );
}

#[tokio::test]
async fn an_unreadable_entry_keeps_its_body_but_does_not_show_it() {
    let page = changes(&fixture(include_str!("fixtures/odd-changes.json"))).await;
    let ChangeState::Unreadable(unreadable) = &page.changes[6].state else {
        panic!("{page:?}");
    };
    assert!(unreadable.body.contains("secret"));
    assert!(!format!("{unreadable:?}").contains("secret"));
}

#[tokio::test]
async fn a_number_beyond_the_range_of_an_int64_makes_its_entry_unreadable() {
    for version in [json!(-1), json!("x"), json!(1.5), json!(true)] {
        let entry = json!({"id": "f", "version": version, "name": "n"});
        let fake = Fake::answering([ok(&json!({"files": [entry]}))]);
        let page = fake.client().list_files(&Scope::User, None).await.unwrap();
        assert!(matches!(page.files[0], Listed::Unreadable(_)), "{version}");
    }
}

#[tokio::test]
async fn an_empty_page_may_still_have_a_next_one() {
    let page = changes(&json!({"changes": [], "nextPageToken": "2"})).await;
    assert_eq!(
        (page.changes.len(), page.next),
        (0, NextToken::More(PageToken::new("2")))
    );
    let page = changes(&json!({"newStartPageToken": "3"})).await;
    assert_eq!(
        (page.changes.len(), page.next),
        (0, NextToken::End(PageToken::new("3")))
    );
}

#[tokio::test]
async fn a_page_without_a_next_token_is_a_transient_error() {
    let fake = Fake::answering([ok(&json!({"changes": []}))]);
    let token = PageToken::new("1");
    let error = fake
        .client()
        .list_changes(&LogId::user(), &token)
        .await
        .unwrap_err();
    assert_eq!(*error.kind(), Kind::Transient);
}

#[tokio::test]
async fn a_listing_reports_incompleteness_and_the_next_page() {
    let body = json!({
        "nextPageToken": "n", "incompleteSearch": true,
        "files": [{"id": "f", "version": "1"}, 5],
    });
    let fake = Fake::answering([ok(&body)]);
    let page = fake.client().list_files(&Scope::User, None).await.unwrap();
    assert_eq!((page.next.as_deref(), page.incomplete), (Some("n"), true));
    let files: Vec<_> = page
        .files
        .iter()
        .map(|listed| match listed {
            Listed::Present(_) => panic!("no name"),
            Listed::Unreadable(unreadable) => unreadable.file.clone(),
        })
        .collect();
    assert_eq!(files, [Some(file("f")), None]);
}
