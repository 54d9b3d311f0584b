//! What may be wrong with a sealed line.

use crate::chat::UserName;
use crate::crypto::header::SealError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
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
    /// Its sender has edited or deleted it since.
    Outdated,
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

impl Violation {
    /// Whether the line is whole in itself, and shown.
    pub fn is_shown(self) -> bool {
        matches!(self, Violation::Missing(_) | Violation::Unlinked | Violation::Dated(_))
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
            Violation::Dated(_) => "dated",
        }
    }

    /// For people.
    pub fn told(self, from: &UserName) -> String {
        let not_shown = |what: &str| format!("a line under the name of {from} {what}: not shown");
        match self {
            Violation::Forged => not_shown("is signed by no key of theirs"),
            Violation::NoKeys => not_shown("came, and the server does not tell their keys"),
            Violation::Expired => not_shown(
                "is signed under a certificate that was over when it came (or is a clock wrong?)",
            ),
            Violation::Retired => not_shown("is signed by a key that is not theirs any more"),
            Violation::Unconfirmed => format!(
                "a line by a new key of {from} is not shown: compare /fingerprint {from} with \
                 them, then /fingerprint {from} confirm"
            ),
            Violation::Closed => {
                not_shown("does not open: it was altered, or comes from elsewhere")
            }
            Violation::NotForMe => {
                format!("a private line of {from} was not sealed for this device")
            }
            Violation::Malformed => not_shown("is not what a sealed line looks like"),
            Violation::Spliced => not_shown("was told as another one than it is"),
            Violation::Again => not_shown("was told before, as another one"),
            Violation::Outdated => not_shown("was told as it was before they edited or deleted it"),
            Violation::Downgraded => not_shown("came in clear, where they seal"),
            Violation::NoKey => {
                format!("a line of {from} in a channel whose PIN is not known here")
            }
            Violation::Newer => {
                format!("a message of {from} is of a newer version: update pychat to read it")
            }
            Violation::Missing(1) => format!("a line of {from} is missing before the next one"),
            Violation::Missing(lines) => {
                format!("{lines} lines of {from} are missing before the next one")
            }
            Violation::Unlinked => format!("lines of {from} are missing before the next one"),
            Violation::Dated(time_ms) => {
                let time = jiff::Timestamp::from_millisecond(time_ms).unwrap_or_default();
                let time = time.strftime("%Y-%m-%d %H:%M UTC");
                format!("the next line of {from} was said at {time}, by the clock of {from}")
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
