//! How an operator registers, lists and removes users and their keys.

use super::*;

#[test]
fn a_key_that_cannot_be_registered_is_refused_with_its_reason() {
    let world = World::new();
    let alice = key();
    let (code, _, _) = operator(&world, &["users", "add", &line("alice", &alice), "--yes"]);
    assert_eq!(code, 0);
    let pem_of_bits = |bits| {
        let key = RsaPrivateKey::new(&mut rand::rng(), bits).unwrap().to_public_key();
        key.to_public_key_pem(LineEnding::LF).unwrap()
    };
    let bob = key();
    let modulus = BoxedUint::from_be_slice(bob.modulus(), 3072).unwrap();
    let three = RsaPublicKey::new(modulus, BoxedUint::from(3_u8)).unwrap();
    assert_eq!(three.size(), 384);
    let bob_line = line("bob", &bob);
    let cut = &bob_line[..402];
    let bent = bob_line.replacen(".bob.", ".bop.", 1);
    let private = Identity::generate().to_pem(None).to_string();
    let half = &bob.to_pem()[..200];
    let refusals: &[(&str, &[&str], i32, &str)] = &[
        (
            &pem_of_bits(1024),
            &["--as", "bob"],
            3,
            "the key has 1024 bits; pychat wants RSA with 3072",
        ),
        (&pem_of_bits(2048), &["--as", "bob"], 3, "the key has 2048 bits"),
        (
            &three.to_public_key_pem(LineEnding::LF).unwrap(),
            &["--as", "bob"],
            3,
            "public exponent is not 65537",
        ),
        (&private, &["--as", "bob"], 3, "this is a private key"),
        (half, &["--as", "bob"], 3, "not an RSA key in PEM form (it breaks off)"),
        (&bob.to_pem(), &[], 2, "the user's name is missing"),
        (&bob.to_pem(), &["--as", "b b"], 2, "names contain only letters"),
        ("hello", &[], 3, "a key line begins with pychat-key1."),
        ("pychat-key1.bob", &[], 3, "the line is incomplete"),
        (cut, &[], 3, "the line is incomplete: 402 of 584 characters"),
        (&bent, &[], 3, "checksum is wrong"),
        (&line("alice2", &alice), &[], 1, "the same key is registered for alice already"),
        (&line("alice", &bob), &[], 1, "alice has another key already"),
        (&line("ALICE", &bob), &[], 1, "the name looks like alice"),
        (&line("a1ice", &bob), &[], 1, "the name looks like alice"),
        (&line("aIice", &bob), &[], 1, "the name looks like alice"),
    ];
    for (index, (text, args, code, reason)) in refusals.iter().enumerate() {
        let file = world.home().join(format!("sent{index}"));
        fs::write(&file, text).unwrap();
        let add = ["users", "add", file.to_str().unwrap(), "--yes"];
        let args: Vec<_> = add.iter().chain(*args).copied().collect();
        let (was, out, told) = operator(&world, &args);
        assert_eq!((was, out.as_str()), (*code, ""), "{told}");
        assert!(told.starts_with("error: ") && told.contains(reason), "{reason}: {told}");
        assert_eq!(told.matches("error").count(), 1, "{told}");
    }
    let (_, list, _) = operator(&world, &["users", "list"]);
    assert_eq!(list.lines().count(), 1, "{list}");
}

#[test]
fn a_name_that_looks_like_another_one_is_refused_and_a_similar_one_is_named() {
    let world = World::new();
    // An alphabet of its own that looks the same.
    let (code, _, _) = operator(&world, &["users", "add", &line("copoc", &key()), "--yes"]);
    assert_eq!(code, 0);
    let (code, _, told) = operator(&world, &["users", "add", &line("сорос", &key()), "--yes"]);
    assert_eq!(code, 1);
    assert!(told.contains("the name looks like copoc"), "{told}");
    // Names that are only similar are people's own; the operator is told.
    for (one, other) in [("maria", "marla"), ("clara", "dara"), ("anna", "ama")] {
        let (code, _, told) = operator(&world, &["users", "add", &line(one, &key()), "--yes"]);
        assert!(code == 0 && !told.contains("warning"), "{told}");
        let (code, _, told) = operator(&world, &["users", "add", &line(other, &key()), "--yes"]);
        assert_eq!(code, 0, "{told}");
        let warning = format!("warning: the name {other} is similar to {one}");
        assert!(told.contains(&warning), "{told}");
        let (_, told, _) = operator(&world, &["check"]);
        assert!(told.contains(" is similar to "), "{told}");
    }
}

