//! `--tail N`: the newest messages of a conversation, in their order, and those that follow.

use std::collections::VecDeque;

use crate::chat::{Command, Message, Request, Seq, Target};

const REFERENCE: &str = "tail";

/// Pages that are requested at most: a page may have messages of ignored users alone.
const PAGES_MAX: usize = 100;

/// Messages of a page behind the first one at least: it follows one with ignored users' messages.
const PAGE_LINES_MIN: usize = 50;

/// Bound on messages that arrive before the pages are complete; the newest stay.
pub const MEANWHILE_MAX: usize = 1_000;

/// The options of `--tail`.
#[derive(Clone, Debug)]
pub struct TailOptions {
    pub to: Target,
    pub messages: usize,
    /// Continue with each new message.
    pub follows: bool,
}

pub struct Tail {
    options: TailOptions,
    begun: bool,
    /// Found messages, oldest first, and those of the next page.
    found: Vec<Message>,
    page: Vec<Message>,
    /// The oldest message of the next page, ignored users' messages included.
    oldest: Option<Seq>,
    pages: usize,
    /// Number of messages of the requested page.
    asked: usize,
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
        let (found, page) = (Vec::new(), Vec::new());
        Tail { options, begun: false, found, page, oldest: None, pages: 0, asked: 0, meanwhile }
    }

    /// Requests the newest messages of the conversation, once.
    pub fn begin(&mut self) -> Page {
        match (std::mem::replace(&mut self.begun, true), self.options.messages) {
            (true, _) => Page::Nothing,
            (false, 0) => self.show(),
            (false, messages) => Page::Request(self.request(None, messages)),
        }
    }

    /// Takes requested messages, and messages that arrive before these are shown. Those of ignored
    /// users are not shown.
    pub fn takes(&mut self, message: &Message, is_ignored: bool) -> bool {
        match (&message.reference, &mut self.meanwhile) {
            (Some(reference), _) if reference == REFERENCE => {
                let oldest = self.oldest.map_or(message.seq, |oldest| oldest.min(message.seq));
                self.oldest = Some(oldest);
                // A server that sends more than a page is not followed.
                if !is_ignored && self.page.len() < self.asked {
                    self.page.push(message.clone());
                }
            }
            (None, Some(_)) if is_ignored => {}
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
        let oldest = self.oldest.take();
        self.pages += 1;
        let goes_on = more && self.pages < PAGES_MAX;
        let before = std::mem::replace(&mut self.found, std::mem::take(&mut self.page));
        self.found.extend(before);
        match oldest.filter(|_| goes_on && self.found.len() < self.options.messages) {
            Some(oldest) => {
                let missing = self.options.messages - self.found.len();
                Page::Request(self.request(Some(oldest), missing.max(PAGE_LINES_MIN)))
            }
            None => self.show(),
        }
    }

    /// Returns whether the server has refused the page.
    pub fn is_refused(&self, reference: Option<&str>) -> bool {
        reference == Some(REFERENCE)
    }

    fn show(&mut self) -> Page {
        let (follows, wanted) = (self.options.follows, self.options.messages);
        let found = std::mem::take(&mut self.found);
        let surplus = found.len().saturating_sub(wanted);
        let mut messages: Vec<Message> = found.into_iter().skip(surplus).collect();
        let meanwhile = self.meanwhile.take().unwrap_or_default();
        let is = |one: &Message, other: &Message| one.id == other.id && one.from == other.from;
        let fresh = |one: &Message| !messages.iter().any(|message| is(message, one));
        let fresh: Vec<_> = meanwhile.into_iter().filter(|one| follows && fresh(one)).collect();
        messages.extend(fresh);
        Page::Show { messages, ends: !follows }
    }

    fn request(&mut self, before: Option<Seq>, messages: usize) -> Request {
        self.asked = messages;
        let command = Command::History {
            to: self.options.to.clone(),
            before,
            messages: Some(messages),
            span: None,
            kind: None,
        };
        Request::new(command, Some(REFERENCE.to_owned()))
    }

    /// Counts of the messages of the next page, and of those that arrived meanwhile.
    #[cfg(test)]
    pub fn held(&self) -> (usize, usize) {
        (self.page.len(), self.meanwhile.as_ref().map_or(0, VecDeque::len))
    }
}
