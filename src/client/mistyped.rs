//! Detects texts that were probably meant as a command with a secret. Such a text is a command
//! after blanks, with another character instead of the slash, with a typing error, over several
//! rows, or after part of a row that was copied from the screen. The client sends it only after the
//! user has confirmed that it is a text.

use unicode_normalization::UnicodeNormalization;

use super::slash::{self, SlashCommand, Typed};
use crate::clean;
use crate::nearest::typing_errors;

/// Commands with a secret operand: a PIN or a private text.
const SECRET: [&str; 6] = ["join", "create", "pm", "msg", "dm", "reply"];

/// Names that such commands have in other programs, and a command that takes no text, each with
/// the command that was meant.
const ELSEWHERE: [(&str, &str); 13] = [
    ("j", "join"),
    ("m", "pm"),
    ("p", "pm"),
    ("w", "pm"),
    ("query", "pm"),
    ("tell", "pm"),
    ("whisper", "pm"),
    ("r", "reply"),
    ("auth", PASSWORD),
    ("identify", PASSWORD),
    ("login", PASSWORD),
    ("passwd", PASSWORD),
    ("password", PASSWORD),
];

/// Commands that log in to other programs, with a password as operand.
const PASSWORD: &str = "password";

/// Characters on keys near the slash, in several keyboard layouts.
const NEAR_SLASH: &str = ".,\\?-;:!&7|>'(*+@#";

/// Those of them with which everyday text begins too.
const EVERYDAY: &str = "(*+@#";

/// Up to this number of letters and digits before a slash count as a typing error.
const TYPOS_MAX: usize = 2;

/// Bound on characters before the slash: a time, a name and the marks of a copied row.
const BEFORE_MAX: usize = 80;

/// Rows over which a command, its channel and its PIN may be spread.
const ROWS_MAX: usize = 3;

/// Characters of a word that may be a PIN, unless it is a number.
const PIN_CHARS_MIN: usize = 4;

/// What counts as the PIN of `/join`.
#[derive(Clone, Copy)]
enum Pin {
    /// Any text, in the row of its command.
    Text,
    /// A word, in another row.
    Word,
    /// A word that is not an everyday one.
    Unusual,
}

/// A text that begins like a command with a secret.
struct Meant<'a> {
    name: &'static str,
    /// Typing errors in its name.
    errors: usize,
    has_blank: bool,
    operands: &'a str,
}

/// Returns the command with a secret that a text was probably meant as. The line that was entered
/// `before` it may be the first part of the command.
pub fn mistyped(before: &str, line: &str) -> Option<&'static str> {
    // Several lines are always a text.
    if !line.contains('\n') && !matches!(slash::read(line), Typed::Text(_)) {
        return None;
    }
    let rows: Vec<&str> = line.split('\n').filter(|row| !row.trim().is_empty()).collect();
    let spread = |count| rows.windows(count).find_map(|rows| command(&rows.join(" "), Pin::Word));
    let first = rows.first()?;
    rows.iter()
        .find_map(|row| command(row, Pin::Text))
        .or_else(|| (2..=ROWS_MAX).find_map(spread))
        .or_else(|| continued(before, first))
}

/// Returns whether a typed line may contain a secret, so that the history omits it.
pub fn is_secret(before: &str, line: &str) -> bool {
    slash::is_secret(line) || mistyped(before, line).is_some()
}

/// The question about a line that is not sent before it is confirmed: a `mistyped` text, or the
/// path of a file that was pasted or dropped.
pub fn question_of(before: &str, line: &str) -> Option<String> {
    let is_file = || slash::path::is_file(line);
    let file = || {
        let path = slash::path::quoted(line);
        format!(
            "not sent, it is the path of a file: /send {path} sends the file, Enter the path as text"
        )
    };
    mistyped(before, line).map(question).or_else(|| is_file().then(file))
}

/// The notice about a `mistyped` text, which is not sent yet.
pub fn question(command: &str) -> String {
    format!("not sent, it looks like /{command}: Enter sends it here as a text")
}

/// Returns the command that begins in a line that has no secret, and goes on in the next one.
fn continued(before: &str, row: &str) -> Option<&'static str> {
    if command(before, Pin::Text).is_some() {
        return None;
    }
    command(&format!("{before} {row}"), Pin::Unusual)
}

