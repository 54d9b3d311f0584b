//! A slash command with typed arguments.

use std::fmt;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::chat::operator_commands::OperatorCommand;
use crate::chat::{Seq, TimeSpan, UserName};
use crate::client::transfer::{Place, TransferId};

/// A slash command with its arguments. A channel stays as typed, because its meaning depends on the
/// channels that the client is in.
#[derive(Clone, Debug, PartialEq)]
pub enum SlashCommand<'a> {
    Help(HelpOn<'a>),
    /// Channels, separated by commas.
    Join(&'a str),
    JoinWithPin {
        channel: &'a str,
        pin: Pin<'a>,
    },
    Create {
        channel: &'a str,
    },
    /// The open conversation.
    PartHere,
    /// Channels, separated by commas.
    Part(&'a str),
    Pm {
        to: UserName,
        text: &'a str,
    },
    Query(Whom<'a>),
    Reply(&'a str),
    Me(&'a str),
    Topic {
        /// The open one if none is named.
        channel: Option<&'a str>,
        text: Option<&'a str>,
    },
    List(Option<&'a str>),
    Channels,
    Whois(UserName),
    Fingerprint {
        name: UserName,
        confirms: bool,
    },
    History {
        messages: Option<usize>,
        span: Option<TimeSpan>,
    },
    Search(&'a str),
    Edit {
        /// The last own message if none is named.
        seq: Option<Seq>,
        text: &'a str,
    },
    Delete(Option<Seq>),
    Away(Option<&'a str>),
    Back,
    Ignore(Option<UserName>),
    Quiet,
    Retry,
    /// Unsent messages, or a transfer.
    Cancel(Option<TransferId>),
    Send {
        /// Metadata of pictures stays.
        keeps: bool,
        path: PathBuf,
        /// The open conversation if none is named.
        to: Option<Whom<'a>>,
        caption: Option<&'a str>,
    },
    /// The files of the open conversation, or of another one.
    Files(Option<Whom<'a>>),
    Get {
        seq: Seq,
        place: Place,
    },
    /// Fetch a file and hand it to the desktop, or open an address.
    Open(ToOpen),
    /// Write the open conversation to a file.
    Log(LogWish),
    /// Show a picture.
    View(Seq),
    Transfers,
    Reconnect,
    Timestamp,
    /// For the full screen.
    Screen(ScreenCommand<'a>),
    Set(Setting),
    Clear,
    Nick,
    /// Sends a text to the open conversation, and exits.
    Exit(Option<&'a str>),
    /// An operator command; the server decides about it.
    Operate {
        command: &'static OperatorCommand,
        operands: &'a str,
    },
}

/// What `/open` opens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ToOpen {
    /// The file or the address of a message.
    Message(Seq),
    /// The last address of the conversation, or one so many addresses before it.
    Address { back: usize },
}

/// What `/log` does.
#[derive(Clone, Debug, PartialEq)]
pub enum LogWish {
    Show,
    To(PathBuf),
    End,
}

/// The subject of `/help`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HelpOn<'a> {
    /// The commands that people use most.
    Common,
    All,
    Keys,
    Command(&'a str),
}

/// A PIN as typed.
#[derive(Clone, Copy, PartialEq)]
pub struct Pin<'a>(pub &'a str);

impl fmt::Debug for Pin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin")
    }
}

/// The new target of typed text.
#[derive(Clone, Debug, PartialEq)]
pub enum Whom<'a> {
    Channel(&'a str),
    User(UserName),
}

/// Commands of the full screen only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScreenCommand<'a> {
    Notify(Option<Notify>),
    /// Lists, adds or removes a word that counts as a mention.
    Highlight {
        word: Option<&'a str>,
        /// In the open conversation only.
        here: bool,
    },
    Colors,
    Theme(&'a str),
}

/// The messages of a conversation that ring the bell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Notify {
    Off,
    Mentions,
    All,
}

/// The escape sequence by which the terminal shows a notification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Notifications {
    #[default]
    Off,
    Osc9,
    Osc777,
}

/// `/set`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Setting {
    /// Shows all settings.
    Show,
    /// Shows or changes the setting.
    Search(Option<bool>),
    Screen(ScreenSetting),
}

/// A setting of the full screen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScreenSetting {
    Align(bool),
    Bell(bool),
    Mouse(bool),
    Title(bool),
    Notifications(Notifications),
}
