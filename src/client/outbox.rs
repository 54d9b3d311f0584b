//! The user's messages that the server has not stored yet, in order. Pure; `journal.rs` stores them
//! on disk.

use std::collections::{HashSet, VecDeque};

use crate::chat::{MsgId, NewMessage, Target};

/// An outgoing message.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    pub message: NewMessage,
    pub stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There was no connection.
    Waiting,
    /// Sent, and not acknowledged.
    Sent,
    /// This message, or an earlier one, exceeded the rate; it is sent after the delay.
    Later,
    /// Refused by the server; `/retry` sends it again, `/cancel` drops it.
    Refused,
}

#[derive(Default)]
pub struct Outbox(VecDeque<Outgoing>);

impl Outbox {
    /// Restores the messages of an earlier run, with those that were refused.
    pub fn of(messages: Vec<NewMessage>, refused: &HashSet<MsgId>) -> Outbox {
        let outgoing = |message: NewMessage| {
            let refused = refused.contains(&message.id);
            let stage = if refused { Stage::Refused } else { Stage::Waiting };
            Outgoing { message, stage }
        };
        Outbox(messages.into_iter().map(outgoing).collect())
    }

    /// Count of messages that wait for the user.
    pub fn refused(&self) -> usize {
        self.0.iter().filter(|one| one.stage == Stage::Refused).count()
    }

    pub fn add(&mut self, message: NewMessage, stage: Stage) {
        self.0.push_back(Outgoing { message, stage });
    }

    /// Returns whether a message is here.
    pub fn holds(&self, id: MsgId) -> bool {
        self.0.iter().any(|one| one.message.id == id)
    }

    /// Returns whether a message is neither stored nor refused.
    pub fn is_pending(&self, id: MsgId) -> bool {
        self.0.iter().any(|one| one.message.id == id && one.stage != Stage::Refused)
    }

    /// Removes a message that is stored in this conversation; `None` if it was not here.
    pub fn settle(&mut self, id: MsgId, to: &Target) -> Option<NewMessage> {
        let is_it = |one: &Outgoing| one.message.id == id && one.message.to == *to;
        let found = self.0.iter().position(is_it);
        found.and_then(|index| self.0.remove(index)).map(|one| one.message)
    }

    /// Removes a message that its sender gives up.
    pub fn drop(&mut self, id: MsgId) {
        self.0.retain(|one| one.message.id != id);
    }

    /// The last unstored message of a conversation.
    pub fn last_said(&self, conversation: &Target) -> Option<MsgId> {
        let says = |Outgoing { message, stage }: &&Outgoing| {
            *stage != Stage::Refused && message.to == *conversation && !message.kind.is_change()
        };
        self.0.iter().rev().find(says).map(|one| one.message.id)
    }

    /// Marks a message as refused. Returns whether that is new.
    pub fn refuse(&mut self, id: MsgId) -> bool {
        let found = self.0.iter_mut().find(|one| one.message.id == id);
        found.is_some_and(|one| std::mem::replace(&mut one.stage, Stage::Refused) != Stage::Refused)
    }

    /// Marks a message, and the later ones, as waiting for the rate. Returns whether it was on its
    /// way.
    pub fn postpone(&mut self, id: MsgId) -> bool {
        let sent = |one: &&mut Outgoing| matches!(one.stage, Stage::Sent | Stage::Later);
        let found = self.0.iter_mut().find(|one| one.message.id == id).filter(sent);
        found.map(|one| one.stage = Stage::Later).is_some()
    }

    /// Returns whether messages wait for the rate.
    pub fn is_held(&self) -> bool {
        self.0.iter().any(|one| one.stage == Stage::Later)
    }

    /// Returns the first few of the messages that wait for the rate, to be sent again.
    pub fn again(&mut self, messages_max: usize) -> Vec<NewMessage> {
        self.resend(Stage::Later, messages_max)
    }

    /// Returns all messages that are not refused, to be sent over a new connection. Their ids make
    /// a repetition harmless.
    pub fn send_all(&mut self) -> Vec<NewMessage> {
        let open = self.0.iter_mut().filter(|one| one.stage != Stage::Refused);
        let send = |one: &mut Outgoing| {
            one.stage = Stage::Sent;
            one.message.clone()
        };
        open.map(send).collect()
    }

    /// Returns the refused messages, to be sent again.
    pub fn retry(&mut self) -> Vec<NewMessage> {
        self.resend(Stage::Refused, usize::MAX)
    }

    fn resend(&mut self, stage: Stage, messages_max: usize) -> Vec<NewMessage> {
        let chosen = self.0.iter_mut().filter(|one| one.stage == stage).take(messages_max);
        let send = |one: &mut Outgoing| {
            one.stage = Stage::Sent;
            one.message.clone()
        };
        chosen.map(send).collect()
    }

    /// Marks sent messages as unsent when the connection is lost; they may be stored, and are sent
    /// again.
    pub fn disconnected(&mut self) {
        for one in self.0.iter_mut().filter(|one| one.stage == Stage::Later) {
            one.stage = Stage::Waiting;
        }
    }

    /// Count of messages that may or may not be stored.
    pub fn in_doubt(&self) -> usize {
        self.0.iter().filter(|one| one.stage == Stage::Sent).count()
    }

    /// Drops messages that wait or were refused. Returns their ids.
    pub fn cancel(&mut self) -> Vec<MsgId> {
        let goes = |one: &Outgoing| one.stage != Stage::Sent;
        let ids = self.0.iter().filter(|one| goes(one)).map(|one| one.message.id);
        let ids: Vec<MsgId> = ids.collect();
        self.0.retain(|one| !goes(one));
        ids
    }

    /// Returns whether nothing is open except refused messages.
    pub fn is_settled(&self) -> bool {
        self.0.iter().all(|one| one.stage == Stage::Refused)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
