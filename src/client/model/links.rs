//! Addresses in the messages that were shown, for `/open`. Pure.

use std::collections::VecDeque;

use super::action::Action;
use super::output::{Output, is_unsealed};
use crate::chat::{Kind, Message, Seq, Target, UserName};
use crate::client::addresses;

/// Addresses that are remembered, of all conversations together. Each has at most 2,083 bytes.
const LINKS_MAX: usize = 500;

/// An address, and the message that it is in.
struct Link {
    conversation: Target,
    seq: Seq,
    address: String,
}

/// The addresses that were shown last.
#[derive(Default)]
pub struct Links {
    known: VecDeque<Link>,
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
        self.known.retain(|link| link.seq != seq || link.conversation != conversation);
        if message.deleted || matches!(message.kind, Kind::Delete { .. }) {
            return;
        }
        for address in addresses::find(message.body.text()) {
            let (conversation, address) = (conversation.clone(), address.to_owned());
            self.known.push_back(Link { conversation, seq, address });
        }
        let more = self.known.len().saturating_sub(LINKS_MAX);
        self.known.drain(..more);
    }

    /// Returns the address that is `back` addresses before the last one of a conversation.
    pub fn last(&self, conversation: &Target, back: usize) -> Option<&str> {
        let here = self.known.iter().filter(|link| link.conversation == *conversation);
        let mut here: Vec<&Link> = here.collect();
        // Stable: the addresses of a message stay in their order.
        here.sort_by_key(|link| link.seq);
        here.iter().rev().nth(back).map(|link| link.address.as_str())
    }

    /// Returns the first address in a message.
    pub fn of(&self, conversation: &Target, seq: Seq) -> Option<&str> {
        let mut known = self.known.iter();
        let found = known.find(|link| link.seq == seq && link.conversation == *conversation);
        found.map(|link| link.address.as_str())
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
    use crate::chat::{Confidentiality, MsgId};

    fn said(seq: u64, to: &str, kind: Kind, text: &str) -> Action {
        let to: Target = to.parse().unwrap();
        let confidentiality = match to {
            Target::User(_) => Confidentiality::Sealed,
            Target::Channel(_) => Confidentiality::Open,
        };
        Action::Output(Output::Message(Message {
            seq: Seq(seq),
            to,
            from: "bob".parse().unwrap(),
            device: "main".parse().unwrap(),
            id: MsgId([seq as u8; 16]),
            time_ms: 0,
            kind,
            body: text.into(),
            confidentiality,
            edited: false,
            deleted: false,
            replay: false,
            reference: None,
        }))
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
        for seq in 20..20 + LINKS_MAX as u64 {
            note(&mut links, said(seq, "@alice", Kind::Say, "https://many.example"));
        }
        assert_eq!(last(&links, 0), None, "the number of addresses is bounded");
    }

    #[test]
    fn an_address_is_opened_at_the_second_request_only() {
        let mut links = Links::default();
        let asks = ["a", "b", "b", "b", "a"].map(|address| links.is_confirmed(address));
        assert_eq!(asks, [false, false, true, false, false]);
    }
}
