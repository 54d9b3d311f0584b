//! Own messages that are not acknowledged, as pages see them. Pure.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::chat::{MsgId, NewMessage};

/// Ids of lines that are remembered.
const TAKEN_MAX: usize = 1_000;

#[derive(Default)]
pub struct Outgoing {
    waiting: Vec<Waiting>,
    /// Lines of pages, by the id that the page has chosen, each with its acknowledgement.
    taken: VecDeque<(MsgId, Option<Value>)>,
}

/// A message, and what has become of it so far.
struct Waiting {
    id: MsgId,
    sent: Value,
    pending: Option<Value>,
    refused: Option<Value>,
}

impl Outgoing {
    /// Takes a message that is sent, for the first time or again. Returns its object; a file has
    /// none, because its text has a key.
    pub fn sends(&mut self, message: &NewMessage) -> Option<Value> {
        let NewMessage { to, id, kind, body } = message;
        if kind.blob().is_some() {
            return None;
        }
        let mut object = json!({
            "type": "outgoing", "id": id, "to": to, "kind": kind.word(), "text": body.text(),
            "origin": "client",
        });
        if let Some(of) = kind.of() {
            object["of"] = json!(of);
        }
        self.settles(*id);
        self.waiting.push(Waiting { id: *id, sent: object.clone(), pending: None, refused: None });
        Some(object)
    }

    /// Takes a line of a page, which may be a message with this id.
    ///
    /// # Errors
    /// It was taken before: a page repeats it where a connection has broken. What has become of it.
    pub fn takes(&mut self, id: MsgId) -> Result<(), Vec<Value>> {
        if let Some((_, ack)) = self.taken.iter().find(|(taken, _)| *taken == id) {
            return Err(self.of(id).chain(ack.as_ref()).cloned().collect());
        }
        // It may be from an earlier run.
        if self.of(id).next().is_some() {
            return Err(self.of(id).cloned().collect());
        }
        self.taken.push_back((id, None));
        if self.taken.len() > TAKEN_MAX {
            self.taken.pop_front();
        }
        Ok(())
    }

    /// Takes an acknowledgement.
    pub fn is_acknowledged(&mut self, id: MsgId, ack: Option<&Value>) {
        self.settles(id);
        if let Some(taken) = self.taken.iter_mut().find(|(taken, _)| *taken == id) {
            taken.1 = ack.cloned();
        }
    }

    /// Takes that a message waits for a connection.
    pub fn waits(&mut self, id: MsgId, pending: &Value) {
        if let Some(waiting) = self.find(id) {
            waiting.pending = Some(pending.clone());
        }
    }

    /// Takes a refusal: the message stays until it is sent again or dropped.
    pub fn is_refused(&mut self, id: MsgId, refused: &Value) {
        if let Some(waiting) = self.find(id) {
            waiting.refused = Some(refused.clone());
        }
    }

    /// Takes that a message waits no longer.
    pub fn settles(&mut self, id: MsgId) {
        self.waiting.retain(|waiting| waiting.id != id);
    }

    pub fn objects(&self) -> impl Iterator<Item = &Value> {
        self.waiting.iter().flat_map(Waiting::objects)
    }

    fn of(&self, id: MsgId) -> impl Iterator<Item = &Value> {
        self.waiting.iter().filter(move |waiting| waiting.id == id).flat_map(Waiting::objects)
    }

    fn find(&mut self, id: MsgId) -> Option<&mut Waiting> {
        self.waiting.iter_mut().find(|waiting| waiting.id == id)
    }
}

impl Waiting {
    fn objects(&self) -> impl Iterator<Item = &Value> {
        let Waiting { sent, pending, refused, .. } = self;
        [Some(sent), pending.as_ref(), refused.as_ref()].into_iter().flatten()
    }
}
