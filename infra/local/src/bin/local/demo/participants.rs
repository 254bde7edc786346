//! The participants of the demo: a user of Drive and a user of the API.

use domain::ConnectionKey;
use http::Method;
use local::system::System;
use serde_json::{Value, json};

use crate::cli::{Failure, one_line};

/// A user of Drive, acting through Drive's API.
pub(crate) struct Person<'a> {
    pub(crate) name: &'a str,
    pub(crate) drive_url: &'a str,
    pub(crate) http: &'a reqwest::Client,
}

impl Person<'_> {
    /// Changes a file in Drive.
    pub(crate) async fn change(&self, file: &str, change: Value) -> Result<(), Failure> {
        let request = self
            .http
            .patch(self.url(file))
            .bearer_auth(format!("user:{}", self.name));
        let answer = request
            .json(&change)
            .send()
            .await
            .map_err(|error| one_line(&error))?;
        answer
            .error_for_status()
            .map(|_| ())
            .map_err(|error| one_line(&error))
    }

    /// Returns the current value of a field of a file in Drive.
    pub(crate) async fn field(&self, file: &str, field: &str) -> Result<Value, Failure> {
        let url = format!("{}?fields={field}", self.url(file));
        let request = self
            .http
            .get(url)
            .bearer_auth(format!("user:{}", self.name));
        let answer = request.send().await.map_err(|error| one_line(&error))?;
        let file: Value = answer.json().await.map_err(|error| one_line(&error))?;
        Ok(file.get(field).cloned().unwrap_or_default())
    }

    fn url(&self, file: &str) -> String {
        format!("{}/drive/v3/files/{file}", self.drive_url)
    }
}

/// An application, acting through drivesync's API.
pub(crate) struct Application<'a> {
    pub(crate) system: &'a System,
    pub(crate) connection: &'a ConnectionKey,
}

impl Application<'_> {
    /// Gets the resource at a path below the connection.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::GET, path, &[], None).await
    }

    /// Changes the current version of a file.
    pub(crate) async fn change(&self, file: &str, change: Value) -> Result<Value, Failure> {
        self.call(
            Method::PATCH,
            &format!("/files/{file}"),
            &[("if-match", "*")],
            Some(change),
        )
        .await
    }

    /// Resolves a conflict.
    pub(crate) async fn resolve(&self, conflict: &str, choose: &str) -> Result<Value, Failure> {
        let path = format!("/conflicts/{conflict}/resolution");
        self.call(Method::POST, &path, &[], Some(json!({ "choose": choose })))
            .await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<Value, Failure> {
        let path = format!("/v1/connections/{}{path}", self.connection.connection);
        match self.system.call(method, &path, headers, body).await {
            (200 | 201, body) => Ok(body),
            (status, body) => Err(format!("{path} failed with {status}: {body}")),
        }
    }
}
