//! The usage of Drive, of the table and of the queues.

use domain::ConnectionKey;
use drive_simulator::Counters;
use store::Store;

use crate::report::{Report, count};
use crate::rig::{Rig, calls_since};

/// Operations of DynamoDB that write.
const WRITES: [&str; 5] = [
    "PutItem",
    "UpdateItem",
    "DeleteItem",
    "TransactWriteItems",
    "BatchWriteItem",
];

/// The counters at the start of a measurement.
pub struct Meter {
    drive: Counters,
    table: local::aws::dynamodb::Counters,
    requests: u64,
    paced: u64,
}

/// The writes of the connection's rate limit: each one increments its revision.
pub async fn pace_writes(store: &Store, key: &ConnectionKey) -> u64 {
    let paced = store.load_rate_limit(key).await.unwrap();
    paced.map_or(0, |paced| paced.revision)
}

impl Meter {
    pub async fn begin(rig: &Rig) -> Self {
        Self {
            drive: rig.simulator.counters(),
            table: rig.system.aws.dynamodb().counters(),
            requests: rig.system.aws.sqs().counters().billed_requests,
            paced: pace_writes(rig.store(), &rig.key).await,
        }
    }

    /// Returns the quota units since then.
    pub fn units(&self, rig: &Rig) -> f64 {
        count(rig.simulator.counters().quota_units - self.drive.quota_units)
    }

    /// Prints the usage since then, and the given seconds.
    pub async fn report(&self, report: &mut Report, rig: &Rig, seconds: f64) {
        let calls = calls_since(&rig.simulator, &self.drive.calls);
        let table = rig.system.aws.dynamodb().counters();
        let writes = |counters: &local::aws::dynamodb::Counters| -> u64 {
            WRITES
                .iter()
                .filter_map(|name| counters.calls.get(*name))
                .sum()
        };
        let requests = rig.system.aws.sqs().counters().billed_requests - self.requests;
        report.line("until our records show it", seconds, "s");
        report.line("calls of Drive", count(calls.values().sum::<u64>()), "");
        report.line("quota units of Drive", self.units(rig), "units");
        let written = count(writes(&table) - writes(&self.table));
        report.line("writes to DynamoDB", written, "requests");
        let paced = count(pace_writes(rig.store(), &rig.key).await - self.paced);
        report.line("  of these for the pace of the calls", paced, "requests");
        report.line("  that is", 100.0 * paced / written.max(1.0), "%");
        report.line(
            "write units of DynamoDB (history and indexes included)",
            table.write_units - self.table.write_units,
            "units",
        );
        report.line("requests to SQS, as billed", count(requests), "");
        let calls: Vec<String> = calls
            .iter()
            .map(|(name, calls)| format!("{name} {calls}"))
            .collect();
        report.note(&format!("called: {}", calls.join(", ")));
    }
}
