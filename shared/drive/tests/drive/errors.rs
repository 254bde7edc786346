//! Every row of the table of Google's errors, and what becomes of it.

use domain::{
    AttemptId, Disposition, FileId, Gone, LogId, Observation, PageToken, Patch, Refusal, Value,
};
use drive::{DriveError, Kind, Scope, TransportError};
use serde_json::json;

use crate::support::{Answer, Fake, answer, fixture, google_error, ok};

fn file() -> FileId {
    FileId::parse("f").unwrap()
}

/// The error of a call that carries a cursor.
async fn listing(answer: Answer) -> DriveError {
    let fake = Fake::answering([answer]);
    let token = PageToken::new("SECRET");
    let outcome = fake.client().list_changes(&LogId::user(), &token).await;
    outcome.unwrap_err()
}

/// The error of a read of one file.
async fn reading(answer: Answer) -> DriveError {
    let fake = Fake::answering([answer]);
    fake.client().read_file(&file()).await.unwrap_err()
}

/// The error of a conditional write.
async fn writing(written: Answer) -> DriveError {
    let document = fixture(include_str!("fixtures/document.v2.json"));
    let fake = Fake::answering([ok(&document), written]);
    let read = fake.client().read_file(&file()).await.unwrap();
    let patch = Patch {
        attempt: AttemptId(1),
        values: [(domain::Field::Name, Value::text("SECRET"))].into(),
    };
    fake.client().patch_file(&read, &patch).await.unwrap_err()
}

fn permanent(reason: &str) -> Kind {
    Kind::Permanent {
        reason: reason.to_owned(),
    }
}

fn denied(reason: &str) -> Kind {
    Kind::AccessDenied {
        reason: reason.to_owned(),
    }
}

fn lost(reason: &str) -> Kind {
    Kind::AuthLost {
        reason: reason.to_owned(),
    }
}

const BUSY: Kind = Kind::RateLimited {
    retry_after_millis: None,
};

/// Google's errors and what each means. Source: the Drive guide "Resolve errors"; what it does not list was seen in
/// the field. The words of the last column are those of [`meaning`].
const TABLE: &str = "
400 badRequest                               permanent
400 invalid                                  permanent
400 invalidParameter                         permanent
400 invalidSharingRequest                    permanent
400 channelIdNotUnique                       permanent
400 push.webhookUrlNotHttps                  permanent
401 push.webhookUrlUnauthorized              permanent
401 authError                                lost
403 accessNotConfigured                      lost
403 insufficientPermissions                  lost
403 rateLimitExceeded                        busy
403 userRateLimitExceeded                    busy
403 dailyLimitExceeded                       day
403 sharingRateLimitExceeded                 busy-long
403 subscriptionRateLimitExceeded            busy-long
403 storageQuotaExceeded                     permanent
403 activeItemCreationLimitExceeded          permanent
403 numChildrenInNonRootLimitExceeded        permanent
403 teamDriveFileLimitExceeded               permanent
403 myDriveHierarchyDepthLimitExceeded       permanent
403 teamDriveHierarchyTooDeep                permanent
403 insufficientFilePermissions              denied
403 appNotAuthorizedToFile                   denied
403 domainPolicy                             denied
403 teamDriveMembershipRequired              denied
403 cannotModifyInheritedTeamDrivePermission permanent
403 fileWriterTeamDriveMoveInDisabled        permanent
403 fileOwnerNotMemberOfTeamDrive            permanent
403 teamDrivesFolderMoveInNotSupported       permanent
403 teamDrivesParentLimit                    permanent
403 exportSizeLimitExceeded                  permanent
403 fileNotExportable                        permanent
403 fileNotDownloadable                      permanent
403 cannotExportFile                         permanent
403 cannotDownloadAbusiveFile                permanent
404 notFound                                 gone
408 requestTimeout                           failed
410 gone                                     gone
412 conditionNotMet                          stale
429 rateLimitExceeded                        busy
429 somethingNew                             busy
500 internalError                            failed
502 badGateway                               failed
503 backendError                             failed
504 gatewayTimeout                           failed
";

const HOUR_MILLIS: u32 = 3_600_000;

