//! The two lines that people hand to each other: an invite to a server, and a person's public key.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::chat::UserName;
use crate::crypto::identity::CROCKFORD;
use crate::crypto::succession::{SUCCESSION_BYTES, Succession};
use crate::crypto::{Fingerprint, KeyError, PublicKey, sha256};

/// Where a server is, and the key it must hold: `pychat://HOST:PORT/FINGERPRINT`, or `HOST[:PORT]`.
/// Once a server has changed its key, `/FOUNDING` follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    pub host: String,
    pub port: u16,
    pub fingerprint: Option<Fingerprint>,
    /// Of the server's first key, where that is another one.
    pub founding: Option<Fingerprint>,
}

/// The port where none is written.
pub const PORT: u16 = 5000;
const SCHEME: &str = "pychat://";
const KEY_SCHEME: &str = "pychat-key1";
const NEXT_SCHEME: &str = "pychat-next1";

/// Why a line is no invite or no key line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    #[error("a server address has the form HOST:PORT or pychat://HOST:PORT/FINGERPRINT")]
    Server,
    #[error("the invite's fingerprint is incomplete: {0} of 43 characters")]
    Fingerprint(usize),
    #[error("a key line begins with {KEY_SCHEME}.")]
    NoKeyLine,
    #[error("the line is incomplete: {have} of {whole} characters")]
    Incomplete { have: usize, whole: usize },
    #[error("the line was altered: its checksum is wrong")]
    Checksum,
    #[error("the name in the line is invalid")]
    Name,
    #[error("{0}")]
    Key(#[from] KeyError),
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        match &self.fingerprint {
            Some(print) => {
                write!(f, "{SCHEME}{open}{host}{close}:{}/{}", self.port, print.to_url())?;
                self.founding.iter().try_for_each(|founding| write!(f, "/{}", founding.to_url()))
            }
            None => write!(f, "{open}{host}{close}:{}", self.port),
        }
    }
}

impl FromStr for Invite {
    type Err = InviteError;

    fn from_str(text: &str) -> Result<Self, InviteError> {
        let text: String = text.split_whitespace().collect();
        // As it was sent: in quotes, or as the command that begins with it.
        let text = text.find(SCHEME).map_or(text.as_str(), |at| &text[at..]);
        // Letters of other scripts are not removed: the rest would name another host.
        let is_around = |c: char| {
            matches!(c, '"' | '\'' | '`' | '<' | '>') || !c.is_ascii() && !c.is_alphanumeric()
        };
        let text = text.trim_matches(is_around);
        let (server, print) = match text.strip_prefix(SCHEME) {
            Some(rest) => {
                rest.split_once('/').map_or((rest, None), |(at, print)| (at, Some(print)))
            }
            None => (text, None),
        };
        let whole =
            |print: &str| Fingerprint::from_url(print).ok_or(InviteError::Fingerprint(print.len()));
        let (fingerprint, founding) = match print.map(|prints| prints.split_once('/')) {
            None => (None, None),
            Some(Some((print, founding))) => (Some(whole(print)?), Some(whole(founding)?)),
            Some(None) => (print.filter(|print| !print.is_empty()).map(whole).transpose()?, None),
        };
        let founding = founding.filter(|founding| fingerprint.as_ref() != Some(founding));
        let (host, port) = match server.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or(InviteError::Server)?;
                (host, rest.strip_prefix(':').or(rest.is_empty().then_some("")))
            }
            None => match server.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (server, Some("")),
            },
        };
        let port = match port.ok_or(InviteError::Server)? {
            "" => PORT,
            port => port.parse().ok().filter(|port| *port != 0).ok_or(InviteError::Server)?,
        };
        let legal = |c: char| c.is_ascii_alphanumeric() || "-_.:%".contains(c);
        if host.is_empty() || host.len() > 253 || !host.chars().all(legal) {
            return Err(InviteError::Server);
        }
        let host = normal_host(host);
        let last = host.rsplit('.').next().unwrap_or_default();
        // Other notations of an IPv4 address, such as 127.1 or 0x7f000001, would be further names
        // of it.
        let number = last.strip_prefix("0x").unwrap_or(last);
        let is_number = last.starts_with(|c: char| c.is_ascii_digit())
            && number.bytes().all(|byte| byte.is_ascii_hexdigit())
            && (last.starts_with("0x") || number.bytes().all(|byte| byte.is_ascii_digit()));
        let is_address = host.contains(':') || host.parse::<IpAddr>().is_ok();
        if host.is_empty() || is_number && !is_address {
            return Err(InviteError::Server);
        }
        Ok(Invite { host, port, fingerprint, founding })
    }
}

