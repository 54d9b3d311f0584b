//! Between the model, which knows texts, and the connection, which in private conversations and in
//! channels with a PIN carries what only people can read. Messages go out sealed and signed, one at
//! a time in each conversation; what comes in is opened and verified before anybody sees it.
//!
//! Each file owns its state. The engine owns the parts, and hands each what it needs.

pub mod changes;
mod channels;
pub mod device_keys;
mod history_check;
mod incoming;
mod key_compare;
mod key_requests;
mod key_sync;
mod maintenance;
mod message_ids;
mod outgoing;
mod output;
mod pending;
mod persistence;
mod sealing;
mod search;
pub mod search_index;
pub mod search_log;
pub mod sequence;
mod shares;
pub mod storage;
pub mod trust;
pub mod trust_file;
mod violation;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::chat::{
    ChannelName, Code, Command, ConversationInfo, Event, Message, MsgId, Opaque, Refusal, Target,
    UserName,
};
use crate::crypto::pin_channel::PinChannel;
use changes::Changes;
use channels::Channels;
use device_keys::DeviceKeys;
use history_check::HistoryCheck;
use incoming::{Incoming, Verified};
use key_requests::KeyRequests;
use key_sync::{KeySync, Keys};
use maintenance::Maintenance;
use message_ids::MessageIds;
use outgoing::{Outgoing, Settled};
pub use output::Output;
use pending::Pending;
use persistence::Persistence;
use sealing::Sealing;
use search::{Question, Search};
use search_index::Entry;
use sequence::Sequences;
use storage::{Account, FileKey, Storage, StorageError};
use trust::{Part, TrustStore};
use trust_file::{StoredTrust, TrustFile};
pub use violation::Violation;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
pub(crate) mod memory_tests;

pub struct Engine {
    account: Arc<dyn Account>,
    storage: Box<dyn Storage>,
    /// By which name the server knows this person.
    own: UserName,
    /// What came too fast is sent again by itself.
    retries: bool,
    trust: TrustStore,
    file: TrustFile,
    devices: DeviceKeys,
    channels: Channels,
    /// It was told that nobody else is met by the server's word.
    told_full: bool,
    key_requests: KeyRequests,
    key_sync: KeySync,
    maintenance: Maintenance,
    /// What came after a message whose sender's keys are asked for.
    pending: Pending,
    verified: Verified,
    ids: MessageIds,
    sequences: Sequences,
    changes: Changes,
    persistence: Persistence,
    history: HistoryCheck,
    search: Search,
    outgoing: Outgoing,
}

impl Engine {
    /// With what is stored of this server.
    pub fn open(
        account: Arc<dyn Account>,
        mut storage: Box<dyn Storage>,
        retries: bool,
    ) -> Result<Engine, StorageError> {
        // A setting that cannot be read is told before anything is done by it.
        storage.stores_messages()?;
        let file = TrustFile::open(&mut *storage, &*account)?;
        let mut devices = DeviceKeys::default();
        devices.refresh(&*storage, &*account)?;
        Ok(Engine {
            own: account.name().clone(),
            retries,
            trust: TrustStore::of(*account.founding(), file.kept.people.iter()),
            channels: Channels::of(file.channels()),
            search: Search::new(file.key()),
            changes: persistence::changes(&*storage, file.key()),
            persistence: Persistence::default(),
            account,
            storage,
            file,
            devices,
            told_full: false,
            key_requests: KeyRequests::default(),
            key_sync: KeySync::default(),
            maintenance: Maintenance::default(),
            pending: Pending::default(),
            verified: Verified::default(),
            ids: MessageIds::default(),
            sequences: Sequences::default(),
            history: HistoryCheck::default(),
            outgoing: Outgoing::default(),
        })
    }

    /// The key of what is written record by record.
    pub fn line_key(&self) -> FileKey {
        self.file.key()
    }

    /// The channels whose PINs are known.
    pub fn channels(&self) -> impl Iterator<Item = &ChannelName> {
        self.channels.names()
    }

    /// Names of channels with a PIN that this person has left.
    pub fn left(&self) -> &BTreeSet<ChannelName> {
        &self.file.kept.left
    }

    /// This client takes up each conversation where the last one left it, and stores what comes.
    pub fn resume(&mut self, sealed: HashMap<MsgId, Opaque>, now_ms: i64) {
        self.outgoing.resume(sealed);
        let stored = (&mut self.sequences, &mut self.changes);
        self.persistence.resume(&mut *self.storage, self.file.key(), stored);
        self.search.begins(&mut *self.storage, now_ms);
    }

