//! Words of the search: runs of letters and digits, in any case, with or without diacritics on
//! Latin letters. SQLite's index of the ledger splits texts in the same way.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::Refusal;
use crate::limits::{SEARCH_BYTES_MAX, SEARCH_WORDS_MAX};

/// A search: it finds texts that contain all its words, whole. Bounded in bytes and words, because
/// each candidate text is compared with each word.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    text: String,
    rows: Vec<Vec<String>>,
}

impl Wanted {
    /// Parses a search. A part between blanks is one word or, with other characters between
    /// letters, several adjacent words: `a.a.a` counts as three.
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
        let rows = text.split_whitespace().map(|row| words(row).collect::<Vec<_>>());
        let rows: Vec<_> = rows.filter(|row| !row.is_empty()).collect();
        bounded(rows.iter().map(Vec::len).sum(), SEARCH_WORDS_MAX, "words")?;
        Ok(Wanted { text: text.to_owned(), rows })
    }

    /// Returns the text as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a text contains all words. A search without words finds nothing.
    pub fn is_in(&self, text: &str) -> bool {
        let words: Vec<String> = words(text).collect();
        let holds = |row: &Vec<String>| words.windows(row.len()).any(|part| part == row);
        !self.rows.is_empty() && self.rows.iter().all(holds)
    }
}

/// Splits a text into words.
fn words(text: &str) -> impl Iterator<Item = String> {
    let letter = |c: char| c.is_alphanumeric() && !is_combining_mark(c);
    let parts = text.split(move |c: char| !letter(c) && !is_accent(c));
    let word = |part: &str| part.chars().filter(|c| !is_accent(*c)).map(plain).collect();
    parts.map(word).filter(|word: &String| !word.is_empty())
}

/// Combining marks that belong to the letter before them; other marks separate words.
fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{331}')
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
        let finds = |wanted: &str, text: &str| Wanted::new(wanted).unwrap().is_in(text);
        assert!(finds("TEA green", "Green tea and cake"));
        assert!(!finds("gree", "green tea") && !finds("tea water", "green tea"));
        assert!(
            finds("café", "Cafe\u{301}!") && finds("cafe", "CAFÉ") && finds("straße", "STRAßE")
        );
        assert!(finds("half-past", "half past") && !finds("half-past", "past half"));
        assert!(finds("tea --- (", "tea") && !finds("--- (", "--- ("), "no word finds nothing");
    }

    #[test]
    fn a_search_is_bounded_in_bytes_and_words() {
        let refused = |text: &str| Wanted::new(text).err().map(|refusal| refusal.to_string());
        assert_eq!(refused(&"tea ".repeat(SEARCH_WORDS_MAX)), None);
        let seven = |word: &str| refused(&word.repeat(7_000)).unwrap();
        assert!(seven("a.").contains("256 bytes and this one has 14000"), "{}", seven("a."));
        for many in ["a.", "b ", "é-", "中,", "त्", "a\u{301}.", "x\"y\""] {
            let text = many.repeat(SEARCH_WORDS_MAX + 1);
            let told = refused(&text).expect(many);
            assert!(told.contains("32 words and this one has") || text.len() > 256, "{told}");
            assert!(told.contains("search for fewer"), "{told}");
        }
        assert_eq!(refused(&"中".repeat(80)), None, "letters without separators are one word");
        assert_eq!(refused(&".".repeat(256)), None, "other characters are no words");
    }

    proptest! {
        #[test]
        fn each_word_of_a_text_is_found(text in "\\PC{0,60}") {
            for word in words(&text) {
                prop_assert!(Wanted::new(&word).unwrap().is_in(&text), "{word:?} in {text:?}");
            }
        }
    }

    /// Every letter of the most common scripts, compared with SQLite's tokenizer.
    #[cfg(feature = "server")]
    #[test]
    fn words_are_those_of_sqlite() {
        let scripts =
            [0..0x250, 0x386..0x528, 0x5d0..0x5eb, 0x620..0x64b, 0x904..0x970, 0xe01..0xe50];
        let others =
            [0x1e00..0x1f16, 0x3041..0x3097, 0x30a0..0x3100, 0x4e00..0x9fa6, 0xac00..0xd7a4];
        let all = scripts.into_iter().chain(others).flatten().filter_map(char::from_u32);
        // Except two letters with two marks each, an old s with a dot, and Greek letters as
        // symbols.
        let letter = |c: &char| c.is_alphanumeric() && !"Ǡǡẛϐϑϕϖϰϱϵ".contains(*c);
        let letters: Vec<char> = all.filter(letter).collect();
        let db = rusqlite::Connection::open_in_memory().unwrap();
        let tables =
            "CREATE VIRTUAL TABLE w USING fts5(text, tokenize = 'unicode61 remove_diacritics 2');
            CREATE VIRTUAL TABLE v USING fts5vocab(w, instance); BEGIN";
        db.execute_batch(tables).unwrap();
        let mut add = db.prepare("INSERT INTO w (rowid, text) VALUES (?1, ?2)").unwrap();
        for (row, c) in letters.iter().enumerate() {
            add.execute(rusqlite::params![row, format!("x{c}y")]).unwrap();
        }
        let mut theirs = vec![Vec::new(); letters.len()];
        let mut terms = db.prepare("SELECT doc, term FROM v ORDER BY doc, offset").unwrap();
        let mut rows = terms.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            theirs[row.get::<_, usize>(0).unwrap()].push(row.get::<_, String>(1).unwrap());
        }
        assert!(letters.len() > 30_000);
        let differs = |(c, theirs): &(&char, Vec<String>)| {
            words(&format!("x{c}y")).collect::<Vec<_>>() != *theirs
        };
        let others: Vec<_> = letters.iter().zip(theirs).filter(differs).collect();
        assert!(others.is_empty(), "{others:?}");
    }
}
