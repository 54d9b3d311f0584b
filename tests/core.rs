//! The client as a page's Worker runs it (`pychat::client::core`), against the real server: the
//! test carries its records, one at a time, and its files stay in a folder.

mod world;

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use pychat::client::core::{Core, Output, Start, Wanted};
use pychat::crypto::Identity;
use pychat::crypto::pin_channel::{Pin, PinChannel};
use pychat::wire::record::{RecordReader, head};
use serde_json::{Value, json};
use world::{DEADLINE, World};

/// More than any record has, in bytes.
const RECORD_BYTES_MAX: usize = 1 << 16;

/// What arrives from the server: a record, or the end.
type Arrivals = Receiver<Option<Vec<u8>>>;

/// A person whose client is the core.
struct Visitor {
    core: Core,
    address: String,
    stream: Option<TcpStream>,
    arrivals: Option<Arrivals>,
    /// Whether the test breaks each connection.
    is_cut_off: bool,
    /// Whether the test lets long work continue.
    continues_work: bool,
    /// Keys that the core has requested and that are not derived yet.
    derivations: Vec<Wanted>,
    objects: Vec<Value>,
    ended: Option<u8>,
}

impl World {
    /// Starts a core with a key of its own.
    fn visits(&self, name: &str, folder: &Path, identity: Identity) -> Visitor {
        let (host, port) = self.address.rsplit_once(':').unwrap();
        let start = Start {
            folder,
            outside: &folder.join("outside"),
            identity,
            name: name.parse().unwrap(),
            host: host.to_owned(),
            port: port.parse().unwrap(),
            pinned: self.invite.parse::<pychat::invite::Invite>().unwrap().fingerprint.unwrap(),
        };
        let (core, address) = (Core::open(start).unwrap(), self.address.clone());
        Visitor {
            core,
            address,
            stream: None,
            arrivals: None,
            is_cut_off: false,
            continues_work: true,
            derivations: Vec::new(),
            objects: Vec::new(),
            ended: None,
        }
    }

    /// Registers a new key for a name, and starts a core with it.
    fn admits(&self, name: &str, folder: &Path) -> Visitor {
        self.admits_with_key(name, folder).0
    }

    /// The same, with the key as PEM, for `returns`.
    fn admits_with_key(&self, name: &str, folder: &Path) -> (Visitor, String) {
        let identity = Identity::generate();
        let pem = identity.to_pem(None).to_string();
        self.registers(name, identity.public());
        (self.visits(name, folder, identity), pem)
    }

    /// Starts a core again with its key.
    fn returns(&self, name: &str, folder: &Path, pem: &str) -> Visitor {
        self.visits(name, folder, Identity::from_pem(pem, None).unwrap())
    }
}

impl Visitor {
    /// Carries out the outputs of the core, and waits for the next event or deadline.
    fn turn(&mut self) {
        let due = self.core.run();
        for output in self.core.take() {
            match output {
                Output::Open => self.opens(),
                Output::Record(record) => {
                    let frame = [&head(record.len())[..], &record].concat();
                    // The reader notices the end of a connection.
                    let _ = self.stream.as_ref().map(|mut stream| stream.write_all(&frame));
                }
                Output::Close => self.closes(),
                Output::Derive(wanted) => self.derivations.push(wanted),
                Output::Object(text) => self.objects.push(serde_json::from_str(&text).unwrap()),
                Output::End(code) => self.ended = Some(code),
            }
        }
        if self.continues_work {
            self.core.continue_work();
            for Wanted { number, pin, server, letters } in std::mem::take(&mut self.derivations) {
                let key = PinChannel::derive(&Pin::new(pin.reveal()), &server, &letters);
                self.core.derived(number, Some(key.root().clone()));
            }
        }
        let left = due.saturating_duration_since(Instant::now()).min(Duration::from_millis(50));
        let Some(arrivals) = &self.arrivals else {
            return thread::sleep(left);
        };
        match arrivals.recv_timeout(left) {
            Ok(Some(record)) => self.core.record(record),
            Ok(None) => {
                self.closes();
                self.core.closed();
            }
            Err(_) => {}
        }
    }

