//! What may be wrong with a sealed line.

use crate::chat::UserName;
use crate::crypto::note::SealError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// No key of the person has signed it.
    Forged,
    /// The server does not tell whose keys are whose.
    NoKeys,
    /// Its certificate was over when it came.
    Expired,
    /// A key has signed it that was not its sender's any more.
    Retired,
    /// A key has signed it that the server calls theirs, and nobody has confirmed.
    Unconfirmed,
    /// It was altered, or was said elsewhere or by somebody else.
    Closed,
    NotForMe,
    Malformed,
    /// It says of itself something else than the server says of it.
    Spliced,
    /// It was told before.
    Again,
    /// It came in clear where its sender seals.
    Downgraded,
    /// The key of this channel is not here.
    NoKey,
    /// Its content is of a type that this version does not know.
    Newer,
    /// So many lines before it are missing ...
    Missing(u64),
    /// ... or some, nobody knows how many.
    Unlinked,
    /// Its sender's clock says another time than the server's: in milliseconds since 1970.
    Dated(i64),
}

impl Flaw {
    /// Whether the line is whole in itself, and shown.
    pub fn is_shown(self) -> bool {
        matches!(self, Flaw::Missing(_) | Flaw::Unlinked | Flaw::Dated(_))
    }

    /// For programs.
    pub fn code(self) -> &'static str {
        match self {
            Flaw::Forged => "forged",
            Flaw::NoKeys => "no_keys",
            Flaw::Expired => "expired",
            Flaw::Retired => "retired",
            Flaw::Unconfirmed => "unconfirmed",
            Flaw::Closed => "closed",
            Flaw::NotForMe => "not_for_me",
            Flaw::Malformed => "malformed",
            Flaw::Spliced => "spliced",
            Flaw::Again => "again",
            Flaw::Downgraded => "downgraded",
            Flaw::NoKey => "no_key",
            Flaw::Newer => "newer",
            Flaw::Missing(_) => "missing",
            Flaw::Unlinked => "unlinked",
            Flaw::Dated(_) => "dated",
        }
    }

    /// For people.
    pub fn told(self, from: &UserName) -> String {
        let not_shown = |what: &str| format!("a line under the name of {from} {what}: not shown");
        match self {
            Flaw::Forged => not_shown("is signed by no key of theirs"),
            Flaw::NoKeys => not_shown("came, and the server does not tell their keys"),
            Flaw::Expired => not_shown(
                "is signed under a certificate that was over when it came (or is a clock wrong?)",
            ),
            Flaw::Retired => not_shown("is signed by a key that is not theirs any more"),
            Flaw::Unconfirmed => format!(
                "a line by a new key of {from} is not shown: compare /fingerprint {from} with \
                 them, then /fingerprint {from} confirm"
            ),
            Flaw::Closed => not_shown("does not open: it was altered, or comes from elsewhere"),
            Flaw::NotForMe => format!("a private line of {from} was not sealed for this device"),
            Flaw::Malformed => not_shown("is not what a sealed line looks like"),
            Flaw::Spliced => not_shown("was told as another one than it is"),
            Flaw::Again => not_shown("was told before, as another one"),
            Flaw::Downgraded => not_shown("came in clear, where they seal"),
            Flaw::NoKey => format!("a line of {from} in a channel whose PIN is not known here"),
            Flaw::Newer => {
                format!("a message of {from} is of a newer version: update pychat to read it")
            }
            Flaw::Missing(1) => format!("a line of {from} is missing before the next one"),
            Flaw::Missing(lines) => {
                format!("{lines} lines of {from} are missing before the next one")
            }
            Flaw::Unlinked => format!("lines of {from} are missing before the next one"),
            Flaw::Dated(time_ms) => {
                let time = jiff::Timestamp::from_millisecond(time_ms).unwrap_or_default();
                let time = time.strftime("%Y-%m-%d %H:%M UTC");
                format!("the next line of {from} was said at {time}, by the clock of {from}")
            }
        }
    }
}

impl From<SealError> for Flaw {
    fn from(error: SealError) -> Flaw {
        match error {
            SealError::Malformed => Flaw::Malformed,
            SealError::NotForMe => Flaw::NotForMe,
            SealError::Closed => Flaw::Closed,
            SealError::Forged => Flaw::Forged,
        }
    }
}
