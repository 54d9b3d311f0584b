//! What goes wrong at the edges, each with what it says and how it ends, on the real binary.

mod world;

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use world::peer::Peer;
use world::{DEADLINE, Program, World};

/// Exit code and stderr of a server that is not to start.
fn server(home: &Path, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pychat"));
    command.args(["server", "--no-owner", "--home"]).arg(home).args(args);
    ended(command.env_remove("PYCHAT_LISTEN").env("HOME", home))
}

fn ended(command: &mut Command) -> (i32, String) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let pid = Pid::from_child(&child);
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(child.wait_with_output().unwrap()));
    let output = told.recv_timeout(DEADLINE).unwrap_or_else(|_| {
        kill_process(pid, Signal::KILL).unwrap();
        panic!("it did not end: {command:?}")
    });
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// A client that is given `input` and has to end by itself.
fn fed(world: &World, name: &str, args: &[&str], input: &[u8]) -> (i32, String) {
    let mut command = world.program(name);
    command.args(["client", &world.invite, "--name", name]).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = command.spawn().unwrap();
    client.stdin.take().unwrap().write_all(input).unwrap();
    let output = client.wait_with_output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(told).unwrap())
}

#[track_caller]
fn object(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn a_wrong_configuration_stops_the_start_with_its_place() {
    for (config, wanted) in [
        ("// a comment\n{}", "config.json: expected value at line 1"),
        ("// a comment\n{}", "hint:  JSON has no comments"),
        ("{\"server_port\": \"5000\"}", "server_port: invalid type: string \"5000\", expected u16"),
        ("{\"server_port\": 70000}", "server_port: invalid value: integer `70000`"),
        ("{\"server_ip\": \"localhost\"}", "server_ip: "),
        ("{\"limits\": {\"ping_s\": true}}", "limits.ping_s: invalid type"),
        ("{\"server_port\": 1, \"server_port\": 2}", "duplicate field `server_port`"),
        ("{\"server_prot\": 1}", "hint:  did you mean server_port?"),
        ("{\"limits\": {\"messages_brust\": 1}}", "hint:  did you mean messages_burst?"),
        ("{\"server_ip\": \"127.0", "EOF while parsing"),
        ("", "EOF while parsing"),
        ("{} {}", "trailing characters"),
        ("\u{feff}{", "EOF while parsing"),
    ] {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("config.json"), config).unwrap();
        let (code, told) = server(home.path(), &[]);
        assert_eq!(code, 3, "{config}: {told}");
        assert!(told.starts_with("error: ") && told.contains(wanted), "{config}: {told}");
        assert!(told.contains("\nhint:  ") && told.contains("config.json: "), "{config}: {told}");
        assert!(!home.path().join("keys").exists(), "nothing was made under a wrong config.json");
    }
}

#[test]
fn a_server_key_that_is_exposed_broken_or_no_file_is_refused() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("keys")).unwrap();
    let file = home.path().join("keys/server.pem");
    let identity = pychat::crypto::Identity::generate();
    let pem = identity.to_pem(None);
    let put = |text: &str, mode| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        server(home.path(), &["--listen", "127.0.0.1:0"])
    };
    let (code, told) = put(&pem, 0o644);
    assert_eq!(code, 3);
    assert!(
        told.contains("server.pem may be read by others (mode 644)\nhint:  chmod 600 "),
        "{told}"
    );
    for text in [&pem[..900], "", "no key"] {
        let (code, told) = put(text, 0o600);
        assert_eq!(code, 3, "{told}");
        assert!(told.contains("not an RSA key") && told.contains("\nhint:  restore "), "{told}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text, "the file was left alone");
    }
    let (code, told) = put(&identity.to_pem(Some("secret")), 0o600);
    assert_eq!(code, 3);
    assert!(told.contains("locked with a passphrase\nhint:  "), "{told}");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let (code, told) = server(home.path(), &["--listen", "127.0.0.1:0"]);
    assert_eq!(code, 3, "{told}");
    assert!(told.contains("server.pem: it is a folder\nhint:  "), "{told}");
}

