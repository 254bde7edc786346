//! The command line, and output for users.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use domain::Role;
use drive_simulator::Hosts;
use local::canary::Setup;

use crate::restore_plan::Lost;

/// drivesync on one machine: the functions, the AWS services that they use, and a Drive.
#[derive(Debug, Clone, Parser)]
#[command(name = "local", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Address of the HTTP API.
    #[arg(long, default_value = "127.0.0.1:3000", global = true)]
    pub(crate) api_addr: SocketAddr,
    /// Address of the simulated Drive.
    #[arg(long, default_value = "127.0.0.1:3001", global = true)]
    pub(crate) drive_addr: SocketAddr,
    /// Use the simulated Drive that runs at this URL.
    #[arg(
        long,
        value_name = "URL",
        conflicts_with_all = ["google_key", "library", "collaborators"]
    )]
    pub(crate) drive_url: Option<String>,
    /// Use Google Drive, with this service account key file. It cannot reach this machine with
    /// notifications, so it is polled.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["library", "collaborators"])]
    pub(crate) google_key: Option<PathBuf>,
    /// User that the service account acts as (domain-wide delegation).
    #[arg(long, value_name = "USER", requires = "google_key")]
    pub(crate) subject: Option<String>,
    /// Directory that is loaded into the simulated Drive.
    #[arg(long, value_name = "DIR", default_value = ".", global = true)]
    pub(crate) library: PathBuf,
    /// Number of shared drives of the library's user, with some files each.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        conflicts_with_all = ["drive_url", "google_key"]
    )]
    pub(crate) drives: usize,
    /// Number of simulated people who edit the library.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) collaborators: usize,
    /// Directory of all data.
    #[arg(long, value_name = "DIR", default_value = ".drivesync", global = true)]
    pub(crate) data_dir: PathBuf,
    /// Mirror only metadata and leave the content of files in Drive.
    #[arg(long)]
    pub(crate) no_content: bool,
    /// From now on, store text compressed where that saves at least a fifth of it.
    #[arg(long, conflicts_with = "no_content")]
    pub(crate) compress: bool,
    /// Serve DynamoDB, SQS and Secrets Manager too, for AWS's own tools; the file `aws.env` of the
    /// data directory has the keys. With an address, all services listen there, where containers
    /// reach them: `--serve-aws=172.17.0.1`.
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true,
        default_missing_value = "127.0.0.1")]
    pub(crate) serve_aws: Option<IpAddr>,
    /// Name of this machine under which its servers may be called, besides localhost and addresses.
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
    /// Deliver webhooks to public addresses only. Without it, receivers may be on this machine, and
    /// then by http.
    #[arg(long)]
    pub(crate) webhooks_public_only: bool,
    /// What the tenant may use, as `TENANT_LIMITS` sets it in a deployment:
    /// `requests_per_second=20,uploads=2`.
    #[arg(long, value_name = "LIMITS", default_value = "")]
    pub(crate) limits: String,
    /// Run each invocation with this probability in the functions of another build. The folder has
    /// their binaries and that build's `events/env.json`. The seed, 1 by default, decides which.
    #[arg(long, value_name = "DIR:PROBABILITY[:SEED]")]
    pub(crate) canary: Option<Setup>,
    /// Print JSON lines instead of a progress display.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// Returns the names under which the servers may be called.
    pub(crate) fn hosts(&self) -> Hosts {
        Hosts::with_names(self.allow_host.iter().cloned())
    }

    /// Warns about addresses that other machines can reach.
    pub(crate) fn warn_if_reachable(&self) {
        let simulated = self.google_key.is_none() && self.drive_url.is_none();
        for (option, address, used, what) in [
            (
                "--api-addr",
                self.api_addr.ip(),
                true,
                "tokens and data pass unencrypted",
            ),
            (
                "--drive-addr",
                self.drive_addr.ip(),
                simulated,
                "anyone may act as any person there",
            ),
            (
                "--serve-aws",
                self.serve_aws.unwrap_or(Ipv4Addr::LOCALHOST.into()),
                true,
                "requests are signed, and what they read and write is not encrypted",
            ),
        ] {
            if used && !address.is_loopback() {
                eprintln!(
                    "local: warning: other machines can reach {address} ({option}), over plain \
                     HTTP: {what}"
                );
            }
        }
    }
}

