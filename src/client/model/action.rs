//! What is to be done.

use super::super::ignore_list::IgnoreList;
use super::output::Output;
use crate::chat::{
    ChannelName, Command, MsgId, NewMessage, Position, SecretText, Target, UserName,
};

/// What is to be done.
#[derive(Debug, PartialEq)]
pub enum Action {
    Output(Output),
    Send(Command),
    /// A line of one's own goes on disk until it is stored ...
    Keep(NewMessage),
    /// ... or dropped.
    Drop(MsgId),
    /// It was refused, and waits on disk for the person ...
    Refused(MsgId),
    /// ... who wants it sent again.
    Retry(MsgId),
    /// What is hidden, for the next run too.
    Ignore(IgnoreList),
    /// Up to where this client has each conversation.
    Remember(Vec<Position>),
    /// `Input::Waited` in this many milliseconds, and not later than an earlier one.
    Wait(u64),
    /// `Input::Derived` of a channel's name and PIN, which takes a moment.
    Derive {
        name: ChannelName,
        pin: SecretText,
        made: bool,
    },
    /// Whose keys are whose: told, or confirmed.
    LookUp {
        name: UserName,
        confirms: bool,
    },
    /// Whether opened lines of sealed conversations are kept for a search: told, or set.
    SetSearch(Option<bool>),
    /// A channel's PIN is no longer wanted.
    Forget(ChannelName),
    /// These lines were typed while a PIN was worked out: it is their turn.
    Again(Vec<Ahead>),
    /// Dial after this many milliseconds.
    Dial(u64),
    /// Ask for a sign that all that was sent before has been answered.
    Echo,
    /// Close the connection; the person meant it.
    Close,
    /// End the connection as if the network had.
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

pub(super) fn notice(text: String) -> Action {
    Action::Output(Output::Notice(text))
}

pub(super) fn error(text: String) -> Action {
    Action::Output(Output::Error(text))
}
