//! Keeping a server running: its health, its figures, its log, and what is wrong with a home. On
//! the real binary.

mod check;
mod output;
#[path = "../world/mod.rs"]
mod world;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use world::World;

fn figure(page: &str, name: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
}

#[test]
fn metrics_count_what_happens_and_name_nobody() {
    let config =
        r#"{"metrics": "127.0.0.1:0", "limits": {"messages_burst": 2, "messages_per_s": 0.01}}"#;
    let world = World::configured(config);
    let mut alice = world.enters("alice");
    let bob = world.enters("bob");
    for line in ["tea for two", "two for tea"] {
        alice.types(line);
        bob.sees(line);
    }
    alice.types("too fast");
    alice.sees("too fast: wait");
    let mut garbage = TcpStream::connect(&world.address).unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let _ = garbage.read(&mut [0; 1]);
    // Two lines to two people, one by one, and the notice of who came: what is delivered is counted
    // a moment later, and not where a socket took nothing at once. So are a connection that has
    // ended, and what a queue has given away.
    let mut page = String::new();
    world.until("all is counted", || {
        page = world.metrics();
        figure(&page, "pychat_deliveries_total") >= 3.0
            && figure(&page, "pychat_handshakes_total{result=\"failed\"}") >= 1.0
            && figure(&page, "pychat_queue_bytes") == 0.0
    });
    assert!(
        page.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"),
        "{page}"
    );
    for (name, value) in [
        ("pychat_sessions", 2.0),
        ("pychat_people", 2.0),
        ("pychat_channels", 1.0),
        ("pychat_messages_total", 2.0),
        ("pychat_handshakes_total{result=\"ok\"}", 2.0),
        // At its first contact a client asks for the key, and for the keys before it.
        ("pychat_handshakes_total{result=\"asked\"}", 4.0),
        ("pychat_handshakes_total{result=\"failed\"}", 1.0),
        ("pychat_rsa_operations_total", 2.0),
        ("pychat_refusals_total{reason=\"rate\"}", 1.0),
        ("pychat_queue_bytes", 0.0),
        ("pychat_storage_failing", 0.0),
    ] {
        assert_eq!(figure(&page, name), value, "{name} in {page}");
    }
    let commits = figure(&page, "pychat_commit_seconds_count");
    assert!(commits >= 1.0 && figure(&page, "pychat_commit_seconds_sum") > 0.0, "{page}");
    assert_eq!(figure(&page, "pychat_commit_seconds_bucket{le=\"+Inf\"}"), commits);
    assert!(!page.contains("alice") && !page.contains("lobby") && !page.contains("tea"), "{page}");
    assert!(world.asks_metrics("GET / HTTP/1.1").starts_with("HTTP/1.1 404"));
}

