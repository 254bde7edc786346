//! Checks the audit trail: every accepted decision and edit of the programs is one act, and the
//! chains hold.

use std::collections::BTreeMap;

use domain::trail::ChainCheck;
use serde_json::Value;
use store::act_line;

use local::rehearsal::stage::Stage;

/// Reads the whole trail.
async fn acts(stage: &Stage) -> Vec<Value> {
    let (mut acts, mut next) = (Vec::new(), String::new());
    loop {
        let url = format!("{}/v1/audit?limit=1000{next}", stage.api);
        let request = stage.http.get(url).bearer_auth(stage.token());
        let page: Value = request.send().await.unwrap().json().await.unwrap();
        acts.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page["next_cursor"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => return acts,
        }
    }
}

/// Returns the number of acts, and what is wrong with them.
pub async fn check(stage: &Stage) -> (usize, Vec<String>) {
    let acts = acts(stage).await;
    let mut wrong = Vec::new();
    let mut check = ChainCheck::default();
    let mut done: BTreeMap<&str, usize> = BTreeMap::new();
    for act in &acts {
        let link = act.as_object().map(act_line::link);
        match link {
            Some(Ok(link)) => wrong.extend(
                check
                    .take(&link)
                    .iter()
                    .map(|found| format!("the trail: {found:?}")),
            ),
            Some(Err(_)) | None => wrong.push(format!("the trail has {act}")),
        }
        *done
            .entry(act["what"].as_str().unwrap_or_default())
            .or_default() += 1;
    }
    let ledger = stage.ledger.lock().unwrap();
    let count = |what: &str| done.get(what).copied().unwrap_or_default();
    let decided = count("resolve_conflict");
    if decided != ledger.decisions {
        let wanted = ledger.decisions;
        wrong.push(format!("{decided} acts of {wanted} accepted decisions"));
    }
    // Without a text, an accepted edit may change nothing. One that was not acknowledged may have
    // been carried out.
    let texts = ledger.programs.iter();
    let accepted = texts.clone().filter(|edit| edit.accepted).count();
    let (least, most) = (accepted, texts.count() + ledger.others.1);
    let edited = count("update_file");
    if !(least..=most).contains(&edited) {
        wrong.push(format!("{edited} acts of {least} to {most} accepted edits"));
    }
    (acts.len(), wrong)
}
