//! Tests of the painter on terminals with wider or narrower characters.

use std::cell::RefCell;
use std::rc::Rc;

use proptest::prelude::*;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use unicode_normalization::char::is_combining_mark;

use super::*;
use crate::client::ui::cells;

/// Width of a character in cells; 0 for a combining one.
type Widths = fn(char) -> usize;

fn is_joined(c: char) -> bool {
    is_combining_mark(c) || matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe0f}')
}

fn table(c: char) -> usize {
    if is_joined(c) { 0 } else { usize::from(c.to_string().as_str().cell_width()) }
}

/// Existing terminals, and some that are worse.
const TERMINALS: [(&str, Widths); 6] = [
    ("each character by itself", table),
    ("marks in cells of their own", |c| table(c).max(1)),
    ("all that is not ASCII is wide", |c| if c.is_ascii() { 1 } else { 2 }),
    ("all of it is narrow", |_| 1),
    ("wide, and marks upon it", |c| if is_joined(c) { 0 } else { 1 + usize::from(!c.is_ascii()) }),
    ("nothing but ASCII has a cell", |c| usize::from(c.is_ascii())),
];

/// A terminal that does not wrap: cells of text, empty after a wide character.
struct Emulator {
    widths: Widths,
    rows: Vec<Vec<String>>,
    at: (usize, usize),
}

impl Emulator {
    fn new(widths: Widths, area: Rect) -> Emulator {
        let rows = vec![vec![" ".to_owned(); area.width.into()]; area.height.into()];
        Emulator { widths, rows, at: (0, 0) }
    }

    fn reads(&mut self, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).unwrap();
        let mut parts = text.split("\x1b[");
        parts.next().unwrap().chars().for_each(|c| self.draws(c));
        for part in parts {
            let end = part.find(|c: char| c.is_ascii_alphabetic()).unwrap();
            let (parameters, rest) = (&part[..end], &part[end + 1..]);
            match (&part[end..=end], parameters) {
                ("H", place) => {
                    let (row, column) = place.split_once(';').unwrap();
                    let number = |text: &str| text.parse::<usize>().unwrap() - 1;
                    self.at = (number(row), number(column));
                }
                ("J", "2") => self.rows.iter_mut().flatten().for_each(|cell| *cell = " ".into()),
                ("m" | "h" | "l", _) => {}
                other => panic!("{other:?}"),
            }
            rest.chars().for_each(|c| self.draws(c));
        }
    }

    fn draws(&mut self, c: char) {
        let (row, column) = self.at;
        let cells = (self.widths)(c);
        let last = self.rows[row].len() - 1;
        if cells == 0 {
            let before = column.saturating_sub(1).min(last);
            let wide = self.rows[row][before].is_empty();
            return self.rows[row][before - usize::from(wide)].push(c);
        }
        let column = column.min(last);
        for at in column..(column + cells).min(last + 1) {
            self.breaks(row, at);
        }
        self.rows[row][column] = c.to_string();
        for at in column + 1..(column + cells).min(last + 1) {
            self.rows[row][at] = String::new();
        }
        self.at.1 = column + cells;
    }

    /// Overwrites a cell; a character that covers it is removed whole.
    fn breaks(&mut self, row: usize, at: usize) {
        let row = &mut self.rows[row];
        let mut first = at;
        while first > 0 && row[first].is_empty() {
            first -= 1;
        }
        let behind = row[first + 1..].iter().take_while(|cell| cell.is_empty()).count();
        row[first..=first + behind].fill(" ".to_owned());
    }
}

const AREA: Rect = Rect { x: 0, y: 0, width: 24, height: 3 };

/// A text for each row, with its column and style.
type Frame = Vec<(u16, String, u8)>;

fn picture(frame: &Frame) -> Buffer {
    let mut picture = Buffer::empty(AREA);
    for (row, (column, text, look)) in (0..).zip(frame) {
        picture.set_string(1, row, "bob: ", Style::new());
        let (cells, look) = (usize::from(16 - column), Style::new().fg(Color::Indexed(*look)));
        picture.set_stringn(*column, row, text, cells, look);
        picture.set_string(16, row, "│* alice", Style::new());
    }
    picture
}

/// The bytes written.
#[derive(Clone, Default)]
struct Written(Rc<RefCell<Vec<u8>>>);

