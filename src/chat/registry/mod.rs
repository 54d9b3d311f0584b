//! The registry: who is connected, who is in which channel, and what a command causes. Pure: it
//! decides under the hub's lock, and the hub applies the effects in order.

mod budgets;
mod channels;
mod decision;
mod files;
mod logs;
mod membership;
mod queries;
mod rules;
mod sessions;
mod users;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::rate::Stamp;
use super::{
    ChannelName, Command, Conversation, ConversationInfo, Event, Kind, NewMessage, Position,
    ReadMark, Refusal, Request, Retention, Seq, SessionId, SyncPoint, Target, UserName, Wanted,
};
pub use decision::{CountSpan, Decision, Effect, Fact, Lost, Query, Saying, Start, Topic};
use logs::Logs;
pub use logs::Remembered;
pub use membership::Presence;
use membership::{Ended, Joined, Joining, Membership};
pub use rules::{Epochs, Rules};
pub use sessions::{Participant, Purpose};
pub use users::Mailbox;

type Outcome = Result<Vec<Effect>, Refusal>;

/// Returns the registered spelling of a name, whatever its case.
pub type Directory<'a> = &'a dyn Fn(&UserName) -> Option<UserName>;

/// The registry's state. Every method that depends on time takes it as an argument.
pub struct Registry {
    /// Who is connected, and who is in which channel.
    pub membership: Membership,
    logs: Logs,
    rules: Arc<Rules>,
}

impl Registry {
    /// Creates a registry without conversations; new ones get seqs above `floor`.
    pub fn new(rules: Rules, ids: Epochs, floor: Seq) -> Self {
        let rules = Arc::new(rules);
        let membership = Membership::new(Arc::clone(&rules));
        let logs = Logs::new(Arc::clone(&rules), ids, floor);
        Registry { membership, logs, rules }
    }

    /// Changes the rules for everybody.
    pub fn retune(&mut self, rules: Rules) {
        self.rules = Arc::new(rules);
        self.membership.retune(Arc::clone(&self.rules));
        self.logs.retune(Arc::clone(&self.rules));
    }

    /// Restores a conversation of an earlier run.
    pub fn remember(&mut self, known: Remembered) {
        let Remembered { conversation, first, last, stored, topic, reads, waiting } = known;
        self.logs.remember(&conversation, (first, last), stored, reads);
        // Nobody is in it after a restart.
        let stays = stored && !(self.rules.forgets)(&conversation);
        for (name, count) in waiting {
            self.membership.users.remember(&name, &conversation, count);
        }
        let Conversation::Channel(channel) = conversation else { return };
        self.membership.channels.remember(channel, stays, topic);
    }

    /// Starts a session, in the lobby.
    pub fn enter(&mut self, id: SessionId, participant: Participant, now: Stamp) -> Outcome {
        self.membership.enter(id, participant, now)?;
        let channel = ChannelName::lobby();
        Ok(self.join(id, Joining { channel, after: None, reference: None, is_new_pin: false }, now))
    }

    /// Ends a session. Its user leaves the channels in which this was the last session: at once, or
    /// after the resume window if the connection was lost.
    pub fn leave(
        &mut self,
        id: SessionId,
        reason: Option<&str>,
        cut: bool,
        now: Stamp,
    ) -> Vec<Effect> {
        let Some(ended) = self.membership.leave(id, cut, now) else { return Vec::new() };
        let Ended { user, sessions, is_offline } = ended;
        let mut effects = Vec::new();
        for id in sessions {
            effects.extend(self.remove(id, reason, now));
        }
        if is_offline {
            let conversations = self.logs.conversations(&user);
            effects.push(Effect::Remember(Fact::Gone(user, conversations)));
        }
        effects
    }

    /// Removes a session from all its channels.
    fn remove(&mut self, id: SessionId, reason: Option<&str>, now: Stamp) -> Vec<Effect> {
        let channels = self.membership.channels_of(id).cloned().unwrap_or_default();
        let depart = |channel: &ChannelName| self.depart(id, channel, reason, now);
        let effects = channels.iter().flat_map(depart).collect();
        self.membership.remove(id);
        effects
    }

