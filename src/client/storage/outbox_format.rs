//! The format of the outbox's files: entries, the encrypted lines that hold them, and reading.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::chat::{MsgId, NewMessage, Opaque};
use crate::crypto::at_rest;
use crate::limits::OUTBOX_FILE_BYTES_MAX;
use crate::system::fs::File;

/// The bytes of a line before the encrypted entry.
const BEFORE_BASE64: &[u8] = br#"{"locked":""#;

/// An entry of the file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Entry {
    Add(NewMessage),
    Done(MsgId),
    /// The server has refused it.
    Refused(MsgId),
    /// The user wants it sent again.
    Retry(MsgId),
    /// The sealed body of a message.
    Sealed(MsgId, Opaque),
}

impl Entry {
    pub fn id(&self) -> MsgId {
        match self {
            Entry::Add(message) => message.id,
            Entry::Done(id) | Entry::Refused(id) | Entry::Retry(id) | Entry::Sealed(id, _) => *id,
        }
    }
}

/// The JSON of a line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Locked {
    locked: String,
}

/// An encrypted line.
pub struct Line {
    pub id: MsgId,
    /// Its entry adds a message.
    pub adds: bool,
    pub bytes: Vec<u8>,
}

impl Line {
    pub fn of(entry: &Entry, key: &[u8; 32]) -> io::Result<Line> {
        let text = Zeroizing::new(serde_json::to_vec(entry)?);
        let locked = STANDARD_NO_PAD.encode(at_rest::lock(key, &text));
        let mut bytes = serde_json::to_vec(&Locked { locked })?;
        bytes.push(b'\n');
        Ok(Line { id: entry.id(), adds: matches!(entry, Entry::Add(_)), bytes })
    }
}

/// What the files hold.
#[derive(Default)]
pub struct Unsent {
    pub messages: Vec<NewMessage>,
    /// Refused messages, which are sent again only by the user.
    pub refused: HashSet<MsgId>,
    pub sealed: HashMap<MsgId, Opaque>,
}

impl Unsent {
    /// The entries that restore the messages.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.messages.iter().flat_map(|message| {
            let id = message.id;
            let sealed = self.sealed.get(&id).map(|body| Entry::Sealed(id, body.clone()));
            let refused = self.refused.contains(&id).then_some(Entry::Refused(id));
            [Some(Entry::Add(message.clone())), sealed, refused].into_iter().flatten()
        })
    }
}

/// What a file holds.
#[derive(Default)]
pub struct Found {
    pub unsent: Unsent,
    /// Damaged parts.
    pub ranges: Vec<Range<u64>>,
    /// Count of damaged parts without an entry.
    pub lost: usize,
    /// Count of the lines that add a message.
    pub adds: u64,
    /// Length of the whole lines.
    pub bytes: u64,
}

impl Found {
    /// Reads a file from its current position. `synced_bytes` of it are certainly on disk.
    ///
    /// # Errors
    /// The file cannot be read, or is too large.
    pub fn read(file: &File, key: &[u8; 32], synced_bytes: u64) -> io::Result<Found> {
        let mut text = Vec::new();
        file.take(OUTBOX_FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
        if text.len() as u64 > OUTBOX_FILE_BYTES_MAX {
            let larger = format!("it is larger than {OUTBOX_FILE_BYTES_MAX} bytes: move it away");
            return Err(io::Error::other(larger));
        }
        let (mut found, mut entries, mut start) = (Found::default(), Vec::new(), 0);
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let range = start..start + line.len() as u64;
            start = range.end;
            let body = line.strip_suffix(b"\n").unwrap_or(line);
            let is_whole = body.len() < line.len();
            let entry = serde_json::from_slice::<Locked>(body).ok();
            match entry.and_then(|line| unlocked(key, line.locked.as_bytes())) {
                Some(entry) if is_whole => entries.push(entry),
                None if body.is_empty() => {}
                _ => {
                    let within = entries_within(body, key);
                    // An interrupted write leaves such a line, which was never reported as stored.
                    let is_new = range.start >= synced_bytes;
                    if within.is_empty() && !is_whole && is_new && is_beginning(body) {
                        break;
                    }
                    found.lost += usize::from(within.is_empty());
                    entries.extend(within);
                    found.ranges.push(range.clone());
                }
            }
            found.bytes = range.end;
        }
        let adds = entries.iter().filter(|entry| matches!(entry, Entry::Add(_)));
        found.adds = adds.count() as u64;
        found.unsent = unsent(entries);
        Ok(found)
    }
}

/// The messages that are left after these entries, in their order.
fn unsent(entries: Vec<Entry>) -> Unsent {
    let mut messages: HashMap<MsgId, (usize, NewMessage)> = HashMap::new();
    let mut unsent = Unsent::default();
    for (number, entry) in entries.into_iter().enumerate() {
        match entry {
            Entry::Add(message) => {
                messages.entry(message.id).or_insert((number, message));
            }
            Entry::Done(id) => {
                messages.remove(&id);
                unsent.sealed.remove(&id);
            }
            Entry::Refused(id) => drop(unsent.refused.insert(id)),
            Entry::Retry(id) => drop(unsent.refused.remove(&id)),
            Entry::Sealed(id, body) => drop(unsent.sealed.insert(id, body)),
        }
    }
    let mut ordered: Vec<_> = messages.into_values().collect();
    ordered.sort_unstable_by_key(|(number, _)| *number);
    unsent.messages = ordered.into_iter().map(|(_, message)| message).collect();
    unsent
}

fn unlocked(key: &[u8; 32], base64: &[u8]) -> Option<Entry> {
    let text = at_rest::unlock(key, &STANDARD_NO_PAD.decode(base64).ok()?)?;
    serde_json::from_slice(&text).ok()
}

/// Returns whether a text is the beginning of a line, as an interrupted write leaves it. A disk
/// that has lost a line leaves zeros or other bytes.
fn is_beginning(text: &[u8]) -> bool {
    let name = text.len().min(BEFORE_BASE64.len());
    text[..name] == BEFORE_BASE64[..name] && text[name..].iter().all(at_rest::is_base64)
}

/// The entries in a line that is damaged beside them, as where two lines became one.
fn entries_within(line: &[u8], key: &[u8; 32]) -> Vec<Entry> {
    line.split(|byte| !at_rest::is_base64(byte)).filter_map(|run| unlocked(key, run)).collect()
}