#[test]
fn what_an_operator_changes_holds_when_the_command_ends() {
    let world = World::configured(r#"{"log": {"file": "data/log"}}"#);
    let log = world.home().join("data/log");
    let mut commands = 0;
    let mut holds = |args: &[&str], wanted: &str| {
        let (ok, told) = world.operator(args);
        assert!(ok && told.contains("the server has applied it"), "{told}");
        // The log is written a moment later, and in order: what is done from now on is behind it.
        commands += 1;
        let mark = format!("192.0.2.{commands}");
        assert!(world.operator(&["ctl", "ban", &mark]).0);
        let read = || fs::read_to_string(&log).unwrap();
        world.until("the next command is in the log", || read().contains(&mark));
        let before = read().split(&mark).next().unwrap().to_owned();
        assert!(before.contains(wanted), "{args:?}: no {wanted:?} in {before}");
    };
    for name in ["alice", "bob", "carol"] {
        assert!(world.program(name).arg("keygen").output().unwrap().status.success());
        let shown = world.program(name).args(["key", "show", "--name", name]).output().unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        let line = shown.lines().find(|line| line.starts_with("pychat-key1.")).unwrap();
        holds(&["users", "add", "--yes", line], &format!("{name} is registered with"));
    }
    holds(&["users", "role", "bob", "moderator"], "bob is moderator now");
    holds(&["users", "passwd", "bob", "--remove"], "bob is moderator now");
    holds(&["users", "remove", "carol"], "a key of carol was removed");
    let world = world.stopped();
    let (ok, told) = world.operator(&["users", "remove", "bob"]);
    assert!(ok && !told.contains("the server"), "{told}");
}

#[test]
fn a_stop_that_was_named_for_later_is_moved_and_taken_back() {
    let mut world = World::new();
    let alice = world.enters("alice");
    for (delay, told) in
        [("20m", "the server stops in 1200 s"), ("-", "the server does not stop now")]
    {
        assert!(world.operator(&["ctl", "shutdown", delay]).0);
        alice.sees(told);
    }
    let (ok, told) = world.operator(&["ctl", "shutdown", "-"]);
    assert!(!ok && told.contains("no shutdown is scheduled"), "{told}");
    assert_eq!(alice.seen("the server does not stop now"), 1, "nobody is told again");
    for delay in ["30m", "1s"] {
        assert!(world.operator(&["ctl", "shutdown", delay]).0);
    }
    assert_eq!(world.server.ends().code(), Some(0));
    let trail = fs::read_to_string(world.home().join("data/audit.jsonl")).unwrap();
    assert!(trail.contains("\"taken back\""), "{trail}");
}

#[test]
fn metrics_are_for_this_computer_only_and_a_log_is_where_one_can_be() {
    let world = World::new().stopped();
    // Nobody is told to remove a folder of the home.
    fs::write(world.home().join("config.json"), r#"{"read_socket": "data"}"#).unwrap();
    let (ok, told) = world.operator(&["check"]);
    assert!(!ok && told.contains("read_socket cannot be"), "{told}");
    assert!(!told.contains("remove the folder"), "{told}");
    fs::write(world.home().join("config.json"), r#"{"metrics": "0.0.0.0:9464"}"#).unwrap();
    let (ok, told) = world.operator(&["server", "--no-owner"]);
    assert!(!ok && told.contains("metrics: ") && told.contains("loopback"), "{told}");
    let config = r#"{"log": {"file": "/nowhere/pychat.log"}}"#;
    fs::write(world.home().join("config.json"), config).unwrap();
    let (ok, told) = world.operator(&["server", "--no-owner"]);
    let wanted = "error: cannot write the log: /nowhere/pychat.log: No such file or directory (os error 2)\n\
        hint:  create the folder /nowhere first, or name another one\n";
    assert!(!ok && told.ends_with(wanted), "{told}");
}

#[test]
fn health_says_when_nothing_is_stored() {
    let world = World::full_after(1_000);
    let (ok, told) = world.operator(&["ctl", "health"]);
    assert!(ok && told.contains("healthy"), "{told}");
    let (_, told) = world.operator(&["ctl", "health", "--json"]);
    let reply: Value = serde_json::from_str(&told).unwrap();
    let checks: BTreeSet<_> = reply["data"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(checks, listed_checks(), "docs/operating.md has the checks");
    let _alice = world.enters("alice");
    // A record that is small may find room after one that did not.
    world.until("the disk is full", || {
        alice_fills(&world);
        let (ok, told) = world.operator(&["ctl", "health", "--json"]);
        let reply: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(reply["data"]["admission"], true, "{told}");
        assert_eq!(reply["ok"], ok, "{told}");
        assert_eq!(reply["data"]["storage"], ok, "{told}");
        !ok
    });
}

/// The checks in the table of docs/operating.md.
fn listed_checks() -> BTreeSet<String> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md");
    let guide = fs::read_to_string(guide).unwrap();
    let table = guide.split("| check | succeeds while |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with("| "));
    let names = rows.flat_map(|row| row.split(" | ").next().unwrap().split('`').skip(1).step_by(2));
    names.map(str::to_owned).collect()
}

fn alice_fills(world: &World) {
    let text = "x".repeat(8_000);
    let lines = vec![text; 40].join("\n");
    let mut client = world.client("alice", &["--send"]);
    client.types(&lines);
    client.hangs_up();
    client.ends();
}

#[test]
fn status_is_a_line_for_eyes_and_an_object_for_programs() {
    let world = World::new();
    let _alice = world.enters("alice");
    let (ok, told) = world.operator(&["ctl", "status"]);
    assert!(ok && told.contains("1 people in 1 sessions") && told.lines().count() == 1, "{told}");
    let (_, told) = world.operator(&["ctl", "status", "--json"]);
    let reply: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(reply["data"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(reply["data"]["people"], 1);
}

#[test]
fn the_log_is_text_or_json_of_the_wanted_level_and_rotates() {
    let rules =
        r#"{"log": {"format": "json", "file": "data/log", "bytes_max": 2000, "files_max": 2}}"#;
    let world = World::configured(rules);
    let file = world.home().join("data/log");
    let read = || fs::read_to_string(&file).unwrap_or_default();
    world.until("the server says it is there", || read().contains("room for"));
    let line: Value = serde_json::from_str(read().lines().next().unwrap()).unwrap();
    assert_eq!(line["level"], "info");
    assert!(line["time"].as_str().unwrap().ends_with('Z') && line["text"].is_string());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let made = world.program("eve").arg("keygen").output().unwrap();
    assert!(made.status.success());
    let eve = world.client("eve", &["--plain"]);
    world.until("a refused login is in it", || read().contains("not admitted: eve"));
    drop(eve);
    // A control: the same event once the level is higher, and in the other form.
    let rules = r#"{"log": {"level": "warn", "format": "text", "file": "data/log2"}}"#;
    fs::write(world.home().join("config.json"), rules).unwrap();
    assert!(world.operator(&["ctl", "reload"]).0);
    world.client("eve", &["--send", "hi"]).ends();
    fs::write(world.home().join("users/half.pem"), "half a key").unwrap();
    let other = world.home().join("data/log2");
    let read2 = || fs::read_to_string(&other).unwrap_or_default();
    world.until("a warning is in it", || read2().contains("warn") && read2().contains("half.pem"));
    assert!(!read2().contains("eve") && !read2().contains('{'), "{}", read2());

    let rules = r#"{"log": {"file": "data/log", "bytes_max": 300, "files_max": 2}}"#;
    fs::write(world.home().join("config.json"), rules).unwrap();
    assert!(world.operator(&["ctl", "reload"]).0);
    for _ in 0..20 {
        assert!(world.operator(&["ctl", "reload"]).0);
    }
    // The log is written a moment later.
    assert!(world.operator(&["ctl", "ban", "192.0.2.7"]).0);
    world.until("all of it is written", || read().contains("192.0.2.7"));
    for name in ["log", "log.1", "log.2"] {
        assert!(fs::metadata(world.home().join("data").join(name)).unwrap().len() <= 2_000);
    }
    assert!(!world.home().join("data/log.3").exists());
}

#[test]
fn a_hangup_reloads_and_opens_the_log_again() {
    let world = World::configured(r#"{"log": {"file": "data/log"}}"#);
    let file = world.home().join("data/log");
    let read = |name: &str| fs::read_to_string(world.home().join(name)).unwrap_or_default();
    // As logrotate does it.
    fs::rename(&file, world.home().join("data/log.old")).unwrap();
    fs::write(world.home().join("config.json"), r#"{"log": {"file": "data/log"}, "motd": "tea"}"#)
        .unwrap();
    world.server.signal(Signal::HUP);
    world.until("it is told in the new file", || read("data/log").contains("were read again"));
    assert!(!read("data/log.old").contains("were read again"));
    world.until("it is in the audit trail", || {
        let trail = read("data/audit.jsonl");
        trail.contains("SIGHUP") && trail.contains("reload")
    });
    // An error in config.json is told, in a file that is new again, and the server goes on.
    fs::rename(&file, world.home().join("data/log.old")).unwrap();
    fs::write(world.home().join("config.json"), "{").unwrap();
    world.server.signal(Signal::HUP);
    world.until("it is told", || read("data/log").contains("everything stays as it was"));
    world.admit_by_log("alice", "data/log");
    let alice = world.client("alice", &["--plain"]);
    alice.sees("tea");
}

#[test]
fn a_user_of_the_read_only_socket_sees_the_server_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // The folder has the setgid bit, so that the socket gets its group.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o2750)).unwrap();
    let socket = folder.path().join("read.sock");
    // Only root can give the folder to another group.
    let group = 4;
    let given = std::os::unix::fs::chown(folder.path(), None, Some(group));
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o2750)).unwrap();
    let config = serde_json::json!({"read_socket": &socket}).to_string();
    let world = World::configured(&config);
    let _bob = world.enters("bob");
    let about = fs::metadata(&socket).unwrap();
    assert_eq!(about.permissions().mode() & 0o777, 0o660);
    match given {
        Ok(()) => assert_eq!(about.gid(), group),
        Err(error) => eprintln!("skipped: the folder of another group: {error}"),
    }
    let reads = |words: &[&str]| {
        // A reader has no access to the home.
        let mut command = world.program("carol");
        command.arg("ctl").args(words).arg("--socket").arg(&socket);
        let output = command.args(["--home", "/nowhere"]).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.success(), text)
    };
    for word in ["status", "stats", "health", "users", "channels", "files", "waiting", "banlist"] {
        let (ok, told) = reads(&[word]);
        assert!(ok, "{word}: {told}");
    }
    assert!(reads(&["users"]).1.contains("bob                  main"));
    let (ok, told) = reads(&["help"]);
    assert!(ok && told.contains("/status") && !told.contains("/erase"), "{told}");
    for words in [
        &["kick", "bob"][..],
        &["ban", "bob"],
        &["mute", "bob"],
        &["op", "bob"],
        &["say", "tea"],
        &["motd", "tea"],
        &["announce", "tea"],
        &["erase", "bob"],
        &["retention", "now"],
        &["reload"],
        &["shutdown"],
    ] {
        let (ok, told) = reads(words);
        let wanted = format!("{}: this socket is read-only; ", words[0]);
        assert!(!ok && told.contains(&wanted) && told.contains("ask "), "{words:?}: {told}");
    }
    // The control: the operator's own socket.
    assert!(world.operator(&["ctl", "kick", "bob"]).0);
    let (ok, told) = world.operator(&["ctl", "banlist"]);
    assert!(ok && told.contains("nobody is banned"), "{told}");
    // A stop removes the socket. Another file in its place stays.
    let world = world.stopped();
    assert!(!socket.exists());
    fs::write(&socket, "a list").unwrap();
    let (ok, told) = world.operator(&["check"]);
    assert!(!ok && told.contains("read_socket cannot be"), "{told}");
    let (ok, told) = world.operator(&["server", "--no-owner"]);
    assert!(!ok && told.contains("the path belongs to another file"), "{told}");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "a list");
}

#[test]
fn a_server_listens_on_several_addresses() {
    let world = World::configured_at("{}", "127.0.0.1:0,127.0.0.2:0");
    let addresses: Vec<_> = world.address.split(',').map(str::to_owned).collect();
    assert_eq!(addresses.len(), 2, "{}", world.address);
    for address in &addresses {
        world.server.is_told(&format!("listening on {address}"));
    }
    world.admit("alice");
    world.admit("bob");
    let mut alice = world.client_by("alice", &addresses[0], &["--plain"]);
    alice.sees("you are in #lobby");
    let bob = world.client_by("bob", &addresses[1], &["--plain"]);
    bob.sees("you are in #lobby");
    alice.types("from the first address");
    bob.sees("alice: from the first address");
    let (_, told) = world.operator(&["ctl", "stats", "--json"]);
    let reply: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(reply["data"]["addresses"], serde_json::json!(addresses));
    // The limits treat both as loopback, which is shared.
    let config = r#"{"listen": ["127.0.0.1:5000", "192.0.2.7:5000"]}"#;
    fs::write(world.home().join("config.json"), config).unwrap();
    let (ok, told) = world.operator(&["ctl", "reload"]);
    assert!(ok && told.contains("only the next start changes listen"), "{told}");
    // Without a server, an invite names the address that others reach.
    let world = world.stopped();
    let (ok, told) = world.operator(&["invite", "carol"]);
    assert!(ok && told.contains("pychat://192.0.2.7:5000/"), "{told}");
    let twice = r#"{"listen": ["127.0.0.1:5000", "127.0.0.1:5000"]}"#;
    fs::write(world.home().join("config.json"), twice).unwrap();
    let (ok, told) = world.operator(&["server", "--no-owner"]);
    assert!(!ok && told.contains("listen: 127.0.0.1:5000 is listed twice"), "{told}");
    fs::write(world.home().join("config.json"), "{}").unwrap();
    let (ok, told) =
        world.operator(&["check", "--listen", "127.0.0.1:0", "--listen", "192.0.2.7:0"]);
    assert!(!ok && told.contains("cannot listen on 192.0.2.7:0"), "{told}");
}

#[test]
fn ipv4_and_ipv6_have_an_address_each() {
    if let Err(error) = TcpListener::bind("[::1]:0") {
        eprintln!("skipped: this computer has no IPv6: {error}");
        return;
    }
    let world = World::configured_at("{}", "[::]:0,0.0.0.0:0");
    let port = |address: &str| address.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let (six, four) = world.address.split_once(',').unwrap();
    let (six, four) = (port(six), port(four));
    let reaches = |ip: &str, port| TcpStream::connect((ip, port)).is_ok();
    assert!(reaches("::1", six) && reaches("127.0.0.1", four));
    assert!(!reaches("127.0.0.1", six), "[::] beside another address is for IPv6 alone");
    // The operator's own client uses the address of its family.
    let other = world.home().with_extension("other");
    let mut server = world.program("operator");
    server.env("USER", "operator").args(["server", "--listen", "[::]:0", "--listen", "0.0.0.0:0"]);
    let server = world::Program::start({
        server.arg("--home").arg(&other);
        server
    });
    server.is_told("to chat here");
    let mut client = world.program("operator");
    client.args(["client", "--send", "hello"]);
    let mut client = world::Program::start(client);
    assert!(client.ends().success(), "{:?} {:?}", client.told(), server.told());
    drop(server);
    // Both families can use one port, and `check` reports no problem.
    let both = [&format!("[::]:{six}")[..], &format!("0.0.0.0:{six}")];
    let world = world.stopped();
    let args = ["check", "--listen", both[0], "--listen", both[1]];
    let (_, told) = world.operator(&args);
    assert!(!told.contains("own address for"), "{told}");
    // The control: [::] alone takes both families.
    let world = World::configured_at("{}", "[::]:0");
    let six = port(&world.address);
    assert!(reaches("::1", six) && reaches("127.0.0.1", six));
}
