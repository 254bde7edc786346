//! Simulated people who edit the library in the simulated Drive.

use std::time::Duration;

use drive_simulator::{Edit, Simulator};
use tokio::sync::watch;

/// The pause of a person between two edits.
const PAUSE: Duration = Duration::from_millis(700);

/// Lets `people` edit until `stop` is true.
pub(crate) async fn edit(simulator: Simulator, people: usize, mut stop: watch::Receiver<bool>) {
    if people == 0 {
        return;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the number of people is small"
    )]
    let pause = PAUSE / people as u32;
    for turn in 0_u64.. {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(pause) => {}
        }
        let person = format!("collaborator{}", fastrand::usize(0..people) + 1);
        let Some(file) = simulator.random_files(&person, 1).pop() else {
            continue;
        };
        if let Err(error) = simulator.apply(&person, &file, random_edit(&simulator, &file, turn)) {
            tracing::debug!(?error, "an edit of a collaborator was refused");
        }
    }
}

fn random_edit(simulator: &Simulator, file: &str, turn: u64) -> Edit {
    let name = simulator
        .file(file)
        .map_or_else(String::new, |file| file.name);
    let bare = name
        .split_once(" (rev ")
        .map_or(name.as_str(), |(bare, _)| bare);
    match fastrand::u8(0..4) {
        0 => Edit::Rename(format!("{bare} (rev {turn})")),
        1 => Edit::Describe(format!("reviewed in turn {turn}")),
        2 => Edit::Property("stage".to_owned(), Some(format!("draft {}", turn % 7))),
        _ => Edit::Property(
            "owner".to_owned(),
            (!turn.is_multiple_of(3)).then(|| format!("team {}", turn % 5)),
        ),
    }
}
