//! A new version gets traffic only if it can do its work: the functions' binaries check themselves,
//! and `deploy-check` tells CodeDeploy what came of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::post;
use local::aws::Service;
use local::canary::{self, Invoked};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{RunningFunction, Stage, run, top};

/// Lambda and CodeDeploy, as far as the hook calls them.
#[derive(Clone)]
struct Aws {
    function: Arc<tokio::sync::Mutex<RunningFunction>>,
    /// The answers of the hook.
    told: Arc<Mutex<Vec<Value>>>,
}

async fn invoke(State(aws): State<Aws>, Path(name): Path<String>, body: String) -> String {
    assert_eq!(name, "drivesync-FetchChanges");
    let event = serde_json::from_str(&body).unwrap();
    match aws.function.lock().await.invoke(&event).await {
        Invoked::Response(answer) => answer.to_string(),
        Invoked::Error(error) => panic!("{error}"),
    }
}

async fn codedeploy(
    State(aws): State<Aws>,
    headers: http::HeaderMap,
    body: String,
) -> impl IntoResponse {
    let signed = headers["authorization"].to_str().unwrap();
    assert!(signed.contains("/codedeploy/aws4_request"), "{signed}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["deploymentId"], "d-EXAMPLE1A");
    let operation = headers["x-amz-target"].to_str().unwrap();
    if operation == "CodeDeploy_20141006.PutLifecycleEventHookExecutionStatus" {
        aws.told.lock().unwrap().push(body);
        return "{}".to_owned();
    }
    assert_eq!(operation, "CodeDeploy_20141006.GetDeployment");
    let content = json!({"version": 0.0, "Resources": [{"FetchChanges": {
        "Type": "AWS::Lambda::Function",
        "Properties": {"Name": "drivesync-FetchChanges", "Alias": "live", "CurrentVersion": "1",
            "TargetVersion": "2"},
    }}]});
    let revision = json!({
        "revisionType": "AppSpecContent", "appSpecContent": {"content": content.to_string()},
    });
    json!({"deploymentInfo": {"revision": revision}}).to_string()
}

#[test]
fn every_function_tries_what_its_work_needs_without_changing_anything() {
    run(async {
        let stage = Stage::build().await;
        let mut tried = BTreeMap::new();
        for function in canary::functions().chain(["console"]) {
            let mut running = stage.start(function).await;
            let set = stage.set().await;
            let before = set.queued();
            let answer = match running.invoke(&json!({"version_check": true})).await {
                Invoked::Response(answer) => answer,
                Invoked::Error(error) => panic!("{function}: {error}"),
            };
            assert_eq!(answer["ok"], true, "{function}: {answer}");
            assert_eq!(set.queued(), before, "{function}");
            tried.insert(function, answer["tried"].as_array().unwrap().len());
            if function == "console" {
                continue;
            }
            // The functions all need the table, and each says that it is not there.
            stage.unplug(Service::Dynamodb);
            let answer = match running.invoke(&json!({"version_check": true})).await {
                Invoked::Response(answer) => answer,
                Invoked::Error(error) => panic!("{function}: {error}"),
            };
            assert_eq!(answer["ok"], false, "{function}: {answer}");
            assert_eq!(answer["tried"][0]["what"], "the table");
            assert!(answer["tried"][0]["error"].is_string(), "{answer}");
        }
        assert_eq!(tried["console"], 0);
        assert!(tried["sweep"] > 10 && tried["api"] > 10, "{tried:?}");
    });
}

#[test]
fn traffic_moves_only_to_a_version_that_finds_what_it_needs() {
    run(async {
        let stage = Stage::build().await;
        let aws = Aws {
            function: Arc::new(tokio::sync::Mutex::new(stage.start("fetch-changes").await)),
            told: Arc::default(),
        };
        let router = Router::new()
            .route("/2015-03-31/functions/{name}/invocations", post(invoke))
            .route("/", post(codedeploy))
            .with_state(aws.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let at = [
            ("AWS_ENDPOINT_URL_LAMBDA", &url),
            ("AWS_ENDPOINT_URL_CODEDEPLOY", &url),
        ];
        let mut hook = stage.start_with("deploy-check", &at).await;
        let sample = top().join("events/deploy-check/before-traffic.json");
        let event: Value = serde_json::from_str(&std::fs::read_to_string(sample).unwrap()).unwrap();
        let _set = stage.set().await;
        hook.invoke(&event).await;
        stage.unplug(Service::Sqs);
        hook.invoke(&event).await;
        let told = aws.told.lock().unwrap();
        let statuses: Vec<&Value> = told.iter().map(|answer| &answer["status"]).collect();
        assert_eq!(statuses, ["Succeeded", "Failed"]);
        let execution = &event["LifecycleEventHookExecutionId"];
        assert!(
            told.iter()
                .all(|answer| answer["lifecycleEventHookExecutionId"] == *execution)
        );
    });
}
