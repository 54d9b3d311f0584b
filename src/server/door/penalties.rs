//! Sources that misbehave before they have logged in are refused for a while (the scheme of
//! OpenSSH's PerSourcePenalties). Pure: the moment is handed in.

use std::collections::HashMap;

use super::source::Source;
use crate::chat::rate::Stamp;
use crate::limits::Limits;

/// What a stranger did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    /// No login within the time for it.
    Late,
    /// A record of the handshake that is none.
    Garbage,
    /// A proven key that nobody registered.
    NotRegistered,
    /// Gone before the login.
    EarlyEnd,
    /// Gone with the server's key, which is all that it had asked for.
    Asked,
    /// Told that the server has no time for another login.
    Unserved,
}

impl Offence {
    fn ms(self) -> u64 {
        match self {
            Offence::Late => 10_000,
            Offence::Garbage | Offence::NotRegistered => 5_000,
            Offence::EarlyEnd | Offence::Asked | Offence::Unserved => 1_000,
        }
    }
}

/// Until when each source's penalties last.
pub struct Penalties {
    until: HashMap<Source, Stamp>,
    refuse_ms: u64,
    ms_max: u64,
    sources_max: usize,
}

impl Penalties {
    pub fn new(limits: &Limits) -> Self {
        Penalties {
            until: HashMap::new(),
            refuse_ms: limits.penalty_refuse_s * 1000,
            ms_max: limits.penalty_s_max * 1000,
            sources_max: limits.penalty_sources_max,
        }
    }

    /// Other limits from now on.
    pub fn retune(&mut self, limits: &Limits) {
        self.refuse_ms = limits.penalty_refuse_s * 1000;
        self.ms_max = limits.penalty_s_max * 1000;
        self.sources_max = limits.penalty_sources_max;
    }

    /// Adds to a source's penalty; it never exceeds the cap.
    pub fn add(&mut self, source: Source, offence: Offence, now: Stamp) {
        if self.until.len() >= self.sources_max && !self.until.contains_key(&source) {
            self.until.retain(|_, until| *until > now);
            if self.until.len() >= self.sources_max {
                return;
            }
        }
        let until = self.until.entry(source).or_insert(now);
        let from = (*until).max(now);
        *until = Stamp((from.0 + offence.ms()).min(now.0 + self.ms_max));
    }

    /// Whether a source has so much to wait that it is refused.
    pub fn refuses(&self, source: Source, now: Stamp) -> bool {
        self.until.get(&source).is_some_and(|until| until.ms_since(now) >= self.refuse_ms)
    }

    /// A login wipes the slate.
    pub fn clear(&mut self, source: Source) {
        self.until.remove(&source);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use proptest::prelude::*;

    fn source(last: u8) -> Source {
        IpAddr::from([192, 0, 2, last]).into()
    }

    #[test]
    fn three_bits_of_garbage_and_the_door_stays_shut_for_a_while() {
        let mut penalties = Penalties::new(&Limits::default());
        for _ in 0..3 {
            assert!(!penalties.refuses(source(1), Stamp(0)));
            penalties.add(source(1), Offence::Garbage, Stamp(0));
        }
        assert!(penalties.refuses(source(1), Stamp(0)));
        assert!(!penalties.refuses(source(2), Stamp(0)));
        assert!(!penalties.refuses(source(1), Stamp(1)), "below the threshold again");
        penalties.add(source(1), Offence::Late, Stamp(1));
        penalties.clear(source(1));
        assert!(!penalties.refuses(source(1), Stamp(1)));
    }

    proptest! {
        #[test]
        fn no_source_waits_longer_than_the_cap_and_the_table_is_bounded(
            steps in prop::collection::vec((any::<u8>(), 0u64..20_000), 1..500),
        ) {
            let limits = Limits { penalty_sources_max: 20, ..Limits::default() };
            let mut penalties = Penalties::new(&limits);
            let mut now = 0;
            for (last, pause) in steps {
                now += pause;
                penalties.add(source(last), Offence::Late, Stamp(now));
                prop_assert!(penalties.until.len() <= 20);
                prop_assert!(penalties.until.values().all(|until| until.0 <= now + 600_000));
            }
            let free = Stamp(now + 600_000);
            prop_assert!((0..=255).all(|last| !penalties.refuses(source(last), free)));
        }
    }
}
