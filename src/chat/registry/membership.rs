//! Who is connected and who is in which channel: login, join, leave, and lost connections.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::budgets::PinJoins;
use super::channels::{Channels, Entrance};
use super::sessions::{Session, Sessions};
use super::users::{Mailbox, User, Users};
use super::{Effect, Participant, Rules};
use crate::chat::rate::Stamp;
use crate::chat::{
    ChannelName, Command, DeviceName, Event, NewMessage, Refusal, SessionId, SyncPoint, UserName,
};

/// The state of a connected user.
#[derive(Clone, Debug, PartialEq)]
pub struct Presence {
    pub devices: Vec<DeviceName>,
    pub idle_ms: u64,
    pub away: Option<String>,
    pub channels: Vec<ChannelName>,
}

/// Sessions, their users, and the channels that they are in.
pub struct Membership {
    pub(super) users: Users,
    pub(super) channels: Channels,
    sessions: Sessions,
    /// Recent joins of channels with a PIN that were new to a user.
    pin_joins: HashMap<UserName, PinJoins>,
    rules: Arc<Rules>,
}

/// A join that was allowed.
pub(super) struct Joining {
    pub channel: ChannelName,
    pub after: Option<SyncPoint>,
    pub reference: Option<String>,
    /// The channel has a PIN and is new to the user.
    pub is_new_pin: bool,
}

/// A session is in a channel, now or since before.
pub(super) struct Joined {
    pub is_new: bool,
    /// The client has still to send `resume`.
    pub resumes: bool,
    /// The notice to the others in the channel.
    pub notice: Option<Effect>,
}

/// A connection of a session has ended.
pub(super) struct Ended {
    pub user: UserName,
    /// The sessions that leave their channels with it.
    pub sessions: Vec<SessionId>,
    /// It was the user's last connection.
    pub is_offline: bool,
}

impl Membership {
    pub(super) fn new(rules: Arc<Rules>) -> Membership {
        Membership {
            users: Users::new(Arc::clone(&rules)),
            channels: Channels::new(),
            sessions: Sessions::default(),
            pin_joins: HashMap::new(),
            rules,
        }
    }

    pub(super) fn retune(&mut self, rules: Arc<Rules>) {
        self.users.retune(Arc::clone(&rules));
        self.rules = rules;
    }

    /// Charges a user for a command.
    pub(super) fn pay(
        &mut self,
        from: SessionId,
        command: &Command,
        now: Stamp,
    ) -> Result<(), Refusal> {
        let channels = self.channels.count();
        self.user_of(from).pay(command, channels, now)
    }

    /// Charges a user for a message.
    pub(super) fn pay_message(
        &mut self,
        from: SessionId,
        message: &NewMessage,
        now: Stamp,
    ) -> Result<(), Refusal> {
        self.user_of(from).pay_message(message, now)
    }

    /// Charges for the first message in a conversation, because the server keeps state for it from
    /// then on.
    pub(super) fn pay_conversation(&mut self, from: SessionId, now: Stamp) -> Result<(), Refusal> {
        let paid = self.user_of(from).budgets.conversations.take(1.0, now);
        paid.map_err(|retry_ms| Refusal::Rate { retry_ms })
    }

    /// Charges a user for one request.
    pub fn pay_request(&mut self, user: &UserName, now: Stamp) -> Result<(), Refusal> {
        let paid = self.users.user(user, now).budgets.requests.take(1.0, now);
        paid.map_err(|retry_ms| Refusal::Rate { retry_ms })
    }

    /// Charges a user for answers to `/history` and `/search` beyond what was paid in advance.
    pub fn charge_histories(&mut self, from: SessionId, answers: f64, now: Stamp) {
        if self.sessions.get(from).is_some() {
            self.user_of(from).budgets.histories.owe(answers.max(0.0), now);
        }
    }

    /// Refunds an answer to `/history` or `/search` that no reader had time for.
    pub fn give_back_history(&mut self, from: SessionId) {
        if self.sessions.get(from).is_some() {
            self.user_of(from).budgets.histories.give_back(1.0);
        }
    }

    /// Charges a user for bytes sent in answer to requests.
    pub fn answered(&mut self, to: &UserName, bytes: usize, now: Stamp) {
        if bytes > 0 {
            self.users.user(to, now).budgets.answers.owe(bytes as f64, now);
        }
    }

