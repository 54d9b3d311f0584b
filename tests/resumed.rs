//! Logins by session tickets, on the real binary: their cost, and the changes that make a ticket
//! invalid.

mod world;

use std::cell::RefCell;
use std::fs;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Instant;

use pychat::crypto::handshake::ClientStart;
use pychat::crypto::session_ticket::{HeldTicket, SESSION_TICKET_BYTES};
use pychat::crypto::{Identity, PublicKey, RecordType};
use pychat::net::tunnel::{Dial, Incoming, Tunnel, dial_by};
use pychat::suite::Suites;
use pychat::wire::codec::Login;
use pychat::wire::record::RecordReader;
use serde_json::{Value, json};
#[cfg(target_os = "linux")]
use world::clocks::Clocks;
use world::peer::login;
use world::way::write_record;
use world::{DEADLINE, World};

/// The ticket and the secret of an event.
#[derive(Clone)]
struct Held(Vec<u8>, [u8; 32]);

impl Held {
    fn of(event: &Value) -> Held {
        let bytes = |name: &str| base64(event[name].as_str().unwrap());
        Held(bytes("ticket"), bytes("secret").try_into().unwrap())
    }

    fn with(&self, key: &Identity, server: &PublicKey) -> HeldTicket {
        let (own, server) = (key.public().fingerprint(), server.fingerprint());
        HeldTicket::new((&self.0, &self.1), server, own).unwrap()
    }
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD_NO_PAD.decode(text).unwrap()
}

/// The outcome of a login.
struct Visit {
    /// The server accepted the ticket, and did no RSA operation.
    resumed: bool,
    told: Vec<Value>,
    held: Option<Held>,
}

impl Visit {
    fn has(&self, kind: &str, code: Option<&str>) -> bool {
        let is = |event: &&Value| event["type"] == kind;
        self.told.iter().filter(is).any(|event| code.is_none_or(|code| event["code"] == code))
    }
}

fn key_of(world: &World, name: &str) -> Identity {
    let pem = fs::read_to_string(world.data_folder(name).join("id.pem")).unwrap();
    Identity::from_pem(&pem, None).unwrap()
}

/// Logs in, and gives the password if the server asks for it.
#[track_caller]
fn visits(world: &World, name: &str, held: Option<&Held>, password: &str) -> Visit {
    visits_with(world, &world.server_key(), (name, held), password)
}

#[track_caller]
fn visits_with(
    world: &World,
    server: &PublicKey,
    (name, held): (&str, Option<&Held>),
    password: &str,
) -> Visit {
    let key = key_of(world, name);
    let (resumed, rsa) = (world.counter("resumed_logins"), world.counter("rsa_operations"));
    let login = Login { features: vec!["session_ticket".into()], ..login(name) };
    let invite = world.parsed_invite();
    let (host, port, suites) = (invite.host.as_str(), invite.port, Suites::default());
    let to = Dial { host, port, server, suites, patience: DEADLINE };
    let ticket = RefCell::new(held.map(|held| held.with(&key, server)));
    let mut tunnel = dial_by(&to, &key, &login, &|| ticket.take()).unwrap();
    tunnel.reader.set_deadline(Instant::now() + DEADLINE).unwrap();
    let mut told: Vec<Value> = Vec::new();
    let ends = |event: &Value| event["type"] == "session_ticket" || event["type"] == "goodbye";
    while !told.iter().any(ends) {
        let before = told.len();
        match tunnel.reader.receive().unwrap() {
            Incoming::Record(RecordType::Json, body) => {
                let lines = std::str::from_utf8(body).unwrap().lines();
                told.extend(lines.map(|line| serde_json::from_str::<Value>(line).unwrap()));
            }
            Incoming::Record(..) => {}
            Incoming::Closed(reason) => panic!("closed: {reason:?} after {told:?}"),
        }
        if told[before..].iter().any(|event| event["type"] == "password") {
            let answer = json!({"type": "password", "password": password}).to_string();
            tunnel.writer.send(RecordType::Json, answer.as_bytes()).unwrap();
        }
    }
    tunnel.writer.close("quit");
    let resumed = world.counter("resumed_logins") - resumed;
    let rsa = world.counter("rsa_operations") - rsa;
    assert_eq!(resumed + rsa, 1, "{resumed} resumed, {rsa} RSA operations");
    let held = told.iter().find(|event| event["type"] == "session_ticket").map(Held::of);
    Visit { resumed: resumed == 1, told, held }
}

