//! The page of `pychat client --web`, on the real binary.

mod world;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use socket2::SockRef;
use world::page::Host;
use world::web::connect;
use world::{Program, World};

#[test]
fn the_page_is_served_to_its_own_browser_only() {
    let world = World::new();
    let host = world.hosts("alice");
    let (head, body) = host.get("/", "");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body.contains("<html"), "{head}");
    for header in [
        "Content-Type: text/html; charset=utf-8",
        "Content-Security-Policy: default-src 'none'; script-src 'self';",
        "require-trusted-types-for 'script'",
        "X-Content-Type-Options: nosniff",
        "Referrer-Policy: no-referrer",
        "Cross-Origin-Opener-Policy: same-origin",
        "Cross-Origin-Resource-Policy: same-origin",
    ] {
        assert!(head.contains(header), "{header} in {head}");
    }
    let tag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
    let (there, body) = host.get("/", &format!("If-None-Match: {tag}\r\n"));
    assert!(there.starts_with("HTTP/1.1 304 ") && body.is_empty(), "{there}");
    assert!(host.get("/page/nothing.js", "").0.starts_with("HTTP/1.1 404 "));
    let misdirected = host.ask("GET / HTTP/1.1\r\nHost: evil.example:5081\r\n\r\n").0;
    assert!(misdirected.starts_with("HTTP/1.1 421 "), "{misdirected}");
    let upgrade = host.upgrade();
    let elsewhere = upgrade.replace("Origin: http://127", "Origin: http://128");
    assert!(host.ask(&elsewhere).0.starts_with("HTTP/1.1 403 "));
    let nowhere = upgrade.replace("Origin", "X-Origin");
    assert!(host.ask(&nowhere).0.starts_with("HTTP/1.1 403 "));
}

#[test]
fn a_page_needs_the_token_and_two_pages_see_the_same() {
    let world = World::new();
    let mut bob = world.enters("bob");
    let host = world.hosts("alice");
    for token in ["", "AAAAAAAAAAAAAAAAAAAAAA", &host.token[1..]] {
        let mut page = host.opens();
        page.sends(&json!({"type": "attach", "token": token}));
        assert_eq!((page.ends(), page.objects.len()), (Some(4401), 0), "{token}");
    }
    let mut page = host.opens();
    page.sends(&json!({"type": "say", "to": "#lobby", "text": "without a token"}));
    assert_eq!(page.ends(), Some(4401));
    let mut one = host.enters();
    let mut other = host.enters();
    bob.types("hello from a terminal");
    let told = one.reads("hello from a terminal");
    assert_eq!(other.reads("hello from a terminal"), told);
    one.types("#lobby", "hello from a page");
    bob.sees("hello from a page");
    let sent = other.reads("hello from a page");
    assert_eq!(one.reads("hello from a page"), sent);
    let mut late = host.enters();
    let replayed = late.has("message", |object| object["text"] == "hello from a page");
    assert_eq!((&replayed["seq"], &replayed["replay"]), (&sent["seq"], &true.into()));
    assert_eq!(late.has("ready", |_| true)["name"], "alice");
}

#[test]
fn stdin_is_not_read() {
    let world = World::new();
    let bob = world.enters("bob");
    let mut host = world.hosts("alice");
    let mut page = host.enters();
    host.program.types("words for the shell");
    host.program.hangs_up();
    page.types("#lobby", "hello from a page");
    bob.sees("hello from a page");
    page.reads("hello from a page");
    assert_eq!(bob.seen("words for the shell"), 0);
    assert!(host.program.is_running(), "the end of stdin ends nothing");
}

