//! Wrapping of text to rows by display width: words stay whole where possible, wide characters are
//! never split, and further rows are indented.

use std::borrow::Cow;

use ratatui::buffer::CellWidth;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::client::addresses;
use crate::client::ui::{cells, gutter};

const TAB: &str = "    ";
/// It separates words of scripts that write no blanks between them.
const ZERO_WIDTH_SPACE: &str = "\u{200b}";

/// A grapheme to be placed, with its fillers.
struct Piece {
    text: String,
    width: usize,
    style: Style,
    is_wide: bool,
    is_of_address: bool,
}

impl Piece {
    /// A row may end at a space, and next to each wide character that is no part of an address.
    fn ends(&self) -> bool {
        matches!(&*self.text, " " | ZERO_WIDTH_SPACE) || self.is_wide && !self.is_of_address
    }
}

/// The rows of a text with its own line breaks. All rows but the first are indented.
pub fn rows(spans: &[Span], width: usize, indent: usize) -> Vec<Line<'static>> {
    let width = width.max(4);
    // Never zero, so that no inner text begins a row.
    let indent = indent.min(width / 2);
    let mut line = Vec::new();
    let mut wrap = Wrap { rows: Vec::new(), row: Vec::new(), used: 0, width, indent };
    for span in spans {
        for (number, part) in span.content.split('\n').enumerate() {
            if number > 0 {
                wrap.line(std::mem::take(&mut line));
            }
            let part = part.replace('\t', TAB);
            let part = Span::styled(part, span.style);
            line.extend(part.styled_graphemes(Style::new()).map(|grapheme| {
                let text = cells::filled(grapheme.symbol).into_owned();
                Piece {
                    width: usize::from(text.cell_width()),
                    text,
                    style: grapheme.style,
                    is_wide: cells::is_wide(grapheme.symbol),
                    is_of_address: false,
                }
            }));
        }
    }
    wrap.line(line);
    wrap.rows
}

/// Wraps server text with its mark before each row.
pub fn marked(width: usize, rows: impl FnOnce(usize) -> Vec<Line<'static>>) -> Vec<Line<'static>> {
    let mark = clip(gutter::SERVER, (width / 2).max(2));
    let rows = rows(width.saturating_sub(mark.len()));
    let marked = |mut row: Line<'static>| {
        row.spans.insert(0, Span::raw(mark.clone()));
        row
    };
    rows.into_iter().map(marked).collect()
}

struct Wrap {
    rows: Vec<Line<'static>>,
    row: Vec<Piece>,
    used: usize,
    width: usize,
    indent: usize,
}

impl Wrap {
    /// A line of the text, up to its break.
    fn line(&mut self, mut pieces: Vec<Piece>) {
        mark_addresses(&mut pieces);
        // Cells of the rest of its word, from each piece on.
        let mut rests = vec![0; pieces.len() + 1];
        for (at, piece) in pieces.iter().enumerate().rev() {
            rests[at] = if piece.ends() { 0 } else { piece.width + rests[at + 1] };
        }
        for (piece, rest) in pieces.into_iter().zip(rests) {
            self.push(piece, rest);
        }
        self.end_row();
    }

    fn push(&mut self, piece: Piece, rest: usize) {
        if self.used + piece.width > self.room() {
            if piece.text == " " {
                return self.end_row();
            }
            let begun = if piece.ends() { Vec::new() } else { self.take_word(rest) };
            self.end_row();
            self.used = begun.iter().map(|piece| piece.width).sum();
            self.row = begun;
        }
        self.used += piece.width;
        self.row.push(piece);
    }

    /// What the row has of a word, where the whole word fits the next row. A longer one is cut
    /// rather than leave a hole.
    fn take_word(&mut self, rest: usize) -> Vec<Piece> {
        let Some(end) = self.row.iter().rposition(Piece::ends) else { return Vec::new() };
        let begun: usize = self.row[end + 1..].iter().map(|piece| piece.width).sum();
        match begun + rest <= self.width - self.indent {
            true => self.row.split_off(end + 1),
            false => Vec::new(),
        }
    }

    fn room(&self) -> usize {
        if self.rows.is_empty() { self.width } else { self.width - self.indent }
    }

    fn end_row(&mut self) {
        let mut spans: Vec<Span<'static>> = Vec::new();
        if !self.rows.is_empty() && self.indent > 0 {
            spans.push(Span::raw(" ".repeat(self.indent)));
        }
        for piece in self.row.drain(..) {
            match spans.last_mut() {
                Some(last) if last.style == piece.style => {
                    last.content.to_mut().push_str(&piece.text)
                }
                _ => spans.push(Span::styled(piece.text, piece.style)),
            }
        }
        self.used = 0;
        self.rows.push(Line::from(spans));
    }
}

/// Marks the parts of addresses, so that they stay whole like words.
fn mark_addresses(pieces: &mut [Piece]) {
    let text: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
    let mut spans = addresses::spans(&text).into_iter().peekable();
    let mut start = 0;
    for piece in pieces {
        while spans.next_if(|span| span.end <= start).is_some() {}
        piece.is_of_address = spans.peek().is_some_and(|span| span.contains(&start));
        start += piece.text.len();
    }
}