/// The one form in which hosts are stored and compared: names in lower case without a dot at the
/// end, IP addresses in their canonical notation.
pub fn normal_host(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    let (address, zone) =
        host.split_once('%').map_or((&*host, None), |(at, zone)| (at, Some(zone)));
    match (address.trim_end_matches('.').parse::<IpAddr>(), zone) {
        (Ok(address), None) => address.to_canonical().to_string(),
        (Ok(address), Some(zone)) => format!("{address}%{zone}"),
        (Err(_), _) => host.trim_end_matches('.').to_owned(),
    }
}

/// `pychat-key1.NAME.SPKI.CHECK`: everything an operator needs to register somebody. Public.
pub fn key_line(name: &UserName, key: &PublicKey) -> String {
    line(KEY_SCHEME, name, &[&key.to_der()])
}

/// `pychat-next1.NAME.SPKI.SIGNATURES.CHECK`: a key that follows another one, as both have signed.
/// Public.
pub fn next_line(name: &UserName, key: &PublicKey, succession: &Succession) -> String {
    line(NEXT_SCHEME, name, &[&key.to_der(), &succession.to_bytes()])
}

fn line(scheme: &str, name: &UserName, parts: &[&[u8]]) -> String {
    let plain =
        name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let name = match plain {
        true => name.to_string(),
        false => format!("-{}", URL_SAFE_NO_PAD.encode(name.as_str())),
    };
    let mut line = format!("{scheme}.{name}");
    for part in parts {
        line.push('.');
        URL_SAFE_NO_PAD.encode_string(part, &mut line);
    }
    format!("{line}.{}", check(&line))
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLine {
    pub name: UserName,
    pub key: PublicKey,
    /// Signed by the key in whose place it is to be, and by this one.
    pub succession: Option<Succession>,
}

/// Whether a text is meant as a key line, in quotes or not.
pub fn is_key_line(text: &str) -> bool {
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || !is_of_line(c));
    [KEY_SCHEME, NEXT_SCHEME].iter().any(|scheme| text.starts_with(scheme))
}

/// Whether a character may be in a key line. Others come from how it was sent: line breaks, signs
/// of a quotation, frames around a screen, invisible characters.
fn is_of_line(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

/// Reads the key line in a text, which may be quoted, broken over several rows, and between other
/// words.
///
/// # Errors
///
/// The text has no whole key line. Of several causes the last one counts.
pub fn read_key_line(text: &str) -> Result<KeyLine, InviteError> {
    let text: String = text.chars().filter(|c| is_of_line(*c)).collect();
    let starts = |scheme| text.match_indices(scheme).map(|(at, _)| at);
    let mut starts: Vec<usize> = starts(KEY_SCHEME).chain(starts(NEXT_SCHEME)).collect();
    starts.sort_unstable();
    let mut read = Err(InviteError::NoKeyLine);
    for at in starts {
        read = read_line(&text[at..]);
        if read.is_ok() {
            break;
        }
    }
    read
}

/// Reads a key line at the start of a text.
fn read_line(line: &str) -> Result<KeyLine, InviteError> {
    let (signed, rest) = match line.strip_prefix(NEXT_SCHEME) {
        Some(rest) => (true, Some(rest)),
        None => (false, line.strip_prefix(KEY_SCHEME)),
    };
    let rest = rest.and_then(|rest| rest.strip_prefix('.')).ok_or(InviteError::NoKeyLine)?;
    let after = 1 + SPKI_CHARS + if signed { 1 + SUCCESSION_CHARS } else { 0 } + 1 + CHECK_CHARS;
    let incomplete = |whole| InviteError::Incomplete { have: line.len(), whole };
    let (name, rest) = rest.split_once('.').ok_or_else(|| incomplete(line.len() + after))?;
    let whole = line.len() - rest.len() - 1 + after;
    if line.len() < whole {
        return Err(incomplete(whole));
    }
    // Other words may follow.
    let (line, rest) = (&line[..whole], &rest[..rest.len() - (line.len() - whole)]);
    let (rest, given) = rest.rsplit_once('.').ok_or(InviteError::Checksum)?;
    let (body, _) = line.rsplit_once('.').ok_or(InviteError::Checksum)?;
    if check(body) != given {
        return Err(InviteError::Checksum);
    }
    let name = match name.strip_prefix('-') {
        Some(encoded) => {
            let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| InviteError::Name)?;
            String::from_utf8(bytes).map_err(|_| InviteError::Name)?
        }
        None => name.to_owned(),
    };
    let name = name.parse().map_err(|_| InviteError::Name)?;
    let decode = |part| URL_SAFE_NO_PAD.decode(part).map_err(|_| InviteError::Checksum);
    let (spki, succession) = match signed {
        true => {
            let (spki, signatures) = rest.split_once('.').ok_or(InviteError::Checksum)?;
            let succession = Succession::from_bytes(&decode(signatures)?);
            (spki, Some(succession.ok_or(InviteError::Checksum)?))
        }
        false => (rest, None),
    };
    Ok(KeyLine { name, key: PublicKey::from_der(&decode(spki)?)?, succession })
}