/// What a word of the table stands for: the kind, what becomes of a queue's message, and what becomes of a write's
/// attempt (`None`: it may have been carried out).
fn meaning(word: &str, reason: &str) -> (Kind, Becomes, Option<Refusal>) {
    let refused = Some(Refusal::Permanent(reason.to_owned()));
    let later = Some(Refusal::Later {
        wait_millis: HOUR_MILLIS.into(),
    });
    match word {
        "permanent" => (permanent(reason), Becomes::Parked, refused),
        "denied" => (denied(reason), Becomes::Parked, refused),
        "gone" => (Kind::NotFound, Becomes::Parked, refused),
        "lost" => (lost(reason), Becomes::Halted, Some(Refusal::Busy)),
        "busy" => (BUSY, Becomes::Retried(None), Some(Refusal::Busy)),
        "busy-long" => (BUSY, Becomes::Retried(Some(HOUR_MILLIS.into())), later),
        "day" => {
            let after = Becomes::Retried(Some(HOUR_MILLIS.into()));
            (Kind::DailyLimit, after, later)
        }
        "stale" => (Kind::Stale, Becomes::Retried(None), Some(Refusal::Stale)),
        "failed" => (Kind::Transient, Becomes::Retried(None), None),
        other => panic!("{other} is no word of the table"),
    }
}

/// What becomes of an input that an error stopped.
#[derive(Debug, PartialEq, Eq)]
enum Becomes {
    /// After so many milliseconds at least.
    Retried(Option<u64>),
    Parked,
    Halted,
}

fn becomes(error: &DriveError, reason: &str) -> Becomes {
    match error.disposition() {
        Disposition::Retry { after_millis } => Becomes::Retried(after_millis),
        Disposition::Park { reason: shown } => {
            assert!(shown.contains(reason), "{shown}");
            Becomes::Parked
        }
        Disposition::Halt { reason: shown } => {
            assert_eq!(shown, reason);
            Becomes::Halted
        }
    }
}

#[tokio::test]
async fn every_known_reason_ends_as_the_table_says_for_reads_and_writes_alike() {
    for row in TABLE.lines().skip(1) {
        let columns: Vec<&str> = row.split_whitespace().collect();
        let [status, reason, word] = columns[..] else {
            panic!("{row}");
        };
        let status: u16 = status.parse().unwrap();
        let (kind, end, refusal) = meaning(word, reason);
        let written = writing(google_error(status, reason, None)).await;
        match refusal {
            Some(refusal) => assert_eq!(written.refusal(), refusal, "{row}"),
            None => assert!(matches!(written.refusal(), Refusal::Unknown(_)), "{row}"),
        }
        for error in [reading(google_error(status, reason, None)).await, written] {
            assert_eq!(*error.kind(), kind, "{row}");
            assert_eq!(becomes(&error, reason), end, "{row}");
            assert_eq!(
                (error.status(), error.reason()),
                (Some(status), Some(reason))
            );
        }
    }
}

#[tokio::test]
async fn a_reason_is_familiar_if_the_table_has_it() {
    let strange = [
        "somethingNew",
        "requestTimeout",
        "gone",
        "badGateway",
        "gatewayTimeout",
    ];
    for row in TABLE.lines().skip(1) {
        let columns: Vec<&str> = row.split_whitespace().collect();
        let (status, reason) = (columns[0].parse().unwrap(), columns[1]);
        let error = reading(google_error(status, reason, None)).await;
        let unfamiliar = strange.contains(&reason).then_some(reason);
        assert_eq!(error.unfamiliar_reason(), unfamiliar, "{row}");
    }
}

#[tokio::test]
async fn an_unknown_refusal_is_asked_again_for_a_read_and_final_for_a_write() {
    for status in [400, 403, 409, 418] {
        let read = reading(google_error(status, "somethingNew", None)).await;
        assert_eq!(*read.kind(), Kind::Transient);
        assert_eq!(read.reason(), Some("somethingNew"), "the reason survives");
        let write = writing(google_error(status, "somethingNew", None)).await;
        assert_eq!(*write.kind(), permanent("somethingNew"));
    }
    let mute = writing(answer(403, &json!("<html>"))).await;
    assert_eq!(*mute.kind(), permanent("status403"));
    let moved = writing(answer(302, &json!({}))).await;
    assert_eq!(*moved.kind(), Kind::Transient);
}

#[tokio::test]
async fn a_cursor_is_lost_only_by_the_answers_that_say_so() {
    let rows = [
        (400, "invalid", Some("pageToken"), Kind::CursorLost),
        (400, "invalidParameter", Some("pageToken"), Kind::CursorLost),
        (400, "invalid", Some("pageSize"), permanent("invalid")),
        (
            400,
            "badRequest",
            Some("pageToken"),
            permanent("badRequest"),
        ),
        (404, "notFound", None, Kind::CursorLost),
        (410, "gone", None, Kind::CursorLost),
        (403, "rateLimitExceeded", None, BUSY),
        (500, "internalError", Some("pageToken"), Kind::Transient),
        (401, "authError", Some("Authorization"), lost("authError")),
    ];
    for (status, reason, location, kind) in rows {
        let error = listing(google_error(status, reason, location)).await;
        assert_eq!(*error.kind(), kind, "{status} {reason} {location:?}");
        // Without a cursor there is none to lose.
        let fake = Fake::answering([google_error(status, reason, location)]);
        let first = fake
            .client()
            .list_files(&Scope::User, None)
            .await
            .unwrap_err();
        assert_ne!(*first.kind(), Kind::CursorLost);
    }
}

