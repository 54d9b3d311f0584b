//! What a reload takes over, and the bounds of the limits.

use pychat::limits::Limits;

use super::*;

#[test]
fn a_failed_reload_changes_nothing() {
    let world = World::new();
    let key = |name: &str| {
        assert!(world.program(name).arg("keygen").output().unwrap().status.success());
    };
    ["eve", "mallory"].iter().for_each(|name| key(name));
    let config = world.home().join("config.json");
    fs::write(&config, r#"{"log_ip": false, "log": {"file": "/nowhere/log"}}"#).unwrap();
    let (ok, told) = world.operator(&["ctl", "reload"]);
    assert!(!ok && told.contains("everything stays as it was"), "{told}");
    world.client("eve", &["--send", "hi"]).ends();
    world.server.is_told("not admitted: eve from 127.0.0.1");
    let trail = fs::read_to_string(world.home().join("data/audit.jsonl")).unwrap();
    assert!(!trail.contains("reload"), "{trail}");
    // The control: the same without the fault.
    fs::write(&config, r#"{"log_ip": false}"#).unwrap();
    assert!(world.operator(&["ctl", "reload"]).0);
    world.client("mallory", &["--send", "hi"]).ends();
    world.server.is_told("not admitted: mallory from somewhere");
}

#[test]
fn nobody_reloads_what_would_keep_them_out() {
    let world = World::new();
    let mut olga = world.enters("olga");
    assert!(world.operator(&["users", "role", "olga", "owner"]).0);
    world.server.is_told("olga is owner now");
    let config = world.home().join("config.json");
    for (text, told) in [
        (
            r#"{"deny": ["127.0.0.0/8"]}"#,
            "config.json would exclude you: it does not admit 127.0.0.1",
        ),
        (r#"{"passwords": "all"}"#, "would exclude you: you have no password"),
        (r#"{"suites": [1]}"#, "\"suites\" would exclude you: your client offers none of them"),
    ] {
        fs::write(&config, text).unwrap();
        olga.types("/reload");
        olga.sees(told);
    }
    fs::write(&config, "{}").unwrap();
    // The folder is watched: whichever comes first, the word or the watch.
    let settings = r#"{"role": "owner", "deny": ["127.0.0.0/8"]}"#;
    let told = (0..20).any(|_| {
        fs::write(world.home().join("users/olga.json"), settings).unwrap();
        olga.types("/reload");
        olga.shows("an answer", |lines| {
            let answers = ["users/olga.json would exclude you", "may not connect from"];
            lines.iter().any(|line| answers.iter().any(|answer| line.contains(answer)))
        });
        if olga.seen("users/olga.json would exclude you") > 0 {
            return true;
        }
        olga.ends();
        fs::write(world.home().join("users/olga.json"), r#"{"role": "owner"}"#).unwrap();
        assert!(world.operator(&["ctl", "reload"]).0);
        olga = world.client("olga", &["--plain"]);
        olga.sees("you are in #lobby");
        false
    });
    assert!(told, "the watch was faster each time");
}

/// Every limit as large as it may be, or absurd.
#[test]
fn absurd_limits_are_refused_and_the_largest_work() {
    let names = Limits::NAMES;
    let world = World::new().stopped();
    let config = world.home().join("config.json");
    for value in ["10000000000000000", "18446744073709551615", "1e300"] {
        for name in names {
            fs::write(&config, format!(r#"{{"limits": {{"{name}": {value}}}}}"#)).unwrap();
            let mut command = world.program("operator");
            command.args(["invite", "--home"]).arg(world.home());
            let ended = command.output().unwrap();
            let told = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), Some(3), "{name}: {told}");
            assert!(told.contains(&format!("limits.{name}: ")), "{name}: {told}");
        }
    }
    // With a reserve larger than the disk, the server would refuse every message.
    let own = |name: &str| {
        matches!(name, "text_bytes_max" | "search_ms_max" | "ping_s" | "disk_reserve_bytes")
    };
    let defaults = serde_json::to_value(Limits::default()).unwrap();
    let most = |name: &&&str| match Limits::highest(name) {
        most if defaults[**name].is_f64() => format!("{most:e}"),
        most => most.to_string(),
    };
    let limits: Vec<_> = names.iter().filter(|name| !own(name)).collect();
    let limits: Vec<_> = limits.iter().map(|name| format!("\"{name}\": {}", most(name))).collect();
    fs::write(&config, format!("{{\"limits\": {{{}}}}}", limits.join(", "))).unwrap();
    let world = world.started();
    let mut alice = world.enters("alice");
    let bob = world.enters("bob");
    for line in ["/join #tea", "hello all", "/history 1000000", "/search hello", "/list"] {
        alice.types(line);
    }
    alice.sees("hello all");
    alice.types("/pm bob still here");
    bob.sees("still here");
    let (ok, told) = world.operator(&["ctl", "health"]);
    assert!(ok, "{told}");
    let world = world.stopped();
    let told = world.server.told().join("\n");
    assert!(!told.contains("panicked") && !told.contains("overflow"), "{told}");
}

#[test]
fn a_rate_that_lets_nothing_through_is_refused() {
    let defaults = serde_json::to_value(Limits::default()).unwrap();
    let rates: Vec<_> = Limits::NAMES.iter().filter(|name| defaults[**name].is_f64()).collect();
    assert!(rates.len() > 8, "{rates:?}");
    for name in rates {
        for rate in [0.0, -1.0] {
            let mut limits = defaults.clone();
            limits[*name] = rate.into();
            let limits: Limits = serde_json::from_value(limits).unwrap();
            assert_eq!(limits.check().map_err(|(name, _)| name), Err(*name));
        }
    }
}
