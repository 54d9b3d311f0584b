//! The limit: the least that any server could do for the same deliveries. One thread opens the
//! senders' records, seals the messages of a room once for each member, and sends them in one call
//! for each. It parses, checks and looks up nothing. With history, it appends the same bytes to a
//! file and syncs the file once before it sends them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use clap::Parser;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::client::{Client, Subject, WhatIsThere, connect};
use crate::process::Process;

const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
/// Bytes of a record's length field: the length of the rest, little-endian.
const HEAD_BYTES: usize = 4;
/// Maximum bytes that one call reads from a socket.
const READ_BYTES: usize = 64 * 1024;
/// Maximum number of sockets that one call reports as ready.
const EVENTS: usize = 1_024;

/// Options with which the bench starts itself as this server.
#[derive(Parser)]
pub struct Options {
    /// The file to which messages are appended.
    #[arg(long)]
    file: Option<PathBuf>,
}

/// AES-256-GCM with a counter as its nonce, in one direction.
struct Cipher {
    key: LessSafeKey,
    direction: u32,
    records: u64,
}

impl Cipher {
    fn new(key: &[u8], direction: u32) -> Cipher {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
        Cipher { key, direction, records: 0 }
    }

    fn nonce(&mut self) -> Nonce {
        self.records += 1;
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.direction.to_le_bytes());
        nonce[4..].copy_from_slice(&self.records.to_le_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    /// Replaces `out` by the record of `body`.
    fn seal(&mut self, body: &[u8], out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&((body.len() + TAG_BYTES) as u32).to_le_bytes());
        out.extend_from_slice(body);
        let nonce = self.nonce();
        let text = &mut out[HEAD_BYTES..];
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::empty(), text).unwrap();
        out.extend_from_slice(tag.as_ref());
    }

    /// Opens all complete records in `came`, and leaves an incomplete one there.
    fn open(&mut self, came: &mut Vec<u8>, take: &mut dyn FnMut(&[u8])) {
        let mut done = 0;
        while let Some(head) = came.get(done..done + HEAD_BYTES) {
            let bytes = u32::from_le_bytes(head.try_into().unwrap()) as usize;
            let from = done + HEAD_BYTES;
            if came.len() < from + bytes {
                break;
            }
            let nonce = self.nonce();
            let record = &mut came[from..from + bytes];
            take(self.key.open_in_place(nonce, Aad::empty(), record).unwrap());
            done = from + bytes;
        }
        came.drain(..done);
    }
}

/// A member as the server sees it.
struct Connection {
    stream: TcpStream,
    room: usize,
    sealer: Cipher,
    opener: Cipher,
    /// Received bytes of an incomplete record.
    came: Vec<u8>,
    /// Bytes that the socket has not accepted yet.
    unsent: Vec<u8>,
}

#[derive(Default)]
struct Room {
    members: Vec<usize>,
    /// Messages that arrived since the room was last served.
    pending: Vec<u8>,
}

struct Limit {
    epoll: OwnedFd,
    listener: TcpListener,
    connections: Vec<Connection>,
    rooms: Vec<Room>,
    names: HashMap<String, usize>,
    file: Option<File>,
    /// The buffer for the bytes of one read.
    read: Vec<u8>,
    /// One record.
    sealed: Vec<u8>,
}

/// The listener's number among the events.
const LISTENER: u64 = u64::MAX;

/// Runs until the process is killed.
pub fn serve(options: &Options) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN).unwrap();
    let file = options.file.as_ref().map(|path| File::create(path).unwrap());
    let mut limit = Limit {
        epoll,
        listener,
        connections: Vec::new(),
        rooms: Vec::new(),
        names: HashMap::new(),
        file,
        read: vec![0; READ_BYTES],
        sealed: Vec::new(),
    };
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        let spare = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&limit.epoll, spare, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("{error}"),
        }
        limit.turn(events.drain(..).map(|event| (event.data.u64(), event.flags)));
    }
}

impl Limit {
    /// Reads from the ready sockets, then serves each room that has new messages.
    fn turn(&mut self, events: impl Iterator<Item = (u64, EventFlags)>) {
        let mut busy = Vec::new();
        for (number, flags) in events {
            if number == LISTENER {
                self.accept();
                continue;
            }
            let connection = &mut self.connections[number as usize];
            if flags.contains(EventFlags::OUT) {
                connection.flush(&self.epoll, number);
            }
            if flags.contains(EventFlags::IN) {
                let room = &mut self.rooms[connection.room];
                let was_idle = room.pending.is_empty();
                if !connection.receive(&mut self.read, &mut room.pending) {
                    // A member that has gone is not sent anything; the bench ends the server next.
                    epoll::delete(&self.epoll, &connection.stream).unwrap();
                    room.members.retain(|member| *member != number as usize);
                }
                if was_idle && !room.pending.is_empty() {
                    busy.push(connection.room);
                }
            }
        }
        if let Some(file) = self.file.as_mut().filter(|_| !busy.is_empty()) {
            let all: Vec<&[u8]> = busy.iter().map(|room| &*self.rooms[*room].pending).collect();
            file.write_all(&all.concat()).unwrap();
            file.sync_data().unwrap();
        }
        for room in busy {
            let Room { members, pending } = &mut self.rooms[room];
            for member in members {
                let connection = &mut self.connections[*member];
                connection.send(pending, &mut self.sealed, &self.epoll, *member as u64);
            }
            pending.clear();
        }
    }