#[test]
fn an_address_that_cannot_be_listened_on_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let home = tempfile::tempdir().unwrap();
    let (code, told) = server(home.path(), &["--listen", &address]);
    assert_eq!(code, 4, "{told}");
    assert!(told.contains(&format!("error: cannot listen on {address}")), "{told}");
    assert!(told.contains("hint:  another program listens there"), "{told}");
    let (code, told) = server(home.path(), &["--listen", "203.0.113.1:5000"]);
    assert_eq!(code, 4, "{told}");
    assert!(told.contains("hint:  choose another address"), "{told}");
    let (code, told) = server(home.path(), &["--listen", "5000"]);
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("127.0.0.1:5000"), "{told}");
}

#[test]
fn a_second_server_in_a_home_is_refused_by_name() {
    let world = World::new();
    // At another port, and at the very same.
    for listen in ["127.0.0.1:0", &world.address] {
        let (code, told) = server(&world.home(), &["--listen", listen]);
        assert_eq!(code, 4, "{told}");
        assert!(told.contains("error: a server runs in /"), "{told}");
        assert!(told.contains("hint:  pychat ctl shutdown stops it"), "{told}");
    }
    let mut alice = world.enters("alice");
    alice.types("the first one goes on");
    alice.sees("You: the first one goes on");
    let (code, told) =
        ended(world.program("operator").args(["ctl", "stats", "--home", "/nowhere"]));
    assert_eq!(code, 4);
    assert!(told.contains("error: no server runs in /nowhere\nhint:  "), "{told}");
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let listens = |file: &str, env: Option<&str>, flag: Option<&str>| {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("config.json"), file).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pychat"));
        // The home by its variable here, by its flag everywhere else.
        command.args(["server", "--no-owner"]).env("PYCHAT_HOME", home.path());
        command.env("HOME", home.path()).env_remove("PYCHAT_LISTEN");
        command.envs(env.map(|address| ("PYCHAT_LISTEN", address)));
        command.args(flag.into_iter().flat_map(|address| ["--listen", address]));
        let server = Program::start(command);
        let ready = server.sees("ready addr=");
        ready.split(['=', ':']).nth(1).unwrap().to_owned()
    };
    let file = r#"{"server_ip": "127.0.0.2", "server_port": 0}"#;
    let (env, flag) = ("127.0.0.3:0", "127.0.0.4:0");
    assert_eq!(listens(r#"{"server_port": 0}"#, None, None), "127.0.0.1");
    assert_eq!(listens(file, None, None), "127.0.0.2");
    assert_eq!(listens(file, Some(env), None), "127.0.0.3");
    assert_eq!(listens(file, Some(env), Some(flag)), "127.0.0.4");
}

#[test]
fn a_server_that_cannot_be_reached_ends_a_script_with_4() {
    let world = World::new();
    world.admit("bob");
    world.server.signal(Signal::TERM);
    world.server.is_told("info stopped");
    let (code, told) = fed(&world, "bob", &["--send", "hello"], b"");
    assert_eq!(code, 4, "{told}");
    assert!(told.contains("error: cannot connect") && told.contains("\nhint:  "), "{told}");
    let client = world.client("bob", &["--plain"]);
    client.sees("=!= cannot connect");
}

#[test]
fn another_server_than_the_pinned_one_ends_with_6_and_its_silence_with_4() {
    let world = World::new();
    world.admit("bob");
    assert_eq!(fed(&world, "bob", &["--send", "hello"], b"").0, 0);
    let (at, print) = world.invite.rsplit_once('/').unwrap();
    let other = pychat::crypto::Identity::generate().public().fingerprint();
    let invite = format!("{at}/{}", other.to_url());
    // The server was met before, under its own key.
    let (code, told) = ended(world.program("bob").args(["client", &invite, "--send", "hi"]));
    assert_eq!(code, 6, "{told}");
    for text in ["known by another key", &format!("invite  {other}"), "pinned  SHA256:", "hint:  "]
    {
        assert!(told.contains(text), "{told}");
    }
    // It was not, and holds another key than the invite says: it is silent to that.
    let (code, told) =
        ended(world.program("carol").args(["client", &invite, "--name", "carol", "--send", "hi"]));
    assert_eq!(code, 4, "{told}");
    for text in ["it has another key than the pinned one", "pychat trust", "nothing was sent"] {
        assert!(told.contains(text), "{told}");
    }
    // The invite was cut on its way.
    let cut = format!("{at}/{}", &print[..40]);
    let (code, told) = ended(world.program("dave").args(["client", &cut, "--name", "dave"]));
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("incomplete: 40 of 43 characters\nhint:  "), "{told}");
}

