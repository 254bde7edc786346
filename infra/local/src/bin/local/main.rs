//! `cargo run -p local`: the whole system on one machine.

mod cli;
mod compare;
mod demo;
mod drive_source;
mod run;
mod verify_acts;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    let done = match &arguments.command {
        Some(cli::Command::Demo) => demo::demo(&arguments).await.map(|()| true),
        Some(cli::Command::Stories) => demo::stories(&arguments).await.map(|()| true),
        Some(cli::Command::Compare) => compare::compare(&arguments).await,
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
