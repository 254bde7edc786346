//! Derived state, compared with plain statements of it, over trees of every shape.

use std::collections::BTreeMap;

use super::*;
use crate::fixture::{Manually, NOW, text, values};
use crate::merge::Sides;
use crate::{
    DriveMetadata, DriveVersion, FieldSetVersion, Glob, Gone, MimePattern, ObservedPermission,
    Rule, Rules, Snapshot, Timestamp,
};

fn id(id: &str) -> FileId {
    FileId::parse(id).unwrap()
}

/// An item with a name, optionally in a folder.
fn item(file: &str, name: &str, parent: Option<&str>) -> FileRecord {
    let mut fields = values(&[
        (Field::Name, text(name)),
        (Field::Trashed, Value::Flag(false)),
    ]);
    fields.extend(parent.map(|parent| (Field::Parent, text(parent))));
    FileRecord::from_snapshot(&Snapshot {
        file: id(file),
        version: DriveVersion(1),
        field_set: FieldSetVersion::CURRENT,
        fields,
        metadata: DriveMetadata {
            mime_type: "text/plain".to_owned(),
            ..DriveMetadata::default()
        },
    })
}

fn ancestry(records: &[FileRecord]) -> Ancestry {
    let mut ancestry = Ancestry::below(Some(id("root")));
    records.iter().for_each(|record| ancestry.add(record));
    ancestry
}

fn path(records: &[FileRecord], file: &str) -> Option<String> {
    ancestry(records).lineage(&id(file), Side::App).path()
}

fn top(records: &[FileRecord], file: &str) -> LineageTop {
    ancestry(records)
        .lineage(&id(file), Side::App)
        .top()
        .clone()
}

#[test]
fn a_path_begins_at_the_drives_root_or_with_an_ellipsis() {
    let records = [
        item("a", "A", Some("root")),
        item("b", "B", Some("a")),
        item("f", "plan.md", Some("b")),
        item("shared", "shared.md", None),
        item("lost", "lost.md", Some("nowhere")),
    ];
    assert_eq!(path(&records, "f").as_deref(), Some("/A/B/plan.md"));
    assert_eq!(path(&records, "shared").as_deref(), Some("…/shared.md"));
    assert_eq!(top(&records, "shared"), LineageTop::Hidden);
    assert_eq!(path(&records, "lost").as_deref(), Some("…/lost.md"));
    assert_eq!(top(&records, "lost"), LineageTop::Unknown(id("nowhere")));
    assert_eq!(path(&records, "root").as_deref(), Some("/"));
    assert_eq!(path(&records, "nowhere"), None);
}

#[test]
fn a_shared_drives_root_is_recognised_with_or_without_a_record() {
    let in_drive = |mut record: FileRecord| {
        record.metadata.drive_id = Some("drive".to_owned());
        record
    };
    let file = in_drive(item("f", "f", Some("drive")));
    let root = in_drive(item("drive", "Team", None));
    assert_eq!(
        path(std::slice::from_ref(&file), "f").as_deref(),
        Some("/f")
    );
    assert_eq!(path(&[file, root.clone()], "f").as_deref(), Some("/f"));
    assert_eq!(path(&[root], "drive").as_deref(), Some("/"));
}

#[test]
fn a_removed_folder_ends_a_lineage_and_a_removed_file_does_not() {
    let gone = |record: FileRecord| FileRecord {
        presence: crate::Presence::Gone(Gone::Removed, Timestamp::default()),
        ..record
    };
    let records = [
        gone(item("a", "A", Some("root"))),
        gone(item("f", "f", Some("a"))),
    ];
    assert_eq!(path(&records, "f").as_deref(), Some("…/f"));
    assert_eq!(top(&records, "f"), LineageTop::Unknown(id("a")));
}

#[test]
fn a_circle_of_folders_ends_the_lineage() {
    let circle = [
        item("a", "A", Some("b")),
        item("b", "B", Some("a")),
        item("f", "f", Some("a")),
    ];
    assert_eq!(path(&circle, "f").as_deref(), Some("…/B/A/f"));
    assert_eq!(top(&circle, "f"), LineageTop::Circle(id("a")));
    let own = [item("a", "A", Some("a"))];
    assert_eq!(path(&own, "a").as_deref(), Some("…/A"));
}

