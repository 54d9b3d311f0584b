//! Words as a search knows them: letters and digits in a row, in any case, with or without the
//! marks on Latin letters. The same as SQLite's index of the ledger knows.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::Refusal;
use crate::limits::{SEARCH_BYTES_MAX, SEARCH_WORDS_MAX};

/// What is looked for: lines that hold all its words, whole. Bounded in bytes and in words, because
/// a search costs each line that it looks at once for each word.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    text: String,
    rows: Vec<Vec<String>>,
}

impl Wanted {
    /// What stands between blanks is one word or, where there is more than letters in it, several
    /// in a row: `a.a.a` counts as three.
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

    /// The text as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Nothing is in no line.
    pub fn is_in(&self, text: &str) -> bool {
        let words: Vec<String> = words(text).collect();
        let holds = |row: &Vec<String>| words.windows(row.len()).any(|part| part == row);
        !self.rows.is_empty() && self.rows.iter().all(holds)
    }
}

/// The words of a text.
fn words(text: &str) -> impl Iterator<Item = String> {
    let letter = |c: char| c.is_alphanumeric() && !is_combining_mark(c);
    let parts = text.split(move |c: char| !letter(c) && !is_accent(c));
    let word = |part: &str| part.chars().filter(|c| !is_accent(*c)).map(plain).collect();
    parts.map(word).filter(|word: &String| !word.is_empty())
}

/// Marks that are written upon letters behind them; others divide words.
fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{331}')
}

/// A character in lower case, a Latin letter without its marks.
fn plain(c: char) -> char {
    let mut lower = c.to_lowercase();
    let lower = match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        // Turkish capital I: its dot is a mark.
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
    fn words_are_whole_and_in_any_case_and_what_is_joined_stands_in_a_row() {
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
    fn a_search_is_bounded_in_bytes_and_in_words_as_the_index_counts_them() {
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
        assert_eq!(refused(&"中".repeat(80)), None, "a row of letters is one word");
        assert_eq!(refused(&".".repeat(256)), None, "and what is no letter is none");
    }

    proptest! {
        #[test]
        fn each_word_of_a_text_is_in_it(text in "\\PC{0,60}") {
            for word in words(&text) {
                prop_assert!(Wanted::new(&word).unwrap().is_in(&text), "{word:?} in {text:?}");
            }
        }
    }

    /// Every letter of the scripts that most people write, beside SQLite's own.
    #[cfg(feature = "server")]
    #[test]
    fn words_are_those_of_sqlite() {
        let scripts =
            [0..0x250, 0x386..0x528, 0x5d0..0x5eb, 0x620..0x64b, 0x904..0x970, 0xe01..0xe50];
        let others =
            [0x1e00..0x1f16, 0x3041..0x3097, 0x30a0..0x3100, 0x4e00..0x9fa6, 0xac00..0xd7a4];
        let all = scripts.into_iter().chain(others).flatten().filter_map(char::from_u32);
        // Not: two letters with two marks each, an old s with a dot, and Greek letters as symbols.
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
