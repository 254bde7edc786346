//! Responses of Drive in every call of the client: real ones of the simulated Drive, mutated, and
//! arbitrary ones.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use domain::{AttemptId, ChannelId, Field, FileId, LogId, PageToken, Patch, Timestamp, Value};
use drive::{
    Access, ChannelRequest, Creation, DriveClient, Drives, Read, Scope, Secret, Transport,
};
use drive_simulator::{Role, Simulator};
use http::{Request, Response};
use local::aws::{self, Aws};
use proptest::prelude::*;
use proptest::sample::select;
use tower::ServiceExt as _;

use super::mutation::{Mutations, bytes, damage, damaged, mutated, mutations, text};
use super::runner;
use crate::support::{credentials, run};

const DRIVE_URL: &str = "http://drive.fuzz";
/// The most calls of one request, with any responses of Drive.
const CALLS_MAX: usize = 300;

/// The requests of the client.
const DOORS: [&str; 15] = [
    "changes",
    "files",
    "read",
    "look",
    "read_files",
    "write_files",
    "create_files",
    "patch",
    "permissions",
    "drives",
    "drive",
    "start",
    "watch",
    "about",
    "id",
];

/// The ids that the requests use.
struct Known {
    files: Vec<FileId>,
    reads: Vec<Read>,
    /// A file whose permissions must be listed.
    listed: FileId,
    drive: LogId,
    start: PageToken,
}

/// The simulated Drive and its last response.
#[derive(Clone)]
struct Real {
    simulator: Simulator,
    last: Arc<Mutex<Option<Response<Bytes>>>>,
}

impl Real {
    fn new() -> Self {
        let simulator = Simulator::new(drive_simulator::Options::default());
        simulator.load_synthetic(3, 1);
        let last = Arc::default();
        Self { simulator, last }
    }

    fn transport(&self) -> Transport {
        let (router, last) = (self.simulator.router(), Arc::clone(&self.last));
        Arc::new(move |request: Request<Bytes>| {
            let (router, last) = (router.clone(), Arc::clone(&last));
            Box::pin(async move {
                let answer = router.oneshot(request.map(axum::body::Body::from)).await;
                let (parts, body) = answer.unwrap().into_parts();
                let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
                let answer = Response::from_parts(parts, body);
                *last.lock().unwrap() = Some(answer.clone());
                Ok(answer)
            })
        })
    }

    async fn known(&self) -> Known {
        let drive = self
            .simulator
            .create_drive("Team", &[("owner", Role::Organizer)]);
        let shared = self
            .simulator
            .create_file("owner", "plan.txt", Some(&drive), "text".into());
        let client = client(self.transport());
        let listed = FileId::parse(&shared.unwrap()).unwrap();
        let ids = self.simulator.file_ids().into_iter();
        let mut files: Vec<FileId> = ids.map(|id| FileId::parse(&id).unwrap()).collect();
        files.truncate(3);
        let start = client.start_page_token(&LogId::user()).await.unwrap();
        self.simulator
            .apply(
                "ann",
                files[0].as_str(),
                drive_simulator::Edit::Rename("b".to_owned()),
            )
            .unwrap();
        let mut reads = Vec::new();
        for read in client.read_files(&files).await {
            reads.push(read.unwrap());
        }
        Known {
            files,
            reads,
            listed,
            drive: LogId::parse(&drive).unwrap(),
            start,
        }
    }
}

/// A Drive with the same response to every request.
fn says(answer: Response<Bytes>) -> (Transport, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let transport: Transport = Arc::new(move |_| {
        let asked = count.fetch_add(1, Ordering::Relaxed);
        assert!(asked < CALLS_MAX, "one question asks for ever");
        let answer = answer.clone();
        Box::pin(async move { Ok(answer) })
    });
    (transport, calls)
}

fn client(transport: Transport) -> DriveClient {
    let token = Secret::new("user:owner".to_owned());
    DriveClient::with_token(transport, DRIVE_URL, token, Arc::new(now))
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000)
}

fn patch(values: BTreeMap<Field, Value>) -> Patch {
    Patch {
        attempt: AttemptId(1),
        values,
    }
}

