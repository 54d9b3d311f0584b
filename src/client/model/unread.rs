//! Unread messages of conversations. The server counts those of others by their senders, so that
//! neither own messages nor those of ignored users count.

use std::collections::BTreeMap;

use super::output::Output;
use crate::chat::{Command, MessageCount, ReadMark, Request, Seq, Target, UserName};
use crate::limits::COUNTED_MAX;

/// Messages after the first seq and up to the second.
pub(super) type Span = (Seq, Seq);

/// Conversations whose unread messages are counted.
#[derive(Default)]
pub(super) struct Unread {
    waiting: BTreeMap<Target, Span>,
    /// Those of the open request, and its reference.
    asked: BTreeMap<Target, Span>,
    reference: Option<String>,
    requests: u64,
}

impl Unread {
    /// Adds a conversation. The next request counts its messages.
    pub fn add(&mut self, to: Target, span: Span) {
        self.waiting.insert(to, span);
    }

    /// Returns the next request, if none is open: as many conversations as one may name.
    pub fn request(&mut self) -> Option<Request> {
        if self.reference.is_some() {
            return None;
        }
        while self.asked.len() < COUNTED_MAX
            && let Some((to, span)) = self.waiting.pop_first()
        {
            self.asked.insert(to, span);
        }
        if self.asked.is_empty() {
            return None;
        }
        self.requests += 1;
        self.reference = Some(format!("pychat-count-{}", self.requests));
        let mark = |(to, (after, _)): (&Target, &Span)| ReadMark { to: to.clone(), seq: *after };
        let conversations = self.asked.iter().map(mark).collect();
        Some(Request::new(Command::Count { conversations }, self.reference.clone()))
    }

    /// Takes the answer to the open request, if this is its reference: the counts, or none where it
    /// was refused. Returns what is unread.
    pub fn counted(
        &mut self,
        reference: Option<&str>,
        counts: &[MessageCount],
        ignores: impl Fn(&UserName) -> bool,
    ) -> Option<Vec<Output>> {
        self.reference.take_if(|own| Some(own.as_str()) == reference)?;
        let unread = |(to, (after, last)): (Target, Span)| {
            let count = counts.iter().find(|count| count.to == to && count.after == after);
            let upto = count.map_or(last, |count| count.upto);
            let all = upto.0.saturating_sub(after.0);
            // Where the server has not looked at all of them, their number is the best estimate.
            let messages = match count {
                Some(count) if !count.partial => unignored(count, &ignores).min(all),
                _ => all,
            };
            Output::Unread { to, after, upto, messages }
        };
        Some(std::mem::take(&mut self.asked).into_iter().map(unread).collect())
    }

    /// Clears the state of a lost connection: the next login lists unread messages again.
    pub fn lost(&mut self) {
        (self.reference, self.asked, self.waiting) = Default::default();
    }
}

/// The counted messages without those of ignored users.
fn unignored(count: &MessageCount, ignores: impl Fn(&UserName) -> bool) -> u64 {
    let ignored = count.by.iter().filter(|sender| ignores(&sender.name));
    ignored.fold(count.messages, |messages, sender| messages.saturating_sub(sender.messages))
}

#[cfg(test)]
#[path = "unread_tests.rs"]
mod tests;
