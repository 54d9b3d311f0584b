//! The history of people's keys: members are told who has another key than before, and devices that
//! have not connected for long lose theirs.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::chat::rights::Role;
use crate::chat::{DeviceName, Event, TimeSpan, UserName};
use crate::config::Config;
use crate::crypto::{Fingerprint, PublicKey};
use crate::home::known::{Change, Known};
use crate::home::{self, Decision, FileError, Home, Users};
use crate::server::hub::Hub;
use crate::server::records::Records;
use crate::sync::{Mutex, Rank, Snapshot};

pub struct KeyHistory {
    known: Arc<Mutex<Known>>,
    /// A save waits for its turn: it will write what is newest then.
    saving: Arc<AtomicBool>,
    file: PathBuf,
    users_dir: PathBuf,
    around: Around,
}

/// What the history of keys uses.
pub struct Around {
    pub config: Arc<Snapshot<Config>>,
    pub users: Arc<Snapshot<Users>>,
    pub hub: Arc<Hub>,
    pub records: Arc<Records>,
}

impl KeyHistory {
    /// What a home remembers, beside who is registered now: what has changed meanwhile is recorded.
    ///
    /// # Errors
    /// The file cannot be read, or not written.
    pub fn open(home: &Home, around: Around) -> Result<KeyHistory, FileError> {
        let mut known = Known::load(&home.known_file())?;
        known.begin(now_ms());
        known.strangers(&around.users.get()).iter().for_each(|name| around.hub.renew(name));
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

    /// Before anybody is admitted under these keys: who has another person's name may not change
    /// what that person has written.
    pub fn renew_strangers(&self, users: &Users) {
        let strangers = self.known.lock().strangers(users);
        strangers.iter().for_each(|name| self.around.hub.renew(name));
    }

    /// Notices who has another key than before, and tells everybody.
    pub fn notice(&self, users: &Users) {
        let changes = self.known.lock().compare(users, now_ms());
        for change in &changes {
            self.record(change);
            self.around.hub.notice_all(&change.to_string());
        }
        // Whoever was here has been told.
        self.see();
    }

    fn record(&self, change: &Change) {
        let (target, action) = (change.name.as_str(), "another key");
        let reason = change.to_string();
        let reason = Some(reason.as_str());
        let actor = "users/";
        self.around.records.record(&Decision { actor, action, target, reason, until_ms: None });
    }

    /// Somebody has connected: what they missed of others' keys.
    pub fn missed(&self, key: &Fingerprint) -> Vec<Event> {
        let mut known = self.known.lock();
        let missed = known.missed(key);
        known.see(&[*key], now_ms());
        let notice = |one: Change| Event::Notice { text: one.to_string(), reference: None };
        missed.into_iter().map(notice).collect()
    }

    /// Notes who is here now.
    pub fn see(&self) {
        let here: Vec<_> = self.around.hub.sessions().iter().map(|(_, queue)| queue.key).collect();
        let mut known = self.known.lock();
        known.begin(now_ms());
        known.see(&here, now_ms());
        drop(known);
        self.save();
    }

    /// Has the history written by the thread for records.
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
                log::error!("the history of keys is not saved: {error}");
            }
        });
    }

    /// Keys that were not here for as long as the operator wants are registered no more; of an
    /// owner the last one always is.
    pub fn expire(&self) {
        let Some(span) = self.around.config.get().device_expiry else { return };
        let unseen = self.known.lock().unseen_since(now_ms() - span.as_ms());
        for (name, device, print) in unseen {
            // Each is looked at again: one that went may have left another as the last.
            let now = match Users::load(&self.users_dir) {
                Ok((now, _)) => now,
                Err(error) => return log::error!("keys stay, as users/ cannot be read: {error}"),
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
                Err(error) => log::error!("the key of {name} stays for now: {error}"),
            }
        }
    }

    fn record_expired(&self, name: &UserName, device: &DeviceName, print: &str, span: TimeSpan) {
        let reason = format!("{device}, {print}: not here for {span}");
        let (target, reason) = (name.as_str(), Some(reason.as_str()));
        let (actor, action) = ("server", "expire");
        self.around.records.record(&Decision { actor, action, target, reason, until_ms: None });
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
