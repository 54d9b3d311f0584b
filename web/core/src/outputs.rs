//! The tasks for the Worker, in order, as bytes.

use std::collections::VecDeque;
use std::path::Path;

use pychat::client::core::{Output, Wanted};
use pychat::system::clock::Instant;
use pychat::system::disk::Change;
use zeroize::Zeroizing;

/// The kinds of outputs, as `core.js` knows them.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Part of a file: its first byte and the length of its path (32 bits each, little-endian),
    /// its path, and its bytes up to the end of the file.
    Write = 1,
    /// The path of a file that is gone.
    Remove = 2,
    Open = 3,
    Record = 4,
    Close = 5,
    /// JSON for the page.
    Object = 6,
    /// The exit code.
    End = 7,
    /// Milliseconds until the next call without an event, as text.
    Due = 8,
    /// Why the client cannot start.
    Error = 9,
    /// The path of a file that the page has handed over.
    Path = 10,
    /// Why a file was refused.
    Refused = 11,
    /// JSON: a key file and its public key, or the reason why it cannot be opened. Or the secret of
    /// a channel's key.
    Key = 12,
    /// A key that is to be derived from a PIN: its number (32 bits, little-endian), the fingerprint
    /// of the server's founding key, the length of the channel's name (32 bits), the name and the
    /// PIN.
    Derive = 13,
}

/// Outputs may have a PIN or a derived secret: each is erased once the next one is taken.
#[derive(Default)]
pub struct Outputs {
    waiting: VecDeque<(Kind, Zeroizing<Vec<u8>>)>,
    current: Zeroizing<Vec<u8>>,
}

impl Outputs {
    pub fn push(&mut self, kind: Kind, bytes: Vec<u8>) {
        self.waiting.push_back((kind, Zeroizing::new(bytes)));
    }

    /// Adds an output before all others.
    pub fn first(&mut self, kind: Kind, bytes: Vec<u8>) {
        self.waiting.push_front((kind, Zeroizing::new(bytes)));
    }

    pub fn file(&mut self, change: Change) {
        match change {
            Change::Write { path, from, bytes } => {
                let path = text(&path);
                let head = [from as u32, path.len() as u32].map(u32::to_le_bytes).concat();
                self.push(Kind::Write, [&head, path.as_bytes(), &bytes].concat());
            }
            Change::Remove(path) => self.push(Kind::Remove, text(&path).into_bytes()),
        }
    }

    pub fn done(&mut self, output: Output) {
        match output {
            Output::Open => self.push(Kind::Open, Vec::new()),
            Output::Record(record) => self.push(Kind::Record, record),
            Output::Close => self.push(Kind::Close, Vec::new()),
            Output::Object(object) => self.push(Kind::Object, object.as_bytes().to_vec()),
            Output::End(code) => self.push(Kind::End, vec![code]),
            Output::Derive(Wanted { number, pin, server, letters }) => {
                let (number, length) = (number.to_le_bytes(), (letters.len() as u32).to_le_bytes());
                let pin = pin.reveal().as_bytes();
                let parts = [&number[..], &server.0, &length, letters.as_bytes(), pin];
                self.push(Kind::Derive, parts.concat());
            }
        }
    }

    pub fn due(&mut self, due: Instant) {
        let left = due.saturating_duration_since(Instant::now());
        self.push(Kind::Due, left.as_millis().to_string().into_bytes());
    }

    /// Makes the next output the current one. Returns its kind, 0 if there is none.
    pub fn advance(&mut self) -> u32 {
        let Some((kind, bytes)) = self.waiting.pop_front() else {
            self.current = Zeroizing::default();
            return 0;
        };
        self.current = bytes;
        kind as u32
    }

    pub fn current(&self) -> &[u8] {
        &self.current
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
