//! Roles and operator commands: permissions, bans, and notices. On the real binary.

mod world;

use std::fs;

use serde_json::Value;
use world::World;
use world::pty::Terminal;

/// A world with an owner, a moderator and a member, all connected.
fn server_with_roles() -> (World, [world::Program; 3]) {
    let world = World::new();
    let people = ["olga", "mona", "bob"].map(|name| world.enters(name));
    for (name, role) in [("olga", "owner"), ("mona", "moderator")] {
        let (ok, told) = world.operator(&["users", "role", name, role]);
        assert!(ok, "{told}");
        world.server.is_told(&format!("{name} is {role} now"));
    }
    (world, people)
}

#[test]
fn power_goes_downwards_from_the_chat() {
    let (world, [mut olga, mut mona, mut bob]) = server_with_roles();
    bob.types("/kick mona");
    bob.sees("kick: not allowed for a member; moderators and owners may: ask one of them");
    mona.types("/op bob");
    mona.sees("op: not allowed for a moderator");
    mona.types("/ban olga 1h");
    mona.sees("olga is owner here: not allowed for a moderator; nobody may ban an owner");
    mona.types("/ban mona");
    mona.sees("that is you");
    mona.types("/ban 127.0.0.0/8");
    mona.sees("that is you");
    for slip in ["1x", "-1d", "+2h", ".5h"] {
        mona.types(&format!("/ban bob {slip} noise"));
        mona.sees(&format!("{slip}: a time span is written"));
    }
    let (_, list) = world.operator(&["ctl", "banlist"]);
    assert!(list.contains("nobody is banned"), "{list}");
    olga.types("/op bob");
    olga.sees("bob is moderator now");
    bob.sees("you are moderator here now");
    bob.types("/kick mona");
    bob.sees("mona is moderator here: not allowed for a moderator; owners may: ask one of them");
    olga.types("/deop bob");
    bob.sees("you are member here now");
    bob.types("/banlist");
    bob.shows("refused a second time", |lines| {
        lines.iter().filter(|line| line.contains("not allowed for a member")).count() == 2
    });
    olga.types("/announce tea at five");
    bob.sees("server| olga announces: tea at five");
}

#[test]
fn a_ban_ends_sessions_is_told_with_its_end_and_outlives_a_restart() {
    let (world, [_olga, mut mona, mut bob]) = server_with_roles();
    mona.types("/ban bob 1d12h too much noise");
    mona.types("after the ban");
    bob.sees("you are banned until 20");
    bob.sees("UTC: too much noise");
    world.server.is_told("info bob (main) ended: was ended from here");
    assert_eq!(bob.ends().code(), Some(5));
    mona.sees("You: after the ban");
    assert_eq!(bob.seen("after the ban"), 0, "it holds at once");
    let mut again = world.client("bob", &["--plain"]);
    again.sees("UTC: too much noise");
    assert_eq!(again.ends().code(), Some(5));
    let world = world.restarted();
    world.client("bob", &["--plain"]).sees("you are banned until 20");
    let (_, list) = world.operator(&["ctl", "banlist"]);
    assert!(list.contains("bob is banned by mona until 20"), "{list}");
    let (ok, _) = world.operator(&["ctl", "unban", "bob"]);
    assert!(ok);
    world.client("bob", &["--plain"]).sees("you are in #lobby");
}

