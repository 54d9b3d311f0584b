//! `pychat server-key`: rotates the server's key; clients switch to it by themselves.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::args::HomeArgs;
use super::audit;
use crate::config::Config;
use crate::fault::{Fault, code};
use crate::home::RotateError;
use crate::print::{err, out};

#[derive(Subcommand)]
pub enum Job {
    /// Generate the next key; the old one signs it, and is accepted for limits.key_overlap_s more
    /// seconds
    Rotate {
        #[command(flatten)]
        home: HomeArgs,
        /// Print the result as one line of JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(job: Job) -> anyhow::Result<ExitCode> {
    let Job::Rotate { home, json } = job;
    let home = home.open_to_write()?;
    let overlap_s = Config::load(&home.config_file())?.limits.key_overlap_s;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let until_ms = now_ms.saturating_add_unsigned(overlap_s.saturating_mul(1000));
    let until = jiff::Timestamp::from_millisecond(until_ms).unwrap_or(jiff::Timestamp::MAX);
    if home.server_key_file().exists() {
        err!("generating an RSA-3072 key ...");
    }
    let keys = home.rotate_server_key(now_ms, until.as_millisecond()).map_err(|error| {
        let (code, hint) = match error {
            RotateError::NoServer(_) => {
                (code::UNREADABLE, "pychat server creates it; --home DIR selects another home")
            }
            RotateError::Underway(_) => {
                (code::OTHER, "wait until then: clients that were away know only that key")
            }
            RotateError::TooOften => {
                (code::OTHER, "pychat server in a new home generates a new key")
            }
            RotateError::File(error) => return anyhow::Error::from(error),
        };
        Fault::new(code, error, hint).into()
    })?;
    let print = keys.own.public().fingerprint().to_string();
    audit::note(&home, "rotate server key", &print, None);
    match json {
        true => out!("{}", json!({"fingerprint": print, "until": until.to_string()})),
        false => out!("{print}"),
    }?;
    err!("this is the server's key from now on; a running server switches to it by itself.");
    err!("Clients that connect until {until:.0} learn it; others need a new invite.");
    Ok(ExitCode::SUCCESS)
}
