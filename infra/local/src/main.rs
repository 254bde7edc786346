//! `cargo run -p local`: the whole system on this machine.

mod cli;
mod collaborators;
mod compare;
mod demo;
mod drive_end;
mod run;
mod show;
mod stories;
mod story;
mod tally;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    let done = match arguments.command {
        Some(cli::Command::Demo) => demo::demo(&arguments).await.map(|()| true),
        Some(cli::Command::Stories) => stories::stories(&arguments).await.map(|()| true),
        Some(cli::Command::Compare) => compare::compare(&arguments).await,
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