/// Returns the command with a secret that a row was probably meant as.
fn command(row: &str, pin: Pin) -> Option<&'static str> {
    // Full-width slashes, blanks of other widths, and invisible characters.
    let row: String = clean::line(&without_keys(row)).nfkc().collect();
    let row = row.replace(['\u{2044}', '\u{2215}', '\u{29f8}'], "/");
    let mut slashes = row.char_indices().take(BEFORE_MAX).filter(|(_, c)| *c == '/');
    let behind_slash = slashes.find_map(|(at, _)| {
        let behind = row[at..].trim_start_matches(|c| c != '7' && is_near_slash(c));
        let is_first = matches!(pin, Pin::Text) && !row[..at].contains(char::is_alphanumeric);
        let elsewhere = is_first.then(|| meant_elsewhere(behind)).flatten();
        let meant = elsewhere.or_else(|| is_mistyped(&row[..at]).then(|| meant(behind)).flatten());
        meant.filter(|it| it.has_secret(pin) && it.is_near())
    });
    if let Some(meant) = behind_slash {
        return Some(meant.name);
    }
    let begins = row.trim_start();
    let first = begins.chars().next().filter(|c| NEAR_SLASH.contains(*c));
    let behind = begins.trim_start_matches(|c| Some(c) == first);
    let meant = meant(behind.trim_start()).filter(|it| it.has_secret(pin))?;
    let is_sure = match first {
        Some('7') if meant.name == "pm" => false,
        Some(c) if EVERYDAY.contains(c) => false,
        Some(_) if begins.len() == behind.len() + 1 && !behind.starts_with(' ') => meant.is_exact(),
        Some(_) => false,
        None => meant.is_exact() && !is_sentence(begins) && meant.is_certain_exactly(),
    };
    // A list may begin with "- msg @bob about the tea".
    let has_mark = matches!(first, Some('-' | '*' | '+')) && behind.starts_with(' ');
    let is_item = has_mark && !meant.has_channel();
    (is_sure || !is_item && meant.is_certain()).then_some(meant.name)
}

/// Removes the escape sequences that a terminal sends for keys and around a paste. A line of
/// `--plain` contains them if another program has left bracketed paste on.
fn without_keys(row: &str) -> String {
    let mut parts = row.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let end = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        let mut after = end.chars();
        after.next();
        text + after.as_str()
    })
}

fn is_near_slash(c: char) -> bool {
    matches!(c, '/' | ' ') || NEAR_SLASH.contains(c)
}

/// Returns whether the text before a slash is a typing error or a copied row.
fn is_mistyped(before: &str) -> bool {
    let before = before.trim();
    before.chars().filter(|c| c.is_alphanumeric()).count() <= TYPOS_MAX
        || before.ends_with(['>', ':', '|', ']', '$'])
}

/// Returns whether a text begins as a sentence does, with one capital letter.
fn is_sentence(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(char::is_uppercase) && letters.next().is_some_and(char::is_lowercase)
}

/// Splits a text into its first word and the rest, without a sign between them.
fn first_word(text: &str) -> Option<(String, &str)> {
    let end = text.find(|c: char| !c.is_alphabetic())?;
    let (word, rest) = text.split_at(end);
    let behind_sign = rest.trim_start_matches([':', ',', ';', '.']);
    let has_blank = behind_sign.starts_with(char::is_whitespace);
    Some((word.to_lowercase(), if has_blank { behind_sign } else { rest }))
}

/// Reads a text behind a slash, which may be a command of another program.
fn meant_elsewhere(text: &str) -> Option<Meant<'_>> {
    let (word, operands) = first_word(text)?;
    let (_, name) = ELSEWHERE.into_iter().find(|(name, _)| *name == word)?;
    let has_blank = operands.starts_with(char::is_whitespace);
    has_blank.then(|| Meant { name, errors: 0, has_blank, operands: operands.trim() })
}

/// Reads a text without its slash: the name may be misspelt, and the blank after it missing.
fn meant(text: &str) -> Option<Meant<'_>> {
    let (word, operands) = first_word(text)?;
    let has_blank = operands.starts_with(char::is_whitespace);
    if !has_blank && !operands.starts_with(['#', '@']) {
        return None;
    }
    let known = slash::find(&word).map(|_| word.as_str());
    let near = known.or_else(|| slash::nearest(&word).filter(|_| word.len() > 1))?;
    let name = SECRET.into_iter().find(|name| *name == near)?;
    let errors = typing_errors(name, &word);
    Some(Meant { name, errors, has_blank, operands: operands.trim() })
}

