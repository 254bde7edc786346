//! Two builds over one set of services. During a canary, each invocation runs in the new version
//! or in the one before, by chance; so does each here: in this process, or in the binaries of
//! another build, over Lambda's Runtime API.

mod process;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::process::{Crashed, Invoked, Process};
use crate::sources::FUNCTIONS;

/// The functions whose invocations are drawn: those that event sources invoke, and those behind the
/// API. The console's pages hold no data, and people sign in to them differently here.
pub fn functions() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.into_iter().chain(["receive-notification", "api"])
}

/// The file with the environments, beside the binaries: that build's `events/env.json`.
pub const ENVIRONMENTS: &str = "env.json";

/// The name of this machine in `events/env.json`.
const CONTAINER_HOST: &str = "http://host.docker.internal";

/// Which build to run, and how often.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// The folder with the binaries of the functions, and [`ENVIRONMENTS`].
    pub folder: PathBuf,
    /// The probability with which an invocation runs in them.
    pub probability: f64,
    /// The seed that the invocations are drawn from.
    pub seed: u64,
}

impl std::str::FromStr for Setup {
    type Err = String;

    /// Reads `DIR:PROBABILITY` or `DIR:PROBABILITY:SEED`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "expected DIR:PROBABILITY[:SEED], such as old/:0.9";
        let (rest, last) = text.rsplit_once(':').ok_or(wanted)?;
        let (folder, probability, seed) = match rest.rsplit_once(':') {
            Some((folder, middle)) if middle.parse::<f64>().is_ok() => {
                let seed = last
                    .parse()
                    .map_err(|_| format!("{last} is not a number"))?;
                (folder, middle, seed)
            }
            Some(_) | None => (rest, last, 1),
        };
        let probability = probability.parse().map_err(|_| wanted.to_owned())?;
        if !(0.0..=1.0).contains(&probability) {
            return Err(format!("{probability} is not a probability"));
        }
        Ok(Self {
            folder: folder.into(),
            probability,
            seed,
        })
    }
}

/// The other build can't be run.
#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    /// A binary is missing.
    #[error("{0} is not there: the folder has the binaries of all functions")]
    Binary(PathBuf),
    /// The environments can't be read.
    #[error("{path} cannot be read")]
    Environments {
        /// The path of the file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// They have no such function, or are no JSON of this form.
    #[error("{path} does not say the environment of {function}")]
    Form {
        /// The path of the file.
        path: PathBuf,
        /// The function.
        function: &'static str,
    },
}

/// How many invocations ran where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// In the other build.
    pub other: u64,
    /// In this one.
    pub this: u64,
    /// In the other build, without a result.
    pub failed: u64,
}

/// Another build that some invocations run in.
#[derive(Clone)]
pub struct Canary(Arc<Inner>);

struct Inner {
    setup: Setup,
    environments: BTreeMap<&'static str, BTreeMap<String, String>>,
    drawn: Mutex<Drawn>,
    /// The processes that wait for an invocation.
    idle: Mutex<HashMap<&'static str, Vec<Process>>>,
}

struct Drawn {
    random: fastrand::Rng,
    counts: BTreeMap<&'static str, Counts>,
}

impl Canary {
    /// Opens the other build. `texts` are those of its environments that are replaced, and
    /// `variables` those that every function gets besides.
    ///
    /// # Errors
    /// [`CanaryError`] if a part of it is missing.
    pub fn open(
        setup: Setup,
        texts: &BTreeMap<String, String>,
        variables: &BTreeMap<String, String>,
    ) -> Result<Self, CanaryError> {
        let path = setup.folder.join(ENVIRONMENTS);
        let text = std::fs::read_to_string(&path).map_err(|source| CanaryError::Environments {
            path: path.clone(),
            source,
        })?;
        let mut all = BTreeMap::new();
        for function in functions() {
            let binary = setup.folder.join(function);
            if !binary.is_file() {
                return Err(CanaryError::Binary(binary));
            }
            let form = || CanaryError::Form {
                path: path.clone(),
                function,
            };
            let mut environment = environment(&text, function, texts).ok_or_else(form)?;
            environment.extend(variables.clone());
            all.insert(function, environment);
        }
        let random = fastrand::Rng::with_seed(setup.seed);
        Ok(Self(Arc::new(Inner {
            setup,
            environments: all,
            drawn: Mutex::new(Drawn {
                random,
                counts: BTreeMap::new(),
            }),
            idle: Mutex::default(),
        })))
    }