#[test]
fn unread_state_is_shared_by_pages_and_outlives_the_client() {
    let world = World::new();
    let mut bob = world.enters("bob");
    let mut host = world.hosts("alice");
    let laptop = world.enters_as("alice.laptop", "--json");
    laptop.sees("\"entered\"");
    let (mut one, mut other) = (host.enters(), host.enters());
    bob.types("first");
    let first = one.reads("first")["seq"].clone();
    one.sees("unread", |unread| unread["to"] == "#lobby" && unread["messages"] == 1);
    // Three pages have it, and nothing is read by that.
    other.reads("first");
    let mut early = host.attaches();
    early.has("unread", |unread| unread["to"] == "#lobby" && unread["messages"] == 1);
    one.sends(&json!({"type": "read", "conversations": [{"to": "#lobby", "seq": first}]}));
    other.sees("unread", |unread| unread["messages"] == 0 && unread["read"] == first);
    // It is stored and sent within a second.
    laptop.sees(&format!("\"seq\":{first},\"to\":\"#lobby\",\"type\":\"read\""));
    bob.types("second");
    bob.types("third");
    other.sees("unread", |unread| unread["messages"] == 2 && unread["read"] == first);
    let mut late = host.attaches();
    late.has("unread", |unread| unread["to"] == "#lobby" && unread["messages"] == 2);
    host.program.signal(Signal::INT);
    assert_eq!(host.program.ends().code(), Some(130));
    assert_eq!(
        (one.sees("bye", |_| true)["reason"].as_str(), one.ends()),
        (Some("interrupted"), Some(1001))
    );
    bob.types("fourth");
    let host = world.hosts_again("alice");
    let mut page = host.enters();
    page.has("unread", |unread| unread["messages"] == 3 && unread["read"] == first);
}

#[test]
fn what_was_typed_offline_is_shown_again_and_sent_once() {
    let world = World::new();
    let host = world.hosts("alice");
    let mut page = host.enters();
    let world = world.stopped();
    page.sees("state", |state| state["state"] == "offline");
    let id = "0123456789abcdef0123456789abcdef";
    let line = json!({"type": "input", "to": "#lobby", "line": "later", "id": id, "ref": id});
    page.sends(&line);
    page.sees("outgoing", |outgoing| outgoing["id"] == id && outgoing["text"] == "later");
    page.sees("pending", |pending| pending["id"] == id && pending["stored"] == true);
    // As after a broken connection, in which the page does not know whether the line has come.
    drop(page);
    let mut page = host.attaches();
    assert_eq!(page.has("outgoing", |_| true)["text"], "later");
    page.has("pending", |pending| pending["id"] == id);
    page.sends(&line);
    page.sees("outgoing", |outgoing| outgoing["id"] == id);
    let world = world.started();
    let acknowledged = page.sees("ack", |ack| ack["id"] == id);
    let sent = page.reads("later");
    assert_eq!((&sent["id"], &sent["seq"]), (&id.into(), &acknowledged["seq"]));
    page.sends(&line);
    assert_eq!(page.sees("ack", |_| true), acknowledged, "it is not sent again");
    let bob = world.enters_as("bob", "--json");
    bob.sees("later");
    page.types("#lobby", "the last one");
    bob.sees("the last one");
    assert_eq!(bob.seen("later"), 1);
}

