//! The registry: who is connected, who is in which channel, and what a command causes. Pure: it
//! decides under the hub's lock, and the hub applies the effects in order.

mod budgets;
mod channels;
mod decision;
mod logs;
mod sessions;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::rate::{Stamp, take_both};
use super::{
    ChannelName, Command, Conversation, DeviceName, Event, Kind, LogId, Mark, NewMessage, Refusal,
    Request, Retention, Seq, SessionId, Target, UserName, Wanted,
};
use crate::limits::{COUNTED_MAX, Limits, MAILBOX_SENDERS};
use budgets::{Budgets, PinJoins};
pub use decision::{CountSpan, Decision, Effect, Fact, Lost, Query, Start};

/// Channels that `/channels` may scan for the price of one request.
const CHANNELS_PER_REQUEST: usize = 1_000;
/// Read positions that a session may move for the price of one request.
const READS_PER_REQUEST: usize = 10;

type Outcome = Result<Vec<Effect>, Refusal>;

/// Returns the registered spelling of a name, whatever its case.
pub type Directory<'a> = &'a dyn Fn(&UserName) -> Option<UserName>;

/// The state of a connected user.
#[derive(Clone, Debug, PartialEq)]
pub struct Presence {
    pub devices: Vec<DeviceName>,
    pub idle_ms: u64,
    pub away: Option<String>,
    pub channels: Vec<ChannelName>,
}

/// What a session is for, as its client says at the login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It reads from now on.
    Visit,
    /// It says first what it has, and reads nothing before.
    Resume,
    /// One job of a script: nobody is told that it comes and goes.
    Job,
}

struct Session {
    user: UserName,
    device: DeviceName,
    channels: BTreeSet<ChannelName>,
    /// When the connection was lost: the session stays in its channels for the resume window.
    cut: Option<Stamp>,
    /// The client has still to send `resume`; until then the session reads nothing.
    resumes: bool,
    /// It is a job of a script.
    is_job: bool,
    /// The people in the lobby and since when, as announced before the resume.
    told: BTreeMap<UserName, Stamp>,
}

struct User {
    sessions: Vec<SessionId>,
    /// How many channels the user is in or has created.
    channels: usize,
    away: Option<String>,
    active: Stamp,
    budgets: Budgets,
    /// Private messages by sender since the last session ended, including those that are not
    /// committed yet.
    waiting: BTreeMap<UserName, usize>,
    /// Actions of a muted user are not announced.
    muted: bool,
}

/// The state of a conversation's log.
struct Log {
    id: LogId,
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

/// What a channel is about, and who has said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub text: String,
    pub by: UserName,
}

/// A person in a channel.
struct Member {
    sessions: usize,
    since: Stamp,
    /// The join was not announced, so the leave is not either.
    silent: bool,
    /// Every session that it has had is a job: it is no visitor.
    unseen: bool,
}

impl Member {
    /// One more session is in the channel; whether that is the first one that is no job.
    fn enters(&mut self, is_job: bool, now: Stamp) -> bool {
        if is_job && self.sessions == 1 {
            (self.silent, self.unseen) = (true, true);
        }
        let first = !is_job && (self.sessions == 1 || self.unseen);
        if first && std::mem::take(&mut self.unseen) {
            self.since = now;
        }
        first
    }
}

#[derive(Default)]
struct Channel {
    people: BTreeMap<UserName, Member>,
    /// How many of them are unseen.
    unseen: usize,
    empty_since: Option<Stamp>,
    /// The user who created the channel, and whose limit it counts against until it is dropped.
    maker: Option<UserName>,
}

impl Channel {
    /// How many people are seen in it.
    fn here(&self) -> usize {
        self.people.len().saturating_sub(self.unseen)
    }

    /// Whether it counts against a user's channel limit.
    fn counts_for(&self, who: &UserName) -> bool {
        self.maker.as_ref() == Some(who) || self.people.contains_key(who)
    }
}

/// The registry's state. Every method that depends on time takes it as an argument.
pub struct Registry {
    sessions: HashMap<SessionId, Session>,
    users: HashMap<UserName, User>,
    channels: BTreeMap<ChannelName, Channel>,
    topics: HashMap<ChannelName, Topic>,
    logs: HashMap<Conversation, Log>,
    /// The users with whom a user has a private conversation.
    partners: HashMap<UserName, BTreeSet<UserName>>,
    /// Recent joins of channels with a PIN that were new to a user.
    pin_joins: HashMap<UserName, PinJoins>,
    /// When users went offline whose private conversations may have to be dropped.
    left: BTreeMap<UserName, Stamp>,
    rules: Rules,
    /// The first user who claimed messages that the ledger lacks, and how many.
    loss_claim: Option<(UserName, u64)>,
    logs_made: u64,
    /// Conversations that begin from now on get seqs above this one, so that no client's position
    /// in a dropped conversation lies beyond later messages.
    floor: Seq,
}

