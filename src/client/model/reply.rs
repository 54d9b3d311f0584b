//! Whom `/reply` answers.

use crate::chat::UserName;

#[derive(Default)]
pub(super) struct Reply {
    to: Option<UserName>,
    /// Somebody else than before is answered since the last line that was typed.
    moved: bool,
}

impl Reply {
    /// The person who has written last.
    pub fn to(&self) -> Option<&UserName> {
        self.to.as_ref()
    }

    /// A private message has arrived.
    pub fn wrote(&mut self, from: &UserName) {
        self.moved |= self.to.as_ref().is_some_and(|before| before != from);
        self.to = Some(from.clone());
    }

    /// A line was typed; whether somebody else is answered than when the line before was.
    pub fn typed(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }
}
