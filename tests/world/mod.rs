//! A server with clients: the real binary, real sockets, folders of its own, deadlines.
#![allow(dead_code)]

pub mod apart;
pub mod checker;
#[cfg(target_os = "linux")]
pub mod clocks;
pub mod disk;
pub mod double;
pub mod hostile;
pub mod job;
pub mod page;
pub mod peer;
pub mod photos;
pub mod program;
pub mod proxy;
pub mod pty;
pub mod reserved;
pub mod sharer;
mod spare;
pub mod way;
pub mod web;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

pub use program::Program;
use pty::Terminal;
use pychat::crypto::hello::{mac, r0};
use pychat::crypto::{Identity, PublicKey};
use pychat::invite::Invite;
use pychat::net::tunnel::fetch_key;
use pychat::suite::Suites;
use reserved::ReservedPort;
use rustix::process::Signal;
use spare::SpareKeys;

const BINARY: &str = env!("CARGO_BIN_EXE_pychat");

/// Another client, of Rust alone say, for everybody but alice: they talk to each other all the
/// same.
const OTHER_CLIENT: &str = "PYCHAT_CLIENT";

/// The deadline of every wait.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A server and the folders of its people.
pub struct World {
    folder: tempfile::TempDir,
    keys: SpareKeys,
    /// The server's, also while it does not run.
    port: Option<ReservedPort>,
    pub server: Program,
    pub address: String,
    pub invite: String,
}

impl World {
    pub fn new() -> World {
        World::with("{}")
    }

    /// With these limits, as JSON.
    pub fn with(limits: &str) -> World {
        World::configured(&format!("{{\"limits\": {limits}}}"))
    }

    /// With these limits, and after a word of the shell's: `ulimit -n 64`.
    pub fn under(word: &str, limits: &str) -> World {
        World::begin_here(home(&format!("{{\"limits\": {limits}}}")), word)
    }

    /// At a port of its own, where it can begin again.
    fn begin_here(folder: tempfile::TempDir, word: &str) -> World {
        let port = ReservedPort::new();
        let world = World::begin(folder, &port.address(), word);
        World { port: Some(port), ..world }
    }

    /// With these keys of config.json, after a word of the shell's.
    pub fn configured_under(word: &str, config: &str) -> World {
        World::begin(home(config), "127.0.0.1:0", word)
    }

    fn begin(folder: tempfile::TempDir, listen: &str, word: &str) -> World {
        let keys = SpareKeys::default();
        let own = folder.path().join("home/keys");
        keys.give(&own);
        fs::rename(own.join("id.pem"), own.join("server.pem")).unwrap();
        fs::remove_file(own.join("id.pub.pem")).unwrap();
        World::open(folder, keys, listen, word)
    }

    fn open(folder: tempfile::TempDir, keys: SpareKeys, listen: &str, word: &str) -> World {
        let mut command = clean(Command::new("sh"), &folder, "operator");
        command.args(["-c", &format!("{word} && exec \"$0\" \"$@\""), BINARY]);
        command.args(["server", "--no-owner", "--listen", listen, "--home"]);
        command.arg(folder.path().join("home"));
        let server = Program::start(command);
        let ready = server.sees("ready addr=");
        let mut words = ready.split(['=', ' ']).skip(2).step_by(2);
        let address = words.next().unwrap().to_owned();
        let print = words.next().unwrap().trim_start_matches("SHA256:");
        let print = print.replace('+', "-").replace('/', "_");
        let invite = format!("pychat://{address}/{print}");
        World { folder, keys, port: None, server, address, invite }
    }

    /// The server ends and begins again, at the same address.
    pub fn restarted(mut self) -> World {
        self.server.signal(Signal::TERM);
        self.server.ends();
        self.begins_again("true")
    }

    fn begins_again(self, word: &str) -> World {
        let World { folder, keys, port, address, .. } = self;
        World { port, ..World::open(folder, keys, &address, word) }
    }

    /// A person's data folder.
    pub fn data_folder(&self, person: &str) -> PathBuf {
        self.folder.path().join(person).join("pychat")
    }

    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Registers a key for a person, where the log goes to a file.
    pub fn admit_by_log(&self, name: &str, log: &str) {
        let print = self.registers_key_of(name);
        let log = self.home().join(log);
        self.until("the key is registered", || {
            fs::read_to_string(&log).is_ok_and(|text| text.contains(&print))
        });
    }