/// A chain of folders `0` (in the root) to `levels - 1`.
fn chain(levels: usize) -> Vec<FileRecord> {
    let parent = |level: usize| match level {
        0 => "root".to_owned(),
        _ => format!("{}", level - 1),
    };
    (0..levels)
        .map(|level| item(&level.to_string(), "d", Some(&parent(level))))
        .collect()
}

#[test]
fn a_hundred_levels_are_followed_and_no_more_than_the_limit() {
    let deep = chain(LEVELS_MAX + 1);
    assert_eq!(path(&deep, "99"), Some("/d".repeat(100)));
    let last = (LEVELS_MAX - 1).to_string();
    assert_eq!(path(&deep, &last), Some("/d".repeat(LEVELS_MAX)));
    let beyond = LEVELS_MAX.to_string();
    assert_eq!(
        path(&deep, &beyond),
        Some(format!("…{}", "/d".repeat(LEVELS_MAX)))
    );
    assert_eq!(top(&deep, &beyond), LineageTop::TooDeep(id("0")));
}

#[test]
fn levels_are_loaded_one_by_one_and_each_folder_once() {
    let all: BTreeMap<FileId, FileRecord> =
        chain(5).into_iter().map(|r| (r.file.clone(), r)).collect();
    let mut ancestry = Ancestry::below(None);
    for sibling in ["x", "y", "z"] {
        ancestry.add(&item(sibling, "f", Some("4")));
    }
    let mut levels = 0;
    loop {
        let missing = ancestry.missing();
        if missing.is_empty() {
            break;
        }
        assert_eq!(missing.len(), 1);
        levels += 1;
        for file in missing {
            match all.get(&file) {
                Some(record) => ancestry.add(record),
                None => ancestry.add_unknown(file),
            }
        }
    }
    assert_eq!(levels, 6, "five folders, and the root, which has no record");
    let lineage = ancestry.lineage(&id("x"), Side::App);
    assert_eq!(lineage.path().as_deref(), Some("…/d/d/d/d/d/f"));
    assert!(!lineage.is_whole());
}

#[test]
fn a_file_is_trashed_by_the_nearest_trashed_folder() {
    let mut records = chain(4);
    assert_eq!(
        ancestry(&records).lineage(&id("3"), Side::App).trashed_by(),
        None
    );
    for level in [0, 2] {
        let trashed = records[level].edits(Field::Trashed, Value::Flag(true));
        records[level] = trashed;
    }
    let all = ancestry(&records);
    let by = |file: &str| all.lineage(&id(file), Side::App).trashed_by().cloned();
    assert_eq!(by("3"), Some(id("2")));
    assert_eq!(by("1"), Some(id("0")));
    assert_eq!(by("0"), Some(id("0")));
}

fn shared(record: &FileRecord, roles: &[(&str, &str)]) -> FileRecord {
    let mut record = record.clone();
    for (principal, role) in roles {
        let field = Field::Permission((*principal).to_owned());
        record.fields.insert(field, Sides::agreed(text(role)));
    }
    record
}

fn grants(records: &[FileRecord], file: &str) -> Vec<(String, String, RoleOrigin)> {
    let all = ancestry(records);
    let grants = all.lineage(&id(file), Side::App).permissions(NOW);
    let each = |(principal, grant): (String, Grant)| (principal, grant.role, grant.origin);
    grants.into_iter().map(each).collect()
}

fn granted(principal: &str, role: &str, origin: RoleOrigin) -> (String, String, RoleOrigin) {
    (principal.to_owned(), role.to_owned(), origin)
}

#[test]
fn the_higher_role_counts_wherever_it_comes_from() {
    let folder = shared(
        &item("a", "A", Some("root")),
        &[
            ("user:ann", "writer"),
            ("user:bob", "reader"),
            ("anyone", "owl"),
        ],
    );
    let file = shared(
        &item("f", "f", Some("a")),
        &[
            ("user:ann", "reader"),
            ("user:bob", "commenter"),
            ("user:eve", "owner"),
        ],
    );
    let from = || RoleOrigin::Folder(id("a"));
    assert_eq!(
        grants(&[folder.clone(), file.clone()], "f"),
        [
            granted("anyone", "owl", from()),
            granted("user:ann", "writer", from()),
            granted("user:bob", "commenter", RoleOrigin::Own),
            granted("user:eve", "owner", RoleOrigin::Own),
        ]
    );
    let owned = shared(&folder, &[("user:ann", "owner")]);
    assert_eq!(
        grants(&[owned, file], "f")[1],
        granted("user:ann", "writer", from())
    );
}

