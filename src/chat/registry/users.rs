//! Connected and recently connected users: their sessions, budgets and mailboxes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Rules;
use super::budgets::Budgets;
use crate::chat::rate::Stamp;
use crate::chat::{Command, Conversation, NewMessage, Refusal, SessionId, UserName};
use crate::limits::MAILBOX_SENDERS;

/// How long an idle user's state stays at least, in ms.
const IDLE_MS: u64 = 60 * 60 * 1000;

pub(super) struct User {
    pub budgets: Budgets,
    /// Actions of a muted user are not announced.
    pub is_muted: bool,
    pub away: Option<String>,
    sessions: Vec<SessionId>,
    /// How many channels the user is in or has created.
    channels: usize,
    active: Stamp,
    /// Private messages by sender since the last session ended, including those that are not
    /// committed yet.
    waiting: BTreeMap<UserName, usize>,
}

/// A user, and a sender whose private messages wait for the user.
pub type Mailbox = (UserName, UserName);

impl User {
    pub fn sessions(&self) -> &[SessionId] {
        &self.sessions
    }

    /// Charges for a command.
    pub fn pay(&mut self, command: &Command, channels: usize, now: Stamp) -> Result<(), Refusal> {
        self.budgets.draw(command, now)?;
        self.budgets.pay(command, channels, now)
    }

    /// Charges for a message.
    pub fn pay_message(&mut self, message: &NewMessage, now: Stamp) -> Result<(), Refusal> {
        self.active = now;
        self.budgets.pay_shown(message.body.len(), now)
    }

    pub fn idle_ms(&self, now: Stamp) -> u64 {
        now.ms_since(self.active)
    }

    /// Counts channels that the user has entered or created.
    pub fn count_channels(&mut self, more: usize) {
        self.channels += more;
    }

    /// A channel counts no longer.
    pub fn discount_channel(&mut self) {
        self.channels = self.channels.saturating_sub(1);
    }

    /// Whether the user may be in one more channel.
    pub fn has_room(&self, channels_max: usize) -> bool {
        self.channels < channels_max
    }

    /// Counts messages of a private conversation that wait for this user, `name`.
    fn wait_for(&mut self, conversation: &Conversation, name: &UserName, count: usize) {
        let [one, other] = conversation.people().unwrap_or([name, name]);
        let sender = if one == name { other } else { one };
        if count > 0 {
            *self.waiting.entry(sender.clone()).or_default() += count;
        }
    }

    /// Whether the state can be dropped without a refill of a budget.
    fn is_over(&self, now: Stamp) -> bool {
        let is_idle = self.sessions.is_empty() && self.waiting.is_empty() && self.channels == 0;
        is_idle && now.ms_since(self.active) >= IDLE_MS && self.budgets.are_full(now)
    }
}

pub(super) struct Users {
    users: HashMap<UserName, User>,
    /// When users went offline whose private conversations may have to be dropped.
    left: BTreeMap<UserName, Stamp>,
    rules: Arc<Rules>,
}

impl Users {
    pub fn new(rules: Arc<Rules>) -> Users {
        Users { users: HashMap::new(), left: BTreeMap::new(), rules }
    }

    /// Changes the rules; what was taken from a budget stays taken.
    pub fn retune(&mut self, rules: Arc<Rules>) {
        self.users.values_mut().for_each(|user| user.budgets.retune(&rules.limits));
        self.rules = rules;
    }

    /// Returns a user's state, which begins with this call if there is none.
    pub fn user(&mut self, name: &UserName, now: Stamp) -> &mut User {
        let limits = &self.rules.limits;
        self.users.entry(name.clone()).or_insert_with(|| User {
            budgets: Budgets::new(limits, now),
            is_muted: false,
            away: None,
            sessions: Vec::new(),
            channels: 0,
            active: now,
            waiting: BTreeMap::new(),
        })
    }

    /// Returns the user of a session.
    pub fn of_mut(&mut self, name: &UserName) -> &mut User {
        self.users.get_mut(name).expect("a session has its user")
    }

    pub fn get(&self, name: &UserName) -> Option<&User> {
        self.users.get(name)
    }

    pub fn get_mut(&mut self, name: &UserName) -> Option<&mut User> {
        self.users.get_mut(name)
    }

    pub fn sessions_of(&self, name: &UserName) -> &[SessionId] {
        self.users.get(name).map_or(&[], User::sessions)
    }

    pub fn is_offline(&self, name: &UserName) -> bool {
        self.sessions_of(name).is_empty()
    }

    /// Returns the number of connected users.
    pub fn connected(&self) -> usize {
        self.users.values().filter(|user| !user.sessions.is_empty()).count()
    }

