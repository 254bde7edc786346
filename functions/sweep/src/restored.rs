//! Notices that the table was restored from a backup, and begins what every connection needs then.
//!
//! A restored table has a stream of its own, and the table says which one it last had. What was in
//! the queues when the backup was taken has since been written to the table that was lost, so the
//! cursors of the logs are past changes that no record here has: every log owes an audit. Readers
//! of events know what never happened here: every event log owes the word to reload, in a new
//! epoch. Channels may have been replaced since: every one is renewed.

use domain::Timestamp;
use domain::operation::ComparisonInterval;
use runtime::Deadline;
use store::{
    ChannelState, DUE_SHARDS, DueItem, Log, RestoredPass, StoreError, TableIdentity, Updated,
};
use worker::WorkError;

use crate::{Deps, ITEM_MILLIS, ITEMS_PER_PAGE, active, comparisons, event_logs};

/// Looks whether the table is the one that it says it is, and goes on with the pass over a table
/// that was restored. The pass is recorded page by page, and a page may be passed over twice.
pub(crate) async fn look(deadline: Deadline, deps: &Deps) -> Result<(), WorkError> {
    let mut at = deps.store.identify_table(deps.clock.now()).await?;
    while let Some(identity) = at {
        if deadline.passed(deps.clock.now().plus_millis(ITEM_MILLIS)) {
            return Ok(());
        }
        at = pass_page(&identity, deps).await?;
    }
    Ok(())
}

/// Passes over one page, and returns what is left; `None` at the end, or if somebody else goes on.
/// What can't be read is left to the sweep, which reports it.
async fn pass_page(
    identity: &TableIdentity,
    deps: &Deps,
) -> Result<Option<TableIdentity>, WorkError> {
    let (Some(pass), Some(noticed)) = (&identity.pass, identity.restored_at) else {
        return Ok(None);
    };
    if pass.shard == 0 && pass.after.is_none() {
        tracing::warn!(
            metric = "table_restored",
            "the table was restored: every log is audited, and readers are told to reload"
        );
    }
    let store = &deps.store;
    let end_of_time = Timestamp::from_millis(i64::MAX);
    let after = pass.after.as_deref();
    let page = store.due(pass.shard, end_of_time, after, ITEMS_PER_PAGE);
    let page = page.await?;
    for item in page.items {
        match begin(item, noticed, deps).await {
            Err(WorkError::Store(StoreError::Corrupt { .. } | StoreError::NewerItem { .. }))
            | Ok(()) => {}
            Err(error) => return Err(error),
        }
    }
    let following = match page.next {
        Some(after) => Some((pass.shard, Some(after))),
        None => Some((pass.shard + 1, None)).filter(|(shard, _)| *shard < DUE_SHARDS),
    };
    let following = following.map(|(shard, after)| RestoredPass { shard, after });
    if following.is_none() {
        tracing::info!(
            metric = "table_restored_passed",
            "every log owes an audit, and every reader was told"
        );
    }
    Ok(store.save_pass(identity, following).await?)
}

