//! keys/tickets.key: the session ticket keys (`crypto/session_ticket.rs`). They survive a
//! restart of the server, so that clients can log in with their tickets afterwards. The file is
//! sealed to the server's own key: a copy of it alone is useless, and every ticket becomes invalid
//! when the server's key changes.

use zeroize::Zeroizing;

use super::Home;
use crate::crypto::session_ticket::{Claims, Issuer, TicketKey};
use crate::crypto::{Fingerprint, Identity, at_rest};
use crate::file::{self, FileError};
use crate::limits::SESSION_TICKET_KEY_S;

/// Maximum bytes that are read from the file, which has about 1 KiB.
const FILE_BYTES_MAX: u64 = 4_096;
/// The format of the sealed bytes.
const FORMAT: u8 = 1;

/// The present key, and the one before it.
pub struct TicketKeys {
    /// The server's key to which they belong.
    server: Fingerprint,
    present: TicketKey,
    /// When it was made, in seconds since 1970.
    made_s: u64,
    former: Option<TicketKey>,
}

impl TicketKeys {
    /// New keys.
    pub fn new(server: Fingerprint, now_s: u64) -> TicketKeys {
        TicketKeys { server, present: TicketKey::generate(), made_s: now_s, former: None }
    }

    /// Whether these keys belong to this key of the server.
    pub fn are_of(&self, server: &Fingerprint) -> bool {
        self.server == *server
    }

    /// Returns whether another key is due: the present one is a day old, or of a former server key.
    pub fn is_due(&self, server: &Fingerprint, now_s: u64) -> bool {
        // The clock may have been set back.
        let young = self.made_s..self.made_s.saturating_add(SESSION_TICKET_KEY_S);
        self.server != *server || !young.contains(&now_s)
    }

    /// The next keys. The former key opens tickets that it has sealed, if it is of the same server
    /// key and was replaced in time.
    pub fn next(&self, server: Fingerprint, now_s: u64) -> TicketKeys {
        let age_s = now_s.checked_sub(self.made_s);
        let keeps =
            self.server == server && age_s.is_some_and(|age_s| age_s < 2 * SESSION_TICKET_KEY_S);
        let former = keeps.then(|| self.present.clone());
        // The former key expires two days after it was made, however late this call is.
        let made_s = match keeps {
            true => self.made_s.saturating_add(SESSION_TICKET_KEY_S).min(now_s),
            false => now_s,
        };
        TicketKeys { former, made_s, ..TicketKeys::new(server, now_s) }
    }

    pub fn seal(&self, issuer: &Issuer, claims: &Claims) -> Vec<u8> {
        self.present.seal(issuer, claims)
    }

    /// Opens a ticket that was sealed under one of the keys. A key is valid for two days.
    pub fn open(&self, issuer: &Issuer, ticket: &[u8], now_s: u64) -> Option<Claims> {
        let age_s = now_s.checked_sub(self.made_s)?;
        let present = Some(&self.present).filter(|_| age_s < 2 * SESSION_TICKET_KEY_S);
        let former = self.former.as_ref().filter(|_| age_s < SESSION_TICKET_KEY_S);
        [present, former].into_iter().flatten().find_map(|key| key.open(issuer, ticket))
    }

    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut plain = Zeroizing::new(Vec::with_capacity(1 + 8 + 2 * 32));
        plain.push(FORMAT);
        plain.extend_from_slice(&self.made_s.to_be_bytes());
        let keys = [Some(&self.present), self.former.as_ref()];
        keys.into_iter().flatten().for_each(|key| plain.extend_from_slice(key.reveal()));
        plain
    }

    fn from_bytes(server: Fingerprint, plain: &[u8]) -> Option<TicketKeys> {
        let (head, keys) = plain.split_first_chunk::<9>()?;
        let (keys, rest) = keys.as_chunks::<32>();
        let (present, former) = match keys {
            [present] => (present, None),
            [present, former] => (present, Some(former)),
            _ => return None,
        };
        let (format, made_s) = (head[0], u64::from_be_bytes(*head.last_chunk()?));
        let key = |bytes: &[u8; 32]| TicketKey::from_bytes(*bytes);
        let (present, former) = (key(present), former.map(key));
        let whole = format == FORMAT && rest.is_empty();
        whole.then_some(TicketKeys { server, present, made_s, former })
    }
}

