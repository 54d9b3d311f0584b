//! A client of the test's own on the real binary.

use std::fs;
use std::time::Instant;

use pychat::crypto::{Identity, RecordType};
use pychat::net::tunnel::{Dial, Incoming, TunnelReader, TunnelWriter, dial};
use pychat::suite::Suites;
use pychat::wire::codec::Login;
use serde_json::Value;

use super::{DEADLINE, World};

/// What a client says first of a person, whose device `NAME.DEVICE` has a key of its own.
pub fn login(name: &str) -> Login {
    Login {
        name: name.split('.').next().unwrap().parse().unwrap(),
        device: None,
        version: "0".into(),
        major: 1,
        features: vec![],
        ticket: None,
    }
}

/// A client of the test's own, which says what a real one would not.
pub struct Peer {
    pub reader: TunnelReader,
    pub writer: TunnelWriter,
    asked: u32,
}

impl Peer {
    /// Logs in with the key of an admitted person's device.
    pub fn enters(world: &World, name: &str, device: &str) -> Peer {
        let mut peer = Peer::knocks(world, name, device);
        peer.sees("\"entered\"");
        peer
    }

    /// The same, before the server has said anything.
    pub fn knocks(world: &World, name: &str, device: &str) -> Peer {
        let login = Login { device: Some(device.parse().unwrap()), ..login(name) };
        Peer::says(world, name, &login)
    }

    /// The same, with this LOGIN.
    pub fn says(world: &World, name: &str, login: &Login) -> Peer {
        let pem = fs::read_to_string(world.data_folder(name).join("id.pem")).unwrap();
        let key = Identity::from_pem(&pem, None).unwrap();
        let (invite, server) = (world.parsed_invite(), world.server_key());
        let (host, port, suites) = (invite.host.as_str(), invite.port, Suites::default());
        let to = Dial { host, port, server: &server, suites, patience: DEADLINE };
        let tunnel = dial(&to, &key, login).unwrap();
        let mut peer = Peer { reader: tunnel.reader, writer: tunnel.writer, asked: 0 };
        peer.reader.set_deadline(Instant::now() + 3 * DEADLINE).unwrap();
        peer
    }

    pub fn sends(&mut self, json: &str) {
        self.writer.send(RecordType::Json, json.as_bytes()).unwrap();
    }

    /// The next record's body; a close is the test's end.
    #[track_caller]
    pub fn hears(&mut self) -> (RecordType, String) {
        match self.reader.receive().unwrap() {
            Incoming::Record(kind, body) => (kind, String::from_utf8(body.to_vec()).unwrap()),
            Incoming::Closed(reason) => panic!("closed: {reason:?}"),
        }
    }

    #[track_caller]
    pub fn sees(&mut self, text: &str) -> String {
        loop {
            let (_, body) = self.hears();
            if body.contains(text) {
                return body;
            }
        }
    }

    /// All that comes between a request and the answer to a ping behind it.
    #[track_caller]
    pub fn asks(&mut self, json: &str) -> String {
        self.asked += 1;
        self.sends(json);
        let ping = format!("ping {}", self.asked);
        self.writer.send(RecordType::Ping, ping.as_bytes()).unwrap();
        let mut told = String::new();
        loop {
            match self.hears() {
                (RecordType::Pong, body) if body == ping => return told,
                (RecordType::Pong, _) => {}
                (_, body) => told.push_str(&body),
            }
        }
    }

    /// What a request is answered that has a `ref`, without what others may do meanwhile.
    #[track_caller]
    pub fn answer(&mut self, json: &str) -> Value {
        let told = self.asks(json);
        let values = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut answers =
            values.filter(|value| value["ref"] == "r" || value["id"] == "0".repeat(32));
        answers.next_back().unwrap_or(Value::Null)
    }
}
