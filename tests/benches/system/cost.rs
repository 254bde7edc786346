//! The cost of a change on AWS: units and requests are counted, the time in Lambda is assumed.

use std::time::Duration;

use drive_simulator::{Edit, Simulator};
use local::aws::Queue;

use crate::bare::{Bare, Used};
use crate::real::meter::pace_writes;
use crate::report::{Report, Target, count};
use crate::rig::{OwnChannel, described};

const FILES: usize = 1_000;
/// The changes of one notification.
const PER_NOTIFICATION: usize = 10;
/// The prices of AWS in dollars, us-east-1, on demand, without free tiers.
pub mod price {
    pub const WRITE_UNIT: f64 = 0.625e-6;
    pub const READ_UNIT: f64 = 0.125e-6;
    pub const SQS_REQUEST: f64 = 0.5e-6;
    pub const HTTP_REQUEST: f64 = 1.0e-6;
    pub const INVOCATION: f64 = 0.2e-6;
    pub const GB_SECOND: f64 = 0.000_013_333_4;
    pub const LOG_BYTE: f64 = 0.5e-9;
    /// S3, standard class: PUT, COPY, POST and LIST.
    pub const S3_WRITE: f64 = 5.0e-6;
    /// S3: GET and all others except DELETE, which is free.
    pub const S3_READ: f64 = 0.4e-6;
    /// S3, standard class, up to 50 TB: a gigabyte for a month.
    pub const S3_GB_MONTH: f64 = 0.023;
}
/// Assumptions: GB-seconds of an invocation on arm64, and bytes of logs for a change.
mod assumed {
    /// 256 MB for 20 ms: a read and a send.
    pub(super) const RECEIVE: f64 = 0.25 * 0.020;
    /// 512 MB for 0.6 s: it waits for Drive.
    pub(super) const FETCH: f64 = 0.5 * 0.6;
    /// 256 MB for 110 ms: ten sequential writes of 8 ms and 30 ms of calls. An upper bound, as the
    /// writes are concurrent.
    pub(super) const APPLY: f64 = 0.25 * 0.110;
    pub(super) const LOG_BYTES_PER_CHANGE: f64 = 300.0;
}

/// The usage of a round of changes.
struct Round {
    changes: f64,
    notifications: f64,
    write_units: f64,
    read_units: f64,
    sqs_requests: f64,
    /// Writes of the connection's rate limit.
    pace_writes: f64,
    used: Used,
}

pub async fn measure(report: &mut Report) {
    let mut bare = Bare::start(FILES).await;
    let channel = OwnChannel::open(bare.functions.receive_notification.clone(), &bare.key).await;
    report.part("Cost per change: 10 changes to a notification, every batch full");
    for (name, history_days, dollars_max, units_max) in [
        ("no history", None, 2.0, 1.0),
        ("history kept", Some(90), 3.0, 2.0),
    ] {
        bare.keep_history(history_days);
        let apart = round(&mut bare, &channel, name, 1).await;
        let together = round(&mut bare, &channel, name, 10).await;
        let applied = together
            .used
            .write_units
            .get(&Queue::Snapshots)
            .copied()
            .unwrap_or(0.0);
        report.against(
            &format!("{name}: write units of the update itself"),
            applied / together.changes,
            "units",
            Target::AtMost(units_max),
        );
        for (pace, round) in [
            ("each notification a wake of its own", apart),
            ("ten notifications a wake", together),
        ] {
            let line = |what: &str| format!("  {pace}: {what}");
            report.line(
                &line("write units"),
                round.write_units / round.changes,
                "units",
            );
            report.line(
                &line("read units"),
                round.read_units / round.changes,
                "units",
            );
            report.line(
                &line("of the write units for the pace of the calls"),
                round.pace_writes / round.changes,
                "units",
            );
            report.against(
                &line("SQS requests"),
                round.sqs_requests / round.changes,
                "requests",
                Target::AtMost(0.4),
            );
            report.against(
                &line("1 million changes"),
                round.dollars(),
                "dollars",
                Target::Below(dollars_max),
            );
        }
    }
    report.note(
        "write and read units and SQS requests (as billed: send, receive, delete) are \
        counted, cursor and wakes included",
    );
    report.note(
        "batches are as full as can be, and ten notifications come at one moment: on AWS \
        a poller may take fewer at a",
    );
    report.note(
        "time, and each receive, delete and invocation is paid for fewer changes: this \
        is the least that it costs",
    );
    report.note(
        "assumed: fetch-changes 512 MB x 0.6 s, apply-snapshots 256 MB x 0.11 s a batch, \
        receive-notification 256 MB x 0.02 s,",
    );
    report.note(
        "arm64; 300 bytes of logs a change; prices of us-east-1 on demand without free \
        tiers; what runs by time (the sweep,",
    );
    report.note("pollers of empty queues) is not of a change and left out");
}

