//! Names that look alike. People tell each other apart by what they see: the server registers no two names
//! that look alike, and a client trusts none at the first meeting that looks like one it knows.

use std::collections::HashMap;
use std::sync::LazyLock;

use unicode_security::skeleton;

use super::UserName;

/// Words by which the program itself names somebody: no person is called so.
const WORDS: [&str; 7] = ["console", "lobby", "moderator", "operator", "owner", "server", "you"];

/// What a name looks like, without being it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alike {
    Person(UserName),
    Word(&'static str),
}

/// The names that are known, by how they look.
#[derive(Default)]
pub struct Looks(HashMap<String, UserName>);

impl Looks {
    /// Of names that look alike the first one counts.
    pub fn add(&mut self, name: &UserName) {
        for look in looks(name.as_str()) {
            self.0.entry(look).or_insert_with(|| name.clone());
        }
    }

    pub fn remove(&mut self, name: &UserName) {
        self.0.retain(|_, known| known != name);
    }

    /// The known name, or the word, that a name looks like.
    pub fn alike(&self, name: &UserName) -> Option<Alike> {
        let looks = looks(name.as_str());
        let known: Vec<_> = looks.iter().filter_map(|look| self.0.get(look)).collect();
        match known.iter().find(|known| **known != name) {
            Some(other) => Some(Alike::Person((*other).clone())),
            None if known.is_empty() => word(&looks).map(Alike::Word),
            None => None,
        }
    }
}

/// Whether a name looks like a word that names no person.
pub fn is_word(name: &UserName) -> bool {
    word(&looks(name.as_str())).is_some()
}

/// Letters of a name that the other one does not have, by their numbers: on a screen they look the same.
pub fn odd_letters(name: &UserName, other: &str) -> String {
    let (name, other) = (name.as_str().to_lowercase(), other.to_lowercase());
    let mut odd: Vec<char> = name.chars().filter(|c| !other.contains(*c)).collect();
    odd.dedup();
    let odd: Vec<_> = odd.into_iter().map(|c| format!("U+{:04X}", u32::from(c))).collect();
    odd.join(" ")
}

/// The UTS 39 skeletons of a name as it is written and in lower case: a capital I looks like a small l, and is
/// one letter with a small i. The skeleton of some small letters has a capital one.
fn looks(name: &str) -> [String; 2] {
    [name.to_owned(), name.to_lowercase()]
        .map(|name| skeleton(&name).collect::<String>().to_lowercase())
}

fn word(looks: &[String; 2]) -> Option<&'static str> {
    static LOOKS: LazyLock<Vec<(String, &str)>> = LazyLock::new(|| {
        let look = |word| {
            let [look, _] = self::looks(word);
            (look, word)
        };
        WORDS.map(look).into()
    });
    LOOKS.iter().find(|(known, _)| looks.contains(known)).map(|(_, word)| *word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> UserName {
        text.parse().unwrap()
    }

    #[test]
    fn names_and_words_that_look_alike_are_found() {
        let mut looks = Looks::default();
        for known in ["copoc", "alice", "bob", "pychat"] {
            looks.add(&name(known));
            assert_eq!(looks.alike(&name(known)), None);
        }
        let pairs = [
            ("сорос", "copoc"),
            ("a1ice", "alice"),
            ("aIice", "alice"),
            ("ALICE", "alice"),
            ("b0b", "bob"),
            ("BOB", "bob"),
        ];
        for (alike, known) in pairs {
            assert_eq!(looks.alike(&name(alike)), Some(Alike::Person(name(known))), "{alike}");
        }
        for (alike, word) in
            [("server", "server"), ("Server", "server"), ("y0u", "you"), ("1obby", "lobby")]
        {
            assert_eq!(looks.alike(&name(alike)), Some(Alike::Word(word)), "{alike}");
            assert!(is_word(&name(alike)));
        }
        for other in ["alicia", "carol", "bobby", "servers", "анна"] {
            assert_eq!(looks.alike(&name(other)), None, "{other}");
        }
        looks.remove(&name("bob"));
        assert_eq!(looks.alike(&name("b0b")), None);
    }

    #[test]
    fn the_letters_that_differ_are_named() {
        assert_eq!(odd_letters(&name("сорос"), "copoc"), "U+0441 U+043E U+0440 U+043E U+0441");
        assert_eq!(odd_letters(&name("a1ice"), "Alice"), "U+0031");
        assert_eq!(odd_letters(&name("ALICE"), "alice"), "");
    }
}