/// Base64 characters of an RSA-3072 SPKI (422 bytes).
const SPKI_CHARS: usize = 563;
/// Of two RSA-3072 signatures.
const SUCCESSION_CHARS: usize = SUCCESSION_BYTES / 3 * 4;
const CHECK_CHARS: usize = 4;

/// Four letters of lower-case Crockford base32 of the line's SHA-256.
fn check(line: &str) -> String {
    let hash = sha256(&[line.as_bytes()]);
    let bits = u32::from_be_bytes(*hash.first_chunk().expect("32 bytes hold 4"));
    let letter = |index| CROCKFORD[(bits >> (27 - 5 * index)) as usize & 31].to_ascii_lowercase();
    (0..CHECK_CHARS).map(|index| letter(index) as char).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::crypto::Identity;
    use crate::crypto::test_keys::spare;
    use proptest::prelude::*;

    static KEY: LazyLock<PublicKey> = LazyLock::new(|| spare(0).public().clone());

    #[test]
    fn servers_are_written_as_people_write_them() {
        for (text, host, port) in [
            ("chat.example", "chat.example", 5000),
            ("192.168.1.20:6000", "192.168.1.20", 6000),
            ("[fd00::1]:6000", "fd00::1", 6000),
            ("pychat://host", "host", 5000),
            ("pychat://Chat.Example.", "chat.example", 5000),
            ("LOCALHOST:5000", "localhost", 5000),
            ("[FD00:0:0:0:0:0:0:1]", "fd00::1", 5000),
            ("[::ffff:10.0.0.1]", "10.0.0.1", 5000),
            ("[FE80::01%eth0]", "fe80::1%eth0", 5000),
            ("10.0.0.1.", "10.0.0.1", 5000),
            ("host-7.1a", "host-7.1a", 5000),
            ("\"pychat://host:6000\"", "host", 6000),
            ("'pychat://host'", "host", 5000),
            ("<pychat://host>", "host", 5000),
            ("\u{201c}pychat://host\u{201d}", "host", 5000),
            ("pychat client pychat://host:6000", "host", 6000),
            ("'host:6000'", "host", 6000),
        ] {
            let invite: Invite = text.parse().unwrap();
            assert_eq!((invite.host.as_str(), invite.port), (host, port));
        }
        for bad in [
            "",
            ":5000",
            "host:0",
            "host:70000",
            "a b:c",
            "[fd00::1",
            "ho/st",
            "pychat://",
            ".",
            "127.1",
            "0x7f.1",
            "0x7F000001",
            "2130706433",
            "127.0.0.01",
            "\u{fc}ber.example",
            "chat.exampl\u{e9}",
        ] {
            assert!(bad.parse::<Invite>().is_err(), "{bad}");
        }
        let short = format!("pychat://host:5000/{}", &KEY.fingerprint().to_url()[..40]);
        assert_eq!(short.parse::<Invite>(), Err(InviteError::Fingerprint(40)));
    }

    #[test]
    fn a_key_line_says_what_is_wrong_with_it() {
        let line = key_line(&"bob".parse().unwrap(), &KEY);
        assert!(line.len() == 584 && line.starts_with("pychat-key1.bob."));
        let cut = read_key_line(&line[..402]);
        assert_eq!(cut, Err(InviteError::Incomplete { have: 402, whole: line.len() }));
        assert_eq!(read_key_line("hello"), Err(InviteError::NoKeyLine));
        let bent = line.replacen("bob", "bab", 1);
        assert_eq!(read_key_line(&bent), Err(InviteError::Checksum));
        let wrapped = format!(" {}\n  {}\r\n", &line[..100], &line[100..]);
        let read = |name: &UserName, succession| {
            Ok(KeyLine { name: name.clone(), key: KEY.clone(), succession })
        };
        let bob = "bob".parse().unwrap();
        assert_eq!(read_key_line(&wrapped), read(&bob, None));
        let succession = Succession::from_bytes(&[7; SUCCESSION_BYTES]).unwrap();
        let signed = next_line(&bob, &KEY, &succession);
        assert_eq!(read_key_line(&signed), read(&bob, Some(succession)));
        let cut = InviteError::Incomplete { have: 700, whole: signed.len() };
        assert_eq!(read_key_line(&signed[..700]), Err(cut));
        assert_eq!(read_key_line(&signed.replacen("bob", "bab", 1)), Err(InviteError::Checksum));
        for pasted in [
            format!("\"{line}\""),
            format!("> {}\n> {}\n>", &line[..100], &line[100..]),
            format!("\u{feff}{}\u{200b}{}", &line[..100], &line[100..]),
            format!("│ {} │\r\n│ {} │", &line[..60], &line[60..]),
            format!("Send this line to the operator:\n{line}\nand read them this:  M4T9A-XXXXX"),
            format!("a key line begins with pychat-key1.\n{line}"),
            format!("$ pychat users add {line}"),
        ] {
            assert_eq!(read_key_line(&pasted), read(&bob, None), "{pasted}");
        }
        let twice = format!("{}\n{line}", &line[..300]);
        assert_eq!(read_key_line(&twice), read(&bob, None), "the first paste was cut");
        let name: UserName = "анна".parse().unwrap();
        let line = key_line(&name, &KEY);
        assert!(line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte)));
        assert_eq!(read_key_line(&line), read(&name, None));
    }

    #[test]
    fn the_lines_of_the_known_answers() {
        let vectors = std::fs::read_to_string("tests/data/hop.json").unwrap();
        let vectors: serde_json::Value = serde_json::from_str(&vectors).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let (lines, keys) = (&vectors["lines"], &vectors["keys_for_tests_only"]);
        let print = text(&keys["server"]["fingerprint_base64url"]);
        for (line, host, port) in [
            ("invite", "192.168.1.20", 5000),
            ("invite_ipv6", "fd00::1", 6000),
            ("invite_changed", "192.168.1.20", 5000),
        ] {
            let fingerprint = Fingerprint::from_url(&print);
            let founding = line.ends_with("changed").then_some(Fingerprint([7; 32]));
            let invite = Invite { host: host.into(), port, fingerprint, founding };
            assert_eq!(invite.to_string(), lines[line]);
            assert_eq!(text(&lines[line]).parse(), Ok(invite));
        }
        let key = Identity::from_pem(&text(&keys["client"]["pem"]), None).unwrap();
        for (line, name) in [("key_of_bob", "bob"), ("key_of_анна", "анна")] {
            let name: UserName = name.parse().unwrap();
            assert_eq!(key_line(&name, key.public()), lines[line]);
            let read = KeyLine { name, key: key.public().clone(), succession: None };
            assert_eq!(read_key_line(&text(&lines[line])), Ok(read));
        }
    }

    proptest! {
        #[test]
        fn an_invite_reads_as_it_was_written(
            host in "[a-z][a-z0-9-]{0,20}(\\.[a-z][a-z0-9-]{0,8})?|fd00::[1-9a-f][0-9a-f]{0,3}", port in 1u16.., print in any::<[u8; 32]>(),
            first in any::<Option<[u8; 32]>>(),
        ) {
            let founding = first.filter(|first| *first != print).map(Fingerprint);
            let invite = Invite { host, port, fingerprint: Some(Fingerprint(print)), founding };
            prop_assert_eq!(invite.to_string().parse::<Invite>().unwrap(), invite);
        }

        #[test]
        fn whatever_is_pasted_is_an_answer_and_no_panic(text in any::<String>()) {
            let _ = text.parse::<Invite>();
            let _ = read_key_line(&text);
            let _ = read_key_line(&format!("pychat-key1.{text}"));
            let _ = read_key_line(&format!("pychat-next1.{text}"));
        }
    }
}
