//! Words of the search: runs of letters and digits, in any case, with or without diacritics on
//! Latin letters. In scripts that write no spaces between words (Chinese, Japanese, Thai, and
//! others), and in Korean, each character is a word. The full-text index of the ledger contains
//! these words.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::Refusal;
use crate::limits::{SEARCH_BYTES_MAX, SEARCH_WORDS_MAX};

/// Minimum number of letters with which the last word of a part of a search also finds longer words
/// that begin with it. A shorter beginning matches so many words that a search would read large
/// parts of the index.
const BEGINNING_CHARS_MIN: usize = 3;

/// A search: it finds texts that contain all its words. Bounded in bytes and words, because each
/// candidate text is compared with each word.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    text: String,
    rows: Vec<Vec<String>>,
}

/// How the words of a search are compared. An answer first has the texts with the whole words, of
/// all conversations. If it has room for more, the newest texts with longer words follow. For a
/// beginning, the index collects all matches before it returns the first text; for whole words, it
/// returns one text after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// Whole words.
    Whole,
    /// The last word of each part of the search may also be the beginning of a word.
    Beginnings,
}

impl Wanted {
    /// Parses a search. A part between blanks is one word or, with other characters between
    /// letters, several adjacent words: `a.a.a` counts as three. The last word of a part may also
    /// be the beginning of a longer word.
    ///
    /// # Errors
    ///
    /// Refuses a text of more than `SEARCH_BYTES_MAX` bytes or `SEARCH_WORDS_MAX` words.
    pub fn new(text: &str) -> Result<Wanted, Refusal> {
        let bounded = |found, max, of| match found > max {
            true => Err(Refusal::SearchTooLong { found, max, of }),
            false => Ok(()),
        };
        bounded(text.len(), SEARCH_BYTES_MAX, "bytes")?;
        let rows = text.split_whitespace().map(words);
        let rows: Vec<_> = rows.filter(|row| !row.is_empty()).collect();
        bounded(rows.iter().map(Vec::len).sum(), SEARCH_WORDS_MAX, "words")?;
        Ok(Wanted { text: text.to_owned(), rows })
    }

    /// Returns the text as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns whether a text contains all words. A search without words finds nothing.
    pub fn is_in(&self, text: &str, matching: Matching) -> bool {
        let words = words(text);
        let holds =
            |row: &Vec<String>| words.windows(row.len()).any(|part| is_found(row, part, matching));
        !self.rows.is_empty() && self.rows.iter().all(holds)
    }

    /// Returns whether beginnings of words may find more than whole words.
    pub fn has_beginnings(&self) -> bool {
        self.rows.iter().filter_map(|row| row.last()).any(|word| may_begin(word))
    }

    /// Returns the search as a query for SQLite's FTS5, whose index contains the words of
    /// `indexed`.
    pub fn query(&self, matching: Matching) -> String {
        let part = |row: &Vec<String>| {
            let begins = row.last().is_some_and(|word| may_begin(word));
            let begins = begins && matching == Matching::Beginnings;
            format!("\"{}\"{}", row.join(" "), if begins { "*" } else { "" })
        };
        let parts: Vec<String> = self.rows.iter().map(part).collect();
        // An empty phrase finds nothing.
        if parts.is_empty() { "\"\"".to_owned() } else { parts.join(" ") }
    }
}

/// Returns whether adjacent words of a text match a part of a search.
fn is_found(wanted: &[String], words: &[String], matching: Matching) -> bool {
    let (Some((last, wanted)), Some((word, words))) = (wanted.split_last(), words.split_last())
    else {
        return false;
    };
    let begins = matching == Matching::Beginnings && may_begin(last);
    wanted == words && (word == last || begins && word.starts_with(last.as_str()))
}

/// Returns whether a word of a search may also be the beginning of a longer word.
fn may_begin(word: &str) -> bool {
    word.chars().nth(BEGINNING_CHARS_MIN - 1).is_some()
}

/// Returns the words of a text with blanks between them, for the full-text index of the ledger.
#[cfg(any(feature = "server", test))]
pub fn indexed(text: &str) -> String {
    if !text.is_ascii() {
        return words(text).join(" ");
    }
    let mut words = String::with_capacity(text.len());
    for word in ascii_words(text) {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
    words.make_ascii_lowercase();
    words
}

/// Returns the versions of Unicode that decide how a text is split into words: those of the
/// compiler and of the normalization. Other versions may split it differently.
#[cfg(any(feature = "server", test))]
pub fn unicode_versions() -> String {
    let version = |(major, minor, update): (u8, u8, u8)| format!("{major}.{minor}.{update}");
    let normalization = version(unicode_normalization::UNICODE_VERSION);
    format!("{} {normalization}", version(char::UNICODE_VERSION))
}

/// Splits a text of ASCII characters into words, in the case of the text.
fn ascii_words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty())
}

