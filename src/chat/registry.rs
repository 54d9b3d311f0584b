//! Who is connected, who is in which channel, and what follows from a command. Pure: it decides
//! under the hub's lock, and the hub carries out the effects in their order.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::rate::{Bucket, Stamp};
use super::{
    ChannelInfo, ChannelName, Command, DeviceName, Event, LogId, Mark, Place, PlaceInfo, Position,
    ReadMark, Refusal, Retention, Seq, SessionId, Target, UserName, suits,
};
use crate::limits::Limits;

/// What the hub does next, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The line that came with the command goes to the ledger, for this place.
    Line(Place),
    /// A notice goes into a channel's log.
    Notice(ChannelName, Event),
    /// These sessions read a place from here on.
    Follow(Place, Vec<SessionId>, Start),
    /// The session no longer reads a place.
    Unfollow(Place, SessionId),
    /// An answer for the session that asked.
    Answer(Event),
    /// The same for other sessions.
    Tell(Vec<SessionId>, Event),
    /// To be remembered over a restart.
    Remember(Fact),
    /// Nobody is left who could come back to this place's log.
    Forget(Place),
}

/// Where a session begins to read a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// It has everything up to here ...
    pub after: Seq,
    /// ... and is told again what follows, up to here; then what is new.
    pub upto: Seq,
    /// Of that, at most this many, the newest.
    pub lines_max: usize,
    /// It never had anything of the place: what is left out is no gap.
    pub fresh: bool,
}

/// What outlives the server's run.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    Topic(ChannelName, Option<String>),
    Read(UserName, Place, Seq),
    /// A person's last session ended; these are their private conversations.
    Away(UserName, Vec<Place>),
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
    /// It was cut off then: its seats are kept for the resume window.
    cut: Option<Stamp>,
    /// It says what it has of each place before it reads it.
    resumes: bool,
}

struct User {
    sessions: Vec<SessionId>,
    away: Option<String>,
    active: Stamp,
    lines: Bucket,
    bytes: Bucket,
    requests: Bucket,
    histories: Bucket,
    /// Private lines since the last session ended, those that the ledger has not decided about
    /// included.
    waiting: usize,
}

/// What is known of a place's log.
struct Log {
    id: LogId,
    last: Seq,
    reads: HashMap<UserName, Seq>,
}

#[derive(Default)]
struct Channel {
    /// People with their number of sessions here and the moment of the first.
    people: BTreeMap<UserName, (usize, Stamp)>,
    empty_since: Option<Stamp>,
}

/// The maps. Every method takes the moment it happens at.
pub struct Registry {
    sessions: HashMap<SessionId, Session>,
    users: HashMap<UserName, User>,
    channels: BTreeMap<ChannelName, Channel>,
    topics: HashMap<ChannelName, String>,
    logs: HashMap<Place, Log>,
    /// With whom a person has talked in private.
    partners: HashMap<UserName, BTreeSet<UserName>>,
    rules: Rules,
    logs_made: u64,
}

/// What the operator has decided.
pub struct Rules {
    pub limits: Limits,
    /// How long a place's lines are kept.
    pub retention: Box<dyn Fn(&Place) -> Retention + Send>,
    /// The id of the logs that are kept.
    pub kept: LogId,
    /// The ids of the others are counted from here on.
    pub passing: LogId,
}

impl Registry {
    pub fn new(rules: Rules) -> Self {
        let channels = BTreeMap::from([(ChannelName::lobby(), Channel::default())]);
        Registry {
            sessions: HashMap::new(),
            users: HashMap::new(),
            channels,
            topics: HashMap::new(),
            logs: HashMap::new(),
            partners: HashMap::new(),
            rules,
            logs_made: 0,
        }
    }

    /// Other limits and retentions from now on, for everybody.
    pub fn retune(&mut self, limits: Limits, retention: Box<dyn Fn(&Place) -> Retention + Send>) {
        for user in self.users.values_mut() {
            user.lines.retune(limits.lines_burst.into(), limits.lines_per_s);
            user.bytes.retune(limits.bytes_per_s * 10.0, limits.bytes_per_s);
            user.requests.retune(limits.requests_per_s * 10.0, limits.requests_per_s);
            user.histories.retune(limits.histories_per_s * 10.0, limits.histories_per_s);
        }
        (self.rules.limits, self.rules.retention) = (limits, retention);
    }

