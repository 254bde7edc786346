//! The latency from an edit in Drive to our record, at a low rate.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use domain::FileId;
use drive_simulator::{Edit, Simulator};

use crate::report::{Report, Target, quantile};
use crate::rig::{Rig, described};

const EDITS_PER_SECOND: u64 = 20;
const SECONDS: u64 = 10;
/// Edits without other load.
const ALONE: usize = 6;
const ALONE_EVERY: Duration = Duration::from_secs(3);
/// The interval at which the records are read.
const LOOK_EVERY: Duration = Duration::from_millis(5);

pub async fn measure(report: &mut Report, rig: &Rig) {
    rig.notifications(true);
    rig.drained().await;
    let total = usize::try_from(EDITS_PER_SECOND * SECONDS).unwrap();
    let files = rig.files(total);
    let pause = Duration::from_millis(1_000 / EDITS_PER_SECOND);
    let stream = edit_and_look(rig, &files, pause).await;
    let alone = edit_and_look(rig, &rig.files(ALONE), ALONE_EVERY).await;
    report.part("Latency: from an edit in Drive to our record, notification over HTTP included");
    let rounds = [
        (
            format!("{EDITS_PER_SECOND} edits/s for {SECONDS} s"),
            stream,
        ),
        (
            format!("{ALONE} edits, one every {} s", ALONE_EVERY.as_secs()),
            alone,
        ),
    ];
    for (name, mut delays) in rounds {
        delays.sort_by(f64::total_cmp);
        report.line(&format!("{name}: p50"), quantile(&delays, 0.5), "s");
        report.against(
            &format!("{name}: p95"),
            quantile(&delays, 0.95),
            "s",
            Target::Below(2.5),
        );
        report.line(&format!("{name}: max"), quantile(&delays, 1.0), "s");
    }
    report.note(
        "includes the 1 s for which a wake is held back to coalesce: an edit alone waits \
        all of it, one in a stream",
    );
    report.note("is brought by the wakes of those before it; records are looked at every 5 ms");
}

async fn edit_and_look(rig: &Rig, files: &[String], pause: Duration) -> Vec<f64> {
    let mark = format!("timed at {}", rig.system.now().as_millis());
    let mut outstanding: HashMap<FileId, Instant> = HashMap::new();
    let mut delays = Vec::with_capacity(files.len());
    let mut waiting = files.iter();
    let began = Instant::now();
    let mut due = began;
    while waiting.len() > 0 || !outstanding.is_empty() {
        while Instant::now() >= due
            && let Some(id) = waiting.next()
        {
            outstanding.insert(FileId::parse(id).unwrap(), Instant::now());
            rig.simulator
                .apply(Simulator::library_owner(), id, Edit::Describe(mark.clone()))
                .unwrap();
            due += pause;
        }
        let ids: Vec<FileId> = outstanding.keys().cloned().collect();
        let records = rig.store().load_files(&rig.key, &ids).await.unwrap();
        for (id, record) in records {
            if described(&record, &mark)
                && let Some(at) = outstanding.remove(&id)
            {
                delays.push(at.elapsed().as_secs_f64());
            }
        }
        assert!(
            began.elapsed() < Duration::from_secs(120),
            "{} edits never showed",
            outstanding.len()
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
    delays
}
