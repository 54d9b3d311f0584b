//! The table of slash commands, and the parser of a typed line.

mod arguments;
mod command;
pub mod path;

use crate::chat::operator_commands::{self, OPERATOR_COMMANDS, OperatorCommand, Usage};
pub use command::{
    HelpOn, LogWish, Notifications, Notify, ScreenCommand, ScreenSetting, Setting, SlashCommand,
    ToOpen, Whom,
};

/// A slash command of the client itself.
pub struct Slash {
    pub usage: Usage,
    /// Parses the trimmed text after its name.
    read: for<'a> fn(&'a str) -> Result<SlashCommand<'a>, Misuse>,
}

/// A command with wrong arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Misuse {
    /// For the user: the error, and the usage.
    pub problem: String,
    /// The line may contain a PIN.
    holds_pin: bool,
}

impl From<String> for Misuse {
    fn from(problem: String) -> Misuse {
        Misuse { problem, holds_pin: false }
    }
}

const fn usage(
    name: &'static str,
    aliases: &'static [&'static str],
    operands: &'static str,
    does: &'static str,
    example: &'static str,
) -> Usage {
    Usage { name, aliases, operands, does, example }
}

/// Every slash command of the client, in the order of `/help`.
pub const SLASHES: &[Slash] = &[
    Slash {
        usage: usage(
            "help",
            &[],
            "[COMMAND or all or keys]",
            "list the commands, or explain one",
            "help join",
        ),
        read: arguments::help,
    },
    Slash {
        usage: usage(
            "join",
            &[],
            "CHANNEL[,CHANNEL] or CHANNEL PIN",
            "enter a channel; it is created if it does not exist",
            "join #tea",
        ),
        read: arguments::join,
    },
    Slash {
        usage: usage(
            "create",
            &[],
            "CHANNEL",
            "create a channel with a PIN; show the command that lets others in",
            "create #tea",
        ),
        read: arguments::create,
    },
    Slash {
        usage: usage("part", &["leave"], "[CHANNEL]", "leave a channel", "part #tea"),
        read: arguments::part,
    },
    Slash {
        usage: usage(
            "pm",
            &["msg", "dm"],
            "NAME TEXT",
            "send a private message to all devices of a person",
            "pm bob hello",
        ),
        read: arguments::pm,
    },
    Slash {
        usage: usage(
            "query",
            &[],
            "NAME or CHANNEL",
            "choose where typed text goes from now on",
            "query bob",
        ),
        read: arguments::query,
    },
    Slash {
        usage: usage("reply", &[], "TEXT", "answer the last private message", "reply hello"),
        read: |text| Ok(SlashCommand::Reply(text)),
    },
    Slash {
        usage: usage("me", &[], "ACTION", "send an action", "me waves"),
        read: |text| Ok(SlashCommand::Me(text)),
    },
    Slash {
        usage: usage(
            "topic",
            &[],
            "[#CHANNEL] [TEXT]",
            "show or set the topic of a channel: of this one, where none is named",
            "topic green tea",
        ),
        read: arguments::topic,
    },
    Slash {
        usage: usage(
            "list",
            &["names", "users"],
            "[CHANNEL]",
            "list the members of a channel",
            "list #tea",
        ),
        read: |text| Ok(SlashCommand::List(arguments::some(text))),
    },
    Slash {
        usage: usage("channels", &[], "", "list the channels", "channels"),
        read: |_| Ok(SlashCommand::Channels),
    },
    Slash {
        usage: usage(
            "whois",
            &[],
            "NAME",
            "show fingerprint, devices and idle time of a person",
            "whois bob",
        ),
        read: arguments::whois,
    },
    Slash {
        usage: usage(
            "fingerprint",
            &[],
            "NAME [confirm]",
            "compare keys with a person; confirm new ones",
            "fingerprint bob",
        ),
        read: arguments::fingerprint,
    },
    Slash {
        usage: usage(
            "history",
            &[],
            "[COUNT or 10m or 2d]",
            "show older messages of this conversation",
            "history 50",
        ),
        read: arguments::history,
    },
    Slash {
        usage: usage(
            "search",
            &[],
            "TEXT",
            "find messages with all these words; a search in a sealed conversation stays on this computer",
            "search green tea",
        ),
        read: |text| Ok(SlashCommand::Search(text)),
    },
    Slash {
        usage: usage(
            "edit",
            &[],
            "[SEQ --] TEXT",
            "change the text of your last message here; or of the one with that number",
            "edit green tea",
        ),
        read: arguments::edit,
    },
    Slash {
        usage: usage(
            "delete",
            &[],
            "[SEQ]",
            "delete your last message here; or the one with that number",
            "delete 17",
        ),
        read: arguments::delete,
    },
    Slash {
        usage: usage("away", &[], "[TEXT]", "show that you are away", "away lunch"),
        read: |text| Ok(SlashCommand::Away(arguments::some(text))),
    },
    Slash {
        usage: usage("back", &[], "", "show that you are back", "back"),
        read: |_| Ok(SlashCommand::Back),
    },
    Slash {
        usage: usage(
            "ignore",
            &[],
            "[NAME]",
            "hide a person's messages, or show them again",
            "ignore bob",
        ),
        read: arguments::ignore,
    },
    Slash {
        usage: usage("quiet", &[], "", "hide or show joins and parts", "quiet"),
        read: |_| Ok(SlashCommand::Quiet),
    },
    Slash {
        usage: usage("retry", &[], "", "send again what was refused", "retry"),
        read: |_| Ok(SlashCommand::Retry),
    },
    Slash {
        usage: usage(
            "send",
            &[],
            "[keep] PATH [#CHANNEL or @NAME] [-- CAPTION]",
            "send a file; the metadata of pictures is removed, unless you keep it",
            "send ./holiday.jpg @bob -- the sea",
        ),
        read: arguments::send,
    },
    Slash {
        usage: usage(
            "files",
            &[],
            "[CHANNEL or NAME]",
            "list the files of this conversation, and what yours take",
            "files #tea",
        ),
        read: arguments::files,
    },
    Slash {
        usage: usage(
            "get",
            &[],
            "NUMBER [PATH]",
            "fetch the file of the message with that number",
            "get 12",
        ),
        read: arguments::get,
    },
    Slash {
        usage: usage(
            "view",
            &[],
            "NUMBER",
            "show the picture of the message with that number",
            "view 12",
        ),
        read: arguments::view,
    },
    Slash {
        usage: usage(
            "open",
            &[],
            "[-COUNT or NUMBER]",
            "open the last address here, an earlier one, or the file or address of a message",
            "open 12",
        ),
        read: arguments::open,
    },
    Slash {
        usage: usage(
            "log",
            &[],
            "[PATH or off]",
            "write this conversation to a file from now on; or show the files, or stop",
            "log ~/tea.log",
        ),
        read: arguments::log,
    },
    Slash {
        usage: usage("transfers", &[], "", "list files on their way", "transfers"),
        read: |_| Ok(SlashCommand::Transfers),
    },
    Slash {
        usage: usage(
            "cancel",
            &[],
            "[TRANSFER]",
            "drop messages that were not sent, or end a transfer",
            "cancel f1",
        ),
        read: arguments::cancel,
    },
    Slash {
        usage: usage("reconnect", &[], "", "connect again, without waiting", "reconnect"),
        read: |_| Ok(SlashCommand::Reconnect),
    },
    Slash {
        usage: usage("timestamp", &[], "", "hide or show the time of messages", "timestamp"),
        read: |_| Ok(SlashCommand::Timestamp),
    },
    Slash {
        usage: usage(
            "notify",
            &[],
            "[off or mentions or all]",
            "choose which messages of this conversation ring the bell",
            "notify all",
        ),
        read: arguments::notify,
    },
    Slash {
        usage: usage(
            "highlight",
            &["hilight"],
            "[WORD [here]]",
            "let a word count as a mention, everywhere or here; the same again ends it",
            "highlight kettle here",
        ),
        read: arguments::highlight,
    },
    Slash {
        usage: usage("colors", &[], "", "show names in colours, or not", "colors"),
        read: |_| Ok(SlashCommand::Screen(ScreenCommand::Colors)),
    },
    Slash {
        usage: usage(
            "theme",
            &[],
            "[dark or light or 16 or mono]",
            "choose the colours of the full screen",
            "theme dark",
        ),
        read: |name| Ok(SlashCommand::Screen(ScreenCommand::Theme(name))),
    },
    Slash {
        usage: usage(
            "set",
            &[],
            "[KEY VALUE]",
            "change a setting: search keeps sealed messages on this disk; align, bell, mouse, title, \
             notifications",
            "set search off",
        ),
        read: arguments::set,
    },
    Slash {
        usage: usage("clear", &[], "", "empty the screen", "clear"),
        read: |_| Ok(SlashCommand::Clear),
    },
    Slash {
        usage: usage("nick", &[], "", "names are bound to keys and cannot be changed", "nick"),
        read: |_| Ok(SlashCommand::Nick),
    },
    Slash {
        usage: usage(
            "exit",
            &["quit", "q"],
            "[MESSAGE]",
            "exit; the message is sent to this conversation first",
            "exit good night",
        ),
        read: |text| Ok(SlashCommand::Exit(arguments::some(text))),
    },
];

