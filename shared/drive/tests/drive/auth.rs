//! Authentication: credentials, assertions, tokens and their renewal.

mod bounds;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use domain::{AccountId, FileId, Timestamp};
use drive::{
    ANOTHER_ACCOUNT, Access, BoundCredentials, Clock, DriveClient, Drives, ExpectedAccount,
    InvalidCredentials, Kind, Transport, TransportError,
};
use http::header;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use crate::support::{
    Answer, BASE, Fake, FakeSecrets, NOW, answer, clock, fixture, form, google_error, ok, query,
    rsa_key,
};

const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

fn user_secret(refresh_token: &str) -> String {
    json!({"type": "authorized_user", "client_id": "cid", "client_secret": "csecret",
        "refresh_token": refresh_token, "token_uri": TOKEN_URI})
    .to_string()
}

fn token(text: &str) -> Answer {
    ok(&json!({"access_token": text, "expires_in": 3599, "token_type": "Bearer"}))
}

fn refused(word: &str) -> Answer {
    answer(400, &json!({"error": word, "error_description": "SECRET"}))
}

fn document() -> Answer {
    ok(&fixture(include_str!("fixtures/document.v2.json")))
}

fn access() -> Access {
    Access {
        secret_id: "drivesync/acme/main".to_owned(),
        subject: None,
        quota_user: None,
        within: None,
    }
}

fn drives(fake: &Arc<Fake>, secrets: &FakeSecrets, clock: Clock) -> Drives {
    Drives::new(fake.transport(), BASE, secrets.client(), clock)
}

async fn read(client: &DriveClient) -> Result<drive::Read, drive::DriveError> {
    client.read_file(&FileId::parse("f").unwrap()).await
}

/// The host and the bearer token of every request.
fn requests(fake: &Fake) -> Vec<(String, String)> {
    let seen = |request: http::Request<bytes::Bytes>| {
        let bearer = request.headers().get(header::AUTHORIZATION);
        let bearer = bearer.map_or("", |value| value.to_str().unwrap());
        (request.uri().host().unwrap().to_owned(), bearer.to_owned())
    };
    fake.asked().into_iter().map(seen).collect()
}

fn step(host: &str, bearer: &str) -> (String, String) {
    (host.to_owned(), bearer.to_owned())
}

