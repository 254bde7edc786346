//! What a person, or a program with `--json`, sees of a running system.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{ConnectionKey, LogId};
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use local::system::System;
use serde_json::{Value, json};
use store::{Log, Operation, OperationKind, PageRequest};

use crate::drive_end::DriveEnd;
use crate::tally::{Amount, Tally};

/// How often the picture is drawn anew.
const EVERY: Duration = Duration::from_millis(500);

/// Where we are, as far as it is shown.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Picture {
    listed: u64,
    arrived: u64,
    synced: bool,
    owed: u64,
    failed: u64,
    conflicts: u64,
    lag_millis: Option<i64>,
}

/// Looks at a running system.
pub(crate) struct Show<'a> {
    pub(crate) system: &'a System,
    pub(crate) connection: &'a ConnectionKey,
    pub(crate) drive: &'a DriveEnd,
    /// Whether content is mirrored.
    pub(crate) content: bool,
}

impl Show<'_> {
    /// Draws until dropped.
    pub(crate) async fn follow(&self, screen: &mut Screen) {
        let started_at = self.system.now();
        let mut synced = false;
        // The mirror goes on while the first sync lists, and is counted from the moment at which all files are known.
        let mut mirroring = self.content.then(Tally::default);
        loop {
            if let Some(picture) = self.look().await {
                let millis = self.system.now().millis_since(started_at);
                if picture.synced && !synced {
                    synced = true;
                    screen.synced(self.connection, &picture, millis);
                }
                let amount = match mirroring.as_mut() {
                    Some(tally) if synced => self.count(tally).await,
                    Some(_) | None => None,
                };
                if let Some(amount) = amount.filter(Amount::is_whole) {
                    mirroring = None;
                    screen.mirrored(&amount, millis);
                    screen.draw(&picture, self.in_drive());
                } else {
                    screen.draw(&picture, self.in_drive());
                    if let Some(amount) = amount {
                        screen.mirroring(&amount, millis);
                    }
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// What is stored by now; nothing where the table does not answer this time.
    async fn count(&self, tally: &mut Tally) -> Option<Amount> {
        let store = &self.system.functions.api.store;
        let looked = tally.look(store, self.connection).await;
        looked.ok().map(|()| tally.amount())
    }

    async fn look(&self) -> Option<Picture> {
        let store = &self.system.functions.api.store;
        let operations = store
            .list_operations(self.connection, &PageRequest::first(PageRequest::LIMIT_MAX))
            .await
            .ok()?;
        // Of each log, its latest listing; a shared drive that is joined adds one.
        let mut listings: BTreeMap<LogId, Operation> = BTreeMap::new();
        for operation in operations.items {
            match operation.kind {
                OperationKind::InitialSync | OperationKind::Resync => {
                    listings.entry(operation.log.clone()).or_insert(operation);
                }
                OperationKind::Delta
                | OperationKind::Audit
                | OperationKind::Leave
                | OperationKind::Mirror => {}
            }
        }
        let attention = store.count_attention(self.connection).await.ok()?;
        let logs = store.list_logs(self.connection).await.ok()?;
        let done = |log: &Log| {
            let listing = listings.get(&log.log);
            listing.is_some_and(|operation| operation.has_ended())
        };
        Some(Picture {
            listed: listings.values().map(|operation| operation.listed).sum(),
            arrived: listings.values().map(|operation| operation.verified).sum(),
            synced: !logs.is_empty() && logs.iter().all(done),
            owed: attention.owed,
            failed: attention.failed,
            conflicts: attention.open_conflicts,
            lag_millis: logs.iter().filter_map(|log| log.lag_millis).max(),
        })
    }

    /// How many items the Drive has, where we can know: that of this process.
    fn in_drive(&self) -> Option<u64> {
        let totals = self.drive.simulator.as_ref()?.totals();
        u64::try_from(totals.files + totals.folders).ok()
    }
}

/// Where it is shown.
pub(crate) enum Screen {
    /// JSON lines.
    Json,
    /// A bar for the first sync, then one live line.
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

    /// All is up.
    pub(crate) fn ready(&self, system: &System, drive: &DriveEnd, connection: &ConnectionKey) {
        let api = system.api_url.as_deref().unwrap_or_default();
        match self {
            Self::Json => line(&json!({
                "event": "ready", "api": api, "drive": drive.url, "token": system.token,
                "connection": connection.connection.as_str(), "aws": system.aws_urls,
            })),
            Self::Terminal(bar) => {
                let files = format!(
                    "{api}/v1/connections/{}/files?limit=3",
                    connection.connection
                );
                let lines = [
                    format!("API    {api}/v1   (OpenAPI: {api}/openapi.json)"),
                    format!("Drive  {}", drive.url),
                    format!("Connection {}; try:", connection.connection),
                    format!("  export TOKEN={}", system.token),
                    format!("  curl -s -H \"Authorization: Bearer $TOKEN\" '{files}'"),
                    "Ctrl-C stops.".to_owned(),
                ];
                bar.suspend(|| say(&lines.join("\n")));
                bar.set_style(style(
                    "{spinner} first sync {bar:40} {pos}/{len} files, {per_sec}, {elapsed}",
                ));
                bar.enable_steady_tick(Duration::from_millis(200));
            }
        }
    }

    fn synced(&self, connection: &ConnectionKey, picture: &Picture, millis: i64) {
        #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
        let seconds = millis as f64 / 1_000.0;
        match self {
            Self::Json => line(&json!({
                "event": "synced", "connection": connection.connection.as_str(),
                "files": picture.arrived, "seconds": seconds,
            })),
            Self::Terminal(bar) => {
                let done = format!(
                    "First sync done: {} files in {seconds:.1} s.",
                    picture.arrived
                );
                bar.suspend(|| say(&done));
                bar.set_style(style("{spinner} {msg}"));
            }
        }
    }

    fn draw(&self, picture: &Picture, in_drive: Option<u64>) {
        let Self::Terminal(bar) = self else { return };
        if !picture.synced {
            bar.set_length(in_drive.unwrap_or(picture.listed).max(picture.listed));
            bar.set_position(picture.arrived);
            return;
        }
        // What is in a Drive of this process, whoever may see it; of another one, what it listed.
        let files = in_drive.map_or_else(
            || format!("{} files listed", picture.listed),
            |files| format!("{files} files in Drive"),
        );
        #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
        let lag = picture.lag_millis.map_or_else(
            || "none yet".to_owned(),
            |ms| format!("{:.1} s", ms as f64 / 1_000.0),
        );
        bar.set_message(format!(
            "{files}, {} owed, {} failed, {} conflicts, lag of the last change {lag}",
            picture.owed, picture.failed, picture.conflicts
        ));
    }

    /// Content is on its way, for so many milliseconds.
    fn mirroring(&self, amount: &Amount, millis: i64) {
        let rate = rate(amount, millis);
        match self {
            Self::Json => line(&json!({
                "event": "mirroring", "files": amount.files, "files_wanted": amount.files_wanted,
                "bytes": amount.bytes, "bytes_wanted": amount.bytes_wanted, "mb_per_second": rate,
                "linked": amount.linked,
            })),
            Self::Terminal(bar) => bar.set_message(format!(
                "content: {} of {} files, {} of {}, {rate:.1} MB/s, {} duplicates linked",
                amount.files,
                amount.files_wanted,
                DecimalBytes(amount.bytes),
                DecimalBytes(amount.bytes_wanted),
                amount.linked
            )),
        }
    }

    /// All content that is wanted has been dealt with, within so many milliseconds.
    fn mirrored(&self, amount: &Amount, millis: i64) {
        let rate = rate(amount, millis);
        #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
        let seconds = millis as f64 / 1_000.0;
        match self {
            Self::Json => line(&json!({
                "event": "mirrored", "files": amount.files, "bytes": amount.bytes,
                "linked": amount.linked, "linked_bytes": amount.linked_bytes,
                "unavailable": amount.unavailable, "skipped": amount.skipped,
                "seconds": seconds, "mb_per_second": rate,
            })),
            Self::Terminal(bar) => {
                let done = format!(
                    "Content stored: {} files in {seconds:.1} s, {} fetched ({rate:.1} MB/s); {} duplicates ({}) \
                     linked and not stored again; {} not to be had, {} left out.",
                    amount.files,
                    DecimalBytes(amount.bytes),
                    amount.linked,
                    DecimalBytes(amount.linked_bytes),
                    amount.unavailable,
                    amount.skipped
                );
                bar.suspend(|| say(&done));
            }
        }
    }

    /// The system is told to stop.
    pub(crate) fn stopping(&self) {
        match self {
            Self::Json => line(&json!({"event": "stopping"})),
            Self::Terminal(bar) => bar.finish_with_message("stopping: what is in work is finished"),
        }
    }
}

/// Megabytes that were fetched in a second.
#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn rate(amount: &Amount, millis: i64) -> f64 {
    amount.bytes as f64 / 1_000.0 / millis.max(1) as f64
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn line(event: &Value) {
    say(&event.to_string());
}

#[expect(
    clippy::print_stdout,
    reason = "what the program shows is what it is asked for"
)]
fn say(text: &str) {
    println!("{text}");
}
