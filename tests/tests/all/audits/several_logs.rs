//! An audit of several logs: each is an operation with counts of its own.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::by_kind;
use crate::support::{Setup, Team, World, eventually, own_with};

/// Audits every log, waits for each audit, and returns them by log.
async fn audit_all(world: &World, dry_run: bool) -> BTreeMap<String, Value> {
    let body = json!({"mode": "audit", "dry_run": dry_run});
    let started = world.post("/sync", body).await;
    let mut done = BTreeMap::new();
    for operation in started["operations"].as_array().unwrap() {
        let id = operation["id"].as_str().unwrap();
        let ended = world.operation_in(id, "done").await;
        let log = ended["log"].as_str().unwrap().to_owned();
        assert!(done.insert(log, ended).is_none(), "one for each log");
    }
    done
}

/// Returns the drift that an audit found, by kind; each kind's files in order.
async fn found(world: &World, audit: &Value) -> BTreeMap<String, Vec<String>> {
    let id = audit["id"].as_str().unwrap();
    let found = world.drift(id).await;
    let kinds = ["missing_here", "missing_there", "stale", "differing"];
    let of = |kind: &str| {
        let mut files = by_kind(&found, kind);
        files.sort();
        (kind.to_owned(), files)
    };
    kinds
        .into_iter()
        .map(of)
        .filter(|(_, files)| !files.is_empty())
        .collect()
}

fn counts(held: usize, missing_here: u64, missing_there: u64, stale: u64) -> Value {
    json!({
        "held": held, "missing_here": missing_here, "missing_there": missing_there, "stale": stale,
        "differing": 0
    })
}

/// Returns every item about a file: records, history and conflicts.
async fn records(world: &World) -> BTreeMap<(String, String), String> {
    let mut table = world.table().await;
    table.retain(|(pk, _), _| pk.contains("#F#"));
    table
}

/// Returns the number of our present files by log.
async fn files_by_log(world: &World) -> BTreeMap<String, usize> {
    let mut held = BTreeMap::new();
    for file in world.files().await.values() {
        let log = file["fields"]["drive_id"].as_str().unwrap_or("user");
        *held.entry(log.to_owned()).or_default() += 1;
    }
    held
}

#[test]
fn an_audit_reports_and_repairs_my_drive_and_each_shared_drive_separately() {
    let setup = Setup {
        files: 12,
        ..Setup::default()
    };
    own_with(setup, async |world| {
        let (mine, owner) = (world.take(), world.owner());
        let mut teams = Vec::new();
        for name in ["One", "Two"] {
            let team = Team::make(world, name).await;
            let files = team.files(5).await;
            team.join().await;
            for file in &files {
                world
                    .file_until("it is here", file, |f| f["presence"] == "present")
                    .await;
            }
            teams.push((team, files));
        }
        eventually("all is applied", async || {
            let queued = world.queued();
            let status = world.get("/status").await;
            let logs = status["logs"].as_array().unwrap();
            let following = logs.iter().all(|log| log["position"] == "following");
            (queued == 0 && following && logs.len() == 3).then_some(())
        })
        .await;
        world.operations_ended().await;
        let [(one, ones), (two, twos)] = <[_; 2]>::try_from(teams).ok().unwrap();
        world.hide_changes().await;
        owner.rename(&mine, "unreported.txt").await;
        one.delete(&ones[0]).await;
        one.delete(&ones[1]).await;
        two.rename(&twos[0], "also unreported.txt").await;
        world.lose_record(&twos[1]).await;
        let records = records(world).await;
        let before = files_by_log(world).await;

        let check = async |audits: &BTreeMap<String, Value>| {
            assert_eq!(audits.len(), 3, "{audits:?}");
            let drift = |log: &str| audits[log]["drift"].clone();
            assert_eq!(drift("user"), counts(before["user"], 0, 0, 1));
            assert_eq!(drift(&one.id), counts(before[&one.id], 0, 2, 0));
            assert_eq!(drift(&two.id), counts(before[&two.id], 1, 0, 1));
            let kind = |kind: &str, files: &[&String]| {
                let mut files: Vec<String> = files.iter().map(|file| (*file).clone()).collect();
                files.sort();
                (kind.to_owned(), files)
            };
            let stale = kind("stale", &[&mine]);
            assert_eq!(found(world, &audits["user"]).await, BTreeMap::from([stale]));
            let gone = kind("missing_there", &[&ones[0], &ones[1]]);
            assert_eq!(found(world, &audits[&one.id]).await, BTreeMap::from([gone]));
            let both = [
                kind("missing_here", &[&twos[1]]),
                kind("stale", &[&twos[0]]),
            ];
            assert_eq!(found(world, &audits[&two.id]).await, BTreeMap::from(both));
        };
        let report = audit_all(world, true).await;
        assert!(report.values().all(|audit| audit["dry_run"] == true));
        check(&report).await;
        let after = self::records(world).await;
        assert!(after == records, "a dry run writes to no record");

        check(&audit_all(world, false).await).await;
        eventually("all is applied", async || {
            (world.queued() == 0).then_some(())
        })
        .await;
        assert_eq!(world.file(&mine).await["fields"]["name"], "unreported.txt");
        for file in &ones[..2] {
            assert_eq!(world.file(file).await["presence"], "removed");
        }
        assert_eq!(
            world.file(&twos[0]).await["fields"]["name"],
            "also unreported.txt"
        );
        assert_eq!(world.file(&twos[1]).await["presence"], "present");
        let after = files_by_log(world).await;
        for (log, audit) in audit_all(world, true).await {
            assert_eq!(audit["drift"], counts(after[&log], 0, 0, 0), "{log}");
        }
    });
}