    /// Draws where the next invocation of a function runs: in the other build, or in this one.
    #[must_use]
    pub fn draw(&self, function: &'static str) -> Option<OtherBuild> {
        let mut drawn = self.0.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        let other = drawn.random.f64() < self.0.setup.probability;
        let counts = drawn.counts.entry(function).or_default();
        match other {
            true => counts.other += 1,
            false => counts.this += 1,
        }
        other.then(|| OtherBuild {
            canary: self.clone(),
            function,
        })
    }

    /// Returns how many invocations of each function ran where.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, Counts> {
        let drawn = self.0.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        drawn.counts.clone()
    }

    fn count_failure(&self, function: &'static str) {
        let mut drawn = self.0.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        drawn.counts.entry(function).or_default().failed += 1;
    }

    fn take_idle(&self, function: &'static str) -> Option<Process> {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.get_mut(function)?.pop()
    }

    fn keep(&self, function: &'static str, process: Process) {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.entry(function).or_default().push(process);
    }
}

/// An invocation that runs in the other build.
pub struct OtherBuild {
    canary: Canary,
    function: &'static str,
}

impl OtherBuild {
    /// Invokes the function. Returns `None` if it crashed, reported an error, took longer than it
    /// may, or answered in another form: a failed invocation.
    pub async fn invoke<A: DeserializeOwned>(
        self,
        event: impl Serialize,
        timeout: Duration,
    ) -> Option<A> {
        let function = self.function;
        let answer = match serde_json::to_value(event) {
            Ok(event) => self.answer(&event, timeout).await,
            Err(error) => Err(error.to_string()),
        };
        let read = |value| serde_json::from_value(value).map_err(|error| error.to_string());
        match answer.and_then(read) {
            Ok(answer) => Some(answer),
            Err(error) => {
                tracing::error!(function, error, "an invocation of the other build failed");
                self.canary.count_failure(function);
                None
            }
        }
    }

    async fn answer(&self, event: &Value, timeout: Duration) -> Result<Value, String> {
        let Inner {
            setup,
            environments,
            ..
        } = &*self.canary.0;
        let failed = |crashed: Crashed| runtime::telemetry::chain(&crashed);
        let mut process = match self.canary.take_idle(self.function) {
            Some(process) => process,
            None => {
                let environment = environments.get(self.function);
                let environment = environment.ok_or("this function has no environment")?;
                let binary = setup.folder.join(self.function);
                Process::start(&binary, environment).await.map_err(failed)?
            }
        };
        // A process that crashed is dropped; the next invocation starts another one.
        let invoked = process.invoke(event, timeout).await.map_err(failed)?;
        self.canary.keep(self.function, process);
        match invoked {
            Invoked::Response(answer) => Ok(answer),
            Invoked::Error(error) => Err(error.to_string()),
        }
    }
}

/// Returns the environment of a function in the form of `events/env.json`, with some texts
/// replaced, such as addresses; `None` if there is none.
#[must_use]
pub fn environment(
    environments: &str,
    function: &str,
    texts: &BTreeMap<String, String>,
) -> Option<BTreeMap<String, String>> {
    let mut all: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_str(environments).ok()?;
    let mut environment = all.remove(&logical_id(function))?;
    for value in environment.values_mut() {
        for (text, replacement) in texts {
            *value = value.replace(text, replacement);
        }
    }
    Some(environment)
}

/// Returns the text of `events/env.json` that stands for a port of this machine.
#[must_use]
pub fn container_address(port: u16) -> String {
    format!("{CONTAINER_HOST}:{port}")
}

/// Returns the name of a function in the template: `fetch-changes` is `FetchChanges`.
fn logical_id(function: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().into_iter().flat_map(char::to_uppercase);
        first.chain(letters).collect::<String>()
    };
    function.split('-').map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_a_folder_a_probability_and_a_seed() {
        let read = |text: &str| text.parse::<Setup>();
        let setup = |folder: &str, probability, seed| Setup {
            folder: folder.into(),
            probability,
            seed,
        };
        assert_eq!(read("old:0.9"), Ok(setup("old", 0.9, 1)));
        assert_eq!(read("a:b/old:1:7"), Ok(setup("a:b/old", 1.0, 7)));
        for wrong in ["old", "old:often", "old:1.5", "old:-0.1", "old:0.5:x"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_function_is_named_as_in_the_template() {
        assert_eq!(logical_id("receive-notification"), "ReceiveNotification");
        assert_eq!(logical_id("api"), "Api");
    }
}
