//! TLS at the web port of the real binary: clients that come by it, certificates that change, and
//! peers that speak something else.

#[path = "world/tls.rs"]
mod tls;
mod world;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

use tls::Certificate;
use world::World;
use world::web::{answer, connect, gateway};

const CONFIG: &str = r#"{"web": "127.0.0.1:0", "log": {"level": "debug"},
    "web_tls": {"certificate": "web.pem", "key": "web.key"}}"#;

/// A server whose web port has a certificate.
fn world() -> (World, Arc<Certificate>) {
    let certificate = Certificate::new();
    let world = World::configured_with(CONFIG, |home| certificate.write(home));
    (world, Arc::new(certificate))
}

fn get(host: &str, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").into_bytes()
}

#[test]
fn people_chat_by_tls_and_the_same_port_has_http() {
    let (world, certificate) = world();
    let web = world.web();
    // The control: a client that wants another certificate gets none of it.
    assert!(Certificate::new().connect(&web).is_err());
    let mut alice = world.enters("alice");
    let by_tls = gateway(&certificate.tunnel(&web), "");
    world.admit("bob");
    let mut bob = world.client_by("bob", &by_tls, &["--plain"]);
    bob.sees("you are in #lobby");
    let long = "x".repeat(8_000);
    for (at, end) in ["a", "b", "c", "d"].iter().enumerate() {
        bob.types(&format!("{at} {long}{end}"));
        alice.sees(&format!("{long}{end}"));
        alice.types(&format!("/msg bob {at} {long}{end}"));
        bob.sees(&format!("{long}{end}"));
    }
    // By http too, which is encrypted by the records alone.
    world.admit("carol");
    let carol = world.client_by("carol", &gateway(&web, ""), &["--plain"]);
    carol.sees("you are in #lobby");
    bob.sees("carol joined");
    bob.types("/quit");
    alice.sees("bob left");
}

#[test]
fn a_file_comes_whole_by_tls() {
    let (world, certificate) = world();
    let by_tls = gateway(&certificate.tunnel(&world.web()), "");
    let alice = world.enters("alice");
    world.admit("bob");
    // Records of a file are as long as those of TLS, and arrive cut elsewhere.
    let bytes: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).take(1_000_000).collect();
    let path = world.data_folder("bob").with_file_name("long.bin");
    fs::write(&path, &bytes).unwrap();
    let mut bob = world.client_by("bob", &by_tls, &["--send-file", path.to_str().unwrap()]);
    assert!(bob.ends().success(), "{:?}", bob.told());
    alice.sees("long.bin");
}

#[test]
fn what_follows_the_end_of_a_peer_stops_nobody() {
    let (world, certificate) = world();
    let web = world.web();
    for head in [
        "",
        "GET /hop HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ] {
        let mut peer = certificate.connect(&web).unwrap();
        peer.write_all(head.as_bytes()).unwrap();
        if !head.is_empty() {
            let mut told = [0; 12];
            peer.read_exact(&mut told).unwrap();
            assert_eq!(&told, b"HTTP/1.1 101");
        }
        // The longest record, the close, and more bytes in the same part of what is read.
        peer.conn.writer().write_all(&[b'x'; 16_384]).unwrap();
        peer.conn.send_close_notify();
        let mut bytes = Vec::new();
        while peer.conn.wants_write() {
            peer.conn.write_tls(&mut bytes).unwrap();
        }
        bytes.extend([0x17; 2_500]);
        peer.sock.write_all(&bytes).unwrap();
        // The server ends the connection, and continues.
        let _ = peer.sock.read_to_end(&mut Vec::new());
        assert!(certificate.answer(&web, &get("localhost", "/health")).unwrap().ends_with("ok\n"));
    }
    drop(world.enters("alice"));
}

