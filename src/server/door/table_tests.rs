//! Which connection goes when there are too many.

use super::*;
use proptest::prelude::*;

const BOUNDS: Bounds = Bounds { silent: 16, greeted: 16, logging_in: 8, per_source: 4 };

fn from(text: &str) -> Origin {
    Origin { source: Some(text.parse().unwrap()), preferred: false }
}

fn known(text: &str) -> Origin {
    Origin { preferred: true, ..from(text) }
}

/// An origin for each number, each in a network of its own.
fn apart(number: u64) -> Origin {
    from(&format!("10.{}.{}.1", number >> 8, number & 255))
}

fn ids(evicted: Vec<Held<()>>) -> Vec<u64> {
    evicted.into_iter().map(|held| held.id).collect()
}

/// Lets a connection in that must find room; gives its id and the ids of those that went.
#[track_caller]
fn enters(table: &mut Table<()>, origin: Origin, now: u64) -> (u64, Vec<u64>) {
    let (id, evicted) = table.enter(origin, (), Stamp(now));
    (id.expect("room"), ids(evicted))
}

fn greets(table: &mut Table<()>, id: u64, now: u64) -> Result<Vec<u64>, Full> {
    table.move_to(id, Stage::Greeted, Stamp(now)).map(ids)
}

#[test]
fn the_oldest_silent_connection_goes_and_never_the_newest() {
    let mut table = Table::new(BOUNDS);
    let first: Vec<u64> = (0..12).map(|number| enters(&mut table, apart(number), 0).0).collect();
    // The third shows that it knows the server.
    assert_eq!(greets(&mut table, first[2], 1), Ok(vec![]));
    assert_eq!(
        enters(&mut table, apart(50), 2).1,
        Vec::<u64>::new(),
        "its place among the silent is free"
    );
    for (number, gone) in [(100, 0), (101, 1), (102, 3), (103, 4)] {
        assert_eq!(enters(&mut table, apart(number), 3).1, [first[gone]]);
    }
    assert_eq!(table.count(Stage::Silent), 12, "a quarter is for those who were here before");
    assert_eq!(table.count(Stage::Greeted), 1);
    assert!(table.leave(first[0]).is_none(), "it is counted no more");
}

#[test]
fn a_flood_of_the_silent_touches_nobody_who_has_shown_a_hello() {
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
fn who_greets_and_says_no_more_makes_room_after_a_round_trips_time() {
    let mut table = Table::new(BOUNDS);
    let mut greeted = Vec::new();
    for number in 0..12 {
        let id = enters(&mut table, apart(number), 0).0;
        greets(&mut table, id, 0).unwrap();
        greeted.push(id);
    }
    let late = enters(&mut table, apart(100), 999).0;
    assert_eq!(greets(&mut table, late, 999), Err(Full), "they may be on their way");
    assert_eq!(greets(&mut table, late, 1_000), Ok(vec![greeted[0]]));
    assert_eq!(greets(&mut table, late, 1_000), Ok(vec![]), "it is there already");
    assert_eq!(greets(&mut table, greeted[0], 1_000), Err(Full), "it was closed");
}

#[test]
fn those_who_logged_in_lately_have_places_that_nobody_else_takes() {
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
    // Beyond that, the others go first, whatever they are about.
    assert_eq!(greeted(&mut table, known("192.0.9.1"), 0).1, Ok(vec![first]));
    for number in 10..21 {
        greeted(&mut table, known(&format!("192.0.{number}.1")), 0).1.unwrap();
    }
    assert_eq!(greeted(&mut table, known("192.0.99.1"), 0).1, Err(Full), "all are known");
    assert_eq!(greeted(&mut table, apart(200), 60_000).1, Err(Full), "and none of them goes");
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
    assert_eq!(table.count(Stage::Silent), 16, "four times one source's, of a /48");
    let mut table = Table::new(bounds);
    for network in 0..20 {
        enters(&mut table, from(&format!("2001:db8:1:1{network:02x}::1")), 0);
    }
    assert_eq!(table.count(Stage::Silent), 8, "twice, of a /56");
    for host in 0..10 {
        enters(&mut table, from(&format!("2001:db8:2::{host:x}")), 0);
    }
    assert_eq!(table.count(Stage::Silent), 12, "a /64 beside them has its own");
    let mut table = Table::new(bounds);
    for last in 0..200 {
        enters(&mut table, from(&format!("192.0.2.{last}")), 0);
    }
    assert_eq!(table.count(Stage::Silent), 16, "an IPv4 /24");
}

#[test]
fn logins_that_never_come_hold_no_source() {
    let mut table = Table::new(BOUNDS);
    let held: Vec<u64> = (0..4)
        .map(|_| {
            let id = enters(&mut table, apart(0), 0).0;
            table.move_to(id, Stage::LoggingIn, Stamp(0)).unwrap();
            id
        })
        .collect();
    assert!(table.enter(apart(0), (), Stamp(1_999)).0.is_err(), "they may be on their way");
    assert_eq!(enters(&mut table, apart(0), 2_000).1, [held[0]]);
}

#[test]
fn within_a_source_the_oldest_silent_connection_goes_and_who_is_on_the_way_stays() {
    let mut table = Table::new(BOUNDS);
    let source = from("192.0.2.1");
    let mine: Vec<u64> = (0..4).map(|_| enters(&mut table, source, 0).0).collect();
    greets(&mut table, mine[0], 0).unwrap();
    assert_eq!(enters(&mut table, source, 1).1, [mine[1]]);
    for id in [mine[2], mine[3], mine[3] + 1] {
        greets(&mut table, id, 1).unwrap();
    }
    assert_eq!(table.enter(source, (), Stamp(2)).0, Err(Full), "all have just said hello");
    assert_eq!(enters(&mut table, source, 1_000).1, [mine[0]], "but not for ever");
    // Neighbours do not count against a source that is known, nor is it closed for them.
    let mut table = Table::new(BOUNDS);
    let own = enters(&mut table, known("192.0.2.200"), 0).0;
    for last in 0..100 {
        assert!(!enters(&mut table, from(&format!("192.0.2.{last}")), 1).1.contains(&own));
    }
    assert_eq!(enters(&mut table, known("192.0.2.200"), 2).1, Vec::<u64>::new());
    assert!(table.leave(own).is_some());
}

#[test]
fn who_is_not_counted_by_source_has_its_place_among_all() {
    let mut table = Table::new(BOUNDS);
    let everybody = Origin { source: None, preferred: false };
    for _ in 0..100 {
        enters(&mut table, everybody, 0);
    }
    assert_eq!(table.count(Stage::Silent), 12);
    assert!(table.by_prefix.is_empty());
}

proptest! {
    #[test]
    fn no_bound_is_ever_exceeded_and_nothing_is_left_behind(
        steps in prop::collection::vec((any::<u8>(), 0u8..8, any::<bool>(), 0u64..700), 1..400),
    ) {
        let mut table = Table::new(BOUNDS);
        let (mut now, mut all) = (0, Vec::new());
        for (number, what, preferred, pause) in steps {
            now += pause;
            let origin = Origin { preferred, ..from(&format!("192.0.{}.{number}", number & 3)) };
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
