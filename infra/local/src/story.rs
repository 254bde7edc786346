//! The people of the demo: someone in Drive, and someone at our API.

use std::time::Duration;

use domain::ConnectionKey;
use http::Method;
use local::system::System;
use serde_json::{Value, json};

use crate::cli::{Failure, one_line};

/// How long the story waits for anything before it says that it does not happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Someone who uses Drive as everyone does: over its API, as themselves.
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

    /// One field of a file in Drive, as it is now.
    pub(crate) async fn sees(&self, file: &str, field: &str) -> Result<Value, Failure> {
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

/// Someone who uses the application: our API.
pub(crate) struct Application<'a> {
    pub(crate) system: &'a System,
    pub(crate) connection: &'a ConnectionKey,
}

impl Application<'_> {
    /// Gets what is at a path below the connection.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask(Method::GET, path, &[], None).await
    }

    /// Changes a file at our API, as it is now.
    pub(crate) async fn change(&self, file: &str, change: Value) -> Result<Value, Failure> {
        self.ask(
            Method::PATCH,
            &format!("/files/{file}"),
            &[("if-match", "*")],
            Some(change),
        )
        .await
    }

    /// Settles a conflict.
    pub(crate) async fn resolve(&self, conflict: &str, choose: &str) -> Result<Value, Failure> {
        let path = format!("/conflicts/{conflict}/resolution");
        self.ask(Method::POST, &path, &[], Some(json!({ "choose": choose })))
            .await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<Value, Failure> {
        let path = format!("/v1/connections/{}{path}", self.connection.connection);
        match self.system.call(method, &path, headers, body).await {
            (200 | 201, body) => Ok(body),
            (status, body) => Err(format!("{path} answered {status}: {body}")),
        }
    }
}

/// Waits until `look` finds what it looks for; gives it, and the milliseconds that it took.
pub(crate) async fn wait_for<T>(
    system: &System,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>, Failure>,
) -> Result<(T, i64), Failure> {
    let began = system.now();
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    });
    let found = waited
        .await
        .unwrap_or_else(|_| Err(format!("{what} did not happen in {PATIENCE:?}")))?;
    Ok((found, system.now().millis_since(began)))
}
