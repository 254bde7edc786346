//! The other direction: edits through the API, until Drive has confirmed them.

use std::time::Instant;

use futures_util::{StreamExt as _, stream};
use http::Method;
use serde_json::json;

use crate::report::{Report, count, quantile};
use crate::rig::{Rig, calls_since, described};

const EDITS: usize = 500;
/// The concurrent callers of the API.
const CALLERS: usize = 16;

pub async fn measure(report: &mut Report, rig: &Rig) {
    rig.notifications(true);
    rig.drained().await;
    let files = rig.files(EDITS);
    let mark = format!("pushed at {}", rig.system.now().as_millis());
    let dynamodb = rig.system.aws.dynamodb();
    let units = dynamodb.counters().write_units;
    let calls = rig.simulator.counters().calls;
    let began = Instant::now();
    let edits = stream::iter(&files)
        .map(|id| edit(rig, id, &mark))
        .buffer_unordered(CALLERS);
    let mut took: Vec<f64> = edits.collect().await;
    let accepted = began.elapsed().as_secs_f64();
    let accepted_units = dynamodb.counters().write_units - units;
    let settled = |record: &domain::FileRecord| described(record, &mark) && record.due().is_none();
    let tenths = rig.shown(&files, settled).await;
    let pushed = (*tenths.last().unwrap() - began).as_secs_f64();
    let missing = files
        .iter()
        .filter(|id| {
            rig.simulator
                .file(id)
                .is_none_or(|file| file.description != mark)
        })
        .count();
    // Drive reports our own writes too; that is part of their cost.
    rig.drained().await;
    let units = dynamodb.counters().write_units - units;
    let calls = calls_since(&rig.simulator, &calls);
    let per_push = |calls: u64| count(calls) / count(files.len());
    took.sort_by(f64::total_cmp);
    report.part(&format!(
        "Push: {} edits through the API, {CALLERS} at a time, until Drive has confirmed all",
        files.len()
    ));
    report.line(
        "edits confirmed by Drive, end to end",
        count(files.len()) / pushed,
        "edits/s",
    );
    report.line(
        "edits accepted by the API",
        count(files.len()) / accepted,
        "edits/s",
    );
    report.line("an edit at the API, p50", quantile(&took, 0.5), "ms");
    report.line("an edit at the API, p95", quantile(&took, 0.95), "ms");
    report.line(
        "write units per push, edit, claim, confirm and echo together",
        units / count(files.len()),
        "units",
    );
    report.line(
        "  of these about what was written while edits were accepted",
        accepted_units / count(files.len()),
        "units",
    );
    report.line(
        "Drive calls per push",
        per_push(calls.values().sum()),
        "calls",
    );
    for (method, calls) in calls {
        report.line(&format!("  {method}"), per_push(calls), "calls");
    }
    if missing > 0 {
        report.note(&format!(
            "{missing} edits are NOT in Drive although their intents are gone"
        ));
    }
}

/// Edits one file and returns the time that the API took, in milliseconds.
async fn edit(rig: &Rig, id: &str, mark: &str) -> f64 {
    let path = format!("/v1/connections/{}/files/{id}", rig.key.connection);
    let at = Instant::now();
    let body = Some(json!({ "description": mark }));
    let (status, body) = rig
        .system
        .call(Method::PATCH, &path, &[("if-match", "*")], body)
        .await;
    assert_eq!(status, 200, "{body}");
    at.elapsed().as_secs_f64() * 1e3
}
