//! The AWS side of the system in one process: queues, table, bucket and secrets, behind the SDKs' real clients.
//!
//! [`Aws::open`] makes all of it, in a directory or in memory. Its clients call the services without sockets; [`serve`] puts
//! the same services on sockets for other processes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub mod clients;
pub mod dynamodb;
pub mod in_process;
mod layout;
pub mod s3;
pub(crate) mod scratch;
pub mod secrets;
pub mod serve;
pub mod sqs;

pub use self::layout::{CONTENT_BUCKET, INDEXES, NAME, Queue};

use s3s::service::S3Service;

use self::dynamodb::{Dynamodb, DynamodbError};
use self::in_process::{Handler, InProcess, Layer};
use self::s3::S3Error;
use self::scratch::Scratch;
use self::secrets::{SecretsError, SecretsManager};
use self::sqs::{ACCOUNT, Sqs, SqsError};

/// The time in milliseconds of Unix time.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// A clock that begins at `epoch_ms` now and follows tokio's time, which tests can pause and advance. Must be called in a
/// tokio runtime when its time is paused.
#[must_use]
pub fn tokio_clock(epoch_ms: i64) -> Clock {
    let start = tokio::time::Instant::now();
    Arc::new(move || {
        epoch_ms.saturating_add(i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX))
    })
}

/// The machine's clock.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of this package where time comes from"
)]
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
    })
}

/// Why the local AWS cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AwsError {
    /// The data directory cannot be made.
    #[error("the data directory {path:?} cannot be made")]
    Folder {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The queues cannot be opened.
    #[error("the queues cannot be opened")]
    Sqs(#[from] SqsError),
    /// The table cannot be opened.
    #[error("the table cannot be opened")]
    Dynamodb(#[from] DynamodbError),
    /// The engine refused to make the table; its answer.
    #[error("the table cannot be made: {0}")]
    Table(String),
    /// The bucket cannot be opened.
    #[error("the bucket cannot be opened")]
    S3(#[from] S3Error),
    /// The secrets cannot be opened.
    #[error("the secrets cannot be opened")]
    Secrets(#[from] SecretsError),
}

/// One of the services.
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
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Dynamodb, Self::Sqs, Self::S3, Self::Secrets];

    /// The host of the service within this process.
    #[must_use]
    pub fn host(self) -> &'static str {
        match self {
            Self::Dynamodb => "dynamodb.local",
            Self::Sqs => "sqs.local",
            Self::S3 => "s3.local",
            Self::Secrets => "secrets.local",
        }
    }

    /// The endpoint of the service within this process.
    #[must_use]
    pub fn endpoint(self) -> String {
        format!("http://{}", self.host())
    }
}

/// How to open the local AWS.
#[derive(Clone)]
pub struct Options {
    /// Where everything is kept, or None for memory (the bucket then is in a temporary folder that goes away with the
    /// [`Aws`]).
    pub data_dir: Option<PathBuf>,
    /// The time of the queues, the secrets and, in memory, the table.
    pub clock: Clock,
    /// What stands between the clients and the services. None: nothing does.
    pub layer: Option<Layer>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (folder, layer) = (&self.data_dir, self.layer.is_some());
        write!(f, "Options {{ data_dir: {folder:?}, layer: {layer} }}")
    }
}

impl Options {
    /// In memory, at this time, without a layer.
    #[must_use]
    pub fn memory(clock: Clock) -> Self {
        Self {
            data_dir: None,
            clock,
            layer: None,
        }
    }

    /// In a directory, on the machine's clock, without a layer.
    #[must_use]
    pub fn directory(data_dir: impl Into<PathBuf>) -> Self {
        let (data_dir, clock) = (Some(data_dir.into()), system_clock());
        Self {
            data_dir,
            clock,
            layer: None,
        }
    }
}

