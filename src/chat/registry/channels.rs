//! Channels: the people in them, their topics, and what `/channels` lists.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use super::sessions::Session;
use super::users::User;
use super::{Effect, Fact, Topic};
use crate::chat::rate::Stamp;
use crate::chat::{ChannelInfo, ChannelName, Event, Refusal, Retention, UserName};
use crate::limits::LIST_BYTES_MAX;

/// JSON bytes of a row of `/channels` beside its name and topic.
const ROW_BYTES: usize = 96;

/// A person in a channel.
struct Member {
    sessions: usize,
    since: Stamp,
    /// The join was not announced, so the leave is not either.
    is_silent: bool,
    /// Every session that it has had is a job: it is no visitor.
    is_unseen: bool,
}

impl Member {
    /// One more session is in the channel; whether that is the first one that is no job.
    fn enter(&mut self, is_job: bool, now: Stamp) -> bool {
        self.sessions += 1;
        if is_job && self.sessions == 1 {
            (self.is_silent, self.is_unseen) = (true, true);
        }
        let is_first = !is_job && (self.sessions == 1 || self.is_unseen);
        if is_first && std::mem::take(&mut self.is_unseen) {
            self.since = now;
        }
        is_first
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

    fn seen(&self) -> impl Iterator<Item = (&UserName, &Member)> {
        self.people.iter().filter(|(_, member)| !member.is_unseen)
    }
}

/// A session has entered a channel.
pub(super) struct Entrance {
    /// How many people are seen in the channel.
    pub here: usize,
    /// It is the user's first session there that others notice.
    pub is_first: bool,
    pub is_silent: bool,
}

/// A user's last session has left a channel.
pub(super) struct Departure {
    pub here_before: usize,
    pub here: usize,
    /// How long the user was in the channel.
    pub after_ms: u64,
    pub is_silent: bool,
    pub is_unseen: bool,
    /// The channel counts against the user's limit no longer.
    pub is_discounted: bool,
}

/// People who entered and left a channel since a list of them was made.
pub(super) struct Changes {
    pub here: usize,
    /// Those who left, and how long ago the list had them enter.
    pub left: Vec<(UserName, u64)>,
    pub entered: Vec<UserName>,
}

pub(super) struct Channels {
    channels: BTreeMap<ChannelName, Channel>,
    topics: HashMap<ChannelName, Topic>,
}

impl Channels {
    /// Creates the lobby.
    pub fn new() -> Channels {
        let channels = BTreeMap::from([(ChannelName::lobby(), Channel::default())]);
        Channels { channels, topics: HashMap::new() }
    }

    pub fn count(&self) -> usize {
        self.channels.len()
    }

    pub fn exists(&self, name: &ChannelName) -> bool {
        self.channels.contains_key(name)
    }

    /// Whether a channel counts against a user's channel limit.
    pub fn counts_for(&self, name: &ChannelName, who: &UserName) -> bool {
        self.channels.get(name).is_some_and(|channel| channel.counts_for(who))
    }

    /// Restores a channel of an earlier run. One that does not stay without members is dropped
    /// again unless somebody joins.
    pub fn remember(&mut self, name: ChannelName, stays: bool, topic: Option<Topic>) {
        if let Some(topic) = topic {
            self.topics.insert(name.clone(), topic);
        }
        if !stays {
            self.channels.entry(name).or_default().empty_since = Some(Stamp(0));
        }
    }

