//! `pychat backup`, `restore` and `verify`: the stored messages as one file.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;

use super::args::NO_HOME;
use super::audit;
use crate::chat::UserName;
use crate::fault::{Fault, code};
use crate::home::{Home, LedgerHead, LedgerHeadFile};
use crate::ledger::{Jobs, Verified, jobs};
use crate::print::{self, err, out};
use crate::server::operator::ctl;

pub fn backup(home: &Home, file: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let terminal = std::io::stderr().is_terminal();
    let mut progress = |percent: u8| {
        if terminal {
            print::aside(format_args!("\r{percent:>3} %"));
        }
    };
    jobs(&existing(home)?).backup(file, &mut progress)?;
    if terminal {
        print::aside("\n");
    }
    let found = jobs(file).verify()?;
    audit::note(home, "backup", "", None);
    say(json, file, found, "the copy has")?;
    err!(
        "copy keys/, users/, config.json, data/*.json and data/audit.jsonl too: they are plain files"
    );
    Ok(ExitCode::SUCCESS)
}

pub fn restore(home: &Home, file: &Path, json: bool) -> anyhow::Result<ExitCode> {
    // A mistyped name must not create a home.
    named(file)?;
    home.make_folders()?;
    let _lock = home.lock()?;
    let to = home.ledger_file();
    if let Some(aside) = jobs(&to).restore(file)? {
        err!("the previous ledger is now {}", aside.display());
    }
    let (log, messages) = jobs(&to).head()?;
    LedgerHeadFile::open(home.ledger_head_file(), LedgerHead { log, messages })?;
    audit::note(home, "restore", "", None);
    say(json, &to, jobs(&to).verify()?, "restored:")?;
    Ok(ExitCode::SUCCESS)
}

pub fn verify(home: &Home, file: Option<&Path>, json: bool) -> anyhow::Result<ExitCode> {
    let path = match file {
        Some(file) => named(file)?.to_owned(),
        None => existing(home)?,
    };
    say(json, &path, jobs(&path).verify()?, "valid:")?;
    Ok(ExitCode::SUCCESS)
}

/// Erases a user's texts from the stored messages, through the running server if there is one.
pub fn erase(home: &Home, name: &UserName) -> anyhow::Result<()> {
    let words = ["erase".to_owned(), name.to_string()];
    if let Some(reply) = ctl::ask(home, &words)? {
        if !reply.ok {
            let hint = "run pychat users remove NAME --erase again";
            return Err(Fault::new(code::OTHER, reply.text, hint).into());
        }
        err!("{}", reply.text);
        return Ok(());
    }
    let Ok(path) = existing(home) else { return Ok(()) };
    let _lock = home.lock()?;
    for copy in jobs(&path).remove_copies(Duration::ZERO)? {
        err!("{} was removed", copy.display());
    }
    err!("{} lines of {name} were erased", jobs(&path).erase(name)?);
    audit::note(home, "erase", name.as_str(), None);
    Ok(())
}

fn existing(home: &Home) -> anyhow::Result<std::path::PathBuf> {
    let path = home.ledger_file();
    let found = path.try_exists().with_context(|| format!("cannot read {}", path.display()))?;
    if !found {
        let error = format!("nothing is stored in {} yet", home.dir().display());
        return Err(Fault::new(code::UNREADABLE, error, NO_HOME).into());
    }
    Ok(path)
}

/// Checks that a named file exists.
fn named(file: &Path) -> anyhow::Result<&Path> {
    let found = file.try_exists().with_context(|| format!("cannot read {}", file.display()))?;
    if !found {
        let error = format!("there is no file {}", file.display());
        return Err(Fault::new(
            code::UNREADABLE,
            error,
            "name a file that pychat backup has written",
        )
        .into());
    }
    Ok(file)
}

fn say(json: bool, file: &Path, found: Verified, what: &str) -> std::io::Result<()> {
    let Verified { conversations, lines } = found;
    if json {
        out!("{}", json!({"file": file, "conversations": conversations, "lines": lines}))
    } else {
        out!("{what} {lines} lines of {conversations} conversations ({})", file.display())
    }
}
