//! What the whole server shares besides the hub: the configuration and who is registered.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::Context;
use log::LevelFilter;

use super::delivery::send_queue::SendQueue;
use super::devices::Devices;
use super::directory::Directory;
use super::door::Door;
use super::door::permits::Permits;
use super::guesses::{Guess, Guesses};
use super::hub::{self, Hub};
use super::liveness;
use super::prompts::{Place, Prompt, Prompts, Wait};
use super::readers::Readers;
use super::records::Records;
use super::second::{self, Asker};
use super::stop::Stop;
use crate::chat::rights::{Role, State};
use crate::chat::{Code, DeviceName, Event, Opaque, Refusal, Retention, UserName};
use crate::config::{Config, IpRange, admits};
use crate::crypto::{Fingerprint, PublicKey};
use crate::home::sanctions::{Decided, Kind, Sanction, Subject, Whom};
use crate::home::{Audit, Decision, Home, Rejected, Users, file};
use crate::ledger::{Kept, LedgerError, Swept};
use crate::sync::{Mutex, Rank, Snapshot};

/// Passwords that are hashed at once, 19 MiB each, and those that may wait for it.
const HASHES_AT_ONCE: usize = 2;
const HASHES_WAITING_MAX: usize = 64;

/// The server's shared parts. Sessions hold it, and so do the console and ctl.
pub struct House {
    config: Snapshot<Config>,
    pub hub: Arc<Hub>,
    /// Who reads the ledger for sessions.
    pub readers: Arc<Readers>,
    home: Home,
    /// What operators have decided while the server ran.
    pub decided: Decided,
    /// What is sealed for whom.
    pub directory: Directory,
    users: Snapshot<Users>,
    /// What is remembered of people's keys.
    pub(super) devices: Devices,
    door: Arc<Door>,
    stop: Arc<Stop>,
    /// What is written down beside the chat.
    pub(super) records: Records,
    guesses: Mutex<Guesses>,
    /// Connections that are asked for a password now.
    prompts: Prompts<Arc<SendQueue>>,
    hashing: Permits,
    /// The command line's, which wins over the configuration's.
    log_level: Option<LevelFilter>,
    /// What was said about files in users/ that register nobody: each is told once. One reading at
    /// a time holds it, as the watch and an operator's word may coincide.
    told: Mutex<BTreeSet<String>>,
    /// An operator has had old lines removed.
    swept: AtomicBool,
}

impl House {
    /// With what the home says about people.
    pub fn open(
        config: Config,
        log_level: Option<LevelFilter>,
        hub: Arc<Hub>,
        readers: Arc<Readers>,
        home: Home,
        door: Arc<Door>,
        stop: Arc<Stop>,
    ) -> anyhow::Result<Self> {
        let (users, rejected) = Users::load(&home.users_dir())
            .with_context(|| format!("cannot read {}", home.users_dir().display()))?;
        let decided = Decided::open(home.decisions_file())?;
        let directory = Directory::open(home.certificates_file())?;
        let (devices, changes) = Devices::open(&home, &users)?;
        let records = Records::start(Audit::of(&home))?;
        let mut told = BTreeSet::new();
        tell(&mut told, &rejected);
        let house = House {
            config: Snapshot::new(config),
            hub,
            readers,
            home,
            decided,
            directory,
            users: Snapshot::new(users),
            devices,
            door,
            stop,
            records,
            guesses: Mutex::new(Rank::Guesses, Guesses::default()),
            prompts: Prompts::default(),
            hashing: Permits::new(HASHES_AT_ONCE, HASHES_WAITING_MAX),
            log_level,
            told: Mutex::new(Rank::Users, told),
            swept: AtomicBool::new(false),
        };
        changes.iter().for_each(|change| house.record_key(change));
        Ok(house)
    }

    /// The configuration that holds now.
    pub fn config(&self) -> Arc<Config> {
        self.config.get()
    }

    /// Another configuration from now on, for those who are here too. One whose log cannot be written
    /// changes nothing.
    pub fn retune(&self, config: Config) -> anyhow::Result<()> {
        super::observe::log::apply(&config, self.log_level, &self.home)?;
        self.hub.retune(&config);
        self.door.retune(&config);
        self.config.set(config);
        self.turn_out();
        Ok(())
    }

