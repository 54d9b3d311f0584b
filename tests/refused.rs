//! Registered keys that may not come in, on the real binary: what it costs their source.

mod world;

use std::sync::LazyLock;
use std::time::Duration;

use pychat::crypto::{Identity, PublicKey, RecordType};
use pychat::invite::Invite;
use pychat::net::tunnel::{Dial, Incoming, Tunnel, dial, fetch_key};
use pychat::suite::Suites;
use pychat::wire::codec::Login;
use world::proxy::Proxy;
use world::{DEADLINE, World};

/// The key that is registered.
static KEY: LazyLock<Identity> = LazyLock::new(Identity::generate);

/// bob, who comes from one address.
struct Bob {
    way: Proxy,
    server: PublicKey,
}

impl Bob {
    fn registered(world: &World) -> Bob {
        world.registers("bob", KEY.public());
        let invite: Invite = world.invite.parse().unwrap();
        let print = invite.fingerprint.unwrap();
        let server = fetch_key(&invite.host, invite.port, &print, DEADLINE).unwrap();
        Bob { way: Proxy::from_source(&world.address, [127, 9, 9, 1]), server }
    }

    /// Returns the first message of the server after the login, and the connection; `None` if the
    /// server has refused it.
    fn logs_in(&self) -> Option<(String, Tunnel)> {
        let (host, port) = self.way.address.split_once(':').unwrap();
        let login = Login {
            name: "bob".parse().unwrap(),
            device: None,
            version: "0".into(),
            major: 1,
            features: vec![],
            ticket: None,
        };
        let to = Dial {
            host,
            port: port.parse().unwrap(),
            server: &self.server,
            suites: Suites::default(),
            patience: Duration::from_secs(60),
        };
        let mut tunnel = dial(&to, &KEY, &login).ok()?;
        let told = match tunnel.reader.receive() {
            Ok(Incoming::Record(RecordType::Json, body)) => {
                String::from_utf8_lossy(body).into_owned()
            }
            _ => return None,
        };
        Some((told, tunnel))
    }
}

/// Two refusals are enough, also where each takes a second.
const CONFIG: &str =
    r#""exempt": [], "limits": {"penalty_refuse_s": 8, "sessions_per_user_max": 1}"#;

#[track_caller]
fn is_shut_out(world: &World, bob: &Bob, word: &str) {
    let mut logins = 0;
    while let Some((told, _)) = bob.logs_in() {
        assert!(told.contains(word), "{told}");
        logins += 1;
        assert!(logins < 8, "a refusal costs nothing");
    }
    assert!(logins >= 2 && world.counter("refused") > 0, "{logins}");
}

#[test]
fn a_banned_key_costs_its_source_as_much_as_a_failed_login() {
    let world = World::configured(&format!("{{{CONFIG}}}"));
    let bob = Bob::registered(&world);
    assert!(world.operator(&["ctl", "ban", "bob"]).0);
    is_shut_out(&world, &bob, "banned");
}

#[test]
fn a_key_without_its_password_costs_its_source_as_much_as_a_failed_login() {
    let world = World::configured(&format!("{{{CONFIG}, \"passwords\": \"all\"}}"));
    let bob = Bob::registered(&world);
    is_shut_out(&world, &bob, "password");
}

#[test]
fn a_person_with_too_many_sessions_can_come_back() {
    let world = World::configured(&format!("{{{CONFIG}}}"));
    let bob = Bob::registered(&world);
    let (told, here) = bob.logs_in().unwrap();
    assert!(told.contains("welcome"), "{told}");
    for _ in 0..6 {
        let (told, _) = bob.logs_in().expect("it costs a second");
        assert!(told.contains("goodbye"), "{told}");
    }
    drop(here);
    world.until("one more comes in", || {
        bob.logs_in().is_some_and(|(told, _)| told.contains("welcome"))
    });
}
