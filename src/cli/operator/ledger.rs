//! `pychat backup`, `restore` and `verify`: the stored messages as one file.

use std::fs;
use std::io::{ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;

use super::args::NO_HOME;
use super::audit;
use super::files::{self, Copied};
use super::rotation::{Rotated, Rotation};
use crate::chat::{FileBytes, UserName};
use crate::fault::{Fault, code};
use crate::home::{Home, LedgerHead, LedgerHeadFile, LedgerHeads, Reserve};
use crate::ledger::{Jobs, LedgerError, Verified, jobs};
use crate::print::{self, OutputError, err, out};
use crate::server::operator::ctl;

pub fn backup(
    home: &Home,
    (file, files): (&Path, Option<&Path>),
    keep: Option<u16>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    // A mistyped home must not create a folder of backups.
    let ledger = existing(home)?;
    let mut rotation = keep.map(|_| Rotation::open(file, home.dir())).transpose()?;
    let next = rotation.as_mut().map(|rotation| rotation.begin(jiff::Timestamp::now()));
    let next = next.transpose()?;
    let file = next.as_deref().unwrap_or(file);
    let terminal = std::io::stderr().is_terminal();
    let mut progress = |percent: u8| {
        if terminal {
            print::aside(format_args!("\r{percent:>3} %"));
        }
    };
    jobs(&ledger).backup(file, &mut progress)?;
    if terminal {
        print::aside("\n");
    }
    let found = jobs(file).verify().inspect_err(|error| {
        // A copy of a damaged ledger must not displace a good backup. If the copy cannot be read
        // now, its state is unknown: the next run removes it.
        let is_read = fs::File::open(file).is_ok();
        if rotation.is_some() && is_read && error.is_damage() && fs::remove_file(file).is_ok() {
            err!("{} was removed, because it is damaged; earlier backups stay", file.display());
        }
    })?;
    // Before the files are copied, which may fail each time: `keep` backups of messages stay.
    let rotated = rotation.map(|rotation| rotation.add(file, keep.unwrap_or(1).into()));
    let rotated = rotated.transpose()?;
    // Files are copied after the ledger: those that it names are there, unless they were removed
    // meanwhile.
    let files = files.map(|to| files::copy(file, &home.files_dir(), to)).transpose()?;
    audit::note(home, "backup", "", None);
    say(json, file, Report { found, files, rotated }, "the copy has")?;
    err!(
        "copy keys/, users/, config.json, data/*.json and data/audit.jsonl too: they are plain files"
    );
    Ok(ExitCode::SUCCESS)
}

pub fn restore(
    home: &Home,
    (file, files): (&Path, Option<&Path>),
    json: bool,
) -> anyhow::Result<ExitCode> {
    // A mistyped name must not create a home.
    named(file)?;
    home.make_folders()?;
    let _lock = home.lock()?;
    // Before the ledger, so that an interrupted restore never names files that are missing.
    let files = files.map(|from| files::copy(file, from, &home.files_dir())).transpose()?;
    let to = home.ledger_file();
    // A server that starts after an interruption at any point expects the ledger that it finds.
    let epoch = jobs(&to).prepare_restore(file).map_err(|error| of_copy(error, file))?;
    LedgerHeads::expect_restored(&home.ledger_head_file(), epoch)?;
    if let Some(aside) = jobs(&to).finish_restore()? {
        err!("the previous ledger is now {}", aside.display());
    }
    let (epoch, messages) = jobs(&to).head()?;
    LedgerHeadFile::open(home.ledger_head_file(), LedgerHead { epoch, messages })?;
    audit::note(home, "restore", "", None);
    let found = jobs(&to).verify()?;
    say(json, &to, Report { found, files, rotated: None }, "restored:")?;
    Ok(ExitCode::SUCCESS)
}

pub fn verify(
    home: &Home,
    (file, files): (Option<&Path>, Option<&Path>),
    json: bool,
) -> anyhow::Result<ExitCode> {
    let (path, found) = match file {
        Some(file) => {
            let found = jobs(named(file)?).verify().map_err(|error| of_copy(error, file))?;
            (file.to_owned(), found)
        }
        None => {
            let path = existing(home)?;
            let found = jobs(&path).verify()?;
            (path, found)
        }
    };
    let files = files.map(|folder| files::look(&path, folder)).transpose()?;
    say(json, &path, Report { found, files, rotated: None }, "valid:")?;
    match files {
        Some(Copied { missing: 1.., .. }) => Ok(ExitCode::from(code::UNREADABLE)),
        _ => Ok(ExitCode::SUCCESS),
    }
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
    // The next start of the server creates it again.
    Reserve::new(home.reserve_file()).release();
    for copy in jobs(&path).remove_copies(Duration::ZERO)? {
        err!("{} was removed", copy.display());
    }
    err!("{} messages of {name} were erased", jobs(&path).erase(name)?);
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

/// What to do about a file that is no backup.
const COPY: &str = "name a file that pychat backup has written";

/// Checks that a named file is one: SQLite would wait for a pipe, or create what is missing.
fn named(file: &Path) -> anyhow::Result<&Path> {
    let error = match fs::metadata(file) {
        Ok(about) if about.is_file() => return Ok(file),
        Ok(_) => format!("{} is no file", file.display()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            format!("there is no file {}", file.display())
        }
        Err(error) => {
            let what = format!("cannot read {}", file.display());
            return Err(anyhow::Error::from(error).context(what));
        }
    };
    Err(Fault::new(code::UNREADABLE, error, COPY).into())
}

/// An error of a backup. A damaged one is not restored from itself.
fn of_copy(error: LedgerError, file: &Path) -> anyhow::Error {
    match &error {
        LedgerError::Engine { path, .. } | LedgerError::Damaged { path, .. }
            if path == file && error.is_damage() =>
        {
            let hint = format!("it is damaged, or no backup: {COPY}");
            Fault::new(code::UNREADABLE, error, hint).into()
        }
        _ => error.into(),
    }
}

/// The result of a command about a ledger.
struct Report {
    found: Verified,
    files: Option<Copied>,
    rotated: Option<Rotated>,
}

fn say(json: bool, file: &Path, report: Report, what: &str) -> Result<(), OutputError> {
    let Report { found: Verified { conversations, messages }, files, rotated } = report;
    if json {
        let mut object =
            json!({"file": file, "conversations": conversations, "messages": messages});
        if let Some(Copied { there, bytes, missing }) = files {
            object["files"] = json!({"there": there, "bytes": bytes, "missing": missing});
        }
        if let Some(Rotated { removed, foreign }) = rotated {
            let shown = |paths: &[PathBuf]| -> Vec<String> {
                paths.iter().map(|path| path.display().to_string()).collect()
            };
            object["removed"] = json!(shown(&removed));
            object["foreign"] = json!(shown(&foreign));
        }
        return out!("{object}");
    }
    out!("{what} {messages} messages of {conversations} conversations ({})", file.display())?;
    let Rotated { removed, foreign } = rotated.unwrap_or_default();
    removed.iter().try_for_each(|path| out!("removed {}", path.display()))?;
    for path in &foreign {
        err!("{} was not removed, because it was changed after the backup", path.display());
    }
    let Some(Copied { there, bytes, missing }) = files else { return Ok(()) };
    out!("{there} files, {}", FileBytes(bytes))?;
    if missing > 0 {
        out!("{missing} files are missing")?;
    }
    Ok(())
}
