//! `--tail N`: the newest messages of a conversation, in their order, and those that follow.

use std::collections::VecDeque;

use crate::chat::{Command, Message, Request, Seq, Target};

pub const REFERENCE: &str = "tail";

/// Messages that are delivered before the first page is complete, the newest of them.
pub const MEANWHILE_MAX: usize = 1_000;

/// What `--tail` wants.
#[derive(Clone, Debug)]
pub struct TailOptions {
    pub to: Target,
    pub lines: usize,
    /// It does not end with the newest message.
    pub follows: bool,
}

pub(super) struct Tail {
    pub options: TailOptions,
    pub begun: bool,
    /// The messages that are found, oldest first, and those of the page that comes.
    pub found: Vec<Message>,
    pub page: Vec<Message>,
    /// Messages that were delivered meanwhile; none once the found ones are shown.
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
