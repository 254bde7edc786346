//! The steady state: people edit, and every edit shows in our records.

use std::time::Instant;

use drive_simulator::{Edit, Simulator};

use crate::first_sync::RATE_MIN;
use crate::report::{Report, Target, count};
use crate::resources::processor_seconds;
use crate::rig::{OwnChannel, Rig, calls_since, described};

/// The changes of one notification, which Drive coalesces.
const PER_NOTIFICATION: usize = 10;

pub async fn measure(report: &mut Report, rig: &Rig, edits: usize) {
    let files = rig.files(edits);
    report.part(&format!(
        "Steady state: {} files edited as fast as the pipeline takes them, history kept",
        files.len()
    ));
    rig.notifications(false);
    let channel =
        OwnChannel::open(rig.system.functions.receive_notification.clone(), &rig.key).await;
    round(
        report,
        rig,
        &files,
        "10 changes per notification",
        Some(&channel),
    )
    .await;
    rig.notifications(true);
    round(
        report,
        rig,
        &files,
        "1 change per notification, over HTTP",
        None,
    )
    .await;
    report.note("the times include the 1 s for which wakes are held back to coalesce");
}

async fn round(
    report: &mut Report,
    rig: &Rig,
    files: &[String],
    name: &str,
    channel: Option<&OwnChannel>,
) {
    let mark = format!("edited at {}", rig.system.now().as_millis());
    let calls = rig.simulator.counters().calls;
    let processor = processor_seconds();
    let began = Instant::now();
    let edit = async {
        for part in files.chunks(PER_NOTIFICATION) {
            for id in part {
                rig.simulator
                    .apply(Simulator::library_owner(), id, Edit::Describe(mark.clone()))
                    .unwrap();
            }
            match channel {
                Some(channel) => channel.notify().await,
                None => tokio::task::yield_now().await,
            }
        }
        Instant::now()
    };
    let shown = rig.shown(files, |record| described(record, &mark));
    let (edited, tenths) = tokio::join!(edit, shown);
    let processor = processor_seconds() - processor;
    let seconds = |at: Instant| (at - began).as_secs_f64();
    let [first, .., ninth, last] = tenths.as_slice() else {
        return;
    };
    let lists = calls_since(&rig.simulator, &calls)
        .get("changes.list")
        .copied()
        .unwrap_or(0);
    report.against(
        &format!("end to end, {name}"),
        count(files.len()) / seconds(*last),
        "changes/s",
        Target::AtLeast(RATE_MIN),
    );
    report.line(
        "  from the first tenth shown to the ninth",
        0.8 * count(files.len()) / (*ninth - *first).as_secs_f64(),
        "changes/s",
    );
    report.line("  time until all shown", seconds(*last), "s");
    report.line("  time that the editing itself took", seconds(edited), "s");
    report.line("  calls of changes.list", count(lists), "");
    report.line(
        "  processor time of everything, Drive included",
        1e3 * processor / count(files.len()),
        "ms/change",
    );
    rig.drained().await;
}
