//! Plays a schedule in a world, and checks the end state.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use drive_simulator::Edit;
use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::action::{Action, Change, Choice, FILES, FOLDERS, Schedule, Step};
use super::judge::{Responses, judge};
use crate::support::sim::{
    Event, Misreading, Sim, SourceBugs, Start, WireMutation, recorder, simulate,
};

/// The attempts of a program whose request was not answered.
const TRIES: usize = 5;

/// One in so many schedules tells events.
const EVENTS_EVERY: u64 = 4;

/// The seeded bugs of a world; none by default.
#[derive(Clone, Default)]
pub struct Bugs {
    pub mutation: Option<fn() -> WireMutation>,
    pub source_bugs: SourceBugs,
    pub misreading: Option<Misreading>,
    /// Whether events are told in every schedule, and not in a part of them.
    pub events: bool,
    /// The connection's policy, if it is not `manual`.
    pub policies: Option<&'static str>,
}

/// The result of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    pub digest: u64,
    /// The violations.
    pub wrong: Vec<String>,
    pub calls: u64,
    pub crashes: u64,
    pub faults: u64,
    /// The calls that a trouble of Drive's was met by.
    pub troubles: u64,
    /// The calls to Drive, those in batches each by itself.
    pub drive_calls: u64,
    /// The pages of changes and of files that were asked for.
    pub listings: u64,
    pub conflicts: usize,
    /// The conflicts over writes of unknown fate.
    pub unsure: usize,
    pub lines: Vec<String>,
}

