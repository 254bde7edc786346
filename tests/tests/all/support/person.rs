//! A person at Drive, over the real v3 API.

use http::Method;
use serde_json::{Value, json};

/// What `fields` asks for: all that the tests compare.
const FIELDS: &str =
    "id,name,description,starred,trashed,explicitlyTrashed,parents,properties,version";

/// Somebody who works in Drive.
#[derive(Clone)]
pub struct Person {
    pub name: &'static str,
    pub drive_url: String,
    pub http: reqwest::Client,
}

impl Person {
    /// One call of Drive's API: its status and JSON.
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

    /// One call of Drive's API that succeeds: its JSON.
    pub async fn done(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.call(method, path, body).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// A file as Drive has it.
    pub async fn get(&self, id: &str) -> Value {
        self.done(
            Method::GET,
            &format!("/drive/v3/files/{id}?fields={FIELDS}"),
            None,
        )
        .await
    }

    /// A text field of a file, as Drive has it.
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

    /// Moves a file into another folder.
    pub async fn move_to(&self, id: &str, folder: &str) {
        let parents = self.get(id).await["parents"].clone();
        let from = parents[0].as_str().unwrap();
        let path = format!("/drive/v3/files/{id}?addParents={folder}&removeParents={from}");
        self.done(Method::PATCH, &path, Some(json!({}))).await;
    }

    /// Makes a file, or with `folder` a folder, and gives its id.
    pub async fn create(&self, name: &str, folder: bool) -> String {
        let kind = if folder {
            "application/vnd.google-apps.folder"
        } else {
            "text/plain"
        };
        let body = json!({"name": name, "mimeType": kind});
        let made = self.done(Method::POST, "/drive/v3/files", Some(body)).await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// Deletes a file for good.
    pub async fn delete(&self, id: &str) {
        self.done(Method::DELETE, &format!("/drive/v3/files/{id}"), None)
            .await;
    }

    /// Lets somebody write to a file, and gives the permission's id.
    pub async fn share(&self, id: &str, with: &str) -> String {
        let path = format!("/drive/v3/files/{id}/permissions?supportsAllDrives=true");
        let who = format!("{with}@example.com");
        let body = json!({"type": "user", "role": "writer", "emailAddress": who});
        let made = self.done(Method::POST, &path, Some(body)).await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// Takes a permission on a file away again.
    pub async fn unshare(&self, id: &str, permission: &str) {
        let path = format!("/drive/v3/files/{id}/permissions/{permission}?supportsAllDrives=true");
        self.done(Method::DELETE, &path, None).await;
    }
}
