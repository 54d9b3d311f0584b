//! Layout of the typed text: rows, and the cell of the cursor. Pure. The editor counts characters;
//! the screen has graphemes and cells.

use ratatui::buffer::CellWidth;
use ratatui::style::Style;
use ratatui::text::Span;

use crate::client::ui::cells;

/// Rows, and the row and column of the cursor.
#[derive(Debug, Default, PartialEq)]
pub struct Typed {
    pub rows: Vec<String>,
    pub cursor: (usize, usize),
}

/// A grapheme: the end in the line's text, and the index of its first character.
struct Piece {
    end: usize,
    cells: usize,
    first: usize,
    is_space: bool,
}

/// Lays out lines within a width in cells. The last cell is for the cursor, and for a trailing
/// space.
pub fn lay_out(lines: &[String], cursor: (usize, usize), secret: bool, cells: usize) -> Typed {
    let width = cells.saturating_sub(1).max(1);
    let mut typed = Typed::default();
    for (number, line) in lines.iter().enumerate() {
        let shown = match secret {
            true => "*".repeat(line.chars().count()),
            false => visible(line),
        };
        let mut start = 0;
        for row in wrapped(&shown, width) {
            let begins = row.first().map_or_else(|| line.chars().count(), |piece| piece.first);
            if number == cursor.0 && begins <= cursor.1 {
                let before = row.iter().take_while(|piece| piece.first < cursor.1);
                // Within a grapheme the cursor is shown after it.
                typed.cursor = (typed.rows.len(), before.map(|piece| piece.cells).sum());
            }
            let end = row.last().map_or(start, |piece| piece.end);
            typed.rows.push(cells::filled(&shown[start..end]).into_owned());
            start = end;
        }
    }
    typed
}

fn wrapped(shown: &str, width: usize) -> Vec<Vec<Piece>> {
    let (mut rows, mut row, mut used) = (Vec::new(), Vec::<Piece>::new(), 0);
    let (mut first, mut end) = (0, 0);
    for grapheme in Span::raw(shown).styled_graphemes(Style::new()) {
        let (excess, is_wide) = (cells::excess(grapheme.symbol), cells::is_wide(grapheme.symbol));
        let cells = usize::from(grapheme.symbol.cell_width()) + excess;
        let is_space = grapheme.symbol == " ";
        let room = if is_space { width + 1 } else { width };
        while used + cells > room && !row.is_empty() {
            let space = row.iter().rposition(|piece| piece.is_space).filter(|_| !is_space);
            let rest = space.filter(|_| !is_wide).map(|at| row.split_off(at + 1));
            rows.push(std::mem::replace(&mut row, rest.unwrap_or_default()));
            used = row.iter().map(|piece| piece.cells).sum();
        }
        end += grapheme.symbol.len();
        row.push(Piece { end, cells, first, is_space });
        used += cells;
        first += grapheme.symbol.chars().count();
    }
    // After a space in its own cell the cursor is shown in the next row.
    if used > width && row.len() > 1 {
        rows.push(std::mem::take(&mut row));
    }
    rows.push(row);
    rows
}

/// As many characters, without those that ratatui omits.
fn visible(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Count of characters in the grapheme before (or after) a position of a line.
pub fn grapheme(line: &str, column: usize, before: bool) -> usize {
    let mut first = 0;
    for grapheme in Span::raw(visible(line)).styled_graphemes(Style::new()) {
        let end = first + grapheme.symbol.chars().count();
        if before && first < column && column <= end {
            return column - first;
        }
        if !before && first <= column && column < end {
            return end - column;
        }
        first = end;
    }
    1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn typed(text: &str, cursor: (usize, usize), cells: usize) -> Typed {
        let lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
        lay_out(&lines, cursor, false, cells)
    }

    #[test]
    fn words_stay_whole_and_the_cursor_is_in_its_cell() {
        let of = |rows: &[&str], cursor| Typed {
            rows: rows.iter().map(|row| (*row).to_owned()).collect(),
            cursor,
        };
        assert_eq!(typed("", (0, 0), 9), of(&[""], (0, 0)));
        assert_eq!(typed("one two", (0, 7), 6), of(&["one ", "two"], (1, 3)));
        assert_eq!(typed("one two", (0, 4), 6), of(&["one ", "two"], (1, 0)));
        assert_eq!(typed("four five", (0, 5), 5), of(&["four ", "five"], (1, 0)));
        assert_eq!(typed("four ", (0, 5), 5), of(&["four ", ""], (1, 0)));
        assert_eq!(typed("abcdef", (0, 6), 4), of(&["abc", "def"], (1, 3)));
        assert_eq!(typed("a\nb", (1, 1), 4), of(&["a", "b"], (1, 1)));
        assert_eq!(typed("漢字", (0, 2), 9), of(&["漢字"], (0, 4)));
        assert_eq!(typed("a bcd漢", (0, 6), 6), of(&["a bcd", "漢"], (1, 2)));
        assert_eq!(typed("❤\u{fe0f}x", (0, 3), 9), of(&["❤\u{fe0f}x"], (0, 3)));
        assert_eq!(typed("👨\u{200d}👩\u{200d}👧!", (0, 6), 9).cursor, (0, 3));
        assert_eq!(typed("e\u{301}!", (0, 2), 9).cursor, (0, 1));
        // Fillers reserve the cells that terminals draw.
        assert_eq!(typed("ক\u{9be}!", (0, 3), 9), of(&["ক\u{9be}\u{fdd0}!"], (0, 3)));
        assert_eq!(lay_out(&["漢".into()], (0, 1), true, 9), of(&["*"], (0, 1)));
        assert_eq!(typed("漢", (0, 1), 0).rows, ["漢"]);
    }

    #[test]
    fn a_grapheme_is_one_step() {
        let line = "a❤\u{fe0f}e\u{301}";
        assert_eq!([1, 3, 5].map(|column| grapheme(line, column, true)), [1, 2, 2]);
        assert_eq!([0, 1, 3, 5].map(|column| grapheme(line, column, false)), [1, 2, 2, 1]);
        assert_eq!((grapheme("", 0, true), grapheme("\tab", 2, true)), (1, 1));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_the_cursor_is_on_the_screen(
            text in "[a-z 漢é👍\u{fe0f}\u{301}\t\n]{0,60}", at in 0usize..60, cells in 3usize..20,
        ) {
            let lines: Vec<&str> = text.split('\n').collect();
            let line = at % lines.len();
            let cursor = (line, at % (lines[line].chars().count() + 1));
            let typed = typed(&text, cursor, cells);
            prop_assert_eq!(typed.rows.concat(), text.replace('\n', "").replace('\t', " "));
            prop_assert!(typed.cursor.0 < typed.rows.len() && typed.cursor.1 < cells);
            for row in &typed.rows {
                prop_assert!(usize::from(row.as_str().cell_width()) <= cells, "{row:?}");
            }
        }
    }
}
