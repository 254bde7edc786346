//! What a secret allows, and how long it is believed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use domain::{InvalidReach, LogId, Reach, Timestamp};
use drive::{Access, BoundCredentials, Clock, InvalidCredentials, Kind};
use serde_json::{Value, json};

use super::{TOKEN_URI, access, document, drives, parse, read, token, user_secret};
use crate::support::{Fake, FakeSecrets, NOW, clock, rsa_key};

#[test]
fn regression_a_secret_names_no_other_token_endpoint_than_googles() {
    let parse = |token_uri: &str, drive_url: &str| {
        let secret = json!({"type": "authorized_user", "client_id": "c", "client_secret": "s",
            "refresh_token": "r", "token_uri": token_uri});
        BoundCredentials::parse(&secret.to_string(), drive_url).is_ok()
    };
    let (google, local) = ("https://www.googleapis.com", "http://127.0.0.1:3001");
    let googles = [
        TOKEN_URI,
        "https://www.googleapis.com/oauth2/v4/token",
        "https://accounts.google.com/o/oauth2/token",
    ];
    for endpoint in googles {
        assert!(
            parse(endpoint, google) && parse(endpoint, local),
            "{endpoint}"
        );
    }
    for endpoint in [
        "http://127.0.0.1:3001/token",
        "http://10.0.0.5/token",
        "http://169.254.169.254/latest/meta-data",
        "http://oauth2.googleapis.com/token",
        "https://oauth2.googleapis.com.evil.example/token",
        "https://oauth2.googleapis.com@evil.example/token",
        "https://oauth2.googleapis.com:8443/token",
        "https://www.googleapis.com/upload/token",
        "file:///etc/passwd",
        "data:text/plain,x",
        "//evil.example",
        "",
    ] {
        assert!(!parse(endpoint, google), "{endpoint}");
    }
    assert!(parse("http://127.0.0.1:3001/token", local));
    for endpoint in [
        "http://127.0.0.1:3002/token",
        "https://127.0.0.1:3001/token",
        "http://127.0.0.1:3001@evil.example/token",
        "http://evil.example/token",
    ] {
        assert!(!parse(endpoint, local), "{endpoint}");
    }
}

#[test]
fn lists_that_bound_credentials_are_read_strictly() {
    let with = |name: &str, value: Value| {
        let mut secret = json!({"type": "authorized_user", "client_id": "c", "client_secret": "s",
            "refresh_token": "r", "quota_project_id": "p"});
        secret[name] = value;
        parse(&secret.to_string()).map(|secret| secret.reach)
    };
    let subjects = InvalidCredentials::BadReach(InvalidReach::Subjects);
    let domains = InvalidCredentials::BadReach(InvalidReach::Domains);
    let drives = InvalidCredentials::BadReach(InvalidReach::Drives);
    let unknown = InvalidCredentials::UnknownBounds;
    for (name, value, refused) in [
        ("allowed_subjects", json!("ann@example.com"), subjects),
        ("allowed_subjects", json!(["ann@example.com", 7]), subjects),
        ("allowed_subjects", json!(["*"]), subjects),
        ("allowed_domains", json!({"example.com": true}), domains),
        ("allowed_domains", json!(["*.example.com"]), domains),
        ("allowed_drives", Value::Null, drives),
        ("allowed_drives", json!(true), drives),
        ("allowed_subject", json!([]), unknown),
        ("Allowed_Drives", json!([]), unknown),
    ] {
        assert_eq!(with(name, value.clone()), Err(refused), "{name} {value}");
    }
    let reach = with("allowed_drives", json!(["0A"])).unwrap();
    assert!(reach.check(None, &LogId::parse("0A").unwrap()).is_ok());
    assert_eq!(with("universe_domain", json!("x")), Ok(Reach::default()));
}

fn account_secret(allowed: &[&str]) -> String {
    let (pem, _) = rsa_key();
    json!({"type": "service_account", "client_email": "sync@p.iam.test", "private_key": pem,
        "allowed_subjects": allowed})
    .to_string()
}

