//! The outbox on disk: a file for each client of a profile. It grows by whole encrypted lines, so
//! that a damaged one is noticed and hides no other, and is rewritten when most of it is outdated.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::outbox_format::{Entry, Found, Line, Unsent};
use super::outbox_length::{LengthFile, Synced};
use crate::chat::{MsgId, NewMessage, Opaque};
use crate::file::replace_locked;
use crate::limits::{OUTBOX_FILE_BYTES_MAX, OUTBOX_FILES_MAX};
use crate::system::files;
use crate::system::fs::{self, File};

/// Lines that may wait for a sync, in bytes.
const UNSYNCED_BYTES_MAX: usize = 1 << 20;
/// The file is rewritten when it has more than this plus twice the lines of its open messages, in
/// bytes.
const OUTDATED_BYTES: u64 = 64 << 10;

/// Lengths of the lines that restore a message, in bytes.
#[derive(Default)]
struct Lengths {
    add: u64,
    sealed: u64,
    refused: u64,
}

impl Lengths {
    fn sum(&self) -> u64 {
        self.add + self.sealed + self.refused
    }
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
    /// Length of the whole lines.
    bytes: u64,
    /// The synced part of the file.
    synced: Synced,
    /// The stored length of the part that is certainly on disk.
    length: LengthFile,
    open: HashMap<MsgId, Lengths>,
    /// Lines until they are synced: a kernel that fails to sync may drop what was written.
    unsynced: Vec<Line>,
    /// Count of the lines above that were written.
    written: usize,
    is_synced: bool,
    /// Length from which a rewrite that has failed is tried again.
    rewrites_from: u64,
    /// A damaged part could not be copied, so nothing is removed from the file.
    keeps_all: bool,
    /// Files of ended clients whose messages are in this one, locked until nothing is in them.
    taken_over: Vec<OutboxFile>,
}

