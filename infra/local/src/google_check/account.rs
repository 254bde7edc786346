//! Calls of Drive as they are: requests whose answers are looked at, whatever they are.

use bytes::Bytes;
use drive::{DriveClient, DriveError};
use http::{HeaderMap, Method, Request, header};
use serde_json::{Value, json};

/// What stops a check, so that it is not known whether its assumption holds.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    /// There was no answer, or no token.
    #[error(transparent)]
    Drive(#[from] DriveError),
    /// Drive answered a call that should succeed with something else.
    #[error("{call}: {status} {reason}")]
    Refused {
        /// Verb and path.
        call: String,
        /// The status of the answer.
        status: u16,
        /// Google's reason and message, as far as there are any.
        reason: String,
    },
    /// The answer lacks what every answer of its kind has.
    #[error("{call}: the answer has no {member}")]
    Incomplete {
        /// Verb and path.
        call: String,
        /// What is missing.
        member: &'static str,
    },
}

/// An answer of Drive.
pub(crate) struct Answer {
    call: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// Returns the answer if it is a success.
    pub(crate) fn ok(self) -> Result<Self, CheckError> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let text = |pointer| self.body.pointer(pointer).and_then(Value::as_str);
        let reason = text("/error/errors/0/reason").unwrap_or_default();
        let message = text("/error/message").unwrap_or_default();
        Err(CheckError::Refused {
            reason: format!("{reason} {message}").trim().to_owned(),
            call: self.call,
            status: self.status,
        })
    }

    /// Returns a member that is a text.
    pub(crate) fn text(&self, member: &'static str) -> Result<String, CheckError> {
        let text = self.body.get(member).and_then(Value::as_str);
        text.map(str::to_owned)
            .ok_or_else(|| CheckError::Incomplete {
                call: self.call.clone(),
                member,
            })
    }
}

/// The account whose Drive is examined.
#[derive(Clone)]
pub(crate) struct Account(pub(crate) DriveClient);

impl Account {
    /// Sends a request. `target` is a path, with a query or without.
    pub(crate) async fn send(
        &self,
        verb: Method,
        target: &str,
        if_match: Option<&str>,
        (content_type, body): (&str, Bytes),
    ) -> Result<Answer, CheckError> {
        let mut request = Request::builder()
            .method(verb.clone())
            .uri(target)
            .header(header::ACCEPT, "application/json");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        if let Some(etag) = if_match {
            request = request.header(header::IF_MATCH, etag);
        }
        let path = target.split('?').next().unwrap_or_default();
        let call = format!("{verb} {path}");
        let request = request.body(body).map_err(|_| CheckError::Incomplete {
            call: call.clone(),
            member: "valid etag",
        })?;
        let answer = self.0.send_raw(request).await?;
        Ok(Answer {
            call,
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: serde_json::from_slice(answer.body()).unwrap_or_default(),
        })
    }

    /// Sends JSON, of any kind but a condition.
    pub(crate) async fn json(
        &self,
        verb: Method,
        target: &str,
        body: Value,
    ) -> Result<Answer, CheckError> {
        self.send(verb, target, None, json_body(&body)).await
    }

    /// Reads a file through v2.
    pub(crate) async fn v2(&self, file: &str) -> Result<Answer, CheckError> {
        let target = format!(
            "/drive/v2/files/{file}?updateViewedDate=false&fields=etag,version,title,description,\
             modifiedDate,md5Checksum,fileSize,labels(starred,trashed),explicitlyTrashed,\
             parents(id),properties(key,value,visibility),headRevisionId"
        );
        let read = self.send(Method::GET, &target, None, empty()).await?;
        read.ok()
    }

    /// Reads a file through v3.
    pub(crate) async fn v3(&self, file: &str) -> Result<Answer, CheckError> {
        let target = format!(
            "/drive/v3/files/{file}?fields=version,name,description,modifiedTime,md5Checksum,size,\
             starred,trashed,explicitlyTrashed,parents,properties,appProperties,headRevisionId"
        );
        let read = self.send(Method::GET, &target, None, empty()).await?;
        read.ok()
    }

    /// Returns the etag of a file.
    pub(crate) async fn etag(&self, file: &str) -> Result<String, CheckError> {
        self.v2(file).await?.text("etag")
    }

    /// Changes a file through v3, as a person does.
    pub(crate) async fn change(
        &self,
        file: &str,
        query: &str,
        body: Value,
    ) -> Result<(), CheckError> {
        let target = format!("/drive/v3/files/{file}?fields=id{query}");
        let changed = self.json(Method::PATCH, &target, body).await?;
        changed.ok().map(|_| ())
    }

    /// Changes a file through v2, on a condition or without, and returns the answer as it is.
    pub(crate) async fn patch(
        &self,
        file: &str,
        etag: Option<&str>,
        body: &Value,
    ) -> Result<Answer, CheckError> {
        let target = format!("/drive/v2/files/{file}?updateViewedDate=false&fields=id");
        let body = json_body(body);
        self.send(Method::PATCH, &target, etag, body).await
    }

    /// Replaces a file's content through v2 in one request.
    pub(crate) async fn upload(
        &self,
        file: &str,
        etag: Option<&str>,
        text: &'static str,
    ) -> Result<Answer, CheckError> {
        let target =
            format!("/upload/drive/v2/files/{file}?uploadType=media&updateViewedDate=false");
        let body = ("text/plain", Bytes::from_static(text.as_bytes()));
        self.send(Method::PUT, &target, etag, body).await
    }

    /// Creates a file or a folder, and returns its id.
    pub(crate) async fn create(
        &self,
        folder: Option<&str>,
        name: &str,
        mime_type: &str,
    ) -> Result<String, CheckError> {
        let body = match folder {
            Some(folder) => json!({"name": name, "mimeType": mime_type, "parents": [folder]}),
            None => json!({"name": name, "mimeType": mime_type}),
        };
        let target = "/drive/v3/files?fields=id";
        let created = self.json(Method::POST, target, body).await?;
        created.ok()?.text("id")
    }

    /// Deletes a file, or a folder with everything in it.
    pub(crate) async fn delete(&self, file: &str) -> Result<(), CheckError> {
        let target = format!("/drive/v3/files/{file}");
        let deleted = self.send(Method::DELETE, &target, None, empty()).await?;
        deleted.ok().map(|_| ())
    }
}

/// Returns the body of a request without one.
pub(crate) fn empty() -> (&'static str, Bytes) {
    ("", Bytes::new())
}

/// Returns a body of JSON.
pub(crate) fn json_body(body: &Value) -> (&'static str, Bytes) {
    ("application/json", body.to_string().into())
}

/// Returns a member of an answer; null if it is absent.
pub(crate) fn at<'a>(body: &'a Value, pointer: &str) -> &'a Value {
    body.pointer(pointer).unwrap_or(&Value::Null)
}
