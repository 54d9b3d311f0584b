//! Values that the model and the engine of transfers exchange. The model decides what is sent and
//! fetched; the engine (`connection/transfers/`) reads, encrypts, verifies and writes.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::files::picture::Picture;
use crate::chat::{Code, Descriptor, MsgId, Seq, Target};
use crate::fault::code;

/// The number of a transfer in one run of the client: `f1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransferId(pub u32);

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "f{}", self.0)
    }
}

impl std::str::FromStr for TransferId {
    type Err = String;

    fn from_str(text: &str) -> Result<TransferId, String> {
        let number = text.strip_prefix('f').and_then(|number| number.parse().ok());
        let wrong = || format!("{text:?} is no transfer: /transfers lists them as f1, f2");
        number.map(TransferId).ok_or_else(wrong)
    }
}

/// A file to send.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToSend {
    pub path: PathBuf,
    pub to: Target,
    pub caption: Option<String>,
    /// Metadata of pictures stays.
    pub keeps_metadata: bool,
}

/// A file to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToGet {
    pub from: Target,
    /// The number of the message that announces the file.
    pub seq: Seq,
    pub place: Place,
    pub then: Then,
}

/// The action after a file is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Then {
    Keep,
    /// It is handed to the desktop.
    Open,
    /// It is a picture that is shown, and not kept.
    View,
    /// It is shown in a page, and kept as long as this run.
    Lend,
}

/// Where a file is written.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// The folder of transfers of the profile.
    Profile,
    /// The user's folder for downloads, or else the working directory.
    Downloads,
    /// A folder, under the name that its sender gave it.
    Folder(PathBuf),
    /// A path that the user has named: a folder if there is one, otherwise a file.
    Named(PathBuf),
    Stdout,
}

impl Place {
    /// The same place for a later run, whose working directory may differ.
    pub fn absolute(self) -> Place {
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        match self {
            Place::Downloads => match Place::downloads() {
                Some(_) => Place::Downloads,
                None => Place::Folder(absolute(".".into())),
            },
            Place::Folder(path) => Place::Folder(absolute(path)),
            Place::Named(path) => Place::Named(absolute(path)),
            Place::Profile | Place::Stdout => self,
        }
    }

    /// The user's folder for downloads, if there is one.
    pub fn downloads() -> Option<PathBuf> {
        if cfg!(target_family = "wasm") {
            return Some("/outside/downloads".into());
        }
        let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
        home.map(|home| home.join("Downloads")).filter(|folder| folder.is_dir())
    }
}

/// A request of a user or a program to send or fetch a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    Send(ToSend),
    Get(ToGet),
}

impl Wish {
    pub fn conversation(&mut self) -> &mut Target {
        match self {
            Wish::Send(send) => &mut send.to,
            Wish::Get(get) => &mut get.from,
        }
    }
}

/// Paths are texts of the user.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}

/// Captions and paths are texts of the user.
impl fmt::Debug for ToSend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ToSend(to {})", self.to)
    }
}

/// Paths are texts of the user.
impl fmt::Debug for LeftUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LeftUpload({} to {})", self.id, self.to)
    }
}

/// A file whose first pass is done: its digests are on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub file: Descriptor,
    /// Bytes of the encrypted file.
    pub stored: u64,
    /// The id of the message that will announce it.
    pub message: MsgId,
    /// An earlier run has recorded it, and may have announced it.
    pub is_continued: bool,
}

/// An upload that an earlier run has left.
#[derive(Clone, PartialEq)]
pub struct LeftUpload {
    pub id: TransferId,
    pub to: Target,
    pub path: PathBuf,
    pub recorded: Recorded,
}

/// A download that an earlier run has left.
#[derive(Clone, Debug, PartialEq)]
pub struct LeftDownload {
    pub id: TransferId,
    pub get: ToGet,
}

/// Transfers of earlier runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Left {
    pub uploads: Vec<LeftUpload>,
    pub downloads: Vec<LeftDownload>,
}

/// What the model asks of the engine.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// End a download of the server whose transfer has ended.
    Stop { number: u32 },
    /// Read a file and record its digests; `Report::Recorded` follows.
    Read { id: TransferId, file: ToSend, message: MsgId },
    /// Send from `have` on, under the server's number of the transfer.
    Upload { id: TransferId, number: u32, have: u64, limit: u64 },
    /// Open the file that a download is written to; `Report::Opened` follows.
    Open { id: TransferId, file: Box<Descriptor>, get: ToGet },
    /// Fetch the rest; the encrypted file has `bytes` bytes.
    Download { id: TransferId, number: u32, bytes: u64 },
    /// Stop for now: the server has ended the transfer, or never begins it.
    Pause { id: TransferId },
    /// Forget a transfer that has ended, and remove what is left of it. With `keeps` the bytes that
    /// have arrived stay, for another attempt.
    Forget { id: TransferId, keeps: bool },
}

/// What the engine reports.
#[derive(Clone, PartialEq)]
pub enum Report {
    /// So many bytes of the file are read.
    Read {
        bytes: u64,
        of: u64,
    },
    Recorded(Box<Recorded>),
    /// Bytes of the encrypted file that are there already.
    Opened {
        from: u64,
    },
    /// Bytes of the file that have arrived, at a rate in bytes per second.
    Moved {
        bytes: u64,
        rate: u64,
    },
    /// The server has written all bytes, and stores them.
    Written,
    Saved(PathBuf),
    Viewed(Shown),
    Failed(Failure),
}

