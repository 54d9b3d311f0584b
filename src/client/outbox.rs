//! The person's own lines that the server has not stored yet, in the order they were typed. Pure;
//! `journal.rs` keeps them on disk.

use std::collections::{HashSet, VecDeque};

use crate::chat::{MsgId, NewMessage, Target};

/// One line on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    pub message: NewMessage,
    pub stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There was no connection.
    Waiting,
    /// Sent; whether it is stored is not known.
    Sent,
    /// It, or one before it, came too fast for the server: it is sent once the time for it has
    /// come.
    Later,
    /// The server refused it; `/retry` sends it again, `/cancel` drops it.
    Refused,
}

#[derive(Default)]
pub struct Outbox(VecDeque<Outgoing>);

impl Outbox {
    /// Lines of an earlier run, and which of them were refused.
    pub fn of(messages: Vec<NewMessage>, refused: &HashSet<MsgId>) -> Outbox {
        let outgoing = |message: NewMessage| {
            let refused = refused.contains(&message.id);
            let stage = if refused { Stage::Refused } else { Stage::Waiting };
            Outgoing { message, stage }
        };
        Outbox(messages.into_iter().map(outgoing).collect())
    }

    /// Lines that wait for the person.
    pub fn refused(&self) -> usize {
        self.0.iter().filter(|one| one.stage == Stage::Refused).count()
    }

    pub fn add(&mut self, message: NewMessage, stage: Stage) {
        self.0.push_back(Outgoing { message, stage });
    }

    /// The line is stored; none where it was not here.
    pub fn settle(&mut self, id: MsgId) -> Option<NewMessage> {
        let found = self.0.iter().position(|one| one.message.id == id);
        found.and_then(|index| self.0.remove(index)).map(|one| one.message)
    }

    /// What was said last in a conversation, where that is still on its way.
    pub fn last_said(&self, conversation: &Target) -> Option<MsgId> {
        let says = |Outgoing { message, stage }: &&Outgoing| {
            *stage != Stage::Refused && message.to == *conversation && !message.kind.is_change()
        };
        self.0.iter().rev().find(says).map(|one| one.message.id)
    }

    /// The line is refused; whether it was here and was not refused before.
    pub fn refuse(&mut self, id: MsgId) -> bool {
        let found = self.0.iter_mut().find(|one| one.message.id == id);
        found.is_some_and(|one| std::mem::replace(&mut one.stage, Stage::Refused) != Stage::Refused)
    }

    /// The line came too fast; whether it was on its way.
    pub fn postpone(&mut self, id: MsgId) -> bool {
        let sent = |one: &&mut Outgoing| matches!(one.stage, Stage::Sent | Stage::Later);
        let found = self.0.iter_mut().find(|one| one.message.id == id).filter(sent);
        found.map(|one| one.stage = Stage::Later).is_some()
    }

    /// Whether lines wait for the time that the server wants.
    pub fn is_held(&self) -> bool {
        self.0.iter().any(|one| one.stage == Stage::Later)
    }

    /// Of the lines that came too fast the first few become ones to send.
    pub fn again(&mut self, lines_max: usize) -> Vec<NewMessage> {
        self.resend(Stage::Later, lines_max)
    }

    /// All lines that are not refused, to be sent (again) over a new connection. Their ids make a
    /// repeat harmless.
    pub fn send_all(&mut self) -> Vec<NewMessage> {
        let open = self.0.iter_mut().filter(|one| one.stage != Stage::Refused);
        let send = |one: &mut Outgoing| {
            one.stage = Stage::Sent;
            one.message.clone()
        };
        open.map(send).collect()
    }

    /// Refused lines become ones to send.
    pub fn retry(&mut self) -> Vec<NewMessage> {
        self.resend(Stage::Refused, usize::MAX)
    }

    fn resend(&mut self, stage: Stage, lines_max: usize) -> Vec<NewMessage> {
        let chosen = self.0.iter_mut().filter(|one| one.stage == stage).take(lines_max);
        let send = |one: &mut Outgoing| {
            one.stage = Stage::Sent;
            one.message.clone()
        };
        chosen.map(send).collect()
    }

    /// The connection is gone: what was sent over it may be stored, and is sent again.
    pub fn disconnected(&mut self) {
        for one in self.0.iter_mut().filter(|one| one.stage == Stage::Later) {
            one.stage = Stage::Waiting;
        }
    }

    /// Lines of which nobody here knows whether they are stored.
    pub fn in_doubt(&self) -> usize {
        self.0.iter().filter(|one| one.stage == Stage::Sent).count()
    }

    /// Drops what is not stored: lines that wait or were refused. Gives their ids.
    pub fn cancel(&mut self) -> Vec<MsgId> {
        let goes = |one: &Outgoing| one.stage != Stage::Sent;
        let ids = self.0.iter().filter(|one| goes(one)).map(|one| one.message.id);
        let ids: Vec<MsgId> = ids.collect();
        self.0.retain(|one| !goes(one));
        ids
    }

    /// Whether nothing is open: what was refused waits for the person alone.
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
