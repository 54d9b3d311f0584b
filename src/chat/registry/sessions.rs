//! Sessions and their people: who comes, who goes, and who was only cut off.

use std::collections::{BTreeMap, BTreeSet};

use super::{Budgets, Effect, Fact, Joining, Outcome, Presence, Registry, Session, User};
use crate::chat::rate::Stamp;
use crate::chat::{ChannelName, Conversation, DeviceName, Refusal, SessionId, UserName};

impl Registry {
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
        let paid = entry.budgets.logins.take(1.0, now);
        paid.map_err(|retry_ms| Refusal::TooManyLogins { retry_ms })?;
        // What a session is told when it begins is owed: it begins when the ones before are paid.
        let drawn = entry.budgets.answers.take(0.0, now);
        drawn.map_err(|retry_ms| Refusal::Unpaid { retry_ms })?;
        entry.sessions.push(id);
        entry.waiting.clear();
        self.left.remove(&user);
        let channels = BTreeSet::new();
        let told = BTreeMap::new();
        let session = Session { user, device, channels, cut: None, resumes, told };
        self.sessions.insert(id, session);
        let channel = ChannelName::lobby();
        self.join(id, Joining { channel, after: None, reference: None, strange: false }, now)
    }

    /// A session ends; its person leaves the channels where this was the last one, at once or,
    /// where the session was cut off, unless they are back within the resume window.
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
            self.left.insert(user.clone(), now);
            let conversations = self.conversations(&user);
            effects.push(Effect::Remember(Fact::Away(user, conversations)));
        }
        effects
    }

    /// So many private lines wait for people who are away, and for nobody else.
    pub fn recount(&mut self, waiting: impl Iterator<Item = (Conversation, UserName, usize)>) {
        let away = |user: &&mut User| user.sessions.is_empty();
        self.users.values_mut().filter(away).for_each(|user| user.waiting.clear());
        for (conversation, name, count) in waiting {
            if let Some(user) = self.users.get_mut(&name).filter(|user| user.sessions.is_empty()) {
                user.wait_for(&conversation, &name, count);
            }
        }
    }

    /// Takes a session out of all its channels.
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

    /// What is known of a person who is connected. Of channels with a PIN, those that `asker` is in
    /// too.
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

    /// How many people are connected.
    pub fn people(&self) -> usize {
        self.users.values().filter(|user| !user.sessions.is_empty()).count()
    }

    /// The sessions of a person.
    pub fn sessions_of(&self, name: &UserName) -> &[SessionId] {
        self.users.get(name).map_or(&[], |user| &user.sessions)
    }

    /// Who sits in a session, and on which device.
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
    /// So many lines of a private conversation wait for `name`, this person.
    pub(super) fn wait_for(&mut self, conversation: &Conversation, name: &UserName, count: usize) {
        let [one, other] = conversation.people().unwrap_or([name, name]);
        let sender = if one == name { other } else { one };
        if count > 0 {
            *self.waiting.entry(sender.clone()).or_default() += count;
        }
    }
}
