//! The invocations of a function, and the one that asks a new version to check itself.

use lambda_runtime::tower::Service;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::metrics;

/// The longest text that is looked at as the order to check itself.
const ORDER_CHARS_MAX: usize = 64;

/// What an invocation is about.
enum Input<E> {
    /// `{"version_check":true}`
    VersionCheck,
    /// Everything else.
    Event(E),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    version_check: bool,
}

impl<'de, E: DeserializeOwned> Deserialize<'de> for Input<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        let is_order = text.len() <= ORDER_CHARS_MAX
            && serde_json::from_str::<Order>(text).is_ok_and(|order| order.version_check);
        if is_order {
            return Ok(Self::VersionCheck);
        }
        let event = serde_json::from_str(text).map_err(D::Error::custom)?;
        Ok(Self::Event(event))
    }
}

/// The answer to an invocation.
#[derive(Serialize)]
#[serde(untagged)]
enum Output<R> {
    Checked(VersionCheck),
    Handled(R),
}

/// What a function found when it tried what its work needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionCheck {
    /// True if nothing is missing.
    pub ok: bool,
    /// What was tried, in its order.
    pub tried: Vec<Tried>,
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// What it is.
    pub what: String,
    /// Why it can't be used, if so.
    pub error: Option<String>,
}

impl Default for VersionCheck {
    /// Nothing was tried yet, and nothing is missing.
    fn default() -> Self {
        Self {
            ok: true,
            tried: Vec::new(),
        }
    }
}

impl VersionCheck {
    /// Returns what is missing, with the reasons.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let reason = |tried: &Tried| Some(format!("{}: {}", tried.what, tried.error.as_ref()?));
        let mut missing: Vec<_> = self.tried.iter().filter_map(reason).collect();
        if !self.ok && missing.is_empty() {
            missing.push("the check failed without a reason".to_owned());
        }
        missing
    }

    /// Records what came of trying something.
    pub fn record(&mut self, what: &str, result: Result<(), String>) {
        self.ok &= result.is_ok();
        self.tried.push(Tried {
            what: what.to_owned(),
            error: result.err(),
        });
    }
}

/// Runs a function: `handle` handles its events, and `check` answers `{"version_check":true}`. What
/// was measured is written at the end of each invocation.
///
/// # Errors
/// Lambda's Runtime API is gone.
pub async fn run<E, S, C, F>(mut handle: S, check: C) -> Result<(), Error>
where
    E: DeserializeOwned,
    S: Service<LambdaEvent<E>>,
    S::Response: Serialize,
    S::Error: Into<Diagnostic> + std::fmt::Debug,
    C: Fn() -> F,
    F: Future<Output = VersionCheck>,
{
    let invoke = service_fn(move |event: LambdaEvent<Input<E>>| {
        let LambdaEvent { payload, context } = event;
        let (checking, handling) = match payload {
            Input::VersionCheck => (Some(Box::pin(check())), None),
            Input::Event(event) => {
                let event = LambdaEvent::new(event, context);
                // On the heap: the handlers are deep enough.
                (None, Some(Box::pin(handle.call(event))))
            }
        };
        async move {
            let output = match (checking, handling) {
                (Some(checking), _) => Ok(Output::Checked(checking.await)),
                (None, Some(handling)) => handling.await.map(Output::Handled),
                (None, None) => Ok(Output::Checked(VersionCheck::default())),
            };
            metrics::report();
            output
        }
    });
    lambda_runtime::run(invoke).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_order_to_check_itself_is_no_event() {
        let read = |text: &str| serde_json::from_str::<Input<serde_json::Value>>(text).unwrap();
        assert!(matches!(
            read(r#"{"version_check": true}"#),
            Input::VersionCheck
        ));
        for event in [
            r#"{"version_check":false}"#,
            r#"{"version_check":true,"Records":[]}"#,
            "{}",
        ] {
            assert!(matches!(read(event), Input::Event(_)), "{event}");
        }
    }

    #[test]
    fn one_missing_thing_fails_the_check() {
        let mut check = VersionCheck::default();
        check.record("the table", Ok(()));
        assert!(check.ok);
        check.record("a queue", Err("AccessDenied".to_owned()));
        check.record("the bucket", Ok(()));
        assert!(!check.ok);
    }
}
