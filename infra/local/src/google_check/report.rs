//! What a run found, for people and for programs.

use drive::Assumption;
use serde_json::{Value, json};

use super::Outcome;

/// What a run found.
#[derive(Debug, Clone)]
pub struct Report {
    /// The outcome of each check, in the order in which they were made.
    pub outcomes: Vec<(Assumption, Outcome)>,
    /// What was left in the account, if it could not be cleaned up.
    pub left: Option<String>,
}

impl Report {
    /// Returns whether every assumption was found to hold.
    #[must_use]
    pub fn all_hold(&self) -> bool {
        let mut outcomes = self.outcomes.iter();
        outcomes.all(|(_, outcome)| *outcome == Outcome::Holds)
    }

    /// Returns the report as JSON: a list of objects with `assumption`, `outcome` (`holds`,
    /// `broken`, `unknown`), and for the latter two `seen`, `means` and `handling`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let checks = self.outcomes.iter().map(|(assumption, outcome)| {
            let name = assumption.name();
            match seen(outcome) {
                None => json!({"assumption": name, "outcome": word(outcome)}),
                Some(seen) => json!({
                    "assumption": name, "outcome": word(outcome), "seen": seen,
                    "means": assumption.if_wrong(), "handling": assumption.handling(),
                }),
            }
        });
        json!({"checks": checks.collect::<Vec<_>>(), "left": self.left})
    }
}

/// Returns the lines for one outcome.
#[must_use]
pub fn lines(assumption: Assumption, outcome: &Outcome) -> Vec<String> {
    let mut lines = vec![format!("{:<8} {}", word(outcome), assumption.name())];
    if let Some(seen) = seen(outcome) {
        lines.push(format!("         {seen}"));
        let (means, handling) = (assumption.if_wrong(), assumption.handling());
        lines.push(format!("         if it is broken: {means}"));
        lines.push(format!("         drivesync then: {handling}"));
    }
    lines
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Holds => "holds",
        Outcome::Broken(_) => "broken",
        Outcome::Unknown(_) => "unknown",
    }
}

fn seen(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Holds => None,
        Outcome::Broken(seen) | Outcome::Unknown(seen) => Some(seen),
    }
}