/// Settings and their values.
pub const SETTINGS: &[(&str, &[&str])] = &[
    ("search", &["on", "off"]),
    ("align", &["on", "off"]),
    ("bell", &["on", "off"]),
    ("mouse", &["on", "off"]),
    ("title", &["on", "off"]),
    ("notifications", &["off", "osc9", "osc777"]),
];

/// The meaning of a typed line.
#[derive(Clone, Debug, PartialEq)]
pub enum Typed<'a> {
    /// A text to send, with a leading `//` already reduced to one slash.
    Text(&'a str),
    Command(SlashCommand<'a>),
    /// Wrong arguments: reported to the user, never sent.
    Misused(Misuse),
    /// An unknown command: reported to the user, never sent.
    Unknown(String),
}

/// Reads a line: `/` in column one is a command, `//` a text that begins with a slash, and a space
/// before it makes it a text. A user interface asks before it sends a text that was `mistyped`.
pub fn read(line: &str) -> Typed<'_> {
    let Some(rest) = line.strip_prefix('/') else { return Typed::Text(line) };
    if rest.starts_with('/') {
        return Typed::Text(rest);
    }
    let (word, operands) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let (word, operands) = (word.to_lowercase(), operands.trim());
    if let Some(command) = operator_slashes().find(|command| command.usage.is_called(&word)) {
        return Typed::Command(SlashCommand::Operate { command, operands });
    }
    match SLASHES.iter().find(|slash| slash.usage.is_called(&word)) {
        Some(slash) => (slash.read)(operands).map_or_else(Typed::Misused, Typed::Command),
        None => Typed::Unknown(unknown(&word)),
    }
}

