//! Actions that the model asks for.

use super::super::slash::LogWish;
use super::super::storage::ignore_list::IgnoreList;
use super::super::transfer::Work;
use super::output::{Origin, Output};
use crate::chat::{
    ChannelName, Code, Event, MsgId, NewMessage, Position, Request, SecretText, Target, UserName,
};
use crate::e2e::Choice;

/// An action of the runtime.
#[derive(Debug, PartialEq)]
pub enum Action {
    Output(Output),
    Send(Request),
    /// Record which message a change of a sealed conversation is about.
    Choose(Choice),
    /// Store an own message until the server has stored it ...
    Keep(NewMessage),
    /// ... or it was dropped.
    Drop(MsgId),
    /// Sync what was stored to the disk; `Input::OutboxSynced` follows.
    Sync,
    /// Record a refusal; the message waits on disk for the user.
    Refused(MsgId),
    /// Record that the user sends it again.
    Retry(MsgId),
    /// Store the ignore list.
    Ignore(IgnoreList),
    /// Store the positions of conversations.
    Remember(Vec<Position>),
    /// Send `Input::Waited` after this many milliseconds, or earlier if an earlier time is set.
    Wait(u64),
    /// Derive the key of a PIN on another thread; `Input::Derived` follows.
    Derive {
        name: ChannelName,
        pin: SecretText,
        made: bool,
    },
    /// Show or confirm the keys of a user.
    LookUp {
        name: UserName,
        confirms: bool,
    },
    /// Show or change whether messages of sealed conversations are stored for `/search`.
    SetSearch(Option<bool>),
    /// Delete the key of a PIN channel.
    Forget(ChannelName),
    /// Open an address with a program of the user, or show the command that would run.
    OpenAddress {
        address: String,
        confirmed: bool,
    },
    /// Start or stop writing a conversation to a file, or show the file.
    Log(Target, LogWish),
    /// Work for the engine of transfers.
    Transfer(Work),
    /// Replay the lines typed while a PIN was derived.
    Again(Vec<Ahead>),
    /// Connect after this many milliseconds.
    Dial(u64),
    /// Ask for an echo, which shows that all earlier requests were answered.
    Echo,
    /// Close the connection for good.
    Close,
    /// Cut the connection, as a network failure would.
    Cut,
    /// End the program with this exit code.
    Quit(u8),
}

/// A line that was typed ahead.
#[derive(Clone, Debug, PartialEq)]
pub struct Ahead {
    pub line: SecretText,
    pub within: Option<Target>,
}

pub fn notice(text: String) -> Action {
    Action::Output(Output::Notice(text))
}

pub fn error(text: String) -> Action {
    Action::Output(Output::Error(text))
}

/// Declines a request of the user or of a program, which finds the answer by its reference.
pub fn declined(code: Code, problem: String, reference: Option<String>) -> Action {
    if reference.is_none() {
        return error(problem);
    }
    let event = Event::Refused { code, hint: problem, id: None, retry_ms: None, reference };
    Action::Output(Output::Event(Origin::Client, event))
}
