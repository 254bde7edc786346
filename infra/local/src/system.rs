//! All of it: started, connected to a Drive, stopped.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use domain::{ConnectionId, ConnectionKey, Timestamp};
use drive::{ContentTransport, Transport};
use http::Method;
use runtime::{Clock, Entropy};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::aws::{self, Aws, AwsError, Service};
use crate::front::Front;
use crate::functions::{Functions, SECRETS_PREFIX, Setting};
use crate::identity::{Identity, IdentityError};
use crate::sources;

/// The one tenant of a system on one machine.
pub const TENANT: &str = "local";
/// Who the token of the start belongs to.
pub const SUBJECT: &str = "you";
/// The secret that holds the way into Drive, within the tenant's names.
const SECRET: &str = "drive";
/// How long the token of the start is good, in seconds: thirty days.
const TOKEN_SECONDS: i64 = 30 * 86_400;
/// The quota units that may be used of a Drive on this machine in a minute: the most that a connection may say.
const OWN_DRIVE_PER_MINUTE: u32 = 100_000_000;
/// How long tasks may take to finish once they are told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// How a system is started.
pub struct Options {
    /// Where everything is kept; `None` keeps it in memory.
    pub data_dir: Option<PathBuf>,
    /// Where the API listens; `None` serves it in this process only, and Drive's notifications have no address.
    pub api: Option<TcpListener>,
    /// How Drive is reached.
    pub transport: Transport,
    /// How its content is reached; without it, as everything else: whole, and in memory.
    pub content: Option<ContentTransport>,
    /// Where Drive is, without a path.
    pub drive_url: String,
    /// Whether Drive can call us: a real one can't reach this machine, so its logs are polled.
    pub notified: bool,
    /// How long snapshots are kept, in days.
    pub history_days: Option<u32>,
    /// Whether the services are served on their usual ports ([`usual_port`]), where those are free.
    pub usual_ports: bool,
}

/// The port of a service on this machine: what `events/env.json` tells `sam local`.
#[must_use]
pub const fn usual_port(service: Service) -> u16 {
    match service {
        Service::Dynamodb => 3002,
        Service::Sqs => 3003,
        Service::S3 => 3004,
        Service::Secrets => 3005,
    }
}

