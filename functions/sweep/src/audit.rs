//! The listing of an audit: like that of a first sync, but nothing is queued and the cursor is left alone.
//! What is listed is compared with our records at once; what seems to differ is looked at later.

use std::collections::{BTreeMap, BTreeSet};

use domain::pace::CallKind;
use domain::{Drift, Field, FileId, FileRecord, LogId, Observation, Snapshot, Value, drift};
use drive::{Kind, Listed, Scope};
use gate::GateError;
use store::{Connection, DriftEntry, Kept, Log, Operation, Position, Suspicion, Written};

use crate::compare::{name, suspect};
use crate::examine::Examination;
use crate::{Deps, Stopped, patience};

/// Lists the next page. `None` where another sweep is at it.
pub(crate) async fn list_page(
    operation: &Operation,
    connection: &Connection,
    deps: &Deps,
) -> Result<Option<Operation>, Stopped> {
    let pass = deps.gate.pass(connection, patience(deps)).await?;
    let scope = Scope::from(&operation.log);
    let token = operation.page_token.as_deref();
    let page = match pass
        .call(CallKind::List, pass.drive().list_files(&scope, token))
        .await
    {
        Ok(page) => page,
        // A listing's token lives for hours only: "if rejected, restart from the first page".
        Err(GateError::Drive(error)) if *error.kind() == Kind::CursorLost && token.is_some() => {
            let restarted = deps.store.restart_listing(operation).await?;
            return Ok(done(restarted));
        }
        Err(error) => return Err(error.into()),
    };
    let mut ids: Vec<FileId> = Vec::with_capacity(page.files.len());
    let mut seen: Vec<Snapshot> = Vec::with_capacity(page.files.len());
    for entry in page.files {
        match entry {
            Listed::Present(snapshot) => {
                ids.push(snapshot.file.clone());
                seen.push(snapshot);
            }
            // The log's own reading parks what can't be read; here it is only known to be there.
            Listed::Unreadable(unreadable) => ids.extend(unreadable.file),
        }
    }
    let kept = deps.store.load_kept_files(&operation.key, &ids).await?;
    let logs = deps.store.list_kept_logs(&operation.key).await?;
    // A record that is in none of our lists is found only by its file's being listed.
    let examination = Examination::new(operation, connection, &logs, deps);
    Box::pin(examination.look_at_listed(&kept)).await?;
    let records = kept
        .into_iter()
        .map(|kept| (kept.value.file.clone(), kept.value));
    let records: BTreeMap<FileId, FileRecord> = records.collect();
    let others = told_by_others(operation, logs);
    let own = seen.into_iter();
    let own = own.filter(|snapshot| !others.contains(&snapshot.mirror.log()));
    let suspects = own.filter_map(|snapshot| {
        let record = records.get(&snapshot.file);
        let (file, version) = (snapshot.file.clone(), snapshot.version);
        let known_as = record.map_or_else(|| listed_name(&snapshot), name);
        let suspicion = match drift(record, &Observation::Present(snapshot))? {
            Drift::MissingHere | Drift::Stale(_) => Suspicion::Newer(version),
            Drift::Differing(_) => Suspicion::Differs,
            Drift::MissingThere(_) => return None,
        };
        Some(DriftEntry {
            file,
            name: known_as,
            suspicion,
            finding: None,
        })
    });
    suspect(operation, suspects, deps).await?;
    let now = deps.clock.now();
    let recorded = deps
        .store
        .record_page(operation, &ids, page.next.as_deref(), now)
        .await?;
    Ok(done(recorded))
}

/// The logs that tell of their drives' files themselves, and are audited themselves: the user's listing shows such
/// files too. Of a drive that was left, only what the user's listing shows is still told.
fn told_by_others(operation: &Operation, logs: Vec<Kept<Log>>) -> BTreeSet<LogId> {
    let logs = logs.into_iter().map(|kept| kept.value);
    let others = logs.filter(|log| match log.position {
        Position::Left { .. } => false,
        Position::New | Position::Listing(_) | Position::Following => log.log != operation.log,
    });
    others.map(|log| log.log).collect()
}

fn done(written: Written<Operation>) -> Option<Operation> {
    match written {
        Written::Done(operation) => Some(operation),
        Written::Stale(_) => None,
    }
}

fn listed_name(snapshot: &Snapshot) -> String {
    match snapshot.fields.get(&Field::Name) {
        Some(Value::Text(name)) => name.clone(),
        Some(Value::Null | Value::Flag(_)) | None => String::new(),
    }
}
