//! Connections that have not logged in: counted, thinned out at random as they become many, and
//! few from one source. Pure: chance is handed in.

use std::collections::HashMap;

use super::source::Source;
use crate::limits::Limits;

/// The strangers at the door.
pub struct Strangers {
    by_source: HashMap<Source, usize>,
    count: usize,
    limits: Limits,
}

impl Strangers {
    pub fn new(limits: &Limits) -> Self {
        Strangers { by_source: HashMap::new(), count: 0, limits: limits.clone() }
    }

    /// Other limits from now on.
    pub fn retune(&mut self, limits: &Limits) {
        self.limits = limits.clone();
    }

    /// Counts a newcomer in, or refuses it. `chance` is uniform in 0..100.
    pub fn enter(&mut self, source: Source, chance: u8) -> bool {
        let from_here = self.by_source.get(&source).copied().unwrap_or(0);
        let crowd = from_here >= self.limits.strangers_per_source_max;
        if crowd || f64::from(chance) < self.drop_percent() {
            return false;
        }
        *self.by_source.entry(source).or_default() += 1;
        self.count += 1;
        true
    }

    /// A stranger has logged in or gone.
    pub fn leave(&mut self, source: Source) {
        self.count -= 1;
        if let Some(from_here) = self.by_source.get_mut(&source) {
            *from_here -= 1;
            if *from_here == 0 {
                self.by_source.remove(&source);
            }
        }
    }

    /// The chance to be dropped: none below the threshold, then from its start to certainty.
    fn drop_percent(&self) -> f64 {
        let (from, all) = (self.limits.strangers_drop_from, self.limits.strangers_max);
        if self.count < from {
            return 0.0;
        }
        if self.count >= all {
            return 100.0;
        }
        let first = f64::from(self.limits.strangers_drop_percent);
        first + (100.0 - first) * (self.count - from) as f64 / (all - from) as f64
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn source(number: usize) -> Source {
        IpAddr::from([10, 0, (number >> 8) as u8, number as u8]).into()
    }

    #[test]
    fn one_source_has_eight_and_no_more() {
        let mut strangers = Strangers::new(&Limits::default());
        assert!((0..8).all(|_| strangers.enter(source(1), 99)));
        assert!(!strangers.enter(source(1), 99));
        assert!(strangers.enter(source(2), 0));
        strangers.leave(source(1));
        assert!(strangers.enter(source(1), 99));
    }

    #[test]
    fn the_more_strangers_the_fewer_get_in() {
        let mut strangers = Strangers::new(&Limits::default());
        assert!((0..32).all(|number| strangers.enter(source(number), 0)));
        assert!(!strangers.enter(source(100), 29), "30 percent are dropped from here on");
        assert!(strangers.enter(source(100), 30));
        let more = (200..).take(95).filter(|number| strangers.enter(source(*number), 99));
        assert_eq!(more.count(), 94, "even the luckiest but one");
        assert!(!strangers.enter(source(500), 99), "the last place is never given");
    }
}
