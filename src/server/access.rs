//! Access control: roles, bans, mutes, address rules, and the sessions that they concern.

use std::cell::Cell;
use std::sync::Arc;

use super::delivery::send_queue::SendQueue;
use super::hub::{self, Hub};
use crate::chat::rights::{Role, State};
use crate::chat::{Code, Event, UserName};
use crate::config::{Config, admits};
use crate::home::sanctions::{Kind, Sanction, Subject, Whom};
use crate::home::{Decided, Users};
use crate::sync::Snapshot;

/// Decides who may use the server.
pub struct Access {
    pub config: Arc<Snapshot<Config>>,
    pub users: Arc<Snapshot<Users>>,
    pub decided: Arc<Decided>,
    pub hub: Arc<Hub>,
}

/// When a user was last found to be a member without any sanction on the server.
#[derive(Default)]
pub struct PlainMember(Cell<Option<(usize, usize)>>);

impl Access {
    /// Returns whether a user is a member and no sanction exists, as for most users. The result is
    /// valid until the users or the decisions change: `known` caches it for one user.
    pub fn is_plain_member(&self, user: &UserName, known: &PlainMember) -> bool {
        let versions = (self.users.version(), self.decided.version());
        if known.0.get() == Some(versions) {
            return true;
        }
        let is_plain =
            self.users.get().is_plain_member(user) && self.decided.now().sanctions.is_empty();
        known.0.set(is_plain.then_some(versions));
        is_plain
    }

    /// Returns a user's role, the sanction in force, and its notice for the user.
    pub fn standing(&self, whom: Whom) -> (Role, State, Option<String>) {
        let role = self.users.get().role(whom.user);
        if role >= Role::Owner {
            return (role, State::Free, None);
        }
        let decisions = self.decided.now();
        if decisions.sanctions.is_empty() {
            return (role, State::Free, None);
        }
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let find = |kind| decisions.find(kind, whom, now_ms).map(Sanction::notice);
        match (find(Kind::Ban), find(Kind::Mute)) {
            (Some(why), _) => (role, State::Banned, Some(why)),
            (None, Some(why)) => (role, State::Muted, Some(why)),
            (None, None) => (role, State::Free, None),
        }
    }

    /// Returns whether a ban concerns a peer whose key is not registered. Its name is a claim, and
    /// gives it no role.
    pub fn is_banned(&self, whom: Whom) -> bool {
        let now_ms = jiff::Timestamp::now().as_millisecond();
        self.decided.now().find(Kind::Ban, whom, now_ms).is_some()
    }

    /// Returns the goodbye for a user with a registered key who may not connect.
    pub fn bars(&self, whom: Whom) -> Option<Event> {
        let (_, state, why) = self.standing(whom);
        if state == State::Banned {
            let reason = why.unwrap_or_default();
            return Some(Event::Goodbye { code: Code::Banned, reason, retry_ms: None });
        }
        let (address, config) = (whom.address?, self.config.get());
        let settings = self.users.get().settings(whom.user);
        let barred = !admits(&config.allow, &config.deny, address)
            || !admits(&settings.allow, &settings.deny, address);
        barred.then(|| {
            let address = address.to_canonical();
            let reason = format!("{} may not connect from {address}", whom.user);
            Event::Goodbye { code: Code::Forbidden, reason, retry_ms: Some(60_000) }
        })
    }

    /// Ends the sessions of users who may no longer be connected.
    pub fn turn_out(&self) {
        for (user, queue) in self.hub.sessions() {
            let whom = Whom { user: &user, key: queue.key, address: Some(queue.address()) };
            if let Some(event) = self.bars(whom) {
                queue.end(Some(&event), "refused");
                log::info!("{user} may no longer be connected");
            }
        }
    }

    /// Ends the sessions of a subject, except those of owners. Returns how many there were.
    pub fn end_subject(
        &self,
        subject: &Subject,
        code: Code,
        reason: &str,
        farewell: Option<&str>,
    ) -> usize {
        let retry_ms = (code == Code::Password).then_some(1_000);
        let event = Event::Goodbye { code, reason: reason.to_owned(), retry_ms };
        let held = self.held(subject, code == Code::Banned);
        for queue in &held {
            farewell.iter().for_each(|text| queue.set_farewell(text));
            queue.end(Some(&event), &hub::word(code));
        }
        held.len()
    }

    /// Sends a notice to the sessions of a subject. Returns how many there are.
    pub fn notify_subject(&self, subject: &Subject, text: &str) -> usize {
        let event = Event::Notice { text: text.to_owned(), reference: None };
        let held = self.held(subject, false);
        held.iter().for_each(|queue| self.hub.delivery.answer(queue, &event));
        held.len()
    }

    fn held(&self, subject: &Subject, spares_owners: bool) -> Vec<Arc<SendQueue>> {
        let users = self.users.get();
        let mut sessions = self.hub.sessions();
        sessions.retain(|(user, queue)| {
            let spared = spares_owners && users.role(user) >= Role::Owner;
            !spared && subject.holds(Whom { user, key: queue.key, address: Some(queue.address()) })
        });
        sessions.into_iter().map(|(_, queue)| queue).collect()
    }
}