/// Paths and hints may name files.
impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Report {:?}", std::mem::discriminant(self))
    }
}

/// A decoded picture.
#[derive(Clone, PartialEq)]
pub struct Shown(pub Arc<Picture>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shown({} x {})", self.0.width(), self.0.height())
    }
}

/// The code of a disk that is full or fails, here or at the server.
const DISK: &str = "disk";

/// Why a transfer has failed, and what to do next.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    /// For programs: a code of the server's refusals, or one of the client.
    pub code: String,
    pub hint: String,
    /// The hint is text of the server.
    pub is_theirs: bool,
    /// For a script.
    pub exit: u8,
}

/// The hint may name a file.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failure({}, {})", self.code, self.exit)
    }
}

impl Failure {
    /// A failure on this computer.
    pub fn local(code: &str, hint: impl ToString, exit: u8) -> Failure {
        Failure { code: code.to_owned(), hint: hint.to_string(), is_theirs: false, exit }
    }

    /// The received bytes are not those that the sender sent.
    pub fn not_as_sent(hint: impl ToString) -> Failure {
        Failure::local("not_as_sent", hint, code::NOT_AS_SENT)
    }

    /// Returns whether another attempt may continue from the received bytes.
    pub fn keeps(&self) -> bool {
        self.code == DISK
    }

    /// The exit code of a script that sends the file.
    pub fn exit_of_upload(&self) -> u8 {
        match self.exit {
            code::NOT_AS_SENT => code::NOT_ACKNOWLEDGED,
            exit => exit,
        }
    }

    /// A disk of this computer is full or fails.
    pub fn disk(hint: impl ToString) -> Failure {
        Failure::local(DISK, hint, code::OTHER)
    }

    /// A refusal of the server.
    pub fn refused(code: Code, hint: String) -> Failure {
        let name = serde_json::to_value(code).ok();
        let name = name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default();
        let exit = match code {
            Code::FileGone | Code::NoSuchFile => code::NOT_AS_SENT,
            _ => code::NOT_ACKNOWLEDGED,
        };
        Failure { code: name, hint, is_theirs: true, exit }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Up,
    Down,
}

#[derive(Clone, PartialEq, Eq)]
pub enum TransferState {
    /// The file is read, before anything is sent.
    Reading,
    /// There is no connection, or other transfers are running.
    Waiting,
    Going,
    /// All bytes have arrived. The file is being stored, or its message is not acknowledged yet.
    Storing,
    Sent,
    Saved(PathBuf),
    Failed(Failure),
    Cancelled,
}

/// A transfer, for a user interface.
#[derive(Clone, PartialEq)]
pub struct Progress {
    pub id: TransferId,
    pub direction: Direction,
    pub state: TransferState,
    /// Empty until it is known.
    pub name: String,
    /// The conversation.
    pub to: Target,
    /// The message that announces the file, once it is stored.
    pub seq: Option<Seq>,
    pub bytes: u64,
    pub of: u64,
    /// Bytes per second; 0 if it is not known.
    pub rate: u64,
    pub reference: Option<String>,
}

/// The path and the hint may name a file.
impl fmt::Debug for TransferState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            TransferState::Reading => "Reading",
            TransferState::Waiting => "Waiting",
            TransferState::Going => "Going",
            TransferState::Storing => "Storing",
            TransferState::Sent => "Sent",
            TransferState::Saved(_) => "Saved",
            TransferState::Failed(_) => "Failed",
            TransferState::Cancelled => "Cancelled",
        };
        f.write_str(name)
    }
}

impl TransferState {
    /// Returns whether the transfer has ended.
    pub fn is_end(&self) -> bool {
        use TransferState::{Cancelled, Failed, Saved, Sent};
        matches!(self, Sent | Saved(_) | Failed(_) | Cancelled)
    }
}

impl Progress {
    /// Percentage of the bytes that have arrived.
    pub fn percent(&self) -> u64 {
        match self.of {
            // Its size is not known yet.
            0 if matches!(self.state, TransferState::Reading | TransferState::Waiting) => 0,
            0 => 100,
            of => (u128::from(self.bytes.min(of)) * 100 / u128::from(of)) as u64,
        }
    }

    /// Returns whether the shown text comes from the server or from the file's sender.
    pub fn is_theirs(&self) -> bool {
        let is_refused = matches!(&self.state, TransferState::Failed(why) if why.is_theirs);
        self.direction == Direction::Down || is_refused
    }

    /// Seconds that are left at this rate.
    pub fn left_s(&self) -> Option<u64> {
        (self.rate > 0).then(|| self.of.saturating_sub(self.bytes).div_ceil(self.rate))
    }
}

/// A file's name is a text of its sender.
impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Progress { id, direction, state, bytes, of, .. } = self;
        write!(f, "{id} {direction:?} {state:?} {bytes} of {of}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_named_as_it_is_shown() {
        assert_eq!("f12".parse(), Ok(TransferId(12)));
        assert_eq!(TransferId(12).to_string(), "f12");
        for wrong in ["12", "f", "f-1", "f1x", "f99999999999"] {
            assert!(wrong.parse::<TransferId>().is_err(), "{wrong}");
        }
    }
}