/// Waits for the next ticket of a session.
fn ticket_in(tunnel: &mut Tunnel) -> Held {
    loop {
        if let Incoming::Record(RecordType::Json, body) = tunnel.reader.receive().unwrap() {
            let events = std::str::from_utf8(body).unwrap().lines();
            let mut events = events.map(|line| serde_json::from_str::<Value>(line).unwrap());
            if let Some(event) = events.find(|event| event["type"] == "session_ticket") {
                return Held::of(&event);
            }
        }
    }
}

/// Logs in with the key, and returns the session and its first ticket.
fn session_of(world: &World, name: &str) -> (Tunnel, Held) {
    let (key, server, invite) = (key_of(world, name), world.server_key(), world.parsed_invite());
    let login = Login { features: vec!["session_ticket".into()], ..login(name) };
    let (host, port, suites) = (invite.host.as_str(), invite.port, Suites::default());
    let to = Dial { host, port, server: &server, suites, patience: DEADLINE };
    let mut tunnel = dial_by(&to, &key, &login, &|| None).unwrap();
    tunnel.reader.set_deadline(Instant::now() + DEADLINE).unwrap();
    let first = ticket_in(&mut tunnel);
    (tunnel, first)
}

/// Logs in with the key, and returns the ticket for the next login.
#[track_caller]
fn ticket_of(world: &World, name: &str) -> Held {
    let visit = visits(world, name, None, "tea for two");
    assert!(!visit.resumed);
    visit.held.unwrap()
}

fn passwd(world: &World, name: &str, password: &str) {
    use std::io::Write;
    let mut command: Command = world.program("operator");
    command.args(["users", "passwd", name, "--home"]).arg(world.home());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{password}").unwrap();
    assert!(child.wait().unwrap().success());
    world.server.forgets(&format!("{name} has a new password now"));
}

#[test]
fn a_client_comes_back_to_a_restarted_server_without_an_rsa_operation() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let (rsa, resumed) = (world.counter("rsa_operations"), world.counter("resumed_logins"));
    assert_eq!((rsa, resumed), (1, 0));
    let file = world.home().join("keys/tickets.key");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let mut world = world;
    for number in 0..2 {
        // The client has one ticket of each session.
        world = world.restarted();
        world.until("alice is back", || world.counter("sessions") == 1);
        let (rsa, resumed) = (world.counter("rsa_operations"), world.counter("resumed_logins"));
        assert_eq!((rsa, resumed), (0, 1), "restart {number}");
        alice.types(&format!("line {number}"));
        alice.sees(&format!("line {number}"));
    }
    // Without the ticket keys, the client logs in with its own key. The user sees no difference.
    let stopped = world.stopped();
    fs::remove_file(&file).unwrap();
    let world = stopped.started();
    world.until("alice is back", || world.counter("sessions") == 1);
    assert_eq!((world.counter("rsa_operations"), world.counter("resumed_logins")), (1, 0));
    alice.types("and again");
    alice.sees("and again");
    assert_eq!(alice.seen("wrong"), 0, "{:?}", alice.shown());
}

