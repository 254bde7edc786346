//! A shared drive of another user, which the connection's user may join.

use http::Method;
use serde_json::{Value, json};

use super::{Outside, Person, eventually};

/// A shared drive, with its organizer.
pub struct Team {
    pub organizer: Person,
    pub id: String,
}

impl Team {
    /// Creates a drive of `alice`'s; the connection's user is no member of it.
    pub async fn make(world: &Outside, name: &str) -> Self {
        let organizer = world.person("alice");
        let id = organizer.create_drive(name).await;
        Self { organizer, id }
    }

    /// Creates a file in it.
    pub async fn file(&self, name: &str) -> String {
        self.organizer.create_in(&self.id, name, false).await
    }

    /// Creates a folder in it.
    pub async fn folder(&self, name: &str) -> String {
        self.organizer.create_in(&self.id, name, true).await
    }

    /// Creates a file in a folder of it.
    pub async fn file_in(&self, folder: &str, name: &str) -> String {
        self.organizer.create_in(folder, name, false).await
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

    /// Deletes an item permanently, with everything below.
    pub async fn delete(&self, file: &str) {
        let path = format!("/drive/v3/files/{file}?supportsAllDrives=true");
        self.organizer.done(Method::DELETE, &path, None).await;
    }

    /// Grants the connection's user a role on the drive or on one of its items, and returns the
    /// permission.
    pub async fn give(&self, what: &str, role: &str) -> String {
        self.organizer.grant(what, "owner", role).await
    }

    /// Makes the connection's user a file organizer of the drive, and returns the permission.
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
    /// Returns the status of a log, if there is one.
    pub async fn log_of(&self, log: &str) -> Option<Value> {
        let status = self.get("/status").await;
        let mut logs = status["logs"].as_array().unwrap().clone().into_iter();
        logs.find(|shown| shown["log"] == log)
    }

    /// Waits until a log is in a position.
    pub async fn log_until(&self, log: &str, position: &str) -> Value {
        eventually(&format!("the log is {position}"), async || {
            let log = self.log_of(log).await;
            log.filter(|log| log["position"] == position)
        })
        .await
    }

    /// Waits until all of these files have a presence.
    pub async fn all_until(&self, files: &[String], presence: &str) {
        for file in files {
            let wanted = |shown: &Value| shown["presence"] == presence;
            self.file_until(presence, file, wanted).await;
        }
    }

    /// Returns Drive's versions of a file in our history, the newest first.
    pub async fn versions(&self, file: &str) -> Vec<String> {
        let history = self.get(&format!("/files/{file}/history?limit=1000")).await;
        let items = history["items"].as_array().unwrap().iter();
        items
            .map(|item| item["version"].as_str().unwrap().to_owned())
            .collect()
    }
}
