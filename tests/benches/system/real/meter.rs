//! What something used: of Drive, of the table, of the queues.

use drive_simulator::Counters;

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

/// The counters as they stood when something began.
pub struct Meter {
    drive: Counters,
    table: local::aws::dynamodb::Counters,
    requests: u64,
}

impl Meter {
    pub fn begin(rig: &Rig) -> Self {
        Self {
            drive: rig.simulator.counters(),
            table: rig.system.aws.dynamodb().counters(),
            requests: rig.system.aws.sqs().counters().billed_requests,
        }
    }

    /// Quota units since then.
    pub fn units(&self, rig: &Rig) -> f64 {
        count(rig.simulator.counters().quota_units - self.drive.quota_units)
    }

    /// Prints everything since then, and the seconds that somebody took the time of.
    pub fn report(&self, report: &mut Report, rig: &Rig, seconds: f64) {
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
        report.line(
            "writes to DynamoDB",
            count(writes(&table) - writes(&self.table)),
            "requests",
        );
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