/// Makes one request and returns the size of the result, in entries and bytes of text.
async fn request(call: &str, client: &DriveClient, known: &Known) -> (usize, bool) {
    let (file, log) = (&known.files[0], LogId::user());
    let described = patch(BTreeMap::from([(Field::Description, Value::text("d"))]));
    let size = |text: String| text.len();
    match call {
        "changes" => sized(client.list_changes(&log, &known.start).await, |page| {
            let unreadable: usize = page.unidentified.iter().map(|entry| entry.body.len()).sum();
            page.changes.len() + page.drives.len() + unreadable
        }),
        "files" => sized(client.list_files(&Scope::User, None).await, |page| {
            page.files.len()
        }),
        "read" => sized(client.read_file(file).await, |read| size(read.etag.clone())),
        "look" => sized(client.get_or_gone(file).await, |_| 0),
        "read_files" => sized_all(client.read_files(&known.files).await),
        "write_files" => {
            let writes = known.reads.iter().skip(1);
            let writes: Vec<_> = writes.map(|read| (read, &described)).collect();
            sized_all(client.write_files(&writes).await)
        }
        "create_files" => {
            let named = patch(BTreeMap::from([(Field::Name, Value::text("n"))]));
            let id = FileId::parse("1abcdefghijklmnopqrstuvwxyz0123456").unwrap();
            let creation = Creation {
                file: &id,
                mime_type: "text/plain",
                shortcut_target: None,
                patch: &named,
            };
            sized_all(client.create_files(&[creation]).await)
        }
        "patch" => sized(client.patch_file(&known.reads[0], &described).await, |_| 0),
        "permissions" => {
            // Drive does not show these with the file: the client must list them.
            let mut snapshot = known.reads[0].snapshot.clone();
            snapshot.file = known.listed.clone();
            snapshot.metadata.permissions_known = false;
            snapshot.metadata.has_augmented_permissions = Some(true);
            sized(client.with_permissions(snapshot).await, |snapshot| {
                snapshot.metadata.permissions.len()
            })
        }
        "drives" => sized(client.list_drives(None).await, |page| page.drives.len()),
        "drive" => sized(client.find_drive(&known.drive).await, |_| 0),
        "start" => sized(client.start_page_token(&log).await, |token| {
            token.as_str().len()
        }),
        "watch" => {
            let id = ChannelId::parse("fuzzed").unwrap();
            let channel = ChannelRequest {
                id: &id,
                token: "token",
                address: "http://127.0.0.1:1/webhooks/drive",
                expires_at: now().plus_millis(3_600_000),
            };
            let watched = client.watch_changes(&log, &known.start, &channel).await;
            sized(watched, |watch| size(watch.resource_id.clone()))
        }
        "about" => sized(client.about().await, |about| size(about.email.clone())),
        "id" => sized(client.generate_id("text/plain").await, |_| 0),
        other => panic!("there is no call {other}"),
    }
}

fn sized<T>(outcome: Result<T, drive::DriveError>, size: impl Fn(&T) -> usize) -> (usize, bool) {
    match outcome {
        Ok(it) => (size(&it), true),
        Err(error) => {
            // Returns the logged form of an error.
            let text = runtime::telemetry::chain(&error);
            assert!(text.len() < 2_000, "{text}");
            let _ = (error.disposition(), error.refusal(), error.gone());
            (0, false)
        }
    }
}

fn sized_all<T>(outcomes: Vec<Result<T, drive::DriveError>>) -> (usize, bool) {
    let all: Vec<_> = outcomes.into_iter().map(|one| sized(one, |_| 1)).collect();
    let size = all.iter().map(|(size, _)| size).sum();
    (size, all.iter().all(|(_, fine)| *fine))
}

/// Returns the simulated Drive's response to each request.
fn real_answers() -> (Known, BTreeMap<&'static str, Response<Bytes>>) {
    run(async {
        let real = Real::new();
        let known = real.known().await;
        let client = client(real.transport());
        let mut answers = BTreeMap::new();
        for call in DOORS {
            let (_, fine) = request(call, &client, &known).await;
            assert!(fine, "{call}: {:?}", real.last.lock().unwrap());
            answers.insert(call, real.last.lock().unwrap().take().unwrap());
        }
        (known, answers)
    })
}

/// A change of a real response.
#[derive(Debug, Clone)]
enum ResponseCase {
    /// Its JSON, or that of each part of it, is mutated.
    Mutated(Mutations),
    /// It has this token for a next page, and is mutated too.
    More(String, Mutations),
    /// Its bytes are damaged.
    Damaged(Vec<(proptest::sample::Index, u8)>),
    /// It is replaced.
    Else(Vec<u8>),
    /// It has this status, and is mutated too.
    Status(u16, Mutations),
}

fn case() -> impl Strategy<Value = ResponseCase> {
    prop_oneof![
        6 => mutations().prop_map(ResponseCase::Mutated),
        1 => (text(), mutations()).prop_map(|(token, mutations)| ResponseCase::More(token,
            mutations)),
        2 => damage().prop_map(ResponseCase::Damaged),
        1 => bytes().prop_map(ResponseCase::Else),
        1 => (select(vec![204_u16, 301, 400, 401, 403, 404, 409, 410, 412, 429, 500, 503]),
            mutations())
            .prop_map(|(status, mutations)| ResponseCase::Status(status, mutations)),
    ]
}

