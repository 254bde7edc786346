//! People and the application edit at a steady rate, and Drive rejects one call in twenty. The same
//! edits are made twice, without and with faults: the calls of the first round are the necessary
//! ones.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use domain::{Field, FileId, FileRecord, Value};
use drive_simulator::{Edit, Fault, Simulator};
use futures_util::{StreamExt as _, stream};
use http::Method;
use local::aws::Queue;
use serde_json::json;
use sqs_fifo::Deleted;
use tokio::time::MissedTickBehavior;

use crate::first_sync;
use crate::real::meter::pace_writes;
use crate::report::{Report, Target, count};
use crate::rig::{Rig, calls_since};

const FILES: usize = 3_000;
/// The edits of each side per second, and their duration in seconds.
const PER_SECOND: u64 = 25;
const SECONDS: u64 = 60;
/// The percentage of Drive's responses that are rejections, split evenly between three kinds.
const REFUSED_PERCENT: f64 = 5.0;
/// The most time that a round may take to arrive.
const BOUND: Duration = Duration::from_secs(600);
/// The property that the application writes.
const PROPERTY: &str = "measured";

/// The last value of each file, by its id.
type Last = BTreeMap<String, String>;

/// One round of edits.
struct Round {
    edits: usize,
    edited_seconds: f64,
    arrived_seconds: f64,
    lost: usize,
    questions: usize,
    calls: BTreeMap<String, u64>,
    refused: u64,
    deleted: Deleted,
    pace_writes: u64,
}

pub async fn measure(report: &mut Report) {
    let (rig, _) = first_sync::measure(FILES).await;
    rig.drained().await;
    faster(&rig).await;
    report.part(&format!(
        "Faults: {} edits/s for {SECONDS} s over {FILES} files, half of them by people in Drive, \
            half through the API",
        2 * PER_SECOND
    ));
    let sound = round(&rig, 1).await;
    refuse(&rig);
    let refused = round(&rig, 2).await;
    rig.simulator.clear_faults();
    for (name, round) in [("no faults", &sound), ("faults", &refused)] {
        describe(report, name, round);
    }
    let attempts = |round: &Round| count(round.calls.values().sum::<u64>());
    report.against(
        "faults: edits lost",
        count(refused.lost),
        "edits",
        Target::AtMost(0.0),
    );
    report.against(
        "faults: calls attempted, for each that is necessary",
        attempts(&refused) / attempts(&sound),
        "calls",
        Target::AtMost(1.2),
    );
    report.against(
        "faults: messages dealt with at their first delivery",
        100.0 * count(refused.deleted.at_first) / count(refused.deleted.all),
        "%",
        Target::AtLeast(99.5),
    );
    report.note(
        "necessary: the calls of the round without faults, which makes the same edits; a \
        batch counts as one call, and",
    );
    report.note(
        "each call inside it as one more. Refused: 403 userRateLimitExceeded, 429 and \
        503, drawn by chance, batches too.",
    );
    for (method, calls) in &refused.calls {
        let before = sound.calls.get(method).copied().unwrap_or(0);
        report.note(&format!(
            "{method}: {before} without faults, {calls} with them"
        ));
    }
    rig.stop().await;
}

fn describe(report: &mut Report, name: &str, round: &Round) {
    let line = |report: &mut Report, what: &str, value: f64, unit: &str| {
        report.line(&format!("{name}: {what}"), value, unit);
    };
    line(report, "edits", count(round.edits), "edits");
    line(
        report,
        "time that the editing took",
        round.edited_seconds,
        "s",
    );
    line(
        report,
        "from the last edit until all has arrived",
        round.arrived_seconds,
        "s",
    );
    line(report, "edits lost", count(round.lost), "edits");
    line(
        report,
        "writes of unknown fate that were put before a person",
        count(round.questions),
        "",
    );
    let calls: u64 = round.calls.values().sum();
    line(report, "calls of Drive attempted", count(calls), "calls");
    line(report, "answers refused", count(round.refused), "answers");
    line(
        report,
        "answers refused",
        100.0 * count(round.refused) / count(calls),
        "%",
    );
    line(report, "messages dealt with", count(round.deleted.all), "");
    line(
        report,
        "  of these not at their first delivery",
        count(round.deleted.all - round.deleted.at_first),
        "",
    );
    line(
        report,
        "writes of the pace",
        count(round.pace_writes),
        "requests",
    );
}

