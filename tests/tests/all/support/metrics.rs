//! The metrics of the functions: the member `metric` of their log lines, from which the deployment
//! makes metrics.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::{Setup, World};

/// Counts the metrics that are logged on the thread of a test by hand, which calls the functions
/// itself.
pub struct Metrics {
    counts: Counts,
    _listens: Listening,
}

/// A subscriber to the logs of this thread, until it is dropped.
pub struct Listening {
    _heard: DefaultGuard,
    _second: Dispatch,
}

/// Subscribes to the logs of this thread. With a single subscriber in the process, a log statement
/// that another thread reaches first would be cached as disabled for all: a second one prevents
/// that.
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

    /// Returns the count of a metric.
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

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs a whole system on this thread and returns its log: a JSON object a line.
pub fn logged(filter: &str, test: impl AsyncFnOnce(&World)) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(move || writer.clone())
        .finish();
    heard_by(subscriber, test);
    lines.text()
}

/// Runs a whole system on this thread and returns what it measured: the values by metric.
pub fn measured(test: impl AsyncFnOnce(&World)) -> BTreeMap<&'static str, Vec<u64>> {
    let values: Arc<Mutex<BTreeMap<_, Vec<u64>>>> = Arc::default();
    let sink = Arc::clone(&values);
    let layer = runtime::metrics::layer(move |metric, value| {
        sink.lock()
            .unwrap()
            .entry(metric.name)
            .or_default()
            .push(value);
    });
    heard_by(tracing_subscriber::registry().with(layer), test);
    std::mem::take(&mut *values.lock().unwrap())
}

fn heard_by(subscriber: impl Subscriber + Send + Sync + 'static, test: impl AsyncFnOnce(&World)) {
    let _listens = listening(subscriber);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let world = World::start(Setup::default()).await;
        test(&world).await;
        world.system.stop().await;
    });
}
