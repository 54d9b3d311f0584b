//! What the whole server shares besides the hub: the configuration and who is registered.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock, mpsc};

use super::door::Door;
use super::hub::Hub;
use super::stop::Stop;
use crate::chat::{Code, DeviceName, UserName};
use crate::config::Config;
use crate::crypto::PublicKey;
use crate::keyring::{Home, Rejected, Users};
use crate::ledger::{Kept, KeptReader, LedgerError, Swept};

/// The server's shared parts. Sessions hold it, and so do the console and ctl.
pub struct House {
    pub config: Config,
    pub hub: Arc<Hub>,
    /// The ledger's reading half.
    pub reader: Arc<KeptReader>,
    home: Home,
    users: RwLock<Arc<Users>>,
    door: Arc<Door>,
    stop: Arc<Stop>,
    /// What was said about files in users/ that register nobody: each is told once. One reading at
    /// a time holds it, as the watch and an operator's word may coincide.
    told: Mutex<BTreeSet<String>>,
}

impl House {
    pub fn new(
        config: Config,
        hub: Arc<Hub>,
        reader: Arc<KeptReader>,
        home: Home,
        (users, rejected): (Users, Vec<Rejected>),
        door: Arc<Door>,
        stop: Arc<Stop>,
    ) -> Self {
        let users = RwLock::new(Arc::new(users));
        let mut told = BTreeSet::new();
        tell(&mut told, &rejected);
        House { config, hub, reader, home, users, door, stop, told: Mutex::new(told) }
    }

    pub fn door(&self) -> &Door {
        &self.door
    }

    pub fn stop(&self) -> &Arc<Stop> {
        &self.stop
    }

    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Has the ledger's owner do something and waits for it; none where the server stops first.
    pub fn ask_ledger<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Kept) -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = mpsc::channel();
        self.hub.add_job(Box::new(move |ledger| {
            // Who asked may have gone meanwhile.
            let _ = done.send(job(ledger));
        }));
        result.recv().ok()
    }

    /// Removes lines that are older than their place's retention, or only counts them, in short
    /// turns between commits. None where the server stops first.
    pub fn sweep_ledger(&self, now_ms: i64, dry: bool) -> Option<Result<Swept, LedgerError>> {
        let mut all = Swept::default();
        loop {
            match self.ask_ledger(move |ledger| ledger.sweep(now_ms, dry))? {
                Ok(swept) => {
                    all.lines += swept.lines;
                    all.places = all.places.max(swept.places);
                    if !swept.more {
                        return Some(Ok(all));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Who registered this key, if anybody has.
    pub fn admit(&self, key: &PublicKey) -> Option<(UserName, DeviceName)> {
        let users = self.users();
        users.by_key(key).map(|(user, device)| (user.clone(), device.clone()))
    }

    /// The registered spelling of a name, whatever its case.
    pub fn find(&self, name: &UserName) -> Option<UserName> {
        self.users().find(name).cloned()
    }

    /// `SHA256:...` of each of a person's keys.
    pub fn fingerprints(&self, name: &UserName) -> Vec<String> {
        self.users().keys_of(name).map(|key| key.fingerprint().to_string()).collect()
    }

    /// Who is registered now.
    pub fn users(&self) -> Arc<Users> {
        Arc::clone(&self.users.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads users/ again; people whose keys are gone are out at once. Gives what was refused.
    pub fn reload_users(&self) -> std::io::Result<usize> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (new, rejected) = Users::load(&self.home.users_dir())?;
        tell(&mut told, &rejected);
        let new = Arc::new(new);
        let old = {
            let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *users, Arc::clone(&new))
        };
        for (key, name) in new.keys().filter(|(key, _)| old.by_key(key).is_none()) {
            log::info!("{name} is registered with {}", key.fingerprint());
        }
        for (key, name) in old.keys() {
            if new.by_key(key).is_none_or(|(now, _)| now != name) {
                let reason = "your key was removed";
                let ended = self.hub.end_key(&key.fingerprint(), Code::Removed, reason);
                log::info!("a key of {name} is no longer registered: {ended} sessions ended");
            }
        }
        Ok(rejected.len())
    }
}

/// Logs what was not said before, and remembers what holds now.
fn tell(told: &mut BTreeSet<String>, rejected: &[Rejected]) {
    let now: BTreeSet<_> = rejected.iter().map(ToString::to_string).collect();
    now.difference(told).for_each(|file| log::warn!("{file}"));
    *told = now;
}
