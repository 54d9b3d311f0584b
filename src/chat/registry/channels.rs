//! Channels: membership, topics, and when a channel is dropped.

use std::cmp::Reverse;

use super::{Channel, Effect, Fact, Joining, Member, Outcome, Registry, Session, Topic};
use crate::chat::rate::Stamp;
use crate::chat::{
    ChannelInfo, ChannelName, Conversation, ConversationInfo, Event, Refusal, Retention, Seq,
    SessionId, UserName,
};
use crate::limits::LIST_BYTES_MAX;

/// JSON bytes of a row of `/channels` beside its name and topic.
const ROW_BYTES: usize = 96;

impl Registry {
    /// Checks whether a session may join a channel. Returns true where the channel has a PIN and is
    /// new to the user.
    ///
    /// # Errors
    ///
    /// No refusal depends on whether a channel with a PIN exists, until the join is counted.
    pub(super) fn may_join(
        &mut self,
        from: SessionId,
        channel: &ChannelName,
        now: Stamp,
    ) -> Result<bool, Refusal> {
        let limits = &self.rules.limits;
        let (max, pins_max) = (limits.channels_per_user_max, limits.pin_joins_per_h);
        let (full, exists) =
            (self.channels.len() >= limits.channels_max, self.channels.contains_key(channel));
        let who = self.session(from).user.clone();
        let is_new_pin = channel.has_pin() && !self.knows(&who, channel);
        if self.user_of(from).muted && (is_new_pin || (!exists && !channel.has_pin())) {
            return Err(Refusal::MutedJoin(channel.clone()));
        }
        let theirs = self.channels.get(channel).is_some_and(|channel| channel.counts_for(&who));
        if !theirs && self.user_of(from).channels >= max {
            return Err(Refusal::TooManyChannels { max });
        }
        if is_new_pin {
            let joins = self.pin_joins.entry(who).or_default();
            joins.take(channel, pins_max, now).map_err(|spent| Refusal::PinJoins {
                max: pins_max,
                refused: spent.refused,
                retry_ms: spent.retry_ms,
            })?;
        }
        if full && !exists {
            return Err(Refusal::ServerFull);
        }
        Ok(is_new_pin)
    }

    /// Whether a user is in a channel, created it, or was in it when it had messages.
    fn knows(&self, who: &UserName, channel: &ChannelName) -> bool {
        let live = self.channels.get(channel).is_some_and(|channel| channel.counts_for(who));
        let log = self.logs.get(&Conversation::Channel(channel.clone()));
        live || log.is_some_and(|log| log.reads.contains_key(who))
    }

    /// Stores that a user knows a channel with a PIN. Only if the channel has messages: PIN guesses
    /// must not write to the disk.
    fn remember_member(&mut self, who: &UserName, channel: &ChannelName) -> Option<Effect> {
        let conversation = Conversation::Channel(channel.clone());
        let log = self.logs.get_mut(&conversation).filter(|log| channel.has_pin() && log.stored)?;
        if log.reads.contains_key(who) {
            return None;
        }
        log.reads.insert(who.clone(), Seq(0));
        Some(Effect::Remember(Fact::Read(who.clone(), conversation, Seq(0))))
    }

    pub(super) fn join(&mut self, from: SessionId, joining: Joining, now: Stamp) -> Outcome {
        let Joining { channel: name, after, reference, is_new_pin } = joining;
        let session = self.sessions.get_mut(&from).expect("the hub knows its sessions");
        let (who, new) = (session.user.clone(), session.channels.insert(name.clone()));
        // A join of a channel with a PIN shows that the PIN is right: its members see every one.
        let (resumes, is_job) = (session.resumes, session.is_job && !name.has_pin());
        let made = || Channel { maker: Some(who.clone()), ..Channel::default() };
        let mut theirs = usize::from(!self.channels.contains_key(&name));
        let channel = self.channels.entry(name.clone()).or_insert_with(made);
        theirs += usize::from(!channel.counts_for(&who));
        channel.empty_since = None;
        let user = self.users.get_mut(&who).expect("a session has its user");
        user.channels += theirs;
        let member = || Member { sessions: 0, since: now, silent: false, unseen: false };
        let member = channel.people.entry(who.clone()).or_insert_with(member);
        member.sessions += usize::from(new);
        let was_unseen = member.unseen;
        let first = new && member.enters(is_job, now);
        channel.unseen = channel.unseen + usize::from(member.unseen) - usize::from(was_unseen);
        if first {
            // Nobody tries a PIN unseen.
            let told = user.budgets.announced_joins.take(1.0, now).is_ok() || is_new_pin;
            member.silent = user.muted || !told;
        }
        let silent = member.silent;
        let here = channel.here();
        let announces = here <= self.rules.limits.announce_people_max;
        if name.is_lobby() && resumes && announces {
            let seen = channel.people.iter().filter(|(_, member)| !member.unseen);
            let told = seen.map(|(who, member)| (who.clone(), member.since));
            session.told = told.collect();
        }
        let mut effects = Vec::new();
        if first && announces && !silent {
            let event = Event::Joined { to: name.clone(), who: who.clone(), here };
            effects.push(Effect::Notice(name.clone(), event));
        }
        effects.extend(self.remember_member(&who, &name));
        let conversation = Conversation::Channel(name.clone());
        effects.extend(self.notice_loss(&who, &conversation, after));
        let ConversationInfo { log, last, read, retention, .. } =
            self.conversation_info(&who, &conversation);
        let (people, omitted) = self.people_that_fit(&name);
        let topic = self.topic_of(&name);
        let lobby = name.is_lobby();
        effects.push(Effect::Answer(Event::Entered {
            channel: name,
            log,
            last,
            read,
            retention,
            people,
            omitted,
            topic,
            reference,
        }));
        // Resuming clients send their position in the lobby after they have entered it.
        if new && !(lobby && resumes) {
            let start = match after {
                Some(_) => self.start(&conversation, after),
                None if lobby => self.start_now(&conversation),
                None => self.start(&conversation, None),
            };
            effects.push(Effect::Follow(conversation, vec![from], start));
        }
        Ok(effects)
    }