    fn opens(&mut self) {
        self.closes();
        if self.is_cut_off {
            return self.core.closed();
        }
        let stream = TcpStream::connect(&self.address).unwrap();
        let (source, (arrives, arrivals)) = (stream.try_clone().unwrap(), mpsc::channel());
        thread::spawn(move || {
            let mut reader = RecordReader::new(source, RECORD_BYTES_MAX);
            while let Ok(Some(record)) = reader.read() {
                if arrives.send(Some(record.to_vec())).is_err() {
                    return;
                }
            }
            let _ = arrives.send(None);
        });
        (self.stream, self.arrivals) = (Some(stream), Some(arrivals));
        self.core.opened();
    }

    fn closes(&mut self) {
        if let Some(stream) = self.stream.take() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        self.arrivals = None;
    }

    /// Waits for an object. Those before it are forgotten.
    #[track_caller]
    fn sees(&mut self, kind: &str, is: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + DEADLINE;
        loop {
            let found = self.objects.iter().position(|one| one["type"] == kind && is(one));
            if let Some(at) = found {
                return self.objects.drain(..=at).next_back().unwrap();
            }
            assert!(Instant::now() < until, "never {kind}: {:#?}", self.objects);
            self.turn();
        }
    }

    #[track_caller]
    fn sees_text(&mut self, text: &str) -> Value {
        self.sees("message", |object| object["text"] == text)
    }

    fn types(&mut self, to: &str, line: &str) {
        self.core.object(&json!({"type": "input", "to": to, "line": line}).to_string());
    }

    /// Types a message, and waits until the server has stored it.
    #[track_caller]
    fn says(&mut self, to: &str, text: &str) -> Value {
        self.types(to, text);
        self.sees_text(text)
    }

    #[track_caller]
    fn enters(&mut self) {
        self.sees("entered", |object| object["channel"] == "#lobby");
    }
}

#[test]
fn a_core_chats_with_a_terminal_client_in_the_lobby_in_private_and_under_a_pin() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let folder = tempfile::tempdir().unwrap();
    let mut carol = world.admits("carol", folder.path());
    carol.sees("ready", |object| object["name"] == "carol");
    carol.enters();
    alice.sees("carol joined");
    assert_eq!(carol.says("#lobby", "from a page")["from"], "carol");
    alice.sees("carol: from a page");
    alice.types("/msg carol only for you");
    assert_eq!(carol.sees_text("only for you")["confidentiality"], "sealed");
    carol.says("@alice", "and for you");
    alice.sees("and for you");
    alice.types("/join #tea 4711");
    alice.sees("you are in #tea");
    carol.types("#lobby", "/join #tea 4711");
    let tea = carol.sees("entered", |object| object["channel"] != "#lobby");
    let tea = tea["channel"].as_str().unwrap().to_owned();
    carol.says(&tea, "green");
    alice.sees("carol: green");
}

#[test]
fn an_unknown_key_waits_and_enters_once_it_is_registered() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::generate();
    let public = identity.public().clone();
    let mut carol = world.visits("carol", folder.path(), identity);
    carol.sees("state", |object| object["state"] == "not_admitted");
    world.registers("carol", &public);
    carol.enters();
}

#[test]
fn a_message_that_was_not_sent_survives_the_end_of_the_core_and_is_sent_once() {
    let world = World::new();
    let alice = world.enters("alice");
    let folder = tempfile::tempdir().unwrap();
    let (mut carol, pem) = world.admits_with_key("carol", folder.path());
    carol.enters();
    carol.is_cut_off = true;
    carol.closes();
    carol.core.closed();
    carol.types("#lobby", "written without a network");
    carol.sees("outgoing", |object| object["text"] == "written without a network");
    carol.turn();
    drop(carol);
    let mut carol = world.returns("carol", folder.path(), &pem);
    carol.sees_text("written without a network");
    alice.sees("carol: written without a network");
    carol.says("#lobby", "and one more");
    alice.sees("carol: and one more");
    let count = alice.seen("carol: written without a network");
    assert_eq!(count, 1);
}

