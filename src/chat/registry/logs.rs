//! Logs of conversations: their bounds, where sessions start to read, and read positions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{CountSpan, Effect, Epochs, Fact, Lost, Rules, Start, Topic};
use crate::chat::{
    ChannelName, Conversation, ConversationInfo, Epoch, Event, Retention, Seq, SessionId,
    SyncPoint, UserName,
};

/// A conversation of an earlier run.
#[derive(Clone, Debug, PartialEq)]
pub struct Remembered {
    pub conversation: Conversation,
    /// The seq before the first message.
    pub first: Seq,
    /// The seq of the newest message.
    pub last: Seq,
    /// Whether the ledger has messages of it.
    pub stored: bool,
    pub topic: Option<Topic>,
    pub reads: Vec<(UserName, Seq)>,
    /// Messages since each user of a private conversation was last online.
    pub waiting: Vec<(UserName, usize)>,
}

impl Remembered {
    /// Returns it with the registered spellings of users' names: the ledger has their folded forms.
    pub fn spelled(mut self, directory: impl Fn(&UserName) -> Option<UserName>) -> Remembered {
        let spell = |name: &mut UserName| *name = directory(name).unwrap_or_else(|| name.clone());
        if let Conversation::Private(one, other) = &mut self.conversation {
            spell(one);
            spell(other);
        }
        if let Some(topic) = &mut self.topic {
            spell(&mut topic.by);
        }
        self
    }
}

/// The state of a conversation's log.
struct Log {
    id: Epoch,
    /// The seq before the first message.
    first: Seq,
    /// The seq of the newest message.
    last: Seq,
    reads: HashMap<UserName, Seq>,
    /// Somebody wrote here and was charged for the conversation.
    begun: bool,
    /// The ledger has messages of it.
    stored: bool,
}

/// The logs of all conversations.
pub(super) struct Logs {
    logs: HashMap<Conversation, Log>,
    /// The users with whom a user has a private conversation.
    partners: HashMap<UserName, BTreeSet<UserName>>,
    ids: Epochs,
    /// How many logs in memory got an id.
    ephemeral: u64,
    /// Conversations that begin from now on get seqs above this one, so that no client's position
    /// in a dropped conversation lies beyond later messages.
    floor: Seq,
    /// The first user who claimed messages that the ledger lacks, and how many.
    loss_claim: Option<(UserName, u64)>,
    rules: Arc<Rules>,
}

impl Logs {
    pub fn new(rules: Arc<Rules>, ids: Epochs, floor: Seq) -> Logs {
        Logs {
            logs: HashMap::new(),
            partners: HashMap::new(),
            ids,
            ephemeral: 0,
            floor,
            loss_claim: None,
            rules,
        }
    }

    /// Changes the rules. The ids of logs stay.
    pub fn retune(&mut self, rules: Arc<Rules>) {
        self.rules = rules;
    }

    /// Restores a log of an earlier run, up to the seq `last`.
    pub fn remember(
        &mut self,
        conversation: &Conversation,
        (first, last): (Seq, Seq),
        stored: bool,
        reads: Vec<(UserName, Seq)>,
    ) {
        let log = self.log(conversation);
        (log.first, log.last) = (first, last);
        (log.begun, log.stored) = (stored, stored);
        log.reads = reads.into_iter().collect();
    }

    /// Returns a conversation's log, which begins with this call if there is none.
    fn log(&mut self, conversation: &Conversation) -> &mut Log {
        self.logs.entry(conversation.clone()).or_insert_with(|| {
            if let Some([one, other]) = conversation.people() {
                for (name, partner) in [(one, other), (other, one)] {
                    let partners = self.partners.entry(name.clone()).or_default();
                    partners.insert(partner.clone());
                }
            }
            let (id, first) = match (self.rules.retention)(conversation) {
                Retention::Off => {
                    self.ephemeral += 1;
                    (Epoch(self.ids.ephemeral.0.wrapping_add(self.ephemeral)), Seq(0))
                }
                _ => (self.ids.persistent, self.floor),
            };
            let reads = HashMap::new();
            Log { id, first, last: first, reads, begun: false, stored: false }
        })
    }