fn as_ann(within: Option<LogId>) -> Access {
    Access {
        subject: Some("ann@example.com".to_owned()),
        within,
        ..access()
    }
}

fn assert_lost(error: &drive::DriveError, wanted: &str) {
    assert!(
        matches!(error.kind(), Kind::AuthLost { reason } if reason == wanted),
        "{error}"
    );
}

#[tokio::test]
async fn regression_a_subject_that_the_secret_does_not_list_is_not_impersonated() {
    let nobody = account_secret(&[]);
    let secrets =
        FakeSecrets::holding([nobody.clone(), nobody, account_secret(&["ann@example.com"])]);
    let fake = Fake::answering([token("a"), document()]);
    let drives = drives(&fake, &secrets, clock());
    let bound = as_ann(Some(LogId::user()));
    let client = drives.client(&bound).await.unwrap();
    assert_lost(&read(&client).await.unwrap_err(), "subject_not_allowed");
    assert!(fake.asked().is_empty(), "Google was asked nothing");
    // Once the operator has listed the subject, it is.
    read(&client).await.unwrap();
    assert_eq!(secrets.reads(), 3);
}

#[tokio::test]
async fn a_client_of_an_older_connection_is_not_bound() {
    let secrets = FakeSecrets::holding([account_secret(&[])]);
    let fake = Fake::answering([token("a"), document()]);
    let client = drives(&fake, &secrets, clock()).client(&as_ann(None)).await;
    read(&client.unwrap()).await.unwrap();
}

#[tokio::test]
async fn regression_a_secret_that_was_deleted_or_narrowed_is_not_used_for_long() {
    let narrowed = || vec![account_secret(&[]), account_secret(&[])];
    for (later, reason) in [
        (narrowed(), "subject_not_allowed"),
        (Vec::new(), "ResourceNotFoundException"),
    ] {
        let now = Arc::new(AtomicI64::new(NOW.as_millis()));
        let clock: Clock = {
            let now = Arc::clone(&now);
            Arc::new(move || Timestamp::from_millis(now.load(Ordering::SeqCst)))
        };
        let deleted = later.is_empty();
        let listed = account_secret(&["ann@example.com"]);
        let secrets = FakeSecrets::holding([listed].into_iter().chain(later));
        if deleted {
            secrets.fails(400, "ResourceNotFoundException");
            secrets.fails(400, "ResourceNotFoundException");
        }
        let fake = Fake::answering([token("a"), document(), document()]);
        let drives = drives(&fake, &secrets, clock);
        let client = drives.client(&as_ann(Some(LogId::user()))).await.unwrap();
        read(&client).await.unwrap();
        now.fetch_add(899_999, Ordering::SeqCst);
        read(&client).await.unwrap();
        fake.asked();
        now.fetch_add(1, Ordering::SeqCst);
        // The token itself would be good for another three quarters of an hour.
        assert_lost(&read(&client).await.unwrap_err(), reason);
        assert!(fake.asked().is_empty());
    }
}

#[tokio::test]
async fn regression_credentials_that_are_only_tried_out_are_not_kept() {
    let secrets = FakeSecrets::holding((0..1_000).map(|_| user_secret("r")));
    let fake = Fake::answering([]);
    let drives = drives(&fake, &secrets, clock());
    let with = |subject: String| Access {
        subject: Some(subject),
        ..access()
    };
    for number in 0..2 {
        drives.fresh_client(&with("x@y".to_owned())).await.unwrap();
        assert_eq!(secrets.reads(), number + 1);
    }
    // Of those that are used, as many as are in use at a time are kept.
    for number in 0..300 {
        drives.client(&with(format!("{number}@y"))).await.unwrap();
    }
    assert_eq!(secrets.reads(), 302);
    drives.client(&with("299@y".to_owned())).await.unwrap();
    assert_eq!(secrets.reads(), 302);
    drives.client(&with("0@y".to_owned())).await.unwrap();
    assert_eq!(secrets.reads(), 303);
}
