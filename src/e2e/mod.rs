//! The end-to-end engine, between the model, which has texts, and the connection, which carries
//! sealed messages of private conversations and PIN channels. Outgoing messages are sealed and
//! signed, one at a time in each conversation. Incoming messages are opened and verified before
//! they are shown.
//!
//! Each file owns its state. The engine owns the parts and lends each what it needs.

pub mod changes;
mod channels;
pub mod clock;
pub mod device_keys;
mod history_check;
mod incoming;
mod key_compare;
mod key_requests;
mod key_sync;
mod maintenance;
mod message_ids;
mod opening;
mod outgoing;
mod output;
mod pending;
mod persistence;
mod replay_requests;
mod sealing;
mod search;
pub mod search_index;
pub mod search_log;
pub mod sequence;
mod shares;
pub mod storage;
mod tombstones;
pub mod trust;
pub mod trust_file;
mod verified;
mod violation;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::chat::{
    ChannelName, Code, Command, ConversationInfo, Event, Message, MsgId, Opaque, Refusal, Request,
    Seq, Target, UserName,
};
use crate::crypto::pin_channel::PinChannel;
use changes::Changes;
use channels::Channels;
use clock::Clock;
use device_keys::DeviceKeys;
use history_check::HistoryCheck;
use incoming::Incoming;
use key_requests::KeyRequests;
use key_sync::{KeySync, Keys};
use maintenance::{Maintenance, Times};
use message_ids::MessageIds;
use opening::Opening;
use outgoing::{Outgoing, Settled};
pub use output::Output;
use pending::Pending;
use persistence::Persistence;
use replay_requests::ReplayRequests;
use sealing::Sealing;
use search::{Question, Search};
use search_index::Entry;
use sequence::Sequences;
use storage::{Account, FileKey, Storage, StorageError};
use trust::{Part, TrustStore};
use trust_file::{StoredTrust, TrustFile};
use verified::Verified;
pub use violation::Violation;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
pub(crate) mod memory_tests;

/// A change of a sealed conversation, and the message that its user wants to change.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Id of the change.
    pub change: MsgId,
    pub to: Target,
    /// The number under which the message is displayed.
    pub of: Seq,
    /// Id of the message, if the user has not chosen it by the number.
    pub chosen: Option<MsgId>,
}

pub struct Engine {
    account: Arc<dyn Account>,
    storage: Box<dyn Storage>,
    /// The user's name on this server.
    own: UserName,
    /// Messages refused for their rate are sent again automatically.
    retries: bool,
    trust: TrustStore,
    file: TrustFile,
    clock: Clock,
    devices: DeviceKeys,
    channels: Channels,
    /// The notice about the first-use limit was given.
    full_reported: bool,
    key_requests: KeyRequests,
    key_sync: KeySync,
    maintenance: Maintenance,
    /// Events after a message whose sender key was requested.
    pending: Pending,
    verified: Verified,
    ids: MessageIds,
    sequences: Sequences,
    changes: Changes,
    persistence: Persistence,
    replays: ReplayRequests,
    history: HistoryCheck,
    search: Search,
    outgoing: Outgoing,
}

impl Engine {
    /// Opens the engine with the stored state of this server.
    ///
    /// # Errors
    /// A stored file that cannot be read.
    pub fn open(
        account: Arc<dyn Account>,
        mut storage: Box<dyn Storage>,
        retries: bool,
    ) -> Result<Engine, StorageError> {
        // Reads the setting now, so that an unreadable one is reported before anything depends on
        // it.
        storage.stores_messages()?;
        let file = TrustFile::open(&mut *storage, &*account)?;
        let mut devices = DeviceKeys::default();
        devices.refresh(&mut *storage, &*account)?;
        let (sequences, changes) = persistence::read(&*storage, file.key())?;
        Ok(Engine {
            own: account.name().clone(),
            retries,
            trust: TrustStore::of(*account.founding(), file.kept.people.iter()),
            channels: Channels::of(file.channels()),
            search: Search::new(file.key()),
            changes,
            persistence: Persistence::default(),
            replays: ReplayRequests::default(),
            clock: Clock::default(),
            account,
            storage,
            file,
            devices,
            full_reported: false,
            key_requests: KeyRequests::default(),
            key_sync: KeySync::default(),
            maintenance: Maintenance::default(),
            pending: Pending::default(),
            verified: Verified::default(),
            ids: MessageIds::default(),
            sequences,
            history: HistoryCheck::default(),
            outgoing: Outgoing::default(),
        })
    }

