//! The destination of one job: an open channel that `--to` names and nobody has asked to create.
//! Before anything goes there, the server is asked whether it exists.

use crate::chat::{ChannelName, Command, Request};

/// References of the questions.
pub const EXISTS: &str = "to-exists";
pub const NEAR: &str = "to-near";

#[derive(Default)]
pub(super) struct Destination {
    /// The channel that is not known to exist.
    pub channel: Option<ChannelName>,
}

impl Destination {
    /// Whether nothing may go there yet.
    pub fn is_open(&self) -> bool {
        self.channel.is_some()
    }

    pub fn question(&self) -> Option<Request> {
        let channel = self.channel.clone()?;
        Some(Request::new(Command::People { channel }, Some(EXISTS.to_owned())))
    }
}
