//! Batches: the request, and the result of each call.

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::{AttemptId, Field, FileId, Gone, Observation, Patch, Value};
use drive::{Access, DriveError, Drives, Kind, Read, TransportError};
use http::{Method, header};
use serde_json::{Value as Json, json};

use crate::support::{Answer, BASE, Fake, FakeSecrets, clock, fixture, google_error, ok};

fn id(number: usize) -> FileId {
    FileId::parse(&format!("f{number}")).unwrap()
}

fn document(number: usize) -> Json {
    let mut document = fixture(include_str!("fixtures/document.v2.json"));
    document["id"] = json!(id(number).as_str());
    document
}

/// A part in Google's format: the HTTP response to one call.
fn part(call: usize, answer: Answer) -> String {
    let (parts, body) = answer.unwrap().into_parts();
    let body = String::from_utf8(body.to_vec()).unwrap();
    format!(
        "Content-Type: application/http\r\nContent-ID: <response-{call}>\r\n\r\n\
         HTTP/1.1 {}\r\nContent-Type: application/json; charset=UTF-8\r\n\
         Content-Length: {}\r\n\r\n{body}\r\n",
        parts.status,
        body.len()
    )
}

fn mixed(parts: &[String]) -> Answer {
    let body: String = parts
        .iter()
        .map(|part| format!("--batch_x\r\n{part}"))
        .collect();
    raw("multipart/mixed; boundary=batch_x", &(body + "--batch_x--"))
}

fn raw(kind: &str, body: &str) -> Answer {
    let answer = http::Response::builder().header(header::CONTENT_TYPE, kind);
    Ok(answer.body(Bytes::from(body.to_owned())).unwrap())
}

async fn reads(answers: impl IntoIterator<Item = Answer>) -> Vec<Result<Read, DriveError>> {
    let fake = Fake::answering(answers);
    fake.client().read_files(&[id(0), id(1), id(2)]).await
}

fn kinds<T>(outcomes: &[Result<T, DriveError>]) -> Vec<Option<Kind>> {
    let kind = |outcome: &Result<T, DriveError>| outcome.as_ref().err().map(|e| e.kind().clone());
    outcomes.iter().map(kind).collect()
}

fn denied() -> Kind {
    Kind::AccessDenied {
        reason: "insufficientFilePermissions".to_owned(),
    }
}

/// Two files that were read and can be written.
async fn two_reads() -> Vec<Read> {
    let fake = Fake::answering([mixed(&[
        part(0, ok(&document(0))),
        part(1, ok(&document(1))),
    ])]);
    let reads = fake.client().read_files(&[id(0), id(1)]).await;
    reads.into_iter().map(Result::unwrap).collect()
}

fn patch(name: &str) -> Patch {
    Patch {
        attempt: AttemptId(1),
        values: BTreeMap::from([(Field::Name, Value::text(name))]),
    }
}

#[tokio::test]
async fn responses_are_assigned_to_files_in_any_order() {
    let answers = mixed(&[
        part(2, google_error(403, "insufficientFilePermissions", None)),
        part(0, ok(&document(0))),
        part(1, google_error(404, "notFound", None)),
    ]);
    let reads = reads([answers]).await;
    assert_eq!(reads[0].as_ref().unwrap().snapshot.file, id(0));
    assert_eq!(kinds(&reads), [None, Some(Kind::NotFound), Some(denied())]);
}

#[tokio::test]
async fn many_files_are_each_observed_as_present_or_gone() {
    let look = |answers: Vec<Answer>| async move {
        let fake = Fake::answering(answers);
        fake.client().get_or_gone_many(&[id(0), id(1), id(2)]).await
    };
    let answers = mixed(&[
        part(0, ok(&document(0))),
        part(1, google_error(404, "notFound", None)),
        part(2, google_error(403, "insufficientFilePermissions", None)),
    ]);
    let looks = look(vec![answers]).await;
    assert!(matches!(&looks[0], Ok(Observation::Present(seen)) if seen.file == id(0)));
    let gone = |look: &Result<Observation, DriveError>| look.as_ref().unwrap().clone();
    assert_eq!(gone(&looks[1]), Observation::Gone(Gone::Removed));
    assert_eq!(gone(&looks[2]), Observation::Gone(Gone::AccessLost));
    // The failure of the batch says nothing about a file.
    for status in [404, 403] {
        let looks = look(vec![google_error(status, "notFound", None)]).await;
        assert_eq!(looks.len(), 3);
        assert!(looks.iter().all(Result::is_err), "{looks:?}");
    }
}

