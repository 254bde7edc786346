//! No response is larger than Lambda may answer.

use http::Method;
use serde_json::json;

use crate::support::{Setup, eventually, own_with};

/// Lambda answers at most 6 MB, and API Gateway says 500 to what is more. `local` does too.
#[test]
fn regression_a_list_of_files_that_many_people_share_is_read_in_pages_that_fit() {
    let setup = Setup {
        files: 700,
        folders: 1,
        ..Setup::default()
    };
    own_with(setup, async |world| {
        world.disable_notifications();
        let permission = |n: usize| {
            json!({"id": format!("{n:020}"), "type": "user", "role": "writer",
                "emailAddress": format!("a.person.with.a.long.name.{n:04}@example.com"),
                "permissionDetails": [{"role": "writer", "inherited": false}]})
        };
        // Forty people on every file, as Drive lists them.
        let people: Vec<String> = (0..40).map(|n| permission(n).to_string()).collect();
        world.fault(json!({"match": "GET /drive/v3/files", "times": 1_000,
            "replace": {"\"permissions\":[": format!("\"permissions\":[{},", people.join(","))}}));
        world.fault(json!({"match": "GET /drive/v3/files", "times": 1_000,
            "replace": {"\"version\":\"": "\"version\":\"9"}}));
        let started = world.post("/sync", json!({"mode": "full"})).await;
        let listing = started["operation"]["id"].as_str().unwrap();
        world.operation_in(listing, "done").await;
        eventually("every file shows its people", async || {
            let files = world.files().await;
            let mut people = files
                .values()
                .map(|f| f["permissions"].as_array().unwrap().len());
            people.all(|count| count > 40).then_some(())
        })
        .await;
        for path in ["false", "true"] {
            let (mut count, mut pages, mut cursor) = (0, 0, String::new());
            loop {
                let path = format!("/files?limit=1000&path={path}{cursor}");
                let page = world.api(Method::GET, &path, &[], None).await;
                assert_eq!(page.status, 200, "{}", page.body);
                let items = page.body["items"].as_array().unwrap();
                assert!(
                    items
                        .iter()
                        .any(|f| f["permissions"].as_array().unwrap().len() > 40)
                );
                (count, pages) = (count + items.len(), pages + 1);
                match page.body["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            assert!(count >= 700 && pages > 1, "{count} in {pages}");
        }
    });
}