    pub(super) fn part(
        &mut self,
        from: SessionId,
        channel: &ChannelName,
        reference: Option<String>,
        now: Stamp,
    ) -> Outcome {
        if channel.is_lobby() {
            return Err(Refusal::LobbyStays);
        }
        if !self.is_member(from, channel) {
            return Err(Refusal::NotMember(channel.clone()));
        }
        let user = self.session(from).user.clone();
        let lingers =
            |session: &Session| session.user == user && session.channels.contains(channel);
        let mut effects = Vec::new();
        for id in self.cut_sessions(lingers) {
            effects.extend(self.depart(id, channel, None, now));
        }
        effects.extend(self.depart(from, channel, None, now));
        effects.push(Effect::Answer(Event::Parted { channel: channel.clone(), reference }));
        Ok(effects)
    }

    /// Removes a session from a channel, and its user with the last session.
    pub(super) fn depart(
        &mut self,
        from: SessionId,
        name: &ChannelName,
        reason: Option<&str>,
        now: Stamp,
    ) -> Vec<Effect> {
        let session = self.sessions.get_mut(&from).expect("the hub knows its sessions");
        session.channels.remove(name);
        let who = session.user.clone();
        let mut effects = vec![Effect::Unfollow(Conversation::Channel(name.clone()), from)];
        let channel = self.channels.get_mut(name).expect("members keep a channel alive");
        let here_before = channel.here();
        let member = channel.people.get_mut(&who).expect("a user in a channel is its member");
        member.sessions -= 1;
        if member.sessions > 0 {
            return effects;
        }
        let (after_ms, silent, unseen) = (now.ms_since(member.since), member.silent, member.unseen);
        channel.unseen -= usize::from(unseen);
        channel.people.remove(&who);
        if !channel.counts_for(&who)
            && let Some(user) = self.users.get_mut(&who)
        {
            user.channels = user.channels.saturating_sub(1);
        }
        let (here, is_empty) = (channel.here(), channel.people.is_empty());
        let muted = self.users.get(&who).is_some_and(|user| user.muted);
        // An operator's reason is always announced.
        let quiet = unseen || (silent || muted) && reason.is_none();
        if is_empty {
            channel.empty_since = Some(now);
        }
        effects.extend(self.remember_member(&who, name));
        if here > 0 && here_before <= self.rules.limits.announce_people_max && !quiet {
            let reason = reason.map(str::to_owned);
            let event = Event::Left { to: name.clone(), who, here, after_ms, reason };
            effects.push(Effect::Notice(name.clone(), event));
        }
        effects
    }

    /// Drops an empty channel. Its topic and read positions are dropped with its last message,
    /// unless the configuration names the channel.
    pub(super) fn forget_channel(&mut self, name: &ChannelName) -> Effect {
        let conversation = Conversation::Channel(name.clone());
        let ephemeral = (self.rules.retention)(&conversation) == Retention::Off;
        let stored = self.logs.get(&conversation).is_some_and(|log| log.stored);
        let stays = stored && !ephemeral && !(self.rules.forgets)(&conversation);
        let configured = (self.rules.configured)(name);
        if !stays && !configured {
            self.topics.remove(name);
        }
        if !stays && (ephemeral || !configured) {
            self.forget_log(&conversation);
        }
        Effect::Forget(conversation)
    }

    fn topic_of(&self, name: &ChannelName) -> Option<String> {
        self.topics.get(name).map(|topic| topic.text.clone())
    }

    /// Erases the topics that a user has set, and notifies the members.
    pub fn erase_topics(&mut self, user: &UserName) -> Vec<Effect> {
        let own = self.topics.iter().filter(|(_, topic)| topic.by == *user);
        let own: Vec<ChannelName> = own.map(|(name, _)| name.clone()).collect();
        let mut effects = Vec::new();
        for name in own {
            self.topics.remove(&name);
            let retention = (self.rules.retention)(&Conversation::Channel(name.clone()));
            let to = name.clone();
            let event = Event::Topic { to, who: None, text: None, retention, reference: None };
            effects.push(Effect::Notice(name.clone(), event));
            effects.push(Effect::Remember(Fact::Topic(name, None)));
        }
        effects
    }

