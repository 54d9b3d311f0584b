//! What `pychat check` finds in a home.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use super::world::World;

#[test]
fn check_names_everything_that_is_wrong_at_once() {
    let world = World::new();
    world.admit("bob");
    let (ok, told) = world.operator(&["check"]);
    assert!(ok && told.contains("a server runs in this home") && told.contains("nothing is wrong"));
    let world = world.stopped();
    let home = world.home();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    fs::write(home.join("config.json"), format!("{{\"server_port\": {port}}}")).unwrap();
    fs::write(home.join("users/half.pem"), "half a key").unwrap();
    fs::write(home.join("users/bob.json"), "{").unwrap();
    fs::write(home.join("data/sanctions.json"), "[]]").unwrap();
    fs::set_permissions(home.join("keys/server.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let trail = fs::read_to_string(home.join("data/audit.jsonl")).unwrap();
    fs::write(home.join("data/audit.jsonl"), trail.replace("start", "stark")).unwrap();
    let (ok, told) = world.operator(&["check"]);
    assert!(!ok);
    for problem in [
        "half.pem is ignored",
        "settings of bob are unreadable",
        "sanctions.json",
        "others may read",
        "chmod 600",
        "audit.jsonl: line 2",
        &format!("cannot listen on 127.0.0.1:{port}"),
    ] {
        assert!(told.contains(problem), "{problem} in {told}");
    }
    assert_eq!(told.matches("server.pem").count(), 2, "once, with its hint: {told}");
    let (_, told) = world.operator(&["check", "--json"]);
    let reply: Value = serde_json::from_str(&told).unwrap();
    assert!(reply["problems"].as_array().unwrap().len() >= 6, "{told}");
    // Where the server listens by its environment is tried instead of config.json's address.
    let by_environment = |address: &str| {
        let mut command = world.program("operator");
        command.args(["check", "--home"]).arg(&home).env("PYCHAT_LISTEN", address);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let told = by_environment("127.0.0.1:0");
    assert!(told.contains("half.pem") && !told.contains("cannot listen"), "{told}");
    fs::write(home.join("config.json"), "{\"server_port\": 0}").unwrap();
    let told = by_environment(&format!("127.0.0.1:{port}"));
    assert!(told.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{told}");
    fs::write(home.join("config.json"), "{\"server_prot\": 1}").unwrap();
    let (_, told) = world.operator(&["check"]);
    assert!(told.contains("server_prot") && told.contains("did you mean server_port"), "{told}");
    assert!(!told.contains("the server listens on"), "its addresses are unknown: {told}");
}

/// Runs `pychat check`, which finds this problem.
fn finds(world: &World, what: &str) {
    let (ok, told) = world.operator(&["check"]);
    assert!(!ok && told.contains(what), "{what}: {told}");
}

#[test]
fn check_finds_what_the_server_would_stumble_over() {
    let world = World::new().stopped();
    let home = world.home();
    let (ok, told) = world.operator(&["check"]);
    assert!(ok, "the control: {told}");
    let config = home.join("config.json");
    let before = fs::read(&config).unwrap();
    finds_files_that_are_none(&world);
    finds_values_that_cannot_be(&world);
    world.registers_key_of("bob");
    fs::write(&config, r#"{"passwords": "all"}"#).unwrap();
    let (ok, told) = world.operator(&["check"]);
    assert!(ok && told.contains("note: users without a password: 2"), "{told}");
    // It has no writer, and nobody waits for one.
    fs::remove_file(&config).unwrap();
    assert!(Command::new("mkfifo").arg(&config).status().unwrap().success());
    finds(&world, "config.json: it is not a file");
    fs::remove_file(&config).unwrap();
    fs::write(&config, before).unwrap();

    checks_a_new_home(&world);

    let deep = world.home().join("long/".repeat(20));
    fs::create_dir_all(&deep).unwrap();
    let deep = deep.display().to_string();
    let mut command = world.program("operator");
    command.args(["check", "--home", &deep]);
    let told = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(told.contains("and a socket can have 107"), "{told}");
}

/// Files that are damaged, and files and folders that are of the other kind.
fn finds_files_that_are_none(world: &World) {
    let home = world.home();
    let certificates = home.join("data/certificates.json");
    fs::write(&certificates, "{").unwrap();
    fs::set_permissions(&certificates, fs::Permissions::from_mode(0o600)).unwrap();
    finds(world, "certificates.json");
    fs::remove_file(&certificates).unwrap();

    for file in ["data/tickets.json", "data/sources.json"] {
        let path = home.join(file);
        let was = fs::read(&path).ok();
        fs::write(&path, "{").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        finds(world, file);
        match was {
            Some(was) => fs::write(&path, was).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
    }

    for name in ["data/lock", "data/reserve"] {
        let path = home.join(name);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        finds(world, &format!("{name} is a folder, where the server makes a file"));
        fs::remove_dir(&path).unwrap();
    }
    for name in ["users", "data/files"] {
        let (path, other) = (home.join(name), home.join("other"));
        fs::rename(&path, &other).unwrap();
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        finds(world, &format!("{name} is a file, where the server makes a folder"));
        fs::remove_file(&path).unwrap();
        fs::rename(other, path).unwrap();
    }

    let socket = home.join("data/ctl.sock");
    fs::create_dir(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o700)).unwrap();
    finds(world, "ctl.sock is a folder");
    fs::remove_dir(&socket).unwrap();
}

/// Values of the configuration that the server refuses.
fn finds_values_that_cannot_be(world: &World) {
    let home = world.home();
    let config = home.join("config.json");
    let links =
        [("link", "../users/alice.pem"), ("loop", "loop"), ("nowhere", "../none/pychat.log")];
    for (name, to) in links {
        std::os::unix::fs::symlink(to, home.join("data").join(name)).unwrap();
    }
    for (text, what) in [
        (
            r#"{"server_port": 43217, "metrics": "127.0.0.1:43217"}"#,
            "metrics: 127.0.0.1:43217 is the server's own address for chat",
        ),
        (
            r#"{"server_port": 43217, "server_ip": "0.0.0.0", "web": "127.0.0.1:43217"}"#,
            "web: 127.0.0.1:43217 is the server's own address for chat",
        ),
        ("[]", "it is a list: write { and } with named values"),
        (r#"{"limits": []}"#, "limits: it is a list"),
        (r#"{"log": {"level": "trace"}}"#, "log.level: a level is error, warn, info or debug"),
        (r#"{"log": {"file": "none/pychat.log"}}"#, "the log cannot be written"),
        (r#"{"log": {"file": "data"}}"#, "the log cannot be written"),
        (r#"{"log": {"file": "data/ledger.db"}}"#, "the file is the home's"),
        (r#"{"log": {"file": "data/ledger.before-restore"}}"#, "the file is the home's"),
        (r#"{"log": {"file": "data/link"}}"#, "the file is the home's"),
        (r#"{"log": {"file": "data/loop"}}"#, "data/loop is a loop of links"),
        (r#"{"log": {"file": "data/nowhere"}}"#, "the log cannot be written"),
        (r#"{"log": {"file": "config.json"}}"#, "the file is the home's"),
        (r#"{"log": {"file": "data/../users/alice.pem"}}"#, "the file is the home's"),
    ] {
        fs::write(&config, text).unwrap();
        finds(world, what);
    }
    for (name, _) in links {
        fs::remove_file(home.join("data").join(name)).unwrap();
    }
    let (ok, told) = world.operator(&["server"]);
    assert!(!ok && told.contains("the file is the home's"), "{told}");
    assert!(fs::read_to_string(&config).unwrap().contains("alice.pem"));
}

/// Checks a home without folders, whose configuration has a byte order mark.
fn checks_a_new_home(world: &World) {
    let new = world.home().join("new");
    fs::create_dir(&new).unwrap();
    let checks = |file: &str| {
        let text = format!("\u{feff}{{\"server_port\": 0, \"log\": {{\"file\": \"{file}\"}}}}");
        fs::write(new.join("config.json"), text).unwrap();
        let mut command = world.program("operator");
        command.args(["check", "--home"]).arg(&new);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, told) = checks("data/pychat.log");
    assert_eq!(code, Some(0), "the first start makes the folder: {told}");
    for file in ["data", "keys", "data/files", "none/pychat.log"] {
        let (code, told) = checks(file);
        assert!(code == Some(3) && told.contains("the log cannot be written"), "{file}: {told}");
    }
}