#[test]
fn commands_completions_and_lines_that_are_held() {
    let world = World::new();
    let bob = world.enters("bob");
    let host = world.hosts("alice");
    let (mut page, mut other) = (host.enters(), host.enters());
    page.sends(&json!({"type": "complete", "to": "#lobby", "text": "\u{1f600} /x bo", "cursor": 8, "ref": "q"}));
    let found = page.sees("completions", |_| true);
    assert_eq!(
        (&found["ref"], &found["from"], &found["candidates"][0]),
        (&json!("q"), &json!(6), &json!("bob "))
    );
    page.sends(&json!({"type": "input", "to": "#lobby", "line": "join #tea 4711", "ref": "p1"}));
    let held = page.sees("held", |_| true);
    assert!(held["ref"] == "p1" && held["hint"].as_str().unwrap().contains("/join"), "{held}");
    page.sends(&json!({"type": "input", "to": "#lobby", "line": "join #tea 4711", "sure": true}));
    bob.sees("join #tea 4711");
    page.types("#lobby", "/join #tea");
    page.sees("target", |target| target["to"] == "#tea");
    other.sees("entered", |entered| entered["channel"] == "#tea");
    page.types("#tea", "/notify all");
    other.sees("notify", |notify| notify["to"] == "#tea" && notify["level"] == "all");
    page.types("#lobby", "/query bob");
    other.sees("target", |target| target["to"] == "@bob");
    page.types("@bob", "for your eyes");
    bob.sees("for your eyes");
    other.sees("message", |message| message["confidentiality"] == "sealed");
    page.types("@bob", "/part");
    other.sees("closed", |closed| closed["to"] == "@bob");
    page.types("#lobby", "/quiet");
    page.sees("notice", |notice| notice["text"] == "joins and parts are hidden");
    let carol = world.enters("carol");
    other.sees("joined", |joined| joined["who"] == "carol" && joined["quiet"] == true);
    drop(carol);
    for (bad, why, reference) in [
        ("{", "json.md", Value::Null),
        ("[]", "json.md", Value::Null),
        ("{\"type\":\"input\",\"ref\":\"r7\"}", "web.md", json!("r7")),
        ("{\"type\":\"history\",\"to\":7,\"ref\":\"r8\"}", "json.md", json!("r8")),
    ] {
        page.writes(0x81, bad.as_bytes());
        let error = page.sees("error", |error| error["code"] == "bad_request");
        assert!(error["hint"].as_str().unwrap().contains(why), "{error}");
        assert_eq!(error["ref"], reference, "{bad}");
    }
    // The next run has the same rooms.
    let mut host = host;
    host.program.signal(Signal::TERM);
    host.program.ends();
    let host = world.hosts_again("alice");
    let mut page = host.enters();
    page.has("entered", |entered| entered["channel"] == "#tea");
    page.has("notify", |notify| notify["to"] == "#tea");
    assert!(page.objects.iter().all(|object| object["to"] != "@bob"), "it was closed");
}

#[test]
fn older_messages_that_a_page_has_loaded_are_there_for_others() {
    let world = World::new();
    let mut bob = world.enters("bob");
    (1..=30).for_each(|number| bob.types(&format!("line {number}")));
    bob.sees("line 30");
    let host = world.hosts("alice");
    let mut page = host.enters();
    let history = json!({"type": "history", "to": "#lobby", "messages": 30, "ref": "p1"});
    page.sends(&history);
    page.sees("history", |history| history["ref"] == "p1");
    let late = host.attaches();
    let texts: Vec<_> = late
        .objects
        .iter()
        .filter(|object| object["type"] == "message" && object["to"] == "#lobby")
        .map(|message| message["text"].as_str().unwrap().to_owned())
        .collect();
    let wanted: Vec<_> = (1..=30).map(|number| format!("line {number}")).collect();
    assert_eq!(texts, wanted);
}

