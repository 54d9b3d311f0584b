//! The ledger's queue: what waits for it, and the outcomes.

use std::sync::atomic::Ordering;

use super::waiting::{Job, Line, Waiting};
use super::{Hub, Inner};
use crate::chat::{Conversation, Event, MsgId, NewMessage, Refusal, Target, UserName};
use crate::ledger::{Draft, Feed, Outcome, SplitLedger, StoredMessage};
use crate::server::delivery::send_queue::ConversationId;
use crate::sync::MutexGuard;
use crate::wire::stored_fields;

impl Hub {
    /// Waits for work and swaps it into `waiting`, which is empty and keeps its capacity. Returns
    /// false once the hub is closed.
    pub fn next_waiting(&self, waiting: &mut Vec<Waiting>) -> bool {
        let mut inner = self.lock();
        while inner.waiting.is_empty() {
            if inner.closed {
                return false;
            }
            inner.commit_thread_sleeps = true;
            inner = self.written.wait(inner);
            inner.commit_thread_sleeps = false;
        }
        std::mem::swap(&mut inner.waiting, waiting);
        true
    }

    /// Takes what waits for the ledger.
    #[cfg(test)]
    pub fn take_waiting(&self) -> Vec<Waiting> {
        std::mem::take(&mut self.lock().waiting)
    }

    /// Queues a job for the ledger's owner, once there is room.
    pub fn add_job(&self, job: Job) {
        self.push_job(self.when_roomy(self.lock()), job);
    }

    /// Queues a job if there is room now; otherwise drops it. Returns whether there was room.
    pub fn try_job(&self, job: Job) -> bool {
        let inner = self.lock();
        let fits = !self.is_full(&inner);
        if fits {
            self.push_job(inner, job);
        }
        fits
    }

    /// Records that a name was registered for somebody else. Messages from now on are committed
    /// after it.
    pub fn renew(&self, user: &UserName) {
        let user = user.clone();
        let renew = move |ledger: &mut SplitLedger| match ledger.renew(&user) {
            Ok(()) => log::info!("the name {user} belongs to a new user; earlier messages stay"),
            Err(error) => log::error!("cannot store that {user} is a new user: {error}"),
        };
        self.push_job(self.lock(), Box::new(renew));
    }

    fn push_job(&self, mut inner: MutexGuard<'_, Inner>, job: Job) {
        if !inner.closed && !inner.abandoned {
            inner.waiting.push(Waiting::Job(job));
        }
        self.wake_commit_thread(inner);
    }

    /// Recounts the private messages that wait for users.
    pub fn recount(&self, waiting: impl Iterator<Item = (Conversation, UserName, usize)>) {
        self.lock().registry.recount(waiting);
    }

    /// Stops accepting work for the ledger; queued records are still written.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.waiting.retain(|one| !matches!(one, Waiting::Job(_)));
        self.wake_commit_thread(inner);
        self.backfill.close();
    }

    /// The commit thread has ended: jobs are dropped, so that nobody waits for their results.
    pub fn abandon_jobs(&self) {
        let mut inner = self.lock();
        inner.abandoned = true;
        inner.waiting.retain(|one| !matches!(one, Waiting::Job(_)));
    }

    /// Appends stored messages to their tails, in the feed's order. Returns the conversations to
    /// deliver.
    pub fn arrived(&self, feed: &mut dyn Feed) -> Vec<ConversationId> {
        let mut arrived = Vec::new();
        let mut inner = self.lock();
        while let Some(StoredMessage { seq, draft, fields }) = feed.next() {
            let id = inner.conversation(&draft.conversation, &self.limits);
            let fields = fields.unwrap_or_else(|| encoded(&draft));
            if inner.log(id).tail.append_line(seq, &fields) {
                inner.registry.committed(&draft.conversation, seq);
                inner.lines += 1;
                arrived.push(id);
            }
        }
        drop(inner);
        arrived.sort_unstable();
        arrived.dedup();
        arrived
    }

    /// Delivers conversations with new messages.
    pub fn deliver_all(&self, arrived: Vec<ConversationId>) {
        // A lone message is delivered here; with more waiting, the flusher delivers while this
        // thread commits.
        let more = !arrived.is_empty() && !self.lock().waiting.is_empty();
        for conversation in arrived {
            if more {
                self.flusher.take_over(conversation)
            } else {
                self.deliver(conversation, false)
            }
        }
    }

    /// Handles the outcomes of messages: stored ones have arrived in their tails, others are
    /// refused.
    pub fn decided(&self, lines: Vec<Option<Line>>, outcomes: Vec<Outcome>) {
        let mut answers = Vec::new();
        let mut inner = self.lock();
        for (line, outcome) in lines.into_iter().zip(outcomes) {
            let Some(line) = line else { continue };
            line.queue.undecided.fetch_sub(1, Ordering::Relaxed);
            if !matches!(outcome, Outcome::Stored(_)) {
                inner.registry.refused(&line.draft.conversation, &line.draft.from);
                let to = line.draft.conversation.as_seen_by(&line.draft.from);
                answers.push((line.queue, self.outcome(outcome, line.draft.id, to)));
            }
        }
        let waiters = inner.waiters;
        drop(inner);
        if waiters > 0 {
            self.progress.notify_all();
        }
        for (queue, event) in answers {
            self.answer(&queue, &event);
        }
    }

    /// Returns the answer for the sender of a message that was not stored now.
    pub(super) fn outcome(&self, outcome: Outcome, id: MsgId, to: Target) -> Event {
        let refusal = match outcome {
            Outcome::Known(seq) | Outcome::Stored(seq) => return Event::Stored { id, to, seq },
            Outcome::Conflict => Refusal::IdConflict,
            Outcome::NoSuchMessage => Refusal::NoSuchMessage,
            Outcome::NotOwn => Refusal::NotOwn,
            Outcome::TooLate => Refusal::TooLate(self.limits.change_s_max),
            Outcome::InDoubt => Refusal::InDoubt,
            Outcome::Failed => Refusal::Storage,
        };
        refusal.event(Some(id), None)
    }
}

/// Encodes a message of another server's commit.
fn encoded(draft: &Draft) -> Vec<u8> {
    let Draft { conversation, from, device, id, time_ms, kind, body } = draft;
    let to = conversation.as_seen_by(from);
    let message = NewMessage { to: to.clone(), id: *id, kind: *kind, body: body.clone() };
    stored_fields(&to, from, device, *time_ms, &message)
}