    /// Charges a user for bytes of a file that were sent or fetched. Returns the milliseconds that
    /// the transfer has to wait, so that the user does not exceed the rate.
    pub fn pay_file_bytes(&mut self, user: &UserName, bytes: u64, now: Stamp) -> Option<u64> {
        let files = &mut self.users.user(user, now).budgets.files;
        files.owe(bytes as f64, now);
        files.take(0.0, now).err()
    }

    /// Mutes or unmutes a user from now on.
    pub fn set_muted(&mut self, user: &UserName, muted: bool, now: Stamp) {
        match self.users.get_mut(user) {
            Some(user) => user.is_muted = muted,
            None => self.users.user(user, now).is_muted = muted,
        }
    }

    /// Returns the mailboxes of absent users.
    pub fn mailboxes(&self) -> Vec<Mailbox> {
        self.users.mailboxes()
    }

    /// Sets how many messages wait in mailboxes.
    pub fn recount(&mut self, counts: Vec<(Mailbox, usize)>) {
        self.users.recount(counts);
    }

    /// Starts a session.
    pub(super) fn enter(
        &mut self,
        id: SessionId,
        participant: Participant,
        now: Stamp,
    ) -> Result<(), Refusal> {
        self.users.enter(&participant.user, id, now)?;
        self.sessions.add(id, Session::new(participant));
        Ok(())
    }

    /// Ends a session's connection. A session that was `cut` stays in its channels for the resume
    /// window.
    pub(super) fn leave(&mut self, id: SessionId, cut: bool, now: Stamp) -> Option<Ended> {
        let session = self.sessions.get_mut(id)?;
        let user = session.user.clone();
        let is_offline = self.users.leave(&user, id, now);
        if cut && self.rules.limits.resume_window_s > 0 {
            session.cut(now);
            return Some(Ended { user, sessions: Vec::new(), is_offline });
        }
        let mut sessions = vec![id];
        if is_offline {
            // A regular leave also ends earlier sessions whose connection was lost.
            sessions.extend(self.sessions.cut(|session| session.user == user));
        }
        Some(Ended { user, sessions, is_offline })
    }

    /// Returns the sessions whose resume window is over.
    pub(super) fn expired(&self, now: Stamp) -> Vec<SessionId> {
        let window_ms = self.rules.limits.resume_window_s * 1000;
        self.sessions.cut(|session| session.is_cut_for(window_ms, now))
    }

    /// Returns the sessions of a user whose connection was lost, and which are still in their
    /// channels.
    pub(super) fn lingering(&self, user: &UserName) -> Vec<SessionId> {
        self.sessions.cut(|session| session.user == *user)
    }

    /// Moves the state of an absent user to another name.
    pub(super) fn rename(&mut self, old: &UserName, new: &UserName) {
        self.users.rename(old, new);
        self.channels.rename(old, new);
        if let Some(joins) = self.pin_joins.remove(old) {
            self.pin_joins.insert(new.clone(), joins);
        }
    }

    /// Forgets a session that has left its channels.
    pub(super) fn remove(&mut self, id: SessionId) {
        self.sessions.remove(id);
    }