fn mutate_response(real: &Response<Bytes>, case: &ResponseCase) -> Response<Bytes> {
    let mut answer = real.clone();
    *answer.body_mut() = match case {
        ResponseCase::Mutated(mutations) | ResponseCase::Status(_, mutations) => {
            twisted_body(real.body(), mutations).into()
        }
        ResponseCase::More(token, mutations) => match serde_json::from_slice(real.body()) {
            Ok(serde_json::Value::Object(mut members)) => {
                members.insert("nextPageToken".to_owned(), token.as_str().into());
                mutated(&members.into(), mutations).into()
            }
            Ok(_) | Err(_) => real.body().clone(),
        },
        ResponseCase::Damaged(damage) => damaged(real.body(), damage).into(),
        ResponseCase::Else(bytes) => bytes.clone().into(),
    };
    if let ResponseCase::Status(status, _) = case {
        *answer.status_mut() = http::StatusCode::from_u16(*status).unwrap();
    }
    answer
}

/// Mutates the JSON of a body, or of every part of a batch, and adapts the lengths of the parts.
fn twisted_body(body: &Bytes, mutations: &Mutations) -> String {
    let text = String::from_utf8_lossy(body);
    if let Ok(value) = serde_json::from_str(&text) {
        return mutated(&value, mutations);
    }
    let mut all = String::new();
    for line in text.split_inclusive("\r\n") {
        match serde_json::from_str(line) {
            Ok(value @ serde_json::Value::Object(_)) => {
                all.push_str(&(mutated(&value, mutations) + "\r\n"))
            }
            Ok(_) | Err(_) if line.starts_with("content-length") => {}
            Ok(_) | Err(_) => all.push_str(line),
        }
    }
    all
}

#[test]
fn any_response_of_drive_is_parsed_or_an_error_and_never_a_panic() {
    let (known, answers) = real_answers();
    let fine = AtomicUsize::new(0);
    let refused = AtomicUsize::new(0);
    let case = (select(DOORS.to_vec()), case());
    let outcome = runner(2_000).run(&case, |(call, case)| {
        let answer = mutate_response(&answers[call], &case);
        let bytes = answer.body().len();
        let (transport, calls) = says(answer);
        let (size, well) = run(request(call, &client(transport), &known));
        let said = bytes * calls.load(Ordering::Relaxed).max(1);
        prop_assert!(size <= said, "{size} came out of {said} bytes");
        let count = if well { &fine } else { &refused };
        count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    outcome.unwrap();
    let (fine, refused) = (fine.into_inner(), refused.into_inner());
    assert!(
        fine > 100 && refused > 100,
        "{fine} understood, {refused} refused"
    );
}

#[test]
fn regression_a_permission_list_that_never_ends_is_aborted() {
    let (known, answers) = real_answers();
    let mut answer = answers["permissions"].clone();
    *answer.body_mut() = Bytes::from_static(br#"{"permissions":[],"nextPageToken":"more"}"#);
    let (transport, calls) = says(answer);
    let (_, fine) = run(request("permissions", &client(transport), &known));
    assert!(!fine && calls.load(Ordering::Relaxed) < 50, "{calls:?}");
}

#[test]
fn any_response_of_the_token_endpoint_is_handled() {
    let aws = Aws::open(aws::Options::memory(aws::system_clock())).unwrap();
    let real = Real::new();
    let access = Access {
        secret_id: "drivesync/acme/drive".to_owned(),
        subject: None,
        quota_user: None,
        within: None,
    };
    let token = run(async {
        let secret = aws.secrets_client().create_secret().name(&access.secret_id);
        let secret = secret.secret_string(credentials(DRIVE_URL, "owner"));
        secret.send().await.unwrap();
        let body =
            "grant_type=refresh_token&refresh_token=user%3Aowner&client_id=x&client_secret=y";
        let request = Request::post(format!("{DRIVE_URL}/token"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Bytes::from(body))
            .unwrap();
        real.transport()(request).await.unwrap()
    });
    assert_eq!(token.status(), 200, "{token:?}");
    let outcome = runner(300).run(&case(), |case| {
        let said = mutate_response(&token, &case);
        let (drive, calls) = (real.transport(), Arc::new(AtomicUsize::new(0)));
        let transport: Transport = Arc::new(move |request: Request<Bytes>| {
            if request.uri().path() != "/token" {
                return drive(request);
            }
            let asked = calls.fetch_add(1, Ordering::Relaxed);
            assert!(asked < CALLS_MAX, "it asks for ever");
            let said = said.clone();
            Box::pin(async move { Ok(said) })
        });
        let about = run(async {
            let clock = Arc::new(now);
            let drives = Drives::new(transport, DRIVE_URL, aws.secrets_client(), clock);
            drives.client(&access).await?.about().await
        });
        sized(about, |about| about.email.len());
        Ok(())
    });
    outcome.unwrap();
}
