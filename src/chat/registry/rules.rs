//! The operator's configuration, as far as the registry needs it.

use crate::chat::{
    ChannelName, Command, Conversation, Epoch, NewMessage, Refusal, Retention, Wanted,
};
use crate::limits::{COUNTED_MAX, Limits};

/// The operator's configuration.
pub struct Rules {
    pub limits: Limits,
    /// How long a conversation's messages are stored.
    pub retention: Box<dyn Fn(&Conversation) -> Retention + Send + Sync>,
    /// Whether the configuration names a channel: it keeps its topic when everybody has left.
    pub configured: Box<dyn Fn(&ChannelName) -> bool + Send + Sync>,
    /// Whether a conversation's messages are erased as soon as nobody is left in it.
    pub forgets: Box<dyn Fn(&Conversation) -> bool + Send + Sync>,
}

impl Rules {
    /// Checks that a message has a body that suits it and is within its limit.
    pub(super) fn check_message(&self, message: &NewMessage) -> Result<(), Refusal> {
        match (message.body.text().len(), self.limits.text_bytes_max) {
            (bytes, max_bytes) if bytes > max_bytes => Err(Refusal::TooLong { bytes, max_bytes }),
            _ => message.check(),
        }
    }

    /// Checks that the command's texts are present and within their limits.
    pub(super) fn check_texts(&self, command: &Command) -> Result<(), Refusal> {
        let limits = &self.limits;
        match command {
            Command::Topic { text: Some(text), .. } | Command::Away { text: Some(text) } => {
                match (text.len(), limits.topic_bytes_max) {
                    (bytes, max_bytes) if bytes > max_bytes => {
                        Err(Refusal::TextTooLong { bytes, max_bytes })
                    }
                    _ => Ok(()),
                }
            }
            Command::Search { text, .. } if text.trim().is_empty() => Err(Refusal::EmptySearch),
            Command::Search { text, .. } => Wanted::new(text).map(drop),
            Command::Count { conversations } if conversations.len() > COUNTED_MAX => {
                Err(Refusal::TooManyCounted { max: COUNTED_MAX })
            }
            _ => Ok(()),
        }
    }
}

/// The ids that logs get in a run of the server.
#[derive(Clone, Copy)]
pub struct Epochs {
    /// The id of logs on disk.
    pub persistent: Epoch,
    /// The base from which the ids of logs in memory are counted.
    pub ephemeral: Epoch,
    /// The id of the stored logs after a loss is noticed, at most once in a run.
    pub next: Epoch,
}
