//! What a person types after `/`: one table for parsing and for help.

/// One slash command.
pub struct Slash {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub operands: &'static str,
    pub does: &'static str,
}

const fn slash(
    name: &'static str,
    aliases: &'static [&'static str],
    operands: &'static str,
    does: &'static str,
) -> Slash {
    Slash { name, aliases, operands, does }
}

/// Every slash command, in the order of `/help`.
pub const SLASHES: &[Slash] = &[
    slash("help", &[], "[COMMAND]", "this list, or one command"),
    slash(
        "join",
        &[],
        "CHANNEL[,CHANNEL] or CHANNEL PIN",
        "enter a channel; it is made if nobody is in it",
    ),
    slash(
        "create",
        &[],
        "CHANNEL",
        "make a channel with a PIN, and show the line that lets others in",
    ),
    slash("part", &["leave"], "[CHANNEL]", "leave a channel"),
    slash("pm", &["msg", "dm"], "NAME TEXT", "a private message, to all devices of a person"),
    slash("query", &[], "NAME or CHANNEL", "what you type goes there from now on"),
    slash("reply", &[], "TEXT", "answer the last private message"),
    slash("me", &[], "ACTION", "say what you do"),
    slash("topic", &[], "[TEXT]", "show or set the channel's topic"),
    slash("list", &["names", "users"], "[CHANNEL]", "who is in a channel"),
    slash("channels", &[], "", "which channels there are"),
    slash("whois", &[], "NAME", "fingerprint, devices and idle time of a person"),
    slash("fingerprint", &[], "NAME [confirm]", "compare keys with a person; confirm new ones"),
    slash("history", &[], "[COUNT or 10m or 2d]", "older lines of this place"),
    slash(
        "search",
        &[],
        "TEXT",
        "lines that hold all these whole words; what you look for in a sealed place stays here",
    ),
    slash("edit", &[], "TEXT", "give your last line here another text"),
    slash("delete", &[], "[SEQ]", "delete your last line here, or the one of that number"),
    slash("away", &[], "[TEXT]", "say that you are away"),
    slash("back", &[], "", "say that you are back"),
    slash("ignore", &[], "[NAME]", "hide a person's lines, or show them again"),
    slash("quiet", &[], "", "hide or show who comes and goes"),
    slash("retry", &[], "", "send again what was refused"),
    slash("cancel", &[], "", "drop lines that were not sent"),
    slash("reconnect", &[], "", "connect anew, or right now"),
    slash("timestamp", &[], "", "hide or show the time before lines"),
    slash("notify", &[], "[off or mentions or all]", "which lines of this place ring the bell"),
    slash("colors", &[], "", "names in their colours, or not"),
    slash("theme", &[], "[dark or light or 16 or mono]", "how the full screen looks"),
    slash(
        "set",
        &[],
        "[KEY VALUE]",
        "search on or off: sealed lines are kept here for it; bell, mouse, notifications of the screen",
    ),
    slash("clear", &[], "", "empty the screen"),
    slash("nick", &[], "", "names are bound to keys and cannot be changed"),
    slash("exit", &["quit", "q"], "", "leave the chat"),
];

/// What can be set, and what it can be.
pub const SETTINGS: &[(&str, &[&str])] = &[
    ("search", &["on", "off"]),
    ("bell", &["on", "off"]),
    ("mouse", &["on", "off"]),
    ("notifications", &["off", "osc9", "osc777"]),
];

