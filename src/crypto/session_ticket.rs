//! Session tickets: a server seals the identity of a client and a secret under a key of its own.
//! The client presents the ticket at its next login, which then needs no RSA operation
//! (docs/protocol.md, "Session tickets").

use zeroize::Zeroizing;

use super::Fingerprint;
use super::header::take;
use super::password::PasswordHash;
pub use super::primitives::Secret;
use super::primitives::{TAG_BYTES, hedged, hkdf, open, seal, sha256};
use crate::chat::{NAME_CHARS_MAX, UserName};
use crate::limits::SESSION_TICKET_BYTES_MAX;

const LABEL: &[u8] = b"pychat/1 session ticket";
const SALT_BYTES: usize = 32;
/// Bytes of a name: a character has at most four.
const NAME_BYTES_MAX: usize = 4 * NAME_CHARS_MAX;
/// Format, both times, the secret, the key, the password and the name.
const PLAIN_BYTES: usize = 1 + 8 + 8 + 32 + 32 + 1 + 32 + 1 + NAME_BYTES_MAX;
/// Bytes of a ticket of this server.
pub const SESSION_TICKET_BYTES: usize = SALT_BYTES + PLAIN_BYTES + TAG_BYTES;
/// The format of the sealed bytes.
const FORMAT: u8 = 1;

/// The key that seals tickets.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketKey(Secret);

/// The server's key and the ledger to which a ticket is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The server's key in the login that the ticket is for.
    pub server: Fingerprint,
    /// The epoch of the server's ledger; 0 where nothing is stored.
    pub epoch: u64,
}

/// The content of a ticket, which only the server can read.
#[derive(Clone, PartialEq, Eq)]
pub struct Claims {
    pub user: UserName,
    /// The client's key.
    pub key: Fingerprint,
    /// Identifies the password of the login, if the user had one.
    pub password: Option<[u8; 32]>,
    /// The secret that both sides mix into the handshake.
    pub secret: Secret,
    /// When the client last proved its RSA key, in seconds since 1970.
    pub proven_s: u64,
    /// The end of the ticket, in seconds since 1970.
    pub until_s: u64,
}

/// A ticket as a client stores it.
#[derive(Clone, PartialEq, Eq)]
pub struct HeldTicket {
    ticket: Vec<u8>,
    secret: Secret,
    server: Fingerprint,
    key: Fingerprint,
}

/// Returns the id of a password hash in a ticket. Another hash of the same password has another id.
pub fn password_digest(password: &PasswordHash) -> [u8; 32] {
    sha256(&[LABEL, b" password", password.text().as_bytes()])
}

/// Returns a new secret.
pub fn fresh_secret(key: &Fingerprint) -> Secret {
    Zeroizing::new(hedged(&[LABEL, b" secret", &key.0]))
}

impl TicketKey {
    pub fn generate() -> TicketKey {
        TicketKey(Zeroizing::new(hedged(&[LABEL, b" key"])))
    }

    pub fn from_bytes(bytes: [u8; 32]) -> TicketKey {
        TicketKey(Zeroizing::new(bytes))
    }

    /// The key itself, for its file.
    pub fn reveal(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals a ticket. All tickets have the same length.
    pub fn seal(&self, issuer: &Issuer, claims: &Claims) -> Vec<u8> {
        let plain = claims.to_bytes();
        let salt: [u8; SALT_BYTES] = hedged(&[LABEL, b" salt", &plain[..]]);
        [&salt[..], &seal(&self.one(&salt), 0, &issuer.to_bytes(), &plain)].concat()
    }

    /// Opens a ticket that this key has sealed for this issuer. Its times are not checked.
    pub fn open(&self, issuer: &Issuer, ticket: &[u8]) -> Option<Claims> {
        let (salt, sealed) = ticket.split_first_chunk::<SALT_BYTES>()?;
        let plain = open(&self.one(salt), 0, &issuer.to_bytes(), sealed)?;
        Claims::from_bytes(&plain)
    }

    /// The key of one ticket.
    fn one(&self, salt: &[u8; SALT_BYTES]) -> Secret {
        hkdf(salt, &self.0[..], &[LABEL])
    }
}

impl Issuer {
    fn to_bytes(self) -> Vec<u8> {
        [LABEL, &self.server.0, &self.epoch.to_be_bytes()].concat()
    }
}

impl Claims {
    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut plain = Zeroizing::new(Vec::with_capacity(PLAIN_BYTES));
        plain.push(FORMAT);
        plain.extend_from_slice(&self.until_s.to_be_bytes());
        plain.extend_from_slice(&self.proven_s.to_be_bytes());
        plain.extend_from_slice(&self.secret[..]);
        plain.extend_from_slice(&self.key.0);
        plain.push(u8::from(self.password.is_some()));
        plain.extend_from_slice(&self.password.unwrap_or_default());
        let name = self.user.as_str().as_bytes();
        plain.push(name.len() as u8);
        plain.extend_from_slice(name);
        plain.resize(PLAIN_BYTES, 0);
        plain
    }

