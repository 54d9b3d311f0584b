//! Names that look alike. The server registers no two names that look alike, and a client does not
//! trust a new name on first use if it looks like one it knows. Both report names that are only
//! similar (`marla` and `maria`, `cl` and `d`).

use std::collections::HashMap;
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;
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
pub struct Looks {
    alike: HashMap<String, UserName>,
    similar: HashMap<String, UserName>,
}

impl Looks {
    /// Adds a name; of names that look alike, the first one stays.
    pub fn add(&mut self, name: &UserName) {
        for look in looks(name.as_str()) {
            self.alike.entry(look).or_insert_with(|| name.clone());
        }
        self.similar.entry(rough(name.as_str())).or_insert_with(|| name.clone());
    }

    pub fn remove(&mut self, name: &UserName) {
        self.alike.retain(|_, known| known != name);
        self.similar.retain(|_, known| known != name);
    }

    /// Returns the known name, or the reserved word, that a name looks like.
    pub fn alike(&self, name: &UserName) -> Option<Alike> {
        let looks = looks(name.as_str());
        let known: Vec<_> = looks.iter().filter_map(|look| self.alike.get(look)).collect();
        match known.iter().find(|known| **known != name) {
            Some(other) => Some(Alike::Person((*other).clone())),
            None if known.is_empty() => word(name.as_str()).map(Alike::Word),
            None => None,
        }
    }

    /// The known name that a name is similar to. Both may be people's own names.
    pub fn similar(&self, name: &UserName) -> Option<&UserName> {
        self.similar.get(&rough(name.as_str())).filter(|known| *known != name)
    }
}