/// Hands a file to the core as the Worker does, and sends it.
fn sends(carol: &mut Visitor, name: &str, bytes: &[u8]) {
    let (number, path) = carol.core.hand(name, bytes.len() as u64).unwrap();
    std::fs::write(&path, bytes).unwrap();
    carol.core.handed(number, &path, None);
    let object = json!({"type": "send_file", "to": "#lobby", "path": path});
    carol.core.object(&object.to_string());
}

#[test]
fn a_core_sends_and_fetches_files_of_many_chunks_and_of_none() {
    let world = World::new();
    let alice = world.enters("alice");
    let folder = tempfile::tempdir().unwrap();
    let mut carol = world.admits("carol", folder.path());
    carol.enters();
    let large: Vec<u8> = (0..700_001_u32).map(|at| (at * 7 % 251) as u8).collect();
    for (name, bytes) in [("large.bin", &large[..]), ("empty.txt", &[])] {
        sends(&mut carol, name, bytes);
        let message = carol.sees("message", |object| object["file"]["name"] == name);
        assert_eq!(message["file"]["bytes"], bytes.len(), "{message}");
        alice.sees(name);
        let get = json!({"type": "get_file", "to": "#lobby", "seq": message["seq"], "keep": false});
        carol.core.object(&get.to_string());
        let is_here = |object: &Value| object["direction"] == "down" && object["state"] == "saved";
        let saved = carol.sees("transfer", is_here);
        assert_eq!((saved["viewed"].as_bool(), saved["name"].as_str()), (Some(true), Some(name)));
        let id = saved["transfer"].as_str().unwrap().parse().unwrap();
        let path = carol.core.fetched(id).unwrap();
        assert!(std::fs::read(path).unwrap() == bytes, "{name} is another file");
    }
}

#[test]
fn messages_arrive_while_a_file_is_read_and_while_a_key_is_derived() {
    let world = World::new();
    let mut alice = world.enters("alice");
    let folder = tempfile::tempdir().unwrap();
    let mut carol = world.admits("carol", folder.path());
    carol.enters();
    carol.continues_work = false;
    sends(&mut carol, "large.bin", &vec![7; 3 << 20]);
    carol.sees("transfer", |object| object["state"] == "reading");
    carol.types("#lobby", "/join #tea 4711");
    carol.sees("deriving", |object| object["channels"] == json!(["#tea"]));
    alice.types("still there?");
    carol.sees_text("still there?");
    carol.continues_work = true;
    // All of these come after the message.
    carol.sees("deriving", |object| object["channels"] == json!([]));
    carol.sees("transfer", |object| object["state"] == "waiting");
    carol.sees("transfer", |object| object["state"] == "sent");
    alice.sees("large.bin");
}

/// A picture with a place in its metadata.
fn photo() -> Vec<u8> {
    let mut bytes = Vec::new();
    let pixels = image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8, y as u8, 90]));
    pixels.write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
    let mut text = b"tEXtComment\0SECRET-PLACE".to_vec();
    let sum = text.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 * (sum & 1)))
    });
    text.extend((!sum).to_be_bytes());
    let length = (text.len() - 8) as u32;
    // After the signature and IHDR.
    bytes.splice(33..33, length.to_be_bytes().into_iter().chain(text));
    bytes
}