impl Home {
    /// Reads the session ticket keys; `None` if there are none for this key of the server.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn ticket_keys(&self, own: &Identity) -> Result<Option<TicketKeys>, FileError> {
        let sealed = file::read_bytes_up_to(&self.ticket_keys_file(), FILE_BYTES_MAX)?;
        let plain = sealed.and_then(|sealed| at_rest::open_by(own, &sealed));
        let server = own.public().fingerprint();
        Ok(plain.and_then(|plain| TicketKeys::from_bytes(server, &plain)))
    }

    /// Writes them.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep_ticket_keys(&self, own: &Identity, keys: &TicketKeys) -> Result<(), FileError> {
        let sealed = at_rest::seal_for(&[own.public()], &keys.to_bytes());
        file::replace(&self.ticket_keys_file(), &sealed, 0o600)
    }

    fn ticket_keys_file(&self) -> std::path::PathBuf {
        self.key_path("tickets.key")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::crypto::session_ticket::fresh_secret;
    use crate::crypto::test_keys::{ana, bob};

    const DAY_S: u64 = SESSION_TICKET_KEY_S;

    fn ticket(keys: &TicketKeys, issuer: &Issuer) -> Vec<u8> {
        let (user, key) = ("alice".parse().unwrap(), Fingerprint([5; 32]));
        let (secret, until_s) = (fresh_secret(&key), 9);
        keys.seal(issuer, &Claims { user, key, password: None, secret, proven_s: 1, until_s })
    }

    #[test]
    fn tickets_open_after_a_restart_and_one_change_of_their_key() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        home.make_folders().unwrap();
        assert!(home.ticket_keys(ana()).unwrap().is_none());
        let server = ana().public().fingerprint();
        let issuer = Issuer { server, epoch: 1 };
        let first = TicketKeys::new(server, 100);
        let made = ticket(&first, &issuer);
        home.keep_ticket_keys(ana(), &first).unwrap();
        let mode = fs::metadata(home.ticket_keys_file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let read = home.ticket_keys(ana()).unwrap().unwrap();
        assert!(read.open(&issuer, &made, 100).is_some());
        assert!(!read.is_due(&server, 100 + DAY_S - 1) && read.is_due(&server, 100 + DAY_S));
        assert!(read.is_due(&server, 99), "the clock was set back");
        let second = read.next(server, 100 + DAY_S);
        assert!(second.open(&issuer, &made, 100 + DAY_S).is_some());
        home.keep_ticket_keys(ana(), &second).unwrap();
        let second = home.ticket_keys(ana()).unwrap().unwrap();
        let end = 100 + 2 * DAY_S;
        let late = first.next(server, end - 1);
        for keys in [&first, &second, &late] {
            assert!(keys.open(&issuer, &made, end - 1).is_some());
            assert!(keys.open(&issuer, &made, end).is_none() && keys.is_due(&server, end));
            assert!(keys.next(server, end).open(&issuer, &made, end).is_none());
        }
        assert!(second.open(&issuer, &made, 99).is_none(), "the clock was set back");
    }

    #[test]
    fn keys_of_another_server_key_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        home.make_folders().unwrap();
        let [server, other] = [ana(), bob()].map(|key| key.public().fingerprint());
        let keys = TicketKeys::new(server, 100);
        let made = ticket(&keys, &Issuer { server: other, epoch: 1 });
        assert!(keys.is_due(&other, 100) && !keys.is_due(&server, 100));
        assert!(
            keys.next(other, 101).open(&Issuer { server: other, epoch: 1 }, &made, 101).is_none()
        );
        home.keep_ticket_keys(ana(), &keys).unwrap();
        assert!(home.ticket_keys(bob()).unwrap().is_none());
        let sealed = fs::read(home.ticket_keys_file()).unwrap();
        assert!(sealed.windows(32).all(|window| window != keys.present.reveal()));
        for bytes in [&b""[..], b"garbage", &sealed[..sealed.len() - 1]] {
            fs::write(home.ticket_keys_file(), bytes).unwrap();
            assert!(home.ticket_keys(ana()).unwrap().is_none());
        }
        for plain in [&[1; 40][..], &[2; 41], &[1; 42], &[1; 105], b""] {
            assert!(TicketKeys::from_bytes(server, plain).is_none(), "{plain:?}");
        }
        assert!(TicketKeys::from_bytes(server, &[1; 41]).is_some(), "the control");
    }
}
