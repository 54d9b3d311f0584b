//! The real server as a process of its own, and one member's connection to it.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pychat::chat::Event;
use pychat::crypto::handshake::{ClientStart, Presented};
use pychat::crypto::session_ticket::HeldTicket;
use pychat::crypto::{Fingerprint, Identity, Opener, PublicKey, RecordType, Sealer};
use pychat::invite::Invite;
use pychat::net::tunnel::{BUSY, fetch_key};
use pychat::suite::Suites;
use pychat::wire::codec;

use crate::client::{Client, Subject, connect};
use crate::process::Process;
use crate::wire::{Pipe, Trust, Wire, certify};

const PATIENCE: Duration = Duration::from_secs(10);

/// Limits that stop nobody, not even a load that gets no core for a while.
pub const NO_LIMITS: &str = r#""sessions_per_user_max": 1000000, "channels_per_user_max": 10000,
    "announce_people_max": 0,
    "requests_per_s": 1e9, "histories_per_s": 1e9, "answer_bytes_per_s": 1e12,
    "joins_announced_per_s": 1e9, "logins_per_s": 1e9, "conversations_per_h": 1e9, "pin_joins_per_h": 1000000,
    "messages_burst": 1000000000, "messages_per_s": 1e9, "bytes_per_s": 1e12, "file_bytes_per_s": 1e12, "login_ms_max": 600000,
    "ping_s": 600, "idle_s_max": 1200, "listen_backlog": 4096, "channel_empty_s": 1"#;

/// A tail in which nobody who reads falls behind.
pub const LONG_TAIL: &str = r#""tail_bytes_max": 4194304"#;

/// This build of pychat.
pub const BUILD: &str = env!("CARGO_BIN_EXE_pychat");

/// A server's process, ended with this.
pub struct Server {
    pub process: Process,
    pub address: String,
    pub invite: String,
    key: PublicKey,
    crowd: Arc<Crowd>,
    /// The transport of the members.
    wire: Wire,
    /// The address of its web port, if the transport needs one.
    web: String,
    trust: Option<Trust>,
    /// Whether members take session tickets, for their reconnect.
    pub takes_tickets: bool,
}

/// The keys of the members, who share few, because generating a thousand takes minutes, and the
/// members' session tickets, if they take any.
pub struct Crowd(Vec<Identity>, Tickets);

type Tickets = Arc<Mutex<Vec<HeldTicket>>>;

impl Crowd {
    /// One person is all members.
    pub fn new() -> Arc<Crowd> {
        Crowd::of(1)
    }

    /// So many people are the members in turn.
    pub fn of(people: usize) -> Arc<Crowd> {
        let keys = (0..people.max(1)).map(|_| Identity::generate()).collect();
        Arc::new(Crowd(keys, Tickets::default()))
    }

    fn key(&self, number: usize) -> &Identity {
        &self.0[number % self.0.len()]
    }

    /// Session tickets that nobody has used yet.
    pub fn tickets(&self) -> usize {
        self.1.lock().unwrap().len()
    }

    pub fn forget_tickets(&self) {
        self.1.lock().unwrap().clear();
    }

    /// Takes a session ticket of this key.
    fn take_ticket(&self, server: &Fingerprint, key: &Identity) -> Option<HeldTicket> {
        let (mut tickets, key) = (self.1.lock().unwrap(), key.public().fingerprint());
        let index = tickets.iter().rposition(|held| held.is_for(server, &key))?;
        Some(tickets.swap_remove(index))
    }

    pub fn public(&self) -> PublicKey {
        self.0[0].public().clone()
    }
}

impl Server {
    /// Serves the folder `home`, whose config.json is `config`, with the crowd registered.
    pub fn start(home: &Path, config: &str, crowd: &Arc<Crowd>) -> Server {
        Server::start_at(home, config, crowd, "127.0.0.1:0")
    }

    pub fn start_at(home: &Path, config: &str, crowd: &Arc<Crowd>, listen: &str) -> Server {
        Server::start_build((Path::new(BUILD), Wire::Tcp), home, config, crowd, listen)
    }

    /// The same with any build of pychat, and for members of one transport.
    pub fn start_build(
        (build, wire): (&Path, Wire),
        home: &Path,
        config: &str,
        crowd: &Arc<Crowd>,
        listen: &str,
    ) -> Server {
        let (tls, trust) = match wire {
            Wire::Wss => Some(certify(home)).unzip(),
            _ => (None, None),
        };
        let config = match tls {
            Some(tls) => config.replacen('{', &format!("{{{tls}, "), 1),
            None => config.to_owned(),
        };
        fs::write(home.join("config.json"), config).unwrap();
        // A free port: the server prints that of its web port only to its log.
        let web = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let web_port = if wire == Wire::Tcp { "off" } else { &web };
        fs::create_dir_all(home.join("users")).unwrap();
        for (number, key) in crowd.0.iter().enumerate() {
            let name = if number == 0 { String::new() } else { number.to_string() };
            fs::write(home.join(format!("users/load{name}.pem")), key.public().to_pem()).unwrap();
        }
        let process = Command::new(build)
            .args(["server", "--no-owner", "--log", "error", "--listen", listen])
            .args(["--web", web_port, "--home"])
            .arg(home)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut process = Process(process.unwrap());
        let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
        let ready = lines.find_map(|line| line.unwrap().strip_prefix("ready ").map(str::to_owned));
        let ready = ready.expect("the server says where it listens");
        let mut words = ready.split_whitespace().filter_map(|word| word.split_once('='));
        let address = words.next().unwrap().1.to_owned();
        let print = words.next().unwrap().1.trim_start_matches("SHA256:").to_owned();
        let print = print.replace('+', "-").replace('/', "_");
        let invite = format!("pychat://{address}/{print}");
        let Invite { host, port, fingerprint, .. } = invite.parse().unwrap();
        let print: Fingerprint = fingerprint.unwrap();
        let key = fetch_key(&host, port, &print, PATIENCE).unwrap();
        let crowd = Arc::clone(crowd);
        Server { process, address, invite, key, crowd, wire, web, trust, takes_tickets: false }
    }

