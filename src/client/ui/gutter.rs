//! Marks at the start of rows that name the author of a text. `server| ` precedes each row of
//! server text, `-- ` and `=!= ` precede this client's own texts, and no other text begins a row.

use ratatui::buffer::CellWidth;
use ratatui::style::Style;
use ratatui::text::Span;

use super::cells;

/// Mark of each row of server text.
pub const SERVER: &str = "server| ";
/// Marks of the first row of a notice, and of an error.
pub const NOTICE: &str = "-- ";
pub const ERROR: &str = "=!= ";

/// Wraps a text into rows with `mark` before each, within a width in cells if given.
pub fn behind(mark: &str, text: &str, cells: Option<usize>) -> String {
    let rows = text.split('\n').map(|row| format!("{mark}{row}"));
    rows.map(|row| wrapped(&row, mark, cells)).collect::<Vec<_>>().join("\n")
}

/// Wraps a text into rows with `mark` before all but the first, so that the terminal never wraps it
/// itself and no inner text begins a row.
pub fn under(mark: &str, text: &str, cells: Option<usize>) -> String {
    let rows = text.split('\n').enumerate();
    let rows = rows.map(|(number, row)| match number {
        0 => wrapped(row, mark, cells),
        _ => wrapped(&format!("{mark}{row}"), mark, cells),
    });
    rows.collect::<Vec<_>>().join("\n")
}

/// Wraps one row of text for a terminal. A word that fits a row is not cut, so that an address in
/// it can be clicked.
fn wrapped(row: &str, mark: &str, cells: Option<usize>) -> String {
    let mark_cells = usize::from(mark.cell_width());
    let Some(cells) = cells.map(|cells| cells.max(mark_cells + 2)) else { return row.to_owned() };
    // The width of a tab depends on the terminal.
    let row = row.replace('\t', "    ");
    let pieces: Vec<(String, usize)> = pieces(&row).into_iter().map(with_width).collect();
    let mut rests = vec![0; pieces.len() + 1];
    for (at, (piece, width)) in pieces.iter().enumerate().rev() {
        rests[at] = if ends_word(piece) { 0 } else { width + rests[at + 1] };
    }
    let (mut text, mut used) = (String::with_capacity(row.len()), 0);
    // Where the last word of the row begins, and the cells before it.
    let mut word = None;
    for ((piece, width), rest) in pieces.into_iter().zip(rests) {
        if used + width > cells {
            let begun = word.filter(|(_, before)| used - before + rest <= cells - mark_cells);
            let (at, before) = begun.filter(|_| rest > 0).unwrap_or((text.len(), used));
            text.insert_str(at, &format!("\n{mark}"));
            (used, word) = (mark_cells + used - before, None);
        }
        text.push_str(&piece);
        used += width;
        if ends_word(&piece) {
            word = Some((text.len(), used));
        }
    }
    text
}

fn with_width(piece: String) -> (String, usize) {
    let is_colour = piece.starts_with('\u{1b}');
    // At most: a terminal that wrapped the row would begin a row with inner text.
    let width = if is_colour { 0 } else { cells::cells_max(&piece) };
    (piece, width)
}

/// Returns whether a row may end after a piece: a blank, a zero width space, or a wide character.
fn ends_word(piece: &str) -> bool {
    matches!(piece, " " | "\u{200b}") || cells::is_wide(piece)
}

/// Graphemes, and the escape sequences with which this client colours names.
fn pieces(row: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for (number, part) in row.split('\u{1b}').enumerate() {
        let end = match number {
            0 => 0,
            _ => part.find('m').map_or(part.len(), |end| end + 1),
        };
        if number > 0 {
            pieces.push(format!("\u{1b}{}", &part[..end]));
        }
        let span = Span::raw(&part[end..]);
        pieces.extend(span.styled_graphemes(Style::new()).map(|one| one.symbol.to_owned()));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_row_begins_with_its_mark() {
        assert_eq!(behind(SERVER, "one\ntwo", None), "server| one\nserver| two");
        assert_eq!(behind(NOTICE, "abcdef", Some(6)), "-- abc\n-- def");
        assert_eq!(under("    ", "alice: one\ntwo", None), "alice: one\n    two");
        assert_eq!(under("    ", "alice: hi there", Some(10)), "alice: hi \n    there");
        assert_eq!(under("    ", "alice: hi there", Some(12)), "alice: hi \n    there");
        assert_eq!(under("    ", "alice: itistoolong", Some(12)), "alice: itist\n    oolong");
        assert_eq!(under("  ", "it is 漢字漢字 here", Some(12)), "it is 漢字漢\n  字 here");
        // A terminal may draw each letter, vowel sign and emoji in cells of its own.
        assert_eq!(
            under("  ", "ক\u{9be}ক\u{9be}ক\u{9be}", Some(4)),
            "ক\u{9be}ক\u{9be}\n  ক\u{9be}"
        );
        let family = "👨\u{200d}👩\u{200d}👧";
        assert_eq!(
            under("  ", &format!("{family}{family}"), Some(9)),
            format!("{family}\n  {family}")
        );
        assert_eq!(under("  ", "it is ক\u{9be}দ", Some(8)), "it is \n  ক\u{9be}দ");
        let red = "\u{1b}[31malice\u{1b}[0m: hi";
        assert_eq!(under("  ", red, Some(9)), red);
        assert_eq!(under("  ", red, Some(8)), "\u{1b}[31malice\u{1b}[0m: \n  hi");
    }

    proptest! {
        #[test]
        fn no_row_is_too_wide_nor_without_a_mark(text in "[a-z =!|漢é👍\n-]{0,80}", cells in 12usize..40) {
            let rows = behind(SERVER, &text, Some(cells));
            for row in rows.split('\n') {
                prop_assert!(row.starts_with(SERVER), "{rows}");
                prop_assert!(usize::from(row.cell_width()) <= cells, "{rows}");
            }
            let solid: String = rows.split('\n').map(|row| &row[SERVER.len()..]).collect();
            prop_assert_eq!(solid, text.replace('\n', ""));
        }
    }
}
