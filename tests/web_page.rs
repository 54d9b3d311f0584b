//! The page at the web port of the real binary: its files, what it learns of the server, and where
//! browsers allow no encryption.

mod world;

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;
use world::World;
use world::web::{answer, ask, connect};

const WEB: &str = r#"{"web": "127.0.0.1:0"}"#;

/// A request for a path of this `Host`.
fn get(host: &str, path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n")
}

/// The head and the body of the answer to a request that ends the connection.
fn fetch(web: &str, host: &str, path: &str, headers: &str) -> (String, String) {
    let told = answer(web, get(host, path, &format!("{headers}Connection: close\r\n")).as_bytes());
    let (head, body) = told.split_once("\r\n\r\n").unwrap_or((&told, ""));
    (head.to_owned(), body.to_owned())
}

fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Reads the answer to a request that keeps the connection.
fn next(stream: &mut TcpStream, request: &str) -> (String, Vec<u8>) {
    let head = ask(stream, request.as_bytes()).unwrap();
    let length = value(&head, "Content-Length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, body)
}

#[test]
fn a_browser_gets_the_page_with_its_rules() {
    let world = World::configured(WEB);
    let web = world.web();
    let (head, body) = fetch(&web, "localhost", "/", "");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(body.starts_with("<!doctype html>") && body.contains("pychat"), "{body}");
    let policy = value(&head, "Content-Security-Policy").unwrap();
    for rule in [
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.split("; ").any(|own| own == rule), "{rule}: {policy}");
    }
    assert_eq!(value(&head, "X-Content-Type-Options"), Some("nosniff"));
    // Workers of the page share memory.
    assert_eq!(value(&head, "Cross-Origin-Opener-Policy"), Some("same-origin"));
    assert_eq!(value(&head, "Cross-Origin-Embedder-Policy"), Some("require-corp"));
    assert_eq!(value(&head, "Connection"), Some("close"));
    for (path, kind) in [
        ("/page/main.js", "text/javascript; charset=utf-8"),
        ("/page/style.css", "text/css; charset=utf-8"),
        ("/sw.js", "text/javascript; charset=utf-8"),
        ("/manifest.webmanifest", "application/manifest+json"),
        ("/icons/icon.svg", "image/svg+xml"),
    ] {
        let (head, body) = fetch(&web, "localhost", path, "");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {head}");
        assert_eq!(value(&head, "Content-Type"), Some(kind), "{path}");
        let file = format!("{}/web{path}", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(body, std::fs::read_to_string(file).unwrap(), "{path}");
    }
    for path in ["/page/", "/page/none.js", "/../Cargo.toml", "/page/../sw.js", "/index.html?a"] {
        let (head, _) = fetch(&web, "localhost", path, "");
        assert!(head.starts_with("HTTP/1.1 404 "), "{path}: {head}");
    }
    // A name that somebody has made point here gets nothing.
    let (head, _) = fetch(&web, "evil.example", "/", "");
    assert!(head.starts_with("HTTP/1.1 421 "), "{head}");
}

#[test]
fn a_file_that_the_browser_has_is_not_sent_again_and_the_connection_stays() {
    let world = World::configured(WEB);
    let mut stream = connect(&world.web());
    let (head, body) = next(&mut stream, &get("localhost", "/page/main.js", ""));
    let tag = value(&head, "ETag").unwrap().to_owned();
    assert!(!body.is_empty() && value(&head, "Connection").is_none(), "{head}");
    assert_eq!(value(&head, "Cache-Control"), Some("no-cache"));
    let request = get("localhost", "/page/main.js", "").replacen("GET", "HEAD", 1);
    let bare = ask(&mut stream, request.as_bytes()).unwrap();
    assert_eq!(bare, head, "HEAD has no body");
    let again = format!("If-None-Match: \"0\", {tag}\r\n");
    let (head, body) = next(&mut stream, &get("localhost", "/page/main.js", &again));
    assert!(head.starts_with("HTTP/1.1 304 ") && body.is_empty(), "{head}");
    let (head, _) = next(&mut stream, &get("localhost", "/page/words.js", &again));
    assert!(head.starts_with("HTTP/1.1 200 "), "another file: {head}");
    // What ends a connection ends this one too.
    stream.write_all(get("localhost", "/nothing", "").as_bytes()).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("HTTP/1.1 404 "), "{rest}");
}

#[test]
fn the_client_for_browsers_is_sent_as_it_was_built() {
    let world = World::configured(WEB);
    let (head, body) = next(&mut connect(&world.web()), &get("localhost", "/core.wasm", ""));
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(value(&head, "Content-Type"), Some("application/wasm"));
    assert_eq!(value(&head, "Content-Encoding"), Some("gzip"));
    let file = format!("{}/web/core.wasm.gz", env!("CARGO_MANIFEST_DIR"));
    assert!(body == std::fs::read(file).unwrap(), "{} bytes are others", body.len());
}

