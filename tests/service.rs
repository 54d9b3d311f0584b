//! The server as a service: its messages to systemd, and what its unit denies it.

mod world;

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use world::apart::{apart, cover, skip};
use world::disk::{Disk, Syncs};
use world::peer::Peer;
use world::{DEADLINE, World};

/// Exposure of 0 to 10, as `systemd-analyze security` counts it; it was 1.2 when this was written.
const EXPOSURE_MAX: f64 = 1.5;

#[test]
fn systemd_is_told_that_the_server_is_there_and_well_and_that_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(world::DEADLINE)).unwrap();
    let next = || {
        let mut told = [0; 512];
        let bytes = socket.recv(&mut told).unwrap();
        String::from_utf8(told[..bytes].to_vec()).unwrap()
    };
    let word = format!("export NOTIFY_SOCKET={} WATCHDOG_USEC=400000", path.display());
    let world = World::under(&word, "{}");
    assert_eq!(next(), format!("READY=1\nSTATUS=listening on {}", world.address));
    assert_eq!(next(), "WATCHDOG=1");
    assert_eq!(next(), "WATCHDOG=1");
    world.server.signal(Signal::TERM);
    let last = std::iter::repeat_with(next).find(|told| told != "WATCHDOG=1");
    assert_eq!(last.unwrap(), "STOPPING=1");
}

#[test]
fn systemd_hears_of_a_busy_server_and_not_of_one_whose_disk_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let next = |patience: Duration| {
        let mut told = [0; 512];
        socket.set_read_timeout(Some(patience)).unwrap();
        let bytes = socket.recv(&mut told).ok()?;
        Some(String::from_utf8(told[..bytes].to_vec()).unwrap())
    };
    // Twice a second; a thread has 3 s for its answer.
    let notify = format!("NOTIFY_SOCKET={} WATCHDOG_USEC=1000000", path.display());
    let limits = r#"{"messages_burst": 1000000, "messages_per_s": 1e9, "bytes_per_s": 1e12}"#;
    let (disk, world) = Disk::of_server_with(Syncs::Hang, &notify, limits);
    assert!(next(DEADLINE).unwrap().starts_with("READY=1"));
    world.admit("bob");
    let mut bob = Peer::enters(&world, "bob", "laptop");
    let say = |number: usize| {
        let text = "x".repeat(2_000);
        format!(r##"{{"type":"say","to":"#lobby","id":"{number:032x}","text":"{text}"}}"##)
    };
    // Messages without a pause, until ten notifications have arrived.
    let floods = Arc::new(AtomicBool::new(true));
    let is_flooding = Arc::clone(&floods);
    let flood = thread::spawn(move || {
        let mut number = 0;
        while is_flooding.load(Ordering::Relaxed) {
            number += 1;
            bob.sends(&say(number));
        }
        (bob, number)
    });
    for number in 0..10 {
        assert_eq!(next(DEADLINE).as_deref(), Some("WATCHDOG=1"), "{number}");
    }
    floods.store(false, Ordering::Relaxed);
    let (mut bob, messages) = flood.join().unwrap();
    assert!(messages > 100, "{messages} messages");
    bob.sees(&format!("{messages:032x}"));
    disk.misbehaves();
    bob.sends(&say(messages + 1));
    // No notification for 5 s: a thread has not answered in time.
    let until = Instant::now() + DEADLINE;
    while next(Duration::from_secs(5)).is_some() {
        assert!(Instant::now() < until, "a server that stores nothing still sends WATCHDOG=1");
    }
    disk.works();
    assert_eq!(next(DEADLINE).as_deref(), Some("WATCHDOG=1"));
    bob.sees(&format!("{:032x}", messages + 1));
}

#[test]
fn a_socket_without_a_file_is_told_too() {
    let name = format!("pychat-test-{}", std::process::id());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    socket.set_read_timeout(Some(world::DEADLINE)).unwrap();
    let _world = World::under(&format!("export NOTIFY_SOCKET=@{name}"), "{}");
    let mut told = [0; 512];
    let bytes = socket.recv(&mut told).unwrap();
    assert!(told[..bytes].starts_with(b"READY=1\n"));
}

