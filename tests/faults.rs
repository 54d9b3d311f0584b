//! Nothing lost, nothing twice, one order: on the real binary while links break and the server is
//! killed. The figures of docs/performance.md: `cargo test --release --test faults -- --ignored`.

mod world;

use std::collections::{HashMap, HashSet};

use pychat::chat::Seq;
use pychat::ledger::{Page, Reader, Sqlite};
use serde_json::Value;
use world::checker::{Fault, Run, ShownMessage, check};
use world::proxy::Proxy;
use world::{Program, World};

const LIMITS: &str = r#"{"messages_burst": 1000000, "messages_per_s": 1e9, "bytes_per_s": 1e12,
    "requests_per_s": 1e6, "answer_bytes_per_s": 1e12, "resume_messages_max": 1000000, "first_messages_max": 1000000,
    "announce_people_max": 0}"#;

/// Clients of people called p0, p1, ... and what they send.
struct Crowd {
    clients: Vec<Program>,
    writers: usize,
    sent: HashMap<String, String>,
    turns: Vec<Vec<String>>,
}

impl Crowd {
    fn enters(world: &World, address: &str, writers: usize, readers: usize) -> Crowd {
        let names: Vec<_> = (0..writers + readers).map(|number| format!("p{number}")).collect();
        names.iter().for_each(|name| world.admit(name));
        let client = |name: &String| world.client_by(name, address, &["--json"]);
        let clients: Vec<_> = names.iter().map(client).collect();
        Crowd { clients, writers, sent: HashMap::new(), turns: vec![Vec::new(); writers] }
    }

