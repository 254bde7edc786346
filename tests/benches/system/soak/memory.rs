//! Checks that the memory of `local` does not grow over its lives.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::report::{Report, Target, count, quantile};
use local::rehearsal::process::Life;

/// The age at which lives are compared, in seconds after they were ready; every life reaches it.
const AGE: std::ops::Range<f64> = 8.0..14.0;
/// The fewest lives in each compared third.
const LIVES_MIN: usize = 3;
/// The most that the last third may use, relative to the first.
const GROWTH_MAX: f64 = 1.2;

/// The memory of one life, in MB.
struct Held {
    at_equal_age: Option<f64>,
    at_end: f64,
    peak: f64,
    seconds: f64,
}

fn held(life: &Life) -> Option<Held> {
    let (seconds, at_end) = *life.samples.last()?;
    let mut young: Vec<f64> = life
        .samples
        .iter()
        .filter(|(age, _)| AGE.contains(age))
        .map(|(_, held)| *held)
        .collect();
    young.sort_by(f64::total_cmp);
    let peak = life
        .samples
        .iter()
        .map(|(_, held)| *held)
        .fold(0.0, f64::max);
    Some(Held {
        at_equal_age: (!young.is_empty()).then(|| quantile(&young, 0.5)),
        at_end,
        peak,
        seconds,
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    quantile(&values, 0.5)
}

/// Prints the memory of each life. The first life ran the first sync, and the last one was not
/// killed: they are shown, but not compared.
pub fn report(report: &mut Report, lives: &[Life]) {
    report.part("Memory of `local` (VmRSS), life after life");
    for (number, life) in lives.iter().enumerate() {
        let Some(held) = held(life) else { continue };
        let young = held
            .at_equal_age
            .map_or("-".to_owned(), |mb| format!("{mb:.0}"));
        report.note(&format!(
            "life {number}: ready after {:.1} s, lived {:.0} s; {young} MB at {:.0} to {:.0} s \
                of age, {:.0} MB at its end, {:.0} MB at most",
            life.ready_seconds, held.seconds, AGE.start, AGE.end, held.at_end, held.peak
        ));
    }
    if let [life] = lives {
        minutes(report, life);
    }
    let all: Vec<Held> = lives.iter().filter_map(held).collect();
    report.line(
        "peak of all lives",
        all.iter().map(|held| held.peak).fold(0.0, f64::max),
        "MB",
    );
    let compared = lives
        .get(1..lives.len().saturating_sub(1))
        .unwrap_or_default();
    let compared: Vec<Held> = compared.iter().filter_map(held).collect();
    let young: Vec<f64> = compared
        .iter()
        .filter_map(|held| held.at_equal_age)
        .collect();
    let third = young.len() / 3;
    if third < LIVES_MIN {
        report.note("too few lives to say whether it is flat: that takes some minutes");
        return;
    }
    let growth = compared.iter().filter_map(|held| {
        let minutes = (held.seconds - AGE.end) / 60.0;
        (minutes > 0.1).then_some((held.at_end - held.at_equal_age?) / minutes)
    });
    report.line(
        "growth within a life after that age, median",
        median(growth.collect()),
        "MB/min",
    );
    let first = median(young[..third].to_vec());
    let last = median(young[young.len() - third..].to_vec());
    report.line(
        &format!("median of the first {} lives at equal age", count(third)),
        first,
        "MB",
    );
    report.line(
        &format!("median of the last {} lives at equal age", count(third)),
        last,
        "MB",
    );
    report.against(
        "the last of these for each MB of the first",
        last / first,
        "",
        Target::AtMost(GROWTH_MAX),
    );
}

/// Prints the memory of a life, minute by minute.
fn minutes(report: &mut Report, life: &Life) {
    let mut by_minute: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (age, held) in &life.samples {
        let minute = Duration::from_secs_f64(*age).as_secs() / 60;
        by_minute.entry(minute).or_default().push(*held);
    }
    for (minute, held) in by_minute {
        report.line(&format!("minute {minute}, median"), median(held), "MB");
    }
}

/// Returns whether it grew beyond the limit.
pub fn grew(lives: &[Life]) -> bool {
    let compared = lives
        .get(1..lives.len().saturating_sub(1))
        .unwrap_or_default();
    let young: Vec<f64> = compared
        .iter()
        .filter_map(|life| held(life)?.at_equal_age)
        .collect();
    let third = young.len() / 3;
    third >= LIVES_MIN
        && median(young[young.len() - third..].to_vec())
            > GROWTH_MAX * median(young[..third].to_vec())
}
