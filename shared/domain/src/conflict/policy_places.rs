//! Policies of folders, over all small trees: which one is it, and when is it not determined.

use std::collections::{BTreeMap, BTreeSet};

use super::{FolderPolicies, Policies, Policy};
use crate::fixture::{Manually as _, NOW, context, record, snapshot, text};
use crate::{Ancestry, Context, Field, FileId, FileRecord, Gone, Observation, Value};

const FOLDERS: [&str; 3] = ["d1", "d2", "d3"];

/// What stands above a folder of a small tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Above {
    Root,
    Folder(usize),
    /// Drive shows no folder.
    Hidden,
    /// A folder without a record.
    NoRecord,
}

const ABOVE: [Above; 6] = [
    Above::Root,
    Above::Folder(0),
    Above::Folder(1),
    Above::Folder(2),
    Above::Hidden,
    Above::NoRecord,
];

fn id(text: &str) -> FileId {
    FileId::parse(text).unwrap()
}

fn folder(name: &str, parent: Value) -> FileRecord {
    let mut shown = snapshot(1, &[(Field::Parent, parent)]);
    shown.file = id(name);
    shown.metadata.mime_type = crate::FOLDER.to_owned();
    FileRecord::from_snapshot(&shown)
}

fn parent_of(above: Above) -> Value {
    match above {
        Above::Root => text("root"),
        Above::Folder(number) => text(FOLDERS[number]),
        Above::Hidden => Value::Null,
        Above::NoRecord => text("nowhere"),
    }
}

fn tree(above: [Above; 3]) -> Ancestry {
    let mut tree = Ancestry::below(Some(id("root")));
    for (name, above) in FOLDERS.iter().zip(above) {
        tree.add(&folder(name, parent_of(above)));
    }
    tree.add_unknown(id("nowhere"));
    tree
}

/// The same by hand: walks up, folder by folder.
fn walked(policies: &Policies, above: [Above; 3], from: usize) -> Policy {
    let mut at = from;
    let mut seen = BTreeSet::new();
    loop {
        let own = policies.folders.get(&id(FOLDERS[at]));
        if let Some(policy) = own.and_then(|own| own.of(&Field::Name)) {
            return policy;
        }
        let is_new = seen.insert(at);
        match above[at] {
            Above::Folder(next) if is_new && !seen.contains(&next) => at = next,
            Above::Root => {
                let root = policies.folders.get(&id("root"));
                let root = root.and_then(|root| root.of(&Field::Name));
                return root.unwrap_or(policies.of(&Field::Name));
            }
            Above::Hidden => return policies.of(&Field::Name),
            Above::Folder(_) | Above::NoRecord => return Policy::Manual,
        }
    }
}

fn of_folder(default: Option<Policy>, name: Option<Policy>) -> FolderPolicies {
    FolderPolicies {
        default,
        fields: name
            .map(|name| ("name".to_owned(), name))
            .into_iter()
            .collect(),
    }
}

#[test]
fn in_every_small_tree_the_nearest_folder_with_a_policy_counts() {
    let choices = [
        None,
        Some(of_folder(Some(Policy::DriveWins), None)),
        Some(of_folder(None, Some(Policy::AppWins))),
        Some(FolderPolicies {
            default: None,
            fields: BTreeMap::from([("starred".to_owned(), Policy::AppWins)]),
        }),
    ];
    let file = id("f1");
    let mut seen = 0_u32;
    for above in ABOVE.iter().flat_map(|a| {
        let pairs = ABOVE
            .iter()
            .flat_map(move |b| ABOVE.iter().map(move |c| [*a, *b, *c]));
        pairs.collect::<Vec<_>>()
    }) {
        let tree = tree(above);
        for number in 0..choices.len().pow(4) {
            let names = ["d1", "d2", "d3", "root"].iter().enumerate();
            let folders = names.filter_map(|(place, name)| {
                let choice = number / choices.len().pow(u32::try_from(place).unwrap());
                let policies = choices[choice % choices.len()].clone()?;
                Some((id(name), policies))
            });
            let policies = Policies {
                default: Policy::Manual,
                fields: BTreeMap::from([(
                    "name".to_owned(),
                    Policy::LastWriterWins { window_millis: 1 },
                )]),
                folders: folders.collect(),
            };
            if policies.folders.is_empty() {
                continue;
            }
            for (from, name) in FOLDERS.iter().enumerate() {
                let place = id(name);
                let found = policies.of_file(&Field::Name, &file, [Some(&place)], Some(&tree));
                let wanted = walked(&policies, above, from);
                assert_eq!(found, wanted, "{above:?} {from} {policies:?}");
                seen += 1;
                // Two places decide only if they agree.
                let other = id("d1");
                let both = policies.of_file(
                    &Field::Name,
                    &file,
                    [Some(&place), Some(&other)],
                    Some(&tree),
                );
                let same = wanted == walked(&policies, above, 0);
                assert_eq!(both, if same { wanted } else { Policy::Manual });
            }
        }
    }
    assert_eq!(seen, 6 * 6 * 6 * 255 * 3);
}