    fn from_bytes(plain: &[u8]) -> Option<Claims> {
        let mut rest = plain;
        let [format] = take(&mut rest)?;
        let until_s = u64::from_be_bytes(take(&mut rest)?);
        let proven_s = u64::from_be_bytes(take(&mut rest)?);
        let secret = Zeroizing::new(take(&mut rest)?);
        let key = Fingerprint(take(&mut rest)?);
        let [has_password] = take(&mut rest)?;
        let digest = take(&mut rest)?;
        let [length] = take(&mut rest)?;
        let name = std::str::from_utf8(rest.get(..usize::from(length))?).ok()?;
        let password = (has_password == 1).then_some(digest);
        let user = name.parse().ok()?;
        let claims = Claims { user, key, password, secret, proven_s, until_s };
        (format == FORMAT).then_some(claims)
    }
}

impl HeldTicket {
    /// `server` is the key that the server has proven in the login that gave the ticket, and `key`
    /// the client's own key there. `None` if a ticket cannot have this length.
    pub fn new(
        (ticket, secret): (&[u8], &[u8; 32]),
        server: Fingerprint,
        key: Fingerprint,
    ) -> Option<HeldTicket> {
        let (ticket, secret) = (ticket.to_vec(), Zeroizing::new(*secret));
        let fits = (1..=SESSION_TICKET_BYTES_MAX).contains(&ticket.len());
        fits.then_some(HeldTicket { ticket, secret, server, key })
    }

    /// Whether the ticket is for a login to this server with this key.
    pub fn is_for(&self, server: &Fingerprint, key: &Fingerprint) -> bool {
        self.server == *server && self.key == *key
    }

    pub fn ticket(&self) -> &[u8] {
        &self.ticket
    }

    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn issuer(number: u8) -> Issuer {
        Issuer { server: Fingerprint([number; 32]), epoch: u64::from(number) }
    }

    fn claims(name: &str, password: Option<[u8; 32]>) -> Claims {
        let (secret, key) = (Zeroizing::new([3; 32]), Fingerprint([4; 32]));
        let user = name.parse().unwrap();
        Claims { user, key, password, secret, proven_s: 5, until_s: 6 }
    }

    #[test]
    fn a_ticket_opens_under_its_key_for_its_issuer_and_only_whole() {
        let [key, other] = [1, 2].map(|byte| TicketKey::from_bytes([byte; 32]));
        let long = "ж".repeat(32);
        for claims in [claims("alice", None), claims(&long, Some([9; 32]))] {
            let ticket = key.seal(&issuer(7), &claims);
            assert_eq!(ticket.len(), SESSION_TICKET_BYTES);
            assert!(key.open(&issuer(7), &ticket) == Some(claims.clone()));
            assert!(other.open(&issuer(7), &ticket).is_none());
            let [server, epoch] = [
                Issuer { server: issuer(8).server, ..issuer(7) },
                Issuer { epoch: 8, ..issuer(7) },
            ];
            assert!(key.open(&server, &ticket).is_none() && key.open(&epoch, &ticket).is_none());
            for index in 0..ticket.len() {
                let mut bent = ticket.clone();
                bent[index] ^= 1;
                assert!(key.open(&issuer(7), &bent).is_none(), "byte {index}");
                assert!(key.open(&issuer(7), &ticket[..index]).is_none(), "{index} bytes");
            }
            assert!(key.seal(&issuer(7), &claims) != ticket, "no two tickets are the same");
        }
    }

    #[test]
    fn sealed_bytes_of_another_form_are_no_claims() {
        let plain = claims("alice", None).to_bytes();
        assert!(Claims::from_bytes(&plain).is_some(), "the control");
        let name = PLAIN_BYTES - NAME_BYTES_MAX;
        for (at, byte) in [(0, 2), (name - 1, 0), (name - 1, 255), (name, b' '), (name, 0xff)] {
            let mut other = plain.to_vec();
            other[at] = byte;
            assert!(Claims::from_bytes(&other).is_none(), "{byte} at {at}");
        }
    }

    #[test]
    fn a_held_ticket_is_for_one_server_and_one_key() {
        let [one, two] = [1, 2].map(|byte| Fingerprint([byte; 32]));
        let held = HeldTicket::new((&[0; SESSION_TICKET_BYTES], &[7; 32]), one, two).unwrap();
        assert!(held.is_for(&one, &two));
        assert!(!held.is_for(&two, &two) && !held.is_for(&one, &one));
        for bytes in [0, SESSION_TICKET_BYTES_MAX + 1] {
            assert!(HeldTicket::new((&vec![0; bytes], &[7; 32]), one, two).is_none());
        }
    }

    proptest! {
        #[test]
        fn random_bytes_are_no_ticket(
            bytes in prop::collection::vec(any::<u8>(), 0..2 * SESSION_TICKET_BYTES),
        ) {
            prop_assert!(TicketKey::from_bytes([1; 32]).open(&issuer(7), &bytes).is_none());
            // Malformed claims under a valid seal do not panic either.
            let _ = Claims::from_bytes(&bytes);
        }
    }
}
