//! History of users' keys: members are notified of changed keys, and unused keys expire.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;

use anyhow::Context as _;

use crate::chat::rights::Role;
use crate::chat::{DeviceName, Event, TimeSpan, UserName};
use crate::config::Config;
use crate::crypto::{Fingerprint, PublicKey};
use crate::home::known::{Change, Known};
use crate::home::{self, Decided, Decision, Home, Users};
use crate::ledger::LedgerError;
use crate::server::decisions::Decisions;
use crate::server::hub::Hub;
use crate::server::passwords::Passwords;
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
    pub decided: Arc<Decided>,
    pub decisions: Arc<Decisions>,
    pub passwords: Arc<Passwords>,
}

impl KeyHistory {
    /// Loads the history of a home, compares it with the registered keys, and records what has
    /// changed.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or written, or if the ledger cannot store that a name has
    /// another user.
    pub fn open(home: &Home, around: Around) -> anyhow::Result<KeyHistory> {
        let mut known = Known::load(&home.known_file())?;
        known.begin(now_ms());
        let history = KeyHistory {
            known: Arc::new(Mutex::new(Rank::KeyHistory, known)),
            saving: Arc::default(),
            file: home.known_file(),
            users_dir: home.users_dir(),
            around,
        };
        let users = history.around.users.get();
        for (old, new) in history.renamed(&users) {
            history.rename(&old, &new);
        }
        // The saved history has the new users: no later start would find them again.
        for one in history.renew_all(&users) {
            one.recv().context("the commit thread has ended")??;
        }
        let changes = history.known.lock().compare(&users, now_ms());
        let known = history.known.lock().clone();
        known.save(&home.known_file())?;
        changes.iter().for_each(|change| history.record(change));
        Ok(history)
    }

    /// Returns users who were renamed, and whose conversations have not moved yet: the former and
    /// the new name.
    pub fn renamed(&self, users: &Users) -> Vec<(UserName, UserName)> {
        self.known.lock().renamed(users)
    }

    /// Moves what belongs to a user, whose sessions have ended, to another name. Bans, mutes and
    /// device tickets move at once. If the conversations cannot be moved, the history has the
    /// former name until a later call moves them. Returns the notice for members.
    pub fn rename(&self, old: &UserName, new: &UserName) -> Option<String> {
        let Around { hub, decided, decisions, records, passwords, .. } = &self.around;
        let ((), rest) = decided.decide(|decisions| decisions.rename(old, new));
        let written = Arc::clone(decided);
        decisions.write(move || written.write(&rest));
        passwords.tickets.lock().rename(old, new);
        if self.known.lock().had(new) {
            // Messages in channels are of an earlier user with this name.
            drop(hub.ledger.renew(new));
        }
        let kept = hub.rename(old, new)?;
        if !kept.is_empty() {
            let kept: Vec<String> = kept.iter().map(ToString::to_string).collect();
            log::warn!(
                "these conversations of {old} stay under this name, because {new} has messages of \
                 an earlier user with the same person, or they are damaged: {}",
                kept.join(", ")
            );
        }
        // The next user with the former name must not change messages in channels.
        drop(hub.ledger.renew(old));
        let change = self.known.lock().rename(old, new, now_ms())?;
        log::info!("{old} is called {new} now");
        let (actor, action, target) = ("users/", "rename", old.as_str());
        let reason = Some(new.as_str());
        records.record(&Decision { actor, action, target, reason, until_ms: None });
        self.save();
        Some(change.to_string())
    }

    /// Applied before anybody is admitted with these keys: the new holder of a name must not change
    /// messages of the former one.
    pub fn renew_reassigned(&self, users: &Users) {
        drop(self.renew_all(users));
    }

    fn renew_all(&self, users: &Users) -> Vec<Receiver<Result<(), LedgerError>>> {
        let reassigned = self.known.lock().reassigned(users);
        reassigned.iter().map(|name| self.around.hub.ledger.renew(name)).collect()
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    use super::*;
    use crate::chat::registry::{Epochs, Registry};
    use crate::chat::{Epoch, Seq};
    use crate::crypto::test_keys::spare;
    use crate::home::{Audit, add};
    use crate::ledger::{Memory, SplitLedger};
    use crate::server::delivery::flusher::Flusher;
    use crate::server::passwords::tickets::Tickets;
    use crate::server::{commit, hub};

    fn around(home: &Home) -> Around {
        let config = Config::default();
        let ids = Epochs { persistent: Epoch(1), ephemeral: Epoch(2), next: Epoch(3) };
        let registry = Registry::new(hub::rules(&config), ids, Seq(0));
        let hub = Arc::new(Hub::new(registry, &config.limits, Flusher::new().unwrap().0));
        let users = Arc::new(Snapshot::new(Users::load(&home.users_dir()).unwrap().0));
        let config = Arc::new(Snapshot::new(config));
        let records = Arc::new(Records::start(Audit::of(home), Arc::clone(&config)).unwrap());
        let decided = Arc::new(Decided::open(home.decisions_file()).unwrap());
        let decisions = Arc::new(Decisions::start().unwrap());
        let passwords = Arc::new(Passwords::new(Arc::clone(&hub), Tickets::default()));
        Around { config, users, hub, records, decided, decisions, passwords }
    }

    /// The start of a server. Without a commit thread the ledger stores nothing.
    fn opens(home: &Home, has_commit_thread: bool) -> bool {
        let around = around(home);
        let hub = Arc::clone(&around.hub);
        if !has_commit_thread {
            hub.ledger.abandon_jobs();
            return KeyHistory::open(home, around).is_ok();
        }
        let memory = Memory::new(Epoch(1), (1 << 20, 1 << 30), 60);
        let (ledger, _) = SplitLedger::new(None, memory, Config::default().retentions());
        thread::scope(|scope| {
            scope.spawn(|| commit::run(&hub, ledger));
            let opened = KeyHistory::open(home, around).is_ok();
            hub.ledger.close();
            opened
        })
    }

    #[test]
    fn the_history_has_a_new_user_of_a_name_only_after_the_ledger() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        for name in ["users", "keys", "data"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let gives = |key| {
            let bob = "bob".parse().unwrap();
            add(&home.users_dir(), spare(key).public(), &bob, None, key > 0).unwrap();
        };
        let is_reassigned = || {
            let known = Known::load(&home.known_file()).unwrap();
            !known.reassigned(&Users::load(&home.users_dir()).unwrap().0).is_empty()
        };
        gives(0);
        assert!(opens(&home, false), "a first user changes no messages");
        assert!(!is_reassigned());
        gives(1);
        assert!(!opens(&home, false));
        assert!(is_reassigned(), "the next start finds it again");
        assert!(opens(&home, true));
        assert!(!is_reassigned());
    }

    #[test]
    fn a_rename_that_failed_is_done_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        for name in ["users", "keys", "data"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let (bob, robert) = ("bob".parse().unwrap(), "robert".parse().unwrap());
        add(&home.users_dir(), spare(0).public(), &bob, None, false).unwrap();
        let unmoved = || {
            let users = Users::load(&home.users_dir()).unwrap().0;
            Known::load(&home.known_file()).unwrap().renamed(&users).len()
        };
        assert!(opens(&home, true));
        home::rename(&home.users_dir(), &bob, &robert).unwrap();
        for _ in 0..2 {
            assert!(opens(&home, false), "the server starts all the same");
            assert_eq!(unmoved(), 1);
        }
        assert!(opens(&home, true));
        assert_eq!(unmoved(), 0);
    }
}