    /// What is known of a place from before this run.
    pub fn remember(
        &mut self,
        place: Place,
        last: Seq,
        topic: Option<String>,
        reads: Vec<(UserName, Seq)>,
        waiting: Vec<(UserName, usize)>,
    ) {
        if let (Place::Channel(channel), Some(topic)) = (&place, topic) {
            self.topics.insert(channel.clone(), topic);
        }
        let log = self.log(&place);
        log.last = last;
        log.reads = reads.into_iter().collect();
        for (name, count) in waiting {
            self.user(&name, Stamp(0)).waiting += count;
        }
    }

    /// A session of `user` begins, in the lobby.
    pub fn enter(
        &mut self,
        id: SessionId,
        user: UserName,
        device: DeviceName,
        resumes: bool,
        now: Stamp,
    ) -> Outcome {
        let max = self.rules.limits.sessions_per_user_max;
        let entry = self.user(&user, now);
        if entry.sessions.len() >= max {
            return Err(Refusal::TooManySessions { max });
        }
        entry.sessions.push(id);
        entry.waiting = 0;
        let channels = BTreeSet::new();
        self.sessions.insert(id, Session { user, device, channels, cut: None, resumes });
        self.join(id, ChannelName::lobby(), None, None, now)
    }

    /// A session ends; its person leaves the channels where this was the last one, at once or, where
    /// the session was cut off, unless they are back within the resume window.
    pub fn leave(
        &mut self,
        id: SessionId,
        reason: Option<&str>,
        cut: bool,
        now: Stamp,
    ) -> Vec<Effect> {
        let window = self.rules.limits.resume_window_s;
        let Some(session) = self.sessions.get_mut(&id) else { return Vec::new() };
        let user = session.user.clone();
        let mut effects = Vec::new();
        let mut last = false;
        if let Some(entry) = self.users.get_mut(&user) {
            entry.sessions.retain(|other| *other != id);
            last = entry.sessions.is_empty();
        }
        if cut && window > 0 {
            session.cut = Some(now);
        } else {
            effects.extend(self.remove(id, reason, now));
            if last {
                // Who leaves for good does not linger by an earlier session that was cut.
                let lingering = self.cut_sessions(|session| session.user == user);
                for id in lingering {
                    effects.extend(self.remove(id, reason, now));
                }
            }
        }
        if last {
            let places = self.conversations(&user);
            effects.push(Effect::Remember(Fact::Away(user, places)));
        }
        effects
    }

    /// Takes a session out of all its channels.
    fn remove(&mut self, id: SessionId, reason: Option<&str>, now: Stamp) -> Vec<Effect> {
        let channels = self.session(id).channels.clone();
        let depart = |channel: &ChannelName| self.depart(id, channel, reason, now);
        let effects = channels.iter().flat_map(depart).collect();
        self.sessions.remove(&id);
        effects
    }

