//! Output to the terminal, correct for any character widths. Terminals agree on ASCII only: a flag
//! has two cells on one and four on another, and two spaces do not erase four cells. Therefore a
//! row that has, or had, other characters is written whole: blanks first, for cells that a
//! character leaves out, then each cell at its position, so that the next one covers any excess.

use std::io::{self, Write};

use ratatui::backend::{Backend, ClearType, CrosstermBackend};
use ratatui::buffer::{Buffer, Cell, CellWidth};
use ratatui::crossterm::cursor::{Hide, MoveTo, Show};
use ratatui::crossterm::queue;
use ratatui::layout::Position;

use super::graphics::{self, Graphic};
use super::links::Hyperlink;
use crate::client::transfer::Shown;
use crate::client::ui::cells::FILLER;

/// Starts a synchronized update: the terminal shows the frame only when it is complete.
const BEGIN: &[u8] = b"\x1b[?2026h";
const END: &[u8] = b"\x1b[?2026l";

/// The border between panes, which keeps its position. It is in most rows.
const BORDER: &str = "│";

/// A grapheme with its cells and those of its fillers.
struct Unit<'a> {
    column: u16,
    cells: u16,
    cell: &'a Cell,
}

impl Unit<'_> {
    /// Returns whether a row has the same one at the same position.
    fn is_in(&self, row: &[Unit]) -> bool {
        let found = row.binary_search_by_key(&self.column, |unit| unit.column);
        found.is_ok_and(|at| row[at].cell == self.cell)
    }

    /// Returns whether terminals agree on its width.
    fn is_agreed(&self) -> bool {
        self.cell.symbol().is_ascii()
    }

    /// Returns whether a row with it must be written whole, given the row of the other frame.
    fn is_doubtful(&self, other: &[Unit]) -> bool {
        !self.is_agreed() && (self.cell.symbol() != BORDER || !self.is_in(other))
    }
}

fn units(row: &[Cell]) -> Vec<Unit<'_>> {
    let mut units = Vec::with_capacity(row.len());
    let mut column = 0;
    while let Some(cell) = row.get(column) {
        let mut cells = usize::from(cell.cell_width()).clamp(1, row.len() - column);
        // A character without a width may follow the filler in its cell.
        while row.get(column + cells).is_some_and(|next| next.symbol().starts_with(FILLER)) {
            cells += 1;
        }
        units.push(Unit { column: column as u16, cells: cells as u16, cell });
        column += cells;
    }
    units
}

pub struct Painter<W: Write> {
    out: CrosstermBackend<W>,
    /// The frame on the terminal and its links; `None` if unknown.
    shown: Option<(Buffer, Vec<Hyperlink>)>,
    /// The picture over its cells, and the one of the next frame.
    graphic: Option<Graphic>,
    next: Option<Graphic>,
    /// The picture that the terminal has stored. It is transmitted once, and placed again after
    /// each change of its rows.
    stored: Option<Shown>,
}

impl<W: Write> Painter<W> {
    pub fn new(to: W) -> Painter<W> {
        let (graphic, next, stored) = (None, None, None);
        Painter { out: CrosstermBackend::new(to), shown: None, graphic, next, stored }
    }

    /// Sets the picture over the cells of the next frames.
    pub fn cover(&mut self, graphic: Option<Graphic>) {
        self.next = graphic;
    }

    /// Returns whether the next frame has a picture over its cells.
    pub fn will_have_graphic(&self) -> bool {
        self.next.is_some()
    }

    /// Returns whether a picture lies over its cells.
    pub fn has_graphic(&self) -> bool {
        self.graphic.is_some()
    }

    /// Marks the terminal's content as unknown, so that the next frame is written whole.
    pub fn forget(&mut self) {
        self.shown = None;
    }

