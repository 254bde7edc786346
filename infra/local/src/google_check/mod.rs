//! `check-google`: whether the assumptions about Drive that no contract states hold for an account,
//! found out in a scratch folder of it.
//!
//! The folder is created in the account's My Drive and deleted at the end with everything in it;
//! nothing else is touched.

mod account;
mod checks;
mod report;
#[cfg(test)]
mod tests;

use std::time::Duration;

use drive::{Assumption, DriveClient};

use account::{Account, CheckError};
use checks::Check;
pub use report::{Report, lines};

/// The number of times that a check which Drive's trouble stopped is made.
const TRIES_MAX: u32 = 3;

/// What a run may do, and how long.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The address of a person with whom a scratch file is shared for a moment; without one it is
    /// shared with everyone who has its link.
    pub share_with: Option<String>,
    /// The number of writes after an upload of which none may be refused.
    pub writes: u32,
    /// The pause after each of them, and before a check is made again.
    pub pause: Duration,
}

impl Default for Scope {
    /// Two minutes of writes after an upload, one a second.
    fn default() -> Self {
        Self {
            share_with: None,
            writes: 120,
            pause: Duration::from_secs(1),
        }
    }
}

/// What is known of an assumption after its check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Holds,
    /// It does not hold; with what was seen instead.
    Broken(String),
    /// Its check could not be made; with what stopped it.
    Unknown(String),
}

impl Outcome {
    fn broken(seen: impl Into<String>) -> Self {
        Self::Broken(seen.into())
    }
}

/// The scratch folder of a run could not be created.
#[derive(Debug, thiserror::Error)]
#[error("no scratch folder can be created in the account's My Drive")]
pub struct NoFolder(#[source] CheckError);

/// Checks every assumption, in the order in which they are listed. `say` gets each outcome as soon
/// as it is known. `name` is the name of the scratch folder.
///
/// # Errors
/// [`NoFolder`]: nothing was checked.
pub async fn check(
    drive: DriveClient,
    name: &str,
    scope: &Scope,
    mut say: impl FnMut(Assumption, &Outcome),
) -> Result<Report, NoFolder> {
    let account = Account(drive);
    let folder = account
        .create(None, name, drive::FOLDER)
        .await
        .map_err(NoFolder)?;
    let check = Check {
        account: &account,
        folder: &folder,
        scope,
    };
    let mut outcomes = Vec::new();
    for assumption in Assumption::ALL {
        let outcome = outcome(&check, assumption).await;
        say(assumption, &outcome);
        outcomes.push((assumption, outcome));
    }
    let left = account.delete(&folder).await.err();
    Ok(Report {
        outcomes,
        left: left.map(|error| {
            let why = runtime::telemetry::chain(&error);
            format!("the scratch folder {name} ({folder}) was not deleted: {why}")
        }),
    })
}

/// Makes a check, again if Drive's trouble stopped it.
async fn outcome(check: &Check<'_>, assumption: Assumption) -> Outcome {
    let mut tries = 1;
    loop {
        let error = match check.run(assumption).await {
            Ok(outcome) => return outcome,
            Err(error) => error,
        };
        if tries == TRIES_MAX {
            return Outcome::Unknown(runtime::telemetry::chain(&error));
        }
        tries += 1;
        tokio::time::sleep(check.scope.pause).await;
    }
}
