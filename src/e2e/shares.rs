//! Chooses which items stay if there is no room for all of them. Pure.
//!
//! Room is shared as by fair queueing: conversations take turns, and in each its senders do, so
//! that the largest one loses first, and more items of one sender cost other senders nothing. A
//! server can invent conversations and senders without end, so that turns alone are not enough:
//!
//! 1. Conversations in which the user has a part (their own messages, a PIN that they have entered)
//!    get seven of eight parts of the room, where they need it.
//! 2. Conversations, and senders in a conversation, are ordered by when the client first read
//!    something of them. The first `FIRST` get half of the room, where they need it, the next
//!    `FIRST` half of the rest, and each group after these has twice as many as the one before: any
//!    number of newcomers leaves the eldest their half.
//! 3. What nobody has signed gets what is left.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::chat::{Target, UserName};

/// Conversations or senders in the first group.
const FIRST: usize = 16;
/// One of this many parts is for conversations in which the user has no part.
const PARTS: usize = 8;

/// An item that takes room.
pub struct Item<'a> {
    pub conversation: &'a Target,
    pub from: &'a UserName,
    /// Its sender has signed it.
    pub signed: bool,
    /// When this client first read it.
    pub read_ms: i64,
    /// When this client first read something of its sender there.
    pub since_ms: i64,
    pub bytes: usize,
}

impl Item<'_> {
    /// Returns whether the user has written it or has entered the channel's PIN, which no server
    /// can invent.
    fn is_of_user(&self) -> bool {
        match self.conversation {
            Target::Channel(_) => true,
            Target::User(with) => self.signed && self.from != with,
        }
    }
}

/// Returns for each item whether it stays. Among items read at the same time, later ones count as
/// newer.
pub fn fitting(items: &[Item], bytes_max: usize) -> Vec<bool> {
    let of_user = items.iter().filter(|item| item.is_of_user());
    let of_user: BTreeSet<_> = of_user.map(|item| item.conversation).collect();
    let [mut own, mut others, mut unsigned] = [const { Vec::new() }; 3];
    for (index, item) in items.iter().enumerate() {
        match (item.signed, of_user.contains(item.conversation)) {
            (true, true) => own.push(index),
            (true, false) => others.push(index),
            (false, _) => unsigned.push(index),
        }
    }
    let [own, others, unsigned] = [own, others, unsigned].map(|class| by_turns(items, class));
    let signed = merge(items, vec![(1, own), (PARTS - 1, others)]);
    let mut stays = vec![false; items.len()];
    let mut sum = 0;
    for index in signed.into_iter().chain(unsigned) {
        sum += items[index].bytes;
        if sum > bytes_max {
            break;
        }
        stays[index] = true;
    }
    stays
}

/// Orders items by the turns in which they get room.
fn by_turns(items: &[Item], class: Vec<usize>) -> Vec<usize> {
    let mut conversations: BTreeMap<&Target, BTreeMap<&UserName, Vec<usize>>> = BTreeMap::new();
    for index in class {
        let senders = conversations.entry(items[index].conversation).or_default();
        senders.entry(items[index].from).or_default().push(index);
    }
    let newest_first = |mut sender: Vec<usize>| {
        sender.sort_by_key(|index| Reverse((items[*index].read_ms, *index)));
        sender
    };
    let senders = conversations.into_values().map(|senders| {
        let senders = senders.into_values().map(newest_first).collect();
        by_age(items, senders)
    });
    by_age(items, senders.collect())
}

/// One sequence of several: the eldest take turns with all later ones, and among themselves.
fn by_age(items: &[Item], mut sequences: Vec<Vec<usize>>) -> Vec<usize> {
    let since = |sequence: &Vec<usize>| {
        let since = sequence.iter().map(|index| (items[*index].since_ms, *index));
        since.min()
    };
    sequences.sort_by_cached_key(since);
    let (mut groups, mut later) = (Vec::new(), sequences.into_iter());
    let mut count = FIRST;
    while later.len() > 0 {
        let group = later.by_ref().take(count).map(|sequence| (1, sequence));
        let group = merge(items, group.collect());
        count = FIRST << groups.len();
        groups.push(group);
    }
    let later = |later, group| merge(items, vec![(1, group), (1, later)]);
    groups.into_iter().rev().reduce(later).unwrap_or_default()
}

