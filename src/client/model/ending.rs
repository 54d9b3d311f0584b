//! End of the client after its input has ended: everything is settled first, and the exit code
//! shows whether something failed.

use crate::chat::MsgId;
use crate::fault::code;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// More input may come.
    Running,
    /// No more input will come; the client ends once everything is settled.
    ClosingWhenSettled,
}

/// How the user leaves.
#[derive(Clone, Copy)]
pub enum Leaving {
    Exit,
    Interrupt,
    OutputLost,
}

pub struct Ending {
    phase: Phase,
    /// The user leaves once the outbox is synced.
    leaving: Option<Leaving>,
    /// The last message of the user, who leaves once it is stored or refused.
    last_message: Option<MsgId>,
    /// Requests that are not messages still wait for their answers.
    answers_due: bool,
    /// The exit code, if something was refused or not acknowledged.
    failed: Option<u8>,
}

/// What the end still waits for.
pub enum Next {
    Stay,
    /// The answers to all requests.
    Answers,
    /// Nothing: the program ends with this code.
    Quit(u8),
}

impl Ending {
    pub fn new() -> Ending {
        Ending {
            phase: Phase::Running,
            leaving: None,
            last_message: None,
            answers_due: false,
            failed: None,
        }
    }

    /// Records that the user leaves once the outbox is synced.
    pub fn leaves(&mut self, leaving: Leaving) {
        self.leaving = Some(leaving);
    }

    pub fn take_leaving(&mut self) -> Option<Leaving> {
        self.leaving.take()
    }

    /// Records that the user leaves once this message is stored or refused.
    pub fn leave_after(&mut self, id: MsgId) {
        self.last_message = Some(id);
    }

    pub fn last_message(&self) -> Option<MsgId> {
        self.last_message
    }

    pub fn take_last_message(&mut self) -> Option<MsgId> {
        self.last_message.take()
    }

    pub fn fails(&mut self) {
        self.fails_as(code::NOT_ACKNOWLEDGED);
    }

    /// Records a failure with this exit code.
    pub fn fails_as(&mut self, code: u8) {
        self.failed = Some(code);
    }

    /// The exit code so far.
    pub fn code(&self) -> u8 {
        self.failed.unwrap_or(0)
    }

    /// Records whether requests wait for their answers.
    pub fn awaits(&mut self, answers: bool) {
        self.answers_due = answers;
    }

    pub fn input_ends(&mut self) {
        self.phase = Phase::ClosingWhenSettled;
    }

    pub fn is_closing(&self) -> bool {
        self.phase == Phase::ClosingWhenSettled
    }

    /// Records the loss of the connection. Returns whether the end was waiting for answers.
    pub fn loses_answers(&mut self) -> bool {
        let loses = self.is_closing() && std::mem::take(&mut self.answers_due);
        if loses {
            self.fails();
        }
        loses
    }

    /// Returns the next step once everything but answers is settled.
    pub fn settled(&self, is_up: bool) -> Next {
        match (self.phase, self.answers_due && is_up) {
            (Phase::Running, _) => Next::Stay,
            (Phase::ClosingWhenSettled, true) => Next::Answers,
            (Phase::ClosingWhenSettled, false) => Next::Quit(self.code()),
        }
    }
}
