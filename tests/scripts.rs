//! What scripts rely on, on the real binary.

mod world;

use std::process::{Output, Stdio};

use world::{Program, World};

/// Runs one job of bob's to its end.
fn job(world: &World, args: &[&str]) -> Output {
    let mut command = world.program("bob");
    command.args(["client", &world.invite, "--name", "bob"]).args(args);
    command.stdin(Stdio::null()).output().unwrap()
}

/// Its exit code, and what it printed on stdout and stderr.
fn ended(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// Waits for the count of a conversation.
fn counts(program: &Program, to: &str) {
    let is_count = |line: &String| line.contains(r#""type":"count""#) && line.contains(to);
    program.shows(to, |lines| lines.iter().any(is_count));
}

#[test]
fn the_bare_name_of_a_channel_is_the_one_that_a_program_is_in() {
    let world = World::new();
    let mut alice = world.enters_as("alice", "--json");
    alice.sees("connected");
    // In one go: the key of the channel is still being worked out.
    alice.types(r##"{"type":"join","channel":"#work","pin":"half past four"}"##);
    alice.types(r##"{"type":"say","to":"#work","text":"behind the PIN"}"##);
    let said = alice.sees("behind the PIN");
    assert!(
        said.contains(r##""to":"#work~"##) && said.contains(r#""confidentiality":"pin""#),
        "{said}"
    );
    alice.types(r##"{"type":"history","to":"#work","messages":5,"ref":"h"}"##);
    alice.sees(r#""ref":"h""#);
    let after = r##""conversations":[{"to":"#lobby","seq":"0"},{"to":"#work","seq":"0"}]"##;
    alice.types(&format!(r#"{{"type":"count",{after}}}"#));
    counts(&alice, r##""to":"#work~"##);
    alice.types(&format!(r#"{{"type":"read",{after}}}"#));
    // Of two, the error names both.
    alice.types(r##"{"type":"join","channel":"#work"}"##);
    alice.sees(r##""channel":"#work","##);
    alice.types(r##"{"type":"say","to":"#work","text":"to which one"}"##);
    let which = alice.sees("ambiguous: ");
    assert!(which.contains("#work~open") && which.contains(" or "), "{which}");
    alice.types(r##"{"type":"say","to":"#work~open","text":"to the open one"}"##);
    let said = alice.sees("to the open one");
    assert!(said.contains(r#""confidentiality":"open""#), "{said}");
    assert_eq!(alice.seen(r#""text":"to which one""#), 0);
    for (number, kind) in (2..).zip(["count", "read"]) {
        alice.types(&format!(r#"{{"type":"{kind}",{after}}}"#));
        alice.shows(kind, |lines| {
            lines.iter().filter(|line| line.contains("ambiguous: ")).count() == number
        });
    }
    // The open one, whose answer has its name alone.
    alice.types(r##"{"type":"count","conversations":[{"to":"#work~open","seq":"0"}]}"##);
    counts(&alice, r##""to":"#work""##);
    alice.hangs_up();
    assert_eq!(alice.ends().code(), Some(8), "two errors");
}

#[test]
fn a_text_that_begins_with_a_dash_is_sent() {
    let world = World::new();
    let alice = world.enters("alice");
    world.admit("bob");
    for (args, text) in [
        (&["--send", "- milk"][..], "- milk"),
        (&["--send", "--", "- bread"], "- bread"),
        (&["--send=-butter"], "-butter"),
        (&["--send", "-hello"], "-hello"),
        (&["--send", "-5 degrees", "--to", "#lobby"], "-5 degrees"),
    ] {
        let (code, _, told) = ended(&job(&world, args));
        assert_eq!(code, 0, "{args:?}: {told}");
        alice.sees(&format!("bob: {text}"));
    }
    // What waits for messages sends none.
    for args in [&["--send", "-f"][..], &["--json", "-f"], &["--plain", "-f"]] {
        let (code, out, told) = ended(&job(&world, args));
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}: {told}");
    }
}

#[test]
fn a_channel_that_is_not_there_is_created_only_where_that_is_asked_for() {
    let world = World::new();
    let mut alice = world.enters("alice");
    alice.types("/join alerts");
    alice.sees("you are in #alerts");
    world.admit("bob");
    let (code, out, told) = ended(&job(&world, &["--send", "fire", "--to", "#aletrs"]));
    assert_eq!((code, out.as_str()), (8, ""), "{told}");
    assert!(told.contains("no channel #aletrs, did you mean #alerts?"), "{told}");
    assert!(told.contains("Nothing was sent; --join '#aletrs' creates it"), "{told}");
    for reads in [["--tail", "1", "--to", "#elsewhere"], ["--get", "1", "--from", "#elsewhere"]] {
        let (code, _, told) = ended(&job(&world, &reads));
        assert_eq!(code, 8, "{told}");
        assert!(
            told.contains("there is no channel #elsewhere.") && !told.contains("--join"),
            "{told}"
        );
    }
    let (_, channels) = world.operator(&["ctl", "channels"]);
    assert!(!channels.contains("aletrs") && !channels.contains("elsewhere"), "{channels}");
    let (code, _, told) = ended(&job(&world, &["--send", "fire", "--to", "#alerts"]));
    assert_eq!(code, 0, "{told}");
    alice.sees("bob: fire");
    let new = ["--send", "first", "--to", "#new", "--join", "#new"];
    let (code, _, told) = ended(&job(&world, &new));
    assert_eq!(code, 0, "{told}");
}

#[test]
fn a_channel_with_messages_exists_while_nobody_is_in_it() {
    let world = World::with(r#"{"channel_empty_s": 0}"#);
    let mut alice = world.enters("alice");
    alice.types("/join alerts");
    alice.sees("you are in #alerts");
    alice.types("the kettle is on");
    alice.sees("#alerts You: the kettle is on");
    alice.types("/part #alerts");
    world.admit("bob");
    world.until("the server keeps only the lobby in memory", || world.counter("channels") == 1);
    let (_, channels) = world.operator(&["ctl", "channels"]);
    assert!(channels.contains("#alerts  0 members"), "{channels}");
    let (code, out, told) = ended(&job(&world, &["--tail", "5", "--to", "#alerts"]));
    assert!(code == 0 && out.contains("alice: the kettle is on"), "{out}{told}");
    let (code, _, told) = ended(&job(&world, &["--send", "tea", "--to", "#alerts"]));
    assert_eq!(code, 0, "{told}");
    // One without messages does not.
    let (code, _, told) = ended(&job(&world, &["--send", "tea", "--to", "#alarms"]));
    assert_eq!(code, 8, "{told}");
    // The same in the next run of the server.
    let world = world.restarted();
    let (code, _, told) = ended(&job(&world, &["--send", "tea again", "--to", "#alerts"]));
    assert_eq!(code, 0, "{told}");
}

#[test]
fn a_tail_prints_the_last_messages_and_nothing_else() {
    let world = World::with(r#"{"history_messages_max": 2, "messages_burst": 1000}"#);
    let mut alice = world.enters("alice");
    world.admit("bob");
    for line in ["one", "two", "three", "four", "five"] {
        alice.types(line);
        alice.sees(&format!("You: {line}"));
    }
    let texts = |out: &str| -> Vec<String> {
        out.lines().map(|line| line.split("alice: ").nth(1).unwrap_or(line).to_owned()).collect()
    };
    let tails = |lines: &str| {
        let (code, out, told) = ended(&job(&world, &["--tail", lines]));
        assert_eq!((code, told.as_str()), (0, ""));
        texts(&out)
    };
    assert_eq!(tails("2"), ["four", "five"]);
    // More than the server gives at once, and more than there are.
    assert_eq!(tails("4"), ["two", "three", "four", "five"]);
    assert_eq!(tails("100"), ["one", "two", "three", "four", "five"]);
    assert_eq!(tails("0"), [""; 0]);
    let mut tail = world.client("bob", &["--tail", "2", "-f"]);
    tail.sees("alice: five");
    alice.types("six");
    tail.sees("alice: six");
    assert_eq!(texts(&tail.shown().join("\n")), ["four", "five", "six"]);
    tail.signal(rustix::process::Signal::INT);
    assert_eq!(tail.ends().code(), Some(130));
}

#[test]
fn what_a_program_types_wrongly_is_an_error_with_a_code() {
    let world = World::new();
    let bob = world.enters("bob");
    world.admit("alice");
    assert!(world.operator(&["users", "role", "alice", "moderator"]).0);
    for line in ["/frobnicate", "//join #tea 4711", "/whois b!b", "/"] {
        let mut alice = world.client("alice", &["--json"]);
        alice.sees("connected");
        alice.types(&serde_json::json!({"type": "slash", "line": line}).to_string());
        let told = alice.sees(r#""type":"error""#);
        assert!(told.contains(r#""code":"bad_request""#), "{line}: {told}");
        alice.hangs_up();
        assert_eq!(alice.ends().code(), Some(8), "{line}");
    }
    let mut alice = world.client("alice", &["--json"]);
    alice.sees("connected");
    alice.types(r#"{"type":"slash","line":"/kick"}"#);
    let told = alice.sees("whom? kick");
    assert!(told.contains(r#""code":"bad_request""#), "{told}");
    alice.types(r##"{"type":"send_file","path":"none.jpg","to":"#lobby"}"##);
    let told = alice.sees(r#""state":"failed""#);
    assert!(told.contains(r#""code":"not_a_file""#), "{told}");
    alice.types(r##"{"type":"history","to":"#lobby","messages":0}"##);
    alice.sees("messages is 1 or more");
    alice.types(r##"{"type":"say","to":"#lobby","text":" /join #tea as it is"}"##);
    bob.sees("alice:  /join #tea as it is");
    assert_eq!(bob.seen("4711"), 0);
    alice.types(r#"{"type":"quit"}"#);
    assert_eq!(alice.ends().code(), Some(8), "a line has failed before `quit`");
    // The control: nothing has failed.
    let mut alice = world.client("alice", &["--json"]);
    alice.sees("connected");
    alice.types(r#"{"type":"quit"}"#);
    assert_eq!(alice.ends().code(), Some(0));
}

#[test]
fn a_byte_order_mark_before_the_input_is_ignored() {
    let world = World::new();
    let mut alice = world.enters_as("alice", "--json");
    alice.types("\u{feff}{\"type\":\"say\",\"to\":\"#lobby\",\"text\":\"one\"}");
    alice.sees("\"ack\"");
    alice.types("\u{feff}{\"type\":\"quit\"}");
    alice.sees("not an object");
    world.admit("bob");
    let mut bob = world.client("bob", &["--plain"]);
    bob.types("\u{feff}/join #tea");
    bob.sees("you are in #tea");
    bob.types("\u{feff}/join #cake 4711");
    bob.sees("a line looks like /join");
}

#[test]
fn a_job_is_no_visitor_and_hides_from_nobody() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let carol = world.enters("carol");
    alice.sees("--> carol joined (2 here)");
    world.admit("bob");
    assert_eq!(ended(&job(&world, &["--send", "from a job"])).0, 0);
    alice.sees("bob: from a job");
    let mut tail = world.client("bob", &["--tail", "1", "-f"]);
    tail.sees("You: from a job");
    alice.types("/whois bob");
    alice.sees("bob on main: idle for");
    let (_, told) = world.operator(&["ctl", "users"]);
    assert!(told.lines().any(|row| row.contains("bob") && row.contains("main")), "{told}");
    // Everybody else sees bob once he is there.
    alice.types("/list");
    alice.sees("#lobby (2 here): alice, carol");
    let mut bob = world.client("bob", &["--plain"]);
    bob.sees("you are in #lobby (3 here: alice, bob, carol)");
    alice.sees("--> bob joined (3 here)");
    bob.types("/exit");
    bob.ends();
    tail.signal(rustix::process::Signal::INT);
    tail.ends();
    for person in [&alice, &carol] {
        person.sees("<-- bob left");
        assert_eq!((person.seen("bob joined"), person.seen("bob left")), (1, 1));
    }
}

#[test]
fn joiners_that_mean_something_arrive() {
    let world = World::new();
    let alice = world.enters_as("alice", "--json");
    alice.sees("connected");
    world.admit("bob");
    let england = "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}";
    let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}";
    let persian = "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}";
    let bengali = "\u{9b0}\u{200d}\u{9cd}\u{9af}";
    let (name, mongolian) = ("\u{845b}\u{e0100}\u{57ce}", "\u{1820}\u{180b}\u{1828}");
    let (phone, hebrew) = ("\u{260e}\u{fe0e}", "\u{5d0}\u{5d1} C++\u{200e} \u{5d2}");
    let khmer = "\u{1791}\u{17c5}\u{200b}\u{1795}\u{17d2}\u{179f}\u{17b6}\u{179a}";
    let mut texts = vec![england, family, persian, bengali, "\u{e0b0}", name, mongolian];
    texts.extend([phone, hebrew, khmer]);
    for text in texts {
        for to in ["#lobby", "alice"] {
            let said = format!("{text} to {to}");
            let (code, _, told) = ended(&job(&world, &["--send", &said, "--to", to]));
            assert_eq!(code, 0, "{told}");
            alice.sees(&said);
        }
    }
    // Sealed, as disguises are that no server has seen.
    for to in ["#lobby", "alice"] {
        let said = format!("p\u{200b}ay\u{200d}p\u{fe0f}al\u{200c}\u{e0041}\u{200e} to {to}");
        assert_eq!(ended(&job(&world, &["--send", &said, "--to", to])).0, 0);
        alice.sees(&format!("paypal to {to}"));
    }
}

#[test]
fn a_dumb_terminal_gets_no_colours() {
    let world = World::new();
    world.admit("bob");
    for (term, colours) in [("dumb", false), ("xterm", true)] {
        let mut command = world.program("bob");
        command.args(["client", &world.invite, "--name", "bob", "--send", "hi"]);
        command.env_remove("NO_COLOR");
        assert!(command.output().unwrap().status.success());
        let mut command = world.program("bob");
        command.args(["client", &world.invite, "--name", "bob", "--tail", "1"]);
        // Colours would be wanted otherwise, pipe or not.
        command.env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1").env("TERM", term);
        let out = String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert_eq!(out.contains('\u{1b}'), colours, "{term}: {out:?}");
    }
}