#[tokio::test]
async fn calls_in_a_batch_are_the_same_as_single_ones() {
    let fake = Fake::answering([mixed(&[]), mixed(&[])]);
    let reads = two_reads().await;
    let (one, two) = (patch("a"), patch("b \"quoted\"\r\n--batch_drivesync"));
    fake.client()
        .write_files(&[(&reads[0], &one), (&reads[1], &two)])
        .await;
    let request = fake.only_request();
    assert_eq!(request.method(), Method::POST);
    assert_eq!(request.uri().to_string(), format!("{BASE}/batch/drive/v2"));
    assert_eq!(request.headers()[header::AUTHORIZATION], "Bearer t0ken");
    assert_eq!(
        request.headers()[header::CONTENT_TYPE],
        "multipart/mixed; boundary=batch_drivesync"
    );
    let body = std::str::from_utf8(request.body()).unwrap();
    let parts: Vec<&str> = body.split("--batch_drivesync\r\n").collect();
    assert_eq!(parts.len(), 3, "no preamble: {body}");
    assert!(body.ends_with("\r\n--batch_drivesync--\r\n"));
    let etag = fixture(include_str!("fixtures/document.v2.json"))["etag"].clone();
    let (headers, inner) = parts[1].split_once("\r\n\r\n").unwrap();
    assert_eq!(headers, "Content-Type: application/http\r\nContent-ID: <0>");
    assert!(inner.starts_with("PATCH /drive/v2/files/f0?supportsAllDrives=true&"));
    assert!(inner.contains(&format!("\r\nIf-Match: {}\r\n", etag.as_str().unwrap())));
    assert!(inner.contains("\r\nContent-Length: 13\r\n\r\n{\"title\":\"a\"}\r\n"));
}

#[tokio::test]
async fn a_single_file_is_read_without_a_batch() {
    let fake = Fake::answering([ok(&document(0))]);
    let reads = fake.client().read_files(&[id(0)]).await;
    assert_eq!(kinds(&reads), [None]);
    assert_eq!(fake.only_request().method(), Method::GET);
    assert!(fake.client().read_files(&[]).await.is_empty());
}

#[tokio::test]
async fn more_than_a_hundred_files_are_several_batches() {
    let files: Vec<FileId> = (0..250).map(id).collect();
    let batch = |range: std::ops::Range<usize>| {
        let parts = range.map(|file| part(file % 100, ok(&document(file))));
        mixed(&parts.collect::<Vec<_>>())
    };
    let fake = Fake::answering([batch(0..100), batch(100..200), batch(200..250)]);
    let reads = fake.client().read_files(&files).await;
    let read: Vec<FileId> = reads
        .into_iter()
        .map(|r| r.unwrap().snapshot.file)
        .collect();
    assert_eq!(read, files);
    assert_eq!(fake.asked().len(), 3);
}

#[tokio::test]
async fn a_missing_or_duplicate_part_leaves_its_file_unknown() {
    let whole = [0, 1, 2].map(|file| part(file, ok(&document(file))));
    let missing = reads([mixed(&whole[..2])]).await;
    assert_eq!(kinds(&missing), [None, None, Some(Kind::Transient)]);
    let twice = [&whole[..], &whole[1..2]].concat();
    let doubled = reads([mixed(&twice)]).await;
    assert_eq!(kinds(&doubled), [None, Some(Kind::Transient), None]);
}

