//! `reload`: reads config.json and users/ again while the server runs. What cannot be read changes
//! nothing.

use std::fmt;

use serde::Serialize;
use serde_json::json;

use super::super::context::Context;
use super::super::observe::log;
use super::call::Call;
use super::reply::{Reply, no, with};
use crate::config::{Config, admits};
use crate::home::sanctions::Whom;

/// So many files are told of in the answer's text.
const TOLD_MAX: usize = 5;

/// What a reload has done.
#[derive(Debug, Default, Serialize)]
struct Reloaded {
    /// What is wrong with files in users/: they register nobody, or change nothing.
    ignored: Vec<String>,
    /// Keys of config.json whose new values hold after the next start only.
    waiting: Vec<String>,
}

pub fn reload(call: &Call) -> Reply {
    call.context.records.record(&call.done());
    match read_again(call.context, call.actor.whom) {
        Ok(read) => with(read.to_string(), json!(read)),
        Err(problem) => no(&format!("{problem}: everything stays as it was")),
    }
}

/// Reads everything again. On an error everything stays as it was. An author in the chat does not
/// put themselves out.
fn read_again(context: &Context, author: Option<Whom>) -> Result<Reloaded, String> {
    let old = context.config.get();
    let mut new = Config::load(&context.home.config_file()).map_err(|error| error.to_string())?;
    let own = author.and_then(|author| author.address);
    if let Some(address) = own.filter(|address| !admits(&new.allow, &new.deny, *address)) {
        let address = address.to_canonical();
        return Err(format!(
            "config.json would put you out, who come from {address} (pychat ctl reload does it)"
        ));
    }
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
    // What can still fail comes first.
    let ignored = context.accounts.reload().map_err(|error| format!("users/: {error}"))?;
    apply(context, new).map_err(|error| format!("{error:#}"))?;
    Ok(Reloaded { ignored, waiting })
}

/// Another configuration from now on, for those who are here too. One whose log cannot be written
/// changes nothing.
fn apply(context: &Context, config: Config) -> anyhow::Result<()> {
    log::apply(&config, context.log_level, &context.home)?;
    context.hub.retune(&config);
    context.admission.retune(&config);
    context.config.set(config);
    context.access.turn_out();
    Ok(())
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
