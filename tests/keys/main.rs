//! Keys: made, shown, locked, rotated, registered and refused, on the real binary.

mod registration;
mod waiting;
#[path = "../world/mod.rs"]
mod world;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pychat::crypto::succession::{Succession, Whose};
use pychat::crypto::{Identity, PublicKey};
use pychat::invite::{key_line, next_line};
use rsa::pkcs8::{EncodePublicKey, LineEnding};
use rsa::traits::PublicKeyParts;
use rsa::{BoxedUint, RsaPrivateKey, RsaPublicKey};
use serde_json::Value;
use world::World;
use world::pty::Terminal;

/// Exit code, stdout and stderr.
fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn operator(world: &World, args: &[&str]) -> (i32, String, String) {
    run(world.program("operator").args(args).arg("--home").arg(world.home()))
}

fn key_file(world: &World, person: &str) -> PathBuf {
    world.home().parent().unwrap().join(person).join("pychat/id.pem")
}

fn line(name: &str, key: &PublicKey) -> String {
    key_line(&name.parse().unwrap(), key)
}

/// The key in a line.
fn spki(line: &str) -> &str {
    line.split('.').nth(2).unwrap()
}

/// A new public key.
fn key() -> PublicKey {
    Identity::generate().public().clone()
}

#[test]
fn nobody_makes_another_persons_key_their_own_by_signing_it() {
    let world = World::new();
    let alice = world.enters("alice");
    world.admit("bob");
    let bobs = fs::read(world.home().join("users/bob.pem")).unwrap();
    let pem = fs::read_to_string(key_file(&world, "bob")).unwrap();
    let bob = Identity::from_pem(&pem, None).unwrap();
    // Carol's public key is known, from another server, say, and not registered here.
    let (carol, next) = (Identity::generate(), Identity::generate());
    let whole = Succession::sign(&bob, Whose::Person, &carol);
    let signed = |old, whose, new| Succession::sign(old, whose, new).to_bytes();
    let bytes = whole.to_bytes();
    let (by_bob, by_carol) = bytes.split_at(384);
    // What carol has signed elsewhere: as the new key and as the old one, and as a server's.
    let (other, later) =
        (signed(&next, Whose::Person, &carol), signed(&carol, Whose::Person, &next));
    let server = signed(&bob, Whose::Server, &carol);
    let taken = [&other[384..], &other[..384], &later[..384], &server[384..], by_bob];
    let forged = |half: &[u8]| Succession::from_bytes(&[by_bob, half].concat()).unwrap();
    let name = "bob".parse().unwrap();
    for half in taken {
        let line = next_line(&name, carol.public(), &forged(half));
        let (code, _, told) = operator(&world, &["users", "add", &line, "--yes"]);
        assert!(code == 1 && told.contains("have not both signed this line"), "{told}");
        assert_eq!(fs::read(world.home().join("users/bob.pem")).unwrap(), bobs);
    }
    // Carol's signature without bob's is not enough either.
    let swapped = Succession::from_bytes(&[by_carol, by_bob].concat()).unwrap();
    let (code, ..) =
        operator(&world, &["users", "add", &next_line(&name, carol.public(), &swapped)]);
    assert_eq!(code, 1);
    // Signatures written into the file by hand are verified too: the notice does not claim them.
    let signatures = URL_SAFE_NO_PAD.encode(forged(&other[384..]).to_bytes());
    let about = "signatures of the key before and of this one: ";
    let file = format!("{about}{signatures}\n{}", carol.public().to_pem());
    fs::write(world.home().join("users/bob.pem"), file).unwrap();
    let told = alice.sees("the operator gave bob another key: SHA256:");
    assert!(told.contains("not signed by the one before"), "{told}");
    // The control: with both signatures, the rotation is accepted.
    fs::write(world.home().join("users/bob.pem"), &bobs).unwrap();
    alice.sees(&format!("another key: {}", bob.public().fingerprint()));
    let (code, _, told) =
        operator(&world, &["users", "add", &next_line(&name, carol.public(), &whole)]);
    assert_eq!(code, 0, "{told}");
    alice.sees("bob has a new key, signed by the one before: SHA256:");
}

