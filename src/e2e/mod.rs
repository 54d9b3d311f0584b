//! Between the model, which knows texts, and the connection, which in private conversations and in
//! channels with a PIN carries what only people can read. Lines go out sealed and signed, one at a
//! time in each place; what comes in is opened and checked before anybody sees it.

pub mod device_keys;
mod history_check;
mod incoming;
mod key_requests;
mod key_sync;
mod maintenance;
mod outgoing;
mod output;
mod pending;
mod search;
pub mod search_index;
pub mod search_log;
pub mod sequence;
pub mod storage;
pub mod trust;
pub mod trust_file;
mod violation;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::chat::{
    ChannelName, Code, Command, Event, MsgId, Opaque, PlaceInfo, Refusal, Retention, Seq, Target,
    UserName,
};
use crate::crypto::certificate::{Certificate, CertificateHash};
use crate::crypto::pin_channel::PinChannel;
use device_keys::DeviceKeys;
use history_check::HistoryCheck;
use key_requests::KeyRequests;
use outgoing::{Queue, Settled};
pub use output::Output;
use pending::Pending;
use search_index::Entry;
use search_log::SearchLog;
use sequence::Sequences;
use storage::{Account, FileKey, Storage, StorageError};
use trust::{Part, TrustStore};
use trust_file::TrustFile;
pub use violation::Violation;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
pub(crate) mod memory_tests;

/// Bytes of sealed lines that are kept for a search: some fifteen thousand. Beyond, the older half
/// goes.
const BOOK_BYTES_MAX: u64 = 8 << 20;
/// Lines of a place whose ids are known: as many as a window of the full screen has.
const IDS_MAX: usize = 100_000;
/// The same of all places together: of the largest the oldest go.
const IDS_ALL_MAX: usize = 200_000;
/// Certificates that were checked.
const CHECKED_MAX: usize = 1_000;
/// What was learned of people is written after so many milliseconds, in one piece.
const LEARNED_MS: u64 = 1_000;
/// ... or later where the file is large: it is written anew each time.
const KEPT_BYTES_PER_MS: u64 = 4_000;
/// Clocks differ by less, or it is told.
const CLOCKS_MS: i64 = 86_400_000;

const CROWD: &str = "so many people are known here, or told of by the server, that no more are met by its word \
     alone: lines of others are not shown before you write to them or type /fingerprint NAME. Unless \
     there are thousands here, do not trust this server";

pub struct Engine {
    account: Arc<dyn Account>,
    storage: Box<dyn Storage>,
    store: TrustFile,
    devices: DeviceKeys,
    /// When its keys were looked at.
    tended_ms: Option<i64>,
    /// The server has said welcome on this connection.
    is_in: bool,
    trust: TrustStore,
    /// Of whom something was learned that is not on disk ...
    unkept: BTreeSet<UserName>,
    /// ... since when, unless it could not be written.
    unkept_ms: Option<i64>,
    /// It was told that nobody else is met by the server's word.
    told_full: bool,
    key_requests: KeyRequests,
    channels: HashMap<ChannelName, PinChannel>,
    sequences: Sequences,
    history: HistoryCheck,
    /// It was told that another folder has this key.
    copied: bool,
    /// Sequences are stored: by this client, and as long as that works.
    stores_sequences: bool,
    /// Where opened lines are kept, and whether this client writes them.
    search_log: Option<SearchLog>,
    writes_lines: bool,
    outgoing: BTreeMap<Target, Queue>,
    /// Lines that were sealed and are not stored yet, as far as is known.
    sealed: HashMap<MsgId, Opaque>,
    /// What came after a line whose sender's keys are asked for.
    pending: Pending,
    /// Lines that were found good, and whose they are.
    ids: HashMap<Target, BTreeMap<Seq, (MsgId, UserName)>>,
    checked: HashMap<CertificateHash, Certificate>,
    /// The line at hand has a certificate of its sender that is to be kept.
    seen_newer: bool,
    own: UserName,
    /// What came too fast is sent again by itself.
    retries: bool,
    text_bytes_max: usize,
    /// Whose keys somebody wants to see once they are here, and since when.
    looked_up: BTreeMap<UserName, i64>,
    /// Channels that this person has asked to leave, and under which reference.
    leaving: BTreeMap<ChannelName, Option<String>>,
}

