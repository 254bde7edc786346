//! Crashes a function's process before and after each call of a flow, and compares the end state
//! with that of an undisturbed run.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::{ConflictStatus, Field, LogId};
use drive_simulator::{Edit, NotificationPolicy};
use http::Method;
use serde_json::{Value, json};
use store::{ConflictFilter, PageRequest};

use super::WORKERS;
use super::play::Bugs;
use crate::support::sim::Side;
use crate::support::sim::{Sim, Start, simulate};

/// A flow of the system, from its trigger to rest.
pub type Flow = (
    &'static str,
    fn(Sim) -> futures_util::future::BoxFuture<'static, ()>,
);

pub const FLOWS: [Flow; 8] = [
    ("people's edits arrive", |sim| Box::pin(people_edit(sim))),
    ("an edit of the application gets to Drive", |sim| {
        Box::pin(application_edits(sim))
    }),
    ("a conflict opens", |sim| Box::pin(conflict_opens(sim))),
    ("a conflict is resolved for the application", |sim| {
        Box::pin(conflict_resolved(sim))
    }),
    ("a file is created, and another deleted", |sim| {
        Box::pin(created_and_deleted(sim))
    }),
    ("a file is deleted in Drive", |sim| {
        Box::pin(deleted_in_drive(sim))
    }),
    ("Drive forgets the cursor", |sim| Box::pin(cursor_lost(sim))),
    ("the channel expires", |sim| Box::pin(channel_renewed(sim))),
];

fn start(bugs: &Bugs) -> Start {
    Start {
        seed: 7,
        files: 2,
        folders: 1,
        mutation: bugs.mutation.map(|mutation| mutation()),
        source_bugs: bugs.source_bugs,
        ..Start::default()
    }
}

/// Returns two files and a folder.
pub fn files(sim: &Sim) -> [String; 3] {
    let ids = sim.simulator().file_ids();
    // The folder was created first.
    [ids[1].clone(), ids[2].clone(), ids[0].clone()]
}

async fn people_edit(sim: Sim) {
    let [one, two, folder] = files(&sim);
    let drive = sim.simulator();
    for (file, edit) in [
        (&one, Edit::Rename("people's".to_owned())),
        (
            &two,
            Edit::Property("stage".to_owned(), Some("draft".to_owned())),
        ),
        (&two, Edit::Trash(true)),
        (&folder, Edit::Rename("the folder".to_owned())),
    ] {
        drive.apply("owner", file, edit).unwrap();
    }
}

async fn application_edits(sim: Sim) {
    let [one, two, _] = files(&sim);
    edit(
        &sim,
        &one,
        json!({"name": "ours", "properties": {"stage": "final"}}),
    )
    .await;
    edit(&sim, &two, json!({"starred": true})).await;
}

/// Both sides write the name, without a notification of Drive's edit.
async fn conflict_opens(sim: Sim) {
    let [one, ..] = files(&sim);
    disable_notifications(&sim);
    sim.simulator()
        .apply("alice", &one, Edit::Rename("hers".to_owned()))
        .unwrap();
    edit(&sim, &one, json!({"name": "ours"})).await;
}

async fn conflict_resolved(sim: Sim) {
    let path = open_conflict(&sim).await;
    ask(&sim, Method::POST, &path, Some(json!({"choose": "app"}))).await;
}

/// Opens a conflict and returns the path of its resolution.
pub async fn open_conflict(sim: &Sim) -> String {
    conflict_opens(sim.clone()).await;
    sim.converge().await.unwrap();
    let listed = ask(sim, Method::GET, "/conflicts?status=open", None).await;
    let id = listed["items"][0]["id"].as_str().unwrap();
    format!("/conflicts/{id}/resolution")
}

async fn created_and_deleted(sim: Sim) {
    let [one, ..] = files(&sim);
    ask(
        &sim,
        Method::POST,
        "/files",
        Some(json!({"name": "made here", "mime_type": "text/plain"})),
    )
    .await;
    ask(&sim, Method::DELETE, &format!("/files/{one}"), None).await;
}

async fn deleted_in_drive(sim: Sim) {
    let [one, two, _] = files(&sim);
    sim.simulator().apply("owner", &one, Edit::Delete).unwrap();
    sim.simulator()
        .apply("alice", &two, Edit::Rename("stays".to_owned()))
        .unwrap();
}

async fn cursor_lost(sim: Sim) {
    let [one, two, _] = files(&sim);
    disable_notifications(&sim);
    sim.simulator()
        .apply("alice", &one, Edit::Rename("unheard of".to_owned()))
        .unwrap();
    sim.simulator().apply("owner", &two, Edit::Delete).unwrap();
    sim.simulator().invalidate_tokens(false, true);
    ask(&sim, Method::POST, "/sync", Some(json!({"mode": "delta"}))).await;
}

async fn channel_renewed(sim: Sim) {
    let [one, ..] = files(&sim);
    sim.jump(Duration::from_secs(6 * 86_400));
    sim.sweep().await;
    sim.simulator()
        .apply("alice", &one, Edit::Rename("much later".to_owned()))
        .unwrap();
    sim.sweep().await;
}

fn disable_notifications(sim: &Sim) {
    sim.simulator().set_notifications(NotificationPolicy {
        silent: true,
        ..NotificationPolicy::default()
    });
}

pub async fn edit(sim: &Sim, file: &str, fields: Value) {
    ask(sim, Method::PATCH, &format!("/files/{file}"), Some(fields)).await;
}