/// The operators' own words: they go to the server as they are, which knows who may say them.
pub const OPERATOR_SLASHES: &[Slash] = &[
    slash("kick", &[], "WHOM [REASON]", "end all sessions of a person, a key or an address"),
    slash("ban", &[], "WHOM [TIME] [REASON]", "shut out a person, a key or an address range"),
    slash("unban", &[], "WHOM", "let them in again"),
    slash("banlist", &[], "", "who is banned and muted, by whom, why and for how long"),
    slash("mute", &[], "WHOM [TIME] [REASON]", "take the word from somebody"),
    slash("unmute", &[], "WHOM", "give it back"),
    slash("op", &[], "NAME", "make a member a moderator"),
    slash("deop", &[], "NAME", "make a moderator a member"),
    slash("announce", &[], "TEXT", "a word to everybody"),
    slash("motd", &[], "[TEXT or -]", "what everybody reads who enters; - for nothing"),
    slash("reload", &[], "", "read the configuration and users/ again"),
    slash(
        "shutdown",
        &[],
        "[DELAY or -]",
        "stop the server, now or in 10s, 5m, 1h; - takes it back",
    ),
];

/// What a typed line is.
#[derive(Debug, PartialEq)]
pub enum Typed<'a> {
    /// A text to send, with a leading `//` already made one slash.
    Text(&'a str),
    /// A command's name (as in the table) and what follows it.
    Command(&'static str, &'a str),
    /// An operator's word and what follows it, for the server to decide about.
    Operate(Vec<String>),
    /// No such command: shown to the person who typed it, never sent.
    Unknown(String),
}

/// Reads a line: `/` in column one is a command, `//` a text that begins with a slash, and a space
/// before it makes it a text.
pub fn read(line: &str) -> Typed<'_> {
    let Some(rest) = line.strip_prefix('/') else { return Typed::Text(line) };
    if rest.starts_with('/') {
        return Typed::Text(rest);
    }
    let (word, operands) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let word = word.to_lowercase();
    if OPERATOR_SLASHES.iter().any(|slash| slash.name == word) {
        let operands = operands.split_whitespace().map(str::to_owned);
        return Typed::Operate([word].into_iter().chain(operands).collect());
    }
    match find(&word) {
        Some(slash) => Typed::Command(slash.name, operands.trim()),
        None => Typed::Unknown(unknown(&word)),
    }
}

/// The channel and the PIN of `/join CHANNEL PIN`.
pub fn with_pin(operands: &str) -> Option<(&str, &str)> {
    let (name, pin) = operands.split_once(char::is_whitespace)?;
    let pin = pin.trim();
    (!pin.is_empty() && !name.ends_with(',')).then_some((name, pin))
}

/// Whether a typed line may hold a PIN: nothing remembers it. `/create` takes none, and who gives it
/// one has thought of it.
pub fn is_secret(line: &str) -> bool {
    match read(line) {
        Typed::Command("join", operands) => with_pin(operands).is_some(),
        Typed::Command("create", operands) => operands.contains(char::is_whitespace),
        _ => is_slip(line),
    }
}

/// Whether a typed line is a command that there is not. It is there again to be mended, and nowhere
/// else: what stands behind `/jion` may be a PIN.
pub fn is_slip(line: &str) -> bool {
    // Several lines are a text, whatever they begin with.
    !line.contains('\n') && matches!(read(line), Typed::Unknown(_))
}

/// Whether what is typed goes to the conversation that it is typed in: a text, or what stands behind a
/// command that says, changes or looks for something there.
pub fn says_here(line: &str) -> bool {
    match read(line) {
        Typed::Text(_) => true,
        Typed::Command("me" | "topic" | "edit" | "search", operands) => !operands.is_empty(),
        // Several lines are a text, whatever they begin with.
        _ => line.contains('\n'),
    }
}

/// Every slash command, the operators' behind the others.
pub fn all() -> impl Iterator<Item = &'static Slash> {
    SLASHES.iter().chain(OPERATOR_SLASHES)
}

/// The words that a command takes, where it takes only certain ones.
pub fn wishes(slash: &'static Slash) -> Vec<&'static str> {
    let Some(wishes) = slash.operands.strip_prefix('[').and_then(|one| one.strip_suffix(']'))
    else {
        return Vec::new();
    };
    let wishes: Vec<_> = wishes.split(" or ").collect();
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let certain = wishes.len() > 1 && wishes.iter().all(|wish| wish.chars().all(word));
    if certain { wishes } else { Vec::new() }
}

pub fn find(word: &str) -> Option<&'static Slash> {
    all().find(|slash| slash.name == word || slash.aliases.contains(&word))
}

