//! The server's own key is changed: clients that come in time go on, with what they had.

mod world;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use pychat::chat::{Event, Opaque};
use pychat::crypto::handshake::ServerHello;
use pychat::crypto::hello::Greeting;
use pychat::crypto::succession::{self, Whose};
use pychat::crypto::{Identity, RecordType};
use pychat::net::tunnel::{Incoming, TunnelReader, login_reader, write_record};
use pychat::suite::Suites;
use pychat::wire::codec;
use world::pty::Terminal;
use world::{DEADLINE, Program, World};

const TOLD: &str = "the server has a new key, signed by the one before: SHA256:";

fn rotates(world: &World) -> String {
    let (ok, told) = world.operator(&["server-key", "rotate"]);
    assert!(ok, "{told}");
    let print = told.lines().find(|line| line.starts_with("SHA256:")).unwrap().to_owned();
    world.server.is_told(&format!("the server's key is {print} now"));
    print
}

fn invite(world: &World) -> String {
    let (ok, told) = world.operator(&["invite"]);
    assert!(ok, "{told}");
    let line = told.lines().find(|line| line.starts_with("pychat://")).unwrap();
    let (_, prints) = line.strip_prefix("pychat://").unwrap().split_once('/').unwrap();
    format!("pychat://{}/{prints}", world.address)
}

fn servers(world: &World, person: &str) -> String {
    fs::read_to_string(world.vault(person).join("servers.json")).unwrap_or_default()
}

fn invited(world: &World, name: &str, invite: &str) -> Program {
    let mut command = world.program(name);
    command.args(["client", invite, "--name", name, "--plain"]);
    Program::start(command)
}

fn url(print: &str) -> String {
    print.trim_start_matches("SHA256:").replace('+', "-").replace('/', "_")
}

/// A server by another's hands that holds a key which clients know, lets carol in, says this, and stays.
fn says(stream: TcpStream, own: &Arc<Identity>, event: &Event) {
    let stream = Arc::new(stream);
    let mut records = login_reader(&stream, Instant::now() + DEADLINE);
    let r0 = records.read().unwrap().unwrap().to_vec();
    let Some(Greeting::Hello(hello)) = Greeting::read(&r0, [own]) else { panic!("not an R0") };
    let (hello, r1) = ServerHello::start(hello, Suites::default());
    write_record(&stream, &r1).unwrap();
    let (_, r3, mut transport) =
        hello.gate(records.read().unwrap().unwrap()).unwrap().finish().unwrap();
    write_record(&stream, &r3).unwrap();
    let mut reader = TunnelReader::new(records, transport.opener);
    assert!(matches!(reader.receive(), Ok(Incoming::Record(RecordType::Login, _))));
    reader.set_deadline(Instant::now() + DEADLINE);
    let welcome = Event::Welcome {
        name: "carol".parse().unwrap(),
        device: "main".parse().unwrap(),
        version: "1".into(),
        text_bytes_max: 9,
        motd: None,
    };
    for event in [&welcome, event] {
        let mut body = Vec::new();
        codec::encode(event, &mut body);
        let mut record = Vec::new();
        transport.sealer.seal(RecordType::Json, &body, &mut record).unwrap();
        write_record(&stream, &record).unwrap();
    }
    while matches!(reader.receive(), Ok(Incoming::Record(..))) {}
}

#[test]
fn a_key_that_the_pinned_one_has_not_signed_is_not_followed() {
    let world = World::new();
    drop(world.enters("carol"));
    let pem = fs::read_to_string(world.home().join("keys/server.pem")).unwrap();
    let (own, thief) = (Arc::new(Identity::from_pem(&pem, None).unwrap()), Identity::generate());
    let by = |old: &Identity, whose| succession::sign(old, whose, thief.public());
    // Signed by itself, for another purpose, and by nobody; and then as it should be.
    let forged = [by(&thief, Whose::Server), by(&own, Whose::Person), [0; 384]];
    for (signature, signed) in forged
        .into_iter()
        .map(|signature| (signature, false))
        .chain([(by(&own, Whose::Server), true)])
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let opaque = |bytes: &[u8]| Opaque::new(bytes).unwrap();
        let (key, signature) = (opaque(&thief.public().to_der()), opaque(&signature));
        let (event, own) = (Event::Successor { key, signature }, Arc::clone(&own));
        let serving = thread::spawn(move || says(listener.accept().unwrap().0, &own, &event));
        let carol = world.client_by("carol", &address, &["--plain"]);
        if signed {
            carol.sees(TOLD);
        } else {
            carol.sees("the server names another key, which the pinned one has not signed");
            assert_eq!(carol.seen(TOLD), 0);
        }
        let known = servers(&world, "carol").contains(&thief.public().fingerprint().to_url());
        assert_eq!(known, signed);
        drop(carol);
        serving.join().unwrap();
    }
}