    /// The key of files that are written record by record.
    pub fn record_key(&self) -> FileKey {
        self.file.key()
    }

    /// The PIN channels whose keys are known.
    pub fn channels(&self) -> impl Iterator<Item = &ChannelName> {
        self.channels.names()
    }

    /// Names of PIN channels that the user has left.
    pub fn left(&self) -> &BTreeSet<ChannelName> {
        &self.file.kept.left
    }

    /// Takes up the sealed bodies of messages that are not stored yet.
    pub fn resume_outgoing(&mut self, sealed: HashMap<MsgId, Opaque>) {
        self.outgoing.resume(sealed);
    }

    /// This client takes up each conversation where the last one left it, and stores what comes.
    pub fn resume(&mut self, clock_ms: i64) {
        self.clock.begin(&self.file.kept.time, clock_ms);
        let now_ms = self.clock.time_ms(clock_ms);
        let stored = (&mut self.sequences, &mut self.changes);
        self.persistence.resume(&mut *self.storage, self.file.key(), stored);
        self.search.start(&mut *self.storage, now_ms);
    }

    /// The outgoing queue, and the state that sealing uses.
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
            clock: &self.clock,
            now_ms,
        };
        (&mut self.outgoing, sealing)
    }

    /// The state that verification uses.
    fn incoming(&mut self, now_ms: i64) -> Incoming<'_> {
        let opening = Opening {
            account: &*self.account,
            storage: &mut *self.storage,
            own: &self.own,
            trust: &mut self.trust,
            file: &mut self.file,
            devices: &mut self.devices,
            channels: &self.channels,
            verified: &mut self.verified,
            now_ms,
        };
        Incoming {
            opening,
            sequences: &mut self.sequences,
            history: &mut self.history,
            replays: &mut self.replays,
            stores: self.persistence.stores(),
            ids: &mut self.ids,
            changes: &mut self.changes,
            search: &mut self.search,
        }
    }

    /// Key synchronisation, and the state that it uses.
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

    /// Applies a change and stores it with all pending changes of trust.
    fn save(&mut self, change: impl FnOnce(&mut StoredTrust)) -> Result<(), String> {
        self.file.save(&mut *self.storage, &*self.account, &mut self.trust, change)
    }

    /// Stores all pending changes of trust.
    pub fn save_trust(&mut self) -> Result<(), String> {
        self.file.save_learned(&mut *self.storage, &*self.account, &mut self.trust)
    }

    /// Stores the key of a PIN channel and returns the channel's full name.
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

    /// Deletes the key, the messages and the sequence of a channel that the user has left.
    fn forget_channel(&mut self, name: &ChannelName, now_ms: i64) -> Result<(), String> {
        if !self.channels.remove(name) {
            return Ok(());
        }
        let conversation = Target::Channel(name.clone());
        self.sequences.forget(&conversation);
        self.changes.forget(&conversation);
        self.search.record(&mut *self.storage, &[Entry::Forget(conversation)], now_ms);
        self.save(|kept| kept.forget_channel(name))
    }

    /// Stores the sequences together with the read positions.
    pub fn store_progress(&mut self, clock_ms: i64) {
        let now_ms = self.clock.time_ms(clock_ms);
        self.search.tidy(&mut *self.storage, now_ms);
        let stored = (&mut self.sequences, &mut self.changes);
        self.persistence.store(&mut *self.storage, stored, now_ms);
    }

    /// Leaves a channel while offline.
    pub fn forget(&mut self, channel: &ChannelName, clock_ms: i64) -> Vec<Output> {
        let now_ms = self.clock.time_ms(clock_ms);
        self.forget_channel(channel, now_ms).err().map(Output::Trouble).into_iter().collect()
    }

    /// Records which message a change is about. Without an id the user has chosen the message that
    /// this client has verified under the number; of an unknown one nothing is recorded.
    pub fn choose(&mut self, Choice { change, to, of, chosen }: Choice) {
        if let Some(chosen) = chosen.or_else(|| self.ids.id_of(&to, of, &self.own)) {
            self.outgoing.choose(change, chosen);
        }
    }

    /// Discards an unsent message.
    pub fn discard(&mut self, id: MsgId) {
        self.outgoing.discard(id);
    }

    /// Compensates for a change of the client's clock by `by_ms`.
    pub fn clock_is_set(&mut self, by_ms: i64) {
        self.clock.is_set(by_ms);
        self.maintenance.is_due();
    }

    /// Resets the state of the connection. The model sends open messages again.
    pub fn lost(&mut self) {
        self.pending.clear();
        self.history.lost();
        self.replays.lost();
        self.channels.lost();
        self.trust.disconnected();
        self.key_requests.lost();
        self.maintenance.is_in = false;
        self.clock.lost();
        self.outgoing.lost();
    }

    /// Handles an event from the server.
    pub fn received(&mut self, event: Event, clock_ms: i64) -> Vec<Output> {
        let mut next = Vec::new();
        if let Event::Welcome { time_ms, .. } = event {
            let report = self.clock.login(time_ms, &self.file.kept.time, clock_ms);
            next.extend(report.map(Output::Trouble));
        }
        let now_ms = self.clock.time_ms(clock_ms);
        self.key_requests.clock(now_ms);
        match event {
            Event::Keys { name, keys, more, reference } => {
                self.key_requests.answered(reference.as_deref());
                let part = Part { keys, more, asked: reference.is_some() };
                self.learn(&name, part, now_ms, &mut next);
            }
            // Only this client has sent these requests, so the model need not see the refusal.
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
                match key_sync::missing_keys(&event, &self.trust) {
                    Some(name) => {
                        self.pending.push(event);
                        self.key_requests.request_mentioned(&[name], &mut self.trust, &mut next);
                    }
                    None => self.pass(event, now_ms, &mut next),
                }
            }
        }
        if self.trust.is_full() && !std::mem::replace(&mut self.full_reported, true) {
            next.push(Output::Trouble(key_compare::LIMIT_REACHED.into()));
        }
        self.keys(now_ms).1.report_set_back(&mut next);
        next
    }

    /// Takes a key list and continues with the events that waited for it.
    fn learn(&mut self, name: &UserName, part: Part, now_ms: i64, next: &mut Vec<Output>) {
        let (key_sync, mut keys) = self.keys(now_ms);
        if !key_sync.learn(name, part, &mut keys, next) {
            return;
        }
        while let Some(event) = self.pending.pop() {
            if let Some(name) = key_sync::missing_keys(&event, &self.trust) {
                self.pending.push_back_in_front(event);
                self.key_requests.request_mentioned(&[name], &mut self.trust, next);
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
                self.ids.rename_own(&self.own, name);
                (self.own, self.outgoing.text_bytes_max) = (name.clone(), text_bytes_max);
                self.keys(now_ms).1.login(next);
                self.maintenance.is_in = true;
                self.renew(now_ms, next);
                self.key_requests.request_mentioned(
                    std::slice::from_ref(name),
                    &mut self.trust,
                    next,
                );
            }
            Event::Conversations { ref conversations } => {
                self.incoming(now_ms).begin(conversations, next)
            }
            Event::Entered { ref channel, epoch, last, read, retention, ref people, .. }
                if channel.has_pin() =>
            {
                let to = Target::Channel(channel.clone());
                let conversation = ConversationInfo { to, epoch, last, read, retention };
                self.incoming(now_ms).begin(&[conversation], next);
                self.key_requests.request_mentioned(people, &mut self.trust, next);
            }
            Event::Joined { ref to, ref who, .. } if to.has_pin() => {
                self.key_requests.request_mentioned(
                    std::slice::from_ref(who),
                    &mut self.trust,
                    next,
                );
            }
            Event::Topic { .. } | Event::History { .. } | Event::Gap { .. } => {
                self.incoming(now_ms).passes(&event, next);
            }
            Event::Parted { ref channel, ref reference } => {
                self.is_left(channel, reference.as_ref(), now_ms, next);
            }
            Event::Refused { code, ref reference, .. } => {
                match self.channels.left_by(reference.as_ref()) {
                    Some(channel) if code == Code::NotMember => {
                        self.is_left(&channel, reference.as_ref(), now_ms, next);
                    }
                    Some(channel) => self.channels.stays(&channel),
                    None => {}
                }
            }
            Event::Stored { id, ref to, seq } => {
                let is_sealed = to.is_sealed();
                let counts = is_sealed && self.is_stored(id, to, seq, next);
                next.extend((counts || !is_sealed).then_some(Output::Event(event)));
                return self.settled(counts.then_some((id, Settled::Stored)), now_ms, next);
            }
            _ => {}
        }
        let settled = outgoing::settles(&event, self.retries);
        next.push(Output::Event(event));
        self.settled(settled, now_ms, next);
    }

    fn message(&mut self, message: Message, now_ms: i64, next: &mut Vec<Output>) {
        let to = message.conversation(Some(&self.own));
        if to.is_sealed() && self.file.is_old(now_ms) {
            // Without it, the keys that this client knows decide. Sealing reports the problem.
            let _ = self.keys(now_ms).1.refresh();
        }
        let own = message.from == self.own && message.reference.is_none();
        let id = message.id;
        let told = self.incoming(now_ms).verify(message, &to, next);
        // A message that was refused acknowledges nothing.
        let counts = own && matches!(told, Output::Event(_)) && self.outgoing.is_open(&to, id);
        next.push(told);
        self.settled(counts.then_some((id, Settled::Delivered)), now_ms, next);
    }

    /// Takes the number of an own message that is in flight in this conversation. Returns whether
    /// the server may have given it: each number belongs to one message.
    fn is_stored(&mut self, id: MsgId, to: &Target, seq: Seq, next: &mut Vec<Output>) -> bool {
        if !self.outgoing.is_open(to, id) {
            return false;
        }
        let own = (id, &self.own);
        let is_free = !self.ids.is_anothers(to, seq, own) && !self.ids.is_elsewhere(to, seq, own);
        match is_free {
            true => self.ids.remember(to, seq, own),
            false => next.push(Output::Trouble(format!(
                "the server says that your message to {to} is number {seq}, which is another \
                 message: it still counts as not stored. Do not trust this server"
            ))),
        }
        is_free
    }

    /// Answers a request locally instead of the server.
    pub fn answered(&mut self, event: Event, clock_ms: i64) -> Vec<Output> {
        let now_ms = self.clock.time_ms(clock_ms);
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
        reference: Option<&String>,
        now_ms: i64,
        next: &mut Vec<Output>,
    ) {
        if self.channels.confirm_left(channel, reference) {
            next.extend(self.forget_channel(channel, now_ms).err().map(Output::Trouble));
        }
    }

    /// Renews device keys if the clocks agree, and deletes those that are no longer needed at the
    /// certain time.
    fn renew(&mut self, now_ms: i64, next: &mut Vec<Output>) {
        let (mut time, stored) = (self.file.kept.time, self.file.kept.time);
        self.clock.takes_time(&mut time, self.clock.clock_ms(now_ms));
        if time.is_news(&stored) {
            next.extend(self.save(|kept| kept.time = time).err().map(Output::Trouble));
        }
        let makes = self.clock.agrees();
        let times = Times { makes, now_ms, certain_ms: time.certain_ms(now_ms) };
        let (storage, account) = (&mut *self.storage, &*self.account);
        next.extend(self.maintenance.renew(&mut self.devices, storage, account, times));
    }

    /// Time until `maintain` has work at the latest, in milliseconds.
    pub fn rests_ms(&self, clock_ms: i64) -> u64 {
        let now_ms = self.clock.time_ms(clock_ms);
        let rests_ms = [
            self.key_requests.rests_ms(now_ms),
            self.file.rest_ms(now_ms),
            self.search.rest_ms(now_ms),
            self.persistence.rest_ms(&self.changes, now_ms),
            self.key_sync.rest_ms(now_ms),
        ];
        rests_ms.into_iter().flatten().fold(self.maintenance.rest_ms(now_ms), u64::min)
    }

    /// Runs what is due by the clock.
    pub fn maintain(&mut self, clock_ms: i64) -> Vec<Output> {
        let now_ms = self.clock.time_ms(clock_ms);
        self.key_requests.clock(now_ms);
        let troubles = self.persistence.take_troubles().chain(self.search.take_trouble());
        let damage = self.storage.take_damage();
        let mut next: Vec<_> = troubles.chain(damage).map(Output::Trouble).collect();
        if self.file.rest_ms(now_ms) == Some(0) {
            self.keys(now_ms).1.save(&mut next);
        }
        self.keys(now_ms).1.report_set_back(&mut next);
        self.key_sync.give_up(now_ms, &mut next);
        let waits = [self.search.rest_ms(now_ms), self.persistence.rest_ms(&self.changes, now_ms)];
        if waits.contains(&Some(0)) {
            self.store_progress(clock_ms);
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

    /// Runs `/fingerprint NAME`: shows the keys and the safety number, or confirms the keys.
    pub fn look_up(&mut self, name: &UserName, confirms: bool, clock_ms: i64) -> Vec<Output> {
        let now_ms = self.clock.time_ms(clock_ms);
        self.key_requests.clock(now_ms);
        let mut next = Vec::new();
        let (key_sync, mut keys) = self.keys(now_ms);
        if key_sync.look_up(name, confirms, &mut keys, &mut next) {
            self.pump_all(now_ms, &mut next);
        }
        next
    }

    /// Runs `/set` and `/set search on` or `off`; `off` erases the stored messages of every server.
    pub fn set_search(&mut self, search: Option<bool>) -> Vec<Output> {
        vec![self.search.set(&mut *self.storage, search)]
    }

    /// Sends a command of the model.
    pub fn send(&mut self, request: Request, clock_ms: i64) -> Vec<Output> {
        let now_ms = self.clock.time_ms(clock_ms);
        self.key_requests.clock(now_ms);
        let mut next = Vec::new();
        let Request { command, reference } = request;
        match command {
            Command::Say(message) if message.to.is_sealed() => {
                let (outgoing, mut sealing) = self.sealing(now_ms);
                outgoing.say(message, &mut sealing, &mut next);
            }
            // The server must not see what the user searches for in a sealed conversation.
            Command::Search { text, to: Some(to) } if to.is_sealed() => {
                let conversation = &match &to {
                    Target::User(name) => Target::User(self.trust.spelled(name)),
                    channel => channel.clone(),
                };
                let (epoch, _) = self.sequences.epoch_and_retention(conversation);
                let question = Question { to, conversation, epoch, text: &text, reference };
                return self.search.answer(&*self.storage, question, now_ms);
            }
            Command::History { ref to, kind: Some(_), .. } if to.is_sealed() => {
                self.history.record_selection(to, reference.as_deref().unwrap_or_default());
                next.push(Output::Send(Request { command, reference }));
            }
            Command::History { ref to, before, .. } if to.is_sealed() => {
                // Without an upper bound the answer has the newest messages, which are already
                // here.
                let asked = reference.as_deref().unwrap_or_default();
                before
                    .into_iter()
                    .for_each(|before| self.history.record_request(to, asked, before));
                next.push(Output::Send(Request { command, reference }));
            }
            Command::Resume { ref conversations } => {
                self.replays.resume(conversations);
                next.push(Output::Send(Request { command, reference }));
            }
            Command::Join { ref channel, after } => {
                self.channels.stays(channel);
                self.replays.join(Target::Channel(channel.clone()), after);
                next.push(Output::Send(Request { command, reference }));
            }
            Command::Part { ref channel } => {
                self.channels.leaves(channel, reference.as_ref());
                next.push(Output::Send(Request { command, reference }));
            }
            // The server would refuse the topic, but would have read it.
            Command::Topic { ref channel, text: Some(_) } if channel.has_pin() => {
                let refused = Refusal::NoTopic.event(None, reference);
                next.push(Output::Answer(refused));
            }
            command => next.push(Output::Send(Request { command, reference })),
        }
        next
    }
}
