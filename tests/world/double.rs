//! A server that does what a hostile one could: it shakes hands as the protocol wants, and then
//! says whatever a test makes it say to the real client.

use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, thread};

use pychat::crypto::handshake::ServerHello;
use pychat::crypto::hello::Greeting;
use pychat::crypto::record_cipher::RECORD_BYTES_MAX;
use pychat::crypto::{Identity, Opener, RecordType, Sealer};
use pychat::suite::Suites;
use pychat::wire::record::RecordReader;
use serde_json::Value;

use super::pty::Terminal;
use super::spare::SpareKeys;
use super::way::{self, write_record};
use super::{BINARY, DEADLINE, Program, clean};

pub struct Double {
    folder: tempfile::TempDir,
    keys: SpareKeys,
    listener: TcpListener,
    identity: Arc<Identity>,
    pub invite: String,
}

/// A client that has logged in.
pub struct Guest {
    stream: TcpStream,
    records: RecordReader<TcpStream>,
    sealer: Sealer,
    opener: Opener,
}

impl Double {
    pub fn new() -> Double {
        let (folder, keys) = (tempfile::tempdir().unwrap(), SpareKeys::default());
        let own = folder.path().join("own");
        keys.give(&own);
        let pem = fs::read_to_string(own.join("id.pem")).unwrap();
        let identity = Arc::new(Identity::from_pem(&pem, None).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let print = identity.public().fingerprint().to_url();
        let invite = format!("pychat://{}/{print}", listener.local_addr().unwrap());
        Double { folder, keys, listener, identity, invite }
    }

    /// The folder of a person, who has a key and has met this server.
    pub fn data_folder(&self, name: &str) -> PathBuf {
        let data_folder = self.folder.path().join(name).join("pychat");
        if !data_folder.join("id.pem").exists() {
            self.keys.give(&data_folder);
            fs::create_dir(data_folder.join("servers")).unwrap();
            let key = self.identity.public();
            let file = format!("servers/{}.pem", key.fingerprint().to_url());
            fs::write(data_folder.join(file), key.to_pem()).unwrap();
            let at = self.listener.local_addr().unwrap();
            let fingerprint = key.fingerprint().to_url();
            let server =
                serde_json::json!({"host": at.ip(), "port": at.port(), "fingerprint": fingerprint});
            fs::write(data_folder.join("servers.json"), serde_json::json!([server]).to_string())
                .unwrap();
        }
        data_folder
    }

    /// What starts a person's client.
    pub fn command(&self, name: &str, args: &[&str]) -> Command {
        self.data_folder(name);
        let mut command = clean(Command::new(BINARY), &self.folder, name);
        command.args(["client", &self.invite, "--name", name]).args(args);
        command
    }

    pub fn client(&self, name: &str, args: &[&str]) -> Program {
        Program::start(self.command(name, args))
    }

    pub fn screen(&self, name: &str) -> Terminal {
        Terminal::run(&self.command(name, &[]))
    }

    /// Starts a client that is in #lobby.
    #[track_caller]
    pub fn enters(&self, name: &str) -> (Program, Guest) {
        let client = self.client(name, &["--json"]);
        let mut guest = self.lets_in();
        guest.welcomes(name);
        client.sees(r#""type":"entered""#);
        (client, guest)
    }

    /// The next client that comes and logs in, before the deadline.
    pub fn lets_in(&self) -> Guest {
        self.lets_in_before(Instant::now() + DEADLINE).expect("nobody came")
    }

    pub fn lets_in_before(&self, until: Instant) -> Option<Guest> {
        self.listener.set_nonblocking(true).unwrap();
        while Instant::now() < until {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).unwrap();
                    if let Some(guest) = self.handshake(stream) {
                        return Some(guest);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::park_timeout(Duration::from_millis(5));
                }
                Err(error) => panic!("{error}"),
            }
        }
        None
    }

    /// None where it wants something else than to log in.
    fn handshake(&self, stream: TcpStream) -> Option<Guest> {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut records = RecordReader::new(stream.try_clone().unwrap(), RECORD_BYTES_MAX);
        let greeting = Greeting::read(records.read().ok()??, [&self.identity])?;
        let Greeting::Hello(hello) = greeting else { return None };
        let (hello, r1) = ServerHello::start(hello, Suites::default());
        let write = |record: &[u8]| write_record(&stream, record);
        write(&r1).ok()?;
        let gated = hello.gate(records.read().ok()??).ok()?;
        let (_, r3, transport) = gated.finish().ok()?;
        write(&r3).ok()?;
        let (sealer, opener) = (transport.sealer, transport.opener);
        let mut guest = Guest { stream, records, sealer, opener };
        guest.record()?;
        Some(guest)
    }
}

