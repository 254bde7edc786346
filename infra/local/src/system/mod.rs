//! The whole system: started, connected to a Drive, stopped.

mod functions;
mod services;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::rate_limit::TenantLimits;
use domain::webhook::Reachable;
use domain::{ConnectionId, ConnectionKey, Role, Timestamp};
use drive::{ContentTransport, Transport};
use drive_simulator::{Hosts, Simulator};
use http::Method;
use runtime::{Clock, Entropy, Settings};
use serde_json::{Map, Value, json};
use sqs_fifo::REGION;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use self::functions::{FunctionSettings, Functions, SECRETS_PREFIX};
use self::services::{Addresses, Sockets, own_hosts, serve_services};
use crate::aws::signature::ACCESS_KEY;
use crate::aws::{self, Aws, AwsError, Service};
use crate::canary::{self, Canary, CanaryError};
use crate::gateway::websocket::{self, SocketGateway, SocketTimes};
use crate::gateway::{HttpGateway, Identity, IdentityError, Play, PlayClock};
use crate::{private, sources};

/// The only tenant of a local system.
pub const TENANT: &str = "local";
/// The subject of the tokens of the person who started the system.
pub const SUBJECT: &str = "you";
/// The name of the secret with Drive's credentials, within the tenant's names.
const SECRET: &str = "drive";
/// The quota units per minute for a Drive on this machine: the most that a connection can set.
const LOCAL_QUOTA_PER_MINUTE: u32 = 100_000_000;
/// The file with the keys and addresses of the services, in the data directory.
const AWS_ENVIRONMENT: &str = "aws.env";
/// The time for tasks to finish after a stop.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// The options of [`System::start`].
pub struct Options {
    /// The directory of all data; `None` for memory.
    pub data_dir: Option<PathBuf>,
    /// The listener of the API; without it, the API is served only in this process, and Drive's
    /// notifications have no address.
    pub api: Option<TcpListener>,
    /// The transport to Drive.
    pub transport: Transport,
    /// The transport of content; without it, content passes through `transport`, buffered in
    /// memory.
    pub content: Option<ContentTransport>,
    /// The URL of Drive, without a path.
    pub drive_url: String,
    /// The simulated Drive, if administrators may play with it and with the system.
    pub simulator: Option<Simulator>,
    /// True if Drive can reach this machine with notifications. Google's cannot, so its change logs
    /// are polled.
    pub push_notifications: bool,
    /// The retention of snapshots, in days.
    pub history_days: Option<u32>,
    /// What the tenant may use.
    pub tenant_limits: TenantLimits,
    /// How long live WebSockets stay open.
    pub socket_times: SocketTimes,
    /// True if the services listen on their default ports ([`default_port`]), where those are free.
    pub default_ports: bool,
    /// Where DynamoDB, SQS and Secrets Manager listen too, for AWS's own tools. S3 always listens,
    /// for presigned URLs: there, or on loopback.
    pub serve_aws: Option<IpAddr>,
    /// The names under which the API and the services may be called.
    pub hosts: Hosts,
    /// Which hosts webhook endpoints may be on.
    pub webhook_hosts: Reachable,
    /// Another build that some invocations run in. It reaches all services on loopback.
    pub canary: Option<canary::Setup>,
}

/// Returns the limits of the one tenant of this machine: those of a deployment, but for its rates,
/// which are higher, and for Drive, which has none here.
#[must_use]
pub fn local_limits() -> TenantLimits {
    TenantLimits {
        requests_per_second: 200,
        reads_per_minute: 600_000,
        live_changes_per_second: u32::MAX,
        drive_units_per_minute: u32::MAX,
        drive_queries_per_minute: u32::MAX,
        drive_writes_per_minute: u32::MAX,
        ..TenantLimits::default()
    }
}

/// Returns the default port of a service, as `events/env.json` states it for `sam local`.
#[must_use]
pub const fn default_port(service: Service) -> u16 {
    match service {
        Service::Dynamodb => 3002,
        Service::Sqs => 3003,
        Service::S3 => 3004,
        Service::Secrets => 3005,
        Service::Sockets => 3006,
    }
}

