//! The outbox on disk: a file for each client of a profile. It grows by whole encrypted lines, so
//! that a damaged one is noticed and hides no other.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::chat::{MsgId, NewMessage, Opaque};
use crate::crypto::at_rest;
use crate::limits::{OUTBOX_FILE_BYTES_MAX, OUTBOX_FILES_MAX};
use crate::system::files;

/// Lines that may wait for a sync, in bytes.
const UNSYNCED_BYTES_MAX: usize = 1 << 20;

/// An entry of the file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Entry {
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
    fn id(&self) -> MsgId {
        match self {
            Entry::Add(message) => message.id,
            Entry::Done(id) | Entry::Refused(id) | Entry::Retry(id) | Entry::Sealed(id, _) => *id,
        }
    }
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Locked {
    locked: String,
}

/// A line that is not synced yet.
struct Line {
    id: MsgId,
    adds: bool,
    bytes: Vec<u8>,
}

/// What the files hold.
#[derive(Default)]
pub struct Unsent {
    pub messages: Vec<NewMessage>,
    /// Refused messages, which are sent again only by the user.
    pub refused: HashSet<MsgId>,
    pub sealed: HashMap<MsgId, Opaque>,
}

/// What opening the files has found.
pub struct Opened {
    pub file: OutboxFile,
    pub unsent: Unsent,
    /// This is the first client of the profile.
    pub is_first: bool,
    /// What is damaged, for the user.
    pub damage: Vec<String>,
}

/// The file of this client, locked while it runs.
pub struct OutboxFile {
    path: PathBuf,
    file: File,
    key: Zeroizing<[u8; 32]>,
    /// Length of what is whole.
    bytes: u64,
    open: HashSet<MsgId>,
    /// Lines until they are synced: a kernel that fails to sync may drop what was written.
    unsynced: Vec<Line>,
    /// Count of the lines above that were written.
    written: usize,
    is_synced: bool,
    /// A damaged part could not be copied, so nothing is removed from the file.
    keeps_all: bool,
}

impl OutboxFile {
    /// Opens the first file that no other client has, and takes over what ended clients have left
    /// in the others. `stem` is the files' path without extensions.
    ///
    /// # Errors
    /// No file can be opened or read, or each has a client.
    pub fn open(stem: &Path, key: &Zeroizing<[u8; 32]>) -> io::Result<Opened> {
        let aside = stem.with_extension("outbox-damaged");
        let mut opened: Option<Opened> = None;
        for number in 1..=OUTBOX_FILES_MAX {
            let path = path(stem, number);
            let file = OutboxFile::lock(&path, opened.is_none(), key, &aside);
            opened = match (opened, file) {
                (opened, Ok(None)) => opened,
                (None, Ok(Some((file, unsent, damage)))) => {
                    let damage = damage.into_iter().collect();
                    Some(Opened { file, unsent, is_first: number == 1, damage })
                }
                (None, Err(error)) => return Err(error),
                (Some(mut own), Ok(Some((other, unsent, damage)))) => {
                    own.damage.extend(damage);
                    own.takes_over(unsent, other)?;
                    Some(own)
                }
                (Some(mut own), Err(error)) => {
                    own.damage.push(format!("messages that were not sent yet: {error}"));
                    Some(own)
                }
            };
        }
        opened.ok_or_else(|| {
            io::Error::other(format!("{OUTBOX_FILES_MAX} clients of this profile are running"))
        })
    }

    /// Opens a file; `None` if another client has it, or if there is none and it is not created.
    /// Returns what it holds, and its damage.
    fn lock(
        path: &Path,
        creates: bool,
        key: &Zeroizing<[u8; 32]>,
        aside: &Path,
    ) -> io::Result<Option<(OutboxFile, Unsent, Option<String>)>> {
        let Some(file) = locked(path, creates)? else { return Ok(None) };
        let found = read(path, &file, key)?;
        let damage = damage(path, aside, &found);
        let mut own = OutboxFile {
            path: path.to_owned(),
            file,
            key: key.clone(),
            bytes: found.bytes,
            open: found.unsent.messages.iter().map(|message| message.id).collect(),
            unsynced: Vec::new(),
            written: 0,
            is_synced: true,
            keeps_all: false,
        };
        // The entries stay until all messages are stored, so neither a crash nor a full disk loses
        // any.
        let is_over = own.open.is_empty() && found.ranges.is_empty();
        own.shorten(if is_over { 0 } else { found.bytes }).map_err(named(path))?;
        own.set_aside(aside, &found.ranges, found.rescued);
        Ok(Some((own, found.unsent, damage)))
    }

    /// Adds a typed message.
    pub fn add(&mut self, message: &NewMessage) -> io::Result<()> {
        self.open.insert(message.id);
        self.enter(&Entry::Add(message.clone()))
    }

