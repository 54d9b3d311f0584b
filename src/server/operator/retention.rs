//! Retention of stored messages, and their removal.

use std::time::Duration;

use serde_json::json;

use super::super::context::Context;
use super::call::Call;
use super::reply::{Reply, misused, no, unstored, with};
use crate::chat::{ChannelName, Conversation};
use crate::ledger::Swept;

/// Time to wait for another reader of the ledger.
pub const READ_TIME: Duration = Duration::from_secs(5);

pub const REMAINS: &str = "; their texts are still in data/ledger.db-wal, because a program reads the ledger \
    beside the server (a backup?): once it has ended, the next minute's sweep or --now takes them away";

pub fn retention(call: &Call) -> Reply {
    match call.operands.first().map(|word| word.trim_start_matches('-')) {
        None => rules(call.context),
        Some("dry-run") => remove(call, true),
        Some("now") => remove(call, false),
        Some("trust-clock") => trust_clock(call),
        Some(_) => misused("retention, retention dry-run, retention now or retention trust-clock"),
    }
}

/// Returns the retention by channel.
fn rules(context: &Context) -> Reply {
    let config = context.config.get();
    let rules = config.channels.iter().map(|(name, rules)| (name, rules.retention));
    let rows: Vec<_> = rules.map(|(name, kept)| format!("{name:<20} {kept}")).collect();
    let all = config.retentions().of(&Conversation::Channel(ChannelName::lobby()));
    let text = format!("{:<20} {all}\n{}", "everything else", rows.join("\n"));
    let data = json!({"retention": config.retention, "channels": config.channels});
    with(text.trim_end().to_owned(), data)
}

/// Confirms the clock: retention uses it from now on.
fn trust_clock(call: &Call) -> Reply {
    call.context.clock.trust();
    call.context.records.record(&call.done());
    let now = jiff::Timestamp::now();
    with(format!("the server trusts the clock again ({now})"), json!({"time": now.to_string()}))
}

/// Removes old messages, or counts them.
fn remove(call: &Call, dry: bool) -> Reply {
    let context = call.context;
    let distrust = context.clock.distrust();
    if let Some(distrust) = distrust.as_ref().filter(|_| !dry) {
        return no(distrust);
    }
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let swept = match context.ledger.sweep(now_ms, dry) {
        Some(Ok(swept)) => swept,
        Some(Err(error)) => return unstored(&error),
        None => return no("the server is stopping"),
    };
    let remains = match if dry {
        Some(Ok(true))
    } else {
        context.ledger.tidy(context.clock.time_ms(), READ_TIME)
    } {
        Some(Ok(done)) => !done,
        Some(Err(error)) => return unstored(&error),
        None => return no("the server is stopping"),
    };
    if !dry {
        context.records.record(&call.done());
        context.records.expire(now_ms);
    }
    let did = if dry { "would be removed" } else { "were removed" };
    let Swept { messages, conversations, .. } = swept;
    let mut text = format!("{messages} messages of {conversations} conversations {did}");
    if remains {
        text.push_str(REMAINS);
    }
    if let Some(distrust) = distrust {
        text.push_str(&format!("; {distrust}"));
    }
    let data = json!({"messages": messages, "conversations": conversations, "dry_run": dry, "remains": remains});
    Reply { ok: !remains, ..with(text, data) }
}