#[test]
fn keys_and_address_ranges_are_banned_too_but_never_the_owner() {
    let (world, [mut olga, _mona, bob]) = server_with_roles();
    let (_, shown) = world.operator(&["users", "show", "bob", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let print = shown["fingerprints"][0].as_str().unwrap();
    let does = |words: &[&str]| {
        let (ok, told) = world.operator(&[&["ctl"], words].concat());
        assert!(ok, "{words:?}: {told}");
    };
    does(&["mute", print, "1h", "noise"]);
    bob.sees("you are muted until 20");
    does(&["unmute", print]);
    bob.sees("you are no longer muted");
    does(&["kick", print, "noise"]);
    bob.sees("the operator ended your session: noise");
    let bob = world.client("bob", &["--plain"]);
    bob.sees("you are in #lobby");
    let (ok, told) = world.operator(&["ctl", "ban", print, "1h"]);
    assert!(ok, "{told}");
    bob.sees("you are banned until");
    let (ok, told) = world.operator(&["ctl", "ban", "127.0.0.0/8"]);
    assert!(!ok && told.contains("olga is owner here"), "{told}");
    olga.types("/exit");
    olga.ends();
    world.server.is_told("olga (main) ended");
    does(&["mute", "127.0.0.0/8", "--yes"]);
    _mona.sees("you are muted for good");
    does(&["unmute", "127.0.0.0/8"]);
    let (ok, told) = world.operator(&["ctl", "ban", "127.0.0.0/8", "--yes"]);
    assert!(ok, "{told}");
    _mona.sees("you are banned for good");
    world.client("olga", &["--plain"]).sees("you are in #lobby");
}

#[test]
fn who_is_muted_reads_on_and_says_nothing() {
    let (world, [_olga, mut mona, mut bob]) = server_with_roles();
    bob.types("before");
    mona.sees("bob: before");
    mona.types("/mute Bob 1h shouting");
    bob.sees("you are muted until 20");
    mona.sees("UTC: shouting (1 session)");
    for line in ["/edit other", "now", "/me acts", "/topic mine", "/away gone", "/pm mona hi"] {
        bob.types(line);
    }
    bob.shows("each refused", |lines| {
        lines.iter().filter(|line| line.contains("=!=") && line.contains("shouting")).count() == 6
    });
    mona.types("still heard");
    bob.sees("mona: still heard");
    assert_eq!(mona.seen("bob: now") + mona.seen("acts") + mona.seen("hi"), 0);
    mona.types("/mute Bob 1s shouting");
    world
        .until("the mute ends", || world.client("bob", &["--send", "free again"]).ends().success());
    mona.sees("bob: free again");
}

#[test]
fn what_is_set_for_a_person_must_be_readable() {
    let (world, [_olga, _mona, bob]) = server_with_roles();
    let file = world.home().join("users/bob.json");
    fs::write(&file, r#"{"role": "king"}"#).unwrap();
    world.server.is_told("bob.json");
    let (ok, told) = world.operator(&["ctl", "reload"]);
    assert!(
        ok && told.contains("is owner, moderator or member") && !told.contains("nobody gets in"),
        "{told}"
    );
    assert!(told.contains("until they are, those of before hold"), "{told}");
    let (ok, _) = world.operator(&["ctl", "kick", "bob"]);
    assert!(ok, "the old settings hold");
    drop(bob);
    // At a start there are none of before: that person is kept out, and nobody else.
    let world = world.restarted();
    world.server.is_told("a role is owner, moderator or member");
    let (ok, told) = world.operator(&["ctl", "users"]);
    assert!(ok && told.contains("olga") && !told.contains("bob"), "{told}");
}

#[test]
fn the_message_of_the_day_is_changed_from_the_chat() {
    let (world, [mut olga, ..]) = server_with_roles();
    olga.types("/motd mind the step");
    olga.sees("it is set");
    let world = world.restarted();
    world.enters("carol").sees("server| mind the step");
}

#[test]
fn the_only_owner_stays_and_a_new_one_of_a_name_begins_with_nothing() {
    let (world, _people) = server_with_roles();
    let (ok, told) = world.operator(&["users", "role", "olga", "member"]);
    assert!(!ok && told.contains("the only owner"), "{told}");
    // Neither word is about an owner, whoever says it and however lately one became that.
    for (name, word) in [("olga", "op"), ("olga", "deop"), ("mona", "deop")] {
        if name == "mona" {
            assert!(world.operator(&["users", "role", name, "owner"]).0);
        }
        let (ok, told) = world.operator(&["ctl", word, name]);
        assert!(!ok && told.contains(&format!("{name} is owner")), "{word} {name}: {told}");
    }
    let (_, list) = world.operator(&["users", "list"]);
    assert_eq!(list.matches(" owner ").count(), 2, "{list}");
    assert!(world.operator(&["users", "role", "mona", "member"]).0);
    let (ok, told) = world.operator(&["users", "remove", "olga"]);
    assert!(ok && told.contains("olga.json"), "{told}");
}

/// The numbers, kinds and subjects of the list of bans and mutes.
fn list(world: &World) -> Vec<(u64, String, String)> {
    let (ok, told) = world.operator(&["ctl", "banlist", "--json"]);
    assert!(ok, "{told}");
    let reply: Value = serde_json::from_str(&told).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rows = reply["data"].as_array().unwrap().iter();
    rows.map(|row| (row["number"].as_u64().unwrap(), text(&row["kind"]), text(&row["subject"])))
        .collect()
}

#[test]
fn a_ban_of_many_is_confirmed_first() {
    let (world, [mut olga, mut mona, mut bob]) = server_with_roles();
    let ctl = |words: &[&str]| world.operator(&[&["ctl"], words].concat());
    // A range with a session of an owner cannot be banned.
    olga.types("/exit");
    olga.ends();
    world.server.is_told("olga (main) ended");
    for (range, wanted) in [
        ("10.0.0.0/8", "16777216 addresses would be banned (10.0.0.0/8)"),
        ("0.0.0.0/1", "many people share 127.0.0.0 in this range"),
        ("127.0.0.9", "many people share 127.0.0.9 in this range"),
        ("::/0", "all IPv6 addresses would be banned"),
        ("2001:db8::/31", "addresses would be banned"),
    ] {
        let (ok, told) = ctl(&["ban", range, "1h", "noise"]);
        assert!(!ok && told.contains(wanted) && told.contains("--yes"), "{told}");
    }
    assert_eq!(list(&world), [], "nothing was done");
    // An operator who has a session there is named.
    let (ok, told) = ctl(&["ban", "127.0.0.0/16", "--json"]);
    let reply: Value = serde_json::from_str(&told).unwrap();
    let question = reply["question"].as_str().unwrap();
    assert!(!ok && question.contains("operators among them: mona"), "{told}");
    mona.types("nothing was done");
    bob.sees("mona: nothing was done");
    // The control: a small range, and a range that is confirmed.
    for words in [&["ban", "10.1.0.0/16"][..], &["ban", "10.0.0.0/8", "1h", "noise", "--yes"]] {
        let (ok, told) = ctl(words);
        assert!(ok, "{told}");
    }
    let (_, told) = ctl(&["banlist"]);
    assert!(
        told.contains("10.0.0.0/8 is banned by ctl until") && told.contains(": noise"),
        "{told}"
    );
    assert!(!told.contains("--yes"), "{told}");
    // In the chat.
    let mut olga = world.client("olga", &["--plain"]);
    olga.sees("you are in #lobby");
    olga.types("/mute 172.0.0.0/8 1h");
    olga.sees("16777216 addresses would be muted (172.0.0.0/8): nothing was done; add --yes");
    olga.types("/mute 172.0.0.0/8 1h --yes");
    olga.sees("172.0.0.0/8 is muted until");
    bob.types("still here");
    olga.sees("bob: still here");
}

#[test]
fn a_terminal_asks_before_a_ban_of_many() {
    let world = World::new();
    let asked = || {
        let mut command = world.program("operator");
        command.args(["ctl", "ban", "10.0.0.0/8", "--home"]).arg(world.home());
        let terminal = Terminal::run(&command);
        terminal.shows("(10.0.0.0/8) [y/N]");
        terminal
    };
    let mut terminal = asked();
    terminal.types("n\r");
    terminal.shows("nothing was done");
    assert_eq!(list(&world), []);
    let mut terminal = asked();
    terminal.types("y\r");
    terminal.shows("10.0.0.0/8 is banned for good");
    assert_eq!(list(&world), [(1, "ban".to_owned(), "10.0.0.0/8".to_owned())]);
}

#[test]
fn one_address_of_a_network_is_banned_with_a_hint_to_the_network() {
    let world = World::new();
    let ctl = |words: &[&str]| world.operator(&[&["ctl"], words].concat());
    let (ok, told) = ctl(&["ban", "2001:db8::7"]);
    assert!(ok && told.contains("can use every address of 2001:db8::/64"), "{told}");
    for whole in ["2001:db8::/64", "192.0.2.7"] {
        let (ok, told) = ctl(&["ban", whole]);
        assert!(ok && !told.contains("every address"), "{told}");
    }
    let (ok, told) = ctl(&["ban", "2001:db8:1::7/64"]);
    assert!(!ok && told.contains("bits beyond its prefix: write 2001:db8:1::/64"), "{told}");
}

#[test]
fn a_ban_is_lifted_by_its_number() {
    let (world, [mut olga, _mona, bob]) = server_with_roles();
    let ctl = |words: &[&str]| world.operator(&[&["ctl"], words].concat());
    for words in [["ban", "192.0.2.7"], ["mute", "bob"], ["ban", "198.51.100.0/24"]] {
        let (ok, told) = ctl(&words);
        assert!(ok, "{told}");
    }
    bob.sees("you are muted");
    let (_, told) = ctl(&["banlist"]);
    assert!(told.contains("  2  bob is muted by ctl for good"), "{told}");
    let (ok, told) = ctl(&["unban", "2"]);
    assert!(!ok && told.contains("number 2 is not a ban: bob is muted"), "{told}");
    let (ok, told) = ctl(&["unban", "9"]);
    assert!(!ok && told.contains("there is no number 9"), "{told}");
    olga.types("/unban 1");
    olga.sees("192.0.2.7/32 is no longer banned");
    olga.types("/unmute 2");
    bob.sees("you are no longer muted");
    // Numbers stay the same after a restart, and are not used again.
    let world = world.restarted();
    let ctl = |words: &[&str]| world.operator(&[&["ctl"], words].concat());
    assert_eq!(list(&world), [(3, "ban".to_owned(), "198.51.100.0/24".to_owned())]);
    assert!(ctl(&["unban", "3"]).0 && ctl(&["ban", "192.0.2.9"]).0);
    assert_eq!(list(&world), [(4, "ban".to_owned(), "192.0.2.9/32".to_owned())]);
    // A user of that name has priority over a number.
    world.admit("4");
    assert!(ctl(&["ban", "4"]).0);
    let (ok, told) = ctl(&["unban", "4"]);
    assert!(ok && told.contains("4 is no longer banned"), "{told}");
    assert_eq!(list(&world), [(4, "ban".to_owned(), "192.0.2.9/32".to_owned())]);
}

#[test]
fn users_are_listed_with_addresses_and_the_time_of_their_last_session() {
    let world = World::configured(r#"{"exempt": ["127.0.0.1"]}"#);
    let users = |world: &World| world.operator(&["ctl", "users"]).1;
    let of_alice = |world: &World| {
        let (ok, told) = world.operator(&["ctl", "users", "--json"]);
        assert!(ok, "{told}");
        let reply: Value = serde_json::from_str(&told).unwrap();
        reply["data"].as_array().unwrap().iter().find(|row| row["name"] == "alice").unwrap().clone()
    };
    world.admit("bob");
    let mut alice = world.enters("alice");
    let told = users(&world);
    assert!(told.contains("alice                main 127.0.0.1\n"), "{told}");
    assert!(told.contains("bob                  away, never connected"), "{told}");
    let row = of_alice(&world);
    assert_eq!(row["sessions"][0]["address"], "127.0.0.1");
    let began_ms = row["last_seen_ms"].as_i64().unwrap();
    alice.types("/exit");
    alice.ends();
    world.until("alice is away", || of_alice(&world)["sessions"].as_array().unwrap().is_empty());
    let told = users(&world);
    assert!(told.contains("alice                away, last connected 20"), "{told}");
    assert!(told.contains(" UTC from 127.0.0.1"), "{told}");
    let row = of_alice(&world);
    let seen_ms = row["last_seen_ms"].as_i64().unwrap();
    assert!(seen_ms.abs_diff(began_ms) < 600_000, "{row}");
    let world = world.restarted();
    assert_eq!(of_alice(&world)["last_seen_ms"], seen_ms, "a restart is no visit");
    // Where addresses are not logged, they are not shown either.
    world.reloads(r#"{"exempt": ["127.0.0.1"], "log_ip": false}"#);
    let _alice = world.client("alice", &["--plain"]);
    world.until("alice is back", || !of_alice(&world)["sessions"].as_array().unwrap().is_empty());
    let told = world.operator(&["ctl", "users", "--json"]).1 + &users(&world);
    assert!(told.contains("main") && !told.contains("127.0.0.1"), "{told}");
}
