//! `local doctor` says what is wrong with a running system, and what mends it.

use std::path::Path;
use std::process::Output;

use http::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{Folder, binary, eventually, run, start_local};

/// Runs `local doctor` for a running system, and returns its exit code and what it found.
async fn doctor(api: &str, data: &Path, more: &[&str]) -> (Option<i32>, Vec<Value>) {
    let mut command = Command::new(binary("local"));
    let addr = api.strip_prefix("http://").unwrap();
    command.args(["--json", "doctor", "--api-addr", addr, "--data-dir"]);
    let output: Output = command.arg(data).args(more).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found = lines.flat_map(|line| line["findings"].as_array().unwrap().clone());
    (output.status.code(), found.collect())
}

/// Returns the findings that contain a text.
fn about<'f>(found: &'f [Value], text: &str) -> Vec<&'f Value> {
    let says = |finding: &&Value| finding["what"].as_str().unwrap().contains(text);
    found.iter().filter(says).collect()
}

#[test]
fn doctor_lists_what_is_wrong_and_fails_if_it_needs_a_person() {
    run(async {
        let folder = Folder::new();
        let (library, data) = (folder.path().join("library"), folder.path().join("data"));
        std::fs::create_dir_all(&library).unwrap();
        std::fs::write(library.join("a.txt"), "a").unwrap();
        let library = library.to_str().unwrap();
        let own = [
            "--drive-addr",
            "127.0.0.1:0",
            "--library",
            library,
            "--no-content",
        ];
        let (mut process, ready) = start_local(&own, &data).await;
        let text = |name: &str| ready[name].as_str().unwrap().to_owned();
        let (api, drive) = (text("api"), text("drive"));
        let http = reqwest::Client::new();
        let ask = async |method: Method, path: &str, body: Value| {
            let url = format!("{api}/v1/connections/{}{path}", text("connection"));
            let asked = http.request(method, url).bearer_auth(text("token"));
            let asked = asked.header("content-type", "application/json");
            asked
                .body(body.to_string())
                .send()
                .await
                .unwrap()
                .status()
                .as_u16()
        };
        // Drive opens the channel, and its answer is lost.
        let control = http.post(format!("{drive}/_control/faults"));
        let control = control.header("x-drive-control", text("drive_control"));
        let fault = json!({"match": "POST /drive/v3/changes/watch", "times": 1,
            "respond": {"status": 500}, "applied": true});
        let control = control.header("content-type", "application/json");
        let set = control.body(fault.to_string()).send().await.unwrap();
        assert!(set.status().is_success());
        let found = eventually("the stray is listed", async || {
            // A change, of which Drive notifies all channels.
            let made = http.post(format!("{drive}/drive/v3/files"));
            let made = made.header("authorization", "Bearer user:owner");
            let made = made.header("content-type", "application/json");
            made.body(r#"{"name":"new.txt"}"#).send().await.unwrap();
            let (code, found) = doctor(&api, &data, &[]).await;
            assert_eq!(code, Some(0), "{found:?}");
            (!about(&found, "nothing names").is_empty()).then_some(found)
        })
        .await;
        let stray = about(&found, "nothing names")[0];
        assert_eq!(stray["needs_person"], false);
        assert!(
            stray["command"]
                .as_str()
                .unwrap()
                .contains("--stop-channels")
        );
        let (code, _) = doctor(&api, &data, &["--stop-channels"]).await;
        assert_eq!(code, Some(0));

        assert_eq!(ask(Method::POST, "/pause", json!({})).await, 200);
        let (code, found) = doctor(&api, &data, &[]).await;
        assert_eq!(code, Some(1), "{found:?}");
        assert_eq!(found[0]["needs_person"], true);
        let command = found[0]["command"].as_str().unwrap();
        assert!(command.contains("/resume"), "{command}");
        assert_eq!(ask(Method::POST, "/resume", json!({})).await, 200);
        let (code, _) = doctor(&api, &data, &[]).await;
        assert_eq!(code, Some(0));
        process.start_kill().unwrap();
        process.wait().await.unwrap();
    });
}
