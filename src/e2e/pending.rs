//! Events after a message whose sender key was requested, in order and within a bound.

use std::collections::VecDeque;

use crate::chat::Event;
use crate::limits::{HELD_EVENTS_BYTES_MAX, HELD_EVENTS_MAX};

#[derive(Default)]
pub struct Pending {
    events: VecDeque<(Event, usize)>,
    bytes: usize,
}

impl Pending {
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Returns whether the bound is reached; then the engine no longer waits for the keys.
    pub fn is_full(&self) -> bool {
        self.events.len() >= HELD_EVENTS_MAX || self.bytes >= HELD_EVENTS_BYTES_MAX
    }

    pub fn push(&mut self, event: Event) {
        let bytes = event.bytes_in_memory();
        self.bytes += bytes;
        self.events.push_back((event, bytes));
    }

    /// Puts back the event that still has to wait.
    pub fn push_back_in_front(&mut self, event: Event) {
        let bytes = event.bytes_in_memory();
        self.bytes += bytes;
        self.events.push_front((event, bytes));
    }

    pub fn pop(&mut self) -> Option<Event> {
        let (event, bytes) = self.events.pop_front()?;
        self.bytes -= bytes;
        Some(event)
    }

    pub fn clear(&mut self) {
        *self = Pending::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> (usize, Pending) {
        let mut pending = Pending::default();
        let mut count = 0;
        while !pending.is_full() && count < 2 * HELD_EVENTS_MAX {
            pending.push(Event::Notice { text: text.into(), reference: None });
            count += 1;
        }
        (count, pending)
    }

    #[test]
    fn count_and_size_are_bounded() {
        let (count, _) = filled("");
        assert_eq!(count, HELD_EVENTS_MAX);
        let long = "x".repeat(1 << 16);
        let (count, mut pending) = filled(&long);
        assert!(count <= HELD_EVENTS_BYTES_MAX / long.len(), "{count}");
        while pending.pop().is_some() {}
        assert_eq!(pending.bytes, 0);
        assert!(pending.is_empty() && !pending.is_full());
    }
}