    /// Makes the terminal show a frame.
    ///
    /// # Errors
    ///
    /// The terminal is gone.
    pub fn paint(
        &mut self,
        picture: Buffer,
        links: Vec<Hyperlink>,
        cursor: Option<Position>,
    ) -> io::Result<()> {
        self.out.write_all(BEGIN)?;
        let mut is_overwritten = false;
        let (shown, shown_links) = match self.shown.take() {
            Some(shown) if shown.0.area == picture.area => shown,
            _ => {
                is_overwritten = true;
                self.stored = None;
                self.out.clear_region(ClearType::All)?;
                (Buffer::empty(picture.area), Vec::new())
            }
        };
        let width = usize::from(picture.area.width).max(1);
        let rows = shown.content.chunks(width).zip(picture.content.chunks(width));
        let of = |links: &[Hyperlink], row: u16| -> Vec<Hyperlink> {
            links.iter().filter(|link| link.row == row).cloned().collect()
        };
        for (row, (before, now)) in (0..).zip(rows) {
            let (old_links, new_links) = (of(&shown_links, row), of(&links, row));
            if before != now || old_links != new_links {
                is_overwritten |= self.graphic.as_ref().is_some_and(|it| it.is_in_row(row));
                let linked = !old_links.is_empty() || !new_links.is_empty();
                let new_links = linked.then_some(&new_links[..]);
                self.row(row, &units(before), &units(now), new_links)?;
            }
        }
        self.shown = Some((picture, links));
        self.place(is_overwritten)?;
        match cursor {
            Some(Position { x, y }) => queue!(self.out, Show, MoveTo(x, y))?,
            None => queue!(self.out, Hide)?,
        }
        self.out.write_all(END)?;
        Write::flush(&mut self.out)
    }

    /// Places the picture again if it has changed, or if its cells were written.
    fn place(&mut self, is_overwritten: bool) -> io::Result<()> {
        if self.graphic == self.next && !is_overwritten {
            return Ok(());
        }
        let is_stored = |next: &Graphic| self.stored.as_ref().is_some_and(|it| next.is_of(it));
        let places = self.next.as_ref().is_some_and(is_stored);
        if self.graphic.is_some() && !places {
            self.out.write_all(graphics::DELETE)?;
        }
        self.graphic.clone_from(&self.next);
        if let Some(graphic) = &self.graphic {
            queue!(self.out, MoveTo(graphic.area.x, graphic.area.y))?;
            let sequences = if places { graphic.placement() } else { graphic.sequences() };
            self.out.write_all(&sequences)?;
        }
        self.stored = self.graphic.as_ref().map(|graphic| graphic.picture.clone());
        Ok(())
    }

    /// Writes a row: all of it if it has, or had, links.
    fn row(
        &mut self,
        row: u16,
        before: &[Unit],
        now: &[Unit],
        links: Option<&[Hyperlink]>,
    ) -> io::Result<()> {
        let whole = before.iter().any(|unit| unit.is_doubtful(now))
            || now.iter().any(|unit| unit.is_doubtful(before));
        if !whole && links.is_none() {
            let changed = now.iter().filter(|unit| !unit.is_in(before));
            return self.out.draw(changed.map(|unit| (unit.column, row, unit.cell)));
        }
        if whole {
            self.blank(row, now)?;
        }
        let mut run = Vec::new();
        let mut open: Option<&Hyperlink> = None;
        for unit in now {
            let mut links = links.unwrap_or_default().iter();
            let link = links.find(|link| (link.start..link.end).contains(&unit.column));
            if link != open {
                self.out.draw(run.drain(..))?;
                let begins = link.map_or(Hyperlink::END.to_owned(), Hyperlink::begins);
                self.out.write_all(begins.as_bytes())?;
                open = link;
            }
            run.push((unit.column, row, unit.cell));
            // The cursor's position is unknown after such a character, so it is set again.
            if !unit.is_agreed() {
                self.out.draw(run.drain(..))?;
            }
        }
        self.out.draw(run.into_iter())?;
        if open.is_some() {
            self.out.write_all(Hyperlink::END.as_bytes())?;
        }
        Ok(())
    }

    /// Writes spaces in the styles of the new content.
    fn blank(&mut self, row: u16, now: &[Unit]) -> io::Result<()> {
        let blank = |unit: &Unit| {
            let mut blank = unit.cell.clone();
            blank.set_symbol(" ");
            blank
        };
        let blanks: Vec<Cell> = now.iter().map(blank).collect();
        let cells = now.iter().zip(&blanks).flat_map(|(unit, blank)| {
            (unit.column..unit.column + unit.cells).map(move |column| (column, row, blank))
        });
        self.out.draw(cells)
    }
}

#[cfg(test)]
#[path = "painter_tests.rs"]
mod tests;