/// Returns whether a typed line may contain a PIN, so that it is not stored in the history.
pub fn is_secret(line: &str) -> bool {
    match read(line) {
        Typed::Command(SlashCommand::JoinWithPin { .. }) => true,
        Typed::Misused(misuse) => misuse.holds_pin,
        _ => is_mistyped(line),
    }
}

/// Returns whether a typed line is a mistyped command. It is recalled once for correction and not
/// stored, because the word after `/jion` may be a PIN.
pub fn is_mistyped(line: &str) -> bool {
    // A text of several lines is never a command.
    !line.contains('\n') && matches!(read(line), Typed::Unknown(_))
}

/// Returns whether the text of a line goes to the current conversation: a message, or a command
/// that sends, changes or searches there.
pub fn says_here(line: &str) -> bool {
    match read(line) {
        Typed::Text(_) | Typed::Command(SlashCommand::Edit { .. }) => true,
        Typed::Command(SlashCommand::Exit(Some(_))) => true,
        Typed::Command(SlashCommand::Send { to: None, .. }) => true,
        Typed::Command(SlashCommand::Topic { channel: None, text }) if text.is_some() => true,
        Typed::Command(SlashCommand::Me(text) | SlashCommand::Search(text)) if !text.is_empty() => {
            true
        }
        // A text of several lines is never a command.
        _ => line.contains('\n'),
    }
}

/// The operator commands that can be typed in the chat.
fn operator_slashes() -> impl Iterator<Item = &'static OperatorCommand> {
    OPERATOR_COMMANDS.iter().filter(|command| command.is_slash())
}

