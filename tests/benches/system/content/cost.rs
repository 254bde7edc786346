//! The cost of content on AWS: requests and units are counted, the time in Lambda is measured here
//! and assumed there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use domain::FileId;
use domain::content::ContentOutcome;
use drive_simulator::Simulator;
use http::Method;
use local::aws::in_process::{Fault, Layer, fault_layer};
use local::aws::{Queue, Service};

use super::make;
use crate::bare::{Bare, Used};
use crate::cost::price;
use crate::report::{Report, Target, count};

/// Files of one round: of 64 bytes to 4 KB.
const SMALL: usize = 500;
/// Files of the other round, and the bytes of each: a gigabyte together.
const LARGE: (u64, u64) = (4, 250_000_000);
/// The mirror's function has 1,024 MB, the one on the stream 256 MB.
const MIRROR_GB: f64 = 1.0;
const STREAM_GB: f64 = 0.25;
/// Assumptions for a function on AWS: a third of a second for a file's calls to Drive, S3 and the
/// table, and 30 MB/s.
const FILE_SECONDS: f64 = 0.3;
const BYTES_PER_SECOND: f64 = 30e6;
/// The files that one invocation processes at a time.
const FILES_AT_ONCE: f64 = 4.0;

/// Requests to S3, by method; those for parts of an upload are counted separately.
type Requests = Arc<Mutex<BTreeMap<String, u64>>>;

/// The usage up to the end of the sync.
struct Spent {
    write_units: f64,
    read_units: f64,
    sqs_requests: f64,
    s3: BTreeMap<String, u64>,
    used: Used,
}

pub async fn measure(report: &mut Report) {
    let small = || {
        let simulator = Simulator::new(drive_simulator::Options::default());
        simulator.load_synthetic(SMALL, 4);
        simulator
    };
    let (files, bytes) = LARGE;
    let large = || {
        let simulator = Simulator::new(drive_simulator::Options::default());
        for number in 0..files {
            make(&simulator, number, bytes);
        }
        simulator
    };
    report.part(&format!(
        "Content: cost per 1,000 files, of {SMALL} small files, beyond what their records cost"
    ));
    let seconds = FILE_SECONDS * count(SMALL) / FILES_AT_ONCE;
    round(report, small, 1_000.0 / count(SMALL), seconds, None).await;
    report.part(&format!(
        "Content: cost per GB, of {files} files of {} MB each, beyond what their records cost",
        bytes / 1_000_000
    ));
    let seconds =
        FILE_SECONDS * count(files) / FILES_AT_ONCE + count(files * bytes) / BYTES_PER_SECOND;
    let target = Some(Target::AtMost(0.01));
    round(report, large, 1e9 / count(files * bytes), seconds, target).await;
    report.line("storage, a GB for a month", price::S3_GB_MONTH, "dollars");
    report.note(
        "counted: what a first sync with content uses, less what one without content \
        uses; Lambda reads the table's",
    );
    report.note(
        "stream for nothing, and what comes in from Drive is not paid for; DELETE of S3 \
        is free; logs are left out",
    );
    report.note(
        "assumed: the mirror with 1,024 MB, arm64, 0.3 s a file, four files at a time, \
        and 30 MB/s for an invocation",
    );
}

