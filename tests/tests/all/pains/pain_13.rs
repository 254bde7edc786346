//! Drive limits rates, and says so with many statuses.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{World, eventually, own};

/// Quota units of a connection in a minute, so few that work has to wait for them.
const UNITS_PER_MINUTE: u64 = 6_000;

async fn limit(world: &World, limits: Value) {
    let path = format!("/v1/connections/{}", world.connection);
    let body = json!({ "limits": limits }).to_string();
    let answer = world
        .call(
            Some(&world.token),
            http::Method::PATCH,
            &path,
            &[("if-match", "*")],
            Some(&body),
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// More is owed and told than a minute's quota allows: what is used stays within it, so that Drive refuses nothing,
/// and all of it arrives in the end.
#[test]
fn pain_13_the_budget_is_kept_and_drive_never_has_to_say_no() {
    own(async |world| {
        let quota = json!({"units_per_minute_per_user": UNITS_PER_MINUTE});
        world.control(http::Method::POST, "quota", quota).await;
        limit(world, json!({"quota_per_minute": UNITS_PER_MINUTE})).await;
        // What the first sync used is spent; from here on every unit counts.
        let before = world.simulator.counters().quota_units;
        let began = world.now();
        let files: Vec<String> = (0..20).map(|_| world.take()).collect();
        for id in &files {
            world.edited(id, json!({"description": "paced"})).await;
        }
        eventually("some edits are written", async || {
            (world.calls("v2.files.patch") > 0).then_some(())
        })
        .await;
        world.converge().await;
        let used = world.simulator.counters().quota_units - before;
        let minutes = u64::try_from(world.now().millis_since(began)).unwrap() / 60_000 + 2;
        assert!(
            used <= UNITS_PER_MINUTE * minutes,
            "{used} in {minutes} minutes"
        );
        // Nobody was refused: every file was written once.
        assert_eq!(world.calls("v2.files.patch"), 20);
    });
}

/// Every kind of "not now" is waited out: the edits of one file arrive in order, and nothing is lost.
#[test]
fn pain_13_whatever_not_now_is_called_it_is_waited_out() {
    own(async |world| {
        let id = world.take();
        for (status, reason) in [
            (403, "userRateLimitExceeded"),
            (403, "rateLimitExceeded"),
            (429, "rateLimitExceeded"),
            (503, "backendError"),
        ] {
            for pattern in ["* /drive/v3/changes", "* /drive/v2/files/*"] {
                world.fault(json!({
                    "match": pattern, "times": 1, "respond": {"status": status, "reason": reason}
                }));
            }
        }
        for name in ["first.txt", "second.txt", "third.txt"] {
            world.owner().rename(&id, name).await;
        }
        let other = world.take();
        world.edited(&other, json!({"description": "owed"})).await;
        world.converge().await;
        assert_eq!(world.file(&id).await["fields"]["name"], "third.txt");
        assert_eq!(world.owner().get(&other).await["description"], "owed");
    });
}

/// What no waiting mends is told at once, with Drive's own word for it, and is not tried again.
#[test]
fn pain_13_a_refusal_for_good_is_shown_and_not_repeated() {
    own(async |world| {
        let id = world.take();
        world.fault(json!({
            "match": "PATCH /drive/v2/files/*", "times": 0,
            "respond": {"status": 403, "reason": "insufficientFilePermissions"}
        }));
        world.edited(&id, json!({"description": "not mine"})).await;
        let file = world
            .file_until("the refusal is shown", &id, |file| {
                file["intent"]["status"] == "failed"
            })
            .await;
        assert_eq!(file["intent"]["reason"], "insufficientFilePermissions");
        assert_eq!(world.calls("v2.files.patch"), 1);
    });
}

/// People's edits are read off the log: a page for many of them, and no file is asked for by itself.
#[test]
fn pain_13_plain_edits_cost_a_page_and_no_question_about_a_file() {
    own(async |world| {
        let files: Vec<String> = (0..12).map(|_| world.take()).collect();
        let count = || -> BTreeMap<String, u64> { world.simulator.counters().calls };
        let before = count();
        for id in &files {
            world
                .owner()
                .update(id, json!({"description": "plain"}))
                .await;
        }
        world.converge().await;
        let after = count();
        let asked = |method: &str| {
            after.get(method).copied().unwrap_or(0) - before.get(method).copied().unwrap_or(0)
        };
        assert_eq!(asked("v2.files.get"), 0);
        assert_eq!(asked("files.list"), 0);
    });
}
