//! A caller of the API of a running system, for the commands that show something of it.

use std::time::Duration;

use domain::Role;
use local::gateway::Identity;
use reqwest::{Client, Method, StatusCode, Url};
use runtime::Clock;
use serde_json::Value;

use crate::cli::{Arguments, Failure, one_line};

/// The longest time without an answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The pause before a request that failed is made again.
const PAUSE: Duration = Duration::from_millis(500);

/// A caller with a token of its own, which is renewed: a viewer's, unless it posts.
pub(crate) struct Caller<'a> {
    client: Client,
    arguments: &'a Arguments,
}

impl<'a> Caller<'a> {
    /// Returns a caller of the system on the data directory.
    pub(crate) fn new(arguments: &'a Arguments) -> Result<Self, Failure> {
        if !Identity::exists(&arguments.data_dir) {
            return Err(format!(
                "no system has run on {}: start one, or pass its --data-dir",
                arguments.data_dir.display()
            ));
        }
        let client = Client::builder().timeout(TIMEOUT).build();
        Ok(Self {
            client: client.map_err(|error| one_line(&error))?,
            arguments,
        })
    }

    pub(crate) fn arguments(&self) -> &'a Arguments {
        self.arguments
    }

    /// Returns the answer, a 410 included, or `None` if there is no such thing; asks again for as
    /// long as the system does not run.
    pub(crate) async fn get(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Option<Value>, Failure> {
        self.ask(Method::GET, Role::Viewer, path, query).await
    }

    /// Posts to a path without a body, as an operator. It is repeated like [`Caller::get`], so what
    /// it asks for must be the same when it is asked for twice.
    pub(crate) async fn post(&self, path: &str) -> Result<Option<Value>, Failure> {
        self.ask(Method::POST, Role::Operator, path, &[]).await
    }

    async fn ask(
        &self,
        method: Method,
        role: Role,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Option<Value>, Failure> {
        let url = format!("http://{}{path}", self.arguments.api_addr);
        let url = Url::parse_with_params(&url, query).map_err(|error| one_line(&error))?;
        let mut told = false;
        loop {
            let now = Clock::system().now();
            let identity = Identity::open(&self.arguments.data_dir);
            let token = identity.and_then(|identity| identity.own_token(role, now));
            let token = token.map_err(|error| one_line(&error))?;
            let asked = self.client.request(method.clone(), url.clone());
            let asked = asked.bearer_auth(token);
            let why = match asked.send().await {
                Ok(answer) => {
                    let status = answer.status();
                    let body: Value = answer.json().await.unwrap_or_default();
                    if status.is_success() || status == StatusCode::GONE {
                        return Ok(Some(body));
                    }
                    if status == StatusCode::NOT_FOUND {
                        return Ok(None);
                    }
                    let detail = text(&body, "/detail").to_owned();
                    let passes = status.is_server_error() || status.as_u16() == 429;
                    if !passes {
                        return Err(format!("{status}: {detail}"));
                    }
                    detail
                }
                Err(error) => one_line(&error),
            };
            if !told {
                eprintln!("local: no answer from {url} yet, asking again: {why}");
                told = true;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Returns a text member, or an empty text.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Returns the items of a list member.
pub(crate) fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    let items = value.pointer(pointer).and_then(Value::as_array);
    items.into_iter().flatten()
}
