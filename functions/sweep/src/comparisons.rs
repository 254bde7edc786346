//! Begins the comparison of a log's files with the stored records, once in each interval.

use domain::operation::ComparisonInterval;
use domain::{Operation, Run};
use store::{Connection, Log, LogPosition, Updated};
use worker::WorkError;

use crate::Deps;

/// Begins a comparison if one is due and nothing else lists the log's files. It is an operation,
/// which is due at once.
pub(crate) async fn begin_if_due(
    connection: &Connection,
    log: &Log,
    deps: &Deps,
) -> Result<(), WorkError> {
    let now = deps.clock.now();
    let interval = connection.comparison_interval;
    if log.position != LogPosition::Following {
        return Ok(());
    }
    let Some(compared_at) = log.compared_at else {
        // The listing that was just done is the first of the interval.
        deps.store.count_comparisons_from(log, now).await?;
        return Ok(());
    };
    if !interval.is_due(&log.key, &log.log, compared_at, now) {
        return Ok(());
    }
    let recent = deps.store.recent_operations(&log.key).await?;
    let lists = |other: &Operation| other.log == log.log && other.comparison().is_some();
    if recent
        .iter()
        .any(|other| lists(other) && !other.has_ended())
    {
        return Ok(());
    }
    let run = match compared_at {
        ComparisonInterval::OWED => Run::audit(false),
        _ => Run::comparison(),
    };
    let id = deps.entropy.operation(now);
    let comparison = Operation::new(log.key.clone(), id, log.log.clone(), "drivesync", now, run);
    if deps.store.begin_comparison(log, &comparison).await? == Updated::Done {
        tracing::info!(
            connection = %log.key, log = %log.log, operation = %comparison.id,
            metric = "comparison_begun",
            "comparing the stored records with a listing"
        );
        deps.wakes.operation(&log.key, &comparison.id, now).await?;
    }
    Ok(())
}