#[test]
fn a_folder_with_limited_access_inherits_only_owners_and_organizers() {
    let in_drive = |record: FileRecord, limited: bool| FileRecord {
        metadata: DriveMetadata {
            drive_id: Some("drive".to_owned()),
            inherited_permissions_disabled: limited,
            ..record.metadata.clone()
        },
        ..record
    };
    let root = shared(
        &in_drive(item("drive", "Team", None), false),
        &[("user:boss", "organizer"), ("user:ann", "writer")],
    );
    let limited = shared(
        &in_drive(item("a", "A", Some("drive")), true),
        &[("user:eve", "reader")],
    );
    let file = in_drive(item("f", "f", Some("a")), false);
    let all = [root, limited, file];
    let member = || RoleOrigin::Folder(id("drive"));
    let wanted = [
        granted("user:boss", "organizer", member()),
        granted("user:eve", "reader", RoleOrigin::Folder(id("a"))),
    ];
    assert_eq!(grants(&all, "f"), wanted);
    assert_eq!(grants(&all, "drive").len(), 2, "the root has its own");
}

#[test]
fn unknown_folders_are_replaced_by_inherited_roles_of_the_highest_known() {
    let shown = ObservedPermission {
        principal: "user:ann".to_owned(),
        role: "writer".to_owned(),
        inherited: true,
        inherited_from: Some("hidden".to_owned()),
        ..ObservedPermission::default()
    };
    let mut folder = item("a", "A", Some("hidden"));
    folder.metadata.permissions = vec![shown];
    let file = item("f", "f", Some("a"));
    let beyond = RoleOrigin::Beyond(Some("hidden".to_owned()));
    assert_eq!(
        grants(&[folder.clone(), file.clone()], "f"),
        [granted("user:ann", "writer", beyond)]
    );
    let known = FileRecord {
        fields: BTreeMap::from([(Field::Parent, Sides::agreed(text("root")))]),
        ..folder
    };
    assert_eq!(
        grants(&[known, file], "f"),
        [],
        "stale inherited roles are ignored if the folder is known"
    );
}

#[test]
fn a_shortcuts_target_is_present_trashed_broken_or_unknown() {
    let gone = FileRecord {
        presence: crate::Presence::Gone(Gone::AccessLost, Timestamp::default()),
        ..item("gone", "gone", Some("root"))
    };
    let records = [
        item("a", "A", Some("root")).edits(Field::Trashed, Value::Flag(true)),
        item("in-trash", "t", Some("a")),
        item("there", "there", Some("there")),
        gone,
    ];
    let all = ancestry(&records);
    for (target, state) in [
        ("there", TargetState::There),
        ("in-trash", TargetState::Trashed),
        ("gone", TargetState::Broken),
        ("nowhere", TargetState::Unknown),
    ] {
        assert_eq!(all.target(&id(target)), state, "{target}");
    }
}

#[test]
fn a_move_is_visible_at_once_and_affects_rules_once_drive_has_it() {
    let records = [
        item("in", "In", Some("root")),
        item("out", "Out", Some("root")),
        item("f", "f", Some("in")).edits(Field::Parent, text("out")),
    ];
    let all = ancestry(&records);
    let lineage = |side| all.lineage(&id("f"), side);
    assert_eq!(lineage(Side::App).path().as_deref(), Some("/Out/f"));
    assert_eq!(lineage(Side::Drive).path().as_deref(), Some("/In/f"));
    let rules = Rules {
        include: vec![Rule::Folder(id("in"))],
        exclude: Vec::new(),
    };
    assert!(rules.includes(&lineage(Side::Drive)));
}