/// Whether a name looks like a reserved word.
pub fn is_word(name: &UserName) -> bool {
    word(name.as_str()).is_some()
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

/// What a name looks like: exactly, and in any case with each reading of its strokes. Some letters
/// look like others in one case only, so that the name in lower case counts too.
fn looks(name: &str) -> [String; 5] {
    let lower = name.to_lowercase();
    let exact = format!("={}", skeleton(name).collect::<String>());
    let [l, i, lower_l, lower_i] = [(name, 'l'), (name, 'i'), (&lower, 'l'), (&lower, 'i')]
        .map(|(name, stroke)| shape(name, stroke));
    [exact, l, i, lower_l, lower_i]
}

/// The shape of a name, whose strokes are read as `stroke` where they may be either: `I`, `l` and
/// `1` are one stroke, and what it is depends on its neighbours.
fn shape(name: &str, stroke: char) -> String {
    let mut folded = read(name, stroke);
    loop {
        // Letters whose capitals look alike become one in lower case, whose skeleton is another one
        // again (`m` is `rn`).
        let next = skeleton(&folded).collect::<String>().to_lowercase();
        // A capital with a dot is a letter and a dot in lower case.
        let next = next.replace("i\u{307}", "i").replace("l\u{307}", "l").replace('w', "vv");
        let next = next.replace('ς', "σ");
        let next = single(&next);
        if next == folded {
            return folded;
        }
        folded = next;
    }
}

/// The name with each stroke as the `i` or `l` that it is read as.
fn read(name: &str, stroke: char) -> String {
    let letters: Vec<char> = name.nfd().collect();
    let shouts = shouts(&letters);
    let mut begins = true;
    let read = |letter: char| {
        let first = std::mem::replace(&mut begins, matches!(letter, '-' | '_'));
        if !is_stroke(letter) {
            return letter;
        }
        match kind(letter) {
            // Among capitals, and as the first letter, it is what it says; elsewhere it deceives.
            Stroke::CapitalI if shouts || first => 'i',
            Stroke::SmallL if !shouts => 'l',
            _ => stroke,
        }
    };
    // A sigma at the end of a word is another letter in lower case only.
    letters.into_iter().map(read).map(|letter| if letter == 'ς' { 'σ' } else { letter }).collect()
}

/// What has the form of a stroke.
#[derive(PartialEq)]
enum Stroke {
    CapitalI,
    SmallL,
    /// A digit, or a letter that has no case.
    Other,
}

fn is_stroke(letter: char) -> bool {
    skeleton(letter.encode_utf8(&mut [0; 4])).eq(['l'])
}

fn kind(letter: char) -> Stroke {
    if letter.is_uppercase() {
        Stroke::CapitalI
    } else if letter.is_lowercase() {
        Stroke::SmallL
    } else {
        Stroke::Other
    }
}

/// Whether a name is written in capitals. Strokes say nothing of that.
fn shouts(letters: &[char]) -> bool {
    let plain = || letters.iter().filter(|letter| !is_stroke(**letter));
    let capitals = plain().filter(|letter| letter.is_uppercase()).count();
    let small = plain().filter(|letter| letter.is_lowercase()).count();
    let all = small == 0 && !letters.iter().any(|letter| letter.is_lowercase());
    capitals > small && (capitals > 1 || all)
}

/// Each `_` and `-` once: several run into one line.
fn single(name: &str) -> String {
    let mut single = String::with_capacity(name.len());
    for letter in name.chars() {
        if !(matches!(letter, '-' | '_') && single.ends_with(letter)) {
            single.push(letter);
        }
    }
    single
}

/// What a name looks like at a glance: other names look the same.
fn rough(name: &str) -> String {
    // The skeleton of a letter may have marks that the letter has not, and the other way round.
    let shape = plain(&shape(&plain(name), 'l'));
    let shape = shape.replace(['-', '_'], "").replace('i', "l").replace("rn", "nn");
    let letter = |letter| match letter {
        '2' => 'z',
        '5' => 's',
        '6' | '8' => 'b',
        '7' => 't',
        '9' => 'g',
        other => unstruck(other),
    };
    let shape: String = shape.chars().map(letter).collect();
    shape.replace('d', "cl").replace("uu", "vv")
}

/// A name without marks.
fn plain(name: &str) -> String {
    name.nfd().filter(|letter| !is_mark(*letter)).collect()
}

/// Whether a letter is a mark on the one before it: an accent, a dot, a stroke. The vowels and the
/// tones of many scripts are marks for Unicode too, but letters for people.
fn is_mark(letter: char) -> bool {
    const STROKE: u8 = 1;
    const VOICE: u8 = 8;
    const ATTACHED: u8 = 200;
    let class = canonical_combining_class(letter);
    matches!(class, STROKE | VOICE) || class >= ATTACHED
}

/// A letter without its stroke or hook, which Unicode has no mark for.
fn unstruck(letter: char) -> char {
    match letter {
        'ƀ' | 'ɓ' => 'b',
        'đ' | 'ɗ' | 'ɖ' => 'd',
        'ǥ' | 'ɠ' => 'g',
        'ħ' => 'h',
        'ɨ' | 'ł' => 'l',
        'ƙ' => 'k',
        'ŋ' | 'ɲ' => 'n',
        'ø' => 'o',
        'ƥ' => 'p',
        'ŧ' | 'ƭ' => 't',
        'ƴ' => 'y',
        'ƶ' => 'z',
        other => other,
    }
}

/// No person is called so: there a similar name is as bad.
fn word(name: &str) -> Option<&'static str> {
    static LOOKS: LazyLock<[(String, &str); 7]> =
        LazyLock::new(|| WORDS.map(|word| (rough(word), word)));
    let rough = rough(name);
    LOOKS.iter().find(|(known, _)| *known == rough).map(|(_, word)| *word)
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
            ("ALlCE", "alice"),
            ("b0b", "bob"),
            ("B0B", "bob"),
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
        // The same users, and others.
        for other in ["ALICE", "BOB", "alicia", "carol", "bobby", "servers", "анна"] {
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
        // Of two scripts: no name is written so, and its look is the same.
        assert_eq!(looks("АLICE")[1..], looks("ALICE")[1..]);
        for word in ["МОDЕRАТОR", "ОРЕRАТОR", "YОU", "ОWNЕR", "iobby", "ovvner", "rnoclerator"]
        {
            assert!(super::word(word).is_some(), "{word}");
        }
    }

    #[test]
    fn two_letters_that_look_like_one_are_found() {
        let pairs = [
            ("vvalter", "walter"),
            ("VVALTER", "Walter"),
            ("tomrny", "tommy"),
            ("rnarla", "marla"),
            ("a__b", "a_b"),
            ("a_b", "a___b"),
            ("a--b", "a-b"),
            ("bob__", "bob_"),
            ("marIa", "marla"),
            ("MarIa", "MARLA"),
            ("MARlA", "MARIA"),
            ("mar1a", "marla"),
            ("mar1a", "maria"),
            ("CAR1", "carl"),
            ("Ian", "lan"),
            ("Al", "AI"),
            ("νίκος", "νίκοσ"),
            ("ΝΙΚΟΣ", "νικοσ"),
            ("σοσ", "σος"),
        ];
        for (one, other) in pairs {
            assert!(alike(one, other) && alike(other, one), "{one} {other}");
        }
    }

    #[test]
    fn vowels_and_tones_that_are_marks_are_letters() {
        for (one, other) in [("राम", "रम"), ("कुमार", "कमार"), ("แม่", "แม"), ("한", "하")]
        {
            let mut looks = Looks::default();
            looks.add(&name(one));
            assert_eq!(looks.similar(&name(other)), None, "{one} {other}");
        }
    }

    #[test]
    fn other_names_that_are_similar_are_both_registered_and_reported() {
        let pairs = [
            ("marla", "maria"),
            ("MARLA", "maria"),
            ("MARIA", "marla"),
            ("MARLA", "MARIA"),
            ("Marla", "Maria"),
            ("carl", "cari"),
            ("Carl", "Cari"),
            ("Ian", "Lan"),
            ("ian", "lan"),
            ("Al", "Ai"),
            ("lena", "iena"),
            ("clara", "dara"),
            ("claudia", "daudia"),
            ("anna", "ama"),
            ("hannah", "hamah"),
            ("bob", "8ob"),
            ("bob5", "bobs"),
            ("anna2", "annaz"),
            ("alice", "alice_"),
            ("anna_lena", "annalena"),
            ("a-b", "a_b"),
            ("bob", "bọb"),
            ("bob", "bo\u{331}b"),
            ("alice", "alicẹ"),
            ("Mia", "Mịa"),
            ("jose", "José"),
            ("ivan", "ɨvan"),
            ("paul", "pauł"),
            ("dora", "đora"),
            ("olga", "ơlga"),
            ("olga", "øLGA"),
            ("lisa", "ļisa"),
            ("hanna", "ħanna"),
            ("tina", "ŧina"),
            ("tina", "7ina"),
            ("ben", "6en"),
            ("ben", "ɓen"),
            ("nina", "ŋina"),
            ("suu", "sw"),
            ("パパ", "ババ"),
            ("сергей", "сергеи"),
            ("άννα", "αννα"),
        ];
        for (one, other) in pairs {
            for (one, other) in [(one, other), (other, one)] {
                let mut looks = Looks::default();
                looks.add(&name(one));
                assert_eq!(looks.alike(&name(other)), None, "{one} {other}");
                assert_eq!(looks.similar(&name(other)), Some(&name(one)), "{one} {other}");
                assert_eq!(looks.similar(&name(one)), None);
                looks.remove(&name(one));
                assert_eq!(looks.similar(&name(other)), None);
            }
        }
    }

    #[test]
    fn looks_are_folded_completely() {
        let letters = (0..=0x2ffff).filter_map(char::from_u32);
        for letter in letters.filter(|letter| letter.is_alphanumeric()) {
            for stroke in ['l', 'i'] {
                let look = shape(&letter.to_string(), stroke);
                assert_eq!(shape(&look, stroke), look, "{letter} U+{:04X}", u32::from(letter));
            }
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
            assert_eq!((looks.alike(&one), looks.similar(&one)), (None, None), "{one}");
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