/// The operator's configuration.
pub struct Rules {
    pub limits: Limits,
    /// How long a conversation's messages are stored.
    pub retention: Box<dyn Fn(&Conversation) -> Retention + Send>,
    /// Whether the configuration names a channel: it keeps its topic when everybody has left.
    pub configured: Box<dyn Fn(&ChannelName) -> bool + Send>,
    /// Whether a conversation's messages are erased as soon as nobody is left in it.
    pub forgets: Box<dyn Fn(&Conversation) -> bool + Send>,
    /// The id of logs on disk.
    pub persistent: LogId,
    /// The base from which the ids of logs in memory are counted.
    pub ephemeral: LogId,
    /// The id of the stored logs after a loss is noticed, at most once in a run.
    pub next: LogId,
}

impl Registry {
    /// Creates a registry without conversations; new ones get seqs above `floor`.
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
            loss_claim: None,
            left: BTreeMap::new(),
            rules,
            logs_made: 0,
            floor,
        }
    }

    /// Changes the rules for everybody. The ids of logs stay.
    pub fn retune(&mut self, rules: Rules) {
        self.users.values_mut().for_each(|user| user.budgets.retune(&rules.limits));
        let (persistent, ephemeral, next) =
            (self.rules.persistent, self.rules.ephemeral, self.rules.next);
        self.rules = Rules { persistent, ephemeral, next, ..rules };
    }

    /// Decides about a session's command and charges for it.
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
        self.pay(from, command, now)?;
        Ok(match command {
            Command::Say(message) => self.say(from, message, directory, now)?,
            Command::Resume { conversations } => {
                Decision::Effects(self.resume(from, conversations, directory, now))
            }
            Command::Join { channel, after } => {
                let is_new_pin = self.may_join(from, channel, now)?;
                let (channel, reference) = (channel.clone(), reference.clone());
                let joining = Joining { channel, after: *after, reference, is_new_pin };
                Decision::Effects(self.join(from, joining, now)?)
            }
            Command::Part { channel } => {
                Decision::Effects(self.part(from, channel, reference.clone(), now)?)
            }
            Command::People { channel } => {
                self.may_look(from, channel)?;
                let event = self.people_event(channel, reference.clone());
                Decision::Effects(vec![Effect::Answer(event)])
            }
            Command::Channels => {
                let ((channels, omitted), reference) = (self.channels_for(from), reference.clone());
                let event = Event::Channels { channels, omitted, reference };
                Decision::Effects(vec![Effect::Answer(event)])
            }
            Command::Topic { channel, text } => {
                Decision::Effects(self.topic(from, channel, text.as_deref(), reference.clone())?)
            }
            Command::Read { conversations } => {
                Decision::Effects(self.read(from, conversations, directory))
            }
            Command::Away { text } => {
                self.user_of(from).away = text.clone();
                Decision::Effects(Vec::new())
            }
            Command::History { to, before, lines, span } => {
                let conversation = self.may_read(from, to, directory)?;
                let (before, lines, span) = (*before, *lines, *span);
                Decision::Query(Query::History { to, conversation, before, lines, span })
            }
            Command::Search { text, to } => {
                let conversations = match to {
                    Some(to) => vec![self.may_read(from, to, directory)?],
                    None => self.readable(from),
                };
                let (to, wanted) = (to.as_ref(), Wanted::new(text)?);
                Decision::Query(Query::Search { to, conversations, wanted })
            }
            Command::Count { conversations } => {
                let spans = self.count_spans(from, conversations, directory);
                Decision::Query(Query::Count { spans })
            }
            Command::Whois { name } => Decision::Query(Query::Whois(name)),
            Command::Keys { names } => Decision::Query(Query::Keys(names)),
            Command::Certify { certificate } => Decision::Query(Query::Certify(certificate)),
            Command::Operate { words } => Decision::Query(Query::Operate(words)),
            // The session ends itself.
            Command::Quit => Decision::Effects(Vec::new()),
            Command::Password { .. } | Command::Unknown => return Err(Refusal::Unknown),
        })
    }

    /// Drops what has expired: lost sessions, empty channels, and private conversations without
    /// users that are in memory only.
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

    /// Charges a user for one request.
    pub fn pay_request(&mut self, user: &UserName, now: Stamp) -> Result<(), Refusal> {
        let paid = self.user(user, now).budgets.requests.take(1.0, now);
        paid.map_err(|retry_ms| Refusal::Rate { retry_ms })
    }

    /// Charges a user for answers to `/history` and `/search` beyond what was paid in advance.
    pub fn charge_histories(&mut self, from: SessionId, answers: f64, now: Stamp) {
        if self.sessions.contains_key(&from) {
            self.user_of(from).budgets.histories.owe(answers.max(0.0), now);
        }
    }

    /// Refunds an answer to `/history` or `/search` that no reader had time for.
    pub fn give_back_history(&mut self, from: SessionId) {
        if self.sessions.contains_key(&from) {
            self.user_of(from).budgets.histories.give_back(1.0);
        }
    }

    /// Charges a user for bytes sent in answer to requests.
    pub fn answered(&mut self, to: &UserName, bytes: usize, now: Stamp) {
        if bytes > 0 {
            self.user(to, now).budgets.answers.owe(bytes as f64, now);
        }
    }

    /// Mutes or unmutes a user from now on.
    pub fn set_muted(&mut self, user: &UserName, muted: bool, now: Stamp) {
        self.user(user, now).muted = muted;
    }

    /// Charges a user for a command.
    fn pay(&mut self, from: SessionId, command: &Command, now: Stamp) -> Result<(), Refusal> {
        self.check_texts(command)?;
        let channels = self.channels.len();
        let user = self.user_of(from);
        let budgets = &mut user.budgets;
        // A request with an answer waits until earlier answers are paid.
        let draws = match command {
            Command::Join { .. } => budgets.rejoins.take(1.0, now).is_err(),
            Command::Topic { text, .. } => text.is_none(),
            Command::People { .. }
            | Command::Channels
            | Command::Whois { .. }
            | Command::Keys { .. }
            | Command::History { .. }
            | Command::Search { .. }
            | Command::Count { .. }
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
            // A topic is shown to others like a message.
            Command::Topic { text: Some(text), .. } => {
                let bytes = text.len() as f64;
                take_both((&mut budgets.lines, 1.0), (&mut budgets.bytes, bytes), now)
            }
            Command::History { .. } | Command::Search { .. } | Command::Count { .. } => {
                budgets.histories.take(1.0, now)
            }
            Command::Channels => budgets.requests.take(parts(channels, CHANNELS_PER_REQUEST), now),
            Command::Read { conversations } => {
                budgets.requests.take(parts(conversations.len(), READS_PER_REQUEST), now)
            }
            Command::Quit => Ok(()),
            _ => budgets.requests.take(1.0, now),
        };
        paid.map_err(|retry_ms| Refusal::Rate { retry_ms })
    }

    /// Checks that the command's texts are present and within their limits.
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
            Command::Count { conversations } if conversations.len() > COUNTED_MAX => {
                Err(Refusal::TooManyCounted { max: COUNTED_MAX })
            }
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
            // Sessions that have still to resume get this message then.
            let resumes = |id: &SessionId| self.session(*id).resumes;
            let readers = self.sessions_of(&person).iter().copied().filter(|id| !resumes(id));
            let readers: Vec<SessionId> = readers.collect();
            if begins {
                let conversations = vec![self.conversation_info(&person, &conversation)];
                effects.push(Effect::Send(readers.clone(), Event::Conversations { conversations }));
            }
            effects.push(Effect::Follow(conversation.clone(), readers, start));
        }
        Ok(Decision::Say { message, conversation, effects })
    }

    /// Charges for the first message in a conversation, because the server keeps state for it from
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
        // The log of a private conversation is created later, since the message may still be
        // refused.
        if let Some(log) = self.logs.get_mut(conversation) {
            log.begun = true;
        }
        Ok(())
    }

    /// Counts a private message for an offline user.
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

/// A join that was allowed.
struct Joining {
    channel: ChannelName,
    after: Option<Mark>,
    reference: Option<String>,
    /// The channel has a PIN and is new to the user.
    is_new_pin: bool,
}

#[cfg(test)]
mod cost_tests;
#[cfg(test)]
mod dropped_tests;
#[cfg(test)]
mod query_tests;
#[cfg(test)]
mod tests;
