//! The free space inside the database's pages. SQLite overwrites deleted content (`secure_delete`).
//! But when a page is split or rebuilt, copies of moved rows remain between its cell pointers and
//! its cells. These copies are overwritten in the file itself, in bytes that SQLite does not read.

use std::fs::{self, File, OpenOptions};
use std::mem::ManuallyDrop;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rusqlite::TransactionBehavior;

use super::super::connection::{PAGES_MAX, faults, io, log_of, open_existing};
use crate::ledger::LedgerError;

/// Offset of SQLite's lock bytes. The page there is never used.
const LOCKS_AT: u64 = 1 << 30;
/// The database header precedes the header of the first page.
const FILE_HEADER: usize = 100;

/// The database file, opened beside SQLite's connections.
pub(super) struct Pages {
    path: PathBuf,
    /// Never closed: closing any descriptor of the file releases the process's POSIX locks on it.
    file: ManuallyDrop<File>,
    shape: Shape,
}

/// The layout of pages.
#[derive(Clone, Copy)]
struct Shape {
    page_bytes: usize,
    /// Bytes of a page that SQLite uses.
    usable: usize,
    /// The file has pointer-map pages.
    has_map: bool,
}

/// The result of a part.
pub(super) enum Part {
    /// The next part starts with this page.
    Next(u64),
    Done,
    /// Another connection uses the write-ahead log: try again.
    Blocked,
}

impl Pages {
    pub fn open(path: &Path) -> Result<Pages, LedgerError> {
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(io(path))?;
        let file = ManuallyDrop::new(file);
        let mut header = [0; FILE_HEADER];
        file.read_exact_at(&mut header, 0).map_err(io(path))?;
        let shape = Shape::of(&header).ok_or_else(|| {
            io(path)(std::io::Error::other("the database header has no valid page size"))
        })?;
        Ok(Pages { path: path.to_owned(), file, shape })
    }

    /// Overwrites the free space of up to `pages_max` pages, starting with `first`. The write-ahead
    /// log has to be empty; then nobody else writes to the file during the transaction.
    pub fn clean(&self, first: u64, pages_max: usize) -> Result<Part, LedgerError> {
        let fault = faults(&self.path);
        let mut connection = open_existing(&self.path)?;
        let begin = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = begin.map_err(&fault)?;
        if !is_empty(&log_of(&self.path)) {
            return Ok(Part::Blocked);
        }
        let (next, changed) = self.clean_in_file(first, pages_max).map_err(io(&self.path))?;
        if changed {
            // Makes other connections drop cached copies of these pages, which they could write
            // again.
            transaction.execute("UPDATE meta SET passes = passes + 1", []).map_err(&fault)?;
            transaction.commit().map_err(&fault)?;
        }
        Ok(next.map_or(Part::Done, Part::Next))
    }

    fn clean_in_file(&self, first: u64, pages_max: usize) -> std::io::Result<(Option<u64>, bool)> {
        let size = self.shape.page_bytes as u64;
        let pages = self.file.metadata()?.len() / size;
        if pages > PAGES_MAX as u64 {
            log::warn!("{}: too large for its free space to be overwritten", self.path.display());
            return Ok((None, false));
        }
        let end = pages.min(first.saturating_add(pages_max as u64));
        let mut page = vec![0; self.shape.page_bytes];
        let mut changed = false;
        for number in first..end {
            self.file.read_exact_at(&mut page, number * size)?;
            let Some((from, upto)) = self.shape.dirty(&page, number) else { continue };
            let zeros = vec![0; upto - from];
            self.file.write_all_at(&zeros, number * size + from as u64)?;
            changed = true;
        }
        if changed {
            self.file.sync_data()?;
        }
        Ok(((end < pages).then_some(end), changed))
    }
}

impl Shape {
    /// The shape that a file's header names; none if SQLite has no such size.
    fn of(header: &[u8; FILE_HEADER]) -> Option<Shape> {
        let page_bytes = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 65_536,
            bytes => usize::from(bytes),
        };
        if page_bytes < 512 || !page_bytes.is_power_of_two() {
            return None;
        }
        let usable = page_bytes - usize::from(header[20]);
        Some(Shape { page_bytes, usable, has_map: header[52..56] != [0; 4] })
    }

    /// Returns the range of a page's free space if it is not all zeros. `number` counts from 0.
    fn dirty(self, page: &[u8], number: u64) -> Option<(usize, usize)> {
        if self.is_map(number + 1) || number == self.locks_at() {
            return None;
        }
        let header = if number == 0 { FILE_HEADER } else { 0 };
        let word = |at: usize| usize::from(u16::from_be_bytes([page[at], page[at + 1]]));
        let pointers = match page[header] {
            2 | 5 => header + 12,
            10 | 13 => header + 8,
            _ => return None,
        };
        let end = pointers + 2 * word(header + 3);
        let rows = match word(header + 5) {
            0 => 65_536,
            rows => rows,
        };
        let is_sound = end <= rows && rows <= self.usable;
        let all = || (pointers..end).step_by(2).all(|at| (rows..self.usable).contains(&word(at)));
        let free = is_sound && all() && page[end..rows].iter().any(|byte| *byte != 0);
        free.then_some((end, rows))
    }

    /// Returns whether a page is a pointer map:
    /// <https://sqlite.org/fileformat2.html#pointer_map_or_ptrmap_pages>.
    fn is_map(self, number: u64) -> bool {
        let each = self.usable as u64 / 5 + 1;
        if !self.has_map || number < 2 {
            return false;
        }
        let map = (number - 2) / each * each + 2;
        let map = if map == self.locks_at() + 1 { map + 1 } else { map };
        map == number
    }

    /// Returns the number, from 0, of the page with the lock bytes.
    fn locks_at(self) -> u64 {
        LOCKS_AT / self.page_bytes as u64
    }
}

fn is_empty(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |about| about.len() == 0)
}
