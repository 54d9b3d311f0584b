//! User interfaces, for people and for programs. They show the model's outputs and never touch the
//! connection to the server.

mod cells;
mod complete;
mod gutter;
pub mod highlights;
pub mod input;
mod interface;
pub mod json;
pub mod json_output;
mod mention;
mod objects;
pub mod one_file;
pub mod page;
mod picture;
pub mod plain;
pub mod room_log;
pub mod rooms;
pub mod stdout;
mod transfers;
pub mod tui;
mod words;

#[cfg(test)]
mod hostile_tests;

use super::connection::inbox::Permit;
use super::model::{Origin, Output, State};
use crate::chat::Event;
use crate::print::err;
use crate::terminal;
pub use interface::{Person, Ui};

/// Shows only errors, on stderr: for `--send`.
pub struct Mute;

impl Ui for Mute {
    fn show(&mut self, output: &Output) {
        match output {
            Output::Error(text) | Output::Misused(text) => err!("error: {text}"),
            Output::Hint(text) => err!("hint:  {text}"),
            Output::State(state @ State::Silent { .. }) => err!("note: {}", words::describe(state)),
            Output::Event(origin, Event::Refused { hint, .. }) => report(*origin, hint),
            Output::Event(origin, Event::Goodbye { reason, .. }) => report(*origin, reason),
            _ => {}
        }
    }
}

/// Shows only messages on stdout, and errors on stderr: for `--tail`.
pub struct Messages(plain::Plain);

impl Messages {
    pub fn new(print: Box<dyn stdout::Print>) -> Messages {
        Messages(plain::Plain::bare(print))
    }
}

impl Ui for Messages {
    fn show(&mut self, output: &Output) {
        match output {
            Output::Message(_) | Output::Found(_) | Output::State(State::Connected { .. }) => {
                self.0.show(output)
            }
            Output::Violation { to, from, violation, .. } => {
                err!("error: {to}: {}", violation.describe(from));
            }
            output => Mute.show(output),
        }
    }

    fn carries(&mut self, permit: Option<Permit>) {
        self.0.carries(permit);
    }

    fn end(&mut self, code: u8) -> bool {
        self.0.end(code)
    }
}

/// Writes an error to stderr; each row of a server text is marked.
fn report(origin: Origin, text: &str) {
    match origin {
        Origin::Client => err!("error: {text}"),
        Origin::Server => {
            let text = format!("error: {text}");
            err!("{}", gutter::behind(gutter::SERVER, &text, terminal::cells(&std::io::stderr())));
        }
    }
}
