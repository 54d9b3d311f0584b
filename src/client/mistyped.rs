//! Detects texts that were probably meant as a command with a secret. Such a text is a command
//! after blanks, with another character instead of the slash, with a typing error, over several
//! rows, or after part of a row that was copied from the screen. The client sends it only after the
//! user has confirmed that it is a text.

use unicode_normalization::UnicodeNormalization;

use super::slash::{self, SlashCommand, Typed};
use crate::chat::UserName;
use crate::clean;
use crate::nearest::typing_errors;

/// A command with a secret operand: a PIN, a private text or a password.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Secret {
    Join,
    Create,
    Pm,
    Reply,
    /// A command that logs in to other programs.
    Password,
}

/// The names of such commands.
const SECRET: [(&str, Secret); 6] = [
    ("join", Secret::Join),
    ("create", Secret::Create),
    ("pm", Secret::Pm),
    ("msg", Secret::Pm),
    ("dm", Secret::Pm),
    ("reply", Secret::Reply),
];

/// Names of such commands in other programs, and `/query`, which takes no text here, each with the
/// command that was probably meant.
const ELSEWHERE: [(&str, Secret); 13] = [
    ("j", Secret::Join),
    ("m", Secret::Pm),
    ("p", Secret::Pm),
    ("w", Secret::Pm),
    ("query", Secret::Pm),
    ("tell", Secret::Pm),
    ("whisper", Secret::Pm),
    ("r", Secret::Reply),
    ("auth", Secret::Password),
    ("identify", Secret::Password),
    ("login", Secret::Password),
    ("passwd", Secret::Password),
    ("password", Secret::Password),
];

/// After a digit, this name is a time of day. On some keyboards, 7 with Shift is the slash.
const HOUR: &str = "pm";

/// Characters on keys near the slash, in several keyboard layouts.
const NEAR_SLASH: &str = ".,\\?-;:!&7|>'(*+@#";

/// Those of them with which everyday text begins too.
const EVERYDAY: &str = "(*+@#";

/// Up to this number of letters and digits before a slash count as a typing error.
const TYPOS_MAX: usize = 2;

/// Bound on characters before the slash: a time, a name and the marks of a copied row.
const BEFORE_MAX: usize = 80;

/// Words that follow `pm`, `dm` or `msg` in everyday text, where a command has a name.
const NO_NAMES: [&str; 38] = [
    "a", "about", "an", "and", "are", "at", "for", "from", "her", "him", "if", "in", "is", "it",
    "later", "me", "my", "not", "on", "only", "or", "our", "sent", "that", "the", "them", "this",
    "to", "today", "tomorrow", "us", "was", "were", "when", "will", "works", "would", "you",
];

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
    command: Secret,
    /// The command's name or alias that was typed, spelt correctly.
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

/// Returns the command that begins in a line that has no secret, and continues in the next one.
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
        Some('7') if meant.name == HOUR => false,
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
    let (_, command) = ELSEWHERE.into_iter().find(|(name, _)| *name == word)?;
    let (name, operands) = (command.name(), operands.strip_prefix(char::is_whitespace)?.trim());
    Some(Meant { command, name, errors: 0, has_blank: true, operands })
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
    let (name, command) = SECRET.into_iter().find(|(name, _)| *name == near)?;
    let errors = typing_errors(name, &word);
    Some(Meant { command, name, errors, has_blank, operands: operands.trim() })
}

impl Secret {
    /// The name in the question to the user.
    fn name(self) -> &'static str {
        let own = SECRET.iter().find(|(_, command)| *command == self);
        own.map_or("password", |(name, _)| name)
    }
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
        matches!(self.command, Secret::Join | Secret::Create)
    }

    fn has_secret(&self, pin: Pin) -> bool {
        let words = self.operands.split_whitespace().count();
        match self.command {
            Secret::Join => {
                let line = format!("/join {}", self.operands);
                let joins = slash::read(&line);
                matches!(joins, Typed::Command(SlashCommand::JoinWithPin { .. })) && self.fits(pin)
            }
            Secret::Create => words > 1 && self.fits(pin),
            Secret::Pm => words > 1,
            Secret::Reply | Secret::Password => words > 0,
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

    /// Returns whether a word that can be a user's name follows `pm`, `dm` or `msg`.
    fn names_a_person(&self) -> bool {
        let word = self.operands.split_whitespace().next().unwrap_or_default().to_lowercase();
        self.command == Secret::Pm
            && !NO_NAMES.contains(&word.as_str())
            && word.parse::<UserName>().is_ok()
    }

    /// Returns whether this is no everyday text, if the name is spelt correctly: it names its aim
    /// or a person, or a number with the length of a PIN stands alone behind one word.
    fn is_certain_exactly(&self) -> bool {
        let pin = self.operands.split_whitespace().nth(1).unwrap_or_default();
        let is_number = pin.len() >= PIN_CHARS_MIN && pin.bytes().all(|byte| byte.is_ascii_digit());
        let is_pin = self.has_channel() && is_number && self.fits(Pin::Unusual);
        self.names_its_aim() || self.names_a_person() || is_pin
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
#[path = "mistyped/tests.rs"]
mod tests;
