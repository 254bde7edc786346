//! Random records are read back equal.

use std::collections::BTreeMap;

use domain::merge::{DriveSide, SentWrite, Sides};
use domain::webhook::LeaseToken;
use domain::{
    AskCourse, Asked, AttemptId, Capabilities, Cause, Choice, ConflictId, ConflictRecord,
    ConflictStatus, Decider, DriveMetadata, DriveVersion, Edit, EndpointId, Field, FieldSetVersion,
    FileId, FileRecord, Gone, Keeping, NoDecision, ObservedPermission, OpenConflict, Presence,
    Push, Question, Request, Resolution, Resolver, Revision, Timestamp, Transition, Value,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::support::{embedded, fresh, nonce};
use crate::file::conflict_item::{decode_conflict, encode_conflict};
use crate::{Committed, Store};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>().prop_map(|text| text.chars().take(12).collect()),
        "[a-z#. ]{0,8}"
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Flag),
        text().prop_map(Value::Text)
    ]
}

fn field() -> impl Strategy<Value = Field> {
    prop_oneof![
        Just(Field::Existence),
        Just(Field::Name),
        Just(Field::Description),
        Just(Field::Starred),
        Just(Field::Trashed),
        Just(Field::Content),
        Just(Field::Parent),
        text().prop_map(Field::Property),
        text().prop_map(Field::Permission),
    ]
}

/// A principal, which is never empty: DynamoDB takes no empty name of an attribute.
fn principal() -> impl Strategy<Value = String> {
    text().prop_map(|name| format!("user:{name}"))
}

fn keeping() -> impl Strategy<Value = Option<Keeping>> {
    let keeping = (id(), text(), time(), proptest::option::of(text()));
    let keeping = keeping.prop_map(|(copy, by, at, reason)| Keeping {
        copy,
        by: Decider::Person(by),
        at,
        reason,
    });
    proptest::option::of(keeping)
}

fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![any::<i64>(), 0..2_000_000_000_000_i64].prop_map(Timestamp::from_millis)
}

fn id() -> impl Strategy<Value = FileId> {
    // Dots alone are no id.
    "[A-Za-z0-9_-][A-Za-z0-9._-]{0,43}".prop_map(|id| FileId::parse(&id).unwrap())
}

fn sides() -> impl Strategy<Value = Sides<Value>> {
    let clash = (value(), any::<bool>()).prop_map(|(drive, unsure)| DriveSide { drive, unsure });
    let sent =
        (value(), any::<u64>(), any::<u64>()).prop_map(|(value, against, attempt)| SentWrite {
            value,
            against: DriveVersion(against),
            attempt: AttemptId(attempt),
        });
    (
        value(),
        value(),
        proptest::option::of(clash),
        vec(sent, 0..3),
    )
        .prop_map(|(base, app, clash, sent)| Sides {
            base,
            app,
            conflict: clash,
            sent,
        })
}

fn mirror() -> impl Strategy<Value = DriveMetadata> {
    let maybe = || proptest::option::of(text());
    let sums = || proptest::option::of(prop_oneof![text(), "[0-9a-f]{32}"]);
    let when = || proptest::option::of(time());
    (
        (
            text(),
            proptest::option::of(any::<u64>()),
            sums(),
            sums(),
            maybe(),
            when(),
        ),
        (
            when(),
            maybe(),
            maybe(),
            maybe(),
            (maybe(), maybe()),
            any::<u16>(),
        ),
    )
        .prop_map(
            |((mime_type, size_bytes, md5, sha256, head, created), rest)| {
                let (modified, by, owner, drive_id, shortcut, capabilities) = rest;
                let (shortcut_target, shortcut_mime_type) = shortcut;
                DriveMetadata {
                    mime_type,
                    size_bytes,
                    md5,
                    sha256,
                    head_revision_id: head,
                    created_at: created,
                    modified_at: modified,
                    modified_by: by,
                    owner,
                    drive_id,
                    shortcut_target,
                    shortcut_mime_type,
                    capabilities: Capabilities(capabilities),
                    ..DriveMetadata::default()
                }
            },
        )
        .prop_flat_map(|mirror| permissions().prop_map(move |of| of.merged_into(mirror.clone())))
}

/// The permissions in a file's metadata.
#[derive(Debug, Clone)]
struct Permissions(DriveMetadata);

