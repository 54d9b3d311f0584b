//! Logs of conversations: their bounds, where sessions start to read, and read positions.

use std::collections::{BTreeMap, HashMap};

use super::{CountSpan, Directory, Effect, Fact, Log, Lost, Registry, Remembered, Start};
use crate::chat::rate::Stamp;
use crate::chat::{
    ChannelName, Conversation, ConversationInfo, Event, LogId, Mark, Position, ReadMark, Refusal,
    Retention, Seq, SessionId, Target, UserName,
};

impl Registry {
    /// Restores a conversation of an earlier run.
    pub fn remember(&mut self, known: Remembered) {
        let Remembered { conversation, first, last, stored, topic, reads, waiting } = known;
        if let (Conversation::Channel(channel), Some(topic)) = (&conversation, topic) {
            self.topics.insert(channel.clone(), topic);
        }
        let log = self.log(&conversation);
        (log.first, log.last) = (first, last);
        (log.begun, log.stored) = (stored, stored);
        log.reads = reads.into_iter().collect();
        for (name, count) in waiting.into_iter().filter(|(_, count)| *count > 0) {
            self.user(&name, Stamp(0)).wait_for(&conversation, &name, count);
        }
        // A channel without messages is dropped again unless somebody joins.
        if let Conversation::Channel(channel) = conversation
            && !stored
        {
            self.channels.entry(channel).or_default().empty_since = Some(Stamp(0));
        }
    }

    pub(super) fn log(&mut self, conversation: &Conversation) -> &mut Log {
        let rules = &self.rules;
        self.logs.entry(conversation.clone()).or_insert_with(|| {
            if let Some([one, other]) = conversation.people() {
                for (name, partner) in [(one, other), (other, one)] {
                    let partners = self.partners.entry(name.clone()).or_default();
                    partners.insert(partner.clone());
                }
            }
            let (id, first) = match (rules.retention)(conversation) {
                Retention::Off => {
                    self.logs_made += 1;
                    (LogId(rules.ephemeral.0.wrapping_add(self.logs_made)), Seq(0))
                }
                _ => (rules.persistent, self.floor),
            };
            let reads = HashMap::new();
            Log { id, first, last: first, reads, begun: false, stored: false }
        })
    }

    /// Records that a message was stored.
    pub fn committed(&mut self, conversation: &Conversation, seq: Seq) {
        let log = self.log(conversation);
        (log.last, log.stored) = (seq, true);
    }

    /// Handles conversations in which the ledger found no message up to the given seqs. Those
    /// without people are dropped: channels now, private conversations once both users have been
    /// offline for the resume window.
    pub fn emptied(&mut self, conversations: Vec<(Conversation, Seq)>, now: Stamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (conversation, last) in conversations {
            // A message that was stored meanwhile has a higher seq.
            let Some(log) = self.logs.get_mut(&conversation).filter(|log| log.last == last) else {
                continue;
            };
            log.stored = false;
            match &conversation {
                Conversation::Channel(name) => {
                    if !self.channels.contains_key(name) && !(self.rules.configured)(name) {
                        effects.push(self.forget_channel(name));
                    }
                }
                Conversation::Private(..) => {
                    for name in conversation.people().into_iter().flatten() {
                        if self.sessions_of(name).is_empty() {
                            self.left.entry(name.clone()).or_insert(now);
                        }
                    }
                }
            }
        }
        effects
    }

    /// Drops a conversation's log. The floor moves up, so that later logs get higher seqs than this
    /// one.
    pub(super) fn forget_log(&mut self, conversation: &Conversation) {
        let Some(log) = self.logs.remove(conversation) else { return };
        if log.id == self.rules.persistent {
            self.floor = self.floor.max(log.last);
        }
    }

    /// Undoes the mailbox count of a message that was not stored.
    pub fn refused(&mut self, conversation: &Conversation, from: &UserName) {
        for person in conversation.people().into_iter().flatten().filter(|person| *person != from) {
            let Some(user) = self.users.get_mut(person) else { continue };
            let Some(count) = user.waiting.get_mut(from) else { continue };
            *count -= 1;
            if *count == 0 {
                user.waiting.remove(from);
            }
        }
    }

    /// Returns the newest seq of a conversation.
    pub fn last(&self, conversation: &Conversation) -> Seq {
        self.logs.get(conversation).map_or(Seq(0), |log| log.last)
    }

    /// Returns the conversations that a session may read.
    pub fn readable(&self, id: SessionId) -> Vec<Conversation> {
        let Some(session) = self.sessions.get(&id) else { return Vec::new() };
        let channels = session.channels.iter().cloned().map(Conversation::Channel);
        channels.chain(self.conversations(&session.user)).collect()
    }

    pub(super) fn conversations(&self, user: &UserName) -> Vec<Conversation> {
        let partners = self.partners.get(user).into_iter().flatten();
        partners.map(|partner| Conversation::private(user.clone(), partner.clone())).collect()
    }