    /// Stores the sealed body that goes out for a message.
    pub fn seal(&mut self, id: MsgId, sealed: &Opaque) -> io::Result<()> {
        self.enter(&Entry::Sealed(id, sealed.clone()))
    }

    /// Records that the server has refused a message.
    pub fn refused(&mut self, id: MsgId) -> io::Result<()> {
        self.enter(&Entry::Refused(id))
    }

    /// Records that a message is sent again.
    pub fn retry(&mut self, id: MsgId) -> io::Result<()> {
        self.enter(&Entry::Retry(id))
    }

    /// Records that a message was stored by the server, or dropped.
    pub fn done(&mut self, id: MsgId) -> io::Result<()> {
        self.open.remove(&id);
        if self.open.is_empty() && !self.keeps_all {
            (self.written, self.is_synced) = (0, false);
            self.unsynced.clear();
            return self.shorten(0);
        }
        // Nothing of a message that is not in the file has to be taken back.
        let adds = |line: &Line| line.id == id && line.adds;
        if self.unsynced[self.written..].iter().any(adds) {
            let mut index = 0;
            self.unsynced.retain(|line| {
                index += 1;
                index <= self.written || line.id != id
            });
            return Ok(());
        }
        self.enter(&Entry::Done(id))
    }

    /// Syncs all entries. After this they survive a loss of power.
    ///
    /// # Errors
    /// Entries are only in memory; the next call tries it again.
    pub fn sync(&mut self) -> io::Result<()> {
        self.write()?;
        if !self.is_synced {
            if let Err(error) = self.file.sync_data() {
                self.written = 0;
                return Err(named(&self.path)(error));
            }
            (self.written, self.is_synced) = (0, true);
            self.unsynced.clear();
        }
        Ok(())
    }

    fn enter(&mut self, entry: &Entry) -> io::Result<()> {
        self.queue(entry)?;
        let bytes: usize = self.unsynced.iter().map(|line| line.bytes.len()).sum();
        if bytes > UNSYNCED_BYTES_MAX { self.sync() } else { self.write() }
    }

    fn queue(&mut self, entry: &Entry) -> io::Result<()> {
        let text = Zeroizing::new(serde_json::to_vec(entry)?);
        let locked = STANDARD_NO_PAD.encode(at_rest::lock(&self.key, &text));
        let mut bytes = serde_json::to_vec(&Locked { locked })?;
        bytes.push(b'\n');
        self.unsynced.push(Line { id: entry.id(), adds: matches!(entry, Entry::Add(_)), bytes });
        Ok(())
    }

    /// Writes what is not written yet.
    fn write(&mut self) -> io::Result<()> {
        let new = &self.unsynced[self.written..];
        if new.is_empty() {
            return Ok(());
        }
        let bytes: Vec<u8> = new.iter().flat_map(|line| &line.bytes).copied().collect();
        let start = self.file.seek(SeekFrom::Start(self.bytes));
        if let Err(error) = start.and_then(|_| self.file.write_all(&bytes)) {
            // A part of a line would hide the next one. The next write begins here in any case.
            let _ = self.file.set_len(self.bytes);
            return Err(named(&self.path)(error));
        }
        self.bytes += bytes.len() as u64;
        (self.written, self.is_synced) = (self.unsynced.len(), false);
        Ok(())
    }

    /// Truncates the file; new entries follow at this length.
    fn shorten(&mut self, bytes: u64) -> io::Result<()> {
        self.bytes = bytes;
        self.file.set_len(bytes)
    }

    /// Copies damaged parts to another file, and blanks them here. The entries that were found in
    /// them are written again.
    fn set_aside(&mut self, aside: &Path, ranges: &[Range<u64>], rescued: Vec<Entry>) {
        if ranges.is_empty() {
            return;
        }
        let moved = copy_parts(&mut self.file, ranges, aside).and_then(|()| {
            for entry in rescued {
                let is_open = self.open.contains(&entry.id());
                if is_open || !matches!(entry, Entry::Add(_)) {
                    self.queue(&entry)?;
                }
            }
            self.sync()?;
            blank(&mut self.file, ranges)
        });
        self.keeps_all = moved.is_err();
    }
}

