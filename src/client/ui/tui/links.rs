//! Hyperlinks around addresses in messages (OSC 8), so that an address that is broken over rows
//! stays one link. The link is the text that is shown, in printable ASCII.

use ratatui::buffer::CellWidth;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line as Row;

use crate::client::addresses;

/// Cells of a row that are a link, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hyperlink {
    pub row: u16,
    pub start: u16,
    pub end: u16,
    /// All parts of one link have the same.
    pub id: String,
    /// Printable ASCII without spaces.
    pub address: String,
}

impl Hyperlink {
    /// Starts the link on the terminal.
    pub fn begins(&self) -> String {
        format!("\x1b]8;id={};{}\x1b\\", self.id, self.address)
    }

    /// Ends every link on the terminal.
    pub const END: &str = "\x1b]8;;\x1b\\";

    /// The same link in an area of the screen, if it fits.
    pub fn within(mut self, area: Rect) -> Option<Hyperlink> {
        self.row = self.row.checked_add(area.y).filter(|row| *row < area.bottom())?;
        self.start = self.start.checked_add(area.x)?;
        self.end = self.end.checked_add(area.x).filter(|end| *end <= area.right())?;
        Some(self)
    }
}

/// Returns whether the terminal is known to have links. Others may show the sequence as text.
pub fn are_known(variable: impl Fn(&str) -> Option<String>) -> bool {
    let has = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    let text = |name: &str| variable(name).unwrap_or_default();
    let (term, program) = (text("TERM"), text("TERM_PROGRAM"));
    if term.is_empty() || ["dumb", "linux", "unknown"].contains(&term.as_str()) || has("STY") {
        return false;
    }
    let is_in = |name: &str| term.starts_with(name);
    // What the terminal around tmux says is not true of tmux.
    if has("TMUX") || is_in("tmux") || is_in("screen") {
        return program == "tmux" && version(&text("TERM_PROGRAM_VERSION")) >= Some((3, 4));
    }
    let number = |name: &str| text(name).parse::<u32>().unwrap_or(0);
    let by_term = ["xterm-kitty", "xterm-ghostty", "alacritty", "foot", "wezterm", "contour"];
    let by_program = ["WezTerm", "iTerm.app", "ghostty", "vscode", "mintty", "rio", "Tabby"];
    by_term.iter().any(|name| is_in(name))
        || by_program.contains(&program.as_str())
        || has("WT_SESSION")
        || number("VTE_VERSION") > 5_000
        || number("KONSOLE_VERSION") >= 201_200
}

/// `3.4`, `3.5a`, `next-3.6`.
fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim_start_matches("next-").split_once('.')?;
    let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
    Some((major.parse().ok()?, minor[..digits].parse().ok()?))
}

