//! Who is connected, who is in which channel, and what follows from a command. Pure: it decides
//! under the hub's lock, and the hub carries out the effects in their order.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::rate::{Bucket, Stamp};
use super::{
    ChannelInfo, ChannelName, Command, DeviceName, Event, Refusal, SessionId, Target, UserName,
};
use crate::limits::Limits;

/// A channel, or the private conversation of two people (in the order of their names).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    Channel(ChannelName),
    Private(UserName, UserName),
}

impl Place {
    pub fn private(one: UserName, other: UserName) -> Place {
        if one <= other { Place::Private(one, other) } else { Place::Private(other, one) }
    }
}

/// What the hub does next, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The line that came with the command goes into this place's log.
    Line(Place),
    /// A notice goes into a channel's log.
    Notice(ChannelName, Event),
    /// These sessions read a place from now on.
    Follow(Place, Vec<SessionId>),
    /// The session no longer reads a place.
    Unfollow(Place, SessionId),
    /// An answer for the session that asked.
    Answer(Event),
    /// Nobody is left who could come back to this place's log.
    Forget(Place),
}

type Outcome = Result<Vec<Effect>, Refusal>;

/// Finds the registered spelling of a name, whatever its case.
pub type Directory<'a> = &'a dyn Fn(&UserName) -> Option<UserName>;

/// What is known of a connected person.
#[derive(Clone, Debug, PartialEq)]
pub struct Presence {
    pub devices: Vec<DeviceName>,
    pub idle_ms: u64,
    pub away: Option<String>,
    pub channels: Vec<ChannelName>,
}

struct Session {
    user: UserName,
    device: DeviceName,
    channels: BTreeSet<ChannelName>,
}

struct User {
    sessions: Vec<SessionId>,
    away: Option<String>,
    active: Stamp,
    lines: Bucket,
    bytes: Bucket,
    requests: Bucket,
}

#[derive(Default)]
struct Channel {
    /// People with their number of sessions here and the moment of the first.
    people: BTreeMap<UserName, (usize, Stamp)>,
    topic: Option<String>,
    empty_since: Option<Stamp>,
}

/// The maps. Every method takes the moment it happens at.
pub struct Registry {
    sessions: HashMap<SessionId, Session>,
    users: HashMap<UserName, User>,
    channels: BTreeMap<ChannelName, Channel>,
    limits: Limits,
}

impl Registry {
    pub fn new(limits: Limits) -> Self {
        let channels = BTreeMap::from([(ChannelName::lobby(), Channel::default())]);
        Registry { sessions: HashMap::new(), users: HashMap::new(), channels, limits }
    }

    /// A session of `user` begins, in the lobby.
    pub fn enter(
        &mut self,
        id: SessionId,
        user: UserName,
        device: DeviceName,
        now: Stamp,
    ) -> Outcome {
        let limits = &self.limits;
        let entry = self.users.entry(user.clone()).or_insert_with(|| User {
            sessions: Vec::new(),
            away: None,
            active: now,
            lines: Bucket::new(limits.lines_burst.into(), limits.lines_per_s, now),
            bytes: Bucket::new(limits.bytes_per_s * 10.0, limits.bytes_per_s, now),
            requests: Bucket::new(limits.requests_per_s * 10.0, limits.requests_per_s, now),
        });
        if entry.sessions.len() >= limits.sessions_per_user_max {
            return Err(Refusal::TooManySessions { max: limits.sessions_per_user_max });
        }
        entry.sessions.push(id);
        self.sessions.insert(id, Session { user, device, channels: BTreeSet::new() });
        self.join(id, ChannelName::lobby(), None, now)
    }

    /// A session ends; its person leaves the channels where this was the last one.
    pub fn leave(&mut self, id: SessionId, reason: Option<&str>, now: Stamp) -> Vec<Effect> {
        let Some(channels) = self.sessions.get(&id).map(|session| session.channels.clone()) else {
            return Vec::new();
        };
        let effects =
            channels.iter().flat_map(|channel| self.depart(id, channel, reason, now)).collect();
        let session = self.sessions.remove(&id).expect("it was there a moment ago");
        if let Some(user) = self.users.get_mut(&session.user) {
            user.sessions.retain(|other| *other != id);
        }
        effects
    }

