//! The export of what is stored of a user or a channel.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::world::World;

/// Whether a folder, or one in it, has a file of this name.
fn has_file(folder: &std::path::Path, name: &str) -> bool {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut entries = entries.filter(|path| path.is_dir() || path.is_file());
    entries.any(|path| path.ends_with(name) || path.is_dir() && has_file(&path, name))
}

/// Exports into a new file beside the home. Returns the program's output, and the file's text.
fn export(world: &World, what: [&str; 2], file: &str, format: &str) -> (String, String) {
    let file = world.home().parent().unwrap().join(file);
    let path = file.display().to_string();
    let (ok, told) = world.operator(&["export", what[0], what[1], &path, "--format", format]);
    assert!(ok, "{told}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    (told, fs::read_to_string(file).unwrap())
}

/// Compares the JSON export of alice, who is muted, and has sent a message and a file to #tea, and
/// a private message.
fn has_all_of_alice(world: &World, text: &str) {
    let objects: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| -> Vec<_> { objects.iter().filter(|one| one["type"] == kind).collect() };
    assert_eq!(of("user")[0]["role"], "member");
    assert_eq!(of("key").len(), 1);
    assert!(of("last_seen")[0]["time_ms"].as_i64().unwrap() > 0);
    assert_eq!(of("sanction")[0]["sanction"]["reason"], "testing");
    let actions: Vec<_> = of("decision").iter().map(|one| &one["decision"]["action"]).collect();
    assert!(actions.contains(&&"mute".into()), "{actions:?}");
    let files = of("file");
    assert_eq!(files.len(), 1, "{text}");
    assert_eq!((&files[0]["to"], &files[0]["is_complete"]), (&"#tea".into(), &true.into()));
    assert!(files[0]["bytes"].as_u64() > Some(5_000), "{text}");
    let name = files[0]["name"].as_str().unwrap();
    assert!(world.found_in("home/data/files", "x".repeat(64).as_str()) == 0, "it is encrypted");
    assert!(has_file(&world.home().join("data/files"), name), "{name}");
    let messages = of("message");
    assert_eq!(messages.len(), 3, "{text}");
    assert_eq!((&messages[0]["to"], &messages[0]["text"]), (&"#tea".into(), &"about tea".into()));
    assert!(messages[1]["sealed"].is_string() && messages[1]["text"].is_null(), "{text}");
    assert_eq!(messages[2]["kind"], "file", "{text}");
    assert!(!text.contains("bob about tea") && !text.contains("privately"), "{text}");
}

#[test]
fn a_user_and_a_channel_are_exported_as_text_and_json() {
    let world = World::new();
    let [mut alice, mut bob] = ["alice", "bob"].map(|name| world.enters(name));
    for client in [&mut alice, &mut bob] {
        client.types("/join #tea");
        client.sees("you are in #tea");
    }
    alice.types("about tea");
    bob.sees("alice: about tea");
    bob.types("bob about tea");
    alice.sees("bob: bob about tea");
    alice.types("/msg bob privately");
    bob.sees("privately");
    let folder = world.home().parent().unwrap().to_owned();
    // A file is sealed: the export lists it, and leaves its content where it is.
    let sent = folder.join("walrus.bin");
    fs::write(&sent, [b'x'; 5_000]).unwrap();
    let sent = sent.display().to_string();
    let mut sender =
        world.client("alice", &["--send-file", &sent, "--to", "#tea", "--join", "#tea"]);
    assert!(sender.ends().success(), "{:?}", sender.told());
    assert!(world.operator(&["ctl", "mute", "alice", "1h", "testing"]).0);
    let (told, text) = export(&world, ["channel", "#tea"], "tea.txt", "text");
    assert!(told.contains("3 messages were written"), "{told}");
    assert!(told.contains("1 uploaded files are listed"), "{told}");
    assert!(text.contains("from alice, ") && text.contains("to #tea"), "{text}");
    let (told, of_bob) = export(&world, ["user", "bob"], "bob.txt", "text");
    assert!(!told.contains("uploaded") && !of_bob.contains("file: "), "{told} {of_bob}");
    assert!(text.contains(" UTC  #tea  alice: about tea\n"), "{text}");
    assert!(text.contains("  #tea  bob: bob about tea\n") && !text.contains("privately"), "{text}");
    let (told, text) = export(&world, ["user", "alice"], "alice.json", "json");
    assert!(told.contains("1 of them are end-to-end encrypted"), "{told}");
    has_all_of_alice(&world, &text);
    // An existing file is not replaced, and no file is written for an unknown user.
    let file = folder.join("alice.json").display().to_string();
    let (ok, told) = world.operator(&["export", "user", "alice", &file]);
    assert!(!ok && told.contains("exists already"), "{told}");
    let file = folder.join("nobody.txt");
    let (ok, told) = world.operator(&["export", "user", "carol", &file.display().to_string()]);
    assert!(!ok && told.contains("nothing is stored under this name") && !file.exists(), "{told}");
    let trail = fs::read_to_string(world.home().join("data/audit.jsonl")).unwrap();
    assert!(trail.contains("\"action\":\"export\",\"target\":\"alice\""), "{trail}");
    // The same without a server, and with a line of the audit trail that is not UTF-8. A new holder
    // of a name gets no records of the former one.
    let world = world.stopped();
    let path = world.home().join("data/audit.jsonl");
    let trail = fs::read(&path).unwrap();
    fs::write(&path, [&b"\xff\n"[..], &trail[..]].concat()).unwrap();
    let (told, text) = export(&world, ["user", "alice"], "again.txt", "text");
    assert!(told.contains("3 messages were written"), "{told}");
    assert!(told.contains("damaged lines of the audit trail were left out: 1"), "{told}");
    assert!(text.contains("decision: "), "{text}");
    fs::remove_file(world.home().join("users/alice.pem")).unwrap();
    let world = world.started();
    assert!(world.operator(&["ctl", "unmute", "alice"]).0);
    fs::remove_dir_all(world.data_folder("alice")).unwrap();
    let mut other = world.enters("alice");
    other.types("of the other alice");
    other.sees("You: of the other alice");
    let (told, text) = export(&world, ["user", "alice"], "other.txt", "text");
    assert!(told.contains("1 messages") && text.contains("of the other alice"), "{told} {text}");
}