impl Permissions {
    fn merged_into(self, metadata: DriveMetadata) -> DriveMetadata {
        DriveMetadata {
            permissions: self.0.permissions,
            permissions_known: self.0.permissions_known,
            permissions_left_out: self.0.permissions_left_out,
            permission_ids: self.0.permission_ids,
            inherited_permissions_disabled: self.0.inherited_permissions_disabled,
            has_augmented_permissions: self.0.has_augmented_permissions,
            ..metadata
        }
    }
}

fn permission() -> impl Strategy<Value = ObservedPermission> {
    let maybe = || proptest::option::of(text());
    (
        (text(), text(), text(), maybe(), maybe()),
        proptest::option::of(time()),
        any::<[bool; 4]>(),
    )
        .prop_map(|((principal, id, role, from, view), expires_at, flags)| {
            let [direct, inherited, deleted, pending_owner] = flags;
            ObservedPermission {
                principal,
                id,
                role,
                direct,
                inherited,
                inherited_from: from,
                expires_at,
                deleted,
                pending_owner,
                view,
            }
        })
}

fn permissions() -> impl Strategy<Value = Permissions> {
    (
        proptest::option::of(vec(permission(), 0..3)),
        any::<u32>(),
        proptest::option::of(any::<u64>()),
        any::<bool>(),
        proptest::option::of(any::<bool>()),
    )
        .prop_map(|(known, left_out, ids, disabled, augmented)| {
            Permissions(DriveMetadata {
                permissions_known: known.is_some(),
                permissions: known.unwrap_or_default(),
                permissions_left_out: left_out,
                permission_ids: ids,
                inherited_permissions_disabled: disabled,
                has_augmented_permissions: augmented,
                ..DriveMetadata::default()
            })
        })
}

fn cause() -> impl Strategy<Value = Option<Cause>> {
    proptest::option::of(any::<[u8; 16]>().prop_map(Cause::from_bytes))
}

fn push() -> impl Strategy<Value = Push> {
    let failed = btree_map(field(), text(), 0..3);
    (
        any::<u32>(),
        any::<u32>(),
        (time(), time()),
        any::<(bool, bool)>(),
        failed,
    )
        .prop_map(
            |(attempts, failures, (not_before, sent_at), (one_at_a_time, out_of_scope), failed)| {
                Push {
                    attempts,
                    failures,
                    not_before,
                    sent_at,
                    one_at_a_time,
                    out_of_scope,
                    failed,
                    ..Push::default()
                }
            },
        )
}

fn record() -> impl Strategy<Value = FileRecord> {
    let presence = prop_oneof![
        3 => Just(Presence::Present),
        1 => Just(Presence::Creating),
        1 => time().prop_map(|at| Presence::Gone(Gone::Removed, at)),
        1 => time().prop_map(|at| Presence::Gone(Gone::AccessLost, at)),
        1 => time().prop_map(|at| Presence::Gone(Gone::MovedAway, at)),
    ];
    let edit = (text(), time(), cause()).prop_map(|(by, at, cause)| Edit { by, at, cause });
    let open = (
        any::<u32>(),
        any::<u32>(),
        time(),
        keeping(),
        proptest::option::of(question()),
    );
    let open = open.prop_map(
        |(number, moves, opened_at, keeping, question)| OpenConflict {
            number,
            moves,
            opened_at,
            keeping,
            question,
        },
    );
    let request = (text(), text()).prop_map(|(key, digest)| Request { key, digest });
    (
        (
            id(),
            1..u64::MAX,
            any::<u64>(),
            (any::<u64>(), proptest::option::of(any::<u64>())),
            any::<u32>(),
            presence,
        ),
        btree_map(field(), sides(), 0..6),
        (
            btree_map(field(), edit, 0..3),
            btree_map(field(), open, 0..3),
            any::<(u32, u32)>(),
        ),
        (
            prop_oneof![Just(Push::default()), push()],
            (
                mirror(),
                any::<u64>(),
                proptest::collection::btree_set(text(), 0..3),
                btree_map(principal(), text(), 0..3),
            ),
            (proptest::option::of(request), cause()),
        ),
    )
        .prop_map(
            |(
                (file, revision, visible, (version, reported), mask, presence),
                fields,
                (edits, open, (conflicts_opened, content_version)),
                last,
            )| {
                let (
                    push,
                    (mirror, permissions_at, parents, former_principals),
                    (last_request, cause),
                ) = last;
                FileRecord {
                    file,
                    revision: Revision(revision),
                    visible: Revision(visible),
                    version: DriveVersion(version),
                    reported: DriveVersion(reported.unwrap_or(version)),
                    field_set: FieldSetVersion(mask),
                    presence,
                    missing: None,
                    fields,
                    edits,
                    open,
                    conflicts_opened,
                    content_version,
                    push,
                    metadata: domain::DriveMetadata { parents, ..mirror },
                    content_moved_at: DriveVersion(0),
                    permissions_at: DriveVersion(permissions_at),
                    former_principals,
                    unlisted: None,
                    last_request,
                    cause,
                }
            },
        )
}