    /// Removes a session from a channel, and its user with the last session.
    fn depart(
        &mut self,
        from: SessionId,
        name: &ChannelName,
        reason: Option<&str>,
        now: Stamp,
    ) -> Vec<Effect> {
        let mut effects = vec![Effect::Unfollow(Conversation::Channel(name.clone()), from)];
        let (has_left, notice) = self.membership.depart(from, name, reason, now);
        if has_left {
            effects.extend(self.logs.remember_member(self.membership.name_of(from), name));
        }
        effects.extend(notice);
        effects
    }

    /// Records that a message was stored.
    pub fn committed(&mut self, conversation: &Conversation, seq: Seq) {
        self.logs.committed(conversation, seq);
    }

    /// Undoes the mailbox count of a message that was not stored.
    pub fn refused(&mut self, conversation: &Conversation, from: &UserName) {
        self.membership.users.refused(conversation, from);
    }

    /// Returns the channels that have people or messages, and the people in them.
    pub fn channels(&self) -> BTreeMap<&ChannelName, Vec<&UserName>> {
        let empty = self.logs.stored_channels().map(|channel| (channel, Vec::new()));
        empty.chain(self.membership.channels()).collect()
    }

    /// Returns the newest seq of a conversation.
    pub fn last(&self, conversation: &Conversation) -> Seq {
        self.logs.last(conversation)
    }

