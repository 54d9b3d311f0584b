//! Faces: how the client looks to a person or to a program. They show what the model decides and
//! never touch a socket.

pub mod json;
pub mod plain;
pub mod screen;
mod words;

use super::inbox::Permit;
use super::model::Show;
use crate::print::err;

/// Shows things.
pub trait Face: Send {
    fn show(&mut self, show: &Show);
    /// What is shown from now on comes of what has this permit, which is held until it was shown.
    fn carries(&mut self, _permit: Option<Permit>) {}

    /// The program ends, with this exit code.
    fn end(&mut self, _code: u8) {}
}

/// Shows nothing but errors, on stderr: for `--send`.
pub struct Mute;

impl Face for Mute {
    fn show(&mut self, show: &Show) {
        match show {
            Show::Error(text) => err!("error: {text}"),
            Show::Hint(text) => err!("hint:  {text}"),
            Show::Event(crate::chat::Event::Refused { hint, .. }) => err!("error: {hint}"),
            _ => {}
        }
    }
}