#[tokio::test]
async fn a_service_account_signs_an_assertion_with_its_subject() {
    let (pem, public) = rsa_key();
    let key = json!({"type": "service_account", "client_email": "sync@p.iam.test",
        "private_key_id": "k1", "private_key": pem, "token_uri": TOKEN_URI, "project_id": "p"});
    let secrets = FakeSecrets::holding([key.to_string()]);
    let fake = Fake::answering([token("a"), document()]);
    let access = Access {
        subject: Some("ada@example.com".to_owned()),
        quota_user: Some("acme".to_owned()),
        ..access()
    };
    let client = drives(&fake, &secrets, clock())
        .client(&access)
        .await
        .unwrap();
    read(&client).await.unwrap();

    let asked = fake.asked();
    assert_eq!(asked[0].uri().to_string(), TOKEN_URI);
    let grant = form(&asked[0], "grant_type").unwrap();
    assert_eq!(grant, "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let assertion = form(&asked[0], "assertion").unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&[TOKEN_URI]);
    validation.validate_exp = false;
    let decoded = jsonwebtoken::decode::<HashMap<String, Value>>(
        &assertion,
        &DecodingKey::from_rsa_der(&public),
        &validation,
    )
    .unwrap();
    assert_eq!(decoded.header.kid.as_deref(), Some("k1"));
    let issued_at = NOW.as_millis() / 1000 - 10;
    let wanted = json!({"iss": "sync@p.iam.test", "scope": "https://www.googleapis.com/auth/drive",
        "aud": TOKEN_URI, "iat": issued_at, "exp": issued_at + 3600, "sub": "ada@example.com"});
    assert_eq!(json!(decoded.claims), wanted);
    assert_eq!(asked[1].headers()[header::AUTHORIZATION], "Bearer a");
    assert!(query(&asked[1]).contains(&("quotaUser".to_owned(), "acme".to_owned())));
}

#[tokio::test]
async fn a_token_is_used_until_a_minute_before_it_expires() {
    let now = Arc::new(AtomicI64::new(NOW.as_millis()));
    let clock: Clock = {
        let now = Arc::clone(&now);
        Arc::new(move || Timestamp::from_millis(now.load(Ordering::SeqCst)))
    };
    let secrets = FakeSecrets::holding([user_secret("r"), user_secret("r")]);
    let fake = Fake::answering([token("a"), document(), document(), token("b"), document()]);
    let drives = drives(&fake, &secrets, clock);
    read(&drives.client(&access()).await.unwrap())
        .await
        .unwrap();
    now.fetch_add(3_538_999, Ordering::SeqCst);
    // Another client with the same credentials, from a clone, shares the token.
    read(&drives.clone().client(&access()).await.unwrap())
        .await
        .unwrap();
    now.fetch_add(1, Ordering::SeqCst);
    read(&drives.client(&access()).await.unwrap())
        .await
        .unwrap();
    let asked = fake.asked();
    let form_of = |name| form(&asked[0], name).unwrap();
    assert_eq!(form_of("grant_type"), "refresh_token");
    assert_eq!(form_of("client_id"), "cid");
    assert_eq!(form_of("client_secret"), "csecret");
    assert_eq!(form_of("refresh_token"), "r");
    let hosts: Vec<_> = asked
        .iter()
        .map(|request| request.uri().host().unwrap())
        .collect();
    let (oauth, drive) = ("oauth2.googleapis.com", "drive.test");
    assert_eq!(hosts, [oauth, drive, drive, oauth, drive]);
    assert_eq!(secrets.reads(), 2, "once more after a quarter of an hour");
}

#[tokio::test]
async fn a_rejected_token_is_renewed_once() {
    let secrets = FakeSecrets::holding([user_secret("r")]);
    let expired = || google_error(401, "authError", Some("Authorization"));
    let fake = Fake::answering([token("a"), expired(), token("b"), document()]);
    let client = drives(&fake, &secrets, clock())
        .client(&access())
        .await
        .unwrap();
    read(&client).await.unwrap();
    let wanted = [
        step("oauth2.googleapis.com", ""),
        step("drive.test", "Bearer a"),
        step("oauth2.googleapis.com", ""),
        step("drive.test", "Bearer b"),
    ];
    assert_eq!(requests(&fake), wanted);

    let fake = Fake::answering([token("a"), expired(), token("b"), expired()]);
    let secrets = FakeSecrets::holding([user_secret("r")]);
    let client = drives(&fake, &secrets, clock())
        .client(&access())
        .await
        .unwrap();
    let error = read(&client).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::AuthLost { reason } if reason == "authError"));
    assert_eq!(fake.asked().len(), 4);
}

#[tokio::test]
async fn many_calls_with_one_rejected_token_cause_one_exchange() {
    let exchanges = Arc::new(AtomicI64::new(0));
    let counted = Arc::clone(&exchanges);
    let transport: Transport = Arc::new(move |request| {
        let counted = Arc::clone(&counted);
        Box::pin(async move {
            // Lets the other calls run in between, as on a network.
            tokio::task::yield_now().await;
            if request.uri().host() == Some("oauth2.googleapis.com") {
                let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
                return token(&format!("t{number}"));
            }
            match request.headers()[header::AUTHORIZATION].to_str() {
                Ok("Bearer t1") => google_error(401, "authError", None),
                Ok(_) | Err(_) => document(),
            }
        })
    });
    let secrets = FakeSecrets::holding([user_secret("r")]);
    let drives = Drives::new(transport, BASE, secrets.client(), clock());
    let client = drives.client(&access()).await.unwrap();
    let (a, b, c) = tokio::join!(read(&client), read(&client), read(&client));
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(exchanges.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_rejected_channel_address_does_not_renew_the_token() {
    let fake = Fake::answering([google_error(401, "push.webhookUrlUnauthorized", None)]);
    let error = read(&fake.client()).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::Permanent { .. }));
}

#[tokio::test]
async fn a_rotated_secret_is_read_without_a_restart() {
    let secrets = FakeSecrets::holding([user_secret("old"), user_secret("new")]);
    let expired = google_error(401, "authError", None);
    let answers = [
        token("a"),
        expired,
        refused("invalid_grant"),
        token("b"),
        document(),
    ];
    let fake = Fake::answering(answers);
    let client = drives(&fake, &secrets, clock())
        .client(&access())
        .await
        .unwrap();
    read(&client).await.unwrap();
    let asked = fake.asked();
    let sent: Vec<_> = asked
        .iter()
        .filter_map(|r| form(r, "refresh_token"))
        .collect();
    assert_eq!(sent, ["old", "old", "new"]);
    assert_eq!(secrets.reads(), 2);
}