    fn cut_sessions(&self, which: impl Fn(&Session) -> bool) -> Vec<SessionId> {
        let cut = self.sessions.iter().filter(|(_, session)| session.cut.is_some());
        let mut ids: Vec<_> = cut.filter(|(_, one)| which(one)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    fn user(&mut self, name: &UserName, now: Stamp) -> &mut User {
        let limits = &self.rules.limits;
        self.users.entry(name.clone()).or_insert_with(|| User {
            sessions: Vec::new(),
            away: None,
            active: now,
            lines: Bucket::new(limits.lines_burst.into(), limits.lines_per_s, now),
            bytes: Bucket::new(limits.bytes_per_s * 10.0, limits.bytes_per_s, now),
            requests: Bucket::new(limits.requests_per_s * 10.0, limits.requests_per_s, now),
            histories: Bucket::new(limits.histories_per_s * 10.0, limits.histories_per_s, now),
            waiting: 0,
        })
    }

    fn log(&mut self, place: &Place) -> &mut Log {
        let rules = &self.rules;
        self.logs.entry(place.clone()).or_insert_with(|| {
            if let Some([one, other]) = place.people() {
                for (name, partner) in [(one, other), (other, one)] {
                    let partners = self.partners.entry(name.clone()).or_default();
                    partners.insert(partner.clone());
                }
            }
            let id = match (rules.retention)(place) {
                Retention::Off => {
                    self.logs_made += 1;
                    LogId(rules.passing.0.wrapping_add(self.logs_made))
                }
                _ => rules.kept,
            };
            Log { id, last: Seq(0), reads: HashMap::new() }
        })
    }

    /// A line was committed.
    pub fn committed(&mut self, place: &Place, seq: Seq) {
        self.log(place).last = seq;
    }

    /// A line was not stored: it does not wait for anybody.
    pub fn refused(&mut self, place: &Place, from: &UserName) {
        for person in place.people().into_iter().flatten().filter(|person| *person != from) {
            if let Some(user) = self.users.get_mut(person) {
                user.waiting = user.waiting.saturating_sub(1);
            }
        }
    }

    /// The newest seq of a place.
    pub fn last(&self, place: &Place) -> Seq {
        self.logs.get(place).map_or(Seq(0), |log| log.last)
    }

    /// The places that a session may read.
    pub fn readable(&self, id: SessionId) -> Vec<Place> {
        let Some(session) = self.sessions.get(&id) else { return Vec::new() };
        let channels = session.channels.iter().cloned().map(Place::Channel);
        channels.chain(self.conversations(&session.user)).collect()
    }

    fn conversations(&self, user: &UserName) -> Vec<Place> {
        let partners = self.partners.get(user).into_iter().flatten();
        partners.map(|partner| Place::private(user.clone(), partner.clone())).collect()
    }

    /// Where a session that has `mark` of a place begins to read it.
    fn start(&mut self, place: &Place, mark: Option<Mark>) -> Start {
        let (resume_max, first_max) =
            (self.rules.limits.resume_lines_max, self.rules.limits.first_lines_max);
        let log = self.log(place);
        let known = mark.filter(|mark| mark.log == log.id && mark.seq <= log.last);
        match known {
            Some(mark) => {
                Start { after: mark.seq, upto: log.last, lines_max: resume_max, fresh: false }
            }
            None => Start { after: Seq(0), upto: log.last, lines_max: first_max, fresh: true },
        }
    }

    /// From now on, without anything of before.
    fn start_now(&mut self, place: &Place) -> Start {
        let last = self.log(place).last;
        Start { after: last, upto: last, lines_max: 0, fresh: true }
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
            Command::Say { to, .. } => self.say(from, to, directory, now),
            Command::Resume { places } => Ok(self.resume(from, places, directory)),
            Command::Join { channel, after, reference } => {
                self.may_join(from, channel)?;
                self.join(from, channel.clone(), *after, reference.clone(), now)
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
            Command::Read { places } => Ok(self.read(from, places, directory)),
            Command::Away { text } => {
                self.user_of(from).away = text.clone();
                Ok(Vec::new())
            }
            Command::History { to, .. } => self.may_read(from, to, directory).map(|_| Vec::new()),
            Command::Search { to: Some(to), .. } => {
                self.may_read(from, to, directory).map(|_| Vec::new())
            }
            // The shell answers these: they need what is on disk, or end the session.
            Command::Search { .. }
            | Command::Certify { .. }
            | Command::Keys { .. }
            | Command::Whois { .. }
            | Command::Operate { .. }
            | Command::Quit => Ok(Vec::new()),
            Command::Password { .. } | Command::Unknown => Err(Refusal::Unknown),
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

    /// Forgets what has been over for long enough: sessions that were cut off, empty channels.
    pub fn sweep(&mut self, now: Stamp) -> Vec<Effect> {
        let window_ms = self.rules.limits.resume_window_s * 1000;
        let over =
            |session: &Session| session.cut.is_some_and(|since| now.ms_since(since) >= window_ms);
        let mut effects = Vec::new();
        for id in self.cut_sessions(over) {
            effects.extend(self.remove(id, None, now));
        }
        let limit_ms = self.rules.limits.channel_empty_s * 1000;
        let over = |channel: &Channel| {
            channel.empty_since.is_some_and(|since| now.ms_since(since) >= limit_ms)
        };
        let gone = self.channels.iter().filter(|(name, channel)| !name.is_lobby() && over(channel));
        let gone: Vec<ChannelName> = gone.map(|(name, _)| name.clone()).collect();
        for name in gone {
            self.channels.remove(&name);
            let place = Place::Channel(name.clone());
            if (self.rules.retention)(&place) == Retention::Off {
                self.topics.remove(&name);
                self.logs.remove(&place);
            } else if self.last(&place) == Seq(0) && !self.topics.contains_key(&name) {
                self.logs.remove(&place);
            }
            effects.push(Effect::Forget(place));
        }
        self.users.retain(|_, user| {
            let idle = user.sessions.is_empty() && user.waiting == 0;
            !idle || now.ms_since(user.active) < 10 * 60 * 1000
        });
        effects
    }

    /// Who is in a channel.
    pub fn people_of(&self, channel: &ChannelName) -> Vec<UserName> {
        let channel = self.channels.get(channel);
        channel.map_or_else(Vec::new, |channel| channel.people.keys().cloned().collect())
    }

    /// How many people are connected.
    pub fn people(&self) -> usize {
        self.users.values().filter(|user| !user.sessions.is_empty()).count()
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

    /// Takes the price of a request from a session's person.
    pub fn pay_request(&mut self, from: SessionId, now: Stamp) -> Result<(), Refusal> {
        if !self.sessions.contains_key(&from) {
            return Ok(());
        }
        let paid = self.user_of(from).requests.take(1.0, now);
        paid.map_err(|retry_ms| Refusal::Rate { retry_ms })
    }

    /// Takes what a command costs from its person's buckets.
    fn pay(&mut self, from: SessionId, command: &Command, now: Stamp) -> Result<(), Refusal> {
        let max_bytes = self.rules.limits.text_bytes_max;
        let topic_max = self.rules.limits.topic_bytes_max;
        let user = self.user_of(from);
        let paid = match command {
            Command::Say { to, text, sealed, kind, target, .. } => {
                if text.len() > max_bytes {
                    return Err(Refusal::TooLong { bytes: text.len(), max_bytes });
                }
                suits(to, *kind, *target, text, sealed.is_some())?;
                user.active = now;
                let bytes = text.len() + sealed.as_ref().map_or(0, |sealed| sealed.bytes().len());
                let lines = user.lines.take(1.0, now);
                lines.and_then(|()| user.bytes.take(bytes as f64, now))
            }
            Command::Topic { text: Some(text), .. } | Command::Away { text: Some(text) }
                if text.len() > topic_max =>
            {
                return Err(Refusal::TooLong { bytes: text.len(), max_bytes: topic_max });
            }
            Command::Search { text, .. } if text.trim().is_empty() => return Err(Refusal::Empty),
            Command::History { .. } | Command::Search { .. } => user.histories.take(1.0, now),
            Command::Quit => Ok(()),
            _ => user.requests.take(1.0, now),
        };
        paid.map_err(|retry_ms| Refusal::Rate { retry_ms })
    }

    fn say(&mut self, from: SessionId, to: &Target, directory: Directory, now: Stamp) -> Outcome {
        let place = self.may_read(from, to, directory)?;
        let Some([one, other]) = place.people() else { return Ok(vec![Effect::Line(place)]) };
        let sender = self.session(from).user.clone();
        let name = if *one == sender { other.clone() } else { one.clone() };
        if self.sessions_of(&name).is_empty() {
            if (self.rules.retention)(&place) == Retention::Off {
                return Err(Refusal::NotHere(name));
            }
            let max = self.rules.limits.mailbox_lines_max;
            let mailbox = &mut self.user(&name, now).waiting;
            if *mailbox >= max {
                return Err(Refusal::MailboxFull(name, max));
            }
            *mailbox += 1;
        }
        let begins = !self.logs.contains_key(&place);
        let start = self.start_now(&place);
        let mut effects = Vec::new();
        for person in if name == sender { vec![name] } else { vec![name, sender] } {
            // Who still has to say what it has of before gets this line with the rest.
            let resumes = |id: &SessionId| self.session(*id).resumes;
            let readers = self.sessions_of(&person).iter().copied().filter(|id| !resumes(id));
            let readers: Vec<SessionId> = readers.collect();
            if begins {
                let places = vec![self.place_info(&person, &place)];
                effects.push(Effect::Tell(readers.clone(), Event::Places { places }));
            }
            effects.push(Effect::Follow(place.clone(), readers, start));
        }
        effects.push(Effect::Line(place));
        Ok(effects)
    }

    /// The place that a session means, if it may read it: a channel that it is in, or a private
    /// conversation of its person.
    pub fn may_read(
        &self,
        from: SessionId,
        to: &Target,
        directory: Directory,
    ) -> Result<Place, Refusal> {
        match to {
            Target::Channel(channel) if self.is_member(from, channel) => {
                Ok(Place::Channel(channel.clone()))
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
                Ok(Place::private(user.clone(), name))
            }
        }
    }

    /// The lobby and all private conversations are read from where the client has them.
    fn resume(
        &mut self,
        from: SessionId,
        places: &[Position],
        directory: Directory,
    ) -> Vec<Effect> {
        let user = self.session(from).user.clone();
        if !std::mem::take(&mut self.sessions.get_mut(&from).expect("it asks").resumes) {
            return Vec::new();
        }
        let mut marks = HashMap::new();
        for position in places {
            if let Ok(place) = self.may_read(from, &position.to, directory) {
                marks.insert(place, position.mark);
            }
        }
        let lobby = Place::Channel(ChannelName::lobby());
        let mut effects = Vec::new();
        let mut infos = Vec::new();
        for place in std::iter::once(lobby).chain(self.conversations(&user)) {
            let mark = marks.get(&place).copied();
            infos.push(self.place_info(&user, &place));
            let start = self.start(&place, mark);
            effects.push(Effect::Follow(place, vec![from], start));
        }
        // A record holds some hundred of them.
        let tell = |infos: &[PlaceInfo]| Effect::Answer(Event::Places { places: infos.to_vec() });
        infos.chunks(50).map(tell).chain(effects).collect()
    }

    fn place_info(&mut self, user: &UserName, place: &Place) -> PlaceInfo {
        let retention = (self.rules.retention)(place);
        let log = self.log(place);
        let read = log.reads.get(user).copied().unwrap_or_default();
        PlaceInfo { to: place.as_seen_by(user), log: log.id, last: log.last, read, retention }
    }

    /// A person has read: remembered, and told to their other sessions.
    fn read(&mut self, from: SessionId, places: &[ReadMark], directory: Directory) -> Vec<Effect> {
        let user = self.session(from).user.clone();
        let mut others = self.sessions_of(&user).to_vec();
        others.retain(|id| *id != from);
        let mut effects = Vec::new();
        for ReadMark { to, seq } in places {
            let Ok(place) = self.may_read(from, to, directory) else { continue };
            let log = self.log(&place);
            let seq = (*seq).min(log.last);
            let read = log.reads.entry(user.clone()).or_default();
            if seq <= *read {
                continue;
            }
            *read = seq;
            let to = place.as_seen_by(&user);
            if !others.is_empty() {
                effects.push(Effect::Tell(others.clone(), Event::Read { to, seq }));
            }
            effects.push(Effect::Remember(Fact::Read(user.clone(), place, seq)));
        }
        effects
    }

    fn may_join(&self, from: SessionId, channel: &ChannelName) -> Result<(), Refusal> {
        let max = self.rules.limits.channels_per_session_max;
        if !self.is_member(from, channel) && self.session(from).channels.len() >= max {
            return Err(Refusal::TooManyChannels { max });
        }
        let full = self.channels.len() >= self.rules.limits.channels_max;
        if full && !self.channels.contains_key(channel) {
            return Err(Refusal::ServerFull);
        }
        Ok(())
    }

    fn join(
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
        let channel = self.channels.entry(name.clone()).or_default();
        channel.empty_since = None;
        let seat = channel.people.entry(who.clone()).or_insert((0, now));
        seat.0 += usize::from(new);
        let first = new && seat.0 == 1;
        let here = channel.people.len();
        let people = channel.people.keys().cloned().collect();
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
        } else if here_before <= self.rules.limits.announce_people_max {
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

    fn channels_for(&self, asker: SessionId) -> Vec<ChannelInfo> {
        let row = |(name, channel): (&ChannelName, &Channel)| {
            let member = self.is_member(asker, name);
            // By the tag of a channel its PIN can be guessed at.
            let shown = if member { name.clone() } else { name.bare() };
            let (here, topic) = (channel.people.len(), self.topics.get(name).cloned());
            ChannelInfo { channel: shown, sealed: name.has_pin(), here, member, topic }
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
