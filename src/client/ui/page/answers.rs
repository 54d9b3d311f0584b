//! Older messages that pages have asked for, until their answers are whole. Pure.

use std::collections::VecDeque;

use serde_json::Value;

use crate::chat::{Message, Seq, Target};
use crate::limits::ANSWER_MESSAGES_MAX;

/// Open requests that are remembered; the oldest are forgotten.
const ASKED_MAX: usize = 64;

/// Messages with their objects.
pub type Gathered = Vec<(Message, Value)>;

/// A request for older messages.
struct Asked {
    to: Target,
    /// The messages end before this one, or are the newest.
    before: Option<Seq>,
    reference: String,
    messages: Gathered,
}

#[derive(Default)]
pub struct Answers(VecDeque<Asked>);

impl Answers {
    pub fn asks(&mut self, to: Target, before: Option<Seq>, reference: Option<&str>) {
        let Some(reference) = reference.map(str::to_owned) else { return };
        self.0.push_back(Asked { to, before, reference, messages: Vec::new() });
        if self.0.len() > ASKED_MAX {
            self.0.pop_front();
        }
    }

    /// Takes a message of an answer.
    pub fn gathers(&mut self, to: Target, message: &Message, object: Value) {
        let Some(at) = self.position(&to, message.reference.as_deref()) else { return };
        if self.0[at].messages.len() < ANSWER_MESSAGES_MAX {
            self.0[at].messages.push((message.clone(), object));
        }
    }

    /// Ends an answer. Returns where its messages end, and the messages.
    pub fn ends(
        &mut self,
        to: &Target,
        reference: Option<&str>,
    ) -> Option<(Option<Seq>, Gathered)> {
        let asked = self.0.remove(self.position(to, reference)?)?;
        Some((asked.before, asked.messages))
    }

    pub fn is_refused(&mut self, reference: Option<&str>) {
        self.0.retain(|asked| Some(asked.reference.as_str()) != reference);
    }

    /// Forgets the requests of a lost connection.
    pub fn lost(&mut self) {
        self.0.clear();
    }

    fn position(&self, to: &Target, reference: Option<&str>) -> Option<usize> {
        let is = |asked: &Asked| asked.to == *to && Some(asked.reference.as_str()) == reference;
        self.0.iter().position(is)
    }
}
