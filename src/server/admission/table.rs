//! The table of unauthenticated connections: counts per stage and source, and the choice which to
//! close when there are too many. Pure: callers pass in the time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use super::source::{Prefix, Source};
use crate::chat::rate::Stamp;

/// How far the login of a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The peer has not shown that it knows the server's fingerprint.
    Silent,
    /// The hello or the key request was valid.
    Greeted,
    /// R2 or T2 passed the gate: the connection has a thread and may cost an RSA operation.
    LoggingIn,
}

/// A peer's rank when room is short: lower ranks are closed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Its network's penalties exceed their budget. Suspects get at most a quarter of each stage.
    Suspect,
    /// A peer without recent logins. Gets the places that are not reserved for known peers.
    Unknown,
    /// An exempt peer, or one from a source with a recent login and without penalties. A quarter of
    /// each stage is reserved for known peers, and a quarter for the others.
    Known,
}

/// How the limits treat a peer.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The source that it is counted by; `None` for exempt peers and those behind a proxy.
    pub source: Option<Source>,
    pub standing: Standing,
    /// Whether its source has penalties: within its network it is evicted before sources without.
    pub penalised: bool,
}

/// A connection in the table.
#[derive(Debug)]
pub struct Held<H> {
    pub id: u64,
    pub origin: Origin,
    pub stage: Stage,
    pub came: Stamp,
    /// When it entered its stage.
    since: Stamp,
    pub handle: H,
}

/// The most connections in each stage, and of one source over all stages.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub silent: usize,
    pub greeted: usize,
    pub logging_in: usize,
    pub per_source: usize,
}

/// There is no room for another connection, and none may be closed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

pub struct Table<H> {
    held: BTreeMap<u64, Held<H>>,
    by_prefix: HashMap<Prefix, usize>,
    next: u64,
    bounds: Bounds,
}

/// One place in this many of each stage is reserved for known peers, and one for the others,
/// because members may be hostile too. Suspects get at most this part.
const PART: usize = 4;

/// The connection among some that is closed first.
struct Victim {
    id: u64,
    /// Whether its network or source has more of them than the new connection's would have in its
    /// place.
    crowds: bool,
}

impl Stage {
    /// The time in milliseconds after entering a stage during which a connection is not closed for
    /// another one. A client sends its hello with the connect. R2 takes a round trip; the LOGIN
    /// takes a turn at the RSA operation and a round trip.
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

    /// Adds a silent connection. Returns its id, if there is room, and the connections that were
    /// closed for it.
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

    /// Moves a connection to a later stage. Returns the connections that were closed for it.
    ///
    /// # Errors
    ///
    /// Fails if there is no room, or the connection was evicted.
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

    /// Treats a source's connections as unknown, because it is no longer preferred.
    pub fn demote(&mut self, source: Source) {
        let known = |held: &&mut Held<H>| held.origin.standing == Standing::Known;
        let of_source = |held: &&mut Held<H>| held.origin.source == Some(source);
        for held in self.held.values_mut().filter(known).filter(of_source) {
            held.origin.standing = Standing::Unknown;
        }
    }

    /// Removes a connection; `None` if it was evicted before.
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

    /// Enforces the bound of each network. At the bound, a connection of the network is closed: a
    /// silent one first, then one that yields. A known peer is checked against its own source only.
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

    /// Makes room in a stage: at the cost of suspects first and of known peers last. Groups that
    /// have used up their share make room among themselves.
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

    /// Chooses which of some connections to close for a new one: from the network with the most,
    /// there a penalised one, then from the source with the most, the oldest. Owners of many
    /// addresses thus compete with themselves, and lose against neighbours without penalties.
    fn victim(&self, which: impl Fn(&Held<H>) -> bool, incoming: Origin) -> Option<Victim> {
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
        let crowds = match network(held.origin) == network(incoming) {
            true if held.origin.penalised != incoming.penalised => held.origin.penalised,
            true => of_source(held.origin) > of_source(incoming) + 1,
            false => in_network(held.origin) > in_network(incoming) + 1,
        };
        Some(Victim { id: held.id, crowds })
    }

    /// Returns the connection to close, if its grace time is over or it crowds.
    fn yields(
        &self,
        which: impl Fn(&Held<H>) -> bool,
        incoming: Origin,
        now: Stamp,
    ) -> Option<u64> {
        let ripe = |id: &u64| self.held.get(id).is_some_and(|held| held.is_ripe(now));
        let victim = self.victim(which, incoming)?;
        Some(victim.id).filter(|id| victim.crowds || ripe(id))
    }
}

impl<H> Held<H> {
    /// Whether the grace time of the connection's stage is over.
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