#[test]
fn files_go_both_ways_and_leave_no_copy() {
    let world = World::new();
    let (alice, bob) = (world.hosts("alice"), world.hosts("bob"));
    let (mut page, mut theirs) = (alice.enters(), bob.enters());
    let bytes: String = (0..200_000).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
    let head = |name: &str, token: &str| {
        format!(
            "POST /files HTTP/1.1\r\nHost: {0}\r\nOrigin: http://{0}\r\nAuthorization: Bearer {token}\r\n\
             X-Name: {name}\r\nContent-Length: {1}\r\n\r\n",
            alice.address,
            bytes.len()
        )
    };
    let (refused, _) = alice.ask(&head("tea.txt", "AAAAAAAAAAAAAAAAAAAAAA"));
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    let (taken, body) = alice.ask(&(head("t%C3%A9a.txt", &alice.token) + &bytes));
    assert!(taken.starts_with("HTTP/1.1 200 OK"), "{taken}");
    let path = serde_json::from_str::<Value>(&body).unwrap()["path"].clone();
    let path = path.as_str().unwrap();
    assert!(path.ends_with("/t\u{e9}a.txt"), "{path}");
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    let (_, body) = alice.ask(&(head("refused.txt", &alice.token) + &bytes));
    let refused = serde_json::from_str::<Value>(&body).unwrap()["path"].clone();
    for pin in ["4711", "4712"] {
        page.sends(&json!({"type": "join", "channel": "#tea", "pin": pin}));
        page.sees("entered", |object| object["readers"] == "pin");
    }
    page.sends(&json!({"type": "send_file", "path": refused, "to": "#tea", "ref": "p0"}));
    page.sees("refused", |object| object["ref"] == "p0" && object["origin"] == "client");
    world.until("the refused copy is gone", || !Path::new(refused.as_str().unwrap()).exists());
    page.sends(
        &json!({"type": "send_file", "path": path, "to": "@bob", "text": "for you", "ref": "p1"}),
    );
    page.sees("transfer", |transfer| transfer["ref"] == "p1" && transfer["state"] == "sent");
    world.until("the copy is gone", || !Path::new(path).exists());
    let message = theirs.sees("message", |message| message["kind"] == "file");
    assert_eq!(
        (&message["text"], &message["file"]["name"]),
        (&json!("for you"), &json!("t\u{e9}a.txt"))
    );
    let get = |keep: bool, reference: &str| json!({"type": "get_file", "to": "@alice", "seq": message["seq"], "keep": keep, "ref": reference});
    theirs.sends(&get(false, "p2"));
    let saved = theirs.sees("transfer", |transfer| transfer["state"] == "saved");
    let shown = saved["path"].as_str().unwrap().to_owned();
    assert!(Path::new(&shown).starts_with(world.data_folder("bob")), "{shown}");
    assert_eq!(saved["viewed"], true, "it is not saved in a folder of the user");
    let bearer = format!("Authorization: Bearer {}\r\n", bob.token);
    let path = format!("/files/{}", saved["transfer"].as_str().unwrap());
    let (head, body) = bob.get(&path, &bearer);
    assert!(head.contains("Content-Type: application/octet-stream") && body == bytes, "{head}");
    assert!(bob.get(&path, "").0.starts_with("HTTP/1.1 401 "));
    assert!(bob.get("/files/f99", &bearer).0.starts_with("HTTP/1.1 404 "));
    let downloads = world.data_folder("bob").join("../../Downloads");
    fs::create_dir(&downloads).unwrap();
    theirs.sends(&get(true, "p3"));
    let is_kept = |object: &Value| object["ref"] == "p3" && object["state"] == "saved";
    assert_eq!(theirs.sees("transfer", is_kept)["viewed"], Value::Null);
    assert_eq!(fs::read_to_string(downloads.join("t\u{e9}a.txt")).unwrap(), bytes);
    let mut bob = bob;
    bob.program.signal(Signal::INT);
    bob.program.ends();
    assert!(!Path::new(&shown).exists(), "what was only shown goes with the run");
}

#[test]
fn hostile_pages_end_alone() {
    let world = World::new();
    let mut bob = world.enters("bob");
    let host = world.hosts("alice");
    let mut good = host.enters();
    let frames: [(&str, &[u8], u16); 7] = [
        ("no mask", b"\x81\x02{}", 1002),
        ("rsv1", b"\xc1\x82\0\0\0\0{}", 1002),
        ("binary", b"\x82\x82\0\0\0\0{}", 1002),
        ("an unknown opcode", b"\x83\x82\0\0\0\0{}", 1002),
        ("a long control frame", b"\x89\xfe\0\x7e\0\0\0\0", 1002),
        ("longer than a megabyte", b"\x81\xff\0\0\0\0\0\x10\0\x01\0\0\0\0", 1002),
        ("not UTF-8", b"\x81\x81\0\0\0\0\xff", 1007),
    ];
    for (case, frame, code) in frames {
        let mut page = host.attaches();
        page.stream.write_all(frame).unwrap();
        assert_eq!(page.ends(), Some(code), "{case}");
    }
    let mut page = host.attaches();
    let text = format!("{{\"type\":\"{}\"}}", "x".repeat((1 << 20) - 11));
    page.writes(0x81, text.as_bytes());
    page.sees("error", |error| error["code"] == "bad_request");
    page.writes(0x88, &[3, 232]);
    assert_eq!(page.ends(), Some(1000));
    bob.types("still here?");
    good.reads("still here?");
}