    /// What follows from a command of a session. `text_bytes` is the length of a line's text.
    pub fn apply(
        &mut self,
        from: SessionId,
        command: &Command,
        directory: Directory,
        now: Stamp,
    ) -> Outcome {
        self.pay(from, command, now)?;
        match command {
            Command::Say { to, .. } => self.say(from, to, directory),
            Command::Join { channel, reference } => {
                self.may_join(from, channel)?;
                self.join(from, channel.clone(), reference.clone(), now)
            }
            Command::Part { channel, reference } => {
                self.part(from, channel, reference.clone(), now)
            }
            Command::People { channel, reference } => {
                let people = self.visible(channel)?.people.keys().cloned().collect();
                let (channel, reference) = (channel.clone(), reference.clone());
                Ok(vec![Effect::Answer(Event::People { channel, people, reference })])
            }
            Command::Channels { reference } => {
                let (channels, reference) = (self.channels_for(from), reference.clone());
                Ok(vec![Effect::Answer(Event::Channels { channels, reference })])
            }
            Command::Topic { channel, text, reference } => {
                self.topic(from, channel, text.as_deref(), reference.clone())
            }
            Command::Away { text } => {
                self.user_of(from).away = text.clone();
                Ok(Vec::new())
            }
            // The shell answers these: they need what is on disk, or end the session.
            Command::Whois { .. } | Command::Quit => Ok(Vec::new()),
            Command::Unknown => Err(Refusal::Unknown),
        }
    }

    /// What is known of a person who is connected; the channels are those that `asker` is in too.
    pub fn presence(&self, name: &UserName, asker: SessionId, now: Stamp) -> Option<Presence> {
        let user = self.users.get(name).filter(|user| !user.sessions.is_empty())?;
        let devices = user.sessions.iter().map(|id| self.sessions[id].device.clone());
        let shared = |(channel, entry): (&ChannelName, &Channel)| {
            let both = entry.people.contains_key(name) && self.is_member(asker, channel);
            both.then(|| channel.clone())
        };
        Some(Presence {
            devices: devices.collect(),
            idle_ms: now.ms_since(user.active),
            away: user.away.clone(),
            channels: self.channels.iter().filter_map(shared).collect(),
        })
    }

    /// Forgets channels that have been empty for long enough.
    pub fn sweep(&mut self, now: Stamp) -> Vec<Effect> {
        let limit_ms = self.limits.channel_empty_s * 1000;
        let over = |channel: &Channel| {
            channel.empty_since.is_some_and(|since| now.ms_since(since) >= limit_ms)
        };
        let gone = self.channels.iter().filter(|(name, channel)| !name.is_lobby() && over(channel));
        let gone: Vec<ChannelName> = gone.map(|(name, _)| name.clone()).collect();
        for name in &gone {
            self.channels.remove(name);
        }
        self.users.retain(|_, user| {
            !user.sessions.is_empty() || now.ms_since(user.active) < 10 * 60 * 1000
        });
        gone.into_iter().map(|name| Effect::Forget(Place::Channel(name))).collect()
    }

    /// Channels with the people in them, in the order of their names.
    pub fn channels(&self) -> impl Iterator<Item = (&ChannelName, Vec<&UserName>)> {
        self.channels.iter().map(|(name, channel)| (name, channel.people.keys().collect()))
    }

    /// The sessions of a person.
    pub fn sessions_of(&self, name: &UserName) -> &[SessionId] {
        self.users.get(name).map_or(&[], |user| &user.sessions)
    }

    /// Who sits in a session, and on which device.
    pub fn who(&self, id: SessionId) -> Option<(&UserName, &DeviceName)> {
        self.sessions.get(&id).map(|session| (&session.user, &session.device))
    }

    /// Takes what a command costs from its person's buckets.
    fn pay(&mut self, from: SessionId, command: &Command, now: Stamp) -> Result<(), Refusal> {
        let max_bytes = self.limits.text_bytes_max;
        let topic_max = self.limits.topic_bytes_max;
        let user = self.user_of(from);
        let paid = match command {
            Command::Say { text, .. } => {
                if text.len() > max_bytes {
                    return Err(Refusal::TooLong { bytes: text.len(), max_bytes });
                }
                if text.trim().is_empty() {
                    return Err(Refusal::Empty);
                }
                user.active = now;
                let lines = user.lines.take(1.0, now);
                lines.and_then(|()| user.bytes.take(text.len() as f64, now))
            }
            Command::Topic { text: Some(text), .. } | Command::Away { text: Some(text) }
                if text.len() > topic_max =>
            {
                return Err(Refusal::TooLong { bytes: text.len(), max_bytes: topic_max });
            }
            Command::Quit => Ok(()),
            _ => user.requests.take(1.0, now),
        };
        paid.map_err(|retry_ms| Refusal::Rate { retry_ms })
    }