#[test]
fn a_ticket_that_is_not_whole_is_refused_and_the_key_decides() {
    let world = World::new();
    world.admit("alice");
    let held = ticket_of(&world, "alice");
    assert_eq!(held.0.len(), SESSION_TICKET_BYTES);
    let visit = visits(&world, "alice", Some(&held), "");
    assert!(visit.resumed && visit.has("welcome", None));
    let types: Vec<&str> = visit.told.iter().map(|one| one["type"].as_str().unwrap()).collect();
    // The visit ends with the record of the ticket.
    assert_eq!(types, ["welcome", "session_ticket", "entered"], "they come in one record");
    let next = visit.held.unwrap();
    assert!(next.0 != held.0 && next.1 != held.1, "each login has a ticket of its own");
    for at in [0, 31, 32, 100, SESSION_TICKET_BYTES - 1] {
        let mut bent = next.clone();
        bent.0[at] ^= 1;
        let visit = visits(&world, "alice", Some(&bent), "");
        assert!(!visit.resumed && visit.has("welcome", None), "byte {at}");
    }
    let zeros = Held(vec![0; SESSION_TICKET_BYTES], [0; 32]);
    assert!(!visits(&world, "alice", Some(&zeros), "").resumed);
    // A thief of the ticket without its secret.
    let stolen = Held(next.0.clone(), held.1);
    assert!(!visits(&world, "alice", Some(&stolen), "").resumed);
    assert!(visits(&world, "alice", Some(&next), "").resumed, "the control");
}

#[test]
fn a_replayed_login_by_ticket_is_met_with_silence() {
    let world = World::new();
    world.admit("alice");
    let (key, server) = (key_of(&world, "alice"), world.server_key());
    let held = ticket_of(&world, "alice").with(&key, &server);
    let greets = |stream: &TcpStream, t2: Option<&[u8]>| {
        let (start, r0) = ClientStart::new(&key, &server, Suites::default());
        write_record(stream, &r0).unwrap();
        let mut records = RecordReader::new(stream.try_clone().unwrap(), 2_048);
        let r1 = records.read().unwrap().unwrap().to_vec();
        let (_, made) = start.present(&r1, &held).unwrap();
        write_record(stream, t2.unwrap_or(&made)).unwrap();
        let answered = match records.read() {
            Ok(answer) => answer.is_some(),
            // The server may reset a connection whose bytes it has not read.
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                false
            }
        };
        (made, answered)
    };
    let connect = || {
        let stream = TcpStream::connect(&world.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    };
    let (recorded, answered) = greets(&connect(), None);
    assert!(answered, "T3");
    let short = &recorded[..recorded.len() - 1];
    for t2 in [&recorded[..], short, &vec![0; recorded.len()], &[0xff; 300]] {
        assert!(!greets(&connect(), Some(t2)).1, "silence for {} bytes", t2.len());
    }
    assert!(greets(&connect(), None).1, "the server still answers");
}

#[test]
fn who_is_removed_or_banned_gets_the_answer_of_a_login_with_the_key() {
    let world = World::new();
    world.admit("alice");
    world.admit("bob");
    let [alice, bob] = ["alice", "bob"].map(|name| ticket_of(&world, name));
    let (ok, told) = world.operator(&["ctl", "ban", "bob"]);
    assert!(ok, "{told}");
    let visit = visits(&world, "bob", Some(&bob), "");
    assert!(!visit.resumed && visit.has("goodbye", Some("banned")), "{:?}", visit.told);
    assert!(world.operator(&["ctl", "unban", "bob"]).0);
    assert!(world.operator(&["users", "remove", "alice"]).0);
    world.until("she is gone", || {
        let visit = visits(&world, "alice", Some(&alice), "");
        assert!(visit.has("goodbye", Some("not_admitted")) || visit.has("welcome", None));
        !visit.resumed && visit.has("goodbye", Some("not_admitted"))
    });
    assert!(visits(&world, "bob", Some(&bob), "").resumed, "the control");
}

