//! What CloudWatch does with the functions' metrics on AWS: `GET /metrics`, in Prometheus's text
//! format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, OnceLock, PoisonError};

use runtime::metrics::{Kind, Metric, TABLE};

/// The path of the metrics.
pub const PATH: &str = "/metrics";
/// The type of their text.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The upper bounds of the buckets of durations, in milliseconds.
const BOUNDS_MILLIS: [u64; 12] = [
    50,
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    60_000,
    900_000,
    1_800_000,
    259_200_000,
];

/// What was measured in this process.
#[derive(Debug, Default)]
pub struct Measurements(Mutex<BTreeMap<&'static str, Measured>>);

#[derive(Debug, Default, Clone, Copy)]
struct Measured {
    count: u64,
    sum: u64,
    last: u64,
    /// The values up to each bound, and above that before.
    buckets: [u64; BOUNDS_MILLIS.len()],
}

/// Returns the measurements of this process: one subscriber hears all of its systems.
pub fn measurements() -> &'static Measurements {
    static OF_PROCESS: OnceLock<Measurements> = OnceLock::new();
    OF_PROCESS.get_or_init(Measurements::default)
}

impl Measurements {
    /// Adds a value.
    pub fn add(&self, metric: &'static Metric, value: u64) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let measured = all.entry(metric.name).or_default();
        measured.count += 1;
        measured.sum = measured.sum.saturating_add(value);
        measured.last = value;
        let bounds = BOUNDS_MILLIS.iter().zip(&mut measured.buckets);
        if let Some((_, bucket)) = bounds.into_iter().find(|(bound, _)| value <= **bound) {
            *bucket += 1;
        }
    }

    /// Returns all metrics as text, also those without a value yet.
    #[must_use]
    pub fn text(&self) -> String {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for metric in &TABLE {
            let measured = all.get(metric.name).copied().unwrap_or_default();
            // Writing to a string can't fail.
            let _ = measured.write(metric, &mut text);
        }
        text
    }
}

impl Measured {
    fn write(&self, metric: &Metric, text: &mut String) -> std::fmt::Result {
        let (suffix, kind) = match metric.kind {
            Kind::Counter => ("_total", "counter"),
            Kind::Gauge(_) => ("", "gauge"),
            Kind::Millis(_) => ("_seconds", "histogram"),
        };
        let name = format!("drivesync_{}{suffix}", metric.name);
        writeln!(
            text,
            "# HELP {name} {} ({})",
            metric.meaning, metric.functions
        )?;
        writeln!(text, "# TYPE {name} {kind}")?;
        match metric.kind {
            Kind::Counter => writeln!(text, "{name} {}", self.sum),
            Kind::Gauge(_) => writeln!(text, "{name} {}", self.last),
            Kind::Millis(_) => {
                let mut below = 0;
                for (bound, bucket) in BOUNDS_MILLIS.iter().zip(self.buckets) {
                    below += bucket;
                    writeln!(text, "{name}_bucket{{le=\"{}\"}} {below}", seconds(*bound))?;
                }
                writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {}", self.count)?;
                writeln!(text, "{name}_sum {}", seconds(self.sum))?;
                writeln!(text, "{name}_count {}", self.count)
            }
        }
    }
}

/// Formats milliseconds as seconds.
fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1_000, millis % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> &'static Metric {
        TABLE.iter().find(|metric| metric.name == name).unwrap()
    }

    #[test]
    fn counts_gauges_and_durations_are_written_as_prometheus_reads_them() {
        let measurements = Measurements::default();
        for millis in [40, 100, 101, 300_000_000] {
            measurements.add(named("applied_lag"), millis);
        }
        measurements.add(named("parked"), 1);
        measurements.add(named("parked"), 1);
        measurements.add(named("watch_failures"), 7);
        measurements.add(named("watch_failures"), 3);
        let text = measurements.text();
        for line in [
            "# TYPE drivesync_applied_lag_seconds histogram",
            "drivesync_applied_lag_seconds_bucket{le=\"0.050\"} 1",
            "drivesync_applied_lag_seconds_bucket{le=\"0.100\"} 2",
            "drivesync_applied_lag_seconds_bucket{le=\"0.250\"} 3",
            "drivesync_applied_lag_seconds_bucket{le=\"259200.000\"} 3",
            "drivesync_applied_lag_seconds_bucket{le=\"+Inf\"} 4",
            "drivesync_applied_lag_seconds_sum 300000.241",
            "drivesync_applied_lag_seconds_count 4",
            "# TYPE drivesync_parked_total counter",
            "drivesync_parked_total 2",
            "drivesync_watch_failures 3",
            "drivesync_given_up_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