    /// What keeps a person out who holds a registered key, and how their client is told.
    pub fn bars(&self, whom: Whom) -> Option<Event> {
        let (_, state, why) = self.standing(whom);
        if state == State::Banned {
            let reason = why.unwrap_or_default();
            return Some(Event::Goodbye { code: Code::Banned, reason, retry_ms: None });
        }
        let (address, config) = (whom.address?, self.config());
        let settings = self.users().settings(whom.user);
        let barred = !admits(&config.allow, &config.deny, address)
            || !admits(&settings.allow, &settings.deny, address);
        barred.then(|| {
            let address = address.to_canonical();
            let reason = format!("{} may not come in from {address}", whom.user);
            Event::Goodbye { code: Code::Forbidden, reason, retry_ms: Some(60_000) }
        })
    }

    /// Ends the sessions of those who may not be here any more.
    fn turn_out(&self) {
        for (user, queue) in self.hub.sessions() {
            let whom = Whom { user: &user, key: queue.key, address: queue.address() };
            if let Some(event) = self.bars(whom) {
                queue.end(Some(&event), "refused");
                log::info!("{user} may not be here any more");
            }
        }
    }

    /// A place among the connections that are asked for a password.
    ///
    /// # Errors
    /// Too many are, for so many milliseconds.
    pub fn asks(&self, asker: &Asker) -> Result<Place<'_, Arc<SendQueue>>, u64> {
        let prompt = Prompt {
            user: asker.user.clone(),
            key: asker.queue.key,
            source: asker.address.into(),
            known: self.door.knows(asker.user, asker.address),
            since: self.hub.now(),
            handle: Arc::clone(asker.queue),
        };
        let max = self.config().limits.sessions_per_user_max;
        let (place, closed) = self.prompts.open(prompt, max).map_err(|Wait(ms)| ms)?;
        closed.iter().for_each(|queue| second::refuse_prompt(queue, second::CLOSED_RETRY_MS));
        Ok(place)
    }

    /// Writes where people have logged in from lately, where that is new, and nothing of it where no
    /// addresses are to be written.
    pub fn keep_sources(&self) {
        let path = self.home.sources_file();
        let users = self.users();
        let kept = match self.config().log_ip {
            true => match self.door.recent_text(|user| users.find(user) == Some(user)) {
                Some(text) => file::replace(&path, text.as_bytes(), 0o600),
                None => Ok(()),
            },
            false => file::remove(&path),
        };
        if let Err(error) = kept {
            log::error!("where people log in from is not kept: {error}");
        }
    }

    /// How long a guess of a password from there has to wait, in milliseconds.
    pub fn guess_wait_ms(&self, user: &UserName, address: IpAddr) -> u64 {
        let guess = self.guess(user, address);
        self.guesses.lock().wait_ms(&guess, self.hub.now())
    }

    /// What came of a guess.
    pub fn guessed(&self, user: &UserName, address: IpAddr, fits: bool) {
        let guess = self.guess(user, address);
        let note = if fits { Guesses::right } else { Guesses::wrong };
        note(&mut self.guesses.lock(), &guess, self.hub.now());
    }

    fn guess<'a>(&self, user: &'a UserName, address: IpAddr) -> Guess<'a> {
        Guess { user, source: address.into(), known: self.door.knows(user, address) }
    }

    /// Does something that takes a hash's memory and time; few at once. None where its turn does not
    /// come before the deadline.
    pub fn hashes<T>(&self, deadline: Instant, hash: impl FnOnce() -> T) -> Option<T> {
        let _permit = self.hashing.take(deadline, self.hashing.waiting_max())?;
        Some(hash())
    }

    pub fn motd(&self) -> Option<String> {
        let decided = self.decided.now().motd.clone();
        decided.or_else(|| self.config().motd.clone()).filter(|motd| !motd.is_empty())
    }

    /// A person's role, how they stand, and what they are told of it.
    pub fn standing(&self, whom: Whom) -> (Role, State, Option<String>) {
        let role = self.users().role(whom.user);
        if role >= Role::Owner {
            return (role, State::Free, None);
        }
        let decisions = self.decided.now();
        if decisions.sanctions.is_empty() {
            return (role, State::Free, None);
        }
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let find = |kind| decisions.find(kind, whom, now_ms).map(Sanction::notice);
        match (find(Kind::Ban), find(Kind::Mute)) {
            (Some(why), _) => (role, State::Banned, Some(why)),
            (None, Some(why)) => (role, State::Muted, Some(why)),
            (None, None) => (role, State::Free, None),
        }
    }

    /// Ends the sessions that a subject holds, but no owner's; gives how many there were.
    pub fn end_subject(
        &self,
        subject: &Subject,
        code: Code,
        reason: &str,
        farewell: Option<&str>,
    ) -> usize {
        let retry_ms = (code == Code::Password).then_some(1_000);
        let event = Event::Goodbye { code, reason: reason.to_owned(), retry_ms };
        let held = self.held(subject, code == Code::Banned);
        for queue in &held {
            farewell.iter().for_each(|text| queue.say_farewell(text));
            queue.end(Some(&event), &hub::word(code));
        }
        held.len()
    }

    /// A notice for the sessions that a subject holds; gives how many there are.
    pub fn tell_subject(&self, subject: &Subject, text: &str) -> usize {
        let event = Event::Notice { text: text.to_owned(), reference: None };
        let held = self.held(subject, false);
        held.iter().for_each(|queue| self.hub.answer(queue, &event));
        held.len()
    }

    fn held(&self, subject: &Subject, spares_owners: bool) -> Vec<Arc<SendQueue>> {
        let users = self.users();
        let mut sessions = self.hub.sessions();
        sessions.retain(|(user, queue)| {
            let spared = spares_owners && users.role(user) >= Role::Owner;
            !spared && subject.holds(Whom { user, key: queue.key, address: queue.address() })
        });
        sessions.into_iter().map(|(_, queue)| queue).collect()
    }

    /// What was decided goes into the log and the audit trail.
    pub fn record(&self, decision: &Decision) {
        let Decision { actor, action, target, reason, .. } = decision;
        let logged = match target.parse::<IpRange>() {
            Ok(range) => super::observe::log::address(range),
            Err(_) => (*target).to_owned(),
        };
        let said = format!("{actor}: {action} {logged} {}", reason.unwrap_or_default());
        log::info!("{}", said.trim_end());
        if self.config().audit != Retention::Off {
            self.records.decision(decision);
        }
    }

    /// Lines of the audit trail that are too old go.
    pub fn expire_audit(&self, now_ms: i64) {
        if let Retention::For(span) = self.config().audit {
            self.records.expire(now_ms - span.as_ms());
        }
    }

    /// What was noticed in users/, whoever did it.
    fn record_of_users(&self, action: &str, name: &UserName, detail: Option<&str>) {
        let target = name.as_str();
        self.record(&Decision { actor: "users/", action, target, reason: detail, until_ms: None });
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

    /// Whether each thread of the ledger answers in time: the commit thread, and those that read for history,
    /// for searches and for sessions that come back.
    pub fn ledger_answers(&self, patience: Duration) -> [(&'static str, bool); 4] {
        let (done, answered) = mpsc::channel();
        self.hub.add_job(Box::new(move |_| {
            let _ = done.send(());
        }));
        let deadline = Instant::now() + patience;
        let asked = [
            ("ledger", answered),
            ("history", self.readers.history.ask()),
            ("search", self.readers.search.ask()),
            ("replay", self.hub.backfill().ask()),
        ];
        asked.map(|(name, answer)| (name, liveness::answers(&answer, deadline)))
    }

    /// Whether an operator has had old lines removed since this was asked last.
    pub fn was_swept_by_hand(&self) -> bool {
        self.swept.swap(false, Ordering::Relaxed)
    }

    pub fn sweeps_by_hand(&self) {
        self.swept.store(true, Ordering::Relaxed);
    }

    /// Removes lines that are older than their place's retention, or only counts them, in short
    /// turns between commits. None where the server stops first.
    pub fn sweep_ledger(&self, now_ms: i64, dry: bool) -> Option<Result<Swept, LedgerError>> {
        let mut all = Swept::default();
        loop {
            match self.ask_ledger(move |ledger| ledger.sweep(now_ms, dry))? {
                Ok(swept) => {
                    all.lines += swept.lines;
                    all.places += swept.places;
                    all.remains = swept.remains;
                    if !swept.more {
                        if all.lines > 0 && !dry {
                            self.recount_mailboxes();
                        }
                        return Some(Ok(all));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// What was removed no longer waits for anybody.
    pub fn recount_mailboxes(&self) {
        let lines_max = self.config().limits.mailbox_lines_max;
        let known = self.ask_ledger(move |ledger| ledger.remembered(lines_max));
        // Where it cannot be read, the mailboxes stay as full as they were.
        if let Some(Ok(known)) = known {
            self.hub.recount(known.into_iter().flat_map(|remembered| {
                let place = remembered.place;
                let waiting = remembered.waiting.into_iter();
                waiting.map(move |(name, count)| (place.clone(), name, count))
            }));
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

    /// A client has made a certificate for its key.
    pub fn publish(&self, key: &Fingerprint, certificate: &Opaque) -> Result<(), Refusal> {
        let server = self.door.keys().founding();
        self.directory.publish(&self.users(), &server, key, certificate)
    }

    /// `SHA256:...` of each of a person's keys.
    pub fn fingerprints(&self, name: &UserName) -> Vec<String> {
        self.users().keys_of(name).map(|key| key.fingerprint().to_string()).collect()
    }

    /// Who is registered now.
    pub fn users(&self) -> Arc<Users> {
        self.users.get()
    }

    /// Reads users/ again; sessions that may not go on end before anything else is done. Gives what was
    /// refused, and why.
    ///
    /// # Errors
    /// The folder cannot be read; everything stays as it was.
    pub fn reload_users(&self) -> std::io::Result<Vec<String>> {
        let mut told = self.told.lock();
        let (new, rejected) = {
            let old = self.users();
            Users::load_over(&self.home.users_dir(), Some(&old))?
        };
        let old = self.users.set(new);
        let new = self.users();
        self.end_removed(&old, &new);
        self.turn_out();
        tell(&mut told, &rejected);
        self.announce_admitted(&old, &new);
        for name in new.names().filter(|name| new.role(name) != old.role(name)) {
            let role = new.role(name);
            log::info!("{name} is {role} now");
            self.record_of_users("role", name, Some(&role.to_string()));
        }
        self.notice_keys(&new);
        Ok(rejected.iter().map(ToString::to_string).collect())
    }

    /// Ends the sessions of keys that are not registered any more, and those that began under another
    /// password.
    fn end_removed(&self, old: &Users, new: &Users) {
        for (key, name) in old.keys() {
            if new.by_key(key).is_none_or(|(now, _)| now != name) {
                let reason = "your key was removed";
                let ended = self.hub.end_key(&key.fingerprint(), Code::Removed, reason);
                log::info!("a key of {name} is no longer registered: {ended} sessions ended");
                let print = key.fingerprint().to_string();
                self.record_of_users("removed", name, Some(&print));
            }
        }
        for name in new.names() {
            let (old, new) = (old.settings(name).password, new.settings(name).password);
            if old == new {
                continue;
            }
            if new.is_some() {
                let subject = Subject::User(name.clone());
                self.end_subject(&subject, Code::Password, second::CHANGED, None);
            }
            log::info!("{name} has {} password now", if new.is_some() { "a new" } else { "no" });
            self.record_of_users("password", name, None);
        }
    }

    /// Tells members of keys that were registered since, or for another name.
    fn announce_admitted(&self, old: &Users, new: &Users) {
        let is_new = |(key, name): &(&PublicKey, &UserName)| {
            old.by_key(key).is_none_or(|(before, _)| before != *name)
        };
        for (key, name) in new.keys().filter(is_new) {
            let print = key.fingerprint();
            log::info!("{name} is registered with {print}");
            self.record_of_users("admitted", name, Some(&print.to_string()));
            // Whoever has seal for this person checks whether it is still them.
            let keys = self.directory.keys_of(new, name, &None);
            for (_, queue) in self.hub.sessions() {
                keys.iter().for_each(|event| self.hub.answer(&queue, event));
            }
        }
    }
}

/// Logs what was not said before, and remembers what holds now.
fn tell(told: &mut BTreeSet<String>, rejected: &[Rejected]) {
    let now: BTreeSet<_> = rejected.iter().map(ToString::to_string).collect();
    now.difference(told).for_each(|file| log::warn!("{file}"));
    *told = now;
}
