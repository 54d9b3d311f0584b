//! Eviction from a full table.

use super::*;
use proptest::prelude::*;

const BOUNDS: Bounds = Bounds { silent: 16, greeted: 16, logging_in: 8, per_source: 4 };

fn from(text: &str) -> Origin {
    Origin { source: Some(text.parse().unwrap()), standing: Standing::Unknown, penalised: false }
}

fn known(text: &str) -> Origin {
    Origin { standing: Standing::Known, ..from(text) }
}

fn suspect(text: &str) -> Origin {
    Origin { standing: Standing::Suspect, ..from(text) }
}

/// An origin for each number, each in its own network.
fn apart(number: u64) -> Origin {
    from(&format!("10.{}.{}.1", number >> 8, number & 255))
}

fn ids(evicted: Vec<Held<()>>) -> Vec<u64> {
    evicted.into_iter().map(|held| held.id).collect()
}

/// Admits a connection, which must find room. Returns its id and the ids of evicted ones.
#[track_caller]
fn enters(table: &mut Table<()>, origin: Origin, now: u64) -> (u64, Vec<u64>) {
    let (id, evicted) = table.enter(origin, (), Stamp(now));
    (id.expect("room"), ids(evicted))
}

fn greets(table: &mut Table<()>, id: u64, now: u64) -> Result<Vec<u64>, Full> {
    table.move_to(id, Stage::Greeted, Stamp(now)).map(ids)
}

#[test]
fn the_oldest_silent_connection_is_evicted_and_never_the_newest() {
    let mut table = Table::new(BOUNDS);
    let first: Vec<u64> = (0..12).map(|number| enters(&mut table, apart(number), 0).0).collect();
    // The third one greets.
    assert_eq!(greets(&mut table, first[2], 1), Ok(vec![]));
    assert_eq!(
        enters(&mut table, apart(50), 2).1,
        Vec::<u64>::new(),
        "its place in the silent stage is free"
    );
    for (number, gone) in [(100, 0), (101, 1), (102, 3), (103, 4)] {
        assert_eq!(enters(&mut table, apart(number), 3).1, [first[gone]]);
    }
    assert_eq!(table.count(Stage::Silent), 12, "a quarter is reserved for known peers");
    assert_eq!(table.count(Stage::Greeted), 1);
    assert!(table.leave(first[0]).is_none(), "it is no longer counted");
}

#[test]
fn a_flood_of_silent_connections_evicts_no_greeted_one() {
    let mut table = Table::new(BOUNDS);
    let members: Vec<u64> = (0..12)
        .map(|number| {
            let id = enters(&mut table, apart(number), 0).0;
            greets(&mut table, id, 0).unwrap();
            id
        })
        .collect();
    for number in 100..1_000 {
        enters(&mut table, apart(number), 1);
    }
    assert_eq!(table.count(Stage::Greeted), 12);
    assert!(members.iter().all(|id| table.leave(*id).is_some()));
}

#[test]
fn a_greeted_connection_yields_after_its_grace_time() {
    let mut table = Table::new(BOUNDS);
    let mut greeted = Vec::new();
    for number in 0..12 {
        let id = enters(&mut table, apart(number), 0).0;
        greets(&mut table, id, 0).unwrap();
        greeted.push(id);
    }
    let late = enters(&mut table, apart(100), 999).0;
    assert_eq!(greets(&mut table, late, 999), Err(Full), "within the grace time");
    assert_eq!(greets(&mut table, late, 1_000), Ok(vec![greeted[0]]));
    assert_eq!(greets(&mut table, late, 1_000), Ok(vec![]), "it is there already");
    assert_eq!(greets(&mut table, greeted[0], 1_000), Err(Full), "it was evicted");
}

#[test]
fn known_peers_have_reserved_places() {
    let mut table = Table::new(BOUNDS);
    let greeted = |table: &mut Table<()>, origin, now| {
        let id = enters(table, origin, now).0;
        (id, greets(table, id, now))
    };
    let first = greeted(&mut table, apart(0), 0).0;
    for number in 1..12 {
        greeted(&mut table, apart(number), 0).1.unwrap();
    }
    assert_eq!(greeted(&mut table, apart(100), 0).1, Err(Full));
    for number in 0..4 {
        let origin = known(&format!("192.0.{number}.1"));
        assert_eq!(greeted(&mut table, origin, 0).1, Ok(vec![]), "the reserve");
    }
    // Beyond that, others are evicted first, in any stage.
    assert_eq!(greeted(&mut table, known("192.0.9.1"), 0).1, Ok(vec![first]));
    for number in 10..17 {
        greeted(&mut table, known(&format!("192.0.{number}.1")), 0).1.unwrap();
    }
    assert_eq!(
        greeted(&mut table, known("192.0.99.1"), 0).1,
        Err(Full),
        "three quarters are known"
    );
    assert_eq!(table.count(Stage::Greeted), 16, "a quarter is reserved for the others");
    let (newcomer, oldest) = (greeted(&mut table, apart(200), 1_000).1, table.held.len());
    assert!(
        newcomer.is_ok_and(|gone| gone.len() == 1) && oldest > 16,
        "one of their own is evicted"
    );
    let count = |standing| table.in_stage(Stage::Greeted, standing).count();
    assert_eq!((count(Standing::Known), count(Standing::Unknown)), (12, 4));
}

