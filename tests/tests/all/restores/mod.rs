//! Folders are set back to a point in time.

mod interrupted;
mod requests;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::content::content_wakes::{content, mirrored};
use crate::content::in_drive;
use crate::support::{ByHand, by_hand};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// Reads what has changed in Drive, and does everything that follows from it.
async fn settle(hand: &ByHand) {
    for _ in 0..4 {
        hand.sync().await;
        hand.sweep_and_pump().await;
        hand.advance_clock(Duration::from_secs(5));
    }
}

/// Returns a time that no change is near.
async fn quiet_time(hand: &ByHand) -> String {
    settle(hand).await;
    hand.advance_clock(MINUTE);
    let at = hand.now().to_string();
    hand.advance_clock(MINUTE);
    at
}

/// Starts a restore, and returns its id.
async fn begin(hand: &ByHand, body: Value) -> String {
    let begun = hand.post("/files/restore", body).await;
    assert_eq!(begun["kind"], "restore", "{begun}");
    begun["id"].as_str().unwrap().to_owned()
}

/// Runs an operation until it has ended or waits for a person.
async fn run_out(hand: &ByHand, id: &str) -> Value {
    for _ in 0..50 {
        hand.sweep().await;
        let operation = hand.get(&format!("/operations/{id}")).await;
        if operation["finished_at"] != Value::Null || operation["awaiting_since"] != Value::Null {
            return operation;
        }
        hand.advance_clock(Duration::from_secs(5));
    }
    panic!("{}", hand.get(&format!("/operations/{id}")).await);
}

/// Restores a folder, and does everything that follows from it.
async fn restored(hand: &ByHand, folder: &str, at: &str) -> Value {
    let id = begin(hand, json!({"folder": folder, "at": at})).await;
    let done = run_out(hand, &id).await;
    assert_eq!(done["state"], "done", "{done}");
    settle(hand).await;
    done
}

