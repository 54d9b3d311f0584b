//! Storage in memory, which fails.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rand::RngExt;
use rand::rngs::StdRng;

use crate::chat::{LogId, Message, Place, Seq, UserName, Wanted};
use crate::ledger::{
    Draft, Ledger, LedgerError, Memory, Older, Page, Reader, Record, Remembered, Verdict, Work,
};

/// A ledger that outlives the server's processes and fails now and then.
pub struct Faulty {
    pub memory: Memory,
    pub chance: StdRng,
    pub fails: Arc<Mutex<Fails>>,
}

/// One in so many commits fails; none where it is 0.
#[derive(Default)]
pub struct Fails {
    pub one_in: u32,
    /// A sync failed: nothing more is stored until the next process.
    pub poisoned: bool,
}

impl Ledger for Faulty {
    fn commit(&mut self, records: &[Record]) -> Result<Vec<Verdict>, LedgerError> {
        let mut fails = self.fails.lock().unwrap();
        let path = PathBuf::from("memory");
        if fails.poisoned {
            return Err(LedgerError::Poisoned { path });
        }
        if fails.one_in > 0 && self.chance.random_range(0..fails.one_in) == 0 {
            let kind = self.chance.random_range(0..3);
            if kind == 0 {
                let error = io::ErrorKind::StorageFull.into();
                return Err(LedgerError::Io { path, error });
            }
            if kind == 1 {
                self.memory.commit(records)?;
            }
            fails.poisoned = true;
            return Err(LedgerError::InDoubt { path, error: "planted".into() });
        }
        self.memory.commit(records)
    }

    fn stored(&self, line: &Draft) -> Option<Seq> {
        let page = Page { lines_max: usize::MAX, bytes_max: usize::MAX };
        let lines = self.memory.read(&line.place, Seq(0), Seq(u64::MAX), page).unwrap();
        lines.iter().find(|one| (&one.from, one.id) == (&line.from, line.id)).map(|one| one.seq)
    }

    fn expire(&mut self, _: &Place, _: i64, _: usize, _: bool) -> Result<usize, LedgerError> {
        Ok(0)
    }

    fn drop_empty(&mut self, place: &Place) -> Result<(), LedgerError> {
        self.memory.drop_empty(place)
    }

    fn places(&self) -> Vec<Place> {
        self.memory.places()
    }

    fn scrub(&mut self, _now_ms: i64) -> Result<bool, LedgerError> {
        Ok(true)
    }

    fn newest_ms(&self) -> Result<Option<i64>, LedgerError> {
        self.memory.newest_ms()
    }

    fn erase(&mut self, user: &UserName) -> Result<usize, LedgerError> {
        self.memory.erase(user)
    }

    fn remembered(&self, waiting_max: usize) -> Result<Vec<Remembered>, LedgerError> {
        self.memory.remembered(waiting_max)
    }

    fn log_id(&self) -> LogId {
        self.memory.log_id()
    }
}

/// A moment in which nothing can be read.
pub struct Unreadable;

impl Unreadable {
    pub fn fault<T>(&self) -> Result<T, LedgerError> {
        let error = io::Error::other("no descriptor left");
        Err(LedgerError::Io { path: PathBuf::from("memory"), error })
    }
}

impl Reader for Unreadable {
    fn read(&self, _: &Place, _: Seq, _: Seq, _: Page) -> Result<Vec<Message>, LedgerError> {
        self.fault()
    }

    fn history(
        &self,
        _: &Place,
        _: Older,
        _: Page,
        _: &Arc<Work>,
    ) -> Result<(Vec<Message>, bool), LedgerError> {
        self.fault()
    }

    fn search_place(
        &self,
        _: &Place,
        _: &Wanted,
        _: Page,
        _: &Arc<Work>,
    ) -> Result<(Vec<Message>, bool), LedgerError> {
        self.fault()
    }

    fn another(&self) -> Box<dyn Reader> {
        Box::new(Unreadable)
    }
}
