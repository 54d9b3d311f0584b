//! People and scripts that send and fetch files, on the real binary.

mod world;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::{Value, json};
use world::apart::{apart, mount, resize};
use world::disk::{Disk, Syncs};
use world::job::{LIMITS, coming, command, content, folder, object, runs, size, starts};
use world::proxy::Proxy;
use world::pty::Terminal;
use world::way::{Flow, Link};
use world::{Program, World};

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

/// The number of whole files in the store.
fn whole(world: &World) -> usize {
    let folders = fs::read_dir(world.home().join("data/files")).unwrap();
    let folders = folders.map(|entry| entry.unwrap().path());
    let folders = folders.filter(|path| !path.ends_with("coming"));
    folders.map(|folder| fs::read_dir(folder).unwrap().count()).sum()
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
fn a_transfer_continues_over_cuts_and_restarts_without_an_error() {
    let world = World::with(LIMITS);
    let bytes = content(20_000_000);
    world.admit("alice");
    fs::write(folder(&world, "alice").join("film.bin"), &bytes).unwrap();
    let link = Link::to(&world.address);
    link.set(Flow::Slows);
    let mut alice = starts(&world, "alice", &link.address, &["--json"]);
    alice.sees("connected");
    alice.types(r##"{"type":"send_file","path":"film.bin","to":"#lobby","ref":"r1"}"##);
    world.until("some bytes are there", || coming(&world).iter().any(|it| size(it) > 1_000_000));
    // The server stops and starts in the middle, and so does the client.
    let world = world.restarted();
    alice.sees(r#""state":"offline""#);
    alice.kill();
    link.set(Flow::Passes);
    let mut alice = starts(&world, "alice", &link.address, &["--json"]);
    let sent = object(&alice.sees(r#""state":"sent""#));
    assert_eq!((&sent["type"], &sent["name"]), (&json!("transfer"), &json!("film.bin")));
    let seq = sent["seq"].as_str().unwrap().to_owned();
    alice.types(
        &json!({"type": "get_file", "to": "#lobby", "seq": seq, "path": "back.bin", "ref": "r2"})
            .to_string(),
    );
    let saved = object(&alice.sees(r#""state":"saved""#));
    assert_eq!((&saved["ref"], &saved["direction"]), (&json!("r2"), &json!("down")));
    assert!(fs::read(folder(&world, "alice").join("back.bin")).unwrap() == bytes);
    assert!(!alice.shown().iter().any(|line| line.contains(r#""type":"error""#)));
    assert_eq!(coming(&world).len(), 0);
}

#[test]
fn a_program_cancels_at_every_stage() {
    let world = World::with(LIMITS);
    world.admit("alice");
    fs::write(folder(&world, "alice").join("film.bin"), content(30_000_000)).unwrap();
    let link = Link::to(&world.address);
    link.set(Flow::Slows);
    let mut alice = starts(&world, "alice", &link.address, &["--json"]);
    alice.sees("connected");
    alice.types(r##"{"type":"send_file","path":"film.bin","to":"#lobby"}"##);
    world.until("some bytes are there", || coming(&world).iter().any(|it| size(it) > 1_000_000));
    alice.types(r#"{"type":"cancel_file","transfer":"f1"}"#);
    alice.sees(r#""state":"cancelled""#);
    link.set(Flow::Passes);
    world.until("the server has removed it", || coming(&world).is_empty());
    fs::write(folder(&world, "alice").join("note.txt"), b"hello").unwrap();
    let id = "000102030405060708090a0b0c0d0e0f";
    let (path, to) = ("note.txt", "#lobby");
    let note = json!({"type": "send_file", "path": path, "to": to, "text": "a note", "id": id});
    let note = note.to_string();
    alice.types(&note);
    alice.sees(r#""state":"sent""#);
    let message = object(&alice.sees(r#""kind":"file""#));
    assert_eq!(message["id"], id, "{message}");
    assert!(message["file"]["until"].is_string(), "{message}");
    alice.types(r#"{"type":"cancel_file","transfer":"f2"}"#);
    alice.sees("there is no transfer f2");
    // The same message is not sent twice, and its second file uses no space.
    alice.types(&note);
    let failed = object(&alice.sees(r#""state":"failed""#));
    assert_eq!((&failed["transfer"], &failed["code"]), (&json!("f3"), &json!("id_conflict")));
    world.until("one file is left", || whole(&world) == 1);
    alice.types(r##"{"type":"files","to":"#lobby","ref":"q"}"##);
    let file = object(&alice.sees(r#""ref":"q""#));
    assert_eq!(file["file"]["name"], "note.txt", "{file}");
    let stored = world.data_folder("alice").join("servers");
    let folders = fs::read_dir(stored).unwrap().map(|entry| entry.unwrap().path());
    let folders = folders.filter(|path| path.extension().is_some_and(|it| it == "transfers"));
    let left: usize = folders.map(|folder| fs::read_dir(folder).unwrap().count()).sum();
    assert_eq!(left, 0, "nothing is left of transfers that have ended");
}

#[test]
fn people_send_list_and_fetch_files_by_commands() {
    let world = World::with(LIMITS);
    let (mut alice, mut bob) = (world.enters("alice"), world.enters("bob"));
    let (from, into) = (folder(&world, "alice").join("my note.txt"), folder(&world, "bob"));
    fs::write(&from, content(300_000)).unwrap();
    bob.types("/files");
    bob.sees("#lobby has no files");
    alice.types(&format!("/send {} -- as promised", from.display()));
    alice.sees("my note.txt (300.00 kB) to #lobby: sent");
    bob.sees("alice: [file 1] my note.txt (300.00 kB) as promised");
    bob.types("/files");
    bob.sees("#lobby has one file: /get and its number in #lobby fetches it");
    alice.types("/files");
    alice.sees("your files here take 300.08 kB of 1.07 GB");
    alice.sees("#lobby: 1 file, 300.08 kB, until ");
    bob.types(&format!("/get 1 '{}'", into.display()));
    let saved = bob.sees("saved as ");
    assert!(saved.contains("f1 file 1 (300.00 kB) from #lobby"), "{saved}");
    assert!(fs::read(into.join("my note.txt")).unwrap() == content(300_000));
    bob.types("/transfers");
    bob.sees("no file is on its way");
    bob.types("/cancel f7");
    bob.sees("there is no transfer f7");
    bob.types("/get 9");
    bob.sees("message 9 of #lobby has no file");
    // In a private conversation with an absent user, the file waits with the message.
    world.admit("carol");
    alice.types(&format!("/send \"{}\" @bob", from.display()));
    bob.sees("[Private]");
    bob.hangs_up();
    bob.ends();
    alice.types(&format!("/send {} @bob -- waits", from.display()));
    alice.sees("f3 my note.txt (300.00 kB) to @bob: sent");
    let mut bob = world.client("bob", &["--plain"]);
    bob.sees("my note.txt (300.00 kB) waits");
    bob.types("/query alice");
    bob.types(&format!("/get 2 {}", into.join("second").display()));
    bob.sees("saved as ");
    assert!(fs::read(into.join("second")).unwrap() == content(300_000));
}

#[test]
fn the_full_screen_sends_a_dropped_file() {
    let world = World::with(LIMITS);
    let bob = world.enters_as("bob", "--json");
    bob.sees("connected");
    let mut alice = world.sits_down("alice");
    // Nothing in its name is read as a conversation or a caption.
    let path = folder(&world, "alice").join("my note @carol -- x.txt");
    fs::write(&path, content(300_000)).unwrap();
    let path = path.canonicalize().unwrap();
    alice.types(&format!("\x1b[200~{}\x1b[201~", path.display()));
    alice.shows("a file: Enter sends it to #lobby");
    alice.types("\r");
    let seq = object(&bob.sees("my note @carol -- x.txt"))["seq"].as_str().unwrap().to_owned();
    alice.shows(&format!("[file {seq}] my note @carol -- x.txt (300.00 kB)"));
    let into = folder(&world, "alice").join("back");
    fs::create_dir(&into).unwrap();
    alice.types(&format!("/get {seq} {}\r", into.display()));
    alice.shows("saved as ");
    assert!(fs::read(into.join("my note @carol -- x.txt")).unwrap() == content(300_000));
    alice.types("/files\r");
    alice.shows("#lobby has one file");
    alice.shows("your files here take 300.08 kB of 1.07 GB");
}

#[test]
fn a_path_that_is_dropped_on_a_plain_terminal_is_asked_about() {
    let world = World::with(LIMITS);
    let bob = world.enters_as("bob", "--json");
    bob.sees("connected");
    world.admit("alice");
    let path = folder(&world, "alice").join("plan @bob #1.txt");
    fs::write(&path, "a plan").unwrap();
    let path = path.canonicalize().unwrap();
    let mut command = world.program("alice");
    command.args(["client", &world.invite, "--name", "alice", "--plain"]);
    let mut alice = Terminal::run(&command);
    alice.shows("you are in #lobby");
    alice.types(&format!("{}\r", path.display()));
    alice.shows("it is the path of a file");
    // Before the prompt is back, the terminal would handle Ctrl-U itself.
    world.until("the path is at the prompt again", || alice.cursor().2.ends_with("#1.txt"));
    // Ctrl-U removes the line, and Tab completes the next one up to the blanks.
    alice.types(&format!("\u{15}/send {}/plan\t", path.parent().unwrap().display()));
    alice.shows("#1.txt");
    alice.types("\r");
    let sent = object(&bob.sees(r#""kind":"file""#));
    assert_eq!(sent["file"]["name"], "plan @bob #1.txt", "{sent}");
    assert_eq!((&sent["to"], bob.seen(r#""kind":"say""#)), (&json!("#lobby"), 0));
}

/// A picture with a red upper half and a black lower one.
fn picture() -> Vec<u8> {
    let mut png = std::io::Cursor::new(Vec::new());
    let colour = |y: u32| if y < 40 { [255, 0, 0] } else { [0, 0, 0] };
    let picture = image::RgbImage::from_fn(80, 80, |_, y| image::Rgb(colour(y)));
    picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

#[test]
fn a_picture_is_shown_in_cells_and_not_kept() {
    let world = World::with(LIMITS);
    let (mut bob, json) = (world.enters("bob"), world.enters_as("carol", "--json"));
    json.sees("connected");
    world.admit("alice");
    let here = folder(&world, "alice");
    fs::write(here.join("red.png"), picture()).unwrap();
    // A picture that ends early.
    fs::write(here.join("half.png"), &picture()[..60]).unwrap();
    let (code, _, told) = runs(&world, "alice", &["--send-file", "red.png"]);
    assert_eq!(code, 0, "{told}");
    let message = object(&json.sees("red.png"));
    assert_eq!(message["file"]["size"], json!([80, 80]), "{message}");
    assert_eq!(message["file"]["media"], "image/png");
    let args = ["--send-file", "half.png", "--keep-metadata"];
    let (code, _, told) = runs(&world, "alice", &args);
    assert_eq!(code, 0, "{told}");
    let half = object(&json.sees("half.png"))["seq"].as_str().unwrap().to_owned();
    let seq = message["seq"].as_str().unwrap();
    bob.types(&format!("/view {seq}"));
    // Without colours: the upper half is light, the lower one black.
    bob.sees(&"\u{2591}".repeat(40));
    bob.types(&format!("/view {half}"));
    bob.sees("no preview: the picture is damaged");
    let mut alice = Terminal::run(&world.screen_of("alice"));
    alice.shows("* connected");
    alice.types(&format!("/view {seq}\r"));
    alice.shows(&format!("picture {seq} of #lobby"));
    for person in ["alice", "bob"] {
        let servers = world.data_folder(person).join("servers");
        let folders = fs::read_dir(servers).unwrap().map(|entry| entry.unwrap().path());
        let folders = folders.filter(|path| path.extension().is_some_and(|it| it == "transfers"));
        let left: Vec<_> = folders.flat_map(|folder| fs::read_dir(folder).unwrap()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// A full screen in a terminal like kitty, which shows a picture.
fn views_in_kitty(world: &World, name: &str, seq: &str) -> Terminal {
    let mut command = world.screen_of(name);
    command.env_remove("NO_COLOR").env("TERM", "xterm-kitty").env("COLORTERM", "truecolor");
    let mut screen = Terminal::run(&command);
    screen.shows("* connected");
    screen.types(&format!("/view {seq}\r"));
    screen.shows(&format!("picture {seq} of #lobby"));
    world.until("the terminal is asked", || screen.bytes().contains("\x1b_Gi=31,s=1,v=1,a=q,"));
    screen
}

#[test]
fn a_picture_is_shown_in_pixels_where_the_terminal_answers_that_it_can() {
    let world = World::with(LIMITS);
    for name in ["alice", "bob"] {
        world.admit(name);
    }
    fs::write(folder(&world, "alice").join("red.png"), picture()).unwrap();
    let (code, _, told) = runs(&world, "alice", &["--send-file", "red.png"]);
    assert_eq!(code, 0, "{told}");
    let mut alice = views_in_kitty(&world, "alice", "1");
    assert!(!alice.bytes().contains("a=T"), "not before the answer");
    alice.types("\x1b_Gi=31;OK\x1b\\");
    let sent = || alice.bytes().split("\x1b_G").skip(1).map(str::to_owned).collect::<Vec<_>>();
    let is_sent = || sent().iter().any(|part| part.contains("m=0;"));
    world.until("the picture is sent", is_sent);
    let parts: Vec<_> = sent().into_iter().skip_while(|part| !part.starts_with("a=T,")).collect();
    assert!(parts[0].contains("f=32,s=80,v=80,"), "{}", parts[0].split(';').next().unwrap());
    let chunk =
        |part: &String| part.split_once(';').unwrap().1.split('\x1b').next().unwrap().to_owned();
    let chunks: Vec<_> = parts.iter().map(chunk).collect();
    assert!(chunks.iter().all(|chunk| chunk.len() <= 4_096));
    let pixels = STANDARD.decode(chunks.concat()).unwrap();
    assert_eq!((pixels.len(), &pixels[..4]), (80 * 80 * 4, &[255, 0, 0, 255][..]));
    // A change of its rows, as by somebody who joins, places it again and sends no pixels.
    let transmitted = || alice.bytes().matches("\x1b_Ga=T,").count();
    let before = transmitted();
    world.admit("carol");
    let carol = world.client("carol", &["--json"]);
    carol.sees("connected");
    world.until("it is placed again", || alice.bytes().contains("\x1b_Ga=p,"));
    assert_eq!((before, transmitted()), (1, 1));
    alice.types("\x1b");
    world.until("it is removed with its pane", || alice.bytes().contains("\x1b_Ga=d,"));
    // The end of the program removes it too.
    let mut alice = views_in_kitty(&world, "alice", "1");
    alice.types("\x1b_Gi=31;OK\x1b\\");
    world.until("the picture is sent", || alice.bytes().contains("m=0;"));
    assert!(!alice.bytes().contains("\x1b_Ga=d,"), "the control");
    alice.signal(Signal::TERM);
    world.until("it is removed", || {
        let bytes = alice.bytes();
        let removed = bytes.rfind("\x1b_Ga=d,");
        removed.is_some() && removed < bytes.rfind("\x1b[?1049l")
    });
    // A terminal that does not answer keeps the half blocks. A part of an answer is no typed text.
    let mut bob = views_in_kitty(&world, "bob", "1");
    bob.types("\x1b_Gi=31;EINVAL\x1b\\");
    bob.types("hello");
    bob.shows("hello");
    assert!(!bob.bytes().contains("a=T") && !bob.screen().contains("EINVAL"), "{}", bob.screen());
}

#[test]
fn a_file_arrives_whole_over_a_link_that_breaks() {
    let world = World::with(LIMITS);
    world.admit("alice");
    let bytes = content(3_000_000);
    fs::write(folder(&world, "alice").join("film.bin"), &bytes).unwrap();
    for seed in [1, 2] {
        let proxy = Proxy::start(&world.address, seed, 6);
        let mut alice = starts(&world, "alice", &proxy.address, &["--json"]);
        alice.types(r##"{"type":"send_file","path":"film.bin","to":"#lobby","ref":"up"}"##);
        let sent = object(&alice.sees(r#""state":"sent""#));
        let (seq, path) = (sent["seq"].as_str().unwrap(), format!("back {seed}.bin"));
        let get = json!({"type": "get_file", "to": "#lobby", "seq": seq, "path": path});
        alice.types(&get.to_string());
        alice.sees(r#""state":"saved""#);
        assert!(fs::read(folder(&world, "alice").join(path)).unwrap() == bytes, "seed {seed}");
        assert!(!alice.shown().iter().any(|line| line.contains(r#""state":"failed""#)));
        assert!(proxy.left() < 6, "the link has broken");
    }
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
fn each_device_of_the_recipient_fetches_the_file_of_a_private_message() {
    let world = World::with(LIMITS);
    ["alice", "bob", "bob.phone"].iter().for_each(|name| world.admit(name));
    let bytes = content(200_000);
    fs::write(folder(&world, "alice").join("plan.bin"), &bytes).unwrap();
    let (code, _, told) = runs(&world, "alice", &["--send-file", "plan.bin", "--to", "bob"]);
    assert_eq!(code, 0, "{told}");
    for device in ["bob", "bob.phone"] {
        let mut client = world.client(device, &["--json"]);
        client.sees("connected");
        let path = folder(&world, device).join("copy.bin");
        let get = json!({"type": "get_file", "to": "@alice", "seq": "1", "path": path});
        client.types(&get.to_string());
        client.sees(r#""state":"saved""#);
        assert!(fs::read(&path).unwrap() == bytes, "{device}");
    }
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

/// A disk that does not answer delays only the files that are being stored.
#[test]
fn a_disk_that_does_not_answer_delays_files_alone() {
    let (disk, world) = Disk::of_server_with(Syncs::Hang, "SYNCS_OF=/data/files/", LIMITS);
    world.admit("alice");
    let mut bob = world.enters_as("bob", "--json");
    bob.sees("connected");
    for (name, bytes) in [("before.bin", 300_000), ("during.bin", 300_001)] {
        fs::write(folder(&world, "alice").join(name), content(bytes)).unwrap();
    }
    let (code, _, told) = runs(&world, "alice", &["--send-file", "before.bin"]);
    assert_eq!(code, 0, "{told}");
    disk.misbehaves();
    let mut alice = starts(&world, "alice", &world.address, &["--json"]);
    alice.sees("connected");
    alice.types(r##"{"type":"send_file","path":"during.bin","to":"#lobby"}"##);
    alice.sees(r#""state":"storing""#);
    bob.types(r##"{"type":"say","to":"#lobby","text":"quick"}"##);
    alice.sees(r#""text":"quick""#);
    alice.types(r##"{"type":"say","to":"#lobby","text":"as before"}"##);
    alice.sees(r#""type":"ack""#);
    let (code, _, told) = runs(&world, "bob", &["--get", "1", "--from", "#lobby"]);
    assert_eq!(code, 0, "{told}");
    let sent = alice.seen(r#""state":"sent""#);
    assert_eq!((sent, coming(&world).len()), (0, 1), "the control: it is not stored yet");
    disk.works();
    let sent = object(&alice.sees(r#""state":"sent""#));
    let get = ["--get", sent["seq"].as_str().unwrap(), "--from", "#lobby"];
    let (code, out, told) = runs(&world, "bob", &get);
    assert_eq!(code, 0, "{told}");
    assert!(fs::read(folder(&world, "bob").join(out.trim_end())).unwrap() == content(300_001));
}

/// The disk of the server is full, and later the disk of a reader.
#[test]
fn a_full_disk_is_reported_and_the_same_command_continues_later() {
    apart("-m", "a_full_disk_is_reported_and_the_same_command_continues_later", || {
        let world = World::with(LIMITS);
        world.admit("alice");
        let film = content(3_000_000);
        fs::write(folder(&world, "alice").join("film.bin"), &film).unwrap();
        let world = world.stopped();
        let store = world.home().join("data/files");
        mount(&store, 1 << 10);
        let world = world.started();
        let mut alice = starts(&world, "alice", &world.address, &["--json"]);
        alice.sees("connected");
        // Returns the end of a transfer. Chat continues after it.
        let mut ends = |request: Value, state: &str| {
            alice.types(&request.to_string());
            let reference = format!("\"ref\":{}", request["ref"]);
            let is_end = |line: &&String| line.contains(&reference) && line.contains(state);
            alice.shows(state, |lines| lines.iter().any(|line| is_end(&line)));
            let end = object(alice.shown().iter().find(is_end).unwrap());
            let acks = alice.seen(r#""type":"ack""#);
            alice.types(r##"{"type":"say","to":"#lobby","text":"on"}"##);
            alice.shows("chat continues", |lines| {
                lines.iter().filter(|line| line.contains(r#""type":"ack""#)).count() > acks
            });
            end
        };
        let (path, to) = ("film.bin", "#lobby");
        let send = |of: &str| json!({"type": "send_file", "path": path, "to": to, "ref": of});
        let refused = ends(send("up1"), r#""state":"failed""#);
        assert_eq!(refused["code"], "disk", "{refused}");
        assert_eq!(coming(&world).len(), 0, "it was refused before the first byte");
        resize(&store, 16 << 10);
        let sent = ends(send("up2"), r#""state":"sent""#);
        let small = folder(&world, "alice").join("small");
        fs::create_dir(&small).unwrap();
        mount(&small, 1 << 10);
        let get = |reference: &str| {
            json!({"type": "get_file", "to": "#lobby", "seq": sent["seq"], "path": "small",
                "ref": reference})
        };
        let failed = ends(get("down1"), r#""state":"failed""#);
        assert_eq!(failed["code"], "disk", "{failed}");
        assert!(failed["hint"].as_str().unwrap().contains("No space left"), "{failed}");
        let part =
            fs::read_dir(&small).unwrap().next().expect("the part that has arrived stays").unwrap();
        let before = part.metadata().unwrap();
        resize(&small, 16 << 10);
        ends(get("down2"), r#""state":"saved""#);
        let after = fs::metadata(small.join("film.bin")).unwrap();
        assert!(before.len() > 0 && before.ino() == after.ino(), "it was continued");
        assert!(fs::read(small.join("film.bin")).unwrap() == film);
    });
}
