//! The registered users as users/ was last read, and the effects of a change on live sessions.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::directory::Directory;
use super::key_history::KeyHistory;
use super::vanished::{Missing, Vanished};
use crate::chat::{Code, DeviceName, UserName};
use crate::crypto::PublicKey;
use crate::home::sanctions::Subject;
use crate::home::{Decision, Rejected, Users};
use crate::server::access::Access;
use crate::server::hub::Hub;
use crate::server::records::Records;
use crate::sync::{Mutex, Snapshot};

/// The reason sent to users whose password was changed.
pub const PASSWORD_CHANGED: &str = "your password was changed: log in again";

/// Registered users, and the parts that are notified of changes.
pub struct Accounts {
    pub dir: PathBuf,
    pub users: Arc<Snapshot<Users>>,
    pub hub: Arc<Hub>,
    pub access: Arc<Access>,
    pub directory: Arc<Directory>,
    pub key_history: Arc<KeyHistory>,
    pub records: Arc<Records>,
    /// Problems with files in users/ that were logged: each is logged once. One reading at a time
    /// holds it, as the watch and an operator's command may coincide.
    pub logged: Mutex<BTreeSet<String>>,
    /// Keys whose files are gone, which the next reading removes.
    pub vanished: Vanished,
}

impl Accounts {
    /// Returns the registered users.
    pub fn get(&self) -> Arc<Users> {
        self.users.get()
    }

    /// Returns the user and the device that a key is registered for.
    pub fn admit(&self, key: &PublicKey) -> Option<(UserName, DeviceName)> {
        let users = self.get();
        let registered = users.by_key(key).filter(|_| !self.vanished.contains(key));
        registered.map(|(user, device)| (user.clone(), device.clone()))
    }

    /// Returns the registered spelling of a name, whatever its case.
    pub fn find(&self, name: &UserName) -> Option<UserName> {
        self.get().find(name).cloned()
    }

    /// Returns the fingerprints (`SHA256:...`) of a user's keys.
    pub fn fingerprints(&self, name: &UserName) -> Vec<String> {
        self.get().keys_of(name).map(|key| key.fingerprint().to_string()).collect()
    }

    /// Reads users/ again; sessions that may not go on end before anything else is done. Returns
    /// what was refused, and why.
    ///
    /// # Errors
    ///
    /// Fails if the folder cannot be read; then nothing changes.
    pub fn reload(&self) -> io::Result<Vec<String>> {
        self.reload_if(|_| Ok(()))
    }

    /// Does the same if `check` accepts the result.
    ///
    /// # Errors
    ///
    /// Fails if the folder cannot be read, or with the error of `check`; then nothing changes.
    pub fn reload_if<E: From<io::Error>>(
        &self,
        check: impl FnOnce(&Users) -> Result<(), E>,
    ) -> Result<Vec<String>, E> {
        let mut logged = self.logged.lock();
        let (new, rejected) = Users::load_over(&self.dir, Some(&self.get()))?;
        check(&new)?;
        self.key_history.renew_reassigned(&new);
        let old = self.users.set(new);
        self.vanished.clear();
        let new = self.get();
        self.end_removed(&old, &new);
        self.access.turn_out();
        log_rejected(&mut logged, &rejected, &new);
        self.announce_admitted(&old, &new);
        for name in new.names().filter(|name| new.role(name) != old.role(name)) {
            let role = new.role(name);
            log::info!("{name} is {role} now");
            self.record("role", name, Some(&role.to_string()));
        }
        self.key_history.notice(&new);
        Ok(rejected.iter().map(ToString::to_string).collect())
    }

    /// Ends the sessions of keys whose files are gone, whatever a reading that is under way has
    /// still to read.
    pub fn end_vanished(&self, before: &mut Missing) {
        for key in self.vanished.find(&self.dir, &self.users, before) {
            self.hub.end_key(&key.fingerprint(), Code::Removed, "your key was removed");
        }
    }

    /// Ends the sessions of keys that are no longer registered, and those from before a change of
    /// the password.
    fn end_removed(&self, old: &Users, new: &Users) {
        for (key, name) in old.keys() {
            if new.by_key(key).is_none_or(|(now, _)| now != name) {
                let reason = "your key was removed";
                let ended = self.hub.end_key(&key.fingerprint(), Code::Removed, reason);
                log::info!("a key of {name} was removed: {ended} sessions ended");
                let print = key.fingerprint().to_string();
                self.record("removed", name, Some(&print));
            }
        }
        for name in new.names() {
            let (old, new) = (old.settings(name).password, new.settings(name).password);
            if old == new {
                continue;
            }
            if new.is_some() {
                let subject = Subject::User(name.clone());
                self.access.end_subject(&subject, Code::Password, PASSWORD_CHANGED, None);
            }
            log::info!("{name} has {} password now", if new.is_some() { "a new" } else { "no" });
            self.record("password", name, None);
        }
    }

    /// Sends members the keys that were registered, or moved to another name.
    fn announce_admitted(&self, old: &Users, new: &Users) {
        let is_new = |(key, name): &(&PublicKey, &UserName)| {
            old.by_key(key).is_none_or(|(before, _)| before != *name)
        };
        for (key, name) in new.keys().filter(is_new) {
            let print = key.fingerprint();
            log::info!("{name} is registered with {print}");
            self.record("admitted", name, Some(&print.to_string()));
            // Clients with messages for this user check the key before they send them.
            let keys = self.directory.keys_of(new, name, &None);
            for (_, queue) in self.hub.sessions() {
                keys.iter().for_each(|event| self.hub.delivery.answer(&queue, event));
            }
        }
    }

    /// Records a change in users/ by any process.
    fn record(&self, action: &str, name: &UserName, reason: Option<&str>) {
        let (actor, target) = ("users/", name.as_str());
        self.records.record(&Decision { actor, action, target, reason, until_ms: None });
    }
}

/// Logs faults that were not logged before, and remembers them.
pub fn log_rejected(logged: &mut BTreeSet<String>, rejected: &[Rejected], users: &Users) {
    let rejected = rejected.iter().map(ToString::to_string);
    let now: BTreeSet<_> = rejected.chain(users.warnings()).collect();
    now.difference(logged).for_each(|file| log::warn!("{file}"));
    *logged = now;
}
