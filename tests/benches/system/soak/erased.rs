//! The erasure of a connection with content under `kill -9`, beside a connection of the same
//! account that stays.
//!
//! The wait for work that began before the deletion is cut short while `local` is dead: nothing
//! that began before can still run then.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use domain::operation::Erase;
use domain::{ConnectionId, ConnectionKey, FileId, LogId, Operation, Run, TenantId, Timestamp};
use http::Method;
use local::aws::{Aws, CONTENT_BUCKET, NAME, Options, Queue};
use local::rehearsal::process::Local;
use local::rehearsal::stage::Stage;
use objects::Objects;
use runtime::Clock;
use serde_json::{Value, json};
use sqs_fifo::NewMessage;
use store::{Store, Written};
use worker::{ContentWake, LogWake, OperationWake, Origin, PushWake, SnapshotMessage};

use super::processes::{self, Drive};
use super::{BOUND, load, synced};
use crate::report::{Report, count};
use crate::rig::Folder;

/// The duration of a life of `local` during the erasure, in milliseconds after it was ready.
const LIFE_MILLIS: std::ops::Range<u64> = 2_000..6_000;
/// The pause between two looks at the API.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs it and returns whether nothing is left and the other connection is as it was.
pub async fn measure(report: &mut Report, files: usize) -> bool {
    let folder = Folder::new();
    let build = processes::build(folder.path());
    report.part(&format!(
        "Erasure of a connection of {files} files with content, killed all the time ({build} build)"
    ));
    let drive = Drive::start(folder.path()).await;
    let data_dir = folder.path().join("data");
    let log = folder.path().join("local.log");
    load(&drive, files).await;
    let began = Instant::now();
    let mut local = Local::start(
        &folder.path().join("local"),
        &drive.url,
        &data_dir,
        &log,
        std::iter::empty(),
    )
    .await;
    let stage = Stage::new(&drive.url, &drive.control_key, &local.ready, &data_dir);
    synced(&stage).await;
    mirrored(&stage).await;
    report.line(
        "first sync, with content",
        began.elapsed().as_secs_f64(),
        "s",
    );
    let beside = connect_beside(&stage).await;
    let began = Instant::now();
    let (erasing, _) = stage.insist(Method::DELETE, "?erase=true", &[], None).await;
    assert_eq!(erasing.status, 202, "{}", erasing.body);
    let operation = erasing.body["operation"]["id"].as_str().unwrap().to_owned();
    let operation = domain::OperationId::parse(&operation).unwrap();
    let key = key_of(&stage.connection);
    let before = Place::open(&data_dir, &mut local).await;
    let kept = before.items_of(&beside).await;
    drop(before);
    local.kill_and_restart().await.unwrap();

    let mut kills = 1;
    let certificate = loop {
        let life = Duration::from_millis(fastrand::u64(LIFE_MILLIS));
        if let Some(certificate) = certificate(&stage, life).await {
            break certificate;
        }
        kills += 1;
        let place = Place::open(&data_dir, &mut local).await;
        place.cut_short(&key, &operation).await;
        drop(place);
        local.kill_and_restart().await.unwrap();
        assert!(began.elapsed() < BOUND, "it is not erased");
    };
    report.line("until its certificate", began.elapsed().as_secs_f64(), "s");
    report.line("kills", count(kills), "");
    for (kind, number) in certificate["counts"].as_object().into_iter().flatten() {
        report.line(&format!("erased: {kind}"), number.as_f64().unwrap(), "");
    }

    let place = Place::open(&data_dir, &mut local).await;
    place.send_every_kind(&key, &operation);
    drop(place);
    local.kill_and_restart().await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let place = Place::open(&data_dir, &mut local).await;
    let mut wrong = Vec::new();
    for item in place.items_of(key.connection.as_str()).await {
        if !item.ends_with(&format!(" / CONN#{}", key.connection)) {
            wrong.push(format!("left: {item}"));
        }
    }
    let objects = place.unreferenced().await;
    if objects > 0 {
        wrong.push(format!("{objects} objects that nothing refers to"));
    }
    let lost = kept.difference(&place.items_of(&beside).await).count();
    // Its channel, its rate limit and what it waits for change.
    report.line("items beside that are gone", count(lost), "");
    let records = |items: &BTreeSet<String>| {
        let records = items.iter().filter(|item| item.ends_with(" / HEAD"));
        records.count()
    };
    let (was, is) = (records(&kept), records(&place.items_of(&beside).await));
    if was != is {
        wrong.push(format!("beside it, {is} of {was} records are left"));
    }
    report.line("records beside", count(is), "");
    for what in &wrong {
        report.note(what);
    }
    wrong.is_empty()
}

fn key_of(connection: &str) -> ConnectionKey {
    ConnectionKey {
        tenant: TenantId::parse("local").unwrap(),
        connection: ConnectionId::parse(connection).unwrap(),
    }
}

