//! The floors inside a folder, and the circles of imports.

use super::graph::Graph;

/// Of each folder that has rooms the floor of each: a room uses lower ones and itself. `mod` is the
/// folder's own file.
const ROOMS: &[(&str, &[(&str, u8)])] = &[
    (
        "server",
        &[
            ("mod", 9),
            ("session", 8),
            ("upkeep", 7),
            ("operator", 7),
            ("metrics", 7),
            ("authentication", 7),
            ("context", 6),
            ("accounts", 5),
            ("passwords", 4),
            ("web", 4),
            ("ledger_jobs", 4),
            ("storage", 4),
            ("access", 3),
            ("files", 3),
            ("commit", 3),
            ("readers", 3),
            ("admission", 3),
            ("hub", 2),
            ("session_tickets", 2),
            ("decisions", 2),
            ("records", 2),
            ("delivery", 1),
            ("observe", 1),
            ("backlog", 0),
            ("clock_guard", 0),
            ("disk_guard", 0),
            ("liveness", 0),
            ("overrides", 0),
            ("stop", 0),
        ],
    ),
    (
        "client",
        &[
            ("mod", 10),
            ("core", 10),
            ("runtime", 9),
            ("desk", 8),
            ("restored", 7),
            ("wasm", 0),
            ("addresses", 0),
            ("ui", 7),
            ("connection", 6),
            ("invited", 5),
            ("model", 4),
            ("storage", 2),
            ("trust", 7),
            ("clock_watch", 0),
            ("input", 3),
            ("prompt", 0),
            ("outbox", 0),
            ("password_file", 0),
            ("conversations", 0),
            ("files", 0),
            ("mistyped", 3),
            ("slash", 2),
            ("ticket", 0),
            ("transfer", 1),
        ],
    ),
    (
        "e2e",
        &[
            ("mod", 7),
            ("key_sync", 6),
            ("outgoing", 6),
            ("incoming", 6),
            ("opening", 5),
            ("sealing", 5),
            ("maintenance", 5),
            ("device_keys", 4),
            ("search", 4),
            ("key_requests", 3),
            ("persistence", 3),
            ("search_log", 3),
            ("trust_file", 3),
            ("history_check", 2),
            ("key_compare", 2),
            ("output", 2),
            ("storage", 2),
            ("changes", 1),
            ("channels", 1),
            ("clock", 0),
            ("message_ids", 1),
            ("replay_requests", 1),
            ("pending", 1),
            ("search_index", 1),
            ("sequence", 1),
            ("tombstones", 0),
            ("shares", 0),
            ("trust", 1),
            ("verified", 0),
            ("violation", 1),
        ],
    ),
    (
        "ledger",
        &[
            ("split", 5),
            ("sqlite", 4),
            ("memory", 4),
            ("rules", 3),
            ("feed", 3),
            ("mod", 2),
            ("blobs", 1),
            ("error", 0),
            ("work", 0),
            ("pace", 0),
        ],
    ),
];

/// Arrows between rooms that are not cut yet. It only gets shorter.
const ARROWS: &[(&str, &str)] = &[];

/// Circles that are not cut yet. It only gets shorter.
const CIRCLES: &[&[&str]] = &[];

/// The room of a file in a folder with rooms.
fn room<'a>(folder: &str, file: &'a str) -> Option<&'a str> {
    let below = file.strip_prefix(folder)?;
    match below.strip_prefix("::") {
        Some(below) => below.split("::").next(),
        None => below.is_empty().then_some("mod"),
    }
}

/// Arrows that do not lead down.
fn climbing<'a>(graph: &'a Graph, rooms: &[(&str, &[(&str, u8)])]) -> Vec<(&'a str, &'a str)> {
    let climbs = |from: &str, to: &str| {
        rooms.iter().any(|(folder, floors)| {
            let floor = |name: &str| {
                let found = floors.iter().find(|(room, _)| *room == name);
                found.unwrap_or_else(|| panic!("{folder}::{name} has no floor")).1
            };
            match (room(folder, from), room(folder, to)) {
                (Some(from), Some(to)) => from != to && floor(to) >= floor(from),
                _ => false,
            }
        })
    };
    graph.arrows().filter(|(from, to)| climbs(from, to)).collect()
}

/// What is found is what is listed: nothing new, and nothing that is mended.
fn assert_same<T: Ord + std::fmt::Debug>(mut found: Vec<T>, mut listed: Vec<T>, what: &str) {
    found.sort();
    listed.sort();
    assert_eq!(found, listed, "{what}: those found are left, those listed right");
}

#[test]
fn arrows_between_rooms_lead_down() {
    assert_same(climbing(&Graph::of_the_crate(), ROOMS), ARROWS.to_vec(), "arrows");
}

#[test]
fn no_imports_go_in_a_circle() {
    let graph = Graph::of_the_crate();
    let listed = CIRCLES.iter().map(|circle| circle.to_vec()).collect();
    assert_same(graph.circles(), listed, "circles");
}

#[test]
fn an_arrow_that_leads_up_is_noticed() {
    const TWO: &[(&str, &[(&str, u8)])] =
        &[("server", &[("mod", 3), ("session", 2), ("hub", 1), ("tail", 1)])];
    let up = |hub: &str| {
        let files = [
            ("server/mod.rs", "use hub::Hub;\npub use session::Session;"),
            ("server/session.rs", "use super::hub::Hub;\npub struct Session;"),
            ("server/session/answers.rs", "use super::Session;"),
            ("server/hub/mod.rs", hub),
            ("server/hub/queue.rs", "use super::Hub;"),
            ("server/tail.rs", ""),
        ];
        let graph = Graph::new(files);
        climbing(&graph, TWO).iter().map(|(_, to)| (*to).to_owned()).collect::<Vec<_>>()
    };
    for text in [
        "use super::session::Session;",
        "use crate::server::session;",
        "use crate::server::{session::{Session}};",
        "use crate::server::Session;",
        "fn f() { super::session::g() }",
    ] {
        assert_eq!(up(text), ["server::session"], "{text}");
    }
    assert_eq!(up("use crate::server::tail;"), ["server::tail"]);
    assert_eq!(up("use super::f;"), ["server"]);
    for text in ["use queue::x;", "// see super::session::Session", "use crate::chat::session;"] {
        assert!(up(text).is_empty(), "{text}");
    }
    let test = "pub struct Hub;\n#[cfg(test)]\nmod tests {\n    use crate::server::session;\n}\n";
    assert!(up(test).is_empty());
}

#[test]
fn a_circle_is_noticed() {
    let circles = |a: &str, b: &str, c: &str| {
        let files = [("x/a.rs", a), ("x/b.rs", b), ("y/c.rs", c), ("x/mod.rs", "pub use a::A;")];
        Graph::new(files).circles().iter().map(|circle| circle.join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(circles("use super::b::B;", "use super::a::A;", ""), ["x::a x::b"]);
    // A folder's own file and one file in it are one thing in two parts.
    assert!(circles("", "use super::f;", "use crate::x::b::B;").is_empty());
    assert_eq!(circles("use crate::y::c::C;", "", "use crate::x::a;"), ["x::a y::c"]);
    // What a folder passes on is its file's.
    assert_eq!(circles("use crate::y::c::C;", "", "use crate::x::A;"), ["x::a y::c"]);
    let three = circles("use super::b;", "use crate::y::c;", "use crate::x::a::{self, A};");
    assert_eq!(three, ["x::a x::b y::c"]);
    assert!(circles("use super::b;", "use crate::y::c;", "").is_empty());
}
