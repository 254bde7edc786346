use std::os::unix::fs::PermissionsExt as _;

use aws_sdk_secretsmanager::Client;
use sdk_in_process::InProcess;

use super::*;
use crate::aws::scratch::Scratch;
use crate::aws::signature::Keys;
use crate::aws::{clients, system_clock};

fn client(path: Option<&Path>) -> Client {
    let handler = handler(SecretsManager::open(path, system_clock()).unwrap());
    let keys = Keys::random().unwrap();
    clients::secrets("http://secrets.local", &keys, InProcess::new(handler))
}

async fn value(client: &Client, id: &str) -> String {
    let get = client.get_secret_value().secret_id(id);
    get.send().await.unwrap().secret_string.unwrap()
}

async fn create(client: &Client, name: &str, value: &str) -> String {
    let create = client.create_secret().name(name).secret_string(value);
    create.send().await.unwrap().arn.unwrap()
}

#[tokio::test]
async fn a_secret_is_found_by_name_and_arn_and_after_reopening() {
    let folder = Scratch::new().unwrap();
    let path = folder.path().join("secrets.json");
    let first = client(Some(&path));
    let arn = create(&first, "drivesync/t/key", "one").await;
    assert_eq!(value(&first, &arn).await, "one");
    let reopened = client(Some(&path));
    assert_eq!(value(&reopened, "drivesync/t/key").await, "one");
}

#[tokio::test]
async fn only_the_owner_can_read_the_file() {
    let folder = Scratch::new().unwrap();
    let path = folder.path().join("secrets.json");
    let left = folder.path().join("secrets.json.new");
    std::fs::write(left, "left by a killed process").unwrap();
    create(&client(Some(&path)), "a", "one").await;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_new_value_replaces_the_current_one() {
    let client = client(None);
    create(&client, "a", "one").await;
    let put = client.put_secret_value().secret_id("a");
    let put = put.secret_string("two").send().await.unwrap();
    assert_eq!(value(&client, "a").await, "two");
    let get = client.get_secret_value().secret_id("a");
    let by_id = get.clone().set_version_id(put.version_id);
    assert_eq!(by_id.send().await.unwrap().secret_string(), Some("two"));
    let previous = get.version_stage("AWSPREVIOUS").send().await.unwrap_err();
    let previous = previous.into_service_error();
    assert!(previous.is_resource_not_found_exception());
}

#[tokio::test]
async fn a_repeated_put_with_its_token_changes_nothing() {
    let client = client(None);
    create(&client, "a", "one").await;
    let put = |value: &str| {
        let put = client.put_secret_value().secret_id("a");
        let token = "0123456789abcdef0123456789abcdef";
        put.secret_string(value).client_request_token(token).send()
    };
    let first = put("two").await.unwrap();
    let repeated = put("two").await.unwrap();
    assert_eq!(first.version_id, repeated.version_id);
    let other = put("three").await.unwrap_err().into_service_error();
    assert!(other.is_resource_exists_exception());
    assert_eq!(value(&client, "a").await, "two");
}

#[tokio::test]
async fn errors_are_typed() {
    let client = client(None);
    let absent = client.get_secret_value().secret_id("a").send().await;
    let absent = absent.unwrap_err().into_service_error();
    assert!(absent.is_resource_not_found_exception());
    create(&client, "a", "one").await;
    let twice = client.create_secret().name("a").secret_string("two").send();
    let twice = twice.await.unwrap_err().into_service_error();
    assert!(twice.is_resource_exists_exception());
    let unsupported = client.delete_secret().secret_id("a").send().await;
    let unsupported = unsupported.unwrap_err().into_service_error();
    assert!(unsupported.is_invalid_request_exception());
}