#[tokio::test]
async fn a_truncated_batch_leaves_the_rest_unanswered() {
    let whole = [0, 1, 2].map(|file| part(file, ok(&document(file))));
    let text: String = whole.iter().map(|p| format!("--batch_x\r\n{p}")).collect();
    let cut = &text[..text.len() - 40];
    let broken = reads([raw("multipart/mixed; boundary=batch_x", cut)]).await;
    assert_eq!(kinds(&broken), [None, None, Some(Kind::Transient)]);
}

#[tokio::test]
async fn a_response_about_another_file_is_rejected() {
    let crossed = [part(0, ok(&document(1))), part(1, ok(&document(0)))];
    let reads = reads([mixed(&crossed)]).await;
    assert_eq!(kinds(&reads), vec![Some(Kind::Transient); 3]);
}

#[tokio::test]
async fn a_write_without_a_response_may_have_been_executed() {
    let (reads, patch) = (two_reads().await, patch("a"));
    let writes = [(&reads[0], &patch), (&reads[1], &patch)];
    let html = raw("text/html; charset=UTF-8", "<html>Error 502</html>");
    let lost = || Err(TransportError::MaybeSent("reset".into()));
    for (answer, wanted) in [
        (html, Kind::Unanswered),
        (lost(), Kind::Unanswered),
        (google_error(500, "backendError", None), Kind::Unanswered),
        // The status of the batch itself is not about a file.
        (google_error(404, "notFound", None), Kind::Unanswered),
        (google_error(400, "badRequest", None), Kind::Unanswered),
        (google_error(412, "conditionNotMet", None), Kind::Unanswered),
    ] {
        let fake = Fake::answering([answer]);
        let written = fake.client().write_files(&writes).await;
        assert_eq!(kinds(&written), vec![Some(wanted); 2]);
    }
    let one_part = mixed(&[part(1, google_error(412, "conditionNotMet", None))]);
    let fake = Fake::answering([one_part]);
    let written = fake.client().write_files(&writes).await;
    assert_eq!(kinds(&written), [Some(Kind::Unanswered), Some(Kind::Stale)]);
}

#[tokio::test]
async fn a_batch_that_was_definitely_not_executed_is_reported_as_such() {
    let (reads, patch) = (two_reads().await, patch("a"));
    let writes = [(&reads[0], &patch), (&reads[1], &patch)];
    let busy = Kind::RateLimited {
        retry_after_millis: None,
    };
    for (answer, wanted) in [
        (google_error(429, "rateLimitExceeded", None), busy.clone()),
        (google_error(403, "userRateLimitExceeded", None), busy),
        (
            Err(TransportError::NotSent("refused".into())),
            Kind::NotSent,
        ),
    ] {
        let fake = Fake::answering([answer]);
        let written = fake.client().write_files(&writes).await;
        assert_eq!(kinds(&written), vec![Some(wanted); 2]);
    }
}

#[tokio::test]
async fn a_file_is_written_once_in_a_batch() {
    let reads = two_reads().await;
    let (first, second) = (patch("a"), patch("b"));
    let fake = Fake::answering([mixed(&[
        part(0, ok(&document(0))),
        part(1, ok(&document(1))),
    ])]);
    let writes = [
        (&reads[0], &first),
        (&reads[0], &second),
        (&reads[1], &first),
    ];
    let written = fake.client().write_files(&writes).await;
    assert_eq!(kinds(&written), [None, Some(Kind::NotSent), None]);
    let request = fake.only_request();
    let body = std::str::from_utf8(request.body()).unwrap();
    assert_eq!(body.matches("PATCH /drive/v2/files/f0?").count(), 1);
}

#[tokio::test]
async fn an_unwritable_value_does_not_block_other_writes() {
    let reads = two_reads().await;
    let odd = Patch {
        values: BTreeMap::from([(Field::Name, Value::Flag(true))]),
        ..patch("a")
    };
    let fake = Fake::answering([ok(&document(1))]);
    let good = patch("b");
    let written = fake
        .client()
        .write_files(&[(&reads[0], &odd), (&reads[1], &good)])
        .await;
    let reason = "notWritable".to_owned();
    assert_eq!(kinds(&written), [Some(Kind::Permanent { reason }), None]);
}

