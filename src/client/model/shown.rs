//! Messages that were shown, so that none is shown twice.

use std::collections::VecDeque;

use super::output::is_unsealed;
use crate::chat::{Message, MsgId, Target, UserName};

/// Bound on remembered messages.
const SHOWN_MAX: usize = 4_096;

/// What a message is recognised by. The id alone is not enough: its sender chose it, and anyone who
/// has seen it can use it again, in another conversation or under another name.
#[derive(PartialEq, Eq)]
struct Recognised {
    id: MsgId,
    to: Target,
    from: UserName,
    is_change: bool,
    is_unsealed: bool,
}

impl Recognised {
    fn of(message: &Message) -> Recognised {
        Recognised {
            id: message.id,
            to: message.to.clone(),
            from: message.from.clone(),
            is_change: message.kind.is_change(),
            is_unsealed: is_unsealed(message),
        }
    }
}

#[derive(Default)]
pub struct Shown(VecDeque<Recognised>);

impl Shown {
    pub fn contains(&self, message: &Message) -> bool {
        self.0.contains(&Recognised::of(message))
    }

    pub fn add(&mut self, message: &Message) {
        self.0.push_back(Recognised::of(message));
        if self.0.len() > SHOWN_MAX {
            self.0.pop_front();
        }
    }
}