    /// Adds a session to a channel, which begins with it if there is none. A join with
    /// `is_new_pin` is always announced: nobody tries a PIN unseen.
    pub fn enter(
        &mut self,
        name: &ChannelName,
        (session, user): (&mut Session, &mut User),
        is_new_pin: bool,
        now: Stamp,
    ) -> Entrance {
        let who = &session.user.clone();
        let made = || Channel { maker: Some(who.clone()), ..Channel::default() };
        let mut theirs = usize::from(!self.channels.contains_key(name));
        let channel = self.channels.entry(name.clone()).or_insert_with(made);
        theirs += usize::from(!channel.counts_for(who));
        user.count_channels(theirs);
        channel.empty_since = None;
        let member = || Member { sessions: 0, since: now, is_silent: false, is_unseen: false };
        let member = channel.people.entry(who.clone()).or_insert_with(member);
        let was_unseen = member.is_unseen;
        // A first join of a PIN channel confirms the PIN to the client, so members are notified.
        let is_job = session.is_job && !is_new_pin;
        let is_first = session.enter(name) && member.enter(is_job, now);
        channel.unseen = channel.unseen + usize::from(member.is_unseen) - usize::from(was_unseen);
        if is_first {
            let is_paid = user.budgets.announced_joins.take(1.0, now).is_ok();
            member.is_silent = user.is_muted || !(is_paid || is_new_pin);
        }
        let is_silent = member.is_silent;
        Entrance { here: channel.here(), is_first, is_silent }
    }

    /// Removes a session from a channel. Returns the user's departure if it was the last one.
    pub fn leave(
        &mut self,
        name: &ChannelName,
        session: &mut Session,
        now: Stamp,
    ) -> Option<Departure> {
        session.leave(name);
        let who = &session.user;
        let channel = self.channels.get_mut(name).expect("members keep a channel alive");
        let here_before = channel.here();
        let member = channel.people.get_mut(who).expect("a user in a channel is its member");
        member.sessions -= 1;
        if member.sessions > 0 {
            return None;
        }
        let after_ms = now.ms_since(member.since);
        let (is_silent, is_unseen) = (member.is_silent, member.is_unseen);
        channel.unseen -= usize::from(is_unseen);
        channel.people.remove(who);
        if channel.people.is_empty() {
            channel.empty_since = Some(now);
        }
        let (here, is_discounted) = (channel.here(), !channel.counts_for(who));
        Some(Departure { here_before, here, after_ms, is_silent, is_unseen, is_discounted })
    }

    /// Drops channels that have been empty for `limit_ms`. Returns each with the user who created
    /// it.
    pub fn drop_empty(
        &mut self,
        limit_ms: u64,
        now: Stamp,
    ) -> Vec<(ChannelName, Option<UserName>)> {
        let is_over = |name: &ChannelName, channel: &Channel| {
            let is_over = |since: Stamp| now.ms_since(since) >= limit_ms;
            !name.is_lobby() && channel.empty_since.is_some_and(is_over)
        };
        let dropped = self.channels.extract_if(.., |name, channel| is_over(name, channel));
        dropped.map(|(name, channel)| (name, channel.maker)).collect()
    }

    /// Returns the people who are seen in a channel, each with the time of the join.
    pub fn seen(&self, name: &ChannelName) -> BTreeMap<UserName, Stamp> {
        let seen = self.channels.get(name).into_iter().flat_map(Channel::seen);
        seen.map(|(who, member)| (who.clone(), member.since)).collect()
    }

    /// Returns who has left and who was announced since `seen` returned `told`.
    pub fn changes(
        &self,
        name: &ChannelName,
        told: &BTreeMap<UserName, Stamp>,
        now: Stamp,
    ) -> Option<Changes> {
        let channel = self.channels.get(name)?;
        let left = told.iter().filter(|(who, _)| !channel.people.contains_key(*who));
        let is_new =
            |(who, member): &(&UserName, &Member)| !told.contains_key(*who) && !member.is_silent;
        Some(Changes {
            here: channel.here(),
            left: left.map(|(who, since)| (who.clone(), now.ms_since(*since))).collect(),
            entered: channel.people.iter().filter(is_new).map(|(who, _)| who.clone()).collect(),
        })
    }

    /// Whether a user is seen in a channel.
    pub fn sees(&self, name: &ChannelName, who: &UserName) -> bool {
        let member = self.channels.get(name).and_then(|channel| channel.people.get(who));
        member.is_some_and(|member| !member.is_unseen)
    }

    /// Returns the people of a channel that fit an answer, and how many do not.
    pub fn people_that_fit(&self, name: &ChannelName) -> (Vec<UserName>, usize) {
        let Some(channel) = self.channels.get(name) else { return (Vec::new(), 0) };
        let mut bytes = 0;
        let fits = channel.seen().map(|(name, _)| name).take_while(|name| {
            // Quotation marks and a comma.
            bytes += name.as_str().len() + 3;
            bytes <= LIST_BYTES_MAX
        });
        let people: Vec<UserName> = fits.cloned().collect();
        let omitted = channel.here() - people.len();
        (people, omitted)
    }

