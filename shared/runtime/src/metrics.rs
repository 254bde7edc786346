//! The metrics of the system, as data, and how they are measured: the log lines of operators name
//! them in the member `metric`. On AWS the values of an invocation become one more line, in
//! CloudWatch's embedded metric format, from which CloudWatch makes metrics without dimensions.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name, in the deployment's namespace.
    pub name: &'static str,
    /// How it is measured.
    pub kind: Kind,
    /// The values of the member `metric` of the lines that it is measured from.
    pub lines: &'static [&'static str],
    /// The functions that log these lines.
    pub functions: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

/// How a metric is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Each line counts one.
    Counter,
    /// Each line has a count in this member; what matters is the largest.
    Gauge(&'static str),
    /// Each line has milliseconds in this member.
    Millis(&'static str),
}

const fn metric(
    name: &'static str,
    kind: Kind,
    lines: &'static [&'static str],
    functions: &'static str,
    meaning: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        lines,
        functions,
        meaning,
    }
}

/// All metrics. The alarms, the dashboard and Grafana's name these and no others.
#[rustfmt::skip]
pub const TABLE: [Metric; 21] = [
    metric("applied_lag", Kind::Millis("lag_millis"), &["applied"], "apply-snapshots",
        "from a change in Drive until it is applied"),
    metric("applied", Kind::Counter, &["applied"], "apply-snapshots",
        "files to which snapshots were applied"),
    metric("log_lag", Kind::Millis("lag_millis"), &["log_lag"], "fetch-changes",
        "from the newest change of a page until the page is queued"),
    metric("watch_failures", Kind::Gauge("failures"), &["watch_refused"], "sweep",
        "how often in a row Drive has refused a channel"),
    metric("event_log_resets", Kind::Counter, &["event_log_reset"], "sweep",
        "event logs whose readers had to reload"),
    metric("awaiting_confirmation", Kind::Counter, &["awaiting_confirmation"], "run-operations",
        "operations that wait for a person, counted again every five minutes"),
    metric("owed_due", Kind::Millis("due_millis"), &["oldest_owed"], "sweep",
        "for how long the oldest owed write of a connection that nothing holds has been due"),
    metric("conflict_age", Kind::Millis("age_millis"), &["oldest_conflict"], "sweep",
        "the age of the oldest open conflict of a connection, at each poll"),
    metric("drifted", Kind::Gauge("drifted"), &["drift"], "run-operations",
        "files in which an audit found records and Drive to differ"),
    metric("live_lag", Kind::Millis("lag_millis"), &["live_sent"], "live",
        "from a wake for readers until all sockets were sent to"),
    metric("live_gone", Kind::Counter, &["live_gone"], "live",
        "sockets that are gone without a word"),
    metric("live_cut", Kind::Counter, &["live_cut"], "live",
        "sockets that were closed because they do not take what is sent"),
    metric("live_failed", Kind::Counter, &["live_failed"], "live",
        "wakes that could not be sent to all readers"),
    metric("webhook_disabled", Kind::Counter, &["webhook_disabled"], "live, run-operations",
        "endpoints that were disabled"),
    metric("webhook_accepted", Kind::Counter, &["webhook_accepted"], "live",
        "deliveries that an endpoint accepted"),
    metric("webhook_not_accepted", Kind::Counter, &["webhook_not_accepted"], "live",
        "deliveries that an endpoint did not accept"),
    metric("suspended", Kind::Counter, &["connection_suspended", "still_suspended"],
        "all that call Drive",
        "suspensions of connections, and checks that found one suspended"),
    metric("held_off", Kind::Counter, &["breaker_open", "daily_limit"], "all that call Drive",
        "pauses because Drive fails, or because its daily quota is used up"),
    metric("given_up", Kind::Counter, &["given_up"], "push-intents, mirror-content",
        "edits that Drive does not take"),
    metric("parked", Kind::Counter, &["parked"], "all that read a queue",
        "messages that were set aside"),
    metric("unexpected", Kind::Counter,
        &["unknown_reason", "listing_incomplete", "flaw", "sweep_failed", "content_spoilt"], "all",
        "what should never be: each line has its reason"),
];

