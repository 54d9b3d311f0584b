//! The audit trail of a real server: what is in it, what is not, and who changed it.

mod world;

use std::fs;

use serde_json::Value;
use world::World;

fn trail(world: &World) -> Vec<Value> {
    let text = fs::read_to_string(world.home().join("data/audit.jsonl")).unwrap();
    text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Actor, action, target and reason of a line.
fn row(line: &Value) -> [&str; 4] {
    ["actor", "action", "target", "reason"].map(|field| line[field].as_str().unwrap_or_default())
}

#[test]
fn every_decision_is_a_line_and_nothing_of_what_people_say() {
    let world = World::new();
    let mut olga = world.enters("olga");
    let bob = world.enters("bob");
    world.operator(&["users", "role", "olga", "owner"]);
    world.server.is_told("olga is owner now");
    olga.types("a secret over tea");
    bob.sees("olga: a secret over tea");
    olga.types("/announce another secret");
    bob.sees("another secret");
    olga.types("/mute bob 1h too loud");
    olga.sees("bob is muted");
    olga.types("/kick bob");
    olga.sees("bob is out");
    let (ok, told) = world.operator(&["ctl", "ban", "192.0.2.0/24"]);
    assert!(ok, "{told}");
    // A word that is refused decides nothing.
    olga.types("/ban olga");
    olga.sees("that is you");
    let world = world.restarted();
    let lines = trail(&world);
    let rows: Vec<_> = lines.iter().map(row).collect();
    let wanted = [
        ["cli", "role", "olga", "owner"],
        ["users/", "role", "olga", "owner"],
        ["olga", "announce", "", ""],
        ["olga", "mute", "bob", "too loud"],
        ["olga", "kick", "bob", ""],
        ["ctl", "ban", "192.0.2.0/24", ""],
        ["server", "stop", "", ""],
    ];
    for row in wanted {
        assert_eq!(rows.iter().filter(|one| **one == row).count(), 1, "{row:?} in {rows:#?}");
    }
    assert_eq!(rows.iter().filter(|row| row[1] == "start").count(), 2);
    assert_eq!(rows.iter().filter(|row| row[..2] == ["users/", "admitted"]).count(), 2);
    assert_eq!(rows.iter().filter(|row| row[1] == "ban").count(), 1);
    let mute = lines.iter().find(|line| line["action"] == "mute").unwrap();
    assert!(mute["until"].as_str().unwrap() > mute["time"].as_str().unwrap());
    let text = fs::read_to_string(world.home().join("data/audit.jsonl")).unwrap();
    assert!(!text.contains("secret"), "{text}");
    let (ok, told) = world.operator(&["audit", "verify"]);
    assert!(ok && told.contains(&format!("valid: {} lines", lines.len())), "{told}");
}

#[test]
fn who_changes_the_trail_is_found_out_and_it_is_kept_for_as_long_as_told() {
    let world = World::new();
    let file = world.home().join("data/audit.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("server", "nobody")).unwrap();
    let (ok, told) = world.operator(&["audit", "verify"]);
    assert!(!ok && told.contains("line 2 is not what was written"), "{told}");
    fs::write(&file, &text).unwrap();
    assert!(world.operator(&["audit", "verify", "--json"]).0);
    world.reloads(r#"{"audit": "1s"}"#);
    world.until("the first line is old", || {
        let (ok, _) = world.operator(&["ctl", "retention", "--now"]);
        assert!(ok);
        !trail(&world).iter().any(|line| line["n"] == 1)
    });
    let (ok, told) = world.operator(&["audit", "verify"]);
    assert!(ok, "{told}");
}

#[test]
fn addresses_and_the_trail_can_be_left_out() {
    let world = World::configured(r#"{"audit": "off", "log_ip": false}"#);
    let made = world.program("eve").arg("keygen").output().unwrap();
    assert!(made.status.success());
    let eve = world.client("eve", &["--send", "hi"]);
    world.server.is_told("not admitted: eve from somewhere");
    drop(eve);
    let bob = world.enters("bob");
    let (ok, _) = world.operator(&["ctl", "kick", "bob"]);
    assert!(ok);
    bob.sees("ended your session");
    // Not even one that an operator names.
    assert!(world.operator(&["ctl", "ban", "192.0.2.7"]).0);
    world.server.is_told("ctl: ban somewhere");
    assert!(!world.server.told().iter().any(|line| line.contains("192.0.2")));
    assert!(!world.home().join("data/audit.jsonl").exists());
    assert!(world.operator(&["audit", "verify"]).0);
}
