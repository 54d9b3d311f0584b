//! People's keys over the years: members are told who has another key than before, and devices that
//! have not come for long lose theirs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::house::House;
use crate::chat::Event;
use crate::chat::rights::Role;
use crate::crypto::Fingerprint;
use crate::home::known::{Change, Known};
use crate::home::{self, Decision, FileError, Home, Users};
use crate::sync::{Mutex, MutexGuard, Rank};

pub struct Devices {
    known: Arc<Mutex<Known>>,
    /// A save waits for its turn: it will write what is newest then.
    saving: Arc<AtomicBool>,
}

impl Devices {
    /// What a home remembers, beside who is registered now: gives what has changed meanwhile.
    pub fn open(home: &Home, users: &Users) -> Result<(Devices, Vec<Change>), FileError> {
        let mut known = Known::load(&home.known_file())?;
        known.begin(now_ms());
        let changes = known.compare(users, now_ms());
        known.save(&home.known_file())?;
        Ok((
            Devices {
                known: Arc::new(Mutex::new(Rank::KeyHistory, known)),
                saving: Arc::default(),
            },
            changes,
        ))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }

    /// Has the history written by the thread for records.
    fn save(&self, house: &House) {
        if self.saving.swap(true, Ordering::AcqRel) {
            return;
        }
        let (known, saving) = (Arc::clone(&self.known), Arc::clone(&self.saving));
        let file = house.home().known_file();
        house.records.save(move || {
            saving.store(false, Ordering::Release);
            let known = known.lock().clone();
            if let Err(error) = known.save(&file) {
                log::error!("the history of keys is not saved: {error}");
            }
        });
    }
}

impl House {
    /// Notices who has another key than before, and tells everybody.
    pub(super) fn notice_keys(&self, users: &Users) {
        let changes = self.devices.known().compare(users, now_ms());
        for change in &changes {
            self.record_key(change);
            self.hub.notice_all(&change.to_string());
        }
        // Whoever was here has been told.
        self.see_keys();
    }

    pub(super) fn record_key(&self, change: &Change) {
        let (target, action) = (change.name.as_str(), "another key");
        let reason = change.to_string();
        let reason = Some(reason.as_str());
        self.record(&Decision { actor: "users/", action, target, reason, until_ms: None });
    }

    /// Somebody has come: what they missed of others' keys.
    pub(super) fn missed_keys(&self, key: &Fingerprint) -> Vec<Event> {
        let mut known = self.devices.known();
        let missed = known.missed(key);
        known.see(&[*key], now_ms());
        let notice = |one: Change| Event::Notice { text: one.to_string(), reference: None };
        missed.into_iter().map(notice).collect()
    }

    /// Notes who is here now.
    pub(super) fn see_keys(&self) {
        let here: Vec<_> = self.hub.sessions().iter().map(|(_, queue)| queue.key).collect();
        let mut known = self.devices.known();
        known.begin(now_ms());
        known.see(&here, now_ms());
        drop(known);
        self.devices.save(self);
    }

    /// Keys that were not here for as long as the operator wants are registered no more; of an
    /// owner the last one always is.
    pub(super) fn expire_keys(&self) {
        let Some(span) = self.config().device_expiry else { return };
        let (users, dir) = (self.users(), self.home().users_dir());
        for (name, device, print) in self.devices.known().unseen_since(now_ms() - span.as_ms()) {
            // Each is looked at anew: one that went may have left another as the last.
            let (now, _) = match Users::load(&dir) {
                Ok(read) => read,
                Err(error) => return log::error!("keys stay, as users/ cannot be read: {error}"),
            };
            let is = |key: &&crate::crypto::PublicKey| key.fingerprint().to_string() == print;
            let Some(key) = now.keys_of(&name).find(is) else { continue };
            let last = now.keys_of(&name).count() == 1;
            if last && users.role(&name) == Role::Owner {
                continue;
            }
            let gone = match last {
                true => home::remove(&dir, &name, None).map(|_| ()),
                false => home::remove_key(&dir, key),
            };
            match gone {
                Ok(()) => {
                    let reason = format!("{device}, {print}: not here for {span}");
                    let (target, reason) = (name.as_str(), Some(reason.as_str()));
                    let (actor, action) = ("server", "expire");
                    self.record(&Decision { actor, action, target, reason, until_ms: None });
                }
                Err(error) => log::error!("the key of {name} stays for now: {error}"),
            }
        }
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