    /// A new member, in the lobby.
    pub fn member(&self, number: usize) -> Member {
        self.try_member(number).expect("the server lets the member in")
    }

    /// Returns `None` if the server refuses the connection because it is full.
    pub fn try_member(&self, number: usize) -> Option<Member> {
        self.try_member_by(&self.crowd, number)
    }

    /// A new member with a key that is registered for somebody else.
    pub fn try_member_by(&self, crowd: &Crowd, number: usize) -> Option<Member> {
        let address = if self.wire == Wire::Tcp { &self.address } else { &self.web };
        let stream = Arc::new(connect(address, number));
        let mut pipe = Pipe::open(stream, self.wire, self.trust.as_ref());
        let key = crowd.key(number);
        let (start, r0) = ClientStart::new(key, &self.key, Suites::default());
        pipe.send(&r0).unwrap();
        let r1 = pipe.read().unwrap().expect("the server answers").to_vec();
        if r1 == BUSY {
            return None;
        }
        let held = crowd.take_ticket(&self.key.fingerprint(), key);
        let mut answer = |record: &[u8]| {
            pipe.send(record).unwrap();
            pipe.read().unwrap().expect("the server accepts the key").to_vec()
        };
        let transport = match held {
            Some(held) => {
                let (presented, t2) = start.present(&r1, &held).unwrap();
                match presented.finish(&answer(&t2)).unwrap() {
                    Presented::Accepted(transport) => *transport,
                    Presented::Refused(..) => panic!("the server refuses a ticket"),
                }
            }
            None => {
                let (sent, r2) = start.answer(&r1).unwrap();
                sent.finish(&answer(&r2)).unwrap()
            }
        };
        pipe.stops_waiting();
        let (sealer, opener) = (transport.sealer, transport.opener);
        let mut member = Member {
            pipe,
            sealer,
            opener,
            said: rand::random(),
            tickets: self.takes_tickets.then(|| Arc::clone(&crowd.1)),
            prints: [self.key.fingerprint(), key.public().fingerprint()],
        };
        let login: &[u8] = match self.takes_tickets {
            true => br#"{"name":"load","version":"0","major":1,"features":["session_ticket"]}"#,
            false => br#"{"name":"load","version":"0","major":1}"#,
        };
        member.send(RecordType::Login, login);
        Some(member)
    }
}

impl Subject for Server {
    fn process(&self) -> &Process {
        &self.process
    }

    fn enter(&self, number: usize, room: &str) -> Box<dyn Client> {
        let mut member = self.member(number);
        if room != "#lobby" {
            let join = format!(r#"{{"type":"join","channel":"{room}"}}"#);
            member.send(RecordType::Json, join.as_bytes());
        }
        Box::new(member)
    }
}

/// One member's end.
pub struct Member {
    pipe: Pipe,
    sealer: Sealer,
    opener: Opener,
    /// Ids of lines are counted from a number of its own: a repeated id is no new line.
    said: u128,
    /// The store of received session tickets.
    tickets: Option<Tickets>,
    /// The server's key and the member's key.
    prints: [Fingerprint; 2],
}

impl Member {
    pub fn send(&mut self, kind: RecordType, body: &[u8]) {
        let mut record = Vec::new();
        self.sealer.seal(kind, body, &mut record).unwrap();
        self.pipe.send(&record).unwrap();
    }
}

impl Client for Member {
    fn stream(&self) -> &TcpStream {
        &self.pipe.stream
    }

    fn say(&mut self, room: &str, texts: &[String]) {
        let mut body = String::new();
        for text in texts {
            self.said = self.said.wrapping_add(1);
            let id = self.said;
            body.push_str(&format!("[\"{room}\",\"{id:032x}\",\"{text}\"]\n"));
        }
        self.send(RecordType::Json, body.as_bytes());
    }

    fn receive(&mut self, take: &mut dyn FnMut(&[u8])) {
        loop {
            match self.pipe.read() {
                Ok(Some(record)) => match self.opener.open(record).unwrap() {
                    (RecordType::Json, body) => {
                        if let Some(tickets) = &self.tickets
                            && let Some(held) = held(body, self.prints)
                        {
                            tickets.lock().unwrap().push(held);
                        }
                        take(body);
                    }
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

/// The session ticket in a record.
fn held(body: &[u8], [server, own]: [Fingerprint; 2]) -> Option<HeldTicket> {
    const START: &[u8] = br#"{"type":"session_ticket""#;
    if !body.windows(START.len()).any(|window| window == START) {
        return None;
    }
    codec::decode::<Event>(body).filter_map(Result::ok).find_map(|event| match event {
        Event::SessionTicket { ticket, secret } => {
            HeldTicket::new((ticket.bytes(), secret.reveal()), server, own)
        }
        _ => None,
    })
}