impl Guest {
    /// One record with these messages; false where the client is gone, or takes nothing for
    /// `patience`.
    pub fn tells(&mut self, messages: &str, patience: Duration) -> bool {
        self.sends(RecordType::Json, format!("{messages}\n").as_bytes(), patience)
    }

    pub fn sends(&mut self, kind: RecordType, body: &[u8], patience: Duration) -> bool {
        let mut framed = Vec::new();
        for part in body.chunks(16_000) {
            let mut record = Vec::new();
            self.sealer.seal(kind, part, &mut record).unwrap();
            framed.extend(way::framed(&record));
        }
        self.stream.set_write_timeout(Some(patience)).unwrap();
        self.stream.write_all(&framed).is_ok()
    }

    #[track_caller]
    pub fn says(&mut self, messages: &str) {
        assert!(self.tells(messages, DEADLINE), "the client is gone");
    }

    /// Welcomes somebody, and shows them the lobby.
    pub fn welcomes(&mut self, name: &str) {
        self.says(&welcome(name));
        self.says(&format!(
            r##"{{"type":"entered","channel":"#lobby","epoch":"00000000000000ff","last":"0","read":"0","retention":"forever","people":["{name}"]}}"##
        ));
    }

    /// The next record, whatever it is; none at the end or after the deadline.
    fn record(&mut self) -> Option<(RecordType, Vec<u8>)> {
        let (kind, body) = self.opener.open(self.records.read().ok()??).ok()?;
        Some((kind, body.to_vec()))
    }

    /// The next record, before the deadline; none at the end.
    pub fn next_record(&mut self) -> Option<(RecordType, Vec<u8>)> {
        self.stream.set_read_timeout(Some(DEADLINE)).unwrap();
        self.record()
    }

    /// What the client asks next; none at the end or when it has said nothing for so long. Pings
    /// are left out.
    pub fn hears(&mut self, patience: Duration) -> Option<Vec<Value>> {
        let until = Instant::now() + patience;
        loop {
            let left = until.checked_duration_since(Instant::now()).filter(|it| !it.is_zero())?;
            self.stream.set_read_timeout(Some(left)).unwrap();
            if let (RecordType::Json, body) = self.record()? {
                return Some(read(&body));
            }
        }
    }

    /// Waits for a request of this type.
    #[track_caller]
    pub fn is_asked(&mut self, kind: &str) -> Value {
        let until = Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let asked = self.hears(left).unwrap_or_else(|| panic!("never asked {kind}"));
            if let Some(one) = asked.into_iter().find(|one| one["type"] == kind) {
                return one;
            }
        }
    }

    /// Waits for a ping.
    pub fn is_pinged(&mut self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while let Some(left) =
            until.checked_duration_since(Instant::now()).filter(|it| !it.is_zero())
        {
            self.stream.set_read_timeout(Some(left)).unwrap();
            match self.record() {
                Some((RecordType::Ping, _)) => return true,
                Some(_) => {}
                None => return false,
            }
        }
        false
    }
}

pub fn welcome(name: &str) -> String {
    let now_ms = jiff::Timestamp::now().as_millisecond();
    format!(
        r#"{{"type":"welcome","name":"{name}","device":"main","version":"0","text_bytes_max":8192,"time_ms":{now_ms}}}"#
    )
}

/// A new message of somebody in the lobby.
pub fn line(seq: u64, text: &str) -> String {
    format!(r##"["{seq}","#lobby","bob","main","{seq:032x}",1764079391123,"{text}"]"##)
}

/// Requests of a record: the short form of a message as the long one.
fn read(body: &[u8]) -> Vec<Value> {
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let long = |value: Value| match value {
        Value::Array(fields) => {
            serde_json::json!({"type": "say", "to": fields[0], "id": fields[1], "text": fields[2]})
        }
        other => other,
    };
    lines.map(|line| long(serde_json::from_slice(line).unwrap())).collect()
}
