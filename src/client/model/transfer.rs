//! One transfer: its stage and its next request.

use super::action::Action;
use super::output::{Output, is_unsealed};
use crate::chat::{
    BlobId, Command, Descriptor, FileBytes, HistoryKind, Message, MsgId, Request, Seq, Target,
};
use crate::client::transfer::{
    Direction, Failure, Progress, Recorded, ToGet, ToSend, TransferId, TransferState, Work,
};
use crate::fault::code;

/// References of requests, before the transfer's number.
const REFERENCE: &str = "pychat-file-";

/// A transfer.
pub struct Transfer {
    pub job: Job,
    pub stage: Stage,
    pub name: String,
    pub bytes: u64,
    pub of: u64,
    pub rate: u64,
    /// A program's.
    pub reference: Option<String>,
    /// The user was notified that the server has no room for it now.
    pub is_busy: bool,
}

pub enum Job {
    /// `unread` until the first pass begins.
    Up {
        to: Target,
        message: MsgId,
        unread: Option<ToSend>,
        recorded: Option<Box<Recorded>>,
    },
    Down {
        get: ToGet,
        file: Option<Box<Descriptor>>,
        found: Option<Box<Message>>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It waits for the first passes of others.
    New,
    /// The file is read.
    Reading,
    /// It waits for a connection, or for other transfers.
    Waiting,
    /// The engine opens the file that is written.
    Opening,
    /// The server was asked.
    Asked,
    /// Under the server's number.
    Going(u32),
    /// The server stores the file.
    Storing(u32),
    /// The message is sent and not acknowledged.
    Announced,
}

impl Transfer {
    pub fn new(job: Job, stage: Stage, reference: Option<String>) -> Transfer {
        let (name, is_busy) = (String::new(), false);
        Transfer { job, stage, name, bytes: 0, of: 0, rate: 0, reference, is_busy }
    }

    /// Begins the first pass of a file that is sent.
    pub fn read(&mut self, id: TransferId) -> Option<Action> {
        let Job::Up { unread, message, .. } = &mut self.job else { return None };
        let (file, message) = (unread.take()?, *message);
        self.stage = Stage::Reading;
        Some(Action::Transfer(Work::Read { id, file, message }))
    }

    /// What is asked next: for an upload where the server is, and for a download its message, or
    /// the file that it is written to.
    pub fn ask(&mut self, id: TransferId) -> Action {
        self.stage = Stage::Asked;
        match &self.job {
            Job::Up { to, recorded, .. } => {
                let recorded = recorded.as_ref().expect("it waits since it is recorded");
                let (blob, bytes) = (recorded.file.blob, FileBytes(recorded.stored));
                Action::Send(request(id, Command::Put { to: to.clone(), blob, bytes }))
            }
            Job::Down { get, file: Some(file), .. } => {
                self.stage = Stage::Opening;
                Action::Transfer(Work::Open { id, file: file.clone(), get: get.clone() })
            }
            Job::Down { get, file: None, .. } => {
                let command = Command::History {
                    to: get.from.clone(),
                    before: Some(Seq(get.seq.0.saturating_add(1))),
                    messages: Some(1),
                    span: None,
                    kind: Some(HistoryKind::File),
                };
                Action::Send(request(id, command))
            }
        }
    }

    pub fn direction(&self) -> Direction {
        match self.job {
            Job::Up { .. } => Direction::Up,
            Job::Down { .. } => Direction::Down,
        }
    }

    pub fn conversation(&self) -> &Target {
        match &self.job {
            Job::Up { to, .. } => to,
            Job::Down { get, .. } => &get.from,
        }
    }

    /// The encrypted file of an upload.
    pub fn blob(&self) -> Option<BlobId> {
        match &self.job {
            Job::Up { recorded, .. } => recorded.as_ref().map(|recorded| recorded.file.blob),
            Job::Down { .. } => None,
        }
    }

    pub fn progress(&self, id: TransferId, state: TransferState) -> Action {
        Action::Output(Output::Transfer(self.of_state(id, state)))
    }

    pub fn of_state(&self, id: TransferId, state: TransferState) -> Progress {
        let seq = match &self.job {
            Job::Up { .. } => None,
            Job::Down { get, .. } => Some(get.seq),
        };
        Progress {
            id,
            direction: self.direction(),
            state,
            name: self.name.clone(),
            to: self.conversation().clone(),
            seq,
            bytes: self.bytes,
            of: self.of,
            rate: self.rate,
            reference: self.reference.clone(),
        }
    }

    pub fn state(&self) -> TransferState {
        match self.stage {
            Stage::Reading => TransferState::Reading,
            Stage::New | Stage::Waiting | Stage::Opening | Stage::Asked => TransferState::Waiting,
            Stage::Going(_) => TransferState::Going,
            Stage::Storing(_) | Stage::Announced => TransferState::Storing,
        }
    }

    pub fn is_running(&self) -> bool {
        use Stage::{Asked, Going, Opening, Storing};
        matches!(self.stage, Opening | Asked | Going(_) | Storing(_))
    }

    /// Returns whether all bytes of a fetched file have arrived, and the file is being stored. That
    /// needs no connection.
    pub fn is_being_saved(&self) -> bool {
        self.direction() == Direction::Down && matches!(self.stage, Stage::Storing(_))
    }
}

pub fn request(id: TransferId, command: Command) -> Request {
    Request::new(command, Some(format!("{REFERENCE}{id}")))
}

pub fn id_of(reference: &str) -> Option<TransferId> {
    reference.strip_prefix(REFERENCE)?.parse().ok()
}

/// The descriptor of the file that a message announces.
pub fn described(get: &ToGet, message: Option<&Message>) -> Result<Descriptor, Failure> {
    let no_file = |hint: String| Failure::local("no_such_file", hint, code::NOT_AS_SENT);
    let ToGet { from, seq, .. } = get;
    let Some(message) = message else {
        return Err(no_file(format!("message {} of {from} has no file: /files lists them", seq.0)));
    };
    if message.deleted {
        let hint = format!("message {} of {from} was deleted, and its file with it", seq.0);
        return Err(Failure::local("file_gone", hint, code::NOT_AS_SENT));
    }
    if is_unsealed(message) {
        return Err(no_file(format!(
            "message {} of {from} is not sealed: nothing was fetched",
            seq.0
        )));
    }
    let blob = message.kind.blob().ok_or_else(|| no_file("the message has no file".into()))?;
    Descriptor::read(message.body.text(), blob).map_err(|error| no_file(error.to_string()))
}