/// Repeats a request until it is answered, as programs do, with the same key each time.
pub async fn ask(sim: &Sim, method: Method, path: &str, body: Option<Value>) -> Value {
    let headers = [("if-match", "*"), ("idempotency-key", path)];
    for _ in 0..10 {
        match sim.api(method.clone(), path, &headers, body.clone()).await {
            Some(reply) if reply.status < 300 => return reply.body,
            Some(reply) if reply.status < 500 => panic!("{method} {path}: {reply:?}"),
            Some(_) | None => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    panic!("{method} {path} is not answered");
}

/// Returns the state of a world, without the parts that differ between runs: generated ids, times,
/// versions, counts of attempts.
async fn state(sim: &Sim) -> BTreeSet<String> {
    let mut state = BTreeSet::new();
    for (file, record) in sim.records().await {
        let name = record.app(&Field::Name);
        let known = sim.recording().is_first(file.as_str());
        let id = if known {
            file.to_string()
        } else {
            "made".to_owned()
        };
        let presence = match record.presence {
            domain::Presence::Gone(gone, _) => format!("{gone:?}"),
            other => format!("{other:?}"),
        };
        state.insert(format!("{id} {name:?} {presence} {:?}", record.push.failed));
        for (field, sides) in &record.fields {
            state.insert(format!(
                "{id} {field:?}: {:?} {:?} {:?}",
                sides.base, sides.app, sides.conflict
            ));
        }
    }
    let filter = ConflictFilter {
        status: None,
        field: None,
    };
    let page = PageRequest::first(1_000);
    let conflicts = sim
        .store()
        .list_conflicts(sim.key(), &filter, &page)
        .await
        .unwrap();
    for conflict in conflicts.items {
        let status = match conflict.status {
            ConflictStatus::Open => "open".to_owned(),
            ConflictStatus::Resolved(decided) => {
                format!("{:?} {:?}", decided.choice, decided.value)
            }
            ConflictStatus::Closed { .. } => "closed".to_owned(),
        };
        state.insert(format!(
            "conflict {:?}: {:?} {:?} {status}",
            conflict.id.field, conflict.app, conflict.drive
        ));
    }
    let log = sim
        .store()
        .load_log(sim.key(), &LogId::user())
        .await
        .unwrap()
        .unwrap();
    let channel = match &log.channel {
        Some(id) => sim.store().load_channel(id).await.unwrap(),
        None => None,
    };
    let lives = channel.is_some_and(|channel| channel.expires_at > sim.now());
    state.insert(format!("{:?}, a channel that lives: {lives}", log.position));
    state.insert(format!("dead letters: {}", sim.dead()));
    state
}

/// The end state of a world, and the number of calls by functions.
type End = (BTreeSet<String>, u64);

/// Runs a flow, optionally with a crash at one of its calls.
fn run(flow: Flow, crash: Option<(u64, Side)>, start: &Start) -> Result<End, String> {
    simulate(start.clone(), async |sim| {
        let before = sim.wire().calls();
        if let Some((call, side)) = crash {
            sim.wire().crash_at(call, side);
        }
        flow.1(sim.clone()).await;
        sim.converge().await?;
        Ok((state(sim).await, sim.wire().calls() - before))
    })
}

/// Returns the end state of a flow.
pub fn ends(flow: Flow, start: &Start) -> Result<BTreeSet<String>, String> {
    run(flow, None, start).map(|(end, _)| end)
}

/// Returns the difference from the undisturbed end state if a flow crashes at this call.
fn differs(
    flow: Flow,
    undisturbed: &BTreeSet<String>,
    at: (u64, Side),
    bugs: &Bugs,
) -> Option<String> {
    let apart = match run(flow, Some(at), &start(bugs)) {
        Ok((end, _)) => {
            let apart = end.symmetric_difference(undisturbed);
            apart.cloned().collect::<Vec<_>>().join("\n  ")
        }
        Err(why) => why,
    };
    let (call, side) = at;
    (!apart.is_empty()).then(|| format!("{}: stopped {side:?} call {call}:\n  {apart}", flow.0))
}

/// Returns the first crash in the flows of an arriving edit and an opening conflict that shows an
/// error.
pub fn catches(bugs: &Bugs) -> Option<String> {
    let [people, _, conflict, ..] = FLOWS;
    [people, conflict].into_iter().find_map(|flow| {
        let (end, calls) = match run(flow, None, &start(bugs)) {
            Ok(ended) => ended,
            Err(why) => return Some(why),
        };
        let points = (0..calls).flat_map(|call| [(call, Side::Before), (call, Side::After)]);
        points
            .into_iter()
            .find_map(|at| differs(flow, &end, at, bugs))
    })
}

#[test]
fn a_flow_that_crashes_before_or_after_any_call_ends_as_undisturbed() {
    let bugs = Bugs::default();
    let mut points = Vec::new();
    let mut ends = Vec::new();
    for (number, flow) in FLOWS.into_iter().enumerate() {
        let (end, calls) = run(flow, None, &start(&bugs)).unwrap();
        println!("{}: {calls} calls", flow.0);
        ends.push(end);
        let sides = (0..calls).flat_map(|call| [(call, Side::Before), (call, Side::After)]);
        points.extend(sides.map(|at| (number, at)));
    }
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((number, at)) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(how) = differs(FLOWS[*number], &ends[*number], *at, &bugs) {
                        wrong.lock().unwrap().push(how);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    let (failed, of) = (wrong.len(), points.len());
    assert!(wrong.is_empty(), "{failed} of {of}:\n{}", wrong.join("\n"));
}
