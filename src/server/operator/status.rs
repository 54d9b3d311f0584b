//! The server's state: channels, counters, health, users.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::super::context::Context;
use super::super::observe::log as server_log;
use super::reply::{Reply, unread, with};
use crate::chat::{DeviceName, FileBytes, TimeSpan};
use crate::config::IpRange;

/// A ledger that has not answered after this time is stuck.
const HEALTH_PATIENCE: Duration = Duration::from_secs(3);

const RULE: &str = "--------------------------------";

pub fn channels(context: &Context) -> Reply {
    let channels = context.hub.channels();
    let mut text = format!("{RULE}\n");
    for (name, people) in &channels {
        let members = if people.len() == 1 { "member" } else { "members" };
        let lock = if name.has_pin() { " \u{1f512}" } else { "" };
        let _ = writeln!(text, "{name}{lock}  {} {members}", people.len());
        people.iter().for_each(|person| {
            let _ = writeln!(text, "    {person}");
        });
    }
    text.push_str(RULE);
    let rows = channels
        .iter()
        .map(|(name, people)| json!({"channel": name, "sealed": name.has_pin(), "people": people}));
    with(text, rows.collect())
}

pub fn stats(context: &Context) -> Reply {
    let data = counters(context);
    let rows = data.as_object().into_iter().flatten();
    let shown = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
    let rows = rows.map(|(name, value)| format!("{name:<18} {}", shown(value)));
    let text = rows.collect::<Vec<_>>().join("\n");
    with(text, data)
}

/// Returns the most important counters in one line.
pub fn brief(context: &Context) -> Reply {
    let (hub, admission) = (context.hub.stats(), context.admission.stats());
    let up = TimeSpan::from_s(hub.uptime_ms / 1000).map_or("0s".to_owned(), |up| up.to_string());
    let text = format!(
        "up {up}, {} people in {} sessions, {} of {} connections",
        hub.people, hub.sessions, admission.connections, admission.connections_max
    );
    let text = match context.ledger.erasing() {
        Some((name, messages)) => format!("{text}, erasing {name}: {messages} messages so far"),
        None => text,
    };
    let text = match context.hub.disk().is_low() {
        false => text,
        true => {
            let free = FileBytes(context.hub.disk().free_bytes());
            format!("{text}, new messages are refused: the disk has {free} left")
        }
    };
    let text = match hub.lost {
        0 => text,
        lost => format!("{text}, {lost} messages or more were lost before the start (see the log)"),
    };
    with(text, counters(context))
}

fn counters(context: &Context) -> Value {
    let (hub, admission) = (context.hub.stats(), context.admission.stats());
    let files = context.files.as_ref().map(|files| files.totals()).unwrap_or_default();
    json!({
        "version": env!("CARGO_PKG_VERSION"), "address": admission.addresses.first().map(ToString::to_string), "addresses": admission.addresses,
        "web": admission.web.map(|web| web.to_string()),
        "sessions": hub.sessions, "people": hub.people, "channels": hub.channels,
        "messages": hub.messages, "lost": hub.lost, "uptime_ms": hub.uptime_ms,
        "connections": admission.connections, "connections_max": admission.connections_max,
        "unauthenticated": admission.unauthenticated, "evicted": admission.evicted,
        "logins": admission.logins, "login_failures": admission.failures, "key_requests": admission.asked, "refused": admission.refused,
        "busy": admission.busy, "rsa_operations": admission.rsa, "resumed_logins": admission.resumed,
        "files": files.files, "file_bytes": files.bytes,
        "disk_free_bytes": context.hub.disk().free_bytes(), "disk_low": context.hub.disk().is_low(),
        "erasing": context.ledger.erasing().map(|(name, messages)| json!({"name": name, "messages": messages})),
    })
}

/// Returns whether the parts that all users need are working.
pub fn health(context: &Context) -> Reply {
    let mut parts = vec![("admission", context.admission.is_open())];
    parts.extend(context.ledger.answers(HEALTH_PATIENCE));
    parts.extend([
        ("storage", !context.hub.counters().is_failing()),
        ("space", !context.hub.disk().is_low()),
        ("decisions", context.decisions.are_current()),
        ("audit", context.records.are_current()),
        ("log", server_log::is_read()),
    ]);
    let ill: Vec<_> = parts.iter().filter(|(_, well)| !well).map(|(name, _)| *name).collect();
    let text = match ill.is_empty() {
        true => match context.hub.stats().lost {
            0 => "healthy".to_owned(),
            lost => format!("healthy, but {lost} messages or more were lost before the start"),
        },
        false => format!("not healthy: {}", ill.join(", ")),
    };
    let data: serde_json::Map<_, _> =
        parts.iter().map(|(name, well)| ((*name).to_owned(), (*well).into())).collect();
    Reply { ok: ill.is_empty(), ..with(text, data.into()) }
}

/// Returns the fault if a thread that all users need does not answer. A full disk is not included,
/// because a restart would not help.
pub fn threads_answer(context: &Context) -> Result<(), String> {
    let health = health(context);
    let threads = ["admission", "ledger", "history", "search", "replay"];
    match threads.iter().all(|part| health.data[part] == true) {
        true => Ok(()),
        false => Err(health.text),
    }
}

/// A session of a user.
#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Here {
    device: DeviceName,
    /// `None` if config.json forbids showing addresses.
    address: Option<IpAddr>,
}

impl fmt::Display for Here {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.device.fmt(f)?;
        self.address.iter().try_for_each(|address| write!(f, " {address}"))
    }
}

/// Describes a user without a session.
fn away(last_ms: Option<i64>, source: Option<IpRange>) -> String {
    let Some(last) = last_ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) else {
        return "away, never connected".to_owned();
    };
    let from = source.map(|source| format!(" from {}", shortest(source))).unwrap_or_default();
    format!("away, last connected {}{from}", last.strftime("%Y-%m-%d %H:%M UTC"))
}

/// Returns an address without the prefix, and a network with it.
fn shortest(source: IpRange) -> String {
    if source.addresses() == Some(1) { source.network.to_string() } else { source.to_string() }
}

pub fn users(context: &Context) -> Reply {
    // A user who was just registered counts.
    if let Err(error) = context.accounts.reload() {
        return unread(&error);
    }
    let shows_addresses = context.config.get().log_ip;
    let mut sessions: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (name, device, queue) in context.hub.people() {
        let address = shows_addresses.then(|| queue.address().to_canonical());
        sessions.entry(name).or_default().push(Here { device, address });
    }
    let mut text = String::new();
    let mut rows = Vec::new();
    for name in context.accounts.get().names() {
        let mut here = sessions.remove(name).unwrap_or_default();
        here.sort_unstable();
        let last_ms = match here.is_empty() {
            true => context.key_history.last_connected_ms(name),
            false => Some(jiff::Timestamp::now().as_millisecond()),
        };
        let source = context.admission.last_source(name).filter(|_| shows_addresses);
        let source = source.map(|source| source.range());
        let state = match here.is_empty() {
            true => away(last_ms, source),
            false => here.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        let _ = writeln!(text, "{name:<20} {state}");
        let devices: Vec<_> = here.iter().map(|one| &one.device).collect();
        rows.push(json!({
            "name": name, "devices": devices, "sessions": here, "last_seen_ms": last_ms,
            "last_source": source.map(shortest),
        }));
    }
    if rows.is_empty() {
        text.push_str("nobody is registered: pychat users add LINE");
    }
    with(text.trim_end().to_owned(), rows.into())
}