#[test]
fn the_server_has_another_key_and_everybody_goes_on() {
    let world = World::new();
    world.admit("bob");
    drop(world.enters("carol"));
    let mut alice = world.enters("alice");
    alice.types("/join tea blue kettle 47");
    alice.sees("you are in #tea~");
    alice.types("before");
    alice.sees("You: before");
    let print = rotates(&world);
    alice.sees(&format!("the server has a new key, signed by the one before: {print}"));
    world.until("the new key is pinned", || servers(&world, "alice").contains(&url(&print)));
    for file in ["server.pem", "server.old.pem", "server.json"] {
        let about = fs::metadata(world.home().join("keys").join(file)).unwrap();
        assert_eq!(about.permissions().mode() & 0o777, 0o600, "{file}");
    }
    let (ok, told) = world.operator(&["server-key", "rotate"]);
    assert!(!ok && told.contains("the one before is accepted until"), "{told}");

    // Who was away, and comes with the invite of before.
    let carol = world.client("carol", &["--plain"]);
    carol.sees(&format!("the server has a new key, signed by the one before: {print}"));
    assert!(servers(&world, "carol").contains(&url(&print)));
    drop(carol);
    let carol = world.client("carol", &["--plain"]);
    carol.sees("you are in #lobby");
    assert_eq!(carol.seen(TOLD), 0, "told once");

    // The new invite is enough for everything, also for channels with a PIN that were there before.
    let line = invite(&world);
    assert!(line.contains(&url(&print)) && line.matches('/').count() == 4, "{line}");
    let mut bob = invited(&world, "bob", &line);
    bob.sees("you are in #lobby");
    bob.types("/join tea blue kettle 47");
    bob.sees("alice: before");
    bob.types("the same tea");
    alice.sees("bob: the same tea");

    // A start knows all that, and who is here comes back.
    let world = world.restarted();
    assert!(world.invite.contains(&url(&print)));
    alice.types("after");
    bob.sees("alice: after");
    let trail = fs::read_to_string(world.home().join("data/audit.jsonl")).unwrap();
    assert!(trail.contains("rotate server key"), "{trail}");
}

