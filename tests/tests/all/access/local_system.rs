//! The system on one machine: what its owner gets, and what other users, other processes and pages
//! in a browser do not get.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::support::{Folder, binary, run, start_local};

/// `local` in its own process, with a simulated Drive.
struct Local {
    process: Child,
    ready: Value,
    http: reqwest::Client,
}

impl Local {
    /// Starts it on the folders `library` and `data` of a folder.
    async fn start(folder: &Path, more: &[&str]) -> Self {
        let library = folder.join("library");
        fs::create_dir_all(&library).unwrap();
        fs::write(library.join("a.txt"), "a").unwrap();
        let library = library.to_str().unwrap();
        let own = ["--drive-addr", "127.0.0.1:0", "--library", library];
        let arguments: Vec<&str> = own.iter().chain(more).copied().collect();
        let (process, ready) = start_local(&arguments, &folder.join("data")).await;
        let http = reqwest::Client::new();
        Self {
            process,
            ready,
            http,
        }
    }

    fn url(&self, member: &str, path: &str) -> String {
        format!("{}{path}", self.ready[member].as_str().unwrap())
    }

    async fn kill(mut self) {
        self.process.start_kill().unwrap();
        self.process.wait().await.unwrap();
    }

    /// Returns the status of the API's answer to a token.
    async fn with_token(&self, token: &str) -> u16 {
        let request = self.http.get(self.url("api", "/v1/connections"));
        status(request.bearer_auth(token)).await
    }
}

async fn status(request: reqwest::RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

/// Runs `local token` on a data directory.
async fn printed_token(data_dir: &Path, more: &[&str]) -> std::process::Output {
    let mut command = Command::new(binary("local"));
    command.args(["token", "--data-dir"]).arg(data_dir);
    command.args(more).output().await.unwrap()
}

/// Returns a folder and everything in it that others than its owner may use.
fn open_to_others(path: &Path) -> Vec<PathBuf> {
    let metadata = fs::symlink_metadata(path).unwrap();
    let mut found = Vec::new();
    if metadata.permissions().mode() & 0o077 != 0 {
        found.push(path.to_owned());
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            found.extend(open_to_others(&entry.unwrap().path()));
        }
    }
    found
}

/// Returns the seconds from now until a token expires.
fn seconds_left(token: &str) -> i64 {
    let claims = token.split('.').nth(1).unwrap();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["exp"].as_i64().unwrap() - runtime::Clock::system().now().as_seconds()
}

#[test]
fn regression_a_local_system_gives_its_data_and_tokens_to_its_owner() {
    run(async {
        let folder = Folder::new();
        let data = folder.path().join("data");
        let refused = printed_token(&data, &[]).await;
        assert_eq!(refused.status.code(), Some(2), "nothing has run there");
        let local = Local::start(folder.path(), &[]).await;
        assert_eq!(open_to_others(&data), Vec::<PathBuf>::new());

        let token = local.ready["token"].as_str().unwrap();
        assert_eq!(local.with_token(token).await, 200);
        assert!((3_000..=3_600).contains(&seconds_left(token)));
        let another = printed_token(&data, &[]).await;
        assert!(another.status.success(), "{another:?}");
        let another = String::from_utf8(another.stdout).unwrap();
        assert_eq!(local.with_token(another.trim()).await, 200);
        assert!((3_000..=3_600).contains(&seconds_left(another.trim())));
        let viewer = printed_token(&data, &["--role", "viewer"]).await.stdout;
        let viewer = String::from_utf8(viewer).unwrap();
        assert_eq!(local.with_token(viewer.trim()).await, 200);
        let removal = local.http.delete(local.url("api", "/v1/connections/c_1"));
        assert_eq!(status(removal.bearer_auth(viewer.trim())).await, 403);
        let unknown = printed_token(&data, &["--role", "root"]).await;
        assert_eq!(unknown.status.code(), Some(2));
        local.kill().await;

        // As an earlier version wrote it.
        for name in ["token.key", "drive.json", "lock"] {
            let open = fs::Permissions::from_mode(0o644);
            fs::set_permissions(data.join(name), open).unwrap();
        }
        let local = Local::start(folder.path(), &[]).await;
        assert_eq!(open_to_others(&data), Vec::<PathBuf>::new());
        assert_eq!(local.with_token(another.trim()).await, 200);
        local.kill().await;
    });
}

