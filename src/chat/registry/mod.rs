//! Who is connected, who is in which channel, and what follows from a command. Pure: it decides
//! under the hub's lock, and the hub carries out the effects in their order.

mod budgets;
mod channels;
mod decision;
mod logs;
mod sessions;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::rate::{Stamp, take_both};
use super::{
    ChannelName, Command, Conversation, DeviceName, Event, Kind, LogId, Mark, NewMessage, Refusal,
    Retention, Seq, SessionId, Target, UserName, Wanted,
};
use crate::limits::{Limits, MAILBOX_SENDERS};
use budgets::{Budgets, PinJoins};
pub use decision::{Decision, Effect, Fact, Query, Start};

/// Channels that `/channels` looks at for the price of one request.
const CHANNELS_PER_REQUEST: usize = 1_000;
/// Read positions that a session moves for the price of one request.
const READS_PER_REQUEST: usize = 10;

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
    /// It says what it has of each conversation before it reads it.
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
    budgets: Budgets,
    /// Private lines since the last session ended by sender, those that the ledger has not decided
    /// about included.
    waiting: BTreeMap<UserName, usize>,
    /// Nothing that this person does is told to others.
    muted: bool,
}

/// What is known of a conversation's log.
struct Log {
    id: LogId,
    /// Its lines come behind this seq ...
    first: Seq,
    /// ... and up to this one.
    last: Seq,
    reads: HashMap<UserName, Seq>,
    /// Somebody has written here, and has paid for the conversation.
    begun: bool,
    /// The ledger has lines of it.
    stored: bool,
}

/// What is known of a conversation from before this run.
#[derive(Clone, Debug, PartialEq)]
pub struct Remembered {
    pub conversation: Conversation,
    /// Its lines come behind this seq ...
    pub first: Seq,
    /// ... and up to this one.
    pub last: Seq,
    /// It has lines.
    pub stored: bool,
    pub topic: Option<Topic>,
    pub reads: Vec<(UserName, Seq)>,
    /// Lines that came since a person of a private conversation was last here.
    pub waiting: Vec<(UserName, usize)>,
}

/// What a channel is about, and who has said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub text: String,
    pub by: UserName,
}

/// A person in a channel.
struct Seat {
    sessions: usize,
    since: Stamp,
    /// Others were not told that this person came, and are not told that they go.
    silent: bool,
}

#[derive(Default)]
struct Channel {
    people: BTreeMap<UserName, Seat>,
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
    topics: HashMap<ChannelName, Topic>,
    logs: HashMap<Conversation, Log>,
    /// With whom a person has talked in private.
    partners: HashMap<UserName, BTreeSet<UserName>>,
    /// Joins of channels with a PIN that were new to a person.
    pin_joins: HashMap<UserName, PinJoins>,
    /// Since when people are away whose private conversations may have to be forgotten.
    left: BTreeMap<UserName, Stamp>,
    rules: Rules,
    logs_made: u64,
    /// Lines of conversations that begin from now on come behind this seq: no mark of a
    /// conversation that was forgotten reaches further than what is said there later.
    floor: Seq,
}

/// What the operator has decided.
pub struct Rules {
    pub limits: Limits,
    /// How long a conversation's lines are kept.
    pub retention: Box<dyn Fn(&Conversation) -> Retention + Send>,
    /// Whether the configuration names a channel: it keeps its topic when everybody has left.
    pub configured: Box<dyn Fn(&ChannelName) -> bool + Send>,
    /// Whether a conversation's lines go at once when nobody is left in it.
    pub forgets: Box<dyn Fn(&Conversation) -> bool + Send>,
    /// The id of the logs that are kept.
    pub kept: LogId,
    /// The ids of the others are counted from here on.
    pub passing: LogId,
}

