//! Serves a simulated Google Drive until it is interrupted.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Parser;
use drive_simulator::{Hosts, Options, Simulator};
use tokio::net::TcpListener;

/// A stateful Google Drive over HTTP, in memory.
#[derive(Debug, Parser)]
#[command(name = "drive-simulator", version)]
struct Arguments {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:3001")]
    addr: SocketAddr,
    /// A directory to load into the library.
    #[arg(long)]
    library: Option<PathBuf>,
    /// A name of this machine under which it may be called, besides localhost and its addresses.
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// Makes ids and random choices reproducible.
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("drive-simulator: {message}");
            ExitCode::from(2)
        }
    }
}

/// Runs until Ctrl-C.
///
/// # Errors
/// A message of one line: the library cannot be read, or the address cannot be bound.
async fn run(arguments: Arguments) -> Result<(), String> {
    let simulator = Simulator::new(Options {
        seed: arguments.seed,
        library: arguments.library.clone(),
        hosts: Hosts::with_names(arguments.allow_host),
        ..Options::default()
    });
    let listener = TcpListener::bind(arguments.addr)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", arguments.addr))?;
    let address = listener
        .local_addr()
        .map_err(|error| format!("cannot listen on {}: {error}", arguments.addr))?;
    if !address.ip().is_loopback() {
        eprintln!(
            "drive-simulator: warning: other machines can reach {address}, over plain HTTP, and \
             act as any person"
        );
    }
    let mut loaded = String::new();
    if let Some(library) = arguments.library {
        let handle = simulator.clone();
        let report = tokio::task::spawn_blocking(move || handle.load_directory(&library))
            .await
            .map_err(|error| format!("loading the library failed: {error}"))?
            .map_err(|error| format!("{error}: {}", error.source))?;
        loaded = format!(
            " with {} files and {} folders ({} entries skipped)",
            report.files, report.folders, report.skipped
        );
    }
    #[expect(
        clippy::print_stdout,
        reason = "tells people and scripts that the server is ready"
    )]
    {
        let control = simulator.control_key().unwrap_or("none");
        println!(
            "drive-simulator listens on http://{address}{loaded} (X-Drive-Control: {control})"
        );
    }
    let interrupted = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::error!(%error, "cannot listen for Ctrl-C");
            std::future::pending::<()>().await;
        }
    };
    simulator
        .serve(listener, interrupted)
        .await
        .map_err(|error| error.to_string())
}
