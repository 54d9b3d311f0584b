//! The size of events in memory.

use super::{DeviceKey, Event, Opaque, UserName};

impl Event {
    /// Estimates the bytes that an event takes in memory.
    pub fn bytes_in_memory(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        // A name is a pointer to a separate allocation.
        let names = |names: &[UserName]| names.len() * 2 * size_of::<UserName>() + 32 * names.len();
        size_of::<Event>()
            + match self {
                Event::Message(message) => message.body.len() + 128,
                Event::Welcome { version, motd, .. } => version.len() + text(motd),
                Event::Conversations { conversations } => 128 * conversations.len(),
                Event::Count { conversations, .. } => {
                    conversations.iter().map(|one| 128 + 64 * one.by.len()).sum()
                }
                Event::Entered { people, topic, .. } => names(people) + text(topic),
                Event::People { people, .. } => names(people),
                Event::Left { reason, .. } => text(reason),
                Event::Channels { channels, .. } => {
                    channels.iter().map(|row| 128 + text(&row.topic)).sum()
                }
                Event::Whois { fingerprints, devices, away, channels, .. } => {
                    let prints: usize = fingerprints.iter().map(|print| 32 + print.len()).sum();
                    prints + 64 * (devices.len() + channels.len()) + text(away)
                }
                Event::Keys { keys, .. } => {
                    let opaque = |one: &Opaque| 32 + one.bytes().len();
                    let key = |it: &DeviceKey| {
                        64 + opaque(&it.key) + it.certificate.as_ref().map_or(0, opaque)
                    };
                    keys.iter().map(key).sum()
                }
                Event::Usage { files, .. } => 128 * files.len(),
                Event::Successor { key, signatures } => {
                    key.bytes().len() + signatures.bytes().len()
                }
                Event::Topic { text: topic, .. } => text(topic),
                Event::Refused { hint: said, .. }
                | Event::Stopped { hint: said, .. }
                | Event::Notice { text: said, .. }
                | Event::Goodbye { reason: said, .. } => said.len(),
                Event::Password { .. }
                | Event::Stored { .. }
                | Event::Gap { .. }
                | Event::Read { .. }
                | Event::History { .. }
                | Event::Parted { .. }
                | Event::Joined { .. }
                | Event::Upload { .. }
                | Event::Download { .. }
                | Event::Kept { .. }
                | Event::Dropped { .. }
                | Event::Ticket { .. }
                | Event::SessionTicket { .. }
                | Event::Unknown => 0,
            }
    }
}
