//! Names, types and trees that nobody would think of: kept as they are, and shown so that they do no harm.

use domain::derive::path_names;
use http::Method;
use serde_json::json;

use crate::support::shared;

#[test]
fn a_hostile_name_is_kept_as_it_is_in_both_directions_and_shown_escaped() {
    shared(async |world| {
        let owner = world.owner();
        let long = "n".repeat(32 * 1024);
        for name in [
            "in/out\\both",
            "line\nbreak\ttab\u{7f}",
            "txt.\u{202e}exe\u{200b}",
            "👩‍👩‍👧 日本語 Größe",
            "..",
            long.as_str(),
        ] {
            let file = owner.create(name, false).await;
            let seen = world
                .file_until("the name", &file, |f| f["fields"]["name"] == name)
                .await;
            let path = seen["path"].as_str().unwrap();
            assert!(!path.chars().any(char::is_control), "{path}");
            assert_eq!(path_names(path), Some((vec![name.to_owned()], true)));

            // And from our side: what the application sets is what Drive gets.
            let back = format!("{}b", &name[..name.len().min(1_000)]);
            world.edited(&file, json!({ "name": back })).await;
            world
                .file_until("the push", &file, |f| f["intent"].is_null())
                .await;
            assert_eq!(owner.name_of(&file).await, back);
        }
    });
}

#[test]
fn a_type_that_nobody_has_heard_of_survives() {
    shared(async |world| {
        let body = json!({"name": "odd", "mimeType": "application/vnd.unheard-of+thing"});
        let (status, made) = world
            .owner()
            .call(Method::POST, "/drive/v3/files", Some(body))
            .await;
        assert_eq!(status, 200, "{made}");
        let seen = world
            .file_until("the file", made["id"].as_str().unwrap(), |_| true)
            .await;
        assert_eq!(
            seen["fields"]["mime_type"],
            "application/vnd.unheard-of+thing"
        );
    });
}

#[test]
fn a_path_of_nearly_a_hundred_levels_is_told_whole() {
    shared(async |world| {
        let owner = world.owner();
        let mut parent = owner.create("deep", true).await;
        for _ in 1..95 {
            let body = json!({
                "name": "deep", "mimeType": "application/vnd.google-apps.folder", "parents": [parent],
            });
            let (status, made) = owner
                .call(Method::POST, "/drive/v3/files", Some(body))
                .await;
            assert_eq!(status, 200, "{made}");
            parent = made["id"].as_str().unwrap().to_owned();
        }
        let wanted = "/deep".repeat(95);
        let seen = world
            .file_until("the whole path", &parent, |f| f["path"] == wanted.as_str())
            .await;
        assert_eq!(seen["effective"]["complete"], true);
        world
            .edited(&parent, json!({"description": "at the bottom"}))
            .await;
    });
}