    /// What messages are sealed with.
    fn sealing(&mut self, now_ms: i64) -> (&mut Outgoing, Sealing<'_>) {
        let sealing = Sealing {
            account: &*self.account,
            storage: &mut *self.storage,
            own: &self.own,
            trust: &mut self.trust,
            file: &mut self.file,
            devices: &self.devices,
            requests: &mut self.key_requests,
            channels: &self.channels,
            sequences: &self.sequences,
            ids: &self.ids,
            changes: &self.changes,
            now_ms,
        };
        (&mut self.outgoing, sealing)
    }

    /// What messages are verified against.
    fn incoming(&mut self, now_ms: i64) -> Incoming<'_> {
        Incoming {
            account: &*self.account,
            storage: &mut *self.storage,
            own: &self.own,
            trust: &mut self.trust,
            file: &mut self.file,
            devices: &mut self.devices,
            channels: &self.channels,
            verified: &mut self.verified,
            sequences: &mut self.sequences,
            history: &mut self.history,
            ids: &mut self.ids,
            changes: &mut self.changes,
            search: &mut self.search,
            now_ms,
        }
    }

    /// Whose keys are known.
    fn keys(&mut self, now_ms: i64) -> (&mut KeySync, Keys<'_>) {
        let keys = Keys {
            account: &*self.account,
            storage: &mut *self.storage,
            own: &self.own,
            trust: &mut self.trust,
            file: &mut self.file,
            devices: &mut self.devices,
            requests: &mut self.key_requests,
            now_ms,
        };
        (&mut self.key_sync, keys)
    }

    /// This is stored, and with it all that was learned of people.
    fn save(&mut self, change: impl FnOnce(&mut StoredTrust)) -> Result<(), String> {
        self.file.save(&mut *self.storage, &*self.account, &self.trust, change)
    }

    /// All that was learned of people is stored now.
    pub fn keep_people(&mut self) -> Result<(), String> {
        self.file.save_learned(&mut *self.storage, &*self.account, &self.trust)
    }

    /// A channel's PIN is known from now on.
    pub fn add_channel(
        &mut self,
        key: PinChannel,
        name: &ChannelName,
    ) -> Result<ChannelName, String> {
        let name = name.with_tag(&key.tag()).map_err(|error| error.to_string())?;
        self.save(|kept| kept.add_channel(&name, &key))?;
        self.channels.add(name.clone(), key);
        Ok(name)
    }

    /// Its key and its messages go, and which messages were told: its person has left it.
    fn forget_channel(&mut self, name: &ChannelName, now_ms: i64) -> Result<(), String> {
        if !self.channels.remove(name) {
            return Ok(());
        }
        let conversation = Target::Channel(name.clone());
        self.sequences.forget(&conversation);
        self.changes.forget(&conversation);
        self.search.note_down(&mut *self.storage, &[Entry::Forget(conversation)], now_ms);
        self.save(|kept| kept.forget_channel(name))
    }

    /// How far messages were verified is stored with how far they were shown.
    pub fn write_down(&mut self, now_ms: i64) {
        self.search.tidy(&mut *self.storage, now_ms);
        let stored = (&mut self.sequences, &mut self.changes);
        self.persistence.store(&mut *self.storage, stored, now_ms);
    }

    /// A channel is left where no server could be told.
    pub fn forget(&mut self, channel: &ChannelName, now_ms: i64) -> Vec<Output> {
        self.forget_channel(channel, now_ms).err().map(Output::Trouble).into_iter().collect()
    }

    /// A message is given up.
    pub fn drop_line(&mut self, id: MsgId) {
        self.outgoing.give_up(id);
    }

    /// The connection is gone; what is open is sent again by the model.
    pub fn lost(&mut self) {
        self.pending.clear();
        self.history.lost();
        self.channels.lost();
        self.trust.disconnected();
        self.key_requests.lost();
        self.maintenance.is_in = false;
        self.outgoing.lost();
    }

    /// The server has told something.
    pub fn received(&mut self, event: Event, now_ms: i64) -> Vec<Output> {
        self.key_requests.clock(now_ms);
        let mut next = Vec::new();
        match event {
            Event::Keys { name, keys, more, reference } => {
                self.key_requests.answered(reference.as_deref());
                let part = Part { keys, more, asked: reference.is_some() };
                self.learn(&name, part, now_ms, &mut next);
            }
            // Nobody has asked but this client.
            Event::Refused {
                code: Code::Rate, reference: Some(told), retry_ms: Some(ms), ..
            } if self.key_requests.refused(&told, ms, now_ms) => {}
            event if !self.pending.is_empty() && !self.pending.is_full() => {
                self.pending.push(event);
            }
            event => {
                while let Some(pending) = self.pending.pop() {
                    self.pass(pending, now_ms, &mut next);
                }
                match key_sync::wants(&event, &self.trust) {
                    Some(name) => {
                        self.pending.push(event);
                        self.key_requests.meet(&[name], &mut self.trust, &mut next);
                    }
                    None => self.pass(event, now_ms, &mut next),
                }
            }
        }
        if self.trust.is_full() && !std::mem::replace(&mut self.told_full, true) {
            next.push(Output::Trouble(key_compare::CROWD.into()));
        }
        next
    }

    /// The server lists the keys of a person: what waited for that goes on.
    fn learn(&mut self, name: &UserName, part: Part, now_ms: i64, next: &mut Vec<Output>) {
        let (key_sync, mut keys) = self.keys(now_ms);
        if !key_sync.learn(name, part, &mut keys, next) {
            return;
        }
        while let Some(event) = self.pending.pop() {
            if let Some(name) = key_sync::wants(&event, &self.trust) {
                self.pending.push_back_in_front(event);
                self.key_requests.meet(&[name], &mut self.trust, next);
                break;
            }
            self.pass(event, now_ms, next);
        }
        self.pump_all(now_ms, next);
    }

    fn pump_all(&mut self, now_ms: i64, next: &mut Vec<Output>) {
        let (outgoing, mut sealing) = self.sealing(now_ms);
        outgoing.pump_all(&mut sealing, next);
    }

    fn pass(&mut self, event: Event, now_ms: i64, next: &mut Vec<Output>) {
        match event {
            Event::Message(message) => return self.message(message, now_ms, next),
            Event::Welcome { ref name, text_bytes_max, .. } => {
                (self.own, self.outgoing.text_bytes_max) = (name.clone(), text_bytes_max);
                self.keys(now_ms).1.login(next);
                self.maintenance.is_in = true;
                self.renew(now_ms, next);
                self.key_requests.meet(std::slice::from_ref(name), &mut self.trust, next);
            }
            Event::Conversations { ref conversations } => {
                self.incoming(now_ms).begin(conversations, next)
            }
            Event::Entered { ref channel, log, last, read, retention, ref people, .. }
                if channel.has_pin() =>
            {
                let to = Target::Channel(channel.clone());
                let conversation = ConversationInfo { to, log, last, read, retention };
                self.incoming(now_ms).begin(&[conversation], next);
                self.key_requests.meet(people, &mut self.trust, next);
            }
            Event::Joined { ref to, ref who, .. } if to.has_pin() => {
                self.key_requests.meet(std::slice::from_ref(who), &mut self.trust, next);
            }
            Event::Topic { .. } | Event::History { .. } | Event::Gap { .. } => {
                self.incoming(now_ms).passes(&event, next);
            }
            Event::Parted { ref channel, ref reference } => {
                self.is_left(channel, reference.as_ref(), now_ms, next);
            }
            Event::Refused { code: Code::NotMember, ref reference, .. } => {
                if let Some(channel) = self.channels.left_by(reference.as_ref()) {
                    self.is_left(&channel, reference.as_ref(), now_ms, next);
                }
            }
            _ => {}
        }
        let settled = outgoing::settles(&event, self.retries);
        next.push(Output::Event(event));
        self.settled(settled, now_ms, next);
    }

    fn message(&mut self, message: Message, now_ms: i64, next: &mut Vec<Output>) {
        let to = message.conversation(Some(&self.own));
        let own = message.from == self.own && message.reference.is_none();
        let stored = own.then_some((message.id, Settled::Stored));
        let told = self.incoming(now_ms).verify(message, &to, next);
        next.push(told);
        self.settled(stored, now_ms, next);
    }

    /// This client itself answers a request that was on its way out.
    pub fn answered(&mut self, event: Event, now_ms: i64) -> Vec<Output> {
        let settled = outgoing::settles(&event, self.retries);
        let mut next = vec![Output::Answer(event)];
        self.settled(settled, now_ms, &mut next);
        next
    }

    fn settled(&mut self, settled: Option<(MsgId, Settled)>, now_ms: i64, next: &mut Vec<Output>) {
        let (outgoing, mut sealing) = self.sealing(now_ms);
        settled.into_iter().for_each(|settled| outgoing.settled(settled, &mut sealing, next));
    }

    /// A channel's key and messages go where this person has asked to leave it, and only there.
    fn is_left(
        &mut self,
        channel: &ChannelName,
        told: Option<&String>,
        now_ms: i64,
        next: &mut Vec<Output>,
    ) {
        if self.channels.is_left(channel, told) {
            next.extend(self.forget_channel(channel, now_ms).err().map(Output::Trouble));
        }
    }

    fn renew(&mut self, now_ms: i64, next: &mut Vec<Output>) {
        let (storage, account) = (&mut *self.storage, &*self.account);
        next.extend(self.maintenance.renew(&mut self.devices, storage, account, now_ms));
    }

    /// In how many milliseconds `tend` has something to do, at the latest.
    pub fn rests_ms(&self, now_ms: i64) -> u64 {
        let rests_ms = [
            self.key_requests.rests_ms(now_ms),
            self.file.rest_ms(now_ms),
            self.search.rest_ms(now_ms),
            self.persistence.rest_ms(&self.changes, now_ms),
            self.key_sync.rest_ms(now_ms),
        ];
        rests_ms.into_iter().flatten().fold(self.maintenance.rest_ms(now_ms), u64::min)
    }

    /// Time has passed.
    pub fn tend(&mut self, now_ms: i64) -> Vec<Output> {
        self.key_requests.clock(now_ms);
        let mut next = Vec::new();
        if self.file.rest_ms(now_ms) == Some(0) {
            self.keys(now_ms).1.save(&mut next);
        }
        self.key_sync.give_up(now_ms, &mut next);
        let waits = [self.search.rest_ms(now_ms), self.persistence.rest_ms(&self.changes, now_ms)];
        if waits.contains(&Some(0)) {
            self.write_down(now_ms);
        }
        self.key_requests.request(&mut next);
        if self.maintenance.rest_ms(now_ms) == 0 {
            self.renew(now_ms, &mut next);
            if self.maintenance.is_in {
                self.key_requests.want(vec![self.own.clone()]);
                self.key_requests.request(&mut next);
            }
        }
        next
    }

    /// `/fingerprint NAME`: whose keys these are, and the number to compare.
    pub fn look_up(&mut self, name: &UserName, confirms: bool, now_ms: i64) -> Vec<Output> {
        self.key_requests.clock(now_ms);
        let mut next = Vec::new();
        let (key_sync, mut keys) = self.keys(now_ms);
        if key_sync.look_up(name, confirms, &mut keys, &mut next) {
            self.pump_all(now_ms, &mut next);
        }
        next
    }

    /// `/set` and `/set search on` or `off`, which erases what is stored of every server.
    pub fn set_search(&mut self, search: Option<bool>) -> Vec<Output> {
        vec![self.search.set(&mut *self.storage, search)]
    }

    /// The model wants something sent.
    pub fn send(&mut self, command: Command, now_ms: i64) -> Vec<Output> {
        self.key_requests.clock(now_ms);
        let mut next = Vec::new();
        match command {
            Command::Say(message) if message.to.is_sealed() => {
                let (outgoing, mut sealing) = self.sealing(now_ms);
                outgoing.say(message, &mut sealing, &mut next);
            }
            // What is looked for there is for nobody's eyes.
            Command::Search { text, to: Some(to), reference } if to.is_sealed() => {
                let conversation = &match &to {
                    Target::User(name) => Target::User(self.trust.spelled(name)),
                    channel => channel.clone(),
                };
                let (log, _) = self.sequences.told_of(conversation);
                let question = Question { to, conversation, log, text: &text, reference };
                return self.search.answer(&*self.storage, question, now_ms);
            }
            Command::History { ref to, before, ref reference, .. } if to.is_sealed() => {
                // Without an end the newest lines are told, which are here already.
                let reference = reference.as_deref().unwrap_or_default();
                before.into_iter().for_each(|before| self.history.asked(to, reference, before));
                next.push(Output::Send(command));
            }
            Command::Part { ref channel, ref reference } => {
                self.channels.leaves(channel, reference.as_ref());
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