    /// Returns the channels and their people, ordered by name.
    pub fn all(&self) -> impl Iterator<Item = (&ChannelName, Vec<&UserName>)> {
        self.channels.iter().map(|(name, channel)| (name, channel.people.keys().collect()))
    }

    /// Returns the rows of `/channels` that fit an answer, and how many do not. Those that
    /// `is_member` says the asker is in come first, then those with the most people. Channels with
    /// a PIN are listed for their members only.
    pub fn rows(&self, is_member: impl Fn(&ChannelName) -> bool) -> (Vec<ChannelInfo>, usize) {
        let mut rows = Vec::with_capacity(self.channels.len());
        let listed = |(name, _): &(&ChannelName, &Channel)| !name.has_pin() || is_member(name);
        for (name, channel) in self.channels.iter().filter(listed) {
            let rank = (Reverse(is_member(name)), Reverse(channel.here()));
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
            ChannelInfo { channel: name.clone(), sealed, here, member, topic: self.topic_of(name) }
        };
        (rows.into_iter().map(info).collect(), omitted)
    }

    pub fn topic_of(&self, name: &ChannelName) -> Option<String> {
        self.topics.get(name).map(|topic| topic.text.clone())
    }

    /// Answers `/topic`.
    pub fn show_topic(
        &self,
        name: &ChannelName,
        retention: Retention,
        reference: Option<String>,
    ) -> Effect {
        let (to, text) = (name.clone(), self.topic_of(name));
        Effect::Answer(Event::Topic { to, who: None, text, retention, reference })
    }

    /// Sets or removes a topic, and notifies the members.
    pub fn change_topic(
        &mut self,
        name: &ChannelName,
        text: &str,
        by: UserName,
        retention: Retention,
    ) -> Result<Vec<Effect>, Refusal> {
        let text = Some(text.to_owned()).filter(|text| !text.trim().is_empty());
        if name.has_pin() && text.is_some() {
            return Err(Refusal::NoTopic);
        }
        let topic = text.clone().map(|text| Topic { text, by: by.clone() });
        match topic.clone() {
            Some(topic) => self.topics.insert(name.clone(), topic),
            None => self.topics.remove(name),
        };
        let to = name.clone();
        let event = Event::Topic { to, who: Some(by), text, retention, reference: None };
        let fact = Fact::Topic(name.clone(), topic);
        Ok(vec![Effect::Notice(name.clone(), event), Effect::Remember(fact)])
    }

    /// Erases the topics that `is_erased` selects, and notifies the members.
    pub fn erase_topics(
        &mut self,
        is_erased: impl Fn(&ChannelName, &Topic) -> bool,
        retention: impl Fn(ChannelName) -> Retention,
    ) -> Vec<Effect> {
        let erased = self.topics.extract_if(|name, topic| is_erased(name, topic));
        let effects = erased.flat_map(|(name, _)| {
            let (to, retention) = (name.clone(), retention(name.clone()));
            let event = Event::Topic { to, who: None, text: None, retention, reference: None };
            [Effect::Notice(name.clone(), event), Effect::Remember(Fact::Topic(name, None))]
        });
        effects.collect()
    }

    /// Moves the channels that a user has created, and the topics that the user has set, to another
    /// name.
    pub fn rename(&mut self, old: &UserName, new: &UserName) {
        let makers = self.channels.values_mut().filter_map(|channel| channel.maker.as_mut());
        makers.filter(|maker| *maker == old).for_each(|maker| *maker = new.clone());
        let topics = self.topics.values_mut().filter(|topic| topic.by == *old);
        topics.for_each(|topic| topic.by = new.clone());
    }

    pub fn drop_topic(&mut self, name: &ChannelName) {
        self.topics.remove(name);
    }

    #[cfg(test)]
    pub fn topics(&self) -> impl Iterator<Item = &ChannelName> {
        self.topics.keys()
    }
}
