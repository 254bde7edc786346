//! A person in Drive, over the v3 API.

use http::Method;
use serde_json::{Value, json};

/// The type of folders.
pub const FOLDER: &str = "application/vnd.google-apps.folder";

/// The `fields` that the tests compare.
const FIELDS: &str =
    "id,name,description,starred,trashed,explicitlyTrashed,parents,properties,version";

/// A person who works in Drive.
#[derive(Clone)]
pub struct Person {
    pub name: &'static str,
    pub drive_url: String,
    pub http: reqwest::Client,
}

impl Person {
    /// Calls Drive's API and returns status and JSON.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = self
            .http
            .request(method, format!("{}{path}", self.drive_url));
        let mut request = request.header("authorization", format!("Bearer user:{}", self.name));
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Calls Drive's API, expects success, and returns the JSON.
    pub async fn done(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.call(method, path, body).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// Returns a file of Drive.
    pub async fn get(&self, id: &str) -> Value {
        self.done(
            Method::GET,
            &format!("/drive/v3/files/{id}?fields={FIELDS}"),
            None,
        )
        .await
    }

    /// Returns the name of a file in Drive.
    pub async fn name_of(&self, id: &str) -> String {
        self.get(id).await["name"].as_str().unwrap().to_owned()
    }

    /// Changes fields of a file.
    pub async fn update(&self, id: &str, fields: Value) -> Value {
        let path = format!("/drive/v3/files/{id}?fields={FIELDS}");
        self.done(Method::PATCH, &path, Some(fields)).await
    }

    /// Renames a file.
    pub async fn rename(&self, id: &str, name: &str) {
        self.update(id, json!({ "name": name })).await;
    }

    /// Moves a file into another folder, of any drive.
    pub async fn move_to(&self, id: &str, folder: &str) {
        let path = format!("/drive/v3/files/{id}?supportsAllDrives=true");
        let read = format!("{path}&fields=parents");
        let file = self.done(Method::GET, &read, None).await;
        let from = file["parents"][0].as_str().unwrap();
        let path = format!("{path}&addParents={folder}&removeParents={from}");
        self.done(Method::PATCH, &path, Some(json!({}))).await;
    }

    /// Creates a file, or with `folder` a folder, and returns its id.
    pub async fn create(&self, name: &str, folder: bool) -> String {
        let kind = if folder { FOLDER } else { "text/plain" };
        let body = json!({"name": name, "mimeType": kind});
        let made = self.done(Method::POST, "/drive/v3/files", Some(body)).await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// Deletes a file permanently.
    pub async fn delete(&self, id: &str) {
        self.done(Method::DELETE, &format!("/drive/v3/files/{id}"), None)
            .await;
    }

    /// Creates a file, or with `folder` a folder, in a folder of any drive, and returns its id.
    pub async fn create_in(&self, parent: &str, name: &str, folder: bool) -> String {
        let kind = if folder { FOLDER } else { "text/plain" };
        let body = json!({"name": name, "mimeType": kind, "parents": [parent]});
        let path = "/drive/v3/files?supportsAllDrives=true";
        let made = self.done(Method::POST, path, Some(body)).await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// Creates a shared drive and returns its id.
    pub async fn create_drive(&self, name: &str) -> String {
        let path = format!("/drive/v3/drives?requestId={name}");
        let body = Some(json!({ "name": name }));
        let made = self.done(Method::POST, &path, body).await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// Grants a user of `example.com` a role on a file or a drive, and returns the permission's id.
    pub async fn grant(&self, id: &str, user: &str, role: &str) -> String {
        let path = format!(
            "/drive/v3/files/{id}/permissions?supportsAllDrives=true&sendNotificationEmail=false"
        );
        let address = format!("{user}@example.com");
        let body = json!({"type": "user", "role": role, "emailAddress": address});
        let made = self.done(Method::POST, &path, Some(body)).await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// Makes another user a writer of a file, and returns the permission's id.
    pub async fn share(&self, id: &str, with: &str) -> String {
        self.grant(id, with, "writer").await
    }

    /// Revokes a permission on a file.
    pub async fn unshare(&self, id: &str, permission: &str) {
        let path = format!("/drive/v3/files/{id}/permissions/{permission}?supportsAllDrives=true");
        self.done(Method::DELETE, &path, None).await;
    }
}
