//! The name that a mistyped word may mean.

/// Returns the name with the fewest typing errors to a word, and their number; the first in the
/// alphabet of several.
pub fn nearest<N: AsRef<str> + Ord>(
    word: &str,
    names: impl Iterator<Item = N>,
) -> Option<(usize, N)> {
    names.map(|name| (typing_errors(name.as_ref(), word), name)).min()
}

/// A word with this many more characters than a name is not a misspelling of it.
const LONGER_MAX: usize = 32;

/// Returns the number of typing errors between a word and a name. The cost of a comparison is the
/// product of both lengths, and the word may be a whole message: of a word that is much longer than
/// the name, the difference of their lengths is returned, which is the least number of errors.
pub fn typing_errors(name: &str, word: &str) -> usize {
    match word.chars().count().saturating_sub(name.chars().count()) {
        0..=LONGER_MAX => strsim::damerau_levenshtein(name, word),
        longer => longer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_with_its_distance() {
        let names = || ["join", "part", "people"].into_iter();
        assert_eq!(nearest("jion", names()), Some((1, "join")));
        assert_eq!(nearest("people", names()), Some((0, "people")));
        let long = "x".repeat(100_000);
        assert_eq!(nearest(&long, names()), Some((99_994, "people")));
        for (name, word, errors) in [("join", "join", 0), ("j", "€", 1), ("j", "joins", 4)] {
            assert_eq!(typing_errors(name, word), errors);
        }
        assert_eq!(nearest("x", std::iter::empty::<&str>()), None);
    }
}
