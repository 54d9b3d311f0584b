//! Channels: who is in them, what they are about, and when they are gone.

use super::{Channel, Effect, Fact, Outcome, Registry, Session};
use crate::chat::rate::Stamp;
use crate::chat::{
    ChannelInfo, ChannelName, Event, Mark, Place, PlaceInfo, Refusal, SessionId, UserName,
};

impl Registry {
    pub(super) fn may_join(
        &mut self,
        from: SessionId,
        channel: &ChannelName,
    ) -> Result<(), Refusal> {
        let max = self.rules.limits.channels_per_user_max;
        let who = self.session(from).user.clone();
        let known = self.channels.get(channel).is_some_and(|channel| channel.counts_for(&who));
        if !known && self.user_of(from).channels >= max {
            return Err(Refusal::TooManyChannels { max });
        }
        let full = self.channels.len() >= self.rules.limits.channels_max;
        if full && !self.channels.contains_key(channel) {
            return Err(Refusal::ServerFull);
        }
        Ok(())
    }

    pub(super) fn join(
        &mut self,
        from: SessionId,
        name: ChannelName,
        after: Option<Mark>,
        reference: Option<String>,
        now: Stamp,
    ) -> Outcome {
        let session = self.sessions.get_mut(&from).expect("the hub knows its sessions");
        let (who, new) = (session.user.clone(), session.channels.insert(name.clone()));
        let resumes = session.resumes;
        let made = || Channel { maker: Some(who.clone()), ..Channel::default() };
        let mut theirs = usize::from(!self.channels.contains_key(&name));
        let channel = self.channels.entry(name.clone()).or_insert_with(made);
        theirs += usize::from(!channel.counts_for(&who));
        channel.empty_since = None;
        let seat = channel.people.entry(who.clone()).or_insert((0, now));
        seat.0 += usize::from(new);
        let first = new && seat.0 == 1;
        if let Some(user) = self.users.get_mut(&who) {
            user.channels += theirs;
        }
        let here = channel.people.len();
        let people = channel.people.keys().cloned().collect();
        if name.is_lobby() && resumes && here <= self.rules.limits.announce_people_max {
            session.told = channel.people.iter().map(|(who, seat)| (who.clone(), seat.1)).collect();
        }
        let mut effects = Vec::new();
        if first && here <= self.rules.limits.announce_people_max {
            let event = Event::Joined { to: name.clone(), who: who.clone(), here };
            effects.push(Effect::Notice(name.clone(), event));
        }
        let place = Place::Channel(name.clone());
        let PlaceInfo { log, last, read, retention, .. } = self.place_info(&who, &place);
        let topic = self.topics.get(&name).cloned();
        let lobby = name.is_lobby();
        let entered =
            Event::Entered { channel: name, log, last, read, retention, people, topic, reference };
        effects.push(Effect::Answer(entered));
        // Who resumes says what it has of the lobby once it is in.
        if new && !(lobby && resumes) {
            let start = match after {
                Some(_) => self.start(&place, after),
                None if lobby => self.start_now(&place),
                None => self.start(&place, None),
            };
            effects.push(Effect::Follow(place, vec![from], start));
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

    /// Takes a session out of a channel, and its person with the last one.
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
        let mut effects = vec![Effect::Unfollow(Place::Channel(name.clone()), from)];
        let channel = self.channels.get_mut(name).expect("members keep a channel alive");
        let here_before = channel.people.len();
        let seat = channel.people.get_mut(&who).expect("a member has a seat");
        seat.0 -= 1;
        if seat.0 > 0 {
            return effects;
        }
        let after_ms = now.ms_since(seat.1);
        channel.people.remove(&who);
        if !channel.counts_for(&who)
            && let Some(user) = self.users.get_mut(&who)
        {
            user.channels = user.channels.saturating_sub(1);
        }
        let here = channel.people.len();
        if here == 0 {
            channel.empty_since = Some(now);
        } else if here_before <= self.rules.limits.announce_people_max {
            let reason = reason.map(str::to_owned);
            let event = Event::Left { to: name.clone(), who, here, after_ms, reason };
            effects.push(Effect::Notice(name.clone(), event));
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
        let place = Place::Channel(name.clone());
        let retention = (self.rules.retention)(&place);
        let to = name.clone();
        let Some(text) = text else {
            let text = self.topics.get(name).cloned();
            let topic = Event::Topic { to, who: None, text, retention, reference };
            return Ok(vec![Effect::Answer(topic)]);
        };
        let text = Some(text.to_owned()).filter(|text| !text.trim().is_empty());
        if name.has_pin() && text.is_some() {
            return Err(Refusal::NoTopic);
        }
        match &text {
            Some(text) => self.topics.insert(name.clone(), text.clone()),
            None => self.topics.remove(name),
        };
        let fact = Fact::Topic(name.clone(), text.clone());
        let who = Some(self.session(from).user.clone());
        let event = Event::Topic { to, who, text, retention, reference: None };
        Ok(vec![Effect::Notice(name.clone(), event), Effect::Remember(fact)])
    }

    pub(super) fn channels_for(&self, asker: SessionId) -> Vec<ChannelInfo> {
        let row = |(name, channel): (&ChannelName, &Channel)| {
            let member = self.is_member(asker, name);
            // By the tag of a channel its PIN can be guessed at.
            let shown = if member { name.clone() } else { name.bare() };
            let (here, topic) = (channel.people.len(), self.topics.get(name).cloned());
            ChannelInfo { channel: shown, sealed: name.has_pin(), here, member, topic }
        };
        self.channels.iter().map(row).collect()
    }

    pub(super) fn visible(&self, channel: &ChannelName) -> Result<&Channel, Refusal> {
        self.channels.get(channel).ok_or_else(|| Refusal::NoSuchChannel(channel.clone()))
    }

    pub(super) fn is_member(&self, id: SessionId, channel: &ChannelName) -> bool {
        self.sessions.get(&id).is_some_and(|session| session.channels.contains(channel))
    }

    /// Who is in a channel.
    pub fn people_of(&self, channel: &ChannelName) -> Vec<UserName> {
        let channel = self.channels.get(channel);
        channel.map_or_else(Vec::new, |channel| channel.people.keys().cloned().collect())
    }

    /// Channels with the people in them, in the order of their names.
    pub fn channels(&self) -> impl Iterator<Item = (&ChannelName, Vec<&UserName>)> {
        self.channels.iter().map(|(name, channel)| (name, channel.people.keys().collect()))
    }
}