/// Edits every file once, with a pause after each batch of notifications.
async fn round(
    bare: &mut Bare,
    channel: &OwnChannel,
    name: &str,
    notifications_at_once: usize,
) -> Round {
    let mark = format!("{name} {notifications_at_once}");
    let files: Vec<String> = bare.simulator.file_ids().split_off(4);
    bare.pass(Duration::from_secs(60));
    let (dynamodb, sqs) = (bare.aws.dynamodb().clone(), bare.aws.sqs().clone());
    let (units, requests) = (dynamodb.counters(), sqs.counters().billed_requests);
    bare.used = Used::default();
    let store = bare.functions.sweep.store.clone();
    let paced = pace_writes(&store, &bare.key).await;
    let mut notifications = 0_u64;
    for moment in files.chunks(PER_NOTIFICATION * notifications_at_once) {
        for part in moment.chunks(PER_NOTIFICATION) {
            for id in part {
                bare.simulator
                    .apply(Simulator::library_owner(), id, Edit::Describe(mark.clone()))
                    .unwrap();
            }
            channel.notify().await;
            notifications += 1;
        }
        bare.pump().await;
        bare.pass(Duration::from_secs(2));
    }
    let now = dynamodb.counters();
    let round = Round {
        changes: count(files.len()),
        notifications: count(notifications),
        write_units: now.write_units - units.write_units,
        read_units: now.read_units - units.read_units,
        sqs_requests: count(sqs.counters().billed_requests - requests),
        pace_writes: count(pace_writes(&store, &bare.key).await - paced),
        used: bare.used.clone(),
    };
    arrived(bare, &files, &mark).await;
    round
}

/// Results without all changes applied would be meaningless.
async fn arrived(bare: &Bare, files: &[String], mark: &str) {
    let ids: Vec<_> = files
        .iter()
        .map(|id| domain::FileId::parse(id).unwrap())
        .collect();
    let records = bare
        .functions
        .sweep
        .store
        .load_files(&bare.key, &ids)
        .await
        .unwrap();
    let shown = records
        .values()
        .filter(|record| described(record, mark))
        .count();
    assert_eq!(shown, files.len(), "not every edit is in its record");
}

impl Round {
    /// Returns the dollars for a million changes like these.
    fn dollars(&self) -> f64 {
        let invoked = |queue| count(self.used.invocations.get(&queue).copied().unwrap_or(0));
        let (fetches, applies) = (invoked(Queue::LogWakes), invoked(Queue::Snapshots));
        let gb_seconds = self.notifications * assumed::RECEIVE
            + fetches * assumed::FETCH
            + applies * assumed::APPLY;
        let all = self.write_units * price::WRITE_UNIT
            + self.read_units * price::READ_UNIT
            + self.sqs_requests * price::SQS_REQUEST
            + self.notifications * price::HTTP_REQUEST
            + (self.notifications + fetches + applies) * price::INVOCATION
            + gb_seconds * price::GB_SECOND
            + self.changes * assumed::LOG_BYTES_PER_CHANGE * price::LOG_BYTE;
        1e6 * all / self.changes
    }
}
