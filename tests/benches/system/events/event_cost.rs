//! The write units that events add to a change.

use std::time::Duration;

use drive_simulator::{Edit, Simulator};

use crate::bare::{Bare, Used};
use crate::report::{Report, Target, count};
use crate::rig::OwnChannel;

const FILES: usize = 500;
/// Units that an event may add to a change in flow.
const UNITS_MAX: f64 = 0.3;

pub async fn measure(report: &mut Report) {
    let mut bare = Bare::start(FILES).await;
    let channel = OwnChannel::open(bare.functions.receive_notification.clone(), &bare.key).await;
    bare.tell_events().await;
    report.part("Events: what they add to a change");
    for (name, at_once, target) in [
        ("a lone change", 1, Target::AtMost(1.0)),
        ("10 changes at once", 10, Target::AtMost(UNITS_MAX)),
        ("100 changes at once", 100, Target::AtMost(UNITS_MAX)),
    ] {
        let used = round(&mut bare, &channel, name, at_once).await;
        let per_change = used.stream_units / count(FILES);
        report.against(&format!("{name}: write units"), per_change, "units", target);
        let batches = count(used.stream.0) / count(FILES);
        report.line(
            &format!("  {name}: batches of the stream"),
            batches,
            "batches",
        );
    }
}

/// Edits every file once, with a pause after each batch.
async fn round(bare: &mut Bare, channel: &OwnChannel, name: &str, at_once: usize) -> Used {
    let files: Vec<String> = bare.simulator.file_ids().split_off(4);
    bare.pass(Duration::from_secs(60));
    bare.used = Used::default();
    for moment in files.chunks(at_once) {
        for id in moment {
            let edit = Edit::Describe(name.to_owned());
            let owner = Simulator::library_owner();
            bare.simulator.apply(owner, id, edit).unwrap();
        }
        channel.notify().await;
        bare.pump().await;
        bare.pass(Duration::from_secs(2));
    }
    bare.used.clone()
}