/// Waits until no content is to be stored any more.
async fn mirrored(stage: &Stage) {
    let end = Instant::now() + BOUND;
    let mut scans = 0;
    while scans < 3 {
        let operations = stage.get("/operations").await;
        let operations = operations["items"].as_array().unwrap().clone();
        let mut running = operations.iter().filter(|one| one["finished_at"].is_null());
        let files = stage.list("/files?limit=1000").await;
        let stored = files
            .iter()
            .all(|file| file["fields"]["md5"].is_null() || !file["content"]["sha256"].is_null());
        scans = if running.next().is_none() && stored {
            scans + 1
        } else {
            0
        };
        assert!(Instant::now() < end, "the content is not stored");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Makes another connection of the same account, without content, and returns its id.
async fn connect_beside(stage: &Stage) -> String {
    let body = json!({"name": "Beside", "scope": {"type": "user"}, "secret": "drive"});
    let url = format!("{}/v1/connections", stage.api);
    let made = stage.http.post(&url).bearer_auth(stage.token()).json(&body);
    let made: Value = made.send().await.unwrap().json().await.unwrap();
    let id = made["id"].as_str().expect("a connection").to_owned();
    let end = Instant::now() + BOUND;
    loop {
        let status = stage.http.get(format!("{url}/{id}/status"));
        let status = status.bearer_auth(stage.token()).send().await.unwrap();
        let status: Value = status.json().await.unwrap();
        if status["last_operation"]["state"] == "done" {
            return id;
        }
        assert!(Instant::now() < end, "it is not synced: {status}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Returns the certificate, if there is one within this time.
async fn certificate(stage: &Stage, within: Duration) -> Option<Value> {
    let end = Instant::now() + within;
    while Instant::now() < end {
        let url = format!("{}/v1/erasures/{}", stage.api, stage.connection);
        let answer = stage.http.get(url).bearer_auth(stage.token()).send().await;
        if let Ok(answer) = answer
            && let Ok(erasure) = answer.json::<Value>().await
            && erasure["state"] == "erased"
        {
            return Some(erasure["certificate"].clone());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    None
}

/// The services on the directory of `local`, while it is dead.
struct Place {
    aws: Aws,
    store: Store,
    objects: Objects,
}

impl Place {
    /// Kills `local`, and opens its directory.
    async fn open(data_dir: &Path, local: &mut Local) -> Self {
        local.kill().await;
        let aws = Aws::open(Options::directory(data_dir.join("aws"))).unwrap();
        let store = Store::new(aws.dynamodb_client(), NAME);
        let objects = Objects::new(aws.s3_client(), CONTENT_BUCKET);
        Self {
            aws,
            store,
            objects,
        }
    }

    /// The keys of the items that name a connection, without the audit trail.
    async fn items_of(&self, connection: &str) -> BTreeSet<String> {
        let client = self.aws.dynamodb_client();
        let scan = client.scan().table_name(NAME).into_paginator();
        let mut found = BTreeSet::new();
        let mut items = scan.items().send();
        while let Some(item) = items.next().await {
            let item = item.unwrap();
            let key = |name: &str| item[name].as_s().unwrap().clone();
            let (pk, sk) = (key("PK"), key("SK"));
            if pk.contains("#AUDIT#") || pk.ends_with("#TRAIL") || sk == "OBJECT" {
                continue;
            }
            let values: Vec<&AttributeValue> = item.values().collect();
            if format!("{values:?}").contains(connection) {
                found.insert(format!("{pk} / {sk}"));
            }
        }
        found
    }

    /// The number of objects that no item refers to.
    async fn unreferenced(&self) -> usize {
        let tenant = TenantId::parse("local").unwrap();
        let (mut after, mut found) = (None, 0);
        loop {
            let listed = self.objects.list_versions(&tenant, after.as_ref()).await;
            let (versions, next) = listed.unwrap();
            for version in versions {
                let key = domain::content::ObjectKey::parse(&tenant, &version.key).unwrap();
                let hash = key.content_hash().unwrap();
                let stored = self.store.load_object(&tenant, &hash).await.unwrap();
                found += usize::from(stored.is_none());
            }
            match next {
                Some(next) => after = Some(next),
                None => return found,
            }
        }
    }

    /// Ends the wait for earlier work.
    async fn cut_short(&self, key: &ConnectionKey, id: &domain::OperationId) {
        let Some(before) = self.store.load_operation(key, id).await.unwrap() else {
            return;
        };
        let Run::Erase(erase) = &before.run else {
            return;
        };
        let now = Clock::system().now();
        let erase = Erase {
            quiet_at: erase.quiet_at.min(now),
            ..erase.clone()
        };
        let due_at = before.due_at.map(|due: Timestamp| due.min(now));
        let after = Operation {
            run: Run::Erase(erase),
            due_at,
            ..before.clone()
        };
        let written = self.store.advance_operation(&before, &after).await.unwrap();
        assert!(matches!(written, Written::Done(_)));
    }

    /// Sends a message of every kind that names the connection.
    fn send_every_kind(&self, key: &ConnectionKey, operation: &domain::OperationId) {
        let (key, file) = (key.clone(), FileId::parse("1late").unwrap());
        let snapshot = SnapshotMessage {
            key: key.clone(),
            origin: Origin::Operation(operation.to_string()),
            file: file.clone(),
            at: Clock::system().now(),
            snapshot: None,
        };
        let content = ContentWake {
            key: key.clone(),
            file,
        };
        let log = LogWake {
            key: key.clone(),
            log: LogId::user(),
        };
        let wake = OperationWake {
            key: key.clone(),
            operation: operation.clone(),
        };
        let push = PushWake { key };
        for (queue, body) in [
            (Queue::Snapshots, snapshot.to_body()),
            (Queue::SnapshotsBulk, snapshot.to_body()),
            (Queue::LogWakes, log.to_body()),
            (Queue::PushWakes, push.to_body()),
            (Queue::Operations, wake.to_body()),
            (Queue::Content, content.to_body()),
            (Queue::ContentBulk, content.to_body()),
        ] {
            for name in [queue.name(), queue.dead_letter_name()] {
                let message = NewMessage::new("late", format!("late-{name}"), &body);
                self.aws.sqs().send(name, message).unwrap();
            }
        }
    }
}
