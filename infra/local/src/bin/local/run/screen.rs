//! The progress display of a running system, or its JSON lines.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use domain::{ConnectionKey, LogId, Operation};
use drive_simulator::Simulator;
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use local::canary::Counts;
use local::system::System;
use serde_json::{Value, json};
use store::{Log, PageRequest};

use super::progress::{ContentCounts, ContentProgress};
use crate::cli::{Failure, one_line, say};
use crate::drive_source::DriveSource;

/// The period at which the display is updated.
const UPDATE_EVERY: Duration = Duration::from_millis(500);

/// The displayed state of the system.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Status {
    listed: u64,
    arrived: u64,
    synced: bool,
    owed: u64,
    failed: u64,
    conflicts: u64,
    lag_millis: Option<i64>,
}

/// Observes a running system.
pub(crate) struct Monitor<'a> {
    pub(crate) system: &'a System,
    pub(crate) connection: &'a ConnectionKey,
    pub(crate) drive: &'a DriveSource,
    /// True if content is mirrored.
    pub(crate) content: bool,
}

impl Monitor<'_> {
    /// Updates the screen until dropped.
    pub(crate) async fn follow(&self, screen: &mut Screen) {
        let started_at = self.system.now();
        let mut synced = false;
        // Content is mirrored during the first sync already, but counted once all files are known.
        let mut content = self.content.then(ContentProgress::default);
        let mut by_build = BTreeMap::new();
        loop {
            if let Some(canary) = &self.system.functions.canary {
                let counts = canary.counts();
                if counts != by_build {
                    screen.ran(&counts);
                    by_build = counts;
                }
            }
            if let Some(status) = self.status().await {
                let millis = self.system.now().millis_since(started_at);
                if status.synced && !synced {
                    synced = true;
                    screen.synced(self.connection, &status, millis);
                }
                let counts = match content.as_mut() {
                    Some(progress) if synced => self.count(progress).await,
                    Some(_) | None => None,
                };
                if let Some(counts) = counts.filter(ContentCounts::is_complete) {
                    content = None;
                    screen.mirrored(&counts, millis);
                    screen.draw(&status, self.in_drive());
                } else {
                    screen.draw(&status, self.in_drive());
                    if let Some(counts) = counts {
                        screen.mirroring(&counts, millis);
                    }
                }
            }
            tokio::time::sleep(UPDATE_EVERY).await;
        }
    }

    /// Returns the stored content, or `None` if DynamoDB fails this time.
    async fn count(&self, progress: &mut ContentProgress) -> Option<ContentCounts> {
        let store = &self.system.functions.api.store;
        let advanced = progress.advance(store, self.connection).await;
        advanced.ok().map(|()| progress.counts())
    }

    async fn status(&self) -> Option<Status> {
        let store = &self.system.functions.api.store;
        let operations = store
            .list_operations(self.connection, &PageRequest::first(PageRequest::LIMIT_MAX))
            .await
            .ok()?;
        // The latest listing of each log; joining a shared drive adds one.
        let mut listings: BTreeMap<LogId, Operation> = BTreeMap::new();
        for operation in operations.items {
            if operation.lists_all() {
                listings.entry(operation.log.clone()).or_insert(operation);
            }
        }
        let attention = store.count_attention(self.connection).await.ok()?;
        let logs = store.list_logs(self.connection).await.ok()?;
        let is_done = |log: &Log| {
            let listing = listings.get(&log.log);
            listing.is_some_and(|operation| operation.has_ended())
        };
        Some(Status {
            listed: listings
                .values()
                .map(|operation| operation.form().listed)
                .sum(),
            arrived: listings
                .values()
                .map(|operation| operation.form().verified)
                .sum(),
            synced: !logs.is_empty() && logs.iter().all(is_done),
            owed: attention.owed,
            failed: attention.failed,
            conflicts: attention.open_conflicts,
            lag_millis: logs.iter().filter_map(|log| log.lag_millis).max(),
        })
    }

    /// Returns the number of items in Drive, if it runs in this process.
    fn in_drive(&self) -> Option<u64> {
        let totals = self.drive.simulator.as_ref()?.totals();
        u64::try_from(totals.files + totals.folders).ok()
    }
}

/// The output of the program.
pub(crate) enum Screen {
    /// JSON lines.
    Json,
    /// A progress bar for the first sync, then a status line.
    Terminal(ProgressBar),
}

impl Screen {
    pub(crate) fn new(json: bool) -> Self {
        if json {
            Self::Json
        } else {
            Self::Terminal(ProgressBar::new(0))
        }
    }

    /// Reports that the system is running; `token_command` prints a token for it.
    pub(crate) fn ready(
        &self,
        system: &System,
        drive: &DriveSource,
        connection: &ConnectionKey,
        token_command: &str,
    ) -> Result<(), Failure> {
        let api = system.api_url.as_deref().unwrap_or_default();
        let console = system.console_link().map_err(|error| one_line(&error))?;
        let control = drive.simulator.as_ref().and_then(Simulator::control_key);
        match self {
            Self::Json => line(&json!({
                "event": "ready", "api": api, "console": console, "drive": drive.url,
                "drive_control": control,
                "token": system.token().map_err(|error| one_line(&error))?,
                "connection": connection.connection.as_str(), "aws": system.aws_urls,
                "aws_environment": system.aws_environment,
            })),
            Self::Terminal(bar) => {
                let files = format!(
                    "{api}/v1/connections/{}/files?limit=3",
                    connection.connection
                );
                let control =
                    control.map_or_else(String::new, |key| format!("   (X-Drive-Control: {key})"));
                let lines = [
                    format!("Console (the link signs in once, within ten minutes):\n  {console}"),
                    format!("API    {api}/v1   (OpenAPI: {api}/openapi.json)"),
                    format!("Drive  {}{control}", drive.url),
                    format!("Connection {}; try:", connection.connection),
                    format!("  export TOKEN=$({token_command})"),
                    format!("  curl -s -H \"Authorization: Bearer $TOKEN\" '{files}'"),
                    "Ctrl-C stops.".to_owned(),
                ];
                bar.suspend(|| say(&lines.join("\n")));
                open_in_browser(&console);
                bar.set_style(style(
                    "{spinner} first sync {bar:40} {pos}/{len} files, {per_sec}, {elapsed}",
                ));
                bar.enable_steady_tick(Duration::from_millis(200));
            }
        }
        Ok(())
    }