#[tokio::test]
async fn a_revoked_grant_is_auth_lost_until_the_secret_is_replaced() {
    let secrets = FakeSecrets::holding([user_secret("r"), user_secret("r"), user_secret("s")]);
    let gone = || refused("unauthorized_client");
    let fake = Fake::answering([gone(), gone(), token("a"), document()]);
    let drives = drives(&fake, &secrets, clock());
    let client = drives.client(&access()).await.unwrap();
    let error = read(&client).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::AuthLost { reason } if reason == "unauthorized_client"));
    assert!(!format!("{error} {error:?}").contains("SECRET"));
    assert_eq!(secrets.reads(), 2, "read once more, unchanged");
    read(&client).await.unwrap();
}

#[tokio::test]
async fn a_failing_token_endpoint_means_not_sent() {
    let failures: [Answer; 4] = [
        answer(503, &json!({})),
        answer(400, &json!({"error": "something_new"})),
        ok(&json!({"token": "SECRET"})),
        Err(TransportError::MaybeSent("timeout".into())),
    ];
    for failure in failures {
        let secrets = FakeSecrets::holding([user_secret("r")]);
        let fake = Fake::answering([failure]);
        let client = drives(&fake, &secrets, clock())
            .client(&access())
            .await
            .unwrap();
        let error = read(&client).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.method()),
            (&Kind::NotSent, "oauth2.token")
        );
    }
}

#[tokio::test]
async fn an_unreadable_secret_halts_unless_the_error_is_temporary() {
    let rows = [
        (400, "ResourceNotFoundException", true),
        (400, "AccessDeniedException", true),
        (400, "DecryptionFailure", true),
        (500, "InternalServiceError", false),
        (400, "ThrottlingException", false),
    ];
    for (status, code, halts) in rows {
        let secrets = FakeSecrets::failing(status, code);
        let drives = drives(&Fake::answering([]), &secrets, clock());
        let Err(error) = drives.client(&access()).await else {
            panic!("{code}");
        };
        assert_eq!(
            matches!(error.kind(), Kind::AuthLost { .. }),
            halts,
            "{code}"
        );
        assert_eq!(matches!(error.kind(), Kind::NotSent), !halts, "{code}");
    }
}

#[tokio::test]
async fn an_authorized_user_cannot_impersonate_another_user() {
    let secrets = FakeSecrets::holding([user_secret("r"), user_secret("r")]);
    let fake = Fake::answering([]);
    let access = Access {
        subject: Some("bo@example.com".to_owned()),
        ..access()
    };
    let client = drives(&fake, &secrets, clock())
        .client(&access)
        .await
        .unwrap();
    let error = read(&client).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::AuthLost { .. }));
}

#[test]
fn invalid_credentials_are_rejected_naming_the_wrong_member() {
    let account = |key: &str| {
        json!({"type": "service_account", "client_email": "a", "private_key": key}).to_string()
    };
    let rows = [
        ("", InvalidCredentials::NotJson),
        ("[]", InvalidCredentials::NotJson),
        ("{\"type\": 5}", InvalidCredentials::NotJson),
        ("{}", InvalidCredentials::UnknownType),
        (
            "{\"type\": \"external_account\"}",
            InvalidCredentials::UnknownType,
        ),
        (
            "{\"type\": \"service_account\"}",
            InvalidCredentials::Missing("client_email"),
        ),
        (
            "{\"type\": \"authorized_user\", \"client_id\": \"\"}",
            InvalidCredentials::Missing("client_id"),
        ),
        (
            "{\"type\": \"authorized_user\", \"token_uri\": \"file:///etc\"}",
            InvalidCredentials::BadTokenUri,
        ),
        (&account("not a key"), InvalidCredentials::BadKey),
    ];
    for (text, refused) in rows {
        assert_eq!(parse(text), Err(refused), "{text}");
    }
}

fn parse(text: &str) -> Result<BoundCredentials, InvalidCredentials> {
    BoundCredentials::parse(text, "https://www.googleapis.com")
}

