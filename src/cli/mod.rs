//! The command line: names every job and decides nothing.

#[cfg(feature = "server")]
mod house;
mod key;
mod report;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::client;
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
    #[cfg(feature = "server")]
    #[command(flatten)]
    House(house::Job),
    /// Chat
    Client(client::Args),
    /// Make this client's RSA key
    Keygen,
    /// This client's own key
    #[command(subcommand)]
    Key(key::Job),
    /// Print completions for a shell
    Completions { shell: clap_complete::Shell },
    /// Print the manual page
    Man,
}

/// Runs the program; the exit code says how it ended.
pub fn run() -> ExitCode {
    let _terminal = terminal::Guard;
    let ended = match Cli::parse().job {
        #[cfg(feature = "server")]
        Job::House(job) => house::run(job),
        Job::Client(args) => client::run(args),
        Job::Keygen => key::generate(),
        Job::Key(job) => key::run(job),
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