/// Every slash command, those for operators last.
pub fn all() -> impl Iterator<Item = &'static Usage> {
    let own = SLASHES.iter().map(|slash| &slash.usage);
    own.chain(operator_slashes().map(|command| &command.usage))
}

/// The possible values of a command's argument, if they are fixed.
pub fn wishes(slash: &'static Usage) -> Vec<&'static str> {
    let Some(wishes) = slash.operands.strip_prefix('[').and_then(|one| one.strip_suffix(']'))
    else {
        return Vec::new();
    };
    let wishes: Vec<_> = wishes.split(" or ").collect();
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let certain = wishes.len() > 1 && wishes.iter().all(|wish| wish.chars().all(word));
    if certain { wishes } else { Vec::new() }
}

pub fn find(word: &str) -> Option<&'static Usage> {
    all().find(|usage| usage.is_called(word))
}

/// The commands of `/help`, those that people use most first.
const COMMON: [&str; 17] = [
    "join",
    "part",
    "create",
    "pm",
    "query",
    "list",
    "channels",
    "whois",
    "fingerprint",
    "history",
    "search",
    "edit",
    "delete",
    "send",
    "get",
    "topic",
    "exit",
];

/// The rows of `/help`: a screen of 24 rows shows them and what was typed. Each is an example of a
/// command, and the first thing that it does.
pub fn common() -> Vec<String> {
    let row = |usage: &Usage| {
        let does = usage.does.split([';', ':']).next().unwrap_or_default();
        format!("{:<25} {does}", format!("/{}", usage.example))
    };
    COMMON.iter().filter_map(|name| find(name)).map(row).collect()
}

/// The last line of `/help`: where further help is.
pub const FURTHER_HELP: &str =
    "/help all lists every command, /help keys the keys. /help join explains /join.";

/// The keys of the line editor.
const EDITOR_KEYS: &str = "Tab              complete a command or a path\n\
    Up, Down         the previous and the next typed line\n\
    Ctrl-R           search the typed lines\n\
    Ctrl-Z           suspend; fg resumes\n\
    Ctrl-C, Ctrl-D   exit\n\
    The full screen has more keys: pychat client without --plain.";

/// The text of `/help` and `/help COMMAND`; the latter has an example.
pub fn help(on: HelpOn) -> String {
    let line = |usage: &Usage| {
        let call = format!("/{} {}", usage.name, usage.operands);
        let others: Vec<_> = usage.aliases.iter().map(|alias| format!("/{alias}")).collect();
        let others = match others.as_slice() {
            [] => String::new(),
            others => format!(" (also {})", others.join(", ")),
        };
        format!("{call:<26} {}{others}", usage.does)
    };
    match on {
        HelpOn::Common => format!("{}\n{FURTHER_HELP}", common().join("\n")),
        HelpOn::All => all().map(line).collect::<Vec<_>>().join("\n"),
        HelpOn::Keys => EDITOR_KEYS.to_owned(),
        HelpOn::Command(word) => {
            let word = word.trim_start_matches('/').to_lowercase();
            let explain = |usage: &Usage| format!("{}\nexample: /{}", line(usage), usage.example);
            find(&word).map_or_else(|| unknown(&word), explain)
        }
    }
}

fn unknown(word: &str) -> String {
    if operator_commands::find(word).is_some() {
        return format!("/{word} is for the operator, at the server's console or with pychat ctl");
    }
    match nearest(word) {
        Some(name) => format!("there is no /{word}: did you mean /{name}? (// sends a slash)"),
        None => format!("there is no /{word}: /help lists the commands (// sends a slash)"),
    }
}

/// The name of a command that a word is nearly.
pub fn nearest(word: &str) -> Option<&'static str> {
    let names =
        all().flat_map(|usage| [usage.name].into_iter().chain(usage.aliases.iter().copied()));
    let near = crate::nearest::nearest(word, names);
    near.filter(|(distance, name)| *distance <= 2 && *distance < name.len()).map(|(_, name)| name)
}

#[cfg(test)]
#[path = "slash/tests.rs"]
mod tests;
