//! A realistic Drive: shared drives that are joined and left, a cursor that Drive forgets, a folder
//! with thousands of descendants that moves, thousands of files that are deleted at once, and the
//! steady state beside them.
//!
//! One user connection to a My Drive with two fifths of the files, and three shared drives with a
//! fifth each.

mod library;
pub mod meter;

use std::time::{Duration, Instant};

use domain::{Field, Gone, LogId, OperationState, Presence, Value};
use drive_simulator::{Edit, NotificationPolicy, Role, Simulator};
use store::{LogPosition, PageRequest};

use crate::report::{Report, Target, count};
use crate::rig::{Rig, credentials, described, serve, until};
use library::{KEEPER, Library};
use meter::Meter;

/// The files of this part, by default.
pub const FILES: usize = 50_000;
/// The target for the steady state, in quota units per change.
const UNITS_PER_CHANGE_MAX: f64 = 0.2;
/// The edits per second of the slow round, and its duration in seconds.
const SLOW: (usize, usize) = (50, 20);

pub async fn measure(report: &mut Report, files: usize) {
    let (rig, library) = connected(report, files).await;
    let rig = &rig;
    join(report, rig, &library).await;
    steady(report, rig, &library).await;
    move_folder(report, rig, &library).await;
    delete_many(report, rig, &library).await;
    leave(report, rig, &library).await;
    forget_tokens(report, rig, &library).await;
    report.note(
        "Drive calls, quota units, writes and SQS requests are counted until all has \
        come to rest, what runs by",
    );
    report.note(
        "time (the sweep, each second here) included; the seconds end when our records show it",
    );
}

/// All but the third drive exists before the connection is created.
async fn connected(report: &mut Report, files: usize) -> (Rig, Library) {
    let simulator = Simulator::new(drive_simulator::Options::default());
    let library = Library::load(&simulator, files);
    simulator.set_notifications(NotificationPolicy {
        coalesce: true,
        ..NotificationPolicy::default()
    });
    let drive_url = serve(&simulator).await;
    let (system, folder) = Rig::start(drive_url.clone()).await;
    report.part(&format!(
        "As it really is: first sync of a user with two shared drives, {} items in all",
        library.items
    ));
    let owner = credentials(&drive_url);
    let began = Instant::now();
    let key = system.connect(&owner, None).await.unwrap();
    let rig = Rig::new(simulator, system, key, folder);
    let meter = Meter::begin(&rig).await;
    let [first, second, _] = &library.drives;
    for files in [&library.mine, &first.files, &second.files] {
        rig.shown(files, |record| record.presence == Presence::Present)
            .await;
    }
    let seconds = began.elapsed().as_secs_f64();
    at_rest(&rig, 3).await;
    meter.report(report, &rig, seconds).await;
    (rig, library)
}

/// Waits until this many logs are followed with a channel, no operation is running, and all queues
/// are empty.
async fn at_rest(rig: &Rig, followed: usize) {
    until("all has come to rest", async || {
        let logs = rig.store().list_logs(&rig.key).await.unwrap();
        let followed_now = logs
            .iter()
            .filter(|log| log.position == LogPosition::Following && log.channel.is_some())
            .count();
        let first = PageRequest::first(100);
        let operations = rig.store().list_operations(&rig.key, &first).await.unwrap();
        let ended = operations
            .items
            .iter()
            .all(|operation| operation.has_ended());
        (ended && followed_now == followed && rig.queued() == 0).then_some(())
    })
    .await;
}

async fn join(report: &mut Report, rig: &Rig, library: &Library) {
    let [_, _, third] = &library.drives;
    report.part(&format!(
        "As it really is: joining a shared drive of {} files",
        third.files.len()
    ));
    let meter = Meter::begin(rig).await;
    let began = Instant::now();
    rig.simulator
        .set_member(&third.id, Simulator::library_owner(), Some(Role::Organizer));
    rig.shown(&third.files, |record| record.presence == Presence::Present)
        .await;
    let seconds = began.elapsed().as_secs_f64();
    at_rest(rig, 4).await;
    meter.report(report, rig, seconds).await;
}