    /// Each writer says `lines` more.
    fn say(&mut self, lines: usize) {
        for _ in 0..lines {
            for writer in 0..self.writers {
                let number = self.sent.len();
                let (id, text) = (format!("{number:032x}"), format!("line {number} of p{writer}"));
                let say =
                    format!(r##"{{"type":"say","to":"#lobby","id":"{id}","text":"{text}"}}"##);
                self.clients[writer].types(&say);
                if number.is_multiple_of(5) {
                    // Said again, as by a program that did not hear the answer.
                    self.clients[writer].types(&say);
                }
                self.turns[writer].push(id.clone());
                self.sent.insert(id, text);
            }
        }
    }

    /// Waits until every client has shown every line.
    fn settles(&self) {
        for client in &self.clients {
            client.shows("everything", |lines| {
                let shown = lines.iter().filter(|line| line.contains(r#""type":"message""#));
                shown.count() >= self.sent.len()
            });
        }
        for writer in &self.clients[..self.writers] {
            let own = self.sent.len() / self.writers;
            writer.shows("every acknowledgement", |lines| {
                let acked = lines.iter().filter(|line| line.contains(r#""type":"ack""#));
                acked.count() >= own
            });
        }
    }

    fn run(mut self, world: World) -> Run {
        let mut run = Run { sent: self.sent, turns: self.turns, ..Run::default() };
        for client in &mut self.clients {
            client.types(r#"{"type":"quit"}"#);
            client.ends();
            let mut shown = Vec::new();
            for line in client.shown() {
                let Ok(object) = serde_json::from_str::<Value>(&line) else { continue };
                let field = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
                let seq = || field("seq").parse().unwrap();
                match object["type"].as_str() {
                    Some("message") => {
                        shown.push(ShownMessage {
                            seq: seq(),
                            id: field("id"),
                            text: field("text"),
                        });
                    }
                    Some("ack") => drop(run.acked.insert(field("id"), seq())),
                    Some("refused") => drop(run.refused.insert(field("id"))),
                    _ => {}
                }
            }
            run.shown.push(shown);
        }
        let world = world.stopped();
        let (ok, told) = world.operator(&["verify"]);
        assert!(ok, "{told}");
        let ledger = Sqlite::open(&world.home().join("data/ledger.db"), 0).unwrap();
        let page = Page { messages_max: usize::MAX >> 1, bytes_max: usize::MAX };
        let lobby = "#lobby".parse().unwrap();
        let lines = ledger.reader().read(&lobby, Seq(0), Seq(u64::MAX), page).unwrap();
        let line = |line: pychat::chat::Message| ShownMessage {
            seq: line.seq.0,
            id: line.id.to_string(),
            text: line.body.text().to_owned(),
        };
        run.stored = lines.into_iter().map(line).collect();
        run
    }
}

/// Lines by several writers while links break.
fn links_break(lines: usize, writers: usize, readers: usize, harms: i64) {
    let world = World::with(LIMITS);
    let proxy = Proxy::start(&world.address, 7, harms);
    let mut crowd = Crowd::enters(&world, &proxy.address, writers, readers);
    crowd.say(lines.div_ceil(writers));
    // A talk that is over before the links are through goes on until they are.
    while proxy.left() > 0 {
        crowd.say(20);
        crowd.settles();
    }
    crowd.settles();
    let run = crowd.run(world);
    assert_eq!(run.acked.len(), run.sent.len());
    assert_eq!(check(&run), []);
}

/// The server is killed while lines are on their way, again and again.
fn the_server_is_killed(kills: usize) {
    let mut world = World::with(LIMITS);
    let address = world.address.clone();
    let mut crowd = Crowd::enters(&world, &address, 4, 2);
    crowd.say(5);
    crowd.settles();
    for kill in 0..kills {
        let acked =
            |lines: &[String]| lines.iter().filter(|line| line.contains(r#""type":"ack""#)).count();
        let before = acked(&crowd.clients[0].shown());
        crowd.say(20);
        // In the middle of what it is storing.
        crowd.clients[0].shows("some more", |lines| acked(lines) >= before + 1 + kill % 12);
        world = world.killed();
    }
    crowd.settles();
    let run = crowd.run(world);
    assert_eq!(run.acked.len(), run.sent.len());
    assert_eq!(check(&run), []);
}

#[test]
fn two_hundred_broken_links_lose_double_and_reorder_nothing() {
    links_break(5_000, 16, 8, 200);
}

#[test]
fn twenty_kills_lose_nothing_that_was_acknowledged() {
    the_server_is_killed(20);
}

#[test]
#[ignore = "takes minutes: the figures of docs/performance.md"]
fn two_thousand_broken_links() {
    links_break(50_000, 16, 8, 2_000);
}

#[test]
#[ignore = "takes minutes: the figures of docs/performance.md"]
fn a_hundred_thousand_lines_have_one_order() {
    links_break(100_000, 16, 8, 0);
}

#[test]
#[ignore = "takes minutes: the figures of docs/performance.md"]
fn five_hundred_kills() {
    the_server_is_killed(500);
}

/// A run without a fault.
fn sound() -> Run {
    let line = |seq: u64| ShownMessage { seq, id: format!("id{seq}"), text: format!("text{seq}") };
    let lines: Vec<_> = (1..=5).map(line).collect();
    Run {
        sent: lines.iter().map(|line| (line.id.clone(), line.text.clone())).collect(),
        acked: lines.iter().map(|line| (line.id.clone(), line.seq)).collect(),
        refused: HashSet::new(),
        shown: vec![lines.clone(), lines.clone()],
        turns: vec![
            vec!["id1".into(), "id3".into()],
            vec!["id2".into(), "id4".into(), "id5".into()],
        ],
        stored: lines,
    }
}

#[test]
fn the_checker_finds_each_kind_of_fault() {
    assert_eq!(check(&sound()), []);
    let finds = |plant: &dyn Fn(&mut Run), fault: Fault| {
        let mut run = sound();
        plant(&mut run);
        let faults = check(&run);
        assert!(faults.contains(&fault), "{fault:?} is not in {faults:?}");
    };
    let id = |number: u64| format!("id{number}");
    finds(&|run| drop(run.stored.pop()), Fault::Lost(id(5)));
    finds(&|run| *run.acked.get_mut(&id(2)).unwrap() = 3, Fault::Lost(id(2)));
    finds(
        &|run| {
            let again = run.shown[1][1].clone();
            run.shown[1].push(again);
        },
        Fault::Duplicated(id(2)),
    );
    finds(&|run| run.shown[0].swap(2, 3), Fault::Reordered(3));
    finds(
        &|run| {
            let (one, other) = (run.shown[0][1].seq, run.shown[0][2].seq);
            run.shown[0].swap(1, 2);
            (run.shown[0][1].seq, run.shown[0][2].seq) = (one, other);
        },
        Fault::Diverging(2),
    );
    finds(&|run| drop(run.shown[1].remove(3)), Fault::Gapped(4));
    finds(&|run| drop(run.stored.remove(1)), Fault::Gapped(2));
    finds(&|run| drop(run.sent.remove(&id(4))), Fault::Phantom(id(4)));
    finds(&|run| run.turns[1].swap(1, 2), Fault::OutOfTurn(id(4)));
    finds(&|run| run.refused.extend([id(1)]), Fault::ShownAfterRefusal(id(1)));
}