    /// Adds a session.
    ///
    /// # Errors
    ///
    /// Refuses too many sessions and logins, and users whose answers are not paid.
    pub fn enter(&mut self, name: &UserName, id: SessionId, now: Stamp) -> Result<(), Refusal> {
        let max = self.rules.limits.sessions_per_user_max;
        let user = self.user(name, now);
        if user.sessions.len() >= max {
            return Err(Refusal::TooManySessions { max });
        }
        let paid = user.budgets.logins.take(1.0, now);
        paid.map_err(|retry_ms| Refusal::TooManyLogins { retry_ms })?;
        // What a new session is sent is charged afterwards: it starts once earlier answers are
        // paid.
        let drawn = user.budgets.answers.take(0.0, now);
        drawn.map_err(|retry_ms| Refusal::Unpaid { retry_ms })?;
        user.sessions.push(id);
        user.waiting.clear();
        self.left.remove(name);
        Ok(())
    }

    /// Removes a session. Returns whether it was the user's last one.
    pub fn leave(&mut self, name: &UserName, id: SessionId, now: Stamp) -> bool {
        let Some(user) = self.users.get_mut(name) else { return false };
        user.sessions.retain(|other| *other != id);
        let is_last = user.sessions.is_empty();
        if is_last {
            self.left.insert(name.clone(), now);
        }
        is_last
    }

    /// Conversations of a user without messages may be dropped once the user has been offline for
    /// the resume window from now on.
    pub fn check_when_offline(&mut self, name: &UserName, now: Stamp) {
        if self.is_offline(name) {
            self.left.entry(name.clone()).or_insert(now);
        }
    }

    /// Takes the users who have been offline for the resume window.
    pub fn take_gone(&mut self, window_ms: u64, now: Stamp) -> Vec<UserName> {
        let over = |since: &Stamp| now.ms_since(*since) >= window_ms;
        let gone = self.left.iter().filter(|(_, since)| over(since));
        let gone: Vec<UserName> = gone.map(|(name, _)| name.clone()).collect();
        self.left.retain(|_, since| !over(since));
        gone
    }

    /// Whether a user is online or may still return within the resume window.
    pub fn may_return(&self, name: &UserName) -> bool {
        !self.is_offline(name) || self.left.contains_key(name)
    }

    /// Counts a private message for an offline user.
    pub fn leave_for(
        &mut self,
        name: &UserName,
        sender: &UserName,
        now: Stamp,
    ) -> Result<(), Refusal> {
        let max = self.rules.limits.mailbox_messages_max;
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

    /// Undoes the mailbox count of a message that was not stored.
    pub fn refused(&mut self, conversation: &Conversation, from: &UserName) {
        for person in conversation.people().into_iter().flatten().filter(|person| *person != from) {
            let Some(user) = self.users.get_mut(person) else { continue };
            let Some(count) = user.waiting.get_mut(from) else { continue };
            *count -= 1;
            if *count == 0 {
                user.waiting.remove(from);
            }
        }
    }

    /// Restores how many messages of an earlier run wait for a user.
    pub fn remember(&mut self, name: &UserName, conversation: &Conversation, count: usize) {
        if count > 0 {
            self.user(name, Stamp(0)).wait_for(conversation, name, count);
        }
    }

    /// Moves the state of an absent user to another name, and the counts of messages that the user
    /// has sent to absent users.
    pub fn rename(&mut self, old: &UserName, new: &UserName) {
        if self.is_offline(old)
            && self.is_offline(new)
            && let Some(user) = self.users.remove(old)
        {
            self.users.insert(new.clone(), user);
        }
        if let Some(since) = self.left.remove(old) {
            self.left.insert(new.clone(), since);
        }
        for user in self.users.values_mut() {
            if let Some(count) = user.waiting.remove(old) {
                *user.waiting.entry(new.clone()).or_default() += count;
            }
        }
    }

    /// Returns the absent users and the senders whose messages wait for them.
    pub fn mailboxes(&self) -> Vec<Mailbox> {
        let absent = self.users.iter().filter(|(_, user)| user.sessions.is_empty());
        let of = |(name, user): (&UserName, &User)| {
            let senders = user.waiting.keys().cloned().collect::<Vec<_>>();
            senders.into_iter().map(|sender| (name.clone(), sender)).collect::<Vec<_>>()
        };
        absent.flat_map(of).collect()
    }

    /// Sets how many messages wait for users who are still absent.
    pub fn recount(&mut self, counts: Vec<(Mailbox, usize)>) {
        for ((name, sender), count) in counts {
            let user = self.users.get_mut(&name).filter(|user| user.sessions.is_empty());
            match user.map(|user| &mut user.waiting) {
                Some(waiting) if count == 0 => drop(waiting.remove(&sender)),
                Some(waiting) => drop(waiting.insert(sender, count)),
                None => {}
            }
        }
    }

    /// Drops the state of users who are gone and owe nothing.
    pub fn sweep(&mut self, now: Stamp) {
        self.users.retain(|_, user| !user.is_over(now));
    }

    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.users.len()
    }

    #[cfg(test)]
    pub fn counts_nothing(&self) -> bool {
        self.users.values().all(|user| user.channels == 0)
    }
}