#[test]
fn the_page_comes_by_https_and_http_leads_to_it() {
    let (world, certificate) = world();
    let web = world.web();
    let page = certificate.answer(&web, &get("192.168.1.7", "/")).unwrap();
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("<!doctype html>"), "{page}");
    let script = certificate.answer(&web, &get("localhost", "/page/sheets.js")).unwrap();
    assert!(script.ends_with(&fs::read_to_string("web/page/sheets.js").unwrap()));
    let told = answer(&web, &get("192.168.1.7:5080", "/"));
    assert!(told.starts_with("HTTP/1.1 307 "), "{told}");
    assert!(told.contains("\r\nLocation: https://192.168.1.7:5080/\r\n"), "{told}");
    // On this computer, http is as good.
    assert!(answer(&web, &get("localhost", "/")).starts_with("HTTP/1.1 200 "));
    // Names are checked in both.
    let told = certificate.answer(&web, &get("evil.example", "/")).unwrap();
    assert!(told.starts_with("HTTP/1.1 421 "), "{told}");
}

#[test]
fn a_certificate_is_read_again_when_it_changes_and_kept_while_it_is_damaged() {
    let (world, first) = world();
    let web = world.web();
    let mut held = first.connect(&web).unwrap();
    let second = Certificate::new();
    second.write(&world.home());
    world.until("the new certificate is in force", || second.connect(&web).is_ok());
    assert!(first.connect(&web).is_err(), "the control");
    // An earlier connection continues.
    held.write_all(&get("localhost", "/health")).unwrap();
    let mut told = String::new();
    held.read_to_string(&mut told).unwrap();
    assert!(told.ends_with("ok\n"), "{told}");
    let (ok, told) = world.operator(&["check"]);
    assert!(ok || !told.contains("web.pem"), "{told}");
    for (file, text) in [
        ("web.pem", "no certificate\n".to_owned()),
        ("web.pem", second.pem[..200].to_owned()),
        ("web.pem", Certificate::new().pem),
        ("web.key", "no key\n".to_owned()),
    ] {
        second.write(&world.home());
        fs::write(world.home().join(file), text).unwrap();
        let (ok, told) = world.operator(&["check"]);
        assert!(!ok && told.contains(file), "{told}");
        world.server.is_told("the web port keeps its certificate");
        world.server.forgets("the web port keeps its certificate");
        assert!(second.connect(&web).is_ok());
    }
    // A pipe is not opened.
    second.write(&world.home());
    let key = world.home().join("web.key");
    fs::remove_file(&key).unwrap();
    assert!(Command::new("mkfifo").arg(&key).status().unwrap().success());
    let (ok, told) = world.operator(&["check"]);
    assert!(!ok && told.contains("web.key: not a file"), "{told}");
    world.server.is_told("web.key: not a file");
    assert!(second.connect(&web).is_ok());
    // A server does not start without its certificate.
    let world = world.stopped();
    let mut server = world.program("operator");
    let output = server
        .args(["server", "--no-owner", "--listen", "127.0.0.1:0", "--home"])
        .arg(world.home())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("web.key"));
}

#[test]
fn a_peer_that_speaks_other_tls_or_stops_gets_no_further() {
    let certificate = Certificate::new();
    let config = CONFIG.replace("{\"web\":", "{\"limits\": {\"login_ms_max\": 2000}, \"web\":");
    let world = World::configured_with(&config, |home| certificate.write(home));
    let web = world.web();
    // A hello of TLS 1.2, records of no kind, a record that is too long.
    let mut old = vec![0x16, 3, 1, 0, 47, 1, 0, 0, 43, 3, 3];
    old.extend([7; 32]);
    old.extend([0, 0, 2, 0xc0, 0x2f, 1, 0, 0]);
    let garbage = [&[0x16, 3, 1, 0, 200][..], &[0xff; 200]].concat();
    for bytes in [old, garbage, vec![0x16, 3, 1, 0xff, 0xff, 0, 0], vec![0x16; 64]] {
        let told = answer(&web, &bytes);
        assert!(!told.contains("HTTP"), "{told}");
    }
    // Ciphertext that was altered.
    let mut altered = certificate.connect(&web).unwrap();
    altered.sock.write_all(&[0x17, 3, 3, 0, 32]).unwrap();
    altered.sock.write_all(&[9; 32]).unwrap();
    let end = altered.conn.complete_io(&mut altered.sock).and_then(|_| altered.read(&mut [0; 64]));
    let told = end.unwrap_err().to_string();
    assert!(told.contains("alert"), "{told}");
    // Handshakes that stop end at their deadline, and nobody waits for them.
    let mut slow: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = connect(&web);
            stream.write_all(&[0x16, 3, 1, 0, 200, 1]).unwrap();
            stream
        })
        .collect();
    assert!(certificate.answer(&web, &get("localhost", "/health")).unwrap().ends_with("ok\n"));
    let alice = world.enters("alice");
    for stream in &mut slow {
        let end = stream.read(&mut [0; 64]).map_err(|error| error.kind());
        assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "{end:?}");
    }
    drop(alice);
}

