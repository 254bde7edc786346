//! The classification of Google's errors.

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

/// Google's errors and their classes. Source: the Drive guide "Resolve errors"; others were
/// observed. The words of the last column are explained by [`meaning`].
const TABLE: &str = "
400 badRequest                               invalid
400 invalid                                  invalid
400 invalidParameter                         invalid
400 invalidSharingRequest                    invalid
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

/// The meaning of a word in the table: the kind, the disposition of a message, and the refusal of a
/// write (`None`: it may have been executed).
fn meaning(word: &str, reason: &str) -> (Kind, Expected, Option<Refusal>) {
    let invalid = Some(Refusal::Permanent(reason.to_owned()));
    let passing = Some(Refusal::Passing(reason.to_owned()));
    let doubted = Some(Refusal::Doubted {
        reason: reason.to_owned(),
        believed_after_millis: 600_000,
    });
    let later = Some(Refusal::Later {
        wait_millis: HOUR_MILLIS.into(),
    });
    match word {
        "invalid" => (permanent(reason), Expected::Parked, invalid),
        "permanent" => (permanent(reason), Expected::Parked, passing),
        "denied" => (denied(reason), Expected::Parked, passing),
        "gone" => (Kind::NotFound, Expected::Parked, doubted),
        "lost" => (lost(reason), Expected::Halted, Some(Refusal::Busy)),
        "busy" => (BUSY, Expected::Retried(None), Some(Refusal::Busy)),
        "busy-long" => (BUSY, Expected::Retried(Some(HOUR_MILLIS.into())), later),
        "day" => {
            let after = Expected::Retried(Some(HOUR_MILLIS.into()));
            (Kind::DailyLimit, after, later)
        }
        "stale" => (Kind::Stale, Expected::Retried(None), Some(Refusal::Stale)),
        "failed" => (Kind::Transient, Expected::Retried(None), None),
        other => panic!("{other} is not a word of the table"),
    }
}

/// The expected disposition.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    /// After at least so many milliseconds.
    Retried(Option<u64>),
    Parked,
    Halted,
}

fn disposition_of(error: &DriveError, reason: &str) -> Expected {
    match error.disposition() {
        Disposition::Retry { after_millis } => Expected::Retried(after_millis),
        Disposition::Park { reason: shown } => {
            assert!(shown.contains(reason), "{shown}");
            Expected::Parked
        }
        Disposition::Halt { reason: shown } => {
            assert_eq!(shown, reason);
            Expected::Halted
        }
    }
}

#[tokio::test]
async fn every_known_reason_is_classified_for_reads_and_writes() {
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
            assert_eq!(disposition_of(&error, reason), end, "{row}");
            assert_eq!(
                (error.status(), error.reason()),
                (Some(status), Some(reason))
            );
        }
    }
}

#[tokio::test]
async fn a_reason_is_known_if_the_table_has_it() {
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
        assert_eq!(error.unknown_reason(), unfamiliar, "{row}");
    }
}

#[tokio::test]
async fn an_unknown_4xx_is_transient_for_reads_and_permanent_for_writes() {
    for status in [400, 403, 409, 418] {
        let day = Refusal::Doubted {
            reason: "somethingNew".to_owned(),
            believed_after_millis: 86_400_000,
        };
        let read = reading(google_error(status, "somethingNew", None)).await;
        assert_eq!(*read.kind(), Kind::Transient);
        assert_eq!(read.reason(), Some("somethingNew"), "the reason is kept");
        let write = writing(google_error(status, "somethingNew", None)).await;
        assert_eq!(*write.kind(), permanent("somethingNew"));
        assert_eq!(write.refusal(), day);
    }
}

/// Bodies of errors that are not Google's, with a status of 404.
fn foreign_bodies() -> Vec<&'static str> {
    vec![
        "",
        "Not Found",
        "<!DOCTYPE html><html><title>Error 404 (Not Found)!!1</title></html>",
        "{}",
        "[]",
        "null",
        r#"{"error": "not_found"}"#,
        r#"{"error": null}"#,
        r#"{"error": {}}"#,
        r#"{"error": {"code": 404, "message": "no reason"}}"#,
        r#"{"error": {"code": 404, "errors": []}}"#,
        r#"{"error": {"errors": [{"reason": "notFound"}]}}"#,
        r#"{"error": {"code": 200, "errors": [{"reason": "notFound"}]}}"#,
        r#"{"code": 404, "errors": [{"reason": "notFound"}]}"#,
        r#"{"error": {"code": 404, "errors": [{"reason": "notFound"}]}"#,
        r#"{"message": "Not Found", "status": "404"}"#,
    ]
}

