use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use drive::{Assumption, DriveClient, Secret, Timeouts, reqwest_transport};
use drive_simulator::{Breach, Simulator};
use tokio::net::TcpListener;

use super::{Outcome, Report, Scope, check};

/// A simulated Drive that listens, and a client of its user.
async fn simulated() -> (Simulator, DriveClient) {
    let simulator = Simulator::new(drive_simulator::Options {
        seed: Some(1),
        ..drive_simulator::Options::default()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = simulator.clone();
    tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    let clock = runtime::Clock::system();
    let drive = DriveClient::with_token(
        reqwest_transport(Timeouts::default()).unwrap(),
        &url,
        Secret::new("user:owner".to_owned()),
        Arc::new(move || clock.now()),
    );
    (simulator, drive)
}

async fn checked(drive: &DriveClient) -> Report {
    let scope = Scope {
        writes: 3,
        pause: Duration::ZERO,
        share_with: None,
    };
    let report = check(drive.clone(), "scratch", &scope, |_, _| {}).await;
    let report = report.unwrap();
    assert_eq!(report.left, None);
    report
}

fn breach_of(assumption: Assumption) -> Breach {
    serde_json::from_value(assumption.name().into()).unwrap()
}

#[tokio::test]
async fn all_assumptions_hold_for_the_simulator_and_nothing_is_left() {
    let (simulator, drive) = simulated().await;
    let before = simulator.totals();
    let report = checked(&drive).await;
    for (assumption, outcome) in &report.outcomes {
        assert_eq!(*outcome, Outcome::Holds, "{}", assumption.name());
    }
    assert!(report.all_hold());
    assert_eq!(simulator.totals(), before);
}

#[tokio::test]
async fn each_broken_assumption_is_found_and_no_other_is_blamed() {
    let (simulator, drive) = simulated().await;
    for broken in Assumption::ALL {
        simulator.set_breaches(BTreeSet::from([breach_of(broken)]));
        let report = checked(&drive).await;
        assert!(!report.all_hold());
        for (assumption, outcome) in &report.outcomes {
            let blamed = matches!(outcome, Outcome::Broken(_));
            let name = assumption.name();
            assert_eq!(blamed, *assumption == broken, "{name}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_checked_is_unknown_and_no_promise() {
    let (simulator, drive) = simulated().await;
    let fault = serde_json::json!({
        "match": "POST /drive/v3/files/*/permissions", "times": 100,
        "respond": {"status": 403, "reason": "sharingRestricted", "message": "not allowed"},
    });
    simulator
        .add_fault(serde_json::from_value(fault).unwrap())
        .unwrap();
    let report = checked(&drive).await;
    assert!(!report.all_hold());
    for (assumption, outcome) in &report.outcomes {
        match (assumption, outcome) {
            (Assumption::SharingMovesVersion, Outcome::Unknown(seen)) => {
                assert!(seen.contains("403 sharingRestricted"), "{seen}");
            }
            (assumption, outcome) => {
                assert_eq!(*outcome, Outcome::Holds, "{}", assumption.name());
            }
        }
    }
    let json = report.to_json();
    let checks = json["checks"].as_array().unwrap();
    assert_eq!(checks.len(), Assumption::ALL.len());
    let unknown = checks.iter().filter(|check| check["outcome"] == "unknown");
    assert_eq!(unknown.count(), 1, "{json}");
}
