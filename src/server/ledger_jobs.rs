//! What the ledger is asked to do beside chat messages: expiry, erasing, counts, and whether it
//! answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::hub::Hub;
use super::liveness;
use super::readers::Readers;
use crate::config::Config;
use crate::ledger::{LedgerError, SplitLedger, Swept};
use crate::sync::Snapshot;

/// The way to the ledger's threads.
pub struct LedgerJobs {
    config: Arc<Snapshot<Config>>,
    hub: Arc<Hub>,
    readers: Arc<Readers>,
    /// An operator has had old messages removed.
    swept_by_hand: AtomicBool,
}

impl LedgerJobs {
    pub fn new(config: Arc<Snapshot<Config>>, hub: Arc<Hub>, readers: Arc<Readers>) -> LedgerJobs {
        LedgerJobs { config, hub, readers, swept_by_hand: AtomicBool::new(false) }
    }

    /// Has the ledger's owner do something and waits for it; none where the server stops first.
    pub fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut SplitLedger) -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = mpsc::channel();
        self.hub.add_job(Box::new(move |ledger| {
            // Who asked may have gone meanwhile.
            let _ = done.send(job(ledger));
        }));
        result.recv().ok()
    }

    /// Whether each thread of the ledger answers in time: the writer, and those that read for
    /// history, for searches and for sessions that come back.
    pub fn answers(&self, patience: Duration) -> [(&'static str, bool); 4] {
        let (done, answered) = mpsc::channel();
        // Where too much waits already, that is the answer.
        self.hub.try_job(Box::new(move |_| {
            let _ = done.send(());
        }));
        let deadline = Instant::now() + patience;
        let asked = [
            ("ledger", answered),
            ("history", self.readers.history.ask()),
            ("search", self.readers.search.ask()),
            ("replay", self.hub.backfill().ask()),
        ];
        asked.map(|(name, answer)| (name, liveness::answers(&answer, deadline)))
    }

    /// Whether an operator has had old messages removed since this was asked last.
    pub fn was_swept_by_hand(&self) -> bool {
        self.swept_by_hand.swap(false, Ordering::Relaxed)
    }

    pub fn note_sweep_by_hand(&self) {
        self.swept_by_hand.store(true, Ordering::Relaxed);
    }

    /// Removes messages that are older than their conversation's retention, or only counts them, in
    /// short turns between commits. None where the server stops first.
    pub fn sweep(&self, now_ms: i64, dry: bool) -> Option<Result<Swept, LedgerError>> {
        let mut all = Swept::default();
        loop {
            match self.ask(move |ledger| ledger.sweep(now_ms, dry))? {
                Ok(swept) => {
                    all.lines += swept.lines;
                    all.conversations += swept.conversations;
                    all.remains = swept.remains;
                    self.hub.emptied(swept.emptied);
                    if !swept.more {
                        if all.lines > 0 && !dry {
                            self.recount_mailboxes();
                        }
                        return Some(Ok(all));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// What was removed no longer waits for anybody.
    pub fn recount_mailboxes(&self) {
        let lines_max = self.config.get().limits.mailbox_lines_max;
        let known = self.ask(move |ledger| ledger.remembered(lines_max));
        // Where it cannot be read, the mailboxes stay as full as they were.
        if let Some(Ok(known)) = known {
            self.hub.recount(known.into_iter().flat_map(|remembered| {
                let conversation = remembered.conversation;
                let waiting = remembered.waiting.into_iter();
                waiting.map(move |(name, count)| (conversation.clone(), name, count))
            }));
        }
    }
}
