//! Joins the pieces of a key line that was broken when it was pasted into one argument. A piece may
//! begin with `-`, like an option.

use std::ffi::{OsStr, OsString};

use crate::invite::is_key_line;

/// The arguments of the command line, with the pieces of a key line joined.
pub fn words(typed: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    for word in typed {
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
