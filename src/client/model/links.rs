//! Addresses in the messages that were shown, for `/open`. Pure.

use super::action::Action;
use super::output::{Output, is_unsealed};
use crate::chat::{Kind, Message, Seq, Target, UserName};
use crate::client::addresses;

/// Addresses that are remembered for each conversation. Each has at most 2,083 bytes.
const LINKS_MAX: usize = 100;

/// Conversations whose addresses are remembered.
const CONVERSATIONS_MAX: usize = 50;

/// The addresses in the messages of one conversation.
struct Known {
    conversation: Target,
    /// Ordered by seq, whatever the order in which the messages were shown. Addresses of one
    /// message are in the order of its text.
    links: Vec<(Seq, String)>,
}

/// The addresses in the newest messages of each conversation.
#[derive(Default)]
pub struct Links {
    /// The conversation with the last shown address is the last one.
    known: Vec<Known>,
    /// The address that the user was asked about.
    asked: Option<String>,
}

impl Links {
    /// Records the addresses of the messages that are shown.
    pub fn note(&mut self, actions: &[Action], own: Option<&UserName>) {
        for action in actions {
            if let Action::Output(Output::Message(message) | Output::Found(message)) = action {
                self.message(message, own);
            }
        }
    }

    fn message(&mut self, message: &Message, own: Option<&UserName>) {
        // Only the server states who wrote such a message.
        if is_unsealed(message) {
            return;
        }
        let conversation = message.conversation(own);
        let seq = match message.kind {
            Kind::Edit { of } | Kind::Delete { of } => of,
            _ => message.seq,
        };
        if let Some(known) = self.known.iter_mut().find(|one| one.conversation == conversation) {
            known.links.retain(|(of, _)| *of != seq);
        }
        let is_gone = message.deleted || matches!(message.kind, Kind::Delete { .. });
        let found = addresses::find(message.body.text());
        if is_gone || found.is_empty() {
            return;
        }
        let known = self.of_conversation(&conversation);
        let at = known.links.partition_point(|(of, _)| *of < seq);
        let found = found.into_iter().map(|address| (seq, address.to_owned()));
        known.links.splice(at..at, found);
        // Older messages may be loaded later: the bound keeps the newest messages.
        let more = known.links.len().saturating_sub(LINKS_MAX);
        known.links.drain(..more);
    }

    /// Returns the entry of a conversation, which becomes the last one.
    fn of_conversation(&mut self, conversation: &Target) -> &mut Known {
        let at = self.known.iter().position(|known| known.conversation == *conversation);
        let known = match at {
            Some(at) => self.known.remove(at),
            None => Known { conversation: conversation.clone(), links: Vec::new() },
        };
        if self.known.len() == CONVERSATIONS_MAX {
            self.known.remove(0);
        }
        self.known.push(known);
        self.known.last_mut().expect("one was added")
    }

    fn links(&self, conversation: &Target) -> &[(Seq, String)] {
        let known = self.known.iter().find(|known| known.conversation == *conversation);
        known.map_or(&[], |known| known.links.as_slice())
    }

    /// Returns the address that is `back` addresses before the last one of a conversation.
    pub fn last(&self, conversation: &Target, back: usize) -> Option<&str> {
        self.links(conversation).iter().rev().nth(back).map(|(_, address)| address.as_str())
    }

    /// Returns the first address in a message.
    pub fn of(&self, conversation: &Target, seq: Seq) -> Option<&str> {
        let found = self.links(conversation).iter().find(|(of, _)| *of == seq);
        found.map(|(_, address)| address.as_str())
    }

    /// Returns whether the user has asked for this address twice in a row.
    pub fn is_confirmed(&mut self, address: &str) -> bool {
        let before = self.asked.take();
        if before.as_deref() == Some(address) {
            return true;
        }
        self.asked = Some(address.to_owned());
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(seq: u64, to: &str, kind: Kind, text: &str) -> Action {
        Action::Output(Output::Message(Message { kind, ..Message::said(seq, to, "bob", text) }))
    }

    #[test]
    fn the_last_address_of_a_conversation_is_found_in_any_order_of_arrival() {
        let (lobby, bob): (Target, Target) = ("#lobby".parse().unwrap(), "@bob".parse().unwrap());
        let own = "alice".parse().unwrap();
        let mut links = Links::default();
        let note = |links: &mut Links, action| links.note(&[action], Some(&own));
        note(&mut links, said(7, "#lobby", Kind::Say, "http://a.example and http://b.example"));
        note(&mut links, said(9, "@alice", Kind::Say, "mailto:carol@c.example"));
        // An older message is loaded later.
        note(&mut links, said(3, "#lobby", Kind::Say, "http://old.example"));
        let last = |links: &Links, back| links.last(&lobby, back).map(str::to_owned);
        assert_eq!(last(&links, 0).as_deref(), Some("http://b.example"));
        assert_eq!(last(&links, 2).as_deref(), Some("http://old.example"));
        assert_eq!(last(&links, 3), None);
        assert_eq!(links.last(&bob, 0), Some("mailto:carol@c.example"));
        assert_eq!(links.of(&lobby, Seq(7)), Some("http://a.example"));
        note(&mut links, said(10, "#lobby", Kind::Edit { of: Seq(7) }, "http://new.example"));
        assert_eq!(last(&links, 0).as_deref(), Some("http://new.example"));
        note(&mut links, said(11, "#lobby", Kind::Delete { of: Seq(7) }, ""));
        assert_eq!(last(&links, 0).as_deref(), Some("http://old.example"));
    }

    #[test]
    fn the_bound_keeps_the_newest_messages_of_each_conversation() {
        let (lobby, bob): (Target, Target) = ("#lobby".parse().unwrap(), "@bob".parse().unwrap());
        let own = "alice".parse().unwrap();
        let mut links = Links::default();
        let note = |links: &mut Links, seq, to: &str, text: &str| {
            links.note(&[said(seq, to, Kind::Say, text)], Some(&own));
        };
        note(&mut links, 9_000, "#lobby", "https://new.example");
        note(&mut links, 5, "@alice", "https://bob.example");
        // History is loaded page by page, the newest page first.
        for seq in (1..=3 * LINKS_MAX as u64).rev() {
            note(&mut links, seq, "#lobby", &format!("https://old.example/{seq}"));
        }
        assert_eq!(links.last(&lobby, 0), Some("https://new.example"));
        let oldest = format!("https://old.example/{}", 2 * LINKS_MAX + 2);
        assert_eq!(links.last(&lobby, LINKS_MAX - 1), Some(oldest.as_str()));
        assert_eq!(links.last(&lobby, LINKS_MAX), None, "the number of addresses is bounded");
        assert_eq!(links.last(&bob, 0), Some("https://bob.example"));
        for channel in 0..CONVERSATIONS_MAX {
            note(&mut links, 1, &format!("#c{channel}"), "https://c.example");
        }
        assert_eq!(links.known.len(), CONVERSATIONS_MAX);
        assert_eq!(links.last(&lobby, 0), None, "the number of conversations is bounded");
    }

    #[test]
    fn an_address_is_opened_at_the_second_request_only() {
        let mut links = Links::default();
        let asks = ["a", "b", "b", "b", "a"].map(|address| links.is_confirmed(address));
        assert_eq!(asks, [false, false, true, false, false]);
    }
}