    /// Registers a key for a device of a person.
    pub fn admit(&self, name: &str) {
        let print = self.registers_key_of(name);
        self.server.is_told(&format!("registered with {print}"));
    }

    /// Gives a person a key, and returns its public PEM.
    pub fn makes_key_of(&self, name: &str) -> String {
        let data_folder = self.data_folder(name);
        self.keys.give(&data_folder);
        fs::read_to_string(data_folder.join("id.pub.pem")).unwrap()
    }

    /// Registers a key for a device of a person and gives its fingerprint; the server may not know
    /// it yet.
    pub fn registers_key_of(&self, name: &str) -> String {
        let pem = self.makes_key_of(name);
        let print = PublicKey::from_pem(&pem).unwrap().fingerprint();
        fs::write(self.home().join(format!("users/{name}.pem")), pem).unwrap();
        print.to_string()
    }

    /// An admitted person's client with another face.
    pub fn enters_as(&self, name: &str, face: &str) -> Program {
        self.admit(name);
        self.client(name, &[face])
    }

    /// Registers a key that the test holds itself.
    pub fn registers(&self, name: &str, key: &PublicKey) {
        fs::write(self.home().join(format!("users/{name}.pem")), key.to_pem()).unwrap();
        self.server.is_told(&format!("registered with {}", key.fingerprint()));
    }

    /// An admitted person's client, connected.
    pub fn enters(&self, name: &str) -> Program {
        self.admit(name);
        let client = self.client(name, &["--plain"]);
        client.sees("you are in #lobby");
        client
    }

    /// The binary, with the folders of a person.
    pub fn program(&self, person: &str) -> Command {
        program(&self.folder, person)
    }

    /// What starts a person's full screen.
    pub fn screen_of(&self, name: &str) -> Command {
        let mut command = self.program(name);
        command.args(["client", &self.invite, "--name", name]);
        command
    }

    /// An admitted person's full screen, connected.
    pub fn sits_down(&self, name: &str) -> Terminal {
        self.admit(name);
        let terminal = Terminal::run(&self.screen_of(name));
        terminal.shows("* connected");
        terminal
    }

    pub fn client(&self, name: &str, args: &[&str]) -> Program {
        self.client_by(name, &self.address, args)
    }

    /// A client that reaches the server by another address.
    pub fn client_by(&self, name: &str, address: &str, args: &[&str]) -> Program {
        let person = name.split('.').next().unwrap();
        let invite = self.invite.replace(&self.address, address);
        let other = std::env::var_os(OTHER_CLIENT).filter(|_| person != "alice");
        let binary = other.unwrap_or_else(|| BINARY.into());
        let mut command = clean(Command::new(binary), &self.folder, name);
        command.args(["client", &invite, "--name", person]).args(args);
        Program::start(command)
    }

    /// The server is gone from one moment to the next.
    pub fn killed(mut self) -> World {
        self.server.kill();
        self.started()
    }

    /// The server ends; everything else stays.
    pub fn stopped(mut self) -> World {
        self.server.signal(rustix::process::Signal::TERM);
        self.server.ends();
        self
    }

    /// And begins again, at the same address.
    pub fn started(self) -> World {
        self.begins_again("true")
    }

    /// The same, after a shell command such as `ulimit -n 64`.
    pub fn started_after(self, word: &str) -> World {
        self.begins_again(word)
    }

    /// The same without the ledger of before, as the operator confirms.
    pub fn started_with_a_new_ledger(self) -> World {
        self.begins_again("set -- \"$@\" --new-ledger")
    }

    /// A server whose files cannot grow beyond so many kibibytes each. The signal that comes with
    /// that is ignored, so that the write fails.
    pub fn full_after(kib: u32) -> World {
        let word = format!("trap '' XFSZ && ulimit -f {}", 2 * kib);
        World::under(&word, "{\"messages_burst\": 1000, \"bytes_per_s\": 1e9}")
    }

