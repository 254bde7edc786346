//! Running until Ctrl-C.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use local::system::{Options, System};
use serde_json::json;
use tokio::sync::watch;

use crate::cli::{Arguments, Failure, one_line};
use crate::collaborators;
use crate::drive_end::{DriveEnd, EMBEDDED, listen};
use crate::show::{Screen, Show};

/// How long history is kept here, in days.
const HISTORY_DAYS: u32 = 90;

/// Runs the system until it is interrupted.
pub(crate) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    log_to_stderr();
    let api = listen(arguments.api_addr, "--api-addr").await?;
    let (stop, stopped) = watch::channel(false);
    let drive = DriveEnd::open(arguments, stopped.clone()).await?;
    let _lock = take_data_dir(&arguments.data_dir, &drive.name())?;
    let options = Options {
        data_dir: Some(arguments.data_dir.clone()),
        api: Some(api),
        transport: drive.transport.clone(),
        content: Some(drive.content.clone()),
        drive_url: drive.url.clone(),
        notified: drive.notifies,
        history_days: Some(HISTORY_DAYS),
        usual_ports: true,
    };
    let system = System::start(options)
        .await
        .map_err(|error| one_line(&error))?;
    let connected = system
        .connect_storing(
            &drive.credentials,
            drive.subject.as_deref(),
            content_settings(arguments),
        )
        .await;
    let connection = match connected {
        Ok(connection) => connection,
        Err(error) => {
            system.stop().await;
            return Err(format!("could not connect to Drive: {}", one_line(&error)));
        }
    };
    let mut screen = Screen::new(arguments.json);
    screen.ready(&system, &drive, &connection);
    let people = drive.simulator.clone().map(|simulator| {
        tokio::spawn(collaborators::edit(
            simulator,
            arguments.collaborators,
            stopped.clone(),
        ))
    });
    let show = Show {
        system: &system,
        connection: &connection,
        drive: &drive,
        content: !arguments.no_content,
    };
    tokio::select! {
        () = show.follow(&mut screen) => {}
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

/// What is not asked for stays as it was set.
fn content_settings(arguments: &Arguments) -> serde_json::Value {
    match arguments.compress {
        true => json!({"enabled": true, "compress": true}),
        false => json!({"enabled": !arguments.no_content}),
    }
}

/// Logs go where they don't disturb the picture, or the JSON lines. `RUST_LOG` says what; errors by default.
pub(crate) fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter);
    let _ = subscriber.with_writer(std::io::stderr).try_init();
}

/// Makes the data directory ours: one process at a time, and one Drive for ever.
fn take_data_dir(dir: &Path, drive: &str) -> Result<File, Failure> {
    let failed = |error: std::io::Error| {
        format!(
            "the data directory {} can't be used: {error}",
            dir.display()
        )
    };
    fs::create_dir_all(dir).map_err(failed)?;
    let lock = lock(dir)?;
    let marker = dir.join("drive.json");
    let before = fs::read(&marker)
        .ok()
        .and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
    let before = before.and_then(|marker| Some(marker.get("drive")?.as_str()?.to_owned()));
    match before.as_deref() {
        // That Drive lived in the memory of a process that is gone: its records are of nothing.
        Some(EMBEDDED) => match fs::remove_dir_all(dir.join("aws")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            Ok(()) | Err(_) => {}
        },
        Some(other) if other != drive => {
            return Err(format!(
                "{} holds the records of the Drive {other}: give another --data-dir",
                dir.display()
            ));
        }
        Some(_) | None => {}
    }
    fs::write(marker, json!({ "drive": drive }).to_string()).map_err(failed)?;
    Ok(lock)
}

/// Keeps every other process of ours from a data directory that is there, for as long as the file is held.
pub(crate) fn lock(dir: &Path) -> Result<File, Failure> {
    let failed = |error: std::io::Error| {
        format!(
            "the data directory {} can't be used: {error}",
            dir.display()
        )
    };
    let lock = File::create(dir.join("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(format!(
            "another `local` runs on {}: stop it, or give another --data-dir",
            dir.display()
        )),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

async fn interrupted() -> Result<(), Failure> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|error| one_line(&error))?;
    tokio::select! {
        heard = tokio::signal::ctrl_c() => heard.map_err(|error| one_line(&error)),
        _ = terminate.recv() => Ok(()),
    }
}
