//! A client of the test's own that sends and fetches files, from docs/protocol.md alone.

use std::collections::VecDeque;
use std::time::Instant;

use pychat::chat::BlobId;
use pychat::crypto::RecordType;
use pychat::net::tunnel::Incoming;
use pychat::wire::transfer::{DATA_BYTES_MAX, TransferRecord};
use serde_json::{Value, json};

use super::peer::Peer;
use super::{DEADLINE, World};

/// An event or a record of the server.
#[derive(Debug)]
pub enum Heard {
    Event(Value),
    Data {
        transfer: u32,
        offset: u64,
        bytes: Vec<u8>,
    },
    Have {
        transfer: u32,
        written: u64,
        limit: u64,
    },
    /// The connection has ended, with the reason of a close record.
    End(Option<String>),
}

pub struct Sharer {
    peer: Peer,
    waiting: VecDeque<Heard>,
    ids: u8,
}

/// A file's name for a test.
pub fn blob(number: u8) -> BlobId {
    BlobId([number; 16])
}

/// The bytes of an encrypted file, some of which end in spaces.
pub fn content(bytes: usize) -> Vec<u8> {
    let mut content: Vec<u8> = (0..bytes).map(|at| (at * 31 % 251) as u8).collect();
    content.iter_mut().rev().take(70).for_each(|byte| *byte = b' ');
    content
}

impl Sharer {
    pub fn enters(world: &World, name: &str) -> Sharer {
        world.admit(name);
        Sharer::returns(world, name)
    }

    /// Another session of a person who was admitted before.
    pub fn returns(world: &World, name: &str) -> Sharer {
        let peer = Peer::enters(world, name, "laptop");
        Sharer { peer, waiting: VecDeque::new(), ids: 0 }
    }

    pub fn sends(&mut self, command: Value) {
        self.peer.sends(&command.to_string());
    }

    pub fn record(&mut self, record: TransferRecord) {
        let mut body = Vec::new();
        record.encode(&mut body);
        // The server may have ended the session: its reason is what the test reads.
        let _ = self.peer.writer.send(RecordType::Binary, &body);
    }

    pub fn data(&mut self, transfer: u32, offset: u64, bytes: &[u8]) {
        self.record(TransferRecord::Data { transfer, offset, bytes });
    }

