//! Penalties per source: sources that misbehave before they have logged in are refused for a while
//! (the scheme of OpenSSH's PerSourcePenalties). New connections from their networks are admitted
//! as suspects. Pure: callers pass in the time.

use std::collections::HashMap;

use super::source::{Prefix, Source};
use super::table::{Stage, Standing};
use crate::chat::rate::Stamp;
use crate::limits::Limits;

/// How an unauthenticated connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    /// No login before the deadline.
    Late,
    /// Evicted as the oldest of too many.
    Evicted,
    /// A malformed handshake record.
    Garbage,
    /// A proven key that is not registered, or whose user may not connect.
    NotAdmitted,
    /// A proven key, but a password that is wrong, late or missing.
    NoPassword,
    /// Closed by the peer before the login, in this stage.
    EarlyEnd(Stage),
    /// Closed after it only requested the server's key.
    Asked,
    /// Refused for lack of room for another login or session, or evicted before its grace time.
    Unserved,
    /// Refused because the server is full: no fault of the peer.
    Full,
}

/// The penalty for holding an entry for the whole time of a login.
const LATE_MS: u64 = 10_000;

/// A source that finds no room counts as penalised for this long, which is shorter than clients
/// wait before they retry.
const TURNED_AWAY_MS: u64 = 1_000;

impl Offence {
    /// Returns the minimum penalty.
    fn ms(self) -> u64 {
        match self {
            Offence::Late => LATE_MS,
            Offence::Evicted | Offence::Garbage => 5_000,
            Offence::NotAdmitted | Offence::NoPassword => 5_000,
            // Costs, in this order: a thread and an RSA operation; a key exchange; a table entry
            // only.
            Offence::EarlyEnd(Stage::LoggingIn) => 5_000,
            Offence::EarlyEnd(Stage::Greeted) => 2_000,
            Offence::EarlyEnd(Stage::Silent) | Offence::Asked | Offence::Unserved => 1_000,
            Offence::Full => 0,
        }
    }

    /// Returns the penalty for a connection that held its entry for `held_ms` of at most
    /// `login_ms`. It grows with the time held, so that closing just before the deadline saves
    /// nothing.
    pub fn penalty_ms(self, held_ms: u64, login_ms: u64) -> u64 {
        if self == Offence::Full {
            return 0;
        }
        let part = held_ms.min(login_ms).saturating_mul(LATE_MS) / login_ms.max(1);
        self.ms().max(part)
    }
}

/// The end of each network's penalties.
pub struct Penalties {
    until: HashMap<Prefix, Stamp>,
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

    /// Applies new limits.
    pub fn retune(&mut self, limits: &Limits) {
        self.refuse_ms = limits.penalty_refuse_s * 1000;
        self.ms_max = limits.penalty_s_max * 1000;
        self.sources_max = limits.penalty_sources_max;
    }

    /// Adds to the penalties of a source and of its networks, up to the cap.
    pub fn add(&mut self, source: Source, ms: u64, now: Stamp) {
        let cap = Stamp(now.0 + self.ms_max);
        for (prefix, _) in source.prefixes() {
            if let Some(until) = self.until(prefix, now) {
                *until = Stamp((*until).max(now).0 + ms).min(cap);
            }
        }
    }

    /// Marks a source that found no room as penalised for a moment, so that neighbours that try
    /// less often are preferred. Repeated attempts do not add up to a refusal.
    pub fn turned_away(&mut self, source: Source, now: Stamp) {
        for (prefix, _) in source.prefixes().take(1) {
            if let Some(until) = self.until(prefix, now) {
                *until = (*until).max(Stamp(now.0 + TURNED_AWAY_MS));
            }
        }
    }

    /// Returns the end of a network's penalties; `None` if too many networks are tracked.
    fn until(&mut self, prefix: Prefix, now: Stamp) -> Option<&mut Stamp> {
        if self.until.len() >= self.sources_max && !self.until.contains_key(&prefix) {
            self.until.retain(|_, until| *until > now);
            if self.until.len() >= self.sources_max {
                return None;
            }
        }
        Some(self.until.entry(prefix).or_insert(now))
    }

    /// Returns the standing of a source, where `known` means a recent login from it; `None` if it
    /// is refused. Known sources are never refused, but lose their preference while they have
    /// penalties. A successful login clears no penalties, so that a hostile member cannot pay for
    /// the connections beside it.
    pub fn standing(&self, source: Source, known: bool, now: Stamp) -> Option<Standing> {
        match (self.refuses(source, now), known) {
            (true, false) => None,
            (true, true) => Some(Standing::Suspect),
            (false, true) if self.penalises(source, now) => Some(Standing::Unknown),
            (false, true) => Some(Standing::Known),
            (false, false) if self.suspects(source, now) => Some(Standing::Suspect),
            (false, false) => Some(Standing::Unknown),
        }
    }

