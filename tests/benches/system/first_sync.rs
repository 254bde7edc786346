//! The first sync: from the creation of a connection until its operation is done.

use std::time::Instant;

use domain::{ConnectionKey, OperationState};
use drive_simulator::Simulator;
use local::aws::Queue;
use local::system::System;
use store::PageRequest;

use crate::report::{Report, Target, count};
use crate::resources::{Memory, memory, processor_seconds};
use crate::rig::{Rig, credentials, serve, until};

/// The target, in files per minute.
pub const RATE_MIN: f64 = 100_000.0 / 60.0;

/// The duration of a first sync.
pub struct FirstSync {
    files: usize,
    applied_seconds: f64,
    done_seconds: f64,
    processor_seconds: f64,
    write_units: f64,
    at_start: Memory,
    loaded: Memory,
    at_end: Memory,
}

/// Starts a Drive with this many files and a system, connects them, and waits until the operation
/// is done.
pub async fn measure(files: usize) -> (Rig, FirstSync) {
    let at_start = memory();
    let simulator = Simulator::new(drive_simulator::Options::default());
    let folders = (files / 100).max(1);
    let made = simulator.load_synthetic(files, folders);
    let loaded = memory();
    let drive_url = serve(&simulator).await;
    let (system, folder) = Rig::start(drive_url.clone()).await;
    let processor = processor_seconds();
    let began = Instant::now();
    let key = system
        .connect(&credentials(&drive_url), None)
        .await
        .unwrap();
    let (applied, done) = tokio::join!(applied(&system, &key), done(&system, &key));
    let synced = FirstSync {
        files: made.files + made.folders,
        applied_seconds: (applied - began).as_secs_f64(),
        done_seconds: (done - began).as_secs_f64(),
        processor_seconds: processor_seconds() - processor,
        write_units: system.aws.dynamodb().counters().write_units,
        at_start,
        loaded,
        at_end: memory(),
    };
    let rig = Rig::new(simulator, system, key, folder);
    rig.watched().await;
    (rig, synced)
}

/// The time at which every listed file had been received from the queue.
async fn applied(system: &System, key: &ConnectionKey) -> Instant {
    until("the listing is applied", async || {
        let listed = state(system, key)
            .await
            .is_some_and(|state| state != OperationState::Listing);
        let depth = system.aws.sqs().depth(Queue::SnapshotsBulk.name()).unwrap();
        (listed && depth.visible + depth.in_flight == 0).then(Instant::now)
    })
    .await
}

async fn done(system: &System, key: &ConnectionKey) -> Instant {
    until("the first sync is done", async || {
        is_done(system, key).await.then(Instant::now)
    })
    .await
}

/// Returns whether the first sync is done.
pub async fn is_done(system: &System, key: &ConnectionKey) -> bool {
    state(system, key).await == Some(OperationState::Done)
}

async fn state(system: &System, key: &ConnectionKey) -> Option<OperationState> {
    let store = &system.functions.sweep.store;
    let page = store
        .list_operations(key, &PageRequest::first(1))
        .await
        .unwrap();
    page.items
        .into_iter()
        .next()
        .map(|operation| operation.state())
}

impl FirstSync {
    pub fn report(&self, report: &mut Report) {
        let files = count(self.files);
        report.part("First sync: from the creation of the connection, on disk, history kept");
        report.against(
            "end to end, until the operation is done",
            files / self.done_seconds,
            "files/s",
            Target::AtLeast(RATE_MIN),
        );
        report.line(
            "until the last file was applied",
            files / self.applied_seconds,
            "files/s",
        );
        report.line("items (folders included)", files, "");
        report.line("time until done", self.done_seconds, "s");
        report.line(
            "processor time of everything, Drive included",
            1e3 * self.processor_seconds / files,
            "ms/file",
        );
        report.line(
            "write units per file (with its indexes and history)",
            self.write_units / files,
            "units",
        );
        report.part(&format!(
            "Memory of the whole process, {} items",
            self.files
        ));
        report.line("before anything", self.at_start.now_mb, "MB");
        report.line(
            "held by the simulated Drive",
            self.loaded.now_mb - self.at_start.now_mb,
            "MB",
        );
        report.line("after the first sync", self.at_end.now_mb, "MB");
        report.line("peak (VmHWM)", self.at_end.peak_mb, "MB");
        report.line(
            "peak less the simulated Drive's library",
            self.at_end.peak_mb - (self.loaded.now_mb - self.at_start.now_mb),
            "MB",
        );
    }
}
