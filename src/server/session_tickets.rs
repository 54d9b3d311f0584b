//! Session tickets, with which logins need no RSA operation (docs/protocol.md, "Session tickets").
//! The server stores no tickets, only the keys that seal them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::chat::{Event, Opaque, Ticket, UserName};
use crate::crypto::password::PasswordHash;
use crate::crypto::session_ticket::{self, Claims, Issuer};
use crate::crypto::{Fingerprint, PublicKey};
use crate::home::{Home, ServerKeys, TicketKeys};
use crate::limits::{SESSION_TICKET_PROVEN_S_MAX, SESSION_TICKET_S_MAX};
use crate::sync::Snapshot;

/// Issues and checks tickets.
pub struct SessionTickets {
    home: Home,
    keys: Snapshot<TicketKeys>,
    host_keys: Arc<Snapshot<ServerKeys>>,
    /// The epoch of the ledger when this process began; 0 if nothing is stored.
    epoch: u64,
    /// The version of the keys that are on disk.
    stored: AtomicUsize,
}

/// The login that a valid ticket replaces.
pub struct Resumed {
    pub key: PublicKey,
    pub secret: session_ticket::Secret,
    /// When the client last proved its key, in seconds since 1970.
    pub proven_s: u64,
}

/// The user, the key and the password of a login.
pub struct Holder {
    pub user: UserName,
    pub key: Fingerprint,
    pub password: Option<PasswordHash>,
    /// When the client last proved its key, in seconds since 1970.
    pub proven_s: u64,
}

impl SessionTickets {
    /// Loads the keys, or makes new ones. New keys make all earlier tickets invalid: each client
    /// logs in with its RSA key once.
    pub fn open(home: &Home, host_keys: Arc<Snapshot<ServerKeys>>, epoch: u64) -> SessionTickets {
        let own = Arc::clone(&host_keys.get().own);
        let read = home.ticket_keys(&own).unwrap_or_else(|error| {
            ::log::error!("the ticket keys cannot be read: {error}");
            None
        });
        let is_new = read.is_none();
        let keys = read.unwrap_or_else(|| TicketKeys::new(own.public().fingerprint(), now_s()));
        let keys = Snapshot::new(keys);
        let stored = AtomicUsize::new(if is_new { usize::MAX } else { keys.version() });
        let tickets = SessionTickets { home: home.clone(), keys, host_keys, epoch, stored };
        tickets.renew();
        tickets.store();
        tickets
    }

    /// Makes the next key if it is due, in memory. Runs on one thread at a time.
    pub fn renew(&self) {
        let (keys, server, now_s) = (self.keys.get(), self.server(), now_s());
        if keys.is_due(&server, now_s) {
            self.keys.set(keys.next(server, now_s));
        }
    }

    /// Writes the keys if they are not on disk yet.
    pub fn store(&self) {
        let version = self.keys.version();
        if self.stored.load(Ordering::Acquire) == version {
            return;
        }
        let (own, keys) = (Arc::clone(&self.host_keys.get().own), self.keys.get());
        // After a change of the server's key, `renew` comes first.
        if !keys.are_of(&own.public().fingerprint()) {
            return;
        }
        match self.home.keep_ticket_keys(&own, &keys) {
            Ok(()) => self.stored.store(version, Ordering::Release),
            Err(error) => ::log::error!(
                "the ticket keys cannot be written, so tickets expire with this process: {error}"
            ),
        }
    }

    fn server(&self) -> Fingerprint {
        self.host_keys.get().own.public().fingerprint()
    }

    fn issuer(&self) -> Issuer {
        Issuer { server: self.server(), epoch: self.epoch }
    }

    /// Returns a ticket for the next login; `None` if the key was proven too long ago, or after a
    /// change of the server's key, until there is a ticket key for the new one.
    pub fn issue(&self, holder: &Holder) -> Option<Event> {
        let (keys, issuer, now_s) = (self.keys.get(), self.issuer(), now_s());
        let until_s = (now_s + SESSION_TICKET_S_MAX)
            .min(holder.proven_s.saturating_add(SESSION_TICKET_PROVEN_S_MAX));
        if until_s <= now_s || !keys.are_of(&issuer.server) {
            return None;
        }
        let secret = session_ticket::fresh_secret(&holder.key);
        let claims = Claims {
            user: holder.user.clone(),
            key: holder.key,
            password: holder.password.as_ref().map(session_ticket::password_digest),
            secret: secret.clone(),
            proven_s: holder.proven_s,
            until_s,
        };
        let ticket = keys.seal(&issuer, &claims);
        let ticket = Opaque::new(&ticket).expect("a ticket has bytes");
        Some(Event::SessionTicket { ticket, secret: Ticket::new(*secret) })
    }

