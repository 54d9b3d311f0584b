//! Arguments that begin with `-` and are no options: pieces of a key line that was broken when it
//! was pasted, and the text of `--send`.

use std::ffi::{OsStr, OsString};

use crate::invite::is_key_line;

/// The arguments of the command line, with the pieces of a key line joined, and a text joined to
/// its `--send`.
pub fn words(typed: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    for word in sent(typed) {
        let for_users = words.get(1).is_some_and(|job| job == "users");
        match words.last_mut().filter(|_| for_users) {
            Some(last) if last.to_str().is_some_and(is_key_line) && is_piece(&word) => {
                last.push(&word);
            }
            _ => words.push(word),
        }
    }
    words
}

/// Joins `--send` and a text that begins with `-`, or that stands behind `--`.
fn sent(typed: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let mut typed = typed.peekable();
    let mut is_client = false;
    std::iter::from_fn(move || {
        let word = typed.next()?;
        is_client |= word == "client";
        if !is_client || word != "--send" {
            return Some(word);
        }
        let text = match typed.next_if(|next| next == "--") {
            Some(_) => typed.next(),
            None => typed.next_if(|next| is_dashed_text(next)),
        };
        Some(match text {
            Some(text) => {
                let mut joined = OsString::from("--send=");
                joined.push(text);
                joined
            }
            None => word,
        })
    })
}

/// A text that begins with `-`: an option has no blank, and a letter behind its dashes, or a word
/// behind two.
fn is_dashed_text(word: &OsStr) -> bool {
    let word = word.to_string_lossy();
    let name = word.split('=').next().unwrap_or_default();
    let is_named = name.trim_start_matches('-').starts_with(|c: char| c.is_ascii_alphabetic());
    let is_long = name.starts_with("--") || name.chars().count() == 2;
    word.starts_with('-') && !(is_named && is_long && !name.contains(char::is_whitespace))
}

/// Options have two dashes, or one and a letter.
fn is_piece(word: &OsStr) -> bool {
    let of_a_line = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    word.to_str().is_some_and(|word| {
        let option = word.starts_with("--") || (word.starts_with('-') && word.len() == 2);
        !option && word.chars().all(of_a_line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_begins_with_a_dash_is_that_of_send() {
        for (typed, wanted) in [
            (&["client", "--send", "- milk"][..], "client|--send=- milk"),
            (&["client", "--send", "--", "--to"], "client|--send=--to"),
            (&["client", "--send", "--to", "bob"], "client|--send|--to|bob"),
            (&["client", "--send", "-5", "-h"], "client|--send=-5|-h"),
            (
                &["client", "--send", "-v is short", "--to=a b"],
                "client|--send=-v is short|--to=a b",
            ),
            (&["client", "--send", "--to=a b"], "client|--send|--to=a b"),
            (&["client", "--send", "---", "x"], "client|--send=---|x"),
            (&["client", "--send", "-hello"], "client|--send=-hello"),
            (&["client", "--send", "-fx=y"], "client|--send=-fx=y"),
            (&["client", "--send", "-h"], "client|--send|-h"),
            (&["client", "--send", "--"], "client|--send"),
            (&["ctl", "--send", "- milk"], "ctl|--send|- milk"),
        ] {
            let typed = typed.iter().map(OsString::from);
            assert_eq!(words(typed).join(OsStr::new("|")), OsString::from(wanted));
        }
    }

    #[test]
    fn pieces_of_a_key_line_are_one_word_and_options_are_their_own() {
        let read = |typed: &str| words(typed.split(' ').map(OsString::from)).join(OsStr::new("|"));
        let line = "pychat-key1.bob.MIIB";
        assert!(is_key_line(line));
        for (typed, wanted) in [
            (
                format!("pychat users add {line} -6x_ .y --yes -h"),
                format!("pychat|users|add|{line}-6x_.y|--yes|-h"),
            ),
            ("pychat users add bob.pem -6x".into(), "pychat|users|add|bob.pem|-6x".into()),
            (format!("pychat ctl say {line} it is"), format!("pychat|ctl|say|{line}|it|is")),
        ] {
            assert_eq!(read(&typed), OsString::from(wanted));
        }
    }
}
