//! The server's store of device tickets in `data/tickets.json`. It has hashes only, so that a thief
//! of the disk gets no ticket.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::chat::{Ticket, UserName};
use crate::crypto::Fingerprint;
use crate::crypto::password::PasswordHash;
use crate::crypto::ticket::{Digest, fresh};
use crate::file::{FileError, json_file};

/// Validity after the last login with a ticket, in days.
const DAYS: i64 = 30;
/// Stored tickets of one user, the newest. One for each device is enough.
const TICKETS_PER_USER_MAX: usize = 16;

/// The user, key and password that a ticket is bound to.
pub struct Owner<'a> {
    pub user: &'a UserName,
    pub key: Fingerprint,
    pub password: &'a PasswordHash,
}

/// An issued ticket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    ticket: Digest,
    /// The device's key: base64url of its fingerprint.
    key: String,
    /// Of the password's hash.
    password: Digest,
    /// The day of the last login with it, counted since 1970.
    day: i64,
}

/// The tickets of each user, the last used one at the end.
pub type TicketsByUser = BTreeMap<UserName, Vec<Given>>;

#[derive(Default)]
pub struct Tickets {
    users: TicketsByUser,
    /// Changed since the last write.
    changed: bool,
}

impl Owner<'_> {
    fn has(&self, given: &Given) -> bool {
        given.key == self.key.to_url() && given.password == Digest::of_password(self.password)
    }
}

impl Tickets {
    /// Loads the file; empty if it does not exist.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn load(path: &Path) -> Result<Tickets, FileError> {
        let users = json_file::load(path, json_file::LARGE)?.unwrap_or_default();
        Ok(Tickets { users, changed: false })
    }

    /// Returns the digest of a valid ticket of this owner; `None` otherwise.
    pub fn find(&self, owner: &Owner, ticket: &Ticket, today: i64) -> Option<Digest> {
        let digest = Digest::of(ticket);
        let given = self.users.get(owner.user).into_iter().flatten();
        // Compares all, so that the time does not reveal which one it is.
        let fits = |given: &Given| {
            given.ticket.is_same(&digest) & (owner.has(given) && is_recent(given, today))
        };
        (given.filter(|given| fits(given)).count() > 0).then_some(digest)
    }

    /// Issues a ticket to a device after a correct password.
    pub fn give(&mut self, owner: &Owner, today: i64) -> Ticket {
        let ticket = fresh();
        let given = Given {
            ticket: Digest::of(&ticket),
            key: owner.key.to_url(),
            password: Digest::of_password(owner.password),
            day: today,
        };
        let tickets = self.users.entry(owner.user.clone()).or_default();
        tickets.push(given);
        let beyond = tickets.len().saturating_sub(TICKETS_PER_USER_MAX);
        tickets.drain(..beyond);
        self.changed = true;
        ticket
    }

    /// Renews a ticket after a login with it.
    pub fn renew(&mut self, user: &UserName, ticket: Digest, today: i64) {
        let Some(tickets) = self.users.get_mut(user) else { return };
        // It may have been revoked meanwhile.
        let Some(at) = tickets.iter().position(|given| given.ticket == ticket) else { return };
        let given = Given { day: today, ..tickets.remove(at) };
        tickets.push(given);
        self.changed = true;
    }

    /// Moves a user's tickets to another name.
    pub fn rename(&mut self, old: &UserName, new: &UserName) {
        if let Some(moved) = self.users.remove(old) {
            let tickets = self.users.entry(new.clone()).or_default();
            tickets.splice(..0, moved);
            let beyond = tickets.len().saturating_sub(TICKETS_PER_USER_MAX);
            tickets.drain(..beyond);
            self.changed = true;
        }
    }

    /// Removes the tickets that `of` selects by user and key.
    pub fn forget(&mut self, of: impl Fn(&UserName, &Fingerprint) -> bool) {
        self.retain(|user, given| {
            Fingerprint::from_url(&given.key).is_some_and(|key| !of(user, &key))
        });
    }

    /// Returns the new content of the file, if it changed. Removes expired tickets, and those of a
    /// changed password or a removed key.
    pub fn take_changed(
        &mut self,
        today: i64,
        password: impl Fn(&UserName, &Fingerprint) -> Option<PasswordHash>,
    ) -> Option<TicketsByUser> {
        self.retain(|user, given| {
            let key = Fingerprint::from_url(&given.key);
            let now = key.and_then(|key| password(user, &key));
            let same = now.is_some_and(|now| Digest::of_password(&now) == given.password);
            is_recent(given, today) && same
        });
        std::mem::take(&mut self.changed).then(|| self.users.clone())
    }

    fn retain(&mut self, stays: impl Fn(&UserName, &Given) -> bool) {
        for (user, tickets) in &mut self.users {
            let before = tickets.len();
            tickets.retain(|given| stays(user, given));
            self.changed |= tickets.len() < before;
        }
        self.users.retain(|_, tickets| !tickets.is_empty());
    }
}