    /// Waits until something is so.
    #[track_caller]
    pub fn until(&self, what: &str, mut is: impl FnMut() -> bool) {
        let until = Instant::now() + DEADLINE;
        while !is() {
            assert!(Instant::now() < until, "never {what}");
            thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// With these keys of config.json, listening there.
    pub fn configured_at(config: &str, listen: &str) -> World {
        World::begin(home(config), listen, "true")
    }

    /// With these keys of config.json.
    pub fn configured(config: &str) -> World {
        World::begin_here(home(config), "true")
    }

    /// With these keys of config.json, and a home that `prepare` has changed.
    pub fn configured_with(config: &str, prepare: impl FnOnce(&Path)) -> World {
        let folder = home(config);
        prepare(&folder.path().join("home"));
        World::begin_here(folder, "true")
    }

    /// Counts the occurrences of the bytes in the files of a folder of this world.
    pub fn found_in(&self, folder: &str, text: impl AsRef<[u8]>) -> usize {
        let text = text.as_ref();
        let mut found = 0;
        let mut folders = vec![self.folder.path().join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else if entry.file_type().unwrap().is_file() {
                    let bytes = match fs::read(entry.path()) {
                        // It was renamed into its conversation meanwhile.
                        Err(error) if error.kind() == ErrorKind::NotFound => continue,
                        bytes => bytes.unwrap(),
                    };
                    found += program::positions(&bytes, text).len();
                }
            }
        }
        found
    }

    pub fn parsed_invite(&self) -> Invite {
        self.invite.parse().unwrap()
    }

    /// The server's public key, as a client that has the invite gets it.
    pub fn server_key(&self) -> PublicKey {
        let invite = self.parsed_invite();
        fetch_key(&invite.host, invite.port, &invite.fingerprint.unwrap(), DEADLINE).unwrap()
    }

    /// The server's private key, as a thief has it.
    pub fn own_key(&self) -> Identity {
        let pem = fs::read_to_string(self.home().join("keys/server.pem")).unwrap();
        Identity::from_pem(&pem, None).unwrap()
    }

    /// The first record of a client that has this server's invite, with its length.
    pub fn hello(&self) -> Vec<u8> {
        let invite = self.parsed_invite();
        way::framed(&r0(&invite.fingerprint.unwrap(), Suites::default()))
    }

    /// The same of another major.
    pub fn hello_of(&self, major: char) -> Vec<u8> {
        let invite = self.parsed_invite();
        let head = format!("PYCHAT/{major} of the future").into_bytes();
        way::framed(&[&head[..], &mac(&invite.fingerprint.unwrap(), &head)].concat())
    }

    /// Another config.json, which holds from now on.
    #[track_caller]
    pub fn reloads(&self, config: &str) {
        fs::write(self.home().join("config.json"), config).unwrap();
        let (ok, told) = self.operator(&["ctl", "reload"]);
        assert!(ok, "{told}");
    }

    pub fn operator(&self, args: &[&str]) -> (bool, String) {
        let mut command = program(&self.folder, "operator");
        command.args(args).arg("--home").arg(self.home());
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    }

    /// The page of figures, where the configuration has `metrics`.
    pub fn metrics(&self) -> String {
        self.asks_metrics("GET /metrics HTTP/1.1")
    }

    /// What the listener for metrics says to a request.
    pub fn asks_metrics(&self, request: &str) -> String {
        let said = self.server.is_told("metrics at http://");
        let address = said.split("http://").nth(1).unwrap().trim_end_matches("/metrics");
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "{request}\r\nHost: localhost\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page
    }

    /// A counter of `pychat ctl stats`.
    #[track_caller]
    pub fn counter(&self, name: &str) -> u64 {
        let until = Instant::now() + DEADLINE;
        loop {
            let (ok, text) = self.operator(&["ctl", "stats", "--json"]);
            if ok {
                let reply: serde_json::Value = serde_json::from_str(&text).unwrap();
                return reply["data"][name].as_u64().unwrap();
            }
            // A server on a busy machine may need more than the five seconds that it is given.
            let is_late = text.contains("did not answer within");
            assert!(is_late && Instant::now() < until, "{text}");
        }
    }
}

/// A folder with a home and its config.json.
fn home(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("home")).unwrap();
    fs::write(folder.path().join("home/config.json"), config).unwrap();
    folder
}

/// The binary, with folders of its own for a person.
fn program(folder: &tempfile::TempDir, person: &str) -> Command {
    clean(Command::new(BINARY), folder, person)
}

fn clean(mut command: Command, folder: &tempfile::TempDir, person: &str) -> Command {
    command.env("XDG_DATA_HOME", folder.path().join(person)).env("HOME", folder.path());
    command.env("XDG_CONFIG_HOME", folder.path().join(person).join("config"));
    command.env("NO_COLOR", "1").env("TZ", "UTC");
    command
}