impl Engine {
    /// With what is kept of this server.
    pub fn open(
        account: Arc<dyn Account>,
        mut storage: Box<dyn Storage>,
        retries: bool,
    ) -> Result<Engine, StorageError> {
        // A setting that cannot be read is told before anything is done by it.
        storage.stores_messages()?;
        let store = TrustFile::open(&mut *storage, &*account)?;
        let mut devices = DeviceKeys::default();
        devices.refresh(&*storage, &*account)?;
        let server = account.founding();
        Ok(Engine {
            trust: TrustStore::of(*server, store.kept.people.iter()),
            channels: store.channels().collect(),
            store,
            devices,
            unkept: BTreeSet::new(),
            unkept_ms: None,
            told_full: false,
            key_requests: KeyRequests::default(),
            tended_ms: None,
            is_in: false,
            sequences: Sequences::default(),
            history: HistoryCheck::default(),
            copied: false,
            stores_sequences: false,
            search_log: None,
            writes_lines: false,
            outgoing: BTreeMap::new(),
            sealed: HashMap::new(),
            pending: Pending::default(),
            ids: HashMap::new(),
            checked: HashMap::new(),
            seen_newer: false,
            own: account.name().clone(),
            retries,
            text_bytes_max: usize::MAX,
            looked_up: BTreeMap::new(),
            leaving: BTreeMap::new(),
            account,
            storage,
        })
    }

    /// The key of what is written line by line.
    pub fn line_key(&self) -> FileKey {
        self.store.key()
    }

    /// The channels whose PINs are known.
    pub fn channels(&self) -> impl Iterator<Item = &ChannelName> {
        self.channels.keys()
    }

    /// Names of channels with a PIN that this person has left.
    pub fn left(&self) -> &BTreeSet<ChannelName> {
        &self.store.kept.left
    }

    /// This client takes up each place where the last one left it: lines that it has sealed go out
    /// as they are, and what comes is held against what came before.
    pub fn resume(&mut self, sealed: HashMap<MsgId, Opaque>, now_ms: i64) {
        self.sealed = sealed;
        match self.storage.open_sequences(self.store.key()) {
            Ok(entries) => {
                (self.sequences, self.stores_sequences) = (Sequences::of(entries), true);
            }
            // Without it the next line of everybody is taken as it comes.
            Err(error) => log::warn!("the chains of sealed lines cannot be read: {error}"),
        }
        self.writes_lines = true;
        self.tidy_lines(now_ms);
    }

    /// A channel's PIN is known from now on.
    pub fn add_channel(
        &mut self,
        key: PinChannel,
        name: &ChannelName,
    ) -> Result<ChannelName, String> {
        let name = name.with_tag(&key.tag()).map_err(|error| error.to_string())?;
        self.keep(|kept| kept.add_channel(&name, &key))?;
        self.channels.insert(name.clone(), key);
        Ok(name)
    }

    /// Its key and its lines go, and which lines were told: its person has left it.
    fn forget_channel(&mut self, name: &ChannelName, now_ms: i64) -> Result<(), String> {
        if self.channels.remove(name).is_none() {
            return Ok(());
        }
        let place = Target::Channel(name.clone());
        self.sequences.forget(&place);
        self.note_down(&[Entry::Forget(place)], now_ms);
        self.keep(|kept| kept.forget_channel(name))
    }

    /// This goes on disk, and with it all that was learned of people.
    fn keep(&mut self, change: impl FnOnce(&mut trust_file::Kept)) -> Result<(), String> {
        self.unkept_ms = None;
        let known = self.unkept.iter().filter_map(|name| self.trust.known(name));
        let known: Vec<_> = known.collect();
        let kept = self.store.update(&mut *self.storage, &*self.account, |kept| {
            kept.set_people(known);
            change(kept);
        });
        kept.map_err(|error| format!("this cannot be kept: {error}"))?;
        self.unkept.clear();
        Ok(())
    }

