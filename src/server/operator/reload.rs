//! `reload`: reads config.json and users/ again while the server runs. An error changes nothing.

use std::fmt;
use std::io;

use serde::Serialize;
use serde_json::json;

use super::super::context::Context;
use super::super::observe::log;
use super::call::{Actor, Call};
use super::reply::{Reply, no, with};
use crate::config::{Config, ConfigError, Passwords, admits};
use crate::home::Users;

/// Number of files in the answer's text.
const TOLD_MAX: usize = 5;

/// The result of a reload.
#[derive(Debug, Default, Serialize)]
struct Reloaded {
    /// Faults of files in users/, which register nobody or change nothing.
    ignored: Vec<String>,
    /// Keys of config.json whose new values apply after the next start.
    waiting: Vec<String>,
}

/// An error of a reload, which has changed nothing.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The start has read or made one. The defaults would admit whom it excludes.
    #[error("config.json is missing")]
    NoConfig,
    #[error("{0:#}")]
    Log(anyhow::Error),
    #[error("users/: {0}")]
    Users(#[from] io::Error),
    /// The author could not log in afterwards.
    #[error("{0} (pychat ctl reload applies it anyway)")]
    Excludes(String),
}

pub fn reload(call: &Call) -> Reply {
    match read_again(call.context, call.actor) {
        Ok(read) => {
            call.context.records.record(&call.done());
            with(read.to_string(), json!(read))
        }
        Err(error) => no(&format!("{error}: everything stays as it was")),
    }
}

/// Returns the reason why the author of a reload could not log in afterwards; `None` if the author
/// could.
fn exclusion(actor: &Actor, config: &Config, users: &Users) -> Option<String> {
    let author = actor.whom.as_ref()?;
    let settings = users.settings(author.user);
    let barred = |allow, deny| author.address.filter(|address| !admits(allow, deny, *address));
    let (file, from) = match barred(&config.allow, &config.deny) {
        Some(address) => ("config.json".to_owned(), Some(address)),
        None => (format!("users/{}.json", author.user), barred(&settings.allow, &settings.deny)),
    };
    if let Some(address) = from.map(|address| address.to_canonical()) {
        return Some(format!("{file} would exclude you: it does not admit {address}"));
    }
    if users.by_print(&author.key).is_none_or(|(_, name)| name != author.user) {
        return Some("users/ would exclude you: your key is missing".to_owned());
    }
    if !config.suites.meet(actor.offered) {
        return Some("\"suites\" would exclude you: your client offers none of them".to_owned());
    }
    let asked = config.passwords == Passwords::All && settings.password.is_none();
    asked.then(|| "\"passwords\" would exclude you: you have no password".to_owned())
}

/// Reads everything again. An error changes nothing, and neither does a reload that would exclude
/// its author in the chat.
fn read_again(context: &Context, actor: &Actor) -> Result<Reloaded, ReloadError> {
    let old = context.config.get();
    let mut new = Config::read(&context.home.config_file())?.ok_or(ReloadError::NoConfig)?;
    context.overrides.apply(&mut new);
    let waiting = keep_until_start(&mut new, &old);
    // Everything that can fail is done before anything is changed. No session waits for the log's
    // disk.
    let log = log::prepare(&new, context.overrides.log_level, &context.home);
    let log = log.map_err(ReloadError::Log)?;
    let ignored = context.accounts.reload_if(|users| match exclusion(actor, &new, users) {
        Some(problem) => Err(ReloadError::Excludes(problem)),
        None => Ok(()),
    })?;
    log.take_up();
    context.hub.retune(&new);
    context.admission.retune(&new);
    context.config.set(new);
    context.access.turn_out();
    Ok(Reloaded { ignored, waiting })
}

/// Restores values that only a start can change. Returns the names of those that differ.
fn keep_until_start(new: &mut Config, old: &Config) -> Vec<String> {
    let mut waiting = Vec::new();
    let (limits, limits_waiting) = new.limits.over(&old.limits);
    new.limits = limits;
    waiting.extend(limits_waiting.into_iter().map(|name| format!("limits.{name}")));
    let mut at_start = |name: &str, changed: bool| {
        if changed {
            waiting.push(name.to_owned());
        }
        changed
    };
    if at_start("server_ip", new.server_ip != old.server_ip) {
        new.server_ip = old.server_ip;
    }
    if at_start("server_port", new.server_port != old.server_port) {
        new.server_port = old.server_port;
    }
    if at_start("listen", new.listen != old.listen) {
        new.listen.clone_from(&old.listen);
    }
    if at_start("metrics", new.metrics != old.metrics) {
        new.metrics = old.metrics;
    }
    if at_start("read_socket", new.read_socket != old.read_socket) {
        new.read_socket.clone_from(&old.read_socket);
    }
    if at_start("web", new.web != old.web) {
        new.web = old.web;
    }
    if at_start("history", new.history != old.history) {
        new.history = old.history;
    }
    if at_start("retention", old.retentions().moves(&new.retentions())) {
        (new.retention, new.channels) = (old.retention, old.channels.clone());
    }
    waiting
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("config.json and users/ were read again")?;
        self.ignored.iter().take(TOLD_MAX).try_for_each(|file| write!(f, "; {file}"))?;
        if self.ignored.len() > TOLD_MAX {
            write!(f, "; the log has {} more", self.ignored.len() - TOLD_MAX)?;
        }
        if !self.waiting.is_empty() {
            write!(f, "; only the next start changes {}", self.waiting.join(", "))?;
        }
        Ok(())
    }
}
