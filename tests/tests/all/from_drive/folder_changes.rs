//! The change of a folder says nothing about the files below it: their state is derived when read.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{FOLDER, Outside, Person, Setup, World, eventually, own_with};

/// Returns all files of the connection with their derived state, by id.
async fn derived(world: &Outside, filter: &str) -> BTreeMap<String, Value> {
    let mut files = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let page = format!("/files?limit=1000&path=true{filter}{cursor}");
        let page = world.get(&page).await;
        for file in page["items"].as_array().unwrap() {
            files.insert(file["id"].as_str().unwrap().to_owned(), file.clone());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return files,
        }
    }
}

/// Returns the files of a list below a folder.
fn below<'a>(
    files: &'a BTreeMap<String, Value>,
    folder: &str,
) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let prefix = format!("{folder}/");
    files
        .iter()
        .filter(move |(_, file)| file["path"].as_str().unwrap().starts_with(&prefix))
}

/// Creates a folder `Projects` with all files below it, and a folder `Archive` beside it.
async fn projects(world: &World) -> (Person, String, String) {
    let owner = world.owner();
    let projects = owner.create("Projects", true).await;
    let archive = owner.create("Archive", true).await;
    let files = derived(world, "").await;
    for (id, file) in &files {
        let top = file["path"].as_str().unwrap().matches('/').count() == 1;
        let one_of_ours = *id == projects || *id == archive;
        if top && file["fields"]["mime_type"] == FOLDER && !one_of_ours {
            owner.move_to(id, &projects).await;
        }
    }
    eventually("all is below Projects", async || {
        let files = derived(world, "").await;
        let waits = files.values().filter(|file| {
            let path = file["path"].as_str().unwrap();
            path.starts_with("/Folder") || path.starts_with('…')
        });
        (waits.count() == 0 && files.contains_key(&archive)).then_some(())
    })
    .await;
    (owner, projects, archive)
}

fn library(files: usize) -> Setup {
    Setup {
        files,
        folders: 20,
        ..Setup::default()
    }
}

fn revisions<'a>(files: impl Iterator<Item = (&'a String, &'a Value)>) -> Vec<(String, Value)> {
    files
        .map(|(id, file)| (id.clone(), file["revision"].clone()))
        .collect()
}

#[test]
fn pain_12_a_folder_change_shows_on_a_thousand_files_below_without_a_write() {
    own_with(library(1_060), async |world| {
        let (owner, projects, archive) = projects(world).await;
        let before = derived(world, "").await;
        let count = below(&before, "/Projects").count();
        assert!(count >= 1_000, "{count}");
        let unmoved = revisions(below(&before, "/Projects"));

        owner.move_to(&projects, &archive).await;
        world
            .file_until("the folder's move", &projects, |f| {
                f["fields"]["parent"] == archive.as_str()
            })
            .await;
        // From here on the test waits for nothing: only the folder's own record changes.
        let moved = derived(world, "").await;
        assert_eq!(revisions(below(&moved, "/Archive/Projects")), unmoved);
        assert_eq!(below(&moved, "/Projects").count(), 0);
        // A single file, read without a list, shows the same.
        for (id, file) in below(&moved, "/Archive/Projects").step_by(250) {
            assert_eq!(world.file(id).await["path"], file["path"]);
        }

        owner.update(&archive, json!({"trashed": true})).await;
        let trashed = |wanted: bool| {
            move |f: &Value| f["fields"]["trashed"] == wanted && f["effective"]["trashed"] == wanted
        };
        world.file_until("the trash", &archive, trashed(true)).await;
        let in_trash = derived(world, "&trashed=true").await;
        assert_eq!(revisions(below(&in_trash, "/Archive/Projects")), unmoved);
        for (_, file) in below(&in_trash, "/Archive") {
            assert_eq!(file["fields"]["trashed"], false, "by itself: {file}");
            assert_eq!(file["effective"]["trashed"], true, "{file}");
        }
        let left = derived(world, "&trashed=false").await;
        assert_eq!(below(&left, "/Archive").count(), 0);

        // A file that was trashed itself stays trashed when the folder is restored.
        let (own, _) = below(&moved, "/Archive/Projects").next().unwrap();
        owner.update(own, json!({"trashed": true})).await;
        world.file_until("its own trash", own, trashed(true)).await;
        owner.update(&archive, json!({"trashed": false})).await;
        world
            .file_until("the folder is back", &archive, trashed(false))
            .await;
        let in_trash = derived(world, "&trashed=true").await;
        assert!(in_trash.contains_key(own));
        let others = in_trash
            .values()
            .filter(|file| file["fields"]["trashed"] == false);
        let under_own = |file: &&Value| {
            let parent = file["path"].as_str().unwrap();
            parent.starts_with(moved[own]["path"].as_str().unwrap())
        };
        assert!(others.clone().all(|file| under_own(&file)));
    });
}

#[test]
fn pain_12_files_moved_into_or_out_of_an_included_folder_appear_or_leave_at_once() {
    own_with(library(150), async |world| {
        let (owner, projects, archive) = projects(world).await;
        let all = derived(world, "").await;
        let wanted = revisions(below(&all, "/Projects"));
        world
            .configure(json!({"rules": {"include": [{"folder": archive}]}}))
            .await;
        let seen = world.files().await;
        assert_eq!(seen.keys().collect::<Vec<_>>(), [&archive]);

        owner.move_to(&projects, &archive).await;
        world
            .file_until("the move in", &projects, |f| {
                f["fields"]["parent"] == archive.as_str()
            })
            .await;
        let seen = derived(world, "").await;
        assert_eq!(revisions(below(&seen, "/Archive/Projects")), wanted);
        assert_eq!(seen.len(), wanted.len() + 2, "and the two folders");
        let (deep, file) = below(&seen, "/Archive/Projects").next().unwrap();
        assert_eq!(world.file(deep).await["path"], file["path"]);

        let root = all[&projects]["fields"]["parent"].as_str().unwrap();
        owner.move_to(&projects, root).await;
        world
            .file_until("the move out", &projects, |f| f["in_scope"] == false)
            .await;
        let seen = world.files().await;
        assert_eq!(seen.keys().collect::<Vec<_>>(), [&archive]);
        let left_out = derived(world, "&excluded=true").await;
        assert_eq!(
            revisions(below(&left_out, "/Projects")),
            wanted,
            "kept, not lost"
        );
    });
}

#[test]
fn pain_12_new_content_with_an_old_modification_time_is_recorded() {
    own_with(
        Setup {
            files: 3,
            folders: 0,
            ..Setup::default()
        },
        async |world| {
            let file = world.take();
            let before = world.file(&file).await;
            let body = "--b\r\ncontent-type: application/json\r\n\r\n\
                {\"modifiedTime\": \"2001-02-03T04:05:06.000Z\"}\r\n\
                --b\r\ncontent-type: text/plain\r\n\r\nnew content\r\n--b--";
            let url = format!(
                "{}/upload/drive/v3/files/{file}?uploadType=multipart",
                world.drive_url
            );
            let request = world.http.patch(url).body(body);
            let answer = request
                .header("authorization", "Bearer user:owner")
                .header("content-type", "multipart/related; boundary=b")
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status().as_u16(), 200);
            let after = world
                .file_until("the content", &file, |f| f["fields"]["size"] == 11)
                .await;
            assert_eq!(after["fields"]["modified_at"], "2001-02-03T04:05:06.000Z");
            assert_ne!(after["fields"]["md5"], before["fields"]["md5"]);
            assert_ne!(after["revision"], before["revision"]);
        },
    );
}
