//! The real server as a process of its own, and one member's connection to it.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pychat::crypto::handshake::{ClientStart, R0};
use pychat::crypto::record_cipher::RECORD_BYTES_MAX;
use pychat::crypto::{Fingerprint, Identity, Opener, PublicKey, RecordType, Sealer};
use pychat::invite::Invite;
use pychat::net::tunnel::{fetch_key, write_record};
use pychat::wire::record::{RecordReader, frame};
use rustix::net::{RecvFlags, recv};

const PATIENCE: Duration = Duration::from_secs(10);

/// Limits that stop nobody, not even a load that gets no core for a while.
pub const NO_LIMITS: &str = r#""sessions_per_user_max": 1000000, "announce_people_max": 0,
    "tail_bytes_max": 67108864, "requests_per_s": 1e9, "histories_per_s": 1e9,
    "lines_burst": 1000000000, "lines_per_s": 1e9, "bytes_per_s": 1e12"#;

/// A server's process, ended with this.
pub struct Server {
    process: Child,
    pub address: String,
    key: PublicKey,
}

/// The key of all members: making a thousand takes minutes.
pub struct Crowd(Identity);

impl Crowd {
    pub fn new() -> Crowd {
        Crowd(Identity::generate())
    }
}

impl Server {
    /// Serves the folder `home`, whose config.json is `config`, with the crowd registered.
    pub fn start(home: &Path, config: &str, crowd: &Crowd) -> Server {
        fs::write(home.join("config.json"), config).unwrap();
        fs::create_dir_all(home.join("users")).unwrap();
        fs::write(home.join("users/load.pem"), crowd.0.public().to_pem()).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_pychat"))
            .args(["server", "--no-owner", "--log", "error", "--listen", "127.0.0.1:0", "--home"])
            .arg(home)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = lines.find_map(|line| line.unwrap().strip_prefix("ready ").map(str::to_owned));
        let ready = ready.expect("the server says where it listens");
        let mut words = ready.split_whitespace().filter_map(|word| word.split_once('='));
        let address = words.next().unwrap().1.to_owned();
        let print = words.next().unwrap().1.trim_start_matches("SHA256:").to_owned();
        let print = print.replace('+', "-").replace('/', "_");
        let invite: Invite = format!("pychat://{address}/{print}").parse().unwrap();
        let print: Fingerprint = invite.fingerprint.unwrap();
        let key = fetch_key(&invite.host, invite.port, &print, PATIENCE).unwrap();
        Server { process, address, key }
    }

    pub fn member(&self, crowd: &Crowd) -> Member {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        write_record(&stream, R0).unwrap();
        let mut records = RecordReader::new(stream.try_clone().unwrap(), RECORD_BYTES_MAX);
        let r1 = records.read().unwrap().unwrap().to_vec();
        let (sent, r2) = ClientStart::new(&crowd.0, &self.key).answer(&r1).unwrap();
        write_record(&stream, &r2).unwrap();
        let transport = sent.finish(records.read().unwrap().unwrap()).unwrap();
        let records = RecordReader::new(WhatIsThere(stream.try_clone().unwrap()), RECORD_BYTES_MAX);
        let (sealer, opener) = (transport.sealer, transport.opener);
        let mut member = Member { stream, records, sealer, opener };
        member.send(RecordType::Login, br#"{"name":"load","version":"0","major":1}"#);
        member
    }

    pub fn memory_kib(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.process.id())).unwrap()
    }

    /// User and system time so far.
    pub fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        let after_name = stat.rsplit(") ").next().unwrap();
        let ticks =
            after_name.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap());
        // Linux shows these in hundredths of a second.
        Duration::from_millis(10 * ticks.sum::<u64>())
    }

    /// CPU of the threads that run now, in microseconds, finer than `cpu`.
    pub fn cpu_of_threads_us(&self) -> f64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let used = |task: fs::DirEntry| {
            // A thread may end between the two looks.
            let stat = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e3
        };
        tasks.map(|task| used(task.unwrap())).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads what has come and never waits; writing waits.
struct WhatIsThere(TcpStream);

impl Read for WhatIsThere {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(&self.0, buffer, RecvFlags::DONTWAIT)?.0)
    }
}

/// One member's end.
pub struct Member {
    pub stream: TcpStream,
    records: RecordReader<WhatIsThere>,
    sealer: Sealer,
    opener: Opener,
}

impl Member {
    pub fn send(&mut self, kind: RecordType, body: &[u8]) {
        let mut framed = Vec::new();
        frame(&mut framed, |out| self.sealer.seal(kind, body, out)).unwrap();
        self.stream.write_all(&framed).unwrap();
    }

    /// Hands each record's JSON that is there to `take`.
    pub fn receive(&mut self, mut take: impl FnMut(&[u8])) {
        loop {
            match self.records.read() {
                Ok(Some(record)) => match self.opener.open(record).unwrap() {
                    (RecordType::Json, body) => take(body),
                    (RecordType::Close, reason) => panic!("closed: {reason:?}"),
                    _ => {}
                },
                Ok(None) => panic!("cut"),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }
}
