//! Pictures in cells of the screen.

use ratatui::style::{Color, Style};
use ratatui::text::Span;

use super::theme::Theme;
use crate::chat::{Descriptor, Message};
use crate::client::files::thumb;
use crate::client::ui::picture::{self, Cell};

/// Columns and rows of the preview in a message.
const PREVIEW: (usize, usize) = (16, 4);

/// Returns whether a theme has the colours of pictures.
pub fn has_colours(theme: Theme) -> bool {
    matches!(theme, Theme::Dark | Theme::Light)
}

/// A row of cells; without 256 colours in shades.
pub fn row(cells: &[Cell], theme: Theme) -> Vec<Span<'static>> {
    let cell = |cell: &Cell| match has_colours(theme) {
        true => {
            let [upper, lower] = cell.map(|pixel| Color::Indexed(picture::indexed(pixel)));
            Span::styled(picture::HALF, Style::new().fg(upper).bg(lower))
        }
        false => Span::raw(picture::shade(*cell)),
    };
    cells.iter().map(cell).collect()
}

/// The preview that a message carries: arithmetic alone, no decoder runs.
pub fn preview(message: &Message) -> Vec<Vec<Cell>> {
    let blob = message.kind.blob().filter(|_| !message.deleted);
    let file = blob.and_then(|blob| Descriptor::read(message.body.text(), blob).ok());
    let shown = file.and_then(|file| thumb::preview(&file.thumb?.0));
    shown.map_or(Vec::new(), |shown| picture::cells(&shown, PREVIEW.0, PREVIEW.1))
}