/// A command other than running the system.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// Demonstrate a sync, edits on both sides and a conflict, on temporary data.
    Demo,
    /// Compare every file of the library's directory with its stored content. No system may run on
    /// the data directory meanwhile.
    Compare,
    /// Verify the chains of the audit trail in exported files, or in pages of `GET /v1/audit`.
    VerifyActs {
        /// Files in their order; `-` is the standard input.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Lose the table of a system at work and restore it to an earlier state, and say what that
    /// costs. The exit code is 1 if anything is lost that must not be. Runs on temporary data.
    Drill {
        /// Files in the simulated Drive.
        #[arg(long, value_name = "N", default_value_t = 500)]
        files: usize,
        /// People who edit in Drive, and as many programs that edit over the API.
        #[arg(long, value_name = "N", default_value_t = 20)]
        people: usize,
        /// Seconds of edits: half of them before the backup, half between it and the loss.
        #[arg(long, value_name = "SECONDS", default_value_t = 120)]
        seconds: u64,
    },
    /// Print the AWS commands that restore a stack: those of `infra/restore.md`.
    RestorePlan {
        /// Name of the stack.
        #[arg(long, value_name = "NAME")]
        stack: String,
        /// Time that is restored to, as 2026-12-01T12:00:00Z.
        #[arg(long, value_name = "TIME")]
        to: String,
        /// What is lost.
        #[arg(long, value_name = "WHAT", value_enum, default_value = "table")]
        what: Lost,
        /// Region of the copies, for `before` and `region`.
        #[arg(long, value_name = "REGION")]
        backup_region: Option<String>,
    },
    /// Print a bearer token for the API of the system on the data directory, valid for an hour.
    Token {
        /// Role of its holder: viewer, editor, operator or admin.
        #[arg(long, value_name = "ROLE", default_value = "admin", value_parser = role)]
        role: Role,
    },
    /// Print a link to the console of the system that runs on the data directory. It signs in once,
    /// within ten minutes.
    Console,
    /// Print the events of a running system as they come: from now on, or from a cursor on.
    Watch {
        /// Only these types, separated by commas: `file:modified,conflict:detected`.
        #[arg(long, value_name = "TYPES")]
        types: Option<String>,
        /// Begin after this cursor: the `sequence` of an event.
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
    /// Say why a file of a running system is as it is: owed since when, held by what, waiting for
    /// what. Without a file, say it of each connection.
    Why {
        /// The file's id.
        #[arg(value_name = "FILE")]
        file: Option<String>,
    },
    /// Check on a Google account whether what drivesync assumes about Drive holds. Works in a
    /// scratch folder of its My Drive, which is deleted at the end, for about three minutes.
    #[command(group(clap::ArgGroup::new("checked").required(true).args(["google_key", "drive_url"])))]
    CheckGoogle {
        /// Key file of the service account.
        #[arg(long, value_name = "FILE")]
        google_key: Option<PathBuf>,
        /// User that the service account acts as (domain-wide delegation).
        #[arg(long, value_name = "USER", requires = "google_key")]
        subject: Option<String>,
        /// Check the simulated Drive that runs at this URL instead.
        #[arg(long, value_name = "URL")]
        drive_url: Option<String>,
        /// Address of a person with whom a scratch file is shared for a moment. Without it, it is
        /// shared with everyone who has the link, which some organisations forbid.
        #[arg(long, value_name = "ADDRESS")]
        share_with: Option<String>,
        /// Write what was found to this file, as JSON.
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
    /// Say what is wrong with each connection of a running system, and what mends it. The exit code
    /// is 1 if anything needs a person.
    Doctor {
        /// Stop the channels that Drive notifies and nothing names.
        #[arg(long)]
        stop_channels: bool,
    },
    /// Demonstrate two clients that edit one file, offline and at the same moment, on temporary
    /// data.
    Stories,
}

fn role(word: &str) -> Result<Role, String> {
    Role::parse(word).ok_or_else(|| "expected viewer, editor, operator or admin".to_owned())
}

/// The reason why the program fails: one line for the user.
pub(crate) type Failure = String;

/// Returns an error with its causes on one line.
pub(crate) fn one_line(error: &dyn std::error::Error) -> Failure {
    runtime::telemetry::chain(error).replace('\n', " ")
}

/// Prints a line to standard output.
#[expect(
    clippy::print_stdout,
    reason = "the output is the purpose of the program"
)]
pub(crate) fn say(line: &str) {
    println!("{line}");
}