/// Why a system could not be started or connected.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// The services could not be opened.
    #[error("the local services could not be opened")]
    Aws(#[from] AwsError),
    /// The key of the tokens could not be used.
    #[error("the key of the tokens could not be used")]
    Identity(#[from] IdentityError),
    /// An address could not be had.
    #[error("no address to listen on")]
    Listen(#[source] std::io::Error),
    /// The API did not do what was asked of it at start.
    #[error("the API answered {status}: {detail}")]
    Api {
        /// Its status.
        status: u16,
        /// What it says.
        detail: String,
    },
    /// The secret could not be stored.
    #[error("the credentials could not be stored")]
    Secret(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A system that runs.
pub struct System {
    /// The services.
    pub aws: Aws,
    /// The functions.
    pub functions: Functions,
    /// Now.
    pub clock: Clock,
    /// A bearer token for the API.
    pub token: String,
    /// Where the API is, if it listens.
    pub api_url: Option<String>,
    /// Where each service is, for other processes.
    pub aws_urls: BTreeMap<&'static str, String>,
    /// Whether Drive is the simulated one.
    own_drive: bool,
    front: Front,
    shutdown: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl System {
    /// Starts everything.
    ///
    /// # Errors
    /// [`SystemError`] says what could not be opened.
    pub async fn start(options: Options) -> Result<Self, SystemError> {
        let clock = Clock::system();
        let aws = Aws::open(match &options.data_dir {
            Some(dir) => aws::Options::directory(dir.join("aws")),
            None => aws::Options::memory(aws::system_clock()),
        })?;
        let identity = match &options.data_dir {
            Some(dir) => Identity::open(dir)?,
            None => Identity::ephemeral()?,
        };
        let expires_at = clock.now().as_seconds() + TOKEN_SECONDS;
        let token = identity.token(TENANT, SUBJECT, expires_at)?;
        let address = options.api.as_ref().map(TcpListener::local_addr);
        let address = address.transpose().map_err(SystemError::Listen)?;
        let api_url = address.map(|address| format!("http://{address}"));
        let webhook_url = api_url.as_ref().filter(|_| options.notified);
        let own_drive = !options.drive_url.contains("googleapis.com");
        let functions = Functions::new(
            &aws,
            &Setting {
                transport: options.transport,
                content: options.content,
                drive_url: options.drive_url,
                webhook_url: webhook_url.map(|url| format!("{url}/webhooks/drive")),
                history_days: options.history_days,
                clock: clock.clone(),
                entropy: Entropy::system(),
            },
        );
        let (shutdown, stop) = watch::channel(false);
        let mut served = JoinSet::new();
        let aws_urls = serve_services(&aws, options.usual_ports, &mut served, &stop)
            .await
            .map_err(SystemError::Listen)?;
        let functions = match aws_urls.get("s3") {
            Some(url) => functions.with_bucket_at(&aws, url),
            None => functions,
        };
        let front = Front::new(&functions, identity);
        let mut tasks = sources::start(&aws, &functions, &clock, &stop);
        tasks.spawn(async move { while served.join_next().await.is_some() {} });
        if let Some(listener) = options.api {
            tasks.spawn(serve_front(listener, front.clone(), stop.clone()));
        }
        Ok(Self {
            aws,
            functions,
            clock,
            token,
            api_url,
            aws_urls,
            own_drive,
            front,
            shutdown,
            tasks,
        })
    }

    /// Connects to Drive with `credentials` (a secret's JSON), unless a connection stands already; gives
    /// its id. Goes through Secrets Manager and the API, as a user would.
    ///
    /// # Errors
    /// [`SystemError`] where Drive does not take the credentials, or the API refuses.
    pub async fn connect(
        &self,
        credentials: &str,
        subject: Option<&str>,
    ) -> Result<ConnectionKey, SystemError> {
        self.connect_with(credentials, subject, false).await
    }

    /// Connects as [`System::connect`] does, with the content of the files mirrored or not; a connection that stands
    /// already is set so.
    ///
    /// # Errors
    /// [`SystemError`] where Drive does not take the credentials, or the API refuses.
    pub async fn connect_with(
        &self,
        credentials: &str,
        subject: Option<&str>,
        content: bool,
    ) -> Result<ConnectionKey, SystemError> {
        let content = json!({ "enabled": content });
        self.connect_storing(credentials, subject, content).await
    }

    /// Connects as [`System::connect`] does, with settings for content as the API takes them; in a connection that stands
    /// already those that are named are changed.
    ///
    /// # Errors
    /// [`SystemError`] where Drive does not take the credentials, or the API refuses.
    pub async fn connect_storing(
        &self,
        credentials: &str,
        subject: Option<&str>,
        content: Value,
    ) -> Result<ConnectionKey, SystemError> {
        self.store_secret(credentials).await?;
        let listed = self.expect(Method::GET, "/v1/connections", None).await?;
        let ours = |connection: &&Value| connection.get("secret") == Some(&json!(SECRET));
        let standing = listed
            .get("items")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .find(ours);
        let id = match standing.and_then(|connection| connection.get("id")) {
            Some(id) => {
                self.set_content(id, content).await?;
                id.clone()
            }
            None => {
                let mut wanted = Map::from_iter([
                    ("name".to_owned(), json!("Drive")),
                    ("scope".to_owned(), json!({"type": "user"})),
                    ("secret".to_owned(), json!(SECRET)),
                    ("content".to_owned(), content),
                ]);
                // Google's pace is for Google: a Drive on this machine has nobody to be gentle with.
                if self.own_drive {
                    let limits = json!({
                        "quota_per_minute": OWN_DRIVE_PER_MINUTE, "writes_base_per_minute": 6_000,
                        "breaker_open_seconds": 5,
                    });
                    wanted.insert("limits".to_owned(), limits);
                }
                wanted.extend(subject.map(|subject| ("subject".to_owned(), json!(subject))));
                let wanted = Value::Object(wanted);
                let made = self
                    .expect(Method::POST, "/v1/connections", Some(wanted))
                    .await?;
                made.get("id").cloned().unwrap_or_default()
            }
        };
        let api = |detail| SystemError::Api {
            status: 200,
            detail,
        };
        let id = id
            .as_str()
            .ok_or_else(|| api("a connection without an id".to_owned()))?;
        let connection = ConnectionId::parse(id).map_err(|error| api(error.to_string()))?;
        // What changed while nothing ran here was told to nobody.
        let now = json!({"mode": "delta"});
        self.expect(
            Method::POST,
            &format!("/v1/connections/{connection}/sync"),
            Some(now),
        )
        .await?;
        let tenant = domain::TenantId::parse(TENANT).map_err(|error| api(error.to_string()))?;
        Ok(ConnectionKey { tenant, connection })
    }

    async fn set_content(&self, connection: &Value, content: Value) -> Result<(), SystemError> {
        let path = format!(
            "/v1/connections/{}",
            connection.as_str().unwrap_or_default()
        );
        let change = Some(json!({ "content": content }));
        let any = [("if-match", "*")];
        answered(self.call(Method::PATCH, &path, &any, change).await).map(|_| ())
    }

    async fn store_secret(&self, credentials: &str) -> Result<(), SystemError> {
        let name = format!("{SECRETS_PREFIX}{TENANT}/{SECRET}");
        let secrets = self.aws.secrets_client();
        let put = secrets
            .put_secret_value()
            .secret_id(&name)
            .secret_string(credentials)
            .send()
            .await;
        match put.map_err(aws_sdk_secretsmanager::error::SdkError::into_service_error) {
            Ok(_) => Ok(()),
            Err(error) if error.is_resource_not_found_exception() => {
                let create = secrets
                    .create_secret()
                    .name(&name)
                    .secret_string(credentials);
                create
                    .send()
                    .await
                    .map(|_| ())
                    .map_err(|error| SystemError::Secret(error.into()))
            }
            Err(error) => Err(SystemError::Secret(error.into())),
        }
    }

    /// Calls the API in this process with the token of the start: status and JSON body.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> (u16, Value) {
        let mut request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let Ok(request) = request.body(body) else {
            return (0, Value::Null);
        };
        let response = self.front.call(request).await;
        let status = response.status().as_u16();
        (
            status,
            serde_json::from_slice(response.body()).unwrap_or(Value::Null),
        )
    }

    async fn expect(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, SystemError> {
        answered(self.call(method, path, &[], body).await)
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Stops: what is in work is finished, what waits stays in the queues.
    pub async fn stop(mut self) {
        self.shutdown.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, all).await.is_err() {
            tracing::warn!("some work was cut off; it comes back at the next start");
        }
    }
}

/// What the API answered, where it did what was asked of it.
fn answered((status, body): (u16, Value)) -> Result<Value, SystemError> {
    match status {
        200..=202 => Ok(body),
        status => {
            let detail = body.get("detail").and_then(Value::as_str);
            let detail = detail.unwrap_or("no detail").to_owned();
            Err(SystemError::Api { status, detail })
        }
    }
}

async fn serve_front(listener: TcpListener, front: Front, mut stop: sources::Shutdown) {
    let stopped = async move { sources::stopped(&mut stop).await };
    let served = axum::serve(listener, front.router())
        .with_graceful_shutdown(stopped)
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the API stopped listening");
    }
}

async fn serve_services(
    aws: &Aws,
    usual_ports: bool,
    tasks: &mut JoinSet<()>,
    stop: &sources::Shutdown,
) -> std::io::Result<BTreeMap<&'static str, String>> {
    let mut urls = BTreeMap::new();
    for service in Service::ALL {
        let usual = if usual_ports { usual_port(service) } else { 0 };
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, usual)).await {
            Err(_) if usual_ports => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
            bound => bound?,
        };
        let name = match service {
            Service::Dynamodb => "dynamodb",
            Service::Sqs => "sqs",
            Service::S3 => "s3",
            Service::Secrets => "secretsmanager",
        };
        urls.insert(name, format!("http://{}", listener.local_addr()?));
        let (handler, objects) = (aws.handler(service), aws.s3_router());
        let mut stop = stop.clone();
        tasks.spawn(async move {
            let stopped = async move { sources::stopped(&mut stop).await };
            let served = match service {
                Service::S3 => aws::serve::serve_router(listener, objects, stopped).await,
                Service::Dynamodb | Service::Sqs | Service::Secrets => {
                    aws::serve::serve(listener, handler, stopped).await
                }
            };
            if let Err(error) = served {
                tracing::error!(%error, service = name, "a service stopped listening");
            }
        });
    }
    Ok(urls)
}
