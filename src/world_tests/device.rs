//! A client in memory: it dies and starts again with the files that it had.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::chat::{ChannelName, MsgId, NewMessage, Position, SessionId, Target, UserName};
use crate::client::conversations::Conversations;
use crate::client::model::{Giver, Model, Use};
use crate::client::outbox::Outbox;
use crate::net::memory::Pipe;
use crate::net::tunnel::{TunnelReader, TunnelWriter};
use crate::wire::codec::Parts;

/// A client's end of a link.
pub struct Connection {
    pub id: SessionId,
    pub reader: TunnelReader,
    pub writer: TunnelWriter,
    /// From the server to here.
    pub pipe: Arc<Pipe>,
    pub parts: Parts,
}

/// One client of a person, and its files.
pub struct Device {
    pub user: UserName,
    pub model: Model,
    pub connection: Option<Connection>,
    /// It wants to dial.
    pub dials: bool,
    pub outbox: Vec<NewMessage>,
    pub refused: HashSet<MsgId>,
    pub positions: Vec<Position>,
    pub joined: BTreeSet<ChannelName>,
}

impl Device {
    pub fn new(name: &str) -> Device {
        let mut device = Device {
            user: name.parse().unwrap(),
            model: model(&[], &HashSet::new(), &[], BTreeSet::new()),
            connection: None,
            dials: false,
            outbox: Vec::new(),
            refused: HashSet::new(),
            positions: Vec::new(),
            joined: BTreeSet::new(),
        };
        device.start();
        device
    }

    /// A new process, from the files of the one before.
    pub fn start(&mut self) {
        self.model = model(&self.outbox, &self.refused, &self.positions, self.joined.clone());
        self.dials = true;
    }
}

pub fn model(
    outbox: &[NewMessage],
    refused: &HashSet<MsgId>,
    positions: &[Position],
    joined: BTreeSet<ChannelName>,
) -> Model {
    let secrets = Giver::Nobody;
    let usage = Use { once: false, resumes: true, reads: true, is_program: false, secrets };
    let target = Target::Channel(ChannelName::lobby());
    let (outbox, conversations) =
        (Outbox::of(outbox.to_vec(), refused), Conversations::of(positions.to_vec()));
    Model::new(usage, target, joined, outbox, conversations)
}