#[test]
fn credentials_never_show_secrets() {
    let (pem, _) = rsa_key();
    let account = json!({"type": "service_account", "client_email": "a", "private_key": pem});
    for text in [user_secret("rtoken"), account.to_string()] {
        let shown = format!("{:?}", parse(&text).unwrap());
        for hidden in ["csecret", "rtoken", "PRIVATE KEY"] {
            assert!(!shown.contains(hidden), "{shown}");
        }
    }
}

fn about(account: &str) -> Answer {
    ok(&json!({"user": {"emailAddress": "a@b.c", "permissionId": account}}))
}

fn expected(account: &str, secret_version: &str) -> ExpectedAccount {
    ExpectedAccount {
        id: AccountId::parse(account).unwrap(),
        secret_version: Some(secret_version.to_owned()),
    }
}

fn paths(fake: &Fake) -> Vec<String> {
    let asked = fake.asked().into_iter();
    asked
        .map(|request| request.uri().path().to_owned())
        .collect()
}

const ABOUT: &str = "/drive/v3/about";
const FILE: &str = "/drive/v2/files/f";

#[tokio::test]
async fn the_account_is_asked_for_only_if_the_secret_has_another_version() {
    for (known, wanted) in [
        ("v1", vec!["/token", FILE]),
        ("v0", vec!["/token", ABOUT, FILE]),
    ] {
        let secrets = FakeSecrets::holding([user_secret("r1")]);
        let mut answers = vec![token("a"), document()];
        if known == "v0" {
            answers.insert(1, about("ann"));
        }
        let fake = Fake::answering(answers.into_iter().chain([document()]));
        let client = drives(&fake, &secrets, clock()).client(&access()).await;
        let client = client.unwrap().expecting(expected("ann", known));
        read(&client).await.unwrap();
        assert_eq!(paths(&fake), wanted, "{known}");
        // Once for each version.
        read(&client).await.unwrap();
        assert_eq!(paths(&fake), [FILE], "{known}");
        assert_eq!(client.secret_version().await.as_deref(), Some("v1"));
    }
}

#[tokio::test]
async fn nothing_is_sent_with_the_credentials_of_another_account() {
    // The old grant is revoked, and the secret has another account's now.
    let secrets = FakeSecrets::holding([user_secret("r1"), user_secret("r2"), user_secret("r2")]);
    let fake = Fake::answering([
        token("a"),
        document(),
        answer(
            401,
            &json!({"error": {"errors": [{"reason": "authError"}], "code": 401}}),
        ),
        refused("invalid_grant"),
        token("b"),
        about("bob"),
        token("b2"),
        about("bob"),
    ]);
    let client = drives(&fake, &secrets, clock()).client(&access()).await;
    let client = client.unwrap().expecting(expected("ann", "v1"));
    read(&client).await.unwrap();
    fake.asked();
    let error = read(&client).await.unwrap_err();
    let reason = ANOTHER_ACCOUNT.to_owned();
    assert_eq!(*error.kind(), Kind::AuthLost { reason });
    let asked = paths(&fake);
    assert_eq!(asked, [FILE, "/token", "/token", ABOUT, "/token", ABOUT]);
}

#[tokio::test]
async fn the_secret_is_read_again_if_the_account_was_replaced() {
    // This process still has the credentials of the account before.
    let secrets = FakeSecrets::holding([user_secret("r1"), user_secret("r2")]);
    let fake = Fake::answering([token("a"), document(), about("ann"), token("b"), document()]);
    let drives = drives(&fake, &secrets, clock());
    let before = drives.client(&access()).await.unwrap();
    read(&before.expecting(expected("ann", "v1")))
        .await
        .unwrap();
    let after = drives.client(&access()).await.unwrap();
    read(&after.expecting(expected("bob", "v2"))).await.unwrap();
    let last = requests(&fake).pop();
    assert_eq!(last, Some(step("drive.test", "Bearer b")));
}

#[tokio::test]
async fn a_call_is_not_sent_while_the_account_can_not_be_found_out() {
    let secrets = FakeSecrets::holding([user_secret("r1")]);
    let fake = Fake::answering([token("a"), google_error(503, "backendError", None)]);
    let client = drives(&fake, &secrets, clock()).client(&access()).await;
    let client = client.unwrap().expecting(expected("ann", "v0"));
    let error = read(&client).await.unwrap_err();
    assert_eq!(*error.kind(), Kind::NotSent);
}