#[tokio::test]
async fn the_wait_that_drive_asks_for_is_kept() {
    let mut answer = google_error(403, "userRateLimitExceeded", None).unwrap();
    answer
        .headers_mut()
        .insert("retry-after", http::HeaderValue::from_static("7"));
    let kind = Kind::RateLimited {
        retry_after_millis: Some(7_000),
    };
    assert_eq!(*reading(Ok(answer)).await.kind(), kind);
}

#[tokio::test]
async fn other_shapes_of_an_error_are_read_as_far_as_they_go() {
    let details = json!({"error": {"code": 403, "status": "PERMISSION_DENIED",
        "details": [{"@type": "x"}, {"reason": "rateLimitExceeded"}]}});
    assert_eq!(*reading(answer(403, &details)).await.kind(), BUSY);
    let status = json!({"error": {"code": 403, "status": "PERMISSION_DENIED"}});
    assert_eq!(
        reading(answer(403, &status)).await.reason(),
        Some("PERMISSION_DENIED")
    );
    let odd = json!({"error": {"errors": [{"reason": "a b\nc/" .repeat(50)}]}});
    let error = reading(answer(403, &odd)).await;
    assert_eq!(error.reason().unwrap().len(), 64);
    assert!(
        error
            .reason()
            .unwrap()
            .chars()
            .all(|c| c.is_ascii_alphabetic())
    );
}

#[tokio::test]
async fn an_error_shows_no_token_name_or_body() {
    let not_json = Ok(http::Response::new("SECRET".into()));
    for error in [
        listing(google_error(400, "invalid", Some("pageToken"))).await,
        writing(google_error(403, "insufficientFilePermissions", None)).await,
        writing(answer(200, &json!({"id": "f", "version": "SECRET"}))).await,
        reading(not_json).await,
    ] {
        let shown = format!("{error} {error:?}");
        assert!(
            !shown.contains("SECRET") && !shown.contains("t0ken"),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn a_refused_write_tells_what_becomes_of_its_attempt() {
    let unanswered = || Err(TransportError::MaybeSent("reset".into()));
    let rows = [
        (
            google_error(412, "conditionNotMet", None),
            Some(Refusal::Stale),
        ),
        (
            google_error(403, "userRateLimitExceeded", None),
            Some(Refusal::Busy),
        ),
        (
            google_error(403, "dailyLimitExceeded", None),
            Some(Refusal::Later {
                wait_millis: 3_600_000,
            }),
        ),
        (google_error(401, "authError", None), Some(Refusal::Busy)),
        (
            Err(TransportError::NotSent("refused".into())),
            Some(Refusal::Busy),
        ),
        (
            google_error(403, "storageQuotaExceeded", None),
            Some(Refusal::Permanent("storageQuotaExceeded".into())),
        ),
        (
            google_error(403, "insufficientFilePermissions", None),
            Some(Refusal::Permanent("insufficientFilePermissions".into())),
        ),
        (
            google_error(404, "notFound", None),
            Some(Refusal::Permanent("notFound".into())),
        ),
        (google_error(503, "backendError", None), None),
        (unanswered(), None),
        // It was done, but what did it become?
        (ok(&json!({"id": "f"})), None),
        (Ok(http::Response::new("<html>".into())), None),
    ];
    for (answer, definite) in rows {
        let error = writing(answer).await;
        match definite {
            Some(refusal) => assert_eq!(error.refusal(), refusal),
            None => assert!(matches!(error.refusal(), Refusal::Unknown(_)), "{error}"),
        }
    }
}

#[tokio::test]
async fn a_look_tells_gone_from_shut_out() {
    let look = |answer| async move { Fake::answering([answer]).client().look(&file()).await };
    let gone = |gone| Observation::Gone(gone);
    let found = look(ok(&fixture(include_str!("fixtures/document.v2.json"))))
        .await
        .unwrap();
    assert!(matches!(found, Observation::Present(_)));
    let removed = look(google_error(404, "notFound", None)).await.unwrap();
    assert_eq!(removed, gone(Gone::Removed));
    for reason in [
        "insufficientFilePermissions",
        "appNotAuthorizedToFile",
        "teamDriveMembershipRequired",
    ] {
        let denied = look(google_error(403, reason, None)).await.unwrap();
        assert_eq!(denied, gone(Gone::AccessLost), "{reason}");
    }
    for (status, reason) in [
        (403, "domainPolicy"),
        (403, "somethingNew"),
        (500, "internalError"),
    ] {
        assert!(
            look(google_error(status, reason, None)).await.is_err(),
            "{reason}"
        );
    }
}
