//! Who is connected, who is in which channel, and what follows from a command. Pure: it decides
//! under the hub's lock, and the hub carries out the effects in their order.

mod channels;
mod logs;
mod sessions;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::rate::{Bucket, Stamp, take_both};
use super::{
    ChannelName, Command, DeviceName, Event, LogId, Place, Refusal, Retention, Seq, SessionId,
    Target, UserName, suits,
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
    /// Until then: who was in the lobby, and since when, as it was told.
    told: BTreeMap<UserName, Stamp>,
}

struct User {
    sessions: Vec<SessionId>,
    /// How many channels are theirs: they are in them, or have made them.
    channels: usize,
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
    /// Who came first: it is among their channels as long as it is there.
    maker: Option<UserName>,
}

impl Channel {
    /// Whether it is among a person's channels.
    fn counts_for(&self, who: &UserName) -> bool {
        self.maker.as_ref() == Some(who) || self.people.contains_key(who)
    }
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
    /// Since when people are away whose private conversations may have to be forgotten.
    left: BTreeMap<UserName, Stamp>,
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
            left: BTreeMap::new(),
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
            Command::Resume { places } => Ok(self.resume(from, places, directory, now)),
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

    /// Forgets what has been over for long enough: sessions that were cut off, empty channels, and
    /// private conversations that are kept in memory only and have nobody left.
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
            let maker = self.channels.remove(&name).and_then(|channel| channel.maker);
            if let Some(user) = maker.and_then(|maker| self.users.get_mut(&maker)) {
                user.channels = user.channels.saturating_sub(1);
            }
            let place = Place::Channel(name.clone());
            if (self.rules.retention)(&place) == Retention::Off {
                self.topics.remove(&name);
                self.logs.remove(&place);
            } else if self.last(&place) == Seq(0) && !self.topics.contains_key(&name) {
                self.logs.remove(&place);
            }
            effects.push(Effect::Forget(place));
        }
        effects.extend(self.forget_conversations(window_ms, now));
        self.users.retain(|_, user| {
            let idle = user.sessions.is_empty() && user.waiting == 0 && user.channels == 0;
            !idle || now.ms_since(user.active) < 10 * 60 * 1000
        });
        effects
    }

    /// Takes the price of a request from a session's person.
    pub fn pay_request(&mut self, from: SessionId, now: Stamp) -> Result<(), Refusal> {
        if !self.sessions.contains_key(&from) {
            return Ok(());
        }
        let paid = self.user_of(from).requests.take(1.0, now);
        paid.map_err(|retry_ms| Refusal::Rate { retry_ms })
    }

    /// Takes what answers to `/history` and `/search` have cost beyond what was paid for them.
    pub fn charge_histories(&mut self, from: SessionId, answers: f64, now: Stamp) {
        if self.sessions.contains_key(&from) {
            self.user_of(from).histories.owe(answers.max(0.0), now);
        }
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
                take_both((&mut user.lines, 1.0), (&mut user.bytes, bytes as f64), now)
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
}

#[cfg(test)]
mod tests;
