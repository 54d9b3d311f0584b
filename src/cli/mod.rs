//! The command line: names every job and decides nothing.

mod key;
mod man;
#[cfg(feature = "server")]
mod operator;
mod report;
mod usage;
mod words;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use crate::client;
use crate::fault::code;
use crate::print;
use crate::terminal;
use report::report;
use words::words;

/// A private chat to run at home: one server, RSA keys that the operator registers, encrypted
/// connections.
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
    Operator(operator::Job),
    /// Connect to a server and chat
    Client(Box<client::Args>),
    /// Pin another key of a known server from its new invite, after you have compared it
    Trust(client::trust::Args),
    /// Generate this client's RSA key
    Keygen,
    /// Manage this client's key
    #[command(subcommand)]
    Key(key::Job),
    /// Print completions for a shell
    Completions { shell: clap_complete::Shell },
    /// Print the manual page with every command
    Man,
    /// Decode a picture of somebody else, for another process of this program
    #[command(name = client::files::decode::COMMAND, hide = true)]
    DecodePicture { width: u32, height: u32 },
}

const HELP: [ErrorKind; 3] = [
    ErrorKind::DisplayHelp,
    ErrorKind::DisplayVersion,
    ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
];

/// Runs the program and returns its exit code.
pub fn run() -> ExitCode {
    let _terminal = terminal::Guard;
    if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        colored::control::set_override(false);
    }
    let job = match Cli::try_parse_from(words(std::env::args_os())) {
        Ok(cli) => cli.job,
        // Help was asked for, or a command lacks its subcommand.
        Err(asked) if HELP.contains(&asked.kind()) => return print_help(&asked),
        Err(error) => {
            let typed = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
            let typed: Vec<String> = typed.collect();
            return report(&usage::fault(Cli::command(), &error, &typed).into());
        }
    };
    let ended = match job {
        #[cfg(feature = "server")]
        Job::Operator(job) => operator::run(job),
        Job::Client(args) => client::run(*args),
        Job::Trust(args) => client::trust::run(&args),
        Job::Keygen => key::generate(),
        Job::Key(job) => key::run(job),
        Job::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "pychat", &mut script);
            printed(&script)
        }
        Job::DecodePicture { width, height } => {
            Ok(client::files::decode::serve(width, height).into())
        }
        Job::Man => man::page(Cli::command()).map_err(Into::into).and_then(|page| printed(&page)),
    };
    exit_code(ended)
}

/// The exit code of a job, which is an error also where its output was cut off.
fn exit_code(ended: anyhow::Result<ExitCode>) -> ExitCode {
    match ended {
        Ok(code) if code == ExitCode::SUCCESS && print::is_cut() => code::OTHER.into(),
        Ok(code) => code,
        Err(error) => report(&error),
    }
}

/// Prints the help that was asked for, or that of a command that lacks its subcommand.
fn print_help(asked: &clap::Error) -> ExitCode {
    if asked.use_stderr() {
        asked.exit();
    }
    let styled = asked.render();
    let printed = match colored::control::SHOULD_COLORIZE.should_colorize() {
        true => print::result(styled.ansi()),
        false => print::result(styled),
    };
    exit_code(printed.map(|()| ExitCode::SUCCESS).map_err(Into::into))
}

fn printed(text: &[u8]) -> anyhow::Result<ExitCode> {
    print::result(String::from_utf8_lossy(text))?;
    Ok(ExitCode::SUCCESS)
}
