//! Demonstrations: each runs against a system on data of its own, which is removed afterwards.

mod participants;
mod stories;
mod walkthrough;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::ConnectionKey;
use domain::webhook::Reachable;
use local::gateway::websocket::SocketTimes;
use local::private;
use local::system::{Options, System, local_limits};
use tokio::sync::watch;

pub(crate) use self::stories::stories;
pub(crate) use self::walkthrough::demo;
use crate::cli::{Arguments, Failure, one_line};
use crate::drive_source::{DriveSource, listen};
use crate::run::log_to_stderr;

/// Any free port, so that a demonstration runs beside other systems.
const ANY_PORT: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
/// The longest wait for an effect before a demonstration fails.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The period at which an effect is polled.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// The setup of a demonstration.
struct Setup {
    /// A part of the name of the temporary folder.
    name: &'static str,
    /// True if the simulated Drive starts empty instead of with the library of the command line.
    empty_library: bool,
    /// True if content is mirrored.
    content: bool,
}

/// A connected system and its simulated Drive.
struct Stage {
    system: System,
    drive: DriveSource,
    connection: ConnectionKey,
}

impl Stage {
    async fn start(
        arguments: &Arguments,
        setup: &Setup,
        folder: &Path,
        stopped: watch::Receiver<bool>,
    ) -> Result<Self, Failure> {
        let library = match setup.empty_library {
            true => folder.join("library"),
            false => arguments.library.clone(),
        };
        if setup.empty_library {
            std::fs::create_dir_all(&library).map_err(|error| one_line(&error))?;
        }
        let arguments = Arguments {
            drive_addr: ANY_PORT,
            drive_url: None,
            google_key: None,
            library,
            ..arguments.clone()
        };
        let drive = DriveSource::open(&arguments, stopped).await?;
        let options = Options {
            data_dir: Some(folder.join("data")),
            api: Some(listen(ANY_PORT, "--api-addr").await?),
            transport: drive.transport.clone(),
            content: Some(drive.content.clone()),
            drive_url: drive.url.clone(),
            simulator: None,
            push_notifications: true,
            history_days: Some(90),
            tenant_limits: local_limits(),
            socket_times: SocketTimes::default(),
            default_ports: false,
            serve_aws: None,
            hosts: arguments.hosts(),
            webhook_hosts: Reachable::PublicAndLoopback,
            canary: None,
        };
        let system = System::start(options)
            .await
            .map_err(|error| one_line(&error))?;
        let connected = system
            .connect_with(&drive.credentials, None, setup.content)
            .await;
        match connected {
            Ok(connection) => Ok(Self {
                system,
                drive,
                connection,
            }),
            Err(error) => {
                system.stop().await;
                Err(one_line(&error))
            }
        }
    }
}

/// Runs a scenario in a temporary folder that is removed afterwards.
async fn run(
    arguments: &Arguments,
    setup: &Setup,
    scenario: impl AsyncFnOnce(&Stage) -> Result<(), Failure>,
) -> Result<(), Failure> {
    log_to_stderr();
    let folder = temporary_folder(setup.name)?;
    let (stop, stopped) = watch::channel(false);
    let result = match Stage::start(arguments, setup, &folder, stopped).await {
        Ok(stage) => {
            let result = scenario(&stage).await;
            stop.send_replace(true);
            stage.system.stop().await;
            result
        }
        Err(failure) => Err(failure),
    };
    let removed = std::fs::remove_dir_all(&folder);
    result.and_then(|()| {
        removed.map_err(|error| format!("{} cannot be removed: {error}", folder.display()))
    })
}

pub(crate) fn temporary_folder(name: &str) -> Result<PathBuf, Failure> {
    let folder = std::env::temp_dir().join(format!("drivesync-{name}-{}", std::process::id()));
    let failed = |error| format!("the folder {} cannot be created: {error}", folder.display());
    private::create_new_folder(&folder).map_err(failed)?;
    Ok(folder)
}

/// Polls until `find` returns a value. Returns the value and the elapsed milliseconds.
async fn wait_for<T>(
    system: &System,
    what: &str,
    mut find: impl AsyncFnMut() -> Result<Option<T>, Failure>,
) -> Result<(T, i64), Failure> {
    let began = system.now();
    let polled = tokio::time::timeout(WAIT_MAX, async {
        loop {
            if let Some(found) = find().await? {
                return Ok(found);
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    });
    let found = polled
        .await
        .unwrap_or_else(|_| Err(format!("{what} did not happen within {WAIT_MAX:?}")))?;
    Ok((found, system.now().millis_since(began)))
}