/// `pychat trust`: its exit code and what it says.
fn trust(world: &World, person: &str, invite: &str, args: &[&str]) -> (Option<i32>, String) {
    let ended = world.program(person).arg("trust").arg(invite).args(args).output().unwrap();
    (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
}

#[test]
fn a_genuine_invite_leads_to_the_genuine_server_whatever_another_one_claimed() {
    let (world, evil) = (World::new(), World::new().stopped());
    // The keys of all these worlds are the same ones.
    let pem = Identity::generate().to_pem(None);
    fs::write(evil.home().join("keys/server.pem"), &*pem).unwrap();
    let evil = evil.started();
    let (genuine, thiefs) = (invite(&world), invite(&evil));
    let [real, false_] =
        [&genuine, &thiefs].map(|line| line.rsplit('/').next().unwrap().to_owned());
    let lure = format!("{thiefs}/{real}");
    let mut alice = world.enters("alice");
    alice.types("/join tea blue kettle 47");
    alice.sees("you are in #tea~");
    alice.types("before");
    for (name, rotated) in [("bob", false), ("carol", true)] {
        world.admit(name);
        let lured = invited(&world, name, &lure);
        let told = lured.is_told("The server did not prove it");
        let shown = |print: &str| print.replace('-', "+").replace('_', "/");
        assert!(told.contains(&shown(&real)) && told.contains(&shown(&false_)), "{told}");
        world.until("it is kept", || servers(&world, name).contains(&false_));
        drop(lured);
        // The thief's server is another one, and nothing of the real one is in its name.
        assert!(!servers(&world, name).contains(&real));
        if rotated {
            rotates(&world);
        }
        let genuine = invite(&world);
        let mut member = invited(&world, name, &genuine);
        member.sees("you are in #lobby");
        member.types("/join tea blue kettle 47");
        member.sees("alice: before");
        member.types("/exit");
        member.ends();
        let (code, told) = trust(&world, name, &genuine, &["--yes"]);
        assert!(code == Some(0) && told.contains("is known by this key already"), "{told}");
        // The thief's server stays what it is, and the real one too.
        drop(invited(&world, name, &lure));
        let (code, told) = trust(&world, name, &genuine, &[]);
        assert!(code == Some(0) && told.contains("nothing was changed"), "{told}");
    }
}

#[test]
fn a_first_key_that_cannot_be_proven_now_is_not_guessed() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let [own, first] = [1, 2].map(|byte| pychat::crypto::Fingerprint([byte; 32]).to_url());
    let mut bob = invited(&world, "bob", &format!("pychat://{address}/{own}/{first}"));
    bob.is_told("cannot be asked which keys it had before");
    assert_eq!(bob.ends().code(), Some(4));
    assert!(!world.vault("bob").join("servers.json").exists());
}

#[test]
fn the_former_key_is_put_away_in_time_and_who_comes_later_is_told_what_to_do() {
    let world = World::with("{\"key_overlap_s\": 4}");
    let mut bob = world.enters("bob");
    bob.types("/join tea blue kettle 47");
    bob.sees("you are in #tea~");
    drop(bob);
    let alice = world.enters("alice");
    let first = world.home().join("keys/server.old.pem");
    let print = rotates(&world);
    alice.sees(TOLD);
    world.server.is_told("the server's former key was put away");
    assert!(!first.exists() && world.home().join("keys/server.retired.pem").exists());

    let bob = world.client("bob", &["--plain"]);
    bob.sees("without an answer: it has another key than the pinned one");
    bob.sees("ask the operator for the current invite and give it to pychat trust");
    drop(bob);
    let line = invite(&world);
    let mut bob = invited(&world, "bob", &line);
    bob.is_told("is known by another key");
    bob.is_told("if it did: pychat trust and this invite");
    assert_eq!(bob.ends().code(), Some(6));
    let trust = |args: &[&str]| trust(&world, "bob", &line, args);
    let pinned = servers(&world, "bob");
    let (code, told) = trust(&[]);
    assert!(code == Some(2) && told.contains("the key was not compared"), "{told}");
    assert_eq!(servers(&world, "bob"), pinned);
    // On a terminal it is asked for.
    let mut command = world.program("bob");
    command.arg("trust").arg(&line);
    let mut asked = Terminal::run(&command);
    asked.shows(&print);
    asked.shows("channels with a PIN stay the same");
    asked.shows("read you exactly this new key? [y/N]");
    asked.types("n\r");
    asked.shows("nothing was changed");
    assert_eq!(servers(&world, "bob"), pinned);
    let (code, told) = trust(&["--yes"]);
    assert!(code == Some(0) && told.contains("the new key is pinned"), "{told}");
    assert_eq!(trust(&["--yes"]).0, Some(0), "it is known");
    // The channel with its PIN is still there, and the invite of before leads to the same server.
    let bob = world.client("bob", &["--plain"]);
    bob.sees("you are in #tea~");
    drop(bob);

    // And once more, after a start, with time enough for whoever comes back.
    let limits = "{\"limits\": {\"key_overlap_s\": 600}}";
    fs::write(world.home().join("config.json"), limits).unwrap();
    let world = world.restarted();
    drop(alice);
    let again = rotates(&world);
    let alice = world.client("alice", &["--plain"]);
    alice.sees(&format!("signed by the one before: {again}"));
    assert_ne!(again, print);
}