#[test]
fn a_page_learns_which_server_it_is_and_nothing_secret() {
    let config = r#"{"web": "127.0.0.1:0", "invite_host": "chat.example.org"}"#;
    let world = World::configured(config);
    let (head, body) = fetch(&world.web(), "localhost", "/server.json", "");
    assert_eq!(value(&head, "Content-Type"), Some("application/json"));
    assert_eq!(value(&head, "Cache-Control"), Some("no-store"));
    let about: Value = serde_json::from_str(&body).unwrap();
    let print = world.server_key().fingerprint().to_string();
    assert_eq!((&about["fingerprint"], &about["founding"]), (&print.clone().into(), &print.into()));
    assert_eq!(about["name"], "chat.example.org");
    let keys: Vec<_> = about.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["fingerprint", "founding", "name", "page", "version"]);
}

#[test]
fn where_browsers_allow_no_encryption_a_page_says_what_to_do() {
    let shows = |world: &World, host: &str, headers: &str| {
        let (head, body) = fetch(&world.web(), host, "/", headers);
        let is_refused = head.starts_with("HTTP/1.1 403 ");
        assert_eq!(is_refused, body.contains("This address is not encrypted"), "{head}\n{body}");
        assert!(is_refused || head.starts_with("HTTP/1.1 200 "), "{head}");
        !is_refused
    };
    let world =
        World::configured(r#"{"web": "127.0.0.1:0", "web_origins": ["https://a.example"]}"#);
    assert!(shows(&world, "localhost:5080", "") && shows(&world, "127.0.0.1", ""));
    assert!(shows(&world, "[::1]:5080", "") && shows(&world, "a.example", ""));
    assert!(!shows(&world, "192.168.1.7:5080", ""));
    // What anybody can claim does not count.
    assert!(!shows(&world, "192.168.1.7:5080", "X-Forwarded-Proto: https\r\n"));
    let proxied = r#"{"web": "127.0.0.1:0", "web_proxies": ["127.0.0.1"]}"#;
    let world = World::configured(proxied);
    assert!(shows(&world, "192.168.1.7", "X-Forwarded-Proto: https\r\n"));
    assert!(!shows(&world, "192.168.1.7", "X-Forwarded-Proto: http\r\n"));
    let twice = "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n";
    let (head, _) = fetch(&world.web(), "192.168.1.7", "/", twice);
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
}

#[test]
fn a_hundred_pages_do_not_keep_a_terminal_client_out() {
    let world = World::configured(WEB);
    let web = world.web();
    let mut pages: Vec<_> = (0..100)
        .map(|_| {
            let mut page = connect(&web);
            page.write_all(get("localhost", "/page/main.js", "").as_bytes()).unwrap();
            page
        })
        .collect();
    world.chats_at_both_ports();
    // The newest pages have their file. Some of the oldest have made room.
    let (head, body) = next(pages.last_mut().unwrap(), "");
    assert!(head.starts_with("HTTP/1.1 200 ") && !body.is_empty(), "{head}");
    let mut page = connect(&web);
    let (head, _) = next(&mut page, &get("localhost", "/page/main.js", ""));
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}

#[test]
fn an_invite_for_browsers_is_the_address_of_the_page_and_the_key() {
    let world = World::configured(WEB);
    let print = world.server_key().fingerprint().to_url();
    // Only the running server knows its port.
    let (ok, told) = world.operator(&["invite", "bob", "--web"]);
    assert!(ok && told.contains(&format!("http://{}/#{print}\n", world.web())), "{told}");
    let world = world.stopped();
    let invites = |config: &str, args: &[&str]| {
        std::fs::write(world.home().join("config.json"), config).unwrap();
        world.operator(&[&["invite", "bob", "--web"], args].concat())
    };
    let tls = r#""web_tls": {"certificate": "a", "key": "b"}"#;
    for (config, wanted) in [
        (r#"{"web": "127.0.0.1:5080"}"#.to_owned(), "http://127.0.0.1:5080"),
        (
            r#"{"web": "127.0.0.1:5080", "web_origins": ["http://a.example", "https://b.example"]}"#
                .to_owned(),
            "https://b.example",
        ),
        (format!(r#"{{"web": "192.0.2.7:5080", {tls}}}"#), "https://192.0.2.7:5080"),
        (
            format!(r#"{{"web": "0.0.0.0:443", "invite_host": "chat.example.org", {tls}}}"#),
            "https://chat.example.org:443",
        ),
    ] {
        let (ok, told) = invites(&config, &[]);
        assert!(ok && told.contains(&format!("{wanted}/#{print}\n")), "{told}");
        assert_eq!(told.contains("only browsers on this computer"), wanted.starts_with("http:"));
        let (ok, told) = invites(&config, &["--json"]);
        let object: Value = serde_json::from_str(&told).unwrap();
        assert!(ok && object["invite"] == format!("{wanted}/#{print}"), "{told}");
        let (ok, told) = invites(&config, &["--qr"]);
        assert!(ok && told.contains('\u{2588}'), "{told}");
    }
    for (config, wanted) in [
        ("{}", "the server has no web port"),
        (r#"{"web": "0.0.0.0:5080"}"#, "browsers need an address with https"),
    ] {
        let (ok, told) = invites(config, &[]);
        assert!(!ok && told.contains(wanted), "{told}");
    }
}