#[test]
fn slow_and_many_connections_keep_nobody_out() {
    let world = World::new();
    let mut bob = world.enters("bob");
    let host = world.hosts("alice");
    let mut page = host.enters();
    let began = Instant::now();
    let mut slow = connect(&host.address);
    slow.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let mut silent = host.opens();
    assert_eq!(silent.ends(), Some(4408), "a token does not come");
    assert_eq!(slow.read(&mut [0; 9]).unwrap_or(0), 0, "the rest of the head does not come");
    let took = began.elapsed();
    assert!(took > Duration::from_secs(9), "{took:?}");
    let long =
        format!("GET / HTTP/1.1\r\nHost: {}\r\nX: {}\r\n\r\n", host.address, "x".repeat(9_000));
    assert!(host.ask(&long).0.starts_with("HTTP/1.1 431 "));
    let crowd: Vec<_> = (0..200).map(|_| connect(&host.address)).collect();
    let mut late = host.enters();
    bob.types("hello");
    page.reads("hello");
    late.reads("hello");
    drop(crowd);
    let mut pages: Vec<_> = (2..16).map(|_| host.attaches()).collect();
    let mut last = host.opens();
    last.sends(&json!({"type": "attach", "token": host.token}));
    assert_eq!(last.ends(), Some(1013), "16 pages are attached");
    pages.pop();
    world.until("there is room again", || {
        let mut page = host.opens();
        page.sends(&json!({"type": "attach", "token": host.token}));
        page.next().is_ok_and(|object| object.is_some())
    });
}

#[test]
fn a_page_that_does_not_read_is_closed_and_the_others_go_on() {
    let world =
        World::with("{\"messages_burst\": 2000, \"messages_per_s\": 1000, \"bytes_per_s\": 1e9}");
    let mut bob = world.enters_as("bob", "--json");
    bob.sees("\"entered\"");
    let host = world.hosts("alice");
    let mut good = host.enters();
    let mut stuck = host.enters();
    SockRef::from(&stuck.stream).set_recv_buffer_size(4_096).unwrap();
    let text = "x".repeat(8_000);
    for number in 0..1_000 {
        let line = json!({"type": "say", "to": "#lobby", "text": format!("{number} {text}")});
        bob.types(&line.to_string());
        if number % 50 == 49 {
            let last = format!("{number} ");
            good.sees("message", |message| message["text"].as_str().unwrap().starts_with(&last));
        }
    }
    let read = std::iter::from_fn(|| stuck.next().ok().flatten()).count();
    assert!(read < 1_000, "{read}");
    good.types("#lobby", "the others go on");
    good.reads("the others go on");
    let mut again = host.attaches();
    again.has("message", |message| message["text"] == "the others go on");
    let held = again.objects.iter().filter(|object| object["type"] == "message").count();
    assert_eq!(held, 500, "the newest ones");
}