    /// Whether a source is refused: its own penalties reach the bound. Penalties of its neighbours
    /// do not count.
    pub fn refuses(&self, source: Source, now: Stamp) -> bool {
        source.prefixes().take(1).any(|(prefix, factor)| self.is_over(prefix, factor, now))
    }

    /// Whether a source has penalties of its own.
    pub fn penalises(&self, source: Source, now: Stamp) -> bool {
        let mut own = source.prefixes().take(1);
        own.any(|(prefix, _)| self.until.get(&prefix).is_some_and(|until| *until > now))
    }

    /// Whether a network of the source exceeds its budget: a source's bound times the number of
    /// sources that the network counts as.
    pub fn suspects(&self, source: Source, now: Stamp) -> bool {
        source.prefixes().skip(1).any(|(prefix, factor)| self.is_over(prefix, factor, now))
    }

    fn is_over(&self, prefix: Prefix, factor: usize, now: Stamp) -> bool {
        // Bounded by the cap, because penalties never exceed it.
        let refuse_ms = self.refuse_ms.saturating_mul(factor as u64);
        let refuse_ms = refuse_ms.min(self.ms_max.max(self.refuse_ms));
        self.until.get(&prefix).is_some_and(|until| until.ms_since(now) >= refuse_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source(text: &str) -> Source {
        text.parse().unwrap()
    }

    #[test]
    fn three_garbage_records_and_the_source_is_refused_for_a_while() {
        let [one, two] = ["192.0.2.1", "192.0.2.2"].map(source);
        let mut penalties = Penalties::new(&Limits::default());
        let garbage = Offence::Garbage.penalty_ms(0, 10_000);
        for _ in 0..3 {
            assert!(!penalties.refuses(one, Stamp(0)));
            penalties.add(one, garbage, Stamp(0));
        }
        assert!(penalties.refuses(one, Stamp(0)));
        assert!(!penalties.refuses(two, Stamp(0)));
        assert!(!penalties.refuses(one, Stamp(1)), "below the threshold again");
        assert!(penalties.penalises(one, Stamp(1)) && !penalties.penalises(two, Stamp(1)));
    }

    #[test]
    fn a_known_source_is_preferred_while_it_has_no_penalties_and_is_never_refused() {
        let [home, fresh] = ["192.0.2.1", "198.51.100.1"].map(source);
        let mut penalties = Penalties::new(&Limits::default());
        assert_eq!(penalties.standing(home, true, Stamp(0)), Some(Standing::Known));
        penalties.add(home, 5_000, Stamp(0));
        assert_eq!(penalties.standing(home, true, Stamp(4_999)), Some(Standing::Unknown));
        assert_eq!(penalties.standing(home, true, Stamp(5_000)), Some(Standing::Known));
        [home, fresh].into_iter().for_each(|one| penalties.add(one, 15_000, Stamp(5_000)));
        assert_eq!(penalties.standing(home, true, Stamp(5_000)), Some(Standing::Suspect));
        assert_eq!(penalties.standing(fresh, false, Stamp(5_000)), None);
        assert_eq!(penalties.standing(fresh, false, Stamp(5_001)), Some(Standing::Unknown));
        assert_eq!(penalties.standing(home, true, Stamp(5_001)), Some(Standing::Unknown));
        assert_eq!(penalties.standing(home, true, Stamp(20_000)), Some(Standing::Known));
    }

    #[test]
    fn closing_just_before_the_end_costs_as_much_as_being_late() {
        let early = |held_ms| Offence::EarlyEnd(Stage::Silent).penalty_ms(held_ms, 10_000);
        assert_eq!(
            (early(0), early(100), early(5_000), early(9_800)),
            (1_000, 1_000, 5_000, 9_800)
        );
        assert_eq!(Offence::Late.penalty_ms(10_050, 10_000), 10_000);
        assert_eq!(Offence::EarlyEnd(Stage::Silent).penalty_ms(980, 1_000), 9_800);
        assert_eq!(Offence::Evicted.penalty_ms(100, 10_000), 5_000);
        assert_eq!(Offence::Full.penalty_ms(9_000, 10_000), 0);
        // Two such connections are allowed; the third is refused.
        let (one, mut penalties) = (source("192.0.2.1"), Penalties::new(&Limits::default()));
        penalties.add(one, early(9_800), Stamp(9_800));
        assert!(!penalties.refuses(one, Stamp(9_800)));
        penalties.add(one, early(9_800), Stamp(9_800));
        assert!(penalties.refuses(one, Stamp(9_800)));
    }

    #[test]
    fn a_network_whose_sources_take_turns_is_suspect_but_its_neighbours_are_not_refused() {
        let mut penalties = Penalties::new(&Limits::default());
        let of_prefix = |network: u32| source(&format!("2001:db8:1:{network:x}00::1"));
        // Each stays below its own bound.
        for network in 0..5 {
            penalties.add(of_prefix(network), 10_000, Stamp(0));
            assert!(!penalties.suspects(of_prefix(99), Stamp(0)));
        }
        penalties.add(of_prefix(5), 10_000, Stamp(0));
        assert!(penalties.suspects(of_prefix(99), Stamp(0)), "60 s of the /48");
        assert!(!penalties.refuses(of_prefix(99), Stamp(0)), "it has no penalties of its own");
        assert!(!penalties.suspects(source("2001:db8:2::1"), Stamp(0)));
        penalties.add(of_prefix(5), 10_000, Stamp(0));
        assert!(penalties.refuses(of_prefix(5), Stamp(0)), "15 s of its own");
    }

    #[test]
    fn clients_that_found_no_room_are_admitted_later() {
        // Fifty honest clients share one address that has no room left. Each is refused after the
        // handshake and retries after ten seconds, at most eight at once.
        let (home, mut penalties) = (source("192.0.2.1"), Penalties::new(&Limits::default()));
        let (mut refused_since, mut longest_ms) = (None, 0);
        for now in (0..3_600_000).step_by(200).map(Stamp) {
            if penalties.refuses(home, now) {
                let since = *refused_since.get_or_insert(now);
                longest_ms = longest_ms.max(now.ms_since(since));
                continue;
            }
            refused_since = None;
            penalties.add(home, Offence::Unserved.penalty_ms(0, 10_000), now);
        }
        assert!(longest_ms <= 1_000, "{longest_ms} ms");
        // The same where they are refused before the handshake.
        let mut penalties = Penalties::new(&Limits::default());
        for now in (0..60_000).map(Stamp) {
            penalties.turned_away(home, now);
            assert!(!penalties.refuses(home, now) && penalties.penalises(home, now));
        }
        assert!(!penalties.penalises(home, Stamp(61_000)));
    }

    proptest! {
        #[test]
        fn penalties_never_exceed_the_cap_and_the_table_is_bounded(
            steps in prop::collection::vec((any::<u8>(), 0u64..20_000), 1..500),
        ) {
            let limits = Limits { penalty_sources_max: 20, ..Limits::default() };
            let mut penalties = Penalties::new(&limits);
            let mut now = 0;
            for (last, pause) in steps {
                now += pause;
                penalties.add(source(&format!("192.0.2.{last}")), 10_000, Stamp(now));
                prop_assert!(penalties.until.len() <= 20);
                prop_assert!(penalties.until.values().all(|until| until.0 <= now + 600_000));
            }
            let free = Stamp(now + 600_000);
            let refused = |last: u8| penalties.refuses(source(&format!("192.0.2.{last}")), free);
            prop_assert!(!(0..=255).any(refused));
        }

        #[test]
        fn penalties_of_neighbours_never_refuse_a_source(
            steps in prop::collection::vec((any::<u8>(), any::<u8>(), 1u64..20_000, 0u64..2_000), 1..500),
        ) {
            let mut penalties = Penalties::new(&Limits::default());
            let (four, six) = (source("192.0.2.0"), source("2001:db8:1::1"));
            let mut now = 0;
            for (one, other, ms, pause) in steps {
                now += pause;
                let neighbours = [
                    format!("192.0.2.{}", one.max(1)),
                    format!("2001:db8:1:{:x}{other:02x}::1", one.max(1)),
                ];
                neighbours.iter().for_each(|text| penalties.add(source(text), ms, Stamp(now)));
                prop_assert!(!penalties.refuses(four, Stamp(now)));
                prop_assert!(!penalties.refuses(six, Stamp(now)));
                let elsewhere = ["192.0.3.1", "2001:db8:2::1"].map(source);
                prop_assert!(!elsewhere.iter().any(|one| penalties.suspects(*one, Stamp(now))));
            }
        }
    }
}
