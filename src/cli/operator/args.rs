//! Arguments that several of the operator's jobs have.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::fault::{Fault, code};
use crate::home::Home;

/// The hint where a folder is no home.
pub const NO_HOME: &str = "this may be no server home: --home DIR selects one";

/// Which home an operator's command is about.
#[derive(clap::Args)]
pub struct HomeArgs {
    /// The folder with config.json, users/, keys/ and data/
    #[arg(long, env = "PYCHAT_HOME", default_value = ".")]
    home: PathBuf,
    /// Ask no questions: the answer is yes, and a key was compared already
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
                "{} belongs to another account, whose server could not use files of root",
                home.dir().display()
            );
            let hint = format!("run the command with sudo -u '#{owner}'");
            return Err(Fault::new(code::UNREADABLE, error, hint));
        }
        Ok(home)
    }
}

/// `IP:PORT`, for `--listen`.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an address to listen on has the form 127.0.0.1:5000".to_owned())
}

/// A log level, for `--log`.
pub fn level(text: &str) -> Result<log::LevelFilter, String> {
    text.parse().map_err(|_| "a level is error, warn, info or debug".to_owned())
}