impl OutboxFile {
    /// Opens the first file that no other client has, and takes over what ended clients have left
    /// in the others. `stem` is the files' path without extensions.
    ///
    /// # Errors
    /// No file can be opened or read, or each has a client.
    pub fn open(stem: &Path, key: &Zeroizing<[u8; 32]>) -> io::Result<Opened> {
        let mut opened: Option<Opened> = None;
        for number in 1..=OUTBOX_FILES_MAX {
            let file = OutboxFile::lock(stem, number, opened.is_none(), key);
            opened = match (opened, file) {
                (opened, Ok(None)) => opened,
                (None, Ok(Some((file, unsent, damage)))) => {
                    Some(Opened { file, unsent, is_first: number == 1, damage })
                }
                (None, Err(error)) => return Err(error),
                (Some(mut own), Ok(Some((other, unsent, damage)))) => {
                    own.damage.extend(damage);
                    own.take_over(unsent, other)?;
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

    /// Opens a file; `None` if another client has it, or if neither it nor a file with its length
    /// exists and it is not to be created. Returns its unsent messages and its damage.
    fn lock(
        stem: &Path,
        number: usize,
        creates: bool,
        key: &Zeroizing<[u8; 32]>,
    ) -> io::Result<Option<(OutboxFile, Unsent, Vec<String>)>> {
        let (path, aside) = (&path(stem, number), &stem.with_extension("outbox-damaged"));
        let length = length_path(stem, number);
        let Some(file) = locked(path, creates || fs::metadata(&length).is_ok())? else {
            return Ok(None);
        };
        let (length, unknown) = LengthFile::open(length, key);
        let found = Found::read(&file, key, length.synced().bytes).map_err(named(path))?;
        let damage = damage(path, aside, &found, length.synced());
        let synced = Synced { bytes: found.bytes, adds: found.adds };
        let ids = found.unsent.messages.iter().map(|message| message.id);
        let mut own = OutboxFile {
            path: path.to_owned(),
            file,
            key: key.clone(),
            bytes: found.bytes,
            synced,
            length,
            open: ids.map(|id| (id, Lengths::default())).collect(),
            unsynced: Vec::new(),
            written: 0,
            is_synced: true,
            rewrites_from: 0,
            keeps_all: !found.ranges.is_empty(),
            taken_over: Vec::new(),
        };
        own.shorten(synced).map_err(named(path))?;
        if unknown.is_some() {
            own.length.replace_damaged(synced);
        }
        if own.keeps_all {
            own.keeps_all = copy_parts(&mut own.file, &found.ranges, aside).is_err();
        }
        let lines = own.lines(&found.unsent)?;
        let is_outdated = own.open_bytes() < found.bytes || !found.ranges.is_empty();
        if is_outdated && !own.keeps_all {
            // A full disk leaves the file as it is, and no message is lost.
            let _ = own.rewrite(&lines);
        }
        Ok(Some((own, found.unsent, damage.into_iter().chain(unknown).collect())))
    }

    /// Adds a typed message.
    pub fn add(&mut self, message: &NewMessage) -> io::Result<()> {
        self.open.entry(message.id).or_default();
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
        // Entries that were reported as stored are removed by the next sync, which has to lower the
        // length first.
        if self.open.is_empty() && !self.keeps_all && self.length.synced().bytes == 0 {
            return self.empty();
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
        let is_over = self.open.is_empty() && !self.keeps_all && self.bytes > 0;
        if is_over && self.empty().is_ok() {
            self.empty_others();
            return Ok(());
        }
        self.write()?;
        if !self.is_synced {
            let synced = self.file.sync_data();
            self.ends_sync(synced)?;
        }
        let outdated = OUTDATED_BYTES + 2 * self.open_bytes();
        if self.bytes > outdated.max(self.rewrites_from) {
            // All entries are on disk either way.
            let _ = self.compact();
        }
        self.empty_others();
        Ok(())
    }

    /// Removes the messages that are in the own file from the files of ended clients. If the client
    /// ends before this, both files have the messages, with the same ids.
    fn empty_others(&mut self) {
        self.taken_over.retain_mut(|other| other.discard().is_err());
    }

    /// Removes all lines.
    fn empty(&mut self) -> io::Result<()> {
        self.length.lower(Synced::default())?;
        self.unsynced.clear();
        self.shorten(Synced::default())
    }

    /// Removes all messages, which are in another file.
    fn discard(&mut self) -> io::Result<()> {
        if !self.keeps_all {
            self.open.clear();
            return self.empty();
        }
        let ids: Vec<_> = self.open.keys().copied().collect();
        ids.into_iter().try_for_each(|id| self.done(id))?;
        self.sync()
    }

    /// Takes the result of a sync. After a failure what was not synced is written again.
    fn ends_sync(&mut self, synced: io::Result<()>) -> io::Result<()> {
        if let Err(error) = synced {
            // The next write truncates the file, if this does not.
            let _ = self.shorten(self.synced);
            return Err(named(&self.path)(error));
        }
        let adds = adds(&self.unsynced[..self.written]);
        self.synced = Synced { bytes: self.bytes, adds: self.synced.adds + adds };
        self.length.raise(self.synced);
        (self.written, self.is_synced) = (0, true);
        self.unsynced.clear();
        Ok(())
    }

    fn enter(&mut self, entry: &Entry) -> io::Result<()> {
        self.queue(entry)?;
        let bytes: usize = self.unsynced.iter().map(|line| line.bytes.len()).sum();
        if bytes > UNSYNCED_BYTES_MAX { self.sync() } else { self.write() }
    }

    fn queue(&mut self, entry: &Entry) -> io::Result<()> {
        let line = self.line(entry)?;
        self.unsynced.push(line);
        Ok(())
    }

    /// The line of an entry. If its message is open, the length counts.
    fn line(&mut self, entry: &Entry) -> io::Result<Line> {
        let line = Line::of(entry, &self.key)?;
        let (mut closed, length) = (Lengths::default(), line.bytes.len() as u64);
        let lengths = self.open.get_mut(&line.id).unwrap_or(&mut closed);
        match entry {
            Entry::Add(_) => lengths.add = length,
            Entry::Sealed(..) => lengths.sealed = length,
            Entry::Refused(_) => lengths.refused = length,
            Entry::Retry(_) => lengths.refused = 0,
            Entry::Done(_) => {}
        }
        Ok(line)
    }

    /// The lines that restore open messages.
    fn lines(&mut self, unsent: &Unsent) -> io::Result<Vec<Line>> {
        let open: Vec<_> =
            unsent.entries().filter(|entry| self.open.contains_key(&entry.id())).collect();
        open.iter().map(|entry| self.line(entry)).collect()
    }

    /// Length of the lines that restore all open messages.
    fn open_bytes(&self) -> u64 {
        self.open.values().map(Lengths::sum).sum()
    }

    /// Writes what is not written yet.
    ///
    /// # Errors
    /// The disk takes nothing, or the next start could not read the file.
    fn write(&mut self) -> io::Result<()> {
        let length = |lines: &[Line]| lines.iter().map(|line| line.bytes.len() as u64).sum::<u64>();
        let new = length(&self.unsynced[self.written..]);
        if new == 0 {
            return Ok(());
        }
        if self.bytes + new > OUTBOX_FILE_BYTES_MAX {
            if self.open_bytes() <= OUTBOX_FILE_BYTES_MAX {
                self.compact().map_err(named(&self.path))?;
            }
            if self.bytes + new > OUTBOX_FILE_BYTES_MAX {
                let full = format!("it has {OUTBOX_FILE_BYTES_MAX} bytes of unsent messages");
                return Err(named(&self.path)(io::Error::other(full)));
            }
        }
        let bytes: Vec<u8> =
            self.unsynced[self.written..].iter().flat_map(|line| &line.bytes).copied().collect();
        let is_short = self.file.set_len(self.bytes);
        let start = is_short.and_then(|()| self.file.seek(SeekFrom::Start(self.bytes)));
        if let Err(error) = start.and_then(|_| self.file.write_all(&bytes)) {
            // A part of a line would hide the next one. The next write begins here in any case.
            let _ = self.file.set_len(self.bytes);
            return Err(named(&self.path)(error));
        }
        self.bytes += new;
        (self.written, self.is_synced) = (self.unsynced.len(), false);
        Ok(())
    }

    /// Truncates the file; all unsynced lines follow at this length.
    fn shorten(&mut self, to: Synced) -> io::Result<()> {
        self.length.lower(to)?;
        self.is_synced = self.is_synced && to.bytes == self.bytes;
        (self.bytes, self.synced, self.written) = (to.bytes, to, 0);
        self.file.set_len(to.bytes)
    }

    /// Removes outdated lines from the file.
    ///
    /// # Errors
    /// The file cannot be read or replaced, and stays as it is.
    fn compact(&mut self) -> io::Result<()> {
        self.rewrites_from = 2 * self.bytes;
        if self.keeps_all {
            return Err(io::Error::other("its damaged lines cannot be copied"));
        }
        self.file.set_len(self.bytes)?;
        self.file.seek(SeekFrom::Start(0))?;
        let found = Found::read(&self.file, &self.key, self.bytes)?;
        if !found.ranges.is_empty() {
            return Err(io::Error::other("it is damaged"));
        }
        let lines = self.lines(&found.unsent)?;
        self.rewrite(&lines)
    }

    /// Atomically replaces the file by one with these lines, which include all that were written.
    fn rewrite(&mut self, lines: &[Line]) -> io::Result<()> {
        let bytes: Vec<u8> = lines.iter().flat_map(|line| &line.bytes).copied().collect();
        self.length.lower(Synced::default())?;
        let replaced = replace_locked(&self.path, &bytes, 0o600).map_err(io::Error::other);
        if replaced.is_err() {
            self.length.raise(self.synced);
        }
        self.file = replaced?;
        self.bytes = bytes.len() as u64;
        self.synced = Synced { bytes: self.bytes, adds: adds(lines) };
        self.length.raise(self.synced);
        self.unsynced.drain(..self.written);
        (self.written, self.is_synced) = (0, true);
        self.rewrites_from = 0;
        Ok(())
    }
}

impl Opened {
    /// Takes over the messages of an ended client. They stay in its file until they are synced in
    /// the own one, and no other client takes them over meanwhile.
    fn take_over(&mut self, unsent: Unsent, other: OutboxFile) -> io::Result<()> {
        let known: HashSet<_> = self.file.open.keys().copied().collect();
        for entry in unsent.entries().filter(|entry| !known.contains(&entry.id())) {
            self.file.open.entry(entry.id()).or_default();
            self.file.queue(&entry)?;
        }
        self.file.taken_over.push(other);
        // Each later sync tries it again.
        let _ = self.file.sync();
        let new = unsent.messages.into_iter().filter(|one| !known.contains(&one.id));
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

/// Returns the path of the file with the length of the outbox with this number. Its name does not
/// contain `outbox`: files with such names are set aside last.
fn length_path(stem: &Path, number: usize) -> PathBuf {
    match number {
        1 => stem.with_extension("unsent"),
        number => stem.with_extension(format!("unsent-{number}")),
    }
}

/// Returns the count of the lines that add a message.
fn adds(lines: &[Line]) -> u64 {
    lines.iter().filter(|line| line.adds).count() as u64
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
    loop {
        let file = match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !creates => return Ok(None),
            other => other.map_err(named(path))?,
        };
        if creates {
            files::sync_folder(path).map_err(named(path))?;
        }
        if !files::try_lock(&file).map_err(named(path))? {
            return Ok(None);
        }
        // A client may have replaced the file before it ended.
        let about = file.metadata().map_err(named(path))?;
        if fs::metadata(path).is_ok_and(|now| files::stamp(&now) == files::stamp(&about)) {
            return Ok(Some(file));
        }
    }
}

fn named(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
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

/// Returns the damage of a file, for the user. `synced` was certainly on disk.
fn damage(path: &Path, aside: &Path, found: &Found, synced: Synced) -> Option<String> {
    let (count, is_cut) = (found.ranges.len(), found.bytes < synced.bytes);
    let lines = match count {
        0 => None,
        1 => Some(("1 line is damaged".to_owned(), "it")),
        count => Some((format!("{count} lines are damaged"), "them")),
    };
    let cut = is_cut.then(|| format!("it had {} bytes and has {}", synced.bytes, found.bytes));
    let lost = match is_cut {
        true => synced.adds.saturating_sub(found.adds).max(found.lost as u64),
        false => found.lost as u64,
    };
    let lost = match lost {
        0 => "no message is missing".to_owned(),
        1 => "a message that was not sent yet may be missing".to_owned(),
        lost => format!("up to {lost} messages that were not sent yet may be missing"),
    };
    let aside = |them| format!(". A copy of {them} is in {}", aside.display());
    let copied = lines.as_ref().map(|(_, them)| aside(them)).unwrap_or_default();
    let what: Vec<_> = lines.map(|(lines, _)| lines).into_iter().chain(cut).collect();
    (!what.is_empty()).then(|| format!("{}: {}: {lost}{copied}", path.display(), what.join(", ")))
}

#[cfg(test)]
#[path = "outbox_file_tests.rs"]
mod tests;