impl Written {
    fn take(&self) -> Vec<u8> {
        self.0.take()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The content of a terminal after these frames.
fn shows(widths: Widths, frames: &[Frame]) -> Vec<Vec<String>> {
    let mut emulator = Emulator::new(widths, AREA);
    let written = Written::default();
    let mut painter = Painter::new(written.clone());
    for frame in frames {
        painter.paint(picture(frame), Vec::new(), None).unwrap();
        emulator.reads(&written.take());
    }
    emulator.rows
}

/// Checks that the last frame looks as on a fresh terminal.
fn leaves_nothing(frames: &[Frame]) -> Result<(), TestCaseError> {
    for (name, widths) in TERMINALS {
        let (shown, redrawn) = (shows(widths, frames), shows(widths, &frames[frames.len() - 1..]));
        prop_assert_eq!(&shown, &redrawn, "{}: {:?}", name, frames);
        for (row, (column, text, _)) in shown.iter().zip(frames.last().unwrap()) {
            let said = row[usize::from(*column)..].concat();
            prop_assert!(!text.is_ascii() || said.starts_with(text), "{}: {:?}", name, row);
            prop_assert!(said.ends_with("* alice"), "{}: {:?}", name, row);
        }
    }
    Ok(())
}

#[test]
fn an_earlier_row_leaves_nothing_behind() {
    let row = |text: &str| (6, text.to_owned(), 7);
    for hostile in
        ["คำ", "🇩🇪🇫🇷", "क्षमा", "👨\u{200d}👩\u{200d}👧", "❤\u{fe0f}x", "漢字", "│ß│", "e\u{301}"]
    {
        let frames = [vec![row(hostile); 3], vec![row("ok"), row("ok ok ok"), row("")]];
        leaves_nothing(&frames).unwrap();
    }
}

/// On a terminal that adds up the widths of characters, as xterm and tmux do, no letter covers
/// another one.
#[test]
fn all_letters_are_shown() {
    let widths: Widths = |c| match c {
        '\u{9be}' | '\u{bbe}' | '\u{dcf}' => 1,
        _ => table(c),
    };
    for text in ["ব\u{9be}ংল\u{9be}", "ம\u{bbe}", "ខ\u{17d2}ញ\u{17bb}\u{17c6}ទ", "ක\u{dcf}ල"]
    {
        let shown = |text: &str| {
            let rows = shows(widths, &[vec![(6, format!("{text}!"), 7)]]);
            let row = rows[0][6..].concat().replace(' ', "");
            row.split('!').next().unwrap().to_owned()
        };
        assert_eq!(shown(&cells::filled(text)), text);
        assert_ne!(shown(text), text, "the control");
    }
}

#[test]
fn a_row_of_ascii_is_not_written_whole() {
    let written = Written::default();
    let mut painter = Painter::new(written.clone());
    let row = |text: &str| (6, text.to_owned(), 7);
    painter.paint(picture(&vec![row("good morning")]), Vec::new(), None).unwrap();
    written.take();
    painter.paint(picture(&vec![row("good evening")]), Vec::new(), None).unwrap();
    let written = String::from_utf8(written.take()).unwrap();
    assert!(!written.contains('g') && written.contains("ev"), "{written:?}");
}

#[test]
fn a_link_surrounds_its_cells_and_goes_with_them() {
    let written = Written::default();
    let mut painter = Painter::new(written.clone());
    let row = |text: &str| vec![(6, text.to_owned(), 7)];
    let link = |id: &str| {
        let (id, address) = (id.to_owned(), "http://b".to_owned());
        vec![Hyperlink { row: 0, start: 6, end: 14, id, address }]
    };
    // Everything that is written, with the links as brackets.
    let mut paints = |text: &str, links: Vec<Hyperlink>| {
        painter.paint(picture(&row(text)), links, None).unwrap();
        let text = String::from_utf8(written.take()).unwrap();
        text.replace("\x1b]8;id=p;http://b\x1b\\", "<").replace("\x1b]8;;\x1b\\", ">")
    };
    let bare = |text: &str| -> String {
        let parts = text.split("\x1b[");
        let rest = |part: &str| {
            part[part.find(|c: char| c.is_ascii_alphabetic()).unwrap() + 1..].to_owned()
        };
        parts
            .enumerate()
            .map(|(n, part)| if n == 0 { part.to_owned() } else { rest(part) })
            .collect()
    };
    assert!(bare(&paints("http://b o", link("p"))).contains("<http://b> o"));
    assert!(!paints("http://b o", link("p")).contains('<'), "nothing has changed");
    let changed = bare(&paints("http://b n", link("p")));
    assert!(changed.contains("<http://b> n"), "{changed:?}");
    let gone = bare(&paints("http://b n", Vec::new()));
    assert!(gone.contains("http://b n"), "written again without the link: {gone:?}");
    let wide =
        bare(&paints("漢http://b", vec![Hyperlink { start: 8, end: 16, ..link("p").remove(0) }]));
    assert!(wide.contains("<http://b>"), "{wide:?}");
}

proptest! {
    #[test]
    fn no_frame_leaves_anything_behind(
        frames in prop::collection::vec(
            prop::collection::vec(
                (6u16..9, "([a-c ]|คำ|🇩🇪|क्षमा|👨\u{200d}👩|❤\u{fe0f}|漢|│|é|e\u{301}|한|ᄒ|ᅡ|\u{ff9e}){0,8}", 0u8..3),
                3,
            ),
            2..5,
        ),
    ) {
        leaves_nothing(&frames)?;
    }
}
