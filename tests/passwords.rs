//! Passwords as a second factor, on the real binary.

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
/// What a program is told: a password is wanted, it is in, it is in again.
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
fn who_does_not_answer_is_gone_in_time_and_few_may_be_asked_at_once() {
    let world = World::with(r#"{"password_s_max": 3600, "sessions_per_user_max": 2}"#);
    world.admit("bob");
    passwd(&world, "bob", PASSWORD);
    while_young(|| {
        let prompts = [(); 2].map(|()| world.client("bob", &["--json"]));
        prompts.iter().for_each(|prompt| drop(prompt.sees(ASKED)));
        let more = world.client("bob", &["--json"]);
        is_one_too_many(&more)
    });
    world.reloads(r#"{"limits": {"password_s_max": 2}}"#);
    let slow = world.client("bob", &["--json"]);
    slow.sees("no password was sent");
}

/// A prompt that is as old as this yields to a new one.
const OLD: Duration = Duration::from_secs(10);

/// Whether it is so, of prompts that are opened meanwhile: again where that has taken so long that the
/// first of them yields.
#[track_caller]
fn while_young(is: impl Fn() -> bool) {
    let began = Instant::now();
    while began.elapsed() < DEADLINE {
        let opened = Instant::now();
        let so = is();
        if opened.elapsed() < OLD {
            return assert!(so, "it is not so within {:?}", opened.elapsed());
        }
    }
    panic!("this machine is too slow to tell");
}

/// Whether a client is told that there are too many prompts, and is not asked for a password.
fn is_one_too_many(client: &Program) -> bool {
    let told = |lines: &[String], text: &str| lines.iter().any(|line| line.contains(text));
    client.shows("an answer", |lines| told(lines, TOO_MANY) || told(lines, ASKED));
    !told(&client.shown(), ASKED)
}

#[test]
fn a_prompt_reads_few_records_and_few_bytes() {
    let world = World::new();
    world.admit("bob");
    assert!(passwd(&world, "bob", PASSWORD).0);
    let long = format!(r#"{{"type":"nothing","text":"{}"}}"#, "x".repeat(12_000));
    // What is sent, and how many of them may come before the connection ends.
    let records: [(RecordType, &str, usize); 6] = [
        (RecordType::Ping, "x", 32),
        (RecordType::Pong, "", 32),
        (RecordType::Json, "", 32),
        (RecordType::Json, "nonsense", 32),
        (RecordType::Other(200), "x", 32),
        (RecordType::Json, &long, 1),
    ];
    for (kind, body, allowed) in records {
        let mut bob = Peer::knocks(&world, "bob", "main");
        bob.sees("\"password\"");
        for _ in 0..allowed {
            bob.writer.send(kind, body.as_bytes()).unwrap();
        }
        // One more may be cut off while it is sent.
        let _ = bob.writer.send(kind, body.as_bytes());
        let told = bob.sees("too much data before the password");
        assert!(told.contains("\"goodbye\""), "{told}");
        // One less leaves room for the password.
        let mut bob = Peer::knocks(&world, "bob", "main");
        bob.sees("\"password\"");
        for _ in 1..allowed {
            bob.writer.send(kind, body.as_bytes()).unwrap();
        }
        bob.sends(&json!({"type": "password", "password": PASSWORD}).to_string());
        bob.sees("\"entered\"");
    }
}

#[test]
fn prompts_that_a_thief_of_the_key_opens_elsewhere_keep_the_owner_out_nowhere() {
    let world = World::with(r#"{"sessions_per_user_max": 3}"#);
    world.admit("bob");
    assert!(passwd(&world, "bob", PASSWORD).0);
    let elsewhere = Proxy::from_source(&world.address, [127, 0, 7, 1]);
    let prompt = || world.client_by("bob", &elsewhere.address, &["--json"]);
    while_young(|| {
        let prompts = [(); 3].map(|()| prompt());
        prompts.iter().for_each(|thief| drop(thief.sees(ASKED)));
        let refused = prompt();
        let one_too_many = is_one_too_many(&refused);
        let mut bob = world.client("bob", &["--json"]);
        bob.sees(ASKED);
        guesses(&mut bob, PASSWORD);
        bob.sees(ENTERED);
        one_too_many && prompts.iter().all(|thief| thief.seen("too many") == 0)
    });
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

#[test]
fn prompts_that_a_thief_of_the_key_opens_at_the_same_address_leave_the_owner_a_place() {
    let world = World::with(r#"{"sessions_per_user_max": 2}"#);
    world.admit("bob");
    assert!(passwd(&world, "bob", PASSWORD).0);
    // As behind a proxy, everybody has one address. The thief's clients come back by themselves.
    let thieves = [(); 2].map(|()| world.client("bob", &["--json"]));
    thieves.iter().for_each(|thief| drop(thief.sees("\"password\"")));
    let mut bob = world.client("bob", &["--json"]);
    bob.sees("\"password\"");
    guesses(&mut bob, PASSWORD);
    bob.sees("\"hello\"");
}

#[test]
fn stars_stand_for_what_is_typed_and_it_is_not_kept() {
    let world = World::new();
    world.admit("bob");
    passwd(&world, "bob", PASSWORD);
    let mut client = world.program("bob");
    client.args(["client", &world.invite, "--name", "bob", "--plain"]);
    let mut bob = Terminal::run(&client);
    bob.shows("type your password and Enter");
    bob.types(PASSWORD);
    bob.shows(&"*".repeat(PASSWORD.len()));
    bob.types("\r");
    bob.shows("you are in #lobby");
    bob.types("\x1b[A");
    bob.types("visible\r");
    bob.shows("> visible");
    assert!(!bob.bytes().contains("tea"), "{}", bob.bytes());
    assert!(!bob.screen().contains(PASSWORD), "{}", bob.screen());
}

#[test]
fn the_full_screen_hides_it_too() {
    let world = World::new();
    world.admit("bob");
    passwd(&world, "bob", PASSWORD);
    let mut client = world.program("bob");
    client.args(["client", &world.invite, "--name", "bob"]);
    let mut bob = Terminal::run(&client);
    bob.shows_row(|row| row.starts_with("password> "));
    bob.types(PASSWORD);
    bob.shows(&format!("password> {}", "*".repeat(PASSWORD.len())));
    bob.types("\r");
    bob.shows("* connected");
    bob.types("\x1b[A");
    bob.types("visible\r");
    bob.shows("You: visible");
    assert!(!bob.bytes().contains("tea for"), "{}", bob.bytes());
}

/// Somebody has stolen bob's key, and nothing else of his.
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

/// Bob's client comes in by his password, and leaves. What it was asked at first.
fn comes_in(world: &World, name: &str, password: &str) -> Value {
    let mut bob = world.client(name, &["--json"]);
    let asked = object(&bob.sees(ASKED));
    guesses(&mut bob, password);
    bob.sees(ENTERED);
    // It follows the welcome.
    world.until("the client stores a ticket", || stored_ticket(world, name).is_some());
    bob.types(r#"{"type":"quit"}"#);
    assert!(bob.ends().success());
    assert_eq!(bob.seen("ticket"), 0, "it is nothing for a program");
    asked
}

#[test]
fn a_device_that_knew_the_password_waits_for_no_thief_of_its_key_at_its_own_address() {
    // Everybody has one address, as behind a proxy or an onion service.
    let world = World::with(r#"{"sessions_per_user_max": 3}"#);
    world.admit("bob");
    assert!(passwd(&world, "bob", PASSWORD).0);
    comes_in(&world, "bob", PASSWORD);
    let kept = ticket_file(&world);
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    // The thief has as many prompts as an address may have, and guesses at each.
    stolen_key(&world);
    let thieves = || {
        let thief = [(); 3].map(|()| world.client("bob.thief", &["--json"]));
        thief.iter().for_each(|prompt| drop(prompt.sees(ASKED)));
        thief
    };
    while_young(|| {
        let mut thief = thieves();
        for _ in 0..2 {
            thief.iter_mut().for_each(|prompt| guesses(prompt, "wrong guess"));
            world.until("a guess was looked at", || {
                thief.iter().any(|prompt| prompt.seen("\"wrong\":true") > 0)
            });
        }
        let more = world.client("bob.thief", &["--json"]);
        let one_too_many = is_one_too_many(&more);
        let asked = comes_in(&world, "bob", PASSWORD);
        assert_eq!(asked.get("retry_ms"), None, "nobody makes it wait");
        let each_has_its_own_places = thief.iter().all(|prompt| prompt.seen("too many") == 0);
        one_too_many && each_has_its_own_places
    });
    // The password is needed all the same.
    let mut wrong = world.client("bob", &["--json"]);
    wrong.sees(ASKED);
    guesses(&mut wrong, "wrong guess");
    wrong.sees("\"wrong\":true");
    drop(wrong);
    // It is the ticket: without it bob is one of those who come from this address.
    fs::remove_file(&kept).unwrap();
    while_young(|| {
        let _thief = thieves();
        let without = world.client("bob", &["--json"]);
        is_one_too_many(&without)
    });
}

#[test]
fn a_ticket_counts_until_the_password_or_the_key_is_another_one_or_its_owner_is_banned() {
    let world = World::new();
    world.admit("bob");
    assert!(passwd(&world, "bob", PASSWORD).0);
    let count = |world: &World| stored_tickets(world).matches("\"ticket\"").count();
    comes_in(&world, "bob", PASSWORD);
    comes_in(&world, "bob", PASSWORD);
    let world = world.restarted();
    assert_eq!(count(&world), 1, "it is renewed and not given again: {}", stored_tickets(&world));
    comes_in(&world, "bob", PASSWORD);
    let world = world.restarted();
    assert_eq!(count(&world), 1, "{}", stored_tickets(&world));
    // Another password.
    assert!(passwd(&world, "bob", "coffee for two").0);
    world.until("it is erased", || count(&world) == 0);
    comes_in(&world, "bob", "coffee for two");
    let world = world.restarted();
    assert_eq!(count(&world), 1);
    // A ban, also where it is lifted again.
    for word in ["ban", "unban"] {
        let (ok, told) = world.operator(&["ctl", word, "bob"]);
        assert!(ok, "{told}");
    }
    let world = world.restarted();
    assert_eq!(count(&world), 0, "{}", stored_tickets(&world));
    comes_in(&world, "bob", "coffee for two");
    let world = world.restarted();
    assert_eq!(count(&world), 1);
    assert!(world.operator(&["users", "remove", "bob"]).0);
    world.until("it is erased with its owner", || count(&world) == 0);
}

#[test]
fn a_ticket_is_given_for_a_password_only_to_devices_that_store_it() {
    let world = World::new();
    world.admit("bob");
    let login = |features: &[&str], ticket| Login {
        features: features.iter().map(|it| it.to_string()).collect(),
        ticket,
        ..login("bob")
    };
    let asks = |login: &Login, password: bool| {
        let mut peer = Peer::says(&world, "bob", login);
        if password {
            peer.sees("\"password\"");
            peer.sends(&json!({"type": "password", "password": PASSWORD}).to_string());
        }
        peer.sees("\"entered\"");
        let told = peer.asks(r#"{"type":"channels"}"#);
        let ticket = told.lines().map(object).find(|event| event["type"] == "ticket");
        peer.sends(r#"{"type":"quit"}"#);
        ticket.map(|event| event["ticket"].as_str().unwrap().to_owned())
    };
    assert_eq!(asks(&login(&["ticket"], None), false), None, "there is no password");
    assert!(passwd(&world, "bob", PASSWORD).0);
    assert_eq!(asks(&login(&["resume"], None), true), None);
    let one = asks(&login(&["ticket"], None), true).unwrap();
    let other = asks(&login(&["ticket"], None), true).unwrap();
    assert!(one != other && one.len() == 43);
    let ticket = |text: &str| Some(serde_json::from_value::<Ticket>(text.into()).unwrap());
    assert_eq!(asks(&login(&["ticket"], ticket(&one)), true), None, "it has one");
    let forged = asks(&login(&["ticket"], ticket(&"A".repeat(43))), true);
    assert!(forged.is_some(), "it has none");
    // The server stores none of them, and logs none.
    let world = world.stopped();
    for text in [&one, &other] {
        assert_eq!(world.found_in("home", text), 0);
        assert!(!world.server.told().iter().any(|line| line.contains(text.as_str())));
    }
}
