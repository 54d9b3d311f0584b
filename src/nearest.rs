//! The name that a mistyped word may mean.

/// Returns the name with the fewest typing errors to a word, and their number; the first in the
/// alphabet of several.
pub fn nearest<N: AsRef<str> + Ord>(
    word: &str,
    names: impl Iterator<Item = N>,
) -> Option<(usize, N)> {
    names.map(|name| (strsim::damerau_levenshtein(name.as_ref(), word), name)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_with_its_distance() {
        let names = || ["join", "part", "people"].into_iter();
        assert_eq!(nearest("jion", names()), Some((1, "join")));
        assert_eq!(nearest("people", names()), Some((0, "people")));
        assert_eq!(nearest("x", std::iter::empty::<&str>()), None);
    }
}
