//! The web port of the real binary: clients that connect by WebSocket, and other requests.

mod world;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use world::World;
use world::web::{BINARY, FIN, UPGRADE, answer, ask, connect, frame, gateway, open, read_frame};

const WEB: &str = r#"{"web": "127.0.0.1:0"}"#;
const PROXIED: &str = r#"{"web": "127.0.0.1:0", "web_proxies": ["127.0.0.1"]}"#;

/// Whether the server keeps a connection open: neither bytes nor the end arrive.
fn stays(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let error = stream.read(&mut [0; 64]).err().map(|error| error.kind());
    matches!(error, Some(ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

/// Reads to the end, which has to arrive. Returns the first bytes of the frames before it.
#[track_caller]
fn ends(stream: &mut TcpStream) -> Vec<u8> {
    let mut frames = Vec::new();
    let end = loop {
        match read_frame(stream) {
            Ok((first, _)) => frames.push(first),
            Err(error) => break error.kind(),
        }
    };
    assert!(matches!(end, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{end:?}");
    frames
}

#[test]
fn people_of_both_ports_chat() {
    let world = World::configured(WEB);
    let mut alice = world.enters("alice");
    let by_web = gateway(&world.web(), "");
    world.admit("bob");
    let mut bob = world.client_by("bob", &by_web, &["--plain"]);
    bob.sees("you are in #lobby");
    alice.sees("bob joined");
    bob.types("tea by the web port");
    alice.sees("bob: tea by the web port");
    alice.types("tea by the chat port");
    bob.sees("alice: tea by the chat port");
    // Longer than a frame of one length byte, and than a record.
    let long = "x".repeat(8_000);
    bob.types(&format!("{long}!"));
    alice.sees(&format!("{long}!"));
    alice.types(&format!("/msg bob {long}?"));
    bob.sees(&format!("{long}?"));
    bob.types("/msg alice between us");
    alice.sees("between us");
    bob.types("/quit");
    alice.sees("bob left");
}

#[test]
fn a_ban_finds_the_real_source_behind_a_proxy() {
    let world = World::configured(PROXIED);
    let web = world.web();
    let from = |forwarded: &str| gateway(&web, &format!("X-Forwarded-For: {forwarded}\r\n"));
    world.admit("bob");
    let bob = world.client_by("bob", &from("203.0.113.7"), &["--plain"]);
    bob.sees("you are in #lobby");
    let (ok, told) = world.operator(&["ctl", "ban", "203.0.113.7", "1h"]);
    assert!(ok, "{told}");
    bob.sees("banned");
    // Addresses further left are claims of the client.
    for forwarded in ["203.0.113.7", "198.51.100.1, 203.0.113.7"] {
        let bob = world.client_by("bob", &from(forwarded), &["--plain"]);
        bob.sees("banned");
    }
    let bob = world.client_by("bob", &from("203.0.113.7, 203.0.113.8"), &["--plain"]);
    bob.sees("you are in #lobby");
}

#[test]
fn limits_apply_to_the_source_that_a_proxy_names() {
    let config = r#"{"web": "127.0.0.1:0", "web_proxies": ["127.0.0.1"], "deny": ["203.0.113.66"],
        "limits": {"unauthenticated_per_source_max": 3}}"#;
    let world = World::configured(config);
    let web = world.web();
    let from = |ip: &str| open(&web, &format!("X-Forwarded-For: {ip}\r\n"));
    // A denied address gets the HTTP response and no byte of the hop.
    assert_eq!(ends(&mut from("203.0.113.66").unwrap()), [0; 0]);
    let mut of_one: Vec<_> = (0..5).map(|_| from("203.0.113.1").unwrap()).collect();
    let mut of_others: Vec<_> = (2..5).map(|n| from(&format!("198.51.100.{n}")).unwrap()).collect();
    // The newest connections of a source replace only its own oldest ones.
    of_one[..2].iter_mut().for_each(|stream| drop(ends(stream)));
    let hello = frame(FIN | BINARY, &world.hello()[2..]);
    for stream in of_one[2..].iter_mut().chain(&mut of_others) {
        stream.write_all(&hello).unwrap();
        assert!(read_frame(stream).is_ok(), "it is still open");
    }
    // A request for which the proxy names no source is refused.
    let told = open(&web, "").unwrap_err().to_string();
    assert!(told.starts_with("HTTP/1.1 400 "), "{told}");
    // From other peers, the header is ignored, and a PROXY header is a malformed request.
    world.reloads(&config.replace(r#"["127.0.0.1"]"#, "[]"));
    let mut claimed = from("203.0.113.66").unwrap();
    claimed.write_all(&frame(FIN | BINARY, &world.hello()[2..])).unwrap();
    assert!(read_frame(&mut claimed).is_ok(), "the claim is not followed");
    assert!(answer(&web, &proxied([203, 0, 113, 66])).starts_with("HTTP/1.1 400 "));
}

#[test]
fn networks_of_ipv6_have_bounds_beside_those_of_their_sources() {
    let config = r#"{"web": "127.0.0.1:0", "web_proxies": ["127.0.0.1"],
        "limits": {"unauthenticated_per_source_max": 2, "login_ms_max": 3600000}}"#;
    let world = World::configured(config);
    let web = world.web();
    // NN stands for the number of a source.
    let networks = [
        ("hosts of a /64", "2001:db8:1:100::NN", 2),
        ("/64s of a /56", "2001:db8:2:1NN::1", 4),
        ("/56s of a /48", "2001:db8:3:NN00::1", 8),
        // The control.
        ("/48s", "2001:db8:4NN::1", 10),
    ];
    let (mut held, mut places) = (Vec::new(), 0);
    for (what, address, kept) in networks {
        let come = |n: u8| {
            let source = address.replace("NN", &format!("{n:02x}"));
            open(&web, &format!("X-Forwarded-For: {source}\r\n")).unwrap()
        };
        held.extend((0..10).map(come));
        places += kept;
        // Every connection is counted: it has a place, was evicted, or was refused.
        let others = held.len() as u64 - places;
        world.until(&format!("{places} places with ten {what}"), || {
            world.counter("unauthenticated") == places
                && world.counter("evicted") + world.counter("refused") == others
        });
    }
}

/// The beginning of a connection of a proxy with the PROXY protocol, version 2.
fn proxied(source: [u8; 4]) -> Vec<u8> {
    let head = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
    let rest = [127, 0, 0, 1, 0x30, 0x39, 0x01, 0xbb];
    [&head[..], &source, &rest, UPGRADE.as_bytes(), b"\r\n"].concat()
}

#[test]
fn the_proxy_protocol_names_the_source() {
    let config = PROXIED.replace("\"web_", "\"deny\": [\"203.0.113.66\"], \"web_");
    let world = World::configured(&config);
    for (source, is_admitted) in [([203, 0, 113, 66], false), ([203, 0, 113, 67], true)] {
        let mut stream = connect(&world.web());
        // Byte by byte, as far as that is not too slow.
        let bytes = proxied(source);
        for byte in &bytes[..40] {
            stream.write_all(&[*byte]).unwrap();
        }
        assert!(ask(&mut stream, &bytes[40..]).unwrap().starts_with("HTTP/1.1 101 "));
        // The hello is answered, or the connection ends.
        let _ = stream.write_all(&frame(FIN | BINARY, &world.hello()[2..]));
        assert_eq!(read_frame(&mut stream).is_ok(), is_admitted, "{source:?}");
    }
}

#[test]
fn invalid_requests_are_refused_with_a_reason() {
    let config = r#"{"web": "127.0.0.1:0", "web_origins": ["https://chat.example.org"]}"#;
    let world = World::configured(config);
    let web = world.web();
    let own = format!("{UPGRADE}\r\n");
    let with = |header: &str| format!("{UPGRADE}{header}\r\n\r\n");
    let host = |host: &str| own.replace("localhost", host);
    let long = format!("X: {}", "a".repeat(9_000));
    let cases = [
        ("101", own.clone()),
        ("101", host("chat.example.org")),
        ("101", host("127.0.0.1:5080")),
        ("101", with("Origin: https://chat.example.org")),
        ("101", with("Origin: http://localhost")),
        ("421", host("evil.example")),
        ("421", host("chat.example.org.evil.example")),
        ("403", with("Origin: https://evil.example")),
        ("403", with("Origin: null")),
        ("403", with("Origin: http://127.0.0.1:8000")),
        ("200", own.replace("/hop", "/")),
        ("200", own.replace("/hop", "/server.json")),
        ("404", own.replace("/hop", "/hop/")),
        ("405", own.replace("GET", "POST")),
        ("426", own.replace("Upgrade: websocket\r\n", "")),
        ("426", own.replace("13", "8")),
        ("400", own.replace("dGhl", "")),
        ("505", own.replace("HTTP/1.1", "HTTP/1.0")),
        ("431", with(&long)),
        // What two programs would read differently.
        ("400", with("Content-Length: 5")),
        ("400", with("Content-Length: 0\r\nContent-Length: 5")),
        ("400", with("Transfer-Encoding: chunked")),
        ("400", with("Transfer-Encoding : chunked")),
        ("400", with("Host: chat.example.org")),
        ("400", with("X: a\r\n b")),
        ("400", with("X: a\nY: b")),
        ("400", own.replace("\r\n", "\n") + "\r\n\r\n"),
        ("400", own.replace("/hop", "http://localhost/hop")),
        ("400", format!("{own}GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")),
        ("400", format!("{own}\u{1}")),
        ("400", "\u{16}\u{3}\u{1}".to_owned()),
    ];
    for (status, request) in cases {
        let mut stream = connect(&web);
        let head = ask(&mut stream, request.as_bytes()).unwrap_or_default();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {request}\n{head}");
        let is_hop = status == "101";
        assert_eq!(
            head.contains("Content-Security-Policy: default-src 'none';"),
            !is_hop,
            "{head}"
        );
        // The chat port stays silent, whatever is asked.
        assert_eq!(answer(&world.address, request.as_bytes()), "");
    }
    let told = answer(&web, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(told.starts_with("HTTP/1.1 200 OK\r\n") && told.ends_with("\r\n\r\nok\n"), "{told}");
    let told = answer(&web, b"HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(told.starts_with("HTTP/1.1 200 OK\r\n") && told.ends_with("\r\n\r\n"), "{told}");
}

#[test]
fn frames_that_no_client_sends_end_the_connection() {
    // No deadline ends them.
    let config = r#"{"web": "127.0.0.1:0", "limits": {"login_ms_max": 3600000}}"#;
    let world = World::configured(config);
    let web = world.web();
    let hello = world.hello()[2..].to_vec();
    let (first, rest) = hello.split_at(20);
    let whole = frame(FIN | BINARY, &hello);
    let mut unmasked = vec![FIN | BINARY, u8::try_from(hello.len()).unwrap()];
    unmasked.extend(&hello);
    let bad = [
        ("text", frame(FIN | 1, &hello)),
        ("unmasked", unmasked),
        ("compressed", frame(0xc0 | BINARY, &hello)),
        ("an unknown opcode", frame(FIN | 3, &hello)),
        ("out of turn", frame(FIN, &hello)),
        ("a message in another", [frame(BINARY, first), whole.clone()].concat()),
        ("a ping in parts", frame(9, b"there?")),
        ("a long ping", frame(FIN | 9, &[0; 126])),
        ("longer than a record", frame(FIN | BINARY, &[0; 2_049])),
        ("longer in parts", [frame(BINARY, &[0; 2_000]), frame(FIN, &[0; 49])].concat()),
        ("64 bits of length", vec![FIN | BINARY, 0xff, 0, 0, 0, 0, 0, 1]),
        ("nothing but pongs", frame(FIN | 10, b"").repeat(65)),
        ("a record with its length", frame(FIN | BINARY, &world.hello())),
        ("an invalid MAC", frame(FIN | BINARY, &[&hello[..], b"!"].concat())),
        ("an empty record", frame(FIN | BINARY, b"")),
    ];
    for (case, frames) in bad {
        let mut stream = open(&web, "").unwrap();
        let _ = stream.write_all(&frames);
        assert_eq!(ends(&mut stream), [0; 0], "{case}");
    }
    // The controls: the hello is answered, whole, and in pieces with pings between them.
    let in_pieces =
        [frame(BINARY, first), frame(FIN | 9, b"a"), frame(0, b""), frame(FIN, rest)].concat();
    for (frames, wanted) in [(whole, &[0x82][..]), (in_pieces, &[0x8a, 0x82])] {
        let mut stream = open(&web, "").unwrap();
        stream.write_all(&frames).unwrap();
        let read: Vec<_> = wanted.iter().map(|_| read_frame(&mut stream).unwrap().0).collect();
        assert_eq!(read, wanted);
        // A close is answered by one.
        stream.write_all(&frame(FIN | 8, &[3, 232])).unwrap();
        assert_eq!(ends(&mut stream), [0x88]);
    }
}

#[test]
fn slow_requests_do_not_block_logins() {
    let world = World::configured(r#"{"web": "127.0.0.1:0", "limits": {"login_ms_max": 20000}}"#);
    let web = world.web();
    let request = UPGRADE.as_bytes();
    let mut slow: Vec<_> = (0..100)
        .map(|at| {
            let mut stream = connect(&web);
            stream.write_all(&request[..at % request.len()]).unwrap();
            stream
        })
        .collect();
    // A terminal client logs in at each port meanwhile.
    world.chats_at_both_ports();
    // Each of them ends at its deadline, and without an answer.
    for stream in &mut slow {
        let end = stream.read(&mut [0]).map_err(|error| error.kind());
        assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "{end:?}");
    }
}

#[test]
fn loopback_is_exempt_at_the_chat_port_only() {
    let config = r#"{"server_ip": "0.0.0.0", "web": "127.0.0.1:0",
        "limits": {"unauthenticated_max": 8, "login_ms_max": 60000}}"#;
    let world = World::configured_at(config, "0.0.0.0:0");
    let port = world.address.rsplit(':').next().unwrap();
    // Three quarters of the places are for peers that are not known, and everybody behind a proxy
    // is none.
    let web = world.web();
    let _by_web: Vec<_> = (0..10).map(|_| open(&web, "").unwrap()).collect();
    let mut by_chat: Vec<_> = (0..2).map(|_| connect(&format!("127.0.0.1:{port}"))).collect();
    world.until("all places are taken", || world.counter("unauthenticated") == 8);
    assert!(by_chat.iter_mut().all(stays));
}

#[test]
fn origins_and_proxies_reload_and_the_address_waits() {
    let world = World::configured(WEB);
    let web = world.web();
    let request = format!("{UPGRADE}\r\n").replace("localhost", "chat.example.org");
    assert!(answer(&web, request.as_bytes()).starts_with("HTTP/1.1 421 "));
    let config = r#"{"web": "127.0.0.1:1", "web_origins": ["https://chat.example.org"]}"#;
    fs::write(world.home().join("config.json"), config).unwrap();
    let (ok, told) = world.operator(&["ctl", "reload"]);
    assert!(ok && told.contains("only the next start changes web"), "{told}");
    assert!(ask(&mut connect(&web), request.as_bytes()).unwrap().starts_with("HTTP/1.1 101 "));
    for (key, value) in [("web", "5080"), ("web_origins", r#"["chat.example.org"]"#)] {
        fs::write(world.home().join("config.json"), format!("{{\"{key}\": {value}}}")).unwrap();
        let (ok, told) = world.operator(&["check"]);
        assert!(!ok && told.contains(key), "{told}");
    }
}

#[test]
fn an_address_of_the_command_line_is_no_change_that_waits_for_a_start() {
    let reloads = |world: &World, config: &str| {
        fs::write(world.home().join("config.json"), config).unwrap();
        let (ok, told) = world.operator(&["ctl", "reload"]);
        assert!(ok, "{told}");
        told
    };
    let world = World::configured_under("export PYCHAT_WEB=127.0.0.1:0", "{}");
    let told = reloads(&world, "{}");
    assert!(!told.contains("only the next start changes"), "{told}");
    let told = reloads(&World::configured("{}"), r#"{"web": "127.0.0.1:0"}"#);
    assert!(told.contains("only the next start changes web"), "the control: {told}");
}