#[tokio::test]
async fn only_calls_with_a_rejected_token_are_repeated() {
    let expired = || google_error(401, "authError", Some("Authorization"));
    let token = |text: &str| ok(&json!({"access_token": text, "expires_in": 3599}));
    let secret = json!({"type": "authorized_user", "client_id": "c", "client_secret": "s",
        "refresh_token": "r", "token_uri": "https://oauth2.googleapis.com/token"});
    let secrets = FakeSecrets::holding([secret.to_string()]);
    let access = Access {
        secret_id: "s".to_owned(),
        subject: None,
        quota_user: Some("acme".to_owned()),
        within: None,
    };
    let fake = Fake::answering([
        token("t1"),
        mixed(&[
            part(0, ok(&document(0))),
            part(1, expired()),
            part(2, expired()),
        ]),
        token("t2"),
        mixed(&[part(0, ok(&document(1))), part(1, expired())]),
        // The token of the whole batch can be rejected too.
        expired(),
        token("t3"),
        mixed(&[part(0, ok(&document(0))), part(1, ok(&document(1)))]),
    ]);
    let drives = Drives::new(fake.transport(), BASE, secrets.client(), clock());
    let client = drives.client(&access).await.unwrap();
    let reads = client.read_files(&[id(0), id(1), id(2)]).await;
    let reason = "authError".to_owned();
    assert_eq!(
        kinds(&reads),
        [None, None, Some(Kind::AuthLost { reason })],
        "renewed only once"
    );
    let asked = fake.asked();
    let second = std::str::from_utf8(asked[3].body()).unwrap();
    assert_eq!(asked[3].headers()[header::AUTHORIZATION], "Bearer t2");
    assert!(!second.contains("/files/f0?") && second.contains("/files/f1?"));
    assert!(second.contains("quotaUser=acme"));

    let reads = client.read_files(&[id(0), id(1)]).await;
    assert_eq!(kinds(&reads), [None, None]);
    assert_eq!(
        fake.asked()[2].headers()[header::AUTHORIZATION],
        "Bearer t3"
    );
}

#[tokio::test]
async fn a_part_can_have_a_retry_after() {
    let text = part(0, google_error(429, "rateLimitExceeded", None));
    let text = text.replace(
        "HTTP/1.1 429 Too Many Requests\r\n",
        "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\n",
    );
    let reads = reads([mixed(&[text])]).await;
    let wanted = Kind::RateLimited {
        retry_after_millis: Some(7_000),
    };
    assert_eq!(kinds(&reads)[0], Some(wanted));
}

#[tokio::test]
async fn an_etag_that_could_inject_a_header_is_never_sent() {
    let mut reads = two_reads().await;
    reads[0].etag = "\"x\"\r\nAuthorization: Bearer other".to_owned();
    let fake = Fake::answering([mixed(&[part(1, ok(&document(1)))])]);
    let patch = patch("a");
    let writes = [(&reads[0], &patch), (&reads[1], &patch)];
    let written = fake.client().write_files(&writes).await;
    let reason = "notARequest".to_owned();
    assert_eq!(kinds(&written), [Some(Kind::Permanent { reason }), None]);
    let body = fake.only_request().into_body();
    assert!(!std::str::from_utf8(&body).unwrap().contains("other"));
}

#[tokio::test]
async fn an_error_of_a_batch_shows_no_names_or_tokens() {
    let fake = Fake::answering([google_error(500, "backendError", None)]);
    let reads = fake.client().read_files(&[id(0), id(1)]).await;
    for read in reads {
        let error = read.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(
            !text.contains("SECRET") && !text.contains("t0ken"),
            "{text}"
        );
        assert_eq!(error.method(), "files.get");
    }
}
