//! Ledgers for tests: storage in memory that fails, and readers that are slow, stuck or broken.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rand::RngExt;
use rand::rngs::StdRng;

use super::{
    Began, BlobLimits, BlobRow, BlobTotals, Blobs, Counted, DropOutcome, Erased, Ledger,
    LedgerError, Memory, NewBlob, Older, Outcome, Page, Place, Reader, Record, Remembered,
    SentMessage, Tidied, Work,
};
use crate::chat::{BlobId, Conversation, Epoch, Matching, Message, Seq, UserName, Wanted};

/// A ledger that survives the server's processes and fails at random.
pub struct Faulty {
    pub memory: Memory,
    pub chance: StdRng,
    pub fails: Arc<Mutex<Fails>>,
}

/// One of this many commits fails; none if 0.
#[derive(Default)]
pub struct Fails {
    pub one_in: u32,
    /// A sync has failed: nothing is stored until the next process.
    pub poisoned: bool,
    /// Whether the next commit panics.
    pub panics: bool,
    /// A conversation whose old messages cannot be removed.
    pub damaged: Option<Conversation>,
    /// The other conversations whose old messages were removed.
    pub expired: Vec<Conversation>,
}

impl Ledger for Faulty {
    fn commit(&mut self, records: &[Record]) -> Result<Vec<Outcome>, LedgerError> {
        let mut fails = self.fails.lock().unwrap();
        let path = PathBuf::from("memory");
        if fails.panics {
            drop(fails);
            panic!("planted");
        }
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

    fn stored(&self, sent: &SentMessage) -> Option<Seq> {
        let page = Page { messages_max: usize::MAX, bytes_max: usize::MAX };
        let messages = self.memory.read(&sent.conversation, Seq(0), Seq(u64::MAX), page).unwrap();
        messages.iter().find(|one| (&one.from, one.id) == (&sent.from, sent.id)).map(|one| one.seq)
    }

    fn expire(&mut self, which: &Conversation, _: i64) -> Result<(usize, bool), LedgerError> {
        let mut fails = self.fails.lock().unwrap();
        if fails.damaged.as_ref() == Some(which) {
            let (path, what) = (PathBuf::from("memory"), "planted".to_owned());
            return Err(LedgerError::Damaged { path, what });
        }
        fails.expired.push(which.clone());
        Ok((0, false))
    }

    fn count_old(
        &self,
        _: &Conversation,
        _: i64,
        _: Option<Place>,
    ) -> Result<(usize, Option<Place>), LedgerError> {
        Ok((0, None))
    }

    fn detach(&mut self, conversation: &Conversation, kept: bool) -> Result<(), LedgerError> {
        self.memory.detach(conversation, kept)
    }

    fn remove_detached(&mut self) -> Result<bool, LedgerError> {
        self.memory.remove_detached()
    }

    fn waiting(&self, _: &Conversation, _: &UserName, _: usize) -> Result<usize, LedgerError> {
        Ok(0)
    }

    fn drop_empty(&mut self, conversation: &Conversation) -> Result<(), LedgerError> {
        self.memory.drop_empty(conversation)
    }

    fn emptied(&self, conversation: &Conversation) -> Result<Option<Seq>, LedgerError> {
        self.memory.emptied(conversation)
    }

    fn floor(&self) -> Seq {
        self.memory.floor()
    }

    fn conversations(&self) -> Vec<Conversation> {
        self.memory.conversations()
    }

    fn tidy(&mut self, now_ms: i64) -> Result<Tidied, LedgerError> {
        self.memory.tidy(now_ms)
    }

    fn newest_ms(&self) -> Result<Option<i64>, LedgerError> {
        self.memory.newest_ms()
    }

    fn begin_erasing(&mut self, user: &UserName) -> Result<(), LedgerError> {
        self.memory.begin_erasing(user)
    }

    fn erase_some(&mut self) -> Result<Option<Erased>, LedgerError> {
        self.memory.erase_some()
    }

    fn renew(&mut self, user: &UserName) -> Result<(), LedgerError> {
        self.memory.renew(user)
    }

    fn rename(&mut self, old: &UserName, new: &UserName) -> Result<Vec<Conversation>, LedgerError> {
        self.memory.rename(old, new)
    }

    fn remembered(&self, waiting_max: usize) -> Result<Vec<Remembered>, LedgerError> {
        self.memory.remembered(waiting_max)
    }

    fn epoch(&self) -> Epoch {
        self.memory.epoch()
    }

    fn stored_ever(&self) -> u64 {
        self.memory.stored_ever()
    }

    fn begin_epoch(&mut self, epoch: Epoch) -> Result<(), LedgerError> {
        self.memory.begin_epoch(epoch)
    }
}

impl Blobs for Faulty {
    fn begin_blob(&mut self, new: &NewBlob, limits: &BlobLimits) -> Result<Began, LedgerError> {
        self.memory.begin_blob(new, limits)
    }