#[test]
fn a_password_is_asked_for_in_the_page() {
    let world = World::new();
    world.admit("alice");
    let mut passwd = world.program("operator");
    passwd.args(["users", "passwd", "alice", "--home"]).arg(world.home());
    let mut passwd = Program::start(passwd);
    passwd.types("tall tree");
    passwd.hangs_up();
    assert!(passwd.ends().success());
    let host = world.hosts_again("alice");
    let mut page = host.attaches();
    page.has("password", |password| password["wrong"] == false);
    let mut late = host.attaches();
    late.has("password", |_| true);
    page.sends(&json!({"type": "password", "password": "small tree"}));
    late.sees("password", |password| password["wrong"] == true);
    page.sends(&json!({"type": "password", "password": "tall tree"}));
    page.sees("hello", |_| true);
    let mut last = host.enters();
    assert!(last.objects.iter().all(|object| object["type"] != "password"));
    last.types("#lobby", "in");
    page.reads("in");
}

#[test]
fn the_token_is_given_to_the_terminal_and_to_a_file_of_the_user_only() {
    let world = World::new();
    world.admit("alice");
    let folder = world.data_folder("alice");
    let opener = folder.join("bin");
    fs::create_dir_all(&opener).unwrap();
    let script = "#!/bin/sh\nstat -c %a \"$1\" >\"$0.mode\"; cp \"$1\" \"$0.file\"; echo \"$@\" >\"$0.argv\"\n";
    fs::write(opener.join("xdg-open"), script).unwrap();
    fs::set_permissions(opener.join("xdg-open"), fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = world.program("alice");
    command.args(["client", &world.invite, "--name", "alice", "--web", "127.0.0.1:0"]);
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", opener.display())).env("DISPLAY", ":0");
    let host = Host::of(Program::start(command));
    let argv = opener.join("xdg-open.argv");
    world.until("the browser is opened", || {
        fs::read_to_string(&argv).is_ok_and(|it| it.ends_with('\n'))
    });
    let opened = fs::read_to_string(&argv).unwrap();
    assert!(!opened.contains(&host.token) && opened.trim().ends_with("/open.html"), "{opened}");
    let page = fs::read_to_string(opener.join("xdg-open.file")).unwrap();
    assert!(page.contains(&format!("url=http://{}/#{}\"", host.address, host.token)), "{page}");
    assert_eq!(fs::read_to_string(opener.join("xdg-open.mode")).unwrap().trim(), "600");
    fs::remove_dir_all(&opener).unwrap();
    assert_eq!(world.found_in("alice", &host.token), 1, "the file");
    drop(host.enters());
    assert_eq!(world.found_in("alice", &host.token), 0, "it is gone once a page has attached");
    for file in ["cmdline", "environ"] {
        let path = format!("/proc/{}/{file}", host.program.pid().as_raw_nonzero());
        let bytes = fs::read(path).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(&host.token), "{file}");
    }
    assert!(host.program.told().iter().all(|line| !line.contains(&host.token)));
    // A file is read by others, now or later.
    let out = world.data_folder("alice").join("out");
    let mut command = world.program("bob");
    world.admit("bob");
    command.args(["client", &world.invite, "--name", "bob", "--web", "127.0.0.1:0"]);
    command.stdin(Stdio::null()).stdout(fs::File::create(&out).unwrap()).stderr(Stdio::piped());
    let bob = Program::with_output(command);
    bob.is_told("the page's address is a secret");
    assert_eq!(fs::read_to_string(&out).unwrap(), "");
}

#[test]
fn the_address_is_a_free_one_of_this_computer() {
    let world = World::new();
    let one = world.hosts("alice");
    world.admit("bob");
    let taken = Host::of(world.client("bob", &["--web", &one.address]));
    let port = |address: &str| address.rsplit(':').next().unwrap().to_owned();
    taken.program.is_told(&format!("port {} is taken: the page is at port", port(&one.address)));
    assert_ne!(taken.address, one.address);
    for args in [
        &["--web", "0.0.0.0:5081"][..],
        &["--web", "192.0.2.1:5081"],
        &["--web", "nonsense"],
        &["--web", "--json"],
        &["--web", "--plain"],
        &["--web", "--send", "hi"],
        &["--web", "--tail", "3"],
    ] {
        let mut refused = world.client("bob", args);
        assert_eq!(refused.ends().code(), Some(2), "{args:?}");
    }
}