#[test]
fn an_upload_continues_in_the_next_run_of_the_core() {
    let world = World::new();
    let alice = world.enters("alice");
    let folder = tempfile::tempdir().unwrap();
    let (mut carol, pem) = world.admits_with_key("carol", folder.path());
    carol.enters();
    let large: Vec<u8> = (0..3_000_001_u32).map(|at| (at * 7 % 251) as u8).collect();
    let files = [("large.bin", &large), ("photo.png", &photo()), ("lost.bin", &large)];
    for (name, bytes) in files {
        // Not a byte leaves before the file is recorded.
        carol.is_cut_off = name != "large.bin";
        if carol.is_cut_off {
            carol.closes();
            carol.core.closed();
        }
        sends(&mut carol, name, bytes);
        let state = if carol.is_cut_off { "waiting" } else { "going" };
        carol.sees("transfer", |object| object["name"] == name && object["state"] == state);
    }
    drop(carol);
    // The browser keeps the chosen files, but for one, and no picture without its metadata.
    let outside = folder.path().join("outside");
    std::fs::remove_dir_all(outside.join("server.pictures")).unwrap();
    std::fs::create_dir(outside.join("server.pictures")).unwrap();
    let run = std::fs::read_dir(outside.join("server.pages")).unwrap().next().unwrap().unwrap();
    std::fs::remove_file(run.path().join("3/lost.bin")).unwrap();
    let mut carol = world.returns("carol", folder.path(), &pem);
    carol.sees("error", |object| {
        let hint = object["hint"].as_str().unwrap_or_default();
        hint.contains("lost.bin") && hint.contains("not there any more: send it again")
    });
    let is_file = |object: &Value| object["file"]["name"].is_string();
    let messages = [carol.sees("message", is_file), carol.sees("message", is_file)];
    for message in messages {
        let name = message["file"]["name"].as_str().unwrap();
        let (_, bytes) = files[..2].iter().find(|(own, _)| *own == name).unwrap();
        alice.sees(name);
        let get = json!({"type": "get_file", "to": "#lobby", "seq": message["seq"], "keep": false});
        carol.core.object(&get.to_string());
        let is_here = |object: &Value| object["direction"] == "down" && object["state"] == "saved";
        let id = carol.sees("transfer", is_here)["transfer"].as_str().unwrap().parse().unwrap();
        let fetched = std::fs::read(carol.core.fetched(id).unwrap()).unwrap();
        let is_same = fetched == **bytes;
        assert_eq!(is_same, name == "large.bin", "{name}");
        let place = fetched.windows(12).any(|window| window == b"SECRET-PLACE");
        assert!(!place, "the place of {name} is sent");
    }
    carol.says("#lobby", "all are sent");
    let left = std::fs::read_dir(run.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.collect();
    assert_eq!(left, ["lock"], "the files of the earlier run are removed");
}

#[test]
fn a_core_sends_no_file_but_those_that_the_page_hands_over_and_writes_no_path() {
    let world = World::new();
    let _alice = world.enters("alice");
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret.txt");
    std::fs::write(&secret, "a secret").unwrap();
    let mut carol = world.admits("carol", folder.path());
    carol.enters();
    let object = json!({"type": "send_file", "to": "#lobby", "path": secret});
    carol.core.object(&object.to_string());
    let failed = |object: &Value| object["state"] == "failed";
    let told = carol.sees("transfer", failed);
    assert!(told["hint"].as_str().unwrap().contains("the page cannot read a path"), "{told}");
    sends(&mut carol, "own.txt", b"own");
    let message = carol.sees("message", |object| object["file"]["name"] == "own.txt");
    let wanted = folder.path().join("written.txt");
    let get = json!({"type": "get_file", "to": "#lobby", "seq": message["seq"], "path": wanted});
    carol.core.object(&get.to_string());
    let told = carol.sees("transfer", failed);
    assert!(told["hint"].as_str().unwrap().contains("the page cannot write to a path"), "{told}");
    assert!(!wanted.exists());
    let larger = carol.core.hand("larger.bin", 1 << 40);
    assert!(larger.is_err(), "the server accepts no file of this size");
}
