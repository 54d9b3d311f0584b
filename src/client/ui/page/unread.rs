//! How many messages of a conversation are unread, from the server's count and from what has come
//! since. Pure.

use std::collections::BTreeSet;

/// Messages that have come since the count; beyond it older ones are not counted.
const FRESH_MAX: usize = 10_000;

/// The unread messages of others in one conversation, by seq.
#[derive(Default)]
pub struct Unread {
    read: u64,
    /// Messages up to here are part of the server's count, or were never unread.
    known: u64,
    /// The server's count, of the messages up to the second number.
    counted: (u64, u64),
    fresh: BTreeSet<u64>,
}

impl Unread {
    pub fn messages(&self) -> u64 {
        self.counted.0 + self.fresh.len() as u64
    }

    pub fn read(&self) -> u64 {
        self.read
    }

    /// Takes the newest message and the read position of a login. The server counts later.
    pub fn learn(&mut self, last: u64, read: u64) {
        self.known = self.known.max(last);
        self.reads(read, |_| None);
    }

    /// Takes the server's count of the messages up to one.
    pub fn counts(&mut self, upto: u64, messages: u64) {
        self.counted = (messages, upto);
        self.known = self.known.max(upto);
        self.fresh.retain(|seq| *seq > upto);
    }

    /// Takes a message of somebody else.
    pub fn arrives(&mut self, seq: u64) {
        if seq > self.read && seq > self.known {
            self.fresh.insert(seq);
            if self.fresh.len() > FRESH_MAX {
                self.fresh.pop_first();
            }
        }
    }

    /// Takes a read position. `held` counts the messages of others that are after the position and
    /// up to a seq, if they are all here.
    pub fn reads(&mut self, seq: u64, held: impl Fn(u64) -> Option<u64>) {
        if seq <= self.read {
            return;
        }
        self.read = seq;
        self.fresh.retain(|fresh| *fresh > seq);
        let (messages, upto) = self.counted;
        self.counted.0 = match upto > seq {
            true => messages.min(upto - seq).min(held(upto).unwrap_or(u64::MAX)),
            false => 0,
        };
    }

    /// Forgets the messages after one: their seqs name others now.
    pub fn renumbers(&mut self, after: u64) {
        self.fresh.retain(|seq| *seq <= after);
        self.known = self.known.min(after);
        self.read = self.read.min(after);
        if self.counted.1 > after {
            self.counted = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_and_fresh_messages_are_unread_until_they_are_read() {
        let mut unread = Unread::default();
        unread.learn(40, 30);
        // Those up to the 40th are replayed, and counted by the server.
        (31..=42).for_each(|seq| unread.arrives(seq));
        assert_eq!(unread.messages(), 2);
        unread.counts(40, 8);
        assert_eq!(unread.messages(), 10);
        unread.reads(35, |_| None);
        assert_eq!((unread.messages(), unread.read()), (7, 35));
        unread.reads(38, |_| Some(1));
        assert_eq!(unread.messages(), 3);
        unread.reads(41, |_| None);
        assert_eq!(unread.messages(), 1);
        unread.reads(20, |_| None);
        unread.arrives(41);
        assert_eq!((unread.messages(), unread.read()), (1, 41));
        unread.reads(42, |_| None);
        assert_eq!(unread.messages(), 0);
    }

    #[test]
    fn another_log_starts_again() {
        let mut unread = Unread::default();
        unread.counts(40, 8);
        unread.arrives(41);
        unread.renumbers(0);
        assert_eq!((unread.messages(), unread.read()), (0, 0));
        unread.arrives(1);
        assert_eq!(unread.messages(), 1);
    }

    #[test]
    fn a_crowd_takes_bounded_memory() {
        let mut unread = Unread::default();
        (1..=2 * FRESH_MAX as u64).for_each(|seq| unread.arrives(seq));
        assert_eq!(unread.messages(), FRESH_MAX as u64);
    }
}