/// Mirrors a Drive once with its content and once without, and prints the difference, times
/// `scale`.
async fn round(
    report: &mut Report,
    drive: impl Fn() -> Simulator,
    scale: f64,
    assumed_seconds: f64,
    target: Option<Target>,
) {
    let without = spent(drive(), false).await;
    let with = spent(drive(), true).await;
    let write_units = scale * (with.write_units - without.write_units);
    let read_units = scale * (with.read_units - without.read_units);
    let sqs_requests = scale * (with.sqs_requests - without.sqs_requests);
    let of = |kinds: &[&str]| {
        let counted = with.s3.iter();
        let counted = counted.filter(|(name, _)| kinds.iter().any(|kind| name.starts_with(kind)));
        scale * count(counted.map(|(_, requests)| requests).sum::<u64>())
    };
    let (s3_writes, s3_reads) = (of(&["PUT", "POST", "GET ?"]), of(&["GET /", "HEAD"]));
    let queues = [Queue::Content, Queue::ContentBulk];
    let invoked = |queue| count(with.used.invocations.get(queue).copied().unwrap_or(0));
    let invocations = scale * (queues.iter().map(invoked).sum::<f64>() + count(with.used.stream.0));
    let took = |queue| with.used.seconds.get(queue).copied().unwrap_or(0.0);
    let measured = scale * queues.iter().map(took).sum::<f64>();
    let stream = scale * with.used.stream.1 * STREAM_GB;
    report.line("S3: PUT, POST and LIST", s3_writes, "requests");
    report.line("S3: GET and HEAD", s3_reads, "requests");
    report.line("DynamoDB: write units", write_units, "units");
    report.line("DynamoDB: read units", read_units, "units");
    report.line("SQS, as billed", sqs_requests, "requests");
    report.line("invocations", invocations, "");
    report.line(
        "Lambda, as long as it took here",
        measured * MIRROR_GB + stream,
        "GB-s",
    );
    let calls = s3_writes * price::S3_WRITE
        + s3_reads * price::S3_READ
        + write_units * price::WRITE_UNIT
        + read_units * price::READ_UNIT
        + sqs_requests * price::SQS_REQUEST
        + invocations * price::INVOCATION;
    let dollars = |gb_seconds: f64| calls + gb_seconds * price::GB_SECOND;
    let here = dollars(measured * MIRROR_GB + stream);
    let there = dollars(scale * assumed_seconds * MIRROR_GB + stream);
    let mut line = |name: &str, dollars: f64| match target {
        Some(target) => report.against(name, dollars, "dollars", target),
        None => report.line(name, dollars, "dollars"),
    };
    line("all of it, Lambda as long as it took here", here);
    line("all of it, Lambda as long as is assumed there", there);
    let counted: Vec<String> = with.s3.iter().map(|(n, c)| format!("{n} {c}")).collect();
    report.note(&format!("asked of S3 (not scaled): {}", counted.join(", ")));
}

async fn spent(simulator: Simulator, content: bool) -> Spent {
    let requests = Requests::default();
    let mut bare = Bare::connected(simulator, content, Some(counting(&requests))).await;
    bare.pump().await;
    let table = bare.aws.dynamodb().counters();
    let spent = Spent {
        write_units: table.write_units,
        read_units: table.read_units,
        sqs_requests: count(bare.aws.sqs().counters().billed_requests),
        s3: requests.lock().unwrap().clone(),
        used: bare.used.clone(),
    };
    if content {
        all_stored(&bare).await;
    }
    spent
}

/// Results without all files stored would be meaningless.
async fn all_stored(bare: &Bare) {
    let store = &bare.functions.sweep.store;
    for id in bare.simulator.file_ids() {
        let folder =
            bare.simulator.file(&id).unwrap().mime_type == "application/vnd.google-apps.folder";
        let file = FileId::parse(&id).unwrap();
        let state = store.load_content(&bare.key, &file).await.unwrap();
        let stored = matches!(state.outcome, Some((_, ContentOutcome::Stored)));
        assert!(folder || stored, "{id} is not stored: {state:?}");
    }
}

/// Returns a layer that counts requests to S3 by method, and by object, part of an upload or list.
fn counting(requests: &Requests) -> Layer {
    let requests = requests.clone();
    fault_layer(Arc::new(move |request| {
        let header = request.headers().get(http::header::HOST);
        let header = header.and_then(|host| host.to_str().ok());
        let host = request.uri().authority().map(http::uri::Authority::as_str);
        if host.or(header) == Some(Service::S3.host()) {
            let query = request.uri().query().unwrap_or_default();
            let kind = match (request.method(), query.contains("uploadId=")) {
                // A GET that lists parts costs as much as a write.
                (&Method::GET, true) => "GET ?uploadId".to_owned(),
                (method, true) => format!("{method} ?uploadId"),
                (method, false) if query.contains("uploads") => format!("{method} ?uploads"),
                (method, false) => format!("{method} /"),
            };
            *requests.lock().unwrap().entry(kind).or_default() += 1;
        }
        Fault::None
    }))
}