#[test]
fn a_key_is_made_once_and_shown_as_a_line_and_as_pem() {
    let world = World::new();
    let (code, made, _) = run(world.program("bob").arg("keygen"));
    assert_eq!(code, 0);
    assert!(made.starts_with("SHA256:"));
    let pem = fs::read(key_file(&world, "bob")).unwrap();
    let mode = fs::metadata(key_file(&world, "bob")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let (code, _, told) = run(world.program("bob").arg("keygen"));
    assert_eq!(code, 3);
    assert!(told.contains("exists already and is not replaced\nhint:  "), "{told}");
    assert_eq!(fs::read(key_file(&world, "bob")).unwrap(), pem);

    let (code, _, told) = run(world.program("bob").args(["key", "show"]));
    assert_eq!(code, 2);
    assert!(told.contains("error: the name is missing\nhint:  add --name NAME"), "{told}");
    let (code, line, told) = run(world.program("bob").args(["key", "show", "--name", "bob"]));
    assert_eq!(code, 0);
    assert!(line.starts_with("pychat-key1.bob.") && told.contains(made.trim()), "{told}");
    let (_, pem, _) = run(world.program("bob").args(["key", "show", "--pem"]));
    assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----"));
    let key = PublicKey::from_pem(&pem).unwrap();
    assert_eq!(key.fingerprint().to_string(), made.trim());
    assert_eq!(self::line("bob", &key), line.trim());
}

#[test]
fn a_running_client_adopts_a_new_key() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let bob = world.enters("bob");
    let (code, line, told) = run(world.program("alice").args(["key", "rotate"]));
    assert_eq!(code, 0, "{told}");
    let (code, _, told) = operator(&world, &["users", "add", line.trim(), "--yes", "--replace"]);
    assert_eq!(code, 0, "{told}");
    alice.sees("your key was replaced: logging in with the new one");
    alice.types("the new key is me");
    bob.sees("alice: the new key is me");
    world.until("the new key is kept", || {
        spki(&run(world.program("alice").args(["key", "show"])).1) == spki(&line)
    });
}

#[test]
fn a_rotated_key_takes_over_once_it_is_admitted() {
    let world = World::new();
    world.admit("alice");
    let (code, line, told) = run(world.program("alice").args(["key", "rotate", "--name", "alice"]));
    assert_eq!(code, 0, "{told}");
    let old = fs::read(key_file(&world, "alice")).unwrap();
    let (code, again, _) = run(world.program("alice").args(["key", "rotate", "--name", "alice"]));
    assert_eq!((code, spki(&again)), (0, spki(&line)), "one new key at a time");

    // The client uses the old key until the new one is admitted, then switches by itself.
    let mut alice = world.client("alice", &["--plain"]);
    alice.sees("you are in #lobby");
    let bob = world.enters("bob");
    let (code, _, told) = operator(&world, &["users", "add", line.trim(), "--as", "bob"]);
    assert_eq!(code, 1);
    let unsigned =
        "and a registered key of bob have not both signed this line\nhint:  pychat users repl";
    assert!(told.contains(unsigned), "{told}");
    assert!(fs::read(key_file(&world, "alice")).unwrap() == old);
    // The signatures of both keys suffice: no fingerprint has to be compared.
    let (code, _, told) = operator(&world, &["users", "add", line.trim()]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("signed by the one before: SHA256:"), "{told}");
    alice.sees("your key was replaced: logging in with the new one");
    bob.sees("--> alice joined");
    bob.sees("alice has a new key, signed by the one before: SHA256:");
    world.until("the new key is kept", || fs::read(key_file(&world, "alice")).unwrap() != old);
    assert!(fs::read(key_file(&world, "alice").with_file_name("id.old.pem")).unwrap() == old);

    // And another login of the same client leaves the files as they are.
    let new = fs::read(key_file(&world, "alice")).unwrap();
    let carol = world.enters("carol");
    alice.types("/reconnect");
    alice.shows("the third login", |lines| {
        lines.iter().filter(|line| line.contains("you are in #lobby")).count() == 3
    });
    alice.types("the new key is me");
    carol.sees("alice: the new key is me");
    assert!(fs::read(key_file(&world, "alice")).unwrap() == new);
    assert!(fs::read(key_file(&world, "alice").with_file_name("id.old.pem")).unwrap() == old);
    let (_, shown, _) = run(world.program("alice").args(["key", "show"]));
    assert_eq!(spki(&shown), spki(&line));
}

