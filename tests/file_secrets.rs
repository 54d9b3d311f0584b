//! The content, the name and the key of a file are found only at clients that may read its
//! conversation.

mod world;

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pychat::chat::BlobId;
use pychat::crypto::file::{FileKey, Layout, SEALED_CHUNK_BYTES};
use serde_json::json;
use world::job::{coming, folder, object, size, starts};
use world::program::positions;
use world::way::{Flow, Link};
use world::{Program, World};
use zeroize::Zeroizing;

const BYTES: usize = 2_000_000;
/// Bytes of a description of a file in memory.
const NEAR: usize = 400;

/// A file with words of its own.
struct Canary {
    name: String,
    content: String,
    caption: String,
    key: Option<[u8; 32]>,
}

impl Canary {
    fn new(word: &str) -> Canary {
        let (name, content) = (format!("named{word}.txt"), format!("content{word} "));
        Canary { name, content, caption: format!("caption{word}"), key: None }
    }

    fn bytes(&self) -> Vec<u8> {
        self.content.bytes().cycle().take(BYTES).collect()
    }

    /// The secrets of the file, each with its description.
    fn hidden(&self) -> [(&'static str, Vec<u8>); 5] {
        let key = self.key.unwrap();
        [
            ("content", self.content.clone().into_bytes()),
            ("name", self.name.clone().into_bytes()),
            ("caption", self.caption.clone().into_bytes()),
            ("key as text", URL_SAFE_NO_PAD.encode(key).into_bytes()),
            ("key", key.to_vec()),
        ]
    }

    /// How often each of them is in the memory of a process.
    fn in_memory(&self, program: &Program) -> Vec<usize> {
        let hidden = self.hidden();
        let texts: Vec<_> = hidden.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        program.counts_in_memory(&texts)
    }

    /// Sends the file with a program, and stalls it on the way: its profile has nothing of the file
    /// in the clear.
    fn goes_up(&mut self, world: &World, to: &str) {
        let link = Link::to(&world.address);
        let mut sender = starts(world, "alice", &link.address, &["--json"]);
        sender.sees("connected");
        if to == "#nest" {
            sender.types(r##"{"type":"join","channel":"#nest","pin":"half past four"}"##);
            sender.sees(r##""readers":"pin""##);
        }
        link.set(Flow::Slows);
        let (path, text) = (self.name.clone(), &self.caption);
        sender
            .types(&json!({"type": "send_file", "path": path, "to": to, "text": text}).to_string());
        let is_half =
            || coming(world).iter().any(|path| size(path) > 2 * SEALED_CHUNK_BYTES as u64);
        world.until("some bytes are there", is_half);
        link.set(Flow::Stalls);
        let blob = uploads(world).pop().expect("the control: the transfer is in the profile");
        self.takes_key(world, &sender, blob, to != "#lobby");
        for (what, bytes) in self.hidden() {
            assert_eq!(world.found_in("alice", &bytes), 0, "{what} of {} in the profile", path);
        }
        link.set(Flow::Passes);
        sender.sees(r#""state":"sent""#);
        // A client that is killed before continues with the file at its next start.
        world.until("the profile has forgotten it", || uploads(world).is_empty());
        self.key = None;
    }

    /// Reads the key from the memory of a client that transfers the file, near the file's id.
    /// Verifies that the key opens the file in the server's store.
    fn takes_key(&mut self, world: &World, reader: &Program, blob: [u8; 16], is_sealed: bool) {
        let layout = if is_sealed { Layout::sealed } else { Layout::open };
        let layout = layout(BYTES as u64).unwrap();
        let beginning = |path: PathBuf| {
            let mut chunk = fs::read(path).unwrap();
            chunk.truncate(SEALED_CHUNK_BYTES);
            chunk
        };
        let files: Vec<_> = stored(world).into_iter().map(beginning).collect();
        let opens = |key: &[u8; 32]| {
            let opener = FileKey::new(&Zeroizing::new(*key), &blob, layout);
            files.iter().any(|chunk| opener.open_chunk(0, &mut chunk.clone()).is_some())
        };
        reader.in_memory(&mut |piece| {
            for at in positions(piece, &blob) {
                let near = &piece[at.saturating_sub(NEAR)..piece.len().min(at + NEAR)];
                if self.key.is_none() {
                    self.key = near.windows(32).map(|key| key.try_into().unwrap()).find(opens);
                }
            }
        });
        assert!(self.key.is_some(), "the control: a reader has the key of {}", self.name);
    }
}

/// The ids of the files that alice's profile uploads.
fn uploads(world: &World) -> Vec<[u8; 16]> {
    let servers = fs::read_dir(world.data_folder("alice").join("servers")).unwrap();
    let folders = servers.map(|entry| entry.unwrap().path());
    let folders = folders.filter(|path| path.extension().is_some_and(|it| it == "transfers"));
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap());
    let states = files.filter_map(|file| {
        let path = file.unwrap().path();
        path.extension().is_some_and(|it| it == "state").then_some(path)
    });
    states
        .map(|path| path.file_stem().unwrap().to_str().unwrap().parse::<BlobId>().unwrap().0)
        .collect()
}

/// The ids of the files that arrive in a folder, and how much has arrived.
fn parts(folder: &Path) -> Vec<([u8; 16], u64)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let parts = entries.filter(|path| path.extension().is_some_and(|it| it == "part"));
    let blob = |path: &Path| path.file_stem()?.to_str()?.rsplit('.').next()?.parse::<BlobId>().ok();
    parts.filter_map(|path| Some((blob(&path)?.0, size(&path)))).collect()
}

/// The files of the server's store.
fn stored(world: &World) -> Vec<PathBuf> {
    let folders = fs::read_dir(world.home().join("data/files")).unwrap();
    let folders = folders.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap());
    files.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn no_canary_in_a_file_flies_to_the_server() {
    let log = r#"{"log": {"level": "debug", "file": "data/log"},
        "limits": {"file_reserve_bytes": 0, "requests_per_s": 1000}}"#;
    let world = World::configured(log);
    ["alice", "bob", "carol"].iter().for_each(|name| world.admit_by_log(name, "data/log"));
    let carol = world.client("carol", &["--json"]);
    carol.sees("connected");
    let mut bob = world.client("bob", &["--json"]);
    bob.sees("connected");
    bob.types(r##"{"type":"join","channel":"#nest","pin":"half past four"}"##);
    bob.sees(r##""readers":"pin""##);
    let rooms = [("#lobby", "#lobby"), ("#nest", "#nest"), ("@bob", "alice")];
    let mut canaries = ["wren", "heron", "egret"].map(Canary::new);
    for ((to, from), canary) in rooms.into_iter().zip(&mut canaries) {
        fs::write(folder(&world, "alice").join(&canary.name), canary.bytes()).unwrap();
        canary.goes_up(&world, to);
        let message = object(&bob.sees(&canary.name));
        let seq = message["seq"].as_str().unwrap();
        let link = Link::to(&world.address);
        link.set(Flow::Slows);
        let mut reader = starts(&world, "bob", &link.address, &["--get", seq, "--from", from]);
        let part = || parts(&folder(&world, "bob")).pop();
        world.until("some bytes are there", || part().is_some_and(|(_, bytes)| bytes > 0));
        link.set(Flow::Stalls);
        let blob = part().unwrap().0;
        canary.takes_key(&world, &reader, blob, to != "#lobby");
        link.set(Flow::Passes);
        assert!(reader.ends().success(), "{:?}", reader.told());
        let path = folder(&world, "bob").join(&canary.name);
        assert!(fs::read(path).unwrap() == canary.bytes(), "the control: it is read");
    }
    let backup = world.home().join("backup.db");
    let files = world.home().join("backup-files");
    let words = ["backup", backup.to_str().unwrap(), "--files", files.to_str().unwrap()];
    let (ok, told) = world.operator(&words);
    assert!(ok, "{told}");
    let blobs = fs::read_dir(&files).unwrap().count();
    assert!(blobs > 0, "the control: files are in the backup");
    let [open, pin, private] = &canaries;
    for (canary, is_open) in [(open, true), (pin, false), (private, false)] {
        let found = canary.in_memory(&world.server);
        for ((what, bytes), in_memory) in canary.hidden().into_iter().zip(found) {
            let there = (world.found_in("home", &bytes), in_memory);
            // The control: the server reads the messages of an open channel, and these only.
            match is_open && matches!(what, "name" | "caption" | "key as text") {
                true => {
                    assert!(there.0 >= 2 && there.1 > 0, "{what} of {}: {there:?}", canary.name)
                }
                false => assert_eq!(there, (0, 0), "{what} of {}", canary.name),
            }
            for person in ["alice", "bob", "carol"] {
                assert_eq!(
                    world.found_in(person, &bytes),
                    0,
                    "{what} of {}: {person}",
                    canary.name
                );
            }
        }
        let others = canary.in_memory(&carol);
        assert_eq!(others[0], 0, "carol fetched nothing");
        if !is_open {
            assert_eq!(others, [0; 5], "carol reads nothing of {}", canary.name);
        }
    }
}
