//! A shared drive of somebody else's, which the connection's user may be let into.

use http::Method;
use serde_json::{Value, json};

use super::{Outside, Person, eventually};

const FOLDER: &str = "application/vnd.google-apps.folder";

/// A shared drive, seen as its organizer does.
pub struct Team {
    pub organizer: Person,
    pub id: String,
}

impl Team {
    /// A drive that `alice` makes at Drive; the connection's user is no member of it.
    pub async fn make(world: &Outside, name: &str) -> Self {
        let organizer = world.person("alice");
        let path = format!("/drive/v3/drives?requestId={name}");
        let body = Some(json!({ "name": name }));
        let made = organizer.done(Method::POST, &path, body).await;
        let id = made["id"].as_str().unwrap().to_owned();
        Self { organizer, id }
    }

    async fn item(&self, name: &str, kind: &str, parent: &str) -> String {
        let body = json!({"name": name, "mimeType": kind, "parents": [parent]});
        let path = "/drive/v3/files?supportsAllDrives=true";
        let made = self.organizer.done(Method::POST, path, Some(body)).await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// A file in it.
    pub async fn file(&self, name: &str) -> String {
        self.item(name, "text/plain", &self.id).await
    }

    /// A folder in it.
    pub async fn folder(&self, name: &str) -> String {
        self.item(name, FOLDER, &self.id).await
    }

    /// A file in a folder of it.
    pub async fn file_in(&self, folder: &str, name: &str) -> String {
        self.item(name, "text/plain", folder).await
    }

    pub async fn files(&self, count: usize) -> Vec<String> {
        let mut files = Vec::new();
        for number in 0..count {
            files.push(self.file(&format!("team {number}.txt")).await);
        }
        files
    }

    pub async fn rename(&self, file: &str, name: &str) {
        let path = format!("/drive/v3/files/{file}?supportsAllDrives=true");
        let body = Some(json!({ "name": name }));
        self.organizer.done(Method::PATCH, &path, body).await;
    }

    /// Deletes for good, with what lies below.
    pub async fn delete(&self, file: &str) {
        let path = format!("/drive/v3/files/{file}?supportsAllDrives=true");
        self.organizer.done(Method::DELETE, &path, None).await;
    }

    /// Gives the connection's user a role on the drive or on one item of it; the permission.
    pub async fn give(&self, what: &str, role: &str) -> String {
        let path = format!("/drive/v3/files/{what}/permissions?supportsAllDrives=true");
        let body = json!({"type": "user", "role": role, "emailAddress": "owner@example.com"});
        let made = self.organizer.done(Method::POST, &path, Some(body)).await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// Makes the connection's user a member who may edit what is in the drive; the permission.
    pub async fn join(&self) -> String {
        self.give(&self.id, "fileOrganizer").await
    }

    pub async fn expel(&self, permission: &str) {
        let path = format!(
            "/drive/v3/files/{}/permissions/{permission}?supportsAllDrives=true",
            self.id
        );
        self.organizer.done(Method::DELETE, &path, None).await;
    }
}

impl Outside {
    /// What the status shows of a log; `None` where there is none.
    pub async fn log_of(&self, log: &str) -> Option<Value> {
        let status = self.get("/status").await;
        let mut logs = status["logs"].as_array().unwrap().clone().into_iter();
        logs.find(|shown| shown["log"] == log)
    }

    /// Waits until a log stands so.
    pub async fn log_until(&self, log: &str, position: &str) -> Value {
        eventually(&format!("the log is {position}"), async || {
            let log = self.log_of(log).await;
            log.filter(|log| log["position"] == position)
        })
        .await
    }

    /// Waits until all of these files are present, or gone in such a way.
    pub async fn all_until(&self, files: &[String], presence: &str) {
        for file in files {
            let wanted = |shown: &Value| shown["presence"] == presence;
            self.file_until(presence, file, wanted).await;
        }
    }

    /// Drive's versions of a file that came to us, the newest first.
    pub async fn versions(&self, file: &str) -> Vec<String> {
        let history = self.get(&format!("/files/{file}/history?limit=1000")).await;
        let items = history["items"].as_array().unwrap().iter();
        items
            .map(|item| item["version"].as_str().unwrap().to_owned())
            .collect()
    }
}
