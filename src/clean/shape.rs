//! What a character is displayed as: a sign in a cell, a mark on another one, or nothing.

use unicode_normalization::char::canonical_combining_class;

/// Returns whether a character controls the screen or hides, instead of being displayed.
pub fn acts(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{70f}' | '\u{13430}'..='\u{1345f}'
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{fdd0}'..='\u{fdef}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}')
        || (c as u32) & 0xfffe == 0xfffe
}

/// Returns whether a character is for private use, such as the symbols of some fonts.
pub fn is_private(c: char) -> bool {
    let noncharacter = (c as u32) & 0xfffe == 0xfffe;
    matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}') && !noncharacter
}

/// Returns whether a character is displayed in a cell of its own. Cleaning never removes it.
pub fn has_form(c: char) -> bool {
    (c == '\t' || is_private(c) || !acts(c)) && !is_mark(c)
}

/// Returns whether a character is a combining mark.
pub fn is_mark(c: char) -> bool {
    canonical_combining_class(c) != 0 || unicode_normalization::char::is_combining_mark(c)
}