/// Begins what an item needs in a table that was restored. What becomes due by itself does: this is
/// what would be due too late, or never.
async fn begin(item: DueItem, noticed: Timestamp, deps: &Deps) -> Result<(), WorkError> {
    let store = &deps.store;
    match item {
        DueItem::Log(key, id) => {
            let Some(log) = store.load_log(&key, &id).await? else {
                return Ok(());
            };
            let owed = store.count_comparisons_from(&log, ComparisonInterval::OWED);
            if owed.await? == Updated::Absent {
                return Err(WorkError::Contended);
            }
            // It begins at once, unless another listing goes on or the connection is stopped: then
            // with a later poll.
            if let Some(connection) = active(&key, deps).await? {
                let log = Log {
                    compared_at: Some(ComparisonInterval::OWED),
                    ..log
                };
                comparisons::begin_if_due(&connection, &log, deps).await?;
            }
            store.postpone_poll(&key, &id, noticed).await?;
        }
        DueItem::Channel(id) => {
            let channel = store.load_channel(&id).await?;
            if channel.is_some_and(|channel| channel.state == ChannelState::Active) {
                store.postpone_channel(&id, noticed).await?;
            }
        }
        DueItem::EventLog(key) => {
            store.owe_reset(&key, noticed).await?;
            event_logs::keep(&key, deps).await?;
        }
        DueItem::File(..)
        | DueItem::Content(..)
        | DueItem::Object(..)
        | DueItem::StrayChannel(_)
        | DueItem::Operation(..)
        | DueItem::Acts(_)
        | DueItem::DeadLetters(_)
        | DueItem::Webhook(..)
        | DueItem::Conflict(..)
        | DueItem::Unknown { .. } => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use domain::event::{Author, Details, Epoch, Event, EventType, Subject};
    use store::{Appending, EventsRead, Nonce};
    use worker_testing::World;

    use super::*;
    use crate::tests::deps;

    const BEFORE: &str = "arn:aws:dynamodb:eu-west-1:1:table/t/stream/1";
    const AFTER: &str = "arn:aws:dynamodb:eu-west-1:1:table/t-restored/stream/2";

    async fn of(world: &World, stream: &str) -> Deps {
        let deps = deps(world).await;
        Deps {
            store: deps.store.clone().with_stream(Some(stream)),
            ..deps
        }
    }

    async fn looked(deps: &Deps, world: &World) {
        look(world.deadline(60), deps).await.unwrap();
    }

    async fn audits(deps: &Deps) -> usize {
        let recent = deps.store.recent_operations(&World::key()).await.unwrap();
        recent.iter().filter(|one| one.audit().is_some()).count()
    }

    async fn append(deps: &Deps, fresh: u64) {
        let now = deps.clock.now();
        let event = Event {
            kind: EventType::SyncHeartbeat,
            subject: Subject::Connection,
            state: fresh.to_string(),
            at: now,
            by: Author::App,
            cause: None,
            details: Details::default(),
        };
        let appending = Appending {
            table: None,
            fresh: Epoch(fresh),
            nonce: Nonce(fresh),
            now,
        };
        let (key, events) = (World::key(), [event]);
        let appended = deps.store.append_events(&key, &events, &appending);
        appended.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_table_says_which_one_it_is_and_is_then_itself() {
        let world = World::new().await;
        world.connect(|_| {}).await;
        world.follow().await;
        let deps = of(&world, BEFORE).await;
        for _ in 0..2 {
            looked(&deps, &world).await;
            assert_eq!(audits(&deps).await, 0);
            let identity = deps.store.identify_table(world.clock.now()).await.unwrap();
            assert_eq!(identity.unwrap().restored_at, None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_restored_table_each_log_is_audited_once_and_readers_reload() {
        let world = World::new().await;
        world.connect(|_| {}).await;
        world.follow().await;
        let before = of(&world, BEFORE).await;
        looked(&before, &world).await;
        append(&before, 1).await;
        let end = before
            .store
            .event_log_end(&World::key())
            .await
            .unwrap()
            .unwrap();
        let after = of(&world, AFTER).await;
        looked(&after, &world).await;
        assert_eq!(audits(&after).await, 1);
        let now = world.clock.now();
        let (key, cursor) = (World::key(), end.cursor());
        let read = after.store.read_events(&key, Some(&cursor), 10, now);
        assert!(matches!(read.await.unwrap(), EventsRead::Expired { .. }));
        let log = world.log().await;
        assert_ne!(
            log.compared_at,
            Some(ComparisonInterval::OWED),
            "it has begun"
        );
        looked(&after, &world).await;
        assert_eq!(audits(&after).await, 1, "once");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_schedule_appends_in_a_restored_table_is_in_a_new_epoch() {
        let world = World::new().await;
        world.connect(|_| {}).await;
        let before = of(&world, BEFORE).await;
        append(&before, 1).await;
        append(&before, 2).await;
        let end = before
            .store
            .event_log_end(&World::key())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(end.epoch, Epoch(1));
        let after = of(&world, AFTER).await;
        append(&after, 3).await;
        let end = after
            .store
            .event_log_end(&World::key())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(end.epoch, Epoch(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_connection_of_a_restored_table_owes_its_audit() {
        let world = World::new().await;
        let connection = world.connect(|_| {}).await;
        world.follow().await;
        looked(&of(&world, BEFORE).await, &world).await;
        let now = world.clock.now();
        world
            .store
            .suspend(&connection.key, "revoked", now)
            .await
            .unwrap();
        let after = of(&world, AFTER).await;
        looked(&after, &world).await;
        assert_eq!(audits(&after).await, 0);
        assert_eq!(
            world.log().await.compared_at,
            Some(ComparisonInterval::OWED)
        );
    }
}
