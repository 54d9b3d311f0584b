//! Detects texts that were probably meant as a command with a secret. Such a text is a command
//! after blanks, with another character instead of the slash, or after part of a row that was
//! copied from the screen. The client sends it only after the user has confirmed that it is a text.

use unicode_normalization::UnicodeNormalization;

use super::slash::{self, SlashCommand, Typed};
use crate::clean;

/// Commands with a secret operand: a PIN or a private text.
const SECRET: [&str; 6] = ["join", "create", "pm", "msg", "dm", "reply"];

/// Characters on keys near the slash, in several keyboard layouts.
const NEAR_SLASH: &str = ".,\\?-;:!&7|>'";

/// Up to this number of letters and digits before a slash count as a typing error.
const SLIPS_MAX: usize = 2;

/// Bound on characters before the slash: a time, a name and the marks of a copied row.
const BEFORE_MAX: usize = 80;

/// Returns the command with a secret that a text was probably meant as.
pub fn mistyped(line: &str) -> Option<&'static str> {
    // Several lines are always a text.
    if !line.contains('\n') && !matches!(slash::read(line), Typed::Text(_)) {
        return None;
    }
    line.split('\n').find_map(row)
}

/// Returns whether a typed line may contain a secret, so that the history omits it.
pub fn is_secret(line: &str) -> bool {
    slash::is_secret(line) || mistyped(line).is_some()
}

/// The notice about a `mistyped` text, which is not sent yet.
pub fn question(command: &str) -> String {
    format!("not sent, it looks like /{command}: Enter sends it here as a text")
}

fn row(row: &str) -> Option<&'static str> {
    // Full-width slashes, blanks of other widths, and invisible characters.
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

/// Returns whether the text before a slash is a typing error or a copied row.
fn is_slip(before: &str) -> bool {
    let before = before.trim();
    before.chars().filter(|c| c.is_alphanumeric()).count() <= SLIPS_MAX
        || before.ends_with(['>', ':', '|', ']', '$'])
}

/// Returns the command with a secret that a text without its slash is. `nearly` also accepts a
/// misspelt command.
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

/// Excludes everyday text such as "join us at five": the operand must begin with `#` or `@`.
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
