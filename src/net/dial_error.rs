//! The reasons why a tunnel cannot be established.

use std::io;

use crate::suite::Suite;

/// The tunnel cannot be established.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("the server did not answer in time")]
    Timeout,
    #[error("the server is full")]
    Busy,
    /// The server claims to support other majors. Anyone on the path can forge this.
    #[error("the server speaks protocol {lowest}-{highest}, this client speaks 1")]
    Version { lowest: u8, highest: u8 },
    /// The server has chosen a suite that was not offered, because it supports none of those.
    /// Anyone on the path can forge this.
    #[error("{}", refused(*.0))]
    Suite(Suite),
    /// No answer to the message that proves that this client knows the pinned key.
    #[error(
        "the server closed the connection without an answer: it has another key than the pinned one, it \
        does not let this address in now, or it is no pychat server. If this lasts, ask the operator for \
        the current invite and give it to pychat trust"
    )]
    Silent,
    #[error("what answers there does not speak pychat")]
    Foreign,
    /// The server uses the protocol, and cannot prove that it has the pinned key.
    #[error("the server does not hold the key that it should")]
    WrongKey,
    /// The server names former keys that it cannot prove.
    #[error(
        "the server names keys that it had before, and not both keys of each change have signed it"
    )]
    Unsigned,
    /// The server's first key is not the one that this client was started with.
    #[error(
        "the server had other keys before, which it did not name when pychat was started: end pychat, and \
        start it with the invite again"
    )]
    Founding,
    #[error("the connection was cut before the login")]
    Cut,
}

/// The text about a suite that the server requires and this client does not offer.
fn refused(suite: Suite) -> String {
    let what = match suite {
        Suite::Classic => "which a later quantum computer could open",
        Suite::Hybrid => "which is the default",
    };
    let number = suite.number();
    format!(
        "the server claims to have only suite {number} of the handshake, {what}, and this client refuses it. \
        Ask the operator about \"suites\" in config.json; to accept it here, write \"suites\": [{number}] into \
        settings.json beside your key"
    )
}

/// Interprets an answer in the clear. Anyone on the path can forge it: two words are recognised,
/// and no text of it is ever displayed.
pub fn said_in_the_clear(word: &[u8]) -> DialError {
    let majors = || {
        let (lowest, highest) = str::from_utf8(word).ok()?.split_once('-')?;
        let number = |text: &str| {
            let number = text.parse::<u8>().ok()?;
            (number.to_string() == text).then_some(number)
        };
        Some((number(lowest)?, number(highest)?))
    };
    match majors() {
        _ if word == b"busy" => DialError::Busy,
        // A server of this client's major has no reason to name majors.
        Some((lowest, highest)) if lowest <= highest && !(lowest..=highest).contains(&1) => {
            DialError::Version { lowest, highest }
        }
        _ => DialError::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_words_in_the_clear_are_understood_and_no_others() {
        let said = |word: &[u8]| match said_in_the_clear(word) {
            DialError::Busy => "busy".to_owned(),
            DialError::Version { lowest, highest } => format!("{lowest}-{highest}"),
            error => {
                assert!(matches!(error, DialError::Foreign));
                "nothing".to_owned()
            }
        };
        for word in ["busy", "2-3", "0-0", "2-255"] {
            assert_eq!(said(word.as_bytes()), word);
        }
        let others = [
            "",
            "busy ",
            "Busy",
            "-",
            "1-1",
            "0-9",
            "3-2",
            "2-256",
            "+2-3",
            "02-3",
            "2-3-4",
            "2",
            "2-3 call +1 555",
            "\u{1b}[2J",
            "\u{0662}-\u{0663}",
        ];
        for word in others.iter().map(|word| word.as_bytes()).chain([&b"2-\xff"[..], &[b'9'; 2000]])
        {
            assert_eq!(said(word), "nothing", "{word:?}");
        }
    }
}
