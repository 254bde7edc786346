//! `cargo run -p local`: the whole system on one machine.

mod caller;
mod check_google;
mod cli;
mod compare;
mod demo;
mod doctor;
mod drill;
mod drive_source;
mod restore_plan;
mod run;
mod verify_acts;
mod watch;
mod why;

use std::process::ExitCode;

use clap::Parser;
use domain::Role;
use local::gateway::Identity;
use runtime::Clock;
use rustix::fs::Mode;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    // Whatever any part of the system creates is its user's alone.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let done = match &arguments.command {
        Some(cli::Command::Demo) => demo::demo(&arguments).await.map(|()| true),
        Some(cli::Command::Stories) => demo::stories(&arguments).await.map(|()| true),
        Some(cli::Command::Token { role }) => token(&arguments, *role).map(|()| true),
        Some(cli::Command::Console) => console(&arguments).map(|()| true),
        Some(cli::Command::Compare) => compare::compare(&arguments).await,
        Some(cli::Command::Watch { types, after }) => {
            let watched = watch::watch(&arguments, types.as_deref(), after.as_deref());
            watched.await.map(|()| true)
        }
        Some(cli::Command::CheckGoogle {
            google_key,
            subject,
            drive_url,
            share_with,
            report,
        }) => {
            let chosen = cli::Arguments {
                google_key: google_key.clone(),
                subject: subject.clone(),
                drive_url: drive_url.clone(),
                ..arguments.clone()
            };
            check_google::check_google(&chosen, share_with.clone(), report.as_deref()).await
        }
        Some(cli::Command::Doctor { stop_channels }) => {
            doctor::doctor(&arguments, *stop_channels).await
        }
        Some(cli::Command::Drill {
            files,
            people,
            seconds,
        }) => drill::drill(&arguments, *files, *people, *seconds).await,
        Some(cli::Command::RestorePlan {
            stack,
            to,
            what,
            backup_region,
        }) => restore_plan::restore_plan(*what, stack, to, backup_region.as_deref()).map(|()| true),
        Some(cli::Command::Why { file }) => why::why(&arguments, file.as_deref()).await,
        Some(cli::Command::VerifyActs { files }) => verify_acts::verify_acts(files),
        None => run::run(&arguments).await.map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("local: {failure}");
            ExitCode::from(2)
        }
    }
}

/// Prints a token for the system on the data directory, whether or not it runs.
fn token(arguments: &cli::Arguments, role: Role) -> Result<(), cli::Failure> {
    let now = Clock::system().now();
    let token = identity(arguments)?.own_token(role, now);
    cli::say(&token.map_err(|error| cli::one_line(&error))?);
    Ok(())
}

/// Prints a link to the console of the system that runs on the data directory.
fn console(arguments: &cli::Arguments) -> Result<(), cli::Failure> {
    let code = identity(arguments)?.console_code(Clock::system().now());
    let code = code.map_err(|error| cli::one_line(&error))?;
    cli::say(&format!(
        "http://{}/console#login={code}",
        arguments.api_addr
    ));
    Ok(())
}

/// Returns the key of the tokens of the system on the data directory.
fn identity(arguments: &cli::Arguments) -> Result<Identity, cli::Failure> {
    let dir = &arguments.data_dir;
    if !Identity::exists(dir) {
        return Err(format!(
            "no system has run on {}: start one, or pass its --data-dir",
            dir.display()
        ));
    }
    Identity::open(dir).map_err(|error| cli::one_line(&error))
}
