//! The command line, and what can be wrong with it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// drivesync on one machine: the functions, the services they stand on, and a Drive.
#[derive(Debug, Clone, Parser)]
#[command(name = "local", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Where the HTTP API listens.
    #[arg(long, default_value = "127.0.0.1:3000", global = true)]
    pub(crate) api_addr: SocketAddr,
    /// Where the simulated Drive is started.
    #[arg(long, default_value = "127.0.0.1:3001", global = true)]
    pub(crate) drive_addr: SocketAddr,
    /// Use the simulated Drive that already runs at this URL.
    #[arg(long, value_name = "URL", conflicts_with_all = ["google_key", "library", "collaborators"])]
    pub(crate) drive_url: Option<String>,
    /// Use the real Google Drive, with this service account key file. It can't call this machine, so it is polled.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["library", "collaborators"])]
    pub(crate) google_key: Option<PathBuf>,
    /// The user that the service account acts as (domain-wide delegation).
    #[arg(long, value_name = "USER", requires = "google_key")]
    pub(crate) subject: Option<String>,
    /// The directory that is loaded into the simulated Drive.
    #[arg(long, value_name = "DIR", default_value = ".", global = true)]
    pub(crate) library: PathBuf,
    /// Shared drives that the library's user is a member of, with some files each.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with_all = ["drive_url", "google_key"])]
    pub(crate) drives: usize,
    /// Simulated people who edit the library.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) collaborators: usize,
    /// Where everything is kept.
    #[arg(long, value_name = "DIR", default_value = ".drivesync", global = true)]
    pub(crate) data_dir: PathBuf,
    /// Leave the content of the files in Drive: mirror only what is said of them.
    #[arg(long)]
    pub(crate) no_content: bool,
    /// Store text compressed where that saves a fifth of it, from now on.
    #[arg(long, conflicts_with = "no_content")]
    pub(crate) compress: bool,
    /// Print one JSON object a line instead of a picture for people.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to do besides running.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Command {
    /// Tell the whole story by itself, on data of its own that is gone afterwards.
    Demo,
    /// Compare every file of the library's directory with what is stored of its content. Nothing may run on the data
    /// directory meanwhile.
    Compare,
    /// Tell how two clients edit one file, apart and at once, and nothing is lost; on data of its own.
    Stories,
}

/// Why the program ends: one line, for people.
pub(crate) type Failure = String;

/// An error with its causes on one line.
pub(crate) fn one_line(error: &dyn std::error::Error) -> Failure {
    runtime::telemetry::chain(error).replace('\n', " ")
}