async fn steady(report: &mut Report, rig: &Rig, library: &Library) {
    let files = library.sample(library.items / 5);
    report.part(&format!(
        "As it really is: steady state, {} files of all four logs edited at once",
        files.len()
    ));
    for (name, repeats) in [
        ("the user's log repeats nothing of the drives'", 0.0),
        ("the user's log repeats everything", 1.0),
    ] {
        rig.simulator.set_log_repeats(repeats);
        let meter = Meter::begin(rig).await;
        let began = Instant::now();
        edit(rig, &files, name);
        rig.shown(&files, |record| described(record, name)).await;
        let seconds = began.elapsed().as_secs_f64();
        at_rest(rig, 4).await;
        report.against(
            &format!("quota units per change, {name}"),
            meter.units(rig) / count(files.len()),
            "units",
            Target::AtMost(UNITS_PER_CHANGE_MAX),
        );
        meter.report(report, rig, seconds).await;
    }
    let (rate, seconds) = SLOW;
    let slow = &files[..files.len().min(rate * seconds)];
    let name = format!("quota units per change, {rate} edits a second");
    let meter = Meter::begin(rig).await;
    for part in slow.chunks(rate) {
        edit(rig, part, &name);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    rig.shown(slow, |record| described(record, &name)).await;
    at_rest(rig, 4).await;
    report.line(&name, meter.units(rig) / count(slow.len()), "units");
    report.note(
        "a list costs 100 units whatever is on it: how full the pages are decides, and \
        so the pace of the edits",
    );
}

fn edit(rig: &Rig, files: &[String], text: &str) {
    for id in files {
        rig.simulator
            .apply(KEEPER, id, Edit::Describe(text.to_owned()))
            .unwrap();
    }
}

async fn move_folder(report: &mut Report, rig: &Rig, library: &Library) {
    let [first, ..] = &library.drives;
    report.part(&format!(
        "As it really is: moving a folder with {} descendants",
        first.files.len() + first.folders
    ));
    let meter = Meter::begin(rig).await;
    let began = Instant::now();
    rig.simulator
        .apply(KEEPER, &first.top, Edit::Move(first.archive.clone()))
        .unwrap();
    let parent = Value::text(&first.archive);
    rig.shown(std::slice::from_ref(&first.top), |record| {
        record.app(&Field::Parent) == parent
    })
    .await;
    let seconds = began.elapsed().as_secs_f64();
    at_rest(rig, 4).await;
    meter.report(report, rig, seconds).await;
}

async fn forget_tokens(report: &mut Report, rig: &Rig, library: &Library) {
    let [first, second, third] = &library.drives;
    report.part(&format!(
        "As it really is: Drive forgets the tokens of the three logs that are left, {} items \
            listed",
        library.items - second.files.len() - second.folders - 1 - third.items()
    ));
    let meter = Meter::begin(rig).await;
    let began = Instant::now();
    let since = rig.system.now();
    rig.simulator.invalidate_tokens(false, true);
    // A person edits, so that Drive sends a notification.
    let edited = [&library.mine[0], &first.files[0], &second.archive];
    edit(
        rig,
        &edited.map(String::clone),
        "after the tokens were lost",
    );
    until("every log was compared", async || {
        let first = PageRequest::first(100);
        let operations = rig.store().list_operations(&rig.key, &first).await.unwrap();
        let resyncs = operations.items.iter().filter(|operation| {
            operation.is_resync()
                && operation.started_at >= since
                && operation.state() == OperationState::Done
        });
        (resyncs.count() == 3).then_some(())
    })
    .await;
    let seconds = began.elapsed().as_secs_f64();
    at_rest(rig, 3).await;
    meter.report(report, rig, seconds).await;
    for files in [&library.mine, &first.files] {
        rig.shown(files, |record| record.presence == Presence::Present)
            .await;
    }
}

async fn delete_many(report: &mut Report, rig: &Rig, library: &Library) {
    let [_, second, _] = &library.drives;
    report.part(&format!(
        "As it really is: {} files deleted at once, with their folder",
        second.files.len()
    ));
    let meter = Meter::begin(rig).await;
    let began = Instant::now();
    rig.simulator
        .apply(KEEPER, &second.top, Edit::Delete)
        .unwrap();
    rig.shown(&second.files, |record| {
        matches!(record.presence, Presence::Gone(Gone::Removed, _))
    })
    .await;
    let seconds = began.elapsed().as_secs_f64();
    at_rest(rig, 4).await;
    meter.report(report, rig, seconds).await;
}

async fn leave(report: &mut Report, rig: &Rig, library: &Library) {
    let [_, _, third] = &library.drives;
    report.part(&format!(
        "As it really is: leaving a shared drive of {} files",
        third.files.len()
    ));
    let meter = Meter::begin(rig).await;
    let began = Instant::now();
    rig.simulator
        .set_member(&third.id, Simulator::library_owner(), None);
    rig.shown(&third.files, |record| {
        matches!(record.presence, Presence::Gone(Gone::AccessLost, _))
    })
    .await;
    let seconds = began.elapsed().as_secs_f64();
    at_rest(rig, 3).await;
    meter.report(report, rig, seconds).await;
    let log = LogId::parse(&third.id).unwrap();
    let log = rig.store().load_log(&rig.key, &log).await.unwrap();
    assert!(log.is_some_and(|log| matches!(log.position, LogPosition::Left { .. })));
}
