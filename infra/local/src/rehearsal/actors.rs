//! The actors: people in Drive, and programs at our API, some of which resolve conflicts.

use std::time::{Duration, Instant};

use fastrand::Rng;
use http::Method;
use serde_json::{Value, json};

use super::stage::{AppEdit, PersonEdit, Stage};

/// The pause between two edits of one actor, in milliseconds.
const PAUSE_MILLIS: std::ops::Range<u64> = 300..1_200;
/// The turns of a program for each conflict that it resolves.
const DECIDES_EVERY: usize = 3;

/// An edit of one field: its label, its text if it has one, and the request.
struct Change {
    field: &'static str,
    text: Option<String>,
    body: Value,
}

/// Draws an edit. Every text is written once, so that it can be traced.
fn change(stage: &Stage, rng: &mut Rng, who: &str, number: usize) -> Change {
    let text = format!("{who}-{number}");
    let texts = |field, body| Change {
        field,
        text: Some(text.clone()),
        body,
    };
    let other = |field, body| Change {
        field,
        text: None,
        body,
    };
    match rng.u8(0..20) {
        0..=5 => texts("name", json!({"name": text})),
        6..=9 => texts("description", json!({"description": text})),
        10..=13 => texts("properties.stage", json!({"properties": {"stage": text}})),
        14..=15 => texts("properties.owner", json!({"properties": {"owner": text}})),
        16..=17 => other("starred", json!({"starred": rng.bool()})),
        18 => other("trashed", json!({"trashed": rng.bool()})),
        _ => other(
            "parent",
            json!({"parent": rng.choice(&stage.folders).unwrap()}),
        ),
    }
}

async fn pause(rng: &mut Rng) {
    tokio::time::sleep(Duration::from_millis(rng.u64(PAUSE_MILLIS))).await;
}

/// Acts as a person in Drive until the end. Only the owner stars and trashes: a star belongs to its
/// user, and only the owner may trash.
pub async fn person(stage: &Stage, number: usize) {
    let who = format!("person{number}");
    let mut rng = Rng::with_seed(number as u64);
    for turn in 0.. {
        pause(&mut rng).await;
        if stage.over() {
            return;
        }
        let file = stage.draw(&mut rng).to_owned();
        let change = change(stage, &mut rng, &who, turn);
        let answer = match change.field {
            "parent" => {
                move_in_drive(stage, &who, &file, change.body["parent"].as_str().unwrap()).await
            }
            "starred" | "trashed" => patch_in_drive(stage, "owner", &file, "", &change.body).await,
            _ => patch_in_drive(stage, &who, &file, "", &change.body).await,
        };
        let mut ledger = stage.ledger.lock().unwrap();
        match (answer, change.text) {
            (Some(200), Some(to)) => ledger.people.push(PersonEdit {
                file,
                field: change.field.to_owned(),
                to,
            }),
            (Some(200), None) => ledger.others.0 += 1,
            // The read before the move met a fault.
            (None | Some(403 | 429 | 503), None) => {}
            (other, _) => ledger
                .wrong
                .push(format!("{who}: Drive answered {other:?}")),
        }
    }
}

async fn patch_in_drive(
    stage: &Stage,
    who: &str,
    file: &str,
    query: &str,
    body: &Value,
) -> Option<u16> {
    let path = format!("/{file}?fields=id{query}");
    let answer = stage.person(who, Method::PATCH, &path, Some(body.clone()));
    answer.await.map(|answer| answer.status)
}

async fn move_in_drive(stage: &Stage, who: &str, file: &str, to: &str) -> Option<u16> {
    let path = format!("/{file}?fields=parents");
    let seen = stage.person(who, Method::GET, &path, None).await?;
    if seen.status != 200 {
        return None;
    }
    let from = seen.body["parents"][0].as_str()?;
    let query = format!("&addParents={to}&removeParents={from}");
    match patch_in_drive(stage, who, file, &query, &json!({})).await {
        // Another person moved it in between: a file has one folder.
        Some(403) => Some(403),
        other => other,
    }
}