/// A server that is its own certificate authority, for these names.
fn at_home(names: &str) -> World {
    World::configured(&format!(r#"{{"web": "127.0.0.1:0", "web_names": {names}}}"#))
}

/// The certificate of the authority, which a phone installs.
fn authority(web: &str) -> Certificate {
    let told = answer(web, b"GET /ca.crt HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    let (head, pem) = told.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains("application/x-x509-ca-cert"), "{head}");
    Certificate::of_authority(pem)
}

#[test]
fn a_server_certifies_its_names_in_the_home_network_and_no_others() {
    let world = at_home(r#"["192.168.1.7", "chat.home.arpa"]"#);
    let web = world.web();
    let own = authority(&web);
    for name in ["192.168.1.7", "chat.home.arpa"] {
        let mut stream = own.connect_to(&web, name).unwrap();
        stream.write_all(&get(name, "/server.json")).unwrap();
        let mut told = String::new();
        stream.read_to_string(&mut told).unwrap();
        assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
    }
    for name in ["192.168.1.8", "other.home.arpa", "localhost"] {
        assert!(own.connect_to(&web, name).is_err(), "{name}");
    }
    let folder = world.home().join("keys/web");
    for name in ["ca.key", "server.key"] {
        let mode = fs::metadata(folder.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let (ok, told) = world.operator(&["invite", "bob", "--web"]);
    let port = web.rsplit_once(':').unwrap().1;
    assert!(ok && told.contains(&format!("https://192.168.1.7:{port}/#")), "{told}");
    // Other names get another certificate of the same authority.
    let leaf = fs::read(folder.join("server.pem")).unwrap();
    let config = r#"{"web": "127.0.0.1:0", "web_names": ["other.home.arpa"]}"#;
    fs::write(world.home().join("config.json"), config).unwrap();
    let (ok, told) = world.operator(&["ctl", "reload"]);
    assert!(ok, "{told}");
    world.until("the new certificate is in force", || {
        own.connect_to(&web, "other.home.arpa").is_ok()
    });
    assert!(own.connect_to(&web, "chat.home.arpa").is_err(), "the former name is no longer valid");
    assert_ne!(fs::read(folder.join("server.pem")).unwrap(), leaf);
    assert_eq!(authority(&web).pem, own.pem);
}

#[test]
fn nobody_can_certify_a_public_site_with_the_authority_of_a_home() {
    let world = at_home(r#"["chat.home.arpa"]"#);
    let own = authority(&world.web());
    // serverAuth, of RFC 5280, section 4.2.1.12: it certifies neither mail nor programs.
    assert!(own.der.windows(10).any(|part| part == b"\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01"));
    let key = fs::read_to_string(world.home().join("keys/web/ca.key")).unwrap();
    // Somebody has got the key, and uses it for a server of their own.
    let key = rcgen::KeyPair::from_pem(&key).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "pychat at home");
    let issuer = rcgen::Issuer::new(params, key);
    for (name, is_trusted) in
        [("tea.home.arpa", true), ("chat.example.org", false), ("203.0.113.7", false)]
    {
        let pair = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        let leaf = params.signed_by(&pair, &issuer).unwrap();
        let certificate = Certificate::of_authority(&leaf.pem()).with_key(&pair.serialize_pem());
        let elsewhere = World::configured_with(CONFIG, |home| certificate.write(home));
        let reached = own.connect_to(&elsewhere.web(), name);
        assert_eq!(reached.is_ok(), is_trusted, "{name}: {:?}", reached.err());
    }
}
