//! What was removed goes from everywhere in the file, part by part between commits: from the index
//! of words, from pages that are free, from free space inside pages, and from the write-ahead log.

mod pages;
mod words;

use std::path::Path;
use std::time::Instant;

use rusqlite::Connection;

use super::connection::{LOG_PAGES, truncate_log, write_faults};
use crate::ledger::pace::Pace;
use crate::ledger::{LedgerError, Tidied};
use pages::{Pages, Part};

/// Free pages that a file may have: they are used again soon.
const FREE_PAGES: i64 = 64;
/// It is made smaller where they are more than this part of it.
const FREE_PART: i64 = 8;
/// After so many removals, and as many as this part of its pages, the index of words is merged
/// instead of being changed page by page.
const BULK: i64 = 1_000;
const BULK_PART: i64 = 16;
/// While much is removed, the write-ahead log is copied into the file after so many pages:
/// whoever's commit that falls to does not wait long.
const LOG_PAGES_MEANWHILE: i64 = 400;

/// Where the work is.
pub(super) struct Tidy {
    /// Commits that removed something, and up to which of them everything is done.
    removals: i64,
    tidied: i64,
    /// Messages that were removed since a pass ended.
    removed: i64,
    /// The index of words is to be merged.
    bulk: bool,
    /// The write-ahead log is kept short.
    short_log: bool,
    pass: Option<Pass>,
    /// Of each kind of step.
    paces: [Pace; 4],
    pages: Option<Pages>,
}

/// It ends with what was removed before it began.
struct Pass {
    upto: i64,
    step: Step,
}

enum Step {
    Merge { first: bool },
    Mend(words::Position),
    Shrink { begun: bool },
    Clean { next: u64 },
}

/// What follows a step.
enum Next {
    Step(Step),
    /// The same step, once nobody reads the file.
    Blocked,
    End,
}

impl Tidy {
    pub fn load(connection: &Connection) -> rusqlite::Result<Tidy> {
        let query = "SELECT removals, tidied, bulk FROM meta";
        connection.query_row(query, [], |row| {
            Ok(Tidy {
                removals: row.get(0)?,
                tidied: row.get(1)?,
                removed: 0,
                bulk: row.get(2)?,
                short_log: false,
                pass: None,
                paces: [(8, 256), (64, 4_096), (8, 1_024), (256, 16_384)]
                    .map(|(least, most)| Pace::new(least, most)),
                pages: None,
            })
        })
    }

    /// A commit has removed something, with so many messages.
    pub fn note(&mut self, messages: usize) {
        self.removals += 1;
        self.removed += messages as i64;
    }

    /// Messages are about to be removed: many, if many were already.
    pub fn expect(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.keep_log_short(connection, true)?;
        if self.bulk || self.removed < BULK {
            return Ok(());
        }
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        if self.removed >= BULK.max(pages / BULK_PART) {
            words::begin_bulk(connection)?;
            self.bulk = true;
        }
        Ok(())
    }

    fn keep_log_short(&mut self, connection: &Connection, short: bool) -> rusqlite::Result<()> {
        if self.short_log != short {
            let pages = if short { LOG_PAGES_MEANWHILE } else { LOG_PAGES };
            connection.pragma_update(None, "wal_autocheckpoint", pages)?;
            self.short_log = short;
        }
        Ok(())
    }

    /// One part of what is to be done.
    pub fn some(&mut self, connection: &Connection, path: &Path) -> Result<Tidied, LedgerError> {
        let mut pass = match self.pass.take() {
            Some(pass) => pass,
            None if self.removals == self.tidied && !self.bulk => {
                self.keep_log_short(connection, false).map_err(write_faults(path))?;
                return Ok(Tidied::Done);
            }
            None => Pass {
                upto: self.removals,
                step: match self.bulk {
                    true => Step::Merge { first: true },
                    false => Step::Mend((0, Vec::new())),
                },
            },
        };
        self.keep_log_short(connection, true).map_err(write_faults(path))?;
        let (kind, began) = (pass.step.kind(), Instant::now());
        match self.step(&pass.step, connection, path)? {
            Next::Step(step) => {
                pass.step = step;
                self.pass = Some(pass);
                self.paces[kind].done(began);
                Ok(Tidied::More)
            }
            Next::Blocked => {
                self.pass = Some(pass);
                Ok(Tidied::Blocked)
            }
            Next::End => {
                let set = "UPDATE meta SET tidied = ?1";
                connection.execute(set, [pass.upto]).map_err(write_faults(path))?;
                (self.tidied, self.removed) = (pass.upto, 0);
                Ok(Tidied::More)
            }
        }
    }

    fn step(
        &mut self,
        step: &Step,
        connection: &Connection,
        path: &Path,
    ) -> Result<Next, LedgerError> {
        let (fault, size) = (write_faults(path), self.paces[step.kind()].size());
        let next = match step {
            Step::Merge { first } => {
                let done = words::merge(connection, *first, size).map_err(&fault)?;
                self.bulk = !done;
                if done { Step::Mend((0, Vec::new())) } else { Step::Merge { first: false } }
            }
            Step::Mend(position) => {
                let next = words::mend(connection, position, size).map_err(&fault)?;
                next.map_or(Step::Shrink { begun: false }, Step::Mend)
            }
            Step::Shrink { begun } => match shrink(connection, *begun, size).map_err(&fault)? {
                true => Step::Shrink { begun: true },
                false => Step::Clean { next: 0 },
            },
            Step::Clean { next } => {
                if !truncate_log(connection).map_err(&fault)? {
                    return Ok(Next::Blocked);
                }
                if self.pages.is_none() {
                    self.pages = Some(Pages::open(path)?);
                }
                let pages = self.pages.as_ref().expect("it was just opened");
                match pages.clean(*next, size)? {
                    Part::Next(next) => Step::Clean { next },
                    Part::Done => return Ok(Next::End),
                    Part::Blocked => return Ok(Next::Blocked),
                }
            }
        };
        Ok(Next::Step(next))
    }
}

impl Step {
    fn kind(&self) -> usize {
        match self {
            Step::Merge { .. } => 0,
            Step::Mend(_) => 1,
            Step::Shrink { .. } => 2,
            Step::Clean { .. } => 3,
        }
    }
}

/// Gives up to `pages_max` free pages back to the file system; whether there are more than a file
/// may have.
fn shrink(connection: &Connection, begun: bool, pages_max: usize) -> rusqlite::Result<bool> {
    let ask = |what| connection.query_row(what, [], |row| row.get::<_, i64>(0));
    let (free, all) = (ask("PRAGMA freelist_count")?, ask("PRAGMA page_count")?);
    let spare = if begun { FREE_PAGES } else { FREE_PAGES.max(all / FREE_PART) };
    if free <= spare {
        return Ok(false);
    }
    connection.execute_batch(&format!("PRAGMA incremental_vacuum({pages_max})"))?;
    // A file of before this was possible stays as large as it is.
    Ok(ask("PRAGMA freelist_count")? < free)
}
