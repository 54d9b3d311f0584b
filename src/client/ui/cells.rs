//! The cells of a grapheme in a terminal. Many terminals, such as xterm, tmux and VTE, add up the
//! widths of its characters. Where that sum is larger than the width of the grapheme, the terminal
//! would draw a letter in the cell of the next character, which then covers it. Fillers reserve the
//! additional cells.

use std::borrow::Cow;

use ratatui::buffer::CellWidth;
use ratatui::style::Style;
use ratatui::text::Span;

/// A filler: a noncharacter, which no text of others contains, with the width 1. It is not written
/// to the terminal.
pub const FILLER: char = '\u{fdd0}';

/// Variation selector 16: displays the previous character as an emoji.
const EMOJI_STYLE: char = '\u{fe0f}';

fn width(c: char) -> usize {
    usize::from(c.encode_utf8(&mut [0; 4]).cell_width())
}

/// Returns how many cells more than its width a terminal may draw for a grapheme. It is 0 for
/// emoji: the part of a picture that is covered is no letter.
pub fn excess(grapheme: &str) -> usize {
    let cells = usize::from(grapheme.cell_width());
    if grapheme.is_ascii() || cells == 0 || grapheme.chars().any(|c| width(c) > 1) {
        return 0;
    }
    let each = |c| if is_spacing(c) { 1 } else { width(c) };
    grapheme.chars().map(each).sum::<usize>().saturating_sub(cells)
}

/// Returns how many cells a terminal draws for a grapheme at most, also for an emoji that it does
/// not join.
pub fn cells_max(grapheme: &str) -> usize {
    let each = |c| match c {
        _ if is_flag(c) => 2,
        _ if is_spacing(c) => 1,
        // Vowels and final consonants of Hangul, which some terminals do not compose.
        '\u{1160}'..='\u{11ff}' | '\u{d7b0}'..='\u{d7fb}' => 1,
        _ => width(c),
    };
    grapheme.chars().map(each).sum::<usize>().max(grapheme.cell_width().into())
}

fn is_flag(c: char) -> bool {
    matches!(c, '\u{1f1e6}'..='\u{1f1ff}')
}

/// Returns whether a grapheme is a wide character, such as a Han ideograph or an emoji, and not a
/// letter with marks.
pub fn is_wide(grapheme: &str) -> bool {
    !grapheme.is_ascii()
        && usize::from(grapheme.cell_width()) > 1
        && grapheme.chars().any(|c| c == EMOJI_STYLE || width(c) > 1 || is_flag(c))
}

/// Returns a text with a filler for each additional cell that a terminal may draw.
pub fn filled(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut filled = String::with_capacity(text.len());
    for grapheme in Span::raw(text).styled_graphemes(Style::new()) {
        filled.push_str(grapheme.symbol);
        filled.extend(std::iter::repeat_n(FILLER, excess(grapheme.symbol)));
    }
    Cow::Owned(filled)
}

/// Marks and letters with a cell of their own (`General_Category` Mc and Lo) whose width is 0 in
/// the table of graphemes (`Grapheme_Extend`, `Prepend`), among the characters of Unicode 14.
fn is_spacing(c: char) -> bool {
    matches!(c,
        '\u{9be}' | '\u{9d7}' | '\u{b3e}' | '\u{b57}' | '\u{bbe}' | '\u{bd7}' | '\u{cc0}'
        | '\u{cc2}' | '\u{cc7}'..='\u{cc8}' | '\u{cca}'..='\u{ccb}' | '\u{cd5}'..='\u{cd6}'
        | '\u{d3e}' | '\u{d4e}' | '\u{d57}' | '\u{dcf}' | '\u{ddf}' | '\u{1715}' | '\u{1734}'
        | '\u{1b35}' | '\u{1b3b}' | '\u{1b3d}' | '\u{1b43}'..='\u{1b44}' | '\u{1baa}'
        | '\u{1bf2}'..='\u{1bf3}' | '\u{302e}'..='\u{302f}' | '\u{a953}' | '\u{a9c0}' | '\u{111c0}'
        | '\u{111c2}'..='\u{111c3}' | '\u{11235}' | '\u{1133e}' | '\u{1134d}' | '\u{11357}'
        | '\u{114b0}' | '\u{114bd}' | '\u{115af}' | '\u{116b6}' | '\u{11930}' | '\u{1193d}'
        | '\u{1193f}' | '\u{11941}' | '\u{11a3a}' | '\u{11a84}'..='\u{11a89}' | '\u{11d46}'
        | '\u{16ff0}'..='\u{16ff1}' | '\u{1d165}'..='\u{1d166}' | '\u{1d16d}'..='\u{1d172}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_get_as_many_cells_as_terminals_draw() {
        for (text, wanted) in [
            ("ok", "ok"),
            ("é ß 漢字 ❤\u{fe0f} 🇩🇪 👨\u{200d}👩", "é ß 漢字 ❤\u{fe0f} 🇩🇪 👨\u{200d}👩"),
            ("ক\u{9be}ল\u{9be}", "ক\u{9be}\u{fdd0}ল\u{9be}\u{fdd0}"),
            ("ខ\u{17d2}ញ\u{17bb}\u{17c6}ទ", "ខ\u{17d2}ញ\u{17bb}\u{17c6}\u{fdd0}ទ"),
            ("ន\u{17d2}ទ\u{17d2}រ", "ន\u{17d2}ទ\u{17d2}រ\u{fdd0}"),
            ("क\u{94d}ष", "क\u{94d}ष"),
        ] {
            assert_eq!(filled(text), wanted);
        }
        assert_eq!(["a", "漢", "ক\u{9be}", "🇩🇪"].map(cells_max), [1, 2, 2, 4]);
        assert_eq!(["❤\u{fe0f}", "👨\u{200d}👩\u{200d}👧"].map(cells_max), [2, 6]);
        assert!(is_wide("漢") && is_wide("❤\u{fe0f}") && is_wide("🇩🇪") && is_wide("👍"));
        assert!(!is_wide("a") && !is_wide("क\u{94d}ष") && !is_wide("द\u{947}"));
    }

    #[test]
    fn marks_and_letters_without_a_width_get_a_cell_where_terminals_draw_one() {
        for c in ['\u{9be}', '\u{d4e}', '\u{111c2}', '\u{11941}', '\u{11a89}'] {
            assert_eq!((width(c), is_spacing(c)), (0, true), "{c:?}");
        }
        // Marks above and below a letter.
        for c in ['\u{301}', '\u{94d}', '\u{17bb}'] {
            assert_eq!((width(c), is_spacing(c)), (0, false), "{c:?}");
        }
    }
}