    /// Opens a ticket that was presented under this key of the server, and checks its times.
    pub fn read(&self, ticket: &[u8], server: &Fingerprint) -> Option<Claims> {
        let (keys, issuer) = (self.keys.get(), self.issuer());
        // A thief of the former server key may also have its ticket keys.
        if issuer.server != *server || !keys.are_of(server) {
            return None;
        }
        let now_s = now_s();
        let claims = keys.open(&issuer, ticket, now_s)?;
        is_current(&claims, now_s).then_some(claims)
    }
}

/// Returns whether a ticket is valid now. Times in the future are refused: the clock was set back.
fn is_current(claims: &Claims, now_s: u64) -> bool {
    let lives = (now_s + 1..=now_s + SESSION_TICKET_S_MAX).contains(&claims.until_s);
    let age_s = now_s.checked_sub(claims.proven_s);
    lives && age_s.is_some_and(|age_s| age_s < SESSION_TICKET_PROVEN_S_MAX)
}

/// Seconds since 1970.
pub fn now_s() -> u64 {
    jiff::Timestamp::now().as_second().max(0).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_has_its_time() {
        let (day, week) = (SESSION_TICKET_S_MAX, SESSION_TICKET_PROVEN_S_MAX);
        let now = 100 * day;
        let current = |proven_s: u64, until_s: u64| {
            let (user, key) = ("alice".parse().unwrap(), Fingerprint([5; 32]));
            let secret = session_ticket::fresh_secret(&key);
            is_current(&Claims { user, key, password: None, secret, proven_s, until_s }, now)
        };
        for (proven_s, until_s, valid) in [
            (now, now + 1, true),
            (now, now, false),
            (now, now + day, true),
            (now, now + day + 1, false),
            (now + 1, now + 1, false),
            (now - week + 1, now + 1, true),
            (now - week, now + 1, false),
            (0, 0, false),
            (u64::MAX, u64::MAX, false),
        ] {
            assert_eq!(current(proven_s, until_s), valid, "{proven_s} {until_s}");
        }
    }

    #[test]
    fn a_ticket_is_for_one_key_of_the_server_one_log_and_ends_with_its_proof() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        home.make_folders().unwrap();
        let keys = Arc::new(Snapshot::new(home.make_server_key().unwrap()));
        let tickets = |epoch: u64| SessionTickets::open(&home, Arc::clone(&keys), epoch);
        let (user, key): (UserName, _) = ("alice".parse().unwrap(), Fingerprint([5; 32]));
        let holder = |proven_s| Holder { user: user.clone(), key, password: None, proven_s };
        let Some(Event::SessionTicket { ticket, secret }) = tickets(7).issue(&holder(now_s()))
        else {
            panic!("no ticket")
        };
        let server = tickets(7).server();
        // Another process has the same keys.
        let claims = tickets(7).read(ticket.bytes(), &server).unwrap();
        assert!(claims.user == user && claims.key == key && *claims.secret == *secret.reveal());
        assert!(tickets(8).read(ticket.bytes(), &server).is_none());
        assert!(tickets(7).read(ticket.bytes(), &Fingerprint([1; 32])).is_none());
        let long_ago = now_s() - SESSION_TICKET_PROVEN_S_MAX;
        assert!(tickets(7).issue(&holder(long_ago)).is_none());
        assert!(tickets(7).issue(&holder(long_ago + 60)).is_some());
    }

    #[test]
    fn a_ticket_ends_with_the_servers_key() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        home.make_folders().unwrap();
        let keys = Arc::new(Snapshot::new(home.make_server_key().unwrap()));
        let tickets = SessionTickets::open(&home, Arc::clone(&keys), 7);
        let (user, key): (UserName, _) = ("alice".parse().unwrap(), Fingerprint([5; 32]));
        let holder = Holder { user: user.clone(), key, password: None, proven_s: now_s() };
        let Some(Event::SessionTicket { ticket, .. }) = tickets.issue(&holder) else {
            panic!("no ticket")
        };
        let old = tickets.server();
        assert!(tickets.read(ticket.bytes(), &old).is_some(), "the control");
        keys.set(home.rotate_server_key(0, i64::MAX).unwrap());
        for server in [old, tickets.server()] {
            assert!(tickets.read(ticket.bytes(), &server).is_none());
        }
        let secret = session_ticket::fresh_secret(&key);
        let (proven_s, until_s) = (now_s(), now_s() + 60);
        let claims = Claims { user: user.clone(), key, password: None, secret, proven_s, until_s };
        let forged = tickets.keys.get().seal(&tickets.issuer(), &claims);
        assert!(tickets.read(&forged, &tickets.server()).is_none(), "sealed under a stolen key");
        assert!(tickets.issue(&holder).is_none(), "before there is a key for the new one");
        tickets.renew();
        tickets.store();
        assert!(tickets.issue(&holder).is_some());
        assert!(tickets.read(ticket.bytes(), &tickets.server()).is_none());
        assert!(home.ticket_keys(&keys.get().own).unwrap().is_some());
    }
}
