//! The conversations' logs: how far each goes, where a session begins to read it, and how far
//! people have read.

use std::collections::{BTreeMap, HashMap};

use super::{Directory, Effect, Fact, Log, Registry, Remembered, Start};
use crate::chat::rate::Stamp;
use crate::chat::{
    ChannelName, Conversation, ConversationInfo, Event, LogId, Mark, Position, ReadMark, Refusal,
    Retention, Seq, SessionId, Target, UserName,
};

impl Registry {
    /// What is known of a conversation from before this run.
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
        // Where nothing is left, the channel is forgotten again unless somebody comes.
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
                    (LogId(rules.passing.0.wrapping_add(self.logs_made)), Seq(0))
                }
                _ => (rules.kept, self.floor),
            };
            let reads = HashMap::new();
            Log { id, first, last: first, reads, begun: false, stored: false }
        })
    }

    /// A line was committed.
    pub fn committed(&mut self, conversation: &Conversation, seq: Seq) {
        let log = self.log(conversation);
        (log.last, log.stored) = (seq, true);
    }

    /// The ledger has found no line of these conversations, whose last seqs were these. Those that
    /// nobody is in are forgotten: channels now, conversations once both people have been away for
    /// long enough.
    pub fn emptied(&mut self, conversations: Vec<(Conversation, Seq)>, now: Stamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (conversation, last) in conversations {
            // A line that was stored meanwhile has another seq.
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

    /// Forgets what is known of a conversation's log. Lines of conversations that begin later come
    /// behind its last one.
    pub(super) fn forget_log(&mut self, conversation: &Conversation) {
        let Some(log) = self.logs.remove(conversation) else { return };
        if log.id == self.rules.kept {
            self.floor = self.floor.max(log.last);
        }
    }

    /// A line was not stored: it does not wait for anybody.
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

    /// The newest seq of a conversation.
    pub fn last(&self, conversation: &Conversation) -> Seq {
        self.logs.get(conversation).map_or(Seq(0), |log| log.last)
    }

    /// The conversations that a session may read.
    pub fn readable(&self, id: SessionId) -> Vec<Conversation> {
        let Some(session) = self.sessions.get(&id) else { return Vec::new() };
        let channels = session.channels.iter().cloned().map(Conversation::Channel);
        channels.chain(self.conversations(&session.user)).collect()
    }

    pub(super) fn conversations(&self, user: &UserName) -> Vec<Conversation> {
        let partners = self.partners.get(user).into_iter().flatten();
        partners.map(|partner| Conversation::private(user.clone(), partner.clone())).collect()
    }

    /// What was kept in memory only, and what has no line any more, goes once both people have been
    /// away for the resume window.
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
                // Who left a moment ago may be back, and is looked at later.
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

    /// Where a session that has `mark` of a conversation begins to read it.
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

    /// From now on, without anything of before.
    pub(super) fn start_now(&mut self, conversation: &Conversation) -> Start {
        let last = self.log(conversation).last;
        Start { after: last, upto: last, lines_max: 0, fresh: true }
    }

    /// The conversation that a session means, if it may read it: a channel that it is in, or a
    /// private conversation of its person.
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
                    // Who is no longer registered has still said what they said.
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

    /// The lobby and all private conversations are read from where the client has them.
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
        let mut effects = Vec::new();
        let mut infos = Vec::new();
        for conversation in std::iter::once(lobby).chain(self.conversations(&user)) {
            let mark = marks.get(&conversation).copied();
            infos.push(self.conversation_info(&user, &conversation));
            let start = self.start(&conversation, mark);
            effects.push(Effect::Follow(conversation, vec![from], start));
        }
        // A record holds some hundred of them.
        let tell = |infos: &[ConversationInfo]| {
            Effect::Answer(Event::Conversations { conversations: infos.to_vec() })
        };
        let missed = self.missed(from, now);
        infos.chunks(50).map(tell).chain(missed).chain(effects).collect()
    }

    /// Who came and went between a session's welcome and its resuming: it read no log then.
    fn missed(&mut self, from: SessionId, now: Stamp) -> Vec<Effect> {
        let told = std::mem::take(&mut self.sessions.get_mut(&from).expect("it asks").told);
        let (to, limits) = (ChannelName::lobby(), &self.rules.limits);
        let Some(lobby) = self.channels.get(&to).filter(|_| !told.is_empty()) else {
            return Vec::new();
        };
        let here = lobby.people.len();
        if here > limits.announce_people_max {
            return Vec::new();
        }
        let left = told.iter().filter(|(who, _)| !lobby.people.contains_key(*who));
        let left = left.map(|(who, since)| {
            let (to, who, after_ms) = (to.clone(), who.clone(), now.ms_since(*since));
            Effect::Answer(Event::Left { to, who, here, after_ms, reason: None })
        });
        let came =
            lobby.people.iter().filter(|(who, seat)| !told.contains_key(*who) && !seat.silent);
        let came = came.map(|(who, _)| {
            let (to, who) = (to.clone(), who.clone());
            Effect::Answer(Event::Joined { to, who, here })
        });
        left.chain(came).collect()
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

    /// A person has read: remembered, and told to their other sessions.
    pub(super) fn read(
        &mut self,
        from: SessionId,
        conversations: &[ReadMark],
        directory: Directory,
    ) -> Vec<Effect> {
        let user = self.session(from).user.clone();
        let mut others = self.sessions_of(&user).to_vec();
        others.retain(|id| *id != from);
        // Of several positions in one conversation, the last is meant: each would be written and
        // told.
        let mut newest = BTreeMap::new();
        for ReadMark { to, seq } in conversations {
            let Ok(conversation) = self.may_read(from, to, directory) else { continue };
            let known: &mut Seq = newest.entry(conversation).or_default();
            *known = (*known).max(*seq);
        }
        let mut effects = Vec::new();
        for (conversation, seq) in newest {
            // A conversation does not begin by being read.
            let Some(log) = self.logs.get_mut(&conversation) else { continue };
            let seq = seq.min(log.last);
            let read = log.reads.entry(user.clone()).or_default();
            if seq <= *read {
                continue;
            }
            *read = seq;
            let to = conversation.as_seen_by(&user);
            if !others.is_empty() {
                effects.push(Effect::Tell(others.clone(), Event::Read { to, seq }));
            }
            effects.push(Effect::Remember(Fact::Read(user.clone(), conversation, seq)));
        }
        effects
    }
}