/// Twice the rate that the edits need, so that the adaptive rate can move in both directions.
async fn faster(rig: &Rig) {
    let path = format!("/v1/connections/{}", rig.key.connection);
    let per_minute = 2 * 60 * PER_SECOND;
    let limits = json!({"limits": {
        "writes_base_per_minute": per_minute, "writes_max_per_minute": 2 * per_minute,
    }});
    let (status, body) = rig
        .system
        .call(Method::PATCH, &path, &[("if-match", "*")], Some(limits))
        .await;
    assert_eq!(status, 200, "{body}");
}

/// Makes Drive reject a share of all calls, including whole batches.
fn refuse(rig: &Rig) {
    let kinds = [
        (403, "userRateLimitExceeded"),
        (429, "rateLimitExceeded"),
        (503, "backendError"),
    ];
    for pattern in ["* /drive/*", "* /batch/*"] {
        // Each kind is drawn from the calls that the kinds before it let pass.
        let mut left = 1.0;
        for (status, reason) in kinds {
            let part = REFUSED_PERCENT / 100.0 / count(kinds.len());
            let fault: Fault = serde_json::from_value(json!({
                "match": pattern, "times": 0, "share": part / left,
                "respond": {"status": status, "reason": reason},
            }))
            .unwrap();
            rig.simulator.add_fault(fault).unwrap();
            left -= part;
        }
    }
}

fn deleted(rig: &Rig) -> Deleted {
    let counters = rig.system.aws.sqs().counters();
    let mut sum = Deleted::default();
    for queue in Queue::ALL {
        let one = counters
            .deleted
            .get(queue.name())
            .copied()
            .unwrap_or_default();
        sum.all += one.all;
        sum.at_first += one.at_first;
    }
    sum
}

async fn round(rig: &Rig, seed: u64) -> Round {
    let files = rig.files(FILES);
    let (drive, messages) = (rig.simulator.counters(), deleted(rig));
    let paced = pace_writes(rig.store(), &rig.key).await;
    let began = Instant::now();
    let (people, (application, mut questions)) = tokio::join!(
        edit_in_drive(rig, &files, seed),
        edit_through_the_api(rig, &files, seed)
    );
    let edited = Instant::now();
    let lost = arrive(rig, &people, &application, &mut questions).await;
    let arrived = Instant::now();
    // The echoes of our writes are part of their cost.
    rig.drained().await;
    let now = deleted(rig);
    Round {
        edits: 2 * usize::try_from(PER_SECOND * SECONDS).unwrap(),
        edited_seconds: (edited - began).as_secs_f64(),
        arrived_seconds: (arrived - edited).as_secs_f64(),
        lost,
        questions,
        calls: calls_since(&rig.simulator, &drive.calls),
        refused: rig.simulator.counters().faults - drive.faults,
        deleted: Deleted {
            all: now.all - messages.all,
            at_first: now.at_first - messages.at_first,
        },
        pace_writes: pace_writes(rig.store(), &rig.key).await - paced,
    }
}

/// Ticks at the rate of one side and catches up when late.
fn ticks() -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(Duration::from_millis(1_000 / PER_SECOND));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    ticks
}

async fn edit_in_drive(rig: &Rig, files: &[String], seed: u64) -> Last {
    let (mut ticks, mut last) = (ticks(), Last::new());
    let mut rng = fastrand::Rng::with_seed(seed);
    for number in 0..PER_SECOND * SECONDS {
        ticks.tick().await;
        let id = rng.choice(files).unwrap();
        let text = format!("by a person, {seed}.{number}");
        let edit = Edit::Describe(text.clone());
        rig.simulator
            .apply(Simulator::library_owner(), id, edit)
            .unwrap();
        last.insert(id.clone(), text);
    }
    last
}