    fn say(&mut self, from: SessionId, to: &Target, directory: Directory) -> Outcome {
        match to {
            Target::Channel(channel) if self.is_member(from, channel) => {
                Ok(vec![Effect::Line(Place::Channel(channel.clone()))])
            }
            Target::Channel(channel) => Err(Refusal::NotMember(channel.clone())),
            Target::User(name) => {
                let name = directory(name).ok_or_else(|| Refusal::NoSuchUser(name.clone()))?;
                let sender = self.session(from).user.clone();
                let mut readers = self.sessions_of(&name).to_vec();
                if readers.is_empty() {
                    return Err(Refusal::NotHere(name));
                }
                if name != sender {
                    readers.extend_from_slice(self.sessions_of(&sender));
                }
                let place = Place::private(sender, name);
                Ok(vec![Effect::Follow(place.clone(), readers), Effect::Line(place)])
            }
        }
    }

    fn may_join(&self, from: SessionId, channel: &ChannelName) -> Result<(), Refusal> {
        let max = self.limits.channels_per_session_max;
        if !self.is_member(from, channel) && self.session(from).channels.len() >= max {
            return Err(Refusal::TooManyChannels { max });
        }
        let full = self.channels.len() >= self.limits.channels_max;
        if full && !self.channels.contains_key(channel) {
            return Err(Refusal::ServerFull);
        }
        Ok(())
    }

    fn join(
        &mut self,
        from: SessionId,
        name: ChannelName,
        reference: Option<String>,
        now: Stamp,
    ) -> Outcome {
        let session = self.sessions.get_mut(&from).expect("the hub knows its sessions");
        let (who, new) = (session.user.clone(), session.channels.insert(name.clone()));
        let channel = self.channels.entry(name.clone()).or_default();
        channel.empty_since = None;
        let seat = channel.people.entry(who.clone()).or_insert((0, now));
        seat.0 += usize::from(new);
        let first = new && seat.0 == 1;
        let here = channel.people.len();
        let (people, topic) = (channel.people.keys().cloned().collect(), channel.topic.clone());
        let mut effects = Vec::new();
        if first && here <= self.limits.announce_people_max {
            let event = Event::Joined { to: name.clone(), who, here };
            effects.push(Effect::Notice(name.clone(), event));
        }
        let entered = Event::Entered { channel: name.clone(), people, topic, reference };
        effects.push(Effect::Answer(entered));
        if new {
            effects.push(Effect::Follow(Place::Channel(name), vec![from]));
        }
        Ok(effects)
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
        if !self.is_member(from, channel) {
            return Err(Refusal::NotMember(channel.clone()));
        }
        let mut effects = self.depart(from, channel, None, now);
        effects.push(Effect::Answer(Event::Parted { channel: channel.clone(), reference }));
        Ok(effects)
    }

    /// Takes a session out of a channel, and its person with the last one.
    fn depart(
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
        let here = channel.people.len();
        if here == 0 {
            channel.empty_since = Some(now);
        } else if here_before <= self.limits.announce_people_max {
            let reason = reason.map(str::to_owned);
            let event = Event::Left { to: name.clone(), who, here, after_ms, reason };
            effects.push(Effect::Notice(name.clone(), event));
        }
        effects
    }

    fn topic(
        &mut self,
        from: SessionId,
        name: &ChannelName,
        text: Option<&str>,
        reference: Option<String>,
    ) -> Outcome {
        if !self.is_member(from, name) {
            return Err(Refusal::NotMember(name.clone()));
        }
        let channel = self.channels.get_mut(name).expect("members keep a channel alive");
        let Some(text) = text else {
            let (to, text) = (name.clone(), channel.topic.clone());
            return Ok(vec![Effect::Answer(Event::Topic { to, who: None, text, reference })]);
        };
        channel.topic = Some(text.to_owned()).filter(|text| !text.trim().is_empty());
        let (to, text) = (name.clone(), channel.topic.clone());
        let who = Some(self.session(from).user.clone());
        let event = Event::Topic { to, who, text, reference: None };
        Ok(vec![Effect::Notice(name.clone(), event)])
    }

    fn channels_for(&self, asker: SessionId) -> Vec<ChannelInfo> {
        let row = |(name, channel): (&ChannelName, &Channel)| ChannelInfo {
            channel: name.clone(),
            here: channel.people.len(),
            member: self.is_member(asker, name),
            topic: channel.topic.clone(),
        };
        self.channels.iter().map(row).collect()
    }

    fn visible(&self, channel: &ChannelName) -> Result<&Channel, Refusal> {
        self.channels.get(channel).ok_or_else(|| Refusal::NoSuchChannel(channel.clone()))
    }

    fn is_member(&self, id: SessionId, channel: &ChannelName) -> bool {
        self.sessions.get(&id).is_some_and(|session| session.channels.contains(channel))
    }

    fn session(&self, id: SessionId) -> &Session {
        self.sessions.get(&id).expect("the hub knows its sessions")
    }

    fn user_of(&mut self, id: SessionId) -> &mut User {
        let session = self.sessions.get(&id).expect("the hub knows its sessions");
        self.users.get_mut(&session.user).expect("a session has its user")
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