/// The text of `/help` and of `/help COMMAND`.
pub fn help(word: &str) -> String {
    let line = |slash: &Slash| {
        let call = format!("/{} {}", slash.name, slash.operands);
        let others: Vec<_> = slash.aliases.iter().map(|alias| format!("/{alias}")).collect();
        let others = match others.as_slice() {
            [] => String::new(),
            others => format!(" (also {})", others.join(", ")),
        };
        format!("{call:<26} {}{others}", slash.does)
    };
    match word.trim_start_matches('/').to_lowercase().as_str() {
        "" => SLASHES.iter().map(line).collect::<Vec<_>>().join("\n"),
        "all" => all().map(line).collect::<Vec<_>>().join("\n"),
        word => find(word).map_or_else(|| unknown(word), line),
    }
}

fn unknown(word: &str) -> String {
    if matches!(word, "say" | "stats" | "status" | "health" | "retention" | "erase") {
        return format!("/{word} is for the operator, at the server's console or by pychat ctl");
    }
    let names =
        all().flat_map(|slash| [slash.name].into_iter().chain(slash.aliases.iter().copied()));
    let near = names.map(|name| (strsim::damerau_levenshtein(name, word), name)).min();
    match near.filter(|(distance, name)| *distance <= 2 && *distance < name.len()) {
        Some((_, name)) => format!("there is no /{word}: did you mean /{name}? (// sends a slash)"),
        None => format!("there is no /{word}: /help lists what there is (// sends a slash)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rules_on_slashes() {
        assert_eq!(read("hello /join"), Typed::Text("hello /join"));
        assert_eq!(read("//join"), Typed::Text("/join"));
        assert_eq!(read(" /join"), Typed::Text(" /join"));
        assert_eq!(read("/JOIN  #tea "), Typed::Command("join", "#tea"));
        assert_eq!(read("/q"), Typed::Command("exit", ""));
        assert!(matches!(read("/jion #tea"), Typed::Unknown(text) if text.contains("/join")));
        assert!(matches!(read("/"), Typed::Unknown(_)));
        let words = ["ban", "bob", "1h"].map(str::to_owned).to_vec();
        assert_eq!(read("/Ban  bob 1h"), Typed::Operate(words));
        assert!(matches!(read("/stats"), Typed::Unknown(text) if text.contains("operator")));
    }

    #[test]
    fn what_may_be_a_pin_is_not_remembered() {
        for line in ["/join tea 1234", "/JOIN tea,work 1234", "/create tea 1234", "/jion tea 1234"]
        {
            assert!(is_secret(line), "{line}");
        }
        for line in ["/join tea", "/join tea, work", "/create tea", "/pm bob 1234", "/kick bob x"] {
            assert!(!is_secret(line), "{line}");
        }
        assert!(is_slip("/jion tea 1234") && !is_slip("/join tea 1234") && !is_slip("//jion"));
        assert!(!is_slip("/etc/hosts has\ntwo lines"));
    }

    #[test]
    fn what_goes_to_the_conversation_is_told_from_what_does_not() {
        for line in
            ["hi", "//hi", " /join", "/me waves", "/topic x", "/edit x", "/search x", "/x\ny"]
        {
            assert!(says_here(line), "{line}");
        }
        for line in ["/join tea", "/topic", "/pm bob x", "/reply x", "/away x", "/jion x"] {
            assert!(!says_here(line), "{line}");
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = all().map(|slash| slash.name).collect();
        names.extend(all().flat_map(|slash| slash.aliases));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    proptest! {
        #[test]
        fn what_begins_with_one_slash_is_never_a_text(rest in "[^/].*") {
            let line = format!("/{rest}");
            prop_assert!(!matches!(read(&line), Typed::Text(_)));
        }
    }
}