async fn edit_through_the_api(rig: &Rig, files: &[String], seed: u64) -> (Last, usize) {
    let (mut ticks, mut last, mut questions) = (ticks(), Last::new(), 0);
    let mut rng = fastrand::Rng::with_seed(seed + 1_000);
    for number in 0..PER_SECOND * SECONDS {
        ticks.tick().await;
        let id = rng.choice(files).unwrap();
        let text = format!("{seed}.{number}");
        let path = format!("/v1/connections/{}/files/{id}", rig.key.connection);
        let body = Some(json!({"properties": {PROPERTY: &text}}));
        loop {
            let headers = [("if-match", "*")];
            let call = rig
                .system
                .call(Method::PATCH, &path, &headers, body.clone());
            match call.await {
                (200, _) => break,
                (409, _) => questions += decide(rig).await,
                other => panic!("{other:?}"),
            }
        }
        last.insert(id.clone(), text);
    }
    (last, questions)
}

/// Resolves the conflicts of unsure writes, which were unanswered and may have been undone by a
/// person, in favour of the application. Returns their number.
async fn decide(rig: &Rig) -> usize {
    let path = format!("/v1/connections/{}/conflicts", rig.key.connection);
    let open = format!("{path}?status=open&limit=100");
    let (status, listed) = rig.system.call(Method::GET, &open, &[], None).await;
    assert_eq!(status, 200, "{listed}");
    let conflicts = listed["items"].as_array().unwrap();
    for conflict in conflicts {
        assert_eq!(conflict["unsure"], true, "{conflict}");
        let path = format!("{path}/{}/resolution", conflict["id"].as_str().unwrap());
        let choice = Some(json!({"choose": "app"}));
        rig.system.call(Method::POST, &path, &[], choice).await;
    }
    conflicts.len()
}

/// Waits until the last edits are on both sides, and returns the number of those that are not in
/// the end.
async fn arrive(rig: &Rig, people: &Last, application: &Last, questions: &mut usize) -> usize {
    let property = Field::Property(PROPERTY.to_owned());
    let wanted = |field: &Field, last: &Last| -> Vec<(FileId, Field, String)> {
        let files = last.iter();
        files
            .map(|(id, text)| (FileId::parse(id).unwrap(), field.clone(), text.clone()))
            .collect()
    };
    let mut left = wanted(&Field::Description, people);
    left.extend(wanted(&property, application));
    let end = Instant::now() + BOUND;
    loop {
        let parts: Vec<_> = left.chunks(100).map(<[_]>::to_vec).collect();
        let still = stream::iter(parts).then(|part| async move {
            let files: Vec<FileId> = part.iter().map(|(id, ..)| id.clone()).collect();
            let records = rig.store().load_files(&rig.key, &files).await.unwrap();
            let missing = part.into_iter().filter(|(id, field, text)| {
                !records
                    .get(id)
                    .is_some_and(|record| is_everywhere(rig, record, field, text))
            });
            missing.collect::<Vec<_>>()
        });
        left = still.collect::<Vec<_>>().await.concat();
        if left.is_empty() || Instant::now() > end {
            return left.len();
        }
        *questions += decide(rig).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn is_everywhere(rig: &Rig, record: &FileRecord, field: &Field, text: &str) -> bool {
    let Some(file) = rig.simulator.file(record.file.as_str()) else {
        return false;
    };
    let theirs = match field {
        Field::Property(key) => file.properties.get(key).cloned(),
        _ => Some(file.description),
    };
    let sides = record.sides(field);
    let ours = Value::text(text);
    theirs.as_deref() == Some(text) && sides.base == ours && sides.app == ours
}
