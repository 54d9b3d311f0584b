//! Words of a text that mention a person, or a word that the user wants to be told about. Pure.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::client::addresses;

/// Letters behind an apostrophe that end a contraction: the `t` of "don't" is no word.
const CONTRACTION_CHARS_MAX: usize = 2;

/// Returns the form in which words are compared: composed, in lower case.
pub fn folded(word: &str) -> String {
    // Some letters are composed with a mark in lower case only.
    word.nfc().flat_map(char::to_lowercase).nfc().collect()
}

/// Returns the ranges of a text that are one of these `folded` words. A word in an address is none.
pub fn mentions(text: &str, wanted: &[String]) -> Vec<Range<usize>> {
    if wanted.is_empty() {
        return Vec::new();
    }
    let addresses = addresses::spans(text);
    let is_outside = |word: &Range<usize>| {
        addresses.iter().all(|address| word.end <= address.start || address.end <= word.start)
    };
    let named = |word: Range<usize>| is_one_of(text, word, wanted);
    words(text).into_iter().filter(is_outside).filter_map(named).collect()
}

/// Returns the part of a word that is wanted: the word, or without the signs around it, because
/// `_bob_` is emphasis. Names may end with such a sign, so the longest part counts.
fn is_one_of(text: &str, word: Range<usize>, wanted: &[String]) -> Option<Range<usize>> {
    let is_wanted = |part: &str| {
        let is_near = |one: &&String| part.len() <= one.len() * 4;
        wanted.iter().filter(is_near).any(|one| *one == folded(part))
    };
    let whole = &text[word.clone()];
    let start = word.start + (whole.len() - whole.trim_start_matches(is_sign).len());
    let mut part = &text[start..word.end];
    while !part.is_empty() {
        if is_wanted(part) {
            return Some(start..start + part.len());
        }
        part = part.strip_suffix(is_sign)?;
    }
    None
}

fn is_sign(c: char) -> bool {
    matches!(c, '-' | '_')
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || is_sign(c) || is_combining_mark(c)
}

/// Returns whether a text can be a mention: it is one word, and no sign is before it.
pub fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| is_of_word(c) && !is_sign(c)) && text.chars().all(is_of_word)
}

/// The words of a text. What follows an apostrophe is one, unless it ends a contraction.
fn words(text: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find(is_of_word).map(|begin| at + begin) {
        let length = text[start..].find(|c| !is_of_word(c));
        let end = length.map_or(text.len(), |length| start + length);
        let apostrophe = text[..start].ends_with(['\'', '\u{2019}']);
        let before = text[..start].trim_end_matches(['\'', '\u{2019}']);
        let is_ending = apostrophe
            && before.ends_with(char::is_alphanumeric)
            && text[start..end].chars().count() <= CONTRACTION_CHARS_MAX;
        if !is_ending {
            words.push(start..end);
        }
        at = end;
    }
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
        mentions(text, &[folded(word)]).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn whole_words_mention_somebody_in_any_case() {
        for (text, name, wanted) in [
            ("hey Bob, look", "bob", &["Bob"][..]),
            ("@bob (bob) bob's \"bob\"", "bob", &["bob", "bob", "bob", "bob"]),
            ("bobby and kabob", "bob", &[]),
            ("bob-2", "bob", &[]),
            ("don't, you\u{2019}re", "t", &[]),
            ("you\u{2019}re", "re", &[]),
            ("don't", "don", &["don"]),
            ("l'alice", "alice", &["alice"]),
            ("'t", "t", &["t"]),
            ("_t_ and *t* and __t__", "t", &["t", "t", "t"]),
            ("say t", "t", &["t"]),
            ("_bob_", "bob_", &["bob_"]),
            ("snake_t_case", "t", &[]),
            ("see https://t.example/t?t=t", "t", &[]),
            ("https://t.example t", "t", &["t"]),
            ("andre\u{301}, ANDR\u{c9}", "andr\u{e9}", &["andre\u{301}", "ANDR\u{c9}"]),
            ("andr\u{e9}", "andre\u{301}", &["andr\u{e9}"]),
            ("andre", "andr\u{e9}", &[]),
            ("andre\u{301}", "andre", &[]),
            ("", "bob", &[]),
        ] {
            assert_eq!(found(text, name), wanted, "{name} in {text}");
        }
        assert!(mentions("bob", &[]).is_empty());
    }

    proptest! {
        #[test]
        fn every_mention_is_a_part_of_the_text_and_the_word(
            text in "[bobBOB_'\u{2019}\u{301}é. -]{0,24}", name in "[bobé\u{301}_]{1,3}",
        ) {
            for part in found(&text, &name) {
                prop_assert_eq!(folded(part), folded(&name));
            }
        }
    }
}
