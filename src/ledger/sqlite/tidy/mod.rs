//! Removes deleted content from the whole file, in parts between commits: from the full-text index,
//! free pages, free space inside pages, and the write-ahead log.

mod pages;
mod words;

use std::path::Path;
use std::time::Instant;

use rusqlite::Connection;

use super::connection::{LOG_PAGES, truncate_log, write_faults};
use crate::ledger::pace::{CommitTime, Pace};
use crate::ledger::{LedgerError, Tidied};
use pages::{Pages, Part};

/// Free pages that are kept for reuse.
const FREE_PAGES: i64 = 64;
/// The file shrinks if more than this part of its pages is free.
const FREE_PART: i64 = 8;
/// After this many removals, which are also at least this part of the pages, the full-text index is
/// merged instead of changed page by page.
const BULK: i64 = 1_000;
const BULK_PART: i64 = 16;
/// Checkpoint interval during removals, in pages, so that the commit that triggers a checkpoint
/// does not wait long.
const LOG_PAGES_MEANWHILE: i64 = 400;

/// The state of the work.
pub(super) struct Tidy {
    /// Number of commits that removed content, and of those that are cleaned up.
    removals: i64,
    tidied: i64,
    /// Messages removed since the last pass.
    removed: i64,
    /// The full-text index has to be merged.
    bulk: bool,
    /// The checkpoint interval is short.
    short_log: bool,
    pass: Option<Pass>,
    /// One for each kind of step.
    paces: [Pace; 4],
    pages: Option<Pages>,
}

/// A pass cleans up removals from before its start.
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

/// The result of a step.
enum Next {
    Step(Step),
    /// The same step again, once no reader blocks it.
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

    #[cfg(test)]
    pub fn work_in_parts_of(&mut self, pages: usize) {
        self.paces.fill(Pace::new(pages, pages));
    }

    /// Records a commit that removed this many messages.
    pub fn note(&mut self, messages: usize) {
        self.removals += 1;
        self.removed += messages as i64;
    }

    /// Prepares for removals; many earlier ones indicate many more.
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

    /// Runs one part of the work.
    pub fn some(
        &mut self,
        connection: &Connection,
        path: &Path,
        commit_time: CommitTime,
    ) -> Result<Tidied, LedgerError> {
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
        let next = match self.step(&pass.step, connection, path) {
            // A smaller part may find the room on the disk that this one did not.
            Err(error) if error.is_of_the_disk() && self.paces[kind].fall_back() => {
                truncate_log(connection).map_err(write_faults(path))?;
                self.pass = Some(pass);
                return Ok(Tidied::More);
            }
            next => next?,
        };
        match next {
            Next::Step(step) => {
                pass.step = step;
                self.pass = Some(pass);
                self.paces[kind].done(began, commit_time);
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

/// Returns up to `pages_max` free pages to the file system. Returns whether too many are left.
fn shrink(connection: &Connection, begun: bool, pages_max: usize) -> rusqlite::Result<bool> {
    let ask = |what| connection.query_row(what, [], |row| row.get::<_, i64>(0));
    let (free, all) = (ask("PRAGMA freelist_count")?, ask("PRAGMA page_count")?);
    let spare = if begun { FREE_PAGES } else { FREE_PAGES.max(all / FREE_PART) };
    if free <= spare {
        return Ok(false);
    }
    connection.execute_batch(&format!("PRAGMA incremental_vacuum({pages_max})"))?;
    // A file without incremental vacuum keeps its size.
    Ok(ask("PRAGMA freelist_count")? < free)
}
