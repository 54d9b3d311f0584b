//! `erase`: texts of a user, messages of a channel, and topics.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::call::Call;
use super::reply::{Reply, failed, misused, no, unconfirmed, unread, unstored, with};
use super::retention::{READ_TIME, REMAINS};
use crate::chat::{ChannelName, Conversation, UserName};
use crate::clean;
use crate::home::Decision;
use crate::ledger::{Jobs, jobs};
use crate::server::ledger_jobs::Erasure;

/// Time for the sessions of a removed user to end.
const LEAVE_TIME: Duration = Duration::from_secs(2);

/// Channels that an answer names.
const NAMED_MAX: usize = 5;

/// Erases the texts of all messages of a user, all messages of a channel, or its topic.
pub fn erase(call: &Call) -> Reply {
    match call.operands {
        [name] if name.starts_with('#') => with_channel(call, name, erase_messages),
        [name, what] if name.starts_with('#') && what == "topic" => {
            with_channel(call, name, erase_topic)
        }
        [name] => match name.parse::<UserName>() {
            Ok(name) => erase_user(call, name),
            Err(error) => misused(&error.to_string()),
        },
        // A shell takes an unquoted # for the beginning of a comment.
        _ => call.asks("name a user or a channel (quoted in a shell, as '#tea'):"),
    }
}

fn erase_user(call: &Call, name: UserName) -> Reply {
    let context = call.context;
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
    let removed = match remove_copies(call) {
        Ok(removed) => removed,
        Err(problem) => return problem,
    };
    // From now on the erasure continues by itself, also after a failure or at the next start.
    let on_begun = || context.records.record(&Decision { target: name.as_str(), ..call.done() });
    match context.ledger.erase(&name, on_begun) {
        Some(Ok(Erasure { messages, unreadable })) => {
            let mut text = format!("{messages} messages of {name} were erased");
            if unreadable > 0 {
                text.push_str(&format!(
                    "; {unreadable} are on damaged pages and could not be erased: pychat restore FILE \
                     restores a backup"
                ));
            }
            if messages == 0 && context.accounts.find(&name).is_none() {
                text.push_str("; nobody is registered under this name");
            }
            let remains = scrub(call, &mut text);
            for copy in removed {
                text.push_str(&format!("; {} was removed", copy.display()));
            }
            with(text, json!({"messages": messages, "unreadable": unreadable, "remains": remains}))
        }
        Some(Err(error)) => unstored(&error),
        None => no("the server is stopping; the erasure continues at its next start"),
    }
}

/// Runs a job on a channel that has members or stored messages. The tag of a channel with a PIN may
/// be abbreviated, as in lists. A name without a tag means only the channel without a PIN, because
/// an erasure cannot be undone.
fn with_channel(call: &Call, text: &str, job: fn(&Call, &ChannelName) -> Reply) -> Reply {
    let Some(stored) = call.context.ledger.ask(|ledger| ledger.conversations()) else {
        return no("the server is stopping");
    };
    let stored = stored.into_iter().filter_map(|conversation| match conversation {
        Conversation::Channel(channel) => Some(channel),
        Conversation::Private(..) => None,
    });
    let here = call.context.hub.channels().into_iter().map(|(channel, _)| channel);
    let named = stored.chain(here).filter(|channel| channel.is_meant_by(text));
    let named: BTreeSet<ChannelName> = named.collect();
    let is_tagged = text.split_once('~').is_some_and(|(_, tag)| !tag.is_empty());
    let meant = |channel: &&ChannelName| is_tagged || !channel.has_pin();
    let meant: Vec<&ChannelName> = named.iter().filter(meant).collect();
    match meant.as_slice() {
        [] if named.is_empty() => {
            let error = format!("there is no channel {}", clean::line(text));
            failed(&error, "pychat ctl channels lists the channels that have members or messages")
        }
        [] => {
            let (name, others) = (clean::line(text), listed(named.iter()));
            let error =
                format!("there is no channel {name} without a PIN, only with one: {others}");
            failed(&error, "add the tag to name a channel with a PIN")
        }
        [name] => job(call, name),
        several => {
            let others = listed(several.iter().copied());
            let error = format!("several channels have this name: {others}");
            failed(&error, "write more letters of the tag, or ~open for the channel without a PIN")
        }
    }
}

fn listed<'a>(channels: impl Iterator<Item = &'a ChannelName>) -> String {
    channels.take(NAMED_MAX).map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Erases the messages, files and topic of a channel.
fn erase_messages(call: &Call, name: &ChannelName) -> Reply {
    if !call.is_confirmed {
        let what = "all its messages and files, and its topic";
        return unconfirmed(format!("{name} would be erased for everybody: {what}"));
    }
    let context = call.context;
    let removed = match remove_copies(call) {
        Ok(removed) => removed,
        Err(problem) => return problem,
    };
    // With the first letters of its tag: several channels may have the same name.
    let shown = name.to_string();
    let notice = format!("{} has erased the messages before this one", call.actor.title());
    // From now on nobody can read the messages, also after a failure.
    let on_begun = || context.records.record(&Decision { target: &shown, ..call.done() });
    match context.ledger.erase_channel(name, &notice, on_begun) {
        Some(Ok(())) => {
            let mut text = format!("the messages of {name} were erased");
            let remains = scrub(call, &mut text);
            for copy in removed {
                text.push_str(&format!("; {} was removed", copy.display()));
            }
            with(text, json!({"channel": name, "remains": remains}))
        }
        Some(Err(error)) => unstored(&error),
        None => no("the server is stopping; the erasure continues at its next start"),
    }
}

/// Erases the topic of a channel.
fn erase_topic(call: &Call, name: &ChannelName) -> Reply {
    if !call.context.hub.forget_topic(name) {
        return no(&format!("{name} has no topic"));
    }
    let shown = name.to_string();
    let reason = Some("topic");
    call.context.records.record(&Decision { target: &shown, reason, ..call.done() });
    let mut text = format!("the topic of {name} was erased");
    let remains = scrub(call, &mut text);
    with(text, json!({"channel": name, "remains": remains}))
}

/// Removes copies of former ledgers, which contain the same texts. This runs first, so that no copy
/// remains if the erasure is interrupted.
fn remove_copies(call: &Call) -> Result<Vec<PathBuf>, Reply> {
    jobs(&call.context.home.ledger_file())
        .remove_copies(Duration::ZERO)
        .map_err(|error| no(&format!("a copy of a former ledger cannot be removed: {error}")))
}

/// Overwrites the erased texts. Returns whether some of them remain, and adds this to the answer.
fn scrub(call: &Call, text: &mut String) -> bool {
    let context = call.context;
    let tidied = context.ledger.tidy(context.clock.time_ms(), READ_TIME);
    let remains = !matches!(tidied, Some(Ok(true)));
    if remains {
        text.push_str(REMAINS);
    }
    remains
}
