//! Sessions and their users: login, leave, and lost connections.

use std::collections::{BTreeMap, BTreeSet};

use super::{Budgets, Effect, Fact, Joining, Outcome, Presence, Purpose, Registry, Session, User};
use crate::chat::rate::Stamp;
use crate::chat::{ChannelName, Conversation, DeviceName, Refusal, SessionId, UserName};

impl Registry {
    /// Starts a session of `user`, in the lobby.
    pub fn enter(
        &mut self,
        id: SessionId,
        user: UserName,
        device: DeviceName,
        purpose: Purpose,
        now: Stamp,
    ) -> Outcome {
        let max = self.rules.limits.sessions_per_user_max;
        let entry = self.user(&user, now);
        if entry.sessions.len() >= max {
            return Err(Refusal::TooManySessions { max });
        }
        let paid = entry.budgets.logins.take(1.0, now);
        paid.map_err(|retry_ms| Refusal::TooManyLogins { retry_ms })?;
        // What a new session is sent is charged afterwards: it starts once earlier answers are
        // paid.
        let drawn = entry.budgets.answers.take(0.0, now);
        drawn.map_err(|retry_ms| Refusal::Unpaid { retry_ms })?;
        entry.sessions.push(id);
        entry.waiting.clear();
        self.left.remove(&user);
        let channels = BTreeSet::new();
        let told = BTreeMap::new();
        let (resumes, is_job) = (purpose == Purpose::Resume, purpose == Purpose::Job);
        let session = Session { user, device, channels, cut: None, resumes, is_job, told };
        self.sessions.insert(id, session);
        let channel = ChannelName::lobby();
        self.join(id, Joining { channel, after: None, reference: None, is_new_pin: false }, now)
    }

    /// Ends a session. Its user leaves the channels in which this was the last session: at once, or
    /// after the resume window if the connection was lost.
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
                // A regular leave also ends earlier sessions whose connection was lost.
                let lingering = self.cut_sessions(|session| session.user == user);
                for id in lingering {
                    effects.extend(self.remove(id, reason, now));
                }
            }
        }
        if last {
            self.left.insert(user.clone(), now);
            let conversations = self.conversations(&user);
            effects.push(Effect::Remember(Fact::Away(user, conversations)));
        }
        effects
    }

    /// Recounts the private messages that wait for offline users.
    pub fn recount(&mut self, waiting: impl Iterator<Item = (Conversation, UserName, usize)>) {
        let away = |user: &&mut User| user.sessions.is_empty();
        self.users.values_mut().filter(away).for_each(|user| user.waiting.clear());
        for (conversation, name, count) in waiting {
            if let Some(user) = self.users.get_mut(&name).filter(|user| user.sessions.is_empty()) {
                user.wait_for(&conversation, &name, count);
            }
        }
    }

    /// Removes a session from all its channels.
    pub(super) fn remove(
        &mut self,
        id: SessionId,
        reason: Option<&str>,
        now: Stamp,
    ) -> Vec<Effect> {
        let channels = self.session(id).channels.clone();
        let depart = |channel: &ChannelName| self.depart(id, channel, reason, now);
        let effects = channels.iter().flat_map(depart).collect();
        self.sessions.remove(&id);
        effects
    }

    pub(super) fn cut_sessions(&self, which: impl Fn(&Session) -> bool) -> Vec<SessionId> {
        let cut = self.sessions.iter().filter(|(_, session)| session.cut.is_some());
        let mut ids: Vec<_> = cut.filter(|(_, one)| which(one)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    pub(super) fn user(&mut self, name: &UserName, now: Stamp) -> &mut User {
        let limits = &self.rules.limits;
        self.users.entry(name.clone()).or_insert_with(|| User {
            sessions: Vec::new(),
            channels: 0,
            away: None,
            active: now,
            budgets: Budgets::new(limits, now),
            waiting: BTreeMap::new(),
            muted: false,
        })
    }

    /// Returns the state of a connected user. Channels with a PIN are included only if `asker` is
    /// in them.
    pub fn presence(&self, name: &UserName, asker: SessionId, now: Stamp) -> Option<Presence> {
        let user = self.users.get(name).filter(|user| !user.sessions.is_empty())?;
        let devices = user.sessions.iter().map(|id| self.sessions[id].device.clone());
        let theirs = user.sessions.iter().flat_map(|id| &self.sessions[id].channels);
        let theirs: BTreeSet<&ChannelName> = theirs.collect();
        let shown = |channel: &&ChannelName| !channel.has_pin() || self.is_member(asker, channel);
        Some(Presence {
            devices: devices.collect(),
            idle_ms: now.ms_since(user.active),
            away: user.away.clone(),
            channels: theirs.into_iter().filter(shown).cloned().collect(),
        })
    }

    /// Returns the number of connected users.
    pub fn people(&self) -> usize {
        self.users.values().filter(|user| !user.sessions.is_empty()).count()
    }

    /// Returns the sessions of a user.
    pub fn sessions_of(&self, name: &UserName) -> &[SessionId] {
        self.users.get(name).map_or(&[], |user| &user.sessions)
    }

    /// Returns the user and the device of a session.
    pub fn who(&self, id: SessionId) -> Option<(&UserName, &DeviceName)> {
        self.sessions.get(&id).map(|session| (&session.user, &session.device))
    }

    pub(super) fn session(&self, id: SessionId) -> &Session {
        self.sessions.get(&id).expect("the hub knows its sessions")
    }

    pub(super) fn user_of(&mut self, id: SessionId) -> &mut User {
        let session = self.sessions.get(&id).expect("the hub knows its sessions");
        self.users.get_mut(&session.user).expect("a session has its user")
    }
}

impl User {
    /// Counts messages of a private conversation that wait for this user, `name`.
    pub(super) fn wait_for(&mut self, conversation: &Conversation, name: &UserName, count: usize) {
        let [one, other] = conversation.people().unwrap_or([name, name]);
        let sender = if one == name { other } else { one };
        if count > 0 {
            *self.waiting.entry(sender.clone()).or_default() += count;
        }
    }
}
