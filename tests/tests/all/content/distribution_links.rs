//! Links of a CloudFront distribution in place of S3's.

use std::time::Duration;

use api::{Deps, Distribution};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use axum::body::{Body, to_bytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use lambda_http::request::RequestContext;
use local::system::TENANT;
use serde_json::{Value, json};

use super::content_wakes::{apply, mirrored};
use super::generated;
use crate::support::{ByHand, api_event};

const SECRET: &str = "links";

/// Returns the text of a secret with a new key under this id.
fn new_key(id: &str) -> String {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = STANDARD.encode(key.as_der().unwrap().as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
    json!({"key_pair_id": id, "private_key": pem}).to_string()
}

async fn put_secret(hand: &ByHand, text: &str) {
    let secrets = hand.aws.secrets_client();
    let put = secrets.put_secret_value().secret_id(SECRET);
    put.secret_string(text).send().await.unwrap();
}

/// Asks for the link of a file's content, as API Gateway passes the request.
async fn link(hand: &ByHand, deps: &Deps, file: &str) -> (u16, Value) {
    let sample = api_event("get-file").to_string().replace("acme", TENANT);
    let sample = lambda_http::request::from_str(&sample).unwrap();
    let context = sample.extensions().get::<RequestContext>().cloned();
    let context = context.unwrap();
    let connection = &hand.key.connection;
    let path = format!("/v1/connections/{connection}/files/{file}/content");
    let request = Request::get(path).extension(context).body(Body::empty());
    let answer = api::handle(request.unwrap(), deps).await;
    let status = answer.status().as_u16();
    let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

#[test]
fn a_link_of_a_distribution_is_signed_by_the_key_that_the_secret_has_now() {
    mirrored(1, async |hand| {
        let file = generated(hand, 1, 1_000);
        Box::pin(apply(hand)).await;
        Box::pin(hand.pump()).await;
        let secrets = hand.aws.secrets_client();
        let distribution = Distribution::new(
            "cdn.example.com",
            secrets.clone(),
            SECRET,
            hand.functions.api.clock.clone(),
        );
        let deps = Deps {
            distribution: Some(distribution),
            ..Deps::clone(&hand.functions.api)
        };
        let signed_by = async |key: &str| {
            let (status, shown) = link(hand, &deps, &file).await;
            assert_eq!(status, 200, "{shown}");
            let url = shown["url"].as_str().unwrap();
            assert!(url.starts_with("https://cdn.example.com/"), "{url}");
            assert!(url.contains(&format!("&Key-Pair-Id={key}&")), "{url}");
            let (_, expires) = url.split_once("&Expires=").unwrap();
            let expires = expires.split('&').next().unwrap();
            let valid_seconds = expires.parse::<i64>().unwrap() - hand.now().as_seconds();
            assert!((14 * 60..=15 * 60).contains(&valid_seconds), "{url}");
            assert!(url.contains("made%20up%201.bin"), "{url}");
        };

        let (status, refused) = link(hand, &deps, &file).await;
        assert_eq!(status, 503, "there is no secret: {refused}");
        let created = secrets.create_secret().name(SECRET);
        created.secret_string("no key").send().await.unwrap();
        let (status, refused) = link(hand, &deps, &file).await;
        assert_eq!(status, 503, "it has no key: {refused}");

        put_secret(hand, &new_key("K1")).await;
        signed_by("K1").await;
        put_secret(hand, &new_key("K2")).await;
        signed_by("K1").await;
        hand.advance_clock(Duration::from_secs(5 * 60));
        signed_by("K2").await;

        put_secret(hand, "a mistake").await;
        hand.advance_clock(Duration::from_secs(5 * 60));
        signed_by("K2").await;
        put_secret(hand, &new_key("K3")).await;
        signed_by("K3").await;
    });
}