    pub fn exists(&self, conversation: &Conversation) -> bool {
        self.logs.contains_key(conversation)
    }

    /// Returns the newest seq of a conversation.
    pub fn last(&self, conversation: &Conversation) -> Seq {
        self.logs.get(conversation).map_or(Seq(0), |log| log.last)
    }

    /// Whether somebody wrote here and was charged for the conversation.
    pub fn is_begun(&self, conversation: &Conversation) -> bool {
        self.logs.get(conversation).is_some_and(|log| log.begun)
    }

    /// Somebody has paid for the conversation. Does nothing if it has no log yet.
    pub fn begin(&mut self, conversation: &Conversation) {
        if let Some(log) = self.logs.get_mut(conversation) {
            log.begun = true;
        }
    }

    /// Records that a message was stored.
    pub fn committed(&mut self, conversation: &Conversation, seq: Seq) {
        let log = self.log(conversation);
        (log.last, log.stored) = (seq, true);
    }

    /// The ledger found no message up to the seq `last`. Returns whether that is still so: a
    /// message that was stored meanwhile has a higher seq.
    pub fn emptied(&mut self, conversation: &Conversation, last: Seq) -> bool {
        let log = self.logs.get_mut(conversation).filter(|log| log.last == last);
        log.map(|log| log.stored = false).is_some()
    }

    /// Whether the ledger has messages of a conversation.
    pub fn is_stored(&self, conversation: &Conversation) -> bool {
        self.logs.get(conversation).is_some_and(|log| log.stored)
    }

    /// Returns the channels of which the ledger has messages.
    pub fn stored_channels(&self) -> impl Iterator<Item = &ChannelName> {
        self.logs.iter().filter(|(_, log)| log.stored).filter_map(|(name, _)| match name {
            Conversation::Channel(channel) => Some(channel),
            Conversation::Private(..) => None,
        })
    }

    /// Whether a conversation's messages are on disk.
    fn is_on_disk(&self, conversation: &Conversation) -> bool {
        self.is_stored(conversation) && (self.rules.retention)(conversation) != Retention::Off
    }

    /// Nobody is left in a channel. Drops its log, unless it stays for those who return. Returns
    /// whether messages stay.
    pub fn leave_channel(&mut self, conversation: &Conversation, is_configured: bool) -> bool {
        let stays = self.is_on_disk(conversation) && !(self.rules.forgets)(conversation);
        let is_ephemeral = (self.rules.retention)(conversation) == Retention::Off;
        if !stays && (is_ephemeral || !is_configured) {
            self.forget(conversation);
        }
        stays
    }

    /// Drops a conversation's log. The floor moves up, so that later logs get higher seqs than this
    /// one.
    fn forget(&mut self, conversation: &Conversation) {
        let Some(log) = self.logs.remove(conversation) else { return };
        if log.id == self.ids.persistent {
            self.floor = self.floor.max(log.last);
        }
    }

    /// Drops the private conversations of users who are `gone` that are in memory only or have no
    /// message, unless the other user may return: then it is checked again when that one is gone.
    pub fn forget_private(
        &mut self,
        gone: Vec<UserName>,
        may_return: impl Fn(&UserName) -> bool,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        for name in gone {
            for partner in self.partners.get(&name).cloned().unwrap_or_default() {
                let conversation = Conversation::private(name.clone(), partner.clone());
                if may_return(&partner) || self.is_on_disk(&conversation) {
                    continue;
                }
                self.forget(&conversation);
                for (one, other) in [(&name, &partner), (&partner, &name)] {
                    if let Some(partners) = self.partners.get_mut(one) {
                        partners.remove(other);
                    }
                }
                effects.push(Effect::Forget(conversation));
            }
        }
        self.partners.retain(|_, partners| !partners.is_empty());
        effects
    }