    /// Reports the end of the first sync.
    fn synced(&self, connection: &ConnectionKey, status: &Status, millis: i64) {
        #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
        let seconds = millis as f64 / 1_000.0;
        match self {
            Self::Json => line(&json!({
                "event": "synced", "connection": connection.connection.as_str(),
                "files": status.arrived, "seconds": seconds,
            })),
            Self::Terminal(bar) => {
                let done = format!(
                    "First sync done: {} files in {seconds:.1} s.",
                    status.arrived
                );
                bar.suspend(|| say(&done));
                bar.set_style(style("{spinner} {msg}"));
            }
        }
    }

    /// Updates the progress bar or the status line.
    fn draw(&self, status: &Status, in_drive: Option<u64>) {
        let Self::Terminal(bar) = self else { return };
        if !status.synced {
            bar.set_length(in_drive.unwrap_or(status.listed).max(status.listed));
            bar.set_position(status.arrived);
            return;
        }
        // For a Drive in this process all items, for another one the listed items.
        let files = in_drive.map_or_else(
            || format!("{} files listed", status.listed),
            |files| format!("{files} files in Drive"),
        );
        #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
        let lag = status.lag_millis.map_or_else(
            || "none yet".to_owned(),
            |ms| format!("{:.1} s", ms as f64 / 1_000.0),
        );
        bar.set_message(format!(
            "{files}, {} owed, {} failed, {} conflicts, lag of the last change {lag}",
            status.owed, status.failed, status.conflicts
        ));
    }

    /// Reports the progress of content after `millis` milliseconds.
    fn mirroring(&self, counts: &ContentCounts, millis: i64) {
        let rate = rate(counts, millis);
        match self {
            Self::Json => line(&json!({
                "event": "mirroring", "files": counts.files, "files_wanted": counts.files_wanted,
                "bytes": counts.bytes, "bytes_wanted": counts.bytes_wanted, "mb_per_second": rate,
                "linked": counts.linked,
            })),
            Self::Terminal(bar) => bar.set_message(format!(
                "content: {} of {} files, {} of {}, {rate:.1} MB/s, {} duplicates linked",
                counts.files,
                counts.files_wanted,
                DecimalBytes(counts.bytes),
                DecimalBytes(counts.bytes_wanted),
                counts.linked
            )),
        }
    }

    /// Reports that all content has been processed, after `millis` milliseconds.
    fn mirrored(&self, counts: &ContentCounts, millis: i64) {
        let rate = rate(counts, millis);
        #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
        let seconds = millis as f64 / 1_000.0;
        match self {
            Self::Json => line(&json!({
                "event": "mirrored", "files": counts.files, "bytes": counts.bytes,
                "linked": counts.linked, "linked_bytes": counts.linked_bytes,
                "unavailable": counts.unavailable, "skipped": counts.skipped,
                "seconds": seconds, "mb_per_second": rate,
            })),
            Self::Terminal(bar) => {
                let done = format!(
                    "Content stored: {} files in {seconds:.1} s, {} downloaded ({rate:.1} MB/s); \
                     {} duplicates ({}) linked and not stored again; {} unavailable, {} skipped.",
                    counts.files,
                    DecimalBytes(counts.bytes),
                    counts.linked,
                    DecimalBytes(counts.linked_bytes),
                    counts.unavailable,
                    counts.skipped
                );
                bar.suspend(|| say(&done));
            }
        }
    }

    /// Reports how many invocations of each function ran in which build.
    fn ran(&self, counts: &BTreeMap<&'static str, Counts>) {
        match self {
            Self::Json => line(&json!({"event": "canary", "functions": counts})),
            Self::Terminal(_) => {}
        }
    }

    /// Reports that the system is stopping.
    pub(crate) fn stopping(&self) {
        match self {
            Self::Json => line(&json!({"event": "stopping"})),
            Self::Terminal(bar) => bar.finish_with_message("stopping: finishing work in progress"),
        }
    }
}

/// Returns the download rate in megabytes per second.
#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn rate(counts: &ContentCounts, millis: i64) -> f64 {
    counts.bytes as f64 / 1_000.0 / millis.max(1) as f64
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn line(event: &Value) {
    say(&event.to_string());
}

/// Opens a link in the browser of a person at a desktop; elsewhere the printed one remains.
fn open_in_browser(link: &str) {
    let desktop = ["DISPLAY", "WAYLAND_DISPLAY"];
    let program = if cfg!(target_os = "macos") {
        "open"
    } else if desktop.iter().any(|name| std::env::var_os(name).is_some()) {
        "xdg-open"
    } else {
        return;
    };
    if !std::io::stdout().is_terminal() {
        return;
    }
    let mut command = Command::new(program);
    command.arg(link).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    if let Err(error) = command.spawn() {
        tracing::debug!(%error, "no browser was opened");
    }
}