#[test]
fn a_folder_rule_covers_everything_below_and_a_type_rule_does_not() {
    let records = [
        item("a", "Archive", Some("root")),
        item("b", "B", Some("a")),
        item("f", "plan.TMP", Some("b")),
        item("g", "notes", Some("root")),
        item("h", "h", Some("unseen")),
    ];
    let all = ancestry(&records);
    let folder = |of: &str| Rule::Folder(id(of));
    let name = |glob: &str| Rule::Name(Glob::parse(glob).unwrap());
    let kind = |kind: &str| Rule::MimeType(MimePattern::parse(kind).unwrap());
    let takes = |include: &[Rule], exclude: &[Rule], file: &str| {
        let rules = Rules {
            include: include.to_vec(),
            exclude: exclude.to_vec(),
        };
        rules.includes(&all.lineage(&id(file), Side::Drive))
    };
    assert!(takes(&[], &[], "f"));
    assert!(takes(&[folder("a")], &[], "f") && takes(&[folder("a")], &[], "a"));
    assert!(!takes(&[folder("a")], &[], "g"));
    assert!(takes(&[folder("root")], &[], "g"));
    assert!(
        takes(&[folder("unseen")], &[], "h"),
        "a folder without a record counts too"
    );
    assert!(
        !takes(&[], &[name("arch*")], "f"),
        "a file in an excluded folder"
    );
    assert!(!takes(&[], &[name("*.tmp")], "f") && takes(&[], &[name("*.tmp")], "b"));
    assert!(
        takes(&[folder("g"), kind("text/*")], &[], "f"),
        "one of them is enough"
    );
    assert!(!takes(&[kind("image/*")], &[], "f"));
    assert!(
        !takes(&[folder("a")], &[folder("b")], "f"),
        "exclude takes precedence"
    );
    assert!(takes(&[folder("a")], &[folder("b")], "a"));
    assert!(!takes(&[], &[name("*")], "g"));
}

/// Drive's report of the end comes late, or never: the time itself counts.
#[test]
fn a_role_that_has_ended_is_not_effective() {
    let ending = |principal: &str, inherited: bool, millis: i64| ObservedPermission {
        principal: principal.to_owned(),
        role: "writer".to_owned(),
        direct: !inherited,
        inherited,
        expires_at: Some(NOW.plus_millis(millis)),
        ..ObservedPermission::default()
    };
    let folder = shared(
        &item("a", "A", Some("elsewhere")),
        &[("user:ann", "reader")],
    );
    let file = item("f", "f", Some("a"));
    let mut file = shared(&file, &[("user:ann", "writer"), ("user:bob", "writer")]);
    file.metadata.permissions = vec![ending("user:ann", false, 0), ending("user:bob", false, 1)];
    let mut folder = folder;
    folder.metadata.permissions = vec![ending("user:cy", true, 0), ending("user:di", true, 1)];
    let roles = |file: &FileRecord| -> Vec<(String, String)> {
        let grants = grants(&[folder.clone(), file.clone()], "f").into_iter();
        grants
            .map(|(principal, role, _)| (principal, role))
            .collect()
    };
    let pair = |principal: &str, role: &str| (principal.to_owned(), role.to_owned());
    let own = [pair("user:ann", "reader"), pair("user:bob", "writer")];
    assert_eq!(
        roles(&file),
        [own.as_slice(), &[pair("user:di", "writer")]].concat()
    );

    // Another role, which the application wants, does not end with the one that Drive shows.
    let wanted = Field::Permission("user:ann".to_owned());
    let sides = file
        .sides(&wanted)
        .edited(text("commenter"), DriveVersion(1));
    file.fields.insert(wanted, sides);
    assert!(roles(&file).contains(&pair("user:ann", "commenter")));
}

#[test]
fn characters_that_split_a_path_or_mislead_are_escaped() {
    for (name, shown) in [
        ("plan.md", "plan.md"),
        ("Größe 😀 日本", "Größe 😀 日本"),
        ("and/or", r"and\u{2f}or"),
        (r"a\b", r"a\\b"),
        ("a\nb\u{0}\u{7f}\u{85}", r"a\u{a}b\u{0}\u{7f}\u{85}"),
        ("exe.\u{202e}txt", r"exe.\u{202e}txt"),
        ("zero\u{200b}width\u{feff}", r"zero\u{200b}width\u{feff}"),
        ("tag\u{e0041}", r"tag\u{e0041}"),
        ("line\u{2028}", r"line\u{2028}"),
        (".", r"\u{2e}"),
        ("..", r"\u{2e}."),
        ("...", "..."),
        ("…", "…"),
        ("", ""),
    ] {
        let record = item("f", name, Some("root"));
        let wanted = format!("/{shown}");
        assert_eq!(path(&[record], "f"), Some(wanted.clone()));
        let names = if name.is_empty() {
            vec![]
        } else {
            vec![name.to_owned()]
        };
        assert_eq!(path_names(&wanted), Some((names, true)));
    }
    for bad in [
        "",
        "a",
        "…",
        "…a",
        r"/\x",
        r"/\u{}",
        r"/\u{110000}",
        r"/\u{41",
        r"/\",
        r"/\u41",
    ] {
        assert_eq!(path_names(bad), None, "{bad}");
    }
}

