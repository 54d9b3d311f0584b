//! Texts that were meant as a command with a secret in it. Such a text is the command but for what
//! stands before it: blanks, another character in the place of the slash, a part of a row that was
//! copied from the screen. It is not sent before the person has confirmed that it is a text.

use unicode_normalization::UnicodeNormalization;

use super::slash::{self, SlashCommand, Typed};
use crate::clean;

/// Commands whose operands are for few: a PIN, or a private text.
const SECRET: [&str; 6] = ["join", "create", "pm", "msg", "dm", "reply"];

/// What is typed in the place of a slash, on the keys beside it or on those of another layout.
const NEAR_SLASH: &str = ".,\\?-;:!&7|>'";

/// Letters and digits that are a slip of the fingers, and no words.
const SLIPS_MAX: usize = 2;

/// Characters before the slash that are looked at: a time, a name and the marks of a copied row.
const BEFORE_MAX: usize = 80;

/// The command that a text was most likely meant as, where that one has a secret in it.
pub fn mistyped(line: &str) -> Option<&'static str> {
    // Several lines are a text, whatever they begin with.
    if !line.contains('\n') && !matches!(slash::read(line), Typed::Text(_)) {
        return None;
    }
    line.split('\n').find_map(row)
}

/// Whether a typed line may hold a secret: nothing remembers it.
pub fn is_secret(line: &str) -> bool {
    slash::is_secret(line) || mistyped(line).is_some()
}

/// What the person is told of a text that was `mistyped` as this command: it is not sent yet.
pub fn question(command: &str) -> String {
    format!("not sent, it looks like /{command}: Enter again says it here as a text")
}

fn row(row: &str) -> Option<&'static str> {
    // A full-width slash, a blank of another width, what nobody sees.
    let row: String = clean::line(row).nfkc().collect();
    let row = row.replace(['\u{2044}', '\u{2215}', '\u{29f8}'], "/");
    let head = row.char_indices().take(BEFORE_MAX).filter(|(_, c)| *c == '/');
    for (at, _) in head {
        let (before, behind) = (&row[..at], row[at..].trim_start_matches(['/', ' ']));
        if is_slip(before)
            && let Some(name) = secret(behind, true)
        {
            return Some(name);
        }
    }
    let begins = row.trim_start();
    let (first, behind) = begins.split_at(begins.chars().next()?.len_utf8());
    match NEAR_SLASH.contains(first) && !(first == "7" && behind.starts_with("pm ")) {
        true => secret(behind, false),
        false => secret(begins, false).filter(|_| names_its_aim(begins)),
    }
}

/// Whether what stands before a slash was not meant to be said.
fn is_slip(before: &str) -> bool {
    let before = before.trim();
    before.chars().filter(|c| c.is_alphanumeric()).count() <= SLIPS_MAX
        || before.ends_with(['>', ':', '|', ']', '$'])
}

/// The command with a secret that a text is without its slash. With one, also a word that is nearly
/// the command's.
fn secret(text: &str, nearly: bool) -> Option<&'static str> {
    let (word, operands) = text.split_once(char::is_whitespace)?;
    let (word, operands) = (word.to_lowercase(), operands.trim());
    let known = SECRET.into_iter().find(|name| *name == word);
    let name = known.or_else(|| {
        let near = slash::nearest(&word).filter(|_| nearly && slash::find(&word).is_none())?;
        SECRET.into_iter().find(|name| *name == near)
    })?;
    let words = operands.split_whitespace().count();
    let has_secret = match name {
        "join" => {
            let line = format!("/join {operands}");
            matches!(slash::read(&line), Typed::Command(SlashCommand::JoinWithPin { .. }))
        }
        "reply" => words > 0,
        _ => words > 1,
    };
    has_secret.then_some(name)
}

/// Words of every day, such as "join us at five", are no command: its channel or person is marked.
fn names_its_aim(text: &str) -> bool {
    text.starts_with(char::is_lowercase)
        && text.split_whitespace().nth(1).is_some_and(|aim| aim.starts_with(['#', '@']))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            assert!(mistyped(line).is_some(), "{line:?}");
        }
        assert_eq!(mistyped(" /jion tea 4711"), Some("join"));
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
        ] {
            assert_eq!(mistyped(line), None, "{line:?}");
        }
    }
}
