//! The registered users as users/ was last read, and the effects of a change on live sessions.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::directory::Directory;
use super::key_history::KeyHistory;
use super::vanished::{Missing, Vanished};
use crate::chat::{Code, DeviceName, Event, UserName};
use crate::crypto::PublicKey;
use crate::home::sanctions::Subject;
use crate::home::{self, AddError, Decision, Rejected, Users};
use crate::server::access::Access;
use crate::server::hub::{self, Hub};
use crate::server::records::Records;
use crate::sync::{Mutex, MutexGuard, Snapshot};

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
    /// Held while users are renamed. Logins wait for it, so that no session begins under a former
    /// name, or before the user's conversations have moved.
    pub renaming: Mutex<()>,
}

/// A user who has another name.
pub struct Renamed {
    /// The former name, as it was registered.
    pub old: UserName,
    /// Whether the conversations have moved; otherwise a later reading of users/ moves them.
    pub moved: bool,
}

/// Time for the sessions of a renamed user to end.
const LEAVE_TIME: Duration = Duration::from_secs(2);

impl Accounts {
    /// Returns the registered users.
    pub fn get(&self) -> Arc<Users> {
        self.users.get()
    }

    /// Returns the user and the device that a key is registered for.
    pub fn admit(&self, key: &PublicKey) -> Option<(UserName, DeviceName)> {
        drop(self.renaming.lock());
        let users = self.get();
        let registered = users.by_key(key).filter(|_| !self.vanished.contains(key));
        registered.map(|(user, device)| (user.clone(), device.clone()))
    }

    /// Starts a session under the name that its key has now, which the login may have got before;
    /// otherwise returns the event that ends the connection: the user was renamed meanwhile.
    pub fn begin<T>(
        &self,
        key: &PublicKey,
        user: &UserName,
        session: impl FnOnce() -> T,
    ) -> Result<T, Box<Event>> {
        let _renaming = self.renaming.lock();
        let users = self.get();
        // A removed key is found after the start.
        match users.by_key(key).filter(|(now, _)| *now != user) {
            Some((new, _)) => Err(Box::new(renamed_to(new))),
            None => Ok(session()),
        }
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
        self.read(&mut logged, None, check)
    }

    /// Gives a user another name: renames the files in users/, and reads them. Sessions of the user
    /// end, and their clients may log in again at once.
    ///
    /// # Errors
    ///
    /// Fails if the new name is taken, or a file cannot be renamed; then nothing changes.
    pub fn rename(&self, old: &UserName, new: &UserName) -> Result<Renamed, AddError> {
        let mut logged = self.logged.lock();
        let old = home::may_rename(&self.dir, old, new)?;
        let renaming = self.renaming.lock();
        // Before the remover finds that the files under the former name are gone.
        self.end_renamed(&old, new);
        home::rename(&self.dir, &old, new)?;
        self.read(&mut logged, Some(renaming), |_| Ok::<(), AddError>(()))?;
        let moved = !self.has_unmoved();
        Ok(Renamed { old, moved })
    }

    /// Returns whether the conversations of a renamed user could not be moved yet.
    pub fn has_unmoved(&self) -> bool {
        !self.key_history.renamed(&self.get()).is_empty()
    }

    fn read<E: From<io::Error>>(
        &self,
        logged: &mut BTreeSet<String>,
        renaming: Option<MutexGuard<()>>,
        check: impl FnOnce(&Users) -> Result<(), E>,
    ) -> Result<Vec<String>, E> {
        let (new, rejected) = Users::load_over(&self.dir, Some(&self.get()))?;
        check(&new)?;
        let renamed = self.key_history.renamed(&new);
        let locks = || (!renamed.is_empty()).then(|| self.renaming.lock());
        let renaming = renaming.or_else(locks);
        for (old, new) in &renamed {
            self.end_renamed(old, new);
        }
        let old = self.users.set(new);
        self.vanished.clear();
        let new = self.get();
        let notices = renamed.iter().filter_map(|(old, new)| self.key_history.rename(old, new));
        let notices: Vec<String> = notices.collect();
        drop(renaming);
        self.key_history.renew_reassigned(&new);
        notices.iter().for_each(|notice| self.hub.notice_all(notice));
        self.end_removed((&old, &new), &renamed);
        self.access.turn_out();
        log_rejected(logged, &rejected, &new);
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

    /// Ends the sessions of a user who is renamed, and waits until they have left. If the
    /// conversations could not be moved before, some may have the new name.
    fn end_renamed(&self, old: &UserName, new: &UserName) {
        let event = renamed_to(new);
        let deadline = Instant::now() + LEAVE_TIME;
        loop {
            let mut sessions = self.hub.sessions();
            sessions.retain(|(user, _)| user == old || user == new);
            if sessions.is_empty() || Instant::now() >= deadline {
                return;
            }
            for (_, queue) in &sessions {
                queue.end(Some(&event), &hub::word(Code::Renamed));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends the sessions of keys that are no longer registered, and those from before a change of
    /// the password. Those of renamed users have ended.
    fn end_removed(&self, (old, new): (&Users, &Users), renamed: &[(UserName, UserName)]) {
        let is_renamed = |name: &UserName, now: &UserName| {
            renamed.iter().any(|(before, after)| before == name && after == now)
        };
        for (key, name) in old.keys() {
            let now = new.by_key(key).map(|(now, _)| now);
            if now.is_some_and(|now| is_renamed(name, now)) {
                continue;
            }
            if new.by_key(key).is_none_or(|(now, _)| now != name) {
                let reason = "your key was removed";
                let ended = self.hub.end_key(&key.fingerprint(), Code::Removed, reason);
                log::info!("a key of {name} was removed: {ended} sessions ended");
                let print = key.fingerprint().to_string();
                self.record("removed", name, Some(&print));
            }
        }
        let is_new = |name: &&UserName| renamed.iter().any(|(_, after)| after == *name);
        for name in new.names().filter(|name| !is_new(name)) {
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

/// Ends a session of a renamed user, whose client may log in again at once.
fn renamed_to(new: &UserName) -> Event {
    let reason = format!("the operator has renamed you to {new}");
    Event::Goodbye { code: Code::Renamed, reason, retry_ms: Some(0) }
}

/// Logs faults that were not logged before, and remembers them.
pub fn log_rejected(logged: &mut BTreeSet<String>, rejected: &[Rejected], users: &Users) {
    let rejected = rejected.iter().map(ToString::to_string);
    let now: BTreeSet<_> = rejected.chain(users.warnings()).collect();
    now.difference(logged).for_each(|file| log::warn!("{file}"));
    *logged = now;
}