impl Meant<'_> {
    fn is_exact(&self) -> bool {
        self.errors == 0 && self.has_blank
    }

    /// Excludes paths and units behind a slash, such as `/usr has two folders`.
    fn is_near(&self) -> bool {
        self.errors <= 1 || self.names_its_aim()
    }

    fn has_channel(&self) -> bool {
        matches!(self.name, "join" | "create")
    }

    fn has_secret(&self, pin: Pin) -> bool {
        let words = self.operands.split_whitespace().count();
        match self.name {
            "join" => {
                let line = format!("/join {}", self.operands);
                let joins = slash::read(&line);
                matches!(joins, Typed::Command(SlashCommand::JoinWithPin { .. })) && self.fits(pin)
            }
            "create" => words > 1 && self.fits(pin),
            "reply" | PASSWORD => words > 0,
            _ => words > 1,
        }
    }

    /// Returns whether what follows the channel is such a PIN.
    fn fits(&self, pin: Pin) -> bool {
        let mut words = self.operands.split_whitespace().skip(1);
        let (word, is_one) = (words.next().unwrap_or_default(), words.next().is_none());
        match pin {
            Pin::Text => true,
            Pin::Word => is_one,
            Pin::Unusual => is_one && is_unusual(word),
        }
    }

    /// Excludes everyday text such as "join us at five": the channel must begin with `#`, and the
    /// person with `@`.
    fn names_its_aim(&self) -> bool {
        self.operands.starts_with(if self.has_channel() { '#' } else { '@' })
    }

    /// Returns whether this is no everyday text, if the name is spelt correctly: it names its aim,
    /// or a number with the length of a PIN stands alone behind one word.
    fn is_certain_exactly(&self) -> bool {
        let pin = self.operands.split_whitespace().nth(1).unwrap_or_default();
        let is_number = pin.len() >= PIN_CHARS_MIN && pin.bytes().all(|byte| byte.is_ascii_digit());
        self.names_its_aim() || self.has_channel() && is_number && self.fits(Pin::Unusual)
    }

    /// Returns whether this is no everyday text, even with two typing errors.
    fn is_certain(&self) -> bool {
        let is_likely = match self.has_channel() {
            true => self.errors <= 1 && self.fits(Pin::Unusual),
            false => self.errors == 0,
        };
        self.names_its_aim() && is_likely
    }
}

