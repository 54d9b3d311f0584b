//! The destination of a job: an open channel that `--to` names, and that must not be created. The
//! client asks the server whether it exists before it sends anything.

use super::action::{Action, error};
use crate::chat::{ChannelName, Code, Command, Event, Request};
use crate::fault::code;
use crate::nearest::nearest;

/// References of the two requests.
const EXISTS: &str = "to-exists";
const NEAR: &str = "to-near";

#[derive(Default)]
pub struct Destination {
    /// The channel whose existence is unknown.
    channel: Option<ChannelName>,
    /// Whether the job only reads.
    reads: bool,
}

/// Edits between a name and the suggested one.
const TYPOS_MAX: usize = 3;

/// What the server has answered.
pub enum Found {
    Exists(ChannelName),
    /// The channel does not exist; this request lists those that do.
    Nearby(Request),
    /// The channel does not exist, and the program ends.
    Missing(Vec<Action>),
}

impl Destination {
    /// A channel that the client enters only if it exists, to read or to write.
    pub fn of(channel: Option<ChannelName>, reads: bool) -> Destination {
        Destination { channel, reads }
    }

    /// Returns whether sending must wait.
    pub fn is_open(&self) -> bool {
        self.channel.is_some()
    }

    pub fn question(&self) -> Option<Request> {
        let channel = self.channel.clone()?;
        Some(Request::new(Command::People { channel }, Some(EXISTS.to_owned())))
    }

    /// Takes answers about the destination; `None` for other events.
    pub fn answered(&mut self, event: &Event) -> Option<Found> {
        let channel = self.channel.clone()?;
        let is = |reference: &Option<String>, question| reference.as_deref() == Some(question);
        match event {
            Event::People { reference, .. } if is(reference, EXISTS) => self.exists(),
            Event::Refused { code: Code::NotMember, reference, .. } if is(reference, EXISTS) => {
                self.exists()
            }
            Event::Refused { code: Code::NoSuchChannel, reference, .. }
                if is(reference, EXISTS) =>
            {
                Some(Found::Nearby(Request::new(Command::Channels, Some(NEAR.to_owned()))))
            }
            Event::Channels { channels, reference, .. } if is(reference, NEAR) => {
                let names = channels.iter().map(|row| row.channel.to_string());
                Some(Found::Missing(self.missing(&channel, names)))
            }
            Event::Refused { reference, .. } if is(reference, EXISTS) || is(reference, NEAR) => {
                Some(Found::Missing(self.missing(&channel, std::iter::empty())))
            }
            _ => None,
        }
    }

    fn exists(&mut self) -> Option<Found> {
        self.channel.take().map(Found::Exists)
    }

    fn missing(&self, channel: &ChannelName, names: impl Iterator<Item = String>) -> Vec<Action> {
        let wanted = channel.to_string();
        let near = nearest(&wanted, names)
            .filter(|(distance, _)| *distance <= TYPOS_MAX)
            .map(|(_, name)| name);
        let mut text = match near {
            Some(name) => format!("there is no channel {wanted}, did you mean {name}?"),
            None => format!("there is no channel {wanted}."),
        };
        if !self.reads {
            text += &format!(" Nothing was sent; --join '{wanted}' creates it");
        }
        vec![error(text), Action::Close, Action::Quit(code::NOT_ACKNOWLEDGED)]
    }
}