impl Opened {
    /// Takes over the messages of an ended client. If that fails they stay in its file.
    fn takes_over(&mut self, unsent: Unsent, mut other: OutboxFile) -> io::Result<()> {
        let known = |message: &NewMessage| self.file.open.contains(&message.id);
        let new: Vec<_> = unsent.messages.into_iter().filter(|one| !known(one)).collect();
        for message in &new {
            let id = message.id;
            self.file.open.insert(id);
            self.file.queue(&Entry::Add(message.clone()))?;
            if let Some(sealed) = unsent.sealed.get(&id) {
                self.file.queue(&Entry::Sealed(id, sealed.clone()))?;
            }
            if unsent.refused.contains(&id) {
                self.file.queue(&Entry::Refused(id))?;
            }
        }
        // A client that ends between the two leaves both, and their ids are the same.
        let is_taken_over = self.file.sync().is_ok();
        if is_taken_over && !other.keeps_all {
            other.shorten(0)?;
        }
        self.unsent.messages.extend(new);
        self.unsent.refused.extend(unsent.refused);
        self.unsent.sealed.extend(unsent.sealed);
        Ok(())
    }
}

/// Path of the file of the client with this number.
fn path(stem: &Path, number: usize) -> PathBuf {
    match number {
        1 => stem.with_extension("outbox"),
        number => stem.with_extension(format!("outbox-{number}")),
    }
}

/// Locks the files of all clients, which may not exist yet; none where a client has one.
///
/// # Errors
/// A file cannot be opened.
pub fn lock_all(stem: &Path) -> io::Result<Option<Vec<File>>> {
    (1..=OUTBOX_FILES_MAX).map(|number| locked(&path(stem, number), true)).collect()
}

fn locked(path: &Path, creates: bool) -> io::Result<Option<File>> {
    let mut options = files::private();
    options.read(true).write(true).create(creates).truncate(false);
    let file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !creates => return Ok(None),
        other => other.map_err(named(path))?,
    };
    if creates {
        files::sync_folder(path).map_err(named(path))?;
    }
    Ok(files::try_lock(&file).map_err(named(path))?.then_some(file))
}

fn named(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// What a file holds.
#[derive(Default)]
struct Found {
    unsent: Unsent,
    /// Damaged parts.
    ranges: Vec<Range<u64>>,
    /// Entries that were found in them.
    rescued: Vec<Entry>,
    /// Count of damaged parts without an entry.
    lost: usize,
    /// Length of the whole lines.
    bytes: u64,
}

fn read(path: &Path, file: &File, key: &[u8; 32]) -> io::Result<Found> {
    let mut text = Vec::new();
    file.take(OUTBOX_FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(named(path))?;
    if text.len() as u64 > OUTBOX_FILE_BYTES_MAX {
        let larger = format!("it is larger than {OUTBOX_FILE_BYTES_MAX} bytes");
        return Err(named(path)(io::Error::other(larger)));
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
                // An entry that was cut off was never reported as stored.
                if within.is_empty() && !is_whole {
                    break;
                }
                found.lost += usize::from(within.is_empty());
                entries.extend(within.iter().cloned());
                found.rescued.extend(within);
                found.ranges.push(range.clone());
            }
        }
        found.bytes = range.end;
    }
    found.unsent = unsent(entries);
    Ok(found)
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

/// The entries in a line that is damaged beside them, as where two lines became one.
fn entries_within(line: &[u8], key: &[u8; 32]) -> Vec<Entry> {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    line.split(|byte| !is_base64(byte)).filter_map(|run| unlocked(key, run)).collect()
}

/// Appends parts of a file to another one, and syncs that.
fn copy_parts(from: &mut File, ranges: &[Range<u64>], aside: &Path) -> io::Result<()> {
    let mut to = files::private().append(true).create(true).open(aside)?;
    for range in ranges {
        from.seek(SeekFrom::Start(range.start))?;
        io::copy(&mut Read::by_ref(from).take(range.end - range.start), &mut to)?;
    }
    to.sync_all()?;
    files::sync_folder(aside)
}

/// Replaces parts with empty lines.
fn blank(file: &mut File, ranges: &[Range<u64>]) -> io::Result<()> {
    for range in ranges {
        file.seek(SeekFrom::Start(range.start))?;
        io::copy(&mut io::repeat(b'\n').take(range.end - range.start), file)?;
    }
    file.sync_data()
}

/// The damage of a file, for the user.
fn damage(path: &Path, aside: &Path, found: &Found) -> Option<String> {
    let count = found.ranges.len();
    let (lines, them) = if count == 1 { ("line is", "it") } else { ("lines are", "them") };
    let lost = match found.lost {
        0 => "no message is missing".to_owned(),
        1 => "a message that was not sent yet may be missing".to_owned(),
        lost => format!("up to {lost} messages that were not sent yet may be missing"),
    };
    (count > 0).then(|| {
        format!(
            "{}: {count} {lines} damaged: {lost}. A copy of {them} is in {}",
            path.display(),
            aside.display()
        )
    })
}

#[cfg(test)]
#[path = "outbox_file_tests.rs"]
mod tests;
