//! Clients of the web port: WebSocket by hand, and a reverse proxy in front of it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use super::{DEADLINE, World};

/// What opens a hop, for a program on this computer.
pub const UPGRADE: &str = "GET /hop HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The bits of a frame's first byte.
pub const FIN: u8 = 0x80;
pub const BINARY: u8 = 2;

impl World {
    /// Two terminal clients log in, one at each port, and chat.
    pub fn chats_at_both_ports(&self) {
        let alice = self.enters("alice");
        self.admit("bob");
        let mut bob = self.client_by("bob", &gateway(&self.web(), ""), &["--plain"]);
        bob.sees("you are in #lobby");
        bob.types("no wait");
        alice.sees("bob: no wait");
    }

    /// The address of the web port.
    pub fn web(&self) -> String {
        let told = self.server.is_told("web at ws://");
        told.split("ws://").nth(1).unwrap().trim_end_matches("/hop").to_owned()
    }
}

/// Connects, with the deadline of tests.
pub fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// All that a port answers to some bytes until it closes.
pub fn answer(address: &str, bytes: &[u8]) -> String {
    let mut stream = connect(address);
    // The port may have closed before it has read all of it.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    // A reset is as silent as a close.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends a request and reads the head of its answer.
pub fn ask(stream: &mut TcpStream, request: &[u8]) -> io::Result<String> {
    stream.write_all(request)?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8(head).unwrap())
}

/// An open hop with these further headers.
pub fn open(address: &str, headers: &str) -> io::Result<TcpStream> {
    let mut stream = connect(address);
    let head = ask(&mut stream, format!("{UPGRADE}{headers}\r\n").as_bytes())?;
    match head.starts_with("HTTP/1.1 101 ") {
        true => Ok(stream),
        false => Err(io::Error::other(head)),
    }
}

/// A masked frame, as a client sends it.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x2a, 0, 0xff, 0x51];
    let mut frame = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length), _) if length < 126 => frame.push(0x80 | length),
        (_, Ok(length)) => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// First byte and payload of a server's next frame.
pub fn read_frame(stream: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let mut length = usize::from(head[1]);
    assert!(length < 128, "a server's frame is unmasked");
    if length > 125 {
        let mut long = [0; 8];
        let bytes = if length == 126 { 2 } else { 8 };
        stream.read_exact(&mut long[8 - bytes..])?;
        length = usize::try_from(u64::from_be_bytes(long)).unwrap();
        assert!(
            length > if bytes == 2 { 125 } else { 0xffff },
            "it takes as few bytes as it needs"
        );
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload)?;
    Ok((head[0], payload))
}

/// A reverse proxy that clients of the chat port connect to: it carries their records by WebSocket,
/// with these further headers in its request. Gives its address.
pub fn gateway(web: &str, headers: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (web, headers) = (web.to_owned(), headers.to_owned());
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (web, headers) = (web.clone(), headers.clone());
            thread::spawn(move || {
                if let Ok(hop) = open(&web, &headers) {
                    carry(client, hop);
                }
            });
        }
    });
    address
}

/// Both directions, until one ends.
fn carry(client: TcpStream, hop: TcpStream) {
    hop.set_read_timeout(None).unwrap();
    let (from, to) = (client.try_clone().unwrap(), hop.try_clone().unwrap());
    thread::spawn(move || {
        let _ = inwards(&from, &to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let _ = outwards(&hop, &client);
    let _ = client.shutdown(Shutdown::Both);
}

/// The client's records: each in two fragments with a ping between them.
fn inwards(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    loop {
        let mut length = [0; 2];
        from.read_exact(&mut length)?;
        let mut record = vec![0; usize::from(u16::from_be_bytes(length))];
        from.read_exact(&mut record)?;
        let (begin, rest) = record.split_at(record.len() / 3);
        let frames = [frame(BINARY, begin), frame(FIN | 9, b"there?"), frame(FIN, rest)];
        to.write_all(&frames.concat())?;
    }
}

/// The server's records; pongs are dropped, and the close is the end.
fn outwards(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    loop {
        let (first, payload) = read_frame(&mut from)?;
        match first {
            0x82 => {
                let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
                to.write_all(&[&length[..], &payload].concat())?;
            }
            0x8a => assert_eq!(payload, b"there?"),
            0x88 => return Ok(()),
            other => panic!("a frame {other:#x}"),
        }
    }
}