impl Registry {
    /// Without any conversation; lines of new ones come behind `floor`.
    pub fn new(rules: Rules, floor: Seq) -> Self {
        let channels = BTreeMap::from([(ChannelName::lobby(), Channel::default())]);
        Registry {
            sessions: HashMap::new(),
            users: HashMap::new(),
            channels,
            topics: HashMap::new(),
            logs: HashMap::new(),
            partners: HashMap::new(),
            pin_joins: HashMap::new(),
            left: BTreeMap::new(),
            rules,
            logs_made: 0,
            floor,
        }
    }

    /// Other rules from now on, for everybody. The ids of logs stay.
    pub fn retune(&mut self, rules: Rules) {
        self.users.values_mut().for_each(|user| user.budgets.retune(&rules.limits));
        let (kept, passing) = (self.rules.kept, self.rules.passing);
        self.rules = Rules { kept, passing, ..rules };
    }

    /// Decides about a command of a session, which pays for it.
    ///
    /// # Errors
    ///
    /// It is not allowed, or not paid for.
    pub fn decide<'a>(
        &mut self,
        from: SessionId,
        command: &'a Command,
        directory: Directory,
        now: Stamp,
    ) -> Result<Decision<'a>, Refusal> {
        self.pay(from, command, now)?;
        Ok(match command {
            Command::Say(message) => self.say(from, message, directory, now)?,
            Command::Resume { conversations } => {
                Decision::Effects(self.resume(from, conversations, directory, now))
            }
            Command::Join { channel, after, reference } => {
                let strange = self.may_join(from, channel, now)?;
                let (channel, reference) = (channel.clone(), reference.clone());
                let joining = Joining { channel, after: *after, reference, strange };
                Decision::Effects(self.join(from, joining, now)?)
            }
            Command::Part { channel, reference } => {
                Decision::Effects(self.part(from, channel, reference.clone(), now)?)
            }
            Command::People { channel, reference } => {
                self.may_look(from, channel)?;
                let event = self.people_event(channel, reference.clone());
                Decision::Effects(vec![Effect::Answer(event)])
            }
            Command::Channels { reference } => {
                let ((channels, omitted), reference) = (self.channels_for(from), reference.clone());
                let event = Event::Channels { channels, omitted, reference };
                Decision::Effects(vec![Effect::Answer(event)])
            }
            Command::Topic { channel, text, reference } => {
                Decision::Effects(self.topic(from, channel, text.as_deref(), reference.clone())?)
            }
            Command::Read { conversations } => {
                Decision::Effects(self.read(from, conversations, directory))
            }
            Command::Away { text } => {
                self.user_of(from).away = text.clone();
                Decision::Effects(Vec::new())
            }
            Command::History { to, before, lines, span, .. } => {
                let conversation = self.may_read(from, to, directory)?;
                let (before, lines, span) = (*before, *lines, *span);
                Decision::Query(Query::History { to, conversation, before, lines, span })
            }
            Command::Search { text, to, .. } => {
                let conversations = match to {
                    Some(to) => vec![self.may_read(from, to, directory)?],
                    None => self.readable(from),
                };
                let (to, wanted) = (to.as_ref(), Wanted::new(text)?);
                Decision::Query(Query::Search { to, conversations, wanted })
            }
            Command::Whois { name, .. } => Decision::Query(Query::Whois(name)),
            Command::Keys { names, .. } => Decision::Query(Query::Keys(names)),
            Command::Certify { certificate } => Decision::Query(Query::Certify(certificate)),
            Command::Operate { words, .. } => Decision::Query(Query::Operate(words)),
            // The session ends itself.
            Command::Quit => Decision::Effects(Vec::new()),
            Command::Password { .. } | Command::Unknown => return Err(Refusal::Unknown),
        })
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
            effects.push(self.forget_channel(&name));
        }
        effects.extend(self.forget_conversations(window_ms, now));
        self.users.retain(|_, user| {
            let idle = user.sessions.is_empty() && user.waiting.is_empty() && user.channels == 0;
            let recent = now.ms_since(user.active) < 60 * 60 * 1000;
            !idle || recent || !user.budgets.are_full(now)
        });
        self.pin_joins.retain(|_, joins| !joins.expire(now));
        effects
    }

    /// Takes the price of a request from a person.
    pub fn pay_request(&mut self, user: &UserName, now: Stamp) -> Result<(), Refusal> {
        let paid = self.user(user, now).budgets.requests.take(1.0, now);
        paid.map_err(|retry_ms| Refusal::Rate { retry_ms })
    }

    /// Takes what answers to `/history` and `/search` have cost beyond what was paid for them.
    pub fn charge_histories(&mut self, from: SessionId, answers: f64, now: Stamp) {
        if self.sessions.contains_key(&from) {
            self.user_of(from).budgets.histories.owe(answers.max(0.0), now);
        }
    }

    /// Gives the price of an answer to `/history` or `/search` back, which nobody had time to read.
    pub fn give_back_history(&mut self, from: SessionId) {
        if self.sessions.contains_key(&from) {
            self.user_of(from).budgets.histories.give_back(1.0);
        }
    }

    /// So many bytes were sent to a person's sessions in answer to requests.
    pub fn answered(&mut self, to: &UserName, bytes: usize, now: Stamp) {
        if bytes > 0 {
            self.user(to, now).budgets.answers.owe(bytes as f64, now);
        }
    }

    /// Whether a person is muted, as of what they do next.
    pub fn set_muted(&mut self, user: &UserName, muted: bool, now: Stamp) {
        self.user(user, now).muted = muted;
    }

    /// Takes what a command costs from its person's budgets.
    fn pay(&mut self, from: SessionId, command: &Command, now: Stamp) -> Result<(), Refusal> {
        self.check_texts(command)?;
        let channels = self.channels.len();
        let user = self.user_of(from);
        let budgets = &mut user.budgets;
        // What draws an answer waits until the answers of before are paid.
        let draws = match command {
            Command::Join { .. } => budgets.rejoins.take(1.0, now).is_err(),
            Command::Topic { text, .. } => text.is_none(),
            Command::People { .. }
            | Command::Channels { .. }
            | Command::Whois { .. }
            | Command::Keys { .. }
            | Command::History { .. }
            | Command::Search { .. }
            | Command::Operate { .. } => true,
            _ => false,
        };
        let drawn = if draws { budgets.answers.take(0.0, now) } else { Ok(()) };
        drawn.map_err(|retry_ms| Refusal::Rate { retry_ms })?;
        let parts = |count: usize, per_request| (1 + count / per_request) as f64;
        let paid = match command {
            Command::Say(message) => {
                user.active = now;
                let bytes = message.body.len() as f64;
                take_both((&mut budgets.lines, 1.0), (&mut budgets.bytes, bytes), now)
            }
            // Others are shown it, as a message.
            Command::Topic { text: Some(text), .. } => {
                let bytes = text.len() as f64;
                take_both((&mut budgets.lines, 1.0), (&mut budgets.bytes, bytes), now)
            }
            Command::History { .. } | Command::Search { .. } => budgets.histories.take(1.0, now),
            Command::Channels { .. } => {
                budgets.requests.take(parts(channels, CHANNELS_PER_REQUEST), now)
            }
            Command::Read { conversations } => {
                budgets.requests.take(parts(conversations.len(), READS_PER_REQUEST), now)
            }
            Command::Quit => Ok(()),
            _ => budgets.requests.take(1.0, now),
        };
        paid.map_err(|retry_ms| Refusal::Rate { retry_ms })
    }

    /// Whether the texts of a command are as long as they may be, and there where they must be.
    fn check_texts(&self, command: &Command) -> Result<(), Refusal> {
        let fits = |text: &str, max_bytes: usize| match text.len() {
            bytes if bytes > max_bytes => Err(Refusal::TooLong { bytes, max_bytes }),
            _ => Ok(()),
        };
        let limits = &self.rules.limits;
        match command {
            Command::Say(message) => {
                fits(message.body.text(), limits.text_bytes_max)?;
                message.check()
            }
            Command::Topic { text: Some(text), .. } | Command::Away { text: Some(text) } => {
                fits(text, limits.topic_bytes_max)
            }
            Command::Search { text, .. } if text.trim().is_empty() => Err(Refusal::Empty),
            Command::Search { text, .. } => Wanted::new(text).map(drop),
            _ => Ok(()),
        }
    }

    fn say<'a>(
        &mut self,
        from: SessionId,
        message: &'a NewMessage,
        directory: Directory,
        now: Stamp,
    ) -> Result<Decision<'a>, Refusal> {
        let conversation = self.may_read(from, &message.to, directory)?;
        if let Target::User(name) = &message.to
            && !matches!(message.kind, Kind::Delete { .. })
            && directory(name).is_none()
        {
            return Err(Refusal::NotRegistered(name.clone()));
        }
        self.begin(from, &conversation, now)?;
        let Some([one, other]) = conversation.people() else {
            return Ok(Decision::Say { message, conversation, effects: Vec::new() });
        };
        let sender = self.session(from).user.clone();
        let name = if *one == sender { other.clone() } else { one.clone() };
        if self.sessions_of(&name).is_empty() {
            self.leave_for(&name, &sender, &conversation, now)?;
        }
        let begins = !self.logs.contains_key(&conversation);
        let start = self.start_now(&conversation);
        self.log(&conversation).begun = true;
        let mut effects = Vec::new();
        for person in if name == sender { vec![name] } else { vec![name, sender] } {
            // Who still has to say what it has of before gets this line with the rest.
            let resumes = |id: &SessionId| self.session(*id).resumes;
            let readers = self.sessions_of(&person).iter().copied().filter(|id| !resumes(id));
            let readers: Vec<SessionId> = readers.collect();
            if begins {
                let conversations = vec![self.conversation_info(&person, &conversation)];
                effects.push(Effect::Tell(readers.clone(), Event::Conversations { conversations }));
            }
            effects.push(Effect::Follow(conversation.clone(), readers, start));
        }
        Ok(Decision::Say { message, conversation, effects })
    }

    /// The first message in a conversation is paid for: the server remembers the conversation from
    /// then on.
    fn begin(
        &mut self,
        from: SessionId,
        conversation: &Conversation,
        now: Stamp,
    ) -> Result<(), Refusal> {
        if self.logs.get(conversation).is_some_and(|log| log.begun) {
            return Ok(());
        }
        let paid = self.user_of(from).budgets.conversations.take(1.0, now);
        paid.map_err(|retry_ms| Refusal::Rate { retry_ms })?;
        // A private conversation begins with the message, which may yet be refused.
        if let Some(log) = self.logs.get_mut(conversation) {
            log.begun = true;
        }
        Ok(())
    }

    /// A private message waits for somebody who is away.
    fn leave_for(
        &mut self,
        name: &UserName,
        sender: &UserName,
        conversation: &Conversation,
        now: Stamp,
    ) -> Result<(), Refusal> {
        if (self.rules.retention)(conversation) == Retention::Off {
            return Err(Refusal::NotHere(name.clone()));
        }
        let max = self.rules.limits.mailbox_lines_max;
        let share = max.div_ceil(MAILBOX_SENDERS);
        let waiting = &mut self.user(name, now).waiting;
        if waiting.values().sum::<usize>() >= max {
            return Err(Refusal::MailboxFull(name.clone(), max));
        }
        let theirs = waiting.get(sender).copied().unwrap_or_default();
        if theirs >= share {
            return Err(Refusal::MailboxShare(name.clone(), share));
        }
        waiting.insert(sender.clone(), theirs + 1);
        Ok(())
    }
}

/// A channel that a session enters.
struct Joining {
    channel: ChannelName,
    after: Option<Mark>,
    reference: Option<String>,
    /// It has a PIN, and was not known to this person.
    strange: bool,
}

#[cfg(test)]
mod cost_tests;
#[cfg(test)]
mod query_tests;
#[cfg(test)]
mod tests;
