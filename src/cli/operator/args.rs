//! Arguments that several of the operator's jobs have.

use std::io::{BufRead, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::fault::{Fault, code};
use crate::home::Home;
use crate::print;
use crate::system::terminal;

/// The hint where a folder is no home.
pub const NO_HOME: &str = "this may be no server home: --home DIR selects one";

/// Which home an operator's command is about.
#[derive(clap::Args)]
pub struct HomeArgs {
    /// The folder with config.json, users/, keys/ and data/
    #[arg(long, env = "PYCHAT_HOME", default_value = ".")]
    home: PathBuf,
    /// Answer yes to all questions; confirms that a key was compared
    #[arg(long)]
    pub yes: bool,
}

impl HomeArgs {
    pub fn open(&self) -> Home {
        Home::new(&self.home)
    }

    /// For a command that writes there. The server of another account could not use files of root:
    /// its lock, its keys, its audit trail, the users' files.
    pub fn open_to_write(&self) -> Result<Home, Fault> {
        let home = self.open();
        let other = home.other_owner().filter(|_| rustix::process::geteuid().is_root());
        if let Some(owner) = other {
            let error = format!(
                "{} belongs to another account, which cannot use files that root creates",
                home.dir().display()
            );
            let hint = format!("run the command with sudo -u '#{owner}'");
            return Err(Fault::new(code::UNREADABLE, error, hint));
        }
        Ok(home)
    }
}

/// Asks a question on the terminal, and returns whether the answer is yes; `None` if stdin is no
/// terminal. Text that was pasted or typed before the question is discarded.
///
/// # Errors
/// The terminal cannot be read.
pub fn agrees(question: &str) -> anyhow::Result<Option<bool>> {
    if !std::io::stdin().is_terminal() {
        return Ok(None);
    }
    terminal::discard_typed();
    print::aside(format_args!("{question} [y/N] "));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(Some(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")))
}

/// `IP:PORT`, for `--listen`.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an address to listen on has the form 127.0.0.1:5000".to_owned())
}

/// `IP:PORT` or `off`, for `--web`.
pub fn web(text: &str) -> Result<Web, String> {
    let address = || text.parse().map(Web::At);
    let wrong = |_| "--web takes an address like 127.0.0.1:5080, or off".to_owned();
    if text == "off" { Ok(Web::Off) } else { address().map_err(wrong) }
}

/// Where the server accepts WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Web {
    Off,
    At(SocketAddr),
}

impl Web {
    pub fn address(self) -> Option<SocketAddr> {
        match self {
            Web::Off => None,
            Web::At(address) => Some(address),
        }
    }
}

/// A log level, for `--log`.
pub fn level(text: &str) -> Result<log::LevelFilter, String> {
    crate::config::log_level(text).ok_or_else(|| "a level is error, warn, info or debug".to_owned())
}
