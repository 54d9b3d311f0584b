//! The ledger's queue: what waits for it, and the outcomes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};

use super::deliver::Delivery;
use super::lock::Lock;
use super::waiting::{GivenMessage, Job, Queued};
use crate::chat::registry::Mailbox;
use crate::chat::{Event, MsgId, Refusal, Target, UserName};
use crate::ledger::{Feed, LedgerError, Outcome, SplitLedger};
use crate::server::delivery::send_queue::ConversationId;

/// The way to the ledger, and back from it.
pub struct LedgerQueue {
    lock: Arc<Lock>,
    delivery: Arc<Delivery>,
    change_s_max: u64,
}

impl LedgerQueue {
    pub(super) fn new(lock: Arc<Lock>, delivery: Arc<Delivery>, change_s_max: u64) -> LedgerQueue {
        LedgerQueue { lock, delivery, change_s_max }
    }

    /// Waits for work and swaps it into `waiting`, which is empty and keeps its capacity. Returns
    /// false once the hub is closed.
    pub fn next_waiting(&self, waiting: &mut Queued) -> bool {
        self.lock.next_waiting(waiting)
    }

    /// Takes what waits for the ledger.
    #[cfg(test)]
    pub fn take_waiting(&self) -> Queued {
        let mut taken = Queued::default();
        self.lock.lock().waiting.take(&mut taken);
        taken
    }

    /// Queues a job for the ledger's owner, once there is room.
    pub fn add_job(&self, job: Job) {
        self.lock.push_job(self.lock.when_roomy(self.lock.lock()), job);
    }

    /// Queues a job if there is room now; otherwise drops it. Returns whether there was room.
    pub fn try_job(&self, job: Job) -> bool {
        let state = self.lock.lock();
        let fits = !state.waiting.is_full();
        if fits {
            self.lock.push_job(state, job);
        }
        fits
    }

    /// Runs a job after everything that was queued before, and waits for its result; `None` if the
    /// server stops first.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut SplitLedger) -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = channel();
        self.add_job(Box::new(move |ledger| {
            // The caller may have given up.
            let _ = done.send(job(ledger));
        }));
        result.recv().ok()
    }

    /// Records that a name was registered for somebody else. Messages from now on are committed
    /// after it. The receiver gets the result, or none if the commit thread has ended.
    pub fn renew(&self, user: &UserName) -> Receiver<Result<(), LedgerError>> {
        let user = user.clone();
        let (done, result) = channel();
        let renew = move |ledger: &mut SplitLedger| {
            let renewed = ledger.renew(&user);
            match &renewed {
                Ok(()) => {
                    log::info!("the name {user} belongs to a new user; earlier messages stay");
                }
                Err(error) => log::error!("cannot store that {user} is a new user: {error}"),
            }
            // The caller may not wait for it.
            let _ = done.send(renewed);
        };
        self.lock.push_job(self.lock.lock(), Box::new(renew));
        result
    }

    /// Returns the mailboxes of absent users.
    pub fn mailboxes(&self) -> Vec<Mailbox> {
        self.lock.lock().registry.membership.mailboxes()
    }

    /// Sets how many messages wait in mailboxes.
    pub fn recount(&self, counts: Vec<(Mailbox, usize)>) {
        self.lock.lock().registry.membership.recount(counts);
    }

    /// Stops accepting work for the ledger; queued records are still written, and queued jobs done.
    pub fn close(&self) {
        let mut state = self.lock.lock();
        state.waiting.close();
        self.lock.wake_commit_thread(state);
        self.delivery.backfill.close();
    }

    /// The commit thread has ended: jobs are dropped, so that nobody waits for their results.
    pub fn abandon_jobs(&self) {
        self.lock.lock().waiting.abandon();
    }

    /// Returns whether the commit thread has written the whole queue, or has ended.
    pub fn is_abandoned(&self) -> bool {
        self.lock.lock().waiting.is_abandoned()
    }

    /// Handles a commit in one turn at the lock: stored messages arrive in their tails, in the
    /// feed's order, before the senders go on. Senders of other messages get a refusal.
    pub fn committed(
        &self,
        feed: &mut dyn Feed,
        messages: Vec<Option<GivenMessage>>,
        outcomes: Vec<Outcome>,
    ) {
        let mut answers = Vec::new();
        let mut state = self.lock.lock();
        let arrived = state.arrived(feed);
        for (message, outcome) in messages.into_iter().zip(outcomes) {
            let Some(message) = message else { continue };
            message.queue.undecided.fetch_sub(1, Ordering::Relaxed);
            if !matches!(outcome, Outcome::Stored(_)) {
                state.registry.refused(&message.sent.conversation, &message.sent.from);
                let to = message.sent.conversation.as_seen_by(&message.sent.from);
                answers.push((message.queue, self.outcome(outcome, message.sent.id, to)));
            }
        }
        let more = !state.waiting.is_empty();
        let has_waiters = self.lock.has_waiters();
        drop(state);
        if has_waiters {
            self.lock.progressed();
        }
        for (queue, event) in answers {
            self.delivery.answer(&queue, &event);
        }
        self.deliver_all(arrived, more);
    }

    /// Delivers conversations with new messages. A lone message is delivered here; with more
    /// waiting, the flusher delivers while this thread commits.
    fn deliver_all(&self, arrived: Vec<ConversationId>, more: bool) {
        for conversation in arrived {
            if more {
                self.delivery.hand_over(conversation)
            } else {
                self.delivery.deliver(conversation, false)
            }
        }
    }

    /// Returns the answer for the sender of a message that was not stored now.
    fn outcome(&self, outcome: Outcome, id: MsgId, to: Target) -> Event {
        let refusal = match outcome {
            Outcome::Known(seq) | Outcome::Stored(seq) => return Event::Stored { id, to, seq },
            Outcome::Conflict => Refusal::IdConflict,
            Outcome::NoSuchMessage => Refusal::NoSuchMessage,
            Outcome::NoSuchFile => Refusal::NoSuchFile,
            Outcome::FileNotEdited => Refusal::FileNotEdited,
            Outcome::NotOwn => Refusal::NotOwn,
            Outcome::TooLate => Refusal::TooLate(self.change_s_max),
            Outcome::InDoubt => Refusal::InDoubt,
            Outcome::NoRoom => Refusal::DiskLow,
            Outcome::Failed => Refusal::Storage,
        };
        refusal.event(Some(id), None)
    }
}
