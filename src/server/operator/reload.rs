//! `reload`: reads config.json and users/ again while the server runs. An error changes nothing.

use std::fmt;
use std::io;

use serde::Serialize;
use serde_json::json;

use super::super::context::Context;
use super::super::observe::log;
use super::call::Call;
use super::reply::{Reply, no, with};
use crate::config::{Config, Passwords, admits};
use crate::home::Users;
use crate::home::sanctions::Whom;

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

pub fn reload(call: &Call) -> Reply {
    match read_again(call.context, call.actor.whom) {
        Ok(read) => {
            call.context.records.record(&call.done());
            with(read.to_string(), json!(read))
        }
        Err(problem) => no(&format!("{problem}: everything stays as it was")),
    }
}

/// Returns the reason why the author of a reload could not log in afterwards; `None` if the author
/// could.
fn shuts_out(author: &Whom, config: &Config, users: &Users) -> Option<String> {
    let settings = users.settings(author.user);
    let barred = |allow, deny| author.address.filter(|address| !admits(allow, deny, *address));
    let (file, from) = match barred(&config.allow, &config.deny) {
        Some(address) => ("config.json".to_owned(), Some(address)),
        None => (format!("users/{}.json", author.user), barred(&settings.allow, &settings.deny)),
    };
    if let Some(address) = from.map(|address| address.to_canonical()) {
        return Some(format!("{file} would put you out, who come from {address}"));
    }
    if users.by_print(&author.key).is_none_or(|(_, name)| name != author.user) {
        return Some("users/ would put you out: your key is missing".to_owned());
    }
    let asked = config.passwords == Passwords::All && settings.password.is_none();
    asked.then(|| "\"passwords\" would put you out, who have no password".to_owned())
}

/// Reads everything again. An error changes nothing, and neither does a reload that would exclude
/// its author in the chat.
fn read_again(context: &Context, author: Option<Whom>) -> Result<Reloaded, String> {
    let old = context.config.get();
    let mut new = Config::load(&context.home.config_file()).map_err(|error| error.to_string())?;
    let waiting = keep_until_start(&mut new, &old);
    // Everything that can fail is done before anything is changed. No session waits for the log's
    // disk.
    let log = log::prepare(&new, context.log_level, &context.home);
    let log = log.map_err(|error| format!("{error:#}"))?;
    let ignored = context.accounts.reload_if(|users| {
        match author.and_then(|author| shuts_out(&author, &new, users)) {
            Some(problem) => anyhow::bail!("{problem} (pychat ctl reload does it)"),
            None => Ok(()),
        }
    });
    let ignored = ignored.map_err(|error| match error.is::<io::Error>() {
        true => format!("users/: {error}"),
        false => format!("{error:#}"),
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
    if at_start("metrics", new.metrics != old.metrics) {
        new.metrics = old.metrics;
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
