//! Whether a thread that reads the ledger does its work: it answers before its next request.

use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use crate::chat::{ChannelName, Conversation, Seq};
use crate::ledger::{Page, Reader};

/// Those who ask whether a reader does its work.
pub type Asks = Vec<Sender<()>>;

/// Answers those who ask whether a reader reads, where it does: it looks up a conversation.
pub fn answer(asks: Asks, reader: &dyn Reader) {
    let (lobby, page) =
        (Conversation::Channel(ChannelName::lobby()), Page { lines_max: 1, bytes_max: 1 });
    if !asks.is_empty() && reader.read(&lobby, Seq(0), Seq(0), page).is_ok() {
        for ask in asks {
            // Who asked may not wait any more.
            let _ = ask.send(());
        }
    }
}

/// Whether an answer comes before the deadline.
pub fn answers(asked: &Receiver<()>, deadline: Instant) -> bool {
    asked.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok()
}
