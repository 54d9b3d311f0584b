//! Answers to `/history` and `/search`: paid for, read by the readers, told.

use std::time::Duration;

use super::Session;
use crate::chat::{Command, Event, Message, Refusal, UserName, Wanted};
use crate::crypto::RecordType;
use crate::ledger::{Older, Page};
use crate::wire::codec;

/// Lines of an answer to `/history` where no number was asked for.
const HISTORY_LINES: usize = 100;
/// Lines of an answer to `/search`.
const SEARCH_LINES: usize = 50;

impl Session {
    /// An answer from the ledger, by the reader of its kind.
    pub(super) fn read(&self, command: &Command) -> Result<(), Refusal> {
        let directory = |name: &UserName| self.context.accounts.find(name);
        let (hub, readers) = (&self.context.hub, &self.context.readers);
        if self.queue.is_behind() {
            return Err(Refusal::Unread);
        }
        let cpu_max = Duration::from_millis(self.context.config.get().limits.search_ms_max);
        let (to, reference, done) = match command {
            Command::History { to, before, lines, span, reference } => {
                let seat = readers.history.seat(&self.user)?;
                hub.apply(&self.queue, command, &directory)?;
                let conversation = hub.may_read(self.queue.id, to, &directory)?;
                let now_ms = jiff::Timestamp::now().as_millisecond();
                let since_ms = span.map(|span| now_ms.saturating_sub(span.as_ms()));
                let older = Older { before: *before, since_ms };
                let page = self.page(lines.unwrap_or(HISTORY_LINES));
                let done = seat.read(&self.queue, cpu_max, move |reader, work| {
                    reader.history(&conversation, older, page, work)
                });
                (Some(to.clone()), reference, done?)
            }
            Command::Search { text, to, reference } => {
                let wanted = Wanted::new(text)?;
                let seat = readers.search.seat(&self.user)?;
                hub.apply(&self.queue, command, &directory)?;
                let conversations = match to {
                    Some(to) => vec![hub.may_read(self.queue.id, to, &directory)?],
                    None => hub.readable(self.queue.id),
                };
                let page = self.page(SEARCH_LINES);
                let done = seat.read(&self.queue, cpu_max, move |reader, work| {
                    reader.search(&conversations, &wanted, page, work)
                });
                (to.clone(), reference, done?)
            }
            _ => return Ok(()),
        };
        let (found, work) = done;
        hub.charge(&self.queue, work.spent());
        let (lines, more) = found.map_err(|error| {
            log::error!("{error}");
            Refusal::Storage
        })?;
        let end = Event::History {
            to,
            lines: lines.len(),
            more: more || work.is_partial(),
            partial: work.is_partial(),
            reference: reference.clone(),
        };
        self.tell_again(lines, &end, reference);
        Ok(())
    }

    /// What one answer may hold.
    fn page(&self, lines: usize) -> Page {
        let config = self.context.config.get();
        let limits = &config.limits;
        let lines_max = lines.clamp(1, limits.history_lines_max);
        Page { lines_max, bytes_max: limits.answers_bytes_max / 4 }
    }

    /// Lines of the ledger and the end of the answer.
    fn tell_again(&self, lines: Vec<Message>, end: &Event, reference: &Option<String>) {
        let mut body = Vec::new();
        for mut line in lines {
            // So that the asker can tell them from lines that are new.
            line.reference = Some(reference.clone().unwrap_or_default());
            codec::encode(&Event::Message(line), &mut body);
        }
        codec::encode(end, &mut body);
        self.send(RecordType::Json, &body);
    }
}
