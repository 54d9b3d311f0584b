//! How the client ends once its input has ended: with everything settled, and with an exit code that
//! says whether something failed.

use crate::fault::code;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Input may come.
    Running,
    /// No more input will come: the end is when everything is settled.
    ClosingWhenSettled,
}

pub(super) struct Ending {
    phase: Phase,
    /// Requests that are no messages are on their way: their answers are still to come.
    answers_due: bool,
    /// Something was refused or not acknowledged.
    failed: bool,
}

/// What the end waits for.
pub(super) enum Next {
    Stay,
    /// The answers to all that was sent.
    Answers,
    /// Nothing: the program ends with this code.
    Quit(u8),
}

impl Ending {
    pub fn new() -> Ending {
        Ending { phase: Phase::Running, answers_due: false, failed: false }
    }

    pub fn fails(&mut self) {
        self.failed = true;
    }

    /// Whether answers to requests are still to come.
    pub fn awaits(&mut self, answers: bool) {
        self.answers_due = answers;
    }

    pub fn input_ends(&mut self) {
        self.phase = Phase::ClosingWhenSettled;
    }

    pub fn is_closing(&self) -> bool {
        self.phase == Phase::ClosingWhenSettled
    }

    /// The connection is lost; whether answers are lost with it that the end has waited for.
    pub fn loses_answers(&mut self) -> bool {
        let loses = self.is_closing() && std::mem::take(&mut self.answers_due);
        self.failed |= loses;
        loses
    }

    /// What follows where everything but answers is settled.
    pub fn settled(&self, is_up: bool) -> Next {
        match (self.phase, self.answers_due && is_up) {
            (Phase::Running, _) => Next::Stay,
            (Phase::ClosingWhenSettled, true) => Next::Answers,
            (Phase::ClosingWhenSettled, false) if self.failed => Next::Quit(code::NOT_ACKNOWLEDGED),
            (Phase::ClosingWhenSettled, false) => Next::Quit(0),
        }
    }
}
