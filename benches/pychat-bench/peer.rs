//! Other servers under the same load, over TLS: IRC, and Redis' pub/sub (benches/peers/ has their
//! configurations).

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::client::{Client, Subject, WhatIsThere, connect};
use crate::process::Process;

/// Lines in one TLS record. ngircd reads 2,048 bytes at a time, and leaves the rest of a longer
/// record unread until more bytes arrive.
const RECORD_LINES: usize = 16;
/// InspIRCd leaves bytes that arrive in one segment with the end of the handshake unread until more
/// bytes arrive: the bench sends more after this time.
const NUDGE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// A server that does not answer within this time has not started.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, PartialEq)]
enum Speech {
    Irc,
    /// Redis' own, version 3: who subscribes may publish too.
    Resp,
}

/// A process of benches/peers/peer, ended with this.
pub struct Host {
    pub process: Process,
    pub address: String,
    /// Its key, certificate and configuration.
    pub folder: tempfile::TempDir,
}

impl Host {
    pub fn start(name: &str) -> Host {
        let folder = tempfile::tempdir().unwrap();
        // Free now, and nobody else's a moment later on this machine.
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/peer");
        let mut command = Command::new(script);
        command.arg(name).arg(folder.path()).arg(free.port().to_string());
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let process = Process(process);
        let address = free.to_string();
        let began = Instant::now();
        while TcpStream::connect(&address).is_err() {
            assert!(began.elapsed() < PATIENCE, "{name} does not start: is it installed?");
            thread::sleep(Duration::from_millis(20));
        }
        Host { process, address, folder }
    }
}

/// A third-party chat server under load.
pub struct Peer {
    process: Process,
    address: String,
    speech: Speech,
    tls: Arc<ClientConfig>,
    _folder: tempfile::TempDir,
}

impl Peer {
    pub fn start(name: &str) -> Peer {
        let Host { process, address, folder } = Host::start(name);
        let mut file = BufReader::new(File::open(folder.path().join("cert.pem")).unwrap());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_reader(&mut file).unwrap()).unwrap();
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let speech = if name == "redis" { Speech::Resp } else { Speech::Irc };
        Peer { process, address, speech, tls: Arc::new(tls), _folder: folder }
    }
}

impl Subject for Peer {
    fn process(&self) -> &Process {
        &self.process
    }

    fn enter(&self, number: usize, room: &str) -> Box<dyn Client> {
        let stream = Arc::new(connect(&self.address, number));
        let host = ServerName::try_from("127.0.0.1").unwrap();
        let mut tls = ClientConnection::new(Arc::clone(&self.tls), host).unwrap();
        tls.complete_io(&mut &*stream).unwrap();
        let mut member = Member { stream, tls, speech: self.speech, came: Vec::new() };
        match self.speech {
            Speech::Irc => {
                member.send(format!("NICK m{number}\r\nUSER m{number} 0 * :m\r\n").as_bytes());
                member.wait_for(" 001 ");
                member.send(format!("JOIN {room}\r\n").as_bytes());
                member.wait_for(" 366 ");
            }
            Speech::Resp => {
                member.send(b"HELLO 3\r\n");
                member.send(format!("SUBSCRIBE {room}\r\n").as_bytes());
                member.wait_for("subscribe");
            }
        }
        Box::new(member)
    }
}

/// One member's end.
struct Member {
    stream: Arc<TcpStream>,
    tls: ClientConnection,
    speech: Speech,
    /// The beginning of a line whose end has not come.
    came: Vec<u8>,
}

impl Member {
    fn send(&mut self, bytes: &[u8]) {
        self.tls.writer().write_all(bytes).unwrap();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut &*self.stream).unwrap();
        }
    }

    /// Waits until `what` comes, and drops all until the end of that line.
    fn wait_for(&mut self, what: &str) {
        let mut text = String::new();
        while !text.contains(what) {
            let came = poll(&mut [PollFd::new(&self.stream, PollFlags::IN)], Some(&NUDGE)).unwrap();
            if came == 0 && self.speech == Speech::Irc {
                self.send(b"PING :nudge\r\n");
            }
            self.receive(&mut |bytes| text.push_str(&String::from_utf8_lossy(bytes)));
        }
    }
}

impl Client for Member {
    fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn say(&mut self, room: &str, texts: &[String]) {
        for texts in texts.chunks(RECORD_LINES) {
            let line = |text: &String| match self.speech {
                Speech::Irc => format!("PRIVMSG {room} :{text}\r\n"),
                Speech::Resp => format!("PUBLISH {room} {text}\r\n"),
            };
            let body: String = texts.iter().map(line).collect();
            self.send(body.as_bytes());
        }
    }

    fn receive(&mut self, take: &mut dyn FnMut(&[u8])) {
        let mut plain = [0; 16 * 1024];
        loop {
            match self.tls.read_tls(&mut WhatIsThere(Arc::clone(&self.stream))) {
                Ok(0) => panic!("cut"),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
            self.tls.process_new_packets().unwrap();
            loop {
                match self.tls.reader().read(&mut plain) {
                    Ok(0) => panic!("closed after {:?}", String::from_utf8_lossy(&self.came)),
                    Ok(bytes) => self.came.extend_from_slice(&plain[..bytes]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
            if let Some(last) = self.came.iter().rposition(|byte| *byte == b'\n') {
                take(&self.came[..=last]);
                self.came.drain(..=last);
            }
        }
    }
}
