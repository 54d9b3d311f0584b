//! Retention of stored messages, and their removal.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::super::context::Context;
use super::call::Call;
use super::reply::{Reply, misused, no, unread, unstored, with};
use crate::chat::{ChannelName, Conversation, UserName};
use crate::home::Decision;
use crate::ledger::{Jobs, Swept, jobs};

/// Time for the sessions of a removed user to end.
const LEAVE_TIME: Duration = Duration::from_secs(2);

/// Time to wait for another reader of the ledger.
const READ_TIME: Duration = Duration::from_secs(5);

const REMAINS: &str = "; their texts are still in data/ledger.db-wal, because a program reads the ledger \
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
        None => return no("the server stops"),
    };
    let remains = match if dry {
        Some(Ok(true))
    } else {
        context.ledger.tidy(context.clock.time_ms(), READ_TIME)
    } {
        Some(Ok(done)) => !done,
        Some(Err(error)) => return unstored(&error),
        None => return no("the server stops"),
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

/// Erases the texts of all messages of a user.
pub fn erase(call: &Call) -> Reply {
    let context = call.context;
    let Some(name) = call.operands.first().and_then(|name| name.parse::<UserName>().ok()) else {
        return call.asks("whose messages?");
    };
    // Sessions of a user who was just removed must end before the erasure.
    if let Err(error) = context.accounts.reload() {
        return unread(&error);
    }
    let name = context.accounts.find(&name).unwrap_or(name);
    let deadline = Instant::now() + LEAVE_TIME;
    let is_here = || context.hub.people().iter().any(|(person, ..)| *person == name);
    while context.accounts.find(&name).is_none() && is_here() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    // Former ledgers contain the same texts. They go first, so that nothing is left to do for them
    // where the erasure is interrupted.
    let removed = match jobs(&context.home.ledger_file()).remove_copies(Duration::ZERO) {
        Ok(removed) => removed,
        Err(error) => return no(&format!("a copy of a former ledger cannot be removed: {error}")),
    };
    match context.ledger.erase(&name) {
        Some(Ok(messages)) => {
            context.records.record(&Decision { target: name.as_str(), ..call.done() });
            let mut text = format!("{messages} messages of {name} were erased");
            let remains =
                !matches!(context.ledger.tidy(context.clock.time_ms(), READ_TIME), Some(Ok(true)));
            if remains {
                text.push_str(REMAINS);
            }
            for copy in removed {
                text.push_str(&format!("; {} was removed", copy.display()));
            }
            with(text, json!({"messages": messages, "remains": remains}))
        }
        Some(Err(error)) => unstored(&error),
        None => no("the server is stopping; the erasure continues at its next start"),
    }
}
