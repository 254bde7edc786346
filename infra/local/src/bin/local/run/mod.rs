//! Running the system until Ctrl-C.

mod collaborators;
mod progress;
mod screen;

use std::fs::{self, File, TryLockError};
use std::path::Path;

use domain::webhook::Reachable;
use local::gateway::metrics::measurements;
use local::gateway::websocket::SocketTimes;
use local::private;
use local::system::{Options, System, local_limits};
use serde_json::json;
use tokio::sync::watch;
use tracing_subscriber::prelude::*;

use self::screen::{Monitor, Screen};
use crate::cli::{Arguments, Failure, one_line};
use crate::drive_source::{DriveSource, EMBEDDED, listen};

/// The retention of snapshots, in days.
const HISTORY_DAYS: u32 = 90;

/// Runs the system until it is interrupted.
pub(crate) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    log_to_stderr();
    let api = listen(arguments.api_addr, "--api-addr").await?;
    let (stop, stopped) = watch::channel(false);
    let drive = DriveSource::open(arguments, stopped.clone()).await?;
    let _lock = claim_data_dir(&arguments.data_dir, &drive.name())?;
    let limits = local_limits().with(&arguments.limits);
    let limits = limits.map_err(|refused| format!("--limits: {refused}"))?;
    let options = Options {
        data_dir: Some(arguments.data_dir.clone()),
        api: Some(api),
        transport: drive.transport.clone(),
        content: Some(drive.content.clone()),
        drive_url: drive.url.clone(),
        simulator: drive.simulator.clone(),
        push_notifications: drive.notifies,
        history_days: Some(HISTORY_DAYS),
        tenant_limits: limits,
        socket_times: SocketTimes::default(),
        default_ports: true,
        serve_aws: arguments.serve_aws,
        hosts: arguments.hosts(),
        webhook_hosts: match arguments.webhooks_public_only {
            true => Reachable::Public,
            false => Reachable::PublicAndLoopback,
        },
        canary: arguments.canary.clone(),
    };
    arguments.warn_if_reachable();
    let system = System::start(options)
        .await
        .map_err(|error| one_line(&error))?;
    let missing = system.functions.missing().await;
    if !missing.is_empty() {
        system.stop().await;
        return Err(format!("the functions lack: {}", missing.join("; ")));
    }
    let connected = system
        .connect_with_content(
            &drive.credentials,
            drive.subject.as_deref(),
            content_settings(arguments),
        )
        .await;
    let connection = match connected {
        Ok(connection) => connection,
        Err(error) => {
            system.stop().await;
            return Err(format!("cannot connect to Drive: {}", one_line(&error)));
        }
    };
    let mut screen = Screen::new(arguments.json);
    screen.ready(&system, &drive, &connection, &token_command(arguments))?;
    let people = drive.simulator.clone().map(|simulator| {
        tokio::spawn(collaborators::edit(
            simulator,
            arguments.collaborators,
            stopped.clone(),
        ))
    });
    let monitor = Monitor {
        system: &system,
        connection: &connection,
        drive: &drive,
        content: !arguments.no_content,
    };
    tokio::select! {
        () = monitor.follow(&mut screen) => {}
        interrupted = interrupted() => interrupted?,
    }
    screen.stopping();
    stop.send_replace(true);
    if let Some(people) = people {
        people.abort();
    }
    system.stop().await;
    Ok(())
}

/// Returns the command that prints a token for this system.
fn token_command(arguments: &Arguments) -> String {
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "local".to_owned());
    let dir = arguments.data_dir.to_string_lossy();
    // In the form that a shell reads back.
    let quoted = |text: &str| match text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
    {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    };
    format!("{} token --data-dir {}", quoted(&program), quoted(&dir))
}

/// Returns the content settings that the command line states; others are unchanged.
fn content_settings(arguments: &Arguments) -> serde_json::Value {
    match arguments.compress {
        true => json!({"enabled": true, "compress": true}),
        false => json!({"enabled": !arguments.no_content}),
    }
}

/// Logs to standard error, apart from the progress display and the JSON lines, and measures.
/// `RUST_LOG` selects the level; errors by default.
pub(crate) fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    let json = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_writer(std::io::stderr)
        .with_filter(filter);
    let measured = |metric, value| measurements().add(metric, value);
    let _ = tracing_subscriber::registry()
        .with(json)
        .with(runtime::metrics::layer(measured))
        .try_init();
}

/// Claims the data directory for this process and this Drive: one process at a time, one Drive
/// forever.
fn claim_data_dir(dir: &Path, drive: &str) -> Result<File, Failure> {
    let failed = |error: std::io::Error| {
        format!(
            "the data directory {} cannot be used: {error}",
            dir.display()
        )
    };
    private::create_folder(dir).map_err(failed)?;
    // An earlier version let others read what it wrote.
    for name in ["aws", "drive.json", "lock", "token.key"] {
        private::close(&dir.join(name)).map_err(failed)?;
    }
    let lock = lock(dir)?;
    let marker = dir.join("drive.json");
    let before = fs::read(&marker)
        .ok()
        .and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
    let before = before.and_then(|marker| Some(marker.get("drive")?.as_str()?.to_owned()));
    match before.as_deref() {
        // That Drive was in the memory of an earlier process, so its records are obsolete.
        Some(EMBEDDED) => match fs::remove_dir_all(dir.join("aws")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            Ok(()) | Err(_) => {}
        },
        Some(other) if other != drive => {
            return Err(format!(
                "{} contains the records of the Drive {other}: pass another --data-dir",
                dir.display()
            ));
        }
        Some(_) | None => {}
    }
    fs::write(marker, json!({ "drive": drive }).to_string()).map_err(failed)?;
    Ok(lock)
}

/// Locks an existing data directory against other processes for the lifetime of the file.
pub(crate) fn lock(dir: &Path) -> Result<File, Failure> {
    let failed = |error: std::io::Error| {
        format!(
            "the data directory {} cannot be used: {error}",
            dir.display()
        )
    };
    let lock = File::create(dir.join("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(format!(
            "another `local` runs on {}: stop it, or pass another --data-dir",
            dir.display()
        )),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

async fn interrupted() -> Result<(), Failure> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|error| one_line(&error))?;
    tokio::select! {
        received = tokio::signal::ctrl_c() => received.map_err(|error| one_line(&error)),
        _ = terminate.recv() => Ok(()),
    }
}