#[test]
fn the_unit_is_printed_or_written_and_exposes_little() {
    let world = World::new();
    let file = world.home().join("pychat.service");
    let (ok, printed) = world.operator(&["install-service", "--user", "olga"]);
    assert!(ok, "{printed}");
    let home = format!("--home {}", world.home().display());
    assert!(printed.contains("User=olga") && printed.contains(&home), "{printed}");
    assert!(printed.contains("Type=notify") && printed.contains("WatchdogSec="), "{printed}");
    let write = file.to_str().unwrap();
    let (ok, told) = world.operator(&["install-service", "--user", "olga", "--write", write]);
    assert!(ok && told.contains("systemctl enable --now pychat\n"), "{told}");
    let home = world.home().display().to_string();
    assert!(told.contains(&format!("  mkdir -p {home} && chown -R olga: {home}\n")), "{told}");
    assert!(told.contains("users add LINE --home "), "{told}");
    assert_eq!(fs::read_to_string(&file).unwrap(), printed);
    let (ok, told) = world.operator(&["install-service", "--write", "/nowhere/pychat.service"]);
    assert!(!ok, "{told}");
    let wanted = "error: /nowhere/pychat.service: entity not found\n\
        hint:  create the folder /nowhere first, or name another one\n";
    assert_eq!(told, wanted);
    let analyse = |job: &[&str]| Command::new("systemd-analyze").args(job).arg(write).output();
    if let Ok(verified) = analyse(&["verify"]) {
        let told = String::from_utf8(verified.stderr).unwrap();
        assert!(verified.status.success() && !told.contains("pychat"), "{told}");
    }
    let Ok(analysed) = analyse(&["security", "--offline=yes", "--no-pager"]) else {
        return println!("systemd-analyze is not here: the unit was not looked at");
    };
    let text = String::from_utf8(analysed.stdout).unwrap();
    let overall = text.lines().find(|line| line.contains("Overall exposure level")).unwrap();
    let level = overall.rsplit(": ").next().unwrap().split(' ').next().unwrap();
    assert!(level.parse::<f64>().unwrap() <= EXPOSURE_MAX, "{text}");
}

#[test]
fn root_writes_nothing_in_the_home_of_another_account() {
    if !rustix::process::geteuid().is_root() {
        return println!("only root finds itself in another's home: nothing was tried");
    }
    let world = World::new();
    world.admit("bob");
    let users = world.home().join("users");
    std::os::unix::fs::chown(&users, Some(65534), Some(65534)).unwrap();
    let copy = world.home().join("copy.db");
    for job in [
        &["users", "role", "bob", "moderator"][..],
        &["users", "remove", "bob"],
        &["server-key", "rotate"],
        &["backup", copy.to_str().unwrap()],
    ] {
        let (ok, told) = world.operator(job);
        assert!(!ok && told.contains("belongs to another account"), "{job:?}: {told}");
        assert!(told.contains("\nhint:  run the command with sudo -u '#65534'"), "{told}");
    }
    assert!(!users.join("bob.json").exists() && users.join("bob.pem").exists() && !copy.exists());
    // To look, and to talk to its server, is root's right.
    for job in [&["users", "list"][..], &["ctl", "status"], &["audit", "verify"], &["verify"]] {
        let (ok, told) = world.operator(job);
        assert!(ok, "{job:?}: {told}");
    }
}

/// In a container with a memory limit, the server admits as many connections as fit.
#[test]
fn the_memory_of_a_control_group_bounds_the_connections() {
    apart("-m", "the_memory_of_a_control_group_bounds_the_connections", || {
        let groups = Path::new("/sys/fs/cgroup");
        if !groups.exists() {
            return skip(
                "the_memory_of_a_control_group_bounds_the_connections",
                "there are no control groups",
            );
        }
        cover(groups);
        let tree = groups.join("memory");
        fs::create_dir(&tree).unwrap();
        let mut caps = Vec::new();
        // 24 MiB are for the server itself, and 64 KiB for each connection.
        for max in ["max".to_owned(), ((24 << 20) + 200 * (64 << 10)).to_string()] {
            [groups, &tree].iter().for_each(|folder| {
                fs::write(folder.join("memory.max"), &max).unwrap();
            });
            let world = World::new();
            drop(world.enters("alice"));
            caps.push(world.counter("connections_max"));
        }
        assert!(caps[0] > 300, "the control: {caps:?}");
        assert!((50..200).contains(&caps[1]), "{caps:?}");
    });
}

#[test]
fn the_journal_gets_a_priority_with_each_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let read = || fs::read_to_string(&path).unwrap();
    let (file, other) = (fs::File::create(&path).unwrap(), fs::metadata("/dev/null").unwrap());
    let about = file.metadata().unwrap();
    let stream = |about: &fs::Metadata| format!("{}:{}", about.dev(), about.ino());
    let started = |stream: &str, config: &str| {
        let word = format!("export JOURNAL_STREAM={stream} && exec 2>>{}", path.display());
        World::configured_under(&word, config)
    };
    let world = started(&stream(&about), "{}");
    fs::write(world.home().join("users/half.pem"), "half a key").unwrap();
    world.until("a warning is there", || read().contains("half.pem"));
    let text = read();
    let line = |text: &str, wanted: &str| {
        text.lines().find(|line| line.contains(wanted)).unwrap_or_default().to_owned()
    };
    assert!(line(&text, "half.pem").starts_with("<4>warn "), "{text}");
    assert!(line(&text, "room for").starts_with("<6>info "), "{text}");
    drop(world.stopped());
    fs::write(&path, "").unwrap();
    let world = started(&stream(&about), r#"{"log": {"format": "json"}}"#);
    assert!(line(&read(), "room for").starts_with("<6>{\""), "{}", read());
    drop(world.stopped());
    // The control: stderr is not the journal.
    fs::write(&path, "").unwrap();
    let _world = started(&stream(&other), "{}");
    assert!(line(&read(), "room for").starts_with("20"), "{}", read());
}
