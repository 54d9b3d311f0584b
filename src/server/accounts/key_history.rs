//! History of users' keys: members are notified of changed keys, and unused keys expire.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::chat::rights::Role;
use crate::chat::{DeviceName, Event, TimeSpan, UserName};
use crate::config::Config;
use crate::crypto::{Fingerprint, PublicKey};
use crate::file::FileError;
use crate::home::known::{Change, Known};
use crate::home::{self, Decision, Home, Users};
use crate::server::hub::Hub;
use crate::server::records::Records;
use crate::sync::{Mutex, Rank, Snapshot};

pub struct KeyHistory {
    known: Arc<Mutex<Known>>,
    /// A save is queued: it will write the state at that time.
    saving: Arc<AtomicBool>,
    file: PathBuf,
    users_dir: PathBuf,
    around: Around,
}

/// The parts that the key history uses.
pub struct Around {
    pub config: Arc<Snapshot<Config>>,
    pub users: Arc<Snapshot<Users>>,
    pub hub: Arc<Hub>,
    pub records: Arc<Records>,
}

impl KeyHistory {
    /// Loads the history of a home, compares it with the registered keys, and records what has
    /// changed.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or written.
    pub fn open(home: &Home, around: Around) -> Result<KeyHistory, FileError> {
        let mut known = Known::load(&home.known_file())?;
        known.begin(now_ms());
        known.reassigned(&around.users.get()).iter().for_each(|name| around.hub.ledger.renew(name));
        let changes = known.compare(&around.users.get(), now_ms());
        known.save(&home.known_file())?;
        let history = KeyHistory {
            known: Arc::new(Mutex::new(Rank::KeyHistory, known)),
            saving: Arc::default(),
            file: home.known_file(),
            users_dir: home.users_dir(),
            around,
        };
        changes.iter().for_each(|change| history.record(change));
        Ok(history)
    }

    /// Applied before anybody is admitted with these keys: the new holder of a name must not change
    /// messages of the former one.
    pub fn renew_reassigned(&self, users: &Users) {
        let reassigned = self.known.lock().reassigned(users);
        reassigned.iter().for_each(|name| self.around.hub.ledger.renew(name));
    }

    /// Detects changed keys, and notifies all members.
    pub fn notice(&self, users: &Users) {
        let changes = self.known.lock().compare(users, now_ms());
        for change in &changes {
            self.record(change);
            self.around.hub.notice_all(&change.to_string());
        }
        // Everybody connected has been notified.
        self.see();
    }

    fn record(&self, change: &Change) {
        let (target, action) = (change.name.as_str(), "another key");
        let reason = change.to_string();
        let reason = Some(reason.as_str());
        let actor = "users/";
        self.around.records.record(&Decision { actor, action, target, reason, until_ms: None });
    }

    /// Returns the key changes that a client missed since it was last connected.
    pub fn missed(&self, key: &Fingerprint) -> Vec<Event> {
        let mut known = self.known.lock();
        let missed = known.missed(key);
        known.see(&[*key], now_ms());
        let notice = |one: Change| Event::Notice { text: one.to_string(), reference: None };
        missed.into_iter().map(notice).collect()
    }

    /// Returns the last time at which a user was connected, to the minute; `None` for never.
    pub fn last_connected_ms(&self, name: &UserName) -> Option<i64> {
        self.known.lock().last_connected_ms(name)
    }

    /// Records who is connected now.
    pub fn see(&self) {
        let here: Vec<_> = self.around.hub.sessions().iter().map(|(_, queue)| queue.key).collect();
        let mut known = self.known.lock();
        known.begin(now_ms());
        known.see(&here, now_ms());
        drop(known);
        self.save();
    }

    /// Queues a write of the history on the records thread.
    fn save(&self) {
        if self.saving.swap(true, Ordering::AcqRel) {
            return;
        }
        let (known, saving) = (Arc::clone(&self.known), Arc::clone(&self.saving));
        let file = self.file.clone();
        self.around.records.save(move || {
            saving.store(false, Ordering::Release);
            let known = known.lock().clone();
            if let Err(error) = known.save(&file) {
                log::error!("cannot save the history of keys: {error}");
            }
        });
    }

    /// Removes old notices of changed keys, and keys that were not used for as long as the
    /// configuration says, except the last key of an owner.
    pub fn expire(&self) {
        self.known.lock().expire_changes(now_ms());
        let Some(span) = self.around.config.get().device_expiry else { return };
        let unseen = self.known.lock().unseen_since(now_ms() - span.as_ms());
        for (name, device, print) in unseen {
            // Loaded each time: the removal before may have made this the user's last key.
            let now = match Users::load(&self.users_dir) {
                Ok((now, _)) => now,
                Err(error) => {
                    return log::error!("no keys expire, because users/ cannot be read: {error}");
                }
            };
            let is = |key: &&PublicKey| key.fingerprint().to_string() == print;
            let Some(key) = now.keys_of(&name).find(is) else { continue };
            let last = now.keys_of(&name).count() == 1;
            if last && self.around.users.get().role(&name) == Role::Owner {
                continue;
            }
            let gone = match last {
                true => home::remove(&self.users_dir, &name, None).map(|_| ()),
                false => home::remove_key(&self.users_dir, key),
            };
            match gone {
                Ok(()) => self.record_expired(&name, &device, &print, span),
                Err(error) => log::error!("cannot remove the key of {name}: {error}"),
            }
        }
    }

    fn record_expired(&self, name: &UserName, device: &DeviceName, print: &str, span: TimeSpan) {
        let reason = format!("{device}, {print}: not connected for {span}");
        let (target, reason) = (name.as_str(), Some(reason.as_str()));
        let (actor, action) = ("server", "expire");
        self.around.records.record(&Decision { actor, action, target, reason, until_ms: None });
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
