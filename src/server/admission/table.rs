//! The unauthenticated connections: how many are held in each stage and of each source, and which is
//! closed when there are too many. Pure: the moment is handed in.

use std::cmp::Reverse;
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

/// How a peer ranks where room is short: a lower one is closed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Its network's penalties are over their budget. It takes a quarter of each stage at most.
    Suspect,
    /// Nothing is known of it. It takes what is not reserved for known ones.
    Unknown,
    /// Exempt, or from a source of a recent login that has no penalties. A quarter of each stage is
    /// reserved for it, and a quarter for the others.
    Known,
}

/// How the limits see a peer.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// What it is counted by; none for peers that are exempt, and for those whose address is everybody's.
    pub source: Option<Source>,
    pub standing: Standing,
    /// Its source has penalties of its own: in its network it makes room for those without.
    pub penalised: bool,
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

/// One place in so many of each stage is for known peers alone, and one for the others: a member may be
/// hostile, too. Suspects have as many at most.
const PART: usize = 4;

/// The connection that is closed first of some.
struct Victim {
    id: u64,
    /// Its network or source has more of them than the newcomer's would have in its place.
    crowds: bool,
}

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

    /// Takes a connection in as silent. Returns its id, where there is room, and those that were closed
    /// for it.
    pub fn enter(
        &mut self,
        origin: Origin,
        handle: H,
        now: Stamp,
    ) -> (Result<u64, Full>, Vec<Held<H>>) {
        let mut evicted = Vec::new();
        let room = self.make_room_in_prefixes(origin, now, &mut evicted)
            && self.make_room(Stage::Silent, origin, now, &mut evicted);
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
        let (from, origin) = (held.stage, held.origin);
        let mut evicted = Vec::new();
        if from < stage && !self.make_room(stage, origin, now, &mut evicted) {
            return Err(Full);
        }
        if let Some(held) = self.held.get_mut(&id).filter(|_| from < stage) {
            (held.stage, held.since) = (stage, now);
        }
        Ok(evicted)
    }

    /// A source is preferred no more: its connections count as unknown from now on.
    pub fn demote(&mut self, source: Source) {
        let known = |held: &&mut Held<H>| held.origin.standing == Standing::Known;
        let of_source = |held: &&mut Held<H>| held.origin.source == Some(source);
        for held in self.held.values_mut().filter(known).filter(of_source) {
            held.origin.standing = Standing::Unknown;
        }
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

    /// Each network has its bound. Where that is reached, a connection of the network goes: a silent
    /// one first, then one that yields. A known peer answers for its own source only.
    fn make_room_in_prefixes(
        &mut self,
        origin: Origin,
        now: Stamp,
        evicted: &mut Vec<Held<H>>,
    ) -> bool {
        let Some(source) = origin.source else { return true };
        let known = |origin: Origin| origin.standing == Standing::Known;
        let levels = if known(origin) { 1 } else { usize::MAX };
        for (prefix, factor) in source.prefixes().take(levels) {
            let bound = self.bounds.per_source.saturating_mul(factor);
            if self.by_prefix.get(&prefix).is_none_or(|count| *count < bound) {
                continue;
            }
            let yields = |stage| {
                let of_network = |held: &Held<H>| {
                    held.stage == stage
                        && known(held.origin) <= known(origin)
                        && prefixes(held.origin).any(|other| other == prefix)
                };
                self.yields(of_network, origin, now)
            };
            let stages = [Stage::Silent, Stage::Greeted, Stage::LoggingIn];
            let Some(victim) = stages.into_iter().find_map(yields) else { return false };
            evicted.extend(self.leave(victim));
        }
        true
    }

    /// Makes room in a stage, at the cost of suspects first and of known peers last; those who have what
    /// they may have make room among themselves.
    fn make_room(
        &mut self,
        stage: Stage,
        origin: Origin,
        now: Stamp,
        evicted: &mut Vec<Held<H>>,
    ) -> bool {
        use Standing::{Known, Suspect, Unknown};
        let max = self.bounds.of(stage);
        let count = |standing| self.in_stage(stage, standing).count();
        let (suspects, unknown, known) = (count(Suspect), count(Unknown), count(Known));
        let (reserved, suspects_max) = (max / PART, (max / PART).max(1));
        let others_fit = suspects + unknown < max - reserved;
        let known_fit = known < max - reserved;
        let fits = match origin.standing {
            Suspect => others_fit && suspects < suspects_max,
            Unknown => others_fit,
            Known => known_fit,
        };
        if fits && suspects + unknown + known < max {
            return true;
        }
        let of = |standing| {
            move |held: &Held<H>| held.stage == stage && held.origin.standing == standing
        };
        let yields = |standing| self.yields(of(standing), origin, now);
        let goes = |standing| self.victim(of(standing), origin).map(|victim| victim.id);
        let victim = match origin.standing {
            Suspect if suspects >= suspects_max => yields(Suspect),
            Suspect => yields(Suspect).or_else(|| yields(Unknown)),
            Unknown => yields(Suspect)
                .or_else(|| yields(Unknown))
                .or_else(|| goes(Suspect))
                .or_else(|| yields(Known).filter(|_| others_fit)),
            Known if known_fit => goes(Suspect).or_else(|| goes(Unknown)),
            Known => yields(Known),
        };
        evicted.extend(victim.and_then(|id| self.leave(id)));
        victim.is_some()
    }

    fn in_stage(&self, stage: Stage, standing: Standing) -> impl Iterator<Item = &Held<H>> {
        let those = move |held: &&Held<H>| held.stage == stage && held.origin.standing == standing;
        self.held.values().filter(those)
    }

    /// The first of some connections to be closed for a newcomer: of the network that has the most of
    /// them, there one that is penalised, of the source that has the most, the oldest. So whoever holds
    /// many addresses competes with itself, and comes behind a neighbour who has done nothing.
    fn victim(&self, which: impl Fn(&Held<H>) -> bool, newcomer: Origin) -> Option<Victim> {
        let (mut networks, mut sources) = (HashMap::new(), HashMap::new());
        let those = || self.held.values().filter(|held| which(held));
        for held in those() {
            *networks.entry(network(held.origin)).or_insert(0usize) += 1;
            *sources.entry(held.origin.source).or_insert(0usize) += 1;
        }
        let in_network = |origin| networks.get(&network(origin)).copied().unwrap_or(0);
        let of_source = |origin: Origin| sources.get(&origin.source).copied().unwrap_or(0);
        let held = those().max_by_key(|held| {
            let age = Reverse((held.since, held.id));
            (in_network(held.origin), held.origin.penalised, of_source(held.origin), age)
        })?;
        let crowds = match network(held.origin) == network(newcomer) {
            true if held.origin.penalised != newcomer.penalised => held.origin.penalised,
            true => of_source(held.origin) > of_source(newcomer) + 1,
            false => in_network(held.origin) > in_network(newcomer) + 1,
        };
        Some(Victim { id: held.id, crowds })
    }

    /// The first of some connections to be closed, where it has had its time or crowds.
    fn yields(
        &self,
        which: impl Fn(&Held<H>) -> bool,
        newcomer: Origin,
        now: Stamp,
    ) -> Option<u64> {
        let ripe = |id: &u64| self.held.get(id).is_some_and(|held| held.is_ripe(now));
        let victim = self.victim(which, newcomer)?;
        Some(victim.id).filter(|id| victim.crowds || ripe(id))
    }
}

impl<H> Held<H> {
    /// Whether the connection has had the time that its stage takes.
    pub fn is_ripe(&self, now: Stamp) -> bool {
        now.ms_since(self.since) >= self.stage.grace_ms()
    }
}

fn network(origin: Origin) -> Option<Prefix> {
    origin.source.map(Source::network)
}

fn prefixes(origin: Origin) -> impl Iterator<Item = Prefix> {
    origin.source.into_iter().flat_map(Source::prefixes).map(|(prefix, _)| prefix)
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