fn question() -> impl Strategy<Value = Question> {
    let parts = (any::<u64>(), any::<u32>(), time());
    parts.prop_map(|(endpoint, seconds_max, asked_at)| Question {
        resolver: Resolver {
            endpoint: EndpointId::fresh(endpoint),
            seconds_max,
        },
        asked_at,
    })
}

fn asked() -> impl Strategy<Value = Asked> {
    let course = prop_oneof![
        (time(), any::<u32>()).prop_map(|(at, failures)| AskCourse::Owed { at, failures }),
        (any::<u64>(), time(), any::<u32>()).prop_map(|(token, until, failures)| {
            AskCourse::Sending {
                token: LeaseToken(token),
                until,
                failures,
            }
        }),
        time().prop_map(|at| AskCourse::Answered { at }),
        (proptest::option::of(text()), time()).prop_map(|(detail, at)| AskCourse::Left {
            why: NoDecision::Refused,
            detail,
            at,
        }),
    ];
    (question(), course).prop_map(|(question, course)| Asked { question, course })
}

fn conflict() -> impl Strategy<Value = ConflictRecord> {
    let choice = prop_oneof![
        Just(Choice::App),
        Just(Choice::Drive),
        Just(Choice::Base),
        value().prop_map(Choice::Value),
        id().prop_map(Choice::Both)
    ];
    let by = prop_oneof![Just(Decider::Policy), text().prop_map(Decider::Person)];
    let resolved = (choice, value(), by, time());
    let status = prop_oneof![
        Just(ConflictStatus::Open),
        time().prop_map(|at| ConflictStatus::Closed { at }),
        resolved.prop_map(|(choice, value, by, at)| {
            ConflictStatus::Resolved(Resolution {
                choice,
                value,
                by,
                at,
            })
        }),
    ];
    (
        (id(), field(), any::<u32>(), any::<u32>()),
        (value(), value(), value(), any::<bool>()),
        (
            btree_map(field(), value(), 0..4),
            time(),
            keeping(),
            proptest::option::of(asked()),
            status,
            cause(),
        ),
    )
        .prop_map(
            |(
                (file, field, number, moves),
                (base, app, drive, unsure),
                (owed, opened_at, keeping, asked, status, cause),
            )| {
                ConflictRecord {
                    id: ConflictId {
                        file,
                        field,
                        number,
                    },
                    moves,
                    base,
                    app,
                    drive,
                    unsure,
                    owed,
                    opened_at,
                    keeping,
                    asked,
                    status,
                    cause,
                }
            },
        )
}

async fn put_then_load(store: &Store, record: FileRecord, conflicts: Vec<ConflictRecord>) {
    let key = fresh();
    let conflicts: BTreeMap<_, _> = conflicts.into_iter().map(|c| (c.id.clone(), c)).collect();
    let step = Transition { record, conflicts };
    let done = store
        .commit(&key, Revision(0), &step, nonce())
        .await
        .unwrap();
    assert_eq!(done, Committed::Done);
    let file = &step.record.file;
    assert_eq!(
        store.load_file(&key, file).await.unwrap().as_ref(),
        Some(&step.record)
    );
    for (id, conflict) in &step.conflicts {
        assert_eq!(
            store.load_conflict(&key, id).await.unwrap().as_ref(),
            Some(conflict)
        );
    }
}

#[test]
fn any_record_and_its_conflicts_come_back_as_they_were() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let store = runtime.block_on(embedded());
    let config = ProptestConfig {
        cases: 128,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(record in record(), conflicts in vec(conflict(), 0..3))| {
        runtime.block_on(put_then_load(&store, record, conflicts));
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_conflict_survives_its_item(conflict in conflict()) {
        let key = fresh();
        let item = encode_conflict(&key, &conflict).unwrap();
        prop_assert_eq!(decode_conflict(&key, item.item).unwrap(), conflict);
    }
}
