//! Shared drives have logs of their own, and repeat some of it in the user's.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use crate::support::{Outside, Person, Setup, World, eventually, own, own_with, serve};

/// The role that lets the connection's user edit what is in a drive.
const ROLE: &str = "fileOrganizer";

/// A shared drive of somebody else, seen as its organizer does.
struct Team {
    organizer: Person,
    id: String,
}

impl Team {
    /// A drive that `alice` makes at Drive; the connection's user is no member of it.
    async fn make(world: &Outside, name: &str) -> Self {
        let organizer = world.person("alice");
        let path = format!("/drive/v3/drives?requestId={name}");
        let made = done(&organizer, Method::POST, &path, json!({ "name": name })).await;
        let id = made["id"].as_str().unwrap().to_owned();
        Self { organizer, id }
    }

    /// A file in it.
    async fn file(&self, name: &str) -> String {
        let body = json!({"name": name, "mimeType": "text/plain", "parents": [self.id]});
        let path = "/drive/v3/files?supportsAllDrives=true";
        let made = done(&self.organizer, Method::POST, path, body).await;
        made["id"].as_str().unwrap().to_owned()
    }

    async fn files(&self, count: usize) -> Vec<String> {
        let mut files = Vec::new();
        for number in 0..count {
            files.push(self.file(&format!("team {number}.txt")).await);
        }
        files
    }

    async fn rename(&self, file: &str, name: &str) {
        let path = format!("/drive/v3/files/{file}?supportsAllDrives=true");
        done(
            &self.organizer,
            Method::PATCH,
            &path,
            json!({ "name": name }),
        )
        .await;
    }

    /// Makes the connection's user a member, or shares one file with them; the permission.
    async fn share(&self, what: &str) -> String {
        let path = format!("/drive/v3/files/{what}/permissions?supportsAllDrives=true");
        let role = if what == self.id { ROLE } else { "writer" };
        let body = json!({"type": "user", "role": role, "emailAddress": "owner@example.com"});
        let made = done(&self.organizer, Method::POST, &path, body).await;
        made["id"].as_str().unwrap().to_owned()
    }

    async fn join(&self) -> String {
        self.share(&self.id).await
    }

    async fn expel(&self, permission: &str) {
        let path = format!(
            "/drive/v3/files/{}/permissions/{permission}?supportsAllDrives=true",
            self.id
        );
        done(&self.organizer, Method::DELETE, &path, Value::Null).await;
    }
}

async fn done(person: &Person, method: Method, path: &str, body: Value) -> Value {
    let body = Some(body).filter(|body| !body.is_null());
    let (status, answer) = person.call(method, path, body).await;
    assert!((200..300).contains(&status), "{path}: {status} {answer}");
    answer
}

/// What the status shows of a drive's log; `None` where there is none.
async fn log_of(world: &Outside, drive: &str) -> Option<Value> {
    let status = world.get("/status").await;
    let mut logs = status["logs"].as_array().unwrap().clone().into_iter();
    logs.find(|log| log["log"] == drive)
}

/// Waits until a drive's log stands so.
async fn log_until(world: &Outside, drive: &str, position: &str) -> Value {
    eventually(&format!("the drive's log is {position}"), async || {
        let log = log_of(world, drive).await;
        log.filter(|log| log["position"] == position)
    })
    .await
}

async fn all_until(world: &Outside, files: &[String], presence: &str) {
    for file in files {
        let wanted = |shown: &Value| shown["presence"] == presence;
        world.file_until(presence, file, wanted).await;
    }
}

async fn operations(world: &Outside) -> Vec<Value> {
    let list = world.get("/operations?limit=1000").await;
    list["items"].as_array().unwrap().clone()
}

/// No log ever lost its cursor: a token of another log would have been refused.
async fn no_cursor_was_lost(world: &Outside) {
    for operation in operations(world).await {
        assert_ne!(operation["kind"], "resync", "{operation}");
    }
}

