//! The operators' commands, for the chat, the console and `pychat ctl`. The table of the commands
//! is `chat/operator_commands.rs`; their handlers are in this folder.

mod call;
pub mod console;
pub mod ctl;
mod erase;
mod files;
pub mod hangup;
pub mod moderation;
mod notices;
mod ranges;
mod reload;
mod rename;
mod reply;
mod retention;
mod shutdown;
mod status;
mod waiting;

use std::fmt::Write;
use std::time::Duration;

use super::context::Context;
use crate::chat::Refusal;
use crate::chat::operator_commands::{self, Name, OPERATOR_COMMANDS, OperatorCommand};
use crate::chat::rights::{self, Role, State, who_may};
use crate::clean;
use crate::home::sanctions::Kind;
use crate::nearest::nearest;
pub use call::Actor;
use call::Call;
use reply::{CONFIRMED, Reply, failed, misused, no, yes};
pub use status::threads_answer;

/// Time for which a command waits until its decision is in the audit trail.
pub const RECORD_PATIENCE: Duration = Duration::from_secs(1);

/// Characters of a mistyped command that are compared with the commands' names.
const WORD_CHARS_MAX: usize = 32;

/// Runs a command if `actor` has the right to it.
pub fn run_command(context: &Context, actor: &Actor, words: &[String]) -> Reply {
    let operands = words.get(1..).unwrap_or_default();
    let Some(command) = find(words) else { return unknown(&word_of(words)) };
    if !rights::may(actor.role, actor.state, command.act) {
        let role = who_may(command.act.least());
        return match actor.state {
            State::Reading => {
                let name = command.usage.name;
                let error = format!("{name}: this socket is read-only; {role}");
                failed(
                    &error,
                    "pychat ctl without --socket works for the account of the server and for root only",
                )
            }
            _ => no(&Refusal::NotAllowed(command.act, actor.role).to_string()),
        };
    }
    let before = context.records.added();
    let confirmed = operands.split_last().filter(|_| command.may_ask());
    let confirmed = confirmed.filter(|(last, _)| *last == CONFIRMED);
    let (operands, is_confirmed) =
        (confirmed.map_or(operands, |(_, rest)| rest), confirmed.is_some());
    let mut reply = run(&Call { context, actor, command, operands, is_confirmed });
    if context.records.added() > before {
        let waiting = context.records.settle(RECORD_PATIENCE);
        if waiting > 0 {
            let _ = write!(reply.text, "; {waiting} decisions are not in the audit trail yet");
        }
    }
    reply
}

/// Returns the command that the first word names.
pub fn find(words: &[String]) -> Option<&'static OperatorCommand> {
    operator_commands::find(&word_of(words))
}

/// Returns the first word in lower case, without its slash; `help` without a word.
fn word_of(words: &[String]) -> String {
    let word = words.first().map_or("", |word| word.trim_start_matches('/'));
    let word = word.chars().take(WORD_CHARS_MAX).collect::<String>().to_lowercase();
    if word.is_empty() { "help".to_owned() } else { word }
}

/// Each command's handler.
fn run(call: &Call) -> Reply {
    match call.command.name {
        Name::Channels => status::channels(call.context),
        Name::Stats => status::stats(call.context),
        Name::Status => status::brief(call.context),
        Name::Health => status::health(call.context),
        Name::Files => files::files(call.context),
        Name::Users => status::users(call.context),
        Name::Waiting => waiting::waiting(call.context),
        Name::Kick => moderation::kick(call),
        Name::Ban => moderation::sanction(call, Kind::Ban),
        Name::Unban => moderation::lift(call, Kind::Ban),
        Name::Banlist => moderation::list(call.context),
        Name::Mute => moderation::sanction(call, Kind::Mute),
        Name::Unmute => moderation::lift(call, Kind::Mute),
        Name::Op => moderation::give_role(call, Role::Moderator),
        Name::Deop => moderation::give_role(call, Role::Member),
        Name::Announce | Name::Say => notices::say(call),
        Name::Motd => notices::motd(call),
        Name::Retention => retention::retention(call),
        Name::Erase => erase::erase(call),
        Name::Rename => rename::rename(call),
        Name::Reload => reload::reload(call),
        Name::Help => yes(&list("/", call.actor)),
        Name::Exit => yes("the server goes on; /shutdown stops it"),
        Name::Shutdown => shutdown::shutdown(call),
    }
}

/// Returns the commands of the server's own account, for `pychat ctl --help`.
pub fn help() -> String {
    list("  ", &Actor::own("ctl"))
}

fn list(before: &str, actor: &Actor) -> String {
    let own = OPERATOR_COMMANDS.iter();
    let own = own.filter(|command| rights::may(actor.role, actor.state, command.act));
    let rows = own.map(|command| {
        let call = format!("{before}{}", command.usage.call());
        format!("{call:<28} {}", command.usage.does)
    });
    rows.collect::<Vec<_>>().join("\n")
}

fn unknown(word: &str) -> Reply {
    let word = clean::line(word);
    let names = OPERATOR_COMMANDS.iter().map(|command| command.usage.name);
    match nearest(&word, names).filter(|(distance, _)| *distance <= 2) {
        Some((_, known)) => misused(&format!("there is no /{word}: did you mean /{known}?")),
        None => misused(&format!("there is no /{word}: /help lists what there is")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_command_gets_the_nearest() {
        assert!(unknown("chanels").text.contains("/channels"));
        assert!(unknown("xyzzy").text.contains("/help"));
    }

    #[test]
    fn the_help_lists_every_command() {
        let help = help();
        for command in OPERATOR_COMMANDS {
            assert!(help.contains(&format!("  {} ", command.usage.call())), "{help}");
        }
    }
}