/// Splits a text into words.
fn words(text: &str) -> Vec<String> {
    // Most texts need no tables of Unicode, which take most of the time of the index.
    match text.is_ascii() {
        true => ascii_words(text).map(str::to_ascii_lowercase).collect(),
        false => unicode_words(text),
    }
}

/// Splits a text into words by the tables of Unicode.
fn unicode_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    // NFKC composes `e` and a combining mark into one letter, and turns a wide `Ａ` into an `A`. A
    // remaining accent may separate two parts of a letter; NFC composes them once it is removed.
    for c in text.nfkc().filter(|c| !is_accent(*c)).nfc() {
        let is_mark = is_combining_mark(c);
        if is_mark && word.is_empty() {
            continue;
        }
        // A mark belongs to the letter before it.
        if !is_mark && (!c.is_alphanumeric() || is_unspaced(c) || word.starts_with(is_unspaced)) {
            words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
        }
        if is_mark || c.is_alphanumeric() {
            word.push(plain(c));
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

/// Returns whether a character is a combining mark that a search ignores.
fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

/// Returns whether a character belongs to a script without spaces between words, or is a Korean
/// syllable, which particles follow without a space: Thai, Lao, Burmese, Khmer; Hiragana, Katakana,
/// Bopomofo; Han; Hangul.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3005}'..='\u{3007}' | '\u{3041}'..='\u{30ff}' | '\u{3100}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Folds a character to lower case and a Latin letter to its base letter.
fn plain(c: char) -> char {
    let mut lower = c.to_lowercase();
    let lower = match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        // The lower case of the Turkish capital I has its dot as a combining mark.
        (Some(one @ 'a'..='z'), Some(_)) => one,
        _ => c,
    };
    match lower {
        'ς' => 'σ',
        'ſ' => 's',
        'µ' => 'μ',
        lower => [lower].into_iter().nfd().next().filter(char::is_ascii).unwrap_or(lower),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_match_whole_in_any_case_and_joined_words_in_order() {
        let finds = |wanted: &str, text: &str| {
            Wanted::new(wanted).unwrap().is_in(text, Matching::Beginnings)
        };
        assert!(finds("TEA green", "Green tea and cake"));
        assert!(finds("gree", "green tea") && finds("tea GRE", "green tea"), "a beginning");
        assert!(!finds("reen", "green tea") && !finds("gr", "green tea"), "three letters at least");
        assert!(finds("te", "te deum") && !finds("tea water", "green tea"));
        assert!(
            finds("café", "Cafe\u{301}!") && finds("cafe", "CAFÉ") && finds("straße", "STRAßE")
        );
        assert!(finds("half-past", "half past") && !finds("half-past", "past half"));
        assert!(finds("half-pas", "half past") && !finds("hal-past", "half past"));
        assert!(finds("tea --- (", "tea") && !finds("--- (", "--- ("), "no word finds nothing");
    }

    #[test]
    fn scripts_without_spaces_are_found_in_the_middle() {
        let finds = |wanted: &str, text: &str| {
            Wanted::new(wanted).unwrap().is_in(text, Matching::Beginnings)
        };
        assert!(finds("绿茶", "我喜欢喝绿茶。") && finds("茶", "我喜欢喝绿茶。"));
        assert!(!finds("茶绿", "我喜欢喝绿茶。") && !finds("红茶", "我喜欢喝绿茶。"));
        assert!(finds("お茶", "お茶を飲みます") && finds("飲み", "お茶を飲みます"));
        assert!(
            finds("コーヒー", "朝のｺｰﾋｰ") && finds("が", "か\u{3099}"),
            "one form of each letter"
        );
        assert!(finds("กาแฟ", "ฉันดื่มกาแฟตอนเช้า") && finds("ดื่ม", "ฉันดื่มกาแฟตอนเช้า"));
        assert!(finds("ข้าว", "กินข้าว") && !finds("ข้าว", "สีขาว"), "a tone is no accent");
        assert!(finds("학교", "학교에서") && finds("क्षमा", "क्षमा करें") && !finds("कषमा", "क्षमा"));
        assert!(finds("tea茶", "green tea茶!") && finds("ＴＥＡ", "tea"));
    }

    #[test]
    fn a_search_is_bounded_in_bytes_and_words() {
        let refused = |text: &str| Wanted::new(text).err().map(|refusal| refusal.to_string());
        assert_eq!(refused(&"tea ".repeat(SEARCH_WORDS_MAX)), None);
        let seven = |word: &str| refused(&word.repeat(7_000)).unwrap();
        assert!(seven("a.").contains("256 bytes and this one has 14000"), "{}", seven("a."));
        for many in ["a.", "b ", "é-", "中,", "त् ", "a\u{301}.", "x\"y\""] {
            let text = many.repeat(SEARCH_WORDS_MAX + 1);
            let told = refused(&text).expect(many);
            assert!(told.contains("32 words and this one has") || text.len() > 256, "{told}");
            assert!(told.contains("search for fewer"), "{told}");
        }
        assert_eq!(refused(&"中".repeat(32)), None);
        assert!(refused(&"中".repeat(33)).unwrap().contains("32 words and this one has 33"));
        assert_eq!(refused(&"x".repeat(256)), None, "letters without separators are one word");
        assert_eq!(refused(&".".repeat(256)), None, "other characters are no words");
    }

    #[test]
    fn two_parts_of_a_letter_with_an_accent_between_them_are_one_letter() {
        let cases = [("\u{627}\u{301}\u{653}", "\u{622}"), ("\u{1100}\u{301}\u{1161}", "\u{ac00}")];
        for (text, word) in cases {
            assert_eq!(words(text), [word]);
            assert_eq!(words(&indexed(text)), [word], "a second split yields the same words");
        }
    }

    proptest! {
        #[test]
        fn each_word_of_a_text_is_found(text in "\\PC{0,60}") {
            for word in words(&text).into_iter().filter(|word| word.len() <= 256) {
                prop_assert!(Wanted::new(&word).unwrap().is_in(&text, Matching::Whole), "{word:?} in {text:?}");
            }
        }

        #[test]
        fn texts_of_ascii_characters_have_the_words_that_the_tables_give(text in "[ -~\\t\\n]{0,80}") {
            prop_assert_eq!(words(&text), unicode_words(&text));
            prop_assert_eq!(indexed(&text), unicode_words(&text).join(" "));
        }

        #[test]
        fn a_second_split_yields_the_same_words(text in "\\PC{0,60}") {
            prop_assert_eq!(words(&indexed(&text)), words(&text));
        }
    }

    /// SQLite's index of the words of `indexed` finds the same texts as `is_in`.
    #[cfg(feature = "server")]
    #[test]
    fn the_index_and_the_comparison_find_the_same_texts() {
        let texts = [
            "Green tea, half past two",
            "STRASSE straße Straßenbahn",
            "我喜欢喝绿茶。お茶 ｺｰﾋｰ",
            "ฉันดื่มกาแฟตอนเช้า",
            "क्षमा करें",
            "학교에서 tea茶",
            "a_b c'd \"quoted\" (OR)",
            "x1y2 ２３ é e\u{301}",
        ];
        let db = rusqlite::Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE VIRTUAL TABLE w USING fts5(text, tokenize = 'ascii')").unwrap();
        let mut add = db.prepare("INSERT INTO w (rowid, text) VALUES (?1, ?2)").unwrap();
        for (row, text) in texts.iter().enumerate() {
            add.execute(rusqlite::params![row, indexed(text)]).unwrap();
        }
        let mut find = db.prepare("SELECT rowid FROM w WHERE w MATCH ?1 ORDER BY rowid").unwrap();
        let parts = texts.iter().flat_map(|text| {
            let chars: Vec<char> = text.chars().collect();
            let ends = 1..=chars.len().min(9);
            let part = move |length: usize| {
                chars
                    .windows(length)
                    .map(|part| part.iter().collect::<String>())
                    .collect::<Vec<_>>()
            };
            ends.flat_map(part)
        });
        let mut found_some = 0;
        for part in parts {
            let wanted = Wanted::new(&part).unwrap();
            for matching in [Matching::Whole, Matching::Beginnings] {
                let query = [wanted.query(matching)];
                let rows = find.query_map(query, |row| row.get::<_, usize>(0)).unwrap();
                let rows: Vec<usize> = rows.map(Result::unwrap).collect();
                let compared = (0..texts.len()).filter(|row| wanted.is_in(texts[*row], matching));
                assert_eq!(rows, compared.collect::<Vec<_>>(), "{part:?} {matching:?}");
                found_some += usize::from(!rows.is_empty());
            }
        }
        assert!(found_some > 500, "{found_some}");
    }
}