#[test]
fn a_server_of_another_major_ends_with_7() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let invite = world.invite.replace(&world.address, &listener.local_addr().unwrap().to_string());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 2]);
            let _ = stream.write_all(b"\0\x0aPYCHAT!2-3");
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    for face in [["--send", "hi"], ["--tail", "1"]] {
        let mut client = world.program("bob");
        client.args(["client", &invite, "--name", "bob"]).args(face);
        let output = client.stdin(Stdio::null()).output().unwrap();
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(7), "{told}");
        assert!(
            told.contains("the server speaks protocol 2-3, this client 1: update one"),
            "{told}"
        );
    }
}

#[test]
fn a_line_that_is_no_text_is_refused_and_the_others_are_sent() {
    let world = World::new();
    let alice = world.enters("alice");
    world.admit("bob");
    let (code, told) = fed(&world, "bob", &["--send"], b"before\nb\xff\xfed\nafter\n");
    assert_eq!(code, 8, "{told}");
    assert!(told.contains("error: a line is not UTF-8: nothing of it was sent"), "{told}");
    alice.sees("bob: before");
    alice.sees("bob: after");
    assert_eq!(alice.seen("\u{fffd}"), 0);
    assert_eq!(alice.seen("bob: b\u{fffd}"), 0);
}

#[test]
fn a_line_beyond_all_bounds_is_refused_whole_and_the_session_lives() {
    let world = World::new();
    let alice = world.enters("alice");
    let mut bob = world.enters("bob");
    bob.types(&"x".repeat(100_000));
    bob.sees("=!= not sent: a message may have 8192 bytes and this one has 100000: it was not");
    bob.types(&"y".repeat(3_000_000));
    bob.sees("=!= a line is longer than a megabyte: nothing of it was sent");
    bob.types(&format!("/topic {}", "z".repeat(100_000)));
    bob.sees("it was not sent; split it");
    bob.types("still here");
    alice.sees("bob: still here");
    assert_eq!(alice.seen("xx") + alice.seen("yy") + alice.seen("zz"), 0);
    assert_eq!(alice.seen("bob left"), 0);
    world.admit("carol");
    let (code, told) = fed(&world, "carol", &["--send", &"x".repeat(100_000)], b"");
    assert_eq!(code, 8, "{told}");
    assert!(told.contains("error: a message may have 8192 bytes"), "{told}");
}

#[test]
fn who_asks_through_a_pipe_gets_the_answer() {
    let world = World::new();
    world.admit("bob");
    let (code, told) = fed(&world, "bob", &["--json"], b"{\"type\":\"list\",\"ref\":\"1\"}\n");
    assert_eq!(code, 0, "{told}");
    let answer = told.lines().find(|line| line.contains("\"ref\":\"1\"")).expect("an answer");
    assert_eq!(object(answer)["people"], serde_json::json!(["bob"]));
    let (code, told) = fed(&world, "bob", &["--plain"], b"one\n/whois bob\n/history\n");
    assert_eq!(code, 0, "{told}");
    for text in ["You: one", "server| bob on main", "server| 1 message"] {
        assert!(told.contains(text), "{told}");
    }
}

#[test]
fn nothing_to_send_is_no_success() {
    let world = World::new();
    world.admit("bob");
    for text in ["", "  "] {
        let (code, told) = fed(&world, "bob", &["--send", text], b"");
        assert_eq!(code, 2, "{told}");
        assert!(told.contains("error: there is nothing to send\nhint:  "), "{told}");
    }
    let (code, told) = fed(&world, "carol", &["--send", "hi"], b"");
    assert_eq!(code, 5, "{told}");
    assert!(told.contains("error: your key is not admitted\nhint:  pychat key show"), "{told}");
}

