//! The jobs of the engine.

use std::sync::mpsc;

use super::reading::Ready;
use crate::client::connection::inbox::Permit;
use crate::client::transfer::{Failure, TransferId, Work};

pub type Done = mpsc::Sender<()>;

pub enum Job {
    Work(Work),
    /// A transfer record of the server.
    Record(Vec<u8>, Permit),
    /// The connection has room for another piece.
    Room,
    /// The first pass over a file has ended.
    Read(TransferId, Box<Result<Ready, Failure>>),
    /// The connection is lost; the next one has this number.
    Lost(u64),
    /// Reports when all earlier work is done.
    Finish(Done),
}
