//! The list of the files of a conversation, whose messages arrive one by one.

use super::action::Action;
use super::output::Output;
use crate::chat::{Message, Target};

/// References of lists, before the list's number.
const REFERENCE: &str = "pychat-files-";

#[derive(Default)]
pub struct Listing {
    newest: u32,
    /// The newest list, while it arrives. Those before it are dropped.
    arriving: Option<(Target, Vec<Message>)>,
}

impl Listing {
    /// Begins a list. Returns the reference of its request.
    pub fn begin(&mut self, to: Target) -> String {
        self.newest += 1;
        self.arriving = Some((to, Vec::new()));
        format!("{REFERENCE}{}", self.newest)
    }

    /// Takes a message of a list. Returns whether it is one.
    pub fn takes(&mut self, message: &Message) -> bool {
        let Some(is_newest) = self.is_newest(message.reference.as_deref()) else { return false };
        if is_newest && let Some((_, files)) = &mut self.arriving {
            files.push(Message { reference: None, ..message.clone() });
        }
        true
    }

    /// Handles the end of a list. `None`: it is another answer.
    pub fn ends(&mut self, reference: Option<&str>) -> Option<Vec<Action>> {
        let arrived = self.is_newest(reference)?.then(|| self.arriving.take()).flatten();
        let shown = arrived.map(|(to, files)| Action::Output(Output::Files { to, files }));
        Some(shown.into_iter().collect())
    }

    /// Returns whether a reference is that of the newest list; `None` if it is none of a list.
    fn is_newest(&self, reference: Option<&str>) -> Option<bool> {
        // A program may use another reference that begins so.
        let number = reference?.strip_prefix(REFERENCE)?.parse().ok()?;
        (1..=self.newest).contains(&number).then_some(number == self.newest)
    }
}
