//! Variation selectors: invisible characters that choose a form of the previous one. Each stays
//! behind the characters for which Unicode defines such a form, and is removed elsewhere.

use super::emoji::is_pictograph;

/// The Mongolian vowel separator.
const VOWEL_SEPARATOR: char = '\u{180e}';
const KEYCAP: char = '\u{20e3}';

pub fn is_selector(c: char) -> bool {
    matches!(c, '\u{180b}'..='\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// Returns whether a selector has a meaning between these characters.
pub fn selects(selector: char, base: Option<char>, next: Option<char>) -> bool {
    let Some(base) = base else { return false };
    match selector {
        VOWEL_SEPARATOR => {
            let may_follow =
                is_mongolian(base) || matches!(base, '\u{180b}'..='\u{180d}' | '\u{180f}');
            may_follow && matches!(next, Some('\u{1820}' | '\u{1821}'))
        }
        '\u{180b}'..='\u{180f}' => is_mongolian(base),
        '\u{fe0e}' | '\u{fe0f}' => {
            let is_keycap = matches!(base, '0'..='9' | '#' | '*') && next == Some(KEYCAP);
            is_pictograph(base) || is_keycap
        }
        '\u{fe00}' => {
            is_ideograph(base) || is_punctuation(base) || is_script_letter(base) || has_first(base)
        }
        '\u{fe01}' => is_ideograph(base) || is_punctuation(base) || is_script_letter(base),
        '\u{fe02}' | '\u{e0100}'..='\u{e01ef}' => is_ideograph(base),
        _ => false,
    }
}

/// Letters with the forms of UTN 57.
fn is_mongolian(c: char) -> bool {
    matches!(c, '\u{1820}'..='\u{1878}' | '\u{1880}'..='\u{18aa}')
}

/// Unified_Ideograph of Han, the base of compatibility ideographs and of the sequences of UTS 37.
fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{2fa1f}'
        | '\u{30000}'..='\u{3fffd}')
}

/// Punctuation of East Asia, in a corner of its cell or in the middle.
fn is_punctuation(c: char) -> bool {
    matches!(c, '、' | '。' | '！' | '，' | '．' | '：' | '；' | '？')
}

/// Mathematical capitals, in two styles of script.
fn is_script_letter(c: char) -> bool {
    matches!(c, '\u{1d49c}'..='\u{1d4b5}' | '\u{210b}' | '\u{2110}' | '\u{2112}' | '\u{211b}'
        | '\u{212c}' | '\u{2130}'..='\u{2131}' | '\u{2133}')
}

/// Other characters with a sequence in StandardizedVariants.txt of Unicode 14: the zero, operators,
/// and letters of Myanmar, Phags-pa and Manichaean.
fn has_first(c: char) -> bool {
    matches!(c, '0' | '\u{2205}' | '\u{2229}'..='\u{222a}' | '\u{2268}'..='\u{2269}'
        | '\u{2272}'..='\u{2273}' | '\u{228a}'..='\u{228b}' | '\u{2293}'..='\u{2295}' | '\u{2297}'
        | '\u{229c}' | '\u{22da}'..='\u{22db}' | '\u{2a3c}'..='\u{2a3d}' | '\u{2a9d}'..='\u{2a9e}'
        | '\u{2aac}'..='\u{2aad}' | '\u{2acb}'..='\u{2acc}'
        | '\u{1000}' | '\u{1002}' | '\u{1004}' | '\u{1010}'..='\u{1011}' | '\u{1015}'
        | '\u{1019}'..='\u{101a}' | '\u{101c}'..='\u{101d}' | '\u{1022}' | '\u{1031}' | '\u{1075}'
        | '\u{1078}' | '\u{107a}' | '\u{1080}' | '\u{aa60}'..='\u{aa66}'
        | '\u{aa6b}'..='\u{aa6c}' | '\u{aa6f}' | '\u{aa7a}'
        | '\u{a856}' | '\u{a85c}' | '\u{a85e}'..='\u{a860}' | '\u{a868}'
        | '\u{10ac5}'..='\u{10ac6}' | '\u{10ad6}'..='\u{10ad7}' | '\u{10ae1}')
}
