//! A pane above a room, closed with Esc: help, answers, results.

use ratatui::layout::Rect;
use ratatui::text::{Line as Row, Span};

use super::graphics::Graphic;
use super::keys::Keys;
use super::wrap;
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

    /// The text of F1 and `/help`.
    pub fn help(keys: &Keys) -> Pane {
        let mut text = vec!["Keys".to_owned(), String::new()];
        text.extend(keys.help().into_iter().map(|row| format!("  {row}")));
        text.extend([String::new(), "Commands (// sends a text that begins with a slash)".into()]);
        text.push(String::new());
        text.extend(slash::all().map(|slash| {
            let call = format!("/{} {}", slash.name, slash.operands);
            let gap = if call.chars().count() < 28 { " " } else { "  " };
            format!("  {call:<28}{gap}{}", slash.does)
        }));
        Pane::new("help", text)
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

    pub fn scroll(&mut self, by: i64, width: usize, height: usize) {
        let most = self.rows(width).len().saturating_sub(height);
        self.scroll = (self.scroll as i64 + by).clamp(0, most as i64) as usize;
    }
}

/// The part of a pane below its title.
pub fn inner(area: Rect) -> Rect {
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