#[test]
fn a_key_is_registered_after_a_confirmation_only() {
    let world = World::new();
    let (code, _, told) = operator(&world, &["users", "add", &line("bob", &key())]);
    assert_eq!(code, 2, "nobody was asked");
    assert!(told.contains("hint:  compare it, then add --yes"), "{told}");
    let (code, _, told) = operator(&world, &["users", "add", "/nowhere/bob.pem", "--yes"]);
    assert_eq!(code, 3);
    assert!(told.contains("neither a file nor a key line"), "{told}");
}

#[test]
fn a_file_that_comes_later_takes_nobodys_name_and_key() {
    let world = World::new();
    drop(world.enters("alice"));
    let users = world.home().join("users");
    let alice = fs::read(users.join("alice.pem")).unwrap();
    // They sort before alice's file, and claim to be older.
    for (name, pem) in [("a1ice.pem", key().to_pem().into_bytes()), ("aaron.pem", alice)] {
        fs::write(users.join(name), pem).unwrap();
        let file = fs::File::options().write(true).open(users.join(name)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    let (code, told, _) = operator(&world, &["check"]);
    assert!(
        code == 3 && told.contains("a1ice.pem is ignored: the name looks like alice"),
        "{told}"
    );
    assert!(told.contains("aaron.pem is ignored: the same key is registered for alice"), "{told}");
    let world = world.stopped().started();
    let client = world.client("alice", &["--plain"]);
    client.sees("you are in #lobby (1 here: alice)");
    let (_, list, told) = operator(&world, &["users", "list"]);
    assert!(list.contains("alice") && !list.contains("a1ice") && !list.contains("aaron"), "{list}");
    assert!(told.contains("a1ice.pem is ignored"), "{told}");
}

#[test]
fn the_operator_compares_what_the_person_reads() {
    let world = World::new();
    let bob = key();
    let answer = |answer: &str| {
        let mut command = world.program("operator");
        command.args(["users", "add", &line("bob", &bob), "--home"]).arg(world.home());
        let mut terminal = Terminal::run(&command);
        terminal.shows(&bob.fingerprint().spoken());
        terminal.shows("Did bob read you exactly this? [y/N]");
        terminal.types(answer);
        terminal
    };
    answer("\r").ends_with(1);
    assert!(!world.home().join("users/bob.pem").exists());
    answer("y\r").ends_with(0);
    assert!(world.home().join("users/bob.pem").exists());
}

#[test]
fn a_pasted_line_may_be_broken_anywhere() {
    let world = World::new();
    // Also where the rest looks like an option.
    let bob = line("bob", &key());
    let mut dashes = (100..500).filter(|at| bob[*at..].starts_with('-'));
    let at = dashes.find(|at| !bob[*at..].starts_with("--")).unwrap_or(300);
    let (one, two) = bob.split_at(at);
    let (code, _, told) = operator(&world, &["users", "add", one, two, "--yes"]);
    assert_eq!(code, 0, "{told}");
    let carol = line("carol", &key());
    let (one, two) = carol.split_at(100);
    fs::write(world.home().join("pasted"), format!("  {one}\r\n   {two}\n")).unwrap();
    let mut add = world.program("operator");
    add.args(["users", "add", "-", "--yes", "--home"]).arg(world.home());
    add.stdin(fs::File::open(world.home().join("pasted")).unwrap());
    assert!(add.output().unwrap().status.success());
    let (_, list, _) = operator(&world, &["users", "list"]);
    assert!(list.contains("bob ") && list.contains("carol "), "{list}");
}

#[test]
fn users_are_listed_shown_and_removed_for_eyes_and_for_programs() {
    let world = World::new();
    let (alice, phone) = (key(), key());
    let json = |args: &[&str]| {
        let (code, out, told) = operator(&world, args);
        assert_eq!(code, 0, "{told}");
        assert_eq!(out.lines().count(), 1, "{out}");
        serde_json::from_str::<Value>(&out).unwrap()
    };
    let added = json(&["users", "add", &line("alice", &alice), "--yes", "--json"]);
    assert_eq!(added["name"], "alice");
    assert_eq!(added["fingerprint"], alice.fingerprint().to_string());
    json(&["users", "add", &line("alice", &phone), "--device", "phone", "--yes", "--json"]);
    fs::write(world.home().join("users/half.pem"), "half a key").unwrap();

    let list = json(&["users", "list", "--json"]);
    assert_eq!(list["users"][0]["name"], "alice");
    assert_eq!(list["users"][0]["fingerprints"].as_array().unwrap().len(), 2);
    assert!(list["ignored"][0].as_str().unwrap().contains("half.pem is ignored"));
    let (_, shown, _) = operator(&world, &["users", "show", "Alice"]);
    for text in ["alice (owner)\n", "  main ", "  phone ", &alice.fingerprint().spoken()] {
        assert!(shown.contains(text), "{shown}");
    }
    let shown = json(&["users", "show", "alice", "--json"]);
    assert_eq!(shown["fingerprints"].as_array().unwrap().len(), 2);

    let gone = json(&["users", "remove", "alice", "--device", "phone", "--json"]);
    assert!(gone["removed"][0].as_str().unwrap().ends_with("alice.phone.pem"));
    // A person's last key by its device is the person, too.
    let tablet = key();
    json(&["users", "add", &line("bob", &tablet), "--device", "tablet", "--yes", "--json"]);
    json(&["users", "role", "bob", "moderator", "--json"]);
    let gone = json(&["users", "remove", "bob", "--device", "tablet", "--json"]);
    assert!(gone["removed"][1].as_str().unwrap().ends_with("bob.json"), "{gone}");
    json(&["users", "add", &line("bob", &tablet), "--yes", "--json"]);
    assert_eq!(json(&["users", "show", "bob", "--json"])["role"], "member");
    json(&["users", "remove", "bob", "--json"]);
    let gone = json(&["users", "remove", "ALICE", "--json"]);
    assert_eq!(gone["name"], "alice");
    // The key, and what was set for the first one here: that they are the owner.
    assert_eq!(gone["removed"].as_array().unwrap().len(), 2);
    for args in [["users", "remove", "alice"], ["users", "show", "alice"]] {
        let (code, _, told) = operator(&world, &args);
        assert_eq!(code, 1);
        assert!(told.contains("nobody is registered as alice\nhint:  pychat users list"), "{told}");
    }
    let (code, _, told) =
        run(world.program("operator").args(["users", "list", "--home", "/nowhere"]));
    assert_eq!(code, 3);
    assert!(told.contains("hint:  this may be no server home"), "{told}");
}

#[test]
fn keys_dropped_by_hand_count_and_a_bad_one_stops_nobody() {
    let world = World::new();
    let users = world.home().join("users");
    for (file, text) in [
        ("half.pem", "half a key"),
        ("bytes.pem", "\0\u{1}"),
        ("a b.pem", "no name"),
        ("mallory.pem", &Identity::generate().to_pem(None)),
    ] {
        fs::write(users.join(file), text).unwrap();
    }
    fs::create_dir(users.join("folder.pem")).unwrap();
    for file in ["half.pem", "bytes.pem", "a b.pem", "mallory.pem", "folder.pem"] {
        world.server.is_told(&format!("{file} is ignored"));
    }
    let mut alice = world.enters("alice");
    let phone = world.enters("alice.phone");
    alice.types("/whois alice");
    alice.sees("server| alice on main, phone");
    fs::remove_file(users.join("alice.phone.pem")).unwrap();
    phone.sees("your key was removed");
    alice.types("only the phone is out");
    alice.sees("You: only the phone is out");
}

#[test]
fn a_key_made_by_another_program_counts() {
    let openssl = |args: &[&str]| Command::new("openssl").args(args).output();
    let world = World::new();
    let private = world.home().join("private.pem");
    let size = "rsa_keygen_bits:3072";
    let args =
        ["genpkey", "-algorithm", "RSA", "-pkeyopt", size, "-out", private.to_str().unwrap()];
    if openssl(&args).is_err() {
        // There is no openssl here.
        return;
    }
    let public = openssl(&["rsa", "-pubout", "-in", private.to_str().unwrap()]).unwrap().stdout;
    fs::write(world.home().join("users/olga.pem"), &public).unwrap();
    world.server.is_told("olga is registered with SHA256:");
    let key = PublicKey::from_pem(&String::from_utf8(public).unwrap()).unwrap();
    let (_, shown, _) = operator(&world, &["users", "show", "olga"]);
    assert!(shown.contains(&key.fingerprint().spoken()), "{shown}");

    // Its private half is a client's key, too.
    let file = key_file(&world, "olga");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::copy(&private, &file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    world.client("olga", &["--plain"]).sees("you are in #lobby");
    let (code, shown, told) = run(world.program("olga").args(["key", "show"]));
    assert_eq!((code, shown.trim()), (0, line("olga", &key).as_str()), "{told}");
}

#[test]
fn an_invite_is_a_line_a_picture_and_an_object() {
    let world = World::new();
    let home = world.home();
    // Its command line had another address than config.json.
    assert_eq!(operator(&world, &["invite"]).1.trim(), world.invite);
    let world = world.stopped();
    fs::write(home.join("config.json"), r#"{"server_port": 6001, "invite_host": "chat.example"}"#)
        .unwrap();
    let print = world.invite.rsplit('/').next().unwrap();
    let wanted = format!("pychat://chat.example:6001/{print}");
    let (code, out, told) = operator(&world, &["invite", "bob"]);
    assert_eq!((code, out.trim()), (0, wanted.as_str()));
    assert!(told.contains("send this line to bob") && told.contains("pychat client pychat://"));

    // Where a server was told by its environment where to listen, in a container say.
    let mut command = world.program("operator");
    command.args(["invite", "--home"]).arg(&home).env("PYCHAT_LISTEN", "0.0.0.0:7001");
    let (_, out, told) = run(&mut command);
    assert_eq!(out.trim(), wanted.replace("6001", "7001"));
    assert!(!told.contains("on this computer only"), "{told}");

    let (_, out, told) = operator(&world, &["invite", "bob", "--qr"]);
    assert_eq!(out.trim(), wanted);
    let rows: Vec<_> = told.lines().take_while(|row| !row.contains("send this")).collect();
    let widths: Vec<_> = rows.iter().map(|row| row.chars().count()).collect();
    assert_eq!(rows.len(), 21, "{told}");
    assert!(widths.iter().all(|width| *width == 41), "{told}");
    assert!(rows.iter().all(|row| row.chars().all(|c| " ▀▄█".contains(c))), "{told}");

    let (_, out, told) = operator(&world, &["invite", "--json"]);
    assert_eq!(told, "");
    let object: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(object["invite"], wanted);
    assert_eq!((&object["host"], &object["port"]), (&"chat.example".into(), &6001.into()));
    assert!(object["fingerprint"].as_str().unwrap().starts_with("SHA256:"));

    let (code, _, told) =
        run(world.program("operator").args(["users", "list", "--home", "/nowhere"]));
    assert_eq!((code, told.matches("No such file").count()), (3, 1), "{told}");
    let add = [
        "users",
        "add",
        &line("bob", Identity::generate().public()),
        "--yes",
        "--home",
        "/nowhere",
    ];
    let (code, _, told) = run(world.program("operator").args(add));
    assert_eq!((code, told.matches("No such file").count()), (3, 1), "{told}");
    let (code, _, told) = run(world.program("operator").args(["invite", "--home", "/nowhere"]));
    assert_eq!(code, 3);
    assert!(told.contains("there is no server in /nowhere yet\nhint:  pychat server"), "{told}");
}

#[test]
fn names_whose_capitals_look_alike_are_not_registered_beside_each_other() {
    let world = World::new();
    let other = key();
    for (known, alike) in [("tom", "ТОМ"), ("max", "МАХ"), ("mike", "МІКЕ")] {
        let (code, _, told) = operator(&world, &["users", "add", &line(known, &key()), "--yes"]);
        assert_eq!(code, 0, "{told}");
        let (code, _, told) = operator(&world, &["users", "add", &line(alike, &other), "--yes"]);
        assert!(code != 0 && told.contains(known), "{told}");
    }
    // The control: another name in the same letters.
    let (code, _, told) = operator(&world, &["users", "add", &line("ТОНЯ", &other), "--yes"]);
    assert_eq!(code, 0, "{told}");
}
