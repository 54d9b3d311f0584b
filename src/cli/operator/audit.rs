//! `pychat audit`: verifies the audit trail, and records what operators do without a running
//! server.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::args::{HomeArgs, NO_HOME};
use crate::chat::Retention;
use crate::config::Config;
use crate::fault::{Fault, code};
use crate::home::{Audit, Decision, Home};
use crate::print::{err, out};

#[derive(Subcommand)]
pub enum Job {
    /// Check that no line of the audit trail was altered or removed
    Verify {
        #[command(flatten)]
        home: HomeArgs,
        /// Print the result as one line of JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(job: Job) -> anyhow::Result<ExitCode> {
    let Job::Verify { home, json } = job;
    let home = home.open();
    if !home.dir().join("keys").is_dir() {
        let error = format!("there is no server in {} yet", home.dir().display());
        return Err(Fault::new(code::UNREADABLE, error, NO_HOME).into());
    }
    let sound = Audit::of(&home).verify()?;
    if json {
        out!("{}", json!(sound))?;
    } else if sound.lines == 0 {
        out!("valid: no decisions yet")?;
    } else {
        out!("valid: {} lines, the last is number {} ({})", sound.lines, sound.last, sound.mac)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Records an operator's command. A trail that cannot be written does not stop the command.
pub fn note(home: &Home, action: &str, target: &str, reason: Option<&str>) {
    let kept = Config::load(&home.config_file()).is_ok_and(|one| one.audit != Retention::Off);
    if !kept || !home.dir().join("keys").is_dir() {
        return;
    }
    let decision = Decision { actor: "cli", action, target, reason, until_ms: None };
    if let Err(error) = Audit::of(home).add(&decision) {
        err!("error: the audit trail was not written: {error}");
    }
}
