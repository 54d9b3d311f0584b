//! What came after a line whose sender's keys are asked for, in its order, and no more of it than
//! there is room for.

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

    /// A server that never tells the keys is not waited for any more.
    pub fn is_full(&self) -> bool {
        self.events.len() >= HELD_EVENTS_MAX || self.bytes >= HELD_EVENTS_BYTES_MAX
    }

    pub fn push(&mut self, event: Event) {
        let bytes = event.bytes_in_memory();
        self.bytes += bytes;
        self.events.push_back((event, bytes));
    }

    /// It has to wait on.
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
        let mut held = Pending::default();
        let mut count = 0;
        while !held.is_full() && count < 2 * HELD_EVENTS_MAX {
            held.push(Event::Notice { text: text.into(), reference: None });
            count += 1;
        }
        (count, held)
    }

    #[test]
    fn a_few_long_events_fill_it_as_many_short_ones_do() {
        let (count, _) = filled("");
        assert_eq!(count, HELD_EVENTS_MAX);
        let long = "x".repeat(1 << 16);
        let (count, mut held) = filled(&long);
        assert!(count <= HELD_EVENTS_BYTES_MAX / long.len(), "{count}");
        while held.pop().is_some() {}
        assert_eq!(held.bytes, 0);
        assert!(held.is_empty() && !held.is_full());
    }
}