#[test]
fn names_that_hide_something_are_refused() {
    let world = World::new();
    for name in ["al\u{200b}ice", "\u{202e}ecila", "al\u{ad}ice", "a\u{1b}[31m", "", "раypal"] {
        let mut client = world.program("bob");
        let (code, told) = ended(client.args(["client", &world.invite, "--name", name]));
        assert_eq!(code, 2, "{name:?}: {told}");
        assert!(told.contains("names "), "{told}");
        let (code, told) =
            ended(world.program("bob").args(["client", "--to", &format!("@{name}")]));
        assert_eq!(code, 2, "{told}");
        assert!(!told.contains(['\u{1b}', '\u{202e}', '\u{200b}']), "{told:?}");
    }
    let mut alice = world.enters("alice");
    alice.types("/join #te\u{200b}a");
    alice.sees("=!= ");
    alice.types("/channels");
    alice.sees("#lobby");
    assert_eq!(alice.seen("you are in #te"), 0);
}

/// A message has all its fields, and is confirmed.
fn is_confirmed(bob: &mut Program) {
    let id = "00112233445566778899aabbccddeeff";
    bob.types(&format!(r##"{{"type":"say","to":"#lobby","text":"hi","id":"{id}","new":1}}"##));
    let message = object(&bob.sees(r#""text":"hi""#));
    for (field, value) in [
        ("type", "message"),
        ("to", "#lobby"),
        ("from", "bob"),
        ("device", "main"),
        ("id", id),
        ("kind", "say"),
    ] {
        assert_eq!(message[field], value, "{message}");
    }
    assert_eq!(message["replay"], false);
    assert!(message["seq"].is_string());
    let time = message["time"].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    let ack = object(&bob.sees("\"ack\""));
    assert_eq!(
        (&ack["id"], &ack["to"], &ack["seq"]),
        (&id.into(), &"#lobby".into(), &message["seq"])
    );
}

/// A refusal names the message, and its reason.
fn refusals_name_the_message(bob: &mut Program) {
    bob.types(
        r##"{"type":"say","to":"@nobody","text":"hi","id":"0000000000000000000000000000000a"}"##,
    );
    let refused = object(&bob.sees("no_such_user"));
    assert_eq!((&refused["type"], refused["id"].as_str().unwrap().len()), (&"refused".into(), 32));
    assert!(refused["hint"].as_str().unwrap().contains("no user is called nobody"));
    let long = "x".repeat(100_000);
    bob.types(&format!(
        r##"{{"type":"say","to":"#lobby","text":"{long}","id":"{}"}}"##,
        "b".repeat(32)
    ));
    let refused = object(&bob.sees("too_long"));
    assert_eq!(refused["id"], "b".repeat(32));
}

/// An answer has the `ref` of its request.
fn answers_name_the_request(bob: &mut Program) {
    bob.types(r#"{"type":"list","ref":"q1"}"#);
    let people = object(&bob.sees(r#""ref":"q1""#));
    assert_eq!((&people["type"], &people["channel"]), (&"people".into(), &"#lobby".into()));
    assert_eq!(people["people"], serde_json::json!(["alice", "bob"]));
    bob.types(r#"{"type":"channels","ref":"q2"}"#);
    assert_eq!(object(&bob.sees(r#""ref":"q2""#))["channels"][0]["channel"], "#lobby");
    bob.types(r#"{"type":"whois","name":"alice","ref":"q3"}"#);
    assert_eq!(object(&bob.sees(r#""ref":"q3""#))["devices"][0], "main");
    bob.types(r##"{"type":"part","channel":"#tea","ref":"q4"}"##);
    let refused = object(&bob.sees(r#""ref":"q4""#));
    assert_eq!((&refused["type"], &refused["code"]), (&"refused".into(), &"not_member".into()));
}

#[test]
fn the_contract_for_programs_holds() {
    let world = World::new();
    world.admit("bob");
    let mut alice = world.enters("alice");
    let mut bob = world.client("bob", &["--json"]);
    assert_eq!(object(&bob.sees("state"))["state"], "connecting");
    assert_eq!(object(&bob.sees("connected"))["type"], "state");
    let hello = object(&bob.sees("hello"));
    assert_eq!(
        (&hello["v"], &hello["name"], &hello["device"]),
        (&1.into(), &"bob".into(), &"main".into())
    );
    assert!(hello["server"].as_str().unwrap().starts_with("SHA256:"));
    assert_eq!(object(&bob.sees("entered"))["people"], serde_json::json!(["alice", "bob"]));

    is_confirmed(&mut bob);
    bob.types(r##"{"type":"me","to":"@alice","text":"waves"}"##);
    alice.sees("[Private]* bob waves");
    refusals_name_the_message(&mut bob);
    answers_name_the_request(&mut bob);
    bob.types(r#"{"type":"slash","line":"/topic tea at five"}"#);
    alice.sees("bob set the topic of #lobby: tea at five");
    bob.types("not json");
    let fault = object(&bob.sees("\"error\""));
    assert_eq!(fault["code"], "client");
    assert!(fault["hint"].as_str().unwrap().contains("docs/json.md"));
    alice.types("/join #tea");
    alice.types("/exit");
    let left = object(&bob.sees("\"left\""));
    assert_eq!((&left["who"], &left["here"]), (&"alice".into(), &1.into()));
    bob.types(r#"{"type":"quit"}"#);
    assert_eq!(bob.ends().code(), Some(8), "a line has failed");
    assert_eq!(object(&bob.sees("\"bye\""))["reason"], "you left");
}

#[test]
fn a_bye_is_the_last_word_however_it_ends() {
    let world = World::new();
    world.admit("bob");
    let mut bob = world.client("bob", &["--json"]);
    bob.sees("entered");
    bob.hangs_up();
    assert_eq!(bob.ends().code(), Some(0));
    assert_eq!(object(&bob.sees("\"bye\""))["reason"], "the input has ended");
    let mut bob = world.client("bob", &["--json"]);
    bob.sees("entered");
    bob.signal(Signal::INT);
    assert_eq!(bob.ends().code(), Some(130));
    bob.sees("\"bye\"");
    let mut bob = world.client("bob", &["--json"]);
    bob.sees("entered");
    world.operator(&["ctl", "kick", "bob"]);
    assert_eq!(bob.ends().code(), Some(5));
    assert_eq!(object(&bob.sees("\"refused\""))["code"], "kicked");
    bob.sees("\"bye\"");
}

#[test]
fn whoever_is_kicked_or_removed_ends_with_5() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let mut bob = world.enters("bob");
    assert!(world.operator(&["ctl", "kick", "Bob", "too", "loud"]).0);
    bob.sees("the operator ended your session: too loud");
    assert_eq!(bob.ends().code(), Some(5));
    assert!(world.operator(&["users", "remove", "alice"]).0);
    assert_eq!(alice.ends().code(), Some(5));
}

#[test]
fn sigterm_ends_in_time_and_a_second_one_at_once() {
    // Who leaves when told so is not waited for any longer ...
    let mut world = World::with(r#"{"drain_ms_max": 3600000}"#);
    let alice = world.enters("alice");
    world.server.signal(Signal::TERM);
    assert_eq!(world.server.ends().code(), Some(0));
    alice.sees("the server stops");

    // ... and who does not leave is not waited for without end.
    let mut world = World::with(r#"{"drain_ms_max": 1000, "idle_s_max": 3600}"#);
    world.admit("alice");
    let mut alice = Peer::enters(&world, "alice", "main");
    world.server.signal(Signal::TERM);
    alice.sees("the server stops");
    assert_eq!(world.server.ends().code(), Some(0));

    // Both are there before the server gets to do anything about the first.
    let mut world = World::new();
    let _bob = world.enters("bob");
    for signal in [Signal::STOP, Signal::TERM, Signal::INT, Signal::CONT] {
        world.server.signal(signal);
    }
    assert_eq!(world.server.ends().code(), Some(130));
}
