//! The context of a message: server, sender and conversation (docs/protocol.md, "Sealed messages").
//! It is part of what is encrypted and signed, so that a message is invalid under another name, in
//! another conversation or on another server.

use super::Fingerprint;
use super::primitives::sha256;
use crate::chat::{Target, UserName};

const LABEL: &[u8] = b"pychat/1 context";

/// The hash of a server, a sender's name and a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context(pub(super) [u8; 32]);

impl Context {
    /// `server` is the fingerprint of the server's first key. A private conversation is identified
    /// by its recipient.
    pub fn new(server: &Fingerprint, sender: &UserName, conversation: &Target) -> Context {
        let (kind, name) = match conversation {
            Target::Channel(channel) => (0, &channel.as_str()[1..]),
            Target::User(recipient) => (1, recipient.folded()),
        };
        // 32 characters and a tag have fewer than 256 bytes.
        let sender = sender.folded();
        let (length, after) = ([sender.len() as u8], [kind, name.len() as u8]);
        let parts = [LABEL, &server.0, &length, sender.as_bytes(), &after, name.as_bytes()];
        Context(sha256(&parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(server: u8, sender: &str, conversation: &str) -> Context {
        let conversation = conversation.parse().unwrap();
        Context::new(&Fingerprint([server; 32]), &sender.parse().unwrap(), &conversation)
    }

    #[test]
    fn each_part_of_a_context_makes_another_one_and_case_does_not() {
        let tea = format!("#tea~{}", "0".repeat(26));
        let other = format!("#tea~{}4", "0".repeat(25));
        let all = [
            context(1, "alice", "@bob"),
            context(2, "alice", "@bob"),
            context(1, "bob", "@alice"),
            context(1, "alice", "@carol"),
            context(1, "alic", "@ebob"),
            context(1, "alice", "#bob"),
            context(1, "alice", &tea),
            context(1, "alice", &other),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{at}");
        }
        assert_eq!(context(1, "\u{c4}lice", "@BOB"), context(1, "\u{e4}lice", "@bob"));
    }
}
