//! The unauthenticated connections: how many are held in each stage and of each source, and which is
//! closed when there are too many. Pure: the moment is handed in.

use std::collections::{BTreeMap, HashMap};

use super::source::{Prefix, Source};
use crate::chat::rate::Stamp;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It has not shown that it knows the server's fingerprint.
    Silent,
    /// Its hello or key request was valid.
    Greeted,
    /// Its R2 passed the gate: it has a thread, and costs an RSA operation.
    LoggingIn,
}

/// How the limits see a peer.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// What it is counted by; none for peers that are exempt, and for those whose address is everybody's.
    pub source: Option<Source>,
    /// Part of each stage is reserved for it, and others are closed before it.
    pub preferred: bool,
}

/// A connection in the table.
#[derive(Debug)]
pub struct Held<H> {
    pub id: u64,
    pub origin: Origin,
    pub stage: Stage,
    pub came: Stamp,
    /// When it came into its stage.
    since: Stamp,
    pub handle: H,
}

/// Most connections in each stage, and of one source over all stages.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub silent: usize,
    pub greeted: usize,
    pub logging_in: usize,
    pub per_source: usize,
}

/// There is no room for another connection, and nothing to close for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

pub struct Table<H> {
    held: BTreeMap<u64, Held<H>>,
    by_prefix: HashMap<Prefix, usize>,
    next: u64,
    bounds: Bounds,
}

/// One place in so many of each stage is for preferred peers alone.
const RESERVED_PART: usize = 4;

impl Stage {
    /// A connection that came into this stage less than this many milliseconds ago is not closed for
    /// another one. A client sends its hello with the connect, but needs a round trip for R2, and a
    /// turn at the RSA operation and a round trip for its LOGIN.
    fn grace_ms(self) -> u64 {
        match self {
            Stage::Silent => 0,
            Stage::Greeted => 1_000,
            Stage::LoggingIn => 2_000,
        }
    }
}

impl Bounds {
    fn of(&self, stage: Stage) -> usize {
        match stage {
            Stage::Silent => self.silent,
            Stage::Greeted => self.greeted,
            Stage::LoggingIn => self.logging_in,
        }
    }
}

impl<H> Table<H> {
    pub fn new(bounds: Bounds) -> Self {
        Table { held: BTreeMap::new(), by_prefix: HashMap::new(), next: 1, bounds }
    }

    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    pub fn count(&self, stage: Stage) -> usize {
        self.held.values().filter(|held| held.stage == stage).count()
    }

    /// Takes a connection in as silent. Gives its id, where there is room, and those that were closed
    /// for it: the oldest silent ones.
    pub fn enter(
        &mut self,
        origin: Origin,
        handle: H,
        now: Stamp,
    ) -> (Result<u64, Full>, Vec<Held<H>>) {
        let mut evicted = Vec::new();
        let room = self.make_room_in_prefixes(origin, now, &mut evicted)
            && self.make_room(Stage::Silent, origin.preferred, now, &mut evicted);
        if !room {
            return (Err(Full), evicted);
        }
        let id = self.next;
        self.next += 1;
        for prefix in prefixes(origin) {
            *self.by_prefix.entry(prefix).or_default() += 1;
        }
        let held = Held { id, origin, stage: Stage::Silent, came: now, since: now, handle };
        self.held.insert(id, held);
        (Ok(id), evicted)
    }

    /// Moves a connection into a later stage. Gives those that were closed for it.
    pub fn move_to(&mut self, id: u64, stage: Stage, now: Stamp) -> Result<Vec<Held<H>>, Full> {
        let held = self.held.get(&id).ok_or(Full)?;
        let (from, preferred) = (held.stage, held.origin.preferred);
        let mut evicted = Vec::new();
        if from < stage && !self.make_room(stage, preferred, now, &mut evicted) {
            return Err(Full);
        }
        if let Some(held) = self.held.get_mut(&id).filter(|_| from < stage) {
            (held.stage, held.since) = (stage, now);
        }
        Ok(evicted)
    }

    /// A connection has logged in or gone; none where it was closed for another one before.
    pub fn leave(&mut self, id: u64) -> Option<Held<H>> {
        let held = self.held.remove(&id)?;
        for prefix in prefixes(held.origin) {
            if let Some(count) = self.by_prefix.get_mut(&prefix) {
                *count -= 1;
                if *count == 0 {
                    self.by_prefix.remove(&prefix);
                }
            }
        }
        Some(held)
    }

    /// Each network has its bound. Where that is reached, the oldest silent connection of the network
    /// goes, or the oldest that has had its time. A preferred peer answers for its own source only.
    fn make_room_in_prefixes(
        &mut self,
        origin: Origin,
        now: Stamp,
        evicted: &mut Vec<Held<H>>,
    ) -> bool {
        let Some(source) = origin.source else { return true };
        let levels = if origin.preferred { 1 } else { usize::MAX };
        for (prefix, factor) in source.prefixes().take(levels) {
            let bound = self.bounds.per_source.saturating_mul(factor);
            if self.by_prefix.get(&prefix).is_none_or(|count| *count < bound) {
                continue;
            }
            let of_network = |held: &Held<H>| {
                held.origin.preferred <= origin.preferred
                    && prefixes(held.origin).any(|other| other == prefix)
            };
            let oldest = |stage| self.oldest(|held| held.stage == stage && of_network(held));
            let ripe = |id: &u64| self.is_ripe(*id, now);
            let victim = oldest(Stage::Silent)
                .or_else(|| oldest(Stage::Greeted).filter(ripe))
                .or_else(|| oldest(Stage::LoggingIn).filter(ripe));
            let Some(victim) = victim else { return false };
            evicted.extend(self.leave(victim));
        }
        true
    }

    /// Makes room in a stage: the oldest connection there goes, those of preferred peers last.
    fn make_room(
        &mut self,
        stage: Stage,
        preferred: bool,
        now: Stamp,
        evicted: &mut Vec<Held<H>>,
    ) -> bool {
        let max = self.bounds.of(stage);
        let (total, others) = self
            .held
            .values()
            .filter(|held| held.stage == stage)
            .fold((0, 0), |(total, others), held| {
                (total + 1, others + usize::from(!held.origin.preferred))
            });
        if total < max && (preferred || others < max - max / RESERVED_PART) {
            return true;
        }
        let other = self.oldest(|held| held.stage == stage && !held.origin.preferred);
        let victim = match other {
            Some(other) if preferred => Some(other),
            Some(other) => Some(other).filter(|id| self.is_ripe(*id, now)),
            None if preferred => {
                self.oldest(|held| held.stage == stage).filter(|id| self.is_ripe(*id, now))
            }
            None => None,
        };
        evicted.extend(victim.and_then(|id| self.leave(id)));
        victim.is_some()
    }

    fn oldest(&self, which: impl Fn(&Held<H>) -> bool) -> Option<u64> {
        let those = self.held.values().filter(|held| which(held));
        those.min_by_key(|held| (held.since, held.id)).map(|held| held.id)
    }

    /// Whether a connection has had the time that its stage takes.
    fn is_ripe(&self, id: u64, now: Stamp) -> bool {
        let ripe = |held: &Held<H>| now.ms_since(held.since) >= held.stage.grace_ms();
        self.held.get(&id).is_some_and(ripe)
    }
}

fn prefixes(origin: Origin) -> impl Iterator<Item = Prefix> {
    origin.source.into_iter().flat_map(Source::prefixes).map(|(prefix, _)| prefix)
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