#[test]
fn a_user_who_may_not_come_from_here_may_not_with_a_ticket_either() {
    let world = World::new();
    world.admit("alice");
    let held = ticket_of(&world, "alice");
    let settings = world.home().join("users/alice.json");
    fs::write(&settings, r#"{"deny": ["127.0.0.0/8"]}"#).unwrap();
    world.until("the settings hold", || {
        let visit = visits(&world, "alice", Some(&held), "");
        visit.resumed && visit.has("goodbye", Some("forbidden"))
    });
}

#[test]
fn a_ticket_replaces_no_password_and_ends_with_it() {
    let world = World::new();
    world.admit("alice");
    let before = ticket_of(&world, "alice");
    passwd(&world, "alice", "tea for two");
    let visit = visits(&world, "alice", Some(&before), "tea for two");
    assert!(!visit.resumed && visit.has("password", None) && visit.has("welcome", None));
    let held = visit.held.unwrap();
    let visit = visits(&world, "alice", Some(&held), "tea for two");
    assert!(visit.resumed && visit.has("password", None) && visit.has("welcome", None));
    // The server sends no ticket before the password.
    let position = |visit: &Visit, kind: &str| {
        visit.told.iter().position(|event| event["type"] == kind).unwrap()
    };
    assert!(position(&visit, "password") < position(&visit, "session_ticket"));
    let held = visit.held.unwrap();
    passwd(&world, "alice", "coffee for two");
    let visit = visits(&world, "alice", Some(&held), "coffee for two");
    assert!(!visit.resumed && visit.has("password", None) && visit.has("welcome", None));
}

#[test]
fn a_ticket_ends_with_the_servers_key_and_with_its_ledger() {
    let world = World::under("true", "{}");
    world.admit("alice");
    let held = ticket_of(&world, "alice");
    assert!(visits(&world, "alice", Some(&held), "").resumed, "the control");
    let world = world.stopped();
    fs::remove_file(world.home().join("data/ledger.db")).unwrap();
    let world = world.started_with_a_new_ledger();
    let visit = visits(&world, "alice", Some(&held), "");
    assert!(!visit.resumed && visit.has("welcome", None));
    let held = visit.held.unwrap();
    assert!(visits(&world, "alice", Some(&held), "").resumed, "the control");
    let old = world.server_key();
    let (ok, told) = world.operator(&["server-key", "rotate"]);
    assert!(ok, "{told}");
    world.server.is_told("the server's key is");
    let new = world.own_key().public().clone();
    for server in [&old, &new] {
        let visit = visits_with(&world, server, ("alice", Some(&held)), "");
        assert!(!visit.resumed && visit.has("welcome", None));
    }
}

#[test]
fn a_key_that_follows_another_has_tickets_of_its_own() {
    let world = World::new();
    world.admit("alice");
    world.admit("bob");
    let held = ticket_of(&world, "alice");
    assert!(world.operator(&["users", "remove", "alice"]).0);
    // Another key under the same name.
    let name = world.home().join("users/alice.pem");
    fs::write(name, key_of(&world, "bob").public().to_pem()).unwrap();
    assert!(world.operator(&["users", "remove", "bob"]).0);
    world.until("bob's key is alice's", || visits(&world, "bob", None, "").has("welcome", None));
    let visit = visits(&world, "alice", Some(&held), "");
    assert!(!visit.resumed && visit.has("goodbye", Some("not_admitted")), "{:?}", visit.told);
}

#[cfg(target_os = "linux")]
#[test]
fn a_ticket_expires_by_the_servers_clock() {
    let clocks = Clocks::new();
    let world = clocks.world("{}");
    world.admit("alice");
    let held = ticket_of(&world, "alice");
    clocks.set("server", 23.0 / 24.0);
    assert!(visits(&world, "alice", Some(&held), "").resumed, "after 23 hours");
    clocks.set("server", 25.0 / 24.0);
    let visit = visits(&world, "alice", Some(&held), "");
    assert!(!visit.resumed && visit.has("welcome", None), "after 25 hours");
}

#[cfg(target_os = "linux")]
#[test]
fn a_long_session_gets_another_ticket_before_the_first_one_expires() {
    let clocks = Clocks::new();
    let world = clocks.world("{}");
    world.admit("alice");
    let (mut tunnel, first) = session_of(&world, "alice");
    clocks.set("server", 13.0 / 24.0);
    tunnel.writer.send(RecordType::Ping, b"").unwrap();
    let second = ticket_in(&mut tunnel);
    assert!(second.0 != first.0);
    clocks.set("server", 25.0 / 24.0);
    assert!(!visits(&world, "alice", Some(&first), "").resumed);
    assert!(visits(&world, "alice", Some(&second), "").resumed);
}
