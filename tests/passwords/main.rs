//! Passwords as a second factor, on the real binary.

mod prompts;
mod tickets;
#[path = "../world/mod.rs"]
mod world;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pychat::chat::Ticket;
use pychat::crypto::RecordType;
use pychat::wire::codec::Login;
use serde_json::{Value, json};
use world::peer::{Peer, login};
use world::proxy::Proxy;
use world::pty::Terminal;
use world::{DEADLINE, Program, World};

const PASSWORD: &str = "tea for two";
/// The states of a program: a password is requested, it is connected, it is connected again.
const ASKED: &str = r#""type":"password""#;
const ENTERED: &str = r##""channel":"#lobby""##;
const BACK: &str = r#""text":"back""#;
const TOO_MANY: &str = "too many of your connections";

/// Sets a person's password; it comes by stdin.
fn passwd(world: &World, name: &str, password: &str) -> (bool, String) {
    let mut command = world.program("operator");
    command.args(["users", "passwd", name, "--home"]).arg(world.home());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{password}").unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        world.server.forgets(&format!("{name} has a new password now"));
    }
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

fn object(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

fn guesses(client: &mut Program, password: &str) {
    client.types(&json!({"type": "password", "password": password}).to_string());
}

/// A prompt of this age is replaced by a new one.
const OLD: Duration = Duration::from_secs(10);

/// Checks a condition on prompts that it opens. Repeats the check if it took longer than `OLD`:
/// the first prompt may have been replaced.
#[track_caller]
fn while_young(is: impl Fn() -> bool) {
    let began = Instant::now();
    while began.elapsed() < DEADLINE {
        let opened = Instant::now();
        let so = is();
        if opened.elapsed() < OLD {
            return assert!(so, "the condition does not hold within {:?}", opened.elapsed());
        }
    }
    panic!("this machine is too slow for the check");
}

/// Whether a client gets the refusal for too many prompts instead of a password prompt.
fn is_one_too_many(client: &Program) -> bool {
    let told = |lines: &[String], text: &str| lines.iter().any(|line| line.contains(text));
    client.shows("an answer", |lines| told(lines, TOO_MANY) || told(lines, ASKED));
    !told(&client.shown(), ASKED)
}

/// Copies bob's key, and none of his other files, to a thief's profile.
fn stolen_key(world: &World) {
    let (from, to) = (world.data_folder("bob"), world.data_folder("bob.thief"));
    fs::create_dir_all(&to).unwrap();
    for file in ["id.pem", "id.pub.pem"] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

/// Where a client stores its ticket, if it has one.
fn stored_ticket(world: &World, name: &str) -> Option<PathBuf> {
    let files = fs::read_dir(world.data_folder(name).join("servers")).ok()?;
    let mut paths = files.map(|file| file.unwrap().path());
    paths.find(|path| path.extension().is_some_and(|ending| ending == "ticket"))
}

/// Where bob's client stores its ticket.
fn ticket_file(world: &World) -> PathBuf {
    // It follows the welcome.
    world.until("the client stores a ticket", || stored_ticket(world, "bob").is_some());
    stored_ticket(world, "bob").expect("it stays there")
}

/// The tickets that the server stores, as text.
fn stored_tickets(world: &World) -> String {
    fs::read_to_string(world.home().join("data/tickets.json")).unwrap_or_default()
}

/// Logs in with a password, and disconnects. Returns the first `password` object.
fn comes_in(world: &World, name: &str, password: &str) -> Value {
    let mut bob = world.client(name, &["--json"]);
    let asked = object(&bob.sees(ASKED));
    guesses(&mut bob, password);
    bob.sees(ENTERED);
    // It follows the welcome.
    world.until("the client stores a ticket", || stored_ticket(world, name).is_some());
    bob.types(r#"{"type":"quit"}"#);
    assert!(bob.ends().success());
    assert_eq!(bob.seen("ticket"), 0, "the ticket is not printed for programs");
    asked
}

#[test]
fn who_has_a_password_is_asked_for_it_and_nobody_waits_meanwhile() {
    let world = World::new();
    let mut alice = world.enters("alice");
    world.admit("bob");
    let (ok, told) = passwd(&world, "bob", "short");
    assert!(!ok && told.contains("at least 8 characters"), "{told}");
    assert!(passwd(&world, "bob", PASSWORD).0);
    let silent = world.client("bob", &["--json"]);
    silent.sees(ASKED);
    let mut bob = world.client("bob", &["--json"]);
    bob.sees(ASKED);
    // The first prompt waits on; the second is answered, and others come and go.
    alice.types("meanwhile");
    alice.sees("You: meanwhile");
    let carol = world.enters("carol");
    drop(carol);
    assert_eq!(alice.seen("bob joined"), 0, "nobody is here before the password");
    guesses(&mut bob, PASSWORD);
    bob.sees(ENTERED);
    alice.sees("bob joined");
    bob.types(r##"{"type":"say","to":"#lobby","text":"hello"}"##);
    alice.sees("bob: hello");
    assert_eq!(silent.seen(ENTERED), 0);
    // What others see of it: nothing, on screens, in logs and on disk.
    assert_eq!(alice.seen(PASSWORD) + bob.seen(PASSWORD), 0);
    assert_eq!(world.found_in("home", PASSWORD), 0);
    assert_eq!(world.found_in("bob", PASSWORD), 0);
    assert!(!world.server.told().iter().any(|line| line.contains(PASSWORD)));
    // A dropped connection is taken up without asking again.
    bob.types(r#"{"type":"slash","line":"/reconnect"}"#);
    bob.sees(BACK);
    // And another password ends the session.
    assert!(passwd(&world, "bob", "coffee for two").0);
    bob.sees("your password was changed");
    bob.sees(r#""wrong":true"#);
    guesses(&mut bob, "coffee for two");
    bob.shows("in again", |lines| lines.iter().filter(|line| line.contains(BACK)).count() == 2);
    let (ok, _) = world.operator(&["users", "passwd", "bob", "--remove"]);
    assert!(ok);
    world.server.is_told("bob has no password now");
    assert!(world.client("bob", &["--send", "no password"]).ends().success());
}

#[test]
fn a_prompt_does_not_outlive_the_password_that_it_is_about() {
    let world = World::new();
    world.admit("bob");
    assert!(passwd(&world, "bob", PASSWORD).0);
    let mut bob = world.client("bob", &["--json"]);
    bob.sees(ASKED);
    assert!(passwd(&world, "bob", "coffee for two").0);
    guesses(&mut bob, PASSWORD);
    bob.sees("your password was changed: log in again");
    bob.sees(r#""wrong":true"#);
    assert_eq!(bob.seen(ENTERED), 0);
    guesses(&mut bob, "coffee for two");
    bob.sees(ENTERED);
    // One that is taken away while it is asked for is asked for no more.
    let mut other = world.client("bob", &["--json"]);
    other.sees(ASKED);
    assert!(world.operator(&["users", "passwd", "bob", "--remove"]).0);
    world.server.is_told("bob has no password now");
    guesses(&mut other, "whatever it was");
    other.sees(ENTERED);
}

#[test]
fn guesses_that_come_at_once_are_not_all_looked_at() {
    const AT_ONCE: usize = 10;
    let world = World::configured(r#"{"metrics": "127.0.0.1:0"}"#);
    world.admit("bob");
    assert!(passwd(&world, "bob", PASSWORD).0);
    let prompt = || {
        let client = world.client("bob", &["--json"]);
        client.sees("\"password\"");
        client
    };
    let mut clients: Vec<Program> = (0..AT_ONCE).map(|_| prompt()).collect();
    let began = Instant::now();
    clients.iter_mut().for_each(|client| guesses(client, "wrong guess"));
    // Refused for being wrong, or for coming too early.
    let refused = || {
        let page = world.metrics();
        let counts = page.lines().filter_map(|line| line.strip_prefix("pychat_refusals_total{"));
        counts.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum::<usize>()
    };
    world.until("each had its answer", || refused() >= AT_ONCE);
    world.server.is_told("a wrong password");
    let looked =
        world.server.told().iter().filter(|line| line.contains("a wrong password")).count();
    let (at_once, turns) = (2, 1 + began.elapsed().as_secs() as usize);
    assert!((1..=at_once * turns).contains(&looked), "{looked} in {turns} s");
}

#[test]
fn wrong_guesses_wait_ever_longer_and_the_connection_ends_after_three() {
    let world = World::new();
    world.admit("bob");
    passwd(&world, "bob", PASSWORD);
    let mut bob = world.client("bob", &["--json"]);
    let asked = object(&bob.sees("\"password\""));
    assert_eq!((&asked["wrong"], asked.get("retry_ms")), (&false.into(), None));
    let begun = Instant::now();
    guesses(&mut bob, "wrong guess");
    let asked = object(&bob.sees("\"wrong\":true"));
    // What is left of a second, after the guess was looked at.
    let wait = asked["retry_ms"].as_u64().unwrap_or(0);
    assert!(wait <= 1_000, "{wait}");
    // The right one comes too early, and is not looked at.
    guesses(&mut bob, PASSWORD);
    bob.sees("hello");
    let waited = begun.elapsed().as_millis() as u64;
    // The server counts in milliseconds.
    assert!(waited >= 990, "the client sends it again when its time has come: {waited} ms");
    bob.types(r#"{"type":"quit"}"#);
    bob.ends();

    let mut eve = world.client("bob", &["--json"]);
    eve.sees("\"password\"");
    for count in 1..=3 {
        guesses(&mut eve, "wrong guess");
        eve.shows("the answer to a guess", |lines| {
            let wrong = lines.iter().filter(|line| line.contains("\"wrong\":true")).count();
            wrong >= count || lines.iter().any(|line| line.contains("wrong password"))
        });
    }
    eve.sees("wrong password");
}

#[test]
fn a_thief_of_a_key_who_guesses_elsewhere_keeps_nobody_out_at_home() {
    let world = World::new();
    world.admit("bob");
    assert!(passwd(&world, "bob", PASSWORD).0);
    let enters_at_home = || {
        let mut bob = world.client("bob", &["--json"]);
        let asked = object(&bob.sees("\"password\""));
        assert_eq!(asked.get("retry_ms"), None, "nobody at home waits");
        guesses(&mut bob, PASSWORD);
        bob.sees("\"hello\"");
        let ticket = ticket_file(&world);
        bob.types(r#"{"type":"quit"}"#);
        bob.ends();
        // It is the address that counts, and no ticket.
        fs::remove_file(ticket).unwrap();
    };
    enters_at_home();
    stolen_key(&world);
    // Each guess comes from an address that was never seen.
    let prompt = |last: u8| {
        let proxy = Proxy::from_source(&world.address, [127, 0, 7, last]);
        let thief = world.client_by("bob.thief", &proxy.address, &["--json"]);
        let asked = object(&thief.sees("\"password\""));
        (thief, asked)
    };
    for last in 1..=9 {
        let (mut thief, _) = prompt(last);
        guesses(&mut thief, "wrong guess");
        thief.sees("\"wrong\":true");
    }
    // A fresh address waits. What it has to wait may be over before a slow machine asks.
    let waits = (10..20).find_map(|last| {
        let (mut thief, asked) = prompt(last);
        let wait = asked["retry_ms"].as_u64();
        if wait.is_none() {
            guesses(&mut thief, "wrong guess");
            thief.sees("\"wrong\":true");
        }
        wait
    });
    assert!(waits.is_some_and(|wait| (1..=7_000).contains(&wait)), "{waits:?}");
    enters_at_home();
}

#[test]
fn everybody_needs_one_where_the_operator_says_so() {
    let world = World::configured(r#"{"passwords": "all"}"#);
    world.admit("bob");
    let bob = world.client("bob", &["--plain"]);
    bob.sees("this server requires a password");
    drop(bob);
    passwd(&world, "bob", PASSWORD);
    let mut bob = world.client("bob", &["--json"]);
    bob.sees(ASKED);
    guesses(&mut bob, PASSWORD);
    bob.sees(ENTERED);
    let mut script = world.client("bob", &["--send", "hi"]);
    assert_eq!(script.ends().code(), Some(5));
    script.is_told("the server asks for a password");
}

#[test]
fn a_script_gives_its_password_by_a_file_or_a_pipe_and_never_by_a_line() {
    let world = World::new();
    let alice = world.enters("alice");
    world.admit("bob");
    assert!(passwd(&world, "bob", PASSWORD).0);
    // A line of a message is none, however it comes.
    let mut piped = world.client("bob", &["--plain"]);
    piped.types("by a line");
    piped.sees("=!= the server asks for a password, and a message line is never sent as one");
    piped.sees("-- unsent messages: 1; they will be sent the next time");
    assert_eq!(piped.ends().code(), Some(5));
    let file = world.home().join("password");
    let path = file.to_str().unwrap().to_owned();
    let client = |args: &[&str]| world.client("bob", &[args, &["--password-file", &path]].concat());
    let writes = |text: &str, mode: u32| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    };
    writes("tea for two\n", 0o640);
    let mut refused = client(&["--send", "hi"]);
    assert_eq!(refused.ends().code(), Some(3));
    refused.is_told("chmod 600");
    for (wrong, why) in
        [("\n", "it contains no password"), (&"x".repeat(1_025), "at most 1024 bytes")]
    {
        writes(wrong, 0o600);
        let mut refused = client(&["--send", "hi"]);
        assert_eq!(refused.ends().code(), Some(3));
        refused.is_told(why);
    }
    writes("coffee for two\n", 0o600);
    let mut refused = client(&["--send", "hi"]);
    refused.is_told("the server does not accept the given password");
    assert_eq!(refused.ends().code(), Some(5));
    writes("tea for two\nand more\n", 0o600);
    assert!(client(&["--send", "by a file"]).ends().success());
    alice.sees("bob: by a file");
    let mut plain = client(&["--plain"]);
    plain.sees("you are in #lobby");
    alice.sees("bob: by a line");
    plain.types("by a pipe");
    alice.sees("bob: by a pipe");
    drop(plain);
    // A descriptor, which no file holds.
    let mut shell = world.program("bob");
    let script = format!("exec \"$@\" --password-file /dev/fd/3 3<<END\n{PASSWORD}\nEND\n");
    let binary = shell.get_program().to_owned();
    let env: Vec<_> =
        shell.get_envs().map(|(key, value)| (key.to_owned(), value.unwrap().to_owned())).collect();
    shell = Command::new("sh");
    shell.args(["-c", &script, "sh"]).arg(binary).envs(env);
    shell.args(["client", &world.invite, "--name", "bob", "--send", "by a descriptor"]);
    assert!(shell.status().unwrap().success());
    alice.sees("bob: by a descriptor");
    // All at once, in the order in which a script writes it.
    let mut json = world.client("bob", &["--json"]);
    guesses(&mut json, PASSWORD);
    json.types(r##"{"type":"say","to":"#lobby","text":"by an object"}"##);
    alice.sees("bob: by an object");
    assert_eq!(alice.seen(PASSWORD), 0);
}