#[test]
fn twenty_networks_of_one_ipv6_prefix_are_not_twenty_sources() {
    let bounds = Bounds { silent: 1_000, greeted: 1_000, ..BOUNDS };
    let mut table = Table::new(bounds);
    for network in 0..20 {
        for host in 0..10 {
            enters(&mut table, from(&format!("2001:db8:1:{network:x}00::{host:x}")), 0);
        }
    }
    assert_eq!(table.count(Stage::Silent), 16, "four times one source's bound for a /48");
    let mut table = Table::new(bounds);
    for network in 0..20 {
        enters(&mut table, from(&format!("2001:db8:1:1{network:02x}::1")), 0);
    }
    assert_eq!(table.count(Stage::Silent), 8, "twice for a /56");
    for host in 0..10 {
        enters(&mut table, from(&format!("2001:db8:2::{host:x}")), 0);
    }
    assert_eq!(table.count(Stage::Silent), 12, "a /64 beside them has its own bound");
    let mut table = Table::new(bounds);
    for last in 0..200 {
        enters(&mut table, from(&format!("192.0.2.{last}")), 0);
    }
    assert_eq!(table.count(Stage::Silent), 16, "an IPv4 /24");
}

#[test]
fn abandoned_logins_do_not_block_their_source() {
    let mut table = Table::new(BOUNDS);
    let held: Vec<u64> = (0..4)
        .map(|_| {
            let id = enters(&mut table, apart(0), 0).0;
            table.move_to(id, Stage::LoggingIn, Stamp(0)).unwrap();
            id
        })
        .collect();
    assert!(table.enter(apart(0), (), Stamp(1_999)).0.is_err(), "within the grace time");
    assert_eq!(enters(&mut table, apart(0), 2_000).1, [held[0]]);
}

#[test]
fn within_a_source_the_oldest_silent_connection_is_evicted_first() {
    let mut table = Table::new(BOUNDS);
    let source = from("192.0.2.1");
    let mine: Vec<u64> = (0..4).map(|_| enters(&mut table, source, 0).0).collect();
    greets(&mut table, mine[0], 0).unwrap();
    assert_eq!(enters(&mut table, source, 1).1, [mine[1]]);
    for id in [mine[2], mine[3], mine[3] + 1] {
        greets(&mut table, id, 1).unwrap();
    }
    assert_eq!(table.enter(source, (), Stamp(2)).0, Err(Full), "all within their grace time");
    assert_eq!(enters(&mut table, source, 1_000).1, [mine[0]], "after the grace time");
    // Neighbours neither count against a known source nor evict it.
    let mut table = Table::new(BOUNDS);
    let own = enters(&mut table, known("192.0.2.200"), 0).0;
    for last in 0..100 {
        assert!(!enters(&mut table, from(&format!("192.0.2.{last}")), 1).1.contains(&own));
    }
    assert_eq!(enters(&mut table, known("192.0.2.200"), 2).1, Vec::<u64>::new());
    assert!(table.leave(own).is_some());
}

#[test]
fn peers_without_a_source_compete_with_all() {
    let mut table = Table::new(BOUNDS);
    let everybody = Origin { source: None, standing: Standing::Unknown, penalised: false };
    for _ in 0..100 {
        enters(&mut table, everybody, 0);
    }
    assert_eq!(table.count(Stage::Silent), 12);
    assert!(table.by_prefix.is_empty());
}

#[test]
fn suspects_get_a_quarter_and_are_evicted_first() {
    let mut table = Table::new(BOUNDS);
    let suspects: Vec<u64> =
        (0..4).map(|net| enters(&mut table, suspect(&format!("192.0.{net}.1")), 0).0).collect();
    let (fifth, gone) = enters(&mut table, suspect("192.0.4.1"), 1);
    assert_eq!(gone, [suspects[0]], "a quarter of sixteen");
    let others: Vec<u64> = (0..8).map(|net| enters(&mut table, apart(net), 2).0).collect();
    for gone in [suspects[1], suspects[2], suspects[3], fifth] {
        assert_eq!(enters(&mut table, apart(gone + 100), 3).1, [gone], "the others stay");
    }
    assert_eq!(
        enters(&mut table, suspect("192.0.5.1"), 4).1,
        [others[0]],
        "a suspect still gets in"
    );
}