/// `text` in at most this many cells, with `~` where it was cut.
pub fn clip(text: &str, cells: usize) -> String {
    let whole = cells::filled(text);
    if usize::from(whole.cell_width()) <= cells {
        return whole.into_owned();
    }
    let mut clipped = String::new();
    let mut used = 0;
    for grapheme in Span::raw(text).styled_graphemes(Style::new()) {
        let symbol = cells::filled(grapheme.symbol);
        let width = usize::from(symbol.cell_width());
        if used + width + 1 > cells {
            break;
        }
        used += width;
        clipped.push_str(&symbol);
    }
    if cells > 0 {
        clipped.push('~');
    }
    clipped
}

/// The same, cut at the start.
pub fn clip_start(text: &str, cells: usize) -> String {
    let whole = cells::filled(text);
    let span = Span::raw(text);
    let graphemes = span.styled_graphemes(Style::new()).map(|one| cells::filled(one.symbol));
    let mut left = usize::from(whole.cell_width());
    if left <= cells {
        return whole.into_owned();
    }
    let cut = |symbol: &Cow<str>| {
        let goes = left + 1 > cells;
        left -= usize::from(symbol.cell_width()).min(left);
        goes
    };
    let kept: String = graphemes.skip_while(cut).collect();
    if cells > 0 { format!("~{kept}") } else { kept }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(text: &str, width: usize, indent: usize) -> Vec<String> {
        rows(&[Span::raw(text.to_owned())], width, indent).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn words_stay_whole_and_wide_characters_are_not_cut() {
        assert_eq!(texts("one two three", 8, 2), ["one two ", "  three"]);
        assert_eq!(texts("abcdefghijkl", 5, 0), ["abcde", "fghij", "kl"]);
        // A word that fits a row is never cut, and a longer one leaves no hole.
        assert_eq!(texts("a bcdefghij", 10, 1), ["a ", " bcdefghij"]);
        assert_eq!(texts("a bcdefghijk", 10, 1), ["a bcdefghi", " jk"]);
        assert_eq!(texts("漢字漢字", 5, 0), ["漢字", "漢字"]);
        assert_eq!(texts("says: 漢字漢字", 10, 0), ["says: 漢字", "漢字"]);
        assert_eq!(texts("漢字漢字漢abc", 12, 0), ["漢字漢字漢", "abc"]);
        // An address is a word, also where it goes on in wide characters.
        assert_eq!(texts("茶は https://a/茶/一.html", 22, 2), ["茶は ", "  https://a/茶/一.html"]);
        assert_eq!(texts("see https://a/🍵/é茶", 18, 2), ["see ", "  https://a/🍵/é茶"]);
        assert_eq!(texts("茶はhttps://a/茶，茶は緑", 20, 0), ["茶はhttps://a/茶，茶", "は緑"]);
        assert_eq!(
            texts("茶はhttps://a/茶緑，茶は緑", 14, 0),
            ["茶は", "https://a/茶緑", "，茶は緑"]
        );
        assert_eq!(texts("a https://a/茶茶茶茶", 14, 0), ["a https://a/茶", "茶茶茶"]);
        assert_eq!(texts("a\nb", 9, 2), ["a", "  b"]);
        assert_eq!(texts("e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}", 4, 0).len(), 2);
        assert_eq!(clip("漢字漢字", 5), "漢字~");
        // Letters with marks are no wide characters, also where they have more cells.
        assert_eq!(texts("a ক\u{9be}লদ", 5, 0), ["a ", "ক\u{9be}\u{fdd0}লদ"]);
        assert_eq!(texts("ខខ\u{200b}ទទទ", 4, 0), ["ខខ\u{200b}", "ទទទ"]);
        assert_eq!(clip("ক\u{9be}লল", 4), "ক\u{9be}\u{fdd0}লল");
        assert_eq!(clip("ক\u{9be}লল", 3), "ক\u{9be}\u{fdd0}~");
        assert_eq!(clip("ক\u{9be}লল", 2), "~");
        assert_eq!(clip_start("লক\u{9be}", 2), "~");
        assert_eq!(clip_start("ললক\u{9be}", 3), "~ক\u{9be}\u{fdd0}");
        assert_eq!(clip("short", 5), "short");
        assert_eq!(clip_start("漢字漢字", 5), "~漢字");
        assert_eq!(clip_start("漢字漢字", 4), "~字");
        assert_eq!(
            (clip_start("short", 5), clip_start("short", 4)),
            ("short".into(), "~ort".into())
        );
    }

    proptest! {
        #[test]
        fn no_row_is_too_wide_and_nothing_but_space_is_lost(
            text in "([a-z 漢é👍\n]|https://){0,80}", width in 4usize..30, indent in 0usize..12,
        ) {
            let rows = texts(&text, width, indent);
            for row in &rows {
                prop_assert!(usize::from(row.as_str().cell_width()) <= width, "{row:?}");
            }
            let solid = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(solid(&rows.concat()), solid(&text));
        }
    }
}