/// The target of what is measured and not logged, at the level `TRACE`.
pub const MEASURED: &str = "measured";

/// The most values of one metric that a line may have.
const VALUES_MAX: usize = 100;

/// Returns a layer that passes every measured value on, whatever the level of the other layers.
pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(
    sink: impl Fn(&'static Metric, u64) + Send + Sync + 'static,
) -> impl Layer<S> {
    Measuring(sink).with_filter(filter_fn(|line| {
        let told = *line.level() <= Level::INFO || line.target() == MEASURED;
        told && line.is_event() && line.fields().field("metric").is_some()
    }))
}

struct Measuring<F>(F);

impl<S, F> Layer<S> for Measuring<F>
where
    S: Subscriber,
    F: Fn(&'static Metric, u64) + Send + Sync + 'static,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        for metric in &line.metrics {
            let value = match metric.kind {
                Kind::Counter => Some(1),
                Kind::Gauge(member) | Kind::Millis(member) => {
                    let mut number = Number(member, None);
                    event.record(&mut number);
                    number.1
                }
            };
            if let Some(value) = value {
                (self.0)(metric, value);
            }
        }
    }
}

/// The metrics that a line is measured for.
#[derive(Default)]
struct Line {
    metrics: Vec<&'static Metric>,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "metric" {
            let measured = TABLE.iter().filter(|metric| metric.lines.contains(&value));
            self.metrics = measured.collect();
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// The value of one member of a line. Clocks differ, so a duration may be below zero: it counts as
/// zero.
struct Number(&'static str, Option<u64>);

impl Visit for Number {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == self.0 {
            self.1 = Some(value);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.record_u64(field, u64::try_from(value).unwrap_or(0));
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// The values of the invocation in progress: Lambda runs one at a time in a process.
#[derive(Debug, Default)]
pub struct Invocation(Mutex<BTreeMap<&'static str, (Kind, Vec<u64>)>>);

impl Invocation {
    /// Adds a value.
    pub fn add(&self, metric: &'static Metric, value: u64) {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = &mut values
            .entry(metric.name)
            .or_insert((metric.kind, Vec::new()))
            .1;
        match (metric.kind, of.first_mut()) {
            (Kind::Counter, Some(count)) => *count += value,
            (Kind::Counter, None) | (Kind::Gauge(_) | Kind::Millis(_), _) => of.push(value),
        }
    }

    /// Takes all values, as lines in the embedded metric format: one, unless there are more values
    /// than a line may have, and none without a value.
    #[must_use]
    pub fn take(&self, namespace: &str, function: &str, at_millis: u64) -> Vec<String> {
        let mut left = {
            let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *values)
        };
        let mut lines = Vec::new();
        while !left.is_empty() {
            let (mut metrics, mut members) = (Vec::new(), String::new());
            left.retain(|name, (kind, values)| {
                let unit = match kind {
                    Kind::Counter | Kind::Gauge(_) => "Count",
                    Kind::Millis(_) => "Milliseconds",
                };
                metrics.push(format!(r#"{{"Name":"{name}","Unit":"{unit}"}}"#));
                let now: Vec<_> = values.drain(..values.len().min(VALUES_MAX)).collect();
                // Writing to a string can't fail.
                let _ = write!(members, r#","{name}":{now:?}"#);
                !values.is_empty()
            });
            let metrics = metrics.join(",");
            let directive =
                format!(r#"{{"Namespace":"{namespace}","Dimensions":[[]],"Metrics":[{metrics}]}}"#);
            let about =
                format!(r#""_aws":{{"Timestamp":{at_millis},"CloudWatchMetrics":[{directive}]}}"#);
            lines.push(format!(r#"{{{about},"function":"{function}"{members}}}"#));
        }
        lines
    }
}

static INVOCATION: OnceLock<Invocation> = OnceLock::new();

/// Returns what the functions measure into on AWS.
pub(crate) fn invocation() -> &'static Invocation {
    INVOCATION.get_or_init(Invocation::default)
}

/// Writes what was measured during an invocation, at its end. The log group that Lambda names,
/// `/STACK/FUNCTION`, has the namespace, which is the stack's name.
pub(crate) fn report() {
    #[expect(
        clippy::disallowed_methods,
        reason = "Lambda sets it: no setting of ours"
    )]
    let group = std::env::var("AWS_LAMBDA_LOG_GROUP_NAME").unwrap_or_default();
    let (namespace, function) = place(&group);
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    let at_millis = u64::try_from(since.as_millis()).unwrap_or_default();
    for line in invocation().take(namespace, function, at_millis) {
        #[expect(clippy::print_stdout, reason = "Lambda's log is the standard output")]
        {
            println!("{line}");
        }
    }
}

/// Returns the stack's and the function's name of a log group. Another group is in no stack.
fn place(group: &str) -> (&str, &str) {
    let parts = group
        .strip_prefix('/')
        .and_then(|name| name.split_once('/'));
    parts.unwrap_or(("drivesync", "unknown"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use tracing::level_filters::LevelFilter;
    use tracing_subscriber::prelude::*;

    use super::*;

    fn named(name: &str) -> &'static Metric {
        TABLE.iter().find(|metric| metric.name == name).unwrap()
    }

    #[test]
    fn a_line_is_measured_for_each_metric_that_lists_it() {
        let values = Arc::new(Invocation::default());
        let sink = Arc::clone(&values);
        let quiet = tracing_subscriber::fmt::layer().with_filter(LevelFilter::OFF);
        let subscriber = tracing_subscriber::registry()
            .with(quiet)
            .with(layer(move |metric, value| sink.add(metric, value)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(metric = "applied", lag_millis = 20_u64, "applied");
            tracing::info!(metric = "applied", lag_millis = -3_i64, "applied");
            tracing::info!(metric = "applied", "without a time");
            tracing::error!(metric = "breaker_open", "a");
            tracing::error!(metric = "daily_limit", "b");
            tracing::warn!(metric = "unheard", lag_millis = 1_u64, "c");
            tracing::debug!(metric = "parked", "too fine");
            tracing::trace!(target: MEASURED, metric = "live_sent", lag_millis = 5_u64);
        });
        let directive = concat!(
            r#"{"Namespace":"stack","Dimensions":[[]],"Metrics":["#,
            r#"{"Name":"applied","Unit":"Count"},"#,
            r#"{"Name":"applied_lag","Unit":"Milliseconds"},"#,
            r#"{"Name":"held_off","Unit":"Count"},"#,
            r#"{"Name":"live_lag","Unit":"Milliseconds"}]}"#,
        );
        let about = format!(r#""_aws":{{"Timestamp":7,"CloudWatchMetrics":[{directive}]}}"#);
        let members = r#""applied":[3],"applied_lag":[20, 0],"held_off":[2],"live_lag":[5]"#;
        assert_eq!(
            values.take("stack", "apply-snapshots", 7),
            [format!(
                r#"{{{about},"function":"apply-snapshots",{members}}}"#
            )]
        );
        assert!(values.take("stack", "apply-snapshots", 8).is_empty());
    }

    #[test]
    fn more_values_than_a_line_may_have_are_carried_by_the_next() {
        let values = Invocation::default();
        for value in 0..250 {
            values.add(named("log_lag"), value);
            values.add(named("parked"), 1);
        }
        let lines = values.take("stack", "fetch-changes", 7);
        let counts: Vec<_> = lines
            .iter()
            .map(|line| line.matches(", ").count())
            .collect();
        assert_eq!(counts, [99, 99, 49]);
        assert!(lines[0].ends_with(r#","parked":[250]}"#));
        assert!(!lines[1].contains("parked"));
    }

    #[test]
    fn names_are_listed_once() {
        let names: BTreeSet<_> = TABLE.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn a_log_group_has_the_stack_and_the_function() {
        assert_eq!(place("/prod/live"), ("prod", "live"));
        assert_eq!(place(""), ("drivesync", "unknown"));
    }
}