#[tokio::test]
async fn an_error_that_is_not_googles_says_nothing_whatever_its_status() {
    for status in [302, 400, 401, 403, 404, 409, 410, 412, 418, 500, 503] {
        for body in foreign_bodies() {
            let foreign = || {
                let mut answer = http::Response::new(body.into());
                *answer.status_mut() = http::StatusCode::from_u16(status).unwrap();
                Ok(answer)
            };
            for error in [reading(foreign()).await, listing(foreign()).await] {
                assert_eq!(*error.kind(), Kind::Transient, "{status} {body}");
                assert_eq!((error.gone(), error.reason()), (None, None));
                let retried = Expected::Retried(None);
                assert_eq!(disposition_of(&error, ""), retried, "{status} {body}");
                assert!(error.is_outage());
            }
            let written = writing(foreign()).await;
            assert_eq!(*written.kind(), Kind::Unanswered, "{status} {body}");
            assert!(matches!(written.refusal(), Refusal::Unknown(_)));
            assert_eq!(disposition_of(&written, ""), Expected::Retried(None));
        }
    }
}

#[tokio::test]
async fn only_errors_about_the_page_token_lose_the_cursor() {
    let rows = [
        (400, "invalid", Some("pageToken"), Kind::CursorLost),
        (400, "invalidParameter", Some("pageToken"), Kind::CursorLost),
        (400, "invalid", Some("pageSize"), permanent("invalid")),
        (400, "invalid", None, Kind::NotFound),
        (400, "badRequest", None, Kind::NotFound),
        (
            400,
            "badRequest",
            Some("pageToken"),
            permanent("badRequest"),
        ),
        (404, "notFound", None, Kind::NotFound),
        (404, "notFound", Some("pageToken"), Kind::NotFound),
        (410, "gone", None, Kind::NotFound),
        (403, "rateLimitExceeded", None, BUSY),
        (500, "internalError", Some("pageToken"), Kind::Transient),
        (401, "authError", Some("Authorization"), lost("authError")),
    ];
    for (status, reason, location, kind) in rows {
        let error = listing(google_error(status, reason, location)).await;
        assert_eq!(*error.kind(), kind, "{status} {reason} {location:?}");
        // A call without a cursor can't lose it.
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
async fn a_retry_after_is_reported() {
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
async fn other_error_formats_are_parsed_as_far_as_possible() {
    let details = json!({"error": {"code": 403, "status": "PERMISSION_DENIED",
        "details": [{"@type": "x"}, {"reason": "rateLimitExceeded"}]}});
    assert_eq!(*reading(answer(403, &details)).await.kind(), BUSY);
    let status = json!({"error": {"code": 403, "status": "PERMISSION_DENIED"}});
    assert_eq!(
        reading(answer(403, &status)).await.reason(),
        Some("PERMISSION_DENIED")
    );
    let odd = json!({"error": {"code": 403, "errors": [{"reason": "a b\nc/" .repeat(50)}]}});
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
async fn a_failed_write_is_converted_into_a_refusal() {
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
            Some(Refusal::Passing("storageQuotaExceeded".into())),
        ),
        (
            google_error(403, "insufficientFilePermissions", None),
            Some(Refusal::Passing("insufficientFilePermissions".into())),
        ),
        (
            google_error(404, "notFound", None),
            Some(Refusal::Doubted {
                reason: "notFound".into(),
                believed_after_millis: 600_000,
            }),
        ),
        (google_error(503, "backendError", None), None),
        (unanswered(), None),
        // It was executed, with an unknown result.
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
async fn a_gone_file_is_distinguished_from_lost_access() {
    let observe = |answer| async move {
        let fake = Fake::answering([answer]);
        fake.client().get_or_gone(&file()).await
    };
    let gone = |gone| Observation::Gone(gone);
    let found = observe(ok(&fixture(include_str!("fixtures/document.v2.json"))))
        .await
        .unwrap();
    assert!(matches!(found, Observation::Present(_)));
    let removed = observe(google_error(404, "notFound", None)).await.unwrap();
    assert_eq!(removed, gone(Gone::Removed));
    for reason in [
        "insufficientFilePermissions",
        "appNotAuthorizedToFile",
        "teamDriveMembershipRequired",
    ] {
        let denied = observe(google_error(403, reason, None)).await.unwrap();
        assert_eq!(denied, gone(Gone::AccessLost), "{reason}");
    }
    for (status, reason) in [
        (403, "domainPolicy"),
        (403, "somethingNew"),
        (500, "internalError"),
    ] {
        assert!(
            observe(google_error(status, reason, None)).await.is_err(),
            "{reason}"
        );
    }
}
