//! The AWS services of the system in one process: queues, table, bucket and secrets, behind the
//! SDKs' real clients.
//!
//! [`Aws::open`] creates all of them, in a directory or in memory. Its clients call the services
//! without sockets; [`serve`] serves them on sockets for other processes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub mod clients;
pub mod dynamodb;
mod layout;
pub mod s3;
pub(crate) mod scratch;
pub mod secrets;
pub mod serve;
pub mod signature;
pub mod sockets;
pub mod table_backup;

/// The HTTP client of the SDKs that calls the services in this process.
pub use sdk_in_process as in_process;

pub use self::layout::{AUDIT_BUCKET, CONTENT_BUCKET, INDEXES, NAME, Queue, WEBHOOK_KEY};

use s3s::service::S3Service;
use sdk_in_process::{Body, Handler, InProcess, Layer};
use sqs_fifo::{ACCOUNT, Sqs, SqsError};

use self::dynamodb::{Dynamodb, DynamodbError};
use self::s3::S3Error;
use self::scratch::Scratch;
use self::secrets::{SecretsError, SecretsManager};
use self::signature::Keys;
use self::sockets::OpenSockets;
use crate::private;

pub use sqs_fifo::Clock;

/// Returns a clock that starts at `epoch_ms` and follows tokio's time, which tests can pause and
/// advance. It must be called in a tokio runtime when its time is paused.
#[must_use]
pub fn tokio_clock(epoch_ms: i64) -> Clock {
    let start = tokio::time::Instant::now();
    Arc::new(move || {
        epoch_ms.saturating_add(i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX))
    })
}

/// Returns the machine's clock.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the machine's time enters this package here"
)]
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
    })
}

/// The local AWS services cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AwsError {
    /// The data directory cannot be created.
    #[error("the data directory {path:?} cannot be created")]
    Folder {
        /// The directory.
        path: PathBuf,
        /// The error of the file system.
        #[source]
        source: std::io::Error,
    },
    /// The operating system provides no randomness for the keys.
    #[error("the operating system provides no randomness")]
    Random,
    /// The queues cannot be opened.
    #[error("the queues cannot be opened")]
    Sqs(#[from] SqsError),
    /// The table cannot be opened.
    #[error("the table cannot be opened")]
    Dynamodb(#[from] DynamodbError),
    /// The engine refused to create the table; the text is its response.
    #[error("the table cannot be created: {0}")]
    Table(String),
    /// The bucket cannot be opened.
    #[error("the bucket cannot be opened")]
    S3(#[from] S3Error),
    /// The secrets cannot be opened.
    #[error("the secrets cannot be opened")]
    Secrets(#[from] SecretsError),
}

/// An AWS service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// The table and its stream.
    Dynamodb,
    /// The queues.
    Sqs,
    /// The bucket.
    S3,
    /// The secrets.
    Secrets,
    /// The open WebSockets.
    Sockets,
}

impl Service {
    /// All services.
    pub const ALL: [Self; 5] = [
        Self::Dynamodb,
        Self::Sqs,
        Self::S3,
        Self::Secrets,
        Self::Sockets,
    ];

    /// Returns the host of the service within this process.
    #[must_use]
    pub fn host(self) -> &'static str {
        match self {
            Self::Dynamodb => "dynamodb.local",
            Self::Sqs => "sqs.local",
            Self::S3 => "s3.local",
            Self::Secrets => "secrets.local",
            Self::Sockets => "sockets.local",
        }
    }

    /// Returns the endpoint of the service within this process.
    #[must_use]
    pub fn endpoint(self) -> String {
        format!("http://{}", self.host())
    }
}

/// The options of [`Aws::open`].
#[derive(Clone)]
pub struct Options {
    /// The directory of all data, or `None` for memory; the bucket is then in a temporary folder
    /// that is removed with the [`Aws`].
    pub data_dir: Option<PathBuf>,
    /// The clock of the queues, the secrets and, in memory, the table.
    pub clock: Clock,
    /// The layer between the clients and the services, if any.
    pub layer: Option<Layer>,
    /// The keys of all requests, or `None` for new ones.
    pub keys: Option<Keys>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (folder, layer) = (&self.data_dir, self.layer.is_some());
        write!(f, "Options {{ data_dir: {folder:?}, layer: {layer} }}")
    }
}

impl Options {
    /// Returns options for memory, with this clock and without a layer.
    #[must_use]
    pub fn memory(clock: Clock) -> Self {
        Self {
            data_dir: None,
            clock,
            layer: None,
            keys: None,
        }
    }

    /// Returns options for a directory, with the machine's clock and without a layer.
    #[must_use]
    pub fn directory(data_dir: impl Into<PathBuf>) -> Self {
        let (data_dir, clock) = (Some(data_dir.into()), system_clock());
        Self {
            data_dir,
            clock,
            layer: None,
            keys: None,
        }
    }
}

