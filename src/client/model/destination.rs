//! The destination of a job: an open channel that `--to` names, and that must not be created. The
//! client asks the server whether it exists before it sends anything.

use crate::chat::{ChannelName, Command, Request};

/// References of the two requests.
pub const EXISTS: &str = "to-exists";
pub const NEAR: &str = "to-near";

#[derive(Default)]
pub(super) struct Destination {
    /// The channel whose existence is unknown.
    pub channel: Option<ChannelName>,
}

impl Destination {
    /// Returns whether sending must wait.
    pub fn is_open(&self) -> bool {
        self.channel.is_some()
    }

    pub fn question(&self) -> Option<Request> {
        let channel = self.channel.clone()?;
        Some(Request::new(Command::People { channel }, Some(EXISTS.to_owned())))
    }
}