#[test]
fn a_lost_key_is_replaced_by_one_command_and_announced_once() {
    let world = World::new();
    let bob = world.enters("bob");
    world.admit("alice");
    let mut alice = world.enters_as("alice.phone", "--plain");
    alice.sees("you are in #lobby");
    bob.sees("alice has a further device, phone: SHA256:");
    let carol = world.enters("carol");
    drop(carol);
    bob.sees("carol left");

    let lost = line("alice", &key());
    let (code, _, told) = operator(&world, &["users", "replace", "alice", &lost, "--yes"]);
    assert_eq!(code, 2);
    assert!(told.contains("which key of alice?\nhint:  --device is one of "), "{told}");
    let (code, _, told) = operator(&world, &["users", "replace", "bob", &lost, "--yes"]);
    assert_eq!(code, 1);
    assert!(told.contains("this key line is of alice, not of bob"), "{told}");
    let replace = ["users", "replace", "alice", &lost, "--device", "main"];
    let (code, _, told) = operator(&world, &replace);
    assert_eq!(code, 2);
    assert!(told.contains("the key was not compared"), "{told}");
    let (code, _, told) = operator(&world, &[&replace[..], &["--yes"]].concat());
    assert_eq!(code, 0, "{told}");
    let notice = "the operator gave alice another key: SHA256:";
    bob.sees(notice);
    // The user's other device gets the notice too, and stays connected.
    alice.sees(notice);
    alice.types("that was me");
    bob.sees("alice: that was me");
    drop((alice, bob));

    // A key file is replaced by hand while the server is stopped: members are notified once.
    let world = world.stopped();
    fs::write(world.home().join("users/alice.phone.pem"), key().to_pem()).unwrap();
    let world = world.started();
    let carol = world.client("carol", &["--plain"]);
    carol.shows("both changes", |lines| {
        lines.iter().filter(|line| line.contains(notice)).count() == 2
    });
    drop(carol);
    let world = world.restarted();
    let mut carol = world.client("carol", &["--plain"]);
    carol.sees("you are in #lobby");
    carol.types("/whois carol");
    carol.sees("server| carol on main");
    assert_eq!(carol.seen(notice), 0);
    let trail = fs::read_to_string(world.home().join("data/audit.jsonl")).unwrap();
    assert_eq!(trail.matches("the operator gave alice another key").count(), 2, "{trail}");
}

#[test]
fn devices_that_do_not_come_for_long_lose_their_keys_but_never_an_owners_last() {
    let world = World::new();
    for name in ["olga", "bob", "bob.phone", "carol"] {
        world.admit(name);
    }
    let (ok, told) = world.operator(&["users", "role", "olga", "owner"]);
    assert!(ok, "{told}");
    let (ok, told) = world.operator(&["users", "role", "carol", "moderator"]);
    assert!(ok, "{told}");
    let file = |name: &str| world.home().join("users").join(name);
    let files = ["olga.pem", "bob.pem", "bob.phone.pem", "carol.pem", "carol.json"].map(file);
    // Two days later one of them comes.
    let world = world.stopped();
    let seen = world.home().join("data/keys.json");
    let mut known: Value = serde_json::from_slice(&fs::read(&seen).unwrap()).unwrap();
    for key in known["keys"].as_object_mut().unwrap().values_mut() {
        key["seen_ms"] = (key["seen_ms"].as_i64().unwrap() - 2 * 86_400_000).into();
    }
    fs::write(&seen, known.to_string()).unwrap();
    let world = world.started();
    let phone = world.client("bob.phone", &["--plain"]);
    phone.sees("you are in #lobby");
    drop(phone);
    fs::write(world.home().join("config.json"), r#"{"device_expiry": "1d"}"#).unwrap();
    let world = world.restarted();
    world.until("the old ones are gone", || {
        files.iter().map(|file| file.exists()).eq([true, false, true, false, false])
    });
    world.server.is_told("expire bob");
    world.server.is_told("expire carol");
    world.server.is_told("removed carol");
    let olga = world.client("olga", &["--plain"]);
    olga.sees("you are in #lobby");
    let carol = world.client("carol", &["--send", "hi"]);
    carol.is_told("not admitted");
    let (ok, told) = world.operator(&["audit", "verify"]);
    assert!(ok, "{told}");
}
