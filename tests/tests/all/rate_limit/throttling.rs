//! Drive limits rates and reports that with several statuses.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::FileId;
use drive_simulator::{Edit, Simulator};
use http::Method;
use serde_json::json;

use crate::support::{ByHand, by_hand, own};

/// The smallest quota of a connection per minute: four edits at once.
const UNITS_PER_MINUTE: u64 = 2_000;
/// Files that are edited, three times on each side.
const FILES: usize = 14;

/// Returns the number of the latest edit of a file by a person at our API, and of ours in Drive.
async fn progress(hand: &ByHand, id: &str) -> (u64, u64) {
    let number = |text: &str| text.parse().unwrap_or(0);
    let name = hand.file(id).await["fields"]["name"].clone();
    let name = name.as_str().unwrap().split('.').next().unwrap_or_default();
    let description = hand.simulator.file(id).unwrap().description;
    (number(name), number(&description))
}

/// There are more edits than a minute's quota allows, so calls wait. The usage stays within the
/// quota in every minute, so Drive rejects nothing, and all edits of each file arrive in order.
#[test]
fn pain_13_calls_stay_within_the_quota_and_drive_rejects_none() {
    by_hand(FILES + 2, async |hand| {
        let quota = json!({"units_per_minute_per_user": UNITS_PER_MINUTE});
        hand.control(Method::POST, "quota", quota).await;
        hand.configure(json!({"limits": {"quota_per_minute": UNITS_PER_MINUTE}}))
            .await;
        // The usage before belongs to another minute.
        hand.advance_clock(Duration::from_secs(61));
        let files: Vec<String> = (0..FILES).map(|_| hand.take()).collect();
        let units = || hand.simulator.counters().quota_units;
        // The time and the units used since the quota was set.
        let mut used = vec![(hand.now(), units())];
        let mut seen = vec![(0, 0); FILES];
        let mut given = [0; FILES];
        for _ in 0..200 {
            for (id, given) in files.iter().zip(&mut given) {
                let seen = progress(hand, id).await;
                // The last edits have arrived on both sides: the next ones follow, three in all.
                if seen == (*given, *given) && *given < 3 {
                    *given += 1;
                    let name = Edit::Rename(format!("{given}.txt"));
                    hand.simulator
                        .apply(Simulator::library_owner(), id, name)
                        .unwrap();
                    hand.edit_ok(id, json!({"description": given.to_string()}))
                        .await;
                }
            }
            hand.sync().await;
            hand.sweep_and_pump().await;
            used.push((hand.now(), units()));
            for (id, seen) in files.iter().zip(&mut seen) {
                let now = progress(hand, id).await;
                assert!(now.0 >= seen.0 && now.1 >= seen.1, "{seen:?}, then {now:?}");
                *seen = now;
            }
            if seen == [(3, 3); FILES] {
                break;
            }
            hand.advance_clock(Duration::from_secs(10));
        }
        assert_eq!(seen, [(3, 3); FILES]);
        // The edits needed more than a minute's quota, so calls had to wait.
        let (began, before) = used[0];
        let (ended, after) = used[used.len() - 1];
        let spent = after - before;
        assert!(spent > UNITS_PER_MINUTE, "{spent} units");
        assert!(ended.millis_since(began) > 60_000, "all went at once");
        for (at, by_then) in &used {
            let in_the_minute = used
                .iter()
                .filter(|(later, _)| later >= at && later.millis_since(*at) <= 60_000);
            let most = in_the_minute
                .map(|(_, units)| units - by_then)
                .max()
                .unwrap();
            assert!(most <= UNITS_PER_MINUTE, "{most} units within a minute");
        }
        // Nothing was rejected: each edit was written once.
        assert_eq!(
            hand.calls("v2.files.patch"),
            3 * u64::try_from(FILES).unwrap()
        );
    });
}