#[test]
fn regression_aws_services_listen_on_request_and_answer_signed_requests() {
    run(async {
        let folder = Folder::new();
        let local = Local::start(folder.path(), &[]).await;
        let listening = local.ready["aws"].as_object().unwrap();
        assert_eq!(listening.keys().collect::<Vec<_>>(), ["s3"]);
        local.kill().await;

        let local = Local::start(folder.path(), &["--serve-aws"]).await;
        for (service, target, body) in [
            (
                "secretsmanager",
                "secretsmanager.GetSecretValue",
                json!({"SecretId": "drivesync/local/drive"}),
            ),
            (
                "dynamodb",
                "DynamoDB_20120810.Scan",
                json!({"TableName": "drivesync"}),
            ),
            ("sqs", "AmazonSQS.ListQueues", json!({})),
            ("s3", "", json!({})),
        ] {
            let url = local.ready["aws"][service].as_str().unwrap();
            let request = || match service {
                "s3" => local.http.get(url),
                _ => local
                    .http
                    .post(url)
                    .header("x-amz-target", target)
                    .body(body.to_string()),
            };
            let answer = request().send().await.unwrap();
            let (refused, text) = (answer.status().as_u16(), answer.text().await.unwrap());
            assert_eq!(refused, 403, "{service}: {text}");
            assert!(!text.contains("refresh_token"), "{service}: {text}");
            // The keys that everybody knew.
            let known = "AWS4-HMAC-SHA256 Credential=test/20261130/us-east-1/secretsmanager/\
                         aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature=00";
            let known = request().header("authorization", known);
            assert!(status(known).await >= 400, "{service}");
            // A page whose name leads to this machine.
            let rebound = request().header("host", "evil.example");
            assert_eq!(status(rebound).await, 421, "{service}");
        }
        let rebound = local.http.get(local.url("api", "/health"));
        assert_eq!(status(rebound.header("host", "evil.example")).await, 421);
        assert_eq!(
            status(local.http.get(local.url("api", "/health"))).await,
            200
        );
        local.kill().await;

        // Where a container reaches them, under the name that it knows this machine by.
        let name = "host.docker.internal";
        let asked = ["--serve-aws=127.0.0.2", "--allow-host", name];
        let local = Local::start(folder.path(), &asked).await;
        for (service, url) in local.ready["aws"].as_object().unwrap() {
            let url = url.as_str().unwrap();
            assert!(url.starts_with("http://127.0.0.2:"), "{service}: {url}");
            let named = local.http.get(url).header("host", name);
            assert_ne!(
                status(named).await,
                421,
                "{service}: it is a name of this machine"
            );
        }
        local.kill().await;
    });
}

#[test]
fn regression_the_simulated_drive_gives_no_file_of_the_machine_to_a_page() {
    run(async {
        let folder = Folder::new();
        let secret = folder.path().join("secret");
        fs::create_dir_all(&secret).unwrap();
        fs::write(secret.join("id_rsa"), "a private key").unwrap();
        let local = Local::start(folder.path(), &[]).await;
        let load = || {
            let load = local.http.post(local.url("drive", "/_control/load"));
            load.json(&json!({ "path": secret }))
        };
        assert_eq!(status(load()).await, 403, "another user of the machine");
        let key = local.ready["drive_control"].as_str().unwrap();
        let owner = load().header("x-drive-control", key);
        assert_eq!(status(owner).await, 400, "beside the library");

        // A page of another port puts a page of its own into the library.
        let upload = "/upload/drive/v3/files?uploadType=multipart&access_token=user:owner";
        let page = "--b\r\n\r\n{\"id\":\"evil1\",\"mimeType\":\"text/html\"}\r\n\
                    --b\r\nContent-Type: text/html\r\n\r\n<script>1</script>\r\n--b--";
        for (name, value) in [
            ("origin", "http://127.0.0.1:8000"),
            ("sec-fetch-site", "same-site"),
            ("accept", "*/*"),
        ] {
            let request = local.http.post(local.url("drive", upload)).body(page);
            let request = request.header("content-type", "multipart/form-data; boundary=b");
            assert_eq!(status(request.header(name, value)).await / 100, 4, "{name}");
        }
        let placed = local.http.get(local.url("drive", "/drive/v3/files/evil1"));
        assert_eq!(status(placed.bearer_auth("user:owner")).await, 404);
        local.kill().await;
    });
}