    /// Drops private conversations that are in memory only or have no message, once both users have
    /// been offline for the resume window.
    pub(super) fn forget_conversations(&mut self, window_ms: u64, now: Stamp) -> Vec<Effect> {
        let over = |(_, since): &(&UserName, &Stamp)| now.ms_since(**since) >= window_ms;
        let gone = self.left.iter().filter(over).map(|(name, _)| name.clone());
        let gone: Vec<UserName> = gone.collect();
        self.left.retain(|name, _| !gone.contains(name));
        let mut effects = Vec::new();
        for name in gone {
            for partner in self.partners.get(&name).cloned().unwrap_or_default() {
                let conversation = Conversation::private(name.clone(), partner.clone());
                let is_here = !self.sessions_of(&partner).is_empty();
                let stays = (self.rules.retention)(&conversation) != Retention::Off
                    && self.logs.get(&conversation).is_some_and(|log| log.stored);
                // The partner has left more recently: checked again when their window ends.
                if is_here || self.left.contains_key(&partner) || stays {
                    continue;
                }
                self.forget_log(&conversation);
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

    /// Handles a client's claim to have messages behind the last one, which the ledger has then
    /// lost. The claims of two users start new logs for all conversations, so that nobody takes new
    /// messages for old ones. One user alone is only reported, because anybody can claim it.
    pub(super) fn notice_loss(
        &mut self,
        user: &UserName,
        conversation: &Conversation,
        mark: Option<Mark>,
    ) -> Option<Effect> {
        let (persistent, next) = (self.rules.persistent, self.rules.next);
        let mark = mark.filter(|mark| mark.log == persistent && persistent != next)?;
        let log = self.logs.get(conversation)?;
        if log.id != persistent || mark.seq <= log.last {
            return None;
        }
        let (conversation, missing) = (conversation.clone(), mark.seq.0 - log.last.0);
        let by = user.clone();
        let Some((_, claimed)) = self.loss_claim.clone().filter(|(first, _)| first != user) else {
            let is_new = self.loss_claim.is_none();
            self.loss_claim.get_or_insert((by.clone(), missing));
            return is_new.then_some(Effect::Loss(Lost { conversation, by, missing, log: None }));
        };
        let missing = missing.min(claimed);
        self.rules.persistent = next;
        self.logs.values_mut().filter(|log| log.id == persistent).for_each(|log| log.id = next);
        Some(Effect::Loss(Lost { conversation, by, missing, log: Some(next) }))
    }

    /// Returns where a session with the position `mark` starts to read a conversation.
    pub(super) fn start(&mut self, conversation: &Conversation, mark: Option<Mark>) -> Start {
        let (resume_max, first_max) =
            (self.rules.limits.resume_lines_max, self.rules.limits.first_lines_max);
        let log = self.log(conversation);
        let first = log.first;
        let known = mark.filter(|mark| mark.log == log.id && mark.seq <= log.last);
        match known {
            Some(mark) => {
                let after = mark.seq.max(first);
                Start { after, upto: log.last, lines_max: resume_max, fresh: false }
            }
            None => Start { after: first, upto: log.last, lines_max: first_max, fresh: true },
        }
    }

    /// Starts after the newest message.
    pub(super) fn start_now(&mut self, conversation: &Conversation) -> Start {
        let last = self.log(conversation).last;
        Start { after: last, upto: last, lines_max: 0, fresh: true }
    }

    /// Returns the conversation that `to` names for a session.
    ///
    /// # Errors
    ///
    /// Refuses channels that the session is not in, and unknown users.
    pub fn may_read(
        &self,
        from: SessionId,
        to: &Target,
        directory: Directory,
    ) -> Result<Conversation, Refusal> {
        match to {
            Target::Channel(channel) if self.is_member(from, channel) => {
                Ok(Conversation::Channel(channel.clone()))
            }
            Target::Channel(channel) => Err(Refusal::NotMember(channel.clone())),
            Target::User(name) => {
                let user = &self.session(from).user;
                let known = || {
                    // Conversations with removed users stay readable.
                    let partners = self.partners.get(user);
                    partners.and_then(|names| names.get(name)).cloned()
                };
                let name = directory(name).or_else(known);
                let name = name.ok_or_else(|| match to {
                    Target::User(name) => Refusal::NoSuchUser(name.clone()),
                    Target::Channel(channel) => Refusal::NotMember(channel.clone()),
                })?;
                Ok(Conversation::private(user.clone(), name))
            }
        }
    }

    /// Starts the lobby and all private conversations at the client's positions.
    pub(super) fn resume(
        &mut self,
        from: SessionId,
        conversations: &[Position],
        directory: Directory,
        now: Stamp,
    ) -> Vec<Effect> {
        let user = self.session(from).user.clone();
        if !std::mem::take(&mut self.sessions.get_mut(&from).expect("it asks").resumes) {
            return Vec::new();
        }
        let mut marks = HashMap::new();
        for position in conversations {
            if let Ok(conversation) = self.may_read(from, &position.to, directory) {
                marks.insert(conversation, position.mark);
            }
        }
        let lobby = Conversation::Channel(ChannelName::lobby());
        let lost = marks.iter().find_map(|(one, mark)| self.notice_loss(&user, one, Some(*mark)));
        let mut effects: Vec<Effect> = lost.into_iter().collect();
        let mut infos = Vec::new();
        for conversation in std::iter::once(lobby).chain(self.conversations(&user)) {
            let mark = marks.get(&conversation).copied();
            infos.push(self.conversation_info(&user, &conversation));
            let start = self.start(&conversation, mark);
            effects.push(Effect::Follow(conversation, vec![from], start));
        }
        // Splits the list, because a record holds about a hundred conversations.
        let event = |infos: &[ConversationInfo]| {
            Effect::Answer(Event::Conversations { conversations: infos.to_vec() })
        };
        let missed = self.missed(from, now);
        infos.chunks(50).map(event).chain(missed).chain(effects).collect()
    }

    /// Returns joins and leaves between a session's welcome and its resume, when it read no log.
    fn missed(&mut self, from: SessionId, now: Stamp) -> Vec<Effect> {
        let told = std::mem::take(&mut self.sessions.get_mut(&from).expect("it asks").told);
        let (to, limits) = (ChannelName::lobby(), &self.rules.limits);
        let Some(lobby) = self.channels.get(&to).filter(|_| !told.is_empty()) else {
            return Vec::new();
        };
        let here = lobby.here();
        if here > limits.announce_people_max {
            return Vec::new();
        }
        let left = told.iter().filter(|(who, _)| !lobby.people.contains_key(*who));
        let left = left.map(|(who, since)| {
            let (to, who, after_ms) = (to.clone(), who.clone(), now.ms_since(*since));
            Effect::Answer(Event::Left { to, who, here, after_ms, reason: None })
        });
        let came =
            lobby.people.iter().filter(|(who, member)| !told.contains_key(*who) && !member.silent);
        let came = came.map(|(who, _)| {
            let (to, who) = (to.clone(), who.clone());
            Effect::Answer(Event::Joined { to, who, here })
        });
        left.chain(came).collect()
    }

    /// Returns the spans in which a session may count messages. A conversation that it may not read
    /// has none.
    pub(super) fn count_spans(
        &self,
        from: SessionId,
        conversations: &[ReadMark],
        directory: Directory,
    ) -> Vec<CountSpan> {
        let mut spans: BTreeMap<Conversation, CountSpan> = BTreeMap::new();
        for ReadMark { to, seq } in conversations {
            let Ok(conversation) = self.may_read(from, to, directory) else { continue };
            let Some(log) = self.logs.get(&conversation) else { continue };
            let (after, upto) = ((*seq).min(log.last), log.last);
            spans.insert(conversation.clone(), CountSpan { conversation, after, upto });
        }
        spans.into_values().collect()
    }

    pub(super) fn conversation_info(
        &mut self,
        user: &UserName,
        conversation: &Conversation,
    ) -> ConversationInfo {
        let retention = (self.rules.retention)(conversation);
        let log = self.log(conversation);
        let read = log.reads.get(user).copied().unwrap_or_default().max(log.first);
        ConversationInfo {
            to: conversation.as_seen_by(user),
            log: log.id,
            last: log.last,
            read,
            retention,
        }
    }

    /// Stores read positions and sends them to the user's other sessions.
    pub(super) fn read(
        &mut self,
        from: SessionId,
        conversations: &[ReadMark],
        directory: Directory,
    ) -> Vec<Effect> {
        let user = self.session(from).user.clone();
        let mut others = self.sessions_of(&user).to_vec();
        others.retain(|id| *id != from);
        // Only the newest of several positions in one conversation is written and sent.
        let mut newest = BTreeMap::new();
        for ReadMark { to, seq } in conversations {
            let Ok(conversation) = self.may_read(from, to, directory) else { continue };
            let known: &mut Seq = newest.entry(conversation).or_default();
            *known = (*known).max(*seq);
        }
        let mut effects = Vec::new();
        for (conversation, seq) in newest {
            // Reading does not create a conversation.
            let Some(log) = self.logs.get_mut(&conversation) else { continue };
            let seq = seq.min(log.last);
            let read = log.reads.entry(user.clone()).or_default();
            if seq <= *read {
                continue;
            }
            *read = seq;
            let to = conversation.as_seen_by(&user);
            if !others.is_empty() {
                effects.push(Effect::Send(others.clone(), Event::Read { to, seq }));
            }
            effects.push(Effect::Remember(Fact::Read(user.clone(), conversation, seq)));
        }
        effects
    }
}
