//! Files from before 2020 may be in several folders, which Drive lists in any order.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use crate::support::{Person, World, eventually, own};

/// Returns the folders of a file in Drive.
async fn parents(person: &Person, file: &str) -> BTreeSet<String> {
    let path = format!("/drive/v3/files/{file}?fields=parents");
    let found = person.done(Method::GET, &path, None).await;
    let parents = found["parents"].as_array().unwrap().iter();
    parents.map(|id| id.as_str().unwrap().to_owned()).collect()
}

async fn put_into(world: &World, file: &str, folders: &[&String]) {
    let order = json!({"id": file, "parents": folders});
    world.control(Method::POST, "parents", order).await;
}

#[test]
fn regression_a_file_in_several_folders_stays_in_the_one_that_is_shown() {
    own(async |world| {
        let (owner, file) = (world.owner(), world.take());
        let mut folders = Vec::new();
        for name in ["one", "two", "three", "four"] {
            folders.push(owner.create(name, true).await);
        }
        let [one, two, three, four] = folders.as_slice() else {
            panic!("{folders:?}");
        };
        put_into(world, &file, &[one, two]).await;
        let named = async |name: &str| {
            owner.rename(&file, name).await;
            let shown = world
                .file_until(name, &file, |f| f["fields"]["name"] == name)
                .await;
            shown["fields"]["parent"].as_str().unwrap().to_owned()
        };
        let shown = named("0.txt").await;
        let other = if shown == *one { two } else { one };
        for number in 1..8 {
            assert_eq!(named(&format!("{number}.txt")).await, shown);
        }
        // A further folder is no move; leaving the one that is shown is.
        put_into(world, &file, &[three, other, &shown]).await;
        assert_eq!(named("three folders.txt").await, shown);

        // The application moves it out of the folder that it knows, and out of no other.
        world.edit_ok(&file, json!({ "parent": four })).await;
        let wanted: BTreeSet<String> = [other, three, four].into_iter().cloned().collect();
        eventually("it is moved", async || {
            (parents(&owner, &file).await == wanted).then_some(())
        })
        .await;
        world
            .file_until("it is confirmed", &file, |f| {
                f["intent"].is_null() && f["fields"]["parent"] == **four
            })
            .await;
        assert_eq!(named("moved.txt").await, *four);
        put_into(world, &file, &[other, three]).await;
        let left = named("left.txt").await;
        assert!(left == *other || left == *three, "{left}");
        assert_eq!(world.conflicts_of(&file).await, Vec::<Value>::new());
    });
}