    /// Accepts a member, whose first bytes are its key and the name of its room.
    fn accept(&mut self) {
        let (mut stream, _) = self.listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut key, mut length) = ([0; KEY_BYTES], [0]);
        stream.read_exact(&mut key).unwrap();
        stream.read_exact(&mut length).unwrap();
        let mut name = vec![0; length[0].into()];
        stream.read_exact(&mut name).unwrap();
        let name = String::from_utf8(name).unwrap();
        let room = *self.names.entry(name).or_insert_with(|| {
            self.rooms.push(Room::default());
            self.rooms.len() - 1
        });
        let number = self.connections.len();
        self.rooms[room].members.push(number);
        let data = EventData::new_u64(number as u64);
        epoll::add(&self.epoll, &stream, data, EventFlags::IN).unwrap();
        let (sealer, opener) = (Cipher::new(&key, 1), Cipher::new(&key, 2));
        let (came, unsent) = (Vec::new(), Vec::new());
        self.connections.push(Connection { stream, room, sealer, opener, came, unsent });
        // The member is in the room when this arrives.
        self.connections[number].send(b"", &mut self.sealed, &self.epoll, number as u64);
    }
}

impl Connection {
    /// Appends the bodies of the received records to `pending`. Returns whether the member is
    /// still connected.
    fn receive(&mut self, buffer: &mut [u8], pending: &mut Vec<u8>) -> bool {
        let bytes = match recv(&self.stream, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) | Err(rustix::io::Errno::CONNRESET) => return false,
            Ok((bytes, _)) => bytes,
            Err(rustix::io::Errno::AGAIN) => return true,
            Err(error) => panic!("{error}"),
        };
        self.came.extend_from_slice(&buffer[..bytes]);
        self.opener.open(&mut self.came, &mut |body| pending.extend_from_slice(body));
        true
    }

    fn send(&mut self, span: &[u8], buffer: &mut Vec<u8>, epoll: &OwnedFd, number: u64) {
        self.sealer.seal(span, buffer);
        if !self.unsent.is_empty() {
            return self.unsent.extend_from_slice(buffer);
        }
        let sent = self.push(buffer);
        if sent < buffer.len() {
            self.unsent.extend_from_slice(&buffer[sent..]);
            let data = EventData::new_u64(number);
            epoll::modify(epoll, &self.stream, data, EventFlags::IN | EventFlags::OUT).unwrap();
        }
    }

    fn flush(&mut self, epoll: &OwnedFd, number: u64) {
        let sent = self.push(&self.unsent);
        self.unsent.drain(..sent);
        if self.unsent.is_empty() {
            let data = EventData::new_u64(number);
            epoll::modify(epoll, &self.stream, data, EventFlags::IN).unwrap();
        }
    }

    /// Returns how many of the bytes the socket has accepted.
    fn push(&self, bytes: &[u8]) -> usize {
        match send(&self.stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(sent) => sent,
            Err(rustix::io::Errno::AGAIN) => 0,
            // The next read reports it.
            Err(_) => bytes.len(),
        }
    }
}

/// The process of the limit's server, killed on drop.
pub struct Server {
    process: Process,
    address: String,
}

impl Server {
    /// With a `folder`, messages are appended to a file in it.
    pub fn start(folder: Option<&Path>) -> Server {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("serve-limit");
        if let Some(folder) = folder {
            command.arg("--file").arg(folder.join("messages"));
        }
        let mut process = Process(command.stdout(Stdio::piped()).spawn().unwrap());
        let mut address = String::new();
        let mut lines = BufReader::new(process.0.stdout.take().unwrap());
        lines.read_line(&mut address).unwrap();
        Server { process, address: address.trim().to_owned() }
    }
}

impl Subject for Server {
    fn process(&self) -> &Process {
        &self.process
    }

    fn enter(&self, number: usize, room: &str) -> Box<dyn Client> {
        let mut stream = connect(&self.address, number);
        let key: [u8; KEY_BYTES] = rand::random();
        let hello = [&key[..], &[room.len() as u8], room.as_bytes()].concat();
        stream.write_all(&hello).unwrap();
        let mut opener = Cipher::new(&key, 1);
        let mut welcome = vec![0; HEAD_BYTES + TAG_BYTES];
        stream.read_exact(&mut welcome).unwrap();
        opener.open(&mut welcome, &mut |_| ());
        let sealer = Cipher::new(&key, 2);
        let (stream, buffer) = (Arc::new(stream), vec![0; READ_BYTES]);
        Box::new(Member { stream, sealer, opener, came: Vec::new(), buffer })
    }
}

/// A member's connection to the limit.
struct Member {
    stream: Arc<TcpStream>,
    sealer: Cipher,
    opener: Cipher,
    came: Vec<u8>,
    buffer: Vec<u8>,
}

impl Client for Member {
    fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends what pychat delivers for a message, so that each member gets as many bytes.
    fn say(&mut self, room: &str, texts: &[String]) {
        let id = "0".repeat(32);
        let line = |text: &String| {
            format!(
                "[\"1000000\",\"{room}\",\"load\",\"main\",\"{id}\",1700000000000,\"{text}\"]\n"
            )
        };
        let body: String = texts.iter().map(line).collect();
        let mut record = Vec::new();
        self.sealer.seal(body.as_bytes(), &mut record);
        (&*self.stream).write_all(&record).unwrap();
    }

    fn receive(&mut self, take: &mut dyn FnMut(&[u8])) {
        loop {
            match WhatIsThere(Arc::clone(&self.stream)).read(&mut self.buffer) {
                Ok(0) => panic!("cut"),
                Ok(bytes) => self.came.extend_from_slice(&self.buffer[..bytes]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
            self.opener.open(&mut self.came, take);
        }
    }
}