/// Plays a schedule.
pub fn play(schedule: &Schedule, bugs: &Bugs, lines: bool) -> Played {
    let start = Start {
        seed: schedule.seed,
        files: FILES,
        folders: FOLDERS,
        mutation: bugs.mutation.map(|mutation| mutation()),
        source_bugs: bugs.source_bugs,
        misreading: bugs.misreading,
        lines,
        events: bugs.events || schedule.seed.is_multiple_of(EVENTS_EVERY),
        ..Start::default()
    };
    simulate(start, async |sim| {
        if let Some(policy) = bugs.policies {
            let body = Some(json!({"policies": {"default": policy}}));
            let headers = [("if-match", "*")];
            let answer = sim.api(Method::PATCH, "", &headers, body).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
        let player = Player::new(sim, schedule);
        sim.wire().set_fault_rates(schedule.fault_rates);
        let mut under_way = JoinSet::new();
        for step in &schedule.steps {
            tokio::time::sleep(step.wait).await;
            sim.wire().note(&format!("{step:?}"));
            let (player, step) = (player.clone(), step.clone());
            under_way.spawn(async move { player.act(&step).await });
        }
        while let Some(done) = under_way.join_next().await {
            done.unwrap();
        }
        // Trouble that has passed leaves nothing that a person has to touch.
        let converged = match schedule.is_troubled() {
            true => sim.converge_alone().await,
            false => sim.converge().await,
        };
        let responses = player.responses.lock().unwrap().clone();
        let mut verdict = judge(sim, schedule, &responses, converged.err()).await;
        if sim.tells_events() {
            verdict.wrong.extend(sim.event_problems(sim.key()).await);
        }
        let (crashes, faults) = sim.wire().fault_counts();
        let counters = sim.simulator().counters();
        let listed = |method: &str| counters.calls.get(method).copied().unwrap_or(0);
        Played {
            digest: sim.wire().digest(),
            wrong: verdict.wrong,
            calls: sim.wire().calls(),
            crashes,
            faults,
            troubles: counters.faults,
            // A batch is no call of its own.
            drive_calls: counters.calls.values().sum::<u64>() - listed("batch"),
            listings: listed("changes.list") + listed("files.list"),
            conflicts: verdict.conflicts,
            unsure: verdict.unsure,
            lines: sim.wire().lines(),
        }
    })
}

/// The people and programs that act.
#[derive(Clone)]
struct Player {
    sim: Sim,
    unique: bool,
    files: Vec<String>,
    /// The folders, the root first.
    folders: Vec<String>,
    responses: Arc<Mutex<Responses>>,
}

impl Player {
    fn new(sim: &Sim, schedule: &Schedule) -> Self {
        let drive = sim.simulator();
        let all: Vec<_> = drive
            .file_ids()
            .iter()
            .filter_map(|id| drive.file(id))
            .collect();
        let is_folder = |mime_type: &str| mime_type == "application/vnd.google-apps.folder";
        let of_kind = |folders: bool| {
            let some = all
                .iter()
                .filter(|file| is_folder(&file.mime_type) == folders);
            some.map(|file| file.id.clone()).collect::<Vec<_>>()
        };
        let root = all.iter().find_map(|file| {
            let parent = file.parent.clone()?;
            (!all.iter().any(|other| other.id == parent)).then_some(parent)
        });
        let mut folders: Vec<String> = root.into_iter().collect();
        folders.extend(of_kind(true));
        Self {
            sim: sim.clone(),
            unique: schedule.unique,
            files: of_kind(false),
            folders,
            responses: Arc::default(),
        }
    }

    async fn act(&self, step: &Step) {
        match &step.act {
            Action::Person { name, file, change } => self.person(name, *file, change, step.number),
            Action::Edit {
                file,
                change,
                careful,
            } => {
                self.edit(*file, change, *careful, step.number).await;
            }
            Action::Resolve {
                which,
                choice,
                other,
            } => {
                self.resolve(*which, *choice, *other, step.number).await;
            }
            Action::Sync => {
                let body = Some(json!({"mode": "delta"}));
                self.sim.api(Method::POST, "/sync", &[], body).await;
            }
            Action::Sweep => self.sim.sweep().await,
            Action::Jump(time) => self.sim.jump(*time),
            Action::Redeploy => self.sim.redeploy(),
            Action::LoseTokens => self.sim.simulator().invalidate_tokens(false, true),
            Action::Trouble(trouble, seconds) => trouble.begin(&self.sim, *seconds).await,
        }
    }

    /// Returns the text that `who` writes in this step.
    fn text(&self, who: &str, number: usize) -> String {
        match self.unique {
            true => format!("{who} {number}"),
            false => ["A", "B"][number % 2].to_owned(),
        }
    }

    fn person(&self, name: &'static str, file: usize, change: &Change, number: usize) {
        let id = &self.files[file];
        let text = self.text(name, number);
        let edit = match change {
            Change::Name => Edit::Rename(text),
            Change::Description => Edit::Describe(text),
            Change::Star(star) => Edit::Star(*star),
            Change::Trash(trash) => Edit::Trash(*trash),
            Change::Property(key) => Edit::Property((*key).to_owned(), Some(text)),
            Change::Unset(key) => Edit::Property((*key).to_owned(), None),
            Change::Move(folder) => Edit::Move(self.folders[*folder].clone()),
            Change::Delete => Edit::Delete,
        };
        // Actions that are reserved to the owner are done as the owner, who is the connection's
        // user.
        let user = match edit {
            Edit::Star(_) | Edit::Trash(_) | Edit::Delete | Edit::Move(_) => "owner",
            _ => name,
        };
        let before = self.sim.simulator().file(id);
        let done = self.sim.simulator().apply(user, id, edit).is_ok();
        let after = self.sim.simulator().file(id);
        if let (true, Some(before), Some(after)) = (done, before, after) {
            let (before, after) = (recorder::fields_of(&before), recorder::fields_of(&after));
            for (field, from, to) in recorder::changes(&before, &after) {
                self.sim
                    .recording()
                    .add(id, field, Event::Person { from, to });
            }
        }
    }

    async fn edit(&self, file: usize, change: &Change, careful: bool, number: usize) {
        let id = &self.files[file];
        let path = format!("/files/{id}");
        let text = self.text("app", number);
        let body = match change {
            Change::Name => json!({"name": text}),
            Change::Description => json!({"description": text}),
            Change::Star(star) => json!({"starred": star}),
            Change::Trash(trash) => json!({"trashed": trash}),
            Change::Property(key) => json!({"properties": {*key: text}}),
            Change::Unset(key) => json!({"properties": {*key: null}}),
            Change::Move(folder) => json!({"parent": self.folders[*folder]}),
            Change::Delete => return self.delete(&path, number).await,
        };
        let mut condition = "*".to_owned();
        if careful {
            let read = self.sim.api(Method::GET, &path, &[], None).await;
            let Some(etag) = read.and_then(|reply| reply.etag) else {
                return;
            };
            condition = etag;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let key = format!("edit-{number}");
        let headers = [("if-match", condition.as_str()), ("idempotency-key", &key)];
        let accepted = self.ask(Method::PATCH, &path, &headers, Some(body)).await == Some(200);
        // An edit without effect is accepted too, and leaves no trace; a new text always has an
        // effect.
        let writes = matches!(
            change,
            Change::Name | Change::Description | Change::Property(_)
        );
        if accepted && writes && self.unique {
            let text = self.text("app", number);
            self.responses.lock().unwrap().accepted.push(text);
        }
    }

    async fn delete(&self, path: &str, number: usize) {
        let key = format!("delete-{number}");
        let headers = [("if-match", "*"), ("idempotency-key", key.as_str())];
        self.ask(Method::DELETE, path, &headers, None).await;
    }

    /// Repeats a request until its response is final.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Option<u16> {
        for _ in 0..TRIES {
            match self
                .sim
                .api(method.clone(), path, headers, body.clone())
                .await
            {
                Some(reply) if reply.status < 500 => return Some(reply.status),
                Some(_) | None => tokio::time::sleep(Duration::from_millis(700)).await,
            }
        }
        None
    }

    async fn resolve(&self, which: usize, choice: Choice, other: Option<Choice>, number: usize) {
        let listed = self
            .sim
            .api(Method::GET, "/conflicts?status=open", &[], None)
            .await;
        let Some(listed) = listed.filter(|listed| listed.status == 200) else {
            return;
        };
        let open = listed.body["items"].as_array().unwrap();
        if open.is_empty() {
            return;
        }
        let conflict = &open[which % open.len()];
        let path = format!("/conflicts/{}/resolution", conflict["id"].as_str().unwrap());
        let decide = async |choice: Choice, who: &str| {
            let body = match choice {
                Choice::App => json!({"choose": "app"}),
                Choice::Drive => json!({"choose": "drive"}),
                Choice::Base => json!({"choose": "base"}),
                Choice::Value => match conflict["field"].as_str().unwrap() {
                    "parent" | "starred" | "trashed" | "existence" => json!({"choose": "app"}),
                    _ => json!({"value": self.text(who, number)}),
                },
            };
            let key = format!("{who}-{number}");
            let headers = [("idempotency-key", key.as_str())];
            let reply = self
                .sim
                .api(Method::POST, &path, &headers, Some(body))
                .await;
            reply.map(|reply| (reply.status, reply.body))
        };
        match other {
            None => {
                decide(choice, "carol").await;
            }
            Some(other) => {
                let (one, two) = tokio::join!(decide(choice, "carol"), decide(other, "dave"));
                // The same response twice is one decision.
                if let (Some((200, one)), Some((200, two))) = (one, two)
                    && one != two
                {
                    let both = format!("carol: {one}, dave: {two}");
                    self.responses.lock().unwrap().resolved_twice.push(both);
                }
            }
        }
    }
}