    /// Returns the conversations that a session may read.
    pub fn readable(&self, id: SessionId) -> Vec<Conversation> {
        let Some(channels) = self.membership.channels_of(id) else { return Vec::new() };
        let channels = channels.iter().cloned().map(Conversation::Channel);
        channels.chain(self.logs.conversations(self.membership.name_of(id))).collect()
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
            Target::Channel(channel) => {
                self.membership.check_member(from, channel)?;
                Ok(Conversation::Channel(channel.clone()))
            }
            Target::User(name) => {
                let user = self.membership.name_of(from);
                // Conversations with removed users stay readable.
                let known = directory(name).or_else(|| self.logs.partner(user, name).cloned());
                let other = known.ok_or_else(|| Refusal::NoSuchUser(name.clone()))?;
                Ok(Conversation::private(user.clone(), other))
            }
        }
    }

    /// Refuses files where the server has no place for them.
    fn keeps_files(&self, conversation: &Conversation) -> Result<(), Refusal> {
        files::keeps_files(&self.rules, conversation)
    }

    /// Whether a session may read a conversation now.
    pub fn reads(&self, session: SessionId, conversation: &Conversation) -> bool {
        let Some((user, _)) = self.membership.who(session) else { return false };
        match conversation {
            Conversation::Channel(channel) => {
                self.membership.check_member(session, channel).is_ok()
            }
            Conversation::Private(..) => {
                conversation.people().is_some_and(|people| people.contains(&user))
            }
        }
    }

    /// Handles conversations in which the ledger found no message up to the given seqs. Those
    /// without people are dropped: channels now, private conversations once both users have been
    /// offline for the resume window.
    pub fn emptied(&mut self, conversations: Vec<(Conversation, Seq)>, now: Stamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (conversation, last) in conversations {
            match &conversation {
                _ if !self.logs.emptied(&conversation, last) => {}
                Conversation::Channel(name) => {
                    if !self.membership.channels.exists(name) && !(self.rules.configured)(name) {
                        effects.push(self.forget_channel(name));
                    }
                }
                Conversation::Private(..) => {
                    for name in conversation.people().into_iter().flatten() {
                        self.membership.users.check_when_offline(name, now);
                    }
                }
            }
        }
        effects
    }

    /// Drops what has expired: lost sessions, empty channels, and private conversations without
    /// users that are in memory only.
    pub fn sweep(&mut self, now: Stamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        for id in self.membership.expired(now) {
            effects.extend(self.remove(id, None, now));
        }
        for name in self.membership.drop_empty_channels(now) {
            effects.push(self.forget_channel(&name));
        }
        let users = &mut self.membership.users;
        let gone = users.take_gone(self.rules.limits.resume_window_s * 1000, now);
        effects.extend(self.logs.forget_private(gone, |name| users.may_return(name)));
        self.membership.sweep(now);
        effects
    }

    /// Drops an empty channel. Its topic and read positions are dropped with its last message,
    /// unless the configuration names the channel.
    fn forget_channel(&mut self, name: &ChannelName) -> Effect {
        let conversation = Conversation::Channel(name.clone());
        let is_configured = (self.rules.configured)(name);
        if !self.logs.leave_channel(&conversation, is_configured) && !is_configured {
            self.membership.channels.drop_topic(name);
        }
        Effect::Forget(conversation)
    }

    /// Erases the topics that a user has set, and notifies the members.
    pub fn erase_topics(&mut self, user: &UserName) -> Vec<Effect> {
        let retention = |name: ChannelName| (self.rules.retention)(&Conversation::Channel(name));
        self.membership.channels.erase_topics(|_, topic| topic.by == *user, retention)
    }

    /// Erases the topic of a channel, and notifies the members.
    pub fn erase_topic(&mut self, channel: &ChannelName) -> Vec<Effect> {
        let retention = |name: ChannelName| (self.rules.retention)(&Conversation::Channel(name));
        self.membership.channels.erase_topics(|name, _| name == channel, retention)
    }

    /// Moves what belongs to a user without sessions to another name, except the private
    /// conversations `kept`. Returns the users with whom the user has private conversations, and
    /// the effects.
    pub fn rename(
        &mut self,
        (old, new): (&UserName, &UserName),
        kept: &[Conversation],
        now: Stamp,
    ) -> (Vec<UserName>, Vec<Effect>) {
        let mut effects = Vec::new();
        for id in self.membership.lingering(old) {
            effects.extend(self.remove(id, None, now));
        }
        self.membership.rename(old, new);
        let partners = self.logs.rename(old, new, kept);
        for partner in &partners {
            let from = Conversation::private(old.clone(), partner.clone());
            let readers = self.membership.readers(partner);
            effects.extend(readers.into_iter().map(|id| Effect::Unfollow(from.clone(), id)));
        }
        (partners, effects)
    }

    /// Lets the sessions of `partners` read their private conversations with a renamed user, as if
    /// they had nothing of them: the conversations have new names.
    pub fn follow_renamed(&mut self, name: &UserName, partners: &[UserName]) -> Vec<Effect> {
        let mut effects = Vec::new();
        for partner in partners {
            let conversation = Conversation::private(name.clone(), partner.clone());
            let readers = self.membership.readers(partner);
            if readers.is_empty() {
                continue;
            }
            let conversations = vec![self.logs.info(partner, &conversation)];
            effects.push(Effect::Send(readers.clone(), Event::Conversations { conversations }));
            let start = self.logs.start(&conversation, None);
            effects.push(Effect::Follow(conversation, readers, start));
        }
        effects
    }

    /// Decides about a session's command other than a message (see [`Registry::say`]), and charges
    /// for it.
    ///
    /// # Errors
    ///
    /// Refuses what rights, limits or the state do not allow.
    pub fn decide<'a>(
        &mut self,
        from: SessionId,
        request: &'a Request,
        directory: Directory,
        now: Stamp,
    ) -> Result<Decision<'a>, Refusal> {
        let Request { command, reference } = request;
        self.rules.check_texts(command)?;
        self.membership.pay(from, command, now)?;
        Ok(match command {
            Command::Resume { conversations } => {
                Decision::Effects(self.resume(from, conversations, directory, now))
            }
            Command::Join { channel, after } => {
                let knows = self.logs.knows(self.membership.name_of(from), channel);
                let is_new_pin = self.membership.may_join(from, channel, knows, now)?;
                let (channel, reference) = (channel.clone(), reference.clone());
                let joining = Joining { channel, after: *after, reference, is_new_pin };
                Decision::Effects(self.join(from, joining, now))
            }
            Command::Part { channel } => {
                Decision::Effects(self.part(from, channel, reference.clone(), now)?)
            }
            Command::People { channel } => {
                let is_stored = self.logs.is_stored(&Conversation::Channel(channel.clone()));
                self.membership.may_look(from, channel, is_stored)?;
                let event = self.membership.people_event(channel, reference.clone());
                Decision::Effects(vec![Effect::Answer(event)])
            }
            Command::Channels => {
                let event = self.membership.channels_for(from, reference.clone());
                Decision::Effects(vec![Effect::Answer(event)])
            }
            Command::Topic { channel, text } => {
                Decision::Effects(self.topic(from, channel, text.as_deref(), reference.clone())?)
            }
            Command::Read { conversations } => {
                Decision::Effects(self.read(from, conversations, directory))
            }
            Command::Away { text } => {
                self.membership.user_of(from).away = text.clone();
                Decision::Effects(Vec::new())
            }
            Command::History { to, before, messages, span, kind } => {
                let conversation = self.may_read(from, to, directory)?;
                let (before, messages, span, kind) = (*before, *messages, *span, *kind);
                Decision::Query(Query::History { to, conversation, before, messages, span, kind })
            }
            Command::Search { text, to } => {
                let conversations = self.searched(from, to.as_ref(), directory)?;
                let (to, wanted) = (to.as_ref(), Wanted::new(text)?);
                Decision::Query(Query::Search { to, conversations, wanted })
            }
            Command::Count { conversations } => {
                let readable = self.readable_marks(from, conversations, directory);
                Decision::Query(Query::Count { spans: self.logs.spans(readable) })
            }
            Command::Put { .. } | Command::Get { .. } | Command::Drop { .. } | Command::Usage => {
                Decision::Query(self.file_query(from, command, directory)?)
            }
            Command::Whois { name } => Decision::Query(Query::Whois(name)),
            Command::Keys { names } => Decision::Query(Query::Keys(names)),
            Command::Certify { certificate } => Decision::Query(Query::Certify(certificate)),
            Command::Operate { words } => Decision::Query(Query::Operate(words)),
            // The session ends itself.
            Command::Quit => Decision::Effects(Vec::new()),
            Command::Say(_) | Command::Password { .. } | Command::Unknown => Err(Refusal::Unknown)?,
        })
    }

    /// Decides about a session's message and charges for it.
    ///
    /// # Errors
    ///
    /// Refuses what rights, limits or the state do not allow.
    pub fn say(
        &mut self,
        from: SessionId,
        message: &NewMessage,
        directory: Directory,
        now: Stamp,
    ) -> Result<Saying, Refusal> {
        self.rules.check_message(message)?;
        self.membership.pay_message(from, message, now)?;
        let conversation = self.may_read(from, &message.to, directory)?;
        if let Target::User(name) = &message.to
            && !matches!(message.kind, Kind::Delete { .. })
            && directory(name).is_none()
        {
            return Err(Refusal::NotRegistered(name.clone()));
        }
        if message.kind.blob().is_some() {
            self.keeps_files(&conversation)?;
        }
        if !self.logs.is_begun(&conversation) {
            self.membership.pay_conversation(from, now)?;
            // The log of a private conversation is created later, since the message may still be
            // refused.
            self.logs.begin(&conversation);
        }
        let Some([one, other]) = conversation.people() else {
            return Ok(Saying { conversation, effects: Vec::new() });
        };
        let sender = self.membership.name_of(from).clone();
        let name = if *one == sender { other.clone() } else { one.clone() };
        let users = &mut self.membership.users;
        if users.is_offline(&name) {
            if (self.rules.retention)(&conversation) == Retention::Off {
                return Err(Refusal::NotHere(name));
            }
            users.leave_for(&name, &sender, now)?;
        }
        let begins = !self.logs.exists(&conversation);
        let start = self.logs.start_now(&conversation);
        self.logs.begin(&conversation);
        let mut effects = Vec::new();
        for person in if name == sender { vec![name] } else { vec![name, sender] } {
            let readers = self.membership.readers(&person);
            if begins {
                let conversations = vec![self.logs.info(&person, &conversation)];
                effects.push(Effect::Send(readers.clone(), Event::Conversations { conversations }));
            }
            effects.push(Effect::Follow(conversation.clone(), readers, start));
        }
        Ok(Saying { conversation, effects })
    }

    fn join(&mut self, from: SessionId, joining: Joining, now: Stamp) -> Vec<Effect> {
        let Joining { channel, after, reference, is_new_pin } = joining;
        let Joined { is_new, resumes, notice } =
            self.membership.join(from, &channel, is_new_pin, now);
        let who = self.membership.name_of(from);
        let mut effects: Vec<Effect> = notice.into_iter().collect();
        effects.extend(self.logs.remember_member(who, &channel));
        let conversation = Conversation::Channel(channel.clone());
        effects.extend(self.logs.notice_loss(who, &conversation, after));
        let ConversationInfo { epoch, last, read, retention, .. } =
            self.logs.info(who, &conversation);
        let (people, omitted) = self.membership.channels.people_that_fit(&channel);
        let topic = self.membership.channels.topic_of(&channel);
        let is_lobby = channel.is_lobby();
        effects.push(Effect::Answer(Event::Entered {
            channel,
            epoch,
            last,
            read,
            retention,
            people,
            omitted,
            topic,
            reference,
        }));
        // Resuming clients send their position in the lobby after they have entered it.
        if is_new && !(is_lobby && resumes) {
            let start = match after {
                None if is_lobby => self.logs.start_now(&conversation),
                after => self.logs.start(&conversation, after),
            };
            effects.push(Effect::Follow(conversation, vec![from], start));
        }
        effects
    }

    fn part(
        &mut self,
        from: SessionId,
        channel: &ChannelName,
        reference: Option<String>,
        now: Stamp,
    ) -> Outcome {
        if channel.is_lobby() {
            return Err(Refusal::LobbyStays);
        }
        self.membership.check_member(from, channel)?;
        let mut effects = Vec::new();
        for id in self.membership.leaving(from, channel) {
            effects.extend(self.depart(id, channel, None, now));
        }
        effects.push(Effect::Answer(Event::Parted { channel: channel.clone(), reference }));
        Ok(effects)
    }

    fn topic(
        &mut self,
        from: SessionId,
        name: &ChannelName,
        text: Option<&str>,
        reference: Option<String>,
    ) -> Outcome {
        self.membership.check_member(from, name)?;
        let retention = (self.rules.retention)(&Conversation::Channel(name.clone()));
        let by = self.membership.name_of(from).clone();
        let channels = &mut self.membership.channels;
        match text {
            None => Ok(vec![channels.show_topic(name, retention, reference)]),
            Some(text) => channels.change_topic(name, text, by, retention),
        }
    }

    /// Starts the lobby and all private conversations at the client's positions.
    fn resume(
        &mut self,
        from: SessionId,
        conversations: &[Position],
        directory: Directory,
        now: Stamp,
    ) -> Vec<Effect> {
        let Some(missed) = self.membership.resume(from, now) else { return Vec::new() };
        let named = |position: &Position| {
            Some((self.may_read(from, &position.to, directory).ok()?, position.point))
        };
        let points: HashMap<Conversation, SyncPoint> =
            conversations.iter().filter_map(named).collect();
        let user = self.membership.name_of(from);
        let (infos, effects) = self.logs.resume(from, user, &points);
        // Splits the list, because a record holds about a hundred conversations.
        let event = |infos: &[ConversationInfo]| {
            Effect::Answer(Event::Conversations { conversations: infos.to_vec() })
        };
        infos.chunks(50).map(event).chain(missed).chain(effects).collect()
    }

    /// Stores read positions and sends them to the user's other sessions.
    fn read(
        &mut self,
        from: SessionId,
        conversations: &[ReadMark],
        directory: Directory,
    ) -> Vec<Effect> {
        // Only the newest of several positions in one conversation is written and sent.
        let mut newest = BTreeMap::new();
        for (conversation, seq) in self.readable_marks(from, conversations, directory) {
            let known: &mut Seq = newest.entry(conversation).or_default();
            *known = (*known).max(seq);
        }
        let user = self.membership.name_of(from);
        let others = self.membership.sessions_of(user).iter().copied().filter(|id| *id != from);
        self.logs.read(user, newest, others.collect())
    }
}

#[cfg(test)]
mod cost_tests;
#[cfg(test)]
mod dropped_tests;
#[cfg(test)]
mod query_tests;
#[cfg(test)]
mod tests;
