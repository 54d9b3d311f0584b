//! Open password prompts: their duration, their number and their texts.

use super::*;

#[test]
fn unanswered_prompts_expire_and_their_number_is_bounded() {
    let world = World::with(r#"{"password_s_max": 3600, "sessions_per_user_max": 2}"#);
    world.admit("bob");
    passwd(&world, "bob", PASSWORD);
    while_young(|| {
        let prompts = [(); 2].map(|()| world.client("bob", &["--json"]));
        prompts.iter().for_each(|prompt| drop(prompt.sees(ASKED)));
        let more = world.client("bob", &["--json"]);
        is_one_too_many(&more)
    });
    world.reloads(r#"{"limits": {"password_s_max": 2}}"#);
    let slow = world.client("bob", &["--json"]);
    slow.sees("no password was sent");
}

#[test]
fn a_prompt_reads_few_records_and_few_bytes() {
    let world = World::new();
    world.admit("bob");
    assert!(passwd(&world, "bob", PASSWORD).0);
    let long = format!(r#"{{"type":"nothing","text":"{}"}}"#, "x".repeat(12_000));
    // The records, and how many the server accepts before the connection ends.
    let records: [(RecordType, &str, usize); 6] = [
        (RecordType::Ping, "x", 32),
        (RecordType::Pong, "", 32),
        (RecordType::Json, "", 32),
        (RecordType::Json, "nonsense", 32),
        (RecordType::Other(200), "x", 32),
        (RecordType::Json, &long, 1),
    ];
    for (kind, body, allowed) in records {
        let mut bob = Peer::knocks(&world, "bob", "main");
        bob.sees("\"password\"");
        for _ in 0..allowed {
            bob.writer.send(kind, body.as_bytes()).unwrap();
        }
        // One more may be cut off while it is sent.
        let _ = bob.writer.send(kind, body.as_bytes());
        let told = bob.sees("too much data before the password");
        assert!(told.contains("\"goodbye\""), "{told}");
        // One less leaves room for the password.
        let mut bob = Peer::knocks(&world, "bob", "main");
        bob.sees("\"password\"");
        for _ in 1..allowed {
            bob.writer.send(kind, body.as_bytes()).unwrap();
        }
        bob.sends(&json!({"type": "password", "password": PASSWORD}).to_string());
        bob.sees("\"entered\"");
    }
}

#[test]
fn prompts_that_a_thief_of_the_key_opens_elsewhere_keep_the_owner_out_nowhere() {
    let world = World::with(r#"{"sessions_per_user_max": 3}"#);
    world.admit("bob");
    assert!(passwd(&world, "bob", PASSWORD).0);
    let elsewhere = Proxy::from_source(&world.address, [127, 0, 7, 1]);
    let prompt = || world.client_by("bob", &elsewhere.address, &["--json"]);
    while_young(|| {
        let prompts = [(); 3].map(|()| prompt());
        prompts.iter().for_each(|thief| drop(thief.sees(ASKED)));
        let refused = prompt();
        let one_too_many = is_one_too_many(&refused);
        let mut bob = world.client("bob", &["--json"]);
        bob.sees(ASKED);
        guesses(&mut bob, PASSWORD);
        bob.sees(ENTERED);
        one_too_many && prompts.iter().all(|thief| thief.seen("too many") == 0)
    });
}

#[test]
fn prompts_that_a_thief_of_the_key_opens_at_the_same_address_leave_the_owner_a_place() {
    let world = World::with(r#"{"sessions_per_user_max": 2}"#);
    world.admit("bob");
    assert!(passwd(&world, "bob", PASSWORD).0);
    // As behind a proxy, everybody has one address. The thief's clients come back by themselves.
    let thieves = [(); 2].map(|()| world.client("bob", &["--json"]));
    thieves.iter().for_each(|thief| drop(thief.sees("\"password\"")));
    let mut bob = world.client("bob", &["--json"]);
    bob.sees("\"password\"");
    guesses(&mut bob, PASSWORD);
    bob.sees("\"hello\"");
}

#[test]
fn stars_stand_for_what_is_typed_and_it_is_not_kept() {
    let world = World::new();
    world.admit("bob");
    passwd(&world, "bob", PASSWORD);
    let mut client = world.program("bob");
    client.args(["client", &world.invite, "--name", "bob", "--plain"]);
    let mut bob = Terminal::run(&client);
    bob.shows("type your password and Enter");
    bob.types(PASSWORD);
    bob.shows(&"*".repeat(PASSWORD.len()));
    bob.types("\r");
    bob.shows("you are in #lobby");
    bob.types("\x1b[A");
    bob.types("visible\r");
    bob.shows("> visible");
    assert!(!bob.bytes().contains("tea"), "{}", bob.bytes());
    assert!(!bob.screen().contains(PASSWORD), "{}", bob.screen());
}

#[test]
fn the_full_screen_hides_it_too() {
    let world = World::new();
    world.admit("bob");
    passwd(&world, "bob", PASSWORD);
    let mut client = world.program("bob");
    client.args(["client", &world.invite, "--name", "bob"]);
    let mut bob = Terminal::run(&client);
    bob.shows_row(|row| row.starts_with("password> "));
    bob.types(PASSWORD);
    bob.shows(&format!("password> {}", "*".repeat(PASSWORD.len())));
    bob.types("\r");
    bob.shows("* connected");
    bob.types("\x1b[A");
    bob.types("visible\r");
    bob.shows("You: visible");
    assert!(!bob.bytes().contains("tea for"), "{}", bob.bytes());
}
