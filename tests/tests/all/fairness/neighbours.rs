//! One tenant does everything at once; another one notices little of it. In virtual time, with the
//! executions that Lambda's limits leave.

use std::time::Duration;

use domain::rate_limit::TenantLimits;
use domain::{Field, FileId, Value as FieldValue};
use drive_simulator::Edit;
use futures_util::future::join_all;
use http::Method;
use serde_json::json;

use crate::support::sim::{Sim, Start, Tenant, simulate};

/// The files of the library of the tenant that does everything.
const LIBRARY: usize = 40;
/// The files that the other tenant works on at once.
const AT_ONCE: usize = 5;
const ROUNDS: usize = 8;
/// The executions of the API at once: those of a new account.
const API_AT_ONCE: usize = 10;
/// How often a result is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The times of one kind of work, in milliseconds.
#[derive(Debug, Default)]
struct Times(Vec<i64>);

impl Times {
    fn p95(&mut self) -> i64 {
        self.0.sort_unstable();
        self.0[self.0.len() * 95 / 100]
    }
}

/// What a tenant waits for.
#[derive(Debug, Default)]
struct Waits {
    /// From an edit in Drive until it is here.
    applied: Times,
    /// From a request until its answer.
    answered: Times,
    /// From the answer until the edit is in Drive.
    pushed: Times,
}

#[test]
fn regression_a_tenant_that_does_everything_slows_another_by_a_fifth_at_most() {
    let mut calm = waits(false);
    let mut beside = waits(true);
    for (what, calm, beside) in [
        ("applied", &mut calm.applied, &mut beside.applied),
        ("answered", &mut calm.answered, &mut beside.answered),
        ("pushed", &mut calm.pushed, &mut beside.pushed),
    ] {
        let (calm, beside) = (calm.p95(), beside.p95());
        println!("{what}: p95 {calm} ms alone, {beside} ms beside a tenant that does everything");
        assert!(
            beside * 10 <= calm * 12,
            "{what}: {calm} ms alone, {beside} ms beside"
        );
    }
}

/// Measures what a tenant waits for, alone or beside one that does everything.
fn waits(beside: bool) -> Waits {
    let start = Start {
        seed: 41,
        files: LIBRARY,
        folders: 4,
        limits: Some(TenantLimits {
            requests_per_second: 20,
            ..TenantLimits::default()
        }),
        api_at_once: Some(API_AT_ONCE),
        ..Start::default()
    };
    simulate(start, async |sim| {
        let neighbour = sim.tenant("neighbour", "bob").await;
        let create = |number: usize| {
            let (name, content) = (format!("{number}.txt"), number.to_string().into());
            sim.simulator()
                .create_file("bob", &name, None, content)
                .unwrap()
        };
        let files: Vec<String> = (0..AT_ONCE).map(create).collect();
        for file in &files {
            until("it is here", async || {
                named(sim, &neighbour, file).await.is_some()
            })
            .await;
        }
        // The first change waits for a poll: Drive does not notify yet.
        for (turn, file) in files.iter().enumerate() {
            work_on(sim, &neighbour, file, ROUNDS, turn).await;
        }
        if beside {
            begin_everything(sim).await;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        let mut waits = Waits::default();
        for round in 0..ROUNDS {
            let work = files.iter().enumerate();
            let work = work.map(|(turn, file)| work_on(sim, &neighbour, file, round, turn));
            for (applied, answered, pushed) in join_all(work).await {
                waits.applied.0.push(applied);
                waits.answered.0.push(answered);
                waits.pushed.0.push(pushed);
            }
        }
        waits
    })
}

/// Edits a file in Drive, then here, and returns how long each step takes.
async fn work_on(
    sim: &Sim,
    tenant: &Tenant,
    file: &str,
    round: usize,
    turn: usize,
) -> (i64, i64, i64) {
    tokio::time::sleep(Duration::from_millis(370 * turn as u64)).await;
    let name = format!("round {round}.txt");
    let began = sim.now();
    let rename = Edit::Rename(name.clone());
    sim.simulator().apply(tenant.user, file, rename).unwrap();
    until("it is applied", async || {
        named(sim, tenant, file).await.as_deref() == Some(&name)
    })
    .await;
    let applied = sim.now().millis_since(began);

    let began = sim.now();
    let description = format!("round {round}");
    let edit = json!({"description": description});
    let path = format!("/files/{file}");
    let answer = tenant.api(Method::PATCH, &path, Some(edit)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answered = sim.now().millis_since(began);

    let began = sim.now();
    until("it is pushed", async || {
        let there = sim.simulator().file(file);
        there.is_some_and(|there| there.description == description)
    })
    .await;
    (applied, answered, sim.now().millis_since(began))
}

async fn named(sim: &Sim, tenant: &Tenant, file: &str) -> Option<String> {
    let id = FileId::parse(file).unwrap();
    let record = sim.store().load_file(&tenant.key, &id).await.unwrap()?;
    match record.app(&Field::Name) {
        FieldValue::Text(name) => Some(name),
        FieldValue::Null | FieldValue::Flag(_) => None,
    }
}

/// Waits in virtual time, for two minutes at most.
async fn until(what: &str, done: impl AsyncFn() -> bool) {
    for _ in 0..6_000 {
        if done().await {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    panic!("not within two minutes: {what}");
}

/// Begins everything that a tenant can do, for as long as the world lasts: two connections whose
/// library is edited all the time, and requests of every dear kind, twice as many as it may send.
async fn begin_everything(sim: &Sim) {
    let mut connections = Vec::new();
    for _ in 0..2 {
        connections.push(sim.tenant("greedy", "owner").await);
    }
    let world = sim.clone();
    tokio::spawn(async move {
        for turn in 0_u64.. {
            // Twenty a second, and every half a minute a fifth of the library at once.
            let count = if turn % 300 == 0 { LIBRARY / 5 } else { 2 };
            for file in world.simulator().random_files("owner", count) {
                let edit = Edit::Describe(format!("turn {turn}"));
                // A file may be in the trash.
                let _ = world.simulator().apply("owner", &file, edit);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let world = sim.clone();
    tokio::spawn(async move {
        for turn in 0_usize.. {
            let connection = connections[turn % connections.len()].clone();
            let file = world.simulator().random_files("owner", 1).remove(0);
            tokio::spawn(async move {
                let (method, path, body) = match turn % 8 {
                    0 => (Method::GET, "/files?q=zzz&path=true".to_owned(), None),
                    1 => (Method::GET, "/files?limit=1000".to_owned(), None),
                    2 => (
                        Method::POST,
                        "/sync".to_owned(),
                        Some(json!({"mode": "audit"})),
                    ),
                    3 => (
                        Method::POST,
                        "/sync".to_owned(),
                        Some(json!({"mode": "full"})),
                    ),
                    4 => (
                        Method::POST,
                        "/sync".to_owned(),
                        Some(json!({"mode": "delta"})),
                    ),
                    _ => {
                        let properties = json!({"turn": turn.to_string()});
                        let edit = json!({"starred": turn % 3 == 0, "properties": properties});
                        (Method::PATCH, format!("/files/{file}"), Some(edit))
                    }
                };
                connection.api(method, &path, body).await
            });
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    });
}