/// Acts as a program at our API until the end. It completes each edit that it started.
pub async fn program(stage: &Stage, number: usize, settles: bool) {
    let who = format!("program{number}");
    let mut rng = Rng::with_seed(1_000 + number as u64);
    for turn in 0.. {
        pause(&mut rng).await;
        if stage.over() {
            return;
        }
        if settles && turn % DECIDES_EVERY == 0 {
            decide(stage, &mut rng, &format!("{who}-{turn}")).await;
        } else {
            edit(stage, &mut rng, &who, turn).await;
        }
    }
}

/// Returns the text of a field in the API's view of a file.
fn text_of(fields: &Value, label: &str) -> String {
    let value = match label.strip_prefix("properties.") {
        Some(key) => &fields["properties"][key],
        None => &fields[label],
    };
    value.as_str().unwrap_or_default().to_owned()
}

/// Reads a file, and changes it on condition of that state.
async fn edit(stage: &Stage, rng: &mut Rng, who: &str, turn: usize) {
    let file = stage.draw(rng).to_owned();
    let change = change(stage, rng, who, turn);
    let path = format!("/files/{file}");
    let (seen, _) = stage.insist(Method::GET, &path, &[], None).await;
    if seen.status != 200 {
        stage.wrong(format!("{file} was answered by {}", seen.status));
        return;
    }
    let key = format!("{who}-{turn}");
    let headers = [
        ("if-match", seen.etag.as_str()),
        ("idempotency-key", key.as_str()),
    ];
    let body = Some(change.body.clone());
    let (answer, open) = stage.insist(Method::PATCH, &path, &headers, body).await;
    if !matches!(answer.status, 200 | 409 | 412) {
        stage.wrong(format!(
            "an edit was answered by {}: {}",
            answer.status, answer.body
        ));
    }
    let mut ledger = stage.ledger.lock().unwrap();
    let Some(to) = change.text else {
        ledger.others.1 += usize::from(answer.status == 200);
        return;
    };
    // Another field may have been edited before our repetition: then the file still shows our text.
    let shown =
        answer.status == 200 || text_of(&answer.body["current"]["fields"], change.field) == to;
    if shown || open {
        ledger.programs.push(AppEdit {
            from: text_of(&seen.body["fields"], change.field),
            file,
            field: change.field.to_owned(),
            to,
            accepted: shown,
            answered: Instant::now(),
        });
    }
}

/// Resolves one of the open conflicts, if there are any.
async fn decide(stage: &Stage, rng: &mut Rng, text: &str) {
    let (listed, _) = stage
        .insist(Method::GET, "/conflicts?status=open&limit=50", &[], None)
        .await;
    let open = listed.body["items"].as_array().cloned().unwrap_or_default();
    let Some(conflict) = rng.choice(&open) else {
        return;
    };
    let field = conflict["field"].as_str().unwrap_or_default();
    let is_text = !matches!(field, "starred" | "trashed" | "parent");
    let choice = match rng.u8(0..4) {
        0 => json!({"choose": "drive"}),
        1 => json!({"choose": "base"}),
        2 if is_text => {
            stage.ledger.lock().unwrap().chosen.push(text.to_owned());
            json!({"value": text})
        }
        _ => json!({"choose": "app"}),
    };
    let path = format!("/conflicts/{}/resolution", conflict["id"].as_str().unwrap());
    let headers = [("idempotency-key", text)];
    let (answer, _) = stage
        .insist(Method::POST, &path, &headers, Some(choice))
        .await;
    match answer.status {
        200 => stage.ledger.lock().unwrap().decisions += 1,
        // Another program was first, or the sides became equal.
        409 => {}
        other => stage.wrong(format!(
            "a decision was answered by {other}: {}",
            answer.body
        )),
    }
}
