//! Case-insensitive search in texts. Pure.

use std::ops::Range;

/// The ranges of `query` in `text`.
pub fn find(text: &str, query: &str) -> Vec<Range<usize>> {
    let wanted: Vec<char> = query.chars().flat_map(char::to_lowercase).collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    // Lower case may be longer, so each of its characters keeps its origin.
    let lower =
        |(at, c): (usize, char)| c.to_lowercase().map(move |lower| (lower, at, at + c.len_utf8()));
    let lowered: Vec<(char, usize, usize)> = text.char_indices().flat_map(lower).collect();
    let mut hits: Vec<Range<usize>> = Vec::new();
    for part in lowered.windows(wanted.len()) {
        let (start, end) = (part[0].1, part[part.len() - 1].2);
        let new = hits.last().is_none_or(|last| start >= last.end);
        if new && part.iter().map(|one| one.0).eq(wanted.iter().copied()) {
            hits.push(start..end);
        }
    }
    hits
}

/// A query for many texts.
pub struct Needle {
    lower: Vec<char>,
    ascii: bool,
}

impl Needle {
    pub fn new(query: &str) -> Needle {
        let lower = query.chars().flat_map(char::to_lowercase).collect();
        Needle { lower, ascii: query.is_ascii() }
    }

    /// Returns whether `find` would find it.
    pub fn is_in(&self, text: &str) -> bool {
        let Some(first) = self.lower.first() else { return false };
        if self.ascii && text.is_ascii() {
            let same = |(byte, c): (&u8, &char)| byte.to_ascii_lowercase() == *c as u8;
            let whole = |part: &[u8]| part.iter().zip(&self.lower).all(same);
            return text.as_bytes().windows(self.lower.len()).any(whole);
        }
        let begins = |(at, c): (usize, char)| {
            c.to_lowercase().next() == Some(*first) && {
                let mut lower = text[at..].chars().flat_map(char::to_lowercase);
                self.lower.iter().all(|c| lower.next() == Some(*c))
            }
        };
        text.char_indices().any(begins)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_found_in_any_case() {
        assert_eq!(find("Tea and tea", "tea"), [0..3, 8..11]);
        assert_eq!(find("aaaa", "aa"), [0..2, 2..4]);
        assert_eq!(find("GRÜN üN", "ün"), [2..5, 6..9]);
        assert_eq!(find("İi", "i"), [0..2, 2..3]);
        assert!(find("tea", "").is_empty() && find("", "tea").is_empty());
    }

    proptest! {
        #[test]
        fn a_needle_is_where_find_finds_it(text in "[abAB gGüÜß漢\n]{0,20}", query in "[abAüÜg漢]{0,3}") {
            prop_assert_eq!(Needle::new(&query).is_in(&text), !find(&text, &query).is_empty());
        }
    }
}