/// One sequence of several, each in its own order: the next item is of the sequence that has least
/// with it, its bytes times its weight.
fn merge(items: &[Item], sequences: Vec<(usize, Vec<usize>)>) -> Vec<usize> {
    let mut turns = Vec::new();
    for (which, (weight, sequence)) in sequences.into_iter().enumerate() {
        let mut sum = 0;
        for index in sequence {
            sum += items[index].bytes * weight;
            turns.push((sum, which, index));
        }
    }
    // Stable: an item of no bytes comes after the one before.
    turns.sort_by_key(|(sum, which, _)| (*sum, *which));
    turns.into_iter().map(|(_, _, index)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Conversation, sender, when it was read, whether it is signed.
    type Row = (String, String, i64, bool);

    fn rows(conversation: &str, from: &str, read_ms: std::ops::Range<i64>) -> Vec<Row> {
        read_ms.map(|ms| (conversation.to_owned(), from.to_owned(), ms, true)).collect()
    }

    fn stay(rows: &[Row], room: usize) -> Vec<Row> {
        let names: Vec<(Target, UserName)> = rows
            .iter()
            .map(|(conversation, from, ..)| (conversation.parse().unwrap(), from.parse().unwrap()))
            .collect();
        let mut since: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        for (conversation, from, ms, _) in rows {
            let first = since.entry((conversation, from)).or_insert(*ms);
            *first = (*first).min(*ms);
        }
        let items: Vec<_> = rows
            .iter()
            .zip(&names)
            .map(|((conversation, from, ms, signed), names)| Item {
                conversation: &names.0,
                from: &names.1,
                signed: *signed,
                read_ms: *ms,
                since_ms: since[&(conversation.as_str(), from.as_str())],
                bytes: 10,
            })
            .collect();
        let stays = fitting(&items, room * 10);
        rows.iter().zip(stays).filter(|(_, stays)| *stays).map(|(row, _)| row.clone()).collect()
    }

    fn count(rows: &[Row], is: impl Fn(&Row) -> bool) -> usize {
        rows.iter().filter(|row| is(row)).count()
    }

    fn tea() -> String {
        format!("#tea~{}", "0".repeat(26))
    }

    #[test]
    fn a_flood_costs_the_conversation_and_the_sender_that_it_is_of() {
        let mut all = rows("@bob", "bob", 0..40);
        all.extend(rows("@bob", "alice", 0..40));
        all.extend(rows(&tea(), "carol", 0..10));
        // Later, before, and at one time.
        for flood in [1_000..2_000, -1_000..0] {
            for (conversation, from) in [("@carol", "carol"), (&tea(), "dave"), ("@bob", "bob")] {
                let mut all = all.clone();
                all.extend(rows(conversation, from, flood.clone()));
                let left = stay(&all, 200);
                assert_eq!(left.len(), 200);
                let others = |row: &Row| (row.0.as_str(), row.1.as_str()) != (conversation, from);
                assert_eq!(
                    count(&left, others),
                    count(&all, others),
                    "{conversation} {from} {flood:?}"
                );
            }
        }
        let mut same: Vec<_> = rows("@bob", "bob", 0..500);
        same.iter_mut().for_each(|row| row.2 = 7);
        assert_eq!(stay(&same, 100), same[400..], "a tie empties nothing");
    }

    #[test]
    fn the_oldest_of_the_largest_goes_first() {
        let mut all = rows("@bob", "alice", 0..300);
        all.extend(rows("@carol", "alice", 0..100));
        all.extend(rows("@dave", "alice", 0..20));
        let left = stay(&all, 210);
        let kept = |conversation: &str| {
            left.iter().filter(|row| row.0 == conversation).collect::<Vec<_>>()
        };
        assert_eq!([kept("@bob").len(), kept("@carol").len(), kept("@dave").len()], [95, 95, 20]);
        assert_eq!((kept("@bob")[0].2, kept("@carol")[0].2), (205, 5), "the newest stay");
    }

    #[test]
    fn invented_people_cost_the_others_next_to_nothing() {
        let mut all = rows("@bob", "bob", 0..300);
        all.extend(rows("@bob", "alice", 5..6));
        for number in 0..20 {
            all.extend(rows(&tea(), &format!("member{number}"), 0..10));
        }
        let real = all.clone();
        // People who write to the user, and senders in a channel, before and after.
        for number in 0..5_000i64 {
            let name = format!("made{number}");
            all.extend(rows(&format!("@{name}"), &name, number - 100..number - 98));
            all.extend(rows(&tea(), &name, number..number + 1));
        }
        let left = stay(&all, 1_000);
        let is_made = |row: &Row| row.1.starts_with("made");
        assert_eq!(count(&left, |row| !is_made(row)), real.len());
        // Also where there is no room for all that is real.
        let left = stay(&all, 400);
        assert!(count(&left, |row| row.0 == "@bob") >= 170);
        let members = (0..16).map(|number| format!("member{number}"));
        let of = |name: &String| count(&left, |row| row.1 == *name);
        assert!(
            members.clone().all(|name| of(&name) >= 1),
            "{:?}",
            members.map(|n| of(&n)).collect::<Vec<_>>()
        );
    }

    #[test]
    fn what_nobody_has_signed_gets_what_is_left() {
        let mut all = rows("@bob", "bob", 0..10);
        all.extend(
            rows("@carol", "carol", 50..90).into_iter().map(|row| (row.0, row.1, row.2, false)),
        );
        let left = stay(&all, 20);
        assert_eq!((left.len(), count(&left, |row| row.3)), (20, 10));
        assert_eq!(stay(&[], 20), []);
    }
}
