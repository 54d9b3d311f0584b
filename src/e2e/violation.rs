//! Protocol violations of a sealed message.

use crate::calendar::Utc;
use crate::chat::UserName;
use crate::crypto::header::SealError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Signed by no key of its sender.
    Forged,
    /// The server does not list the sender's keys.
    NoKeys,
    /// Its certificate had expired when it arrived.
    Expired,
    /// Signed by a former key of its sender.
    Retired,
    /// Signed by a key that the server lists and nobody has confirmed.
    Unconfirmed,
    /// Altered, or from another conversation or sender.
    Closed,
    NotForMe,
    Malformed,
    /// The signed header differs from what the server states.
    Spliced,
    /// It was received before.
    Again,
    /// Its sender has edited or deleted it since.
    Outdated,
    /// Unencrypted, although its sender encrypts.
    Downgraded,
    /// The key of this channel is not known.
    NoKey,
    /// A content type that this version does not know.
    Newer,
    /// This many messages before it are missing.
    Missing(u64),
    /// An unknown number of messages before it are missing.
    Unlinked,
    /// This many changes of a user are missing, and the server says that they are edits of deleted
    /// messages. No signed deletion shows that.
    Unexplained(u64),
    /// The sender's clock differs from the server's; the signed time in milliseconds since 1970.
    Dated(i64),
}

impl Violation {
    /// Returns whether the message is authentic and shown.
    pub fn is_shown(self) -> bool {
        use Violation::{Dated, Missing, Unexplained, Unlinked};
        matches!(self, Missing(_) | Unlinked | Unexplained(_) | Dated(_))
    }

    /// For programs.
    pub fn code(self) -> &'static str {
        match self {
            Violation::Forged => "forged",
            Violation::NoKeys => "no_keys",
            Violation::Expired => "expired",
            Violation::Retired => "retired",
            Violation::Unconfirmed => "unconfirmed",
            Violation::Closed => "closed",
            Violation::NotForMe => "not_for_me",
            Violation::Malformed => "malformed",
            Violation::Spliced => "spliced",
            Violation::Again => "again",
            Violation::Outdated => "outdated",
            Violation::Downgraded => "downgraded",
            Violation::NoKey => "no_key",
            Violation::Newer => "newer",
            Violation::Missing(_) => "missing",
            Violation::Unlinked => "unlinked",
            Violation::Unexplained(_) => "unexplained",
            Violation::Dated(_) => "dated",
        }
    }

    /// For people.
    pub fn describe(self, from: &UserName) -> String {
        let not_shown = |what: &str| format!("a message under {from}'s name {what}: not shown");
        match self {
            Violation::Forged => not_shown("is signed by no key of theirs"),
            Violation::NoKeys => not_shown("is unverified: the server does not list their keys"),
            Violation::Expired => {
                not_shown("had an expired certificate when it arrived (or a clock is wrong)")
            }
            Violation::Retired => not_shown("is signed by a former key of theirs"),
            Violation::Unconfirmed => format!(
                "a message by a new key of {from} is not shown: compare /fingerprint {from} with \
                 them, then /fingerprint {from} confirm"
            ),
            Violation::Closed => {
                not_shown("cannot be decrypted: it was altered, or is from another conversation")
            }
            Violation::NotForMe => {
                format!("a private message of {from} was not sealed for this device")
            }
            Violation::Malformed => not_shown("does not have the format of a sealed message"),
            Violation::Spliced => not_shown("differs from what the server states about it"),
            Violation::Again => not_shown("was delivered before"),
            Violation::Outdated => {
                not_shown("is an earlier version: the sender has edited or deleted it since")
            }
            Violation::Downgraded => not_shown("is not encrypted, although they encrypt"),
            Violation::NoKey => {
                format!("a message of {from} in a channel whose PIN this client does not have")
            }
            Violation::Newer => {
                format!("a message of {from} is of a newer version: update pychat to read it")
            }
            Violation::Missing(1) => format!("a message of {from} is missing before the next one"),
            Violation::Missing(messages) => {
                format!("{messages} messages of {from} are missing before the next one")
            }
            Violation::Unlinked => {
                format!("messages of {from} are missing before the next one")
            }
            Violation::Unexplained(changes) => {
                let count = match changes {
                    1 => "an edit or a deletion".to_owned(),
                    changes => format!("{changes} edits or deletions"),
                };
                format!(
                    "{count} of {from} missing: the server claims that {from} has deleted the \
                     edited messages, but no signed deletion proves it"
                )
            }
            Violation::Dated(time_ms) => {
                let time = Utc::of_or_1970(time_ms).to_minute();
                format!("the next message of {from} was signed at {time}, by the clock of {from}")
            }
        }
    }
}

impl From<SealError> for Violation {
    fn from(error: SealError) -> Violation {
        match error {
            SealError::Malformed => Violation::Malformed,
            SealError::NotForMe => Violation::NotForMe,
            SealError::Closed => Violation::Closed,
            SealError::Forged => Violation::Forged,
        }
    }
}

/// Returns the violation unless the condition holds.
pub fn check(holds: bool, violation: Violation) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(violation) }
}
