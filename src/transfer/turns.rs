//! Turns between the transfers of one connection and direction.

use std::collections::VecDeque;

/// Transfers in the order of their next turns. Each turn is worth one piece, so that transfers that
/// can go on get the same number of bytes.
#[derive(Debug, Default)]
pub struct Turns {
    order: VecDeque<u32>,
}

impl Turns {
    /// Adds a transfer behind all others; one that is there keeps its turn.
    pub fn add(&mut self, transfer: u32) {
        if !self.order.contains(&transfer) {
            self.order.push_back(transfer);
        }
    }

    pub fn remove(&mut self, transfer: u32) {
        self.order.retain(|one| *one != transfer);
    }

    /// Returns the next transfer for which `can_go_on` holds, and moves it behind all others. The
    /// ones before it keep their places: a transfer that waits for its limit has the first turn
    /// afterwards.
    pub fn next(&mut self, can_go_on: impl Fn(u32) -> bool) -> Option<u32> {
        let at = self.order.iter().position(|one| can_go_on(*one))?;
        let next = self.order.remove(at)?;
        self.order.push_back(next);
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_transfer_that_waited_is_next() {
        let mut turns = Turns::default();
        [1, 2, 3, 1].into_iter().for_each(|transfer| turns.add(transfer));
        let mut next = |waits: u32| turns.next(|one| one != waits);
        assert_eq!([0, 1, 1, 1, 0, 0].map(&mut next), [1, 2, 3, 2, 1, 3].map(Some));
        turns.remove(2);
        assert_eq!(turns.next(|one| one == 2), None);
        assert_eq!(turns.next(|_| true), Some(1));
    }

    proptest! {
        #[test]
        fn those_that_always_can_go_on_differ_by_one_turn(
            changes in prop::collection::vec((0u32..8, any::<bool>(), 0u32..20), 1..60),
            waiting in prop::collection::btree_set(0u32..8, 0..4),
        ) {
            let (mut turns, mut there) = (Turns::default(), BTreeSet::new());
            for (transfer, adds, rounds) in changes {
                match adds {
                    true => drop((turns.add(transfer), there.insert(transfer))),
                    false => drop((turns.remove(transfer), there.remove(&transfer))),
                }
                let mut counts: BTreeMap<u32, u32> =
                    there.difference(&waiting).map(|one| (*one, 0)).collect();
                for _ in 0..rounds {
                    let next = turns.next(|one| !waiting.contains(&one));
                    prop_assert_eq!(next.is_some(), !counts.is_empty());
                    if let Some(next) = next {
                        *counts.get_mut(&next).expect("it is there and can go on") += 1;
                    }
                }
                let (least, most) = (counts.values().min(), counts.values().max());
                prop_assert!(most.unwrap_or(&0) - least.unwrap_or(&0) <= 1);
            }
        }
    }
}
