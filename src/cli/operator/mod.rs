//! The operator's commands, each on a home.

mod args;
mod audit;
mod check;
mod export;
mod files;
mod given_key;
mod invite;
mod ledger;
mod rotation;
mod serve;
mod server_key;
mod service;
mod users;
mod waiting;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use crate::chat::TimeSpanError;
use crate::server::operator;
use crate::server::operator::ctl::{self, Place};
use args::{HomeArgs, address};

const WHOM: &str =
    "WHOM is a name, a key's fingerprint, an address or a range. Without a TIME it is permanent; ";

#[derive(Subcommand)]
pub enum Job {
    /// Run the chat server of a home folder
    Server(serve::Args),
    /// Print the invite to this home's server
    Invite(invite::Args),
    /// Manage registered users
    #[command(subcommand)]
    Users(users::Job),
    /// Manage the server's key
    #[command(subcommand)]
    ServerKey(server_key::Job),
    /// Send a command to the running server of a home: status, kick, ban, reload, shutdown ...
    #[command(after_help = format!("Commands of the server:\n{}\n\n{WHOM}{TimeSpanError}.", operator::help()))]
    Ctl {
        /// One of the commands below, and its arguments
        #[arg(required = true)]
        words: Vec<String>,
        #[command(flatten)]
        home: HomeArgs,
        /// Print the answer as one line of JSON
        #[arg(long)]
        json: bool,
        /// Use this socket for readers (read_socket in config.json), and not the socket of a home
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
        /// With retention: count the messages that would be removed
        #[arg(long, conflicts_with = "now")]
        dry_run: bool,
        /// With retention: remove old messages now
        #[arg(long)]
        now: bool,
        /// With retention: trust the clock after a jump
        #[arg(long, conflicts_with_all = ["now", "dry_run"])]
        trust_clock: bool,
    },
    /// Copy the stored messages to a new file, while the server runs or not
    Backup {
        /// The new file, or with --keep the folder of the backups
        file: PathBuf,
        /// Keep this many backups in the folder, and remove older ones that --keep has made
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        keep: Option<u16>,
        /// Copy people's files to this folder too; those that it has already stay
        #[arg(long, value_name = "DIR")]
        files: Option<PathBuf>,
        #[command(flatten)]
        home: HomeArgs,
        #[arg(long)]
        json: bool,
    },
    /// Replace the stored messages with a backup; the server must not run
    Restore {
        file: PathBuf,
        /// Take people's files from this folder
        #[arg(long, value_name = "DIR")]
        files: Option<PathBuf>,
        #[command(flatten)]
        home: HomeArgs,
        #[arg(long)]
        json: bool,
    },
    /// Check the integrity of the stored messages
    Verify {
        /// Check this file instead of the home's
        file: Option<PathBuf>,
        /// Check that people's files are in this folder; data/files for the home's own
        #[arg(long, value_name = "DIR")]
        files: Option<PathBuf>,
        #[command(flatten)]
        home: HomeArgs,
        #[arg(long)]
        json: bool,
    },
    /// Report everything that is wrong with a home before a server is started in it
    Check {
        #[command(flatten)]
        home: HomeArgs,
        /// The addresses to listen on, if they differ from config.json
        #[arg(long, value_name = "IP:PORT", env = "PYCHAT_LISTEN", value_parser = address,
              value_delimiter = ',')]
        listen: Vec<SocketAddr>,
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Write the stored data of a user, or the messages of a channel, to a new file
    #[command(subcommand)]
    Export(export::Job),
    /// Print or write the systemd unit for a home's server
    InstallService(service::Args),
    /// Verify the audit trail
    #[command(subcommand)]
    Audit(audit::Job),
}

/// Runs an operator's command and returns its exit code.
pub fn run(job: Job) -> anyhow::Result<ExitCode> {
    match job {
        Job::Server(args) => serve::serve(args),
        Job::Invite(args) => invite::run(&args),
        Job::Users(job) => users::run(job),
        Job::ServerKey(job) => server_key::run(job),
        Job::Ctl { mut words, home, json, socket, dry_run, now, trust_clock } => {
            words.extend(dry_run.then(|| "dry-run".to_owned()));
            words.extend(now.then(|| "now".to_owned()));
            words.extend(trust_clock.then(|| "trust-clock".to_owned()));
            if home.yes {
                words = ctl::confirmed(words);
            }
            let place = socket.map_or_else(|| Place::of(&home.open()), Place::at);
            ctl::request(&place, &words, json, args::agrees)
        }
        Job::Backup { file, keep, files, home, json } => {
            ledger::backup(&home.open_to_write()?, (&file, files.as_deref()), keep, json)
        }
        Job::Restore { file, files, home, json } => {
            ledger::restore(&home.open_to_write()?, (&file, files.as_deref()), json)
        }
        Job::Verify { file, files, home, json } => {
            ledger::verify(&home.open(), (file.as_deref(), files.as_deref()), json)
        }
        Job::Check { home, listen, json } => check::check(&home.open(), listen, json),
        Job::Export(job) => export::run(job),
        Job::InstallService(args) => service::install(&args),
        Job::Audit(job) => audit::run(job),
    }
}