    /// How far lines were checked goes on disk with how far they were shown.
    pub fn write_down(&mut self, now_ms: i64) {
        self.tidy_lines(now_ms);
        let changed = self.sequences.take_changed();
        if self.stores_sequences
            && let Err(error) = self.storage.store_sequences(&changed, &|| self.sequences.all())
        {
            // Lines are checked all the same as long as this client runs.
            self.stores_sequences = false;
            log::warn!("{error}");
        }
    }

    /// A channel is left where no server could be told.
    pub fn forget(&mut self, channel: &ChannelName, now_ms: i64) -> Vec<Output> {
        let problem = self.forget_channel(channel, now_ms).err();
        problem.map(Output::Trouble).into_iter().collect()
    }

    /// A line is given up.
    pub fn drop_line(&mut self, id: MsgId) {
        self.sealed.remove(&id);
        self.outgoing.values_mut().for_each(|lane| lane.given_up(id));
    }

    /// The connection is gone; what is open is sent again by the model.
    pub fn lost(&mut self) {
        self.pending.clear();
        self.history.lost();
        self.leaving.clear();
        self.trust.disconnected();
        self.key_requests.lost();
        self.is_in = false;
        self.outgoing.values_mut().for_each(Queue::lost);
    }

    /// The server has told something.
    pub fn received(&mut self, event: Event, now_ms: i64) -> Vec<Output> {
        self.key_requests.clock(now_ms);
        let mut next = Vec::new();
        match event {
            Event::Keys { name, keys, more, reference } => {
                self.key_requests.answered(reference.as_deref());
                let part = Part { keys, more, asked: reference.is_some() };
                self.learn(&name, part, now_ms, &mut next)
            }
            // Nobody has asked but this client.
            Event::Refused {
                code: Code::Rate, reference: Some(told), retry_ms: Some(ms), ..
            } if self.key_requests.refused(&told, ms, now_ms) => {}
            event if !self.pending.is_empty() && !self.pending.is_full() => {
                self.pending.push(event)
            }
            event => {
                while let Some(held) = self.pending.pop() {
                    self.pass(held, now_ms, &mut next);
                }
                match self.wants(&event) {
                    Some(name) => {
                        self.pending.push(event);
                        self.meet(&[name], &mut next);
                    }
                    None => self.pass(event, now_ms, &mut next),
                }
            }
        }
        if self.trust.is_full() && !std::mem::replace(&mut self.told_full, true) {
            next.push(Output::Trouble(CROWD.into()));
        }
        next
    }

    fn pass(&mut self, event: Event, now_ms: i64, next: &mut Vec<Output>) {
        match event {
            Event::Message(message) => return self.message(message, now_ms, next),
            Event::Welcome { ref name, text_bytes_max, .. } => {
                (self.own, self.text_bytes_max) = (name.clone(), text_bytes_max);
                self.present(now_ms, next);
            }
            Event::Places { ref places } => self.begin(places, now_ms, next),
            Event::Entered { ref channel, log, last, read, retention, ref people, .. }
                if channel.has_pin() =>
            {
                let to = Target::Channel(channel.clone());
                self.begin(&[PlaceInfo { to, log, last, read, retention }], now_ms, next);
                self.meet(people, next);
            }
            Event::Joined { ref to, ref who, .. } if to.has_pin() => {
                self.meet(std::slice::from_ref(who), next);
            }
            Event::Topic { ref to, retention, .. } => {
                let place = Target::Channel(to.clone());
                if place.is_sealed() {
                    self.note_down(&[Entry::Kept(place, retention)], now_ms);
                }
            }
            Event::History { .. } => {
                let missed = self.history.ends().into_iter();
                next.extend(missed.map(|line| Output::Violation {
                    message: line,
                    violation: Violation::Unlinked,
                }));
            }
            Event::Gap { ref to, to_seq, .. } => {
                self.sequences.skip(to, to_seq);
                self.history.skip(to);
            }
            Event::Parted { ref channel, ref reference } => {
                self.is_left(channel.clone(), reference.as_ref(), now_ms, next);
            }
            Event::Refused { code: Code::NotMember, ref reference, .. } => {
                let asked = self.leaving.iter().find(|(_, asked)| *asked == reference);
                if let Some(channel) = asked.map(|(channel, _)| channel.clone()) {
                    self.is_left(channel, reference.as_ref(), now_ms, next);
                }
            }
            _ => {}
        }
        let settled = self.settles(&event);
        next.push(Output::Event(event));
        if let Some((id, how)) = settled {
            self.settled(id, how, now_ms, next);
        }
    }