/// Drive's versions of a file that came to us, the newest first.
async fn versions(world: &Outside, file: &str) -> Vec<String> {
    let history = world
        .get(&format!("/files/{file}/history?limit=1000"))
        .await;
    let items = history["items"].as_array().unwrap().iter();
    items
        .map(|item| item["version"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn pain_09_an_item_that_is_in_both_logs_is_one_snapshot() {
    own(async |world| {
        let team = Team::make(world, "Team").await;
        let file = team.file("seen twice.txt").await;
        team.join().await;
        let shown = log_until(world, &team.id, "following").await;
        assert_eq!(shown["drive"], json!({"id": team.id, "name": "Team"}));
        all_until(world, std::slice::from_ref(&file), "present").await;
        for number in 0..3 {
            let name = format!("renamed {number}.txt");
            team.rename(&file, &name).await;
            let renamed = |shown: &Value| shown["fields"]["name"] == name.as_str();
            world.file_until("the rename", &file, renamed).await;
        }
        // Each of the two logs told of it.
        for log in ["user", &team.id] {
            eventually("a log that told of a change", async || {
                let log = log_of(world, log).await?;
                (!log["last_change_at"].is_null()).then_some(())
            })
            .await;
        }
        eventually("the queues are empty", async || {
            (world.queued() == 0).then_some(())
        })
        .await;
        let seen = versions(world, &file).await;
        let distinct: BTreeSet<&String> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len(), "{seen:?}");
        assert_eq!(world.conflicts_of(&file).await, Vec::<Value>::new());
        let listed = world.get("/files?limit=1000").await;
        let listed = listed["items"].as_array().unwrap().iter();
        assert_eq!(listed.filter(|item| item["id"] == *file).count(), 1);
        no_cursor_was_lost(world).await;
    });
}

#[test]
fn pain_09_joining_a_drive_lists_what_no_log_tells_of() {
    own(async |world| {
        let team = Team::make(world, "Joined").await;
        let files = team.files(5).await;
        team.join().await;
        all_until(world, &files, "present").await;
        log_until(world, &team.id, "following").await;
        let listing = eventually("its own first listing is done", async || {
            let all = operations(world).await;
            all.into_iter()
                .find(|o| o["log"] == team.id.as_str() && o["state"] == "done")
        })
        .await;
        assert_eq!(listing["kind"], "initial_sync");
        no_cursor_was_lost(world).await;
    });
}

#[test]
fn pain_09_drives_that_were_joined_before_the_connection_are_found() {
    crate::support::run(async {
        let simulator = drive_simulator::Simulator::new(drive_simulator::Options::default());
        simulator.load_synthetic(3, 1);
        let drive_url = serve(&simulator).await;
        let before = Outside::new(simulator.clone(), &drive_url, "", "", "");
        let mut teams = Vec::new();
        for number in 0..3 {
            let team = Team::make(&before, &format!("Old{number}")).await;
            let files = team.files(2).await;
            team.join().await;
            teams.push((team, files));
        }
        let world = World::beside(simulator, &drive_url, None, true).await;
        for (team, files) in &teams {
            all_until(&world, files, "present").await;
            log_until(&world, &team.id, "following").await;
        }
        let watched = async |log: &str| {
            let log = log_of(&world, log).await?;
            log["channel"]["id"].as_str().map(str::to_owned)
        };
        let mut channels = BTreeSet::new();
        for (team, _) in &teams {
            channels.insert(eventually("a channel", async || watched(&team.id).await).await);
        }
        assert_eq!(channels.len(), teams.len(), "each log has its own");
        no_cursor_was_lost(&world).await;
        world.system.stop().await;
    });
}

#[test]
fn pain_09_a_drive_that_is_left_is_out_of_reach_not_deleted_and_comes_back_with_its_history() {
    own(async |world| {
        let mine = world.take();
        let team = Team::make(world, "Left").await;
        let files = team.files(4).await;
        let permission = team.join().await;
        all_until(world, &files, "present").await;
        eventually("its log has a channel", async || {
            log_of(world, &team.id).await?["channel"]["id"]
                .as_str()
                .map(drop)
        })
        .await;
        // An edit of ours that Drive can't have taken before we are put out.
        let owed = &files[0];
        let pattern = format!("GET /drive/v2/files/{owed}*");
        world.fault(json!({"match": pattern, "times": 0, "respond": {"status": 503}}));
        world.edited(owed, json!({"description": "ours"})).await;
        let before = versions(world, &files[1]).await;

        team.expel(&permission).await;
        all_until(world, &files, "access_lost").await;
        let conflict = world.conflict_on(owed, "existence").await;
        assert_eq!(conflict["drive"], "access_lost", "{conflict}");
        let log = log_until(world, &team.id, "left").await;
        assert!(log["left_at"].is_string(), "{log}");
        eventually("its channel is stopped", async || {
            log_of(world, &team.id).await?["channel"]
                .is_null()
                .then_some(())
        })
        .await;
        let leave = eventually("all of its files are marked", async || {
            let all = operations(world).await;
            all.into_iter()
                .find(|o| o["kind"] == "leave" && o["state"] == "done")
        })
        .await;
        assert_eq!(leave["log"], team.id.as_str());
        assert_eq!(world.file(&mine).await["presence"], "present");
        assert_eq!(world.get("/status").await["state"], "active");

        world.simulator.clear_faults();
        team.rename(&files[1], "renamed meanwhile.txt").await;
        team.join().await;
        all_until(world, &files, "present").await;
        let renamed = |shown: &Value| shown["fields"]["name"] == "renamed meanwhile.txt";
        world.file_until("the rename", &files[1], renamed).await;
        let after = versions(world, &files[1]).await;
        assert!(after.ends_with(&before), "{before:?} {after:?}");
        let pushed = |shown: &Value| shown["intent"].is_null();
        world.file_until("our edit is pushed", owed, pushed).await;
        let path = format!("/drive/v3/files/{owed}?supportsAllDrives=true&fields=description");
        let theirs = done(&team.organizer, Method::GET, &path, Value::Null).await;
        assert_eq!(theirs["description"], "ours");
        no_cursor_was_lost(world).await;
    });
}

#[test]
fn pain_09_a_drive_that_is_deleted_takes_its_files_out_of_reach() {
    own(async |world| {
        let team = Team::make(world, "Deleted").await;
        let files = team.files(2).await;
        team.join().await;
        all_until(world, &files, "present").await;
        let path = format!(
            "/drive/v3/drives/{}?allowItemDeletion=true&useDomainAdminAccess=true",
            team.id
        );
        done(&world.owner(), Method::DELETE, &path, Value::Null).await;
        all_until(world, &files, "access_lost").await;
        log_until(world, &team.id, "left").await;
        assert_eq!(world.get("/status").await["state"], "active");
    });
}

#[test]
fn pain_09_a_file_that_moves_into_a_followed_drive_is_not_removed() {
    own(async |world| {
        let team = Team::make(world, "Moved").await;
        team.join().await;
        log_until(world, &team.id, "following").await;
        let file = world.take();
        let parents = world.owner().get(&file).await["parents"].clone();
        let path = format!(
            "/drive/v3/files/{file}?addParents={}&removeParents={}&supportsAllDrives=true",
            team.id,
            parents[0].as_str().unwrap()
        );
        done(&world.owner(), Method::PATCH, &path, json!({})).await;
        let moved = |shown: &Value| shown["fields"]["parent"] == team.id.as_str();
        let shown = world.file_until("the move", &file, moved).await;
        assert_eq!(shown["presence"], "present");
        eventually("the queues are empty", async || {
            (world.queued() == 0).then_some(())
        })
        .await;
        assert_eq!(world.file(&file).await["presence"], "present");
    });
}

#[test]
fn pain_09_an_item_that_is_shared_out_of_a_strangers_drive_stays_in_the_users_log() {
    let setup = Setup {
        files: 3,
        ..Setup::default()
    };
    own_with(setup, async |world| {
        let team = Team::make(world, "Strangers").await;
        let (shared, other) = (team.file("shared.txt").await, team.file("other.txt").await);
        team.share(&shared).await;
        all_until(world, std::slice::from_ref(&shared), "present").await;
        team.rename(&shared, "still shared.txt").await;
        let renamed = |shown: &Value| shown["fields"]["name"] == "still shared.txt";
        world.file_until("the rename", &shared, renamed).await;
        assert!(
            log_of(world, &team.id).await.is_none(),
            "it is no drive of ours"
        );
        assert!(world.find(&other).await.is_none());
    });
}