#[test]
fn every_path_parses_to_its_names() {
    let mut random = fastrand_like(7);
    let alphabet: Vec<char> = "ab/\\.…{}u\u{202e}\u{0}\u{1f600}\u{fe0f}\n"
        .chars()
        .collect();
    for _ in 0..5_000 {
        let levels = 1 + random(4);
        let names: Vec<String> = (0..levels)
            .map(|_| {
                let length = 1 + random(6);
                (0..length)
                    .map(|_| alphabet[random(alphabet.len())])
                    .collect()
            })
            .collect();
        let whole = random(2) == 0;
        let from_below: Vec<&str> = names.iter().rev().map(String::as_str).collect();
        let joined = path::joined(&from_below, whole);
        assert_eq!(path_names(&joined), Some((names, whole)), "{joined}");
        let plain = |char: char| char == '/' || !char.is_control();
        assert!(joined.chars().all(plain), "{joined:?}");
    }
}

#[test]
fn a_path_that_is_too_long_loses_its_top_and_never_the_files_name() {
    let long = "x".repeat(32 * 1024);
    let names = [long.as_str(); 5];
    let shown = path::joined(&names, true);
    assert!(shown.len() <= PATH_BYTES_MAX + "…".len());
    assert_eq!(path_names(&shown), Some((vec![long.clone()], false)));
    let hostile = "\u{1}".repeat(32 * 1024);
    let shown = path::joined(&[hostile.as_str(), "A"], true);
    assert_eq!(path_names(&shown), Some((vec![hostile], false)));
}

/// Random parents of a few items, compared with a traversal one step at a time.
#[test]
fn random_forests_derive_the_same_as_a_plain_traversal() {
    let mut random = fastrand_like(42);
    for _ in 0..2_000 {
        let count = 2 + random(7);
        // The last two ids are the root, and a folder without a record.
        let parents: Vec<usize> = (0..count).map(|_| random(count + 2)).collect();
        let trashed: Vec<bool> = (0..count).map(|_| random(4) == 0).collect();
        let name = |at: usize| match at {
            at if at == count => "root".to_owned(),
            at => format!("n{at}"),
        };
        let records: Vec<FileRecord> = (0..count)
            .map(|at| {
                let record = item(&name(at), &name(at), Some(&name(parents[at])));
                match trashed[at] {
                    true => record.edits(Field::Trashed, Value::Flag(true)),
                    false => record,
                }
            })
            .collect();
        let all = ancestry(&records);
        for file in 0..count {
            let lineage = all.lineage(&id(&name(file)), Side::App);
            let mut way = vec![file];
            while let Some(next) = parents
                .get(way[way.len() - 1])
                .filter(|next| !way.contains(next))
            {
                way.push(*next);
            }
            let folders: Vec<usize> = way.iter().copied().filter(|at| *at < count).collect();
            let whole = way.last() == Some(&count);
            let names: String = folders
                .iter()
                .rev()
                .map(|at| format!("/{}", name(*at)))
                .collect();
            let wanted = if whole { names } else { format!("…{names}") };
            assert_eq!(lineage.path(), Some(wanted), "{parents:?} {file}");
            assert_eq!(lineage.is_whole(), whole);
            let by = folders
                .iter()
                .find(|at| trashed[**at])
                .map(|at| id(&name(*at)));
            assert_eq!(lineage.trashed_by().cloned(), by);
        }
    }
}

/// Generates numbers below a bound, the same in every run.
fn fastrand_like(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |bound| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((state >> 33) % bound as u64).unwrap()
    }
}
