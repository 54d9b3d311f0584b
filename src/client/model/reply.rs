//! The recipient of `/reply`.

use crate::chat::UserName;

#[derive(Default)]
pub struct Reply {
    to: Option<UserName>,
    /// The recipient has changed since the last typed line.
    moved: bool,
}

impl Reply {
    /// The sender of the last private message.
    pub fn to(&self) -> Option<&UserName> {
        self.to.as_ref()
    }

    /// Records a private message.
    pub fn wrote(&mut self, from: &UserName) {
        self.moved |= self.to.as_ref().is_some_and(|before| before != from);
        self.to = Some(from.clone());
    }

    /// Records a typed line. Returns whether the recipient has changed since the line before.
    pub fn typed(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }
}