    /// Moves the private conversations of a user, except `kept`, and the read positions to another
    /// name. Returns the other users of these conversations.
    pub fn rename(
        &mut self,
        old: &UserName,
        new: &UserName,
        kept: &[Conversation],
    ) -> Vec<UserName> {
        let mut moved = Vec::new();
        for partner in self.partners.get(old).cloned().unwrap_or_default() {
            let from = Conversation::private(old.clone(), partner.clone());
            let Some(to) = from.renamed(old, new) else { continue };
            if kept.contains(&from) {
                continue;
            }
            let Some(log) = self.logs.remove(&from) else { continue };
            if log.id == self.ids.persistent {
                // Clients have positions under the old name.
                self.floor = self.floor.max(log.last);
            }
            let partner = if partner == *old { new.clone() } else { partner };
            for (name, other) in [(new, &partner), (&partner, new)] {
                self.partners.entry(name.clone()).or_default().insert(other.clone());
            }
            for (name, other) in [(old, &partner), (&partner, old)] {
                if let Some(partners) = self.partners.get_mut(name) {
                    partners.remove(other);
                }
            }
            self.logs.insert(to, log);
            moved.push(partner);
        }
        self.partners.retain(|_, partners| !partners.is_empty());
        for log in self.logs.values_mut() {
            if let Some(read) = log.reads.remove(old) {
                log.reads.insert(new.clone(), read);
            }
        }
        moved
    }

    /// Returns a user's private conversations.
    pub fn conversations(&self, user: &UserName) -> Vec<Conversation> {
        let partners = self.partners.get(user).into_iter().flatten();
        partners.map(|partner| Conversation::private(user.clone(), partner.clone())).collect()
    }

    /// Returns the user `name`, if `user` has a private conversation with them.
    pub fn partner(&self, user: &UserName, name: &UserName) -> Option<&UserName> {
        self.partners.get(user)?.get(name)
    }

    /// Handles a client's claim to have messages after the last one, which the ledger would then
    /// have lost. Claims of two users begin a new epoch of all conversations, so that no client
    /// confuses new messages with old ones. A claim of one user alone is only reported, because any
    /// user can make it.
    pub fn notice_loss(
        &mut self,
        user: &UserName,
        conversation: &Conversation,
        point: Option<SyncPoint>,
    ) -> Option<Effect> {
        let Epochs { persistent, next, .. } = self.ids;
        let point = point.filter(|point| point.epoch == persistent && persistent != next)?;
        let log = self.logs.get(conversation)?;
        if log.id != persistent || point.seq <= log.last {
            return None;
        }
        let (conversation, missing) = (conversation.clone(), point.seq.0 - log.last.0);
        let by = user.clone();
        let Some((_, claimed)) = self.loss_claim.clone().filter(|(first, _)| first != user) else {
            let is_new = self.loss_claim.is_none();
            self.loss_claim.get_or_insert((by.clone(), missing));
            return is_new.then_some(Effect::Loss(Lost { conversation, by, missing, epoch: None }));
        };
        let missing = missing.min(claimed);
        self.ids.persistent = next;
        self.logs.values_mut().filter(|log| log.id == persistent).for_each(|log| log.id = next);
        Some(Effect::Loss(Lost { conversation, by, missing, epoch: Some(next) }))
    }

    /// Returns where a session with the position `point` starts to read a conversation.
    pub fn start(&mut self, conversation: &Conversation, point: Option<SyncPoint>) -> Start {
        let (resume_max, first_max) =
            (self.rules.limits.resume_messages_max, self.rules.limits.first_messages_max);
        let log = self.log(conversation);
        let first = log.first;
        let known = point.filter(|point| point.epoch == log.id && point.seq <= log.last);
        match known {
            Some(point) => {
                let after = point.seq.max(first);
                Start { after, upto: log.last, messages_max: resume_max, fresh: false }
            }
            None => Start { after: first, upto: log.last, messages_max: first_max, fresh: true },
        }
    }

    /// Starts after the newest message.
    pub fn start_now(&mut self, conversation: &Conversation) -> Start {
        let last = self.log(conversation).last;
        Start { after: last, upto: last, messages_max: 0, fresh: true }
    }