/// A temporarily rejected edit is retried after a random time below a limit that doubles, so that
/// edits that were rejected together are not retried together.
#[test]
fn pain_13_edits_rejected_together_are_retried_at_different_times() {
    by_hand(20, async |hand| {
        // The write rate is not limited here.
        let pace = json!({"writes_base_per_minute": 60_000, "writes_max_per_minute": 60_000});
        hand.configure(json!({"limits": pace})).await;
        hand.fault(json!({
            "match": "PATCH /drive/v2/files/*", "times": 0,
            "respond": {"status": 429, "reason": "rateLimitExceeded"}
        }));
        let files: Vec<String> = (0..20).map(|_| hand.take()).collect();
        for id in &files {
            hand.edit_ok(id, json!({"description": "refused"})).await;
        }
        let before = hand.now();
        hand.pump().await;
        let after = hand.now();
        let ids: Vec<FileId> = files.iter().map(|id| FileId::parse(id).unwrap()).collect();
        let records = hand.store().load_files(&hand.key, &ids).await.unwrap();
        let mut shares = Vec::new();
        for record in records.values() {
            assert!(record.push.failed.is_empty(), "a rate limit is no failure");
            let attempts = i32::try_from(record.push.attempts).unwrap();
            assert!(attempts > 0, "it was refused");
            let ceiling = 1_000.0 * f64::powi(2.0, attempts - 1);
            #[expect(clippy::cast_precision_loss, reason = "some seconds")]
            let delay = record.push.not_before.millis_since(after) as f64;
            assert!(record.push.not_before >= before);
            assert!(delay <= ceiling, "{delay} after {attempts} attempts");
            shares.push(delay / ceiling);
        }
        assert_eq!(shares.len(), 20);
        // Edits that were retried in place are rescheduled after a long wait; the waits still
        // differ.
        let (least, most) = shares
            .iter()
            .fold((f64::MAX, f64::MIN), |(least, most), share| {
                (least.min(*share), most.max(*share))
            });
        assert!(least < 0.8, "{shares:?}");
        assert!(most - least > 0.1, "{shares:?}");
        hand.simulator.clear_faults();
        hand.advance_clock(Duration::from_secs(301));
        hand.sweep_and_pump().await;
        assert_eq!(hand.differences().await, Vec::<String>::new());
    });
}

/// Every kind of temporary error is waited out: the edits of one file arrive in order, and nothing
/// is lost.
#[test]
fn pain_13_every_kind_of_rate_limit_error_is_waited_out() {
    own(async |world| {
        let id = world.take();
        let mut owed = Vec::new();
        // One file for each kind, so that none is rejected often enough to back off for long.
        for (status, reason) in [
            (403, "userRateLimitExceeded"),
            (403, "rateLimitExceeded"),
            (429, "rateLimitExceeded"),
            (503, "backendError"),
        ] {
            let file = world.take();
            for pattern in [
                "* /drive/v3/changes".to_owned(),
                format!("GET /drive/v2/files/{file}"),
                format!("PATCH /drive/v2/files/{file}"),
            ] {
                world.fault(json!({
                    "match": pattern, "times": 1, "respond": {"status": status, "reason": reason}
                }));
            }
            owed.push(file);
        }
        for name in ["first.txt", "second.txt", "third.txt"] {
            world.owner().rename(&id, name).await;
        }
        for file in &owed {
            world.edit_ok(file, json!({"description": "owed"})).await;
        }
        world.converge().await;
        assert!(world.simulator.pending_faults().is_empty(), "all were met");
        assert_eq!(world.file(&id).await["fields"]["name"], "third.txt");
        for file in &owed {
            assert_eq!(world.owner().get(file).await["description"], "owed");
        }
    });
}

/// A permanent error is shown at once, with Drive's reason, and is not retried.
#[test]
fn pain_13_a_permanent_rejection_is_shown_and_not_repeated() {
    own(async |world| {
        let id = world.take();
        world.fault(json!({
            "match": "PATCH /drive/v2/files/*", "times": 0,
            "respond": {"status": 403, "reason": "insufficientFilePermissions"}
        }));
        world.edit_ok(&id, json!({"description": "not mine"})).await;
        let file = world
            .file_until("the refusal is shown", &id, |file| {
                file["intent"]["status"] == "failed"
            })
            .await;
        assert_eq!(file["intent"]["reason"], "insufficientFilePermissions");
        assert_eq!(world.calls("v2.files.patch"), 1);
    });
}

/// People's edits are read from the log, many per page, and no file is looked up.
#[test]
fn pain_13_plain_edits_cost_one_page_and_no_lookup_of_a_file() {
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
