//! The table of operator commands, from which client and server parse, complete, authorise and
//! document them. The handlers are in `server/operator/`.

use super::rights::{self, Act, Role, State};

/// The syntax and the description of a command.
#[derive(Debug, PartialEq, Eq)]
pub struct Usage {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    /// The arguments: `NAME [TEXT]`.
    pub operands: &'static str,
    pub does: &'static str,
    /// An example call, without the slash.
    pub example: &'static str,
}

/// One operator command.
#[derive(Debug, PartialEq, Eq)]
pub struct OperatorCommand {
    pub name: Name,
    pub usage: Usage,
    /// The right that the command needs.
    pub act: Act,
}

macro_rules! operator_commands {
    ($($name:ident $word:literal $aliases:expr, $act:ident, $operands:literal, $does:literal,
       $example:literal;)+) => {
        /// The name of an operator command.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Name {
            $($name,)+
        }

        /// Every operator command, in the order of the help.
        pub const OPERATOR_COMMANDS: &[OperatorCommand] = &[$(OperatorCommand {
            name: Name::$name,
            usage: Usage {
                name: $word,
                aliases: $aliases,
                operands: $operands,
                does: $does,
                example: $example,
            },
            act: Act::$act,
        },)+];
    };
}

operator_commands! {
    Channels "channels" &[], Inspect, "", "list channels and the people in them", "channels";
    Stats "stats" &[], Inspect, "", "show all counters since the start", "stats";
    Status "status" &[], Inspect, "", "show the most important counters in one line", "status";
    Health "health" &[], Inspect, "", "check that each part of the server works", "health";
    Files "files" &[], Inspect, "", "show how much disk space files take", "files";
    Users "users" &[], Inspect, "", "list registered users and their connected devices", "users";
    Waiting "waiting" &[], Inspect, "", "list keys that wait to be registered", "waiting";
    Kick "kick" &[], Kick, "WHOM [REASON]", "end all sessions of a person, a key or an address",
        "kick bob flooding";
    Ban "ban" &[], Ban, "WHOM [TIME] [REASON]", "refuse a person, a key or an address range",
        "ban 192.0.2.0/24 1d scanning";
    Unban "unban" &[], Unban, "WHOM", "lift a ban, also by its number in banlist", "unban bob";
    Banlist "banlist" &[], Banlist, "", "list bans and mutes: by whom, why, until when", "banlist";
    Mute "mute" &[], Mute, "WHOM [TIME] [REASON]", "refuse messages of a person, a key or an address",
        "mute bob 10m flooding";
    Unmute "unmute" &[], Unmute, "WHOM", "lift a mute, also by its number in banlist", "unmute bob";
    Op "op" &[], Op, "NAME", "make a member a moderator", "op alice";
    Deop "deop" &[], Deop, "NAME", "make a moderator a member", "deop alice";
    Announce "announce" &[], Announce, "TEXT", "send a notice to everybody, with your name",
        "announce restart at six";
    Say "say" &[], Administer, "TEXT", "send a notice to everybody", "say restart at six";
    Motd "motd" &[], Motd, "[TEXT or -]", "show or set the message of the day; - removes it",
        "motd welcome";
    Retention "retention" &[], Administer, "[dry-run, now or trust-clock]",
        "show how long messages are stored; count or remove old ones; trust the clock after a jump",
        "retention dry-run";
    Erase "erase" &[], Administer, "NAME or #CHANNEL [topic]",
        "erase all texts of a person, all messages of a channel, or its topic", "erase bob";
    Rename "rename" &[], Administer, "NAME NEW-NAME",
        "give a user another name; the keys, conversations and rights stay", "rename bob robert";
    Reload "reload" &[], Reload, "", "read config.json and users/ again", "reload";
    Help "help" &[], Operate, "", "list the commands that you may use", "help";
    Exit "exit" &["quit"], Administer, "", "leave the console; the server continues", "exit";
    Shutdown "shutdown" &[], Shutdown, "[DELAY or -]",
        "stop the server, now or in 10s, 5m, 1h; - cancels it", "shutdown 10m";
}

impl Usage {
    pub fn is_called(&self, word: &str) -> bool {
        self.name == word || self.aliases.contains(&word)
    }

    /// `kick WHOM [REASON]`.
    pub fn call(&self) -> String {
        format!("{} {}", self.name, self.operands).trim_end().to_owned()
    }
}

impl OperatorCommand {
    /// Whether the command is also a slash command in the chat. The others are for the console and
    /// for `pychat ctl` only.
    pub fn is_slash(&self) -> bool {
        !matches!(self.act, Act::Administer | Act::Inspect | Act::Operate)
    }

    /// Returns whether the command may ask for confirmation before it runs.
    pub fn may_ask(&self) -> bool {
        matches!(self.name, Name::Ban | Name::Mute | Name::Erase)
    }

    /// Whether the command may take minutes with years of history.
    pub fn is_slow(&self) -> bool {
        matches!(self.name, Name::Retention | Name::Erase | Name::Rename)
    }
}

/// Returns the command with a name or an alias, in lower case.
pub fn find(word: &str) -> Option<&'static OperatorCommand> {
    OPERATOR_COMMANDS.iter().find(|command| command.usage.is_called(word))
}

/// Renders the table of docs/operating.md.
pub fn table() -> String {
    let mut text = String::from("| command | does | least role | example |\n|---|---|---|---|\n");
    for command in OPERATOR_COMMANDS {
        let slash = if command.is_slash() { "/" } else { "" };
        let names: Vec<_> = [command.usage.call()]
            .into_iter()
            .chain(command.usage.aliases.iter().map(|alias| (*alias).to_owned()))
            .map(|name| format!("`{slash}{name}`"))
            .collect();
        let may = |role: &Role| rights::may(*role, State::Free, command.act);
        let roles = [Role::Member, Role::Moderator, Role::Owner, Role::Console];
        let least = roles.iter().find(|role| may(role)).expect("the console may do everything");
        let (names, does, example) = (names.join(", "), command.usage.does, command.usage.example);
        text.push_str(&format!("| {names} | {does} | {least} | `{slash}{example}` |\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases_are_unique_and_found() {
        let mut seen = std::collections::BTreeSet::new();
        for command in OPERATOR_COMMANDS {
            for name in [&[command.usage.name], command.usage.aliases].concat() {
                assert!(seen.insert(name), "{name}");
                assert_eq!(find(name), Some(command));
            }
        }
        assert_eq!(find("nothing"), None);
    }

    #[test]
    fn each_example_calls_its_own_command() {
        for command in OPERATOR_COMMANDS {
            let mut words = command.usage.example.split(' ');
            assert_eq!(words.next(), Some(command.usage.name));
            let takes_none = command.usage.operands.is_empty();
            assert_eq!(words.next().is_none(), takes_none, "{}", command.usage.name);
        }
    }
}