#[test]
fn a_suspect_is_evicted_within_its_grace_time_as_a_last_resort() {
    let mut table = Table::new(BOUNDS);
    let mut greeted = |origin, now| {
        let id = enters(&mut table, origin, now).0;
        (id, greets(&mut table, id, now))
    };
    let first = greeted(suspect("192.0.2.1"), 0).0;
    for number in 0..11 {
        greeted(apart(number), 0).1.unwrap();
    }
    assert_eq!(greeted(suspect("192.0.3.1"), 1).1, Err(Full), "all within their grace time");
    assert_eq!(greeted(apart(50), 1).1, Ok(vec![first]));
    assert_eq!(greeted(apart(51), 1).1, Err(Full));
}

#[test]
fn a_network_with_many_addresses_competes_with_itself() {
    let mut table = Table::new(BOUNDS);
    let mut greeted = |origin, now| {
        let id = enters(&mut table, origin, now).0;
        (id, greets(&mut table, id, now))
    };
    let member = greeted(from("203.0.113.1"), 0).0;
    let near: Vec<u64> =
        (1..=11).map(|last| greeted(from(&format!("192.0.2.{last}")), 1).0).collect();
    // The network has eleven of twelve places: a new connection from another one evicts its oldest
    // at once.
    assert_eq!(greeted(from("198.51.100.1"), 2).1, Ok(vec![near[0]]));
    assert_eq!(greeted(from("192.0.2.50"), 2).1, Err(Full), "another one of its own is refused");
    assert_eq!(greeted(from("192.0.2.50"), 1_001).1, Ok(vec![near[1]]), "and later evicts its own");
    assert!(greeted(from("203.0.113.1"), 1_002).1.is_ok_and(|gone| !gone.contains(&member)));
}

#[test]
fn penalised_connections_are_evicted_before_their_neighbours() {
    let mut table = Table::new(BOUNDS);
    let mut greeted = |origin, now| {
        let id = enters(&mut table, origin, now).0;
        (id, greets(&mut table, id, now))
    };
    let penalised = |last: u8| Origin { penalised: true, ..suspect(&format!("192.0.2.{last}")) };
    let held: Vec<u64> = (1..=4).map(|last| greeted(penalised(last), 0).0).collect();
    assert_eq!(greeted(penalised(5), 1).1, Err(Full), "within the grace time");
    assert_eq!(greeted(suspect("192.0.2.6"), 1).1, Ok(vec![held[0]]), "at once");
    assert_eq!(greeted(penalised(7), 999).1, Err(Full));
    assert_eq!(greeted(penalised(7), 1_000).1, Ok(vec![held[1]]), "and it stays");
}

/// A source's action, its standing, and the delay before it.
type Step = (u8, u8, Standing, u64);

/// Hostile actions of so many sources.
fn steps(sources: u8, whom: &'static [Standing]) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0..sources, 0u8..4, prop::sample::select(whom), 0u64..300), 1..200)
}

const UNAUTHENTICATED: &[Standing] = &[Standing::Unknown, Standing::Suspect];
const MEMBERS: &[Standing] = &[Standing::Known];
const ANYBODY: &[Standing] = &[Standing::Known, Standing::Unknown, Standing::Suspect];

/// Fills a table with the steps. Returns the time after them.
fn besiege(table: &mut Table<()>, steps: Vec<Step>, address: impl Fn(u8) -> String) -> u64 {
    let mut now = 0;
    for (number, what, standing, pause) in steps {
        now += pause;
        let origin = Origin { standing, ..from(&address(number)) };
        let (Ok(id), _) = table.enter(origin, (), Stamp(now)) else { continue };
        let stages = [Stage::Greeted, Stage::LoggingIn];
        for stage in stages.into_iter().take(what.into()) {
            let _ = table.move_to(id, stage, Stamp(now));
        }
    }
    now
}

/// Takes a connection through all stages at once.
fn comes_in(table: &mut Table<()>, origin: Origin, now: u64) -> Result<(), Full> {
    let id = table.enter(origin, (), Stamp(now)).0?;
    table.move_to(id, Stage::Greeted, Stamp(now))?;
    table.move_to(id, Stage::LoggingIn, Stamp(now))?;
    table.leave(id).map(drop).ok_or(Full)
}