    /// This client itself answers a request that was on its way out.
    pub fn answered(&mut self, event: Event, now_ms: i64) -> Vec<Output> {
        let settled = self.settles(&event);
        let mut next = vec![Output::Answer(event)];
        if let Some((id, how)) = settled {
            self.settled(id, how, now_ms, &mut next);
        }
        next
    }

    /// What becomes of a line by an event.
    fn settles(&self, event: &Event) -> Option<(MsgId, Settled)> {
        match event {
            Event::Stored { id, .. } => Some((*id, Settled::Stored)),
            Event::Refused { id: Some(id), code: Code::Rate, retry_ms: Some(_), .. }
                if self.retries =>
            {
                Some((*id, Settled::Postponed))
            }
            Event::Refused { id: Some(id), .. } => Some((*id, Settled::Refused)),
            _ => None,
        }
    }

    /// A channel's key and messages go where this person has asked to leave it, and by no word of
    /// the server's.
    fn is_left(
        &mut self,
        channel: ChannelName,
        told: Option<&String>,
        now_ms: i64,
        next: &mut Vec<Output>,
    ) {
        if self.leaving.get(&channel).is_none_or(|asked| asked.as_ref() != told) {
            return;
        }
        self.leaving.remove(&channel);
        if let Err(problem) = self.forget_channel(&channel, now_ms) {
            next.push(Output::Trouble(problem));
        }
    }

    /// What the server says of places.
    fn begin(&mut self, places: &[PlaceInfo], now_ms: i64, next: &mut Vec<Output>) {
        let (mut others, mut entries) = (Vec::new(), Vec::new());
        for PlaceInfo { to, log, last, retention, .. } in places {
            let (other, met) = self.sequences.begin(to, *log, *last, now_ms);
            if other {
                self.ids.remove(to);
                self.history.skip(to);
            }
            // What is kept in memory only has another log after each start.
            if other && met && to.is_sealed() && *retention != Retention::Off {
                others.push(to.to_string());
            }
            entries.push(Entry::Log(to.clone(), *log));
            entries.push(Entry::Kept(to.clone(), *retention));
        }
        // In one write, however many there are.
        entries.retain(|entry| entry.place().is_sealed());
        self.note_down(&entries, now_ms);
        if !others.is_empty() {
            let text = format!(
                "the server begins anew with {}, as after a restore from a backup: lines that you \
                 have read may be told again, under their own time, and some may be missing. If \
                 nobody has restored one, do not trust this server",
                others.join(", ")
            );
            next.push(Output::Trouble(text));
        }
    }

    /// The model wants something sent.
    pub fn send(&mut self, command: Command, now_ms: i64) -> Vec<Output> {
        self.key_requests.clock(now_ms);
        let mut next = Vec::new();
        match command {
            Command::Say(message) if message.to.is_sealed() => {
                self.say(message, now_ms, &mut next);
            }
            // What is looked for there is for nobody's eyes.
            Command::Search { text, to: Some(to), reference } if to.is_sealed() => {
                return self.search(to, &text, reference, now_ms);
            }
            Command::History { ref to, before, ref reference, .. } if to.is_sealed() => {
                // Without an end the newest lines are told, which are here already.
                let reference = reference.as_deref().unwrap_or_default();
                before.into_iter().for_each(|before| self.history.asked(to, reference, before));
                next.push(Output::Send(command));
            }
            Command::Part { ref channel, ref reference } => {
                self.leaving.insert(channel.clone(), reference.clone());
                next.push(Output::Send(command));
            }
            // The server would refuse it, but have seen it.
            Command::Topic { ref channel, text: Some(_), ref reference } if channel.has_pin() => {
                let refused = Refusal::NoTopic.event(None, reference.clone());
                next.push(Output::Answer(refused));
            }
            command => next.push(Output::Send(command)),
        }
        next
    }
}

fn refused(id: MsgId, code: Code, hint: String) -> Output {
    let event = Event::Refused { code, hint, id: Some(id), retry_ms: None, reference: None };
    Output::Answer(event)
}
