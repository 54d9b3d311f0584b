//! `--tail N`: the newest messages of a conversation, in their order, and those that follow.

use std::collections::VecDeque;

use crate::chat::{Command, Message, Request, Seq, Target};

pub const REFERENCE: &str = "tail";

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

pub(super) struct Tail {
    pub options: TailOptions,
    pub begun: bool,
    /// Found messages, oldest first, and those of the next page.
    pub found: Vec<Message>,
    pub page: Vec<Message>,
    /// Messages that arrived meanwhile; `None` once the found ones are shown.
    pub meanwhile: Option<VecDeque<Message>>,
}

impl Tail {
    pub fn new(options: TailOptions) -> Tail {
        let meanwhile = Some(VecDeque::new());
        Tail { options, begun: false, found: Vec::new(), page: Vec::new(), meanwhile }
    }

    pub fn asks(&self, before: Option<Seq>) -> Request {
        let command = Command::History {
            to: self.options.to.clone(),
            before,
            lines: Some(self.options.lines - self.found.len()),
            span: None,
        };
        Request::new(command, Some(REFERENCE.to_owned()))
    }
}