    /// Checks whether a session may join a channel, which its user `knows` if the channel had
    /// messages while the user was in it. Returns true where the channel has a PIN and is new to
    /// the user.
    ///
    /// # Errors
    ///
    /// No refusal depends on whether a channel with a PIN exists, until the join is counted.
    pub(super) fn may_join(
        &mut self,
        from: SessionId,
        channel: &ChannelName,
        knows: bool,
        now: Stamp,
    ) -> Result<bool, Refusal> {
        let limits = &self.rules.limits;
        let (max, pins_max) = (limits.channels_per_user_max, limits.pin_joins_per_h);
        let is_full = self.channels.count() >= limits.channels_max;
        let exists = self.channels.exists(channel);
        let who = self.sessions.of(from).user.clone();
        let is_theirs = self.channels.counts_for(channel, &who);
        let is_new_pin = channel.has_pin() && !is_theirs && !knows;
        let user = self.users.of_mut(&who);
        if user.is_muted && (is_new_pin || (!exists && !channel.has_pin())) {
            return Err(Refusal::MutedJoin(channel.clone()));
        }
        if !is_theirs && !user.has_room(max) {
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
        if is_full && !exists {
            return Err(Refusal::ServerFull);
        }
        Ok(is_new_pin)
    }

    /// Adds a session to a channel.
    pub(super) fn join(
        &mut self,
        from: SessionId,
        name: &ChannelName,
        is_new_pin: bool,
        now: Stamp,
    ) -> Joined {
        let session = self.sessions.of_mut(from);
        let is_new = !session.channels().contains(name);
        let user = self.users.of_mut(&session.user);
        let entrance = self.channels.enter(name, (session, user), is_new_pin, now);
        let Entrance { here, is_first, is_silent } = entrance;
        let announces = here <= self.rules.limits.announce_people_max;
        let resumes = session.resumes();
        if name.is_lobby() && resumes && announces {
            session.await_resume(self.channels.seen(name));
        }
        // A join that confirms a PIN is announced whatever the number of members.
        let announces = announces || is_new_pin;
        let notice = (is_first && announces && !is_silent).then(|| {
            let event = Event::Joined { to: name.clone(), who: session.user.clone(), here };
            Effect::Notice(name.clone(), event)
        });
        Joined { is_new, resumes, notice }
    }

    /// Returns the sessions that leave a channel when one of them does: also those of its user
    /// whose connection was lost.
    pub(super) fn leaving(&self, from: SessionId, channel: &ChannelName) -> Vec<SessionId> {
        let user = &self.sessions.of(from).user;
        let lingers =
            |session: &Session| session.user == *user && session.channels().contains(channel);
        let mut leaving = self.sessions.cut(lingers);
        leaving.push(from);
        leaving
    }

    /// Removes a session from a channel, and its user with the last session. Returns whether the
    /// user has left, and the notice to the others in the channel.
    pub(super) fn depart(
        &mut self,
        from: SessionId,
        name: &ChannelName,
        reason: Option<&str>,
        now: Stamp,
    ) -> (bool, Option<Effect>) {
        let session = self.sessions.of_mut(from);
        let Some(gone) = self.channels.leave(name, session, now) else { return (false, None) };
        let who = session.user.clone();
        let mut is_muted = false;
        if let Some(user) = self.users.get_mut(&who) {
            is_muted = user.is_muted;
            if gone.is_discounted {
                user.discount_channel();
            }
        }
        // An operator's reason is always announced.
        let is_quiet = gone.is_unseen || (gone.is_silent || is_muted) && reason.is_none();
        let announces = gone.here_before <= self.rules.limits.announce_people_max;
        let notice = (gone.here > 0 && announces && !is_quiet).then(|| {
            let (reason, here) = (reason.map(str::to_owned), gone.here);
            let event =
                Event::Left { to: name.clone(), who, here, after_ms: gone.after_ms, reason };
            Effect::Notice(name.clone(), event)
        });
        (true, notice)
    }

    /// Drops channels that have been empty for long. Returns their names.
    pub(super) fn drop_empty_channels(&mut self, now: Stamp) -> Vec<ChannelName> {
        let limit_ms = self.rules.limits.channel_empty_s * 1000;
        let dropped = self.channels.drop_empty(limit_ms, now).into_iter();
        let discount = |(name, maker): (ChannelName, Option<UserName>)| {
            if let Some(user) = maker.and_then(|maker| self.users.get_mut(&maker)) {
                user.discount_channel();
            }
            name
        };
        dropped.map(discount).collect()
    }

    /// Drops the state of users who are gone and owe nothing.
    pub(super) fn sweep(&mut self, now: Stamp) {
        self.users.sweep(now);
        self.pin_joins.retain(|_, joins| !joins.expire(now));
    }

    /// The session's client resumes: it reads from now on. Returns joins and leaves between its
    /// welcome and now, when it read no log; `None` if it has resumed before.
    pub(super) fn resume(&mut self, from: SessionId, now: Stamp) -> Option<Vec<Effect>> {
        let told = self.sessions.of_mut(from).resume()?;
        let to = ChannelName::lobby();
        let changes = self.channels.changes(&to, &told, now).filter(|_| !told.is_empty());
        let max = self.rules.limits.announce_people_max;
        let Some(changes) = changes.filter(|changes| changes.here <= max) else {
            return Some(Vec::new());
        };
        let here = changes.here;
        let left = changes.left.into_iter().map(|(who, after_ms)| {
            let to = to.clone();
            Effect::Answer(Event::Left { to, who, here, after_ms, reason: None })
        });
        let entered = changes.entered.into_iter();
        let entered =
            entered.map(|who| Effect::Answer(Event::Joined { to: to.clone(), who, here }));
        Some(left.chain(entered).collect())
    }

    /// Checks whether a session may see the members of a channel, of which `is_stored` says whether
    /// it has messages: such a channel exists although nobody is in it. Open channels are visible
    /// to everybody. Channels with a PIN are visible to members only; others do not even learn
    /// whether they exist.
    pub(super) fn may_look(
        &self,
        from: SessionId,
        channel: &ChannelName,
        is_stored: bool,
    ) -> Result<(), Refusal> {
        if channel.has_pin() {
            self.check_member(from, channel)?;
        }
        match is_stored || self.channels.exists(channel) {
            true => Ok(()),
            false => Err(Refusal::NoSuchChannel(channel.clone())),
        }
    }

    /// Checks that a session is in a channel.
    pub(super) fn check_member(
        &self,
        from: SessionId,
        channel: &ChannelName,
    ) -> Result<(), Refusal> {
        match self.is_member(from, channel) {
            true => Ok(()),
            false => Err(Refusal::NotMember(channel.clone())),
        }
    }

    fn is_member(&self, id: SessionId, channel: &ChannelName) -> bool {
        self.channels_of(id).is_some_and(|channels| channels.contains(channel))
    }

    /// Answers `/channels`.
    pub(super) fn channels_for(&self, requester: SessionId, reference: Option<String>) -> Event {
        let (channels, omitted) = self.channels.rows(|name| self.is_member(requester, name));
        Event::Channels { channels, omitted, reference }
    }

    /// Returns the channels that a session is in.
    pub(super) fn channels_of(&self, id: SessionId) -> Option<&BTreeSet<ChannelName>> {
        self.sessions.get(id).map(Session::channels)
    }

    /// Returns the state of a connected user. Includes the channels in which `people` lists the
    /// user, those with a PIN only if `asker` is in them.
    pub fn presence(&self, name: &UserName, requester: SessionId, now: Stamp) -> Option<Presence> {
        let user = self.users.get(name).filter(|user| !user.sessions().is_empty())?;
        let sessions = || user.sessions().iter().map(|id| self.sessions.of(*id));
        let theirs: BTreeSet<&ChannelName> = sessions().flat_map(Session::channels).collect();
        let shown = |channel: &&ChannelName| {
            self.channels.sees(channel, name)
                && (!channel.has_pin() || self.is_member(requester, channel))
        };
        Some(Presence {
            devices: sessions().map(|session| session.device.clone()).collect(),
            idle_ms: user.idle_ms(now),
            away: user.away.clone(),
            channels: theirs.into_iter().filter(shown).cloned().collect(),
        })
    }

    /// Returns the number of connected users.
    pub fn people(&self) -> usize {
        self.users.connected()
    }

    /// Returns the sessions of a user.
    pub fn sessions_of(&self, name: &UserName) -> &[SessionId] {
        self.users.sessions_of(name)
    }

    /// Returns the sessions of a user that read: others get what they miss when they resume.
    pub(super) fn readers(&self, name: &UserName) -> Vec<SessionId> {
        let sessions = self.users.sessions_of(name).iter().copied();
        sessions.filter(|id| !self.sessions.of(*id).resumes()).collect()
    }

    /// Returns the user and the device of a session.
    pub fn who(&self, id: SessionId) -> Option<(&UserName, &DeviceName)> {
        self.sessions.get(id).map(|session| (&session.user, &session.device))
    }

    /// Returns the name of a session's user.
    pub(super) fn name_of(&self, id: SessionId) -> &UserName {
        &self.sessions.of(id).user
    }

    pub(super) fn user_of(&mut self, id: SessionId) -> &mut User {
        self.users.of_mut(&self.sessions.of(id).user)
    }

    /// Returns the event that lists the people in a channel.
    pub fn people_event(&self, channel: &ChannelName, reference: Option<String>) -> Event {
        let (people, omitted) = self.channels.people_that_fit(channel);
        Event::People { channel: channel.clone(), people, omitted, reference }
    }

    /// Returns the channels and their people, ordered by name.
    pub fn channels(&self) -> impl Iterator<Item = (&ChannelName, Vec<&UserName>)> {
        self.channels.all()
    }

    #[cfg(test)]
    pub(super) fn has_pin_joins(&self) -> bool {
        !self.pin_joins.is_empty()
    }
}
