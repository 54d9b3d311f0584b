//! The command line: names every job and decides nothing.

mod audit;
mod check;
mod key;
mod ledger;
mod report;
mod serve;
mod service;
mod users;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::client;
use crate::keyring::Home;
use crate::server::ctl;
use crate::terminal;
use report::report;

/// A private chat to run at home: one server, people's RSA keys registered by hand, every hop
/// encrypted.
#[derive(Parser)]
#[command(name = "pychat", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    job: Job,
}

#[derive(Subcommand)]
enum Job {
    /// Run the chat server of a home folder
    Server(serve::Args),
    /// Chat
    Client(client::Args),
    /// Print the line that invites somebody to this home's server
    Invite {
        /// Who is invited; only for the text around the line
        name: Option<String>,
        #[command(flatten)]
        home: HomeArgs,
        /// Also as a picture to scan
        #[arg(long)]
        qr: bool,
        /// One line of JSON instead
        #[arg(long, conflicts_with = "qr")]
        json: bool,
    },
    /// Who is registered
    #[command(subcommand)]
    Users(users::Job),
    /// Make this client's RSA key
    Keygen,
    /// This client's own key
    #[command(subcommand)]
    Key(key::Job),
    /// Talk to the running server of a home: channels, stats, users, kick, say, shutdown ...
    Ctl {
        /// The command and its words, as at the server's console without the slash
        #[arg(required = true)]
        words: Vec<String>,
        #[command(flatten)]
        home: HomeArgs,
        /// The answer as one line of JSON
        #[arg(long)]
        json: bool,
        /// With retention: count what would be removed
        #[arg(long, conflicts_with = "now")]
        dry_run: bool,
        /// With retention: remove what is too old now
        #[arg(long)]
        now: bool,
    },
    /// Copy the stored lines to a new file, while the server runs or not
    Backup {
        file: PathBuf,
        #[command(flatten)]
        home: HomeArgs,
        #[arg(long)]
        json: bool,
    },
    /// Put a backup in the place of the stored lines; the server must not run
    Restore {
        file: PathBuf,
        #[command(flatten)]
        home: HomeArgs,
        #[arg(long)]
        json: bool,
    },
    /// Check that the stored lines are sound
    Verify {
        /// This file instead of the home's
        file: Option<PathBuf>,
        #[command(flatten)]
        home: HomeArgs,
        #[arg(long)]
        json: bool,
    },
    /// Say everything that is wrong with a home before a server is started in it
    Check {
        #[command(flatten)]
        home: HomeArgs,
        /// As one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the systemd unit for a home's server, or write it
    InstallService(service::Args),
    /// The audit trail
    #[command(subcommand)]
    Audit(audit::Job),
    /// Print completions for a shell
    Completions { shell: clap_complete::Shell },
    /// Print the manual page
    Man,
}

/// Which home an operator's command is about.
#[derive(clap::Args)]
struct HomeArgs {
    /// The folder with config.json, users/, keys/ and data/
    #[arg(long, env = "PYCHAT_HOME", default_value = ".")]
    home: PathBuf,
}

impl HomeArgs {
    fn open(&self) -> Home {
        Home::new(&self.home)
    }
}

/// Runs the program; the exit code says how it ended.
pub fn run() -> ExitCode {
    let _terminal = terminal::Guard;
    let ended = match Cli::parse().job {
        Job::Server(args) => serve::serve(args),
        Job::Client(args) => client::run(args),
        Job::Invite { name, home, qr, json } => {
            serve::invite(&home.open(), name.as_deref(), qr, json)
        }
        Job::Users(job) => users::run(job),
        Job::Keygen => key::generate(),
        Job::Key(job) => key::run(job),
        Job::Ctl { mut words, home, json, dry_run, now } => {
            words.extend(dry_run.then(|| "dry-run".to_owned()));
            words.extend(now.then(|| "now".to_owned()));
            ctl::request(&home.open(), &words, json)
        }
        Job::Backup { file, home, json } => ledger::backup(&home.open(), &file, json),
        Job::Restore { file, home, json } => ledger::restore(&home.open(), &file, json),
        Job::Verify { file, home, json } => ledger::verify(&home.open(), file.as_deref(), json),
        Job::Check { home, json } => check::check(&home.open(), json),
        Job::InstallService(args) => service::install(&args),
        Job::Audit(job) => audit::run(job),
        Job::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "pychat", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Job::Man => clap_mangen::Man::new(Cli::command())
            .render(&mut std::io::stdout())
            .map(|()| ExitCode::SUCCESS)
            .map_err(Into::into),
    };
    ended.unwrap_or_else(|error| report(&error))
}

/// How much is logged, for `--log`.
fn level(text: &str) -> Result<log::LevelFilter, String> {
    text.parse().map_err(|_| "a level is error, warn, info or debug".to_owned())
}

/// `IP:PORT`, for `--listen`.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an address to listen on is written 127.0.0.1:5000".to_owned())
}