fn with_folders(folders: &[(&str, Policy)]) -> Policies {
    let folders = folders.iter();
    let folders = folders.map(|(name, policy)| (id(name), of_folder(Some(policy.clone()), None)));
    Policies {
        folders: folders.collect(),
        ..Policies::default()
    }
}

/// Both sides rename a file in `d1`, and Drive moves it to `to` at the same time. Returns the name
/// on the application's side afterwards, and whether a conflict is open.
fn renamed(policies: &Policies, to: &str, above: Option<&Ancestry>) -> (Value, bool) {
    let mut file = record();
    let parent = crate::merge::Sides::agreed(text("d1"));
    file.fields.insert(Field::Parent, parent);
    let edited = file.edits(Field::Name, text("ours"));
    let shown = snapshot(
        2,
        &[(Field::Name, text("theirs")), (Field::Parent, text(to))],
    );
    let context = Context {
        above,
        ..context(policies)
    };
    let seen = edited.observe(&Observation::Present(shown), context);
    assert!(seen.opens_conflict(&edited));
    (seen.record.app(&Field::Name), !seen.record.open.is_empty())
}

#[test]
fn a_move_between_folders_with_different_policies_is_left_to_a_person() {
    let tree = tree([Above::Root, Above::Root, Above::Folder(0)]);
    let same = with_folders(&[("d1", Policy::DriveWins)]);
    assert_eq!(renamed(&same, "d1", Some(&tree)), (text("theirs"), false));
    assert_eq!(renamed(&same, "d3", Some(&tree)), (text("theirs"), false));
    assert_eq!(renamed(&same, "d2", Some(&tree)), (text("ours"), true));
    assert_eq!(renamed(&same, "nowhere", Some(&tree)), (text("ours"), true));
    let both = with_folders(&[("d1", Policy::AppWins), ("d2", Policy::AppWins)]);
    assert_eq!(renamed(&both, "d2", Some(&tree)), (text("ours"), false));
    // Without the folders above nothing is decided.
    assert_eq!(renamed(&same, "d1", None), (text("ours"), true));
    assert_eq!(NOW, context(&same).now);
}

#[test]
fn the_policy_of_a_folder_counts_for_the_folder_itself_and_ends_with_it() {
    let policies = with_folders(&[("d1", Policy::DriveWins)]);
    let own = policies.of_file(&Field::Name, &id("d1"), [Some(&id("root"))], None);
    assert_eq!(own, Policy::DriveWins);
    let mut tree = Ancestry::below(Some(id("root")));
    tree.add(&FileRecord::tombstone(id("d1"), Gone::Removed, NOW));
    let below = policies.of_file(&Field::Name, &id("f1"), [Some(&id("d1"))], Some(&tree));
    assert_eq!(below, Policy::Manual, "the place of the file is not known");
    let hidden = policies.of_file(&Field::Name, &id("f1"), [None], Some(&tree));
    assert_eq!(hidden, policies.of(&Field::Name));
}
