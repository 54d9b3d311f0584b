//! Liveness checks of reading threads: a thread answers before its next request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::chat::{ChannelName, Conversation, Seq};
use crate::ledger::{Page, Reader};

/// A question whether a thread works.
#[derive(Clone, Default)]
pub struct Question(Arc<AtomicBool>);

impl Question {
    pub fn answer(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_answered(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The question that a thread has not answered yet. All who ask meanwhile share it, so that a
/// thread that is stuck collects none.
#[derive(Default)]
pub struct Asked(Option<Question>);

impl Asked {
    /// The question to wait for, and whether it is a new one.
    pub fn ask(&mut self) -> (Question, bool) {
        if let Some(question) = self.0.as_ref().filter(|question| !question.is_answered()) {
            return (question.clone(), false);
        }
        (self.0.insert(Question::default()).clone(), true)
    }

    pub fn take(&mut self) -> Option<Question> {
        self.0.take()
    }
}

/// Answers if the reader can look up a conversation.
pub fn answer(asked: Option<Question>, reader: &dyn Reader) {
    let (lobby, page) =
        (Conversation::Channel(ChannelName::lobby()), Page { messages_max: 1, bytes_max: 1 });
    if let Some(question) = asked
        && reader.read(&lobby, Seq(0), Seq(0), page).is_ok()
    {
        question.answer();
    }
}

/// A thread that has not answered is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Whether an answer comes before the deadline, or the thread `progresses` until then.
pub fn answers(asked: &Question, deadline: Instant, progresses: impl Fn() -> bool) -> bool {
    loop {
        if asked.is_answered() || progresses() {
            return true;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        thread::sleep(left.min(LOOK_EVERY));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_makes_progress_is_well_without_an_answer() {
        let mut asked = Asked::default();
        let (question, _) = asked.ask();
        let soon = || Instant::now() + Duration::from_millis(120);
        assert!(!answers(&question, soon(), || false), "it does nothing");
        assert!(answers(&question, soon(), || true));
        question.answer();
        assert!(answers(&question, soon(), || false));
    }

    #[test]
    fn a_thread_that_is_stuck_has_one_question_and_all_who_ask_share_it() {
        let mut asked = Asked::default();
        let (first, is_new) = asked.ask();
        assert!(is_new);
        for _ in 0..100 {
            let (question, is_new) = asked.ask();
            assert!(Arc::ptr_eq(&question.0, &first.0) && !is_new);
        }
        // The thread holds it while it answers, and another may wait meanwhile.
        let taken = asked.take().unwrap();
        let (next, is_new) = asked.ask();
        assert!(is_new && asked.take().is_some() && asked.take().is_none());
        taken.answer();
        assert!(first.is_answered() && !next.is_answered());
        let (next, _) = asked.ask();
        next.answer();
        assert!(asked.ask().1, "an answered one is not asked again");
    }
}
