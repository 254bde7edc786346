//! A burst of notifications on one log, and its cost in calls to Drive.

use std::time::{Duration, Instant};

use crate::report::{Report, Target, count, quantile};
use crate::rig::{OwnChannel, Rig, calls_since};

const NOTIFICATIONS: u32 = 10_000;
const SPAN: Duration = Duration::from_secs(10);

pub async fn measure(report: &mut Report, rig: &Rig) {
    rig.notifications(false);
    rig.drained().await;
    let channel =
        OwnChannel::open(rig.system.functions.receive_notification.clone(), &rig.key).await;
    let calls = rig.simulator.counters().calls;
    let mut took = Vec::new();
    let began = Instant::now();
    for number in 0..NOTIFICATIONS {
        let due = began + SPAN * number / NOTIFICATIONS;
        tokio::time::sleep_until(due.into()).await;
        let at = Instant::now();
        channel.notify().await;
        took.push(at.elapsed().as_secs_f64() * 1e3);
    }
    let span = began.elapsed();
    rig.drained().await;
    took.sort_by(f64::total_cmp);
    let lists = calls_since(&rig.simulator, &calls)
        .get("changes.list")
        .copied()
        .unwrap_or(0);
    report.part(&format!(
        "Burst: {NOTIFICATIONS} notifications on one log, nothing changed"
    ));
    report.line("they were handed over within", span.as_secs_f64(), "s");
    report.against(
        "calls of changes.list (all of them beyond pages of changes)",
        count(lists),
        "",
        Target::AtMost(21.0),
    );
    report.line("receive-notification, p50", quantile(&took, 0.5), "ms");
    report.line("receive-notification, p99", quantile(&took, 0.99), "ms");
    rig.notifications(true);
}
