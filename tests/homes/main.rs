//! A server's home on a full disk, on a medium that cannot be written, in another account's hands,
//! without a network. On the real binary.

mod backups;
mod configuration;
mod disk;
#[path = "../world/mod.rs"]
mod world;

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use world::World;
use world::apart::{apart, fill, is_root, make_read_only, mount, skip};

/// An account that owns a home and nothing else.
const ACCOUNT: u32 = 54_321;

/// Everything below a folder, with its owner.
fn owners(folder: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = vec![(folder.to_owned(), fs::metadata(folder).unwrap().uid())];
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let about = entry.metadata().unwrap();
            found.push((entry.path(), about.uid()));
            if about.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn root_leaves_nothing_in_the_home_of_another_account() {
    if !is_root() {
        return skip("root_leaves_nothing_in_the_home_of_another_account", "this is not root");
    }
    let world = World::new();
    world.admit("bob");
    let world = world.stopped();
    let home = world.home();
    let above = home.parent().unwrap();
    fs::set_permissions(above, fs::Permissions::from_mode(0o755)).unwrap();
    // As after the first start of an account that has had no server yet.
    for file in ["data/lock", "data/reserve", "data/keys.json"] {
        let _ = fs::remove_file(home.join(file));
    }
    owners(&home).iter().for_each(|(path, _)| lchown(path, Some(ACCOUNT), Some(ACCOUNT)).unwrap());
    let before = owners(&home);
    let (ok, told) = world.operator(&["check"]);
    assert!(ok, "{told}");
    for words in [&["verify"][..], &["audit", "verify"], &["users", "list"], &["invite"]] {
        let (ok, told) = world.operator(words);
        assert!(ok, "{words:?}: {told}");
    }
    let copy = above.join("copy.db").display().to_string();
    for words in [
        &["server", "--listen", "127.0.0.1:0"][..],
        &["backup", &copy],
        &["restore", &copy],
        &["server-key", "rotate"],
        &["users", "role", "bob", "owner"],
    ] {
        let (ok, told) = world.operator(words);
        assert!(!ok && told.contains("belongs to another account"), "{words:?}: {told}");
        assert!(told.contains(&format!("sudo -u '#{ACCOUNT}'")), "{words:?}: {told}");
    }
    // What a server that has ended left beside its ledger may be gone.
    let after = owners(&home);
    assert!(after.iter().all(|file| before.contains(file)), "{after:?}");
    // Nor in one that does not exist yet, in that account's folder.
    lchown(above, Some(ACCOUNT), Some(ACCOUNT)).unwrap();
    let mut command = world.program("operator");
    command.args(["server", "--listen", "127.0.0.1:0", "--home"]).arg(above.join("next"));
    let told = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(told.contains("belongs to another account"), "{told}");
    assert!(!above.join("next").exists());
    // The control: the account itself can do all of that.
    let mut command = world.program("operator");
    command.uid(ACCOUNT).gid(ACCOUNT).args(["server", "--listen", "127.0.0.1:0", "--no-owner"]);
    command.arg("--home").arg(&home);
    let server = world::Program::start(command);
    server.sees("ready addr=");
}

#[test]
fn an_invite_names_an_address_that_others_can_connect_to() {
    apart("-n", "an_invite_names_an_address_that_others_can_connect_to", || {
        let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.unwrap().success());
        let world = World::new().stopped();
        let config = world.home().join("config.json");
        let says = |text: &str, wanted: &str| {
            fs::write(&config, text).unwrap();
            for words in [&["invite"][..], &["invite", "--json"], &["invite", "--qr"]] {
                let (ok, told) = world.operator(words);
                assert!(!ok && told.contains(wanted), "{text}: {told}");
                assert!(!told.contains("pychat://"), "{text}: {told}");
            }
        };
        // There is no network here.
        for listen in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
            let wanted = "hint:  set invite_host in config.json";
            says(&format!(r#"{{"server_ip": "{listen}"}}"#), wanted);
        }
        says(r#"{"server_port": 0}"#, "the server chooses its port when it starts");
        for host in ["", "0.0.0.0", "::", "[::]", "a b", "http://a", "a:5000", "127.1", "fe80::1"] {
            says(&format!(r#"{{"invite_host": "{host}"}}"#), "invite_host: ");
        }
        fs::write(&config, r#"{"server_ip": "0.0.0.0"}"#).unwrap();
        let mut command = world.program("operator");
        command.args(["server", "--listen", "[::]:0", "--no-owner", "--home"]).arg(world.home());
        let server = world::Program::start(command);
        server.is_told("no invite: ");
        // The control: a host that can be reached.
        let (ok, told) = world.operator(&["invite"]);
        assert!(!ok, "{told}");
        fs::write(&config, r#"{"invite_host": "[2001:db8::7]"}"#).unwrap();
        let (ok, told) = world.operator(&["invite"]);
        assert!(ok && told.contains("pychat://[2001:db8::7]:"), "{told}");
    });
}

#[test]
fn a_missing_audit_trail_is_restored_and_not_named_otherwise() {
    let world = World::new().stopped();
    let trail = world.home().join("data/audit.jsonl");
    fs::remove_file(&trail).unwrap();
    for words in [&["audit", "verify"][..], &["check"]] {
        let (ok, told) = world.operator(words);
        assert!(!ok && told.contains("audit.jsonl: the audit trail is missing"), "{told}");
        assert!(told.contains("restore it from a copy"), "{told}");
        assert!(!told.contains("name another"), "{told}");
    }
    // A pipe without a writer, or one that nobody reads, holds nothing up.
    let pipe = |path: &Path| {
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    pipe(&trail);
    let (ok, told) = world.operator(&["check"]);
    assert!(!ok && told.contains("audit.jsonl: it is not a file"), "{told}");
    fs::remove_file(&trail).unwrap();
    let log = world.home().join("data/pipe");
    pipe(&log);
    let config = world.home().join("config.json");
    fs::write(&config, r#"{"log": {"file": "data/pipe"}}"#).unwrap();
    for words in [&["check"][..], &["server"]] {
        let (ok, told) = world.operator(words);
        assert!(!ok && told.contains("data/pipe"), "{told}");
    }
    fs::remove_file(log).unwrap();
    fs::write(&config, "{}").unwrap();
    // What the hint says works.
    fs::remove_file(world.home().join("keys/audit.head")).unwrap();
    let world = world.started();
    let (ok, told) = world.operator(&["audit", "verify"]);
    assert!(ok, "{told}");
}

/// The commands of operators, with the words that each needs.
#[test]
fn every_operator_command_takes_yes_and_json() {
    let world = World::new();
    world.admit("bob");
    let copy = world.home().join("copy.db").display().to_string();
    for words in [
        &["invite"][..],
        &["users", "list"],
        &["users", "show", "bob"],
        &["users", "role", "bob", "moderator"],
        &["users", "passwd", "bob", "--remove"],
        &["ctl", "status"],
        &["backup", &copy],
        &["verify"],
        &["verify", &copy],
        &["check"],
        &["audit", "verify"],
        &["install-service"],
        &["users", "remove", "bob", "--erase"],
        &["server-key", "rotate"],
    ] {
        let mut command = world.program("operator");
        command.args(words).args(["--yes", "--json", "--home"]).arg(world.home());
        let ended = command.output().unwrap();
        let told = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{words:?}: {told}");
        let shown = String::from_utf8(ended.stdout).unwrap();
        assert_eq!(shown.lines().count(), 1, "{words:?}: {shown}");
        assert!(serde_json::from_str::<Value>(&shown).unwrap().is_object(), "{words:?}: {shown}");
    }
    let world = world.stopped();
    let mut command = world.program("operator");
    command.args(["restore", &copy, "--yes", "--json", "--home"]).arg(world.home());
    let shown = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(serde_json::from_str::<Value>(&shown).unwrap()["messages"].is_number(), "{shown}");
    let mut command = world.program("operator");
    command.args(["server", "--yes", "--json", "--no-owner", "--listen", "127.0.0.1:0", "--home"]);
    command.arg(world.home().join("next"));
    let server = world::Program::start(command);
    let ready: Value = serde_json::from_str(&server.sees("fingerprint")).unwrap();
    assert!(ready["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{ready}");
}
