//! `pychat users`: manages registered users.

use std::io::{BufRead, IsTerminal, Read};
use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use zeroize::Zeroizing;

use super::args::{HomeArgs, NO_HOME};
use super::audit;
use crate::chat::rights::Role;
use crate::chat::{DeviceName, UserName};
use crate::clean;
use crate::crypto::PublicKey;
use crate::crypto::password::PasswordHash;
use crate::crypto::succession::Succession;
use crate::fault::{Fault, code};
use crate::home::{self, AddError, Home, Settings, Users};
use crate::invite::{KeyLine, is_key_line, read_key_line};
use crate::print::{self, err, out};
use crate::server::operator::ctl;

#[derive(Subcommand)]
pub enum Job {
    /// Register a user's key: the line that `pychat client` shows, a PEM file, or - for stdin
    Add {
        /// pychat-key1.NAME..., a file, or - for stdin
        #[arg(required = true)]
        key: Vec<String>,
        /// Register it under this name instead of the line's
        #[arg(long = "as", value_name = "NAME")]
        name: Option<UserName>,
        /// Register it as a further device of a registered user
        #[arg(long)]
        device: Option<DeviceName>,
        /// Replace the registered key
        #[arg(long)]
        replace: bool,
        /// Do not ask: the key was compared already
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        home: HomeArgs,
        /// Print the result as one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Replace a user's lost key; everybody is notified
    Replace {
        name: UserName,
        /// pychat-key1.NAME..., a file, or - for stdin
        #[arg(required = true)]
        key: Vec<String>,
        /// The device whose key was lost
        #[arg(long)]
        device: Option<DeviceName>,
        /// Do not ask: the key was compared already
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        home: HomeArgs,
        /// Print the result as one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// List registered users, and files that are ignored
    List {
        #[command(flatten)]
        home: HomeArgs,
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a user's keys
    Show {
        name: UserName,
        #[command(flatten)]
        home: HomeArgs,
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Set a user's role; it applies to live sessions within a second
    Role {
        name: UserName,
        role: Role,
        #[command(flatten)]
        home: HomeArgs,
        /// Print the result as one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Set a user's password, a second factor after the key: typed twice, or one line of stdin
    Passwd {
        name: UserName,
        /// Remove the password
        #[arg(long)]
        remove: bool,
        #[command(flatten)]
        home: HomeArgs,
        /// Print the result as one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a user's keys; live sessions end within a second
    Remove {
        name: UserName,
        /// Only this device's key
        #[arg(long)]
        device: Option<DeviceName>,
        /// Also erase the texts of all their stored messages, permanently
        #[arg(long, conflicts_with = "device")]
        erase: bool,
        #[command(flatten)]
        home: HomeArgs,
        /// Print the result as one line of JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(job: Job) -> anyhow::Result<ExitCode> {
    match job {
        Job::Add { key, name, device, replace, yes, home, json } => {
            let home = home.open_to_write()?;
            let dir = home.users_dir();
            let Given { name: own, key, succession } = read_key(&key.concat())?;
            let name = name.or(own).ok_or_else(|| {
                Fault::new(
                    code::USAGE,
                    "the user's name is missing",
                    "a PEM file has no name: add --as NAME",
                )
            })?;
            let print = key.fingerprint().to_string();
            if let Some(succession) = succession {
                let name = read_users(&dir)?.0.find(&name).cloned().unwrap_or(name);
                let (path, old) = home::succeed(&dir, &key, &name, &succession)?;
                err!("{name} has a new key ({})", path.display());
                err!("  {print}\n  signed by the one before: {old}");
                audit::note(&home, "rotate", name.as_str(), Some(&print));
                take_up(&home);
                if json {
                    let file = path.display().to_string();
                    out!("{}", json!({"name": name, "file": file, "fingerprint": print}))?;
                }
                return Ok(ExitCode::SUCCESS);
            }
            // A key that cannot be registered need not be compared.
            may_add(&dir, &key, &name, device.as_ref(), replace)?;
            confirm(&name, &key, yes)?;
            let first = read_users(&dir)?.0.is_empty();
            let path = home::add(&dir, &key, &name, device.as_ref(), replace)?;
            err!("{name} is registered ({})", path.display());
            audit::note(
                &home,
                if replace { "replace" } else { "add" },
                name.as_str(),
                Some(&print),
            );
            let role = read_users(&dir)?.0.role(&name);
            if role > Role::Member {
                err!("{name} is {role}: users/{name}.json says so");
            }
            if first {
                Settings::change(&dir, &name, |settings| settings.role = Role::Owner)?;
                err!("{name} is the first user, and the owner of this server");
            }
            take_up(&home);
            if json {
                let file = path.display().to_string();
                out!("{}", json!({"name": name, "file": file, "fingerprint": print}))?;
            }
        }
        Job::Replace { name, key, device, yes, home, json } => {
            let home = home.open_to_write()?;
            let dir = home.users_dir();
            let (users, _) = read_users(&dir)?;
            let name = users.find(&name).cloned().ok_or(AddError::Nobody(name))?;
            let Given { name: own, key, .. } = read_key(&key.concat())?;
            if let Some(own) = own.filter(|own| *own != name) {
                let hint = "pychat users add registers another user's key";
                let error = format!("this key line is of {own}, not of {name}");
                return Err(Fault::new(code::OTHER, error, hint).into());
            }
            let device = lost_device(&users, &name, device)?;
            home::may_add(&dir, &key, &name, device.as_ref(), true)?;
            confirm(&name, &key, yes)?;
            let path = home::add(&dir, &key, &name, device.as_ref(), true)?;
            let print = key.fingerprint().to_string();
            err!("{name} has another key ({}); everybody is notified", path.display());
            audit::note(&home, "replace", name.as_str(), Some(&print));
            take_up(&home);
            if json {
                let file = path.display().to_string();
                out!("{}", json!({"name": name, "file": file, "fingerprint": print}))?;
            }
        }
        Job::List { home, json } => list(&home.open().users_dir(), json)?,
        Job::Show { name, home, json } => show(&home.open().users_dir(), &name, json)?,
        Job::Role { name, role, home, json } => {
            let home = home.open_to_write()?;
            let dir = home.users_dir();
            let (users, _) = read_users(&dir)?;
            let name = users.find(&name).cloned().ok_or(AddError::Nobody(name))?;
            if role < Role::Owner && users.owners().eq([&name]) {
                let hint = "make another user owner first";
                let error = format!("{name} is the only owner: no role could be changed any more");
                return Err(Fault::new(code::OTHER, error, hint).into());
            }
            Settings::change(&dir, &name, |settings| settings.role = role)?;
            err!("{name} is now {role}");
            audit::note(&home, "role", name.as_str(), Some(&role.to_string()));
            take_up(&home);
            if json {
                out!("{}", json!({"name": name, "role": role}))?;
            }
        }
        Job::Passwd { name, remove, home, json } => {
            let home = home.open_to_write()?;
            let dir = home.users_dir();
            let (users, _) = read_users(&dir)?;
            let name = users.find(&name).cloned().ok_or(AddError::Nobody(name))?;
            let password = if remove { None } else { Some(PasswordHash::of(&new_password()?)?) };
            Settings::change(&dir, &name, |settings| settings.password = password)?;
            let did = if remove { "no longer has a password" } else { "has a new password" };
            err!("{name} {did}");
            audit::note(
                &home,
                if remove { "passwd remove" } else { "passwd" },
                name.as_str(),
                None,
            );
            take_up(&home);
            if json {
                out!("{}", json!({"name": name, "password": !remove}))?;
            }
        }
        Job::Remove { name, device, erase, home, json } => {
            let home = home.open_to_write()?;
            let dir = home.users_dir();
            let (users, _) = read_users(&dir)?;
            let name = users.find(&name).cloned().unwrap_or(name);
            let gone = match home::remove(&dir, &name, device.as_ref()) {
                // A user who was removed before can be erased later.
                Err(AddError::Nobody(_)) if erase => Vec::new(),
                gone => gone?,
            };
            gone.iter().for_each(|path| err!("removed {}", path.display()));
            audit::note(&home, "remove", name.as_str(), device.as_ref().map(DeviceName::as_str));
            take_up(&home);
            if erase {
                super::ledger::erase(&home, &name)?;
            }
            if json {
                let files: Vec<_> = gone.iter().map(|path| path.display().to_string()).collect();
                out!("{}", json!({"name": name, "removed": files}))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a running server reread users/ now instead of within a second, so that a change applies
/// when the command returns.
fn take_up(home: &Home) {
    match ctl::ask(home, &["users".to_owned()]) {
        Ok(None) => {}
        Ok(Some(reply)) if reply.ok => err!("the server has applied it"),
        Ok(Some(reply)) => err!("the server has not applied it yet: {}", reply.text),
        Err(fault) => err!("the server has not applied it yet: {fault}"),
    }
}

/// The device whose key is replaced, as its file is named: the one of the only key, or a given one.
fn lost_device(
    users: &Users,
    name: &UserName,
    given: Option<DeviceName>,
) -> Result<Option<DeviceName>, Fault> {
    let own = users.keys_of(name).filter_map(|key| Some(users.by_key(key)?.1.clone()));
    let own: Vec<DeviceName> = own.collect();
    let device = match (given, &own[..]) {
        (Some(device), _) if own.contains(&device) => device,
        (None, [only]) => only.clone(),
        _ => {
            let own: Vec<_> = own.iter().map(DeviceName::as_str).collect();
            let hint = format!("--device is one of {}", own.join(", "));
            return Err(Fault::new(code::USAGE, format!("which key of {name}?"), hint));
        }
    };
    Ok(Some(device).filter(|device| !device.is_default()))
}

/// A key as the operator passes it.
struct Given {
    /// Present in a key line.
    name: Option<UserName>,
    key: PublicKey,
    /// By the user's previous key and by this one.
    succession: Option<Succession>,
}

/// A key from a line, a file or stdin.
fn read_key(given: &str) -> anyhow::Result<Given> {
    if given.trim().is_empty() {
        let hint = "give the user's key line, a file, or - for stdin";
        return Err(Fault::new(code::USAGE, "no key was given", hint).into());
    }
    let text = if given == "-" {
        let mut text = String::new();
        std::io::stdin().lock().take(64 * 1024).read_to_string(&mut text)?;
        text
    } else if is_key_line(given) {
        given.to_owned()
    } else {
        let text = home::file::read_text(Path::new(given))?;
        let text = text.ok_or_else(|| {
            let error = format!("{}: neither a file nor a key line", clean::line(given));
            Fault::new(code::UNREADABLE, error, "a key line begins with pychat-key1.")
        })?;
        text.to_string()
    };
    if text.contains("-----BEGIN") {
        return Ok(Given { name: None, key: PublicKey::from_pem(&text)?, succession: None });
    }
    let KeyLine { name, key, succession } = read_key_line(&text)?;
    Ok(Given { name: Some(name), key, succession })
}

/// A new password: typed twice on a terminal, a line of stdin otherwise. Never from the command
/// line, which others can read.
fn new_password() -> anyhow::Result<Zeroizing<String>> {
    if std::io::stdin().is_terminal() {
        return crate::cli::key::ask_twice("new password: ");
    }
    let mut line = Zeroizing::new(String::new());
    std::io::stdin().lock().take(4096).read_line(&mut line)?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Whether a key may be registered; a name that is similar to another one gets a warning.
fn may_add(
    dir: &Path,
    key: &PublicKey,
    name: &UserName,
    device: Option<&DeviceName>,
    replace: bool,
) -> anyhow::Result<()> {
    home::may_add(dir, key, name, device, replace)?;
    if let Some(other) = read_users(dir)?.0.similar_to(name) {
        err!("warning: {}", home::similar(name, other));
    }
    Ok(())
}

/// The operator compares what the person reads aloud.
fn confirm(name: &UserName, key: &PublicKey, yes: bool) -> anyhow::Result<()> {
    let print = key.fingerprint();
    err!("{name}: {print}");
    err!("  {}", print.spoken());
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        let hint = "compare it, then add --yes";
        return Err(Fault::new(code::USAGE, "the key was not compared", hint).into());
    }
    print::aside(format_args!("Did {name} read you exactly this? [y/N] "));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Fault::plain(code::OTHER, format!("{name} was not registered")).into()),
    }
}

fn read_users(dir: &Path) -> anyhow::Result<(Users, Vec<home::Rejected>)> {
    Users::load(dir).map_err(|error| {
        Fault::new(code::UNREADABLE, format!("{}: {error}", dir.display()), NO_HOME).into()
    })
}

fn list(dir: &Path, json: bool) -> anyhow::Result<()> {
    let (users, rejected) = read_users(dir)?;
    if json {
        let row = |name| json!({"name": name, "role": users.role(name), "fingerprints": prints(&users, name)});
        let rows: Vec<_> = users.names().map(row).collect();
        let ignored: Vec<_> = rejected.iter().map(ToString::to_string).collect();
        out!("{}", json!({"users": rows, "ignored": ignored}))?;
        return Ok(());
    }
    for name in users.names() {
        out!("{name:<20} {:<10} {}", users.role(name), prints(&users, name).join(" "))?;
    }
    rejected.iter().for_each(|file| err!("{file}"));
    users.warnings().for_each(|warning| err!("warning: {warning}"));
    Ok(())
}

fn show(dir: &Path, name: &UserName, json: bool) -> anyhow::Result<()> {
    let (users, _) = read_users(dir)?;
    let name = users.find(name).ok_or_else(|| home::AddError::Nobody(name.clone()))?;
    if json {
        let (role, prints) = (users.role(name), prints(&users, name));
        out!("{}", json!({"name": name, "role": role, "fingerprints": prints}))?;
        return Ok(());
    }
    out!("{name} ({})", users.role(name))?;
    for key in users.keys_of(name) {
        let (print, device) = (key.fingerprint(), users.by_key(key).map(|one| one.1));
        let device = device.map_or("main", DeviceName::as_str);
        out!("  {device:<12} {print}\n  {:<12} {}", "", print.spoken())?;
    }
    Ok(())
}

fn prints(users: &Users, name: &UserName) -> Vec<String> {
    users.keys_of(name).map(|key| key.fingerprint().to_string()).collect()
}
