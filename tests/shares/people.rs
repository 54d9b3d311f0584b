//! People who send, list and fetch files in the chat.

use super::*;

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