    /// Starts the lobby and all private conversations of a user at the client's positions. Returns
    /// what the client has to know of them, and the effects.
    pub fn resume(
        &mut self,
        from: SessionId,
        user: &UserName,
        points: &HashMap<Conversation, SyncPoint>,
    ) -> (Vec<ConversationInfo>, Vec<Effect>) {
        let lobby = Conversation::Channel(ChannelName::lobby());
        let lost = points.iter().find_map(|(one, point)| self.notice_loss(user, one, Some(*point)));
        let mut effects: Vec<Effect> = lost.into_iter().collect();
        let mut infos = Vec::new();
        for conversation in std::iter::once(lobby).chain(self.conversations(user)) {
            let point = points.get(&conversation).copied();
            infos.push(self.info(user, &conversation));
            let start = self.start(&conversation, point);
            effects.push(Effect::Follow(conversation, vec![from], start));
        }
        (infos, effects)
    }

    /// Returns what a user's client has to know of a conversation.
    pub fn info(&mut self, user: &UserName, conversation: &Conversation) -> ConversationInfo {
        let retention = (self.rules.retention)(conversation);
        let log = self.log(conversation);
        let read = log.reads.get(user).copied().unwrap_or_default().max(log.first);
        ConversationInfo {
            to: conversation.as_seen_by(user),
            epoch: log.id,
            last: log.last,
            read,
            retention,
        }
    }

    /// Returns the spans of conversations after the given seqs.
    pub fn spans(&self, after: impl Iterator<Item = (Conversation, Seq)>) -> Vec<CountSpan> {
        let mut spans = BTreeMap::new();
        for (conversation, seq) in after {
            let Some(log) = self.logs.get(&conversation) else { continue };
            let (after, upto) = (seq.min(log.last), log.last);
            spans.insert(conversation.clone(), CountSpan { conversation, after, upto });
        }
        spans.into_values().collect()
    }

    /// Moves a user's read positions forward, stores them, and sends them to the user's other
    /// sessions. Reading does not create a conversation.
    pub fn read(
        &mut self,
        user: &UserName,
        newest: BTreeMap<Conversation, Seq>,
        others: Vec<SessionId>,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (conversation, seq) in newest {
            let Some(log) = self.logs.get_mut(&conversation) else { continue };
            let seq = seq.min(log.last);
            let read = log.reads.entry(user.clone()).or_default();
            if seq <= *read {
                continue;
            }
            *read = seq;
            let to = conversation.as_seen_by(user);
            if !others.is_empty() {
                effects.push(Effect::Send(others.clone(), Event::Read { to, seq }));
            }
            effects.push(Effect::Remember(Fact::Read(user.clone(), conversation, seq)));
        }
        effects
    }

    /// Whether a user was in a channel with a PIN when it had messages.
    pub fn knows(&self, user: &UserName, channel: &ChannelName) -> bool {
        let log = self.logs.get(&Conversation::Channel(channel.clone()));
        log.is_some_and(|log| log.reads.contains_key(user))
    }

    /// Stores that a user knows a channel with a PIN. Only if the channel has messages: PIN guesses
    /// must not write to the disk.
    pub fn remember_member(&mut self, who: &UserName, channel: &ChannelName) -> Option<Effect> {
        let conversation = Conversation::Channel(channel.clone());
        let log = self.logs.get_mut(&conversation).filter(|log| channel.has_pin() && log.stored)?;
        if log.reads.contains_key(who) {
            return None;
        }
        log.reads.insert(who.clone(), Seq(0));
        Some(Effect::Remember(Fact::Read(who.clone(), conversation, Seq(0))))
    }

    #[cfg(test)]
    pub fn id_of(&mut self, conversation: &Conversation) -> Epoch {
        self.log(conversation).id
    }

    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.logs.len()
    }

    #[cfg(test)]
    pub fn partners(&self) -> usize {
        self.partners.len()
    }
}