    fn keep_blob(&mut self, stored: BlobId, until_ms: i64) -> Result<bool, LedgerError> {
        self.memory.keep_blob(stored, until_ms)
    }

    fn drop_blob(&mut self, owner: &UserName, blob: BlobId) -> Result<DropOutcome, LedgerError> {
        self.memory.drop_blob(owner, blob)
    }

    fn cancel_blob(&mut self, stored: BlobId) -> Result<(), LedgerError> {
        self.memory.cancel_blob(stored)
    }

    fn lose_blob(&mut self, stored: BlobId) -> Result<(), LedgerError> {
        self.memory.lose_blob(stored)
    }

    fn expire_blobs(&mut self, now_ms: i64) -> Result<usize, LedgerError> {
        self.memory.expire_blobs(now_ms)
    }

    fn doomed_blobs(&self) -> Result<Vec<BlobId>, LedgerError> {
        self.memory.doomed_blobs()
    }

    fn bury_blobs(&mut self, stored: &[BlobId]) -> Result<(), LedgerError> {
        self.memory.bury_blobs(stored)
    }

    fn blob(&self, stored: BlobId) -> Result<Option<BlobRow>, LedgerError> {
        self.memory.blob(stored)
    }

    fn find_blob(
        &self,
        conversation: &Conversation,
        blob: BlobId,
    ) -> Result<Option<BlobRow>, LedgerError> {
        self.memory.find_blob(conversation, blob)
    }

    fn blobs_of(
        &self,
        owner: &UserName,
        rows_max: usize,
    ) -> Result<(Vec<BlobRow>, BlobTotals), LedgerError> {
        self.memory.blobs_of(owner, rows_max)
    }

    fn blobs_after(&self, stored: Option<BlobId>) -> Result<Vec<BlobRow>, LedgerError> {
        self.memory.blobs_after(stored)
    }

    fn blob_totals(&self) -> Result<BlobTotals, LedgerError> {
        self.memory.blob_totals()
    }

    fn blob_owners(&self) -> Result<Vec<(UserName, BlobTotals)>, LedgerError> {
        self.memory.blob_owners()
    }

    fn take_doomed(&mut self) -> Vec<BlobId> {
        self.memory.take_doomed()
    }
}

/// What a test's reader returns for a conversation.
pub type Found = Result<(Vec<Message>, bool), LedgerError>;

type Search = dyn Fn(&Conversation, &Arc<Work>) -> Found + Send + Sync;

/// A reader that runs a closure of the test instead of a search. Other reads are empty, or fail.
#[derive(Clone)]
pub struct Acting {
    search: Arc<Search>,
    fails: bool,
}

impl Acting {
    pub fn searching(
        search: impl Fn(&Conversation, &Arc<Work>) -> Found + Send + Sync + 'static,
    ) -> Acting {
        Acting { search: Arc::new(search), fails: false }
    }

    /// Fails every read.
    pub fn failing() -> Acting {
        Acting { search: Arc::new(|_, _| unreadable()), fails: true }
    }
}

fn unreadable() -> Found {
    let error = io::Error::other("no descriptor left");
    Err(LedgerError::Io { path: PathBuf::from("memory"), error })
}

impl Reader for Acting {
    fn read(&self, _: &Conversation, _: Seq, _: Seq, _: Page) -> Result<Vec<Message>, LedgerError> {
        if self.fails { unreadable().map(|(messages, _)| messages) } else { Ok(Vec::new()) }
    }

    fn history(&self, _: &Conversation, _: Older, _: Page, _: &Arc<Work>) -> Found {
        if self.fails { unreadable() } else { Ok((Vec::new(), false)) }
    }

    fn search_conversation(
        &self,
        conversation: &Conversation,
        _: (&Wanted, Matching),
        _: Page,
        work: &Arc<Work>,
    ) -> Found {
        (self.search)(conversation, work)
    }

    fn count(
        &self,
        _: &Conversation,
        _: (Seq, Seq),
        _: &UserName,
        _: &Arc<Work>,
    ) -> Result<Counted, LedgerError> {
        if self.fails { unreadable().map(|_| Counted::default()) } else { Ok(Counted::default()) }
    }

    fn another(&self) -> Box<dyn Reader> {
        Box::new(self.clone())
    }
}
