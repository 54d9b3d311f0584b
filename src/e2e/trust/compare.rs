//! Key comparison between two users: the displayed keys, confirmation, and the safety number. Pure.

use crate::chat::UserName;
use crate::crypto::{Fingerprint, sha256};

/// A user's keys for display.
#[derive(Debug, Default, PartialEq)]
pub struct Prints {
    /// Confirmed or pinned keys that the server lists.
    pub theirs: Vec<Fingerprint>,
    /// Listed keys that nobody has confirmed.
    pub news: Vec<Fingerprint>,
    /// Former keys that the server no longer lists.
    pub gone: Vec<Fingerprint>,
}

/// The result of a confirmation.
#[derive(Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// The listed keys are now the user's only keys. The named users owned one of them before.
    News(Vec<UserName>),
    /// All keys were already pinned. These have no valid certificate; private messages may now be
    /// sealed for them under RSA alone.
    Bare(Vec<Fingerprint>),
    /// The listed keys differ from the displayed ones; nothing was changed.
    Unseen,
    /// The local user's name belongs to other keys; nothing was changed.
    Anothers,
    /// One of the keys is the local user's; nothing was changed.
    Own,
}

/// Returns the safety number: 60 digits, equal on both sides only if each user has the other's keys
/// (docs/protocol.md).
pub fn safety_number(one: &[Fingerprint], other: &[Fingerprint]) -> String {
    let half = |prints: &[Fingerprint]| {
        let mut prints: Vec<&[u8]> = prints.iter().map(|print| &print.0[..]).collect();
        prints.sort_unstable();
        prints.insert(0, b"pychat/1 safety");
        let hash = sha256(&prints);
        let group = |five: &[u8]| {
            let number = five.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
            format!("{:05}", number % 100_000)
        };
        hash.chunks_exact(5).map(group).collect::<Vec<_>>().join(" ")
    };
    let mut halves = [half(one), half(other)];
    halves.sort_unstable();
    halves.join(" ")
}
