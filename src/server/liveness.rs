//! Liveness checks of reading threads: a thread answers before its next request.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::chat::{ChannelName, Conversation, Seq};
use crate::ledger::{Page, Reader};

/// Pending liveness checks.
pub type Asks = Vec<Sender<()>>;

/// Answers the checks if the reader can look up a conversation.
pub fn answer(asks: Asks, reader: &dyn Reader) {
    let (lobby, page) =
        (Conversation::Channel(ChannelName::lobby()), Page { lines_max: 1, bytes_max: 1 });
    if !asks.is_empty() && reader.read(&lobby, Seq(0), Seq(0), page).is_ok() {
        for ask in asks {
            // The caller may have given up meanwhile.
            let _ = ask.send(());
        }
    }
}

/// A thread that has not answered is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Whether an answer comes before the deadline, or the thread `progresses` until then.
pub fn answers(asked: &Receiver<()>, deadline: Instant, progresses: impl Fn() -> bool) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match asked.recv_timeout(left.min(LOOK_EVERY)) {
            Ok(()) => return true,
            Err(_) if progresses() => return true,
            Err(_) if left.is_zero() => return false,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => thread::sleep(left.min(LOOK_EVERY)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_thread_that_makes_progress_is_well_without_an_answer() {
        let (answer, asked) = channel();
        let soon = || Instant::now() + Duration::from_millis(120);
        assert!(!answers(&asked, soon(), || false), "it does nothing");
        assert!(answers(&asked, soon(), || true));
        answer.send(()).unwrap();
        assert!(answers(&asked, soon(), || false));
        // A question that found no room.
        drop(answer);
        assert!(!answers(&asked, soon(), || false));
        assert!(answers(&asked, soon(), || true));
    }
}
