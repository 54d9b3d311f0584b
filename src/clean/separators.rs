//! The zero width space, which separates words of scripts that write no blanks between them: it
//! shows where a line may end (UAX 14, class ZW). It stays there only, because elsewhere it
//! disguises a word.

use super::shape::is_mark;

/// The zero width space.
pub const ZERO_WIDTH_SPACE: char = '\u{200b}';

/// Returns whether a zero width space separates words between two characters. A mark begins no
/// word.
pub fn separates(previous: Option<char>, next: Option<char>) -> bool {
    previous.is_some_and(has_no_blanks) && next.is_some_and(|c| has_no_blanks(c) && !is_mark(c))
}

/// Characters of scripts without blanks between words: `Line_Break` SA of Unicode 14, without the
/// two invisible vowels of Khmer.
fn has_no_blanks(c: char) -> bool {
    matches!(c,
        // Thai, Lao.
        '\u{e01}'..='\u{e3a}' | '\u{e40}'..='\u{e4e}' | '\u{e81}'..='\u{e82}' | '\u{e84}'
        | '\u{e86}'..='\u{e8a}' | '\u{e8c}'..='\u{ea3}' | '\u{ea5}' | '\u{ea7}'..='\u{ebd}'
        | '\u{ec0}'..='\u{ec4}' | '\u{ec6}' | '\u{ec8}'..='\u{ecd}' | '\u{edc}'..='\u{edf}'
        // Myanmar.
        | '\u{1000}'..='\u{103f}' | '\u{1050}'..='\u{108f}' | '\u{109a}'..='\u{109f}'
        | '\u{a9e0}'..='\u{a9ef}' | '\u{a9fa}'..='\u{a9fe}' | '\u{aa60}'..='\u{aa7f}'
        // Khmer.
        | '\u{1780}'..='\u{17b3}' | '\u{17b6}'..='\u{17d3}' | '\u{17d7}' | '\u{17dc}'..='\u{17dd}'
        // Tai Le, New Tai Lue, Tai Tham, Tai Viet, Ahom.
        | '\u{1950}'..='\u{196d}' | '\u{1970}'..='\u{1974}' | '\u{1980}'..='\u{19ab}'
        | '\u{19b0}'..='\u{19c9}' | '\u{19da}' | '\u{19de}'..='\u{19df}'
        | '\u{1a20}'..='\u{1a5e}' | '\u{1a60}'..='\u{1a7c}' | '\u{1aa0}'..='\u{1aad}'
        | '\u{aa80}'..='\u{aac2}' | '\u{aadb}'..='\u{aadf}'
        | '\u{11700}'..='\u{1171a}' | '\u{1171d}'..='\u{1172b}' | '\u{1173a}'..='\u{1173b}'
        | '\u{1173f}'..='\u{11746}')
}
