//! Tickets of devices that have proven the password before.

use super::*;

#[test]
fn a_device_that_knew_the_password_waits_for_no_thief_of_its_key_at_its_own_address() {
    // Everybody has one address, as behind a proxy or an onion service.
    let world = World::with(r#"{"sessions_per_user_max": 3}"#);
    world.admit("bob");
    assert!(passwd(&world, "bob", PASSWORD).0);
    comes_in(&world, "bob", PASSWORD);
    let kept = ticket_file(&world);
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    // The thief has as many prompts as an address may have, and guesses at each.
    stolen_key(&world);
    let thieves = || {
        let thief = [(); 3].map(|()| world.client("bob.thief", &["--json"]));
        thief.iter().for_each(|prompt| drop(prompt.sees(ASKED)));
        thief
    };
    while_young(|| {
        let mut thief = thieves();
        for _ in 0..2 {
            thief.iter_mut().for_each(|prompt| guesses(prompt, "wrong guess"));
            world.until("a guess was checked", || {
                thief.iter().any(|prompt| prompt.seen("\"wrong\":true") > 0)
            });
        }
        let more = world.client("bob.thief", &["--json"]);
        let one_too_many = is_one_too_many(&more);
        let asked = comes_in(&world, "bob", PASSWORD);
        assert_eq!(asked.get("retry_ms"), None, "no guess of another device delays it");
        let each_has_its_own_places = thief.iter().all(|prompt| prompt.seen("too many") == 0);
        one_too_many && each_has_its_own_places
    });
    // The ticket does not replace the password.
    let mut wrong = world.client("bob", &["--json"]);
    wrong.sees(ASKED);
    guesses(&mut wrong, "wrong guess");
    wrong.sees("\"wrong\":true");
    drop(wrong);
    // The ticket makes the difference: without it, bob has no priority at this address.
    fs::remove_file(&kept).unwrap();
    while_young(|| {
        let _thief = thieves();
        let without = world.client("bob", &["--json"]);
        is_one_too_many(&without)
    });
}

#[test]
fn a_ticket_counts_until_the_password_or_the_key_is_another_one_or_its_owner_is_banned() {
    let world = World::new();
    world.admit("bob");
    assert!(passwd(&world, "bob", PASSWORD).0);
    let count = |world: &World| stored_tickets(world).matches("\"ticket\"").count();
    comes_in(&world, "bob", PASSWORD);
    comes_in(&world, "bob", PASSWORD);
    let world = world.restarted();
    assert_eq!(count(&world), 1, "it is renewed and not given again: {}", stored_tickets(&world));
    comes_in(&world, "bob", PASSWORD);
    let world = world.restarted();
    assert_eq!(count(&world), 1, "{}", stored_tickets(&world));
    // Another password.
    assert!(passwd(&world, "bob", "coffee for two").0);
    world.until("it is erased", || count(&world) == 0);
    comes_in(&world, "bob", "coffee for two");
    let world = world.restarted();
    assert_eq!(count(&world), 1);
    // A ban, even if it is lifted again.
    for word in ["ban", "unban"] {
        let (ok, told) = world.operator(&["ctl", word, "bob"]);
        assert!(ok, "{told}");
    }
    let world = world.restarted();
    assert_eq!(count(&world), 0, "{}", stored_tickets(&world));
    comes_in(&world, "bob", "coffee for two");
    let world = world.restarted();
    assert_eq!(count(&world), 1);
    assert!(world.operator(&["users", "remove", "bob"]).0);
    world.until("it is erased with its owner", || count(&world) == 0);
}

#[test]
fn a_ticket_is_given_for_a_password_only_to_devices_that_store_it() {
    let world = World::new();
    world.admit("bob");
    let login = |features: &[&str], ticket| Login {
        features: features.iter().map(|it| it.to_string()).collect(),
        ticket,
        ..login("bob")
    };
    let asks = |login: &Login, password: bool| {
        let mut peer = Peer::says(&world, "bob", login);
        if password {
            peer.sees("\"password\"");
            peer.sends(&json!({"type": "password", "password": PASSWORD}).to_string());
        }
        peer.sees("\"entered\"");
        let told = peer.asks(r#"{"type":"channels"}"#);
        let ticket = told.lines().map(object).find(|event| event["type"] == "ticket");
        peer.sends(r#"{"type":"quit"}"#);
        ticket.map(|event| event["ticket"].as_str().unwrap().to_owned())
    };
    assert_eq!(asks(&login(&["ticket"], None), false), None, "there is no password");
    assert!(passwd(&world, "bob", PASSWORD).0);
    assert_eq!(asks(&login(&["resume"], None), true), None);
    let one = asks(&login(&["ticket"], None), true).unwrap();
    let other = asks(&login(&["ticket"], None), true).unwrap();
    assert!(one != other && one.len() == 43);
    let ticket = |text: &str| Some(serde_json::from_value::<Ticket>(text.into()).unwrap());
    assert_eq!(asks(&login(&["ticket"], ticket(&one)), true), None, "it has one");
    let forged = asks(&login(&["ticket"], ticket(&"A".repeat(43))), true);
    assert!(forged.is_some(), "it has none");
    // The server stores none of them, and logs none.
    let world = world.stopped();
    for text in [&one, &other] {
        assert_eq!(world.found_in("home", text), 0);
        assert!(!world.server.told().iter().any(|line| line.contains(text.as_str())));
    }
}
