//! Names that look alike. The server registers no two names that look alike, and a client does not
//! trust a new name on first use if it looks like one it knows.

use std::collections::HashMap;
use std::sync::LazyLock;

use unicode_security::skeleton;

use super::UserName;

/// Words by which the program itself names somebody: no user can have them as a name.
const WORDS: [&str; 7] = ["console", "lobby", "moderator", "operator", "owner", "server", "you"];

/// What a name looks like without being equal to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alike {
    Person(UserName),
    Word(&'static str),
}

/// Known names, indexed by their looks.
#[derive(Default)]
pub struct Looks(HashMap<String, UserName>);

impl Looks {
    /// Adds a name; of names that look alike, the first one stays.
    pub fn add(&mut self, name: &UserName) {
        for look in looks(name.as_str()) {
            self.0.entry(look).or_insert_with(|| name.clone());
        }
    }

    pub fn remove(&mut self, name: &UserName) {
        self.0.retain(|_, known| known != name);
    }

    /// Returns the known name, or the reserved word, that a name looks like.
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

/// Whether a name looks like a reserved word.
pub fn is_word(name: &UserName) -> bool {
    word(&looks(name.as_str())).is_some()
}

/// Lists the letters of a name that the other one does not have, as code points: on a screen they
/// look the same.
pub fn odd_letters(name: &UserName, other: &str) -> String {
    let (name, other) = (name.as_str().to_lowercase(), other.to_lowercase());
    let mut odd: Vec<char> = name.chars().filter(|c| !other.contains(*c)).collect();
    odd.dedup();
    let odd: Vec<_> = odd.into_iter().map(|c| format!("U+{:04X}", u32::from(c))).collect();
    odd.join(" ")
}

/// Returns the looks of a name as written and in lower case, because some letters look alike in one
/// case only.
fn looks(name: &str) -> [String; 2] {
    [shape(name), shape(&name.to_lowercase())]
}

/// Returns the UTS 39 skeleton, in any case. The skeleton is folded twice, because lower-case
/// letters have skeletons of their own (`m` is `rn`). `i`, `l`, `1` and `I` are one letter.
fn shape(name: &str) -> String {
    let fold = |text: &str| skeleton(text).collect::<String>().to_lowercase();
    let folded = fold(&fold(name));
    // The lower case of a dotted capital is a letter and a combining dot.
    folded.replace('i', "l").replace("l\u{307}", "l")
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

    /// The known name that `other` looks like.
    fn alike(known: &str, other: &str) -> bool {
        let mut looks = Looks::default();
        looks.add(&name(known));
        looks.alike(&name(other)) == Some(Alike::Person(name(known)))
    }

    #[test]
    fn letters_that_look_alike_in_one_case_are_found_in_each() {
        let pairs = [
            ("ТОМ", "tom"),
            ("МАХ", "max"),
            ("МІКЕ", "mike"),
            ("АНН", "ahh"),
            ("ВОВ", "bob"),
            ("ТІМ", "tim"),
            ("ΤΟΜ", "tom"),
            ("ΜΑΧ", "max"),
            ("ΝΙΚ", "nik"),
            ("aIice", "alice"),
            ("al1ce", "alice"),
            ("a1ice", "alice"),
            ("ALlCE", "alice"),
            ("MıKE", "mike"),
            ("MİKE", "mike"),
            ("rnax", "max"),
            ("torn", "TOM"),
            ("RNAX", "max"),
            ("B0B", "bob"),
            ("соре", "COPE"),
        ];
        for (one, other) in pairs {
            assert!(alike(one, other) && alike(other, one), "{one} {other}");
            let (upper, lower) = (other.to_uppercase(), other.to_lowercase());
            assert!(alike(one, &upper) && alike(one, &lower), "{one} {upper} {lower}");
        }
        // Mixed scripts: such names are illegal, but their looks are equal.
        assert_eq!(looks("АLICE"), looks("alice"));
        for word in ["МОDЕRАТОR", "ОРЕRАТОR", "YОU", "ОWNЕR"] {
            assert!(super::word(&looks(word)).is_some(), "{word}");
        }
    }

    #[test]
    fn looks_are_folded_completely() {
        let letters = (0..=0x2ffff).filter_map(char::from_u32);
        for letter in letters.filter(|letter| letter.is_alphanumeric()) {
            let look = shape(&letter.to_string());
            assert_eq!(shape(&look), look, "{letter} U+{:04X}", u32::from(letter));
        }
    }

    #[test]
    fn names_that_look_different_are_not_alike() {
        let names = "alice bob carol dave eve tom tim max mia mike nina nora anna hanna emma ella lea lena \
                     leo noah liam olivia ian ivan dan dana sam samir kim jim john joan ben bea paul \
                     paula maria mario marta mara tina lina alina том тома макс михаил анна нина оля \
                     лена лев иван ирина олег ольга павел вова вика νίκος μαρία άννα 李雷 韩梅梅 さくら";
        let mut looks = Looks::default();
        for one in names.split_whitespace().map(name) {
            assert_eq!(looks.alike(&one), None, "{one}");
            looks.add(&one);
        }
    }

    #[test]
    fn the_letters_that_differ_are_listed() {
        assert_eq!(odd_letters(&name("сорос"), "copoc"), "U+0441 U+043E U+0440 U+043E U+0441");
        assert_eq!(odd_letters(&name("a1ice"), "Alice"), "U+0031");
        assert_eq!(odd_letters(&name("ALICE"), "alice"), "");
    }
}
