//! Texts of a server, made safe to show.

use crate::chat::{Body, Event};
use crate::clean;

/// Makes all texts of a server safe to show, for every user interface.
pub fn cleaned(mut event: Event) -> Event {
    let line = |text: &mut Option<String>| {
        *text = text.take().map(|text| unlocked(&text)).filter(|text| !text.is_empty());
    };
    match &mut event {
        Event::Message(message) => {
            if let Body::Text(text) = &mut message.body {
                *text = clean::text(text);
            }
        }
        Event::Welcome { motd, version, .. } => {
            line(motd);
            *version = clean::line(version);
        }
        // A PIN channel has no topic.
        Event::Entered { channel, topic, .. } if channel.has_pin() => *topic = None,
        Event::Topic { to, text, .. } if to.has_pin() => *text = None,
        Event::Entered { topic, .. } => line(topic),
        Event::Topic { text, .. } => line(text),
        Event::Left { reason, .. } => line(reason),
        Event::Channels { channels, .. } => {
            channels.iter_mut().for_each(|row| line(&mut row.topic));
        }
        Event::Whois { away, fingerprints, .. } => {
            line(away);
            fingerprints.iter_mut().for_each(|print| *print = unlocked(print));
        }
        Event::Refused { hint: text, .. }
        | Event::Stopped { hint: text, .. }
        | Event::Goodbye { reason: text, .. } => {
            *text = unlocked(text);
        }
        Event::Notice { text, .. } => *text = without_locks(&clean::text(text)),
        _ => {}
    }
    event
}

/// Makes a server text one line, without the signs that mark sealed conversations.
fn unlocked(text: &str) -> String {
    without_locks(&clean::line(text)).trim().to_owned()
}

fn without_locks(text: &str) -> String {
    // Some fonts have locks among their own symbols.
    text.chars().filter(|c| !is_lock(*c) && !clean::is_private(*c)).collect()
}

/// Locks, keys and shields.
fn is_lock(c: char) -> bool {
    matches!(
        c,
        '\u{1f50f}'
            ..='\u{1f513}' | '\u{1f5dd}' | '\u{1f6e1}' | '\u{26bf}' | '\u{26e8}' | '\u{1f6c5}'
    )
}
