use std::os::unix::fs::PermissionsExt as _;

use aws_sdk_secretsmanager::Client;

use super::*;
use crate::aws::in_process::InProcess;
use crate::aws::scratch::Scratch;
use crate::aws::{clients, system_clock};

fn client(path: Option<&Path>) -> Client {
    let handler = handler(SecretsManager::open(path, system_clock()).unwrap());
    clients::secrets("http://secrets.local", InProcess::new(handler))
}

async fn value(client: &Client, id: &str) -> String {
    let get = client
        .get_secret_value()
        .secret_id(id)
        .send()
        .await
        .unwrap();
    get.secret_string.unwrap()
}

#[tokio::test]
async fn a_secret_reads_back_by_name_and_arn_and_after_reopening() {
    let folder = Scratch::new().unwrap();
    let path = folder.path().join("secrets.json");
    let first = client(Some(&path));
    let create = first
        .create_secret()
        .name("drivesync/t/key")
        .secret_string("one");
    let arn = create.send().await.unwrap().arn.unwrap();
    assert_eq!(value(&first, &arn).await, "one");
    let again = client(Some(&path));
    assert_eq!(value(&again, "drivesync/t/key").await, "one");
}

#[tokio::test]
async fn the_file_is_its_owner_s_alone() {
    let folder = Scratch::new().unwrap();
    let path = folder.path().join("secrets.json");
    std::fs::write(
        folder.path().join("secrets.json.new"),
        "left by a killed process",
    )
    .unwrap();
    let client = client(Some(&path));
    client
        .create_secret()
        .name("a")
        .secret_string("one")
        .send()
        .await
        .unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_new_value_keeps_the_previous_one() {
    let client = client(None);
    client
        .create_secret()
        .name("a")
        .secret_string("one")
        .send()
        .await
        .unwrap();
    let put = client
        .put_secret_value()
        .secret_id("a")
        .secret_string("two")
        .send()
        .await
        .unwrap();
    assert_eq!(value(&client, "a").await, "two");
    let previous = client
        .get_secret_value()
        .secret_id("a")
        .version_stage("AWSPREVIOUS");
    assert_eq!(previous.send().await.unwrap().secret_string(), Some("one"));
    let by_id = client
        .get_secret_value()
        .secret_id("a")
        .set_version_id(put.version_id);
    assert_eq!(by_id.send().await.unwrap().secret_string(), Some("two"));
    let described = client
        .describe_secret()
        .secret_id("a")
        .send()
        .await
        .unwrap();
    assert_eq!(described.version_ids_to_stages.unwrap().len(), 2);
}

#[tokio::test]
async fn a_repeated_put_with_its_token_changes_nothing() {
    let client = client(None);
    client
        .create_secret()
        .name("a")
        .secret_string("one")
        .send()
        .await
        .unwrap();
    let put = |value: &str| {
        let put = client
            .put_secret_value()
            .secret_id("a")
            .secret_string(value);
        put.client_request_token("0123456789abcdef0123456789abcdef")
            .send()
    };
    put("two").await.unwrap();
    put("two").await.unwrap();
    let other = put("three").await.unwrap_err().into_service_error();
    assert!(other.is_resource_exists_exception());
    let previous = client
        .get_secret_value()
        .secret_id("a")
        .version_stage("AWSPREVIOUS");
    assert_eq!(previous.send().await.unwrap().secret_string(), Some("one"));
}

#[tokio::test]
async fn refusals_are_typed() {
    let client = client(None);
    let absent = client
        .get_secret_value()
        .secret_id("a")
        .send()
        .await
        .unwrap_err();
    assert!(
        absent
            .into_service_error()
            .is_resource_not_found_exception()
    );
    client
        .create_secret()
        .name("a")
        .secret_string("one")
        .send()
        .await
        .unwrap();
    let twice = client
        .create_secret()
        .name("a")
        .secret_string("two")
        .send()
        .await
        .unwrap_err();
    assert!(twice.into_service_error().is_resource_exists_exception());
    client.delete_secret().secret_id("a").send().await.unwrap();
    let deleted = client
        .get_secret_value()
        .secret_id("a")
        .send()
        .await
        .unwrap_err();
    assert!(deleted.into_service_error().is_invalid_request_exception());
    client.restore_secret().secret_id("a").send().await.unwrap();
    assert_eq!(value(&client, "a").await, "one");
    let delete = client
        .delete_secret()
        .secret_id("a")
        .force_delete_without_recovery(true);
    delete.send().await.unwrap();
    client
        .create_secret()
        .name("a")
        .secret_string("two")
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn secrets_are_listed_in_pages_and_by_prefix() {
    let client = client(None);
    for name in ["x/1", "x/2", "x/3", "y/1"] {
        client
            .create_secret()
            .name(name)
            .secret_string("s")
            .send()
            .await
            .unwrap();
    }
    let pages = client.list_secrets().max_results(3).into_paginator().send();
    let pages: Vec<_> = pages.collect::<Result<_, _>>().await.unwrap();
    assert_eq!(
        pages
            .iter()
            .map(|page| page.secret_list().len())
            .collect::<Vec<_>>(),
        [3, 1]
    );
    let filter = aws_sdk_secretsmanager::types::Filter::builder()
        .key("name".into())
        .values("x/");
    let some = client
        .list_secrets()
        .filters(filter.build())
        .send()
        .await
        .unwrap();
    assert_eq!(some.secret_list().len(), 3);
}
