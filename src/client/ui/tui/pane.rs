//! A pane above a room, closed with Esc: help, answers, results.

use ratatui::layout::Rect;
use ratatui::text::{Line as Row, Span};

use super::graphics::Graphic;
use super::keys::Keys;
use super::wrap;
use crate::chat::operator_commands::Usage;
use crate::client::files::decode::Picture;
use crate::client::model::Origin;
use crate::client::slash;
use crate::client::transfer::Shown;
use crate::client::ui::{gutter, picture};

pub struct Pane {
    pub title: String,
    pub text: Vec<String>,
    /// Rows scrolled off the top.
    pub scroll: usize,
    /// Lines are clipped instead of wrapped, so that copied text is whole.
    flat: bool,
    origin: Origin,
    /// Shown instead of the text.
    picture: Option<Shown>,
    /// The number of the page, of a help.
    page: Option<usize>,
}

/// Rows of a page of the help, so that it fits a terminal of 24 rows.
const HELP_ROWS: usize = 20;

/// A part of the help.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Help {
    Common,
    Keys,
    All,
}

impl Pane {
    pub fn new(title: impl Into<String>, text: Vec<String>) -> Pane {
        Pane {
            title: title.into(),
            text,
            scroll: 0,
            flat: false,
            origin: Origin::Client,
            picture: None,
            page: None,
        }
    }

    /// Sets the origin of the text.
    pub fn of(self, origin: Origin) -> Pane {
        Pane { origin, ..self }
    }

    pub fn flat(title: impl Into<String>, text: Vec<String>) -> Pane {
        Pane { flat: true, ..Pane::new(title, text) }
    }

    /// A picture, which fits into the pane.
    pub fn picture(title: String, picture: Shown) -> Pane {
        Pane { picture: Some(picture), ..Pane::new(title, Vec::new()) }
    }

    pub fn shown(&self) -> Option<&Picture> {
        self.picture.as_ref().map(|shown| &*shown.0)
    }

    /// The picture over the cells that show it, in a pane of this area.
    pub fn graphic(&self, area: Rect) -> Option<Graphic> {
        let picture = self.picture.clone()?;
        let inner = inner(area);
        let (columns, rows) = (inner.width.into(), inner.height.into());
        let (width, height) = picture::size(&picture.0, columns, rows);
        let area = Rect { width: width as u16, height: height as u16, ..inner };
        Some(Graphic { area, picture })
    }

    /// The first page of a part of the help.
    pub fn help(keys: &Keys, part: Help) -> Pane {
        let pages = pages(keys);
        let number = pages.iter().position(|(one, _)| *one == part).unwrap_or(0);
        Pane::page(pages, number).expect("each part has a page")
    }

    /// The page after this one, of a help.
    pub fn next(&self, keys: &Keys) -> Option<Pane> {
        Pane::page(pages(keys), self.page? + 1)
    }

    fn page(mut pages: Vec<(Help, Vec<String>)>, number: usize) -> Option<Pane> {
        let count = pages.len();
        let (part, text) = pages.drain(..).nth(number)?;
        let what = match part {
            Help::Common => "the first commands",
            Help::Keys => "keys",
            Help::All => "all commands",
        };
        let title = format!("help {}/{count}: {what}", number + 1);
        Some(Pane { page: Some(number), ..Pane::new(title, text) })
    }

    pub fn is_help(&self) -> bool {
        self.page.is_some()
    }

    /// The title, marked by its origin.
    pub fn marked_title(&self) -> String {
        match self.origin {
            Origin::Client => self.title.clone(),
            Origin::Server => format!("{}{}", gutter::SERVER, self.title),
        }
    }

    /// The rows within a width in cells.
    pub fn rows(&self, width: usize) -> Vec<Row<'static>> {
        match self.origin {
            Origin::Client => self.bare(width),
            Origin::Server => wrap::marked(width, |width| self.bare(width)),
        }
    }

    fn bare(&self, width: usize) -> Vec<Row<'static>> {
        let rows = |line: &String| {
            if self.flat {
                return wrap::rows(&[Span::raw(line.clone())], width, 0);
            }
            let (text, indent) = match second_column(line) {
                None => (line.clone(), 2),
                // The second column of a line wraps under itself.
                Some((_, at)) if at * 2 <= width => (line.clone(), at),
                Some((end, at)) => (format!("{}  {}", &line[..end], &line[at..]), 4),
            };
            wrap::rows(&[Span::raw(text)], width, indent)
        };
        self.text.iter().flat_map(rows).collect()
    }

    /// The area of the pane: the help needs the whole width.
    pub fn area(&self, lines: Rect, width: u16) -> Rect {
        if self.is_help() { Rect { x: 0, width, ..lines } } else { lines }
    }

    pub fn is_at_end(&self, width: usize, height: usize) -> bool {
        self.scroll + height >= self.rows(width).len()
    }

    pub fn scroll(&mut self, by: i64, width: usize, height: usize) {
        let most = self.rows(width).len().saturating_sub(height);
        self.scroll = (self.scroll as i64 + by).clamp(0, most as i64) as usize;
    }
}

impl Pane {
    /// The part of the pane below its title. No blank is before text that is meant to be copied.
    pub fn inner(&self, area: Rect) -> Rect {
        match self.flat {
            true => Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area },
            false => inner(area),
        }
    }
}

/// The part of a pane below its title.
fn inner(area: Rect) -> Rect {
    let (width, height) = (area.width.saturating_sub(2), area.height.saturating_sub(1));
    Rect { x: area.x + 1, y: area.y + 1, width, height }
}

/// The end of the first column of a line, and the start of the second.
fn second_column(line: &str) -> Option<(usize, usize)> {
    let start = line.find(|c| c != ' ')?;
    let end = start + line[start..].find("  ")?;
    let gap = line[end..].find(|c| c != ' ')?;
    Some((end, end + gap))
}

/// The pages of the help: commands that people use most, keys, and all commands.
fn pages(keys: &Keys) -> Vec<(Help, Vec<String>)> {
    let mut common = slash::common();
    common.extend([String::new(), slash::FURTHER_HELP.to_owned()]);
    let call = |usage: &Usage| {
        let call = format!("/{} {}", usage.name, usage.operands);
        let gap = if call.chars().count() < 28 { " " } else { "  " };
        format!("{call:<28}{gap}{}", usage.does)
    };
    let mut all: Vec<String> = slash::all().map(call).collect();
    all.push("// sends a text that begins with a slash".to_owned());
    let parts = [(Help::Common, common), (Help::Keys, keys.help()), (Help::All, all)];
    let split = |(part, rows): &(Help, Vec<String>)| {
        let part = *part;
        rows.chunks(HELP_ROWS).map(|rows| (part, rows.to_vec())).collect::<Vec<_>>()
    };
    parts.iter().flat_map(split).collect()
}
