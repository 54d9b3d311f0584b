//! What waits for the ledger, and what it has decided.

use std::sync::atomic::Ordering;

use super::waiting::{Job, Line, Waiting};
use super::{Hub, Inner};
use crate::chat::{Conversation, Event, MsgId, Refusal, Target, UserName};
use crate::ledger::Outcome;
use crate::sync::MutexGuard;

impl Hub {
    /// Puts what waits for the ledger into `waiting`, which is empty and keeps its room, as soon as
    /// something does. False once nothing more will come.
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

    /// What waits for the ledger now.
    #[cfg(test)]
    pub fn take_waiting(&self) -> Vec<Waiting> {
        std::mem::take(&mut self.lock().waiting)
    }

    /// Something for the ledger's owner to do, once there is room for it.
    pub fn add_job(&self, job: Job) {
        self.push_job(self.when_roomy(self.lock()), job);
    }

    /// The same where there is room now; else the job is dropped.
    pub fn try_job(&self, job: Job) {
        let inner = self.lock();
        if !self.is_full(&inner) {
            self.push_job(inner, job);
        }
    }

    fn push_job(&self, mut inner: MutexGuard<'_, Inner>, job: Job) {
        if !inner.closed {
            inner.waiting.push(Waiting::Job(job));
        }
        self.wake_commit_thread(inner);
    }

    /// Private lines that wait for people, counted anew.
    pub fn recount(&self, waiting: impl Iterator<Item = (Conversation, UserName, usize)>) {
        self.lock().registry.recount(waiting);
    }

    /// Nothing more goes to the ledger; the records that wait are still written.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.waiting.retain(|one| !matches!(one, Waiting::Job(_)));
        self.wake_commit_thread(inner);
        self.backfill.close();
    }

    /// The ledger has decided about these lines: the stored ones go into their conversations'
    /// tails, in the ledger's order, and out to the members; the others are refused to their
    /// senders.
    pub fn decided(&self, lines: Vec<Option<Line>>, outcomes: Vec<Outcome>) {
        let mut deliver = Vec::new();
        let mut answers = Vec::new();
        let mut inner = self.lock();
        for (line, outcome) in lines.into_iter().zip(outcomes) {
            let Some(line) = line else { continue };
            line.queue.undecided.fetch_sub(1, Ordering::Relaxed);
            match outcome {
                Outcome::Stored(seq) => {
                    let id = if inner.logs.contains_key(&line.conversation) {
                        line.conversation
                    } else {
                        inner.conversation(&line.draft.conversation, &self.limits)
                    };
                    inner.log(id).tail.append_line(seq, &line.fields);
                    inner.registry.committed(&line.draft.conversation, seq);
                    inner.lines += 1;
                    deliver.push(id);
                }
                other => {
                    inner.registry.refused(&line.draft.conversation, &line.draft.from);
                    let to = line.draft.conversation.as_seen_by(&line.draft.from);
                    answers.push((line.queue, self.outcome(other, line.draft.id, to)));
                }
            }
        }
        deliver.sort_unstable();
        deliver.dedup();
        let (more, waiters) = (!inner.waiting.is_empty(), inner.waiters);
        drop(inner);
        if waiters > 0 {
            self.progress.notify_all();
        }
        for (queue, event) in answers {
            self.answer(&queue, &event);
        }
        for conversation in deliver {
            // A lone line goes out on the spot; where more waits, it is committed meanwhile.
            if more {
                self.flusher.take_over(conversation)
            } else {
                self.deliver(conversation, false)
            }
        }
    }

    /// What the sender of a line is told that was not stored now.
    pub(super) fn outcome(&self, outcome: Outcome, id: MsgId, to: Target) -> Event {
        let refusal = match outcome {
            Outcome::Known(seq) | Outcome::Stored(seq) => return Event::Stored { id, to, seq },
            Outcome::Conflict => Refusal::IdConflict,
            Outcome::NoSuchLine => Refusal::NoSuchLine,
            Outcome::NotOwn => Refusal::NotOwn,
            Outcome::TooLate => Refusal::TooLate(self.limits.change_s_max),
            Outcome::InDoubt => Refusal::InDoubt,
            Outcome::Failed => Refusal::Storage,
        };
        refusal.event(Some(id), None)
    }
}