/// The local AWS services: table, queues, bucket and secrets, with their clients.
pub struct Aws {
    sqs: Sqs,
    dynamodb: Dynamodb,
    s3: S3Service,
    s3_root: PathBuf,
    handlers: BTreeMap<Service, Handler>,
    sockets: OpenSockets,
    http: InProcess,
    keys: Keys,
    clock: Clock,
    _scratch: Option<Scratch>,
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws")
            .field("dynamodb", &self.dynamodb)
            .finish_non_exhaustive()
    }
}

impl Aws {
    /// Opens all services and creates what is missing: the table `drivesync` with its indexes,
    /// stream and time to live, the queues with their dead-letter queues, and the buckets `content`
    /// and `drivesync`.
    ///
    /// # Errors
    /// A service cannot be opened, or one of its resources cannot be created.
    pub fn open(options: Options) -> Result<Self, AwsError> {
        let Options {
            data_dir,
            clock,
            layer,
            keys,
        } = options;
        let keys = match keys {
            Some(keys) => keys,
            None => Keys::random().map_err(|_| AwsError::Random)?,
        };
        let folder_error = |path: &Path, source| AwsError::Folder {
            path: path.to_owned(),
            source,
        };
        let scratch = match &data_dir {
            Some(path) => {
                private::create_folder(path).map_err(|e| folder_error(path, e))?;
                None
            }
            None => Some(Scratch::new().map_err(|e| folder_error(&std::env::temp_dir(), e))?),
        };
        let file = |name: &str| data_dir.as_ref().map(|folder| folder.join(name));
        let bucket_root = match (&scratch, file("s3")) {
            (_, Some(path)) => path,
            (Some(scratch), None) => scratch.path().to_owned(),
            (None, None) => std::env::temp_dir(),
        };

        let sqs = Sqs::open(file("sqs.db").as_deref(), clock.clone())?;
        layout::create_queues(&sqs)?;
        sqs.reset_counters();
        let dynamodb = Dynamodb::open(file("dynamodb.db").as_deref(), clock.clone())?;
        create_table(&dynamodb)?;
        dynamodb.reset_counters();
        let secrets = SecretsManager::open(file("secrets.json").as_deref(), clock.clone())?;
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|_| AwsError::Random)?;
        secrets.create_missing(WEBHOOK_KEY, &hex::encode(key))?;
        let s3 = s3::open(&bucket_root, &[NAME, CONTENT_BUCKET, AUDIT_BUCKET], &keys)?;
        let sockets = OpenSockets::default();
        let handlers = BTreeMap::from([
            (Service::Sockets, sockets::handler(sockets.clone())),
            (Service::Dynamodb, dynamodb::handler(dynamodb.clone())),
            (Service::Sqs, sqs_handler(sqs.clone())),
            (Service::S3, s3::handler(s3.clone())),
            (Service::Secrets, secrets::handler(secrets)),
        ]);
        let by_host = handlers
            .iter()
            .map(|(s, handler)| (s.host().to_owned(), handler.clone()));
        let mut router = sdk_in_process::router(by_host.collect());
        if let Some(layer) = layer {
            router = layer(router);
        }
        let http = InProcess::new(router);
        Ok(Self {
            sqs,
            dynamodb,
            s3,
            s3_root: bucket_root,
            handlers,
            sockets,
            http,
            keys,
            clock,
            _scratch: scratch,
        })
    }

    /// Returns the same services with clients of their own, whose requests pass through `layer`, so
    /// that the calls of one function can be told from those of another. It must not outlive
    /// `self`.
    #[must_use]
    pub fn layered(&self, layer: &Layer) -> Self {
        Self {
            sqs: self.sqs.clone(),
            dynamodb: self.dynamodb.clone(),
            handlers: self.handlers.clone(),
            sockets: self.sockets.clone(),
            s3: self.s3.clone(),
            s3_root: self.s3_root.clone(),
            http: self.http.layered(layer),
            keys: self.keys.clone(),
            clock: Arc::clone(&self.clock),
            _scratch: None,
        }
    }

    /// Returns the queues, for event sources, which call them without the SDK.
    #[must_use]
    pub fn sqs(&self) -> &Sqs {
        &self.sqs
    }

    /// Returns the number of messages in all queues, including those in flight and delayed, without
    /// the dead-letter queues.
    ///
    /// # Errors
    /// A queue of the layout does not exist.
    pub fn queued(&self) -> Result<usize, SqsError> {
        let depths = Queue::ALL.into_iter().map(|queue| {
            let depth = self.sqs.depth(queue.name())?;
            Ok(depth.total())
        });
        depths.sum()
    }

    /// Returns the table's engine, for maintenance and counters.
    #[must_use]
    pub fn dynamodb(&self) -> &Dynamodb {
        &self.dynamodb
    }

    /// Returns the number of multipart uploads that are neither completed nor aborted.
    ///
    /// # Errors
    /// The bucket's folder cannot be read.
    pub fn open_uploads(&self) -> std::io::Result<usize> {
        s3::open_uploads(&self.s3_root)
    }

    /// Returns the keys that requests are signed with.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Returns a service for [`serve::serve`], without the layer: it answers requests that are
    /// signed with the keys. The bucket's bodies stream.
    pub fn served(&self, service: Service) -> axum::Router {
        let checked = |signing_name| {
            let (handler, keys) = (self.handler(service), self.keys.clone());
            let clock = Arc::clone(&self.clock);
            serve::router(signature::checked(handler, signing_name, keys, clock))
        };
        match service {
            // It checks signatures by itself.
            Service::S3 => s3::router(self.s3.clone()),
            Service::Dynamodb => checked("dynamodb"),
            Service::Sqs => checked("sqs"),
            Service::Secrets => checked("secretsmanager"),
            Service::Sockets => checked("execute-api"),
        }
    }

    /// Returns a service for callers in this process, without the layer, and without a look at
    /// signatures.
    #[must_use]
    pub fn handler(&self, service: Service) -> Handler {
        match self.handlers.get(&service) {
            Some(handler) => handler.clone(),
            None => sdk_in_process::router(BTreeMap::new()),
        }
    }

    /// Returns a client of the table.
    #[must_use]
    pub fn dynamodb_client(&self) -> aws_sdk_dynamodb::Client {
        clients::dynamodb(&Service::Dynamodb.endpoint(), &self.keys, self.http.clone())
    }

    /// Returns a client of the queues.
    #[must_use]
    pub fn sqs_client(&self) -> aws_sdk_sqs::Client {
        clients::sqs(&Service::Sqs.endpoint(), &self.keys, self.http.clone())
    }

    /// Returns a client of the bucket.
    #[must_use]
    pub fn s3_client(&self) -> aws_sdk_s3::Client {
        self.s3_client_at(&Service::S3.endpoint())
    }

    /// Returns a client that presigns URLs of the bucket at the address where it is served.
    #[must_use]
    pub fn s3_client_at(&self, url: &str) -> aws_sdk_s3::Client {
        clients::s3(url, &self.keys, self.http.clone())
    }

    /// Returns a client of the secrets.
    #[must_use]
    pub fn secrets_client(&self) -> aws_sdk_secretsmanager::Client {
        clients::secrets(&Service::Secrets.endpoint(), &self.keys, self.http.clone())
    }

    /// Returns the open WebSockets.
    #[must_use]
    pub fn sockets(&self) -> &OpenSockets {
        &self.sockets
    }

    /// Returns a client of the open WebSockets.
    #[must_use]
    pub fn sockets_client(&self) -> aws_sdk_apigatewaymanagement::Client {
        clients::sockets(&Service::Sockets.endpoint(), &self.keys, self.http.clone())
    }

    /// Returns the URL of a queue within this process.
    #[must_use]
    pub fn queue_url(&self, queue: Queue) -> String {
        queue_url(&Service::Sqs.endpoint(), queue.name())
    }

    /// Returns the URL of a queue's dead-letter queue within this process.
    #[must_use]
    pub fn dead_letter_queue_url(&self, queue: Queue) -> String {
        queue_url(&Service::Sqs.endpoint(), queue.dead_letter_name())
    }
}

/// Returns the URL of a queue at an endpoint. The server identifies a queue by the last segment
/// only.
#[must_use]
pub fn queue_url(endpoint: &str, name: &str) -> String {
    format!("{}/{ACCOUNT}/{name}", endpoint.trim_end_matches('/'))
}

/// Returns the queues as a handler of requests in this process.
fn sqs_handler(sqs: Sqs) -> Handler {
    Arc::new(move |request| {
        let sqs = sqs.clone();
        Box::pin(async move { Ok(sqs_fifo::respond(&sqs, &request).await.map(Body::from)) })
    })
}

fn create_table(dynamodb: &Dynamodb) -> Result<(), AwsError> {
    let named = serde_json::json!({"TableName": NAME}).to_string();
    if dynamodb
        .call("DescribeTable", named.as_bytes())
        .0
        .is_success()
    {
        return Ok(());
    }
    let requests = [
        ("CreateTable", layout::create_table()),
        ("UpdateTimeToLive", layout::time_to_live()),
    ];
    for (operation, request) in requests {
        let (status, answer) = dynamodb.call(operation, request.to_string().as_bytes());
        if !status.is_success() {
            return Err(AwsError::Table(answer));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
