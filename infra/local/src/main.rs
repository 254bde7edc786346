//! `cargo run -p local`: the whole system on this machine.

mod cli;
mod collaborators;
mod demo;
mod drive_end;
mod run;
mod show;
mod story;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    let done = match arguments.command {
        Some(cli::Command::Demo) => demo::demo(&arguments).await,
        None => run::run(&arguments).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("local: {failure}");
            ExitCode::from(2)
        }
    }
}
