//! Words that count as mentions beside the user's name: everywhere, or in one conversation. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::mention::{folded, is_word};
use crate::chat::{Target, UserName};

/// Bound on the words, together.
const WORDS_MAX: usize = 100;
/// Characters of a word at most.
const WORD_CHARS_MAX: usize = 32;

/// The words, folded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Highlights {
    everywhere: Vec<String>,
    /// By conversation: `#work`, `@bob`.
    rooms: BTreeMap<String, Vec<String>>,
}

impl Highlights {
    /// The words that count in a conversation, with the user's name.
    pub fn words(&self, room: &Target, own: Option<&UserName>) -> Vec<String> {
        let here = self.rooms.get(&room.to_string());
        let words = self.everywhere.iter().chain(here.into_iter().flatten()).cloned();
        own.map(|name| folded(name.as_str())).into_iter().chain(words).collect()
    }

    /// Adds a word for a conversation, or for all of them, or removes it. Returns the notice.
    ///
    /// # Errors
    /// The word is no single word, so that no text would mention it, or there are too many.
    pub fn toggle(&mut self, word: &str, room: Option<&Target>) -> Result<String, String> {
        if word.chars().count() > WORD_CHARS_MAX || !is_word(word) {
            return Err(format!("{word}: a word has up to {WORD_CHARS_MAX} letters and digits"));
        }
        let is_full =
            self.everywhere.len() + self.rooms.values().map(Vec::len).sum::<usize>() >= WORDS_MAX;
        let (word, name) = (folded(word), room.map(Target::to_string));
        let place = name.as_ref().map_or("everywhere".to_owned(), |name| format!("in {name}"));
        let words = match &name {
            None => &mut self.everywhere,
            Some(name) => self.rooms.entry(name.clone()).or_default(),
        };
        let did = match words.iter().position(|one| *one == word) {
            Some(at) => {
                words.remove(at);
                "no longer counts as a mention"
            }
            None if is_full => return Err(format!("{WORDS_MAX} words are the most")),
            None => {
                words.push(word.clone());
                "counts as a mention"
            }
        };
        self.rooms.retain(|_, words| !words.is_empty());
        Ok(format!("{word} {did} {place}"))
    }

    /// The list of the words that count in a conversation.
    pub fn list(&self, room: &Target) -> String {
        let all = |words: Option<&Vec<String>>| match words.filter(|words| !words.is_empty()) {
            None => "none".to_owned(),
            Some(words) => words.join(", "),
        };
        let here = self.rooms.get(&room.to_string());
        format!(
            "words that count as mentions beside your name: everywhere {}; in {room} {}",
            all(Some(&self.everywhere)),
            all(here)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_count_everywhere_or_in_one_conversation() {
        let [tea, work]: [Target; 2] = ["#tea", "#work"].map(|name| name.parse().unwrap());
        let own: UserName = "Alice".parse().unwrap();
        let mut words = Highlights::default();
        assert_eq!(words.toggle("Kettle", None).unwrap(), "kettle counts as a mention everywhere");
        assert_eq!(words.toggle("milk", Some(&tea)).unwrap(), "milk counts as a mention in #tea");
        assert_eq!(words.words(&tea, Some(&own)), ["alice", "kettle", "milk"]);
        assert_eq!(words.words(&work, Some(&own)), ["alice", "kettle"]);
        assert!(words.list(&tea).ends_with("everywhere kettle; in #tea milk"));
        assert!(words.toggle("milk", Some(&tea)).unwrap().starts_with("milk no longer counts"));
        assert_eq!(words.words(&tea, None), ["kettle"]);
        for bad in ["two words", "a.b", "-x", "_x_", "--", "\u{1f375}", "tea\u{2026}", ""] {
            assert!(words.toggle(bad, None).is_err(), "{bad}");
        }
        for good in ["x-", "andre\u{301}", "7up"] {
            words.toggle(good, None).unwrap();
            words.toggle(good, None).unwrap();
        }
        for number in 1..WORDS_MAX {
            words.toggle(&format!("w{number}"), None).unwrap();
        }
        assert!(words.toggle("further", Some(&work)).is_err());
        words.toggle("w1", None).unwrap();
        assert!(words.toggle("further", Some(&work)).is_ok());
    }
}
