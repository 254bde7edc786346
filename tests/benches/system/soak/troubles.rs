//! What Google does wrong in the field, one thing after another.

use std::time::{Duration, Instant};

use fastrand::Rng;
use http::Method;
use serde_json::{Value, json};

use local::rehearsal::stage::Stage;

/// The pause between the beginnings of two troubles, in seconds.
const EVERY_SECONDS: std::ops::Range<u64> = 10..40;
/// The time that a trouble lasts, in seconds.
const SECONDS: std::ops::Range<u32> = 10..60;
/// The same for writes that are all refused.
const WRITES_SECONDS: std::ops::Range<u32> = 60..240;
/// The time for which contents are refused, in seconds: an hour, or a third of the soak.
const CONTENT_SECONDS_MAX: u64 = 3_600;

/// Begins one trouble after another until the edits end.
pub async fn come_and_go(stage: &Stage, seconds: u64) {
    let mut rng = Rng::with_seed(77);
    let refused = (seconds / 3).min(CONTENT_SECONDS_MAX);
    let quota = json!({"status": 403, "reason": "downloadQuotaExceeded"});
    let media = "GET /drive/*?*alt=media*";
    begin(stage, json!({"match": media, "respond": quota}), refused).await;
    let page = json!({"status": 200, "html": true});
    let pages = json!({"match": media, "share": 0.1, "respond": page});
    begin(stage, pages, seconds).await;
    while !stage.over() {
        trouble(stage, &mut rng).await;
        let pause = Duration::from_secs(rng.u64(EVERY_SECONDS));
        let end = Instant::now() + pause;
        while !stage.over() && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

async fn begin(stage: &Stage, mut fault: Value, seconds: u64) {
    fault["times"] = json!(0);
    fault["lasts_seconds"] = json!(seconds);
    stage.control(Method::POST, "faults", fault).await;
}

/// Begins one trouble, which ends by itself. The edits of people, by v3's PATCH, are exempt.
async fn trouble(stage: &Stage, rng: &mut Rng) {
    let seconds = u64::from(rng.u32(SECONDS));
    let faults: Vec<Value> = match rng.u8(0..10) {
        0 | 1 => ["GET /drive/v*/files/*", "PATCH /drive/v2/files/*"]
            .map(|of| json!({"match": of, "share": 0.3, "respond": {"status": 404}}))
            .into(),
        2 => {
            let page = json!({"status": 404, "html": true});
            let of = ["GET /drive/*", "PATCH /drive/v2/*"];
            of.map(|of| json!({"match": of, "share": 0.3, "respond": page}))
                .into()
        }
        3 | 4 => [200, 403, 502]
            .map(|status| {
                let page = json!({"status": status, "html": true});
                json!({"match": "* /drive/v2/*", "share": 0.1, "respond": page})
            })
            .into(),
        5 => ["GET /drive/v3/changes", "GET /drive/v3/files"]
            .map(|of| json!({"match": of, "share": 0.5, "repeat_token": 1}))
            .into(),
        6 => {
            let refused = json!({"status": 503});
            let writes = u64::from(rng.u32(WRITES_SECONDS));
            let fault = json!({"match": "PATCH /drive/v2/files/*", "respond": refused});
            begin(stage, fault, writes).await;
            Vec::new()
        }
        7 | 8 => vec![json!({
            "match": "PATCH /drive/v2/files/*", "share": 0.5, "with_header": "If-Match",
            "respond": {"status": 412},
        })],
        _ => {
            let pages = json!({
                "search_ends_after": 5, "incomplete_search": rng.bool(), "lasts_seconds": seconds,
            });
            stage.control(Method::POST, "pages", pages).await;
            let tokens = json!({"page_tokens": true});
            stage
                .control(Method::POST, "invalidate_tokens", tokens)
                .await;
            Vec::new()
        }
    };
    for fault in faults {
        begin(stage, fault, seconds).await;
    }
}
