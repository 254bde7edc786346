//! `check-google`: checks on a real account what drivesync assumes about Drive.

use std::path::Path;
use std::sync::Arc;

use drive::{Access, Drives};
use local::aws::{Aws, Options, system_clock};
use local::google_check::{Scope, check, lines};
use runtime::Clock;
use tokio::sync::watch;

use crate::cli::{Arguments, Failure, one_line, say};
use crate::drive_source::DriveSource;

const SECRET: &str = "drivesync/checked";

/// Checks every assumption, prints each as soon as it is known, and returns whether all hold and
/// nothing was left in the account.
pub(crate) async fn check_google(
    arguments: &Arguments,
    share_with: Option<String>,
    report: Option<&Path>,
) -> Result<bool, Failure> {
    let (_stop, stopped) = watch::channel(false);
    let source = DriveSource::open(arguments, stopped).await?;
    let clock = Clock::system();
    let aws = Aws::open(Options::memory(system_clock())).map_err(|error| one_line(&error))?;
    let secrets = aws.secrets_client();
    let kept = secrets.create_secret().name(SECRET);
    let kept = kept.secret_string(&source.credentials).send().await;
    kept.map_err(|error| one_line(&error))?;
    let now = clock.clone();
    let drives = Drives::new(
        source.transport,
        &source.url,
        secrets,
        Arc::new(move || now.now()),
    );
    let access = Access {
        secret_id: SECRET.to_owned(),
        subject: source.subject,
        quota_user: None,
        within: None,
    };
    let drive = drives.client(&access).await;
    let drive = drive.map_err(|error| one_line(&error))?;

    let name = format!("drivesync check {}", clock.now());
    let scope = Scope {
        share_with,
        ..Scope::default()
    };
    let found = check(drive, &name, &scope, |assumption, outcome| {
        for line in lines(assumption, outcome) {
            say(&line);
        }
    });
    let found = found.await.map_err(|error| one_line(&error))?;
    if let Some(left) = &found.left {
        eprintln!("local: {left}: delete it by hand");
    }
    if let Some(file) = report {
        let text = format!("{:#}\n", found.to_json());
        std::fs::write(file, text)
            .map_err(|error| format!("{} cannot be written: {error}", file.display()))?;
    }
    Ok(found.all_hold() && found.left.is_none())
}
