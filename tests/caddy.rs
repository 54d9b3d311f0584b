//! The web port behind Debian's Caddy: the page and clients by https, and bans that apply to the
//! real source.

#[path = "world/tls.rs"]
mod tls;
mod world;

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tls::Certificate;
use world::apart::skip;
use world::proxy::Proxy;
use world::reserved::ReservedPort;
use world::web::gateway;
use world::{Program, World};

/// Caddy in front of a web port.
struct Caddy {
    _program: Program,
    _ports: [ReservedPort; 2],
    http: String,
    https: String,
    authority: Arc<Certificate>,
}

fn is_here(test: &str) -> bool {
    let version = Command::new("caddy").arg("version").stdout(Stdio::null()).status();
    let is_here = version.is_ok_and(|status| status.success());
    if !is_here {
        assert!(std::env::var_os("PYCHAT_NEEDS_CADDY").is_none(), "there is no caddy here");
        skip(test, "there is no caddy here (apt-get install caddy)");
    }
    is_here
}

impl Caddy {
    fn start(world: &World) -> Caddy {
        let folder = world.home().join("caddy");
        fs::create_dir(&folder).unwrap();
        let ports = [ReservedPort::new(), ReservedPort::new()];
        let [http, https] = [0, 1].map(|at| ports[at].address());
        let port = |address: &str| address.rsplit(':').next().unwrap().to_owned();
        let web = world.web();
        let file = folder.join("Caddyfile");
        let text = format!(
            "{{\n admin off\n skip_install_trust\n auto_https disable_redirects\n}}\n\
             http://:{} {{\n bind 127.0.0.1\n reverse_proxy {web}\n}}\n\
             https://localhost:{} {{\n bind 127.0.0.1\n tls internal\n reverse_proxy {web}\n}}\n",
            port(&http),
            port(&https),
        );
        fs::write(&file, text).unwrap();
        let mut command = Command::new("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file);
        command.env("XDG_DATA_HOME", &folder).env("XDG_CONFIG_HOME", &folder).env("HOME", &folder);
        let program = Program::start(command);
        program.is_told("serving initial configuration");
        let root = folder.join("caddy/pki/authorities/local/root.crt");
        world.until("caddy has an authority", || root.exists());
        let authority = Arc::new(Certificate::of_authority(&fs::read_to_string(root).unwrap()));
        world.until("caddy has a certificate", || authority.connect(&https).is_ok());
        Caddy { _program: program, _ports: ports, http, https, authority }
    }
}

fn get(path: &str) -> Vec<u8> {
    let head = "Host: localhost\r\nConnection: close\r\n\r\n";
    format!("GET {path} HTTP/1.1\r\n{head}").into_bytes()
}

#[test]
fn people_and_the_page_come_through_caddy_by_https() {
    if !is_here("people_and_the_page_come_through_caddy_by_https") {
        return;
    }
    let world = World::configured(r#"{"web": "127.0.0.1:0", "web_proxies": ["127.0.0.1"]}"#);
    let caddy = Caddy::start(&world);
    for (path, wanted) in [
        ("/", "<!doctype html>"),
        ("/page/main.js", "import"),
        ("/server.json", "\"fingerprint\""),
        ("/health", "ok\n"),
    ] {
        let told = caddy.authority.answer(&caddy.https, &get(path)).unwrap();
        assert!(told.starts_with("HTTP/1.1 200 ") && told.contains(wanted), "{path}: {told}");
    }
    let mut alice = world.enters("alice");
    let by_https = gateway(&caddy.authority.tunnel(&caddy.https), "");
    world.admit("bob");
    let mut bob = world.client_by("bob", &by_https, &["--plain"]);
    bob.sees("you are in #lobby");
    let long = "x".repeat(8_000);
    bob.types(&format!("{long}!"));
    alice.sees(&format!("{long}!"));
    alice.types("through two programs");
    bob.sees("alice: through two programs");
}

/// Bans the source of bob, who connects from one address. Returns whether carol, who connects from
/// another one, is still connected.
fn carol_stays(config: &str) -> bool {
    let world = World::configured(config);
    let caddy = Caddy::start(&world);
    let from = |last: u8| {
        let source = Proxy::from_source(&caddy.http, [127, 0, 0, last]);
        (gateway(&source.address, ""), source)
    };
    let [(bobs, _bobs), (carols, _carols)] = [from(2), from(3)];
    ["bob", "carol"].iter().for_each(|name| world.admit(name));
    let bob = world.client_by("bob", &bobs, &["--plain"]);
    bob.sees("you are in #lobby");
    let mut carol = world.client_by("carol", &carols, &["--plain"]);
    carol.sees("you are in #lobby");
    // What a client claims itself does not count: Caddy replaces it.
    let (ok, told) = world.operator(&["ctl", "ban", "127.0.0.2", "1h", "--yes"]);
    assert!(ok, "{told}");
    if config.contains("web_proxies") {
        bob.sees("banned");
        carol.types("still here");
        carol.sees("You: still here");
        return true;
    }
    // The control: without web_proxies, all of them have the proxy's address.
    let (ok, told) = world.operator(&["ctl", "ban", "127.0.0.1", "1h", "--yes"]);
    assert!(ok, "{told}");
    bob.sees("banned");
    carol.sees("banned");
    false
}

#[test]
fn a_ban_finds_the_source_behind_caddy() {
    if !is_here("a_ban_finds_the_source_behind_caddy") {
        return;
    }
    assert!(carol_stays(r#"{"web": "127.0.0.1:0", "web_proxies": ["127.0.0.1"]}"#));
    assert!(!carol_stays(r#"{"web": "127.0.0.1:0"}"#));
}