proptest! {
    #[test]
    fn every_standing_gets_in_during_any_attack(
        members in steps(250, MEMBERS), others in steps(250, UNAUTHENTICATED),
        anybody in steps(250, ANYBODY),
    ) {
        let address = |number: u8| format!("10.{number}.0.1");
        let (fresh, home) = (from("203.0.113.1"), known("203.0.113.1"));
        // At once against hostile peers of other standings, otherwise after their grace time.
        let mut table = Table::new(BOUNDS);
        let now = besiege(&mut table, members, address);
        prop_assert_eq!(comes_in(&mut table, fresh, now), Ok(()), "hostile members");
        prop_assert_eq!(comes_in(&mut table, home, now + 2_000), Ok(()), "among members");
        let mut table = Table::new(BOUNDS);
        let now = besiege(&mut table, others, address);
        prop_assert_eq!(comes_in(&mut table, home, now), Ok(()), "hostile connections");
        for origin in [fresh, home] {
            let mut table = Table::new(BOUNDS);
            let now = besiege(&mut table, anybody.clone(), address);
            prop_assert_eq!(comes_in(&mut table, origin, now + 2_000), Ok(()));
        }
    }

    #[test]
    fn a_known_peer_gets_in_at_once_against_few_hostile_known_peers(steps in steps(4, ANYBODY)) {
        let mut table = Table::new(Bounds { logging_in: 16, per_source: 100, ..BOUNDS });
        let now = besiege(&mut table, steps, |number| format!("10.{number}.0.1"));
        prop_assert_eq!(comes_in(&mut table, known("203.0.113.1"), now), Ok(()));
    }

    #[test]
    fn a_peer_from_another_network_gets_in_against_five_networks(
        steps in steps(250, UNAUTHENTICATED),
    ) {
        for address in [
            |number: u8| format!("192.0.{}.{number}", number % 5),
            |number: u8| format!("2001:db8:{}:{number:x}00::1", number % 5),
        ] {
            let mut table = Table::new(BOUNDS);
            let now = besiege(&mut table, steps.clone(), address);
            prop_assert_eq!(comes_in(&mut table, from("203.0.113.1"), now), Ok(()));
        }
    }

    #[test]
    fn a_peer_from_the_same_network_gets_its_share(
        few in steps(3, UNAUTHENTICATED), all in steps(250, UNAUTHENTICATED),
    ) {
        let address = |number: u8| format!("2001:db8:1:{number:x}00::1");
        let member = suspect("2001:db8:1:ff00::1");
        // At once if few sources hold the places, otherwise after their grace time.
        let mut table = Table::new(Bounds { logging_in: 16, ..BOUNDS });
        let now = besiege(&mut table, few, address);
        prop_assert_eq!(comes_in(&mut table, member, now), Ok(()));
        let mut table = Table::new(BOUNDS);
        let now = besiege(&mut table, all, address);
        prop_assert_eq!(comes_in(&mut table, member, now + 2_000), Ok(()));
    }

    #[test]
    fn no_bound_is_exceeded_and_counters_return_to_zero(
        steps in prop::collection::vec((any::<u8>(), 0u8..8, 0usize..3, 0u64..700), 1..400),
    ) {
        let mut table = Table::new(BOUNDS);
        let (mut now, mut all) = (0, Vec::new());
        for (number, what, standing, pause) in steps {
            now += pause;
            let standing = [Standing::Suspect, Standing::Unknown, Standing::Known][standing];
            let origin = Origin { standing, ..from(&format!("192.0.{}.{number}", number & 3)) };
            match what {
                0..4 => all.extend(table.enter(origin, (), Stamp(now)).0),
                4 => {
                    all.get(usize::from(number)).and_then(|id| table.leave(*id));
                }
                _ => {
                    let stage = if what == 5 { Stage::Greeted } else { Stage::LoggingIn };
                    let id = all.get(usize::from(number)).copied().unwrap_or(u64::MAX);
                    let _ = table.move_to(id, stage, Stamp(now));
                }
            }
            for stage in [Stage::Silent, Stage::Greeted, Stage::LoggingIn] {
                prop_assert!(table.count(stage) <= BOUNDS.of(stage));
            }
            let counted: usize = table.held.values().map(|held| prefixes(held.origin).count()).sum();
            prop_assert_eq!(table.by_prefix.values().sum::<usize>(), counted);
        }
        for id in all {
            table.leave(id);
        }
        prop_assert!(table.held.is_empty() && table.by_prefix.is_empty());
    }
}
