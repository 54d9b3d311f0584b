//! Scripts that send and fetch a file by one command.

use super::*;

/// Writes a file with a PIN, as `--join-file` reads it, and returns its path.
fn pins(world: &World, name: &str, pin: &str) -> String {
    let path = folder(world, name).join("pins");
    fs::write(&path, format!("#tea {pin}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_script_sends_a_file_and_another_one_fetches_it() {
    let world = World::with(LIMITS);
    world.admit("alice");
    let mut bob = world.enters_as("bob", "--json");
    bob.sees("connected");
    let right = pins(&world, "alice", "half past four");
    bob.types(r##"{"type":"join","channel":"#tea","pin":"half past four"}"##);
    bob.sees(r##""readers":"pin""##);
    let rooms = [
        ("#lobby", "#lobby", &[][..]),
        ("#tea", "#tea", &["--join-file", &right]),
        ("bob", "alice", &[]),
    ];
    for (number, (to, from, more)) in rooms.into_iter().enumerate() {
        for bytes in [0, 200_000] {
            let (name, content) = (format!("report {number} {bytes}.bin"), content(bytes));
            fs::write(folder(&world, "alice").join(&name), &content).unwrap();
            let args = ["--send-file", &name, "--to", to, "--caption", "as promised"];
            let (code, out, told) = runs(&world, "alice", &[&args[..], more].concat());
            assert_eq!((code, out.as_str()), (0, ""), "{to} {bytes}: {told}");
            let line = bob.sees(&format!("\"name\":\"{name}\""));
            let message = object(&line);
            assert_eq!(
                (&message["kind"], &message["text"]),
                (&json!("file"), &json!("as promised"))
            );
            assert_eq!(message["file"]["bytes"], bytes, "{line}");
            assert!(!line.contains("\"key\"") && !line.contains("hash"), "{line}");
            let seq = message["seq"].as_str().unwrap();
            let get = [&["--get", seq, "--from", from][..], more].concat();
            for expected in [name.clone(), name.replace(".bin", " (1).bin")] {
                let (code, out, told) = runs(&world, "bob", &get);
                assert_eq!(code, 0, "{from} {bytes}: {told}");
                let path = folder(&world, "bob").join(out.trim_end());
                assert_eq!(path.file_name().unwrap().to_str().unwrap(), expected);
                assert!(fs::read(&path).unwrap() == content, "{from} {bytes}");
                assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            }
            let piped =
                command(&world, "bob", &[&get[..], &["-o", "-"]].concat()).output().unwrap();
            assert!(piped.status.success() && piped.stdout == content, "{piped:?}");
            let named = [&get[..], &["-o", ".own name.bin"]].concat();
            let (code, out, told) = runs(&world, "bob", &named);
            assert_eq!((code, out.trim_end()), (0, "./.own name.bin"), "{told}");
            assert!(fs::read(folder(&world, "bob").join(out.trim_end())).unwrap() == content);
            fs::remove_file(folder(&world, "bob").join(".own name.bin")).unwrap();
        }
    }
    // A user who learns the PIN later can read the earlier files, also after a mistyped PIN.
    world.admit("carol");
    let wrong = pins(&world, "carol", "half past five");
    let with = |file| ["--get", "2", "--from", "#tea", "--join-file", file];
    let (code, _, told) = runs(&world, "carol", &with(&wrong));
    assert_eq!(code, 9, "{told}");
    let late = with(&right);
    let (code, out, told) = runs(&world, "carol", &late);
    assert_eq!((code, out.as_str()), (0, "./report 1 200000.bin\n"), "{told}");
    assert!(fs::read(folder(&world, "carol").join(out.trim_end())).unwrap() == content(200_000));
    let (code, _, told) = runs(&world, "carol", &late[..4]);
    assert!(code == 2 && told.contains("--from #tea: ambiguous"), "{told}");
    let (code, _, told) = runs(&world, "carol", &["--get", "1", "--from", "alice"]);
    assert_eq!(code, 9, "the control: {told}");
    let left = fs::read_dir(folder(&world, "bob")).unwrap().map(|entry| entry.unwrap().path());
    let part = |path: &PathBuf| path.extension().is_some_and(|it| it == "part");
    assert_eq!(left.filter(part).count(), 0);
}

#[test]
fn what_cannot_be_sent_or_fetched_has_a_code_and_a_word() {
    let world = World::with(LIMITS);
    world.admit("alice");
    let bob = world.enters_as("bob", "--json");
    bob.sees("connected");
    let here = folder(&world, "alice");
    for (path, code, word) in [("nothing", 3, "No such file"), (".", 3, "is a folder")] {
        let (ended, _, told) = runs(&world, "alice", &["--send-file", path]);
        assert_eq!(ended, code, "{told}");
        assert!(told.contains(word), "{told}");
    }
    // What has metadata that cannot be removed is sent only on request.
    fs::write(here.join("film.mp4"), b"\0\0\0\x18ftypisom....").unwrap();
    let (code, _, told) = runs(&world, "alice", &["--send-file", "film.mp4"]);
    assert_eq!(code, 8, "{told}");
    assert!(told.contains("--keep-metadata"), "{told}");
    let (code, _, told) = runs(&world, "alice", &["--send-file", "film.mp4", "--keep-metadata"]);
    assert_eq!(code, 0, "{told}");
    let seq = object(&bob.sees("film.mp4"))["seq"].as_str().unwrap().to_owned();
    let get = |seq: &str| runs(&world, "bob", &["--get", seq, "--from", "#lobby"]);
    let (code, out, told) = get("99");
    assert_eq!((code, out.as_str()), (9, ""), "{told}");
    assert!(told.contains("message 99 of #lobby has no file"), "{told}");
    // Another byte on the server's disk.
    let store = world.home().join("data/files");
    let folders = fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().path());
    let folders = folders.filter(|path| !path.ends_with("coming"));
    let mut files = folders.flat_map(|path| fs::read_dir(path).unwrap());
    let file = files.next().unwrap().unwrap().path();
    let good = fs::read(&file).unwrap();
    let mut bad = good.clone();
    bad[3] ^= 1;
    fs::write(&file, &bad).unwrap();
    let (code, out, told) = get(&seq);
    assert_eq!((code, out.as_str()), (9, ""), "{told}");
    assert!(told.contains("not what its sender sent"), "{told}");
    assert_eq!(fs::read_dir(folder(&world, "bob")).unwrap().count(), 0);
    fs::write(&file, &good).unwrap();
    assert_eq!(get(&seq).0, 0, "the control");
    let mut alice = world.client("alice", &["--json"]);
    alice.types(&json!({"type": "delete", "to": "#lobby", "of": seq}).to_string());
    bob.sees(r#""kind":"delete""#);
    let (code, _, told) = get(&seq);
    assert_eq!(code, 9, "{told}");
}

#[test]
fn an_interrupted_script_is_continued_by_the_same_command() {
    let world = World::with(LIMITS);
    world.admit("alice");
    let bob = world.enters_as("bob", "--json");
    bob.sees("connected");
    let bytes = content(30_000_000);
    fs::write(folder(&world, "alice").join("film.bin"), &bytes).unwrap();
    let link = Link::to(&world.address);
    link.set(Flow::Slows);
    let send = ["--send-file", "film.bin", "--to", "bob"];
    let mut alice = starts(&world, "alice", &link.address, &send);
    world.until("some bytes are there", || coming(&world).iter().any(|it| size(it) > 1_000_000));
    link.set(Flow::Stalls);
    alice.signal(Signal::INT);
    assert_eq!(alice.ends().code(), Some(130), "{:?}", alice.told());
    let before = coming(&world);
    assert_eq!(before.len(), 1);
    link.set(Flow::Passes);
    let (code, _, told) = runs(&world, "alice", &send);
    assert_eq!(code, 0, "{told}");
    assert_eq!(coming(&world).len(), 0, "it was continued, not sent again");
    let seq = object(&bob.sees("film.bin"))["seq"].as_str().unwrap().to_owned();
    let (link, get) = (Link::to(&world.address), ["--get", &seq, "--from", "alice"]);
    link.set(Flow::Slows);
    let mut fetches = starts(&world, "bob", &link.address, &get);
    let part = || {
        let entries = fs::read_dir(folder(&world, "bob")).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .find(|it| it.extension().is_some_and(|it| it == "part"))
    };
    world.until("some bytes are there", || part().is_some_and(|it| size(&it) > 1_000_000));
    link.set(Flow::Stalls);
    fetches.signal(Signal::INT);
    assert_eq!(fetches.ends().code(), Some(130), "{:?}", fetches.told());
    let node = |path: PathBuf| fs::metadata(path).unwrap().ino();
    let before = node(part().unwrap());
    let (code, out, told) = runs(&world, "bob", &get);
    assert_eq!((code, out.as_str()), (0, "./film.bin\n"), "{told}");
    assert!(fs::read(folder(&world, "bob").join("film.bin")).unwrap() == bytes);
    assert_eq!(node(folder(&world, "bob").join("film.bin")), before, "it was continued");
    assert_eq!(part(), None);
}

#[test]
fn two_clients_do_not_write_one_file() {
    let world = World::with(LIMITS);
    world.admit("alice");
    world.admit("bob");
    let bytes = content(30_000_000);
    fs::write(folder(&world, "alice").join("film.bin"), &bytes).unwrap();
    assert_eq!(runs(&world, "alice", &["--send-file", "film.bin"]).0, 0);
    let link = Link::to(&world.address);
    link.set(Flow::Slows);
    let get = ["--get", "1", "--from", "#lobby"];
    let mut first = starts(&world, "bob", &link.address, &get);
    let part = || {
        let entries = fs::read_dir(folder(&world, "bob")).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        paths.find(|it| it.extension().is_some_and(|it| it == "part"))
    };
    world.until("some bytes are there", || part().is_some_and(|it| size(&it) > 1_000_000));
    link.set(Flow::Stalls);
    let (code, out, told) = runs(&world, "bob", &get);
    assert_eq!((code, out.as_str()), (1, ""), "{told}");
    assert!(told.contains("is being written by another client"), "{told}");
    let other = runs(&world, "bob", &[&get[..], &["-o", "other.bin"]].concat());
    assert_eq!(other.0, 0, "the control: {}", other.2);
    link.set(Flow::Passes);
    assert!(first.ends().success(), "{:?}", first.told());
    for name in ["film.bin", "other.bin"] {
        assert!(fs::read(folder(&world, "bob").join(name)).unwrap() == bytes, "{name}");
    }
    assert_eq!(part(), None);
}

#[test]
fn of_clients_that_start_at_once_one_continues() {
    let world = World::with(LIMITS);
    let bob = world.enters_as("bob", "--json");
    bob.sees("connected");
    world.admit("alice");
    fs::write(folder(&world, "alice").join("film.bin"), content(20_000_000)).unwrap();
    let link = Link::to(&world.address);
    link.set(Flow::Slows);
    let mut alice = starts(&world, "alice", &link.address, &["--json"]);
    alice.types(r##"{"type":"send_file","path":"film.bin","to":"#lobby"}"##);
    world.until("some bytes are there", || coming(&world).iter().any(|it| size(it) > 1_000_000));
    link.set(Flow::Stalls);
    alice.kill();
    link.set(Flow::Passes);
    let mut both: Vec<_> =
        (0..2).map(|_| starts(&world, "alice", &world.address, &["--json"])).collect();
    bob.sees("film.bin");
    let sent =
        |both: &[Program]| -> usize { both.iter().map(|one| one.seen(r#""state":"sent""#)).sum() };
    world.until("it is sent", || sent(&both) > 0);
    for one in &mut both {
        one.types(r#"{"type":"quit"}"#);
        assert!(one.ends().success(), "{:?}", one.told());
    }
    assert_eq!((sent(&both), bob.seen("film.bin")), (1, 1));
    assert!(both.iter().all(|one| one.seen(r#""state":"failed""#) == 0));
}

#[test]
fn a_script_on_a_terminal_rewrites_one_line() {
    let world = World::with(LIMITS);
    world.admit("alice");
    // Longer than a row.
    let path = folder(&world, "alice").join(format!("{}.bin", "long ".repeat(30)));
    fs::write(&path, content(3_000_000)).unwrap();
    let link = Link::to(&world.address);
    link.set(Flow::Slows);
    let invite = world.invite.replace(&world.address, &link.address);
    let mut command = world.program("alice");
    command.args(["client", &invite, "--name", "alice", "--send-file"]).arg(&path);
    let alice = Terminal::run(&command);
    alice.shows("%, ");
    alice.shows("[ended 0]");
    let rows = alice.rows();
    let own: Vec<_> = rows.iter().filter(|row| row.contains("long long")).collect();
    assert!(own.len() == 1 && own[0].contains("storing"), "{rows:#?}");
}
