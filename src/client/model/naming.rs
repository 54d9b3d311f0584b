//! The channels that a program names in a request.

use super::membership::Membership;
use crate::chat::{ChannelName, Command, NewMessage, Target};

impl Membership {
    /// Replaces each bare name of a channel by the one channel of that name that the client is in.
    /// `open` are the positions of names that mean the open channel.
    ///
    /// # Errors
    /// The client is in several channels of that name, which the error lists.
    pub fn resolve(&self, command: &mut Command, open: &[usize]) -> Result<(), String> {
        for (position, channel) in channels(command) {
            if !open.contains(&position) && !channel.has_pin() && !channel.is_lobby() {
                *channel = self.channel(&channel.to_string())?;
            }
        }
        Ok(())
    }
}

/// Returns the channels of a command with their positions in it. `join` has none: its bare name is
/// the open channel.
fn channels(command: &mut Command) -> Vec<(usize, &mut ChannelName)> {
    match command {
        Command::Say(NewMessage { to: Target::Channel(channel), .. })
        | Command::History { to: Target::Channel(channel), .. }
        | Command::Search { to: Some(Target::Channel(channel)), .. }
        | Command::Put { to: Target::Channel(channel), .. }
        | Command::Get { to: Target::Channel(channel), .. }
        | Command::Topic { channel, .. }
        | Command::People { channel }
        | Command::Part { channel } => vec![(0, channel)],
        Command::Read { conversations } | Command::Count { conversations } => {
            let marks = conversations.iter_mut().enumerate();
            marks
                .filter_map(|(position, mark)| match &mut mark.to {
                    Target::Channel(channel) => Some((position, channel)),
                    Target::User(_) => None,
                })
                .collect()
        }
        // No wildcard: a command that names a conversation belongs above.
        Command::Say(_)
        | Command::History { .. }
        | Command::Search { .. }
        | Command::Put { .. }
        | Command::Get { .. }
        | Command::Drop { .. }
        | Command::Usage
        | Command::Join { .. }
        | Command::Resume { .. }
        | Command::Channels
        | Command::Whois { .. }
        | Command::Certify { .. }
        | Command::Keys { .. }
        | Command::Away { .. }
        | Command::Operate { .. }
        | Command::Password { .. }
        | Command::Quit
        | Command::Unknown => Vec::new(),
    }
}