fn is_recent(given: &Given, today: i64) -> bool {
    today.saturating_sub(given.day) <= DAYS
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    use std::fs;

    const KEY: Fingerprint = Fingerprint([1; 32]);

    fn bob() -> UserName {
        "bob".parse().unwrap()
    }

    fn owner<'a>(user: &'a UserName, password: &'a PasswordHash) -> Owner<'a> {
        Owner { user, key: KEY, password }
    }

    #[test]
    fn a_ticket_is_its_owners_with_that_key_and_password_for_a_month() {
        let (bob, carol) = (bob(), "carol".parse().unwrap());
        let [old, new] =
            ["tea for two", "coffee for two"].map(|text| PasswordHash::of(text).unwrap());
        let mut tickets = Tickets::default();
        let ticket = tickets.give(&owner(&bob, &old), 100);
        let other = Tickets::default().give(&owner(&bob, &old), 100);
        let find = |owner: &Owner, today| tickets.find(owner, &ticket, today).is_some();
        assert!(find(&owner(&bob, &old), 100) && find(&owner(&bob, &old), 130));
        assert!(!find(&owner(&bob, &old), 131), "it is too old");
        assert!(!find(&owner(&bob, &new), 100), "the password is another one");
        assert!(!find(&owner(&carol, &old), 100), "it is bob's");
        assert!(!find(&Owner { key: Fingerprint([2; 32]), ..owner(&bob, &old) }, 100));
        assert!(tickets.find(&owner(&bob, &old), &other, 100).is_none(), "it was not given here");
        let id = tickets.find(&owner(&bob, &old), &ticket, 125).unwrap();
        tickets.renew(&bob, id, 125);
        assert!(tickets.find(&owner(&bob, &old), &ticket, 155).is_some(), "it was used");
    }

    #[test]
    fn the_file_has_hashes_of_few_tickets_that_count() {
        let (bob, password) = (bob(), PasswordHash::of("tea for two").unwrap());
        let other = PasswordHash::of("coffee for two").unwrap();
        let mut tickets = Tickets::default();
        let first = tickets.give(&owner(&bob, &password), 1);
        let given: Vec<_> = (0..40).map(|_| tickets.give(&owner(&bob, &password), 1)).collect();
        let holds = |user: &UserName, _: &Fingerprint| (*user == bob).then(|| password.clone());
        let stored = tickets.take_changed(1, holds).unwrap();
        assert_eq!(tickets.take_changed(1, holds), None, "nothing new");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tickets.json");
        json_file::save_compact(&path, &stored, 0o600).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let load = || Tickets::load(&path).unwrap();
        let found = |ticket| load().find(&owner(&bob, &password), ticket, 1).is_some();
        assert!(
            !found(&first) && given.iter().filter(|one| found(one)).count() == TICKETS_PER_USER_MAX
        );
        assert!(found(given.last().unwrap()), "the newest is there");
        for ticket in &given {
            let secret = STANDARD_NO_PAD.encode(ticket.reveal());
            assert!(!text.contains(&secret), "a secret is on disk");
        }
        // Whatever makes one worthless removes it from the file.
        let none = Some(TicketsByUser::new());
        assert_eq!(load().take_changed(32, holds), none, "too old");
        assert_eq!(load().take_changed(1, |_, _| None), none, "not registered, or banned");
        let changed = load().take_changed(1, |_, _| Some(other.clone()));
        assert_eq!(changed, none, "another password");
        let mut kicked = load();
        kicked.forget(|user, _| *user == bob);
        assert_eq!(kicked.take_changed(1, holds), none);
        fs::write(&path, "[]").unwrap();
        assert!(matches!(Tickets::load(&path), Err(FileError::Damaged { .. })));
    }

    #[test]
    fn the_ticket_that_was_used_last_is_the_last_to_go() {
        let (bob, password) = (bob(), PasswordHash::of("tea for two").unwrap());
        let mut tickets = Tickets::default();
        let first = tickets.give(&owner(&bob, &password), 1);
        let second = tickets.give(&owner(&bob, &password), 1);
        let id = tickets.find(&owner(&bob, &password), &first, 1).unwrap();
        (2..TICKETS_PER_USER_MAX).for_each(|_| drop(tickets.give(&owner(&bob, &password), 1)));
        tickets.renew(&bob, id, 1);
        tickets.give(&owner(&bob, &password), 1);
        let find = |ticket| tickets.find(&owner(&bob, &password), ticket, 1).is_some();
        assert!(find(&first) && !find(&second));
    }
}
