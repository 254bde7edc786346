//! What the functions count: the member `metric` of their log lines, which the deployment makes metrics of.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Counts what is logged on the thread of the test: that of a test by hand, which calls the functions itself.
pub struct Metrics {
    counts: Counts,
    _listens: Listening,
}

/// A subscriber that hears this thread until it is dropped.
pub struct Listening {
    _heard: DefaultGuard,
    _second: Dispatch,
}

/// Has a subscriber hear this thread. While it is the only one in the process, a line that another thread reaches
/// first is asked of that thread, which has none, and is then off for all: a second one prevents that.
pub fn listening(subscriber: impl Subscriber + Send + Sync + 'static) -> Listening {
    let _second = Dispatch::new(NoSubscriber::default());
    Listening {
        _heard: tracing::subscriber::set_default(subscriber),
        _second,
    }
}

type Counts = Arc<Mutex<BTreeMap<String, u64>>>;

struct Listener(Counts);

struct Metric(Option<String>);

impl Metrics {
    /// Listens until it is dropped.
    pub fn listen() -> Self {
        let counts = Counts::default();
        let listener = Listener(Arc::clone(&counts));
        let subscriber = tracing_subscriber::registry().with(listener);
        Self {
            counts,
            _listens: listening(subscriber),
        }
    }

    /// How often a metric was counted.
    pub fn of(&self, metric: &str) -> u64 {
        self.counts
            .lock()
            .unwrap()
            .get(metric)
            .copied()
            .unwrap_or(0)
    }
}

impl<S: Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut metric = Metric(None);
        event.record(&mut metric);
        if let Some(name) = metric.0 {
            *self.0.lock().unwrap().entry(name).or_default() += 1;
        }
    }
}

impl Visit for Metric {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "metric" {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
