//! The faults, without the routes that they apply to.

use super::*;

fn fault(pattern: &str, times: u64) -> Fault {
    let text = serde_json::json!({"match": pattern, "times": times, "respond": {"status": 503}});
    serde_json::from_value(text).expect("a fault")
}

#[test]
fn a_star_matches_any_text() {
    for (pattern, text) in [
        ("/a/*", "/a/b/c"),
        ("/a/*/c", "/a/b/c"),
        ("*", "/x"),
        ("/a", "/a"),
        ("*b*", "/abc"),
    ] {
        assert!(glob(pattern, text), "{pattern} {text}");
    }
    for (pattern, text) in [
        ("/a/*", "/b/c"),
        ("/a", "/ab"),
        ("/a/*/d", "/a/b/c"),
        ("a*a", "a"),
    ] {
        assert!(!glob(pattern, text), "{pattern} {text}");
    }
}

fn call(method: &str, url: &str) -> Parts {
    let request = http::Request::builder().method(method).uri(url);
    request.body(()).expect("a request").into_parts().0
}

fn meets(faults: &mut Faults, method: &str, url: &str) -> bool {
    faults.take_matching(&call(method, url), 0).is_some()
}

#[test]
fn a_fault_applies_the_given_number_of_times() {
    let mut faults = Faults::default();
    faults
        .add(fault("PATCH /drive/v2/files/*", 2), 0)
        .expect("valid");
    let met = [("GET", 1), ("PATCH", 1), ("PATCH", 2), ("PATCH", 3)]
        .map(|(method, id)| meets(&mut faults, method, &format!("/drive/v2/files/{id}")));
    assert_eq!(met, [false, true, true, false]);
}

#[test]
fn a_fault_by_file_counts_the_calls_of_each_file() {
    let mut faults = Faults::default();
    faults
        .add(
            Fault {
                per: FaultScope::File,
                after: 1,
                ..fault("* /drive/v2/files*", 2)
            },
            0,
        )
        .expect("valid");
    for id in ["a", "b"] {
        let url = format!("/drive/v2/files/{id}/permissions");
        let met: Vec<bool> = (0..5).map(|_| meets(&mut faults, "GET", &url)).collect();
        assert_eq!(met, [false, true, true, false, false], "{id}");
    }
    assert!(!meets(&mut faults, "GET", "/drive/v2/files"), "no file");
}

#[test]
fn a_share_of_the_files_is_the_same_files_always() {
    let mut faults = Faults::new(fastrand::Rng::with_seed(7));
    faults
        .add(
            Fault {
                per: FaultScope::File,
                share: 0.2,
                ..fault("GET /drive/v3/files/*", 0)
            },
            0,
        )
        .expect("valid");
    let mut round = || -> Vec<bool> {
        (0..500)
            .map(|id| meets(&mut faults, "GET", &format!("/drive/v3/files/id{id}")))
            .collect()
    };
    let first = round();
    let met = first.iter().filter(|met| **met).count();
    assert!((60..140).contains(&met), "{met}");
    assert_eq!(first, round());
}

#[test]
fn a_fault_can_require_a_header() {
    let mut faults = Faults::default();
    faults
        .add(
            Fault {
                with_header: Some("If-Match".to_owned()),
                ..fault("PATCH /x", 1)
            },
            0,
        )
        .expect("valid");
    assert!(!meets(&mut faults, "PATCH", "/x"));
    let mut conditional = call("PATCH", "/x");
    let etag = http::HeaderValue::from_static("\"e\"");
    conditional.headers.insert("if-match", etag);
    assert!(faults.take_matching(&conditional, 0).is_some());
}

#[test]
fn a_repeated_token_leads_in_a_circle() {
    for (back, expected) in [(1, ["a", "b", "a"]), (2, ["", "a", "b"])] {
        let mut faults = Faults::default();
        let circle = serde_json::json!({
            "match": "GET /x", "times": 0, "repeat_token": back,
        });
        let circle = serde_json::from_value(circle).expect("a fault");
        faults.add(circle, 0).expect("valid");
        let tokens = ["a", "b", "a"].map(|token| {
            let call = call("GET", &format!("/x?pageToken={token}"));
            let matched = faults.take_matching(&call, 0).expect("matches");
            matched.next_page_token.unwrap_or_default()
        });
        assert_eq!(tokens, expected, "{back} back");
    }
}

#[test]
fn contradictory_faults_are_refused() {
    let text = "text/plain";
    for bad in [
        serde_json::json!({"respond": {"status": 200, "body": "", "html": true}}),
        serde_json::json!({"respond": {"status": 200, "content_type": text}}),
        serde_json::json!({"respond": {"status": 200}, "content_type": text}),
        serde_json::json!({"repeat_token": 0}),
    ] {
        let mut fault = bad.clone();
        fault["match"] = "GET /x".into();
        let fault: Fault = serde_json::from_value(fault).expect("a fault");
        assert!(Faults::default().add(fault, 0).is_err(), "{bad}");
    }
}

#[test]
fn a_fault_can_end_by_itself() {
    let mut faults = Faults::default();
    let passing = Fault {
        lasts_seconds: Some(60),
        ..fault("GET /x", 0)
    };
    faults.add(passing, 1_000).expect("valid");
    let met = [60_999, 61_000].map(|now| faults.take_matching(&call("GET", "/x"), now));
    assert!(met[0].is_some() && met[1].is_none());
    assert!(faults.pending(61_000).is_empty());
}

#[test]
fn a_fault_applies_to_a_share_of_the_calls_and_they_are_counted() {
    let mut faults = Faults::new(fastrand::Rng::with_seed(7));
    let rare = Fault {
        share: 0.05,
        ..fault("* /x", 0)
    };
    faults.add(rare.clone(), 0).expect("valid");
    let calls = (0..10_000).filter(|_| meets(&mut faults, "GET", "/x"));
    let met = calls.count();
    assert!((400..600).contains(&met), "{met}");
    assert_eq!(faults.applied, met as u64);
    for share in [0.0, -0.1, 1.1, f64::NAN] {
        assert!(
            faults
                .add(
                    Fault {
                        share,
                        ..rare.clone()
                    },
                    0
                )
                .is_err()
        );
    }
}

#[test]
fn zero_times_means_always_and_after_skips_the_first_calls() {
    let mut faults = Faults::default();
    faults
        .add(
            Fault {
                after: 1,
                ..fault("* /x", 0)
            },
            0,
        )
        .expect("valid");
    let met: Vec<bool> = (0..4).map(|_| meets(&mut faults, "GET", "/x")).collect();
    assert_eq!(met, [false, true, true, true]);
}

#[test]
fn a_pattern_with_a_question_mark_matches_the_query() {
    let mut faults = Faults::default();
    faults
        .add(fault("GET /f/*?*alt=media*", 0), 0)
        .expect("valid");
    assert!(meets(&mut faults, "GET", "/f/1?alt=media"));
    assert!(!meets(&mut faults, "GET", "/f/1?fields=id"));
    assert!(!meets(&mut faults, "GET", "/f/1"));
}