/// Returns whether a word is a number, or no everyday word.
fn is_unusual(word: &str) -> bool {
    let word = word.trim_end_matches(|c: char| c.is_ascii_punctuation());
    let is_sign = |c: char| c.is_numeric() || c.is_ascii_punctuation() && !".'/".contains(c);
    let has_sign = word.contains(is_sign) && word.chars().count() >= PIN_CHARS_MIN;
    !word.is_empty() && (has_sign || word.chars().all(char::is_numeric)) && !word.contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_a_secret_is_found_between_escape_sequences() {
        for line in [
            "\x1b[200~/join #tea 4711\x1b[201~",
            "\x1b[1;5C/join #tea 4711",
            "\x1b[A\x1b[2~join #tea 4711",
        ] {
            assert_eq!(mistyped("", line), Some("join"), "{line:?}");
        }
        assert_eq!(mistyped("", "\x1b[200~tea at five\x1b[201~"), None);
    }

    #[test]
    fn a_command_with_a_secret_is_found_behind_what_was_not_meant() {
        for line in [
            " /join #tea 4711",
            "   /join #tea 4711",
            "\t/join tea 4711",
            "\u{a0}/join #tea 4711",
            "\u{3000}／join #tea 4711",
            "／ｊｏｉｎ ＃tea ４７１１",
            "\u{200b}/join #tea 4711",
            "//join #tea 4711",
            "// join #tea 4711",
            ".join #tea 4711",
            "\\join #tea 4711",
            "7join #tea 4711",
            "-msg eve secret",
            "x/pm eve secret",
            "ok /pm eve secret",
            "./dm eve secret",
            " /reply secret",
            " /jion tea 4711",
            " /CREATE #tea 4711",
            "> /join #tea 4711",
            "alice> /join #tea 4711",
            "[12:30:01] You: /join #tea 4711",
            "-- /join #tea 4711",
            "server| /join #tea 4711",
            "join #tea 4711",
            "pm @eve secret",
            "one\n/join #tea 4711",
            "/join #tea 4711\ntwo",
            // Two errors at once.
            " /join#tea 4711",
            "/join#tea 4711\n",
            " / join #tea 4711",
            " /jion #tea 4711",
            " /jion#tea 4711",
            "/.join #tea 4711\n",
            " /pm@eve secret",
            "x /jion#tea 4711",
            ".jion #tea 4711",
            ".join#tea 4711",
            ". join #tea 4711",
            "\\ join #tea 4711",
            "\\\\join #tea 4711",
            "..join #tea 4711",
            "\\jion#tea 47-11",
            "- join #tea 4711",
            "jion #tea 4711",
            "join#tea 4711",
            "JOIN #tea 4711",
            "create#tea k7f2x-9xqdm",
            ".pm@eve secret",
            "pm@eve secret",
            ". dm @eve secret",
            // Over several rows.
            "/join #tea\n4711",
            "/join #tea\r\n4711\n",
            "/join #tea\n\n  hunter",
            "/join\n#tea\n4711",
            "/join\n#tea 4711",
            "   /join #tea\n   4711",
            "one\n.join #tea\n4711\ntwo",
            "/pm eve\nsecret",
            "/reply\nsecret words",
            "alice> /create #tea\n4711",
        ] {
            assert!(mistyped("", line).is_some(), "{line:?}");
        }
        assert_eq!(mistyped("", " /jion tea 4711"), Some("join"));
    }

    #[test]
    fn a_command_of_elsewhere_or_with_a_sign_at_its_name_is_found() {
        for line in [
            // As it is elsewhere.
            " /j #tea 4711",
            " /w eve the secret",
            "  /query eve the secret",
            " /tell eve the secret",
            " /r the secret",
            " /password hunter2",
            "\t/login hunter2",
            " /identify bob hunter2",
            // A sign behind the name.
            " /join, #tea 4711",
            " /pm: eve the secret",
            "/join; #tea 4711\n",
            "join: #tea 4711",
            "pm: @eve the secret",
            // A neighbour of the slash.
            "(join #tea 4711",
            "*join #tea 4711",
            "+join #tea 4711",
            "@join #tea 4711",
            "#join #tea 4711",
            "*pm @eve the secret",
            // Without a slash.
            "join tea 4711",
            " join tea 4711",
            "JOIN tea 4711",
            "JOIN #tea hunter",
            "PM @eve the secret",
        ] {
            assert!(mistyped("", line).is_some(), "{line:?}");
        }
    }

    #[test]
    fn a_text_that_is_none_and_a_command_are_let_through() {
        for line in [
            "/join #tea 4711",
            "/jion #tea 4711",
            "hello /join",
            "hello /join #tea 4711 lets you in",
            " /join #tea",
            " /etc/hosts has two lines",
            "//etc/hosts is a file",
            "join us at five",
            "Join #tea at five",
            "dm me later",
            "2pm works for me",
            "7pm works for me",
            "reply to this one",
            "- join the call at five",
            "(join us at five)",
            "and/or whatever else",
            "https://example.org/join us there",
            "...",
            "",
            "/",
            "漢字",
            "4711",
            "1/2 cup",
            "1/2 cup\n/etc/passwd is a file",
            " /etc/passwd is a file",
            " /usr",
            " /bin has 4711 files",
            "5 mug/day",
            "9 l/m is enough",
            " /usr has 4711 files",
            "... join us at five",
            "...join us at five",
            "- join #tea at five",
            "- msg @bob about the tea",
            "Join #tea\nand say hello",
            "/join #tea\nand say hello",
            "pin #tea 4711",
            "msg#4711 is lost",
            "join@example.org is the address 4711",
            "tea #1 4711",
            "(join #tea at five",
            "* join #tea at five",
            "*reply* to this one",
            "+1 from me",
            "@eve the secret is out",
            "#tea is open",
            "join us 4711 times",
            "join room 12",
            "join: see above",
            " /r/rust is a page",
            " /w/ and /j/ are folders",
            "and /w eve the secret",
            "tell eve the secret",
            "password hunter2 is a bad one",
            "login 4711",
        ] {
            assert_eq!(mistyped("", line), None, "{line:?}");
        }
    }

    #[test]
    fn a_command_that_goes_on_in_the_next_line_is_found() {
        for (before, line) in [
            ("/join #tea", "4711"),
            ("/join #tea", "   47 "),
            ("/join tea", "k7f2x-9xqdm"),
            ("/JOIN #tea", "hunter2"),
            (" /join #tea", "4711"),
            ("/join#tea", "4711"),
            ("/jion #tea", "4711"),
            ("join #tea", "4711"),
            ("/create #tea", "4711"),
            ("/join", "#tea 4711"),
            ("/pm eve", "secret words"),
            ("/pm", "eve secret"),
            ("/reply", "secret"),
            ("/join #tea", "4711\nhello"),
        ] {
            assert!(mistyped(before, line).is_some(), "{before:?} {line:?}");
            assert!(is_secret(before, line), "{before:?} {line:?}");
        }
        for (before, line) in [
            ("", "4711"),
            ("hello", "4711"),
            ("/join #tea", "hello"),
            ("/join #tea", "hello!"),
            ("/join #tea", "it's me :-)"),
            ("/join #tea", "https://example.org/4711"),
            ("/join #tea", "4 people are here"),
            ("/join #tea", "/part"),
            ("/join #tea 4711", "4711"),
            ("/pm eve hi", "hello"),
            ("/reply hi", "hello"),
            ("/query eve", "4711"),
            ("/part #tea", "4711"),
            ("/me waves", "4711"),
            ("1/2 cup", "4711"),
            ("ok, I join #tea", "4711"),
        ] {
            assert_eq!(mistyped(before, line), None, "{before:?} {line:?}");
        }
    }
}