/// The links of a text that was wrapped into rows, of which all but the first are indented.
/// `name` is a part of the ids.
pub fn links(text: &str, rows: &[Row], indent: usize, name: &str) -> Vec<Hyperlink> {
    let addresses = addresses::find(text);
    if addresses.is_empty() {
        return Vec::new();
    }
    // Every character of the rows, as one text with its cells.
    let (mut shown, mut cells) = (String::new(), Vec::new());
    for (number, row) in (0_u16..).zip(rows) {
        let mut column = 0;
        for grapheme in row.styled_graphemes(Style::new()) {
            let width = usize::from(grapheme.symbol.cell_width());
            if number == 0 || column >= indent {
                let symbol = if grapheme.symbol.is_ascii() { grapheme.symbol } else { "\u{1}" };
                shown.push_str(symbol);
                cells.extend(symbol.bytes().map(|_| (number, column as u16)));
            }
            column += width;
        }
    }
    let mut links: Vec<Hyperlink> = Vec::new();
    let mut from = 0;
    for (number, address) in addresses.into_iter().enumerate() {
        let Some(at) = shown[from..].find(address).map(|at| from + at) else { break };
        from = at + address.len();
        for (row, column) in &cells[at..from] {
            let id = format!("pychat{name}-{number}");
            match links.last_mut() {
                Some(last) if last.id == id && last.row == *row => last.end = column + 1,
                _ => links.push(Hyperlink {
                    row: *row,
                    start: *column,
                    end: column + 1,
                    id,
                    address: address.to_owned(),
                }),
            }
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ratatui::text::Span;

    use super::super::wrap;
    use super::*;

    #[test]
    fn an_address_over_several_rows_is_one_link() {
        let text = "漢 https://a.example/0123456789 and https://b.example end";
        let rows = wrap::rows(&[Span::raw(format!("bob: {text}"))], 20, 2);
        let links = links(text, &rows, 2, "7");
        let part = |link: &Hyperlink| {
            let row: Vec<_> = rows[usize::from(link.row)].styled_graphemes(Style::new()).collect();
            let text: String = row.iter().map(|one| one.symbol).collect();
            assert!(text.is_ascii() || link.row == 0);
            let wide = usize::from(link.row == 0 && text.contains('漢'));
            let cells = usize::from(link.start) - wide..usize::from(link.end) - wide;
            (link.id.clone(), text.chars().collect::<Vec<_>>()[cells].iter().collect::<String>())
        };
        let parts: Vec<_> = links.iter().map(part).collect();
        let of = |id: &str| {
            let own = parts.iter().filter(|(name, _)| name == id).map(|(_, text)| text.as_str());
            own.collect::<String>()
        };
        assert_eq!(of("pychat7-0"), "https://a.example/0123456789", "{parts:?}");
        assert_eq!(of("pychat7-1"), "https://b.example", "{parts:?}");
        assert!(parts.iter().filter(|(id, _)| id == "pychat7-0").count() > 1, "{parts:?}");
    }

    #[test]
    fn only_terminals_that_are_known_to_have_them_get_links() {
        let known = |variables: &[(&str, &str)]| {
            are_known(|name| {
                let found = variables.iter().find(|(one, _)| *one == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let xterm = ("TERM", "xterm-256color");
        for some in [
            &[("TERM", "xterm-kitty")][..],
            &[("TERM", "foot-extra")],
            &[xterm, ("VTE_VERSION", "7600")],
            &[xterm, ("TERM_PROGRAM", "WezTerm")],
            &[xterm, ("WT_SESSION", "x")],
            &[
                ("TERM", "tmux-256color"),
                ("TMUX", "x"),
                ("TERM_PROGRAM", "tmux"),
                ("TERM_PROGRAM_VERSION", "3.5a"),
            ],
        ] {
            assert!(known(some), "{some:?}");
        }
        for none in [
            &[][..],
            &[xterm],
            &[("TERM", "dumb"), ("VTE_VERSION", "7600")],
            &[("TERM", "linux"), ("TERM_PROGRAM", "WezTerm")],
            &[xterm, ("VTE_VERSION", "4800")],
            &[xterm, ("VTE_VERSION", "7600"), ("STY", "x")],
            &[xterm, ("VTE_VERSION", "7600"), ("TMUX", "x")],
            &[
                ("TERM", "screen-256color"),
                ("TMUX", "x"),
                ("TERM_PROGRAM", "tmux"),
                ("TERM_PROGRAM_VERSION", "3.3a"),
            ],
            &[xterm, ("KONSOLE_VERSION", "190800")],
        ] {
            assert!(!known(none), "{none:?}");
        }
    }

    proptest! {
        #[test]
        fn a_link_is_printable_ascii_and_what_is_shown(
            text in "(https?://)?[a-z./ é漢()\u{1b}\u{7}\u{9c};\\\\\n]{0,60}(https?://)[a-z./;\u{1b}\\\\?=é]{0,30}",
            width in 8usize..30,
        ) {
            let rows = wrap::rows(&[Span::raw(text.clone())], width, 2);
            for link in links(&text, &rows, 2, "0") {
                prop_assert!(link.address.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!(text.contains(&link.address));
                prop_assert!(link.start < link.end && usize::from(link.end) <= width);
            }
        }
    }
}