/// Returns the findings of a restore by file, read page by page.
async fn findings(hand: &ByHand, id: &str) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/operations/{id}/findings?limit=3{cursor}");
        let page = hand.get(&path).await;
        for item in page["items"].as_array().unwrap() {
            let file = item["file_id"].as_str().unwrap().to_owned();
            assert!(found.insert(file, item.clone()).is_none(), "listed once");
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

/// Returns the fields of a finding as `(field, from, to, left)`.
fn fields(finding: &Value) -> Vec<(&str, &Value, &Value, &Value)> {
    let fields = finding["fields"].as_array().unwrap().iter();
    fields
        .map(|field| {
            let name = field["field"].as_str().unwrap();
            (name, &field["from"], &field["to"], &field["left"])
        })
        .collect()
}

/// A folder with files in it, and one beside it.
struct Library {
    folder: String,
    beside: String,
    files: BTreeMap<&'static str, String>,
}

impl Library {
    const FILES: [&str; 6] = [
        "renamed",
        "moved",
        "trashed",
        "overwritten",
        "deleted",
        "same",
    ];

    /// Makes the folder, with everything in it known here.
    async fn make(hand: &ByHand) -> Self {
        let owner = hand.owner();
        let folder = owner.create("Team", true).await;
        let beside = owner.create("Beside", true).await;
        let mut files = BTreeMap::new();
        for name in Self::FILES {
            let file = owner
                .create_in(&folder, &format!("{name}.txt"), false)
                .await;
            let text = format!("the good content of {name}");
            let bytes = Bytes::from(text.into_bytes());
            hand.simulator
                .replace_content("owner", &file, bytes)
                .unwrap();
            files.insert(name, file);
        }
        let described = json!({"description": "ours", "properties": {"stage": "final"}});
        owner.update(&files["renamed"], described).await;
        Self {
            folder,
            beside,
            files,
        }
    }

    fn file(&self, name: &str) -> &str {
        &self.files[name]
    }

    /// Damages it in Drive, as a wrong script does. Returns the file that the script made.
    async fn damage(&self, hand: &ByHand) -> String {
        let owner = hand.owner();
        let fields = json!({
            "name": "renamed.txt.locked",
            "description": "pay",
            "starred": true,
            "properties": {"stage": null, "locked": "yes"},
        });
        owner.update(self.file("renamed"), fields).await;
        owner.move_to(self.file("moved"), &self.beside).await;
        owner
            .update(self.file("trashed"), json!({"trashed": true}))
            .await;
        content(hand, self.file("overwritten"), "encrypted");
        owner.delete(self.file("deleted")).await;
        owner.rename(&self.folder, "Team (locked)").await;
        owner.create_in(&self.folder, "RANSOM.txt", false).await
    }

    /// Returns every file in Drive with its content, but for the versions.
    async fn in_drive(&self, hand: &ByHand) -> BTreeMap<String, (Value, Bytes)> {
        let mut all = BTreeMap::new();
        let owner = hand.owner();
        for (name, file) in self.files.iter().filter(|(name, _)| **name != "deleted") {
            let mut seen = owner.get(file).await;
            seen.as_object_mut().unwrap().remove("version");
            all.insert((*name).to_owned(), (seen, in_drive(hand, file).await));
        }
        let mut folder = owner.get(&self.folder).await;
        folder.as_object_mut().unwrap().remove("version");
        all.insert("folder".to_owned(), (folder, Bytes::new()));
        all
    }
}

#[test]
fn what_a_wrong_script_did_to_a_folder_is_undone_in_drive_and_back_again() {
    mirrored(2, async |hand| {
        let library = Library::make(hand).await;
        let good_time = quiet_time(hand).await;
        let good = library.in_drive(hand).await;
        let ransom = library.damage(hand).await;
        let bad_time = quiet_time(hand).await;
        let bad = library.in_drive(hand).await;
        assert_ne!(good["folder"], bad["folder"]);

        // The dry run lists all of it, and changes nothing.
        let dry = json!({"folder": library.folder, "at": good_time, "dry_run": true});
        let id = begin(hand, dry).await;
        let dry = run_out(hand, &id).await;
        assert_eq!(dry["state"], "done", "{dry}");
        let counts = &dry["restore"];
        assert_eq!(counts["folder"], library.folder.as_str(), "{dry}");
        assert_eq!(
            (&counts["to_restore"], &counts["restored"]),
            (&json!(5), &json!(0)),
            "{dry}"
        );
        let left = json!({"made_since": 1, "purged": 1});
        assert_eq!(counts["left"], left, "{dry}");
        let listed = findings(hand, &id).await;
        assert_eq!(listed.len(), 7, "{listed:#?}");
        let of = |name: &str| &listed[library.file(name)];
        assert_eq!(
            fields(of("moved")),
            [(
                "parent",
                &json!(library.beside),
                &json!(library.folder),
                &Value::Null
            )]
        );
        let trashed = [("trashed", &json!(true), &json!(false), &Value::Null)];
        assert_eq!(fields(of("trashed")), trashed);
        assert_eq!(fields(of("overwritten")).len(), 1);
        assert_eq!(fields(of("overwritten"))[0].0, "content");
        let names: Vec<&str> = fields(of("renamed")).iter().map(|field| field.0).collect();
        let wanted = [
            "name",
            "description",
            "starred",
            "properties.locked",
            "properties.stage",
        ];
        assert_eq!(names, wanted);
        assert_eq!(of("renamed")["name"], "renamed.txt.locked");
        assert_eq!(
            (&listed[&ransom]["kind"], &listed[&ransom]["left"]),
            (&json!("left"), &json!("made_since"))
        );
        assert_eq!(of("deleted")["left"], "purged", "{}", of("deleted"));
        assert!(!listed.contains_key(library.file("same")));
        let only = hand
            .get(&format!("/operations/{id}/findings?kind=left"))
            .await;
        assert_eq!(only["items"].as_array().unwrap().len(), 2);
        settle(hand).await;
        assert_eq!(library.in_drive(hand).await, bad);

        // The restore puts it back in Drive, and the restore of the restore undoes that.
        let done = restored(hand, &library.folder, &good_time).await;
        assert_eq!(done["restore"]["restored"], 5, "{done}");
        assert_eq!(library.in_drive(hand).await, good);
        let listed = findings(hand, done["id"].as_str().unwrap()).await;
        let repaired = listed.values().filter(|file| file["repaired"] == true);
        assert_eq!(repaired.count(), 5, "{listed:#?}");
        assert_eq!(hand.owner().name_of(&ransom).await, "RANSOM.txt");
        assert_eq!(hand.differences().await, Vec::<String>::new());

        let undone = restored(hand, &library.folder, &bad_time).await;
        assert_eq!(undone["restore"]["restored"], 5, "{undone}");
        assert_eq!(library.in_drive(hand).await, bad);
        // Nothing differs any more.
        let nothing = restored(hand, &library.folder, &bad_time).await;
        assert_eq!(nothing["restore"]["to_restore"], 0, "{nothing}");
    });
}

#[test]
fn a_file_that_was_in_the_folder_then_comes_back_and_others_are_not_touched() {
    by_hand(2, async |hand| {
        let owner = hand.owner();
        let team = owner.create("Team", true).await;
        let inner = owner.create_in(&team, "Inner", true).await;
        let other = owner.create("Other", true).await;
        let within = owner.create_in(&inner, "within.txt", false).await;
        let outside = owner.create_in(&other, "outside.txt", false).await;
        let at = quiet_time(hand).await;
        // The inner folder leaves the team's, and then the file leaves the inner folder.
        owner.move_to(&inner, &other).await;
        owner.move_to(&within, &other).await;
        owner.rename(&outside, "renamed.txt").await;
        settle(hand).await;

        let done = restored(hand, &team, &at).await;
        assert_eq!(done["restore"]["restored"], 2, "{done}");
        assert_eq!(owner.get(&inner).await["parents"], json!([team]));
        assert_eq!(owner.get(&within).await["parents"], json!([inner]));
        assert_eq!(owner.name_of(&outside).await, "renamed.txt");

        let whole = hand.post("/files/restore", json!({"at": at})).await;
        let done = run_out(hand, whole["id"].as_str().unwrap()).await;
        assert_eq!(done["restore"]["restored"], 1, "{done}");
        settle(hand).await;
        assert_eq!(owner.name_of(&outside).await, "outside.txt");
    });
}

#[test]
fn content_that_is_not_stored_is_listed_and_everything_else_is_set_back() {
    by_hand(2, async |hand| {
        let library = Library::make(hand).await;
        let at = quiet_time(hand).await;
        content(hand, library.file("overwritten"), "encrypted");
        hand.owner()
            .rename(library.file("overwritten"), "overwritten.txt.locked")
            .await;
        settle(hand).await;
        let done = restored(hand, &library.folder, &at).await;
        assert_eq!(done["restore"]["restored"], 1, "{done}");
        let left = json!({"content_not_mirrored": 1});
        assert_eq!(done["restore"]["left"], left, "{done}");
        let file = library.file("overwritten");
        assert_eq!(hand.owner().name_of(file).await, "overwritten.txt");
        assert_eq!(&in_drive(hand, file).await[..], b"encrypted");

        // Mirrored from now on, it is the encrypted content alone that is stored.
        hand.configure(json!({"content": {"enabled": true}})).await;
        settle(hand).await;
        let done = restored(hand, &library.folder, &at).await;
        let left = json!({"content_not_held": 1});
        assert_eq!(done["restore"]["left"], left, "{done}");
    });
}

#[test]
fn a_restore_gives_nobody_more_access() {
    by_hand(2, async |hand| {
        let owner = hand.owner();
        let folder = owner.create("Team", true).await;
        let file = owner.create_in(&folder, "plan.txt", false).await;
        let revoked = owner.grant(&file, "ann", "writer").await;
        let at = quiet_time(hand).await;
        owner.unshare(&file, &revoked).await;
        owner.grant(&file, "eve", "writer").await;
        settle(hand).await;
        let done = restored(hand, &folder, &at).await;
        let listed = findings(hand, done["id"].as_str().unwrap()).await;
        let roles: Vec<_> = fields(&listed[&file])
            .into_iter()
            .map(|(field, _, to, left)| (field.to_owned(), to.clone(), left.clone()))
            .collect();
        let widens = json!("widens_sharing");
        assert_eq!(roles.len(), 2, "{roles:?}");
        assert!(roles[0].0.contains("ann"), "{roles:?}");
        assert_eq!((&roles[0].1, &roles[0].2), (&json!("writer"), &widens));
        assert!(roles[1].0.contains("eve"), "{roles:?}");
        assert_eq!((&roles[1].1, &roles[1].2), (&Value::Null, &Value::Null));
        let path = format!("/drive/v3/files/{file}?fields=permissions(emailAddress)");
        let shared = owner.done(Method::GET, &path, None).await;
        assert!(!shared.to_string().contains("eve"), "{shared}");
        assert!(!shared.to_string().contains("ann"), "{shared}");
    });
}

#[test]
fn regression_the_state_of_a_file_that_did_not_change_for_long_is_kept() {
    by_hand(2, async |hand| {
        let file = hand.take();
        let before = hand.owner().name_of(&file).await;
        settle(hand).await;
        // Longer than history is kept: what the first sync saved has expired.
        for _ in 0..4 {
            hand.advance_clock(50 * DAY);
            settle(hand).await;
        }
        let at = quiet_time(hand).await;
        hand.owner().rename(&file, "locked").await;
        settle(hand).await;
        hand.advance_clock(80 * DAY);
        settle(hand).await;
        let done = restored(hand, &file, &at).await;
        assert_eq!(done["restore"]["restored"], 1, "{done}");
        assert_eq!(hand.owner().name_of(&file).await, before);
    });
}
