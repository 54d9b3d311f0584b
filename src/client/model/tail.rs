//! `--tail N`: the newest messages of a conversation, in their order, and those that follow.

use std::collections::VecDeque;

use crate::chat::{Command, Message, Request, Seq, Target};

const REFERENCE: &str = "tail";

/// Bound on messages that arrive before the pages are complete; the newest stay.
pub const MEANWHILE_MAX: usize = 1_000;

/// The options of `--tail`.
#[derive(Clone, Debug)]
pub struct TailOptions {
    pub to: Target,
    pub lines: usize,
    /// Continue with each new message.
    pub follows: bool,
}

pub struct Tail {
    options: TailOptions,
    begun: bool,
    /// Found messages, oldest first, and those of the next page.
    found: Vec<Message>,
    page: Vec<Message>,
    /// Messages that arrived meanwhile; `None` once the found ones are shown.
    meanwhile: Option<VecDeque<Message>>,
}

/// What follows a page.
pub enum Page {
    Nothing,
    /// The previous page is requested.
    Request(Request),
    /// All found messages are shown, and the program may end.
    Show {
        messages: Vec<Message>,
        ends: bool,
    },
}

impl Tail {
    pub fn new(options: TailOptions) -> Tail {
        let meanwhile = Some(VecDeque::new());
        Tail { options, begun: false, found: Vec::new(), page: Vec::new(), meanwhile }
    }

    /// Requests the newest messages of the conversation, once.
    pub fn begin(&mut self) -> Page {
        match (std::mem::replace(&mut self.begun, true), self.options.lines) {
            (true, _) => Page::Nothing,
            (false, 0) => self.show(),
            (false, _) => Page::Request(self.request(None)),
        }
    }

    /// Takes requested messages, and messages that arrive before these are shown.
    pub fn takes(&mut self, message: &Message) -> bool {
        match (&message.reference, &mut self.meanwhile) {
            (Some(reference), _) if reference == REFERENCE => {
                // A server that sends more than a page is not followed.
                if self.page.len() < self.options.lines {
                    self.page.push(message.clone());
                }
            }
            (None, Some(meanwhile)) => {
                meanwhile.push_back(message.clone());
                if meanwhile.len() > MEANWHILE_MAX {
                    meanwhile.pop_front();
                }
            }
            _ => return false,
        }
        true
    }

    /// Handles a complete page: requests the previous one, or shows all found messages.
    pub fn page_ends(&mut self, reference: Option<&str>, more: bool) -> Page {
        if reference != Some(REFERENCE) || self.meanwhile.is_none() {
            return Page::Nothing;
        }
        let oldest = self.page.iter().map(|message| message.seq).min();
        let before = std::mem::replace(&mut self.found, std::mem::take(&mut self.page));
        self.found.extend(before);
        match oldest.filter(|_| more && self.found.len() < self.options.lines) {
            Some(oldest) => Page::Request(self.request(Some(oldest))),
            None => self.show(),
        }
    }

    /// Returns whether the server has refused the page.
    pub fn is_refused(&self, reference: Option<&str>) -> bool {
        reference == Some(REFERENCE)
    }

    fn show(&mut self) -> Page {
        let (follows, lines) = (self.options.follows, self.options.lines);
        let found = std::mem::take(&mut self.found);
        let surplus = found.len().saturating_sub(lines);
        let mut messages: Vec<Message> = found.into_iter().skip(surplus).collect();
        let meanwhile = self.meanwhile.take().unwrap_or_default();
        let fresh = |one: &Message| !messages.iter().any(|message| message.id == one.id);
        let fresh: Vec<_> = meanwhile.into_iter().filter(|one| follows && fresh(one)).collect();
        messages.extend(fresh);
        Page::Show { messages, ends: !follows }
    }

    fn request(&self, before: Option<Seq>) -> Request {
        let command = Command::History {
            to: self.options.to.clone(),
            before,
            lines: Some(self.options.lines - self.found.len()),
            span: None,
        };
        Request::new(command, Some(REFERENCE.to_owned()))
    }

    /// Counts of the messages of the next page, and of those that arrived meanwhile.
    #[cfg(test)]
    pub fn held(&self) -> (usize, usize) {
        (self.page.len(), self.meanwhile.as_ref().map_or(0, VecDeque::len))
    }
}
