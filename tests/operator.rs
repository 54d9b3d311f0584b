//! Roles and operator commands: permissions, bans, and notices. On the real binary.

mod world;

use std::fs;

use world::World;

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
    bob.sees("any operator command: not allowed for a member");
    mona.types("/op bob");
    mona.sees("op: not allowed for a moderator");
    mona.types("/ban olga 1h");
    mona.sees("olga is owner here: not allowed for a moderator");
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
    bob.sees("mona is moderator here: not allowed for a moderator");
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
    does(&["mute", "127.0.0.0/8"]);
    _mona.sees("you are muted for good");
    does(&["unmute", "127.0.0.0/8"]);
    let (ok, told) = world.operator(&["ctl", "ban", "127.0.0.0/8"]);
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