    pub(super) fn topic(
        &mut self,
        from: SessionId,
        name: &ChannelName,
        text: Option<&str>,
        reference: Option<String>,
    ) -> Outcome {
        if !self.is_member(from, name) {
            return Err(Refusal::NotMember(name.clone()));
        }
        let conversation = Conversation::Channel(name.clone());
        let retention = (self.rules.retention)(&conversation);
        let to = name.clone();
        let Some(text) = text else {
            let text = self.topic_of(name);
            let topic = Event::Topic { to, who: None, text, retention, reference };
            return Ok(vec![Effect::Answer(topic)]);
        };
        let text = Some(text.to_owned()).filter(|text| !text.trim().is_empty());
        if name.has_pin() && text.is_some() {
            return Err(Refusal::NoTopic);
        }
        let by = self.session(from).user.clone();
        let topic = text.clone().map(|text| Topic { text, by: by.clone() });
        match &topic {
            Some(topic) => self.topics.insert(name.clone(), topic.clone()),
            None => self.topics.remove(name),
        };
        let fact = Fact::Topic(name.clone(), topic);
        let who = Some(by);
        let event = Event::Topic { to, who, text, retention, reference: None };
        Ok(vec![Effect::Notice(name.clone(), event), Effect::Remember(fact)])
    }

    /// Returns the rows of `/channels` that fit an answer, and how many do not. The user's own
    /// channels come first, then those with the most people.
    pub(super) fn channels_for(&self, asker: SessionId) -> (Vec<ChannelInfo>, usize) {
        // The tag is derived from the PIN and allows guessing it offline. For a channel with a PIN
        // that the session is not in, neither name nor order may depend on the tag.
        let mut rows = Vec::with_capacity(self.channels.len());
        for (name, channel) in &self.channels {
            let rank = (Reverse(self.is_member(asker, name)), Reverse(channel.here()));
            rows.push((rank, (name.letters(), name.has_pin()), name));
        }
        rows.sort_unstable_by_key(|(rank, shown, _)| (*rank, *shown));
        let mut bytes = 0;
        let fits = rows.iter().take_while(|(.., name)| {
            // Quotes in a topic take twice their bytes.
            let topic = self.topics.get(*name).map_or(0, |topic| 2 * topic.text.len());
            bytes += name.as_str().len() + topic + ROW_BYTES;
            bytes <= LIST_BYTES_MAX
        });
        let fits = fits.count();
        let omitted = rows.len() - fits;
        rows.truncate(fits);
        rows.sort_unstable_by_key(|(rank, shown, _)| (*shown, *rank));
        let info = |(rank, (_, sealed), name): (_, (&str, bool), &ChannelName)| {
            let (Reverse(member), Reverse(here)) = rank;
            let channel = if member { name.clone() } else { name.bare() };
            ChannelInfo { channel, sealed, here, member, topic: self.topic_of(name) }
        };
        (rows.into_iter().map(info).collect(), omitted)
    }

    /// Checks whether a session may see the members of a channel. Open channels are visible to
    /// everybody. Channels with a PIN are visible to members only; others do not even learn whether
    /// they exist.
    pub(super) fn may_look(&self, from: SessionId, channel: &ChannelName) -> Result<(), Refusal> {
        if channel.has_pin() && !self.is_member(from, channel) {
            return Err(Refusal::NotMember(channel.clone()));
        }
        match self.channels.contains_key(channel) {
            true => Ok(()),
            false => Err(Refusal::NoSuchChannel(channel.clone())),
        }
    }

    /// Returns the people of a channel that fit an answer, and how many do not.
    fn people_that_fit(&self, channel: &ChannelName) -> (Vec<UserName>, usize) {
        let Some(channel) = self.channels.get(channel) else { return (Vec::new(), 0) };
        let mut bytes = 0;
        let seen = channel.people.iter().filter(|(_, member)| !member.unseen);
        let fits = seen.map(|(name, _)| name).take_while(|name| {
            // Quotation marks and a comma.
            bytes += name.as_str().len() + 3;
            bytes <= LIST_BYTES_MAX
        });
        let people: Vec<UserName> = fits.cloned().collect();
        let omitted = channel.here() - people.len();
        (people, omitted)
    }

    pub(super) fn is_member(&self, id: SessionId, channel: &ChannelName) -> bool {
        self.sessions.get(&id).is_some_and(|session| session.channels.contains(channel))
    }

    /// Returns the event that lists the people in a channel.
    pub fn people_event(&self, channel: &ChannelName, reference: Option<String>) -> Event {
        let (people, omitted) = self.people_that_fit(channel);
        Event::People { channel: channel.clone(), people, omitted, reference }
    }

    /// Returns the channels and their people, ordered by name.
    pub fn channels(&self) -> impl Iterator<Item = (&ChannelName, Vec<&UserName>)> {
        self.channels.iter().map(|(name, channel)| (name, channel.people.keys().collect()))
    }
}