/// The system cannot be started or connected.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// The local AWS services cannot be opened.
    #[error("the local AWS services cannot be opened")]
    Aws(#[from] AwsError),
    /// The key of the tokens cannot be used.
    #[error("the key of the tokens cannot be used")]
    Identity(#[from] IdentityError),
    /// A file or a folder of the data directory cannot be created.
    #[error("the data directory {path} cannot be used")]
    DataDir {
        /// The path of the file or folder.
        path: PathBuf,
        /// The error of the file system.
        #[source]
        source: std::io::Error,
    },
    /// An address cannot be bound.
    #[error("cannot listen")]
    Listen(#[source] std::io::Error),
    /// The API refused a request at start.
    #[error("the API responded {status}: {detail}")]
    Api {
        /// The HTTP status.
        status: u16,
        /// The problem's detail.
        detail: String,
    },
    /// The other build can't be run.
    #[error("the other build cannot be run")]
    Canary(#[from] CanaryError),
    /// The client of webhook endpoints cannot be built.
    #[error("the client of webhook endpoints cannot be built")]
    Endpoints(#[source] webhooks::PostError),
    /// The credentials cannot be stored.
    #[error("the credentials cannot be stored in Secrets Manager")]
    Secret(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A running system.
pub struct System {
    /// The local AWS services.
    pub aws: Aws,
    /// The functions.
    pub functions: Functions,
    /// The clock.
    pub clock: Clock,
    /// The URL of the API, if it listens.
    pub api_url: Option<String>,
    /// The URL of each service that listens, for other processes.
    pub aws_urls: BTreeMap<&'static str, String>,
    /// The file with the keys of the services, if there is a data directory. A shell that sources
    /// it can use AWS's own tools.
    pub aws_environment: Option<PathBuf>,
    /// True if Drive runs on this machine.
    local_drive: bool,
    identity: Identity,
    gateway: HttpGateway,
    shutdown: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl System {
    /// Starts the services, the functions and their event sources.
    ///
    /// # Errors
    /// [`SystemError`] if a part cannot be opened.
    pub async fn start(options: Options) -> Result<Self, SystemError> {
        let play_clock = PlayClock::new(Clock::system());
        let clock = play_clock.clock();
        if let Some(dir) = &options.data_dir {
            private::create_folder(dir).map_err(|error| data_dir(dir, error))?;
        }
        let aws = Aws::open(match &options.data_dir {
            Some(dir) => aws::Options::directory(dir.join("aws")),
            None => aws::Options::memory(aws::system_clock()),
        })?;
        let identity = match &options.data_dir {
            Some(dir) => Identity::open(dir)?,
            None => Identity::ephemeral()?,
        };
        let address = options.api.as_ref().map(TcpListener::local_addr);
        let address = address.transpose().map_err(SystemError::Listen)?;
        let api_url = address.map(|address| format!("http://{address}"));
        let webhook_url = api_url.as_ref().filter(|_| options.push_notifications);
        let local_drive = !options.drive_url.contains("googleapis.com");
        let (shutdown, stop) = watch::channel(false);
        let mut served = JoinSet::new();
        let sockets = Sockets {
            default_ports: options.default_ports,
            serve_aws: (options.serve_aws).or(options
                .canary
                .is_some()
                .then_some(Ipv4Addr::LOCALHOST.into())),
            hosts: options.hosts.clone(),
        };
        let aws_urls = serve_services(&aws, &sockets, &mut served, &stop)
            .await
            .map_err(SystemError::Listen)?;
        let aws_environment = match &options.data_dir {
            Some(dir) => Some(write_environment(dir, &aws, &aws_urls)?),
            None => None,
        };
        let own_hosts = own_hosts(address, &aws_urls, &options.drive_url);
        let canary = match options.canary {
            None => None,
            Some(setup) => {
                let addresses = Addresses {
                    api: address,
                    services: &aws_urls,
                    drive_url: &options.drive_url,
                };
                let days = options.history_days.unwrap_or(0).to_string();
                let rust_log = Settings::from_env().optional("RUST_LOG");
                let rust_log = rust_log.unwrap_or_else(|| "error".to_owned());
                let mut variables = services::keys(&aws);
                variables.extend(
                    [
                        ("HISTORY_DAYS", days),
                        ("OWN_HOSTS", own_hosts.join(",")),
                        ("RUST_LOG", rust_log),
                        ("TENANT_LIMITS", options.tenant_limits.to_string()),
                    ]
                    .map(|(name, value)| (name.to_owned(), value)),
                );
                if webhook_url.is_none() {
                    variables.insert("WEBHOOK_URL".to_owned(), String::new());
                }
                Some(Canary::open(setup, &addresses.texts(), &variables)?)
            }
        };
        let rules = webhooks::Rules {
            own_hosts,
            reachable: options.webhook_hosts,
        };
        let endpoints = webhooks::Client::new(rules, webhooks::system_lookup(), webhooks::TIMEOUT)
            .map_err(SystemError::Endpoints)?;
        let functions = Functions::new(
            &aws,
            &FunctionSettings {
                transport: options.transport,
                content: options.content,
                drive_url: options.drive_url,
                webhook_url: webhook_url.map(|url| format!("{url}/webhooks/drive")),
                history_days: options.history_days,
                event_days: domain::event::EVENT_DAYS,
                tenant_limits: options.tenant_limits,
                endpoints,
                clock: clock.clone(),
                entropy: Entropy::system(),
            },
        );
        let functions = match address {
            Some(address) => functions.with_live_at(&format!("ws://{address}{}", websocket::PATH)),
            None => functions,
        };
        let functions = match aws_urls.get("s3") {
            Some(url) => functions.with_bucket_at(&aws, url),
            None => functions,
        };
        let functions = Functions {
            canary,
            ..functions
        };
        let invocations = sources::Invocations::default();
        let play = options.simulator.map(|simulator| Play {
            simulator,
            clock: play_clock,
            invocations: invocations.clone(),
        });
        let gateway = HttpGateway::new(&functions, identity.clone()).with_play(play);
        let mut tasks = sources::start(&aws, &functions, &clock, &invocations, &stop);
        tasks.spawn(async move { while served.join_next().await.is_some() {} });
        if let Some(listener) = options.api {
            let sockets = SocketGateway {
                live: functions.live.clone(),
                canary: functions.canary.clone(),
                open: aws.sockets().clone(),
                times: options.socket_times,
                clock: clock.clone(),
                stop: stop.clone(),
            };
            tasks.spawn(serve_api(
                listener,
                sockets.router().merge(gateway.clone().router()),
                options.hosts,
                stop.clone(),
            ));
        }
        Ok(Self {
            aws,
            functions,
            clock,
            api_url,
            aws_urls,
            aws_environment,
            local_drive,
            identity,
            gateway,
            shutdown,
            tasks,
        })
    }

    /// Returns an administrator's bearer token for the API, valid for an hour.
    ///
    /// # Errors
    /// [`IdentityError`] if it cannot be signed.
    pub fn token(&self) -> Result<String, IdentityError> {
        self.identity.own_token(Role::Admin, self.now())
    }

    /// Returns a link to the console that signs in once, within ten minutes; without a host if the
    /// API does not listen.
    ///
    /// # Errors
    /// [`IdentityError`] if its code cannot be signed.
    pub fn console_link(&self) -> Result<String, IdentityError> {
        let api = self.api_url.as_deref().unwrap_or_default();
        let code = self.identity.console_code(self.now())?;
        Ok(format!("{api}{}#login={code}", console::PATH))
    }

    /// Connects to Drive with `credentials` (a secret's JSON), unless a connection exists, and
    /// returns its key. Uses Secrets Manager and the API, as a user would.
    ///
    /// # Errors
    /// [`SystemError`] if Drive rejects the credentials or the API refuses.
    pub async fn connect(
        &self,
        credentials: &str,
        subject: Option<&str>,
    ) -> Result<ConnectionKey, SystemError> {
        self.connect_with(credentials, subject, false).await
    }

    /// Connects like [`System::connect`] and turns the mirroring of content on or off, also for an
    /// existing connection.
    ///
    /// # Errors
    /// [`SystemError`] if Drive rejects the credentials or the API refuses.
    pub async fn connect_with(
        &self,
        credentials: &str,
        subject: Option<&str>,
        content: bool,
    ) -> Result<ConnectionKey, SystemError> {
        let content = json!({ "enabled": content });
        self.connect_with_content(credentials, subject, content)
            .await
    }

    /// Connects like [`System::connect`] with the given content settings in the form of the API;
    /// for an existing connection the given members are changed.
    ///
    /// # Errors
    /// [`SystemError`] if Drive rejects the credentials or the API refuses.
    pub async fn connect_with_content(
        &self,
        credentials: &str,
        subject: Option<&str>,
        content: Value,
    ) -> Result<ConnectionKey, SystemError> {
        self.store_secret(credentials).await?;
        let listed = self.expect(Method::GET, "/v1/connections", None).await?;
        let has_secret = |connection: &&Value| connection.get("secret") == Some(&json!(SECRET));
        let existing = listed
            .get("items")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .find(has_secret);
        let id = match existing.and_then(|connection| connection.get("id")) {
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
                // Google's rate limits do not apply to a Drive on this machine.
                if self.local_drive {
                    let limits = json!({
                        "quota_per_minute": LOCAL_QUOTA_PER_MINUTE, "writes_base_per_minute": 6_000,
                        "breaker_open_seconds": 5,
                    });
                    wanted.insert("limits".to_owned(), limits);
                }
                wanted.extend(subject.map(|subject| ("subject".to_owned(), json!(subject))));
                let wanted = Value::Object(wanted);
                let created = self
                    .expect(Method::POST, "/v1/connections", Some(wanted))
                    .await?;
                created.get("id").cloned().unwrap_or_default()
            }
        };
        let api = |detail| SystemError::Api {
            status: 200,
            detail,
        };
        let id = id
            .as_str()
            .ok_or_else(|| api("the connection has no id".to_owned()))?;
        let connection = ConnectionId::parse(id).map_err(|error| api(error.to_string()))?;
        // Changes during the downtime were not notified.
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
        successful(self.call(Method::PATCH, &path, &any, change).await).map(|_| ())
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

    /// Calls the API in this process, as the person who started the system. Returns the status and
    /// the JSON body.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> (u16, Value) {
        let token = self.token().unwrap_or_default();
        let mut request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"));
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
        let response = self.gateway.call(request).await;
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
        successful(self.call(method, path, &[], body).await)
    }

    /// Returns the current time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Stops the system: invocations in progress finish, other messages stay in the queues.
    pub async fn stop(mut self) {
        self.shutdown.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN_GRACE, all).await.is_err() {
            tracing::warn!("work in progress was interrupted; it resumes at the next start");
        }
    }
}

/// Returns the body of a successful response.
fn successful((status, body): (u16, Value)) -> Result<Value, SystemError> {
    match status {
        200..=202 => Ok(body),
        status => {
            let detail = body.get("detail").and_then(Value::as_str);
            let detail = detail.unwrap_or("no detail").to_owned();
            Err(SystemError::Api { status, detail })
        }
    }
}

fn data_dir(path: &Path, source: std::io::Error) -> SystemError {
    SystemError::DataDir {
        path: path.to_owned(),
        source,
    }
}

/// Writes the keys and addresses of the services for shells, and returns the path of the file.
fn write_environment(
    dir: &Path,
    aws: &Aws,
    urls: &BTreeMap<&'static str, String>,
) -> Result<PathBuf, SystemError> {
    let mut text = format!(
        "# For AWS's own tools: `. {AWS_ENVIRONMENT}`. Made anew at each start.\n\
         unset AWS_SESSION_TOKEN AWS_PROFILE\n\
         export AWS_ACCESS_KEY_ID={ACCESS_KEY}\n\
         export AWS_SECRET_ACCESS_KEY={}\n\
         export AWS_REGION={REGION} AWS_DEFAULT_REGION={REGION}\n",
        aws.keys().expose_secret_key(),
    );
    for (service, url) in urls {
        let name = match *service {
            "secretsmanager" => "SECRETS_MANAGER".to_owned(),
            other => other.to_uppercase(),
        };
        text.push_str(&format!("export AWS_ENDPOINT_URL_{name}={url}\n"));
    }
    let path = dir.join(AWS_ENVIRONMENT);
    let written = private::replace_file(&path, text.as_bytes());
    written.map_err(|error| data_dir(&path, error))?;
    Ok(path)
}

async fn serve_api(
    listener: TcpListener,
    router: axum::Router,
    hosts: Hosts,
    mut stop: sources::Shutdown,
) {
    let stopped = async move { sources::stopped(&mut stop).await };
    let served = aws::serve::serve(listener, router, hosts, stopped).await;
    if let Err(error) = served {
        tracing::error!(%error, "the API stopped listening");
    }
}