/// The local AWS: the table, the queues, the bucket and the secrets of the system, with clients.
pub struct Aws {
    sqs: Sqs,
    dynamodb: Dynamodb,
    s3: S3Service,
    s3_root: PathBuf,
    handlers: BTreeMap<Service, Handler>,
    http: InProcess,
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
    /// Opens everything, and makes what is not there: the table `drivesync` with its indexes, stream and time to live, the
    /// queues with their dead-letter queues, the bucket `content` and one named `drivesync`.
    ///
    /// # Errors
    /// A part cannot be opened or made.
    pub fn open(options: Options) -> Result<Self, AwsError> {
        let Options {
            data_dir,
            clock,
            layer,
        } = options;
        let folder_error = |path: &Path, source| AwsError::Folder {
            path: path.to_owned(),
            source,
        };
        let scratch = match &data_dir {
            Some(path) => {
                std::fs::create_dir_all(path).map_err(|e| folder_error(path, e))?;
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
        layout::make_queues(&sqs)?;
        sqs.reset_counters();
        let dynamodb = Dynamodb::open(file("dynamodb.db").as_deref(), clock.clone())?;
        make_table(&dynamodb)?;
        dynamodb.reset_counters();
        let secrets = SecretsManager::open(file("secrets.json").as_deref(), clock)?;
        let s3 = s3::open(&bucket_root, &[NAME, CONTENT_BUCKET])?;
        let handlers = BTreeMap::from([
            (Service::Dynamodb, dynamodb::handler(dynamodb.clone())),
            (Service::Sqs, sqs::handler(sqs.clone())),
            (Service::S3, s3::handler(s3.clone())),
            (Service::Secrets, secrets::handler(secrets)),
        ]);
        let by_host = handlers
            .iter()
            .map(|(s, handler)| (s.host().to_owned(), handler.clone()));
        let mut router = in_process::router(by_host.collect());
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
            http,
            _scratch: scratch,
        })
    }

    /// The same services for clients of their own, whose requests pass `layer` first: what one function calls can be told
    /// from what another does. It is of use for as long as the services themselves are.
    #[must_use]
    pub fn behind(&self, layer: &Layer) -> Self {
        Self {
            sqs: self.sqs.clone(),
            dynamodb: self.dynamodb.clone(),
            handlers: self.handlers.clone(),
            s3: self.s3.clone(),
            s3_root: self.s3_root.clone(),
            http: self.http.behind(layer),
            _scratch: None,
        }
    }

    /// The queues, for who calls them without the SDK: event sources.
    #[must_use]
    pub fn sqs(&self) -> &Sqs {
        &self.sqs
    }

    /// How many messages all queues hold, in flight and delayed ones included and dead-letter queues not.
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

    /// The table's engine, for its upkeep and its counters.
    #[must_use]
    pub fn dynamodb(&self) -> &Dynamodb {
        &self.dynamodb
    }

    /// How many uploads in parts were begun, and neither completed nor given up.
    ///
    /// # Errors
    /// The bucket's folder can't be read.
    pub fn uploads_under_way(&self) -> std::io::Result<usize> {
        s3::uploads_under_way(&self.s3_root)
    }

    /// The bucket for a socket, without the layer: what [`serve::serve_router`] takes. Bodies stream.
    pub fn s3_router(&self) -> axum::Router {
        s3::router(self.s3.clone())
    }

    /// A service as a handler of whole requests, without the layer: what [`serve::serve`] takes.
    #[must_use]
    pub fn handler(&self, service: Service) -> Handler {
        match self.handlers.get(&service) {
            Some(handler) => handler.clone(),
            None => in_process::router(BTreeMap::new()),
        }
    }

    /// The HTTP client of this process, which reaches every service at its [`Service::endpoint`].
    #[must_use]
    pub fn http_client(&self) -> InProcess {
        self.http.clone()
    }

    /// A client of the table.
    #[must_use]
    pub fn dynamodb_client(&self) -> aws_sdk_dynamodb::Client {
        clients::dynamodb(&Service::Dynamodb.endpoint(), self.http.clone())
    }

    /// A client of the queues.
    #[must_use]
    pub fn sqs_client(&self) -> aws_sdk_sqs::Client {
        clients::sqs(&Service::Sqs.endpoint(), self.http.clone())
    }

    /// A client of the bucket.
    #[must_use]
    pub fn s3_client(&self) -> aws_sdk_s3::Client {
        clients::s3(&Service::S3.endpoint(), self.http.clone())
    }

    /// A client of the secrets.
    #[must_use]
    pub fn secrets_client(&self) -> aws_sdk_secretsmanager::Client {
        clients::secrets(&Service::Secrets.endpoint(), self.http.clone())
    }

    /// The URL of a queue within this process.
    #[must_use]
    pub fn queue_url(&self, queue: Queue) -> String {
        queue_url(&Service::Sqs.endpoint(), queue.name())
    }

    /// The URL of a queue's dead-letter queue within this process.
    #[must_use]
    pub fn dead_letter_queue_url(&self, queue: Queue) -> String {
        queue_url(&Service::Sqs.endpoint(), queue.dead_letter_name())
    }
}

/// The URL of a queue at an endpoint. The server knows a queue by the last segment, whatever the endpoint.
#[must_use]
pub fn queue_url(endpoint: &str, name: &str) -> String {
    format!("{}/{ACCOUNT}/{name}", endpoint.trim_end_matches('/'))
}

fn make_table(dynamodb: &Dynamodb) -> Result<(), AwsError> {
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
