//! `pychat users`: manages registered users.

use std::io::{BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;
use zeroize::Zeroizing;

use super::args::{HomeArgs, NO_HOME};
use super::audit;
use super::given_key::{Given, confirm, lost_device, read_key};
use super::waiting;
use crate::chat::rights::Role;
use crate::chat::{DeviceName, UserName};
use crate::crypto::PublicKey;
use crate::crypto::password::PasswordHash;
use crate::crypto::succession::Succession;
use crate::fault::{Fault, code};
use crate::home::{self, AddError, Home, Settings, Users};
use crate::print::{err, out};
use crate::server::operator::ctl;

#[derive(Subcommand)]
pub enum Job {
    /// Register a user's key: the line that `pychat client` shows, a PEM file, or - for stdin
    Add(Add),
    /// List keys that the running server has refused because they are not registered
    Waiting(Waiting),
    /// Replace a user's lost key; everybody is notified
    Replace(Replace),
    /// List registered users, and files that are ignored
    List(List),
    /// Show a user's keys
    Show(Show),
    /// Set a user's role; it applies to live sessions within a second
    Role(SetRole),
    /// Give a user another name; keys, conversations, role and bans stay, and everybody is notified
    Rename(Rename),
    /// Set a user's password, a second factor after the key: typed twice, or one line of stdin
    Passwd(Passwd),
    /// Remove a user's keys; live sessions end within a second
    Remove(Remove),
}

#[derive(Args)]
pub struct Add {
    /// pychat-key1.NAME..., a file, or - for stdin; asked for at a terminal
    key: Vec<String>,
    /// Register a key that `pychat users waiting` lists: its code, or the name that it claims
    #[arg(long, value_name = "NAME or CODE", conflicts_with = "key")]
    waiting: Option<String>,
    /// Register it under this name instead of the line's
    #[arg(long = "as", value_name = "NAME")]
    name: Option<UserName>,
    /// Register it as a further device of a registered user
    #[arg(long)]
    device: Option<DeviceName>,
    /// Replace the registered key
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    home: HomeArgs,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Replace {
    name: UserName,
    /// pychat-key1.NAME..., a file, or - for stdin; asked for at a terminal
    key: Vec<String>,
    /// The device whose key was lost
    #[arg(long)]
    device: Option<DeviceName>,
    #[command(flatten)]
    home: HomeArgs,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Waiting {
    #[command(flatten)]
    home: HomeArgs,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    home: HomeArgs,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Show {
    name: UserName,
    #[command(flatten)]
    home: HomeArgs,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct SetRole {
    name: UserName,
    role: Role,
    #[command(flatten)]
    home: HomeArgs,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Rename {
    name: UserName,
    #[arg(value_name = "NEW-NAME")]
    new: UserName,
    #[command(flatten)]
    home: HomeArgs,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Passwd {
    name: UserName,
    /// Remove the password
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    home: HomeArgs,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Remove {
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
}

pub fn run(job: Job) -> anyhow::Result<ExitCode> {
    match job {
        Job::Add(add) => add.run()?,
        Job::Waiting(Waiting { home, json }) => waiting::list(&home.open(), json)?,
        Job::Replace(replace) => replace.run()?,
        Job::List(List { home, json }) => list(&home.open().users_dir(), json)?,
        Job::Show(Show { name, home, json }) => show(&home.open().users_dir(), &name, json)?,
        Job::Role(role) => role.run()?,
        Job::Rename(rename) => rename.run()?,
        Job::Passwd(passwd) => passwd.run()?,
        Job::Remove(remove) => remove.run()?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Add {
    fn run(self) -> anyhow::Result<()> {
        let home = self.home.open_to_write()?;
        let Given { name: own, key, succession } = match &self.waiting {
            Some(wanted) => waiting::find(&home, wanted, self.home.yes)?,
            None => read_key(&self.key.concat())?,
        };
        let name = self.name.clone().or(own).ok_or_else(|| {
            Fault::new(
                code::USAGE,
                "the user's name is missing",
                "a PEM file has no name: add --as NAME",
            )
        })?;
        let (name, path) = match succession {
            Some(succession) => succeed(&home, &key, name, &succession)?,
            None => self.register(&home, &key, name)?,
        };
        take_up(&home);
        print_key(self.json, &name, &path, &key)
    }

    /// Registers a key that no former one has signed.
    fn register(
        &self,
        home: &Home,
        key: &PublicKey,
        name: UserName,
    ) -> anyhow::Result<(UserName, PathBuf)> {
        let (dir, device, replace) = (home.users_dir(), self.device.as_ref(), self.replace);
        // A key that cannot be registered need not be compared.
        may_add(&dir, key, &name, device, replace)?;
        confirm(&name, key, self.home.yes)?;
        let first = read_users(&dir)?.0.is_empty();
        let path = home::add(&dir, key, &name, device, replace)?;
        err!("{name} is registered ({})", path.display());
        let act = if replace { "replace" } else { "add" };
        audit::note(home, act, name.as_str(), Some(&key.fingerprint().to_string()));
        let role = read_users(&dir)?.0.role(&name);
        if role > Role::Member {
            err!("{name} is {role}: users/{name}.json says so");
        }
        if first {
            Settings::change(&dir, &name, |settings| settings.role = Role::Owner)?;
            err!("{name} is the first user, and the owner of this server");
        }
        Ok((name, path))
    }
}

/// Takes up a new key that the user's former one has signed.
fn succeed(
    home: &Home,
    key: &PublicKey,
    name: UserName,
    succession: &Succession,
) -> anyhow::Result<(UserName, PathBuf)> {
    let (dir, print) = (home.users_dir(), key.fingerprint().to_string());
    let name = read_users(&dir)?.0.find(&name).cloned().unwrap_or(name);
    let (path, old) = home::succeed(&dir, key, &name, succession)?;
    err!("{name} has a new key ({})", path.display());
    err!("  {print}\n  signed by the one before: {old}");
    audit::note(home, "rotate", name.as_str(), Some(&print));
    Ok((name, path))
}

impl Replace {
    fn run(self) -> anyhow::Result<()> {
        let home = self.home.open_to_write()?;
        let dir = home.users_dir();
        let (users, name) = registered(&dir, self.name)?;
        let Given { name: own, key, .. } = read_key(&self.key.concat())?;
        if let Some(own) = own.filter(|own| *own != name) {
            let hint = "pychat users add registers another user's key";
            let error = format!("this key line is of {own}, not of {name}");
            return Err(Fault::new(code::OTHER, error, hint).into());
        }
        let device = lost_device(&users, &name, self.device)?;
        home::may_add(&dir, &key, &name, device.as_ref(), true)?;
        confirm(&name, &key, self.home.yes)?;
        let path = home::add(&dir, &key, &name, device.as_ref(), true)?;
        let print = key.fingerprint().to_string();
        err!("the key of {name} was replaced ({}); all users are notified", path.display());
        audit::note(&home, "replace", name.as_str(), Some(&print));
        take_up(&home);
        print_key(self.json, &name, &path, &key)
    }
}

/// Prints where a key is registered, for programs.
fn print_key(json: bool, name: &UserName, path: &Path, key: &PublicKey) -> anyhow::Result<()> {
    if json {
        let (file, print) = (path.display().to_string(), key.fingerprint().to_string());
        out!("{}", json!({"name": name, "file": file, "fingerprint": print}))?;
    }
    Ok(())
}

impl SetRole {
    fn run(self) -> anyhow::Result<()> {
        let (home, role) = (self.home.open_to_write()?, self.role);
        let dir = home.users_dir();
        let (users, name) = registered(&dir, self.name)?;
        if role < Role::Owner && users.owners().eq([&name]) {
            let hint = "make another user owner first";
            let error = format!("{name} is the only owner: no role could be changed any more");
            return Err(Fault::new(code::OTHER, error, hint).into());
        }
        Settings::change(&dir, &name, |settings| settings.role = role)?;
        err!("{name} is now {role}");
        audit::note(&home, "role", name.as_str(), Some(&role.to_string()));
        take_up(&home);
        if self.json {
            out!("{}", json!({"name": name, "role": role}))?;
        }
        Ok(())
    }
}

impl Rename {
    fn run(self) -> anyhow::Result<()> {
        let (home, dir) = (self.home.open_to_write()?, self.home.open().users_dir());
        let old = home::may_rename(&dir, &self.name, &self.new)?;
        let words = ["rename".to_owned(), old.to_string(), self.new.to_string()];
        match ctl::ask(&home, &words)? {
            Some(reply) if !reply.ok => {
                let hint = reply.hint.unwrap_or_default();
                return Err(Fault::new(code::OTHER, reply.text, hint).into());
            }
            Some(reply) => err!("{}", reply.text),
            None => {
                let _lock = home.lock()?;
                home::rename(&dir, &old, &self.new)?;
                audit::note(&home, "rename", old.as_str(), Some(self.new.as_str()));
                err!(
                    "{old} is called {} from the next start of the server on, which moves the \
                     conversations and notifies all users",
                    self.new
                );
            }
        }
        if self.json {
            out!("{}", json!({"old": old, "name": self.new}))?;
        }
        Ok(())
    }
}

impl Passwd {
    fn run(self) -> anyhow::Result<()> {
        let (home, remove) = (self.home.open_to_write()?, self.remove);
        let dir = home.users_dir();
        let (_, name) = registered(&dir, self.name)?;
        let password = if remove { None } else { Some(PasswordHash::of(&new_password()?)?) };
        Settings::change(&dir, &name, |settings| settings.password = password)?;
        let did = if remove { "no longer has a password" } else { "has a new password" };
        err!("{name} {did}");
        let act = if remove { "passwd remove" } else { "passwd" };
        audit::note(&home, act, name.as_str(), None);
        take_up(&home);
        if self.json {
            out!("{}", json!({"name": name, "password": !remove}))?;
        }
        Ok(())
    }
}

impl Remove {
    fn run(self) -> anyhow::Result<()> {
        let (home, device) = (self.home.open_to_write()?, self.device.as_ref());
        let dir = home.users_dir();
        let (users, _) = read_users(&dir)?;
        let name = users.find(&self.name).cloned().unwrap_or(self.name);
        let gone = match home::remove(&dir, &name, device) {
            // A user who was removed before can be erased later.
            Err(AddError::Nobody(_)) if self.erase => Vec::new(),
            gone => gone?,
        };
        gone.iter().for_each(|path| err!("removed {}", path.display()));
        audit::note(&home, "remove", name.as_str(), device.map(DeviceName::as_str));
        take_up(&home);
        if self.erase {
            super::ledger::erase(&home, &name)?;
        }
        if self.json {
            let files: Vec<_> = gone.iter().map(|path| path.display().to_string()).collect();
            out!("{}", json!({"name": name, "removed": files}))?;
        }
        Ok(())
    }
}

/// The registered users, and one of them by the name as it is registered.
fn registered(dir: &Path, name: UserName) -> anyhow::Result<(Users, UserName)> {
    let (users, _) = read_users(dir)?;
    let name = users.find(&name).cloned().ok_or(AddError::Nobody(name))?;
    Ok((users, name))
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