    /// Returns the next event, record or end.
    pub fn next(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.waiting.pop_front() {
                return heard;
            }
            self.peer.reader.set_deadline(Instant::now() + DEADLINE).unwrap();
            match self.peer.reader.receive() {
                Ok(Incoming::Record(RecordType::Json, body)) => {
                    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                    let events =
                        lines.map(|line| Heard::Event(serde_json::from_slice(line).unwrap()));
                    self.waiting.extend(events);
                }
                Ok(Incoming::Record(RecordType::Binary, body)) => {
                    return match TransferRecord::parse(body).unwrap() {
                        TransferRecord::Data { transfer, offset, bytes } => {
                            Heard::Data { transfer, offset, bytes: bytes.to_vec() }
                        }
                        TransferRecord::Have { transfer, written, limit } => {
                            Heard::Have { transfer, written, limit }
                        }
                        other => panic!("{other:?}"),
                    };
                }
                Ok(Incoming::Record(..)) => {}
                Ok(Incoming::Closed(reason)) => return Heard::End(reason),
                Err(_) => return Heard::End(None),
            }
        }
    }

    /// Returns the next event of these types. Earlier ones are dropped.
    #[track_caller]
    pub fn event(&mut self, types: &[&str]) -> Value {
        loop {
            match self.next() {
                Heard::Event(event) if types.iter().any(|one| event["type"] == *one) => {
                    return event;
                }
                Heard::End(reason) => panic!("ended ({reason:?}) before {types:?}"),
                _ => {}
            }
        }
    }

    /// The answer to a request with the `ref` "f".
    #[track_caller]
    pub fn asks(&mut self, mut command: Value) -> Value {
        command["ref"] = "f".into();
        self.sends(command);
        loop {
            match self.next() {
                Heard::Event(event) if event["ref"] == "f" => return event,
                Heard::End(reason) => panic!("ended ({reason:?}) before the answer"),
                _ => {}
            }
        }
    }

    #[track_caller]
    pub fn put(&mut self, to: &str, number: u8, bytes: usize) -> Value {
        self.asks(json!({"type": "put", "to": to, "blob": blob(number), "bytes": bytes}))
    }

    /// Sends bytes of a file after those that the server has, up to `upto`, within its limits.
    /// Returns `kept` or `stopped`, or `None` at `upto` or at the end of the connection.
    #[track_caller]
    pub fn uploads(&mut self, answer: &Value, content: &[u8], upto: usize) -> Option<Value> {
        assert_eq!(answer["type"], "upload", "{answer}");
        let number = |name: &str| answer[name].as_u64().unwrap();
        let transfer = number("transfer") as u32;
        let (mut next, mut limit) = (number("have") as usize, number("limit") as usize);
        let mut written = next;
        loop {
            while next < limit.min(upto) {
                let end = limit.min(upto).min(next + DATA_BYTES_MAX);
                self.data(transfer, next as u64, &content[next..end]);
                next = end;
            }
            if written == upto && upto < content.len() {
                return None;
            }
            match self.next() {
                Heard::Have { written: has, limit: new, .. } => {
                    assert!(has as usize >= written && new as usize >= limit, "HAVE went back");
                    (written, limit) = (has as usize, new as usize);
                }
                Heard::Event(event)
                    if ["kept", "stopped"].iter().any(|one| event["type"] == *one) =>
                {
                    return Some(event);
                }
                Heard::End(_) => return None,
                _ => {}
            }
        }
    }

    /// Uploads a whole file.
    #[track_caller]
    pub fn shares(&mut self, to: &str, number: u8, content: &[u8]) {
        let answer = self.put(to, number, content.len());
        let kept = self.uploads(&answer, content, content.len()).expect("it is kept");
        assert_eq!((&kept["type"], &kept["blob"]), (&json!("kept"), &json!(blob(number))));
    }

    /// Announces a file, and returns the answer: the message, or its refusal.
    #[track_caller]
    pub fn announces(&mut self, to: &str, number: u8) -> Value {
        self.announces_as(to, number, &format!("{{\"number\":{number}}}"))
    }

    /// The same with this descriptor.
    #[track_caller]
    pub fn announces_as(&mut self, to: &str, number: u8, text: &str) -> Value {
        self.ids += 1;
        let id = format!("{:02x}{:02x}", number, self.ids).repeat(8);
        self.sends(json!({"type": "say", "to": to, "id": id, "kind": "file",
            "blob": blob(number), "text": text}));
        loop {
            let event = self.event(&["message", "refused", "stored"]);
            if event["id"] == id.as_str() {
                return event;
            }
        }
    }

    #[track_caller]
    pub fn get(&mut self, to: &str, number: u8, from: usize) -> Value {
        self.asks(json!({"type": "get", "to": to, "blob": blob(number), "from": from}))
    }

    /// Downloads a file to its end, `window` bytes at a time.
    #[track_caller]
    pub fn fetches(&mut self, to: &str, number: u8, from: usize, window: u64) -> Vec<u8> {
        let answer = self.get(to, number, from);
        assert_eq!(answer["type"], "download", "{answer}");
        let transfer = answer["transfer"].as_u64().unwrap() as u32;
        let (mut next, end) = (from as u64, answer["bytes"].as_u64().unwrap());
        let mut content = Vec::new();
        while next < end {
            let upto = next + window;
            self.record(TransferRecord::Want { transfer, upto });
            while next < upto.min(end) {
                match self.next() {
                    Heard::Data { transfer: of, offset, bytes } => {
                        assert_eq!((of, offset), (transfer, next));
                        next += bytes.len() as u64;
                        assert!(next <= upto, "bytes beyond the WANT");
                        content.extend(bytes);
                    }
                    Heard::End(reason) => panic!("ended: {reason:?}"),
                    Heard::Event(event) => assert_ne!(event["type"], "stopped", "{event}"),
                    Heard::Have { .. } => {}
                }
            }
        }
        content
    }

    /// Reads to the end of the session. Returns the reason, and how many bytes of files came.
    pub fn ended(&mut self) -> (Option<String>, usize) {
        let mut bytes_of_files = 0;
        loop {
            match self.next() {
                Heard::End(reason) => return (reason, bytes_of_files),
                Heard::Data { bytes, .. } => bytes_of_files += bytes.len(),
                _ => {}
            }
        }
    }
}
